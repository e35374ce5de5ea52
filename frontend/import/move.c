// Operators that move data: Concat, Split, Slice, Pad, Transpose, Expand, Tile, Gather,
// DepthToSpace.
#include "frontend/import.h"

#include <math.h>
#include <string.h>

// Concat-13
void fe_import_concat(FeNode *n) {
    IrValue **in = ir_alloc_array(n->fe->arena, (size_t)n->n_in + 1, sizeof *in);
    for (int i = 0; i < n->n_in; i++) {
        in[i] = fe_operand(n, i);
    }
    if (n->n_in == 0) {
        fe_refuse(n, "it has no inputs");
    }
    if (n->refused) {
        return;
    }
    int axis = fe_axis(n, fe_attr_int(n, "axis", 1), in[0]->type.shape.rank);
    fe_out(n, 0, fe_build(n, IR_OP_CONCAT, n->n_in, in, FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis))));
}

// ---------------------------------------------------------------- Slice and Split

typedef struct Box { // the attributes of IR's slice
    int64_t start[IR_MAX_RANK], step[IR_MAX_RANK];
    IrShape size;
} Box;

static Box whole_box(const IrShape *s) {
    Box b = {.size = *s};
    for (int i = 0; i < s->rank; i++) {
        b.step[i] = 1;
    }
    return b;
}

static IrValue *build_slice(FeNode *n, IrValue *x, const Box *b) {
    return fe_build(n, IR_OP_SLICE, FE_IN(x),
                    FE_WITH(fe_ints_attr(n, IR_ATTR_START, b->size.rank, b->start),
                            fe_ints_attr(n, IR_ATTR_STEP, b->size.rank, b->step),
                            ir_attr_dims(IR_ATTR_SHAPE, &b->size)));
}

// Input 1 of Split-1: sizes in the type of x.
static IrInts read_sizes_like_x(FeNode *n) {
    const IrTensor *t = fe_tensor(n, 1);
    int64_t count = t ? ir_tensor_elems(t) : 0;
    IrInts out = {0, NULL};
    if (!t || t->rank > 1 || count != n->n_out) {
        fe_refuse(n, "its sizes are not constants, one for each output");
        return out;
    }
    out.v = ir_alloc_array(n->fe->arena, (size_t)count + 1, sizeof *out.v);
    for (; out.n < count; out.n++) {
        double size = ir_tensor_get(t, out.n);
        out.v[out.n] = size >= 0 && size <= INT32_MAX ? (int64_t)size : -1;
    }
    return out;
}

// The sizes of Split's parts: attribute (before 13), input (1, 13), or equal parts where the last
// may be smaller (18, num_outputs).
static bool read_parts(FeNode *n, IrDim dim, int64_t *parts) {
    IrInts given = n->since == 1 && fe_has(n, 1)
                       ? read_sizes_like_x(n)
                       : fe_ints_of(n, "split", n->since >= 13 ? 1 : n->n_in);
    if (n->refused) {
        return false;
    }
    if (given.v && given.n != n->n_out) {
        fe_refuse(n, "%d sizes are given for %d outputs", given.n, n->n_out);
        return false;
    }
    if (given.v) {
        memcpy(parts, given.v, (size_t)n->n_out * sizeof *parts);
        return true;
    }
    int64_t part = dim.c / n->n_out + (dim.c % n->n_out != 0), left = dim.c;
    if (n->since < 18 && dim.c % n->n_out) {
        fe_refuse(n, "%lld elements are not divided by %d outputs", (long long)dim.c, n->n_out);
        return false;
    }
    for (int i = 0; i < n->n_out; i++) {
        parts[i] = part < left ? part : left;
        left -= parts[i];
    }
    return true;
}

void fe_import_split(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    if (n->refused || n->n_out == 0) {
        return;
    }
    const IrShape *s = &x->type.shape;
    int axis = fe_axis(n, fe_attr_int(n, "axis", 0), s->rank);
    int64_t *parts = ir_alloc_array(n->fe->arena, (size_t)n->n_out, sizeof *parts), at = 0;
    if (!n->refused && s->dim[axis].n) {
        fe_refuse(n, "the batch axis cannot be split");
    }
    if (n->refused || !read_parts(n, s->dim[axis], parts)) {
        return;
    }
    for (int i = 0; i < n->n_out; i++) {
        Box b = whole_box(s);
        b.start[axis] = at;
        b.size.dim[axis] = ir_dim(parts[i]);
        if (parts[i] < 0 || __builtin_add_overflow(at, parts[i], &at) || at > s->dim[axis].c) {
            fe_refuse(n, "its sizes do not add up to the %lld elements", (long long)s->dim[axis].c);
            return;
        }
        fe_out(n, i, build_slice(n, x, &b));
    }
    if (at != s->dim[axis].c) {
        fe_refuse(n, "its sizes do not add up to the %lld elements", (long long)s->dim[axis].c);
    }
}

