// The makers of graph_gen.h: what compilers get wrong (broadcasts, mixed pads, reductions and
// products without elements, clips on relus, integer types side by side, moves between layouts).
// Any op of the table on operands that happen to fit: gen_any.c.
#include "tests/fuzz/graph_gen.h"

#define COUNT(x) (sizeof(x) / sizeof *(x))

static IrValue *pick_image(Gen *m) {
    IrValue *x = gen_pick_of(m, IR_F32, 4, 4);
    return x && gen_is_fixed(x, 1) ? x : NULL;
}

// ---------------------------------------------------------------- elementwise

static bool is_unsigned(const IrValue *x) {
    return x->type.dtype >= IR_U8 && x->type.dtype <= IR_U64;
}

// The floating-point attributes that the op has, in range.
static int draw_floats(Gen *m, IrOp op, const IrValue *x, IrAttr *out) {
    static const IrAttrKey keys[] = {IR_ATTR_ALPHA, IR_ATTR_BETA, IR_ATTR_MIN, IR_ATTR_MAX};
    double low = (double)gen_int(m, is_unsigned(x) ? 1 : -3, 2);
    const double values[] = {0.125 * (double)gen_int(m, 1, 8), 0.5, low,
                             low + (double)gen_int(m, -1, 5)};
    int n = 0;
    for (size_t i = 0; i < COUNT(keys); i++)
        if (ir_op_info(op)->attrs >> keys[i] & 1 && gen_chance(m, 85))
            out[n++] = ir_attr_f(keys[i], values[i]);
    return n;
}

static IrValue *apply_unary(Gen *m, IrOp op, IrValue *x) {
    IrAttr attrs[4];
    int n = draw_floats(m, op, x, attrs);
    return gen_build(m, op, 1, &x, n, attrs);
}

static IrOp draw_elementwise(Gen *m, int operands) {
    for (;;) {
        IrOp op = (IrOp)gen_draw(m, IR_OP_COUNT);
        if (ir_op_info(op)->flags & IR_FLAG_E && ir_op_info(op)->max_in == operands &&
            op != IR_OP_CAST) // make_cast
            return op;
    }
}

static IrValue *make_unary(Gen *m) {
    static const IrOp usual[] = {IR_OP_RELU, IR_OP_SIGMOID, IR_OP_HARD_SWISH, IR_OP_LEAKY_RELU};
    return apply_unary(m, gen_chance(m, 35) ? usual[gen_draw(m, 4)] : draw_elementwise(m, 1),
                       gen_pick(m));
}

// Relu and Clip in both orders, twice, with bounds that cross.
static IrValue *make_clips(Gen *m) {
    IrValue *x = gen_pick(m);
    for (int i = (int)gen_int(m, 1, 3); i > 0 && x; i--)
        x = apply_unary(m, gen_chance(m, 50) ? IR_OP_RELU : IR_OP_CLIP, x);
    return x;
}

static IrValue *make_binary(Gen *m) {
    static const IrOp usual[] = {IR_OP_ADD, IR_OP_ADD, IR_OP_MUL, IR_OP_SUB, IR_OP_MAXIMUM};
    IrOp op = gen_chance(m, 50) ? usual[gen_draw(m, 5)] : draw_elementwise(m, 2);
    IrValue *x = gen_pick(m), *y = gen_like(m, x, x->type.dtype);
    bool swap = gen_chance(m, 30);
    return gen_build(m, op, 2, (IrValue *[]){swap ? y : x, swap ? x : y}, 0, NULL);
}

// Two values of one type: residuals.
static IrValue *make_residual(Gen *m) {
    IrValue *x = gen_pick(m);
    for (int i = 0; i < 10; i++) {
        IrValue *y = gen_pick(m);
        if (y != x && ir_type_eq(&x->type, &y->type)) {
            IrValue *s = gen_build(m, IR_OP_ADD, 2, (IrValue *[]){x, y}, 0, NULL);
            return s && gen_chance(m, 60) ? apply_unary(m, IR_OP_RELU, s) : s;
        }
    }
    return NULL;
}

