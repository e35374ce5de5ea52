// Shape rules of the ops that move elements without computing.
#include "ir/shape.h"
#include <string.h>

static const char *attr_missing(const IrNode *n, IrAttrKey key) {
    return ir_attr(n, key) ? NULL : ir_why(n, "attribute %s is missing", ir_attr_name(key));
}

// NULL when the attribute is there with one value for each of `count` things.
static const char *need_all_ints(const IrNode *n, IrAttrKey key, int count) {
    const char *why = attr_missing(n, key);
    return why ? why : ir_need_ints(n, key, count, INT64_MIN);
}

// The attribute `shape`: there, and a shape that can be.
static const char *need_shape(const IrNode *n, IrDtype t, IrShape *out) {
    const char *why = attr_missing(n, IR_ATTR_SHAPE);
    if (!why) {
        IrType type = {.dtype = t, .shape = ir_attr(n, IR_ATTR_SHAPE)->dims};
        why = ir_check_type(n->graph->prog->arena, &type);
        *out = type.shape;
    }
    return why;
}

// ONNX Concat 13.
const char *ir_shape_concat(IrNode *n) {
    IrShape out = ir_in_type(n, 0)->shape;
    int64_t axis = ir_int(n, IR_ATTR_AXIS, -1);
    const char *why = attr_missing(n, IR_ATTR_AXIS);
    why = why ? why : ir_need_axis(n, axis, out.rank);
    for (int i = 1; i < n->n_in && !why; i++) {
        IrShape s = ir_in_type(n, i)->shape;
        why = ir_need_same_dtype(n, 0, i);
        IrDim sum;
        if (!why && s.rank == out.rank && !ir_dim_add(out.dim[axis], s.dim[axis], &sum)) {
            why = ir_why(n, "the result's axis %lld is too large", (long long)axis);
        }
        if (!why && s.rank == out.rank) {
            out.dim[axis] = s.dim[axis] = sum;
        }
        if (!why && !ir_shape_eq(&s, &out)) {
            why =
                ir_why(n, "operand 0 is %s and operand %d is %s: they may differ in axis %lld only",
                       ir_operand_text(n, 0), i, ir_operand_text(n, i), (long long)axis);
        }
    }
    if (!why) {
        ir_set_result(n, ir_in_type(n, 0)->dtype, &out);
    }
    return why;
}

// Channels of the operands joined along axis 1, as ir_shape_concat() joins them.
const char *ir_shape_shuffle(IrNode *n) {
    IrShape out = ir_in_type(n, 0)->shape;
    IrInts from = ir_ints(n, IR_ATTR_CHANNELS);
    const char *why = attr_missing(n, IR_ATTR_CHANNELS);
    why = why ? why : ir_need_rank(n, 0, 2, IR_MAX_RANK);
    int64_t joined = 0;
    for (int i = 0; i < n->n_in && !why; i++) {
        IrShape s = ir_in_type(n, i)->shape;
        why = ir_need_same_dtype(n, 0, i);
        why = why ? why : ir_need_rank(n, i, out.rank, out.rank);
        why = why ? why : ir_need_fixed(n, i, 1);
        if (!why && __builtin_add_overflow(joined, s.dim[1].c, &joined)) {
            why = "the operands have too many channels";
        }
        s.dim[1] = out.dim[1];
        if (!why && !ir_shape_eq(&s, &out)) {
            why = ir_why(n, "operand 0 is %s and operand %d is %s: they may differ in axis 1 only",
                         ir_operand_text(n, 0), i, ir_operand_text(n, i));
        }
    }
    for (int c = 0; c < from.n && !why; c++) {
        if (from.v[c] < 0 || from.v[c] >= joined) {
            why = ir_why(n, "channel %lld of the result is channel %lld of %lld", (long long)c,
                         (long long)from.v[c], (long long)joined);
        }
    }
    if (!why) {
        out.dim[1] = ir_dim(from.n);
        ir_set_result(n, ir_in_type(n, 0)->dtype, &out);
    }
    return why;
}

// Whether `size` elements from `start` on, `step` apart, lie in `dim`, whatever N is.
static bool slice_fits(IrDim dim, int64_t start, int64_t step, IrDim size) {
    int64_t last;
    if (step == 0 || start < 0 || size.n < 0 || size.c < 0) {
        return false;
    }
    if (dim.n || size.n) {
        return step == 1 && size.n <= dim.n && !__builtin_add_overflow(start, size.c, &last) &&
               last <= dim.c;
    }
    if (size.c == 0) {
        return start <= dim.c;
    }
    return start < dim.c && !__builtin_mul_overflow(size.c - 1, step, &last) &&
           !__builtin_add_overflow(start, last, &last) && last >= 0 && last < dim.c;
}

