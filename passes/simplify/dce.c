// dce: nodes whose results nobody reads go, last first, so that one walk is enough.
//
//   %a = relu %x
//   %b = exp %a      (no use, no output)     ->   nothing of the two is left

#include "passes/util.h"

static bool is_dead(const IrNode *n) {
    for (int i = 0; i < n->n_out; i++) {
        if (n->out[i]->n_uses || n->out[i]->is_output) {
            return false;
        }
    }
    return true;
}

PassResult pass_dce(PassContext *ctx, IrGraph *g) {
    (void)ctx;
    PassResult r = {0};
    for (IrNode *n = g->last, *prev; n; n = prev) {
        prev = n->prev;
        if (is_dead(n)) {
            ir_remove_node(n);
            r.changes++;
        }
    }
    return r;
}
