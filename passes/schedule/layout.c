// Layout: which tensors are blocked (nChwBc), and the reorders between the two worlds.
//
//   before  %y: f32[N,64,56,56] = conv %x, %w
//           %z: f32[N,64,56,56] = relu %y
//           return %z
//   after   %y: f32[N,64,56,56]{nChw16c} = conv %x, %w
//           %z: f32[N,64,56,56]{nChw16c} = relu %y
//           %o: f32[N,64,56,56] = reorder %z
//           return %o
//
// One walk in list order. An op with a row in `rules` either takes the blocked form (its rule fits
// the operands and returns true) or the plain one, like every op without a row. Convolutions whose
// type has a kernel on blocks insist on them, and of f32 pools, batch_norm and lrn; other pools,
// elementwise ops, concat, shuffle, slice, pad and reductions over [2,3] follow their operands, so
// that a reorder stands only where the two worlds meet. A tensor has at most one twin in another
// layout: all users share that reorder, and a reorder of a reorder is the original.
//
// A plain image of bytes or bf16 that a convolution reads becomes blocks of 4 channels, one or two
// words a pixel.
//
// What the code generator may rely on afterwards:
//   - of a transpose between NCHW and NHWC, and a reduction over channels, one side alone is
//   blocked,
//     in whole blocks;
//   - graph inputs, outputs, constants and what is not of rank 4 or of a type without kernels on
//     blocks (layout_operand.c) are plain;
//   - a conv reads x otherwise than in the program's blocks only when it has <= 4 channels and one
//     group: plain f32, bytes and bf16 in blocks of 4; w and bias are plain;
//   - operands of a blocked map or epilogue are: blocked of the full shape; [N|1,C,1,1], blocked or
//     a plain constant; one element, plain; in a map also [N|1,1,H,W], plain.
// A graph that already holds a blocked value was laid out before and is left alone.

#include "ir/conv.h"
#include "passes/schedule/layout.h"
#include "passes/schedule/schedule.h"
#include <string.h>

enum { PLAIN_CONV_CHANNELS = 4 };

typedef bool (*LayoutRule)(PassLayout *, IrNode *);

// ---------------------------------------------------------------- rules
// Each returns true when the result is blocked, after making the operands fit.

// Is there an algorithm for n on blocks, x's being of this many channels?
static bool has_blocked_conv(const PassLayout *l, const IrNode *n, int x_block) {
    IrConv c = ir_conv(n);
    c.x_block = x_block;
    c.y_block = l->block;
    for (int i = 0; i < IR_CONV_ALGO_COUNT; i++) {
        if (ir_conv_serves((IrConvAlgo)i, &c)) {
            return true;
        }
    }
    return false;
}

// The block in which a conv reads its plain x of a few channels.
static int few_channels_block(const PassLayout *l, const IrType *x) {
    bool pair = x->dtype == IR_BF16 && x->shape.dim[1].c <= 2;
    bool words = ir_dtype_bytes(x->dtype) == 1 || x->dtype == IR_BF16;
    return x->dtype == IR_F32 ? 0 : pair ? 2 : words ? PLAIN_CONV_CHANNELS : l->block;
}

static bool is_few(const IrNode *n) {
    const IrValue *x = ir_in(n, 0);
    IrDim channels = x->type.shape.dim[1];
    return !pass_layout_is_blocked(x) && channels.n == 0 && channels.c <= PLAIN_CONV_CHANNELS &&
           ir_int(n, IR_ATTR_GROUP, 1) == 1 && !ir_body(n, IR_ATTR_PRE).n;
}

static bool layout_conv(PassLayout *l, IrNode *n) {
    const IrValue *x = ir_in(n, 0);
    int block = is_few(n) ? few_channels_block(l, &x->type) : l->block;
    if (!pass_layout_can_block(&x->type) || !pass_layout_can_block(&n->out[0]->type) ||
        !pass_layout_fits_from(n, 3) || !has_blocked_conv(l, n, block)) {
        return false;
    }
    pass_layout_require(l, n, 0, block);
    pass_layout_require(l, n, 1, 0);
    pass_layout_require(l, n, 2, 0);
    for (int i = 3; i < n->n_in; i++) {
        const IrValue *of = i < ir_prologue(n) ? n->out[0] : ir_in(n, 0);
        pass_layout_fit(l, n, i, &of->type.shape, false);
    }
    return true;
}

