// The gradient of resize, which is a product with a constant matrix along each axis:
//
//   y = R x C^T,  R [OH,H], C [OW,W]        dx = R^T dy C
//
// Every mode of interpolation comes as such tables of taps and weights.
#include "passes/train/grad.h"

// [out,in]: how much of each of `in` pixels is in each of the result's; NULL: axis `axis` of n
// stays as it is.
static IrValue *matrix_of(PassGrad *t, const IrNode *n, int axis) {
    IrProgram *p = pass_rev_context(t)->prog;
    const IrValue *x = ir_in(n, 0), *at = ir_in(n, 1 + 2 * axis), *weight = ir_in(n, 2 + 2 * axis);
    if (!at) {
        return NULL;
    }
    int64_t in = x->type.shape.dim[2 + axis].c;
    int64_t taps = at->type.shape.dim[0].c, out = at->type.shape.dim[1].c;
    IrType type = {x->type.dtype, {2, {ir_dim(out), ir_dim(in)}}, 0};
    IrTensor m = ir_tensor_new(p->arena, &type, 1);
    for (int64_t i = 0; i < out * in; i++) {
        ir_tensor_set(&m, i, 0);
    }
    for (int64_t i = 0; i < taps * out; i++) {
        int64_t cell = i % out * in + (int64_t)ir_const_scalar(p, at->konst, i);
        double w = weight ? ir_const_scalar(p, weight->konst, i) : 1;
        ir_tensor_set(&m, cell, ir_tensor_get(&m, cell) + w);
    }
    return ir_const_value(t->g, ir_const_new(p, "resize", type, m.data));
}

void pass_grad_resize(PassGrad *t, IrNode *n) {
    IrValue *dx = pass_rev_of(t, n, 0);
    for (int i = 1; i < n->n_in; i++) {
        if (ir_in(n, i) && !ir_in(n, i)->konst) {
            pass_rev_nyi(t, n, "by taps that are computed");
            return;
        }
    }
    IrValue *rows = matrix_of(t, n, 0), *columns = matrix_of(t, n, 1);
    IrAttr first = ir_attr_i(IR_ATTR_TRANS_A, 1);
    if (columns) {
        dx = pass_rev_2(t, IR_OP_MATMUL, dx, columns);
    }
    if (rows) {
        dx = pass_rev_op(t, IR_OP_MATMUL, 2, (IrValue *[]){rows, dx}, 1, &first);
    }
    pass_rev_give(t, n, 0, dx);
}
