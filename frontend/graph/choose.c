// What a program takes of two values, as data decides: the results of an If's branches, of a Loop's
// body or what was there before it.
//
//   where(c, a, b), and so the count of one axis where a and b have several sizes, or count
#include "frontend/graph/graph.h"

// x with zeros behind, so that it has `size` positions along the axis.
static IrValue *grow(FeNode *n, IrValue *x, int axis, int64_t size) {
    IrShape s = x->type.shape;
    int64_t pads[2 * IR_MAX_RANK] = {0};
    if (n->refused || s.dim[axis].c == size) {
        return x;
    }
    pads[s.rank + axis] = size - s.dim[axis].c;
    if (s.dim[axis].c == 0) {
        s.dim[axis] = ir_dim(size);
        return fe_build(n, IR_OP_EXPAND, FE_IN(fe_const(n, x, 0)),
                        FE_WITH(ir_attr_dims(IR_ATTR_SHAPE, &s)));
    }
    return fe_build(n, IR_OP_PAD, FE_IN(x),
                    FE_WITH(fe_ints_attr(n, IR_ATTR_PAD, 2 * s.rank, pads),
                            ir_attr_s(IR_ATTR_MODE, "constant"), ir_attr_f(IR_ATTR_VALUE, 0)));
}

static IrValue *pick(FeNode *n, IrValue *cond, IrValue *a, IrValue *b) {
    return n->refused || a == b ? a : fe_build(n, IR_OP_WHERE, FE_IN(cond, a, b), 0, NULL);
}

// The axis along which inputs 0 and 1 differ in size, or count; -1: none, -2: several.
static int find_differing_axis(FeNode *n, const IrShape *a, const IrShape *b) {
    int found = -1;
    for (int i = 0; i < a->rank; i++) {
        bool counts = false;
        for (int k = 0; k < 2; k++) {
            counts = counts || (fe_count(n, k).v && fe_count(n, k).axis == i);
        }
        if (counts || !ir_dim_eq(a->dim[i], b->dim[i])) {
            found = found == -1 && !a->dim[i].n && !b->dim[i].n ? i : -2;
        }
    }
    return found;
}

// Of inputs 0 and 1 of n.
static void choose_inputs(FeNode *n, IrValue *cond, FeValue *out) {
    IrValue *a = fe_operand(n, 0), *b = fe_operand(n, 1);
    FeCount ca = fe_count(n, 0), cb = fe_count(n, 1);
    if (n->refused) {
        return;
    }
    const IrShape *sa = &a->type.shape, *sb = &b->type.shape;
    int axis = sa->rank == sb->rank ? find_differing_axis(n, sa, sb) : -2;
    if (a->type.dtype != b->type.dtype || axis == -2) {
        char x[160], y[160];
        fe_refuse(n, "NYI: data decides between %s and %s", ir_type_print(&a->type, x, sizeof x),
                  ir_type_print(&b->type, y, sizeof y));
        return;
    }
    if (axis >= 0) {
        int64_t da = sa->dim[axis].c, db = sb->dim[axis].c, size = da > db ? da : db;
        a = grow(n, a, axis, size);
        b = grow(n, b, axis, size);
        out->count = pick(n, cond, ca.v ? ca.v : fe_i64(n, da), cb.v ? cb.v : fe_i64(n, db));
        out->bounded = axis;
        n->fe->counts = true;
    }
    out->v = pick(n, cond, a, b);
    out->elem = fe_elem_type(n->in[0]);
}

FeValue *fe_choose(FeNode *n, IrValue *cond, FeValue *a, FeValue *b) {
    FeValue *in[] = {fe_follow(a), fe_follow(b)}, *out = ir_alloc(n->fe->arena, sizeof *out);
    if (!in[0] || !in[1] || in[0]->poisoned || in[1]->poisoned) {
        n->refused = true; // it is reported
        return NULL;
    }
    if (in[0] == in[1]) {
        return in[0];
    }
    *out = (FeValue){.name = in[0]->name, .producer = -1};
    FeNode both = *n;
    both.in = in;
    both.n_in = 2;
    choose_inputs(&both, cond, out);
    n->refused = both.refused;
    return n->refused ? NULL : out;
}

FeValue *fe_follow(FeValue *v) {
    while (v && v->alias) {
        v = v->alias;
    }
    return v;
}

FeNode fe_with_input(const FeNode *n, FeValue **v) {
    FeNode one = *n;
    one.in = v;
    one.n_in = 1;
    return one;
}
