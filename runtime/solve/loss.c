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

bool rt_solve_loss_init(RtSolveLoss *f, const RtSolveInput *in, int64_t block, int threads) {
    *f = (RtSolveLoss){.n = in->n,
                       .depth = in->d + 1,
                       .columns = in->columns,
                       .wide = round_columns(in->columns),
                       .exclusive = in->exclusive,
                       .threads = threads,
                       .labels = in->labels,
                       .targets = in->targets};
    int64_t rows = rt_solve_rows(block) * f->wide;
    return rt_solve_features_init(&f->x, in, block, threads) && (f->weight = alloc(in->n)) &&
           (f->loss = alloc(in->n)) && (f->p = alloc(rows)) && (f->rest = alloc(rows));
}

void rt_solve_loss_free(RtSolveLoss *f) {
    rt_solve_features_free(&f->x);
    free(f->weight);
    free(f->loss);
    free(f->p);
    free(f->rest);
}

static void clear(double *x, int64_t n) {
    memset(x, 0, (size_t)n * sizeof *x);
}

void rt_solve_loss_scores(RtSolveLoss *f, const double *v, double *z) {
    clear(z, rt_solve_rows(f->n) * f->wide);
    for (RtSolveBlock b = {0}; rt_solve_features_next(&f->x, &b);) {
        rt_solve_features_take(&f->x, &b);
        rt_solve_product(&f->x.images, v, f->wide, z + b.first * f->wide, f->threads);
    }
}

// ---------------------------------------------------------------- one image

// p may be z.
static double softmax(const double *z, int columns, int32_t label, double *p) {
    double top = z[0], sum = 0, own = z[label];
    for (int c = 1; c < columns; c++)
        top = z[c] > top ? z[c] : top;
    for (int c = 0; c < columns; c++)
        sum += p[c] = exp(z[c] - top);
    for (int c = 0; c < columns; c++)
        p[c] /= sum;
    return log(sum) + top - own;
}

static double sigmoids(const double *z, int columns, const float *target, double *p) {
    double loss = 0;
    for (int c = 0; c < columns; c++) {
        double score = z[c], e = exp(-fabs(score));
        loss += log1p(e) + fmax(score, 0) - (double)target[c] * score;
        p[c] = (score >= 0 ? 1 : e) / (1 + e);
    }
    return loss;
}

// Of image i, of scores z: [wide].
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

double rt_solve_loss_value(RtSolveLoss *f, const double *z, double far, const double *dz) {
    double sum = 0;
    int wide = f->wide;
    for (RtSolveBlock b = {0}; rt_solve_features_next(&f->x, &b);) {
#pragma omp parallel for schedule(static) num_threads(f->threads)
        for (int64_t i = b.first; i < b.first + b.n; i++) {
            double *row = f->rest + (i - b.first) * wide;
            for (int c = 0; c < f->columns; c++)
                row[c] = dz ? z[i * wide + c] + far * dz[i * wide + c] : z[i * wide + c];
            f->loss[i] = loss_of(f, row, i, row);
        }
    }
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

// What the ridge adds, once all blocks have.
static void end_pass(RtSolveLoss *f, const double *v, double *to) {
    for (int64_t i = 0; i < (f->depth - 1) * f->wide; i++)
        to[i] += f->ridge * v[i];
    f->passes++;
}

// Into f->p, those of a block.
static void find_probabilities(RtSolveLoss *f, const RtSolveBlock *b) {
#pragma omp parallel for schedule(static) num_threads(f->threads)
    for (int64_t i = b->first; i < b->first + b->n; i++)
        loss_of(f, f->at + i * f->wide, i, f->p + (i - b->first) * f->wide);
}

void rt_solve_loss_gradient(RtSolveLoss *f, const double *v, const double *z, double *g) {
    f->at = z;
    clear(g, rt_solve_loss_size(f));
    for (RtSolveBlock b = {0}; rt_solve_features_next(&f->x, &b);) {
        find_probabilities(f, &b);
#pragma omp parallel for schedule(static) num_threads(f->threads)
        for (int64_t i = b.first; i < b.first + b.n; i++) {
            const double *p = f->p + (i - b.first) * f->wide;
            double *rest = f->rest + (i - b.first) * f->wide;
            for (int c = 0; c < f->columns; c++) {
                double y =
                    f->exclusive ? c == f->labels[i] : (double)f->targets[i * f->columns + c];
                rest[c] = f->weight[i] * (p[c] - y);
            }
        }
        rt_solve_features_take(&f->x, &b);
        rt_solve_product(&f->x.features, f->rest, f->wide, g, f->threads);
    }
    end_pass(f, v, g);
}

// Of a block: f->rest, scores of d, becomes their second derivatives.
static void bend(RtSolveLoss *f, const RtSolveBlock *b) {
#pragma omp parallel for schedule(static) num_threads(f->threads)
    for (int64_t i = b->first; i < b->first + b->n; i++) {
        const double *p = f->p + (i - b->first) * f->wide;
        double *z = f->rest + (i - b->first) * f->wide, mean = 0;
        for (int c = 0; f->exclusive && c < f->columns; c++)
            mean += p[c] * z[c];
        for (int c = 0; c < f->columns; c++)
            z[c] = f->weight[i] * p[c] * (f->exclusive ? z[c] - mean : (1 - p[c]) * z[c]);
    }
}

void rt_solve_loss_curvature(RtSolveLoss *f, const double *d, double *to) {
    clear(to, rt_solve_loss_size(f));
    for (RtSolveBlock b = {0}; rt_solve_features_next(&f->x, &b);) {
        rt_solve_features_take(&f->x, &b);
        clear(f->rest, rt_solve_rows(b.n) * f->wide);
        rt_solve_product(&f->x.images, d, f->wide, f->rest, f->threads);
        if (b.n < f->n) // one block's stay as the gradient found them
            find_probabilities(f, &b);
        bend(f, &b);
        rt_solve_product(&f->x.features, f->rest, f->wide, to, f->threads);
    }
    end_pass(f, d, to);
}
