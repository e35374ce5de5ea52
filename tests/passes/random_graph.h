// Random valid graphs for tests of the passes, included by the tests that want them: the same seed
// gives the same graph, with the shapes, constants and neighbourhoods that passes look for, and
// values that float32 compares well. A pool of values, and a table of makers that each try one node
// (or a pattern) on values drawn from it. A maker whose draw does not fit makes nothing.

#ifndef TESTS_RANDOM_GRAPH_H
#define TESTS_RANDOM_GRAPH_H

#include "ir/ir.h"

enum { POOL = 256 };

typedef struct Maker {
    IrBuilder b;
    IrProgram *prog;
    uint64_t state;
    int n;
    IrValue *pool[POOL];
} Maker;

static uint64_t draw(Maker *m, uint64_t below) {
    m->state = m->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (m->state >> 33) % below;
}

static bool chance(Maker *m, int percent) {
    return draw(m, 100) < (uint64_t)percent;
}

// Mostly a recent value: graphs get deep and keep many single readers.
static IrValue *pick(Maker *m) {
    uint64_t back = draw(m, 100) < 70 ? draw(m, 3) : draw(m, (uint64_t)m->n);
    back = back < (uint64_t)m->n ? back : 0;
    return m->pool[m->n - 1 - (int)back];
}

static void keep(Maker *m, IrValue *v) {
    if (v && m->n < POOL) {
        m->pool[m->n++] = v;
    }
}

static IrValue *make_const(Maker *m, int rank, const int64_t *dims, bool positive) {
    IrType t = {.dtype = IR_F32, .shape = ir_shape_of(rank, dims)};
    IrConst *c;
    if (positive || chance(m, 40)) {
        static const double values[] = {0.5, 1, 2, 0.25, 1.5, 3};
        static const double signed_values[] = {0, 1, -1, 0.5, 2, 6};
        c = ir_const_splat(m->prog, NULL, t,
                           positive ? values[draw(m, 6)] : signed_values[draw(m, 6)]);
    } else {
        c = ir_const_rand(m->prog, NULL, t, draw(m, 1000));
    }
    c->trainable = chance(m, 4);
    return ir_const_value(m->b.graph, c);
}

static bool is_4d(const IrValue *v) {
    const IrShape *s = &v->type.shape;
    return s->rank == 4 && s->dim[1].n == 0 && s->dim[2].n == 0 && s->dim[3].n == 0;
}

static int64_t dim(const IrValue *v, int i) {
    return v->type.shape.dim[i].c;
}

// ---------------------------------------------------------------- makers

static IrValue *make_unary(Maker *m) {
    static const IrOp ops[] = {IR_OP_RELU, IR_OP_RELU,       IR_OP_RELU,       IR_OP_SIGMOID,
                               IR_OP_TANH, IR_OP_LEAKY_RELU, IR_OP_HARD_SWISH, IR_OP_HARD_SIGMOID,
                               IR_OP_NEG,  IR_OP_ABS,        IR_OP_ELU,        IR_OP_COPY};
    return ir_build1(&m->b, ops[draw(m, sizeof ops / sizeof *ops)], pick(m));
}

static IrValue *make_clip(Maker *m) {
    IrValue *x = pick(m);
    double lo = (double)draw(m, 4) - 2;
    double hi = lo + (double)draw(m, 6) - 1;
    IrAttr attrs[] = {ir_attr_f(IR_ATTR_MIN, lo), ir_attr_f(IR_ATTR_MAX, hi)};
    IrValue *y = ir_build(&m->b, IR_OP_CLIP, 1, &x, 2, attrs);
    return y && chance(m, 30) ? ir_build1(&m->b, IR_OP_RELU, y) : y;
}

