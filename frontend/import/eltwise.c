// Elementwise operators. Most are one IR op, others are written out by their ONNX formula.
// Activations are in activation.c.
#include "frontend/import/bits.h"

#include <float.h>
#include <math.h>

// ---------------------------------------------------------------- plain mappings

void fe_import_unary(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    fe_out(n, 0, fe_un(n, n->info->op, x));
}

// Input 1 as it broadcasts to x. Before version 7 of the binary operators nothing broadcasts unless
// broadcast = 1, and then y alone, which lies along the axes of x from `axis` on, the last ones by
// default.
static IrValue *second_operand(FeNode *n, IrValue *x) {
    IrValue *y = fe_operand(n, 1);
    bool one_way = n->since < 7 && fe_attr_int(n, "broadcast", 0) != 0;
    if (n->since >= 7 || n->refused) {
        return y;
    }
    const IrShape *xs = &x->type.shape, *ys = &y->type.shape;
    if (!one_way && !ir_shape_eq(xs, ys)) {
        fe_refuse(n, "its inputs differ in shape, and it does not say broadcast = 1");
    }
    int64_t axis = fe_attr_int(n, "axis", xs->rank - ys->rank);
    axis = axis < 0 ? axis + xs->rank : axis;
    if (axis < 0 || axis > xs->rank - ys->rank) {
        fe_refuse(n, "an input of rank %d does not fit into one of rank %d at axis %lld", ys->rank,
                  xs->rank, (long long)axis);
    }
    if (n->refused || !one_way) {
        return y;
    }
    IrShape s = *ys;
    while (s.rank < xs->rank - (int)axis) {
        s.dim[s.rank++] = ir_dim(1);
    }
    return fe_reshape(n, y, &s);
}

void fe_import_binary(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *y = second_operand(n, x);
    fe_out(n, 0, fe_bin(n, n->info->op, x, y));
}

// Xor-7
void fe_import_xor(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *y = second_operand(n, x);
    if (!n->refused && x->type.dtype != IR_BOOL) {
        fe_refuse(n, "xor of %s, it works on bool", ir_dtype_name(x->type.dtype));
    }
    fe_out(n, 0, fe_un(n, IR_OP_NOT, fe_bin(n, IR_OP_EQUAL, x, y)));
}

static IrValue *fold_left(FeNode *n) {
    IrValue *acc = fe_operand(n, 0);
    for (int i = 1; i < n->n_in; i++) {
        acc = fe_bin(n, n->info->op, acc, fe_operand(n, i));
    }
    return acc;
}

void fe_import_variadic(FeNode *n) {
    if (n->n_in == 1) {
        fe_out_alias(n, 0, 0);
    } else {
        fe_out(n, 0, fold_left(n));
    }
}

void fe_import_mean(FeNode *n) {
    fe_out(n, 0, fe_op_const(n, IR_OP_DIV, fold_left(n), n->n_in));
}

// LessOrEqual-16: x <= y is x < y or x == y, so that NaN compares false.
void fe_import_or_equal(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *y = fe_operand(n, 1);
    IrValue *strict = fe_bin(n, n->info->op, x, y);
    fe_out(n, 0, fe_bin(n, IR_OP_OR, strict, fe_bin(n, IR_OP_EQUAL, x, y)));
}

void fe_import_where(FeNode *n) {
    IrValue *c = fe_operand(n, 0), *x = fe_operand(n, 1), *y = fe_operand(n, 2);
    fe_out(n, 0, fe_build(n, IR_OP_WHERE, FE_IN(c, x, y), 0, NULL));
}

// Pow-12: the exponent may have another type; the result has the base's.
void fe_import_pow(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *y = second_operand(n, x);
    if (n->refused) {
        return;
    }
    IrDtype t = x->type.dtype;
    if (ir_dtype_is_float(y->type.dtype) && !ir_dtype_is_float(t)) {
        IrValue *p = fe_bin(n, IR_OP_POW, fe_cast(n, x, y->type.dtype), y);
        fe_out(n, 0, fe_cast(n, p, t));
    } else {
        fe_out(n, 0, fe_bin(n, IR_OP_POW, x, fe_cast(n, y, t)));
    }
}

