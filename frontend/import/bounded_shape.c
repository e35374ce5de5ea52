// Reshapes of values whose size data decides, and sizes that data decides as shapes: Reshape,
// Flatten, Squeeze, Unsqueeze, Transpose, Expand, ConstantOfShape, Range.
//
// What counts of x [.., K, ..] is a part of each of the rows before that axis; where the shape
// changes, it still is such a part if the rows before stay the same:
//
//   [K, 91, 4] -> [K * 91, 4] counts 91 times as many; [2, K] -> [2 * K] is refused
#include "frontend/import/bounded.h"

static bool product(const IrShape *s, int from, int to, int64_t *out) {
    *out = 1;
    for (int i = from; i < to; i++) {
        if (s->dim[i].n || __builtin_mul_overflow(*out, s->dim[i].c, out)) {
            return false;
        }
    }
    return true;
}

FeCount fe_bounded_moved(FeNode *n, FeCount count, const IrShape *from, const IrShape *to,
                         int axis) {
    int64_t before, after, rows, columns;
    bool fits = product(from, 0, count.axis, &before) && product(to, 0, axis, &after) &&
                product(from, count.axis + 1, from->rank, &rows) &&
                product(to, axis + 1, to->rank, &columns) && before == after;
    if (!fits || (rows != columns && columns == 0)) {
        fe_bounded_nyi(n);
    }
    IrValue *v = count.v;
    if (!n->refused && rows != columns) {
        v = fe_op_const(n, IR_OP_MUL, v, (double)rows);
        v = columns == 1 ? v : fe_op_const(n, IR_OP_DIV, v, (double)columns);
    }
    return (FeCount){v, axis};
}

// ---------------------------------------------------------------- Reshape

typedef struct Target { // of a Reshape
    int rank;
    IrShape shape;  // entries as they are given, a bound where data decides one
    IrValue *entry; // that one; NULL: none
    int at, open,
        keeps; // its position; that of -1; that of a 0 which keeps the counted axis; -1: none
} Target;

// Input 1, a list of dimensions.
static IrValue *shape_input(FeNode *n) {
    IrValue *shape = fe_operand(n, 1);
    const IrType *t = n->refused ? NULL : &shape->type;
    if (t && (t->shape.rank != 1 || t->shape.dim[0].n || t->shape.dim[0].c > IR_MAX_RANK ||
              ir_dtype_is_float(t->dtype))) {
        fe_refuse(n, "'%s' must be known at compile time", n->in[1]->name);
    }
    return n->refused ? NULL : shape;
}

static bool read_target(FeNode *n, const IrShape *x, FeCount count, Target *t) {
    IrValue *shape = shape_input(n);
    bool zero = n->since >= 14 && fe_attr_int(n, "allowzero", 0) != 0;
    *t = (Target){.at = -1, .open = -1, .keeps = -1};
    t->rank = t->shape.rank = shape ? (int)shape->type.shape.dim[0].c : 0;
    for (int i = 0; i < t->rank && !n->refused; i++) {
        FeEntry e = fe_entry(n, shape, i);
        bool known = e.lo == e.hi;
        if ((!known && e.lo < 0) ||
            (known && (e.lo < -1 || (e.lo == 0 && !zero && i >= x->rank))) ||
            (!known && t->entry) || (known && e.lo == -1 && t->open >= 0)) {
            fe_refuse(n, "'%s' must be known at compile time", n->in[1]->name);
        } else if (!known) {
            t->entry = fe_element(n, shape, i);
            t->at = i;
        } else if (e.lo == -1) {
            t->open = i;
        }
        bool copies = known && e.lo == 0 && !zero;
        t->keeps = copies && count.v && i == count.axis ? i : t->keeps;
        t->shape.dim[i] = n->refused || !copies ? ir_dim(e.hi) : x->dim[i];
    }
    return !n->refused;
}

// The product of all entries but one or two; false on overflow.
static bool others(const Target *t, int but, int or, int64_t *out) {
    *out = 1;
    for (int i = 0; i < t->rank; i++) {
        if (i != but && i != or &&__builtin_mul_overflow(*out, t->shape.dim[i].c, out)) {
            return false;
        }
    }
    return *out > 0;
}

