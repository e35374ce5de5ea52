// Pad of values whose size data decides, and by as much as data decides:
//
//   [K, 6] with 300 - K rows behind it -> [300, 6], as a detector ends that always lists as many
//
// Along one axis the size or the end may be decided so; elsewhere pads are known. What stands
// behind the count of the operand is the value that it is padded with.
#include "frontend/import/bounded.h"

#include <string.h>

typedef struct Pads {
    int64_t known[2 * IR_MAX_RANK]; // begins, then ends
    int axis;                       // along which data decides; -1: none
    IrValue *end;                   // i64[], of that axis
} Pads;

static bool read_axis(FeNode *n, IrValue *pads, int i, int count, int axis, Pads *p) {
    FeEntry begin = fe_entry(n, pads, i), end = fe_entry(n, pads, count + i);
    FeCount c = fe_count(n, 0);
    int rank = n->in[0]->v->type.shape.rank;
    bool known = end.lo == end.hi, counted = c.v && c.axis == axis;
    bool decided = !known || (counted && (begin.lo || end.lo));
    if (begin.lo != begin.hi || (decided && (begin.lo < 0 || p->axis >= 0))) {
        return false;
    }
    p->known[axis] = begin.lo;
    p->known[rank + axis] = known ? end.lo : 0;
    if (decided) {
        p->axis = axis;
        p->end = fe_element(n, pads, count + i);
    }
    return !c.v || counted || known;
}

// Begins and ends; an attribute in old versions.
static IrValue *list_pads(FeNode *n) {
    if (n->since >= 11) {
        return fe_operand(n, 1);
    }
    IrInts given = fe_attr_ints(n, n->since >= 2 ? "pads" : "paddings");
    return fe_tensor_const(n, fe_tensor_of_ints(n->fe->arena, IR_I64, 1, given.n, given.v));
}

static bool read_pads(FeNode *n, IrValue *x, Pads *p) {
    IrValue *pads = list_pads(n);
    IrInts axes = n->since >= 18 ? fe_ints(n, 3) : (IrInts){0, NULL};
    int rank = n->refused ? 0 : x->type.shape.rank, count = axes.v ? axes.n : rank;
    *p = (Pads){.axis = -1};
    if (!n->refused && (pads->type.shape.rank != 1 || ir_dtype_is_float(pads->type.dtype) ||
                        !ir_dim_is(pads->type.shape.dim[0], 2 * (int64_t)count))) {
        fe_refuse(n, "pads is no list of two numbers for each axis");
    }
    fe_axes(n, axes, rank);
    for (int i = 0; i < count && !n->refused; i++) {
        int axis = axes.v ? fe_axis(n, axes.v[i], rank) : i;
        if (!n->refused && !read_axis(n, pads, i, count, axis, p)) {
            fe_refuse(n, "NYI: pads that data decides, but at the end of one axis");
        }
    }
    return !n->refused;
}

// Along the axis that data decides, to as many positions as there can be.
static void pad_decided(FeNode *n, IrValue *x, Pads *p, double value) {
    int rank = x->type.shape.rank, axis = p->axis;
    FeCount c = fe_count(n, 0);
    int64_t bound = x->type.shape.dim[axis].c, begin = p->known[axis];
    IrValue *inside = c.v ? c.v : fe_i64(n, bound);
    inside = begin ? fe_op_const(n, IR_OP_ADD, inside, (double)begin) : inside;
    IrValue *all = fe_bin(n, IR_OP_ADD, inside, p->end);
    if (!n->refused && fe_entry(n, all, 0).lo < 0) {
        all = fe_op_const(n, IR_OP_MAXIMUM, all, 0);
    }
    FeEntry e = n->refused ? (FeEntry){0} : fe_entry(n, all, 0);
    int64_t size = e.lo == e.hi ? e.hi : fe_bound(n, all).c;
    if (n->refused || begin > size || x->type.shape.dim[axis].n) {
        fe_bounded_nyi(n);
        return;
    }
    x = fe_bounded_cut(n, x, axis, size - begin);
    p->known[rank + axis] = size - begin - (bound < size - begin ? bound : size - begin);
    IrAttr attrs[] = {fe_ints_attr(n, IR_ATTR_PAD, 2 * rank, p->known),
                      ir_attr_s(IR_ATTR_MODE, "constant"), ir_attr_f(IR_ATTR_VALUE, value)};
    IrValue *y = fe_build(n, IR_OP_PAD, FE_IN(x), 3, attrs);
    fe_out(n, 0, c.v ? fe_filled(n, y, (FeCount){inside, axis}, value) : y);
    fe_out_count(n, 0, (FeCount){all, axis});
}

// Pad-21
void fe_bounded_pad(FeNode *n) {
    FeCount c = fe_count(n, 0);
    IrValue *x = fe_operand(n, 0);
    Pads p;
    if (!read_pads(n, x, &p)) {
        return;
    }
    if (p.axis < 0) { // as its own importer does, of pads that are known
        fe_bounded_import(n);
        fe_out_count(n, 0, c);
    } else if (strcmp(fe_attr_str(n, "mode", "constant"), "constant") != 0) {
        fe_bounded_nyi(n);
    } else {
        double value = n->since >= 11 ? fe_scalar_in(n, 2, 0) : fe_attr_float(n, "value", 0);
        pad_decided(n, x, &p, value);
    }
}