static IrValue *make_with_const(Maker *m) {
    static const IrOp ops[] = {IR_OP_ADD,     IR_OP_SUB,     IR_OP_MUL,   IR_OP_DIV,
                               IR_OP_MAXIMUM, IR_OP_MINIMUM, IR_OP_PRELU, IR_OP_POW};
    IrValue *x = pick(m);
    IrOp op = ops[draw(m, 8)];
    int64_t c = is_4d(x) ? dim(x, 1) : 1, dims[] = {1, c, 1, 1};
    int skip = (int)draw(m, 3); // [1,C,1,1], [C,1,1] or a scalar
    IrValue *k = op == IR_OP_POW ? ir_build_scalar(&m->b, IR_F32, chance(m, 50) ? 2 : 1)
                 : skip == 2     ? make_const(m, 0, dims, op == IR_OP_DIV)
                                 : make_const(m, 4 - skip, dims + skip, op == IR_OP_DIV);
    bool swap = chance(m, 20) && op != IR_OP_DIV && op != IR_OP_POW && op != IR_OP_PRELU;
    return swap ? ir_build2(&m->b, op, k, x) : ir_build2(&m->b, op, x, k);
}

static IrValue *make_binary(Maker *m) {
    static const IrOp ops[] = {IR_OP_ADD, IR_OP_ADD, IR_OP_MUL, IR_OP_SUB, IR_OP_MAXIMUM};
    IrValue *x = pick(m), *y = NULL;
    for (int i = 0; i < 8; i++) {
        y = pick(m);
        if (y != x && ir_type_eq(&x->type, &y->type)) {
            break;
        }
    }
    if (chance(m, 70) && !ir_type_eq(&x->type, &y->type)) {
        return NULL;
    }
    return ir_build2(&m->b, ops[draw(m, 5)], x, y);
}

static IrValue *make_silu(Maker *m) {
    IrValue *x = pick(m);
    return ir_build2(&m->b, IR_OP_MUL, x, ir_build1(&m->b, IR_OP_SIGMOID, x));
}

static IrValue *make_conv(Maker *m) {
    IrValue *x = pick(m);
    if (!is_4d(x)) {
        return NULL;
    }
    IrArena *a = m->prog->arena;
    int64_t c = dim(x, 1), k = chance(m, 60) ? 1 : 3, group = chance(m, 20) ? c : 1;
    int64_t o = group > 1 ? c : (int64_t[]){4, 8, 16, 5}[draw(m, 4)];
    int64_t p = k / 2 * (int64_t)draw(m, 2), s = chance(m, 20) ? 2 : 1;
    int64_t pads[] = {p, p, p, p}, strides[] = {s, s};
    IrValue *in[3] = {x, make_const(m, 4, (int64_t[]){o, c / group, k, k}, false)};
    in[2] = chance(m, 50) ? make_const(m, 1, &o, false) : NULL;
    IrAttr attrs[] = {ir_attr_i(IR_ATTR_GROUP, group), ir_attr_ints(a, IR_ATTR_PAD, 4, pads),
                      ir_attr_ints(a, IR_ATTR_STRIDE, 2, strides)};
    IrValue *y = ir_build(&m->b, IR_OP_CONV, in[2] ? 3 : 2, in, 3, attrs);
    double scale = 1.0 / (double)(c / group * k);
    return y ? ir_build2(&m->b, IR_OP_MUL, y, ir_build_scalar(&m->b, IR_F32, scale)) : NULL;
}

// Several 1x1 convolutions on one value, each with its relu and a reader that is no concat.
static IrValue *make_siblings(Maker *m) {
    IrValue *x = pick(m);
    if (!is_4d(x)) {
        return NULL;
    }
    for (int i = 0; i < 3; i++) {
        int64_t o = (int64_t[]){8, 16, 5}[draw(m, 3)];
        IrValue *w = make_const(m, 4, (int64_t[]){o, dim(x, 1), 1, 1}, false);
        IrValue *y = ir_build2(&m->b, IR_OP_CONV, x, w);
        y = y && chance(m, 80) ? ir_build1(&m->b, IR_OP_RELU, y) : y;
        keep(m, y ? ir_build1(&m->b, IR_OP_TANH, y) : NULL);
    }
    return NULL;
}

