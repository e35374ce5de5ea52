// Initial values of a new classifier. Private to passes/train/.
#ifndef PASSES_TRAIN_HEAD_INIT_H
#define PASSES_TRAIN_HEAD_INIT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct PassInit {
    uint64_t seed;
    double scale, offset;
    bool normal;
} PassInit;

// Uniform in (-scale, scale), or normal with that deviation, around offset.
void pass_head_fill(float *data, int64_t n, PassInit init);

#endif
