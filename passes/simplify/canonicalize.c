// canonicalize: one spelling per idea, so that later passes match fewer forms.
//
//   %b = add %zero, %a           ->  %a
//   %c = clip(relu(%a), ..6)     ->  %c = clip %a {min=0, max=6}
//   %d = div %a, splat(4)        ->  %d = mul %a, splat(0.25)
//   %e = avg_pool %a {kernel = all of it}  ->  %e = reduce_mean %a {axes=[2,3], keepdims=1}
//   %f = conv %e, %w             ->  matmul of vectors, where no maps follow
//
// A table of local rules, one walk over the nodes; the manager runs the pass again until nothing
// changes. Every rule keeps the value exactly (the sign of a zero aside) and x*0 stays: x may be
// NaN. Rules about moving data are in simplify/canonicalize_move.c.

#include "passes/simplify/canonicalize.h"
#include <math.h>
#include <stdlib.h>

// Constants of commutative ops stand second.
static bool order_operands(PassContext *ctx, IrNode *n) {
    (void)ctx;
    if (!(ir_op_info(n->op)->flags & IR_FLAG_C) || n->n_in != 2) {
        return false;
    }
    IrValue *x = ir_in(n, 0), *y = ir_in(n, 1);
    if (!x->konst || y->konst) {
        return false;
    }
    ir_set_in(n, 0, y);
    ir_set_in(n, 1, x);
    return true;
}

static const struct {
    IrOp op;
    double neutral;
} neutrals[] = {
    {IR_OP_ADD, 0}, {IR_OP_SUB, 0}, {IR_OP_MUL, 1}, {IR_OP_DIV, 1}, {IR_OP_POW, 1},
};

// x+0, x-0, x*1, x/1, x^1 -> x
static bool drop_neutral(PassContext *ctx, IrNode *n) {
    for (size_t i = 0; i < sizeof neutrals / sizeof *neutrals; i++) {
        if (neutrals[i].op == n->op && ir_type_eq(&ir_in(n, 0)->type, &n->out[0]->type) &&
            pass_const_all(ctx, ir_in(n, 1), neutrals[i].neutral)) {
            pass_forward(n, ir_in(n, 0));
            return true;
        }
    }
    return false;
}

// A constant with fn applied to each element, or NULL when it is not a frozen float32 one or fn
// fails.
static IrValue *map_const(PassContext *ctx, IrNode *n, IrValue *v, bool (*fn)(double *x)) {
    int64_t count = pass_elems(&v->type);
    if (!pass_is_frozen(v) || v->type.dtype != IR_F32 || count < 0) {
        return NULL;
    }
    for (int64_t i = 0; i < count; i++) {
        double x = pass_elem(ctx, v, i);
        if (!fn(&x)) {
            return NULL;
        }
    }
    int64_t dims[IR_MAX_RANK];
    for (int i = 0; i < v->type.shape.rank; i++) {
        dims[i] = v->type.shape.dim[i].c;
    }
    float *data;
    IrValue *out = pass_const_f32(ctx, n->graph, n->name, v->type.shape.rank, dims, &data);
    for (int64_t i = 0; i < count; i++) {
        double x = pass_elem(ctx, v, i);
        fn(&x);
        data[i] = (float)x;
    }
    return out;
}

static bool negate(double *x) {
    *x = -*x;
    return true;
}

static bool invert_power_of_two(double *x) {
    int exponent;
    if (!isfinite(*x) || fabs(frexp(*x, &exponent)) != 0.5 || abs(exponent) > 120) {
        return false;
    }
    *x = 1 / *x;
    return true;
}

static bool rewrite_with_const(PassContext *ctx, IrNode *n, IrOp op, bool (*fn)(double *x)) {
    IrValue *c = map_const(ctx, n, ir_in(n, 1), fn);
    if (!c) {
        return false;
    }
    IrBuilder b = pass_before(n);
    pass_forward(n, ir_build2(&b, op, ir_in(n, 0), c));
    return true;
}

// x - c -> x + -c
static bool sub_to_add(PassContext *ctx, IrNode *n) {
    return rewrite_with_const(ctx, n, IR_OP_ADD, negate);
}