static IrValue *make_batch_norm(Maker *m) {
    IrValue *x = pick(m);
    if (x->type.shape.rank < 2 || x->type.shape.dim[1].n) {
        return NULL;
    }
    int64_t c = dim(x, 1);
    IrValue *in[] = {x, make_const(m, 1, &c, false), make_const(m, 1, &c, false),
                     make_const(m, 1, &c, false), make_const(m, 1, &c, true)};
    IrAttr eps = ir_attr_f(IR_ATTR_EPS, 1e-3);
    return ir_build(&m->b, IR_OP_BATCH_NORM, 5, in, 1, &eps);
}

static IrValue *make_transpose(Maker *m) {
    static const int64_t perms[][4] = {{0, 2, 3, 1}, {0, 3, 1, 2}, {0, 1, 3, 2}};
    IrValue *x = pick(m);
    return x->type.shape.rank == 4 ? ir_build_transpose(&m->b, x, 4, perms[draw(m, 3)]) : NULL;
}

static IrValue *make_reshape(Maker *m) {
    IrValue *x = pick(m);
    const IrShape *s = &x->type.shape;
    IrShape to = {.rank = 2};
    IrDim rest = ir_dim(1);
    for (int i = 1; i < s->rank; i++) {
        if (!ir_dim_mul(rest, s->dim[i], &rest)) {
            return NULL;
        }
    }
    if (s->rank < 1) {
        return NULL;
    }
    to.dim[0] = s->dim[0];
    to.dim[1] = rest;
    if (chance(m, 50) && rest.n == 0 && rest.c % 4 == 0) {
        to = (IrShape){4, {s->dim[0], ir_dim(4), ir_dim(rest.c / 4), ir_dim(1)}};
    }
    return ir_build_reshape(&m->b, x, &to);
}

static IrValue *make_slice(Maker *m) {
    IrValue *x = pick(m);
    int rank = x->type.shape.rank;
    IrShape to = x->type.shape;
    int64_t start[IR_MAX_RANK] = {0}, step[IR_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        step[i] = 1;
    }
    if (rank > 1 && to.dim[1].n == 0 && to.dim[1].c > 1) {
        start[1] = (int64_t)draw(m, (uint64_t)to.dim[1].c);
        step[1] = chance(m, 30) ? -1 : (int64_t)draw(m, 2) + 1;
        int64_t room = step[1] > 0 ? (to.dim[1].c - 1 - start[1]) / step[1] : start[1];
        to.dim[1] = ir_dim((int64_t)draw(m, (uint64_t)room + 1) + 1);
    }
    IrArena *a = m->prog->arena;
    IrAttr attrs[] = {ir_attr_ints(a, IR_ATTR_START, rank, start),
                      ir_attr_ints(a, IR_ATTR_STEP, rank, step), ir_attr_dims(IR_ATTR_SHAPE, &to)};
    return ir_build(&m->b, IR_OP_SLICE, 1, &x, 3, attrs);
}

static IrValue *make_concat(Maker *m) {
    IrValue *in[4] = {pick(m)};
    int n = 1;
    for (int i = 0; i < 6 && n < 4; i++) {
        in[n] = pick(m);
        n += in[n]->type.shape.rank == in[0]->type.shape.rank;
    }
    IrAttr axis = ir_attr_i(IR_ATTR_AXIS, in[0]->type.shape.rank > 1);
    IrValue *y = ir_build(&m->b, IR_OP_CONCAT, n, in, 1, &axis);
    return y && y->type.shape.rank > 1 && dim(y, 1) > 64 ? NULL : y;
}

