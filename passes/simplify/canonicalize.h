// The rules of canonicalize, kept in two files. Private to canonicalize.c and
// simplify/canonicalize_move.c.
#ifndef PASSES_SIMPLIFY_CANONICALIZE_H
#define PASSES_SIMPLIFY_CANONICALIZE_H

#include "passes/util.h"

// Tries one rewrite of n. True: done, and n may be gone; no other node is removed, new ones stand
// before n. Rules of a table are tried in order, those with the op of the node or IR_OP_COUNT (any
// op).
typedef struct CanonRule {
    IrOp op;
    bool (*apply)(PassContext *ctx, IrNode *n);
} CanonRule;

extern const CanonRule pass_canon_arith[], pass_canon_move[];
extern const int pass_n_canon_arith, pass_n_canon_move;

#endif
