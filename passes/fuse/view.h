// A value seen as elements of another: how its axes lie there. Private to passes/fuse/.
#ifndef PASSES_FUSE_VIEW_H
#define PASSES_FUSE_VIEW_H

#include "passes/util.h"

// Element (i0, i1, ..) is `scale` times the source's element offset + i0 * stride[0] + ..
typedef struct PassView {
    IrValue *source;
    int rank;
    IrDim size[IR_MAX_RANK];
    int64_t stride[IR_MAX_RANK];
    int64_t offset;
    double scale;
} PassView;

// Through reshapes, transposes, slices and products with a constant scalar above v, as far as they
// leave a view. All axes of the source but the first have a fixed size.
bool pass_view(PassContext *ctx, IrValue *v, PassView *view);

// n = k * of, by a constant scalar. False: it is no such thing.
bool pass_view_scale(PassContext *ctx, const IrNode *n, IrValue **of, double *k);

#endif
