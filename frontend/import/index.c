// Operators that search along an axis (ArgMax, ArgMin, TopK, CumSum, CumProd) or address elements
// by tensors of indices (GatherElements, GatherND, ScatterElements, ScatterND, TensorScatter,
// OneHot, ReverseSequence), GridSample, AffineGrid and RoiAlign. Constant indices must
// be inside; what run-time ones do outside is said in ir/ops.def.
#include "frontend/import.h"

#include <string.h>

static int read_axis(FeNode *n, const IrValue *x, int64_t absent) {
    return n->refused ? 0 : fe_axis(n, fe_attr_int(n, "axis", absent), x->type.shape.rank);
}

// ---------------------------------------------------------------- along an axis

// ArgMax-13, ArgMin-13
void fe_import_arg(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    int axis = read_axis(n, x, 0);
    fe_out(
        n, 0,
        fe_build(n, n->info->op, FE_IN(x),
                 FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis),
                         ir_attr_i(IR_ATTR_KEEPDIMS, fe_attr_int(n, "keepdims", 1) != 0),
                         ir_attr_i(IR_ATTR_REVERSE, fe_attr_int(n, "select_last_index", 0) != 0))));
}

// TopK-11; k is an attribute in version 1. Results that need not be sorted are.
void fe_import_top_k(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    int axis = read_axis(n, x, -1);
    IrInts k = n->since >= 10 ? fe_ints(n, 1) : (IrInts){0, NULL};
    int64_t count = n->since >= 10 ? (k.n == 1 ? k.v[0] : -1) : fe_attr_int(n, "k", -1);
    bool least = n->since >= 11 && !fe_attr_int(n, "largest", 1);
    if (!n->refused && count < 0) {
        fe_refuse(n, "k is not one number of at least 0");
    }
    if (n->refused) {
        return;
    }
    IrAttr attrs[] = {ir_attr_i(IR_ATTR_AXIS, axis), ir_attr_i(IR_ATTR_SIZE, count),
                      ir_attr_i(IR_ATTR_REVERSE, least)};
    IrNode *top = ir_build_node(&n->b, IR_OP_TOP_K, 1, &x, 3, attrs);
    if (!top) {
        fe_refuse(n, "%s", n->b.err);
        return;
    }
    fe_out(n, 0, top->out[0]);
    fe_out(n, 1, top->out[1]);
}

// CumSum-14
void fe_import_cumsum(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    IrInts given = fe_ints(n, 1);
    if (!n->refused && given.n != 1) {
        fe_refuse(n, "its axis is not one number");
    }
    int axis = n->refused ? 0 : fe_axis(n, given.v[0], x->type.shape.rank);
    fe_out(n, 0,
           fe_build(n, IR_OP_CUMSUM, FE_IN(x),
                    FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis),
                            ir_attr_i(IR_ATTR_EXCLUSIVE, fe_attr_int(n, "exclusive", 0) != 0),
                            ir_attr_i(IR_ATTR_REVERSE, fe_attr_int(n, "reverse", 0) != 0))));
}

// x moved by `by` along the axis, towards its end or, with `back`, its begin; 1 where nothing came.
static IrValue *shift(FeNode *n, IrValue *x, int axis, int64_t by, bool back) {
    int rank = n->refused ? 0 : x->type.shape.rank;
    int64_t pads[2 * IR_MAX_RANK] = {0};
    pads[back ? rank + axis : axis] = by;
    pads[back ? axis : rank + axis] = -by;
    return fe_build(n, IR_OP_PAD, FE_IN(x),
                    FE_WITH(fe_ints_attr(n, IR_ATTR_PAD, 2 * rank, pads),
                            ir_attr_s(IR_ATTR_MODE, "constant"), ir_attr_f(IR_ATTR_VALUE, 1)));
}

// CumProd-26, in log2(length) steps: after step i each entry has the product of the last 2^i.
void fe_import_cumprod(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    IrInts given = fe_ints(n, 1);
    bool back = fe_attr_int(n, "reverse", 0) != 0;
    if (!n->refused && given.n != 1) {
        fe_refuse(n, "its axis is not one number");
    }
    int axis = n->refused ? 0 : fe_axis(n, given.v[0], x->type.shape.rank);
    if (!n->refused && x->type.shape.dim[axis].n) {
        fe_refuse(n, "NYI: products along the batch");
    }
    int64_t length = n->refused ? 0 : x->type.shape.dim[axis].c;
    if (fe_attr_int(n, "exclusive", 0) && length > 0) {
        x = shift(n, x, axis, 1, back);
    }
    for (int64_t by = 1; by < length && !n->refused; by *= 2) {
        x = fe_bin(n, IR_OP_MUL, x, shift(n, x, axis, by, back));
    }
    fe_out(n, 0, n->refused || x->def ? x : fe_un(n, IR_OP_COPY, x));
}