// One axis of Slice-13 into the box: negative positions count from the end, then both are clamped.
static void slice_fixed(Box *b, int axis, int64_t start, int64_t end, int64_t step) {
    int64_t dim = b->size.dim[axis].c, low = step > 0 ? 0 : -1, high = step > 0 ? dim : dim - 1;
    start = start < 0 ? start + dim : start;
    end = end < 0 ? end + dim : end;
    start = start < 0 ? 0 : start > high ? high : start;
    end = end < low ? low : end > high ? high : end;
    int64_t span = step > 0 ? end - start : start - end;
    uint64_t stride = step > 0 ? (uint64_t)step : -(uint64_t)step;
    int64_t count = span <= 0 ? 0 : (int64_t)(((uint64_t)span - 1) / stride) + 1;
    b->start[axis] = count ? start : 0;
    b->step[axis] = count > 1 ? step : 1;
    b->size.dim[axis] = ir_dim(count);
}

// The symbolic axis: only slices that keep all of it, whatever N is.
static bool slice_symbolic(FeNode *n, const Box *b, int axis, IrDim start, IrDim end,
                           int64_t step) {
    IrDim dim = b->size.dim[axis];
    bool to_end = ir_dim_eq(end, dim) || (end.n == 0 && end.c >= INT32_MAX);
    if (step == 1 && ir_dim_is(start, 0) && to_end) {
        return true;
    }
    fe_refuse(n, "NYI: a slice of the batch axis");
    return false;
}

// Slice-13: starts, ends, axes, steps; attributes before version 10.
void fe_import_slice(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    FeDims start = {0}, end = {0};
    IrInts axes = fe_ints_of(n, "axes", 3), steps = fe_ints(n, 4);
    if (!fe_dims_of(n, "starts", 1, &start) || !fe_dims_of(n, "ends", 2, &end) || n->refused) {
        return;
    }
    const IrShape *s = &x->type.shape;
    if (start.n != end.n || start.n > s->rank || (axes.v && axes.n != start.n) ||
        (steps.v && steps.n != start.n)) {
        fe_refuse(n, "starts, ends, axes and steps differ in length");
        return;
    }
    Box b = whole_box(s);
    fe_axes(n, axes, s->rank);
    for (int i = 0; i < start.n && !n->refused; i++) {
        int axis = axes.v ? fe_axis(n, axes.v[i], s->rank) : i;
        int64_t step = steps.v ? steps.v[i] : 1;
        if (step == 0) {
            fe_refuse(n, "step %d is 0", i);
        } else if (s->dim[axis].n) {
            slice_symbolic(n, &b, axis, start.v[i], end.v[i], step);
        } else if (start.v[i].n || end.v[i].n) {
            fe_refuse(n, "a bound depends on the batch size");
        } else {
            slice_fixed(&b, axis, start.v[i].c, end.v[i].c, step);
        }
    }
    bool whole = ir_shape_eq(&b.size, s);
    for (int i = 0; i < s->rank; i++) {
        whole &= b.step[i] == 1;
    }
    if (whole && !n->refused) {
        fe_out_alias(n, 0, 0);
    } else {
        fe_out(n, 0, build_slice(n, x, &b));
    }
}

// ---------------------------------------------------------------- Pad

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

// Padding by a value known at run time: it stands where a padded tensor of true is false.
static IrValue *pad_by_operand(FeNode *n, IrValue *x, const int64_t *pads, IrValue *value) {
    IrShape scalar = {0};
    const IrTensor *yes = fe_tensor_of_ints(n->fe->arena, IR_BOOL, 0, 1, (int64_t[]){1});
    IrValue *y = build_pad(n, x, pads, "constant", 0), *inside = NULL;
    if (!n->refused) {
        inside = fe_build(n, IR_OP_EXPAND, FE_IN(fe_tensor_const(n, yes)),
                          FE_WITH(ir_attr_dims(IR_ATTR_SHAPE, &x->type.shape)));
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
        fe_out(n, 0, pad_by_operand(n, x, pads, operand));
    } else {
        fe_out(n, 0, build_pad(n, x, pads, mode, value));
    }
}

// ---------------------------------------------------------------- Transpose and its relatives

// Transpose-13: without perm the axes are reversed.
void fe_import_transpose(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    IrInts perm = fe_attr_ints(n, "perm");
    if (n->refused) {
        return;
    }
    int rank = x->type.shape.rank;
    int64_t reversed[IR_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        reversed[i] = rank - 1 - i;
    }
    fe_out(n, 0, perm.v ? fe_transpose(n, x, perm.n, perm.v) : fe_transpose(n, x, rank, reversed));
}

enum { MAX_BLOCK = 1 << 15 };