// Gives dimension i what is left of `elems`.
static void give_rest(FeNode *n, Target *t, int i, int64_t elems, int but) {
    int64_t rest;
    if (!others(t, i, but, &rest) || elems % rest) {
        fe_refuse(n, "NYI: its shape does not divide what data decides");
        return;
    }
    t->shape.dim[i] = ir_dim(elems / rest);
}

// All entries are known: as many elements must count as they have, the first ones.
static void reshape_to_known(FeNode *n, IrValue *x, FeCount count, const Target *t) {
    int64_t want, have;
    IrShape flat = {1, {ir_dim(0)}};
    if (!product(&t->shape, 0, t->rank, &want) ||
        !product(&x->type.shape, 0, x->type.shape.rank, &have) || want > have) {
        fe_bounded_nyi(n);
        return;
    }
    flat.dim[0] = ir_dim(have);
    FeCount all = fe_bounded_moved(n, count, &x->type.shape, &flat, 0);
    fe_check_equal(n, all.v, fe_i64(n, want));
    fe_out(n, 0, fe_reshape(n, fe_part(n, fe_reshape(n, x, &flat), 0, 0, want), &t->shape));
}

// x is as large as it is: what data decides of the shape can only be the rest.
static void reshape_known(FeNode *n, IrValue *x, Target *t) {
    int64_t elems;
    if (t->open >= 0 || !product(&x->type.shape, 0, x->type.shape.rank, &elems)) {
        fe_bounded_nyi(n);
        return;
    }
    give_rest(n, t, t->at, elems, -1);
    fe_check_equal(n, t->entry, fe_i64(n, t->shape.dim[t->at].c));
    fe_out(n, 0, fe_reshape(n, x, &t->shape));
}

// The entry that data decides is a multiple of the count, the one that is open what is left.
static void reshape_both(FeNode *n, IrValue *x, FeCount count, Target *t) {
    int64_t elems, bound = x->type.shape.dim[count.axis].c;
    FeCount to = {NULL, t->at};
    if (!product(&x->type.shape, 0, x->type.shape.rank, &elems)) {
        fe_bounded_nyi(n);
        return;
    }
    if (t->open >= 0) {
        t->shape.dim[t->at] = ir_dim(bound);
        give_rest(n, t, t->open, elems, -1);
    } else {
        give_rest(n, t, t->at, elems, -1);
    }
    to = n->refused ? to : fe_bounded_moved(n, count, &x->type.shape, &t->shape, t->at);
    fe_check_equal(n, t->entry, to.v);
    fe_out(n, 0, fe_reshape(n, x, &t->shape));
    fe_out_count(n, 0, (FeCount){t->entry, t->at});
}

// Reshape-14
void fe_bounded_reshape(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    FeCount count = fe_count(n, 0);
    Target t;
    int64_t elems;
    if (n->refused || !read_target(n, &x->type.shape, count, &t)) {
        return;
    }
    if (!count.v) {
        reshape_known(n, x, &t);
    } else if (t.entry) {
        reshape_both(n, x, count, &t);
    } else if (t.keeps < 0 && t.open < 0) {
        reshape_to_known(n, x, count, &t);
    } else if (!product(&x->type.shape, 0, x->type.shape.rank, &elems)) {
        fe_bounded_nyi(n);
    } else {
        int axis = t.keeps >= 0 ? t.keeps : t.open;
        if (t.open >= 0) {
            give_rest(n, &t, t.open, elems, -1);
        }
        fe_out(n, 0, fe_reshape(n, x, &t.shape));
        FeCount to = {0};
        to = n->refused ? to : fe_bounded_moved(n, count, &x->type.shape, &t.shape, axis);
        fe_out_count(n, 0, to);
    }
}

// ---------------------------------------------------------------- Flatten, Squeeze, Unsqueeze,
// Transpose

// The operator's own importer, after which the counted axis is `axis` of the result.
static void import_to(FeNode *n, int axis) {
    FeCount count = fe_count(n, 0);
    IrValue *x = fe_operand(n, 0);
    fe_bounded_import(n);
    IrValue *y = n->n_out && n->out[0] && !n->out[0]->alias ? n->out[0]->v : NULL;
    if (!n->refused && y) {
        fe_out_count(n, 0, fe_bounded_moved(n, count, &x->type.shape, &y->type.shape, axis));
    }
}