// ---------------------------------------------------------------- gathers and scatters

// Refuses constant indices outside of their axes: entry i is one of dim[i % depth], which are the
// axes from `axis` on.
static void check_indices(FeNode *n, int input, const IrValue *x, int axis, int depth) {
    const IrTensor *t = fe_tensor(n, input);
    int64_t count = t && !n->refused ? ir_tensor_elems(t) : 0;
    if (!fe_spend(n, (double)count)) {
        fe_refuse(n, "its indices are shared by too many nodes for the size of the file");
    }
    for (int64_t i = 0; i < count && !n->refused; i++) {
        int a = axis + (int)(i % depth);
        IrDim dim = x->type.shape.dim[a];
        double k = ir_tensor_get(t, i);
        if (dim.n == 0 && !(k >= -(double)dim.c && k < (double)dim.c)) {
            fe_refuse(n, "index %.0f is outside axis %d of size %lld", k, a, (long long)dim.c);
        }
    }
}

// The axes that a tuple of indices names, from `first` on; 0 after a refusal.
static int read_depth(FeNode *n, const IrValue *x, const IrValue *index, int first) {
    if (n->refused) {
        return 0;
    }
    const IrShape *s = &index->type.shape;
    IrDim last = s->rank ? s->dim[s->rank - 1] : ir_dim(0);
    if (last.n || last.c < 1 || last.c > x->type.shape.rank - first) {
        fe_refuse(n, "the last axis of the indices does not count axes of the data");
        return 0;
    }
    return (int)last.c;
}

// GatherElements-13
void fe_import_gather_elements(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *index = fe_operand(n, 1);
    int axis = read_axis(n, x, 0);
    check_indices(n, 1, x, axis, 1);
    fe_out(n, 0,
           fe_build(n, IR_OP_GATHER_ELEMENTS, FE_IN(x, index),
                    FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis))));
}

// GatherND-13
void fe_import_gather_nd(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *index = fe_operand(n, 1);
    int64_t batch = n->since >= 12 ? fe_attr_int(n, "batch_dims", 0) : 0;
    if (!n->refused && (batch < 0 || batch >= x->type.shape.rank)) {
        fe_refuse(n, "batch_dims is %lld for data of rank %d", (long long)batch,
                  x->type.shape.rank);
    }
    int depth = read_depth(n, x, index, (int)batch);
    if (depth) {
        check_indices(n, 1, x, (int)batch, depth);
    }
    fe_out(n, 0,
           fe_build(n, IR_OP_GATHER_ND, FE_IN(x, index), FE_WITH(ir_attr_i(IR_ATTR_AXIS, batch))));
}

// none, add and mul since version 16, max and min since 18
static IrAttr read_reduction(FeNode *n) {
    return ir_attr_s(IR_ATTR_MODE, n->since >= 16 ? fe_attr_str(n, "reduction", "none") : "none");
}

// ScatterElements-18, Scatter-9
void fe_import_scatter_elements(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *index = fe_operand(n, 1), *updates = fe_operand(n, 2);
    int axis = read_axis(n, x, 0);
    check_indices(n, 1, x, axis, 1);
    fe_out(n, 0,
           fe_build(n, IR_OP_SCATTER_ELEMENTS, FE_IN(x, index, updates),
                    FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis), read_reduction(n))));
}

// ScatterND-18
void fe_import_scatter_nd(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *index = fe_operand(n, 1), *updates = fe_operand(n, 2);
    int depth = read_depth(n, x, index, 0);
    if (depth) {
        check_indices(n, 1, x, 0, depth);
    }
    fe_out(n, 0,
           fe_build(n, IR_OP_SCATTER_ND, FE_IN(x, index, updates), FE_WITH(read_reduction(n))));
}

// ---------------------------------------------------------------- compositions

