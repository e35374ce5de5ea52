// DequantizeLinear: y = (x - zero_point) * scale, per tensor or along one axis. Constant weights
// become constants of f32 at once; anything else is three elementwise nodes.
#include "frontend/fe_import.h"

#include <stdlib.h>

typedef struct Quant {
    int axis; // of scale; the scale is per tensor when it has one element
    int64_t outer, channels, inner;
} Quant;

static bool read_layout(FeNode *n, const IrType *x, const IrType *scale, Quant *q) {
    *q = (Quant){0, 1, 1, 1};
    if (scale->shape.rank > 1) {
        fe_refuse(n, "blocked scales (of rank %d) are not supported", scale->shape.rank);
        return false;
    }
    if (scale->shape.rank == 0 || ir_dim_is(scale->shape.dim[0], 1)) {
        return true;
    }
    q->axis = fe_axis(n, fe_attr_int(n, "axis", 1), x->shape.rank);
    if (n->refused) {
        return false;
    }
    for (int i = 0; i < x->shape.rank; i++) {
        *(i < q->axis ? &q->outer : i == q->axis ? &q->channels : &q->inner) *= x->shape.dim[i].c;
    }
    if (!ir_dim_eq(x->shape.dim[q->axis], scale->shape.dim[0])) {
        fe_refuse(n, "the scale has %lld entries, axis %d has %lld",
                  (long long)scale->shape.dim[0].c, q->axis, (long long)x->shape.dim[q->axis].c);
    }
    return !n->refused;
}

static void fold_weights(FeNode *n, const Quant *q, const IrTensor *x, const IrTensor *scale,
                         const IrTensor *zero) {
    IrType type = {IR_F32, ir_shape_of(x->rank, x->dim), 0};
    IrTensor *y = ir_alloc(n->fe->arena, sizeof *y);
    *y = ir_tensor_new(n->fe->arena, &type, 1);
    int64_t elems = ir_tensor_elems(x);
    for (int64_t i = 0; i < elems; i++) {
        int64_t c = q->channels == 1 ? 0 : i / q->inner % q->channels;
        double z = zero ? ir_tensor_get(zero, c) : 0;
        ((float *)y->data)[i] = (float)((ir_tensor_get(x, i) - z) * ir_tensor_get(scale, c));
    }
    fe_out_tensor(n, 0, y);
}

// A per-axis parameter in a shape that broadcasts along the axis.
static IrValue *along_axis(FeNode *n, const Quant *q, IrValue *v, int rank) {
    if (n->refused || q->channels == 1) {
        return n->refused ? NULL : fe_reshape(n, v, &(IrShape){.rank = 0});
    }
    int64_t axis = q->axis;
    return fe_reshape_axes(n, v, rank, (IrInts){1, &axis});
}

void fe_import_dequantize_linear(FeNode *n) {
    IrType x, scale, zero;
    Quant q;
    if (!fe_type(n, 0, &x) || !fe_type(n, 1, &scale) || !read_layout(n, &x, &scale, &q)) {
        return;
    }
    if (fe_has(n, 2) && (!fe_type(n, 2, &zero) || !ir_shape_eq(&zero.shape, &scale.shape))) {
        fe_refuse(n, "the zero point does not have the scale's shape");
        return;
    }
    const IrTensor *t = fe_tensor(n, 0), *s = fe_tensor(n, 1), *z = fe_tensor(n, 2);
    if (t && s && (z || !fe_has(n, 2)) && !n->refused) {
        fold_weights(n, &q, t, s, z);
        return;
    }
    IrValue *v = fe_cast(n, fe_operand(n, 0), IR_F32);
    if (fe_has(n, 2)) {
        IrValue *zp = fe_cast(n, fe_operand(n, 2), IR_F32);
        v = fe_bin(n, IR_OP_SUB, v, along_axis(n, &q, zp, x.shape.rank));
    }
    IrValue *by = fe_operand(n, 1);
    fe_out(n, 0, fe_bin(n, IR_OP_MUL, v, along_axis(n, &q, by, x.shape.rank)));
}
