// Gradients of movement: each element's goes back to where the element came from.

#include "passes/train/grad.h"
#include <string.h>

static IrAttr ints(PassGrad *t, IrAttrKey key, int n, const int64_t *v) {
    return ir_attr_ints(pass_rev_context(t)->prog->arena, key, n, v);
}

// `size` elements of axis `axis` from `start` on, `step` apart; all of the others.
static IrValue *slice_axis(PassGrad *t, IrValue *x, int axis, int64_t start, int64_t step,
                           IrDim size) {
    IrShape s = x->type.shape;
    int64_t starts[IR_MAX_RANK] = {0}, steps[IR_MAX_RANK];
    for (int i = 0; i < s.rank; i++) {
        steps[i] = 1;
    }
    starts[axis] = start;
    steps[axis] = step;
    s.dim[axis] = size;
    IrAttr attrs[] = {ints(t, IR_ATTR_START, s.rank, starts), ints(t, IR_ATTR_STEP, s.rank, steps),
                      ir_attr_dims(IR_ATTR_SHAPE, &s)};
    return pass_rev_op(t, IR_OP_SLICE, 1, &x, 3, attrs);
}

static IrValue *pad_zeros(PassGrad *t, IrValue *x, const int64_t *pads) {
    int rank = x->type.shape.rank;
    IrAttr attrs[] = {ints(t, IR_ATTR_PAD, 2 * rank, pads), ir_attr_s(IR_ATTR_MODE, "constant"),
                      ir_attr_f(IR_ATTR_VALUE, 0)};
    return pass_rev_op(t, IR_OP_PAD, 1, &x, 3, attrs);
}

static IrValue *pad_axis(PassGrad *t, IrValue *x, int axis, int64_t begin, int64_t end) {
    int64_t pads[2 * IR_MAX_RANK] = {0};
    pads[axis] = begin;
    pads[x->type.shape.rank + axis] = end;
    return begin || end ? pad_zeros(t, x, pads) : x;
}

void pass_grad_concat(PassGrad *t, IrNode *n) {
    int axis = (int)ir_int(n, IR_ATTR_AXIS, 0);
    int64_t at = 0;
    bool along_batch = n->out[0]->type.shape.dim[axis].n != 0;
    for (int i = 0; i < n->n_in; i++) {
        IrDim size = ir_in(n, i)->type.shape.dim[axis];
        if (along_batch && n->n_in > 1) {
            pass_rev_nyi(t, n, "along the batch");
            return;
        }
        if (pass_rev_wants(t, n, i)) {
            pass_rev_give(t, n, i, slice_axis(t, pass_rev_of(t, n, 0), axis, at, 1, size));
        }
        at += size.c;
    }
}

void pass_grad_slice(PassGrad *t, IrNode *n) {
    IrValue *dy = pass_rev_of(t, n, 0);
    IrAttr attrs[] = {*ir_attr(n, IR_ATTR_START), *ir_attr(n, IR_ATTR_STEP),
                      ir_attr_dims(IR_ATTR_SHAPE, &ir_in(n, 0)->type.shape)};
    pass_rev_give(t, n, 0, pass_rev_op(t, IR_OP_SLICE_GRAD, 1, &dy, 3, attrs));
}

void pass_grad_slice_grad(PassGrad *t, IrNode *n) {
    IrValue *dy = pass_rev_of(t, n, 0);
    IrAttr attrs[] = {*ir_attr(n, IR_ATTR_START), *ir_attr(n, IR_ATTR_STEP),
                      ir_attr_dims(IR_ATTR_SHAPE, &ir_in(n, 0)->type.shape)};
    pass_rev_give(t, n, 0, pass_rev_op(t, IR_OP_SLICE, 1, &dy, 3, attrs));
}

// Sum over one axis, kept as 1.
static IrValue *sum_axis(PassGrad *t, IrValue *x, int axis) {
    IrAttr attrs[] = {ints(t, IR_ATTR_AXES, 1, (int64_t[]){axis}), ir_attr_i(IR_ATTR_KEEPDIMS, 1)};
    return pass_rev_op(t, IR_OP_REDUCE_SUM, 1, &x, 2, attrs);
}

