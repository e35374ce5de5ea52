// Makers of graph_gen.h for what importers write out: resizing tables, quantized numbers and their
// products, the batch folded into other dimensions and back, parts without an element, and results
// that are positions.
#include "tests/fuzz/graph_gen.h"

static int64_t dim(const IrValue *v, int i) {
    return v->type.shape.dim[i].c;
}
static int rank(const IrValue *v) {
    return v->type.shape.rank;
}

static IrValue *scalar(Gen *m, IrDtype t, double x) {
    return ir_build_scalar(&m->b, t, x);
}

static IrValue *binary(Gen *m, IrOp op, IrValue *x, IrValue *y) {
    return gen_build(m, op, 2, (IrValue *[]){x, y}, 0, NULL);
}

static IrValue *cast(Gen *m, IrValue *x, IrDtype t) {
    IrAttr to = ir_attr_s(IR_ATTR_TO, ir_dtype_name(t));
    return gen_build(m, IR_OP_CAST, 1, &x, 1, &to);
}

static IrValue *reshape(Gen *m, IrValue *x, const IrShape *s) {
    IrAttr to = ir_attr_dims(IR_ATTR_SHAPE, s);
    return gen_build(m, IR_OP_RESHAPE, 1, &x, 1, &to);
}

// ---------------------------------------------------------------- resize

// The table of an axis of `in` pixels, and its weights where there are any: neighbours in order as
// interpolation has them, or any.
static void draw_taps(Gen *m, IrDtype t, int64_t in, bool weights, IrValue **index,
                      IrValue **weight) {
    int64_t taps = weights ? gen_int(m, 1, 4) : 1, out = gen_int(m, 1, 9);
    bool sorted = gen_chance(m, 70);
    IrType type = {.dtype = IR_I32, .shape = {2, {ir_dim(taps), ir_dim(out)}}};
    IrTensor at = ir_tensor_new(m->prog->arena, &type, 1);
    for (int64_t k = 0; k < taps; k++)
        for (int64_t i = 0; i < out; i++) {
            int64_t x = sorted ? i * in / out + k - (taps - 1) / 2 : gen_int(m, 0, in - 1);
            ir_tensor_set(&at, k * out + i, (double)(x < 0 ? 0 : x >= in ? in - 1 : x));
        }
    *index = ir_const_value(m->graph, ir_const_new(m->prog, NULL, type, at.data));
    if (weights) {
        type.dtype = t;
        IrTensor w = ir_tensor_new(m->prog->arena, &type, 1);
        for (int64_t i = 0; i < taps * out; i++)
            ir_tensor_set(&w, i, 0.25 * (double)gen_int(m, -1, 4));
        *weight = ir_const_value(m->graph, ir_const_new(m->prog, NULL, type, w.data));
    }
}

IrValue *gen_make_resize(Gen *m) {
    IrValue *in[5] = {gen_pick(m)}, *x = in[0];
    if (rank(x) != 4 || x->type.shape.dim[2].n || x->type.shape.dim[3].n)
        return NULL;
    bool weights = ir_dtype_is_float(x->type.dtype) && gen_chance(m, 60);
    for (int k = 0; k < 2; k++)
        if (dim(x, 2 + k) > 0 && gen_chance(m, 85))
            draw_taps(m, x->type.dtype, dim(x, 2 + k), weights, &in[1 + 2 * k], &in[2 + 2 * k]);
    return gen_build(m, IR_OP_RESIZE, 5, in, 0, NULL);
}

// ---------------------------------------------------------------- quantized

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
    static const double scales[] = {0.037, 0.11, 0.3, 0.0712, 0.25};
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
    if (!x || x->type.shape.dim[1].n || dim(x, 1) < 1 || dim(x, 1) > 24)
        return NULL;
    Step s = draw_step(m);
    IrValue *q = quantize(m, x, s.t, s.scale, s.zero);
    q = q ? binary(m, IR_OP_SUB, cast(m, q, IR_F32), scalar(m, IR_F32, s.zero)) : NULL;
    int64_t k = gen_int(m, 1, 3), out = gen_int(m, 1, 17), pad[] = {k / 2, k / 2, k / 2, k / 2};
    IrShape w = {4, {ir_dim(out), ir_dim(dim(x, 1)), ir_dim(k), ir_dim(k)}};
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

