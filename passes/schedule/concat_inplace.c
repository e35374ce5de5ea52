// In-place concatenation: operands of a blocked concat on channels are written straight into their
// slice of the result, and slices of a blocked value are read where they lie.
//
//   before  %a: f32[N,32,8,8]{nChw16c} = conv %x, %w
//           %b: f32[N,16,8,8]{nChw16c} = conv %x, %u
//           %c: f32[N,48,8,8]{nChw16c} = concat %a, %b {axis=1}
//   after   %a: f32[N,32,8,8]{nChw16c} in %c = conv %x, %w
//           %b: f32[N,16,8,8]{nChw16c} in %c+32 = conv %x, %u
//           %c: f32[N,48,8,8]{nChw16c} = concat %a, %b {axis=1, in_place=1}
//
// An operand can be a view when it is a node's result, stands once in the concat, begins at a whole
// block and no other concat holds it. Without in_place the concat still copies the operands that
// are no views of its result. Lanes past the last channel of a view belong to the next operand;
// that one begins inside a block, so the concat copies it, after all views were written.
//
// Concats that grow are chained: concat(a,b,c) after concat(a,b) becomes concat(concat(a,b),c), and
// a result that is itself the first operand of a later concat is a view of that one. A dense block
// becomes one buffer to which every layer appends its channels.
//
// A view is written once, by its definition, before the concat; the memory plan keeps the root
// alive from its first view's definition on and puts no other result over a part of it.

#include "passes/util.h"

static bool is_channel_concat(const IrNode *n) {
    return n->op == IR_OP_CONCAT && ir_int(n, IR_ATTR_AXIS, 0) == 1 && n->out[0]->type.block != 0;
}

// The operands of `head` are the first of n's, and n has more.
static bool is_prefix(const IrNode *head, const IrNode *n) {
    if (!is_channel_concat(head) || head->n_in < 2 || head->n_in >= n->n_in) {
        return false;
    }
    for (int i = 0; i < head->n_in; i++) {
        if (ir_in(head, i) != ir_in(n, i)) {
            return false;
        }
    }
    return true;
}

// The longest concat before position `at` whose operands n begins with.
static IrNode *find_head(const PassOrder *order, const IrNode *n, int at) {
    IrNode *head = NULL;
    for (const IrUse *u = ir_in(n, 0)->uses; u; u = u->next) {
        if (u->index == 0 && u->node != n && is_prefix(u->node, n) &&
            pass_at(order, u->node) < at && (!head || u->node->n_in > head->n_in)) {
            head = u->node;
        }
    }
    return head;
}

// n with the first operands that `head` joins replaced by its result.
static IrNode *build_on(IrArena *scratch, IrNode *n, const IrNode *head) {
    int n_in = n->n_in - head->n_in + 1;
    IrValue **in = ir_alloc_array(scratch, (size_t)n_in, sizeof *in);
    in[0] = head->out[0];
    for (int i = 1; i < n_in; i++) {
        in[i] = ir_in(n, head->n_in + i - 1);
    }
    IrBuilder b = pass_before(n);
    IrValue *v = pass_rebuild(&b, n, n_in, in);
    if (!v) {
        ir_bug("concat_inplace", n->name, "%s", b.err);
    }
    v->type.block = n->out[0]->type.block;
    pass_forward(n, v);
    return v->def;
}

// Puts n on top of earlier concats of its first operands; returns the node that now stands for n.
static IrNode *chain_concat(PassContext *ctx, const PassOrder *order, IrNode *n, int *changes) {
    int at = pass_at(order, n); // nodes built here have position 0: they stand before n
    for (IrNode *head; (head = find_head(order, n, at)); ++*changes) {
        n = build_on(ctx->scratch, n, head);
    }
    return n;
}

static void take_slices(IrNode *n, int *changes) {
    IrValue *result = n->out[0];
    int64_t channel = 0;
    for (int i = 0; i < n->n_in; i++) {
        IrValue *v = ir_in(n, i);
        if (v->def && !v->view_of && !v->is_output && channel % result->type.block == 0) {
            v->view_of = result;
            v->view_channel = channel;
        }
        channel += v->type.shape.dim[1].c;
    }
    bool all = true;
    channel = 0;
    for (int i = 0; i < n->n_in; i++) {
        IrValue *v = ir_in(n, i);
        if (v->view_of == result && v->view_channel != channel) { // an operand twice
            v->view_of = NULL;
            v->view_channel = 0;
        }
        all &= v->view_of == result;
        channel += v->type.shape.dim[1].c;
    }
    for (int i = 0; i < n->n_in; i++) {
        *changes += ir_in(n, i)->view_of == result;
    }
    if (all) {
        ir_set_attr(n, ir_attr_i(IR_ATTR_IN_PLACE, 1));
    }
}

// A slice of whole blocks of channels and of nothing else.
static bool is_channel_slice(const IrNode *n) {
    if (n->op != IR_OP_SLICE || !n->out[0]->type.block) {
        return false;
    }
    const IrType *x = &ir_in(n, 0)->type, *y = &n->out[0]->type;
    IrInts start = ir_ints(n, IR_ATTR_START), step = ir_ints(n, IR_ATTR_STEP);
    if (x->block != y->block || start.n != 4 || step.n != 4 || start.v[1] % y->block != 0) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        if (step.v[i] != 1 || (i != 1 && !ir_dim_eq(x->shape.dim[i], y->shape.dim[i]))) {
            return false;
        }
    }
    return true;
}

PassResult pass_concat_inplace(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    PassOrder order = pass_order(ctx, g);
    for (IrNode *n = g->first; n; n = n->next) {
        if (is_channel_concat(n) && !ir_int(n, IR_ATTR_IN_PLACE, 0)) {
            n = chain_concat(ctx, &order, n, &r.changes);
            take_slices(n, &r.changes);
        }
    }
    for (IrNode *n = g->first; n; n = n->next) {
        IrValue *v = n->out[0];
        if (is_channel_slice(n) && !v->view_of && !v->is_output) {
            v->view_of = ir_in(n, 0);
            v->view_channel = ir_ints(n, IR_ATTR_START).v[1];
            r.changes++;
        }
    }
    return r;
}
