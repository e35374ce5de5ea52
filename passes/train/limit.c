// --memory-limit: what training takes at the batch size of the program, and below which size the
// arena of a training step must be for it (passes/schedule/recompute.c).
//
//   state       parameters, their gradients, AdamW's two moments, the best parameters so far
//   batch       images, labels and what else a step is given for each image
//   arena       the largest of the stage's graphs, which take turns
//
// Not counted: code, constants, decoded images, what --ema and --accumulate keep beside that.
#include "ir/memory.h"
#include "passes/train/program.h"

enum { STATE = 5 }; // buffers as large as the parameters'

static int64_t batch_bytes(const PassTrain *t, const IrGraph *g) {
    int64_t sum = 0;
    for (int i = 0; i < g->n_inputs; i++) {
        IrDim bytes;
        if (!pass_find_param(t, g->inputs[i]) && ir_type_bytes(&g->inputs[i]->type, &bytes))
            sum += ir_dim_at(bytes, t->opt->batch);
    }
    return sum;
}

static const IrGraph *graph(const PassTrain *t, const IrTrainGraph *g) {
    return g->graph < 0 ? NULL : t->out->graphs[g->graph];
}

// All but the arena, in bytes at the batch size.
static int64_t fixed_bytes(const PassTrain *t, const IrGraph *step, const IrTrainStage *stage) {
    const IrGraph *features = graph(t, &stage->features);
    return STATE * (int64_t)sizeof(float) * t->out->param_floats + batch_bytes(t, step) +
           (features ? batch_bytes(t, features) : 0);
}

static int n_machines(const PassTrain *t) {
    return t->opt->n_machines > 1 ? t->opt->n_machines : 1;
}

void pass_train_limit(PassTrain *t, const IrGraph *step, const IrTrainStage *stage) {
    int64_t limit = t->opt->memory_limit;
    t->recompute = ir_alloc_array(t->arena, (size_t)n_machines(t), sizeof *t->recompute);
    for (int k = 0; k < n_machines(t); k++)
        t->recompute[k] =
            (PassRecompute){.bytes = limit ? limit - fixed_bytes(t, step, stage) : INT64_MAX,
                            .batch = t->opt->batch};
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

void pass_train_limited(PassTrain *t, IrTrainStage *stage) {
    for (int k = 0; k < n_machines(t); k++) {
        const PassRecompute *r = &t->recompute[k];
        float again = r->products > 0 ? (float)(r->again / r->products) : 0;
        stage->again = again > stage->again ? again : stage->again;
        stage->memory_unlimited = larger(stage->memory_unlimited, r->before);
    }
    t->recompute = NULL;
}

// A graph's largest arena at the batch size, on any machine.
static int64_t arena_bytes(const PassTrain *t, const IrTrainGraph *g) {
    int others = n_machines(t) - 1;
    const IrGraph *x = graph(t, g);
    int64_t most = x ? ir_dim_at(x->arena_bytes, t->opt->batch) : 0;
    for (int k = 0; x && k < others; k++)
        most = larger(most,
                      ir_dim_at(t->out->others[g->graph * others + k]->arena_bytes, t->opt->batch));
    return most;
}

static void sum_stage(const PassTrain *t, IrTrainStage *stage) {
    int64_t fixed = fixed_bytes(t, graph(t, &stage->train), stage);
    int64_t others = larger(arena_bytes(t, &stage->features), arena_bytes(t, &stage->eval));
    stage->memory = fixed + larger(others, arena_bytes(t, &stage->train));
    stage->memory_unlimited = fixed + larger(others, stage->memory_unlimited);
}

// As the option takes them: so many are enough.
static int64_t kilobytes(int64_t bytes) {
    return bytes / 1024 + (bytes % 1024 > 0);
}

bool pass_train_keeps_limit(PassTrain *t) {
    int64_t limit = t->opt->memory_limit;
    int most = 0;
    for (int s = 0; s < t->out->n_stages; s++) {
        sum_stage(t, &t->out->stages[s]);
        most = t->out->stages[s].memory > t->out->stages[most].memory ? s : most;
    }
    const IrTrainStage *stage = &t->out->stages[most];
    if (!limit || stage->memory <= limit)
        return true;
    ir_error(
        t->prog->diag, IR_NOWHERE,
        "--memory-limit %s: stage %d (%s) takes %lldK at least, of batches of %d images, %s of "
        "which are parameters and the optimiser's; --batch makes batches smaller",
        IR_SIZE(limit), most + 1, stage->spec, (long long)kilobytes(stage->memory), t->opt->batch,
        IR_SIZE(STATE * (int64_t)sizeof(float) * t->out->param_floats));
    return false;
}
