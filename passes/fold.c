// fold: a node whose operands are all frozen constants is evaluated, and its result is a constant.
//
//   %b = sqrt splat(4) : f32[64]             ->  a constant of 64 twos
//   %c = reshape %w {shape=[64,1,1]}         ->  %w's own bytes under another shape
//
// Not folded: what training changes, what is random, what N has a part in, and what would make a
// constant far larger than what it is made from (an expand of a scalar).

#include "passes/pass_util.h"

enum {
    GROWTH = 4,          // a result may have this many times the bytes of the operands,
    ALWAYS_FINE = 65536, // or this many bytes
};

static bool is_random(IrOp op) { return ir_op_info(op)->flags & IR_FLAG_R; }

static bool is_foldable(const IrNode *n) {
    int64_t in_bytes = 0;
    if (n->n_out != 1 || is_random(n->op) || n->n_in == 0 || n->op == IR_OP_COPY) {
        return false;
    }
    for (int i = 0; i < n->n_in; i++) {
        const IrValue *v = ir_in(n, i);
        if (!v) {
            continue;
        }
        IrDim bytes;
        if (!pass_is_frozen(v) || !ir_type_bytes(&v->type, &bytes)) {
            return false;
        }
        in_bytes += bytes.c;
    }
    const IrType *t = &n->out[0]->type;
    IrDim bytes;
    return ir_shape_is_static(&t->shape) && ir_type_bytes(t, &bytes) &&
           (bytes.c <= ALWAYS_FINE || bytes.c / GROWTH <= in_bytes);
}

static IrValue *evaluate(PassContext *ctx, IrNode *n) {
    IrProgram *p = ctx->prog;
    const IrTensor **in = ir_alloc_array(ctx->scratch, (size_t)n->n_in, sizeof *in);
    for (int i = 0; i < n->n_in; i++) {
        IrValue *v = ir_in(n, i);
        if (!v) {
            continue;
        }
        IrTensor *t = ir_alloc(ctx->scratch, sizeof *t);
        *t = (IrTensor){.dtype = v->type.dtype, .rank = v->type.shape.rank};
        for (int k = 0; k < t->rank; k++) {
            t->dim[k] = v->type.shape.dim[k].c;
        }
        t->data = (void *)ir_const_data(p, v->konst); // read only
        in[i] = t;
    }
    IrTensor out;
    if (ir_eval_node(n, 1, in, &out, p->arena)) {
        return NULL; // no evaluator: codegen says so if it cannot either
    }
    IrType type = n->out[0]->type;
    type.block = 0;
    return ir_const_value(n->graph, ir_const_new(p, *n->name ? n->name : NULL, type, out.data));
}

PassResult pass_fold(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (!is_foldable(n)) {
            continue;
        }
        IrValue *c = n->op == IR_OP_RESHAPE
                         ? pass_const_reshaped(ctx, g, ir_in(n, 0), &n->out[0]->type.shape)
                         : evaluate(ctx, n);
        if (c) {
            pass_forward(n, c);
            r.changes++;
        }
    }
    return r;
}