// x / 2^k -> x * 2^-k; other divisors would round differently
static bool div_to_mul(PassContext *ctx, IrNode *n) {
    return rewrite_with_const(ctx, n, IR_OP_MUL, invert_power_of_two);
}

// x^2 -> x*x
static bool square_to_mul(PassContext *ctx, IrNode *n) {
    IrValue *x = ir_in(n, 0);
    if (!pass_const_all(ctx, ir_in(n, 1), 2) || !ir_type_eq(&x->type, &n->out[0]->type)) {
        return false;
    }
    IrBuilder b = pass_before(n);
    pass_forward(n, ir_build2(&b, IR_OP_MUL, x, x));
    return true;
}

// -(-x), not not x -> x
static bool drop_involution(PassContext *ctx, IrNode *n) {
    (void)ctx;
    IrNode *inner = pass_def(ir_in(n, 0), n->op);
    if (!inner) {
        return false;
    }
    pass_forward(n, ir_in(inner, 0));
    return true;
}

static bool drop_cast(PassContext *ctx, IrNode *n) {
    (void)ctx;
    if (ir_in(n, 0)->type.dtype != n->out[0]->type.dtype) {
        return false;
    }
    pass_forward(n, ir_in(n, 0));
    return true;
}

static bool drop_copy(PassContext *ctx, IrNode *n) {
    (void)ctx;
    IrValue *x = ir_in(n, 0);
    if (n->out[0]->is_output && (!x->def || x->is_output)) {
        return false; // the output's own storage
    }
    pass_forward(n, x);
    return true;
}

static bool drop_dropout(PassContext *ctx, IrNode *n) {
    (void)ctx;
    if (ir_float(n, IR_ATTR_RATIO, 0.5) != 0) {
        return false;
    }
    pass_forward(n, ir_in(n, 0));
    return true;
}

// relu of what is never negative
static bool drop_relu(PassContext *ctx, IrNode *n) {
    (void)ctx;
    if (!pass_is_nonnegative(ir_in(n, 0))) {
        return false;
    }
    pass_forward(n, ir_in(n, 0));
    return true;
}

typedef struct Range {
    double lo, hi;
} Range;

// relu and clip as the interval they clamp to.
static bool read_range(const IrNode *n, Range *r) {
    if (n->op == IR_OP_RELU) {
        *r = (Range){0, INFINITY};
        return true;
    }
    if (n->op == IR_OP_CLIP) {
        *r = (Range){ir_float(n, IR_ATTR_MIN, -INFINITY), ir_float(n, IR_ATTR_MAX, INFINITY)};
        return r->lo <= r->hi; // the other order is constant, and NaN is neither
    }
    return false;
}

static double clamp(double x, Range r) {
    return fmin(fmax(x, r.lo), r.hi);
}

static IrValue *build_range(IrBuilder *b, IrValue *x, Range r) {
    if (r.lo == 0 && r.hi == INFINITY) {
        return ir_build1(b, IR_OP_RELU, x);
    }
    IrAttr attrs[] = {ir_attr_f(IR_ATTR_MIN, r.lo), ir_attr_f(IR_ATTR_MAX, r.hi)};
    return ir_build(b, IR_OP_CLIP, 1, &x, 2, attrs);
}

// clip(clip(x)), relu(clip(x)), clip(relu(x)) -> one clip; clip to everything -> x. The inner one
// must have no other reader: else it would be computed and kept apart anyway.
static bool merge_clamps(PassContext *ctx, IrNode *n) {
    (void)ctx;
    Range outer, inner;
    IrValue *x = ir_in(n, 0);
    if (x->type.dtype != IR_F32 || !read_range(n, &outer)) {
        return false;
    }
    if (outer.lo == -INFINITY && outer.hi == INFINITY) {
        pass_forward(n, x);
        return true;
    }
    IrBuilder b = pass_before(n);
    if (x->def && ir_only_user(x) == n && read_range(x->def, &inner)) {
        Range both = {clamp(inner.lo, outer), clamp(inner.hi, outer)};
        pass_forward(n, build_range(&b, ir_in(x->def, 0), both));
        return true;
    }
    if (n->op == IR_OP_CLIP && outer.lo == 0 && outer.hi == INFINITY) {
        pass_forward(n, build_range(&b, x, outer));
        return true;
    }
    return false;
}