// Pools: x blocked.
static bool layout_pool(PassLayout *l, IrNode *n) {
    const IrValue *x = ir_in(n, 0);
    if ((x->type.dtype != IR_F32 && !pass_layout_is_blocked(x)) ||
        !pass_layout_can_block(&ir_in(n, 0)->type) || !pass_layout_can_block(&n->out[0]->type) ||
        !pass_layout_fits_from(n, 1)) {
        return false;
    }
    pass_layout_require(l, n, 0, l->block);
    for (int i = 1; i < n->n_in; i++) {
        pass_layout_fit(l, n, i, &n->out[0]->type.shape, false);
    }
    return true;
}

// What has kernels of f32 alone.
static bool can_block_floats(const IrType *t) {
    return t->dtype == IR_F32 && pass_layout_can_block(t);
}

// batch_norm, lrn: x blocked, parameters plain.
static bool layout_blocked(PassLayout *l, IrNode *n) {
    if (!can_block_floats(&ir_in(n, 0)->type) || !can_block_floats(&n->out[0]->type)) {
        return false;
    }
    pass_layout_require(l, n, 0, l->block);
    for (int i = 1; i < n->n_in; i++) {
        pass_layout_require(l, n, i, 0);
    }
    return true;
}

// Elementwise: blocked where an operand of the full shape is.
static bool layout_map(PassLayout *l, IrNode *n) {
    const IrType *t = &n->out[0]->type;
    if (!pass_layout_can_block(t) || !pass_layout_fits_from(n, 0)) {
        return false;
    }
    bool blocked = false;
    for (int i = 0; i < n->n_in; i++) {
        const IrValue *v = ir_in(n, i);
        blocked |= pass_layout_is_blocked(v) && ir_shape_eq(&v->type.shape, &t->shape);
    }
    for (int i = 0; blocked && i < n->n_in; i++) {
        pass_layout_fit(l, n, i, &t->shape, true);
    }
    return blocked;
}

static bool layout_dropout(PassLayout *l, IrNode *n) {
    (void)l;
    return pass_layout_is_blocked(ir_in(n, 0)) && can_block_floats(&n->out[0]->type);
}

static bool layout_concat(PassLayout *l, IrNode *n) {
    bool blocked = false;
    for (int i = 0; i < n->n_in; i++) {
        blocked |= pass_layout_is_blocked(ir_in(n, i));
    }
    if (!blocked || ir_int(n, IR_ATTR_AXIS, 0) != 1) {
        return false;
    }
    for (int i = 0; i < n->n_in; i++) {
        pass_layout_require(l, n, i, l->block);
    }
    return true;
}

static bool layout_shuffle(PassLayout *l, IrNode *n) {
    bool blocked = false;
    for (int i = 0; i < n->n_in; i++) {
        blocked |= pass_layout_is_blocked(ir_in(n, i));
    }
    for (int i = 0; i < n->n_in && blocked; i++) {
        pass_layout_require(l, n, i, l->block);
    }
    return blocked;
}

static bool layout_slice(PassLayout *l, IrNode *n) {
    (void)l;
    const IrValue *x = ir_in(n, 0);
    IrInts start = ir_ints(n, IR_ATTR_START), step = ir_ints(n, IR_ATTR_STEP);
    if (!pass_layout_is_blocked(x) || start.n != 4 || step.n != 4 || start.v[0] != 0 ||
        step.v[0] != 1 || !ir_dim_eq(x->type.shape.dim[0], n->out[0]->type.shape.dim[0])) {
        return false;
    }
    for (int i = 1; i < 4; i++) {
        if (step.v[i] != 1 && step.v[i] != 2) {
            return false;
        }
    }
    return true;
}

static bool layout_pad(PassLayout *l, IrNode *n) {
    (void)l;
    IrInts pad = ir_ints(n, IR_ATTR_PAD); // begins, then ends
    return pass_layout_is_blocked(ir_in(n, 0)) && pad.n == 8 && pad.v[0] == 0 && pad.v[1] == 0 &&
           pad.v[4] == 0 && pad.v[5] == 0;
}