static IrValue *make_where(Gen *m) {
    IrValue *x = gen_pick(m), *y = gen_like(m, x, x->type.dtype),
            *c = gen_pick_of(m, IR_BOOL, 0, 8);
    if (!c || gen_chance(m, 50))
        c = gen_build(m, gen_chance(m, 50) ? IR_OP_LESS : IR_OP_EQUAL, 2,
                      (IrValue *[]){x, gen_like(m, x, x->type.dtype)}, 0, NULL);
    return gen_build(m, IR_OP_WHERE, 3, (IrValue *[]){c, x, y}, 0, NULL);
}

static IrValue *make_cast(Gen *m) {
    IrValue *x = gen_pick(m);
    IrDtype t = m->images && x->type.dtype != IR_F32 && gen_chance(m, 70)
                    ? IR_F32
                    : (IrDtype)gen_draw(m, IR_DTYPE_COUNT);
    IrAttr to = ir_attr_s(IR_ATTR_TO, ir_dtype_name(t));
    return gen_build(m, IR_OP_CAST, 1, &x, 1, &to);
}

// sqrt, log and division where they are defined
static IrValue *make_positive(Gen *m) {
    static const IrOp ops[] = {IR_OP_SQRT, IR_OP_LOG, IR_OP_DIV};
    IrValue *x = gen_pick(m);
    IrOp op = ops[gen_draw(m, 3)];
    if (!ir_dtype_is_float(x->type.dtype))
        return NULL;
    IrValue *one = gen_const_dims(m, x->type.dtype, 0, NULL), *p = apply_unary(m, IR_OP_ABS, x);
    p = gen_build(m, IR_OP_ADD, 2, (IrValue *[]){p, apply_unary(m, IR_OP_ABS, one)}, 0, NULL);
    if (op == IR_OP_DIV)
        return gen_build(m, op, 2, (IrValue *[]){gen_like(m, x, x->type.dtype), p}, 0, NULL);
    return p ? apply_unary(m, op, p) : NULL;
}

static IrValue *make_silu(Gen *m) {
    IrValue *x = gen_pick(m);
    return gen_build(m, IR_OP_MUL, 2, (IrValue *[]){x, apply_unary(m, IR_OP_SIGMOID, x)}, 0, NULL);
}

// Constants alone, which folding removes.
static IrValue *make_constants(Gen *m) {
    IrValue *x = gen_pick(m), *c = gen_like(m, x, x->type.dtype);
    c = c && c->konst ? gen_build(m, draw_elementwise(m, 2), 2,
                                  (IrValue *[]){c, gen_like(m, c, x->type.dtype)}, 0, NULL)
                      : NULL;
    return gen_build(m, IR_OP_ADD, 2, (IrValue *[]){x, c}, 0, NULL);
}

// ---------------------------------------------------------------- networks

// Divided by the length of the sums, so that deep graphs stay within range.
static IrValue *scale_down(Gen *m, IrValue *y, int64_t terms) {
    if (!y || terms < 4)
        return y;
    IrValue *s = ir_build_scalar(&m->b, y->type.dtype, terms < 32 ? 0.25 : 0.0625);
    return gen_build(m, IR_OP_MUL, 2, (IrValue *[]){y, s}, 0, NULL);
}