// maximum(x, c), minimum(x, c) with a scalar c -> clip
static bool limit_to_clip(PassContext *ctx, IrNode *n) {
    IrValue *x = ir_in(n, 0);
    double c;
    if (x->type.dtype != IR_F32 || !ir_type_eq(&x->type, &n->out[0]->type) ||
        !pass_scalar(ctx, ir_in(n, 1), &c) || isnan(c)) {
        return false;
    }
    Range r = n->op == IR_OP_MAXIMUM ? (Range){c, INFINITY} : (Range){-INFINITY, c};
    IrBuilder b = pass_before(n);
    pass_forward(n, build_range(&b, x, r));
    return true;
}

// The one window of a pool with a 1x1 result holds all of the input, and what padding it holds does
// not count.
static bool covers_input(const IrNode *n, const IrWindow *w) {
    const IrShape *in = &ir_in(n, 0)->type.shape, *out = &n->out[0]->type.shape;
    if (in->dim[2].n || in->dim[3].n || !ir_dim_is(out->dim[2], 1) || !ir_dim_is(out->dim[3], 1) ||
        w->dh != 1 || w->dw != 1 || w->kh - w->pt < in->dim[2].c || w->kw - w->pl < in->dim[3].c) {
        return false;
    }
    return n->op == IR_OP_MAX_POOL || !w->count_pad ||
           (in->dim[2].c == w->kh && in->dim[3].c == w->kw);
}

// A pool of one window over everything is a reduction, one of 1x1 windows nothing.
static bool pool_to_reduce(PassContext *ctx, IrNode *n) {
    (void)ctx;
    IrValue *x = ir_in(n, 0);
    IrWindow w = ir_window(n);
    if (x->type.shape.rank != 4 || pass_elems(&x->type) == 0 || ir_body(n, IR_ATTR_THEN).n ||
        x->type.dtype != n->out[0]->type.dtype) {
        return false;
    }
    if (w.kh == 1 && w.kw == 1 && w.sh == 1 && w.sw == 1 &&
        ir_shape_eq(&x->type.shape, &n->out[0]->type.shape)) {
        pass_forward(n, x);
        return true;
    }
    if (!covers_input(n, &w)) {
        return false;
    }
    const int64_t axes[] = {2, 3};
    IrAttr attrs[] = {ir_attr_ints(n->graph->prog->arena, IR_ATTR_AXES, 2, axes),
                      ir_attr_i(IR_ATTR_KEEPDIMS, 1)};
    IrOp op = n->op == IR_OP_MAX_POOL ? IR_OP_REDUCE_MAX : IR_OP_REDUCE_MEAN;
    IrBuilder b = pass_before(n);
    pass_forward(n, ir_build(&b, op, 1, &x, 2, attrs));
    return true;
}

// A reduction over axes of size 1 only is a reshape.
static bool reduce_to_reshape(PassContext *ctx, IrNode *n) {
    (void)ctx;
    if (!pass_is_reduce(n) || ir_body(n, IR_ATTR_THEN).n) {
        return false;
    }
    IrValue *x = ir_in(n, 0);
    IrInts axes = ir_ints(n, IR_ATTR_AXES);
    if (x->type.dtype != n->out[0]->type.dtype) {
        return false;
    }
    for (int i = 0; i < axes.n; i++) {
        if (!ir_dim_is(x->type.shape.dim[axes.v[i]], 1)) {
            return false;
        }
    }
    if (axes.n == 0 && !ir_shape_eq(&x->type.shape, &n->out[0]->type.shape)) {
        return false;
    }
    IrBuilder b = pass_before(n);
    pass_forward(n, ir_build_reshape(&b, x, &n->out[0]->type.shape));
    return true;
}