// Reduction without keepdims over [2,3]: made one with, [N,C,1,1], and a reshape to [N,C] behind
// it. The epilogue's operands get the two ones behind their shape, where the result has them.
static void keep_reduced_dims(PassLayout *l, IrNode *n) {
    IrValue *y = n->out[0];
    IrShape flat = y->type.shape;
    for (int i = 1; i < n->n_in; i++) {
        const IrValue *v = ir_in(n, i);
        if (v && !pass_layout_is_scalar(&v->type)) {
            pass_layout_unsqueeze(l, n, i, flat.rank - v->type.shape.rank);
        }
    }
    ir_set_attr(n, ir_attr_i(IR_ATTR_KEEPDIMS, 1));
    const char *wrong = ir_infer(n);
    if (wrong) {
        ir_bug("layout", n->name, "%s", wrong);
    }
    IrBuilder b = {.graph = l->graph, .before = n->next, .name = n->name, .src_op = n->src_op};
    IrValue *r = pass_layout_check(ir_build_reshape(&b, y, &flat), &b);
    ir_replace_uses(y, r);
    ir_set_in(r->def, 0, y);
    l->changes++;
}

static bool layout_reduce(PassLayout *l, IrNode *n) {
    const IrValue *x = ir_in(n, 0);
    IrInts axes = ir_ints(n, IR_ATTR_AXES);
    if (!pass_layout_is_blocked(x) || axes.n != 2 || axes.v[0] != 2 || axes.v[1] != 3 ||
        !pass_layout_fits_from(n, 1)) {
        return false;
    }
    if (!ir_int(n, IR_ATTR_KEEPDIMS, 1)) {
        keep_reduced_dims(l, n);
    }
    for (int i = 1; i < n->n_in; i++) {
        pass_layout_fit(l, n, i, &n->out[0]->type.shape, false);
    }
    return true;
}

// A 1x1 filter with a stride of 2 meets every other pixel: its gradient is that of stride 1 on a
// slice of x, whose pixels lie side by side. x is blocked already.
static void slice_pixels(PassLayout *l, IrNode *n) {
    static const int64_t one[] = {1, 1};
    IrWindow w = ir_window(n);
    const IrShape *dw = &n->out[0]->type.shape, *dy = &ir_in(n, 1)->type.shape;
    if (!ir_dim_is(dw->dim[2], 1) || !ir_dim_is(dw->dim[3], 1) || !pass_schedule_strides(&w)) {
        return;
    }
    IrValue *x = ir_in(n, 0);
    IrBuilder b = pass_layout_before(l, n, x);
    ir_set_in(n, 0, pass_layout_check(pass_schedule_slice(&b, x, n, dy), &b));
    ir_set_attr(n, ir_attr_ints(l->ctx->prog->arena, IR_ATTR_STRIDE, 2, one));
    l->changes++;
}

// The gradient of a convolution's weights reads blocks, but for an input as narrow as that of a
// plain conv; what it gives is a filter, plain.
static bool layout_wgrad(PassLayout *l, IrNode *n) {
    const IrValue *x = ir_in(n, 0), *dy = ir_in(n, 1);
    bool pairs = x->type.dtype == IR_BF16; // pair_images
    if (!(pairs || can_block_floats(&x->type)) || !(pairs || can_block_floats(&dy->type)) ||
        !pass_layout_can_block(&x->type) || !pass_layout_can_block(&dy->type)) {
        return false;
    }
    IrDim channels = x->type.shape.dim[1];
    bool direct = !pass_layout_is_blocked(x) && channels.n == 0 &&
                  channels.c <= PLAIN_CONV_CHANNELS && ir_int(n, IR_ATTR_GROUP, 1) == 1;
    if (!direct) {
        pass_layout_require(l, n, 0, l->block);
        slice_pixels(l, n);
    }
    pass_layout_require(l, n, 1, l->block);
    return true;
}

// batch_norm_train and its gradient: x and dy, of any float type, blocked, parameters plain; of the
// results the first is blocked.
static bool layout_batch_norm(PassLayout *l, IrNode *n) {
    int maps = n->op == IR_OP_BATCH_NORM_TRAIN ? 1 : 2, own = ir_op_info(n->op)->max_in;
    if (!pass_layout_can_block(&ir_in(n, 0)->type) || !pass_layout_fits_from(n, own)) {
        return false;
    }
    for (int i = 0; i < n->n_in; i++) {
        if (i < own) {
            pass_layout_require(l, n, i, i < maps ? l->block : 0);
        } else {
            pass_layout_fit(l, n, i, &n->out[0]->type.shape, false);
        }
    }
    return true;
}

// Gradients of pools, of any float type, and of lrn: x and dy blocked.
static bool layout_gradient(PassLayout *l, IrNode *n) {
    bool any = n->op != IR_OP_LRN_GRAD && ir_dtype_is_float(n->out[0]->type.dtype);
    if (!(any ? pass_layout_can_block : can_block_floats)(&n->out[0]->type)) {
        return false;
    }
    for (int i = 0; i < n->n_in; i++) {
        pass_layout_require(l, n, i, l->block);
    }
    return true;
}

