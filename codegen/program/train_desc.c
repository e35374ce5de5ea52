// A fine-tune program's HoneTrainDesc with its tables, over the descriptors of the program's
// graphs; layout.c writes it into the module.
#include "codegen/program/program.h"

static void *desc_of(CgProgram *p, int graph) {
    return graph < 0 ? NULL : cg_symbol(p->arena, cg_desc_symbol(p, &p->codes[graph]), 0);
}

static void *onnx_at(CgProgram *p, int64_t offset) {
    int64_t at = cg_weights_place(&p->weights, p->onnx_at);
    return cg_symbol(p->arena, cg_weights_symbol(p), at + offset);
}

static HoneTrainGraph graph(CgProgram *p, const CgTrainGraph *g) {
    if (g->graph < 0)
        return (HoneTrainGraph){0};
    const IrGraph *x = p->codes[g->graph].graph;
    return (HoneTrainGraph){desc_of(p, g->graph), x->n_inputs, x->n_outputs, g->in, g->out};
}

static const HoneParam *params(CgProgram *p, const CgTrain *t) {
    HoneParam *x = ir_alloc_array(p->arena, (size_t)t->n_params + 1, sizeof *x);
    for (int i = 0; i < t->n_params; i++) {
        x[i] = t->params[i];
        x[i].initial = onnx_at(p, t->initial_at[i]);
    }
    return x;
}

static const HoneTrainStage *stages(CgProgram *p, const CgTrain *t) {
    HoneTrainStage *x = ir_alloc_array(p->arena, (size_t)t->n_stages + 1, sizeof *x);
    for (int i = 0; i < t->n_stages; i++) {
        const CgTrainStage *s = &t->stages[i];
        x[i] = (HoneTrainStage){.spec = s->spec,
                                .epochs = s->epochs,
                                .lr = s->lr,
                                .features = graph(p, &s->features),
                                .train = graph(p, &s->train),
                                .eval = graph(p, &s->eval),
                                .n_trained = s->n_trained,
                                .n_frozen = s->n_frozen};
    }
    return x;
}

HoneTrainDesc cg_train_descriptor(CgProgram *p) {
    const CgTrain *t = p->train;
    HoneTrainDesc d = {.abi = HONE_ABI,
                       .loss = t->loss,
                       .binary = t->binary,
                       .classes = t->classes,
                       .n_params = t->n_params,
                       .n_groups = t->n_groups,
                       .n_stages = t->n_stages,
                       .n_plan = t->n_plan,
                       .param_floats = t->param_floats,
                       .params = params(p, t),
                       .groups = t->groups,
                       .stages = stages(p, t),
                       .plan = t->plan,
                       .sqsum = graph(p, &t->sqsum),
                       .onnx = onnx_at(p, 0),
                       .onnx_bytes = t->onnx_bytes,
                       .info = desc_of(p, t->info)};
    for (int i = 0; i < HONE_OPT_COUNT; i++)
        d.opt[i] = graph(p, &t->opt[i]);
    return d;
}
