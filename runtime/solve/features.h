// The features that the solver learns from: standardized, a 1 behind them, and kept in two orders,
// since the two products of a pass read them by images and by features. All at once, or, where
// they are too many for that, in blocks of images, each made from the caller's rows whenever it is
// needed. What is summed over images goes on from block to block in the order of the images, so
// that the bits are the same. Private header.
#ifndef RUNTIME_SOLVE_FEATURES_H
#define RUNTIME_SOLVE_FEATURES_H

#include "runtime/solve/product.h"
#include "runtime/solve/solve.h"

typedef struct RtSolveBlock { // images first to first + n - 1; {0}: none yet
    int64_t first, n;
} RtSolveBlock;

typedef struct RtSolveFeatures {
    const RtSolveInput *in; // its rows
    int64_t n, d;           // images, features of one; depth d + 1
    int64_t block;          // images of a block: n, or a multiple of RT_SOLVE_PANEL
    int threads;
    double *mean, *factor;          // [d]
    RtSolvePanels images, features; // of the block that is here, and turned over
    int64_t here;                   // its first image; -1: none
    float *room;                    // [threads][RT_SOLVE_PANEL][rt_solve_rows(d + 1)]
    int done;                       // for in->progress, which each block asks
    bool failed;                    // a row could not be read, or it was stopped: nothing counts
    RtErr err;                      // then; empty: stopped
} RtSolveFeatures;

// False: no memory. in outlives it.
bool rt_solve_features_init(RtSolveFeatures *x, const RtSolveInput *in, int64_t block, int threads);
void rt_solve_features_free(RtSolveFeatures *x);
// Mean and factor: 1 / sqrt(deviation of the feature * that of all); 0: it is the same everywhere.
// False with err set.
bool rt_solve_features_measure(RtSolveFeatures *x, RtErr *err);

// The next block; false: b was the last.
bool rt_solve_features_next(const RtSolveFeatures *x, RtSolveBlock *b);
// Makes it the one that is here. x->failed: it is not.
void rt_solve_features_take(RtSolveFeatures *x, const RtSolveBlock *b);

#endif
