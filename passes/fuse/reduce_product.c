// fuse_reduce_product: a product that only a sum reads becomes the sum's prologue.
//
//   %p = mul %x, %y                             ->
//   %s = reduce_sum %p {axes=[1,2,3]}
//
//   %s = reduce_sum %x, %y {axes=[1,2,3], pre=[mul(acc, 1)]}
//
// The gradient of a factor per channel, and the square of a gradient's norm, are such sums over all
// weights: the products, as many, are never written. Conditions:
//   - nobody else reads the product;
//   - both operands are plain, of f32, not constant, and have its shape: they lie alike.

#include "passes/util.h"

enum { MAX_OPERANDS = 8 };

static bool is_like(const IrValue *v, const IrValue *product) {
    return !v->konst && ir_type_eq(&v->type, &product->type);
}

static bool fuse(PassContext *ctx, IrNode *n) {
    IrNode *def = pass_def(ir_in(n, 0), IR_OP_MUL);
    if (!def || ir_only_user(def->out[0]) != n || n->out[0]->type.block ||
        def->out[0]->is_output || def->out[0]->type.dtype != IR_F32 || def->out[0]->type.block ||
        ir_own_dtype(n) != IR_F32 || ir_attr(n, IR_ATTR_PRE) || n->n_in > MAX_OPERANDS ||
        !is_like(ir_in(def, 0), def->out[0]) || !is_like(ir_in(def, 1), def->out[0]))
        return false;
    IrStep *step = ir_alloc_array(ctx->scratch, 1, sizeof *step);
    *step = (IrStep){.op = IR_OP_MUL, .arg = {IR_ACC, n->n_in}}; // behind the epilogue's operands
    IrBody pre = {1, step};
    ir_add_in(n, ir_in(def, 1));
    ir_set_in(n, 0, ir_in(def, 0));
    ir_set_attr(n, ir_attr_body(ctx->prog->arena, IR_ATTR_PRE, &pre));
    n->name = ir_join_names(ctx->prog->arena, def->name, n->name);
    ir_remove_node(def);
    const char *wrong = ir_infer(n);
    if (wrong)
        ir_bug("fuse_reduce_product", n->name, "%s", wrong);
    return true;
}

PassResult pass_fuse_reduce_product(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->first; n; n = n->next)
        r.changes += n->op == IR_OP_REDUCE_SUM && fuse(ctx, n);
    return r;
}