// Element 0 or 1 of OneHot's `values`, as a scalar.
static IrValue *pick_value(FeNode *n, IrValue *values, int64_t i) {
    IrShape one = {1, {ir_dim(1)}}, scalar = {0};
    IrValue *v = fe_build(n, IR_OP_SLICE, FE_IN(values),
                          FE_WITH(fe_ints_attr(n, IR_ATTR_START, 1, &i),
                                  fe_ints_attr(n, IR_ATTR_STEP, 1, &(int64_t){1}),
                                  ir_attr_dims(IR_ATTR_SHAPE, &one)));
    return fe_reshape(n, v, &scalar);
}

// OneHot-11: an axis of `depth` is put in, whose entry i is `on` where the index is i, or i -
// depth, and `off` elsewhere: where an index is outside, everywhere.
void fe_import_one_hot(FeNode *n) {
    IrValue *index = fe_operand(n, 0), *values = fe_operand(n, 2);
    double depth = fe_scalar_in(n, 1, 0);
    if (n->refused) {
        return;
    }
    IrShape s = {.rank = index->type.shape.rank + 1};
    if (s.rank > IR_MAX_RANK || !(depth >= 1 && depth <= INT32_MAX) ||
        values->type.shape.rank != 1 || !ir_dim_is(values->type.shape.dim[0], 2)) {
        fe_refuse(n, "depth %g, indices of rank %d or its values do not fit", depth,
                  index->type.shape.rank);
        return;
    }
    int axis = fe_axis(n, fe_attr_int(n, "axis", -1), s.rank);
    for (int i = 0; i < s.rank; i++) {
        s.dim[i] = i == axis ? ir_dim(1) : index->type.shape.dim[i - (i > axis)];
    }
    int64_t count = (int64_t)depth;
    IrValue *k = fe_reshape(n, fe_cast(n, index, IR_I64), &s);
    IrValue *wrapped = fe_op_const(n, IR_OP_ADD, k, (double)count);
    k = fe_build(n, IR_OP_WHERE, FE_IN(fe_op_const(n, IR_OP_LESS, k, 0), wrapped, k), 0, NULL);
    IrValue *hot = fe_bin(n, IR_OP_EQUAL, k, fe_iota(n, 0, ir_dim(count), axis, s.rank));
    IrValue *on = pick_value(n, values, 1), *off = pick_value(n, values, 0);
    fe_out(n, 0, fe_build(n, IR_OP_WHERE, FE_IN(hot, on, off), 0, NULL));
}

// x with axes 0 and 1 exchanged.
static IrValue *swap_leading_axes(FeNode *n, IrValue *x) {
    IrInts perm = fe_range(n, 0, n->refused ? 2 : x->type.shape.rank);
    perm.v[0] = 1;
    perm.v[1] = 0;
    return n->refused ? x : fe_transpose(n, x, perm.n, perm.v);
}

// ReverseSequence-10: step t of sequence b is step length[b] - 1 - t of the operand, while t is
// below its length. Run-time lengths beyond the axis are clamped as gather_nd's indices are.
void fe_import_reverse_sequence(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *length = fe_operand(n, 1);
    int64_t time = fe_attr_int(n, "time_axis", 0), batch = fe_attr_int(n, "batch_axis", 1);
    if (n->refused) {
        return;
    }
    const IrShape *s = &x->type.shape;
    if (s->rank < 2 || time < 0 || batch < 0 || time + batch != 1 || length->type.shape.rank != 1 ||
        !ir_dim_eq(length->type.shape.dim[0], s->dim[batch])) {
        fe_refuse(n, "time_axis %lld, batch_axis %lld and its lengths do not fit the data",
                  (long long)time, (long long)batch);
        return;
    }
    IrDim steps = s->dim[time], sequences = s->dim[batch];
    const IrTensor *known = fe_tensor(n, 1);
    for (int64_t i = 0; known && i < ir_tensor_elems(known) && !n->refused; i++) {
        double k = ir_tensor_get(known, i);
        if (!(k >= 0) || (steps.n == 0 && k > (double)steps.c)) {
            fe_refuse(n, "length %.0f is outside the time axis of size %lld", k,
                      (long long)steps.c);
        }
    }
    IrValue *t = fe_iota(n, 0, steps, 1, 2);
    IrValue *l = fe_reshape(n, fe_cast(n, length, IR_I64), &(IrShape){2, {sequences, ir_dim(1)}});
    IrValue *back = fe_bin(n, IR_OP_SUB, fe_op_const(n, IR_OP_SUB, l, 1), t);
    IrValue *at = fe_build(n, IR_OP_WHERE, FE_IN(fe_bin(n, IR_OP_LESS, t, l), back, t), 0, NULL);
    at = fe_reshape(n, at, &(IrShape){3, {sequences, steps, ir_dim(1)}});
    IrValue *y = fe_build(n, IR_OP_GATHER_ND, FE_IN(batch ? swap_leading_axes(n, x) : x, at),
                          FE_WITH(ir_attr_i(IR_ATTR_AXIS, 1)));
    fe_out(n, 0, batch ? swap_leading_axes(n, y) : y);
}

