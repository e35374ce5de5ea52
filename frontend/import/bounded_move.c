// Parts of values whose size data decides, parts whose size data decides, and what is put together
// of them: Gather, GatherND, Slice, Split, Concat, ScatterElements, ScatterND.
#include "frontend/import/bounded.h"

// ---------------------------------------------------------------- Gather

// Where the counted axes of data and of indices are in the result of a gather along `axis`.
static FeCount gathered_count(FeNode *n, int axis, int index_rank) {
    FeCount x = fe_count(n, 0), at = fe_count(n, 1);
    bool other = x.v && x.axis != axis;
    if (other && at.v) {
        fe_bounded_nyi(n);
    }
    at.axis += axis;
    x.axis += x.axis > axis ? index_rank - 1 : 0;
    return other ? x : at;
}

// Gather-13. An index that is known must be below the count, as it would have to be below the size.
void fe_bounded_gather(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *at = fe_operand(n, 1);
    FeCount c = fe_count(n, 0);
    int axis = n->refused ? 0 : fe_axis(n, fe_attr_int(n, "axis", 0), x->type.shape.rank);
    if (n->refused) {
        return;
    }
    if (!c.v || c.axis != axis) {
        FeCount to = gathered_count(n, axis, at->type.shape.rank);
        fe_bounded_import(n);
        fe_out_count(n, 0, to);
        return;
    }
    IrDim bound = x->type.shape.dim[axis];
    FeEntry e = fe_entry(n, at, FE_ANY);
    if (at->konst && e.hi >= 0) {
        fe_check_most(n, fe_bin(n, IR_OP_SUB, fe_i64(n, e.hi + 1), c.v), 0);
    }
    FeCount to = gathered_count(n, axis, at->type.shape.rank);
    at = fe_bounded_wrap(n, at, c.v, bound);
    fe_out(n, 0, fe_build(n, IR_OP_GATHER, FE_IN(x, at), FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis))));
    fe_out_count(n, 0, to);
}

// Tuples of indices of which entry d is along a counted axis of the data.
static IrValue *wrap_tuples(FeNode *n, IrValue *at, int d, IrValue *count, IrDim bound) {
    int last = at->type.shape.rank - 1;
    int64_t depth = at->type.shape.dim[last].c;
    if (fe_entry(n, at, FE_ANY).lo >= 0) {
        return at;
    }
    IrValue *part = fe_bounded_wrap(n, fe_part(n, at, last, d, 1), count, bound);
    IrValue *in[3];
    int k = 0;
    at = fe_cast(n, at, IR_I64);
    if (d > 0) {
        in[k++] = fe_part(n, at, last, 0, d);
    }
    in[k++] = part;
    if (d + 1 < depth) {
        in[k++] = fe_part(n, at, last, d + 1, depth - d - 1);
    }
    return fe_build(n, IR_OP_CONCAT, k, in, FE_WITH(ir_attr_i(IR_ATTR_AXIS, last)));
}

// GatherND-13, without axes that data and indices share.
void fe_bounded_gather_nd(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *at = fe_operand(n, 1);
    FeCount c = fe_count(n, 0), to = fe_count(n, 1);
    int last = n->refused ? 0 : at->type.shape.rank - 1;
    int depth = n->refused || last < 0 ? 0 : (int)at->type.shape.dim[last].c;
    if (n->refused) {
        return;
    }
    if (fe_attr_int(n, "batch_dims", 0) || last < 0 || (to.v && to.axis == last) ||
        (c.v && c.axis >= depth && to.v) || x->type.shape.rank < depth) {
        fe_bounded_nyi(n);
        return;
    }
    if (c.v && c.axis < depth) {
        IrDim bound = x->type.shape.dim[c.axis];
        fe_bounded_replace(n, 1, wrap_tuples(n, at, c.axis, c.v, bound), to);
    } else if (c.v) {
        to = (FeCount){c.v, c.axis - depth + last};
    }
    fe_bounded_import(n);
    fe_out_count(n, 0, to);
}

// ---------------------------------------------------------------- Slice

