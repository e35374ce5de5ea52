// Shape rules of the ops that search along an axis or address elements by tensors of indices.
// Indices are never looked at here: a constant that folding makes cannot spoil a node that was
// fine.
#include "ir/shape.h"

#include <string.h>

// `axis` is one of operand i's; *out: it. Absent is 0.
static const char *need_own_axis(const IrNode *n, int i, int *out) {
    int64_t axis = ir_int(n, IR_ATTR_AXIS, 0);
    *out = (int)axis;
    return ir_need_axis(n, axis, ir_in_type(n, i)->shape.rank);
}

static const char *need_indices(const IrNode *n, int i) {
    IrDtype t = ir_in_type(n, i)->dtype;
    return t == IR_I32 || t == IR_I64
               ? NULL
               : ir_why(n, "indices are %s, they must be i32 or i64", ir_dtype_name(t));
}

static bool is_empty(const IrShape *s) {
    for (int i = 0; i < s->rank; i++) {
        if (ir_dim_is(s->dim[i], 0)) {
            return true;
        }
    }
    return false;
}

// Elements are read from the axis where `reads` has any.
static const char *need_elements(const IrNode *n, int axis, const IrShape *reads) {
    bool fine = is_empty(reads) || !ir_dim_is(ir_in_type(n, 0)->shape.dim[axis], 0);
    return fine ? NULL
                : ir_why(n, "axis %d of operand 0, %s, is empty", axis, ir_operand_text(n, 0));
}

static const char *need_mode(const IrNode *n, IrAttrKey key, const char *absent, int count,
                             const char *const *modes) {
    const char *mode = ir_str(n, key, absent);
    for (int i = 0; i < count; i++) {
        if (strcmp(mode, modes[i]) == 0) {
            return NULL;
        }
    }
    return ir_why(n, "%s '%s' is unknown", ir_attr_name(key), mode);
}

// ---------------------------------------------------------------- along an axis

// ONNX ArgMax 13, ArgMin 13.
const char *ir_shape_arg(IrNode *n) {
    const IrShape *x = &ir_in_type(n, 0)->shape;
    bool keep = ir_int(n, IR_ATTR_KEEPDIMS, 1);
    int axis;
    const char *why = need_own_axis(n, 0, &axis);
    if (why) {
        return why;
    }
    IrShape out = {0};
    for (int i = 0; i < x->rank; i++) {
        if (i != axis || keep) {
            out.dim[out.rank++] = i == axis ? ir_dim(1) : x->dim[i];
        }
    }
    ir_set_result(n, IR_I64, &out);
    return need_elements(n, axis, &out);
}

// ONNX CumSum 14.
const char *ir_shape_cumsum(IrNode *n) {
    int axis;
    const char *why = need_own_axis(n, 0, &axis);
    why = why ? why : ir_need_number(n, 0);
    ir_set_result(n, ir_in_type(n, 0)->dtype, &ir_in_type(n, 0)->shape);
    return why;
}

// ONNX TopK 11: `size` elements of each line, and where they were.
const char *ir_shape_top_k(IrNode *n) {
    IrShape out = ir_in_type(n, 0)->shape;
    int64_t k = ir_int(n, IR_ATTR_SIZE, 0);
    int axis;
    const char *why = need_own_axis(n, 0, &axis);
    if (why) {
        return why;
    }
    why = ir_need_fixed(n, 0, axis);
    if (why) {
        return why;
    }
    if (k < 0 || k > out.dim[axis].c) {
        return ir_why(n, "size is %lld, axis %d of operand 0, %s, has not as many", (long long)k,
                      axis, ir_operand_text(n, 0));
    }
    out.dim[axis] = ir_dim(k);
    ir_set_result(n, ir_in_type(n, 0)->dtype, &out);
    n->out[1]->type = (IrType){.dtype = IR_I64, .shape = out};
    return NULL;
}

// ---------------------------------------------------------------- gathers

// Operand i and the indices have one rank, and are as large off the axis, or operand i is larger.
static const char *need_elementwise_indices(const IrNode *n, int i, int axis) {
    const IrShape *x = &ir_in_type(n, 0)->shape, *at = &ir_in_type(n, i)->shape;
    bool fits = at->rank == x->rank;
    for (int k = 0; k < x->rank && fits; k++) {
        IrDim a = at->dim[k], d = x->dim[k];
        fits = k == axis || ir_dim_eq(a, d) || (a.n == 0 && a.c <= d.c + d.n && d.n >= 0);
    }
    return fits ? NULL
                : ir_why(n, "operand %d is %s, it does not fit %s off axis %d", i,
                         ir_operand_text(n, i), ir_operand_text(n, 0), axis);
}