// ---------------------------------------------------------------- Det, GridSample

// Det-11
void fe_import_det(FeNode *n) {
    fe_out(n, 0, fe_un(n, IR_OP_DET, fe_operand(n, 0)));
}

// GridSample-20; version 16 calls its modes bilinear and bicubic.
void fe_import_grid_sample(FeNode *n) {
    static const char *const old[][2] = {{"bilinear", "linear"}, {"bicubic", "cubic"}};
    IrValue *x = fe_operand(n, 0), *grid = fe_operand(n, 1);
    const char *mode = fe_attr_str(n, "mode", n->since >= 20 ? "linear" : "bilinear");
    for (int i = 0; i < 2 && mode && n->since < 20; i++) {
        mode = strcmp(mode, old[i][0]) == 0 ? old[i][1] : mode;
    }
    const char *border = fe_attr_str(n, "padding_mode", "zeros");
    if (n->refused) {
        return;
    }
    fe_out(n, 0,
           fe_build(n, IR_OP_GRID_SAMPLE, FE_IN(x, grid),
                    FE_WITH(ir_attr_s(IR_ATTR_MODE, mode), ir_attr_s(IR_ATTR_BORDER, border),
                            ir_attr_i(IR_ATTR_ALIGN, fe_attr_int(n, "align_corners", 0) != 0))));
}

// RoiAlign-16; version 10 has no half pixels.
void fe_import_roi_align(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *regions = fe_operand(n, 1), *images = fe_operand(n, 2);
    const char *mode = fe_attr_str(n, "mode", "avg");
    const char *pixels = n->since >= 16
                             ? fe_attr_str(n, "coordinate_transformation_mode", "half_pixel")
                             : "output_half_pixel";
    int64_t size[] = {fe_attr_int(n, "output_height", 1), fe_attr_int(n, "output_width", 1)};
    int64_t samples = fe_attr_int(n, "sampling_ratio", 0);
    if (n->refused) {
        return;
    }
    bool half = strcmp(pixels, "half_pixel") == 0;
    if (!half && strcmp(pixels, "output_half_pixel") != 0) {
        fe_refuse(n, "coordinate_transformation_mode '%s' is unknown", pixels);
    }
    for (int i = 0; i < 2; i++) {
        if (size[i] < 1 || size[i] > INT32_MAX) {
            fe_refuse(n, "its result is %lld x %lld", (long long)size[0], (long long)size[1]);
        }
    }
    if (n->refused) {
        return;
    }
    check_indices(n, 2, x, 0, 1);
    IrShape out = ir_shape_of(2, size);
    double scale = fe_attr_float(n, "spatial_scale", 1);
    fe_out(n, 0,
           fe_build(n, IR_OP_ROI_ALIGN, FE_IN(x, regions, images),
                    FE_WITH(ir_attr_s(IR_ATTR_MODE, mode), ir_attr_dims(IR_ATTR_SHAPE, &out),
                            ir_attr_i(IR_ATTR_SIZE, samples), ir_attr_f(IR_ATTR_ALPHA, scale),
                            ir_attr_i(IR_ATTR_ALIGN, half))));
}

