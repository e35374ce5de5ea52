// Reductions. Axes are an attribute, or an input from ReduceSum-13 and the others' version 18 on;
// no axes mean all of them, or none with noop_with_empty_axes.
#include "frontend/import.h"

#include <math.h>

typedef struct Reduction {
    IrValue *x;
    IrInts axes;
    bool keepdims;
} Reduction;

static Reduction read_reduction(FeNode *n) {
    Reduction r = {.x = fe_operand(n, 0), .keepdims = fe_attr_int(n, "keepdims", 1) != 0};
    IrInts axes = fe_ints_of(n, "axes", 1);
    bool noop = fe_attr_int(n, "noop_with_empty_axes", 0) != 0;
    if (!n->refused) {
        int rank = r.x->type.shape.rank;
        r.axes = axes.n || noop ? fe_axes(n, axes, rank) : fe_range(n, 0, rank);
    }
    return r;
}

static IrValue *reduce(FeNode *n, const Reduction *r, IrValue *x) {
    return fe_reduce(n, n->info->op, x, r->axes, r->keepdims);
}

void fe_import_reduce(FeNode *n) {
    Reduction r = read_reduction(n);
    if (!n->refused && r.axes.n == 0) {
        fe_out_alias(n, 0, 0);
        return;
    }
    bool truth = !n->refused && r.x->type.dtype == IR_BOOL; // of ReduceMax and ReduceMin
    IrValue *y = reduce(n, &r, truth ? fe_cast(n, r.x, IR_U8) : r.x);
    fe_out(n, 0, truth && !n->refused ? fe_cast(n, y, IR_BOOL) : y);
}

void fe_import_reduce_l1(FeNode *n) {
    Reduction r = read_reduction(n);
    fe_out(n, 0, reduce(n, &r, fe_un(n, IR_OP_ABS, r.x)));
}

void fe_import_reduce_sum_square(FeNode *n) {
    Reduction r = read_reduction(n);
    fe_out(n, 0, reduce(n, &r, fe_bin(n, IR_OP_MUL, r.x, r.x)));
}

void fe_import_reduce_l2(FeNode *n) {
    Reduction r = read_reduction(n);
    IrValue *sum = reduce(n, &r, fe_bin(n, IR_OP_MUL, r.x, r.x));
    fe_out(n, 0, fe_un(n, IR_OP_SQRT, sum));
}

void fe_import_reduce_log_sum(FeNode *n) {
    Reduction r = read_reduction(n);
    fe_out(n, 0, fe_un(n, IR_OP_LOG, reduce(n, &r, r.x)));
}

// ReduceLogSumExp-18, with the maximum m taken out of the sum: m + log(sum(exp(x - m)))
void fe_import_reduce_log_sum_exp(FeNode *n) {
    Reduction r = read_reduction(n);
    IrValue *m = fe_reduce(n, IR_OP_REDUCE_MAX, r.x, r.axes, true);
    IrValue *e = fe_un(n, IR_OP_EXP, fe_bin(n, IR_OP_SUB, r.x, m));
    IrValue *l = fe_un(n, IR_OP_LOG, reduce(n, &r, e));
    if (!n->refused) {
        m = fe_reshape(n, m, &l->type.shape);
    }
    fe_out(n, 0, fe_bin(n, IR_OP_ADD, m, l));
}
