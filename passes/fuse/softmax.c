// fuse_softmax: softmax spelled out becomes the op, which is stable and one kernel.
//
//   %m = reduce_max %x {axes=[1], keepdims=1}
//   %d = sub %x, %m                                    (the shift may be missing)
//   %e = exp %d
//   %s = reduce_sum %e {axes=[1], keepdims=1}
//   %y = div %e, %s                             ->     %y = softmax %x {axis=1}
//
//   %l = log %s
//   %y = sub %d, %l                             ->     %y = log_softmax %x {axis=1}
//
// Softmax-13, LogSoftmax-13.

#include "passes/util.h"

// v = reduce_OP(of) over one axis with keepdims: that axis, else -1.
static int read_reduction(const IrValue *v, IrOp op, const IrValue *of) {
    IrNode *n = pass_def(v, op);
    if (!n || ir_in(n, 0) != of || ir_body(n, IR_ATTR_THEN).n ||
        n->out[0]->type.shape.rank != of->type.shape.rank) {
        return -1;
    }
    IrInts axes = ir_ints(n, IR_ATTR_AXES);
    return axes.n == 1 ? (int)axes.v[0] : -1;
}

// d = x - max(x) over `axis`: x. Anything else is its own x: exp(d) / sum(exp(d)) is softmax(d).
static IrValue *strip_shift(IrValue *d, int axis) {
    IrNode *sub = pass_def(d, IR_OP_SUB);
    if (sub && read_reduction(ir_in(sub, 1), IR_OP_REDUCE_MAX, ir_in(sub, 0)) == axis) {
        return ir_in(sub, 0);
    }
    return d;
}

static void replace(IrNode *n, IrOp op, IrValue *x, int axis) {
    IrBuilder b = pass_before(n);
    IrAttr attr = ir_attr_i(IR_ATTR_AXIS, axis);
    pass_forward(n, ir_build(&b, op, 1, &x, 1, &attr));
}

static bool match_softmax(IrNode *n) {
    IrNode *e = pass_def(ir_in(n, 0), IR_OP_EXP);
    int axis = e ? read_reduction(ir_in(n, 1), IR_OP_REDUCE_SUM, e->out[0]) : -1;
    if (axis < 0 || !ir_dtype_is_float(n->out[0]->type.dtype)) {
        return false;
    }
    replace(n, IR_OP_SOFTMAX, strip_shift(ir_in(e, 0), axis), axis);
    return true;
}

static bool match_log_softmax(IrNode *n) {
    IrNode *log = pass_def(ir_in(n, 1), IR_OP_LOG);
    IrNode *sum = log ? pass_def(ir_in(log, 0), IR_OP_REDUCE_SUM) : NULL;
    IrNode *e = sum ? pass_def(ir_in(sum, 0), IR_OP_EXP) : NULL;
    int axis = e && ir_in(e, 0) == ir_in(n, 0)
                   ? read_reduction(ir_in(log, 0), IR_OP_REDUCE_SUM, e->out[0])
                   : -1;
    if (axis < 0) {
        return false;
    }
    replace(n, IR_OP_LOG_SOFTMAX, strip_shift(ir_in(n, 0), axis), axis);
    return true;
}

PassResult pass_fuse_softmax(PassContext *ctx, IrGraph *g) {
    (void)ctx;
    PassResult r = {0};
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        r.changes += (n->op == IR_OP_DIV && match_softmax(n)) ||
                     (n->op == IR_OP_SUB && match_log_softmax(n));
    }
    if (r.changes) {
        pass_dce(ctx, g);
    }
    return r;
}
