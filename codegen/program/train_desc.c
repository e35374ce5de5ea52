// A fine-tune program's HoneTrainDesc with its tables, over the descriptors of the program's
// graphs; layout.c writes it into the module.
#include "codegen/program/program.h"

static void *desc_of(CgProgram *p, int graph) {
    return graph < 0 ? NULL : cg_symbol(p->arena, cg_desc_symbol(p, cg_units_first(p, graph)), 0);
}

static void *onnx_at(CgProgram *p, int64_t offset) {
    int64_t at = cg_weights_place(&p->weights, p->onnx_at);
    return cg_symbol(p->arena, cg_weights_symbol(p), at + offset);
}

static const HoneBind *binds(CgProgram *p, const IrBind *b, int n) {
    HoneBind *x = ir_alloc_array(p->arena, (size_t)n + 1, sizeof *x);
    for (int i = 0; i < n; i++)
        x[i] = (HoneBind){(int32_t)b[i].kind, b[i].index};
    return x;
}

static HoneTrainGraph graph(CgProgram *p, const IrTrainGraph *g) {
    if (g->graph < 0)
        return (HoneTrainGraph){0};
    const IrGraph *x = cg_units_first(p, g->graph)->graph;
    return (HoneTrainGraph){desc_of(p, g->graph), x->n_inputs, x->n_outputs,
                            binds(p, g->in, x->n_inputs), binds(p, g->out, x->n_outputs)};
}

static const HoneParam *params(CgProgram *p, const IrTrainProgram *t) {
    HoneParam *x = ir_alloc_array(p->arena, (size_t)t->n_params + 1, sizeof *x);
    for (int i = 0; i < t->n_params; i++) {
        const IrTrainParam *from = &t->params[i];
        const char *name = from->konst->name;
        IrDtype stored = IR_F32;
        int64_t at = p->file->find(p->file->ctx, name, &stored);
        const IrShape *s = &from->konst->type.shape;
        x[i] = (HoneParam){.name = name,
                           .node = from->node,
                           .rank = s->rank,
                           .group = from->group,
                           .offset = from->offset,
                           .count = from->count,
                           .initial = onnx_at(p, at),
                           .trains = from->trains,
                           .fresh = from->fresh,
                           .stored = (int32_t)stored};
        for (int k = 0; k < s->rank; k++)
            x[i].dim[k] = s->dim[k].c;
    }
    return x;
}

static const HoneParamGroup *groups(CgProgram *p, const IrTrainProgram *t) {
    HoneParamGroup *x = ir_alloc_array(p->arena, (size_t)t->n_groups + 1, sizeof *x);
    for (int i = 0; i < t->n_groups; i++) {
        const IrTrainGroup *g = &t->groups[i];
        x[i] = (HoneParamGroup){g->offset, g->count, g->lr_mult, g->decays, g->trains};
    }
    return x;
}

static const HoneTrainStage *stages(CgProgram *p, const IrTrainProgram *t) {
    HoneTrainStage *x = ir_alloc_array(p->arena, (size_t)t->n_stages + 1, sizeof *x);
    for (int i = 0; i < t->n_stages; i++) {
        const IrTrainStage *s = &t->stages[i];
        x[i] = (HoneTrainStage){.spec = s->spec,
                                .epochs = s->epochs,
                                .lr = s->lr,
                                .features = graph(p, &s->features),
                                .train = graph(p, &s->train),
                                .eval = graph(p, &s->eval),
                                .n_trained = s->n_trained,
                                .n_frozen = s->n_frozen,
                                .memory = s->memory,
                                .memory_unlimited = s->memory_unlimited,
                                .again = s->again};
    }
    return x;
}

static const HonePlanRow *plan(CgProgram *p, const IrTrainProgram *t) {
    HonePlanRow *x = ir_alloc_array(p->arena, (size_t)t->n_plan + 1, sizeof *x);
    for (int i = 0; i < t->n_plan; i++) {
        const IrPlanRow *r = &t->plan[i];
        x[i] = (HonePlanRow){r->node, r->op, r->params, r->count, r->trains};
    }
    return x;
}

static const HoneFixed *fixed(CgProgram *p, const IrTrainProgram *t, int64_t *n) {
    HoneFixed *x = ir_alloc_array(p->arena, (size_t)t->n_floats + 1, sizeof *x);
    for (int i = 0; i < t->n_floats; i++) {
        const IrFloats *v = &t->floats[i];
        if (v->reason && !v->fresh)
            x[(*n)++] = (HoneFixed){v->konst->name, v->reason, v->count};
    }
    return x;
}

HoneTrainDesc cg_train_descriptor(CgProgram *p) {
    const IrTrainProgram *t = p->train;
    int64_t n_fixed = 0;
    HoneTrainDesc d = {.abi = HONE_ABI,
                       .loss = (int32_t)t->loss,
                       .binary = t->binary,
                       .classes = t->classes,
                       .n_params = t->n_params,
                       .n_groups = t->n_groups,
                       .n_stages = t->n_stages,
                       .n_plan = t->n_plan,
                       .map_height = (int32_t)t->map[0],
                       .map_width = (int32_t)t->map[1],
                       .param_floats = t->param_floats,
                       .memory_limit = t->memory_limit,
                       .batch = t->batch,
                       .params = params(p, t),
                       .groups = groups(p, t),
                       .stages = stages(p, t),
                       .plan = plan(p, t),
                       .sqsum = graph(p, &t->sqsum),
                       .fixed = fixed(p, t, &n_fixed),
                       .onnx = onnx_at(p, 0),
                       .onnx_bytes = p->file->bytes,
                       .info = desc_of(p, t->info)};
    d.n_fixed = n_fixed;
    for (int i = 0; i < IR_OPT_COUNT; i++)
        d.opt[i] = graph(p, &t->opt[i]);
    return d;
}
