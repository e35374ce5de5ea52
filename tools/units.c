// The units of a program: the model is read once for each size, passes that ask nothing of the
// machine run once for it, and the graph that they leave is planned for each machine.
#include "tools/tool.h"

#include <math.h>
#include <string.h>

static IrProgram *import(Tool *t, ToolModel *m, ToolUnits *u) {
    FeOptions opt;
    const FeModel *file = NULL, **before = m->onnx;
    if (u->model)
        return tool_import_options(t, m, &opt) ? fe_new_model_import(t->arena, u->model, &opt)
                                               : NULL;
    m->onnx = &file;
    IrProgram *p = tool_import(t, m, NULL);
    m->onnx = before;
    if (p)
        tool_take_outputs(m, u->image, tool_infer_graph(p), file);
    return p;
}

static bool same_tensors(IrValue *const *a, int n, IrValue *const *b, int m) {
    for (int i = 0; i < n && n == m; i++)
        if (strcmp(a[i]->name, b[i]->name) != 0 || a[i]->type.dtype != b[i]->type.dtype ||
            a[i]->type.shape.rank != b[i]->type.shape.rank)
            return false;
    return n == m;
}

// Callers know one list of inputs and outputs.
static bool check_interface(Tool *t, const IrGraph *first, const IrGraph *g) {
    if (same_tensors(first->inputs, first->n_inputs, g->inputs, g->n_inputs) &&
        same_tensors(first->outputs, first->n_outputs, g->outputs, g->n_outputs))
        return true;
    ir_error(&t->diag, IR_NOWHERE, "the model has other inputs or outputs than at the first size");
    return false;
}

static int32_t shorter(const HonePreprocess *x) {
    return x->height < x->width ? x->height : x->width;
}

// A shorter side before the crop that is given in pixels is meant for the first size: others have
// the same share of the picture.
static void scale_resize(const HonePreprocess *first, HonePreprocess *x) {
    if (x->resize == first->resize && first->height)
        x->resize = (int32_t)lrint((double)x->resize * shorter(x) / shorter(first));
}

static IrGraph *prepare(Tool *t, ToolModel *m, ToolUnits *u, CgOptions *o) {
    IrProgram *p = import(t, m, u);
    if (!p)
        return NULL;
    u->passes.arena_limit = fe_limit(&m->limits, FE_LIMIT_ARENA); // known by now
    ToolImage image = *u->image;                                  // what is told is told once
    p->name = u->name;
    IrGraph *g = tool_infer_graph(p);
    if (m->size == 0)
        tool_check_weights(t, g, false);
    g = tool_prepare(t, m->size ? &image : u->image, &u->gradient, &u->passes, g, o);
    if (g && m->size == 0)
        *u->options = *o;
    return g && (m->size == 0 || check_interface(t, u->v[0].graph, g)) ? g : NULL;
}

// For every machine the rest of the passes, on a copy where it is not the last.
static void plan(ToolModel *m, ToolUnits *u, IrGraph *g, const CgOptions *o) {
    IrProgram *p = g->prog;
    passes_run_part(p, g, &u->passes, PASS_INFER, PASS_ANY_MACHINE);
    int first = u->n;
    HonePreprocess preprocess = o->preprocess;
    scale_resize(&u->options->preprocess, &preprocess);
    for (int k = 0; k < m->n_targets; k++)
        u->v[u->n++] = (CgUnit){.graph = k + 1 < m->n_targets ? ir_copy(g, g->name) : g,
                                .target = &m->targets[k],
                                .preprocess = preprocess};
    for (int i = first; i < u->n; i++) {
        PassOptions po = u->passes;
        m->target = *u->v[i].target;
        po.machine = &u->v[i].target->machine;
        passes_run_part(p, u->v[i].graph, &po, PASS_INFER, PASS_ONE_MACHINE);
    }
}

bool tool_units(Tool *t, ToolModel *m, ToolUnits *u) {
    u->n = 0;
    u->v = ir_alloc_array(t->arena, HONE_MAX_UNITS, sizeof *u->v);
    int errors = t->diag.errors;
    for (m->size = 0; m->size < m->n_sizes; m->size++) {
        CgOptions o = *u->options;
        IrGraph *g = prepare(t, m, u, &o);
        if (g)
            plan(m, u, g, &o);
        if (!g && m->n_sizes > 1)
            ir_error(&t->diag, IR_NOWHERE, "it is refused at --input-shape %s",
                     m->sizes[m->size].text);
        if (!g)
            break;
        t->diag.warned = true;
    }
    t->diag.warned = false;
    m->size = 0;
    return t->diag.errors == errors;
}

const char *tool_units_text(IrArena *a, const ToolUnits *u, const int *same_as) {
    const char *text = "";
    for (int i = 0; i < u->n; i++) {
        bool said = same_as && same_as[i] != i;
        for (int k = 0; k < i && !said; k++)
            said = (!same_as || same_as[k] == k) && u->v[k].target == u->v[i].target;
        if (!said)
            text = ir_sprintf(a, "%s%s%s", text, *text ? ", " : "", u->v[i].target->cpu);
    }
    return text;
}
