// Elementwise operators. Most are one IR op; activations without one are written out by their ONNX
// formula.
#include "frontend/import.h"

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

// Input 0 as a number of that element type, whose dtype is `to`.
static void cast_to(FeNode *n, IrDtype to, int32_t elem) {
    IrType t;
    int k = to == IR_F32 ? find_narrow(elem) : -1;
    bool same = !n->refused && fe_type(n, 0, &t) && t.dtype == to;
    bool was_narrow = same && find_narrow(fe_elem_type(n->in[0])) >= 0;
    if (same && k < 0 && !was_narrow) {
        fe_out_alias(n, 0, 0);
        return;
    }
    const IrTensor *content = same && k < 0 ? fe_tensor(n, 0) : NULL;
    IrValue *x = fe_operand(n, 0);
    fe_out(n, 0, k >= 0 ? round_to(n, x, k) : fe_cast(n, x, to));
    if (!n->refused && n->n_out && n->out[0]) {
        n->out[0]->elem = elem;
    }
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

// ---------------------------------------------------------------- activations

static void build_with_alpha(FeNode *n, IrOp op, double absent) {
    IrValue *x = fe_operand(n, 0);
    double alpha = fe_attr_float(n, "alpha", absent);
    fe_out(n, 0, fe_build(n, op, FE_IN(x), FE_WITH(ir_attr_f(IR_ATTR_ALPHA, alpha))));
}

void fe_import_leaky_relu(FeNode *n) {
    build_with_alpha(n, IR_OP_LEAKY_RELU, 0.01);
}

void fe_import_elu(FeNode *n) {
    build_with_alpha(n, IR_OP_ELU, 1);
}

static IrValue *build_elu(FeNode *n, IrValue *x, double alpha) {
    return fe_build(n, IR_OP_ELU, FE_IN(x), FE_WITH(ir_attr_f(IR_ATTR_ALPHA, alpha)));
}

// Selu-6: gamma * (x > 0 ? x : alpha * (exp(x) - 1))
void fe_import_selu(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    bool rounded = n->since < 6; // its defaults were
    double alpha = fe_attr_float(n, "alpha", rounded ? 1.6732 : 1.67326319217681884765625);
    double gamma = fe_attr_float(n, "gamma", rounded ? 1.0507 : 1.05070102214813232421875);
    fe_out(n, 0, fe_op_const(n, IR_OP_MUL, build_elu(n, x, alpha), gamma));
}

// Celu-12: max(0, x) + min(0, alpha * (exp(x / alpha) - 1)), which is alpha * elu(x / alpha) for
// alpha > 0
void fe_import_celu(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    double alpha = fe_attr_float(n, "alpha", 1);
    if (!(alpha > 0)) {
        fe_refuse(n, "alpha is %g, only positive values are supported", alpha);
    }
    IrValue *y = build_elu(n, fe_op_const(n, IR_OP_DIV, x, alpha), 1);
    fe_out(n, 0, fe_op_const(n, IR_OP_MUL, y, alpha));
}

void fe_import_hard_sigmoid(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    double alpha = fe_attr_float(n, "alpha", 0.2), beta = fe_attr_float(n, "beta", 0.5);
    fe_out(n, 0,
           fe_build(n, IR_OP_HARD_SIGMOID, FE_IN(x),
                    FE_WITH(ir_attr_f(IR_ATTR_ALPHA, alpha), ir_attr_f(IR_ATTR_BETA, beta))));
}

// Softplus-1: log(exp(x) + 1), written so that exp cannot overflow: max(x, 0) + log(exp(-|x|) + 1)
static IrValue *build_softplus(FeNode *n, IrValue *x) {
    IrValue *e = fe_un(n, IR_OP_EXP, fe_un(n, IR_OP_NEG, fe_un(n, IR_OP_ABS, x)));
    IrValue *l = fe_un(n, IR_OP_LOG, fe_op_const(n, IR_OP_ADD, e, 1));
    return fe_bin(n, IR_OP_ADD, fe_un(n, IR_OP_RELU, x), l);
}

void fe_import_softplus(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    fe_out(n, 0, build_softplus(n, x));
}

// Mish-18: x * tanh(softplus(x))
void fe_import_mish(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    fe_out(n, 0, fe_bin(n, IR_OP_MUL, x, fe_un(n, IR_OP_TANH, build_softplus(n, x))));
}

// Softsign-1: x / (1 + |x|)
void fe_import_softsign(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    fe_out(n, 0, fe_bin(n, IR_OP_DIV, x, fe_op_const(n, IR_OP_ADD, fe_un(n, IR_OP_ABS, x), 1)));
}

// ThresholdedRelu-10: x > alpha ? x : 0
void fe_import_thresholded_relu(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    IrValue *above = fe_op_const(n, IR_OP_GREATER, x, fe_attr_float(n, "alpha", 1));
    fe_out(n, 0, fe_build(n, IR_OP_WHERE, FE_IN(above, x, fe_const(n, x, 0)), 0, NULL));
}

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

// Gelu-20: x/2 * (1 + erf(x / sqrt 2)), or with tanh(sqrt(2/pi) * (x + 0.044715 x^3)) for erf
void fe_import_gelu(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *t;
    const char *how = fe_attr_str(n, "approximate", "none");
    if (how[0] == 't') {
        IrValue *cube = fe_bin(n, IR_OP_MUL, x, fe_bin(n, IR_OP_MUL, x, x));
        IrValue *sum = fe_bin(n, IR_OP_ADD, x, fe_op_const(n, IR_OP_MUL, cube, 0.044715));
        t = fe_un(n, IR_OP_TANH, fe_op_const(n, IR_OP_MUL, sum, sqrt(2 / M_PI)));
    } else {
        t = fe_un(n, IR_OP_ERF, fe_op_const(n, IR_OP_MUL, x, sqrt(0.5)));
    }
    IrValue *half = fe_op_const(n, IR_OP_MUL, x, 0.5);
    fe_out(n, 0, fe_bin(n, IR_OP_MUL, half, fe_op_const(n, IR_OP_ADD, t, 1)));
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
