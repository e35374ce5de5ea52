// swap_pool: average pooling and a pointwise convolution change places where that is less work.
//
//   %p = avg_pool %x {stride=[1,1]}              %c = conv %x, %w
//   %y = conv %p, %w, %b                   ->    %p = avg_pool %c {stride=[1,1]}
//                                                %y = add %p, %b'
//
//   %c = conv %x, %w, %b                         %p = avg_pool %x {stride=[2,2]}
//   %y = avg_pool %c {stride=[2,2]}        ->    %y = conv %p, %w, %b
//
// Pooling averages over pixels, a 1x1 convolution sums over channels: both are linear, so either
// may come first. The first form is the pool branch of an Inception module: it then pools O
// channels instead of I. The second is a DenseNet transition: it then convolves a quarter of the
// pixels. Where zero padding counts in the average, a bias must stay below the pool.
//
// One reader each; the convolution has group 1, stride 1, no padding and no epilogue. Its weights
// may be trainable.

#include "ir/conv.h"
#include "passes/util.h"

enum { FEWER_CHANNELS = 2 }; // I / O from which pooling afterwards pays for the add below it

static bool is_pointwise(const IrNode *n) {
    if (!n || n->op != IR_OP_CONV || ir_body(n, IR_ATTR_THEN).n || ir_body(n, IR_ATTR_PRE).n ||
        n->out[0]->type.dtype != IR_F32) {
        return false;
    }
    IrConv c = ir_conv(n);
    return c.flat && c.w.group == 1;
}

// Every window's factors add up to 1, so that a constant passes through.
static bool keeps_constants(const IrNode *pool) {
    IrWindow w = ir_window(pool);
    return !w.count_pad || (!w.pt && !w.pl && !w.pb && !w.pr && !w.ceil);
}

static bool same_pixels(const IrValue *x, const IrValue *y) {
    return ir_dim_eq(x->type.shape.dim[2], y->type.shape.dim[2]) &&
           ir_dim_eq(x->type.shape.dim[3], y->type.shape.dim[3]);
}

static int64_t pixels(const IrValue *v) {
    const IrDim *d = v->type.shape.dim;
    return d[2].n || d[3].n || d[2].c > INT32_MAX || d[3].c > INT32_MAX ? -1 : d[2].c * d[3].c;
}

static IrValue *build_conv(IrBuilder *b, const IrNode *conv, IrValue *x, IrValue *bias) {
    b->name = conv->name;
    b->src_op = conv->src_op;
    return pass_rebuild(b, conv, bias ? 3 : 2, (IrValue *[]){x, ir_in(conv, 1), bias});
}

static IrValue *build_pool(IrBuilder *b, const IrNode *pool, IrValue *x) {
    b->name = pool->name;
    b->src_op = pool->src_op;
    return pass_rebuild(b, pool, 1, &x);
}

// conv(avg_pool x) with fewer channels below: the convolution goes first.
static bool lift_conv(PassContext *ctx, IrNode *conv) {
    IrNode *pool = pass_def(ir_in(conv, 0), IR_OP_AVG_POOL);
    if (!pool || ir_body(pool, IR_ATTR_THEN).n || !is_pointwise(conv) ||
        ir_only_user(pool->out[0]) != conv) {
        return false;
    }
    IrValue *x = ir_in(pool, 0), *bias = ir_in(conv, 2);
    const IrShape *w = &ir_in(conv, 1)->type.shape;
    bool below = bias && !keeps_constants(pool);
    if (!same_pixels(x, pool->out[0]) || x->type.dtype != IR_F32 ||
        w->dim[0].c * FEWER_CHANNELS > w->dim[1].c || (below && !pass_is_frozen(bias))) {
        return false;
    }
    IrBuilder b = pass_before(conv);
    IrValue *y = build_pool(&b, pool, build_conv(&b, conv, x, below ? NULL : bias));
    if (below) {
        IrShape shape = ir_shape_of(4, (int64_t[]){1, w->dim[0].c, 1, 1});
        b.name = conv->name;
        y = ir_build2(&b, IR_OP_ADD, y, pass_const_reshaped(ctx, conv->graph, bias, &shape));
    }
    pass_forward(conv, y);
    return true;
}

// avg_pool(conv x) with fewer pixels below, and no more channels to pool: the pool goes first.
static bool lift_pool(IrNode *pool) {
    IrNode *conv = pool->op == IR_OP_AVG_POOL ? pass_def(ir_in(pool, 0), IR_OP_CONV) : NULL;
    if (!conv || ir_body(pool, IR_ATTR_THEN).n || !is_pointwise(conv) ||
        ir_only_user(conv->out[0]) != pool) {
        return false;
    }
    int64_t before = pixels(conv->out[0]), after = pixels(pool->out[0]);
    if (before < 0 || after < 0 || 2 * after > before ||
        (ir_in(conv, 2) && !keeps_constants(pool))) {
        return false;
    }
    IrBuilder b = pass_before(pool);
    IrValue *x = build_pool(&b, pool, ir_in(conv, 0));
    pass_forward(pool, build_conv(&b, conv, x, ir_in(conv, 2)));
    return true;
}

PassResult pass_swap_pool(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        r.changes += lift_conv(ctx, n) || lift_pool(n);
    }
    if (r.changes) {
        pass_dce(ctx, g);
    }
    return r;
}
