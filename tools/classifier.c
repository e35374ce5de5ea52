// Which of a network's outputs classifies: that of --output, else of the model's own metadata, else
// the one with the classifier. compile, finetune, inspect and quantize ask here, and tell the same.
#include "tools/tool.h"

#include <string.h>

enum { MOST_NAMED = 8 };

static int find_output(const IrGraph *g, const char *name) { // -1: none
    int k = ir_own_outputs(g) - 1;
    while (k >= 0 && strcmp(g->outputs[k]->name, name) != 0)
        k--;
    return k;
}

const char *tool_list_outputs(Tool *t, const IrGraph *g, int but) {
    const char *list = "";
    char type[256];
    int n = 0, own = ir_own_outputs(g), left = own - (but >= 0);
    for (int i = 0; i < own && n < MOST_NAMED; i++)
        if (i != but)
            list = ir_sprintf(t->arena, "%s%s%s %s", list, n++ ? ", " : "", g->outputs[i]->name,
                              ir_type_print(&g->outputs[i]->type, type, sizeof type));
    return left > n ? ir_sprintf(t->arena, "%s, and %d more", list, left - n) : list;
}

// An output of the model alone says that it classifies; else it is the first of them that is the
// model's own and a row of scores. An embedding is a row, too.
void tool_take_outputs(const ToolModel *m, ToolImage *im, const IrGraph *g, const FeModel *file) {
    for (int i = 0; i < g->n_outputs && m->outputs.n && !im->output; i++) {
        const char *name = g->outputs[i]->name;
        if (m->outputs.n == 1 && fe_model_has_output(file, m->outputs.v[0]))
            im->output = m->outputs.v[0];
        else if (fe_model_has_output(file, name) && pass_is_score_row(g, i))
            im->output = name;
    }
    im->embeds = m->outputs.n && !im->output;
}

static int find_in_metadata(Tool *t, const IrGraph *g) { // -1: none
    const char *name = ir_meta(g->prog, TOOL_OUTPUT_KEY);
    int k = name ? find_output(g, name) : -1;
    if (name && k < 0)
        ir_warn(&t->diag, IR_NOWHERE, "metadata '%s': no output is called '%s': ignored",
                TOOL_OUTPUT_KEY, name);
    return k;
}

bool tool_find_classifier(Tool *t, ToolImage *im, IrGraph *g, int *output) {
    char type[256];
    int own = ir_own_outputs(g);
    int k = im->output ? find_output(g, im->output) : -1;
    if (im->output && k < 0) {
        ir_error(&t->diag, IR_NOWHERE, "--output: no output is called '%s'; there %s: %s",
                 im->output, own == 1 ? "is" : "are", tool_list_outputs(t, g, -1));
        return false;
    }
    if (k < 0 && !im->embeds && own > 1)
        k = find_in_metadata(t, g);
    *output = k = k < 0 && !im->embeds ? pass_classifier(g) : k;
    im->classifier = k >= 0 ? g->outputs[k]->name : NULL;
    if (k >= 0 && own > 1)
        im->told =
            ir_sprintf(t->arena, "classes: by output '%s' %s, not by %s; --output chooses",
                       g->outputs[k]->name, ir_type_print(&g->outputs[k]->type, type, sizeof type),
                       tool_list_outputs(t, g, k));
    return true;
}