// The border elements get what their copies got. d elements, begin and end of them repeated.
static IrValue *unpad_edge(PassGrad *t, IrValue *dy, int axis, int64_t d, int64_t begin,
                           int64_t end) {
    if (d == 1) {
        return sum_axis(t, dy, axis);
    }
    IrValue *part[3] = {sum_axis(t, slice_axis(t, dy, axis, 0, 1, ir_dim(begin + 1)), axis)};
    int n = 1;
    if (d > 2) {
        part[n++] = slice_axis(t, dy, axis, begin + 1, 1, ir_dim(d - 2));
    }
    part[n++] = sum_axis(t, slice_axis(t, dy, axis, begin + d - 1, 1, ir_dim(end + 1)), axis);
    IrAttr attr = ir_attr_i(IR_ATTR_AXIS, axis);
    return pass_rev_op(t, IR_OP_CONCAT, n, part, 1, &attr);
}

// Elements 1 .. begin and d-1-end .. d-2 get what their mirror images got.
static IrValue *unpad_reflect(PassGrad *t, IrValue *dy, int axis, int64_t d, int64_t begin,
                              int64_t end) {
    IrValue *dx = slice_axis(t, dy, axis, begin, 1, ir_dim(d));
    if (begin) {
        IrValue *mirrored = slice_axis(t, dy, axis, begin - 1, -1, ir_dim(begin));
        dx = pass_rev_2(t, IR_OP_ADD, dx, pad_axis(t, mirrored, axis, 1, d - 1 - begin));
    }
    if (end) {
        IrValue *mirrored = slice_axis(t, dy, axis, begin + d + end - 1, -1, ir_dim(end));
        dx = pass_rev_2(t, IR_OP_ADD, dx, pad_axis(t, mirrored, axis, d - 1 - end, 1));
    }
    return dx;
}

// Constant padding is undone by padding with the opposite sign. The other modes, axis by axis: what
// was cropped comes back as zeros, then the copies are summed.
void pass_grad_pad(PassGrad *t, IrNode *n) {
    IrValue *dy = pass_rev_of(t, n, 0);
    const IrShape *x = &ir_in(n, 0)->type.shape;
    IrInts pad = ir_ints(n, IR_ATTR_PAD);
    const char *mode = ir_str(n, IR_ATTR_MODE, "constant");
    if (strcmp(mode, "constant") == 0) {
        int64_t back[2 * IR_MAX_RANK];
        for (int i = 0; i < pad.n; i++) {
            back[i] = -pad.v[i];
        }
        pass_rev_give(t, n, 0, pad_zeros(t, dy, back));
        return;
    }
    for (int axis = 0; axis < x->rank; axis++) {
        int64_t begin = pad.v[axis], end = pad.v[x->rank + axis];
        dy = pad_axis(t, dy, axis, begin < 0 ? -begin : 0, end < 0 ? -end : 0);
        begin = begin > 0 ? begin : 0;
        end = end > 0 ? end : 0;
        if ((begin || end) && x->dim[axis].n) {
            pass_rev_nyi(t, n, "along the batch");
            return;
        }
        if (begin || end) {
            dy = strcmp(mode, "edge") == 0 ? unpad_edge(t, dy, axis, x->dim[axis].c, begin, end)
                                           : unpad_reflect(t, dy, axis, x->dim[axis].c, begin, end);
        }
    }
    pass_rev_give(t, n, 0, dy);
}

void pass_grad_transpose(PassGrad *t, IrNode *n) {
    IrInts perm = ir_ints(n, IR_ATTR_PERM);
    int64_t inverse[IR_MAX_RANK];
    for (int i = 0; i < perm.n; i++) {
        inverse[perm.v[i]] = i;
    }
    IrValue *dy = pass_rev_of(t, n, 0);
    IrAttr attr = ints(t, IR_ATTR_PERM, perm.n, inverse);
    pass_rev_give(t, n, 0, pass_rev_op(t, IR_OP_TRANSPOSE, 1, &dy, 1, &attr));
}

void pass_grad_reshape(PassGrad *t, IrNode *n) {
    IrValue *dy = pass_rev_of(t, n, 0);
    pass_rev_give(t, n, 0, pass_rev_reshape(t, dy, &ir_in(n, 0)->type.shape));
}

// pass_rev_give() sums over what was expanded.
void pass_grad_expand(PassGrad *t, IrNode *n) {
    pass_rev_give(t, n, 0, pass_rev_of(t, n, 0));
}