static IrValue *make_conv(Gen *m) {
    static const int64_t outs[] = {1, 4, 8, 16, 5, 17};
    IrValue *x = pick_image(m);
    if (!x)
        return NULL;
    int64_t c = gen_dim(x, 1), kh = gen_int(m, 1, 3),
            kw = gen_chance(m, 75) ? kh : gen_int(m, 1, 4);
    int64_t group = gen_chance(m, 20) ? c : gen_chance(m, 12) && c % 4 == 0 ? 4 : 1;
    int64_t o = group > 1 ? c * gen_int(m, 1, 2) : outs[gen_draw(m, 6)];
    int64_t pad[4], stride[] = {gen_int(m, 1, 2), gen_int(m, 1, 2)}, dilation[] = {1, 1};
    for (int i = 0; i < 4; i++)
        pad[i] = gen_chance(m, 60) ? (i % 2 ? kw : kh) / 2 : gen_int(m, 0, 2);
    for (int i = 0; i < 2; i++) {
        stride[i] = gen_chance(m, 70) ? 1 : stride[i];
        dilation[i] = gen_chance(m, 12) ? 2 : 1;
    }
    if (c == 0)
        return NULL;
    IrValue *in[] = {x, gen_const_dims(m, IR_F32, 4, (int64_t[]){o, c / group, kh, kw}),
                     gen_chance(m, 50) ? gen_const_dims(m, IR_F32, 1, &o) : NULL};
    IrAttr attrs[] = {gen_ints(m, IR_ATTR_PAD, 4, pad), gen_ints(m, IR_ATTR_STRIDE, 2, stride),
                      gen_ints(m, IR_ATTR_DILATION, 2, dilation), ir_attr_i(IR_ATTR_GROUP, group)};
    return scale_down(m, gen_build(m, IR_OP_CONV, in[2] ? 3 : 2, in, 4, attrs),
                      c / group * kh * kw);
}

static IrValue *make_pool(Gen *m) {
    IrValue *x = pick_image(m);
    if (!x)
        return NULL;
    bool avg = gen_chance(m, 50);
    int64_t k[] = {gen_int(m, 1, 3), gen_int(m, 1, 3)}, pad[4], s[] = {1, 1}, d[] = {1, 1};
    for (int i = 0; i < 2; i++) {
        k[i] = gen_chance(m, 10) && gen_dim(x, 2 + i) > 0 ? gen_dim(x, 2 + i) : k[i];
        s[i] = gen_int(m, 1, 3);
        d[i] = gen_chance(m, 10) ? 2 : 1;
        pad[i] = gen_int(m, 0, k[i] > 1);
        pad[i + 2] = gen_int(m, 0, k[i] > 1);
    }
    IrAttr attrs[] = {gen_ints(m, IR_ATTR_KERNEL, 2, k),
                      gen_ints(m, IR_ATTR_STRIDE, 2, s),
                      gen_ints(m, IR_ATTR_PAD, 4, pad),
                      gen_ints(m, IR_ATTR_DILATION, 2, d),
                      ir_attr_i(IR_ATTR_CEIL, gen_chance(m, 30)),
                      ir_attr_i(IR_ATTR_COUNT_PAD, gen_chance(m, 40))};
    return gen_build(m, avg ? IR_OP_AVG_POOL : IR_OP_MAX_POOL, 1, &x, avg ? 6 : 5, attrs);
}

static IrValue *make_batch_norm(Gen *m) {
    IrValue *x = gen_pick(m);
    if (gen_rank(x) < 2 || x->type.shape.dim[1].n || !ir_dtype_is_float(x->type.dtype))
        return NULL;
    int64_t c = gen_dim(x, 1);
    IrType t = {.dtype = x->type.dtype, .shape = ir_shape_of(1, &c)};
    IrConst *var = ir_const_splat(m->prog, NULL, t, gen_chance(m, 50) ? 1 : 0.25);
    IrValue *in[5] = {x};
    for (int i = 1; i < 4; i++)
        in[i] = gen_const_dims(m, t.dtype, 1, &c);
    in[4] = ir_const_value(m->graph, var);
    IrAttr eps = ir_attr_f(IR_ATTR_EPS, 1e-3);
    return gen_build(m, IR_OP_BATCH_NORM, 5, in, 1, &eps);
}

static IrValue *make_conv_block(Gen *m) {
    IrValue *y = make_conv(m);
    if (y && m->n < GEN_VALUES)
        m->pool[m->n++] = y;
    IrValue *z = y ? make_batch_norm(m) : NULL;
    if (y)
        m->n--;
    z = z ? z : y;
    return z && gen_chance(m, 70) ? apply_unary(m, IR_OP_RELU, z) : z;
}