// ONNX GatherElements 13.
const char *ir_shape_gather_elements(IrNode *n) {
    const IrShape *at = &ir_in_type(n, 1)->shape;
    int axis;
    const char *why = need_own_axis(n, 0, &axis);
    why = why ? why : need_indices(n, 1);
    why = why ? why : need_elementwise_indices(n, 1, axis);
    why = why ? why : need_elements(n, axis, at);
    ir_set_result(n, ir_in_type(n, 0)->dtype, at);
    return why;
}

// The last axis of the indices, operand 1, has one entry for each axis of operand 0 from `first`
// on; *depth: how many.
static const char *need_tuples(const IrNode *n, int first, int *depth) {
    const IrShape *x = &ir_in_type(n, 0)->shape, *at = &ir_in_type(n, 1)->shape;
    const char *why = need_indices(n, 1);
    why = why ? why : ir_need_rank(n, 1, first + 1, IR_MAX_RANK);
    if (why) {
        return why;
    }
    IrDim last = at->dim[at->rank - 1];
    if (last.n || last.c < 1 || last.c > x->rank - first) {
        return ir_why(n, "the last axis of operand 1, %s, must count axes of operand 0, %s",
                      ir_operand_text(n, 1), ir_operand_text(n, 0));
    }
    *depth = (int)last.c;
    return NULL;
}

// ONNX GatherND 13, `axis` being batch_dims.
const char *ir_shape_gather_nd(IrNode *n) {
    const IrShape *x = &ir_in_type(n, 0)->shape, *at = &ir_in_type(n, 1)->shape;
    int64_t first = ir_int(n, IR_ATTR_AXIS, 0);
    int depth;
    const char *why = ir_need_axis(n, first, x->rank);
    why = why ? why : need_tuples(n, (int)first, &depth);
    if (why) {
        return why;
    }
    IrShape out = *at;
    out.rank = at->rank - 1;
    for (int i = 0; i < first; i++) {
        if (!ir_dim_eq(x->dim[i], at->dim[i])) {
            return ir_why(n, "operand 0 is %s and operand 1 is %s: they differ in axis %d",
                          ir_operand_text(n, 0), ir_operand_text(n, 1), i);
        }
    }
    for (int i = (int)first + depth; i < x->rank; i++) {
        if (out.rank == IR_MAX_RANK) {
            return ir_why(n, "the result has more than %d axes", IR_MAX_RANK);
        }
        out.dim[out.rank++] = x->dim[i];
    }
    for (int i = (int)first; i < first + depth && !why; i++) {
        why = need_elements(n, i, &out);
    }
    ir_set_result(n, ir_in_type(n, 0)->dtype, &out);
    return why;
}

// ---------------------------------------------------------------- scatters

static const char *const REDUCTIONS[] = {"none", "add", "mul", "max", "min"};

// ONNX ScatterElements 18.
const char *ir_shape_scatter_elements(IrNode *n) {
    int axis;
    const char *why = need_own_axis(n, 0, &axis);
    why = why ? why : need_indices(n, 1);
    why = why ? why : need_elementwise_indices(n, 1, axis);
    why = why ? why : ir_need_same_dtype(n, 0, 2);
    why = why ? why : need_mode(n, IR_ATTR_MODE, "none", 5, REDUCTIONS);
    if (!why && !ir_shape_eq(&ir_in_type(n, 1)->shape, &ir_in_type(n, 2)->shape)) {
        why = ir_why(n, "operand 1 is %s and operand 2 is %s: they must have one shape",
                     ir_operand_text(n, 1), ir_operand_text(n, 2));
    }
    ir_set_result(n, ir_in_type(n, 0)->dtype, &ir_in_type(n, 0)->shape);
    return why;
}

// ONNX ScatterND 18.
const char *ir_shape_scatter_nd(IrNode *n) {
    const IrShape *x = &ir_in_type(n, 0)->shape, *at = &ir_in_type(n, 1)->shape;
    const IrShape *updates = &ir_in_type(n, 2)->shape;
    int depth;
    const char *why = need_tuples(n, 0, &depth);
    why = why ? why : ir_need_same_dtype(n, 0, 2);
    why = why ? why : need_mode(n, IR_ATTR_MODE, "none", 5, REDUCTIONS);
    if (why) {
        return why;
    }
    bool fits = updates->rank == at->rank - 1 + x->rank - depth;
    for (int i = 0; i < updates->rank && fits; i++) {
        IrDim want = i < at->rank - 1 ? at->dim[i] : x->dim[i - (at->rank - 1) + depth];
        fits = ir_dim_eq(updates->dim[i], want);
    }
    ir_set_result(n, ir_in_type(n, 0)->dtype, x);
    return fits ? NULL
                : ir_why(n, "operand 2 is %s, it does not fit %s and indices %s",
                         ir_operand_text(n, 2), ir_operand_text(n, 0), ir_operand_text(n, 1));
}

