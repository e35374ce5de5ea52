// Blocks of standardized features; see features.h.
#include "runtime/solve/features.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#define QUIET 1e-7 // a deviation below this share of the largest number is none

static int64_t width_of(const RtSolveFeatures *x) { // of a row in x->room
    return rt_solve_rows(x->d + 1);
}

bool rt_solve_features_init(RtSolveFeatures *x, const RtSolveInput *in, int64_t block,
                            int threads) {
    *x = (RtSolveFeatures){
        .in = in, .n = in->n, .d = in->d, .block = block, .threads = threads, .here = -1};
    size_t d = (size_t)in->d + 1;
    return rt_solve_panels_init(&x->images, block, in->d + 1) &&
           rt_solve_panels_init(&x->features, in->d + 1, block) &&
           (x->mean = calloc(d, sizeof *x->mean)) && (x->factor = calloc(d, sizeof *x->factor)) &&
           (x->room = rt_alloc_aligned((size_t)(threads * RT_SOLVE_PANEL * width_of(x)) *
                                       sizeof *x->room));
}

void rt_solve_features_free(RtSolveFeatures *x) {
    rt_solve_panels_free(&x->images);
    rt_solve_panels_free(&x->features);
    free(x->mean);
    free(x->factor);
    free(x->room);
}

// ---------------------------------------------------------------- scales

static const float *row_of(RtSolveFeatures *x, int64_t i, RtErr *err) {
    const float *row = x->in->row(x->in->ctx, i, x->room, err);
    for (int64_t k = 0; row && k < x->d; k++) {
        if (!isfinite(row[k])) {
            rt_fail(err, "a feature of image %lld is not finite", (long long)i);
            return NULL;
        }
    }
    return row;
}

static bool find_means(RtSolveFeatures *x, RtErr *err) {
    for (int64_t i = 0; i < x->n; i++) {
        const float *row = row_of(x, i, err);
        if (!row)
            return false;
        for (int64_t k = 0; k < x->d; k++)
            x->mean[k] += (double)row[k];
    }
    for (int64_t k = 0; k < x->d; k++)
        x->mean[k] /= (double)x->n;
    return true;
}

bool rt_solve_features_measure(RtSolveFeatures *x, RtErr *err) {
    double all = 0;
    if (!find_means(x, err))
        return false;
    for (int64_t i = 0; i < x->n; i++) {
        const float *row = x->in->row(x->in->ctx, i, x->room, err);
        if (!row)
            return false;
        for (int64_t k = 0; k < x->d; k++) {
            double far = (double)row[k] - x->mean[k];
            x->factor[k] += far * far;
        }
    }
    for (int64_t k = 0; k < x->d; k++)
        all += x->factor[k] /= (double)x->n;
    all = sqrt(all / (double)(x->d ? x->d : 1));
    for (int64_t k = 0; k < x->d; k++) {
        double own = sqrt(x->factor[k]);
        x->factor[k] = own > QUIET * fabs(x->mean[k]) && own > 0 ? 1 / sqrt(own * all) : 0;
    }
    return true;
}

// ---------------------------------------------------------------- blocks

bool rt_solve_features_next(const RtSolveFeatures *x, RtSolveBlock *b) {
    b->first += b->n;
    b->n = x->n - b->first < x->block ? x->n - b->first : x->block;
    return b->n > 0;
}

// Standardized into place: room[width_of(x)], a 1 behind them, then zeros. False with err set.
static bool read_row(const RtSolveFeatures *x, int64_t i, float *room, RtErr *err) {
    const float *row = x->in->row(x->in->ctx, i, room, err);
    for (int64_t k = 0; row && k < x->d; k++)
        room[k] = (float)(((double)row[k] - x->mean[k]) * x->factor[k]);
    for (int64_t k = x->d; k < width_of(x); k++)
        room[k] = k == x->d;
    return row;
}

// Squares of 16 x 16 go into the panels as they are and turned over.
static void spread(RtSolveFeatures *x, int64_t first, int rows, const float *room) {
    int64_t width = width_of(x);
    for (int64_t k = 0; k < width; k += RT_SOLVE_PANEL) {
        const float *from = room + k;
        float *turned = rt_solve_panels_at(&x->features, k, first);
        for (int r = 0; r < rows; r++)
            memcpy(turned + r * RT_SOLVE_PANEL, from + r * width, RT_SOLVE_PANEL * sizeof *from);
        for (int j = 0; j < RT_SOLVE_PANEL && k + j <= x->d; j++) {
            float *to = rt_solve_panels_at(&x->images, first, k + j);
            for (int r = 0; r < RT_SOLVE_PANEL; r++)
                to[r] = from[r * width + j];
        }
    }
}

// The panel of 16 images from `first` of the block on; 0 where no image and no feature is.
static bool fill_panel(RtSolveFeatures *x, const RtSolveBlock *b, int64_t first, float *room,
                       RtErr *err) {
    int64_t width = width_of(x);
    int rows = b->n - first < RT_SOLVE_PANEL ? (int)(b->n - first) : RT_SOLVE_PANEL;
    for (int r = 0; r < rows; r++)
        if (!read_row(x, b->first + first + r, room + r * width, err))
            return false;
    memset(room + rows * width, 0, (size_t)((RT_SOLVE_PANEL - rows) * width) * sizeof *room);
    spread(x, first, rows, room);
    return true;
}

static bool goes_on(const RtSolveFeatures *x) {
    const RtSolveInput *in = x->in;
    return x->block >= x->n || !in->progress || in->progress(in->ctx, x->done, RT_SOLVE_PATH + 1);
}

void rt_solve_features_take(RtSolveFeatures *x, const RtSolveBlock *b) {
    int64_t panels = (b->n + RT_SOLVE_PANEL - 1) / RT_SOLVE_PANEL;
    if (x->failed || x->here == b->first)
        return;
    x->here = -1;
    x->failed = !goes_on(x);
    if (x->failed)
        return;
    x->images.rows = x->features.depth = b->n;
#pragma omp parallel num_threads(x->threads)
    {
        float *room = x->room + (int64_t)omp_get_thread_num() * RT_SOLVE_PANEL * width_of(x);
        RtErr err;
#pragma omp for schedule(static)
        for (int64_t p = 0; p < panels; p++)
            if (!fill_panel(x, b, p * RT_SOLVE_PANEL, room, &err)) {
#pragma omp critical
                {
                    x->failed = true;
                    x->err = err;
                }
            }
    }
    x->here = x->failed ? -1 : b->first;
}