typedef struct Cut {      // along one axis
    IrValue *start, *end; // i64[]
    int64_t step;
} Cut;

// A position that counts from the end where it is negative, kept within [low, size + high].
static IrValue *clamp_position(FeNode *n, IrValue *p, IrValue *size, int64_t low, int64_t high) {
    if (n->refused) {
        return NULL;
    }
    FeEntry e = fe_entry(n, p, 0), s = fe_entry(n, size, 0);
    if (high == 0 && (fe_same_entry(n, p, size) || e.lo >= s.hi)) {
        return size;
    }
    if (e.lo < 0) {
        IrValue *back = fe_bin(n, IR_OP_ADD, p, size), *negative = fe_op_const(n, IR_OP_LESS, p, 0);
        p = fe_build(n, IR_OP_WHERE, FE_IN(negative, back, p), 0, NULL);
        p = fe_op_const(n, IR_OP_MAXIMUM, p, (double)low);
    }
    return fe_bin(n, IR_OP_MINIMUM, p, high ? fe_op_const(n, IR_OP_ADD, size, (double)high) : size);
}

static bool is_zero(FeNode *n, IrValue *v) {
    FeEntry e = fe_entry(n, v, 0);
    return e.lo == 0 && e.hi == 0;
}

// The part of x, of which `size` count along the axis; *count: how many that part has.
static IrValue *cut_axis(FeNode *n, IrValue *x, int axis, IrValue *size, const Cut *cut,
                         IrValue **count) {
    bool up = cut->step > 0;
    IrValue *from = clamp_position(n, cut->start, size, 0, up ? 0 : -1);
    IrValue *to = clamp_position(n, cut->end, size, up ? 0 : -1, up ? 0 : -1);
    int64_t step = up ? cut->step : -cut->step, bound = n->refused ? 0 : x->type.shape.dim[axis].c;
    bool begins = !n->refused && up && is_zero(n, from);
    IrValue *span = begins ? to
                    : up   ? fe_bin(n, IR_OP_SUB, to, from)
                           : fe_bin(n, IR_OP_SUB, from, to);
    if (!n->refused && fe_entry(n, span, 0).lo < 0) {
        span = fe_op_const(n, IR_OP_MAXIMUM, span, 0);
    }
    if (step > 1) {
        span = fe_op_const(n, IR_OP_ADD, span, (double)(step - 1));
        span = fe_op_const(n, IR_OP_DIV, span, (double)step);
    }
    *count = span;
    int64_t most = n->refused ? 0 : fe_entry(n, span, 0).hi;
    most = most > bound ? bound : most;
    if (begins && step == 1) {
        return fe_part(n, x, axis, 0, most);
    }
    IrValue *at = fe_op_const(n, IR_OP_MUL, fe_iota(n, 0, ir_dim(most), 0, 1), (double)cut->step);
    at = fe_bin(n, IR_OP_ADD, at, from);
    if (bound == 0) { // there is nothing to take
        return x;
    }
    at = fe_op_const(n, IR_OP_MAXIMUM, at, 0); // what does not count stays inside
    return fe_build(n, IR_OP_GATHER, FE_IN(x, at), FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis)));
}

// A list of numbers, as many as there are axes to cut; attribute `name` in old versions.
static IrValue *read_list(FeNode *n, const char *name, int i) {
    IrInts given = n->since < 10 ? fe_attr_ints(n, name) : (IrInts){0, NULL};
    if (n->since < 10) {
        return fe_tensor_const(n, fe_tensor_of_ints(n->fe->arena, IR_I64, 1, given.n, given.v));
    }
    return fe_operand(n, i);
}