// Element i of axis a of `part` is element start[a] + i * step[a] of the axis of `whole`.
static const char *check_slice(const IrNode *n, const IrShape *whole, const IrShape *part) {
    const char *why = need_all_ints(n, IR_ATTR_START, whole->rank);
    why = why ? why : need_all_ints(n, IR_ATTR_STEP, whole->rank);
    if (!why && part->rank != whole->rank) {
        why = ir_why(n, "shape has rank %d and the operand is %s",
                     ir_attr(n, IR_ATTR_SHAPE)->dims.rank, ir_operand_text(n, 0));
    }
    for (int i = 0; i < whole->rank && !why; i++) {
        int64_t start = ir_ints(n, IR_ATTR_START).v[i], step = ir_ints(n, IR_ATTR_STEP).v[i];
        char size[72], dim[72];
        if (!slice_fits(whole->dim[i], start, step, part->dim[i])) {
            why = ir_why(n, "axis %d: %s elements from %lld on by step %lld are not within %s", i,
                         ir_dim_print(part->dim[i], size, sizeof size), (long long)start,
                         (long long)step, ir_dim_print(whole->dim[i], dim, sizeof dim));
        }
    }
    return why;
}

const char *ir_shape_slice(IrNode *n) {
    IrShape out = {0};
    const char *why = need_shape(n, ir_in_type(n, 0)->dtype, &out);
    why = why ? why : check_slice(n, &ir_in_type(n, 0)->shape, &out);
    if (!why) {
        ir_set_result(n, ir_in_type(n, 0)->dtype, &out);
    }
    return why;
}

// The operand is what slice gives of a tensor of `shape`.
const char *ir_shape_slice_grad(IrNode *n) {
    IrShape out = {0};
    const char *why = need_shape(n, ir_in_type(n, 0)->dtype, &out);
    why = why ? why : check_slice(n, &out, &ir_in_type(n, 0)->shape);
    if (!why) {
        ir_set_result(n, ir_in_type(n, 0)->dtype, &out);
    }
    return why;
}

// Operands are there for each of the sh * sw phases of `shape` [N,C,H,W], or absent: zeros.
const char *ir_shape_interleave(IrNode *n) {
    const IrType *first = NULL;
    IrShape out = {0};
    const char *why = ir_need_ints(n, IR_ATTR_STRIDE, 2, 1);
    IrWindow w = ir_window(n);
    for (int i = 0; i < n->n_in && !first; i++) {
        first = ir_in(n, i) ? ir_in_type(n, i) : NULL;
    }
    if (!why && (!first || w.sh > n->n_in || w.sw > n->n_in || n->n_in != w.sh * w.sw)) {
        why = ir_why(n, "%d operands for stride %lldx%lld, or all of them absent", n->n_in,
                     (long long)w.sh, (long long)w.sw);
    }
    why = why ? why : need_shape(n, first->dtype, &out);
    if (!why && out.rank != 4) {
        why = ir_why(n, "shape has rank %d, it must be 4", out.rank);
    }
    for (int i = 0; i < n->n_in && !why; i++) {
        if (ir_in(n, i)) {
            const IrType *x = ir_in_type(n, i);
            why = ir_need_rank(n, i, 4, 4);
            if (!why && (x->dtype != first->dtype || !ir_dim_eq(x->shape.dim[0], out.dim[0]) ||
                         !ir_dim_eq(x->shape.dim[1], out.dim[1]) || x->shape.dim[2].n ||
                         x->shape.dim[3].n || out.dim[2].n || out.dim[3].n)) {
                why =
                    ir_why(n, "operand %d is %s, it does not fit shape", i, ir_operand_text(n, i));
            }
        }
    }
    if (!why) {
        ir_set_result(n, first->dtype, &out);
    }
    return why;
}

typedef enum PadMode { PAD_CONSTANT, PAD_EDGE, PAD_REFLECT, PAD_MODES } PadMode;

// One axis of a pad. begin and end may be negative: they crop, and never more than is there.
static const char *pad_axis(const IrNode *n, PadMode mode, int axis, IrDim dim, int64_t begin,
                            int64_t end, IrDim *out) {
    // The elements that are there for every N; each border may take from them, or mirror them.
    int64_t c = dim.c, most = mode == PAD_REFLECT ? c - 1 : INT64_MAX;
    int64_t sum, crop_begin = begin < 0 ? begin : 0, crop_end = end < 0 ? end : 0;
    bool overflow =
        __builtin_add_overflow(c, begin, &sum) || __builtin_add_overflow(sum, end, &sum);
    bool crops_too_much = crop_begin < -c || crop_end < -c - crop_begin;
    if (overflow || crops_too_much) {
        char text[72];
        return ir_why(n, "axis %d of size %s cannot be padded by %lld and %lld", axis,
                      ir_dim_print(dim, text, sizeof text), (long long)begin, (long long)end);
    }
    bool grows = begin > 0 || end > 0;
    if (grows && mode != PAD_CONSTANT && (c < 1 || begin > most || end > most)) {
        char text[72];
        return ir_why(n, "axis %d of size %s is too small to %s %lld and %lld elements", axis,
                      ir_dim_print(dim, text, sizeof text), mode == PAD_EDGE ? "repeat" : "reflect",
                      (long long)begin, (long long)end);
    }
    *out = (IrDim){sum, dim.n};
    return NULL;
}

