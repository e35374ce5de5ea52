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

#include "runtime/solve/product.h"

typedef struct RtSolveLoss {
    int64_t n, depth;  // images; features and the 1
    int columns, wide; // of the classifier; rounded up to RT_SOLVE_COLUMNS
    bool exclusive;    // softmax
    int threads;
    const int32_t *labels; // [n], exclusive
    const float *targets;  // [n][columns], else
    double *weight;        // [n]
    double ridge;
    RtSolvePanels images, features; // x, and turned over
    double *p, *rest;               // probabilities where the gradient was taken; [n][wide]
    double *loss;                   // [n] of images
    int64_t passes;                 // products over all images, two for each
} RtSolveLoss;

// With room for x, zeros. False: no memory.
bool rt_solve_loss_init(RtSolveLoss *f, int64_t n, int64_t depth, int columns);
void rt_solve_loss_free(RtSolveLoss *f);
static inline int64_t rt_solve_loss_size(const RtSolveLoss *f) { // numbers of a matrix like V
    return rt_solve_rows(f->depth) * f->wide;
}

void rt_solve_loss_scores(const RtSolveLoss *f, const double *v, double *z); // z = x V
// The sum over images, z being their scores; each image's stays in f->loss. No ridge.
double rt_solve_loss_value(RtSolveLoss *f, const double *z);
// Half the ridge times the square of v.
double rt_solve_loss_ridge(const RtSolveLoss *f, const double *v);
void rt_solve_loss_gradient(RtSolveLoss *f, const double *v, const double *z, double *g);
// The second derivatives, where the gradient was taken last, times d.
void rt_solve_loss_curvature(RtSolveLoss *f, const double *d, double *to);
// Is image i, of scores z, classified rightly; each column by itself: the share of them.
double rt_solve_loss_right(const RtSolveLoss *f, const double *z, int64_t i);

#endif
