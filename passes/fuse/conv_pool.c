// fuse_conv_pool: a max_pool whose convolution nobody else reads becomes part of it.
//
//   %c: f32[N,64,112,112] = conv %x, %w, %b {..., then=[relu(acc)], algo=direct,
//   tile=[rows=1,cols=28,vecs=1,band=70]} %y: f32[N,64,56,56] = max_pool %c {kernel=[3,3],
//   stride=[2,2], pad=[1,1,1,1]}           ->
//
//   %y: f32[N,64,56,56] = conv %x, %w, %b {..., then=[relu(acc)], pool=[3,3,2,2,1,1,1,1,0],
//                                          algo=direct, tile=[rows=1,cols=28,vecs=1,band=70]}
//
// The stems of most networks. The convolution's rows are pooled while they are in L1 or L2, and its
// result, the largest tensor of the network, is never written. Conditions:
//   - the schedule chose a direct kernel with tiles of one row; no prologue, no operands of an
//     epilogue but constants per channel;
//   - the pool has no dilation and no epilogue, and its windows do not skip input;
//   - below -O3, the convolution's result of one image does not stay in L2, while x does: each
//     group of output vectors reads it again.

#include "ir/conv.h"
#include "passes/util.h"

enum { MAX_WINDOW = 3 };

// Its epilogue reads constants alone, one element or one per channel.
static bool reads_constants(const IrNode *n) {
    for (int i = 3; i < n->n_in; i++) {
        const IrValue *v = ir_in(n, i);
        const IrDim *d = v->type.shape.dim;
        bool channels = v->type.shape.rank == 4 && ir_dim_is(d[2], 1) && ir_dim_is(d[3], 1);
        if (!v->konst || !(channels || ir_const_is_scalar(v))) {
            return false;
        }
    }
    return true;
}

// The schedule chose an algorithm that takes a pool, with tiles of one row.
static bool takes_pool(const IrNode *n) {
    IrConvAlgo algo;
    return n->op == IR_OP_CONV && reads_constants(n) && !ir_body(n, IR_ATTR_PRE).n &&
           !ir_attr(n, IR_ATTR_POOL) && ir_conv_algo(n, &algo) &&
           ir_conv_algo_info(algo)->flags & IR_CONV_FLAG_POOL && ir_conv_tile(n).rows == 1;
}

static bool is_plain_pool(const IrNode *n) {
    if (n->op != IR_OP_MAX_POOL || ir_body(n, IR_ATTR_THEN).n || n->n_in > 1) {
        return false;
    }
    IrWindow w = ir_window(n);
    return w.dh == 1 && w.dw == 1 && w.kh <= MAX_WINDOW && w.kw <= MAX_WINDOW && w.sh <= w.kh &&
           w.sw <= w.kw && w.pt < w.kh && w.pl < w.kw && w.pb < w.kh && w.pr < w.kw;
}

static bool pays(const PassContext *ctx, const IrNode *conv) {
    IrConv c = ir_conv(conv);
    const IrMachine *m = ctx->opt->machine;
    double in = ir_dtype_bytes(c.dtype), out = ir_dtype_bytes(conv->out[0]->type.dtype);
    return ctx->opt->opt_level > 2 ||
           (out * (double)(c.O * c.OH * c.OW) > (double)ir_budget(m, IR_L2_IMAGE) &&
            in * (double)(c.C * c.H * c.W) <= (double)ir_budget(m, IR_L2_MOST));
}

// The convolution takes the pool's place, and its result.
static void fuse(IrNode *conv, IrNode *pool) {
    IrArena *a = conv->graph->prog->arena;
    IrWindow w = ir_window(pool);
    int64_t window[] = {w.kh, w.kw, w.sh, w.sw, w.pt, w.pl, w.pb, w.pr, w.ceil};
    IrValue *y = pool->out[0], *inner = conv->out[0];
    ir_set_attr(conv, ir_attr_ints(a, IR_ATTR_POOL, 9, window));
    conv->name = ir_join_names(a, conv->name, pool->name);
    ir_move_before(conv, pool);
    ir_set_in(pool, 0, NULL);
    conv->out[0] = y;
    y->def = conv;
    pool->out[0] = inner;
    inner->def = pool;
    ir_remove_node(pool);
    const char *wrong = ir_infer(conv);
    if (wrong) {
        ir_bug("fuse_conv_pool", conv->name, "%s", wrong);
    }
}

PassResult pass_fuse_conv_pool(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        IrValue *y = n->out[0];
        IrNode *pool = ir_only_user(y);
        if (pool && is_plain_pool(pool) && takes_pool(n) && !y->view_of && pays(ctx, n) &&
            y->type.block == pool->out[0]->type.block) {
            next = n->next == pool ? pool->next : n->next;
            fuse(n, pool);
            r.changes++;
        }
    }
    return r;
}
