// Parameters and multiply-accumulates of a node: what inspect prints and draws. Private to tools/.
#ifndef TOOLS_LAYER_STATS_H
#define TOOLS_LAYER_STATS_H

#include "ir/ir.h"

typedef struct LayerStats {
    int64_t params; // elements of constant float operands
    double macs;    // per image; of convolutions, their gradients, and products of matrices
} LayerStats;
LayerStats layer_stats(const IrNode *n);
// The node's name in at most `size` - 1 bytes: of a fused one the first part and how many follow
// ("..layer1.0/conv2/Conv +2"). Returns buf.
const char *layer_name(const IrNode *n, char *buf, size_t size);
// "conv 7x7 /2 + add + relu" into buf.
const char *layer_text(const IrNode *n, char *buf, size_t size);

#endif