// The operand [N,C,H,W], its block size and its dims.
static bool read_block(FeNode *n, IrValue **x, int64_t *b, IrDim *d) {
    *x = fe_operand(n, 0);
    *b = fe_attr_int(n, "blocksize", 0);
    if (n->refused) {
        return false;
    }
    const IrShape *s = &(*x)->type.shape;
    if (s->rank != 4 || *b < 1 || *b > MAX_BLOCK || s->dim[1].n || s->dim[2].n || s->dim[3].n) {
        fe_refuse(n, "rank %d and block size %lld do not fit", s->rank, (long long)*b);
        return false;
    }
    memcpy(d, s->dim, 4 * sizeof *d);
    for (int i = 1; i < 4; i++) {
        if (d[i].c > INT32_MAX) {
            fe_refuse(n, "dimension %d is %lld", i, (long long)d[i].c);
        }
    }
    return !n->refused;
}

// DepthToSpace-13: channels are [bh, bw, C'] (DCR) or [C', bh, bw] (CRD).
void fe_import_depth_to_space(FeNode *n) {
    IrValue *x;
    int64_t b;
    IrDim d[4];
    bool crd = strcmp(fe_attr_str(n, "mode", "DCR"), "CRD") == 0;
    if (!read_block(n, &x, &b, d)) {
        return;
    }
    if (d[1].c % (b * b)) {
        fe_refuse(n, "block size %lld does not divide %lld channels", (long long)b,
                  (long long)d[1].c);
        return;
    }
    IrDim c = ir_dim(d[1].c / (b * b)), k = ir_dim(b);
    IrShape dcr6 = {6, {d[0], k, k, c, d[2], d[3]}}, crd6 = {6, {d[0], c, k, k, d[2], d[3]}};
    const int64_t dcr_perm[] = {0, 3, 4, 1, 5, 2}, crd_perm[] = {0, 1, 4, 2, 5, 3};
    IrValue *y =
        fe_transpose(n, fe_reshape(n, x, crd ? &crd6 : &dcr6), 6, crd ? crd_perm : dcr_perm);
    fe_out(n, 0,
           fe_reshape(n, y, &(IrShape){4, {d[0], c, ir_dim(d[2].c * b), ir_dim(d[3].c * b)}}));
}

// SpaceToDepth-13: the result's channels are [bh, bw, C].
void fe_import_space_to_depth(FeNode *n) {
    IrValue *x;
    int64_t b;
    IrDim d[4];
    if (!read_block(n, &x, &b, d)) {
        return;
    }
    if (d[2].c % b || d[3].c % b) {
        fe_refuse(n, "block size %lld does not divide the image", (long long)b);
        return;
    }
    IrDim k = ir_dim(b), h = ir_dim(d[2].c / b), w = ir_dim(d[3].c / b);
    const int64_t perm[] = {0, 3, 5, 1, 2, 4};
    IrValue *y = fe_reshape(n, x, &(IrShape){6, {d[0], d[1], h, k, w, k}});
    y = fe_transpose(n, y, 6, perm);
    fe_out(n, 0, fe_reshape(n, y, &(IrShape){4, {d[0], ir_dim(d[1].c * b * b), h, w}}));
}

// ---------------------------------------------------------------- Expand, Tile, Gather

static IrValue *build_expand(FeNode *n, IrValue *x, const IrShape *s) {
    if (n->refused || ir_shape_eq(&x->type.shape, s)) {
        return x;
    }
    return fe_build(n, IR_OP_EXPAND, FE_IN(x), FE_WITH(ir_attr_dims(IR_ATTR_SHAPE, s)));
}

// Expand-13 broadcasts both ways: 1 in the target keeps the input's dimension.
void fe_import_expand(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    FeDims target;
    if (!fe_dims(n, 1, &target) || n->refused) {
        return;
    }
    IrShape t = {.rank = target.n}, out;
    if (target.n > IR_MAX_RANK) {
        fe_refuse(n, "the new shape has %d dimensions", target.n);
        return;
    }
    for (int i = 0; i < target.n; i++) {
        t.dim[i] = target.v[i];
        if (t.dim[i].c < 0 || t.dim[i].n < 0) {
            fe_refuse(n, "entry %d of the new shape is %lld", i, (long long)t.dim[i].c);
            return;
        }
    }
    if (!ir_shape_broadcast(&x->type.shape, &t, &out)) {
        fe_refuse(n, "the input does not broadcast to the new shape");
        return;
    }
    IrValue *y = build_expand(n, x, &out);
    if (y == x) {
        fe_out_alias(n, 0, 0);
    } else {
        fe_out(n, 0, y);
    }
}