// PRelu-7: the slope broadcasts to x alone. IR's prelu has that rule. Before, a slope of rank 1 has
// one entry per channel.
void fe_import_prelu(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *slope = fe_operand(n, 1);
    if (n->refused) {
        return;
    }
    const IrShape *s = &slope->type.shape;
    if (n->since < 7 && s->rank == 1 && x->type.shape.rank > 1 && !ir_dim_is(s->dim[0], 1)) {
        int64_t channels = 1;
        slope = fe_reshape_axes(n, slope, x->type.shape.rank, (IrInts){1, &channels});
    }
    fe_out(n, 0, fe_bin(n, IR_OP_PRELU, x, slope));
}

// ---------------------------------------------------------------- casts

// f16 and bf16 are computed with as f32, so a Cast to them rounds and stays f32.
static const struct {
    int32_t elem;
    IrDtype dtype;
    IrOp round;
} narrow[] = {
    {ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16, IR_F16, IR_OP_ROUND_F16},
    {ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16, IR_BF16, IR_OP_ROUND_BF16},
};

static int find_narrow(int32_t elem) {
    for (int i = 0; i < (int)(sizeof narrow / sizeof *narrow); i++) {
        if (narrow[i].elem == elem) {
            return i;
        }
    }
    return -1;
}

static IrValue *round_to(FeNode *n, IrValue *x, int k) {
    if (n->refused || x->type.dtype == IR_F32) {
        return n->refused ? NULL : fe_un(n, narrow[k].round, x);
    }
    return fe_cast(n, fe_cast(n, x, narrow[k].dtype), IR_F32);
}

// The low bits of x as an integer of less than 8 bits: what does not fit into one is undefined.
static IrValue *cut_bits(FeNode *n, IrValue *x, const FeSmall *to) {
    if (n->refused) {
        return NULL;
    }
    IrDtype t = to->is_signed ? IR_I8 : IR_U8;
    x = ir_dtype_is_float(x->type.dtype) ? fe_cast(n, x, IR_I32) : x;
    x = fe_op_const(n, IR_OP_BIT_AND, fe_cast(n, x, t), (1 << to->bits) - 1);
    double top = 1 << (to->bits - 1);
    return to->is_signed ? fe_op_const(n, IR_OP_SUB, fe_op_const(n, IR_OP_BIT_XOR, x, top), top)
                         : x;
}

static IrValue *cast_small(FeNode *n, IrValue *x, const FeSmall *to) {
    return to->is_float ? fe_round_small(n, x, to, fe_read_overflow(n, to)) : cut_bits(n, x, to);
}

static IrValue *build_cast(FeNode *n, IrValue *x, IrDtype to, int32_t elem) {
    const FeSmall *small = fe_small_type(elem);
    int k = to == IR_F32 ? find_narrow(elem) : -1;
    return small ? cast_small(n, x, small) : k >= 0 ? round_to(n, x, k) : fe_cast(n, x, to);
}

// Input 0 as a number of that element type, whose dtype is `to`.
static void cast_to(FeNode *n, IrDtype to, int32_t elem) {
    IrType t;
    bool narrows = fe_small_type(elem) || (to == IR_F32 && find_narrow(elem) >= 0);
    bool same = !n->refused && fe_type(n, 0, &t) && t.dtype == to;
    int32_t from = same ? fe_elem_type(n->in[0]) : 0;
    bool was_narrow = fe_small_type(from) || find_narrow(from) >= 0;
    if (same && !narrows && !was_narrow) {
        fe_out_alias(n, 0, 0);
        return;
    }
    const IrTensor *content = same && !narrows ? fe_tensor(n, 0) : NULL;
    IrValue *x = fe_operand(n, 0);
    fe_out(n, 0, build_cast(n, x, to, elem));
    fe_out_elem(n, 0, elem);
    if (content && n->n_out && n->out[0]) { // the same numbers, of another type
        n->out[0]->tensor = content;
        n->out[0]->stored = n->in[0]->stored;
    }
}

