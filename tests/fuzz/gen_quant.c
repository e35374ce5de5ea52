// Makers of graph_gen.h for quantized numbers and their products: spelled out in elementwise ops,
// and by the ops quantize and dequantize, as files in QDQ form have them.
#include "tests/fuzz/graph_gen.h"

#define COUNT(x) (sizeof(x) / sizeof *(x))

static IrValue *scalar(Gen *m, IrDtype t, double x) {
    return ir_build_scalar(&m->b, t, x);
}

static IrValue *unary(Gen *m, IrOp op, IrValue *x) {
    return gen_build(m, op, 1, &x, 0, NULL);
}

static IrValue *binary(Gen *m, IrOp op, IrValue *x, IrValue *y) {
    return gen_build(m, op, 2, (IrValue *[]){x, y}, 0, NULL);
}

static IrValue *cast(Gen *m, IrValue *x, IrDtype t) {
    IrAttr to = ir_attr_s(IR_ATTR_TO, ir_dtype_name(t));
    return gen_build(m, IR_OP_CAST, 1, &x, 1, &to);
}

// ---------------------------------------------------------------- spelled out

// As QuantizeLinear: round(x / scale) + zero, cut to the type.
static IrValue *quantize(Gen *m, IrValue *x, IrDtype t, double scale, double zero) {
    IrAttr range[] = {ir_attr_f(IR_ATTR_MIN, t == IR_U8 ? 0 : -128),
                      ir_attr_f(IR_ATTR_MAX, t == IR_U8 ? 255 : 127)};
    IrValue *y = binary(m, IR_OP_DIV, x, scalar(m, IR_F32, scale));
    y = gen_build(m, IR_OP_ROUND, 1, &y, 0, NULL);
    y = binary(m, IR_OP_ADD, y, scalar(m, IR_F32, zero));
    y = gen_build(m, IR_OP_CLIP, 1, &y, 2, range);
    return y ? cast(m, y, t) : NULL;
}

static IrValue *dequantize(Gen *m, IrValue *q, double scale, double zero) {
    IrValue *y = q ? binary(m, IR_OP_SUB, cast(m, q, IR_F32), scalar(m, IR_F32, zero)) : NULL;
    return binary(m, IR_OP_MUL, y, scalar(m, IR_F32, scale));
}

typedef struct Step {
    IrDtype t;
    double scale, zero;
} Step;

// By other scales than powers of two halves are met by chance only, and what rounding errors decide
// is no graph for the check.
static Step draw_step(Gen *m) {
    static const double scales[] = {0.037, 0.1171, 0.2963, 0.0712, 0.25};
    bool is_signed = gen_chance(m, 50);
    return (Step){is_signed ? IR_I8 : IR_U8, scales[gen_draw(m, 5)],
                  (double)(is_signed ? gen_int(m, -3, 3) : gen_int(m, 0, 200))};
}

// Quantized and, mostly, back: QDQ. Or a quantized value of the pool back.
IrValue *gen_make_quantized(Gen *m) {
    IrValue *x = gen_pick(m);
    Step s = draw_step(m);
    if (x->type.dtype == IR_U8 || x->type.dtype == IR_I8)
        return dequantize(m, x, s.scale, s.zero);
    if (x->type.dtype != IR_F32)
        return NULL;
    IrValue *q = quantize(m, x, s.t, s.scale, s.zero);
    return gen_chance(m, 65) ? dequantize(m, q, s.scale, s.zero) : q;
}

// As ConvInteger and QLinearConv: the sums are of integers, and exact.
IrValue *gen_make_integer_conv(Gen *m) {
    IrValue *x = gen_pick_of(m, IR_F32, 4, 4);
    if (!x || x->type.shape.dim[1].n || gen_dim(x, 1) < 1 || gen_dim(x, 1) > 24)
        return NULL;
    Step s = draw_step(m);
    IrValue *q = quantize(m, x, s.t, s.scale, s.zero);
    q = q ? binary(m, IR_OP_SUB, cast(m, q, IR_F32), scalar(m, IR_F32, s.zero)) : NULL;
    int64_t k = gen_int(m, 1, 3), out = gen_int(m, 1, 17), pad[] = {k / 2, k / 2, k / 2, k / 2};
    IrShape w = {4, {ir_dim(out), ir_dim(gen_dim(x, 1)), ir_dim(k), ir_dim(k)}};
    IrAttr attrs[] = {ir_attr_ints(m->prog->arena, IR_ATTR_PAD, 4, pad),
                      ir_attr_i(IR_ATTR_EXACT, 1)};
    IrValue *y =
        gen_build(m, IR_OP_CONV, 2, (IrValue *[]){q, gen_const(m, IR_F32, &w, true)}, 2, attrs);
    y = y && gen_chance(m, 50) ? cast(m, y, IR_I32) : y;
    if (!y || gen_chance(m, 30))
        return y;
    y = y->type.dtype == IR_F32 ? y : cast(m, y, IR_F32);
    return binary(m, IR_OP_MUL, y, scalar(m, IR_F32, s.scale * 0.0625));
}

