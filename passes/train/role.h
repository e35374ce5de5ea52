// Why a constant that the loss depends on is no parameter. Private to passes/train/.
#ifndef PASSES_TRAIN_ROLE_H
#define PASSES_TRAIN_ROLE_H

#include "passes/train/flow.h"
#include "passes/util.h"

typedef struct PassRole {
    IrNode *reader;     // the first node that meets the constant, or what is computed from it and
                        // constants alone, with something that depends on the image
    bool computed;      // it meets what is computed, by more than moving the numbers
    const char *reason; // NULL: it is a parameter
} PassRole;

// v is a constant of floats that is reached. Constants that too much is computed from are an error.
PassRole pass_role(PassContext *ctx, PassFlow *f, const PassOrder *order, IrValue *v);

#endif
