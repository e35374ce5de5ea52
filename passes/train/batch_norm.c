// BatchNormalization that trains (--bn train): a node whose scale or bias the stage trains works on
// the batch's own statistics and moves the running ones, which are outputs of the graph.
//
//   %y = batch_norm %x, %g, %b, %m, %v  ->  %y, %M, %V = batch_norm_train %x, %g, %b
//                                           return 0.9 %m + 0.1 %M, 0.9 %v + 0.1 %V n / (n - 1)
//
// Those are statistics of what the weights give as the step rounds them, in bf16. Outside of steps
// weights that were multiplied with the normalization before would be rounded to others: so there
// the product's result is multiplied, in f32.
#include "passes/train/program.h"

#include <string.h>

static int find_output(const IrGraph *g, const char *name) { // -1: none
    int i = g->n_outputs - 1;
    while (i >= 0 && strcmp(g->outputs[i]->name, name) != 0)
        i--;
    return i;
}

// running = 0.9 * running + 0.1 * batch, the variance times n / (n - 1): torch.nn.BatchNorm2d.
// Nodes that share a statistic, of a module called twice, move it one after the other.
static void move_statistic(PassTrain *t, IrGraph *g, IrValue *running, IrValue *batch,
                           IrValue *unbias, const char *name) {
    IrBuilder b = {.graph = g, .name = name};
    int at = find_output(g, running->name);
    IrValue *from = at >= 0 ? g->outputs[at] : running;
    batch = unbias ? ir_build2(&b, IR_OP_MUL, batch, unbias) : batch;
    IrValue *old = ir_build2(&b, IR_OP_MUL, from, ir_build_scalar(&b, IR_F32, 0.9));
    IrValue *now = ir_build2(&b, IR_OP_MUL, batch, ir_build_scalar(&b, IR_F32, 0.1));
    IrValue *sum = ir_build2(&b, IR_OP_ADD, old, now);
    if (!sum)
        ir_bug("batch_norm", name, "%s", b.err ? b.err : "it does not fit");
    if (at >= 0)
        ir_replace_output(g, at, sum);
    else
        pass_add_output(g, sum, ir_sprintf(t->arena, "%s", running->name));
}

// n / max(n - 1, 1), n the numbers that each channel of x has: N times the pixels.
static IrValue *build_unbias(IrGraph *g, const IrValue *x) {
    IrBuilder b = {.graph = g, .name = "unbias"};
    int64_t pixels = 1, zero = 0;
    for (int i = 2; i < x->type.shape.rank; i++)
        pixels *= x->type.shape.dim[i].c;
    IrShape batch = {1, {x->type.shape.dim[0]}};
    IrAttr to = ir_attr_dims(IR_ATTR_SHAPE, &batch);
    IrAttr sum[] = {ir_attr_ints(g->prog->arena, IR_ATTR_AXES, 1, &zero),
                    ir_attr_i(IR_ATTR_KEEPDIMS, 0)};
    IrValue *each = ir_build_scalar(&b, IR_F32, (double)pixels);
    IrValue *one = ir_build_scalar(&b, IR_F32, 1);
    each = ir_build(&b, IR_OP_EXPAND, 1, &each, 1, &to);
    IrValue *n = ir_build(&b, IR_OP_REDUCE_SUM, 1, &each, 2, sum);
    IrValue *less = ir_build2(&b, IR_OP_MAXIMUM, ir_build2(&b, IR_OP_SUB, n, one), one);
    IrValue *y = ir_build2(&b, IR_OP_DIV, n, less);
    if (!y)
        ir_bug("batch_norm", "unbias", "%s", b.err ? b.err : "it does not fit");
    return y;
}

static bool is_moving(const PassTrain *t, const IrValue *v, int s) {
    const IrTrainParam *p = v->input >= 0 ? pass_find_param(t, v) : NULL;
    return p && p->statistic && (p->trains >> s & 1);
}

static bool moves_statistics(const PassTrain *t, const IrNode *n, int s) {
    return t->opt->bn_train && n->op == IR_OP_BATCH_NORM && is_moving(t, ir_in(n, 3), s) &&
           is_moving(t, ir_in(n, 4), s);
}

// batch_norm nodes whose scale or bias the stage trains work on the batch's own statistics.
void pass_train_batch_norms(PassTrain *t, IrGraph *g, int s) {
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (!moves_statistics(t, n, s))
            continue;
        IrValue *mean = ir_in(n, 3), *var = ir_in(n, 4);
        IrBuilder b = {.graph = g, .before = n, .name = n->name, .src_op = n->src_op};
        IrValue *in[] = {ir_in(n, 0), ir_in(n, 1), ir_in(n, 2)};
        IrAttr eps = ir_attr_f(IR_ATTR_EPS, ir_float(n, IR_ATTR_EPS, 1e-5));
        IrNode *k = ir_build_node(&b, IR_OP_BATCH_NORM_TRAIN, 3, in, 1, &eps);
        if (!k)
            ir_bug("batch_norm", n->name, "%s", b.err ? b.err : "it does not fit");
        ir_replace_uses(n->out[0], k->out[0]);
        ir_remove_node(n);
        move_statistic(t, g, mean, k->out[1], NULL, k->name);
        move_statistic(t, g, var, k->out[2], build_unbias(g, in[0]), k->name);
    }
}

// A number for each channel, along axis 1 of x
static IrValue *as_channels(IrBuilder *b, IrValue *v, const IrValue *x) {
    IrShape s = {.rank = x->type.shape.rank};
    for (int i = 0; i < s.rank; i++)
        s.dim[i] = ir_dim(1);
    s.dim[1] = x->type.shape.dim[1];
    return ir_build_reshape(b, v, &s);
}

void pass_keep_weights(PassTrain *t, IrGraph *g, int s) {
    for (IrNode *n = g->first, *next; t->po->bf16 && n; n = next) {
        next = n->next;
        if (!moves_statistics(t, n, s))
            continue;
        IrBuilder b = {.graph = g, .before = n, .name = n->name, .src_op = n->src_op};
        IrValue *x = ir_in(n, 0),
                *eps = ir_build_scalar(&b, IR_F32, ir_float(n, IR_ATTR_EPS, 1e-5));
        IrValue *std = ir_build1(&b, IR_OP_SQRT, ir_build2(&b, IR_OP_ADD, ir_in(n, 4), eps));
        IrValue *a = ir_build2(&b, IR_OP_DIV, ir_in(n, 1), std);
        IrValue *d =
            ir_build2(&b, IR_OP_SUB, ir_in(n, 2), ir_build2(&b, IR_OP_MUL, ir_in(n, 3), a));
        IrValue *y = ir_build2(&b, IR_OP_MUL, x, as_channels(&b, a, x));
        y = ir_build2(&b, IR_OP_ADD, y, as_channels(&b, d, x));
        if (!y)
            ir_bug("batch_norm", n->name, "%s", b.err ? b.err : "it does not fit");
        ir_replace_uses(n->out[0], y);
        ir_remove_node(n);
    }
}