void fe_bounded_flatten(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    int64_t axis = fe_attr_int(n, "axis", 1);
    axis = axis < 0 && !n->refused ? axis + x->type.shape.rank : axis;
    import_to(n, fe_count(n, 0).axis >= axis);
}

// Squeeze-13. The counted axis itself goes where one position counts, which is checked.
void fe_bounded_squeeze(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    FeCount c = fe_count(n, 0);
    IrInts axes = fe_ints_of(n, "axes", 1);
    if (n->refused) {
        return;
    }
    int dropped = 0;
    bool itself = false;
    const IrShape *s = &x->type.shape;
    for (int i = 0; i < axes.n && !n->refused; i++) {
        int axis = fe_axis(n, axes.v[i], s->rank);
        dropped += axis < c.axis;
        itself |= axis == c.axis;
    }
    for (int i = 0; i < c.axis && !axes.v; i++) {
        dropped += ir_dim_is(s->dim[i], 1);
    }
    if (!axes.v && ir_dim_is(s->dim[c.axis], 1)) {
        fe_bounded_nyi(n); // whether it goes, data decides
    } else if (itself && s->dim[c.axis].c > 0) {
        fe_check_equal(n, c.v, fe_i64(n, 1));
        fe_bounded_replace(n, 0, fe_bounded_cut(n, x, c.axis, 1), (FeCount){0});
        fe_bounded_import(n);
    } else {
        import_to(n, c.axis - dropped);
    }
}

void fe_bounded_unsqueeze(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    IrInts axes = fe_ints_of(n, "axes", 1);
    if (n->refused) {
        return;
    }
    int rank = x->type.shape.rank + axes.n, axis = fe_count(n, 0).axis;
    if (rank > IR_MAX_RANK) {
        fe_refuse(n, "the result has more than %d dimensions", IR_MAX_RANK);
        return;
    }
    axes = fe_axes(n, axes, rank);
    for (int i = 0; i < axes.n && !n->refused; i++) {
        axis += axes.v[i] <= axis;
    }
    import_to(n, axis);
}

void fe_bounded_transpose(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    IrInts perm = fe_attr_ints(n, "perm");
    FeCount c = fe_count(n, 0);
    int rank = n->refused ? 0 : x->type.shape.rank, axis = rank - 1 - c.axis;
    for (int i = 0; i < perm.n; i++) {
        axis = perm.v[i] == c.axis ? i : axis;
    }
    fe_bounded_import(n);
    fe_out_count(n, 0, (FeCount){c.v, axis});
}

// ---------------------------------------------------------------- Expand, ConstantOfShape, Range

// Axis `axis` of the result of an Expand: x's dimension and the shape's entry.
static IrDim expand_axis(FeNode *n, IrValue *x, IrValue *shape, int axis, int rank, FeCount *out) {
    FeCount c = fe_count(n, 0);
    int from = axis - (rank - x->type.shape.rank),
        at = axis - (rank - (int)shape->type.shape.dim[0].c);
    IrDim have = from < 0 ? ir_dim(1) : x->type.shape.dim[from];
    FeEntry e = at < 0 ? (FeEntry){.lo = 1, .hi = 1} : fe_entry(n, shape, at);
    bool counted = c.v && from == c.axis, known = e.lo == e.hi;
    if (e.lo < 0 || have.n || (!known && !counted && out->v)) {
        fe_refuse(n, "'%s' must be known at compile time", n->in[1]->name);
    } else if (counted) {
        *out = (FeCount){c.v, axis};
        if (!known || e.lo != 1) {
            fe_check_equal(n, c.v, fe_element(n, shape, at));
        }
    } else if (!known && ir_dim_is(have, 1)) {
        *out = (FeCount){fe_element(n, shape, at), axis};
        return fe_bound(n, out->v);
    } else if (known && ir_dim_is(have, 1)) {
        return ir_dim(e.hi);
    }
    return have;
}