static IrValue *make_pool(Maker *m) {
    IrValue *x = pick(m);
    if (!is_4d(x)) {
        return NULL;
    }
    IrArena *a = m->prog->arena;
    int64_t k = chance(m, 20) ? dim(x, 2) : (int64_t)draw(m, 3) + 1, s = (int64_t)draw(m, 2) + 1;
    int64_t p = k > 1 && k < 4 ? (int64_t)draw(m, 2) : 0;
    IrAttr attrs[] = {ir_attr_ints(a, IR_ATTR_KERNEL, 2, (int64_t[]){k, k}),
                      ir_attr_ints(a, IR_ATTR_STRIDE, 2, (int64_t[]){s, s}),
                      ir_attr_ints(a, IR_ATTR_PAD, 4, (int64_t[]){p, p, p, p}),
                      ir_attr_i(IR_ATTR_COUNT_PAD, (int64_t)draw(m, 2))};
    bool avg = chance(m, 50);
    return ir_build(&m->b, avg ? IR_OP_AVG_POOL : IR_OP_MAX_POOL, 1, &x, avg ? 4 : 3, attrs);
}

static IrValue *make_pad(Maker *m) {
    IrValue *x = pick(m);
    if (!is_4d(x) || dim(x, 2) > 12) {
        return NULL;
    }
    int64_t pad[8] = {0, 0, (int64_t)draw(m, 2), (int64_t)draw(m, 2),
                      0, 0, (int64_t)draw(m, 2), (int64_t)draw(m, 2)};
    IrAttr attrs[] = {ir_attr_ints(m->prog->arena, IR_ATTR_PAD, 8, pad),
                      ir_attr_s(IR_ATTR_MODE, chance(m, 80) ? "constant" : "edge"),
                      ir_attr_f(IR_ATTR_VALUE, chance(m, 80) ? 0 : -1)};
    keep(m, ir_build(&m->b, IR_OP_PAD, 1, &x, 3, attrs));
    return chance(m, 50) ? make_conv(m) : make_pool(m);
}

static IrValue *make_reduce(Maker *m) {
    static const int64_t axes[][2] = {{2, 3}, {1, 2}, {1, 3}};
    IrValue *x = pick(m);
    if (!is_4d(x)) {
        return NULL;
    }
    IrAttr attrs[] = {ir_attr_ints(m->prog->arena, IR_ATTR_AXES, 2, axes[draw(m, 3)]),
                      ir_attr_i(IR_ATTR_KEEPDIMS, (int64_t)draw(m, 2))};
    return ir_build(&m->b, chance(m, 70) ? IR_OP_REDUCE_MEAN : IR_OP_REDUCE_MAX, 1, &x, 2, attrs);
}

static IrValue *make_expand(Maker *m) {
    IrValue *x = pick(m);
    IrShape to = x->type.shape;
    for (int i = 0; i < to.rank; i++) {
        to.dim[i] = ir_dim_is(to.dim[i], 1) ? ir_dim(3) : to.dim[i];
    }
    IrAttr shape = ir_attr_dims(IR_ATTR_SHAPE, &to);
    return ir_build(&m->b, IR_OP_EXPAND, 1, &x, 1, &shape);
}

static IrValue *make_matmul(Maker *m) {
    IrValue *x = pick(m);
    const IrShape *s = &x->type.shape;
    if (s->rank < 2 || s->dim[s->rank - 1].n || s->dim[s->rank - 1].c > 512) {
        return NULL;
    }
    int64_t k = s->dim[s->rank - 1].c, o = 6;
    IrValue *w = make_const(m, 2, (int64_t[]){k, o}, false);
    IrValue *y = ir_build2(&m->b, IR_OP_MATMUL, x, w);
    y = y ? ir_build2(&m->b, IR_OP_MUL, y, ir_build_scalar(&m->b, IR_F32, 1.0 / (double)k)) : NULL;
    return y && chance(m, 60) ? ir_build2(&m->b, IR_OP_ADD, y, make_const(m, 1, &o, false)) : y;
}

