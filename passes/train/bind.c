// What the inputs and outputs of a graph are: bindings, found by their names and checked against
// the rows of runtime/train/bind.def.
//
//   "image"            -> {IR_BIND_IMAGE, 0}
//   "grad:fc.weight"   -> {IR_BIND_GRAD, number of fc.weight}
#include "passes/train/names.h"
#include "passes/train/program.h"

#include <stdlib.h>
#include <string.h>

typedef enum Shape { SCALAR, SAMPLES, LABELS, CLASSES, LOGITS, PER_IMAGE, PARAM, ROWS } Shape;

static const struct {
    IrDtype dtype;
    Shape shape;
} rows[] = {
#define BIND(NAME, input, output, DTYPE, SHAPE, what) {IR_##DTYPE, SHAPE},
#include "runtime/train/bind.def"
};
enum { N_ROWS = sizeof rows / sizeof *rows };

const char *pass_param_name(PassTrain *t, const char *initializer) {
    return ir_sprintf(t->arena, "%s%s", pass_bind_input(IR_BIND_PARAM), initializer);
}

const char *pass_grad_name(PassTrain *t, const char *initializer) {
    return ir_sprintf(t->arena, "%s%s", pass_bind_output(IR_BIND_GRAD), initializer);
}

const char *pass_feature_name(PassTrain *t, int i) {
    return ir_sprintf(t->arena, "%s%d", pass_bind_input(IR_BIND_FEATURE), i);
}

static int find_index(const PassTrain *t, const char *initializer) { // -1: none
    for (int i = 0; i < t->out->n_params; i++)
        if (strcmp(t->out->params[i].konst->name, initializer) == 0)
            return i;
    return -1;
}

const IrTrainParam *pass_find_param(const PassTrain *t, const IrValue *input) {
    const char *rest = pass_bind_match(pass_bind_input(IR_BIND_PARAM), input->name);
    int i = rest ? find_index(t, rest) : -1;
    return i >= 0 ? &t->out->params[i] : NULL;
}

static bool has_shape(const PassTrain *t, const IrValue *v, IrBind b) {
    const IrShape *s = &v->type.shape;
    int maps = t->out->map[0] > 0;
    IrDim n = {0, 1}, columns = ir_dim(maps ? t->out->classes : t->out->logits);
    IrDim places = ir_dim(t->out->map[0] * t->out->map[1]);
    bool per_image = s->rank >= 1 && ir_dim_eq(s->dim[0], n);
    switch (rows[b.kind].shape) {
    case SCALAR:
        return s->rank == 0;
    case SAMPLES:
        return s->rank == 1 && per_image;
    case CLASSES:
        return s->rank == 1 && ir_dim_is(s->dim[0], t->out->binary ? 2 : columns.c);
    case LABELS:
        return per_image && s->rank == 1 + maps && (!maps || ir_dim_eq(s->dim[1], places));
    case LOGITS:
        return per_image && s->rank == 2 + maps && (!maps || ir_dim_eq(s->dim[1], places)) &&
               ir_dim_eq(s->dim[s->rank - 1], columns);
    case PER_IMAGE:
        return per_image;
    case PARAM:
        return ir_shape_eq(s, &t->out->params[b.index].konst->type.shape);
    case ROWS:
        return s->rank == 2 && per_image && ir_dim_is(s->dim[1], IR_TRAIN_ROW);
    }
    return false;
}

static IrBind bind_one(const PassTrain *t, const IrValue *v, bool output) {
    for (int k = 0; k < N_ROWS; k++) {
        const char *rest =
            pass_bind_match(output ? pass_bind_output(k) : pass_bind_input(k), v->name);
        if (!rest)
            continue;
        IrBind b = {k, !*rest ? 0 : k == IR_BIND_FEATURE ? atoi(rest) : find_index(t, rest)};
        if (b.index < 0 || v->type.dtype != rows[k].dtype || !has_shape(t, v, b))
            ir_bug("train", v->name, "not what its row of bind.def says");
        return b;
    }
    ir_bug("train", v->name, "no row of bind.def");
}

static const IrBind *bind_all(PassTrain *t, IrValue **v, int n, bool output) {
    IrBind *b = ir_alloc_array(t->arena, (size_t)n + 1, sizeof *b);
    for (int i = 0; i < n; i++)
        b[i] = bind_one(t, v[i], output);
    return b;
}

void pass_add_output(IrGraph *g, IrValue *v, const char *name) {
    ir_output(g, v);
    g->outputs[g->n_outputs - 1]->name = name;
}

// The passes that know the machine, of the program's k-th.
static void plan_for(PassTrain *t, IrGraph *g, PassPipeline in, int k) {
    PassOptions po = *t->po;
    if (k)
        po.machine = t->opt->machines[k];
    po.recompute = t->recompute ? &t->recompute[k] : NULL;
    passes_run_part(t->prog, g, &po, in, PASS_ONE_MACHINE);
}

static void plan_copy(PassTrain *t, IrGraph *g, PassPipeline in, int k) {
    IrGraph *copy = ir_copy(g, g->name);
    plan_for(t, copy, in, k);
    IR_PUSH(t->arena, t->out->others, t->out->n_others, t->cap_others, copy);
}

void pass_finish_graph(PassTrain *t, IrGraph *g, PassPipeline in, IrTrainGraph *out) {
    *out = (IrTrainGraph){t->out->n_graphs, bind_all(t, g->inputs, g->n_inputs, false),
                          bind_all(t, g->outputs, g->n_outputs, true)};
    passes_run_part(t->prog, g, t->po, in, PASS_ANY_MACHINE);
    for (int k = 1; k < t->opt->n_machines; k++)
        plan_copy(t, g, in, k);
    plan_for(t, g, in, 0);
    IR_PUSH(t->arena, t->out->graphs, t->out->n_graphs, t->cap_graphs, g);
}
