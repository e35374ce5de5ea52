// fold_bn_param: batch normalisation with fixed statistics over a convolution, either of which
// trains, is folded at run time, on the small tensors of parameters.
//
//   %y = conv %x, %w, %c                         %s = sqrt (add %v, eps)
//   %z = batch_norm %y, %g, %b, %m, %v    ->     %a = div %g, %s                       // [O]
//                                                %k = mul %w, (reshape %a to [O,1,1,1])
//                                                %d = add (mul (sub %c, %m), %a), %b
//                                                %z = conv %x, %k, %d
//
// For graphs whose parameters are inputs; what is all constant is left to fuse_bn. The chain rule
// through these few nodes gives exact gradients of w, c, g and b, and no pass over activations but
// the convolution's own. Only where nobody else reads y.

#include "passes/util.h"

static bool any_trains(const IrNode *conv, const IrNode *bn) {
    IrValue *const parameters[] = {ir_in(conv, 1), ir_in(conv, 2), ir_in(bn, 1), ir_in(bn, 2)};
    for (int i = 0; i < 4; i++) {
        if (parameters[i] && !pass_is_frozen(parameters[i])) {
            return true;
        }
    }
    return false;
}

static bool can_fold(const IrNode *conv, const IrNode *bn) {
    return conv && ir_only_user(conv->out[0]) == bn && !ir_attr(conv, IR_ATTR_THEN) &&
           !ir_attr(conv, IR_ATTR_PRE) && any_trains(conv, bn);
}

static IrValue *build_folded(IrBuilder *b, const IrNode *conv, const IrNode *bn) {
    IrValue *w = ir_in(conv, 1), *c = ir_in(conv, 2), *mean = ir_in(bn, 3);
    IrValue *eps = ir_build_scalar(b, w->type.dtype, ir_float(bn, IR_ATTR_EPS, 1e-5));
    IrValue *std = ir_build1(b, IR_OP_SQRT, ir_build2(b, IR_OP_ADD, ir_in(bn, 4), eps));
    IrValue *a = ir_build2(b, IR_OP_DIV, ir_in(bn, 1), std);
    IrShape column = {.rank = 4, .dim = {w->type.shape.dim[0], ir_dim(1), ir_dim(1), ir_dim(1)}};
    IrValue *filter = ir_build2(b, IR_OP_MUL, w, ir_build_reshape(b, a, &column));
    IrValue *shift = c ? ir_build2(b, IR_OP_SUB, c, mean) : ir_build1(b, IR_OP_NEG, mean);
    IrValue *bias = ir_build2(b, IR_OP_ADD, ir_build2(b, IR_OP_MUL, shift, a), ir_in(bn, 2));
    IrValue *in[] = {ir_in(conv, 0), filter, bias};
    return pass_rebuild(b, conv, 3, in);
}

PassResult pass_fold_bn_param(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        IrNode *conv = n->op == IR_OP_BATCH_NORM ? pass_def(ir_in(n, 0), IR_OP_CONV) : NULL;
        if (can_fold(conv, n)) {
            IrBuilder b = pass_before(n);
            b.name = ir_join_names(ctx->prog->arena, conv->name, n->name);
            IrValue *z = build_folded(&b, conv, n);
            if (!z) {
                ir_bug("fold_bn_param", n->name, "%s", b.err);
            }
            pass_forward(n, z);
            ir_remove_node(conv);
            r.changes++;
        }
    }
    return r;
}