static IrValue *make_softmax(Maker *m) {
    IrValue *x = pick(m);
    if (x->type.shape.rank < 2) {
        return NULL;
    }
    IrAttr axis = ir_attr_i(IR_ATTR_AXIS, 1);
    if (chance(m, 40)) {
        return ir_build(&m->b, IR_OP_SOFTMAX, 1, &x, 1, &axis);
    }
    IrAttr attrs[] = {ir_attr_ints(m->prog->arena, IR_ATTR_AXES, 1, (int64_t[]){1}),
                      ir_attr_i(IR_ATTR_KEEPDIMS, 1)};
    IrValue *max = ir_build(&m->b, IR_OP_REDUCE_MAX, 1, &x, 2, attrs);
    IrValue *e = ir_build1(&m->b, IR_OP_EXP, ir_build2(&m->b, IR_OP_SUB, x, max));
    return ir_build2(&m->b, IR_OP_DIV, e, ir_build(&m->b, IR_OP_REDUCE_SUM, 1, &e, 2, attrs));
}

static IrValue *make_gather(Maker *m) {
    IrValue *x = pick(m);
    if (x->type.shape.rank < 2 || x->type.shape.dim[1].n || dim(x, 1) < 3) {
        return NULL;
    }
    int64_t *index = ir_alloc_array(m->prog->arena, 3, sizeof *index);
    for (int i = 0; i < 3; i++) {
        index[i] = (int64_t)draw(m, 3);
    }
    int64_t n = 3;
    IrType t = {.dtype = IR_I64, .shape = ir_shape_of((int)draw(m, 2), &n)};
    IrValue *in[] = {x, ir_const_value(m->b.graph, ir_const_new(m->prog, NULL, t, index))};
    IrAttr axis = ir_attr_i(IR_ATTR_AXIS, 1);
    return ir_build(&m->b, IR_OP_GATHER, 2, in, 1, &axis);
}

static const struct {
    int weight;
    IrValue *(*make)(Maker *m);
} makers[] = {
    {10, make_unary},     {4, make_clip},    {16, make_with_const}, {10, make_binary},
    {3, make_silu},       {18, make_conv},   {4, make_siblings},    {8, make_batch_norm},
    {10, make_transpose}, {6, make_reshape}, {5, make_slice},       {5, make_concat},
    {5, make_pad},        {6, make_pool},    {4, make_reduce},      {3, make_expand},
    {5, make_matmul},     {2, make_softmax}, {2, make_gather},
};

static IrValue *make_one(Maker *m) {
    int total = 0, n = sizeof makers / sizeof *makers;
    for (int i = 0; i < n; i++) {
        total += makers[i].weight;
    }
    int at = (int)draw(m, (uint64_t)total), i = 0;
    while (at >= makers[i].weight) {
        at -= makers[i++].weight;
    }
    return makers[i].make(m);
}

// Keeps an image's worth of elements at most, so that evaluation stays quick.
static bool is_small(const IrValue *v) {
    IrDim n;
    return v && ir_shape_elems(&v->type.shape, &n) && n.c + n.n <= 20000 && v->type.dtype == IR_F32;
}

// A program with one graph `infer` of about `nodes` nodes over [N,C,H,W] inputs.
static IrProgram *random_graph(IrArena *a, uint64_t seed, int nodes) {
    Maker m = {.prog = ir_program_new(a, "random"), .state = seed * 977 + 13};
    IrGraph *g = ir_graph_new(m.prog, "infer");
    for (int i = 0; i < 2; i++) {
        IrType t = {.dtype = IR_F32, .shape = {4, {{0, 1}, {8, 0}, {6, 0}, {6, 0}}}};
        t.shape.dim[1] = ir_dim(i && draw(&m, 2) ? 4 : 8);
        keep(&m, ir_input(g, i ? "x1" : "x0", t));
    }
    for (int i = 0; g->n_nodes < nodes && i < 20 * nodes; i++) {
        m.b = (IrBuilder){.graph = g, .name = ir_sprintf(a, "n%d", i)};
        IrValue *v = make_one(&m);
        if (is_small(v)) {
            keep(&m, v);
        }
    }
    for (int i = m.n - 1; i >= 2 || g->n_outputs == 0; i--) { // what nobody reads, and a few others
        IrValue *v = m.pool[i];
        if (g->n_outputs == 0 || (g->n_outputs < 8 && (v->n_uses == 0 || chance(&m, 5)))) {
            ir_output(g, v);
        }
    }
    return m.prog;
}

#endif
