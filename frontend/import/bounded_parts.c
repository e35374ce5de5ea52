// What the rules for values whose size data decides are made of; see bounded.h.
#include "frontend/import/bounded.h"

void fe_bounded_import(FeNode *n) {
    if (!n->refused) {
        n->info->import(n);
    }
}

void fe_bounded_nyi(FeNode *n) {
    const char *name = n->n_in && n->in[0] ? n->in[0]->name : "";
    for (int i = n->n_in; i-- > 0;) {
        name = fe_count(n, i).v ? n->in[i]->name : name;
    }
    fe_refuse(n, "NYI: this, where '%s' is as large as data decides", name);
}

void fe_bounded_replace(FeNode *n, int i, IrValue *v, FeCount count) {
    if (!n->refused) {
        FeValue *copy = ir_alloc(n->fe->arena, sizeof *copy);
        *copy = *n->in[i];
        copy->init = NULL;
        copy->tensor = NULL;
        copy->v = v;
        copy->count = count.v;
        copy->bounded = count.axis;
        n->in[i] = copy;
    }
}

IrValue *fe_bounded_cut(FeNode *n, IrValue *x, int axis, int64_t size) {
    bool larger = !n->refused && x->type.shape.dim[axis].c > size;
    return larger ? fe_part(n, x, axis, 0, size) : x;
}

IrValue *fe_bounded_find(FeNode *n, IrValue *x, IrValue **count) {
    IrNode *find = n->refused ? NULL : ir_build_node(&n->b, IR_OP_NON_ZERO, 1, &x, 0, NULL);
    if (!find) {
        fe_refuse(n, "%s", n->b.err);
        return NULL;
    }
    *count = find->out[1];
    return find->out[0];
}

IrValue *fe_bounded_pick(FeNode *n, IrValue *x, int axis, IrValue *picked, IrValue **count) {
    IrValue *at = fe_bounded_find(n, picked, count);
    if (n->refused) {
        return NULL;
    }
    at = fe_reshape(n, at, &(IrShape){1, {at->type.shape.dim[1]}});
    return fe_build(n, IR_OP_GATHER, FE_IN(x, at), FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis)));
}

IrValue *fe_bounded_wrap(FeNode *n, IrValue *at, IrValue *count, IrDim bound) {
    if (n->refused || !count || fe_entry(n, at, FE_ANY).lo >= 0) {
        return at;
    }
    at = fe_cast(n, at, IR_I64);
    IrValue *less = fe_op_const(n, IR_OP_SUB, count, (double)bound.c);
    IrValue *moved = fe_bin(n, IR_OP_ADD, at, less), *negative = fe_op_const(n, IR_OP_LESS, at, 0);
    return fe_build(n, IR_OP_WHERE, FE_IN(negative, moved, at), 0, NULL);
}