// ---------------------------------------------------------------- QDQ

static IrValue *to_q(Gen *m, IrValue *x, Step s) {
    IrAttr to = ir_attr_s(IR_ATTR_TO, ir_dtype_name(s.t));
    IrValue *in[] = {x, scalar(m, IR_F32, s.scale), scalar(m, s.t, s.zero)};
    return gen_build(m, IR_OP_QUANTIZE, 3, in, 1, &to);
}

static IrValue *from_q(Gen *m, IrValue *q, Step s) {
    IrValue *in[] = {q, scalar(m, IR_F32, s.scale), scalar(m, s.t, s.zero)};
    return gen_build(m, IR_OP_DEQUANTIZE, 3, in, 0, NULL);
}

static IrValue *to_and_from(Gen *m, IrValue *x, Step s) {
    return from_q(m, to_q(m, x, s), s);
}

// Whole numbers of [-most, most], or of [0, 2 most] where the type has no sign.
static IrValue *whole(Gen *m, IrDtype t, int rank, const int64_t *dims, int64_t most) {
    IrType type = {.dtype = t, .shape = ir_shape_of(rank, dims)};
    IrTensor data = ir_tensor_new(m->prog->arena, &type, 1);
    for (int64_t i = 0; i < ir_tensor_elems(&data); i++)
        ir_tensor_set(&data, i, (double)(gen_int(m, -most, most) + (t == IR_U8 ? most : 0)));
    return ir_const_value(m->graph, ir_const_new(m->prog, NULL, type, data.data));
}

// Weights: s8, or u8 with a zero point; one scale, or one for each index of `axis`.
static IrValue *weights(Gen *m, int rank, const int64_t *dims, int axis) {
    bool with_zero = gen_chance(m, 15);
    IrDtype t = with_zero ? IR_U8 : IR_I8;
    int64_t each[4] = {1, 1, 1, 1}, terms = 1;
    for (int i = 0; i < rank; i++)
        terms *= i == axis ? 1 : dims[i];
    double unit = 0.0173 / (double)(1 + terms / 8);
    IrType type = {.dtype = IR_F32, .shape = ir_shape_of(rank, each)};
    if (gen_chance(m, 60))
        type.shape.dim[axis] = ir_dim(dims[axis]);
    IrTensor scale = ir_tensor_new(m->prog->arena, &type, 1);
    for (int64_t i = 0; i < ir_tensor_elems(&scale); i++)
        ir_tensor_set(&scale, i, unit * (double)gen_int(m, 1, 5));
    IrValue *in[] = {whole(m, t, rank, dims, gen_chance(m, 70) ? 127 : 5),
                     ir_const_value(m->graph, ir_const_new(m->prog, NULL, type, scale.data)),
                     with_zero ? scalar(m, t, (double)gen_int(m, 120, 134)) : NULL};
    return gen_build(m, IR_OP_DEQUANTIZE, with_zero ? 3 : 2, in, 0, NULL);
}

static IrValue *qdq_bias(Gen *m, int64_t n) {
    if (gen_chance(m, 50))
        return gen_const_dims(m, IR_F32, 1, &n);
    IrValue *in[] = {whole(m, IR_I32, 1, &n, 3000), scalar(m, IR_F32, 0.00031)};
    return gen_build(m, IR_OP_DEQUANTIZE, 2, in, 0, NULL);
}

static IrValue *qdq_conv(Gen *m, IrValue *x) {
    if (gen_rank(x) != 4 || !gen_is_fixed(x, 1) || gen_dim(x, 1) < 1)
        return NULL;
    int64_t c = gen_dim(x, 1), k = gen_int(m, 1, 3), stride[] = {gen_int(m, 1, 2), 0};
    int64_t group = gen_chance(m, 25) ? c : gen_chance(m, 15) && c % 4 == 0 ? 4 : 1;
    int64_t out = group > 1 ? c * gen_int(m, 1, 2) : gen_int(m, 1, 35), pad[4];
    for (int i = 0; i < 4; i++)
        pad[i] = gen_chance(m, 70) ? k / 2 : gen_int(m, 0, 2);
    stride[1] = stride[0];
    IrValue *in[] = {x, weights(m, 4, (int64_t[]){out, c / group, k, k}, 0),
                     gen_chance(m, 60) ? qdq_bias(m, out) : NULL};
    IrAttr attrs[] = {gen_ints(m, IR_ATTR_PAD, 4, pad), gen_ints(m, IR_ATTR_STRIDE, 2, stride),
                      ir_attr_i(IR_ATTR_GROUP, group)};
    return gen_build(m, IR_OP_CONV, in[2] ? 3 : 2, in, 3, attrs);
}