static IrValue *make_matmul(Gen *m) {
    static const int64_t outs[] = {0, 1, 2, 5, 6, 8, 16, 17};
    IrValue *x = gen_pick(m);
    if (gen_rank(x) < 2)
        return NULL;
    bool ta = gen_chance(m, 15) && gen_is_fixed(x, 0), tb = gen_chance(m, 30);
    IrDim inner = x->type.shape.dim[gen_rank(x) - 1 - ta];
    int64_t o = outs[gen_chance(m, 5) ? 0 : gen_int(m, 1, 7)], b[4];
    int batch = gen_chance(m, 25) && gen_rank(x) > 2 && gen_is_fixed(x, 0) ? 1 : 0;
    if (inner.n)
        return NULL;
    b[0] = batch ? gen_chance(m, 50) ? 1 : gen_dim(x, gen_rank(x) - 3) : 0;
    b[batch] = tb ? o : inner.c;
    b[batch + 1] = tb ? inner.c : o;
    IrValue *in[] = {x, gen_const_dims(m, x->type.dtype, batch + 2, b), NULL};
    in[2] = gen_chance(m, 30) ? gen_const_dims(m, x->type.dtype, 1, &o) : NULL;
    IrAttr attrs[] = {ir_attr_i(IR_ATTR_TRANS_A, ta), ir_attr_i(IR_ATTR_TRANS_B, tb)};
    IrValue *y = gen_build(m, IR_OP_MATMUL, in[2] ? 3 : 2, in, 2, attrs);
    return ir_dtype_is_float(x->type.dtype) ? scale_down(m, y, inner.c) : y;
}

// x times x transposed: no operand is constant.
static IrValue *make_gram(Gen *m) {
    IrValue *x = gen_pick(m);
    IrAttr tb = ir_attr_i(IR_ATTR_TRANS_B, 1);
    return gen_rank(x) < 2
               ? NULL
               : scale_down(m, gen_build(m, IR_OP_MATMUL, 2, (IrValue *[]){x, x}, 1, &tb),
                            ir_dtype_is_float(x->type.dtype) ? 16 : 0);
}

static IrValue *make_softmax(Gen *m) {
    IrValue *x = gen_pick(m);
    if (gen_rank(x) < 1)
        return NULL;
    int64_t axis = (int64_t)gen_draw(m, (uint64_t)gen_rank(x));
    IrAttr at = ir_attr_i(IR_ATTR_AXIS, axis);
    if (gen_chance(m, 70))
        return gen_build(m, gen_chance(m, 60) ? IR_OP_SOFTMAX : IR_OP_LOG_SOFTMAX, 1, &x, 1, &at);
    IrAttr attrs[] = {gen_ints(m, IR_ATTR_AXES, 1, &axis), ir_attr_i(IR_ATTR_KEEPDIMS, 1)};
    IrValue *max = gen_build(m, IR_OP_REDUCE_MAX, 1, &x, 2, attrs);
    IrValue *e = gen_build(m, IR_OP_SUB, 2, (IrValue *[]){x, max}, 0, NULL);
    e = gen_build(m, IR_OP_EXP, 1, &e, 0, NULL);
    return gen_build(m, IR_OP_DIV, 2,
                     (IrValue *[]){e, gen_build(m, IR_OP_REDUCE_SUM, 1, &e, 2, attrs)}, 0, NULL);
}

static IrValue *make_reduce(Gen *m) {
    static const IrOp ops[] = {IR_OP_REDUCE_SUM, IR_OP_REDUCE_MEAN, IR_OP_REDUCE_MAX,
                               IR_OP_REDUCE_MIN, IR_OP_REDUCE_MEAN, IR_OP_REDUCE_PROD};
    IrValue *x = gen_pick(m);
    int64_t axes[IR_MAX_RANK];
    int n = 0, mode = (int)gen_draw(m, 4);
    for (int i = 0; i < gen_rank(x); i++) // all, the pixels, or any
        if (mode == 0 || (mode == 1 ? i > 1 : gen_chance(m, 40)))
            axes[n++] = i;
    IrAttr attrs[] = {gen_ints(m, IR_ATTR_AXES, n, axes),
                      ir_attr_i(IR_ATTR_KEEPDIMS, gen_chance(m, 50))};
    return gen_build(m, ops[gen_draw(m, COUNT(ops))], 1, &x, 2, attrs);
}