static bool layout_interleave(PassLayout *l, IrNode *n) {
    const IrType *t = &n->out[0]->type;
    bool blocked = false, moves = ir_dtype_bytes(t->dtype) == 1 || ir_dtype_is_float(t->dtype);
    for (int i = 0; i < n->n_in && moves && pass_layout_can_block(t); i++) {
        blocked |= pass_layout_is_blocked(ir_in(n, i));
    }
    for (int i = 0; i < n->n_in && blocked; i++) {
        pass_layout_require(l, n, i, l->block);
    }
    return blocked;
}

static const LayoutRule rules[IR_OP_COUNT];

// Whether somebody reads v plain whatever its layout is.
static bool is_read_plain(const IrValue *v) {
    bool plain = v->is_output;
    for (const IrUse *u = v->uses; u; u = u->next) {
        plain |= !rules[u->node->op] && !(ir_op_info(u->node->op)->flags & IR_FLAG_E);
    }
    return plain;
}

// Bytes by weights, with an epilogue.
static bool layout_resize_bytes(PassLayout *l, IrNode *n) {
    if (!pass_layout_is_blocked(ir_in(n, 0)) || !pass_layout_can_block(&n->out[0]->type) ||
        !pass_layout_fits_from(n, 5)) {
        return false;
    }
    pass_layout_require(l, n, 0, l->block);
    for (int i = 5; i < n->n_in; i++) {
        pass_layout_fit(l, n, i, &n->out[0]->type.shape, false);
    }
    return true;
}

// Follows its operand, but for a large result that is read plain: the small operand is reordered.
static bool layout_resize(PassLayout *l, IrNode *n) {
    const IrShape *x = &ir_in(n, 0)->type.shape, *y = &n->out[0]->type.shape;
    bool weighs = ir_in(n, 2) || ir_in(n, 4);
    if (weighs && ir_dtype_bytes(ir_in(n, 0)->type.dtype) == 1) {
        return layout_resize_bytes(l, n);
    }
    if (weighs && !can_block_floats(&ir_in(n, 0)->type)) {
        return false;
    }
    bool grows = y->dim[2].c * y->dim[3].c > x->dim[2].c * x->dim[3].c;
    return pass_layout_is_blocked(ir_in(n, 0)) && !(grows && is_read_plain(n->out[0]));
}

// Whole blocks of channels go back to where they were.
static bool layout_slice_grad(PassLayout *l, IrNode *n) {
    IrInts start = ir_ints(n, IR_ATTR_START), step = ir_ints(n, IR_ATTR_STEP);
    const IrShape *dy = &ir_in(n, 0)->type.shape, *y = &n->out[0]->type.shape;
    if (!pass_layout_is_blocked(ir_in(n, 0)) || !pass_layout_can_block(&n->out[0]->type) ||
        start.n != 4 || (step.n == 4 && step.v[1] != 1) || start.v[1] % l->block) {
        return false;
    }
    return dy->dim[1].c % l->block == 0 || start.v[1] + dy->dim[1].c == y->dim[1].c;
}

static const LayoutRule rules[IR_OP_COUNT] = {
    [IR_OP_CONV] = layout_conv,
    [IR_OP_MAX_POOL] = layout_pool,
    [IR_OP_AVG_POOL] = layout_pool,
    [IR_OP_BATCH_NORM] = layout_blocked,
    [IR_OP_LRN] = layout_blocked,
    [IR_OP_MAP] = layout_map,
    [IR_OP_DROPOUT] = layout_dropout,
    [IR_OP_CONCAT] = layout_concat,
    [IR_OP_SHUFFLE] = layout_shuffle,
    [IR_OP_SLICE] = layout_slice,
    [IR_OP_PAD] = layout_pad,
    [IR_OP_REDUCE_SUM] = layout_reduce,
    [IR_OP_REDUCE_MEAN] = layout_reduce,
    [IR_OP_REDUCE_MAX] = layout_reduce,
    [IR_OP_REDUCE_MIN] = layout_reduce,
    [IR_OP_REDUCE_PROD] = layout_reduce,
    [IR_OP_MAX_POOL_GRAD] = layout_gradient,
    [IR_OP_AVG_POOL_GRAD] = layout_gradient,
    [IR_OP_BATCH_NORM_TRAIN] = layout_batch_norm,
    [IR_OP_BATCH_NORM_GRAD] = layout_batch_norm,
    [IR_OP_LRN_GRAD] = layout_gradient,
    [IR_OP_INTERLEAVE] = layout_interleave,
    [IR_OP_RESIZE] = layout_resize,
    [IR_OP_SLICE_GRAD] = layout_slice_grad,
};

