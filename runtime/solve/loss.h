// What the solver minimizes: the mean loss of a linear classifier and its ridge. Private header.
//
//   f(V) = sum_i w_i loss(x_i V, y_i) + ridge / 2 |V without its last row|^2
//
// x_i: the standardized features of image i and, last, a 1, whose row of V is the bias. loss:
// cross-entropy of a softmax, or the sum over columns of that of a sigmoid. w sums to 1.
// Matrices like V are [rt_solve_rows(depth)][wide], those like x V [rt_solve_rows(n)][wide]; what
// is beyond depth, n and columns is 0 and stays 0.
#ifndef RUNTIME_SOLVE_LOSS_H
#define RUNTIME_SOLVE_LOSS_H

#include "runtime/solve/features.h"

typedef struct RtSolveLoss {
    int64_t n, depth;  // images; features and the 1
    int columns, wide; // of the classifier; rounded up to RT_SOLVE_COLUMNS
    bool exclusive;    // softmax
    int threads;
    const int32_t *labels; // [n], exclusive
    const float *targets;  // [n][columns], else
    double *weight;        // [n]
    double ridge;
    RtSolveFeatures x;
    double *p, *rest; // of a block: probabilities, and what is left; [rt_solve_rows(block)][wide]
    const double *at; // scores where the gradient was taken last
    double *loss;     // [n] of images
    int64_t passes;   // products over all images, two for each
} RtSolveLoss;

// Over the images of in, `block` at a time, its scales not yet measured. False: no memory.
bool rt_solve_loss_init(RtSolveLoss *f, const RtSolveInput *in, int64_t block, int threads);
void rt_solve_loss_free(RtSolveLoss *f);
static inline int64_t rt_solve_loss_size(const RtSolveLoss *f) { // numbers of a matrix like V
    return rt_solve_rows(f->depth) * f->wide;
}

void rt_solve_loss_scores(RtSolveLoss *f, const double *v, double *z); // z = x V
// The sum over images, z + far dz being their scores; each image's stays in f->loss. No ridge. dz
// NULL: of z.
double rt_solve_loss_value(RtSolveLoss *f, const double *z, double far, const double *dz);
// Half the ridge times the square of v.
double rt_solve_loss_ridge(const RtSolveLoss *f, const double *v);
// z stays as it is for rt_solve_loss_curvature().
void rt_solve_loss_gradient(RtSolveLoss *f, const double *v, const double *z, double *g);
// The second derivatives, where the gradient was taken last, times d.
void rt_solve_loss_curvature(RtSolveLoss *f, const double *d, double *to);
// Is image i, of scores z, classified rightly; each column by itself: the share of them.
double rt_solve_loss_right(const RtSolveLoss *f, const double *z, int64_t i);

#endif