static IrValue *qdq_matmul(Gen *m, IrValue *x) {
    int r = gen_rank(x);
    if (r < 2 || x->type.shape.dim[r - 1].n || gen_dim(x, r - 1) < 1)
        return NULL;
    bool trans = gen_chance(m, 50);
    int64_t k = gen_dim(x, r - 1), o = gen_int(m, 1, 20), d[] = {trans ? o : k, trans ? k : o};
    IrValue *in[] = {x, weights(m, 2, d, trans ? 0 : 1), gen_chance(m, 50) ? qdq_bias(m, o) : NULL};
    IrAttr tb = ir_attr_i(IR_ATTR_TRANS_B, trans);
    return gen_build(m, IR_OP_MATMUL, in[2] ? 3 : 2, in, 1, &tb);
}

static IrValue *qdq_pool(Gen *m, IrValue *x) {
    if (gen_rank(x) != 4 || !gen_is_fixed(x, 1))
        return NULL;
    int64_t k[] = {gen_int(m, 1, 3), 0}, pad[4], s[] = {gen_int(m, 1, 2), 1}, axes[] = {2, 3};
    k[1] = k[0];
    for (int i = 0; i < 4; i++)
        pad[i] = gen_int(m, 0, k[0] > 1);
    IrAttr window[] = {gen_ints(m, IR_ATTR_KERNEL, 2, k), gen_ints(m, IR_ATTR_STRIDE, 2, s),
                       gen_ints(m, IR_ATTR_PAD, 4, pad)};
    IrAttr mean[] = {gen_ints(m, IR_ATTR_AXES, 2, axes), ir_attr_i(IR_ATTR_KEEPDIMS, 1)};
    switch (gen_draw(m, 3)) {
    case 0:
        return gen_build(m, IR_OP_REDUCE_MEAN, 1, &x, 2, mean);
    case 1:
        return gen_build(m, IR_OP_AVG_POOL, 1, &x, 3, window);
    default:
        return gen_build(m, IR_OP_MAX_POOL, 1, &x, 3, window);
    }
}

// Of the same numbers by another step, or of another value that fits.
static IrValue *qdq_join(Gen *m, IrValue *x) {
    IrValue *y = gen_like(m, x, IR_F32);
    y = y ? to_and_from(m, y, draw_step(m)) : NULL;
    if (y && ir_shape_eq(&x->type.shape, &y->type.shape) && gen_rank(x) > 1 && gen_chance(m, 40)) {
        IrAttr axis = ir_attr_i(IR_ATTR_AXIS, 1);
        return gen_build(m, IR_OP_CONCAT, 2, (IrValue *[]){x, y}, 1, &axis);
    }
    return binary(m, gen_chance(m, 70) ? IR_OP_ADD : IR_OP_MUL, x, y);
}

static IrValue *qdq_eltwise(Gen *m, IrValue *x) {
    static const IrOp ops[] = {IR_OP_RELU, IR_OP_SIGMOID, IR_OP_ABS, IR_OP_TANH};
    return unary(m, ops[gen_draw(m, COUNT(ops))], x);
}

static IrValue *qdq_transpose(Gen *m, IrValue *x) {
    int64_t perm[] = {0, 2, 3, 1};
    IrAttr attr = gen_ints(m, IR_ATTR_PERM, 4, perm);
    return gen_rank(x) == 4 ? gen_build(m, IR_OP_TRANSPOSE, 1, &x, 1, &attr) : NULL;
}

// Up to three layers in a row, each between dequantize and quantize; u8 and s8 meet, scales are
// shared now and then.
IrValue *gen_make_qdq(Gen *m) {
    static IrValue *(*const layers[])(Gen *, IrValue *) = {
        qdq_conv, qdq_conv, qdq_conv, qdq_matmul, qdq_pool, qdq_join, qdq_eltwise, qdq_transpose};
    Step s = draw_step(m);
    IrValue *x = gen_pick(m);
    bool is_q = x->type.dtype == IR_U8 || x->type.dtype == IR_I8;
    if (!is_q && x->type.dtype != IR_F32)
        return NULL;
    s.t = is_q ? x->type.dtype : s.t;
    s.zero = s.t == IR_I8 && s.zero > 127 ? 3 : s.zero;
    IrValue *q = is_q ? x : to_q(m, x, s), *last = q;
    for (int i = gen_chance(m, 60) ? 1 : 3; i > 0 && q; i--) {
        IrValue *y = from_q(m, q, s);
        y = y ? layers[gen_draw(m, COUNT(layers))](m, y) : NULL;
        y = y && gen_chance(m, 40) ? unary(m, IR_OP_RELU, y) : y;
        Step next = gen_chance(m, 30) ? s : draw_step(m);
        q = y ? to_q(m, y, next) : NULL;
        last = q ? q : last;
        s = q ? next : s;
    }
    return last && gen_chance(m, 50) ? from_q(m, last, s) : last;
}
