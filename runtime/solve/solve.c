// From features to a classifier; see solve.h.
//
//   1. every feature is centred, and divided by the root of its own deviation times that of all:
//      measured better than its own deviation alone, which makes the quiet ones loud (features.c)
//   2. a fifth of the images of each class is held out (of few images each fifth in turn); from a
//      ridge of 10 down to 1e-5, each started where the one before ended, the loss of what is held
//      out chooses; three that are not better end the path. Of classes with one image none is held
//      out; where all are such, the ridge is 1
//   3. all images are learned from with that ridge
//   4. the scaling goes into weights and biases, which are of the features as they are
//
// Sums are in double precision and in one order, whatever the number of threads.
#include "runtime/solve/solve.h"

#include "runtime/core/rng.h"
#include "runtime/solve/newton.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE = 3, FEW = 2000 };           // images of which each part is held out
enum { MOST_AT_ONCE = 64 * RT_SOLVE_PANEL }; // images of a block, of several: caches hold them
#define FIRST_RIDGE 10.0
#define RATIO 3.1622776601683795 // of a ridge to the next: the root of 10
#define PATH_TOLERANCE 3e-3
#define LAST_TOLERANCE 1e-6
#define ALONE 5e7    // products of which one thread takes less than a few milliseconds
#define QUICK 1e8    // of which a solution takes seconds, so that one for each part is borne
#define BETTER 0.999 // a loss is better that is below this share of the best before

typedef struct Solver {
    const RtSolveInput *in;
    RtSolveLoss f;
    RtSolveNewton m;
    int32_t *part;             // [n] in which an image is held out
    double *weight;            // [n] of images, when none is held out
    double *v[RT_SOLVE_FOLDS]; // of each part's classifier
    double *best[RT_SOLVE_FOLDS];
    double unit; // the gradient's norm before anything was learned
    int parts;
} Solver;

static double *alloc(int64_t n) {
    return calloc((size_t)n + 1, sizeof(double));
}

static double products_of(const RtSolveInput *in) { // in one product over all images
    return (double)in->n * (double)in->d * in->columns;
}

static int parts_of(const RtSolveInput *in) {
    bool quick = in->n < FEW && products_of(in) < QUICK;
    return in->n < RT_SOLVE_FOLDS ? 0 : quick ? RT_SOLVE_FOLDS : 1;
}

// One where the work of a product is over before others have begun.
static int threads_for(const RtSolveInput *in) {
    return products_of(in) < ALONE ? 1 : in->threads;
}

// Of a block: features twice, probabilities and what is left of them; of all images: Newton's two
// like x V, losses, weights, parts; like V: Newton's five and two for each part.
int64_t rt_solve_bytes(int64_t n, int64_t d, int columns, int64_t block) {
    double rows = (double)n + RT_SOLVE_PANEL, depth = (double)d + 1 + RT_SOLVE_PANEL;
    double wide = (double)columns + RT_SOLVE_COLUMNS, here = (double)block + RT_SOLVE_PANEL;
    double bytes = here * (depth * 2 * sizeof(float) + 2 * wide * sizeof(double)) +
                   rows * (2 * wide + 4) * sizeof(double) +
                   (5 + 2 * RT_SOLVE_FOLDS) * depth * wide * sizeof(double);
    return bytes < 9e18 ? (int64_t)bytes : INT64_MAX;
}

int64_t rt_solve_block(int64_t n, int64_t d, int columns, int64_t memory) {
    int64_t block = n < MOST_AT_ONCE ? rt_solve_rows(n) : MOST_AT_ONCE;
    if (memory == 0 || rt_solve_bytes(n, d, columns, n) <= memory)
        return n;
    while (block > 0 && rt_solve_bytes(n, d, columns, block) > memory)
        block -= RT_SOLVE_PANEL;
    return block;
}

// ---------------------------------------------------------------- parts

static int32_t stratum(const RtSolveInput *in, int64_t i) {
    return in->strata ? in->strata[i] : 0;
}

