// Operators that change shapes: reshapes, which all end in IR's reshape, and the shape queries,
// which never reach the IR. Moves of data are in import/move.c, constants in import/const.c.
#include "frontend/import.h"

// ---------------------------------------------------------------- reshapes

// Reshape-14; version 1 has the shape as an attribute.
void fe_import_reshape(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    FeDims target;
    IrShape s;
    bool allow_zero = n->since >= 14 && fe_attr_int(n, "allowzero", 0) != 0;
    if (fe_dims_of(n, "shape", 1, &target) && !n->refused &&
        fe_reshape_target(n, &x->type.shape, &target, allow_zero, &s)) {
        fe_out(n, 0, fe_reshape(n, x, &s));
    }
}

// Flatten-13: [d0 * ... * d(axis-1), the rest]
void fe_import_flatten(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    if (n->refused) {
        return;
    }
    const IrShape *s = &x->type.shape;
    int64_t given = fe_attr_int(n, "axis", 1);
    int axis = given == s->rank ? s->rank : fe_axis(n, given, s->rank);
    IrShape flat = {2, {ir_dim(1), ir_dim(1)}};
    for (int i = 0; i < s->rank; i++) {
        if (!ir_dim_mul(flat.dim[i >= axis], s->dim[i], &flat.dim[i >= axis])) {
            fe_refuse(n, "the batch size is not a factor of the flattened shape");
            return;
        }
    }
    fe_out(n, 0, fe_reshape(n, x, &flat));
}

// Squeeze-13: without axes, all of size 1 go.
void fe_import_squeeze(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    IrInts axes = fe_ints_of(n, "axes", 1);
    if (n->refused) {
        return;
    }
    const IrShape *s = &x->type.shape;
    bool all = !axes.v, drop[IR_MAX_RANK] = {false};
    axes = fe_axes(n, axes, s->rank);
    for (int i = 0; i < axes.n; i++) {
        drop[axes.v[i]] = true;
        if (!ir_dim_is(s->dim[axes.v[i]], 1)) {
            fe_refuse(n, "axis %lld has not size 1", (long long)axes.v[i]);
        }
    }
    IrShape out = {0};
    for (int i = 0; i < s->rank; i++) {
        if (all ? !ir_dim_is(s->dim[i], 1) : !drop[i]) {
            out.dim[out.rank++] = s->dim[i];
        }
    }
    fe_out(n, 0, fe_reshape(n, x, &out));
}

// Unsqueeze-13: axes are positions in the result.
void fe_import_unsqueeze(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    IrInts axes = fe_ints_of(n, "axes", 1);
    if (n->refused) {
        return;
    }
    const IrShape *s = &x->type.shape;
    if (s->rank + axes.n > IR_MAX_RANK) {
        fe_refuse(n, "the result has more than %d dimensions", IR_MAX_RANK);
        return;
    }
    IrShape out = {.rank = s->rank + axes.n};
    axes = fe_axes(n, axes, out.rank);
    for (int i = 0, k = 0, from = 0; i < out.rank && !n->refused; i++) {
        bool added = k < axes.n && axes.v[k] == i;
        k += added;
        out.dim[i] = added ? ir_dim(1) : s->dim[from++];
    }
    fe_out(n, 0, fe_reshape(n, x, &out));
}

// Exporters write equal tensors once and give each its name by an Identity. Trained, they are
// several: vectors, and tensors of one number throughout, whose equality says nothing.
static bool is_tensor_of_its_own(FeNode *n) {
    const FeValue *v = fe_has(n, 0) ? n->in[0] : NULL;
    bool leaf = v && v->stored && (!v->v || v->v->konst) && v->uses > 1;
    const IrTensor *t = leaf ? fe_tensor(n, 0) : NULL;
    int64_t elems = t ? ir_tensor_elems(t) : 0, i = 1;
    while (i < elems && t->rank != 1 && ir_tensor_get(t, i) == ir_tensor_get(t, 0)) {
        i++;
    }
    return elems > 1 && (t->rank == 1 || i == elems);
}

void fe_import_identity(FeNode *n) {
    if (!is_tensor_of_its_own(n)) {
        fe_out_alias(n, 0, 0);
    } else if (n->n_out && n->out[0]) {
        fe_out_tensor(n, 0, fe_tensor(n, 0));
        n->out[0]->stored = true;
    }
}

// ---------------------------------------------------------------- shape queries

// Shape-15: the dims [start, end) as integers.
void fe_import_shape(FeNode *n) {
    IrType t;
    if (!fe_type(n, 0, &t)) {
        return;
    }
    int64_t rank = t.shape.rank, start = fe_attr_int(n, "start", 0),
            end = fe_attr_int(n, "end", rank);
    start = start < 0 ? start + rank : start;
    end = end < 0 ? end + rank : end;
    start = start < 0 ? 0 : start > rank ? rank : start;
    end = end < start ? start : end > rank ? rank : end;
    fe_out_dims(n, 0, &(FeDims){IR_I64, 1, (int)(end - start), t.shape.dim + start});
}

void fe_import_size(FeNode *n) {
    IrType t;
    IrDim elems;
    if (!fe_type(n, 0, &t)) {
        return;
    }
    if (!ir_shape_elems(&t.shape, &elems)) {
        fe_refuse(n, "the size is not affine in the batch size");
        return;
    }
    fe_out_dims(n, 0, &(FeDims){IR_I64, 0, 1, &elems});
}
