// Elementwise nodes on their way into the body of a map or an epilogue. Private to passes/.
#ifndef PASSES_BODY_H
#define PASSES_BODY_H

#include "passes/util.h"

enum { PASS_MAX_STEPS = 24, PASS_MAX_OPERANDS = 16 };

// Steps and what they stand for. A plain value: copy it to try something.
typedef struct PassBody {
    int max_steps, max_in; // what codegen takes; at most the sizes of the arrays
    int first_in;          // operands before this one are the node's own, not the body's
    int n, n_in;
    IrStep step[PASS_MAX_STEPS];
    IrNode *node[PASS_MAX_STEPS]; // NULL for steps that were there before
    IrValue *result[PASS_MAX_STEPS];
    IrValue *in[PASS_MAX_OPERANDS]; // operands of the node to be
    IrValue *acc;                   // what IR_ACC stands for, or NULL
} PassBody;

// Appends n, whose operands are results of the body, its acc, or new operands of the node. False,
// with the body as it was, when it does not fit.
bool pass_body_add(PassBody *b, IrNode *n);
bool pass_body_holds(const PassBody *b, const IrNode *n);  // n is one of the steps
bool pass_body_makes(const PassBody *b, const IrValue *v); // v is acc or the result of a step
// Nobody outside reads acc or a step's result but the last one's.
bool pass_body_is_closed(const PassBody *b);
// The steps, but for casts to bytes and back that change nothing, of whole numbers that a clip
// holds within the bytes' range, and for zero points that are added and taken away around them.
// Operands that these alone read leave b->in. In the context's scratch.
IrBody pass_body_steps(PassContext *ctx, PassBody *b);
// x+y+z over `name` and the names of the steps' nodes.
const char *pass_body_name(const PassBody *b, IrArena *a, const char *name);
// The nodes of the steps go, last first; their results must be unread.
void pass_body_remove_nodes(PassBody *b);

#endif
