// fold: a node whose operands are all frozen constants is evaluated, and its result is a constant.
//
//   %b = sqrt splat(4) : f32[64]             ->  a constant of 64 twos
//   %c = reshape %w {shape=[64,1,1]}         ->  %w's own bytes under another shape
//
// Not folded: quantized numbers, which passes/quant/ reads; what training changes, what is random,
// what N has a part in, what would make a constant larger than what it is made from (an expand of a
// scalar), and what would take long. All folded constants together are bounded too: sums of what is
// made from one another grow exponentially.

#include "passes/util.h"

enum {
    ALWAYS_FINE = 1 << 16, // a result of more bytes must not be larger than the operands; windows
                           // and products are computed on operands of fewer bytes only
    FREE_BYTES = 1 << 26,  // folded in any program,
    PER_INITIALIZER = 2,   // and for each byte of the model's initializers
    WORK_PER_BYTE = 4,     // steps of the evaluator for each of these bytes
};

static int64_t const_bytes(const IrType *t) {
    IrDim bytes;
    return ir_shape_is_static(&t->shape) && ir_type_bytes(t, &bytes) ? bytes.c : -1;
}

static bool is_heavy(IrOp op) {
    return (ir_op_info(op)->flags & IR_FLAG_W) || op == IR_OP_MATMUL || op == IR_OP_LRN;
}

// The bytes of the result when n may be folded, else -1.
static int64_t fold_bytes(const IrNode *n) {
    int64_t in_bytes = 0;
    if (n->n_out != 1 || (ir_op_info(n->op)->flags & IR_FLAG_R) || n->n_in == 0 ||
        n->op == IR_OP_COPY || n->op == IR_OP_DEQUANTIZE) {
        return -1;
    }
    for (int i = 0; i < n->n_in; i++) {
        const IrValue *v = ir_in(n, i);
        if (v && (!pass_is_frozen(v) || const_bytes(&v->type) < 0)) {
            return -1;
        }
        in_bytes += v ? const_bytes(&v->type) : 0;
    }
    int64_t bytes = const_bytes(&n->out[0]->type);
    bool fine = bytes <= ALWAYS_FINE || bytes <= in_bytes;
    return fine && (in_bytes <= ALWAYS_FINE || !is_heavy(n->op)) ? bytes : -1;
}

static int64_t initial_budget(const IrProgram *p) {
    int64_t bytes = FREE_BYTES;
    for (int i = 0; i < p->n_consts; i++) {
        bytes += p->consts[i]->origin ? PER_INITIALIZER * const_bytes(&p->consts[i]->type) : 0;
    }
    return bytes;
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
    int64_t budget = initial_budget(ctx->prog);
    double work = (double)budget * WORK_PER_BYTE;
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        int64_t bytes = fold_bytes(n);
        if (bytes < 0 || bytes > budget) {
            continue;
        }
        bool same_bytes = n->op == IR_OP_RESHAPE;
        ir_work_on(n);
        if (!same_bytes && !((work -= ir_eval_work(n)) >= 0)) {
            break;
        }
        IrValue *c = same_bytes ? pass_const_reshaped(ctx, g, ir_in(n, 0), &n->out[0]->type.shape)
                                : evaluate(ctx, n);
        if (c) {
            budget -= same_bytes ? 0 : bytes;
            pass_forward(n, c);
            r.changes++;
        }
    }
    return r;
}