// Expand-13
void fe_bounded_expand(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *shape = shape_input(n);
    if (n->refused) {
        return;
    }
    int given = (int)shape->type.shape.dim[0].c, own = x->type.shape.rank;
    IrShape to = {.rank = own > given ? own : given};
    FeCount count = {0};
    for (int i = 0; i < to.rank && !n->refused; i++) {
        to.dim[i] = expand_axis(n, x, shape, i, to.rank, &count);
    }
    if (!n->refused && ir_shape_eq(&to, &x->type.shape)) {
        fe_out_alias(n, 0, 0);
        return;
    }
    fe_out(n, 0, fe_build(n, IR_OP_EXPAND, FE_IN(x), FE_WITH(ir_attr_dims(IR_ATTR_SHAPE, &to))));
    fe_out_count(n, 0, count);
}

// ConstantOfShape-9
void fe_bounded_constant_of_shape(FeNode *n) {
    IrTensor value = {.dtype = IR_F32, .data = &(float){0}};
    const Onnx__AttributeProto *a = fe_attr(n, "value");
    const char *why =
        a && a->t ? fe_read_tensor(n->fe->arena, n->fe->external, a->t, false, &value) : NULL;
    IrValue *shape = fe_operand(n, 0);
    IrShape to = {0};
    FeCount count = {0};
    if (!n->refused && (why || ir_tensor_elems(&value) != 1 || shape->type.shape.rank != 1 ||
                        shape->type.shape.dim[0].c > IR_MAX_RANK)) {
        fe_refuse(n, "%s", why ? why : "its value or its shape is impossible");
    }
    to.rank = n->refused ? 0 : (int)shape->type.shape.dim[0].c;
    for (int i = 0; i < to.rank && !n->refused; i++) {
        FeEntry e = fe_entry(n, shape, i);
        if (e.lo < 0 || (e.lo != e.hi && count.v)) {
            fe_refuse(n, "'%s' must be known at compile time", n->in[0]->name);
        } else if (e.lo != e.hi) {
            count = (FeCount){fe_element(n, shape, i), i};
        }
        to.dim[i] = e.lo == e.hi ? ir_dim(e.hi) : fe_bound(n, count.v);
    }
    if (n->refused) {
        return;
    }
    IrValue *x = ir_build_scalar(&n->b, value.dtype, ir_tensor_get(&value, 0));
    fe_out(n, 0, fe_build(n, IR_OP_EXPAND, FE_IN(x), FE_WITH(ir_attr_dims(IR_ATTR_SHAPE, &to))));
    fe_out_elem(n, 0, a && a->t ? a->t->data_type : 0);
    fe_out_count(n, 0, count);
}

// Range-11 of integers by a step that is known: start, start + step ... below the limit.
void fe_bounded_range(FeNode *n) {
    IrValue *start = fe_operand(n, 0), *limit = fe_operand(n, 1), *delta = fe_operand(n, 2);
    if (n->refused) {
        return;
    }
    IrDtype t = start->type.dtype;
    FeEntry step = fe_entry(n, delta, 0);
    if (ir_dtype_is_float(t) || step.lo != step.hi || step.lo == 0 || step.lo == INT64_MIN) {
        fe_refuse(n, "NYI: a range at run time, but of integers by a step that is known");
        return;
    }
    bool up = step.lo > 0;
    int64_t size = up ? step.lo : -step.lo;
    IrValue *from = fe_element(n, start, 0), *to = fe_element(n, limit, 0);
    IrValue *span = up ? fe_bin(n, IR_OP_SUB, to, from) : fe_bin(n, IR_OP_SUB, from, to);
    IrValue *count = fe_op_const(n, IR_OP_MAXIMUM, span, 0);
    if (size > 1) {
        count = fe_op_const(n, IR_OP_DIV, fe_op_const(n, IR_OP_ADD, count, (double)(size - 1)),
                            (double)size);
    }
    IrValue *i = fe_iota(n, 0, fe_bound(n, count), 0, 1);
    i = fe_bin(n, IR_OP_ADD, fe_op_const(n, IR_OP_MUL, i, (double)step.lo), from);
    fe_out(n, 0, n->refused ? NULL : fe_cast(n, i, t));
    fe_out_count(n, 0, (FeCount){count, 0});
}
