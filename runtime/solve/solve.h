// The best linear classifier on given features: multinomial logistic regression, or a logistic
// regression for each class, with a ridge that held out images choose. The problem is convex, so
// that the answer depends on the features alone, on no rate and no number of epochs. Private
// header.
#ifndef RUNTIME_SOLVE_SOLVE_H
#define RUNTIME_SOLVE_SOLVE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/core/rt.h"

enum { RT_SOLVE_PATH = 13, RT_SOLVE_FOLDS = 5 }; // ridges from 10 to 1e-5; parts of the images

typedef struct RtSolveInput {
    int64_t n, d;          // images, features of one
    int columns;           // of the classifier
    bool exclusive;        // one class an image (softmax); else each column by itself (sigmoid)
    const int32_t *labels; // [n] 0 to columns - 1, exclusive
    const float *targets;  // [n][columns] 0 to 1, else
    const int32_t *strata; // [n] what parts of the images are like in, 0 or more; NULL: nothing
    const float *weight;   // [n] of each image's loss; NULL: 1
    uint64_t seed;         // of the parts
    int threads;           // that can be there, as of rt_region_threads()
    int64_t memory;        // bytes that it may work in; 0: as many as it likes
    // The features of image i, [d], which stay, or are put in room, [d]; NULL with err set. Threads
    // call it, with room of their own.
    const float *(*row)(void *ctx, int64_t i, float *room, RtErr *err);
    // A ridge of the path is done, and, where features come in blocks, so is one of these; false:
    // stop. NULL: nobody asks.
    bool (*progress)(void *ctx, int done, int total);
    void *ctx;
} RtSolveInput;

typedef struct RtSolveStep { // means over images, weighted
    double ridge;
    double loss;            // of the images that were learned from, without the ridge
    double held, held_top1; // of those held out
} RtSolveStep;

typedef struct RtSolved {
    float *weight; // [columns][d] of the features as they are
    float *bias;   // [columns]
    RtSolveStep path[RT_SOLVE_PATH];
    int n_path, best;  // best: the ridge that was taken
    int parts;         // that were held out in turn
    double loss, top1; // of all images in the end, without the ridge
    double slope;      // the gradient's norm then, of 1 before
    int64_t passes;    // over the images
} RtSolved;

// Bytes that it works in, its results apart, with the features of `block` images at a time.
int64_t rt_solve_bytes(int64_t n, int64_t d, int columns, int64_t block);
// How many images that may be in so many bytes (0: no matter). n: all, features are read once;
// fewer: in each pass anew, to the same bits. 0: not even that.
int64_t rt_solve_block(int64_t n, int64_t d, int columns, int64_t memory);
// False with err set: a feature is not finite, one cannot be read, no memory. False with err->text
// empty: stopped.
bool rt_solve(const RtSolveInput *in, RtSolved *out, RtErr *err);
void rt_solved_free(RtSolved *s); // any state

#endif