// ONNX Pad 21: pad = begins of all axes, then ends.
const char *ir_shape_pad(IrNode *n) {
    static const char *const MODES[] = {"constant", "edge", "reflect"};
    const IrShape *x = &ir_in_type(n, 0)->shape;
    const char *text = ir_str(n, IR_ATTR_MODE, "constant");
    int mode = 0;
    while (mode < PAD_MODES && strcmp(text, MODES[mode])) {
        mode++;
    }
    if (mode == PAD_MODES) {
        return ir_why(n, "mode '%s' is none of constant, edge, reflect", text);
    }
    const char *why = need_all_ints(n, IR_ATTR_PAD, 2 * x->rank);
    IrInts pad = ir_ints(n, IR_ATTR_PAD);
    IrShape out = {.rank = x->rank};
    for (int i = 0; i < x->rank && !why; i++) {
        why = pad_axis(n, (PadMode)mode, i, x->dim[i], pad.v[i], pad.v[x->rank + i], &out.dim[i]);
    }
    if (!why) {
        ir_set_result(n, ir_in_type(n, 0)->dtype, &out);
    }
    return why;
}

// ONNX Transpose 21: axis i of the result is axis perm[i] of the operand.
const char *ir_shape_transpose(IrNode *n) {
    const IrShape *x = &ir_in_type(n, 0)->shape;
    const char *why = need_all_ints(n, IR_ATTR_PERM, x->rank);
    IrInts perm = ir_ints(n, IR_ATTR_PERM);
    IrShape out = {.rank = x->rank};
    unsigned seen = 0;
    for (int i = 0; i < x->rank && !why; i++) {
        why = ir_need_axis(n, perm.v[i], x->rank);
        if (!why && seen >> perm.v[i] & 1) {
            why = ir_why(n, "axis %lld stands twice in perm", (long long)perm.v[i]);
        }
        if (!why) {
            seen |= 1u << perm.v[i];
            out.dim[i] = x->dim[perm.v[i]];
        }
    }
    if (!why) {
        ir_set_result(n, ir_in_type(n, 0)->dtype, &out);
    }
    return why;
}

// Row-major elements stay where they are. `shape` is fully resolved, no 0 or -1 of ONNX Reshape.
const char *ir_shape_reshape(IrNode *n) {
    IrShape out;
    IrDim have, want;
    const char *why = need_shape(n, ir_in_type(n, 0)->dtype, &out);
    if (why) {
        return why;
    }
    ir_set_result(n, ir_in_type(n, 0)->dtype, &out);
    if (!ir_shape_elems(&ir_in_type(n, 0)->shape, &have) || !ir_shape_elems(&out, &want) ||
        !ir_dim_eq(have, want)) {
        return ir_why(n, "%s and %s do not have as many elements", ir_operand_text(n, 0),
                      ir_type_text(n, &n->out[0]->type));
    }
    return NULL;
}

// ONNX Expand 13, `shape` being the result's.
const char *ir_shape_expand(IrNode *n) {
    IrShape out;
    const char *why = need_shape(n, ir_in_type(n, 0)->dtype, &out);
    why = why ? why : ir_need_broadcast_to(n, 0, &out);
    if (!why) {
        ir_set_result(n, ir_in_type(n, 0)->dtype, &out);
    }
    return why;
}

// ONNX Gather 13. The indices are not looked at: a constant that folding makes cannot spoil a node.
const char *ir_shape_gather(IrNode *n) {
    const IrShape *x = &ir_in_type(n, 0)->shape, *indices = &ir_in_type(n, 1)->shape;
    IrDtype t = ir_in_type(n, 1)->dtype;
    int64_t axis = ir_int(n, IR_ATTR_AXIS, 0);
    if (t != IR_I32 && t != IR_I64) {
        return ir_why(n, "indices are %s, they must be i32 or i64", ir_dtype_name(t));
    }
    const char *why = ir_need_axis(n, axis, x->rank);
    if (!why && x->rank - 1 + indices->rank > IR_MAX_RANK) {
        why = ir_why(n, "the result has rank %d, the most is %d", x->rank - 1 + indices->rank,
                     IR_MAX_RANK);
    }
    if (why) {
        return why;
    }
    IrShape out = {0};
    bool empty = false;
    for (int i = 0; i < x->rank; i++) {
        for (int k = 0; i == axis && k < indices->rank; k++) {
            out.dim[out.rank++] = indices->dim[k];
        }
        if (i != axis) {
            out.dim[out.rank++] = x->dim[i];
        }
    }
    for (int i = 0; i < out.rank; i++) {
        empty |= ir_dim_is(out.dim[i], 0);
    }
    if (!empty && ir_dim_is(x->dim[axis], 0)) {
        return ir_why(n, "axis %lld of operand 0, %s, is empty", (long long)axis,
                      ir_operand_text(n, 0));
    }
    ir_set_result(n, ir_in_type(n, 0)->dtype, &out);
    return NULL;
}
