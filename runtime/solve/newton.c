// Truncated Newton (Nocedal and Wright, Numerical Optimization, algorithm 7.1): the step solves
// H s = -g by conjugate gradients as far as the forcing term min(0.1, sqrt(|g| / unit)) asks, then
// is halved until the loss falls enough. Scores are linear in V, so that trials cost no product.
#include "runtime/solve/newton.h"

#include "runtime/core/rt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_STEPS = 100, MOST_CONJUGATE = 500, MOST_HALVINGS = 30 };
#define ARMIJO 1e-4
#define LEAST_GAIN 0.3 // of the gradient that it starts with: however small, another ridge moves v

static double *alloc(int64_t n) {
    double *p = rt_alloc_aligned((size_t)n * sizeof *p);
    if (p)
        memset(p, 0, (size_t)n * sizeof *p);
    return p;
}

bool rt_solve_newton_init(RtSolveNewton *m, const RtSolveLoss *f) {
    int64_t size = rt_solve_loss_size(f), rows = rt_solve_rows(f->n) * f->wide;
    *m = (RtSolveNewton){alloc(size), alloc(size), alloc(size), alloc(size),
                         alloc(size), alloc(rows), alloc(rows)};
    return m->g && m->step && m->rest && m->way && m->curved && m->z && m->dz;
}

void rt_solve_newton_free(RtSolveNewton *m) {
    double *const all[] = {m->g, m->step, m->rest, m->way, m->curved, m->z, m->dz};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

// m->step: the solution of H s = -g, until what is left is `share` of g.
static void conjugate(RtSolveNewton *m, RtSolveLoss *f, double share) {
    int64_t n = rt_solve_loss_size(f);
    for (int64_t i = 0; i < n; i++) {
        m->step[i] = 0;
        m->rest[i] = m->way[i] = -m->g[i];
    }
    double left = dot(m->rest, m->rest, n), enough = share * share * left;
    for (int k = 0; k < MOST_CONJUGATE && left > enough && !f->x.failed; k++) {
        rt_solve_loss_curvature(f, m->way, m->curved);
        double bend = dot(m->way, m->curved, n);
        if (!(bend > 0)) // flat: a direction that changes no score
            return;
        double far = left / bend, before = left;
        for (int64_t i = 0; i < n; i++) {
            m->step[i] += far * m->way[i];
            m->rest[i] -= far * m->curved[i];
        }
        left = dot(m->rest, m->rest, n);
        for (int64_t i = 0; i < n; i++)
            m->way[i] = m->rest[i] + left / before * m->way[i];
    }
}

// v moves along m->step by 1, 1/2, 1/4 ... of it, and m->z with it. False: the loss falls nowhere.
static bool search(RtSolveNewton *m, RtSolveLoss *f, double *v) {
    int64_t n = rt_solve_loss_size(f), rows = f->n * f->wide, inner = (f->depth - 1) * f->wide;
    double slope = dot(m->g, m->step, n), value = rt_solve_loss_value(f, m->z, 0, NULL);
    double across = dot(v, m->step, inner), square = dot(m->step, m->step, inner), far = 1;
    rt_solve_loss_scores(f, m->step, m->dz);
    for (int k = 0; k < MOST_HALVINGS; k++, far /= 2) {
        double ridge = f->ridge * far * (across + far / 2 * square);
        if (rt_solve_loss_value(f, m->z, far, m->dz) + ridge <= value + ARMIJO * far * slope) {
            for (int64_t i = 0; i < n; i++)
                v[i] += far * m->step[i];
            for (int64_t i = 0; i < rows; i++)
                m->z[i] += far * m->dz[i];
            return true;
        }
    }
    return false;
}

double rt_solve_newton(RtSolveNewton *m, RtSolveLoss *f, double *v, double unit, double tolerance) {
    int64_t n = rt_solve_loss_size(f);
    double norm = 0, first = 0;
    rt_solve_loss_scores(f, v, m->z);
    for (int k = 0; k < MOST_STEPS && !f->x.failed; k++) {
        rt_solve_loss_gradient(f, v, m->z, m->g);
        norm = sqrt(dot(m->g, m->g, n));
        first = k ? first : norm;
        if (norm <= tolerance * unit && norm <= LEAST_GAIN * first)
            break;
        conjugate(m, f, fmin(0.1, sqrt(norm / unit)));
        if (!search(m, f, v))
            break;
    }
    return norm;
}