// ---------------------------------------------------------------- det, grid_sample

// ONNX Det 11.
const char *ir_shape_det(IrNode *n) {
    IrShape out = ir_in_type(n, 0)->shape;
    const char *why = ir_need_float(n, 0);
    why = why ? why : ir_need_rank(n, 0, 2, IR_MAX_RANK);
    if (why) {
        return why;
    }
    out.rank -= 2;
    ir_set_result(n, ir_in_type(n, 0)->dtype, &out);
    IrDim rows = out.dim[out.rank], columns = out.dim[out.rank + 1];
    return rows.n == 0 && ir_dim_eq(rows, columns)
               ? NULL
               : ir_why(n, "the matrices of operand 0, %s, are not square and of fixed size",
                        ir_operand_text(n, 0));
}

// ONNX GridSample 20 on images: x [N,C,H,W], grid [N,H',W',2] -> [N,C,H',W'].
const char *ir_shape_grid_sample(IrNode *n) {
    static const char *const modes[] = {"linear", "nearest", "cubic"};
    static const char *const borders[] = {"zeros", "border", "reflection"};
    const IrShape *x = &ir_in_type(n, 0)->shape, *grid = &ir_in_type(n, 1)->shape;
    const char *why = ir_need_rank(n, 0, 4, 4);
    why = why ? why : ir_need_rank(n, 1, 4, 4);
    why = why ? why : ir_need_float(n, 0);
    why = why ? why : ir_need_float(n, 1);
    why = why ? why : need_mode(n, IR_ATTR_MODE, "linear", 3, modes);
    why = why ? why : need_mode(n, IR_ATTR_BORDER, "zeros", 3, borders);
    for (int i = 1; i < 4 && !why; i++) {
        why = ir_need_fixed(n, 0, i);
        why = why ? why : ir_need_fixed(n, 1, i);
    }
    if (!why && (!ir_dim_eq(x->dim[0], grid->dim[0]) || !ir_dim_is(grid->dim[3], 2))) {
        why = ir_why(n, "operand 1 is %s, it must have the images of %s and 2 coordinates",
                     ir_operand_text(n, 1), ir_operand_text(n, 0));
    }
    IrShape out = {4, {x->dim[0], x->dim[1], grid->dim[1], grid->dim[2]}};
    for (int i = 2; i < 4 && !why; i++) {
        why = need_elements(n, i, &out);
    }
    ir_set_result(n, ir_in_type(n, 0)->dtype, &out);
    return why;
}

// ONNX RoiAlign 16: x [N,C,H,W], regions [R,4], their images [R] -> [R,C] and `shape`.
const char *ir_shape_roi_align(IrNode *n) {
    static const char *const modes[] = {"avg", "max"};
    const IrShape *x = &ir_in_type(n, 0)->shape, *at = &ir_in_type(n, 1)->shape;
    const IrAttr *shape = ir_attr(n, IR_ATTR_SHAPE);
    int64_t samples = ir_int(n, IR_ATTR_SIZE, 0);
    const char *why = ir_need_rank(n, 0, 4, 4);
    why = why ? why : ir_need_rank(n, 1, 2, 2);
    why = why ? why : ir_need_rank(n, 2, 1, 1);
    why = why ? why : ir_need_float(n, 0);
    why = why ? why : ir_need_float(n, 1);
    why = why ? why : need_indices(n, 2);
    why = why ? why : need_mode(n, IR_ATTR_MODE, "avg", 2, modes);
    for (int i = 1; i < 4 && !why; i++) {
        why = ir_need_fixed(n, 0, i);
    }
    if (!why &&
        (!ir_dim_is(at->dim[1], 4) || !ir_dim_eq(at->dim[0], ir_in_type(n, 2)->shape.dim[0]))) {
        why = ir_why(n, "operand 1 is %s and operand 2 is %s, no regions and their images",
                     ir_operand_text(n, 1), ir_operand_text(n, 2));
    }
    if (!why && (!shape || shape->dims.rank != 2 || samples < 0 || samples > 1024)) {
        why = "shape must be a height and a width, and size from 0 to 1024";
    }
    if (why) {
        return why;
    }
    IrShape out = {4, {at->dim[0], x->dim[1], shape->dims.dim[0], shape->dims.dim[1]}};
    for (int i = 2; i < 4; i++) {
        if (out.dim[i].n || out.dim[i].c < 1 || ir_dim_is(x->dim[i], 0)) {
            return ir_why(n, "axis %d of operand 0, %s, or of the result is empty", i,
                          ir_operand_text(n, 0));
        }
    }
    ir_set_result(n, ir_in_type(n, 0)->dtype, &out);
    return need_elements(n, 0, &out);
}