// ---------------------------------------------------------------- shapes

// The first dimension times a factor of a later one, or less by such a factor: windows of
// attention, heads, ShuffleNet's groups; [N,C,...] to [2N,C/2,...] and back.
IrValue *gen_make_fold(Gen *m) {
    IrValue *x = gen_pick(m);
    IrShape s = x->type.shape;
    int axis = s.rank > 1 ? (int)gen_int(m, 1, s.rank - 1) : 0;
    int64_t f = gen_int(m, 2, 4);
    if (!axis)
        return NULL;
    bool back = s.dim[0].n % f == 0 && s.dim[0].c % f == 0 && gen_chance(m, 60);
    if (back) {
        s.dim[0] = (IrDim){s.dim[0].c / f, s.dim[0].n / f};
        s.dim[axis] = (IrDim){s.dim[axis].c * f, s.dim[axis].n * f};
    } else if (s.dim[axis].c % f == 0 && s.dim[axis].n % f == 0) {
        s.dim[0] = (IrDim){s.dim[0].c * f, s.dim[0].n * f};
        s.dim[axis] = (IrDim){s.dim[axis].c / f, s.dim[axis].n / f};
    }
    return reshape(m, x, &s);
}

// A part without an element, or a result that such a part does not change.
IrValue *gen_make_nothing(Gen *m) {
    IrValue *x = gen_pick(m);
    IrShape s = x->type.shape;
    int axis = s.rank > 0 ? (int)gen_draw(m, (uint64_t)s.rank) : 0;
    if (s.rank == 0 || s.dim[axis].n)
        return NULL;
    int64_t start[IR_MAX_RANK] = {0}, step[IR_MAX_RANK] = {1, 1, 1, 1, 1, 1, 1, 1};
    s.dim[axis] = ir_dim(0);
    IrAttr part[] = {ir_attr_ints(m->prog->arena, IR_ATTR_START, s.rank, start),
                     ir_attr_ints(m->prog->arena, IR_ATTR_STEP, s.rank, step),
                     ir_attr_dims(IR_ATTR_SHAPE, &s)};
    IrValue *empty = gen_build(m, IR_OP_SLICE, 1, &x, 3, part);
    if (!empty || gen_chance(m, 40))
        return empty;
    int64_t axes = axis;
    IrAttr sum[] = {ir_attr_ints(m->prog->arena, IR_ATTR_AXES, 1, &axes),
                    ir_attr_i(IR_ATTR_KEEPDIMS, 1)};
    if (gen_chance(m, 50)) // zeros
        return binary(m, IR_OP_ADD, x, gen_build(m, IR_OP_REDUCE_SUM, 1, &empty, 2, sum));
    IrAttr at = ir_attr_i(IR_ATTR_AXIS, axis);
    return gen_build(m, IR_OP_CONCAT, 3, (IrValue *[]){empty, x, empty}, 1, &at);
}

// Where things are, and what lies there: arg_max, top_k, gather_elements.
IrValue *gen_make_position(Gen *m) {
    IrValue *x = gen_pick(m);
    int r = rank(x);
    int axis = r > 0 ? (int)gen_draw(m, (uint64_t)r) : 0;
    if (r == 0 || x->type.shape.dim[axis].n || dim(x, axis) < 1 || x->type.dtype == IR_BOOL)
        return NULL;
    IrAttr attrs[] = {ir_attr_i(IR_ATTR_AXIS, axis), ir_attr_i(IR_ATTR_REVERSE, gen_chance(m, 40)),
                      ir_attr_i(IR_ATTR_SIZE, gen_int(m, 1, dim(x, axis)))};
    if (gen_chance(m, 40))
        return gen_build(m, gen_chance(m, 50) ? IR_OP_ARG_MAX : IR_OP_ARG_MIN, 1, &x, 2, attrs);
    IrValue *top = gen_build(m, IR_OP_TOP_K, 1, &x, 3, attrs);
    IrValue *where = top ? top->def->out[1] : NULL;
    if (!top || gen_chance(m, 40))
        return top;
    return gen_chance(m, 50)
               ? where
               : gen_build(m, IR_OP_GATHER_ELEMENTS, 2, (IrValue *[]){x, where}, 1, attrs);
}