// TensorScatter-24: where position p of the cache's axis, less the image's first index, is within
// the update, its entry is taken; circular: counted around the axis.
void fe_import_tensor_scatter(FeNode *n) {
    IrValue *past = fe_operand(n, 0), *update = fe_operand(n, 1), *first = fe_operand_or_null(n, 2);
    const char *mode = fe_attr_str(n, "mode", "linear");
    bool circular = strcmp(mode, "circular") == 0;
    if (!circular && strcmp(mode, "linear") != 0) {
        fe_refuse(n, "mode '%s' is neither linear nor circular", mode);
    }
    int axis = read_axis(n, past, -2);
    if (n->refused) {
        return;
    }
    const IrShape *s = &past->type.shape, *u = &update->type.shape;
    IrDim size = s->dim[axis], count = u->rank == s->rank ? u->dim[axis] : ir_dim(0);
    bool fits = u->rank == s->rank && axis > 0 && count.c > 0 && count.c <= size.c;
    for (int i = 0; i < s->rank && fits; i++) {
        fits = i == axis || ir_dim_eq(s->dim[i], u->dim[i]);
    }
    if (!fits) {
        fe_refuse(n, "its update does not fit the cache along axis %d", axis);
        return;
    }
    int64_t batch = 0;
    IrValue *at = fe_iota(n, 0, size, axis, s->rank);
    if (first) {
        first = fe_reshape_axes(n, fe_cast(n, first, IR_I64), s->rank, (IrInts){1, &batch});
        at = fe_bin(n, IR_OP_SUB, at, first);
        at = circular ? fe_op_const(n, IR_OP_MOD, at, (double)size.c) : at;
    }
    IrValue *early = fe_op_const(n, IR_OP_LESS, at, 0);
    IrValue *late = fe_op_const(n, IR_OP_GREATER, at, (double)count.c - 1);
    at = fe_build(n, IR_OP_EXPAND, FE_IN(fe_op_const(n, IR_OP_MAXIMUM, at, 0)),
                  FE_WITH(ir_attr_dims(IR_ATTR_SHAPE, s)));
    IrValue *y = fe_build(n, IR_OP_GATHER_ELEMENTS, FE_IN(update, at),
                          FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis)));
    IrValue *keep = fe_bin(n, IR_OP_OR, early, late);
    fe_out(n, 0, fe_build(n, IR_OP_WHERE, FE_IN(keep, past, y), 0, NULL));
}

// AffineGrid-20: theta [N,d,d+1] times the positions of an image's pixels, from -1 to 1, the last
// axis first; the size is [N,C,H,W] or [N,C,D,H,W]. An axis of one pixel has it in the middle, at
// 0, as PyTorch and ONNX Runtime do: with align_corners ONNX's text leaves it open.
void fe_import_affine_grid(FeNode *n) {
    IrValue *theta = fe_operand(n, 0);
    bool align = fe_attr_int(n, "align_corners", 0) != 0;
    FeDims size;
    if (n->refused || !fe_dims(n, 1, &size)) {
        return;
    }
    int d = size.n - 2;
    const IrShape *s = &theta->type.shape;
    if ((d != 2 && d != 3) || s->rank != 3 || !ir_dim_is(s->dim[1], d) ||
        !ir_dim_is(s->dim[2], d + 1) || !ir_dim_eq(s->dim[0], size.v[0])) {
        fe_refuse(n, "%d sizes for matrices of rank %d", size.n, s->rank);
        return;
    }
    IrShape grid = {1, {size.v[0]}};
    for (int i = 0; i < d; i++) {
        grid.dim[grid.rank++] = size.v[2 + i];
    }
    IrDim pixels = fe_dim_product(n, &grid, 1, grid.rank);
    IrType type = {IR_F32, {2, {pixels, ir_dim(d + 1)}}, 0};
    const char *why = n->refused || pixels.n ? "depends on the batch" : fe_check_fill(n->fe, &type);
    if (why) {
        fe_refuse(n, "its grid %s", why);
        return;
    }
    IrTensor base = ir_tensor_new(n->fe->arena, &type, 1);
    for (int64_t i = 0; i < pixels.c; i++) {
        int64_t rest = i;
        float *to = (float *)base.data + i * (d + 1);
        to[d] = 1;
        for (int k = 0; k < d; k++) { // x, y, z
            int64_t count = grid.dim[d - k].c, at = rest % count;
            rest /= count;
            to[k] = (float)(align && count > 1 ? 2.0 * (double)at / (double)(count - 1) - 1
                                               : (2.0 * (double)at + 1) / (double)count - 1);
        }
    }
    IrValue *y = fe_transpose(n, theta, 3, (int64_t[]){0, 2, 1});
    y = fe_matmul(n, fe_tensor_const(n, &base), y);
    grid.dim[grid.rank++] = ir_dim(d);
    fe_out(n, 0, n->refused ? NULL : fe_reshape(n, y, &grid));
}
