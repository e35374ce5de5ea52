// The loss of loss.h with its first and second derivatives. Bishop, Pattern Recognition and Machine
// Learning, 4.3.4: of a softmax the gradient by the scores is p - y, the second derivatives times d
// are p * (d - p.d); of a sigmoid p - y and p (1 - p) d.
#include "runtime/solve/loss.h"

#include "runtime/core/rt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double *alloc(int64_t n) {
    double *p = rt_alloc_aligned((size_t)n * sizeof *p);
    if (p)
        memset(p, 0, (size_t)n * sizeof *p);
    return p;
}

static int round_columns(int columns) {
    return (columns + RT_SOLVE_COLUMNS - 1) / RT_SOLVE_COLUMNS * RT_SOLVE_COLUMNS;
}

bool rt_solve_loss_init(RtSolveLoss *f, int64_t n, int64_t depth, int columns) {
    *f = (RtSolveLoss){
        .n = n, .depth = depth, .columns = columns, .wide = round_columns(columns), .threads = 1};
    return rt_solve_panels_init(&f->images, n, depth) &&
           rt_solve_panels_init(&f->features, depth, n) && (f->weight = alloc(n)) &&
           (f->loss = alloc(n)) && (f->p = alloc(rt_solve_rows(n) * f->wide)) &&
           (f->rest = alloc(rt_solve_rows(n) * f->wide));
}

void rt_solve_loss_free(RtSolveLoss *f) {
    rt_solve_panels_free(&f->images);
    rt_solve_panels_free(&f->features);
    free(f->weight);
    free(f->loss);
    free(f->p);
    free(f->rest);
}

void rt_solve_loss_scores(const RtSolveLoss *f, const double *v, double *z) {
    rt_solve_product(&f->images, v, f->wide, z, f->threads);
}

// ---------------------------------------------------------------- one image

static double softmax(const double *z, int columns, int32_t label, double *p) {
    double top = z[0], sum = 0;
    for (int c = 1; c < columns; c++)
        top = z[c] > top ? z[c] : top;
    for (int c = 0; c < columns; c++)
        sum += p[c] = exp(z[c] - top);
    for (int c = 0; c < columns; c++)
        p[c] /= sum;
    return log(sum) + top - z[label];
}

static double sigmoids(const double *z, int columns, const float *target, double *p) {
    double loss = 0;
    for (int c = 0; c < columns; c++) {
        double e = exp(-fabs(z[c]));
        loss += log1p(e) + fmax(z[c], 0) - (double)target[c] * z[c];
        p[c] = (z[c] >= 0 ? 1 : e) / (1 + e);
    }
    return loss;
}

static double loss_of(const RtSolveLoss *f, const double *z, int64_t i, double *p) {
    return f->exclusive ? softmax(z, f->columns, f->labels[i], p)
                        : sigmoids(z, f->columns, f->targets + i * f->columns, p);
}

double rt_solve_loss_right(const RtSolveLoss *f, const double *z, int64_t i) {
    const double *row = z + i * f->wide;
    int right = 0;
    for (int c = 0; c < f->columns; c++)
        right += f->exclusive ? row[c] > row[f->labels[i]] ||
                                    (row[c] == row[f->labels[i]] && c < f->labels[i])
                              : (row[c] > 0) == (f->targets[i * f->columns + c] > 0.5f);
    return f->exclusive ? right == 0 : (double)right / f->columns;
}

// ---------------------------------------------------------------- all images

double rt_solve_loss_value(RtSolveLoss *f, const double *z) {
    double sum = 0;
#pragma omp parallel for schedule(static) num_threads(f->threads)
    for (int64_t i = 0; i < f->n; i++)
        f->loss[i] = loss_of(f, z + i * f->wide, i, f->rest + i * f->wide);
    for (int64_t i = 0; i < f->n; i++)
        sum += f->weight[i] * f->loss[i];
    return sum;
}

double rt_solve_loss_ridge(const RtSolveLoss *f, const double *v) {
    double sum = 0;
    for (int64_t i = 0; i < (f->depth - 1) * f->wide; i++)
        sum += v[i] * v[i];
    return f->ridge / 2 * sum;
}

// to = x^T rest + ridge v
static void turn_back(RtSolveLoss *f, const double *v, double *to) {
    rt_solve_product(&f->features, f->rest, f->wide, to, f->threads);
    for (int64_t i = 0; i < (f->depth - 1) * f->wide; i++)
        to[i] += f->ridge * v[i];
    f->passes++;
}

void rt_solve_loss_gradient(RtSolveLoss *f, const double *v, const double *z, double *g) {
#pragma omp parallel for schedule(static) num_threads(f->threads)
    for (int64_t i = 0; i < f->n; i++) {
        double *p = f->p + i * f->wide, *rest = f->rest + i * f->wide;
        loss_of(f, z + i * f->wide, i, p);
        for (int c = 0; c < f->columns; c++) {
            double y = f->exclusive ? c == f->labels[i] : (double)f->targets[i * f->columns + c];
            rest[c] = f->weight[i] * (p[c] - y);
        }
    }
    turn_back(f, v, g);
}

void rt_solve_loss_curvature(RtSolveLoss *f, const double *d, double *to) {
    rt_solve_loss_scores(f, d, f->rest);
#pragma omp parallel for schedule(static) num_threads(f->threads)
    for (int64_t i = 0; i < f->n; i++) {
        const double *p = f->p + i * f->wide;
        double *z = f->rest + i * f->wide, mean = 0;
        for (int c = 0; f->exclusive && c < f->columns; c++)
            mean += p[c] * z[c];
        for (int c = 0; c < f->columns; c++)
            z[c] = f->weight[i] * p[c] * (f->exclusive ? z[c] - mean : (1 - p[c]) * z[c]);
    }
    turn_back(f, d, to);
}
