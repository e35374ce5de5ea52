// Shape rules of the ops that make, and end, values whose size data decides. Such a size is a
// bound; the count beside it is an i64 scalar. None depends on the batch: what one image has many
// of says nothing of another.
#include "ir/shape.h"

#include <string.h>

static const char *need_fixed_shape(const IrNode *n, int i) {
    const char *why = NULL;
    for (int k = 0; k < ir_in_type(n, i)->shape.rank && !why; k++) {
        why = ir_need_fixed(n, i, k);
    }
    return why;
}

static const char *need_scalar(const IrNode *n, int i, IrDtype t) {
    const IrType *x = ir_in(n, i) ? ir_in_type(n, i) : NULL;
    return !x || (x->dtype == t && x->shape.rank == 0)
               ? NULL
               : ir_why(n, "operand %d is %s, it must be %s[]", i, ir_operand_text(n, i),
                        ir_dtype_name(t));
}

static void set_count(IrNode *n, const IrShape *s) {
    n->out[1]->type = (IrType){.dtype = IR_I64, .shape = *s};
}

// ONNX NonZero 13.
const char *ir_shape_non_zero(IrNode *n) {
    const IrShape *x = &ir_in_type(n, 0)->shape;
    const char *why = need_fixed_shape(n, 0);
    IrShape out = {2, {ir_dim(x->rank), ir_dim(0)}};
    if (!why && !ir_shape_elems(x, &out.dim[1])) {
        why = ir_why(n, "operand 0, %s, has too many elements", ir_operand_text(n, 0));
    }
    ir_set_result(n, IR_I64, &out);
    set_count(n, &(IrShape){0});
    return why;
}

static const char *need_mode(const IrNode *n, const char *a, const char *b) {
    const char *mode = ir_str(n, IR_ATTR_MODE, a);
    return !strcmp(mode, a) || !strcmp(mode, b) ? NULL : ir_why(n, "mode '%s' is unknown", mode);
}

// ONNX NonMaxSuppression 11, class by class.
const char *ir_shape_nms(IrNode *n) {
    const char *why = NULL;
    for (int i = 0; i < 2 && !why; i++) {
        why = ir_need_rank(n, i, 3, 3);
        why = why ? why : need_fixed_shape(n, i);
        if (!why && ir_in_type(n, i)->dtype != IR_F32) {
            why = ir_why(n, "operand %d is %s, it must be f32", i, ir_operand_text(n, i));
        }
    }
    why = why ? why : need_mode(n, "corners", "center");
    why = why ? why : need_scalar(n, 2, IR_I64);
    why = why ? why : need_scalar(n, 3, IR_F32);
    why = why ? why : need_scalar(n, 4, IR_F32);
    why = why ? why : need_scalar(n, 5, IR_I64);
    if (why) {
        return why;
    }
    const IrShape *boxes = &ir_in_type(n, 0)->shape, *scores = &ir_in_type(n, 1)->shape;
    int64_t size = ir_int(n, IR_ATTR_SIZE, 0);
    if (!ir_dim_is(boxes->dim[2], 4) || !ir_dim_eq(boxes->dim[0], scores->dim[0]) ||
        !ir_dim_eq(boxes->dim[1], scores->dim[2])) {
        return ir_why(n, "operand 1, %s, has no scores of the boxes %s", ir_operand_text(n, 1),
                      ir_operand_text(n, 0));
    }
    if (size < 0 || size > boxes->dim[1].c) {
        return ir_why(n, "size is %lld, there are %lld boxes", (long long)size,
                      (long long)boxes->dim[1].c);
    }
    IrShape out = {3, {scores->dim[0], scores->dim[1], ir_dim(size)}};
    ir_set_result(n, IR_I64, &out);
    out.rank = 2;
    set_count(n, &out);
    return NULL;
}

const char *ir_shape_bounded(IrNode *n) {
    const IrType *x = ir_in_type(n, 0);
    int64_t axis = ir_int(n, IR_ATTR_AXIS, 0);
    const char *why = ir_need_axis(n, axis, x->shape.rank);
    why = why ? why : need_fixed_shape(n, 0);
    why = why ? why : need_scalar(n, 1, IR_I64);
    ir_set_result(n, x->dtype, &x->shape);
    set_count(n, &(IrShape){0});
    return why;
}

const char *ir_shape_check(IrNode *n) {
    const char *why = need_scalar(n, 0, IR_I64);
    ir_set_result(n, IR_I64, &(IrShape){0});
    return why ? why : need_mode(n, "most", "equal");
}