// seen: images of each stratum. The only one of its own is never held out: nothing would be left to
// know it by. Where no stratum has five, and one part alone is held out, that is the first of each.
static void settle_small(Solver *s, const int32_t *seen) {
    const RtSolveInput *in = s->in;
    bool any = false, pairs = false;
    for (int64_t i = 0; i < in->n; i++) {
        pairs |= seen[stratum(in, i)] > 1;
        if (seen[stratum(in, i)] == 1)
            s->part[i] = RT_SOLVE_FOLDS;
        any |= s->part[i] < s->parts;
    }
    s->parts = pairs ? s->parts : 0;
    for (int64_t i = 0; !any && s->parts && i < in->n; i++)
        s->part[i] = s->part[i] == RT_SOLVE_FOLDS - 1 ? 0 : s->part[i];
}

// In an order made by the seed, every fifth image of each stratum is in the same part. Where an
// image is held out, the four before it are not.
static bool deal_parts(Solver *s, RtErr *err) {
    const RtSolveInput *in = s->in;
    int32_t most = 0;
    for (int64_t i = 0; in->strata && i < in->n; i++)
        most = in->strata[i] > most ? in->strata[i] : most;
    int64_t *order = malloc((size_t)in->n * sizeof *order);
    int32_t *seen = calloc((size_t)most + 1, sizeof *seen);
    if (order && seen) {
        rt_rng_permutation(in->seed, 0, order, in->n);
        for (int64_t i = 0; i < in->n; i++) {
            int64_t k = order[i];
            int32_t *count = &seen[stratum(in, k)];
            s->part[k] = RT_SOLVE_FOLDS - 1 - (*count)++ % RT_SOLVE_FOLDS;
        }
        settle_small(s, seen);
    }
    bool ok = order && seen;
    free(order);
    free(seen);
    return ok || rt_fail(err, "no memory");
}

// Weights of the images: those of part `held` have none; -1: all have theirs.
static void weigh(Solver *s, int held) {
    double sum = 0;
    for (int64_t i = 0; i < s->in->n; i++)
        sum += s->part[i] != held ? s->weight[i] : 0;
    for (int64_t i = 0; i < s->in->n; i++)
        s->f.weight[i] = s->part[i] != held && sum > 0 ? s->weight[i] / sum : 0;
}

// ---------------------------------------------------------------- the path

typedef struct Means {
    double loss, held, right, weight; // sums over what is held out, but loss
} Means;

static void add_part(Solver *s, int held, Means *m) {
    m->loss += rt_solve_loss_value(&s->f, s->m.z, 0, NULL) / s->parts;
    for (int64_t i = 0; i < s->in->n; i++) {
        if (s->part[i] == held) {
            m->held += s->weight[i] * s->f.loss[i];
            m->right += s->weight[i] * rt_solve_loss_right(&s->f, s->m.z, i);
            m->weight += s->weight[i];
        }
    }
}

static RtSolveStep try_ridge(Solver *s, double ridge) {
    Means m = {0};
    s->f.ridge = ridge;
    for (int k = 0; k < s->parts; k++) {
        weigh(s, k);
        rt_solve_newton(&s->m, &s->f, s->v[k], s->unit, PATH_TOLERANCE);
        add_part(s, k, &m);
    }
    double n = m.weight > 0 ? m.weight : 1;
    return (RtSolveStep){ridge, m.loss, m.held / n, m.right / n};
}

static void keep(Solver *s) {
    for (int k = 0; k < s->parts; k++)
        memcpy(s->best[k], s->v[k], (size_t)rt_solve_loss_size(&s->f) * sizeof(double));
}

// Goes down the path. False: stopped.
static bool choose_ridge(Solver *s, RtSolved *out) {
    const RtSolveInput *in = s->in;
    double ridge = FIRST_RIDGE;
    int worse = s->parts ? 0 : PATIENCE;
    out->path[0].ridge = 1;
    out->n_path = 1;
    for (int k = 0; k < RT_SOLVE_PATH && worse < PATIENCE; k++, ridge /= RATIO) {
        s->f.x.done = k;
        out->path[k] = try_ridge(s, ridge);
        out->n_path = k + 1;
        if (s->f.x.failed)
            return false;
        bool better = k == 0 || out->path[k].held < BETTER * out->path[out->best].held;
        worse = better ? 0 : worse + 1;
        if (better) {
            out->best = k;
            keep(s);
        }
        if (in->progress && !in->progress(in->ctx, k + 1, RT_SOLVE_PATH + 1))
            return false;
    }
    return true;
}

