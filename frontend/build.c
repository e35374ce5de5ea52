// Building IR nodes on behalf of an ONNX node: the IR's builder, with refusal instead of a returned
// reason.
#include "frontend/import.h"

IrValue *fe_build(FeNode *n, IrOp op, int n_in, IrValue *const *in, int n_attrs,
                  const IrAttr *attrs) {
    if (n->refused) {
        return NULL;
    }
    while (n_in > 0 && !in[n_in - 1]) {
        n_in--;
    }
    IrValue *v = ir_build(&n->b, op, n_in, in, n_attrs, attrs);
    if (!v) {
        fe_refuse(n, "%s", n->b.err);
    }
    return v;
}

IrValue *fe_un(FeNode *n, IrOp op, IrValue *x) {
    return fe_build(n, op, FE_IN(x), 0, NULL);
}

IrValue *fe_bin(FeNode *n, IrOp op, IrValue *x, IrValue *y) {
    return fe_build(n, op, FE_IN(x, y), 0, NULL);
}

IrValue *fe_const(FeNode *n, IrValue *like, double x) {
    return n->refused ? NULL : ir_build_scalar(&n->b, like->type.dtype, x);
}

IrValue *fe_op_const(FeNode *n, IrOp op, IrValue *x, double c) {
    return fe_bin(n, op, x, fe_const(n, x, c));
}

IrValue *fe_cast(FeNode *n, IrValue *x, IrDtype to) {
    if (n->refused || x->type.dtype == to) {
        return x;
    }
    return fe_build(n, IR_OP_CAST, FE_IN(x), FE_WITH(ir_attr_s(IR_ATTR_TO, ir_dtype_name(to))));
}

IrValue *fe_reshape(FeNode *n, IrValue *x, const IrShape *shape) {
    if (n->refused || ir_shape_eq(&x->type.shape, shape)) {
        return x;
    }
    return fe_build(n, IR_OP_RESHAPE, FE_IN(x), FE_WITH(ir_attr_dims(IR_ATTR_SHAPE, shape)));
}

IrValue *fe_iota(FeNode *n, int64_t first, IrDim count, int axis, int rank) {
    IrType type = {IR_I64, {.rank = rank}, 0};
    for (int i = 0; i < rank; i++) {
        type.shape.dim[i] = i == axis ? count : ir_dim(1);
    }
    const char *why = n->refused || count.n ? NULL : fe_check_fill(n->fe, &type);
    if (why) {
        fe_refuse(n, "it %s", why);
    }
    if (n->refused) {
        return NULL;
    }
    if (count.n) { // as many as the batch has
        IrValue *ones = fe_build(n, IR_OP_EXPAND, FE_IN(ir_build_scalar(&n->b, IR_I64, 1)),
                                 FE_WITH(ir_attr_dims(IR_ATTR_SHAPE, &type.shape)));
        IrValue *v =
            fe_build(n, IR_OP_CUMSUM, FE_IN(ones),
                     FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis), ir_attr_i(IR_ATTR_EXCLUSIVE, 1)));
        return fe_op_const(n, IR_OP_ADD, v, (double)first);
    }
    IrTensor t = ir_tensor_new(n->fe->arena, &type, 1);
    for (int64_t i = 0; i < count.c; i++) {
        ((int64_t *)t.data)[i] = first + i;
    }
    return fe_tensor_const(n, &t);
}

IrAttr fe_ints_attr(FeNode *n, IrAttrKey key, int count, const int64_t *v) {
    return ir_attr_ints(n->fe->arena, key, count, v);
}

IrValue *fe_transpose(FeNode *n, IrValue *x, int rank, const int64_t *perm) {
    return fe_build(n, IR_OP_TRANSPOSE, FE_IN(x),
                    FE_WITH(fe_ints_attr(n, IR_ATTR_PERM, rank, perm)));
}

IrValue *fe_reduce(FeNode *n, IrOp op, IrValue *x, IrInts axes, bool keepdims) {
    return fe_build(n, op, FE_IN(x),
                    FE_WITH(fe_ints_attr(n, IR_ATTR_AXES, axes.n, axes.v),
                            ir_attr_i(IR_ATTR_KEEPDIMS, keepdims)));
}

IrInts fe_range(FeNode *n, int from, int to) {
    IrInts r = {to > from ? to - from : 0, NULL};
    r.v = ir_alloc_array(n->fe->arena, (size_t)r.n + 1, sizeof *r.v);
    for (int i = 0; i < r.n; i++) {
        r.v[i] = from + i;
    }
    return r;
}

IrValue *fe_reshape_axes(FeNode *n, IrValue *v, int rank, IrInts axes) {
    if (n->refused) {
        return NULL;
    }
    IrShape s = {.rank = rank};
    for (int i = 0; i < rank; i++) {
        s.dim[i] = ir_dim(1);
    }
    if (v->type.shape.rank != axes.n) {
        fe_refuse(n, "a parameter of rank %d stands where rank %d is needed", v->type.shape.rank,
                  axes.n);
        return NULL;
    }
    for (int i = 0; i < axes.n; i++) {
        s.dim[axes.v[i]] = v->type.shape.dim[i];
    }
    return fe_reshape(n, v, &s);
}

IrValue *fe_tensor_const(FeNode *n, const IrTensor *t) {
    IrType type = {t->dtype, ir_shape_of(t->rank, t->dim), 0};
    IrConst *c = n->refused ? NULL : ir_const_new(n->fe->prog, n->b.name, type, t->data);
    return c ? ir_const_value(n->fe->graph, c) : NULL;
}

IrValue *fe_part(FeNode *n, IrValue *x, int axis, int64_t from, int64_t count) {
    if (n->refused) {
        return NULL;
    }
    IrShape s = x->type.shape;
    int64_t start[IR_MAX_RANK] = {0}, step[IR_MAX_RANK] = {1, 1, 1, 1, 1, 1, 1, 1};
    if (from == 0 && ir_dim_is(s.dim[axis], count)) {
        return x;
    }
    start[axis] = from;
    s.dim[axis] = ir_dim(count);
    return fe_build(n, IR_OP_SLICE, FE_IN(x),
                    FE_WITH(fe_ints_attr(n, IR_ATTR_START, s.rank, start),
                            fe_ints_attr(n, IR_ATTR_STEP, s.rank, step),
                            ir_attr_dims(IR_ATTR_SHAPE, &s)));
}
