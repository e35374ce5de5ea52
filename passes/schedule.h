// Between the files that choose kernels. Private to passes/schedule*.c.
#ifndef PASSES_SCHEDULE_H
#define PASSES_SCHEDULE_H

#include "passes/passes.h"

typedef struct Winograd {
    const char *algo;
    int64_t rows, cols; // of an output tile
    int64_t vecs;       // output vectors of a product
    int64_t block;      // output tiles that are transformed together
    double cycles;      // an image on one core
} Winograd;

// The best Winograd kernel for a convolution; false when there is none for it.
bool schedule_winograd(const IrNode *n, const PassOptions *opt, Winograd *out);

#endif
