// The graph as Graphviz text. A fused node lists what it is made of; concatenations in place, views
// and reorders are small, so that the eye sees the kernels.
#include "tools/layer_stats.h"
#include "tools/tool.h"

#include <string.h>

typedef struct Look {
    IrOp op;
    const char *fill;
} Look;

static const Look looks[] = {
    {IR_OP_CONV, "#cfe2f3"},     {IR_OP_MATMUL, "#d9ead3"},      {IR_OP_MAX_POOL, "#fce5cd"},
    {IR_OP_AVG_POOL, "#fce5cd"}, {IR_OP_REDUCE_MEAN, "#fce5cd"}, {IR_OP_CONCAT, "#eeeeee"},
    {IR_OP_MAP, "#fff2cc"},      {IR_OP_BATCH_NORM, "#ead1dc"},  {IR_OP_LRN, "#ead1dc"},
    {IR_OP_SOFTMAX, "#f4cccc"},  {IR_OP_REORDER, "#ffffff"},
};

static const char *fill_of(const IrNode *n) {
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++)
        if (looks[i].op == n->op)
            return looks[i].fill;
    return ir_op_info(n->op)->flags & IR_FLAG_E ? "#fff2cc" : "#f3f3f3";
}

// Text inside a dot string, which knows escapes (\n, \N) and HTML's entities.
static void print_text(FILE *f, const char *s, size_t max) {
    char text[128];
    for (s = rt_clean(s, text, max + 4 < sizeof text ? max + 4 : sizeof text); *s; s++) {
        if (*s == '&')
            fputs("&amp;", f);
        else
            fprintf(f, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
    }
}

static void print_shape(FILE *f, const IrValue *v) {
    char type[256];
    print_text(f, ir_type_print(&v->type, type, sizeof type), 80);
}

static void print_node(FILE *f, const IrNode *n) {
    char text[256], name[48];
    fprintf(f, "  n%u [fillcolor=\"%s\", label=\"", n->out[0]->id, fill_of(n));
    print_text(f, layer_text(n, text, sizeof text), 120);
    fputs("\\n", f);
    print_text(f, layer_name(n, name, sizeof name), 60);
    fputs("\\n", f);
    print_shape(f, n->out[0]);
    bool view = n->out[0]->view_of != NULL;
    fprintf(f, "%s\"%s];\n",
            n->op == IR_OP_CONCAT && ir_int(n, IR_ATTR_IN_PLACE, 0) ? "\\nin place: no code"
            : view                                                  ? "\\na slice of its buffer"
                                                                    : "",
            n->op == IR_OP_REORDER ? ", fontsize=8" : "");
    for (int i = 0; i < n->n_in; i++) {
        const IrValue *v = ir_in(n, i);
        if (v && !v->konst)
            fprintf(f, "  n%u -> n%u;\n", v->def ? v->def->out[0]->id : v->id, n->out[0]->id);
    }
}

void tool_print_dot(FILE *f, void *graph) {
    const IrGraph *g = graph;
    fprintf(f, "digraph \"");
    print_text(f, g->prog->name, 60);
    fprintf(
        f,
        "\" {\n  node [shape=box, style=\"filled,rounded\", fontname=\"Helvetica\", fontsize=10];\n"
        "  edge [color=\"#666666\"];\n");
    for (int i = 0; i < g->n_inputs; i++) {
        fprintf(f, "  n%u [shape=ellipse, fillcolor=\"#ffffff\", label=\"", g->inputs[i]->id);
        print_text(f, g->inputs[i]->name, 60);
        fputs("\\n", f);
        print_shape(f, g->inputs[i]);
        fputs("\"];\n", f);
    }
    for (const IrNode *n = g->first; n; n = n->next)
        print_node(f, n);
    for (int i = 0; i < g->n_outputs; i++) {
        const IrValue *v = g->outputs[i];
        fprintf(f, "  out%d [shape=ellipse, fillcolor=\"#ffffff\", label=\"", i);
        print_text(f, v->name ? v->name : "", 60);
        fprintf(f, "\"];\n  n%u -> out%d;\n", v->def ? v->def->out[0]->id : v->id, i);
    }
    fprintf(f, "}\n");
}