// Slice-13, axis by axis: an axis at a time may have a size that data decides.
void fe_bounded_slice(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *starts = read_list(n, "starts", 1),
            *ends = read_list(n, "ends", 2);
    IrInts axes = fe_ints_of(n, "axes", 3), steps = fe_ints(n, 4);
    FeCount count = fe_count(n, 0);
    if (n->refused) {
        return;
    }
    int rank = x->type.shape.rank;
    int64_t many = starts->type.shape.rank == 1 ? starts->type.shape.dim[0].c : -1;
    if (many < 0 || many > rank || !ir_shape_eq(&starts->type.shape, &ends->type.shape) ||
        (axes.v && axes.n != many) || (steps.v && steps.n != many)) {
        fe_refuse(n, "starts, ends, axes and steps differ in length");
    }
    fe_axes(n, axes, rank);
    for (int i = 0; i < many && !n->refused; i++) {
        int axis = axes.v ? fe_axis(n, axes.v[i], rank) : i;
        Cut cut = {fe_element(n, starts, i), fe_element(n, ends, i), steps.v ? steps.v[i] : 1};
        bool counted = count.v && axis == count.axis;
        if (n->refused || cut.step == 0 || cut.step == INT64_MIN || x->type.shape.dim[axis].n) {
            fe_refuse(n, "NYI: axis %d cannot be cut so", axis);
            return;
        }
        IrValue *size = counted ? count.v : fe_i64(n, x->type.shape.dim[axis].c), *now;
        x = cut_axis(n, x, axis, size, &cut, &now);
        FeEntry e = n->refused ? (FeEntry){0} : fe_entry(n, now, 0);
        if (!n->refused && e.lo == e.hi && !counted) { // it is known after all
            continue;
        }
        if (count.v && !counted) {
            fe_bounded_nyi(n);
        }
        count = (FeCount){now, axis};
    }
    fe_out(n, 0, !n->refused && x->def ? x : fe_un(n, IR_OP_COPY, x));
    fe_out_count(n, 0, count);
}

void fe_bounded_split(FeNode *n) {
    FeCount c = fe_count(n, 0);
    IrValue *x = fe_operand(n, 0);
    int axis = n->refused ? 0 : fe_axis(n, fe_attr_int(n, "axis", 0), x->type.shape.rank);
    if (!n->refused && axis == c.axis) {
        fe_bounded_nyi(n);
    }
    fe_bounded_import(n);
    for (int i = 0; i < n->n_out; i++) {
        fe_out_count(n, i, c);
    }
}

// ---------------------------------------------------------------- Concat

// Along the axis that is counted: how many positions of the operands count in all. `tail`: only the
// last one's are counted, so that what counts stands in front already.
static IrValue *join_counted(FeNode *n, IrValue *const *x, int axis, bool tail, IrValue **count) {
    IrAttr along = ir_attr_i(IR_ATTR_AXIS, axis), first = ir_attr_i(IR_ATTR_AXIS, 0);
    IrValue **meant = ir_alloc_array(n->fe->arena, (size_t)n->n_in + 1, sizeof *meant);
    IrValue *y = fe_build(n, IR_OP_CONCAT, n->n_in, x, 1, &along), *sum = NULL;
    for (int i = 0; i < n->n_in && !n->refused; i++) {
        FeCount c = fe_count(n, i);
        IrDim size = x[i]->type.shape.dim[axis];
        IrValue *many = c.v ? c.v : fe_i64(n, size.c);
        sum = sum ? fe_bin(n, IR_OP_ADD, sum, many) : many;
        meant[i] = tail ? NULL : fe_meant(n, many, size, 0, 1);
    }
    *count = sum;
    if (tail || n->refused) {
        return y;
    }
    IrValue *all = fe_build(n, IR_OP_CONCAT, n->n_in, meant, 1, &first);
    return fe_bounded_pick(n, y, axis, all, count);
}

// Along another axis all count alike, which is checked.
static void join_beside(FeNode *n, int counted) {
    FeCount first = {0};
    int64_t bound = INT64_MAX;
    for (int i = 0; i < n->n_in && !n->refused; i++) {
        FeCount c = fe_count(n, i);
        IrValue *x = fe_operand(n, i);
        first = first.v ? first : c;
        if (n->refused || (c.v && c.axis != counted) || x->type.shape.rank <= counted) {
            fe_bounded_nyi(n);
            return;
        }
        int64_t size = x->type.shape.dim[counted].c;
        bound = size < bound ? size : bound;
    }
    for (int i = 0; i < n->n_in && !n->refused; i++) {
        FeCount c = fe_count(n, i);
        IrValue *x = fe_operand(n, i);
        fe_check_equal(n, first.v, c.v ? c.v : fe_i64(n, x->type.shape.dim[counted].c));
        fe_bounded_replace(n, i, fe_bounded_cut(n, x, counted, bound), c);
    }
    fe_bounded_import(n);
    fe_out_count(n, 0, first);
}

