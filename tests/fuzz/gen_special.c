// Makers of graph_gen.h for what importers write out: resizing tables, the batch folded into other
// dimensions and back, parts without an element, and results that are positions.
#include "tests/fuzz/graph_gen.h"

static IrValue *binary(Gen *m, IrOp op, IrValue *x, IrValue *y) {
    return gen_build(m, op, 2, (IrValue *[]){x, y}, 0, NULL);
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
    if (gen_rank(x) != 4 || x->type.shape.dim[2].n || x->type.shape.dim[3].n)
        return NULL;
    bool weights = ir_dtype_is_float(x->type.dtype) && gen_chance(m, 60);
    for (int k = 0; k < 2; k++)
        if (gen_dim(x, 2 + k) > 0 && gen_chance(m, 85))
            draw_taps(m, x->type.dtype, gen_dim(x, 2 + k), weights, &in[1 + 2 * k], &in[2 + 2 * k]);
    return gen_build(m, IR_OP_RESIZE, 5, in, 0, NULL);
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
    int r = gen_rank(x);
    int axis = r > 0 ? (int)gen_draw(m, (uint64_t)r) : 0;
    if (r == 0 || x->type.shape.dim[axis].n || gen_dim(x, axis) < 1 || x->type.dtype == IR_BOOL)
        return NULL;
    IrAttr attrs[] = {ir_attr_i(IR_ATTR_AXIS, axis), ir_attr_i(IR_ATTR_REVERSE, gen_chance(m, 40)),
                      ir_attr_i(IR_ATTR_SIZE, gen_int(m, 1, gen_dim(x, axis)))};
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
