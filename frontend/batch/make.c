// What rules build with: nodes of the open graph, shapes, and the one reason for which opening
// fails.
#include "frontend/batch/batch.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void fe_batch_fail(FeBatch *o, const char *fmt, ...) {
    char reason[512];
    if (o->why) {
        return;
    }
    va_list args;
    va_start(args, fmt);
    vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    o->why = ir_strdup(o->to->prog->arena, reason);
}

// ---------------------------------------------------------------- building

IrValue *fe_batch_build(FeBatch *o, IrOp op, int n_in, IrValue *const *in, int n_attrs,
                        const IrAttr *attrs) {
    if (o->why) {
        return NULL;
    }
    IrValue *v = ir_build(&o->b, op, n_in, in, n_attrs, attrs);
    if (!v) {
        fe_batch_fail(o, "%s", o->b.err);
    }
    return v;
}

IrValue *fe_batch_reshape(FeBatch *o, IrValue *v, const IrShape *s) {
    if (o->why || ir_shape_eq(&v->type.shape, s)) {
        return v;
    }
    IrAttr shape = ir_attr_dims(IR_ATTR_SHAPE, s);
    return fe_batch_build(o, IR_OP_RESHAPE, 1, &v, 1, &shape);
}

IrValue *fe_batch_expand(FeBatch *o, IrValue *v, const IrShape *s) {
    if (o->why || ir_shape_eq(&v->type.shape, s)) {
        return v;
    }
    IrAttr shape = ir_attr_dims(IR_ATTR_SHAPE, s);
    return fe_batch_build(o, IR_OP_EXPAND, 1, &v, 1, &shape);
}

IrValue *fe_batch_transpose(FeBatch *o, IrValue *v, int rank, const int64_t *perm) {
    IrAttr attr = ir_attr_ints(o->to->prog->arena, IR_ATTR_PERM, rank, perm);
    return fe_batch_build(o, IR_OP_TRANSPOSE, 1, &v, 1, &attr);
}

// ---------------------------------------------------------------- shapes

bool fe_batch_is_empty(const IrShape *s) {
    for (int i = 0; i < s->rank; i++) {
        if (ir_dim_is(s->dim[i], 0)) {
            return true;
        }
    }
    return false;
}

int64_t fe_batch_count(const IrShape *s, int from, int to) {
    int64_t n = 1;
    for (int i = from; i < to; i++) {
        n *= s->dim[i].c; // no overflow: the shape is one of a type that was checked
    }
    return n;
}

IrShape fe_batch_own_shape(const IrShape *s) {
    IrShape own = {.rank = s->rank + 1, .dim = {{0, 1}}};
    memcpy(own.dim + 1, s->dim, (size_t)s->rank * sizeof *s->dim);
    return own;
}

IrShape fe_batch_shape(const FeBatch *o, const IrShape *s, int axis) {
    IrShape open = *s;
    open.dim[axis] = (IrDim){0, s->dim[axis].c / o->size};
    return open;
}