// ---------------------------------------------------------------- between NCHW and NHWC

// A convolution reads v, or what a few elementwise nodes make of it.
static bool leads_to_conv(const IrValue *v, int nodes) {
    for (const IrUse *u = v->uses; u; u = u->next) {
        bool eltwise = ir_op_info(u->node->op)->flags & IR_FLAG_E || u->node->op == IR_OP_MAP;
        if (u->node->op == IR_OP_CONV ||
            (eltwise && nodes > 0 && leads_to_conv(u->node->out[0], nodes - 1))) {
            return true;
        }
    }
    return false;
}

static bool has_perm(const IrNode *n, int64_t b, int64_t c, int64_t d) {
    IrInts p = ir_ints(n, IR_ATTR_PERM);
    return p.n == 4 && p.v[0] == 0 && p.v[1] == b && p.v[2] == c && p.v[3] == d;
}

// Of whole blocks, a transpose from or to NHWC copies them: no reorder stands between.
static bool layout_transpose(PassLayout *l, IrNode *n) {
    enum { NODES = 3 };
    IrValue *x = ir_in(n, 0), *y = n->out[0];
    bool from = pass_layout_is_blocked(x) && has_perm(n, 2, 3, 1);
    bool to = !pass_layout_is_blocked(x) && has_perm(n, 3, 1, 2) && leads_to_conv(y, NODES);
    const IrType *t = from ? &x->type : &y->type;
    if (!(from || to) || !pass_layout_can_block(t) || t->shape.dim[1].c % l->block) {
        return false;
    }
    y->type.block = to ? l->block : 0;
    l->changes++;
    return true;
}

// Over whole blocks of channels: the result, one number a pixel, is plain, as maps read it.
static bool layout_reduced_channels(PassLayout *l, IrNode *n) {
    const IrValue *x = ir_in(n, 0);
    IrInts axes = ir_ints(n, IR_ATTR_AXES);
    if (!pass_is_reduce(n) || !pass_layout_is_blocked(x) || x->type.dtype != IR_F32 ||
        axes.n != 1 || axes.v[0] != 1 || !ir_int(n, IR_ATTR_KEEPDIMS, 1) ||
        x->type.shape.dim[1].c % l->block) {
        return false;
    }
    for (int i = 1; i < n->n_in; i++) {
        pass_layout_require(l, n, i, 0);
    }
    return true;
}

// ---------------------------------------------------------------- the walk

static void place_node(PassLayout *l, IrNode *n) {
    LayoutRule rule = ir_op_info(n->op)->flags & IR_FLAG_E ? layout_map : rules[n->op];
    if ((n->op == IR_OP_TRANSPOSE && layout_transpose(l, n)) || layout_reduced_channels(l, n)) {
        return;
    }
    if (n->op == IR_OP_CONV_WGRAD && layout_wgrad(l, n)) {
        return;
    }
    if (rule && rule(l, n)) {
        n->out[0]->type.block = l->block;
        l->changes++;
        return;
    }
    for (int i = 0; i < n->n_in; i++) {
        pass_layout_require(l, n, i, 0);
    }
}

static bool has_blocked_value(const IrGraph *g) {
    for (const IrNode *n = g->first; n; n = n->next) {
        for (int i = 0; i < n->n_out; i++) {
            if (pass_layout_is_blocked(n->out[i])) {
                return true;
            }
        }
    }
    return false;
}

PassResult pass_layout(PassContext *ctx, IrGraph *g) {
    PassLayout l = {.ctx = ctx, .graph = g, .block = ctx->opt->block};
    if (l.block < 2 || has_blocked_value(g)) {
        return (PassResult){0};
    }
    for (IrNode *n = g->first; n; n = n->next) {
        place_node(&l, n);
    }
    for (int i = 0; i < g->n_outputs; i++) {
        IrValue *v = g->outputs[i];
        if (pass_layout_is_blocked(v)) {
            ir_replace_output(g, i, pass_layout_get(&l, v, 0, NULL));
        }
    }
    return (PassResult){l.changes};
}
