// Operators that make constants: Constant in all its spellings, ConstantOfShape, Range.
#include "frontend/import.h"

#include <math.h>
#include <string.h>

enum { MAX_RANGE = 1 << 20 }; // elements that Range may make

static void read_constant(FeNode *n, const Onnx__TensorProto *t) {
    IrTensor *out = ir_alloc(n->fe->arena, sizeof *out);
    const char *why = fe_read_tensor(n->fe->arena, n->fe->external, t, n->fe->doubles, out);
    if (why) {
        fe_refuse(n, "its value: %s", why);
        return;
    }
    fe_out_tensor(n, 0, out);
    fe_out_elem(n, 0, t->data_type);
}

static const IrTensor *tensor_of_floats(FeNode *n, int rank, size_t count, const float *v) {
    IrType type = {IR_F32, {rank, {ir_dim((int64_t)count)}}, 0};
    IrTensor *t = ir_alloc(n->fe->arena, sizeof *t);
    *t = ir_tensor_new(n->fe->arena, &type, 1);
    if (count) {
        memcpy(t->data, v, count * sizeof *v);
    }
    return t;
}

// Constant-12: value, value_float, value_floats, value_int, value_ints
void fe_import_constant(FeNode *n) {
    const Onnx__AttributeProto *a;
    IrArena *arena = n->fe->arena;
    if ((a = fe_attr(n, "value")) && a->t) {
        read_constant(n, a->t);
    } else if ((a = fe_attr(n, "value_float"))) {
        fe_out_tensor(n, 0, tensor_of_floats(n, 0, 1, &a->f));
    } else if ((a = fe_attr(n, "value_floats"))) {
        fe_out_tensor(n, 0, tensor_of_floats(n, 1, a->n_floats, a->floats));
    } else if ((a = fe_attr(n, "value_int"))) {
        fe_out_tensor(n, 0, fe_tensor_of_ints(arena, IR_I64, 0, 1, &a->i));
    } else if ((a = fe_attr(n, "value_ints")) && a->n_ints <= INT32_MAX) {
        fe_out_tensor(n, 0, fe_tensor_of_ints(arena, IR_I64, 1, (int)a->n_ints, a->ints));
    } else {
        fe_refuse(n, "only numeric, dense values are supported");
    }
    FeValue *v = n->n_out ? n->out[0] : NULL;
    if (v && v->tensor) {
        v->stored = n->fe->opt->to_train && ir_dtype_is_float(v->tensor->dtype);
    }
}

// ConstantOfShape-9: `value` is a tensor of one element, f32 0 by default.
void fe_import_constant_of_shape(FeNode *n) {
    FeDims d;
    IrTensor value = {.dtype = IR_F32, .data = &(float){0}};
    const Onnx__AttributeProto *a = fe_attr(n, "value");
    const char *why =
        a && a->t ? fe_read_tensor(n->fe->arena, n->fe->external, a->t, false, &value) : NULL;
    if (!fe_dims(n, 0, &d)) {
        return;
    }
    IrType type = {value.dtype, {.rank = d.n}, 0};
    bool bad = why || d.n > IR_MAX_RANK || ir_tensor_elems(&value) != 1;
    for (int i = 0; i < d.n && !bad; i++) {
        type.shape.dim[i] = d.v[i];
        bad = d.v[i].c < 0 || d.v[i].n < 0;
    }
    IrDim bytes;
    if (bad || !ir_type_bytes(&type, &bytes)) {
        fe_refuse(n, "%s", why ? why : "its value or its shape is impossible");
        return;
    }
    if ((why = fe_check_type(n->fe, &type)) || (why = fe_check_fill(n->fe, &type))) {
        fe_refuse(n, "its result %s", why);
        return;
    }
    IrType scalar = {value.dtype, {0}, 0};
    const char *name = n->out[0] ? n->out[0]->name : n->b.name;
    double x = ir_tensor_get(&value, 0);
    bool fixed = ir_shape_is_static(&type.shape);
    IrConst *c = ir_const_splat(n->fe->prog, name, fixed ? type : scalar, x);
    IrValue *v = ir_const_value(n->fe->graph, c);
    IrAttr shape = ir_attr_dims(IR_ATTR_SHAPE, &type.shape);
    fe_out(n, 0, fixed ? v : fe_build(n, IR_OP_EXPAND, FE_IN(v), 1, &shape));
    fe_out_elem(n, 0, a && a->t ? a->t->data_type : 0);
}

// A range of integers whose limits are affine in the batch size: start + delta * (0, 1 ...). False
// where they are not, or its length is not.
static bool build_symbolic_range(FeNode *n) {
    FeDims d[3];
    IrDim zero = ir_dim(0), span, count, back;
    bool any = false;
    for (int i = 0; i < 3; i++) {
        any |= fe_has(n, i) && n->in[i]->dims;
    }
    for (int i = 0; i < 3 && any; i++) {
        any = fe_dims(n, i, &d[i]) && d[i].n == 1;
    }
    for (int i = 0; i < 3 && any; i++) { // all can be negated
        any = d[i].v->c != INT64_MIN && d[i].v->n != INT64_MIN && (i == 1 || d[i].v->n == 0);
    }
    if (!any || d[2].v->c == 0) {
        return false;
    }
    IrDim delta = *d[2].v, length = ir_dim(delta.c < 0 ? -delta.c : delta.c);
    IrDim minus = {delta.c < 0 ? d[0].v->c : -d[0].v->c, 0};
    IrDim plus = {delta.c < 0 ? -d[1].v->c : d[1].v->c, delta.c < 0 ? -d[1].v->n : d[1].v->n};
    if (!fe_dim_sum(plus, minus, &span) || !fe_dim_quotient(span, length, &count) ||
        !ir_dim_mul(count, length, &back) || !ir_dim_eq(back, span) || ir_dim_eq(count, zero)) {
        return false;
    }
    IrValue *i = fe_op_const(n, IR_OP_MUL, fe_iota(n, 0, count, 0, 1), (double)delta.c);
    fe_out(n, 0, fe_cast(n, fe_op_const(n, IR_OP_ADD, i, (double)d[0].v->c), d[0].dtype));
    return true;
}

// Range-11: start, start + delta ... below limit
void fe_import_range(FeNode *n) {
    if (build_symbolic_range(n)) {
        return;
    }
    double start = fe_scalar_in(n, 0, 0), limit = fe_scalar_in(n, 1, 0),
           delta = fe_scalar_in(n, 2, 1);
    IrType t;
    if (!fe_type(n, 0, &t) || n->refused) {
        return;
    }
    double count = delta != 0 ? ceil((limit - start) / delta) : NAN;
    if (!(count <= MAX_RANGE)) {
        fe_refuse(n, "%g to %g by %g is not a range of at most %d numbers", start, limit, delta,
                  MAX_RANGE);
        return;
    }
    t.shape = (IrShape){1, {ir_dim(count > 0 ? (int64_t)count : 0)}};
    if (!fe_charge(n, t.shape.dim[0].c * ir_dtype_bytes(t.dtype))) {
        return;
    }
    IrTensor *out = ir_alloc(n->fe->arena, sizeof *out);
    *out = ir_tensor_new(n->fe->arena, &t, 1);
    for (int64_t i = 0; i < t.shape.dim[0].c; i++) {
        ir_tensor_set(out, i, start + (double)i * delta);
    }
    fe_out_tensor(n, 0, out);
}
