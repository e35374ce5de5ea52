// Newton's method with conjugate gradients, for the loss of loss.h. Private header.
#ifndef RUNTIME_SOLVE_NEWTON_H
#define RUNTIME_SOLVE_NEWTON_H

#include "runtime/solve/loss.h"

typedef struct RtSolveNewton {              // memory of the method
    double *g, *step, *rest, *way, *curved; // like V
    double *z, *dz;                         // like x V
} RtSolveNewton;

bool rt_solve_newton_init(RtSolveNewton *m, const RtSolveLoss *f); // false: no memory
void rt_solve_newton_free(RtSolveNewton *m);

// Goes from v to where the gradient is at most `tolerance` of `unit` and less than a third of what
// it was at v, or no better v is found; m->z are its scores then. Returns the gradient's norm.
double rt_solve_newton(RtSolveNewton *m, RtSolveLoss *f, double *v, double unit, double tolerance);

#endif
