// Pair images: a gradient of weights sums over images and pixels, so a dot of two bf16 takes these
// from two images. Both operands are copied with the numbers of two images beside each other.
//
//   before  %dw: f32[64,64,3,3] = conv_wgrad %x, %dy {..., to=f32}     // bf16[N,64,56,56]{nChw16c}
//   after   %p: bf16[2N,64,56,56]{nChw16c} = pair_images %x
//           %q: bf16[2N,64,56,56]{nChw16c} = pair_images %dy
//           %dw: f32[64,64,3,3] = conv_wgrad %p, %q {..., to=f32}
//
// Where the machine has no dots of bf16, the layout no blocks, or the convolution groups, both are
// widened to f32 instead. The kernel on matrix tiles makes copies of its own.
#include "ir/conv.h"
#include "ir/machine.h"
#include "passes/util.h"

// v in the form that op makes of it: made[] has, by v's id, what an earlier gradient reads.
static IrValue *copy_as(IrNode *n, IrValue *v, IrOp op, IrValue **made) {
    if (made[v->id])
        return made[v->id];
    IrBuilder b = pass_before(n);
    IrAttr to = ir_attr_s(IR_ATTR_TO, ir_dtype_name(IR_F32));
    IrValue *y = ir_build(&b, op, 1, &v, op == IR_OP_CAST, &to);
    if (!y)
        ir_bug("pair_images", n->name, "%s", b.err);
    y->type.block = v->type.block;
    return made[v->id] = y;
}

static bool is_on_tiles(const IrNode *n) {
    IrConvAlgo algo;
    return ir_conv_algo(n, &algo) && algo == IR_CONV_DIRECT_BF16_AMX;
}

PassResult pass_pair_images(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    IrValue **paired = ir_alloc_array(ctx->scratch, g->next_id, sizeof *paired);
    IrValue **widened = ir_alloc_array(ctx->scratch, g->next_id, sizeof *widened);
    bool dots = ir_dot(ctx->opt->machine, IR_BF16).kind == IR_DOT_SUM;
    for (IrNode *n = g->first; n; n = n->next) {
        const IrNode *x = n->op == IR_OP_CONV_WGRAD ? ir_in(n, 0)->def : NULL;
        if (n->op != IR_OP_CONV_WGRAD || ir_in(n, 0)->type.dtype != IR_BF16 ||
            (x && x->op == IR_OP_PAIR_IMAGES) || is_on_tiles(n))
            continue;
        IrConv c = ir_conv(n);
        bool pairs = dots && c.x_block > 1 && c.y_block == c.x_block && c.w.group == 1;
        for (int i = 0; i < 2; i++)
            ir_set_in(n, i,
                      copy_as(n, ir_in(n, i), pairs ? IR_OP_PAIR_IMAGES : IR_OP_CAST,
                              pairs ? paired : widened));
        r.changes++;
    }
    return r;
}