// ---------------------------------------------------------------- movement

static IrValue *make_transpose(Gen *m) {
    static const int64_t layouts[][4] = {{0, 2, 3, 1}, {0, 3, 1, 2}};
    IrValue *x = gen_pick(m);
    int64_t perm[IR_MAX_RANK];
    for (int i = 0; i < gen_rank(x); i++)
        perm[i] = i;
    for (int i = gen_rank(x) - 1; i > 0; i--) {
        int k = (int)gen_draw(m, (uint64_t)i + 1);
        int64_t t = perm[i];
        perm[i] = perm[k];
        perm[k] = t;
    }
    bool layout = gen_rank(x) == 4 && gen_chance(m, 60);
    IrAttr attr = gen_ints(m, IR_ATTR_PERM, gen_rank(x), layout ? layouts[gen_draw(m, 2)] : perm);
    return gen_build(m, IR_OP_TRANSPOSE, 1, &x, 1, &attr);
}

// Neighbouring axes joined, split, and axes of 1 put in.
static IrValue *make_reshape(Gen *m) {
    IrValue *x = gen_pick(m);
    IrShape from = x->type.shape, to = {0};
    for (int i = 0; i < from.rank && to.rank < 6; i++) {
        IrDim d = from.dim[i], joined;
        if (gen_chance(m, 15))
            to.dim[to.rank++] = ir_dim(1);
        if (to.rank > 0 && gen_chance(m, 40) && ir_dim_mul(to.dim[to.rank - 1], d, &joined)) {
            to.dim[to.rank - 1] = joined;
        } else if (d.n == 0 && d.c % 2 == 0 && d.c && gen_chance(m, 40)) {
            bool first = gen_chance(m, 50);
            to.dim[to.rank++] = ir_dim(first ? 2 : d.c / 2);
            to.dim[to.rank++] = ir_dim(first ? d.c / 2 : 2);
        } else {
            to.dim[to.rank++] = d;
        }
    }
    IrAttr shape = ir_attr_dims(IR_ATTR_SHAPE, &to);
    return gen_build(m, IR_OP_RESHAPE, 1, &x, 1, &shape);
}

static IrValue *make_slice(Gen *m) {
    IrValue *x = gen_pick(m);
    IrShape to = x->type.shape;
    int64_t start[IR_MAX_RANK] = {0}, step[IR_MAX_RANK];
    for (int i = 0; i < gen_rank(x); i++) {
        step[i] = 1;
        if (to.dim[i].n || to.dim[i].c < 2 || gen_chance(m, 50))
            continue;
        start[i] = (int64_t)gen_draw(m, (uint64_t)to.dim[i].c);
        step[i] = (int64_t[]){1, 1, 2, 3, -1, -2}[gen_draw(m, 6)];
        int64_t room = step[i] > 0 ? (to.dim[i].c - 1 - start[i]) / step[i] : start[i] / -step[i];
        to.dim[i] = ir_dim(gen_chance(m, 3) ? 0 : gen_int(m, 1, room + 1));
    }
    IrAttr attrs[] = {gen_ints(m, IR_ATTR_START, gen_rank(x), start),
                      gen_ints(m, IR_ATTR_STEP, gen_rank(x), step),
                      ir_attr_dims(IR_ATTR_SHAPE, &to)};
    return gen_build(m, IR_OP_SLICE, 1, &x, 3, attrs);
}

