// Pad, in all its modes, and CenterCropPad.
#include "frontend/import.h"

#include <string.h>

// begins and ends of all axes from those of the given ones (Pad-18 has axes).
static bool read_pads(FeNode *n, int rank, int64_t *pads) {
    IrInts given = fe_ints_of(n, n->since >= 2 ? "pads" : "paddings", 1);
    IrInts axes = n->since >= 18 ? fe_ints(n, 3) : (IrInts){0, NULL};
    int count = axes.v ? axes.n : rank;
    if (!n->refused && given.n != 2 * count) {
        fe_refuse(n, "pads has %d entries for %d axes", given.n, count);
    }
    fe_axes(n, axes, rank);
    for (int i = 0; i < count && !n->refused; i++) {
        int axis = axes.v ? fe_axis(n, axes.v[i], rank) : i;
        pads[axis] = given.v[i];
        pads[rank + axis] = given.v[count + i];
    }
    return !n->refused;
}

enum { MAX_WRAPPED = 1 << 20 }; // elements of an axis that is padded by wrapping around

// Pad-19 with mode wrap: what is cropped goes first, then each padded axis is gathered from
// positions modulo what is left of it.
static IrValue *pad_by_wrapping(FeNode *n, IrValue *x, const int64_t *pads) {
    int rank = x->type.shape.rank;
    for (int axis = 0; axis < rank && !n->refused; axis++) {
        int64_t begin = pads[axis], end = pads[rank + axis], size;
        IrDim dim = x->type.shape.dim[axis];
        if (begin == 0 && end == 0) {
            continue;
        }
        if (begin < -MAX_WRAPPED || end < -MAX_WRAPPED) {
            fe_refuse(n, "axis %d cannot be cropped by %lld and %lld", axis, (long long)begin,
                      (long long)end);
            return NULL;
        }
        int64_t first = begin < 0 ? -begin : 0, last = end < 0 ? -end : 0; // cropped
        if (dim.n || first > dim.c || last > dim.c - first ||
            __builtin_add_overflow(begin, end, &size) ||
            __builtin_add_overflow(size, dim.c, &size) || size < 0 || size > MAX_WRAPPED ||
            (size > 0 && first + last >= dim.c)) {
            fe_refuse(n, "axis %d cannot be wrapped around by %lld and %lld", axis,
                      (long long)begin, (long long)end);
            return NULL;
        }
        int64_t *at = ir_alloc_array(n->fe->arena, (size_t)size + 1, sizeof *at);
        for (int64_t i = 0, left = dim.c - first - last; i < size; i++) {
            at[i] = first + ((i - begin - first) % left + left) % left;
        }
        const IrTensor *index = fe_tensor_of_ints(n->fe->arena, IR_I64, 1, (int)size, at);
        x = fe_build(n, IR_OP_GATHER, FE_IN(x, fe_tensor_const(n, index)),
                     FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis)));
    }
    return x;
}

static IrValue *build_pad(FeNode *n, IrValue *x, const int64_t *pads, const char *mode,
                          double value) {
    return fe_build(n, IR_OP_PAD, FE_IN(x),
                    FE_WITH(fe_ints_attr(n, IR_ATTR_PAD, 2 * x->type.shape.rank, pads),
                            ir_attr_s(IR_ATTR_MODE, mode), ir_attr_f(IR_ATTR_VALUE, value)));
}

// It stands where a padded tensor of true is false, of size 1 along axes without padding.
IrValue *fe_pad_by(FeNode *n, IrValue *x, const int64_t *pads, IrValue *value) {
    IrShape scalar = {0}, mask = x->type.shape;
    for (int i = 0; i < mask.rank; i++) {
        mask.dim[i] = pads[i] || pads[mask.rank + i] ? mask.dim[i] : ir_dim(1);
    }
    const IrTensor *yes = fe_tensor_of_ints(n->fe->arena, IR_BOOL, 0, 1, (int64_t[]){1});
    IrValue *y = build_pad(n, x, pads, "constant", 0), *inside = NULL;
    if (!n->refused) {
        inside = fe_build(n, IR_OP_EXPAND, FE_IN(fe_tensor_const(n, yes)),
                          FE_WITH(ir_attr_dims(IR_ATTR_SHAPE, &mask)));
        inside = build_pad(n, inside, pads, "constant", 0);
    }
    return fe_build(n, IR_OP_WHERE, FE_IN(inside, y, fe_reshape(n, value, &scalar)), 0, NULL);
}

// Pad-21; the value is input 2 from version 11 on.
void fe_import_pad(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *operand = NULL;
    int64_t pads[2 * IR_MAX_RANK] = {0};
    const char *mode = fe_attr_str(n, "mode", "constant");
    bool fills = strcmp(mode, "constant") == 0, wraps = n->since >= 19 && strcmp(mode, "wrap") == 0;
    double value = n->since < 11 ? fe_attr_float(n, "value", 0) : 0;
    if (n->since >= 11 && fills && fe_has(n, 2)) {
        operand = fe_tensor(n, 2) ? NULL : fe_operand(n, 2);
        value = operand ? 0 : fe_scalar_in(n, 2, 0);
    }
    if (n->refused || !read_pads(n, x->type.shape.rank, pads)) {
        return;
    }
    bool any = false;
    for (int i = 0; i < 2 * x->type.shape.rank; i++) {
        any |= pads[i] != 0;
    }
    if (!any) {
        fe_out_alias(n, 0, 0);
    } else if (wraps) {
        fe_out(n, 0, pad_by_wrapping(n, x, pads));
    } else if (operand) {
        fe_out(n, 0, fe_pad_by(n, x, pads, operand));
    } else {
        fe_out(n, 0, build_pad(n, x, pads, mode, value));
    }
}

// CenterCropPad-18: the middle of each axis, or zeros around it; an odd pixel is cut off, or added,
// at the end.
void fe_import_center_crop_pad(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    IrInts axes = fe_attr_ints(n, "axes");
    int64_t pads[2 * IR_MAX_RANK] = {0};
    FeDims size;
    if (n->refused || !fe_dims(n, 1, &size)) {
        return;
    }
    int rank = x->type.shape.rank;
    fe_axes(n, axes, rank);
    if (n->refused || size.n != (axes.v ? axes.n : rank)) {
        fe_refuse(n, "%d sizes for %d axes", size.n, axes.v ? axes.n : rank);
        return;
    }
    for (int i = 0; i < size.n && !n->refused; i++) {
        int axis = axes.v ? fe_axis(n, axes.v[i], rank) : i;
        IrDim from = x->type.shape.dim[axis], to = size.v[i];
        if (ir_dim_eq(from, to)) {
            continue;
        }
        if (from.n || to.n || to.c < 0 || to.c > INT32_MAX) {
            fe_refuse(n, "axis %d of %lld cannot become %lld", axis, (long long)from.c,
                      (long long)to.c);
            return;
        }
        int64_t more = to.c - from.c;
        pads[axis] = more > 0 ? more / 2 : -(-more / 2);
        pads[rank + axis] = more - pads[axis];
    }
    IrValue *y = n->refused ? NULL : build_pad(n, x, pads, "constant", 0);
    fe_out(n, 0, y);
}