// v, after elementwise steps of its own shape, ends the network: an output, or no longer a map.
static bool ends_maps(const IrValue *v) {
    while (!v->is_output) {
        const IrNode *user = ir_only_user(v);
        if (!user || user->op == IR_OP_RESHAPE || user->op == IR_OP_SOFTMAX) {
            return user != NULL;
        }
        if (!(ir_op_info(user->op)->flags & IR_FLAG_E) ||
            !ir_shape_eq(&user->out[0]->type.shape, &v->type.shape)) {
            return false;
        }
        v = user->out[0];
    }
    return true;
}

// A classifier spelled as a 1x1 convolution of a global pool: images share its weights as rows of a
// product do, and the pool above can become part of it. The gates of squeeze-and-excitation, which
// go back to maps, stay convolutions.
static bool conv_to_matmul(PassContext *ctx, IrNode *n) {
    const IrShape *x = &ir_in(n, 0)->type.shape, *y = &n->out[0]->type.shape;
    IrValue *w = ir_in(n, 1), *bias = ir_in(n, 2);
    const IrNode *pool = ir_in(n, 0)->def;
    if (!pool || !pass_is_reduce(pool) || x->rank != 4 || !ir_dim_is(x->dim[2], 1) ||
        !ir_dim_is(x->dim[3], 1) || !ir_dim_is(y->dim[2], 1) || !ir_dim_is(y->dim[3], 1) ||
        !pass_is_frozen(w) || ir_body(n, IR_ATTR_THEN).n || ir_body(n, IR_ATTR_PRE).n ||
        ir_in(n, 0)->type.dtype != n->out[0]->type.dtype || !ends_maps(n->out[0])) {
        return false;
    }
    IrWindow win = ir_window(n);
    if (win.kh != 1 || win.kw != 1 || win.pt || win.pl || win.group != 1) {
        return false;
    }
    IrShape vector = {.rank = 2, .dim = {x->dim[0], x->dim[1]}};
    IrShape matrix = ir_shape_of(2, (int64_t[]){y->dim[1].c, x->dim[1].c});
    IrBuilder b = pass_before(n);
    IrValue *in[] = {ir_build_reshape(&b, ir_in(n, 0), &vector),
                     pass_const_reshaped(ctx, n->graph, w, &matrix), bias};
    IrAttr trans = ir_attr_i(IR_ATTR_TRANS_B, 1);
    IrValue *product = ir_build(&b, IR_OP_MATMUL, bias ? 3 : 2, in, 1, &trans);
    pass_forward(n, ir_build_reshape(&b, product, y));
    return true;
}

const CanonRule pass_canon_arith[] = {
    {IR_OP_COUNT, order_operands},    {IR_OP_COUNT, drop_neutral},
    {IR_OP_SUB, sub_to_add},          {IR_OP_DIV, div_to_mul},
    {IR_OP_POW, square_to_mul},       {IR_OP_NEG, drop_involution},
    {IR_OP_NOT, drop_involution},     {IR_OP_CAST, drop_cast},
    {IR_OP_COPY, drop_copy},          {IR_OP_DROPOUT, drop_dropout},
    {IR_OP_RELU, drop_relu},          {IR_OP_RELU, merge_clamps},
    {IR_OP_CLIP, merge_clamps},       {IR_OP_MAXIMUM, limit_to_clip},
    {IR_OP_MINIMUM, limit_to_clip},   {IR_OP_MAX_POOL, pool_to_reduce},
    {IR_OP_AVG_POOL, pool_to_reduce}, {IR_OP_COUNT, reduce_to_reshape},
    {IR_OP_CONV, conv_to_matmul},
};
const int pass_n_canon_arith = sizeof pass_canon_arith / sizeof *pass_canon_arith;

static bool apply_rules(PassContext *ctx, IrNode *n, const CanonRule *rule, int n_rules) {
    for (int i = 0; i < n_rules; i++) {
        if ((rule[i].op == n->op || rule[i].op == IR_OP_COUNT) && rule[i].apply(ctx, n)) {
            return true;
        }
    }
    return false;
}

PassResult pass_canonicalize(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        r.changes += apply_rules(ctx, n, pass_canon_arith, pass_n_canon_arith) ||
                     apply_rules(ctx, n, pass_canon_move, pass_n_canon_move);
    }
    return r;
}
