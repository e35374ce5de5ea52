// Gradients of reductions and of what normalises along an axis by one.

#include "passes/train/grad.h"

// The shape of x with the reduced axes as 1, whether n keeps them or not.
static IrShape kept_shape(const IrNode *n) {
    IrShape s = ir_in(n, 0)->type.shape;
    IrInts axes = ir_ints(n, IR_ATTR_AXES);
    for (int i = 0; i < axes.n; i++) {
        s.dim[axes.v[i]] = ir_dim(1);
    }
    return s;
}

static IrValue *spread(PassGrad *t, const IrNode *n, IrValue *dy) {
    IrShape kept = kept_shape(n);
    return pass_rev_expand(t, pass_rev_reshape(t, dy, &kept), &ir_in(n, 0)->type.shape);
}

void pass_grad_reduce_sum(PassGrad *t, IrNode *n) {
    pass_rev_give(t, n, 0, spread(t, n, pass_rev_of(t, n, 0)));
}

// Of how many elements each mean is; 0 where that depends on N.
static int64_t count_reduced(const IrNode *n) {
    IrInts axes = ir_ints(n, IR_ATTR_AXES);
    IrDim count = ir_dim(1);
    for (int i = 0; i < axes.n; i++) {
        if (!ir_dim_mul(count, ir_in(n, 0)->type.shape.dim[axes.v[i]], &count) || count.n) {
            return 0;
        }
    }
    return count.c;
}

// A mean over the batch counts by summing ones.
void pass_grad_reduce_mean(PassGrad *t, IrNode *n) {
    IrValue *dy = pass_rev_of(t, n, 0);
    int64_t count = count_reduced(n);
    if (count) {
        dy = pass_rev_scale(t, dy, 1 / (double)count);
    } else {
        IrInts axes = ir_ints(n, IR_ATTR_AXES);
        IrValue *ones = pass_rev_expand(t, pass_rev_const(t, dy, 1), &ir_in(n, 0)->type.shape);
        IrValue *sum = pass_rev_sum(t, ones, axes.n, axes.v);
        dy = pass_rev_2(t, IR_OP_DIV, dy, pass_rev_reshape(t, sum, &dy->type.shape));
    }
    pass_rev_give(t, n, 0, spread(t, n, dy));
}

// The product of the others: y / x, but for zeros. Where an element is the only one, it is the
// product of the rest; what has a zero beside it gets nothing.
void pass_grad_reduce_prod(PassGrad *t, IrNode *n) {
    IrValue *x = ir_in(n, 0), *dy = pass_rev_of(t, n, 0);
    IrShape kept = kept_shape(n);
    IrInts axes = ir_ints(n, IR_ATTR_AXES);
    IrValue *one = pass_rev_const(t, x, 1), *none = pass_rev_const(t, x, 0);
    IrValue *is_zero = pass_rev_2(t, IR_OP_EQUAL, x, none);
    IrValue *zero = pass_rev_op(t, IR_OP_WHERE, 3, (IrValue *[]){is_zero, one, none}, 0, NULL);
    IrValue *safe = pass_rev_op(t, IR_OP_WHERE, 3, (IrValue *[]){is_zero, one, x}, 0, NULL);
    IrValue *product = pass_rev_op(t, IR_OP_REDUCE_PROD, 1, &safe, n->n_attrs, n->attrs);
    IrValue *zeros = pass_rev_reshape(t, pass_rev_sum(t, zero, axes.n, axes.v), &kept);
    IrValue *beside = pass_rev_2(t, IR_OP_SUB, zeros, zero);
    IrValue *alone = pass_rev_2(t, IR_OP_EQUAL, beside, none);
    product = pass_rev_2(t, IR_OP_MUL, pass_rev_reshape(t, product, &kept),
                         pass_rev_reshape(t, dy, &kept));
    IrValue *dx = pass_rev_2(t, IR_OP_DIV, product, safe);
    pass_rev_give(t, n, 0, pass_rev_op(t, IR_OP_WHERE, 3, (IrValue *[]){alone, dx, none}, 0, NULL));
}

// Equal extremes share, as in PyTorch's amax: every x that is y gets dy over how many there are.
static void share_extreme(PassGrad *t, IrNode *n, bool max) {
    IrValue *x = ir_in(n, 0), *dy = pass_rev_of(t, n, 0);
    IrShape kept = kept_shape(n);
    IrInts axes = ir_ints(n, IR_ATTR_AXES);
    IrValue *y = pass_rev_reshape(t, n->out[0], &kept), *one = pass_rev_const(t, x, 1);
    IrValue *off = max ? pass_rev_2(t, IR_OP_SUB, y, x) : pass_rev_2(t, IR_OP_SUB, x, y);
    IrValue *is_extreme = pass_rev_2(t, IR_OP_SUB, one, pass_rev_2(t, IR_OP_RELU_GRAD, off, one));
    IrValue *count = pass_rev_sum(t, is_extreme, axes.n, axes.v);
    IrValue *part =
        pass_rev_2(t, IR_OP_DIV, pass_rev_reshape(t, dy, &kept), pass_rev_reshape(t, count, &kept));
    pass_rev_give(t, n, 0, pass_rev_2(t, IR_OP_MUL, is_extreme, part));
}

void pass_grad_reduce_max(PassGrad *t, IrNode *n) {
    share_extreme(t, n, true);
}

void pass_grad_reduce_min(PassGrad *t, IrNode *n) {
    share_extreme(t, n, false);
}

static IrValue *sum_along(PassGrad *t, const IrNode *n, IrValue *v) {
    IrAttr attrs[] = {ir_attr_ints(pass_rev_context(t)->prog->arena, IR_ATTR_AXES, 1,
                                   (int64_t[]){ir_int(n, IR_ATTR_AXIS, 0)}),
                      ir_attr_i(IR_ATTR_KEEPDIMS, 1)};
    return pass_rev_op(t, IR_OP_REDUCE_SUM, 1, &v, 2, attrs);
}

// y * (dy - sum(dy * y))
void pass_grad_softmax(PassGrad *t, IrNode *n) {
    IrValue *y = n->out[0], *dy = pass_rev_of(t, n, 0);
    IrValue *sum = sum_along(t, n, pass_rev_2(t, IR_OP_MUL, dy, y));
    pass_rev_give(t, n, 0, pass_rev_2(t, IR_OP_MUL, y, pass_rev_2(t, IR_OP_SUB, dy, sum)));
}

// dy - exp(y) * sum(dy)
void pass_grad_log_softmax(PassGrad *t, IrNode *n) {
    IrValue *dy = pass_rev_of(t, n, 0), *p = pass_rev_1(t, IR_OP_EXP, n->out[0]);
    IrValue *back = pass_rev_2(t, IR_OP_MUL, p, sum_along(t, n, dy));
    pass_rev_give(t, n, 0, pass_rev_2(t, IR_OP_SUB, dy, back));
}