void fe_import_cast(FeNode *n) {
    IrDtype to;
    int32_t elem;
    if (fe_cast_target(n, &to, &elem)) {
        cast_to(n, to, elem);
    }
}

void fe_import_cast_like(FeNode *n) {
    IrType like;
    if (fe_type(n, 1, &like)) {
        cast_to(n, like.dtype, fe_elem_type(n->in[1]));
    }
}

// ---------------------------------------------------------------- others

// Shrink-9: x + bias below -lambd, x - bias above lambd, else 0; of integers in double, truncated.
void fe_import_shrink(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    double bias = fe_attr_float(n, "bias", 0), lambd = fe_attr_float(n, "lambd", 0.5);
    if (n->refused) {
        return;
    }
    IrDtype t = x->type.dtype;
    x = ir_dtype_is_float(t) ? x : fe_cast(n, x, IR_F64);
    IrValue *below = fe_op_const(n, IR_OP_LESS, x, -lambd);
    IrValue *above = fe_op_const(n, IR_OP_GREATER, x, lambd);
    IrValue *low = fe_op_const(n, IR_OP_ADD, x, bias), *high = fe_op_const(n, IR_OP_SUB, x, bias);
    IrValue *y = fe_build(n, IR_OP_WHERE, FE_IN(above, high, fe_const(n, x, 0)), 0, NULL);
    y = fe_build(n, IR_OP_WHERE, FE_IN(below, low, y), 0, NULL);
    fe_out(n, 0, n->refused ? NULL : fe_cast(n, y, t));
}

void fe_import_reciprocal(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    fe_out(n, 0, fe_bin(n, IR_OP_DIV, fe_const(n, x, 1), x));
}

// ---------------------------------------------------------------- Clip

// Clip-11 with bounds that are computed, or of integers (exact beyond 2^53).
static IrValue *clip_by_operands(FeNode *n, IrValue *x) {
    if (fe_has(n, 1)) {
        x = fe_bin(n, IR_OP_MAXIMUM, x, fe_operand(n, 1));
    }
    return fe_has(n, 2) ? fe_bin(n, IR_OP_MINIMUM, x, fe_operand(n, 2)) : x;
}

// Clip-6 has attributes, Clip-11 inputs; bounds that are absent or reach the largest float bound
// nothing.
void fe_import_clip(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    bool is_open[2], constant = true;
    double bound[2];
    for (int i = 0; i < 2; i++) {
        double none = i ? FLT_MAX : -FLT_MAX;
        if (n->since < 11) {
            bound[i] = fe_attr_float(n, i ? "max" : "min", none);
        } else {
            constant &= !fe_has(n, 1 + i) || fe_tensor(n, 1 + i);
            bound[i] = constant ? fe_scalar_in(n, 1 + i, none) : 0;
        }
        is_open[i] = i ? bound[i] >= FLT_MAX : bound[i] <= -FLT_MAX;
    }
    if (n->refused) {
        return;
    }
    if (!constant || !ir_dtype_is_float(x->type.dtype)) {
        IrValue *y = clip_by_operands(n, x);
        fe_out(n, 0, y == x ? fe_un(n, IR_OP_COPY, x) : y);
        return;
    }
    IrAttr attrs[2];
    int n_attrs = 0;
    for (int i = 0; i < 2; i++) {
        if (!is_open[i]) {
            attrs[n_attrs++] = ir_attr_f(i ? IR_ATTR_MAX : IR_ATTR_MIN, bound[i]);
        }
    }
    if (n_attrs == 0) {
        fe_out_alias(n, 0, 0);
    } else {
        fe_out(n, 0, fe_build(n, IR_OP_CLIP, FE_IN(x), n_attrs, attrs));
    }
}