void fe_bounded_concat(FeNode *n) {
    IrValue **x = ir_alloc_array(n->fe->arena, (size_t)n->n_in + 1, sizeof *x), *count;
    int along = 0, beside = -1, first = -1;
    for (int i = 0; i < n->n_in; i++) {
        x[i] = fe_operand(n, i);
    }
    int axis = n->refused ? 0 : fe_axis(n, fe_attr_int(n, "axis", 1), x[0]->type.shape.rank);
    for (int i = 0; i < n->n_in; i++) {
        FeCount c = fe_count(n, i);
        along += c.v && c.axis == axis;
        beside = c.v && c.axis != axis ? c.axis : beside;
        first = c.v && first < 0 ? i : first;
    }
    if (n->refused) {
        return;
    }
    if (n->n_in == 1) {
        fe_out_alias(n, 0, 0);
    } else if (along && beside >= 0) {
        fe_bounded_nyi(n);
    } else if (!along) {
        join_beside(n, beside);
    } else {
        IrValue *y = join_counted(n, x, axis, first == n->n_in - 1, &count);
        fe_out(n, 0, y);
        fe_out_count(n, 0, (FeCount){count, axis});
    }
}

// ---------------------------------------------------------------- scatters

// Indices and updates count alike; what does not count goes nowhere. Negative indices along a
// counted axis of the data are taken from its count. `depth`: entries of a tuple; 0: single indices
// along `axis`.
static void scatter(FeNode *n, int depth, int axis) {
    FeCount x = fe_count(n, 0), at = fe_count(n, 1), by = fe_count(n, 2);
    IrValue *data = fe_operand(n, 0), *index = fe_operand(n, 1), *update = fe_operand(n, 2);
    if (n->refused) {
        return;
    }
    int last = index->type.shape.rank - 1;
    if ((at.v || by.v) && (at.v ? at.axis : by.axis) != (by.v ? by.axis : at.axis)) {
        fe_bounded_nyi(n);
        return;
    }
    FeCount c = at.v ? at : by;
    if (c.v && (c.axis > last || c.axis >= update->type.shape.rank || (depth && c.axis == last))) {
        fe_bounded_nyi(n);
        return;
    }
    if (x.v && depth && x.axis < depth) {
        index = wrap_tuples(n, index, x.axis, x.v, data->type.shape.dim[x.axis]);
    } else if (x.v && !depth && x.axis == axis) {
        index = fe_bounded_wrap(n, index, x.v, data->type.shape.dim[axis]);
    }
    if (c.v && !n->refused) {
        int64_t a = index->type.shape.dim[c.axis].c, b = update->type.shape.dim[c.axis].c;
        fe_check_equal(n, at.v ? at.v : fe_i64(n, a), by.v ? by.v : fe_i64(n, b));
        index = fe_bounded_cut(n, index, c.axis, b);
        update = fe_bounded_cut(n, update, c.axis, a);
        index = fe_filled(n, fe_cast(n, index, IR_I64), c, (double)(INT64_C(1) << 52));
    }
    fe_bounded_replace(n, 1, index, (FeCount){0});
    fe_bounded_replace(n, 2, update, (FeCount){0});
    fe_bounded_import(n);
    fe_out_count(n, 0, x);
}

void fe_bounded_scatter_elements(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    scatter(n, 0, n->refused ? 0 : fe_axis(n, fe_attr_int(n, "axis", 0), x->type.shape.rank));
}

void fe_bounded_scatter_nd(FeNode *n) {
    IrValue *at = fe_operand(n, 1);
    const IrShape *s = n->refused ? NULL : &at->type.shape;
    scatter(n, s && s->rank ? (int)s->dim[s->rank - 1].c : 1, 0);
}
