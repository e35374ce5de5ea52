// What is one for all images and yet lies there B times, as an exporter at batch B folds or
// computes it: class tokens, masks, zeros. It becomes one, for which all B must be known to be
// equal: by the numbers of a constant, or because an expand made them, through the ops between.
#include "frontend/batch/batch.h"

#include <string.h>

enum { MAX_DEPTH = 32, MAX_STEPS = 1 << 14 };

static IrValue *one_of(FeBatch *o, IrValue *v, int axis, int64_t inner, int depth);

static IrValue *differs(FeBatch *o, const IrValue *v) {
    fe_batch_fail(o, "'%s' may differ between the %lld images", v->name ? v->name : o->b.name,
                  (long long)o->size);
    return NULL;
}

static IrShape part_of(const FeBatch *o, const IrShape *s, int axis) {
    IrShape part = *s;
    part.dim[axis].c /= o->size;
    return part;
}

static IrValue *one_of_const(FeBatch *o, IrValue *v, int axis, int64_t inner) {
    IrProgram *p = o->to->prog;
    IrConst *c = v->konst;
    IrType type = {c->type.dtype, part_of(o, &c->type.shape, axis), 0};
    if (c->kind == IR_CONST_SPLAT) {
        return ir_const_value(o->to, ir_const_splat(p, c->name, type, c->splat));
    }
    int64_t behind = inner * fe_batch_count(&c->type.shape, axis + 1, c->type.shape.rank);
    size_t row = (size_t)behind * (size_t)ir_dtype_bytes(c->type.dtype), size = (size_t)o->size;
    size_t before = (size_t)(fe_batch_count(&type.shape, 0, type.shape.rank) / behind);
    const char *data = ir_const_data(p, c);
    char *copy = ir_alloc_array(p->arena, before * row + 1, 1);
    for (size_t i = 0; i < before; i++) {
        memcpy(copy + i * row, data + i * size * row, row);
        for (size_t k = 1; k < size; k++) {
            if (memcmp(copy + i * row, data + (i * size + k) * row, row) != 0) {
                return differs(o, v);
            }
        }
    }
    return ir_const_value(o->to, ir_const_new(p, c->name, type, copy));
}

static IrValue *one_of_expand(FeBatch *o, IrValue *v, int axis, int64_t inner, int depth) {
    IrValue *from = ir_in(v->def, 0);
    int same = axis - (v->type.shape.rank - from->type.shape.rank);
    IrShape part = part_of(o, &v->type.shape, axis);
    if (same >= 0 && !ir_dim_is(from->type.shape.dim[same], 1)) {
        from = one_of(o, from, same, inner, depth);
    }
    return fe_batch_expand(o, from, &part);
}

// The axis of what is reshaped that has as much behind it, and the same size.
static IrValue *one_of_reshape(FeBatch *o, IrValue *v, int axis, int64_t inner, int depth) {
    IrValue *from = ir_in(v->def, 0);
    const IrShape *s = &v->type.shape, *f = &from->type.shape;
    int64_t stride = inner * fe_batch_count(s, axis + 1, s->rank);
    IrShape part = part_of(o, s, axis);
    for (int i = 0; i < f->rank; i++) {
        int64_t behind = fe_batch_count(f, i + 1, f->rank);
        if (stride % behind == 0 && f->dim[i].c * behind % (stride * o->size) == 0) {
            from = one_of(o, from, i, stride / behind, depth);
            return o->why ? NULL : fe_batch_reshape(o, from, &part);
        }
    }
    return differs(o, v);
}

static IrValue *one_of_transpose(FeBatch *o, IrValue *v, int axis, int64_t inner, int depth) {
    IrInts perm = ir_ints(v->def, IR_ATTR_PERM);
    IrValue *from = one_of(o, ir_in(v->def, 0), (int)perm.v[axis], inner, depth);
    return o->why ? NULL : fe_batch_transpose(o, from, perm.n, perm.v);
}

// Elementwise, or concat along another axis: the same op on one of each operand.
static IrValue *one_of_operands(FeBatch *o, IrValue *v, int axis, int64_t inner, int depth) {
    const IrNode *n = v->def;
    IrValue **in = ir_alloc_array(o->to->prog->arena, (size_t)n->n_in + 1, sizeof *in);
    for (int i = 0; i < n->n_in && !o->why; i++) {
        in[i] = ir_in(n, i);
        int same = axis - (v->type.shape.rank - in[i]->type.shape.rank);
        if (same >= 0 && !ir_dim_is(in[i]->type.shape.dim[same], 1)) {
            in[i] = one_of(o, in[i], same, inner, depth);
        }
    }
    return fe_batch_build(o, n->op, n->n_in, in, n->n_attrs, n->attrs);
}

static IrValue *one_of(FeBatch *o, IrValue *v, int axis, int64_t inner, int depth) {
    const IrNode *n = v->def;
    if (o->why || depth == MAX_DEPTH || ++o->steps > MAX_STEPS) {
        return differs(o, v);
    }
    if (v->konst) {
        return one_of_const(o, v, axis, inner);
    }
    switch (n ? n->op : IR_OP_COUNT) {
    case IR_OP_EXPAND:
        return one_of_expand(o, v, axis, inner, depth + 1);
    case IR_OP_RESHAPE:
        return one_of_reshape(o, v, axis, inner, depth + 1);
    case IR_OP_TRANSPOSE:
        return one_of_transpose(o, v, axis, inner, depth + 1);
    default:
        break;
    }
    bool joined = n && n->op == IR_OP_CONCAT && ir_int(n, IR_ATTR_AXIS, 0) != axis;
    bool elementwise = n && (ir_op_info(n->op)->flags & IR_FLAG_E || n->op == IR_OP_QUANTIZE ||
                             n->op == IR_OP_DEQUANTIZE);
    return joined || elementwise ? one_of_operands(o, v, axis, inner, depth + 1) : differs(o, v);
}

IrValue *fe_batch_one(FeBatch *o, IrValue *v, int axis, int64_t inner) {
    return o->size == 1 ? v : one_of(o, v, axis, inner, 0);
}
