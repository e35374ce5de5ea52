// How deep in the network a parameter lies. Private to passes/train/.
#ifndef PASSES_TRAIN_DEPTH_H
#define PASSES_TRAIN_DEPTH_H

#include "passes/train/match.h"

// The blocks of the network, and level[n] of its parameters: 0 before the first block, k in the
// k-th, and behind the last one more than there are.
int pass_depths(IrGraph *g, const PassParam *params, int n, int *level);

#endif
