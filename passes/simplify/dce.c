// dce: nodes whose results nobody reads go, last first, so that one walk is enough.
//
//   %a = relu %x
//   %b = exp %a      (no use, no output)     ->   nothing of the two is left

#include "passes/util.h"

PassResult pass_dce(PassContext *ctx, IrGraph *g) {
    (void)ctx;
    return (PassResult){.changes = ir_remove_dead_nodes(g)};
}