// Tile-1 repeats one axis: its inputs are the number of copies and the axis.
static IrInts repeats_of_one_axis(FeNode *n, int rank) {
    double count = fe_scalar_in(n, 1, 1), given = fe_scalar_in(n, 2, 0);
    IrInts r = fe_range(n, 0, rank);
    if (!(count >= 0 && count <= INT32_MAX && fabs(given) <= rank)) {
        fe_refuse(n, "%g copies along axis %g are not possible", count, given);
    }
    int axis = n->refused ? 0 : fe_axis(n, (int64_t)given, rank);
    for (int i = 0; i < rank && !n->refused; i++) {
        r.v[i] = i == axis ? (int64_t)count : 1;
    }
    return r;
}

// Axis by axis, in rank 3: too many are repeated to do all of them at once.
static IrValue *repeat_axes(FeNode *n, IrValue *x, IrInts r) {
    IrShape s = x->type.shape;
    for (int i = s.rank - 1; i >= 0 && !n->refused; i--) {
        IrShape one = {3,
                       {fe_dim_product(n, &s, 0, i), ir_dim(1), fe_dim_product(n, &s, i, s.rank)}};
        IrShape wide = one;
        wide.dim[1] = ir_dim(r.v[i]);
        x = r.v[i] != 1 ? build_expand(n, fe_reshape(n, x, &one), &wide) : x;
        if (!ir_dim_mul(s.dim[i], ir_dim(r.v[i]), &s.dim[i])) {
            fe_refuse(n, "axis %d cannot be repeated %lld times", i, (long long)r.v[i]);
        }
    }
    return n->refused ? NULL : fe_reshape(n, x, &s);
}

// Tile-13: each repeated axis d becomes [1, d], is expanded to [r, d] and merged to r * d.
void fe_import_tile(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    if (n->refused) {
        return;
    }
    const IrShape *s = &x->type.shape;
    IrInts r = n->since >= 6 ? fe_ints(n, 1) : repeats_of_one_axis(n, s->rank);
    if (n->refused) {
        return;
    }
    IrShape in = {0}, wide = {0}, out = {.rank = s->rank};
    if (r.n != s->rank) {
        fe_refuse(n, "%d repeats are given for rank %d", r.n, s->rank);
        return;
    }
    int rank = s->rank;
    for (int i = 0; i < s->rank; i++) {
        rank += r.v[i] != 1;
        if (r.v[i] < 0 || !ir_dim_mul(s->dim[i], ir_dim(r.v[i]), &out.dim[i])) {
            fe_refuse(n, "axis %d cannot be repeated %lld times", i, (long long)r.v[i]);
            return;
        }
    }
    if (rank > IR_MAX_RANK) {
        fe_out(n, 0, repeat_axes(n, x, r));
        return;
    }
    for (int i = 0; i < s->rank; i++) {
        if (r.v[i] != 1) {
            in.dim[in.rank++] = ir_dim(1);
            wide.dim[wide.rank++] = ir_dim(r.v[i]);
        }
        in.dim[in.rank++] = wide.dim[wide.rank++] = s->dim[i];
    }
    fe_out(n, 0, fe_reshape(n, build_expand(n, fe_reshape(n, x, &in), &wide), &out));
}

// Gather-13 with one constant index is a slice without its axis.
static void gather_one(FeNode *n, IrValue *x, int axis, int64_t index) {
    const IrShape *s = &x->type.shape;
    Box b = whole_box(s);
    IrShape out = {0};
    b.start[axis] = index < 0 ? index + s->dim[axis].c : index;
    b.size.dim[axis] = ir_dim(1);
    for (int i = 0; i < s->rank; i++) {
        if (i != axis) {
            out.dim[out.rank++] = s->dim[i];
        }
    }
    fe_out(n, 0, fe_reshape(n, build_slice(n, x, &b), &out));
}

void fe_import_gather(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    const IrTensor *index = fe_tensor(n, 1);
    if (n->refused) {
        return;
    }
    const IrShape *s = &x->type.shape;
    int axis = fe_axis(n, fe_attr_int(n, "axis", 0), s->rank);
    int64_t count = index ? ir_tensor_elems(index) : 0, dim = n->refused ? 0 : s->dim[axis].c;
    if (!fe_spend(n, (double)count)) {
        fe_refuse(n, "its indices are shared by too many nodes for the size of the file");
    }
    for (int64_t i = 0; i < count && !n->refused; i++) {
        double k = ir_tensor_get(index, i);
        if (s->dim[axis].n == 0 && (k < -dim || k >= dim)) {
            fe_refuse(n, "index %.0f is outside axis %d of size %lld", k, axis, (long long)dim);
        }
    }
    if (index && index->rank == 0 && !n->refused && s->dim[axis].n == 0) {
        gather_one(n, x, axis, (int64_t)ir_tensor_get(index, 0));
        return;
    }
    IrValue *at = fe_operand(n, 1);
    fe_out(n, 0, fe_build(n, IR_OP_GATHER, FE_IN(x, at), FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis))));
}
