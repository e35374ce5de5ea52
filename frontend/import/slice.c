// Operators that take parts of a tensor: Slice, Split, Gather.
#include "frontend/import.h"

#include <string.h>

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
    int64_t span = dim == 0 ? 0 : step > 0 ? end - start : start - end;
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

// ---------------------------------------------------------------- Gather

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
