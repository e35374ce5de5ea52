// Pack filters: weights that the program computes or is given are put in the order of their
// convolution's kernel when it runs. Constant ones are packed by the code generator.
//
//   before  %y: f32[N,64,56,56]{nChw16c} = conv %x, %w {pad=[1,1,1,1], algo=direct,
//               tile=[rows=1,cols=14,vecs=2]}
//   after   %p: f32[36864] = pack_filter %w {stride=[1,1], group=1, shape=[36864],
//               algo=direct, tile=[rows=1,cols=14,vecs=2], block=16}
//           %y: f32[N,64,56,56]{nChw16c} = conv %x, %p {pad=[1,1,1,1], algo=direct,
//               tile=[rows=1,cols=14,vecs=2], filter=[64,64,3,3]}
//
// Weights that flip_filter turned for the gradient of an input are packed from where they were:
//
//   before  %f = flip_filter %w {group=1}
//           %p = pack_filter %f {...}
//   after   %p = pack_filter %w {..., reverse=1}
//
// as are f32 weights that were rounded for a convolution of bf16:
//
//   before  %r: bf16[...] = cast %f {to=bf16}
//           %p = pack_filter %r {...}
//   after   %p = pack_filter %w {..., reverse=1, to=bf16}
//
// and, where the kernel that packs does it (SCALES), times a factor of each output channel, as a
// normalization makes it:
//
//   before  %f = mul %w, %s      (s: [O,1,1,1])
//           %p = pack_filter %f {..., to=bf16}
//   after   %p = pack_filter %w, %s {..., to=bf16}
//
// The size is the algorithm's: `words` of ir/conv_algos.def, of as many elements each as a word
// has.

#include "ir/conv.h"
#include "passes/util.h"

// What the code generator's own limits allow: sizes stay far from overflow.
static bool is_small(const IrNode *n) {
    enum { MOST = 1 << 28 };
    IrShape w = ir_filter_shape(n);
    int64_t product = ir_int(n, IR_ATTR_GROUP, 1);
    for (int i = 0; i < 4; i++)
        if (w.dim[i].c > MOST || product > MOST || (product *= w.dim[i].c) > MOST)
            return false;
    return true;
}

// What was rounded to be w
static bool is_rounded(const IrValue *w) {
    const IrNode *def = w->def;
    return def && def->op == IR_OP_CAST && w->type.dtype == IR_BF16 &&
           ir_in(def, 0)->type.dtype == IR_F32;
}

// What flip_filter reads, where w is its result for no groups
static bool is_turned(const IrValue *w) {
    const IrNode *def = w->def;
    return def && def->op == IR_OP_FLIP_FILTER && ir_int(def, IR_ATTR_GROUP, 1) == 1;
}

// The operand of the product w that is a factor of each of its rows; < 0: there is none.
static int find_factor(const IrValue *w) {
    const IrNode *def = w->def;
    for (int i = 0; def && def->op == IR_OP_MUL && i < 2; i++) {
        const IrShape *s = &ir_in(def, i)->type.shape;
        bool row = s->rank == 4 && ir_dim_eq(s->dim[0], w->type.shape.dim[0]);
        for (int k = 1; k < 4; k++)
            row = row && ir_dim_is(s->dim[k], 1);
        if (row && ir_type_eq(&ir_in(def, 1 - i)->type, &w->type) && !ir_in(def, i)->konst &&
            !ir_in(def, 1 - i)->konst)
            return i;
    }
    return -1;
}

static void remove_unused(IrValue *w) {
    if (!w->n_uses && !w->is_output)
        ir_remove_node(w->def);
}

static void pack_filter(IrNode *n, IrConvAlgo algo, int64_t lanes) {
    IrValue *w = ir_in(n, 1), *whole = is_rounded(w) ? ir_in(w->def, 0) : w;
    bool turned = is_turned(whole);
    IrValue *product = turned ? ir_in(whole->def, 0) : whole;
    bool scales = whole != w && ir_conv_algo_info(algo)->flags & IR_CONV_FLAG_SCALES;
    int factor = scales ? find_factor(product) : -1;
    IrValue *in[] = {product, NULL};
    if (factor >= 0) {
        in[0] = ir_in(product->def, 1 - factor);
        in[1] = ir_in(product->def, factor);
    }
    IrConv c = ir_conv(n);
    IrConvTile tile = ir_conv_tile(n);
    int64_t size = ir_conv_algo_info(algo)->words(&c, &tile, lanes) * ir_word(c.dtype);
    IrShape filter = w->type.shape, packed = {1, {ir_dim(size)}};
    const int64_t stride[] = {c.w.sh, c.w.sw};
    const int64_t dilation[] = {c.w.dh, c.w.dw};
    IrArena *a = n->graph->prog->arena;
    IrAttr attrs[9] = {ir_attr_i(IR_ATTR_GROUP, c.w.group),
                       ir_attr_ints(a, IR_ATTR_STRIDE, 2, stride),
                       ir_attr_dims(IR_ATTR_SHAPE, &packed),
                       ir_attr_algo(algo),
                       ir_attr_tile(&tile),
                       ir_attr_i(IR_ATTR_BLOCK, c.x_block ? c.x_block : 1)};
    int n_attrs = 6;
    if (turned)
        attrs[n_attrs++] = ir_attr_i(IR_ATTR_REVERSE, 1);
    if (c.w.dh > 1 || c.w.dw > 1)
        attrs[n_attrs++] = ir_attr_ints(a, IR_ATTR_DILATION, 2, dilation);
    if (whole != w)
        attrs[n_attrs++] = ir_attr_s(IR_ATTR_TO, ir_dtype_name(w->type.dtype));
    IrBuilder b = pass_before(n);
    IrValue *p = ir_build(&b, IR_OP_PACK_FILTER, factor < 0 ? 1 : 2, in, n_attrs, attrs);
    if (!p)
        ir_bug("pack_filters", n->name, "%s", b.err);
    ir_set_in(n, 1, p);
    if (whole != w)
        remove_unused(w);
    if (turned)
        remove_unused(whole);
    if (factor >= 0)
        remove_unused(product);
    ir_set_attr(n, ir_attr_dims(IR_ATTR_FILTER, &filter));
}

// Others are reported by the code generator, or read as they are.
static bool needs_packing(const IrNode *n, IrConvAlgo *algo) {
    return n->op == IR_OP_CONV && !ir_attr(n, IR_ATTR_FILTER) && !ir_in(n, 1)->konst &&
           ir_conv_algo(n, algo) && ir_conv_algo_info(*algo)->words && is_small(n);
}

PassResult pass_pack_filters(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->first; n && ctx->opt->block > 1; n = n->next) {
        IrConvAlgo algo;
        if (needs_packing(n, &algo)) {
            pack_filter(n, algo, ctx->opt->block);
            r.changes++;
        }
    }
    return r;
}
