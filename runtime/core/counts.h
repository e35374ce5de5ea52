// The numbers that a run makes beside its outputs: sizes that data decides, and checks.
#ifndef RUNTIME_CORE_COUNTS_H
#define RUNTIME_CORE_COUNTS_H

#include "runtime/core/rt.h"

typedef struct RtCounts {
    int64_t *value; // [n_counts]; NULL: the program has none
    void **results; // [n_outputs + n_counts]: the caller's outputs, then value's
} RtCounts;

bool rt_counts_make(RtCounts *c, const HoneModelDesc *d, RtErr *err);
void rt_counts_free(RtCounts *c);
// What the steps of a run take for outputs.
void *const *rt_counts_beside(RtCounts *c, const HoneModelDesc *d, void *const *outputs);
// False where something did not hold in the run that was: its results mean nothing.
bool rt_counts_check(const RtCounts *c, const HoneModelDesc *d, RtErr *err);
// How much of `size` along an axis of an output is meant.
int64_t rt_counts_dim(const RtCounts *c, const HoneModelDesc *d, int output, int axis,
                      int64_t size);

#endif
