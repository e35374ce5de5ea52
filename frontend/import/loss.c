// Losses: NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss, written out. Classes are axis 1 of
// the scores [N,C,d...], labels [N,d...] say which:
//
//   chosen[n,c,d] = label[n,d] == c and label[n,d] != ignore_index
//   loss[n,d]     = -sum over c of where(chosen, weight[c] * score[n,c,d], 0)
//   mean          = sum of the losses / sum over all of where(chosen, weight[c], 0)
//
// A label that is no class costs nothing and counts nothing.
#include "frontend/import.h"

#include <string.h>

typedef enum Reduction { MEAN, SUM, NONE } Reduction;

static const IrInts class_axis = {1, (int64_t[]){1}};

static Reduction read_reduction(FeNode *n) {
    static const char *const names[] = {"mean", "sum", "none"};
    const char *text = fe_attr_str(n, "reduction", "mean");
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            return (Reduction)i;
        }
    }
    fe_refuse(n, "reduction '%s' is none of mean, sum and none", text);
    return MEAN;
}

static bool check_shapes(FeNode *n, const IrType *score, const IrType *label) {
    const IrShape *s = &score->shape, *l = &label->shape;
    bool fits = s->rank >= 2 && l->rank == s->rank - 1 && ir_dim_eq(s->dim[0], l->dim[0]);
    for (int i = 1; i < l->rank && fits; i++) {
        fits = ir_dim_eq(l->dim[i], s->dim[i + 1]);
    }
    if (!fits) {
        char a[160], b[160];
        fe_refuse(n, "labels %s do not fit scores %s", ir_type_print(label, b, sizeof b),
                  ir_type_print(score, a, sizeof a));
    } else if (label->dtype != IR_I32 && label->dtype != IR_I64) {
        fe_refuse(n, "labels of %s, they must be int32 or int64", ir_dtype_name(label->dtype));
    }
    return !n->refused;
}

static IrValue *build_chosen(FeNode *n, IrValue *label, const IrShape *score) {
    IrShape s = {score->rank, {label->type.shape.dim[0], ir_dim(1)}};
    memcpy(s.dim + 2, score->dim + 2, sizeof(IrDim) * (size_t)(score->rank - 2));
    label = fe_reshape(n, label, &s);
    label = n->refused ? NULL : fe_cast(n, label, IR_I64);
    IrValue *chosen = fe_bin(n, IR_OP_EQUAL, label, fe_iota(n, 0, score->dim[1], 1, score->rank));
    if (!fe_attr(n, "ignore_index")) {
        return chosen;
    }
    double ignore = (double)fe_attr_int(n, "ignore_index", 0);
    IrValue *counts = fe_un(n, IR_OP_NOT, fe_op_const(n, IR_OP_EQUAL, label, ignore));
    return fe_bin(n, IR_OP_AND, chosen, counts);
}

static IrValue *where_chosen(FeNode *n, IrValue *chosen, IrValue *x) {
    return fe_build(n, IR_OP_WHERE, FE_IN(chosen, x, fe_const(n, x, 0)), 0, NULL);
}

// The loss of `score`, log probabilities, with inputs 1 (labels) and 2 (weights) of the node.
static void build_loss(FeNode *n, IrValue *score) {
    IrValue *label = fe_operand(n, 1), *weight = fe_operand_or_null(n, 2);
    Reduction reduction = read_reduction(n);
    if (n->refused || !check_shapes(n, &score->type, &label->type)) {
        return;
    }
    int rank = score->type.shape.rank;
    IrValue *chosen = build_chosen(n, label, &score->type.shape);
    if (weight && !ir_dim_eq(score->type.shape.dim[1], weight->type.shape.dim[0])) {
        fe_refuse(n, "the weights are not one for each class");
    }
    weight = weight ? fe_reshape_axes(n, weight, rank, class_axis) : NULL;
    IrValue *cost = weight ? fe_bin(n, IR_OP_MUL, score, weight) : score;
    IrValue *loss = fe_reduce(n, IR_OP_REDUCE_SUM, where_chosen(n, chosen, cost), class_axis, 0);
    loss = fe_un(n, IR_OP_NEG, loss);
    if (reduction != NONE) {
        loss = fe_reduce(n, IR_OP_REDUCE_SUM, loss, fe_range(n, 0, rank - 1), false);
    }
    if (reduction == MEAN && !n->refused) {
        IrValue *one = fe_const(n, score, 1), *zero = fe_const(n, score, 0);
        IrValue *parts =
            fe_build(n, IR_OP_WHERE, FE_IN(chosen, weight ? weight : one, zero), 0, NULL);
        IrValue *total = fe_reduce(n, IR_OP_REDUCE_SUM, parts, fe_range(n, 0, rank), false);
        loss = fe_bin(n, IR_OP_DIV, loss, total);
    }
    fe_out(n, 0, loss);
}

// NegativeLogLikelihoodLoss-22: of log probabilities
void fe_import_nll_loss(FeNode *n) {
    IrValue *score = fe_operand(n, 0);
    if (!n->refused) {
        build_loss(n, score);
    }
}

// SoftmaxCrossEntropyLoss-13: of logits; output 1 is their log probabilities.
void fe_import_softmax_loss(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    IrValue *score = fe_build(n, IR_OP_LOG_SOFTMAX, FE_IN(x), FE_WITH(ir_attr_i(IR_ATTR_AXIS, 1)));
    if (n->refused) {
        return;
    }
    build_loss(n, score);
    if (fe_used(n, 1)) {
        fe_out(n, 1, score);
    }
}
