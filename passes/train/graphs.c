// All graphs of a fine-tune program: the network with its parameters as inputs, simplified once,
// then the graphs of every stage and optimiser, and constants that several of them read as one.
#include "ir/map.h"
#include "passes/train/autodiff.h"
#include "passes/train/names.h"
#include "passes/train/program.h"

#include <string.h>

// ---------------------------------------------------------------- the network with inputs

static bool is_among(const char *name, IrValue *const *v, int n) {
    for (int i = 0; i < n; i++)
        if (strcmp(name, v[i]->name) == 0)
            return true;
    return false;
}

static IrGraph *make_network(PassTrain *t) {
    int n = t->out->n_params;
    IrValue **in = ir_alloc_array(t->arena, (size_t)n + 1, sizeof *in);
    for (int i = 0; i < n; i++)
        in[i] = ir_const_value(t->infer, t->out->params[i].konst);
    IrGraph *g = ir_extract(t->infer, "network", n, in, 1, t->infer->outputs);
    for (int i = 0; i < g->n_inputs; i++) {
        IrValue *v = g->inputs[i];
        v->name =
            is_among(v->name, in, n) ? pass_param_name(t, v->name) : pass_bind_input(IR_BIND_IMAGE);
    }
    passes_run(t->prog, g, t->po, PASS_SIMPLIFY);
    return g;
}

// ---------------------------------------------------------------- shared constants

typedef struct Twins {
    IrMap first; // by type and hash of the content
    PassTrain *train;
} Twins;

static IrConst *find_twin(Twins *t, IrConst *c) {
    char type[160];
    IrDim bytes;
    IrArena *a = t->train->arena;
    if (c->kind != IR_CONST_DATA || !ir_type_bytes(&c->type, &bytes) || bytes.c < 64)
        return c;
    uint64_t h = ir_hash(c->data, (size_t)bytes.c);
    ir_type_print(&c->type, type, sizeof type);
    void **slot = ir_map_put(&t->first, ir_sprintf(a, "%016llx %s", (unsigned long long)h, type));
    IrConst *twin = *slot;
    if (!twin) {
        *slot = c;
        return c;
    }
    return memcmp(twin->data, c->data, (size_t)bytes.c) == 0 ? twin : c;
}

// Equal constants of the graphs become one, so that they are packed once.
static void share_consts(PassTrain *t) {
    Twins twins = {.first = {.arena = t->arena}, .train = t};
    IrConst **now = ir_alloc_array(t->arena, t->prog->next_const_id + 1, sizeof *now);
    for (int i = 0; i < t->out->n_graphs; i++) {
        IrGraph *g = t->out->graphs[i];
        for (int k = 0; k < g->cap_const_values; k++) {
            IrValue *v = g->const_values[k];
            if (!v || !v->n_uses)
                continue;
            if (!now[v->konst->id])
                now[v->konst->id] = find_twin(&twins, v->konst);
            v->konst = now[v->konst->id];
        }
    }
}

// ---------------------------------------------------------------- all of them

bool pass_train_graphs(IrGraph *infer, const PassOptions *po, const PassTrainOptions *o,
                       IrTrainProgram *out) {
    PassTrain train = {.prog = infer->prog,
                       .arena = infer->prog->arena,
                       .infer = infer,
                       .po = po,
                       .opt = o,
                       .out = out},
              *t = &train;
    IrGraph *net = make_network(t);
    for (int s = 0; s < out->n_stages; s++)
        if (!pass_train_stage(t, net, s))
            return false;
    for (int i = 0; i < IR_OPT_COUNT; i++)
        pass_finish_graph(t, pass_optimizer(t->prog, i, IR_TRAIN_ROW), PASS_OPTIMIZER,
                          &out->opt[i]);
    pass_finish_graph(t, pass_square_sums(t->prog, IR_TRAIN_ROW), PASS_OPTIMIZER, &out->sqsum);
    share_consts(t);
    return pass_train_keeps_limit(t);
}