// Borders that grow and shrink on one axis and on different ones.
static IrValue *make_pad(Gen *m) {
    static const char *const modes[] = {"constant", "constant", "edge", "reflect"};
    IrValue *x = gen_pick(m);
    int r = gen_rank(x);
    int64_t pad[2 * IR_MAX_RANK] = {0};
    for (int i = 0; i < r; i++) {
        if (gen_chance(m, i < 2 ? 20 : 70)) {
            pad[i] = gen_int(m, -2, 2);
            pad[r + i] = gen_int(m, -2, 2);
        }
    }
    static const double values[] = {0, 0, 0, 2, -1};
    IrAttr attrs[] = {gen_ints(m, IR_ATTR_PAD, 2 * r, pad),
                      ir_attr_s(IR_ATTR_MODE, modes[gen_draw(m, 4)]),
                      ir_attr_f(IR_ATTR_VALUE, values[gen_draw(m, is_unsigned(x) ? 4 : 5)])};
    return gen_build(m, IR_OP_PAD, 1, &x, 3, attrs);
}

// Zeros around an image, as models spell the pads of what comes next.
static IrValue *make_padded_window(Gen *m) {
    IrValue *x = pick_image(m);
    int64_t pad[8] = {0, 0, gen_int(m, 0, 2), gen_int(m, 0, 2),
                      0, 0, gen_int(m, 0, 2), gen_int(m, 0, 2)};
    IrAttr attrs[] = {gen_ints(m, IR_ATTR_PAD, 8, pad)};
    IrValue *y = x ? gen_build(m, IR_OP_PAD, 1, &x, 1, attrs) : NULL;
    if (!y || m->n == GEN_VALUES)
        return y;
    m->pool[m->n++] = y;
    y = gen_chance(m, 60) ? make_conv(m) : make_pool(m);
    m->n--;
    return y;
}

static IrValue *make_concat(Gen *m) {
    IrValue *in[5] = {gen_pick(m)};
    int n = 1, r = gen_rank(in[0]);
    for (int i = 0; i < 10 && n < 4; i++) {
        in[n] = gen_pick(m);
        n += gen_rank(in[n]) == r && in[n]->type.dtype == in[0]->type.dtype;
    }
    if (r == 0)
        return NULL;
    int64_t axis = r > 1 && gen_chance(m, 65) ? 1 : (int64_t)gen_draw(m, (uint64_t)r);
    for (int i = 1; i < n;) { // those that fit
        IrShape a = in[0]->type.shape, b = in[i]->type.shape;
        b.dim[axis] = a.dim[axis];
        if (ir_shape_eq(&a, &b))
            i++;
        else
            in[i] = in[--n];
    }
    IrAttr at = ir_attr_i(IR_ATTR_AXIS, axis);
    return gen_build(m, IR_OP_CONCAT, n, in, 1, &at);
}

static IrValue *make_expand(Gen *m) {
    IrValue *x = gen_pick(m);
    IrShape to = x->type.shape;
    for (int i = 0; i < to.rank; i++)
        if (ir_dim_is(to.dim[i], 1) && gen_chance(m, 70))
            to.dim[i] = ir_dim(gen_int(m, 1, 4));
    if (to.rank < 5 && gen_chance(m, 30)) {
        for (int i = to.rank++; i > 0; i--)
            to.dim[i] = to.dim[i - 1];
        to.dim[0] = ir_dim(gen_int(m, 1, 3));
    }
    IrAttr shape = ir_attr_dims(IR_ATTR_SHAPE, &to);
    return gen_build(m, IR_OP_EXPAND, 1, &x, 1, &shape);
}

