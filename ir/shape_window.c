// Shape rules of what works on the pixels of [N,C,H,W] beyond convolutions and pools: resize, the
// places of maxima.
#include "ir/shape.h"
#include <string.h>

// Operands `i` and `i` + 1, the taps of an axis of `in` pixels and their weights, give the size of
// the result's: that of the axis where both are absent. Weights are of the type of sums.
static const char *check_taps(const IrNode *n, int i, IrDim in, IrDim *out) {
    const IrValue *index = ir_in(n, i), *weight = ir_in(n, i + 1);
    *out = in;
    if (!index) {
        return weight ? ir_why(n, "operand %d, weights, stands without the taps", i + 1) : NULL;
    }
    const char *why = ir_need_rank(n, i, 2, 2);
    why = why ? why : ir_need_fixed(n, i, 0);
    why = why ? why : ir_need_fixed(n, i, 1);
    if (why) {
        return why;
    }
    const IrShape *s = &index->type.shape;
    if (index->type.dtype != IR_I32 || s->dim[0].c < 1 || (!weight && s->dim[0].c != 1)) {
        return ir_why(n, "operand %d is %s, it must be i32 with one tap, or taps and weights", i,
                      ir_operand_text(n, i));
    }
    if (in.c == 0 && s->dim[1].c > 0) {
        return ir_why(n, "operand %d takes pixels from an empty axis", i);
    }
    *out = s->dim[1];
    IrDtype own = ir_own_dtype(n);
    if (weight && !ir_dtype_is_float(own)) {
        return ir_why(n, "operand %d holds weights, and sums are %s", i + 1, ir_dtype_name(own));
    }
    if (weight && weight->type.dtype != own) {
        return ir_why(n, "operand %d is %s, sums are %s", i + 1, ir_operand_text(n, i + 1),
                      ir_dtype_name(own));
    }
    if (!why && weight && !ir_shape_eq(s, &weight->type.shape)) {
        why = ir_why(n, "operand %d is %s and its weights are %s", i, ir_operand_text(n, i),
                     ir_operand_text(n, i + 1));
    }
    return why;
}

// x [N,C,H,W], taps of the rows i32[T,OH] and their weights, of the columns i32[T,OW] and theirs
// -> [N,C,OH,OW]
const char *ir_shape_resize(IrNode *n) {
    const char *why = ir_need_rank(n, 0, 4, 4);
    for (int axis = 2; axis < 4 && !why; axis++) {
        why = ir_need_fixed(n, 0, axis);
    }
    if (why) {
        return why;
    }
    IrShape out = ir_in_type(n, 0)->shape;
    why = ir_check_own(n);
    why = why ? why : check_taps(n, 1, out.dim[2], &out.dim[2]);
    why = why ? why : check_taps(n, 3, out.dim[3], &out.dim[3]);
    if (!why && !ir_in(n, 2) && !ir_in(n, 4) &&
        (ir_attr(n, IR_ATTR_TO) || ir_attr(n, IR_ATTR_THEN))) {
        why = ir_why(n, "what is only copied has no type of sums and no epilogue");
    }
    if (why) {
        return why;
    }
    ir_set_result(n, ir_own_dtype(n), &out);
    return ir_check_epilogue(n);
}

// ONNX MaxPool 12, Indices: of the maximum of each window, counted through all of x.
const char *ir_shape_max_pool_index(IrNode *n) {
    const char *why = ir_need_number(n, 0), *mode = ir_str(n, IR_ATTR_MODE, "row");
    IrShape out = {0};
    why = why ? why : ir_pool_result(n, &ir_in_type(n, 0)->shape, &out);
    if (!why && strcmp(mode, "row") != 0 && strcmp(mode, "column") != 0) {
        why = ir_why(n, "mode is %s, it must be row or column", mode);
    }
    if (!why) {
        ir_set_result(n, IR_I64, &out);
    }
    return why;
}
