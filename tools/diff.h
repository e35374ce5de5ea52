// Differences between tensors, as hone verify tells of them. Private to tools/.
#ifndef TOOLS_DIFF_H
#define TOOLS_DIFF_H

#include "ir/ir.h"

// Largest difference, root of the mean square of all, and largest magnitude of the reference; a NaN
// on one side only counts as infinite. not_finite: numbers of the reference that are none.
typedef struct Diff {
    double diff, rms, magnitude;
    int64_t not_finite;
} Diff;

Diff diff_of(const IrTensor *got, const IrTensor *want);
// x, or d's largest difference, as a share of the largest magnitude.
double diff_relative_to(double x, Diff d);
double diff_relative(Diff d);

#endif