// Indices: constants, or computed and clipped to the axis.
static IrValue *make_gather(Gen *m) {
    IrValue *x = gen_pick(m), *index = NULL;
    if (gen_rank(x) < 1)
        return NULL;
    int axis = (int)gen_draw(m, (uint64_t)gen_rank(x));
    int64_t size = gen_dim(x, axis), n = gen_int(m, 0, 4);
    IrDtype t = gen_chance(m, 50) ? IR_I64 : IR_I32;
    if (x->type.shape.dim[axis].n || size < 1)
        return NULL;
    IrValue *from = gen_chance(m, 50) ? gen_pick_of(m, t, 0, 3) : NULL;
    if (from) {
        IrAttr range[] = {ir_attr_f(IR_ATTR_MIN, gen_chance(m, 50) ? 0 : (double)-size),
                          ir_attr_f(IR_ATTR_MAX, (double)(size - 1))};
        index = gen_build(m, IR_OP_CLIP, 1, &from, 2, range);
    } else {
        IrType type = {.dtype = t, .shape = ir_shape_of((int)gen_draw(m, 2), &n)};
        IrTensor data = ir_tensor_new(m->prog->arena, &type, 1);
        for (int64_t i = 0; i < ir_tensor_elems(&data); i++)
            ir_tensor_set(&data, i, (double)gen_int(m, -size, size - 1));
        index = ir_const_value(m->graph, ir_const_new(m->prog, NULL, type, data.data));
    }
    IrAttr at = ir_attr_i(IR_ATTR_AXIS, axis);
    return gen_build(m, IR_OP_GATHER, 2, (IrValue *[]){x, index}, 1, &at);
}

// ShuffleNet's reshape, transpose, reshape.
static IrValue *make_shuffle(Gen *m) {
    IrValue *x = pick_image(m);
    if (!x || gen_dim(x, 1) % 2 || gen_dim(x, 1) == 0)
        return NULL;
    IrShape s = x->type.shape,
            split = {5, {s.dim[0], ir_dim(2), ir_dim(s.dim[1].c / 2), s.dim[2], s.dim[3]}};
    IrAttr a = ir_attr_dims(IR_ATTR_SHAPE, &split), b = ir_attr_dims(IR_ATTR_SHAPE, &s);
    IrAttr perm = gen_ints(m, IR_ATTR_PERM, 5, (int64_t[]){0, 2, 1, 3, 4});
    IrValue *y = gen_build(m, IR_OP_RESHAPE, 1, &x, 1, &a);
    y = y ? gen_build(m, IR_OP_TRANSPOSE, 1, &y, 1, &perm) : NULL;
    return y ? gen_build(m, IR_OP_RESHAPE, 1, &y, 1, &b) : NULL;
}

const GenMaker gen_makers[] = {
    {"unary", 8, 9, make_unary},
    {"clips", 5, 4, make_clips},
    {"binary", 10, 14, make_binary},
    {"residual", 7, 3, make_residual},
    {"where", 2, 4, make_where},
    {"cast", 3, 7, make_cast},
    {"positive", 3, 3, make_positive},
    {"silu", 2, 1, make_silu},
    {"constants", 2, 2, make_constants},
    {"conv", 12, 0, make_conv},
    {"conv block", 8, 0, make_conv_block},
    {"pool", 8, 1, make_pool},
    {"batch_norm", 4, 1, make_batch_norm},
    {"matmul", 4, 7, make_matmul},
    {"gram", 1, 3, make_gram},
    {"softmax", 2, 4, make_softmax},
    {"reduce", 6, 10, make_reduce},
    {"transpose", 6, 5, make_transpose},
    {"reshape", 5, 6, make_reshape},
    {"slice", 5, 6, make_slice},
    {"pad", 5, 6, make_pad},
    {"padded window", 4, 0, make_padded_window},
    {"concat", 7, 6, make_concat},
    {"expand", 2, 4, make_expand},
    {"gather", 2, 4, make_gather},
    {"shuffle", 3, 0, make_shuffle},
    {"resize", 4, 1, gen_make_resize},
    {"quantized", 4, 4, gen_make_quantized},
    {"integer conv", 3, 0, gen_make_integer_conv},
    {"QDQ", 10, 5, gen_make_qdq},
    {"fold", 3, 4, gen_make_fold},
    {"nothing", 1, 3, gen_make_nothing},
    {"position", 2, 3, gen_make_position},
    {"any", 8, 10, gen_make_any},
};
const int gen_n_makers = COUNT(gen_makers);
