// hone inspect: what is in a model, what of it cannot be compiled, and what the compiler makes of
// it.
#include "tools/layer_stats.h"
#include "tools/tool.h"

#include "runtime/file/json.h"

#include <string.h>

typedef struct Inspect {
    ToolModel model;
    const char *dot, *picture;
    bool compiled, json;
} Inspect;

static const ToolUsage usage = {
    "hone inspect MODEL.onnx [options]",
    "Prints the table of layers with shapes, parameters and multiply-accumulates (MACs, per "
    "image),\n"
    "and names every node that cannot be compiled. The picture shows what was fused.\n",
    "Examples:\n  hone inspect resnet50.onnx\n  hone inspect resnet50.onnx --compiled\n"
    "  hone inspect resnet50.onnx --picture resnet50.svg      (needs graphviz)\n"};

static void shape_text(const IrValue *v, char *buf, size_t size) {
    ir_type_print(&v->type, buf, size);
}

static void print_count(double x, char *buf, size_t size) {
    if (x >= 1e9)
        snprintf(buf, size, "%.2f G", x / 1e9);
    else if (x >= 1e6)
        snprintf(buf, size, "%.2f M", x / 1e6);
    else if (x >= 1e3)
        snprintf(buf, size, "%.1f k", x / 1e3);
    else
        snprintf(buf, size, x > 0 ? "%.0f  " : "-", x);
}

static void print_table(const IrGraph *g) {
    char name[37], text[256], type[256], params[32], macs[32];
    LayerStats total = {0, 0};
    for (int i = 0; i < g->n_inputs; i++) {
        shape_text(g->inputs[i], type, sizeof type);
        printf("input   %s  %s\n", RT_SHOW(g->inputs[i]->name), type);
    }
    printf("\n%-36s %-32s %-32s %10s %10s\n", "node", "layer", "result", "params", "MACs");
    for (const IrNode *n = g->first; n; n = n->next) {
        LayerStats s = layer_stats(n);
        shape_text(n->out[0], type, sizeof type);
        print_count((double)s.params, params, sizeof params);
        print_count(s.macs, macs, sizeof macs);
        printf("%-36s %-32.32s %-32.40s %10s %10s\n", RT_SHOW(layer_name(n, name, sizeof name)),
               layer_text(n, text, sizeof text), type, params, macs);
        total.params += s.params;
        total.macs += s.macs;
    }
    print_count((double)total.params, params, sizeof params);
    print_count(total.macs, macs, sizeof macs);
    printf("\n%d nodes, %s parameters, %s MACs per image\n", g->n_nodes, params, macs);
    for (int i = 0; i < g->n_outputs; i++) {
        shape_text(g->outputs[i], type, sizeof type);
        printf("output  %s  %s\n", RT_SHOW(g->outputs[i]->name), type);
    }
}

static void print_json(const IrGraph *g) {
    char text[256], type[256];
    RtJson j = {.f = stdout};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "model", g->prog->name);
    rt_json_begin(&j, "layers", '[');
    for (const IrNode *n = g->first; n; n = n->next) {
        LayerStats s = layer_stats(n);
        shape_text(n->out[0], type, sizeof type);
        rt_json_begin(&j, NULL, '{');
        rt_json_text(&j, "name", n->name);
        rt_json_text(&j, "layer", layer_text(n, text, sizeof text));
        rt_json_text(&j, "result", type);
        rt_json_int(&j, "params", s.params);
        rt_json_number(&j, "macs", s.macs, 17);
        rt_json_end(&j, '}');
    }
    rt_json_end(&j, ']');
    rt_json_end(&j, '}');
    putchar('\n');
}

// By graphviz, in the format that the name ends with.
static bool write_picture(Tool *t, IrGraph *g, const char *path) {
    const char *ext = strrchr(path, '.');
    if (!ext ||
        (strcmp(ext, ".svg") != 0 && strcmp(ext, ".png") != 0 && strcmp(ext, ".pdf") != 0)) {
        ir_error(&t->diag, IR_NOWHERE, "--picture %s: the name must end in .svg, .png or .pdf",
                 path);
        return false;
    }
    ToolOut out;
    const char *dot = ir_sprintf(t->arena, "%s/graph.dot", tool_temp_dir(t));
    if (!tool_out_begin(t, &out, path) || !tool_write_text(t, dot, tool_print_dot, g))
        return false;
    const char *argv[] = {"dot", ir_sprintf(t->arena, "-T%s", ext + 1), "-o", out.temp, dot, NULL};
    return tool_spawn(t, argv) && tool_out_commit(t, &out, false);
}

static void print_unsupported(const FeReport *r) {
    printf("\n%d node%s cannot be compiled:\n", r->n, r->n == 1 ? "" : "s");
    for (int i = 0; i < r->n; i++)
        printf("  %s (%s%s%s, opset %d): %s\n", RT_SHOW(r->v[i].node), RT_SHOW(r->v[i].domain),
               r->v[i].domain && *r->v[i].domain ? "." : "", RT_SHOW(r->v[i].op), r->v[i].opset,
               RT_SHOW(r->v[i].reason));
}

static int run_inspect(Tool *t, Inspect *c) {
    FeReport report = {0};
    if (!tool_target(t, &c->model))
        return EXIT_INPUT;
    t->diag.file = c->model.path;
    IrProgram *p = tool_import(t, &c->model, &report);
    if (!p)
        return EXIT_INPUT;
    IrGraph *g = tool_infer_graph(p);
    bool whole = report.n == 0;
    if (!c->compiled && !c->json)
        print_table(g);
    if (!c->compiled && c->json)
        print_json(g);
    if (whole && (c->compiled || c->dot || c->picture)) {
        PassOptions po = tool_pass_options(&c->model);
        passes_run(p, g, &po, PASS_INFER);
        if (c->compiled)
            c->json ? print_json(g) : print_table(g);
        if (c->compiled && !c->json)
            passes_print_memory(stdout, g, 1);
    }
    if (!whole)
        print_unsupported(&report);
    if ((c->dot && !tool_write_text(t, c->dot, tool_print_dot, g)) ||
        (c->picture && !write_picture(t, g, c->picture)))
        return EXIT_INPUT;
    return whole ? EXIT_FINE : EXIT_INPUT;
}

int cmd_inspect(Tool *t, int argc, char **argv) {
    Inspect c = {.model = TOOL_MODEL_DEFAULT};
    const ToolOpt opts[] = {
        {"--compiled", NULL, NULL, TOOL_FLAG, &c.compiled, "the graph after all passes: what runs",
         0, 0},
        {"--dot", NULL, "FILE", TOOL_TEXT, &c.dot, "the compiled graph for Graphviz", 0, 0},
        {"--picture", NULL, "FILE", TOOL_TEXT, &c.picture, "the same drawn: .svg, .png or .pdf", 0,
         0},
        {"--json", NULL, NULL, TOOL_FLAG, &c.json, "the table for machines", 0, 0},
        TOOL_MODEL_OPTIONS(c.model),
        {0}};
    ToolList rest;
    ToolParse got = tool_parse(argc, argv, opts, &usage, &rest);
    if (got != TOOL_OK)
        return got == TOOL_HELP ? EXIT_FINE : EXIT_USAGE;
    if (rest.n != 1) {
        fprintf(stderr, "hone inspect: give one model; see hone inspect --help\n");
        return EXIT_USAGE;
    }
    c.model.path = rest.v[0];
    return run_inspect(t, &c);
}