// ---------------------------------------------------------------- the answer

static bool fold_back(Solver *s, RtSolved *out, RtErr *err) {
    const RtSolveInput *in = s->in;
    const double *v = s->best[0];
    out->weight = malloc(((size_t)in->columns * (size_t)in->d + 1) * sizeof *out->weight);
    out->bias = malloc((size_t)in->columns * sizeof *out->bias);
    if (!out->weight || !out->bias)
        return rt_fail(err, "no memory");
    for (int c = 0; c < in->columns; c++) {
        double bias = v[in->d * s->f.wide + c];
        for (int64_t k = 0; k < in->d; k++) {
            float w = (float)(v[k * s->f.wide + c] * s->f.x.factor[k]);
            out->weight[c * in->d + k] = w;
            bias -= (double)w * s->f.x.mean[k];
        }
        out->bias[c] = (float)bias;
    }
    return true;
}

// From the classifier of the first part.
static void learn_all(Solver *s, RtSolved *out) {
    weigh(s, -1);
    s->f.ridge = out->path[out->best].ridge;
    s->f.x.done = out->n_path;
    double slope = rt_solve_newton(&s->m, &s->f, s->best[0], s->unit, LAST_TOLERANCE);
    out->slope = s->unit > 0 ? slope / s->unit : 0;
    out->loss = rt_solve_loss_value(&s->f, s->m.z, 0, NULL);
    for (int64_t i = 0; i < s->in->n; i++)
        out->top1 += s->f.weight[i] * rt_solve_loss_right(&s->f, s->m.z, i);
    out->passes = s->f.passes;
}

static void find_unit(Solver *s) {
    weigh(s, -1);
    rt_solve_loss_gradient(&s->f, s->v[0], s->m.z, s->m.g);
    for (int64_t i = 0; i < rt_solve_loss_size(&s->f); i++)
        s->unit += s->m.g[i] * s->m.g[i];
    s->unit = sqrt(s->unit);
}

static bool prepare(Solver *s, RtErr *err) {
    const RtSolveInput *in = s->in;
    int64_t block = rt_solve_block(in->n, in->d, in->columns, in->memory);
    bool ok = block > 0 && rt_solve_loss_init(&s->f, in, block, threads_for(in)) &&
              rt_solve_newton_init(&s->m, &s->f) && (s->weight = alloc(in->n)) &&
              (s->part = calloc((size_t)in->n, sizeof *s->part));
    s->parts = parts_of(in);
    for (int k = 0; ok && k < (s->parts ? s->parts : 1); k++)
        ok = (s->v[k] = alloc(rt_solve_loss_size(&s->f))) &&
             (s->best[k] = alloc(rt_solve_loss_size(&s->f)));
    if (!ok)
        return rt_fail(err, "no memory to solve the classifier on %lld images of %lld features",
                       (long long)in->n, (long long)in->d);
    for (int64_t i = 0; i < in->n; i++)
        s->weight[i] = in->weight ? (double)in->weight[i] : 1;
    return deal_parts(s, err) && rt_solve_features_measure(&s->f.x, err);
}

static void end(Solver *s) {
    rt_solve_loss_free(&s->f);
    rt_solve_newton_free(&s->m);
    for (int k = 0; k < RT_SOLVE_FOLDS; k++) {
        free(s->v[k]);
        free(s->best[k]);
    }
    free(s->weight);
    free(s->part);
}

bool rt_solve(const RtSolveInput *in, RtSolved *out, RtErr *err) {
    Solver s = {.in = in};
    *out = (RtSolved){0};
    err->text[0] = 0;
    bool ok = prepare(&s, err);
    if (ok) {
        find_unit(&s);
        out->parts = s.parts;
        ok = choose_ridge(&s, out);
    }
    if (ok)
        learn_all(&s, out);
    if (s.f.x.failed) {
        *err = s.f.x.err;
        ok = false;
    }
    ok = ok && fold_back(&s, out, err);
    end(&s);
    return ok;
}

void rt_solved_free(RtSolved *s) {
    free(s->weight);
    free(s->bias);
    s->weight = s->bias = NULL;
}
