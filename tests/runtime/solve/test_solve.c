// The solver against a loss that is written here once more, from its definition and in long double:
// derivatives by differences of it, answers that can be told otherwise, solutions at which it falls
// in no direction; and the same bits whatever computes them.
#include "runtime/solve/newton.h"
#include "runtime/solve/solve.h"

#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 90, D = 7, C = 3, WIDE = 300 };

static double uniform(uint32_t *seed) { // xorshift, -1 to 1
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return (double)*seed / 2147483648.0 - 1;
}

typedef struct Data {
    float x[N][D], target[N][C], weight[N];
    int32_t label[N];
} Data;

// Classes overlap; features have their own scales, one is constant.
static void fill(Data *d, uint32_t seed) {
    for (int i = 0; i < N; i++) {
        d->label[i] = i % C;
        d->weight[i] = d->label[i] == 1 ? 2.0f : 1.0f;
        for (int k = 0; k < D; k++) {
            double noise = uniform(&seed) + uniform(&seed);
            d->x[i][k] = (float)((noise + (k % C == d->label[i] ? 0.8 : 0)) * pow(3, k - 3) + k);
        }
        d->x[i][5] = 4.25f;
        for (int c = 0; c < C; c++)
            d->target[i][c] = d->x[i][c] > (float)c + 0.2f * (float)uniform(&seed);
    }
}

static const float *row(void *ctx, int64_t i, float *room, RtErr *err) {
    Data *d = ctx;
    (void)room, (void)err;
    return d->x[i];
}

static RtSolveInput input(Data *d, bool exclusive) {
    return (RtSolveInput){.n = N,
                          .d = D,
                          .columns = C,
                          .exclusive = exclusive,
                          .labels = d->label,
                          .targets = &d->target[0][0],
                          .strata = exclusive ? d->label : NULL,
                          .seed = 1,
                          .threads = 1,
                          .row = row,
                          .ctx = d};
}

// ---------------------------------------------------------------- the loss once more

// Mean over images of the loss of scores z = w x + b, x scaled by `scale` around `mean`; and ridge.
static long double loss(const Data *d, bool exclusive, bool weighted, const double *mean,
                        const double *scale, const double w[D + 1][C], double ridge) {
    long double sum = 0, all = 0, square = 0;
    for (int i = 0; i < N; i++) {
        long double z[C], total = 0, each = 0, weight = weighted ? (long double)d->weight[i] : 1;
        for (int c = 0; c < C; c++) {
            z[c] = w[D][c];
            for (int k = 0; k < D; k++)
                z[c] += (long double)w[k][c] * (d->x[i][k] - mean[k]) * scale[k];
            total += expl(z[c]);
        }
        for (int c = 0; c < C && !exclusive; c++)
            each -= logl(1 / (1 + expl(d->target[i][c] > 0 ? -z[c] : z[c])));
        sum += weight * (exclusive ? -logl(expl(z[d->label[i]]) / total) : each);
        all += weight;
    }
    for (int k = 0; k < D; k++)
        for (int c = 0; c < C; c++)
            square += (long double)w[k][c] * w[k][c];
    return sum / all + ridge / 2 * square;
}

static void scaling(const Data *d, double mean[D], double scale[D]) {
    double var[D], all = 0;
    for (int k = 0; k < D; k++) {
        mean[k] = var[k] = 0;
        for (int i = 0; i < N; i++)
            mean[k] += d->x[i][k] / N;
        for (int i = 0; i < N; i++)
            var[k] += (d->x[i][k] - mean[k]) * (d->x[i][k] - mean[k]) / N;
        all += var[k] / D;
    }
    for (int k = 0; k < D; k++)
        scale[k] = var[k] > 0 ? 1 / sqrt(sqrt(var[k]) * sqrt(all)) : 0;
}

// ---------------------------------------------------------------- derivatives

// An eighth of each feature, in blocks of images.
static void set_up(RtSolveLoss *f, const RtSolveInput *in, int64_t block) {
    CHECK(rt_solve_loss_init(f, in, block, 4));
    f->threads = 1;
    f->ridge = 0.3;
    for (int k = 0; k < D; k++)
        f->x.factor[k] = 0.125;
    for (int i = 0; i < N; i++)
        f->weight[i] = 1.0 / N;
}

static void same_on_threads(RtSolveLoss *f, RtSolveNewton *m, const double *v, const double *g,
                            const double *way, const double *bend) {
    size_t bytes = (size_t)rt_solve_loss_size(f) * sizeof *g;
    double value = rt_solve_loss_value(f, m->z, 0, NULL);
    for (f->threads = 2; f->threads < 5; f->threads++) {
        rt_solve_loss_scores(f, v, m->z);
        CHECK(rt_solve_loss_value(f, m->z, 0, NULL) == value);
        rt_solve_loss_gradient(f, v, m->z, m->g);
        rt_solve_loss_curvature(f, way, m->curved);
        CHECK(memcmp(m->g, g, bytes) == 0 && memcmp(m->curved, bend, bytes) == 0);
    }
    f->threads = 1;
}

static void derivatives(bool exclusive, int64_t block) {
    static const double mean[D] = {0};
    double scale[D], w[D + 1][C], v[512] = {0}, g[512], way[512] = {0}, bend[512], more[512];
    RtSolveLoss f;
    RtSolveNewton m;
    Data d = {0};
    uint32_t seed = 77;
    fill(&d, 5);
    RtSolveInput in = input(&d, exclusive);
    set_up(&f, &in, block);
    CHECK(rt_solve_newton_init(&m, &f) && rt_solve_loss_size(&f) <= 512);
    for (int k = 0; k <= D; k++) {
        scale[k < D ? k : 0] = 0.125;
        for (int c = 0; c < C; c++) {
            v[k * f.wide + c] = w[k][c] = uniform(&seed) * 0.3;
            way[k * f.wide + c] = uniform(&seed);
        }
    }
    rt_solve_loss_scores(&f, v, m.z);
    double value = rt_solve_loss_value(&f, m.z, 0, NULL) + rt_solve_loss_ridge(&f, v);
    CHECK_NEAR(value, (double)loss(&d, exclusive, false, mean, scale, w, 0.3), 1e-12);
    rt_solve_loss_gradient(&f, v, m.z, g);
    const double h = 1e-6;
    for (int k = 0; k <= D; k++) {
        for (int c = 0; c < C; c++) {
            double at = w[k][c];
            w[k][c] = at + h;
            long double up = loss(&d, exclusive, false, mean, scale, w, 0.3);
            w[k][c] = at - h;
            long double down = loss(&d, exclusive, false, mean, scale, w, 0.3);
            w[k][c] = at;
            CHECK_NEAR(g[k * f.wide + c], (double)((up - down) / (2 * h)), 1e-8);
        }
    }
    rt_solve_loss_curvature(&f, way, bend);
    same_on_threads(&f, &m, v, g, way, bend);
    for (int i = 0; i < rt_solve_loss_size(&f); i++)
        v[i] += h * way[i];
    rt_solve_loss_scores(&f, v, m.z);
    rt_solve_loss_gradient(&f, v, m.z, more);
    for (int i = 0; i < (D + 1) * f.wide; i++)
        CHECK_NEAR(bend[i], (more[i] - g[i]) / h, 1e-5);
    rt_solve_newton_free(&m);
    rt_solve_loss_free(&f);
}

// ---------------------------------------------------------------- answers known otherwise

// One feature, 1 or -1: of those with 1 three in four are of class 1, of those with -1 one in four.
// Without a ridge the score's slope is log 3. With one it is where s = -ridge-balanced derivative:
// found by halving.
static void known_answer(double ridge) {
    float target[8] = {1, 1, 1, 0, 0, 0, 0, 1};
    RtSolveInput in = {.n = 8, .d = 1, .columns = 1, .targets = target};
    double v[64] = {0}, low = 0, high = 10;
    RtSolveLoss f;
    RtSolveNewton m;
    CHECK(rt_solve_loss_init(&f, &in, 8, 1) && rt_solve_newton_init(&m, &f));
    f.x.here = 0; // features are put there
    f.ridge = ridge;
    for (int i = 0; i < 8; i++) {
        f.weight[i] = 1.0 / 8;
        *rt_solve_panels_at(&f.x.images, i, 0) = *rt_solve_panels_at(&f.x.features, 0, i) =
            i < 4 ? 1 : -1;
        *rt_solve_panels_at(&f.x.images, i, 1) = *rt_solve_panels_at(&f.x.features, 1, i) = 1;
    }
    rt_solve_newton(&m, &f, v, 1, 1e-12);
    for (int k = 0; k < 100; k++) { // derivative: sigmoid(s) - 3/4 + ridge s
        double s = (low + high) / 2;
        *(1 / (1 + exp(-s)) - 0.75 + ridge * s > 0 ? &high : &low) = s;
    }
    CHECK_NEAR(v[0], low, 1e-9);
    CHECK_NEAR(v[f.wide], 0, 1e-9);
    if (ridge == 0)
        CHECK_NEAR(v[0], log(3), 1e-9);
    rt_solve_newton_free(&m);
    rt_solve_loss_free(&f);
}

// The loss, of the ridge that was chosen, falls in no direction from where rt_solve() ends.
static void ends_at_the_bottom(bool exclusive, bool weighted) {
    double mean[D], scale[D], w[D + 1][C];
    Data d = {0};
    RtSolved s;
    RtErr err;
    fill(&d, 9);
    RtSolveInput in = input(&d, exclusive);
    in.weight = weighted ? d.weight : NULL;
    CHECK(rt_solve(&in, &s, &err));
    CHECK(s.parts == RT_SOLVE_FOLDS && s.n_path > 3 && s.best < s.n_path && s.slope <= 1e-6);
    scaling(&d, mean, scale);
    for (int c = 0; c < C; c++) {
        w[D][c] = s.bias[c];
        for (int k = 0; k < D; k++) {
            w[k][c] = scale[k] > 0 ? (double)s.weight[c * D + k] / scale[k] : 0;
            w[D][c] += (double)s.weight[c * D + k] * mean[k];
            CHECK(k != 5 || s.weight[c * D + k] == 0); // constant: nothing can be learned from it
        }
    }
    double ridge = s.path[s.best].ridge, h = 1e-5;
    CHECK_NEAR((double)loss(&d, exclusive, weighted, mean, scale, w, 0), s.loss, 1e-5);
    for (int k = 0; k <= D; k++) {
        for (int c = 0; c < C; c++) {
            double at = w[k][c];
            w[k][c] = at + h;
            long double up = loss(&d, exclusive, weighted, mean, scale, w, ridge);
            w[k][c] = at - h;
            long double down = loss(&d, exclusive, weighted, mean, scale, w, ridge);
            w[k][c] = at;
            CHECK_NEAR((double)((up - down) / (2 * h)), 0, 2e-5);
        }
    }
    for (int i = 0; i < s.n_path; i++)
        CHECK(s.path[i].held >= s.path[s.best].held * 0.998);
    rt_solved_free(&s);
}

// What has nothing to do with the features is not learned; what they tell is.
static void ridge_follows_the_data(void) {
    Data d = {0};
    RtSolved noise, clear;
    RtErr err;
    uint32_t seed = 3;
    fill(&d, 11);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < D; k++)
            d.x[i][k] = (float)uniform(&seed);
    RtSolveInput in = input(&d, true);
    CHECK(rt_solve(&in, &noise, &err));
    for (int i = 0; i < N; i++)
        d.x[i][d.label[i]] += 3;
    CHECK(rt_solve(&in, &clear, &err));
    CHECK(noise.path[noise.best].ridge > 20 * clear.path[clear.best].ridge);
    CHECK(noise.path[noise.best].held > log(C) * 0.9);
    CHECK(clear.path[clear.best].held < 0.1 && clear.path[clear.best].held_top1 > 0.97);
    rt_solved_free(&noise);
    rt_solved_free(&clear);
}

// ---------------------------------------------------------------- the same bits

static void same_product(void) {
    enum { ROWS = 37, DEPTH = 150, COLUMNS = 8, ROOM = 48 };
    RtSolvePanels a;
    double b[DEPTH * COLUMNS], start[ROOM * COLUMNS], want[ROOM * COLUMNS], got[ROOM * COLUMNS];
    static const char *const levels[] = {"x86-64", "x86-64-v3", "x86-64-v4"};
    uint32_t seed = 1;
    CHECK(rt_solve_panels_init(&a, ROWS, DEPTH) && rt_solve_rows(ROWS) == ROOM);
    for (int i = 0; i < DEPTH * COLUMNS; i++)
        b[i] = uniform(&seed);
    for (int i = 0; i < ROOM * COLUMNS; i++) // it adds
        want[i] = start[i] = uniform(&seed);
    for (int i = 0; i < ROWS; i++) {
        for (int k = 0; k < DEPTH; k++) {
            float x = *rt_solve_panels_at(&a, i, k) = (float)uniform(&seed);
            for (int c = 0; c < COLUMNS; c++)
                want[i * COLUMNS + c] += (double)x * b[k * COLUMNS + c];
        }
    }
    for (int k = 0; k < 3; k++) {
        setenv("HONE_CPU", levels[k], 1);
        for (int threads = 1; threads < 4; threads++) {
            memcpy(got, start, sizeof got);
            rt_solve_product(&a, b, COLUMNS, got, threads);
            CHECK(memcmp(got, want, sizeof got) == 0);
        }
    }
    unsetenv("HONE_CPU");
    rt_solve_panels_free(&a);
}

// Enough images that one part of them is held out, not each in turn.
static const float *wide_row(void *ctx, int64_t i, float *room, RtErr *err) {
    uint32_t seed = (uint32_t)i + 1;
    (void)ctx, (void)err;
    for (int k = 0; k < WIDE; k++)
        room[k] = (float)uniform(&seed) + (k % 10 == i % 10 ? 0.4f : 0);
    return room;
}

static void same_solution(void) {
    enum { IMAGES = 2000 };
    int32_t *label = malloc(IMAGES * sizeof *label);
    RtSolved s[3];
    RtErr err;
    for (int i = 0; i < IMAGES; i++)
        label[i] = i % 10;
    for (int k = 0; k < 3; k++) { // the last one in blocks
        RtSolveInput in = {.n = IMAGES,
                           .d = WIDE,
                           .columns = 10,
                           .exclusive = true,
                           .labels = label,
                           .strata = label,
                           .threads = 1 + 2 * (k % 2),
                           .memory = k < 2 ? 0 : rt_solve_bytes(IMAGES, WIDE, 10, 800),
                           .row = wide_row};
        CHECK(rt_solve(&in, &s[k], &err));
        CHECK(s[k].parts == 1 && s[k].path[s[k].best].held_top1 > 0.3);
    }
    for (int k = 1; k < 3; k++) {
        CHECK(memcmp(s[0].weight, s[k].weight, 10 * WIDE * sizeof(float)) == 0);
        CHECK(memcmp(s[0].bias, s[k].bias, 10 * sizeof(float)) == 0);
        CHECK(memcmp(s[0].path, s[k].path, sizeof s[0].path) == 0 && s[0].loss == s[k].loss);
    }
    for (int k = 0; k < 3; k++)
        rt_solved_free(&s[k]);
    free(label);
}

// However many images fit at a time, the last block shorter than the others.
static void same_in_blocks(void) {
    Data d = {0};
    RtErr err;
    fill(&d, 13);
    CHECK(rt_solve_block(N, D, C, 0) == N && rt_solve_block(N, D, C, 1) == 0);
    CHECK(rt_solve_block(1 << 30, D, C, rt_solve_bytes(1 << 30, D, C, 1 << 20)) < 1 << 20);
    for (int exclusive = 0; exclusive < 2; exclusive++) {
        RtSolveInput in = input(&d, exclusive);
        RtSolved want, got;
        in.weight = d.weight;
        CHECK(rt_solve(&in, &want, &err));
        for (int64_t block = 16; block <= 80; block += 32) {
            in.memory = rt_solve_bytes(N, D, C, block);
            CHECK(rt_solve_block(N, D, C, in.memory) == block);
            CHECK(rt_solve(&in, &got, &err) && got.passes == want.passes);
            CHECK(memcmp(got.weight, want.weight, D * C * sizeof(float)) == 0);
            CHECK(memcmp(got.bias, want.bias, C * sizeof(float)) == 0);
            CHECK(memcmp(got.path, want.path, sizeof got.path) == 0 && got.top1 == want.top1);
            rt_solved_free(&got);
        }
        in.memory = 1;
        CHECK(!rt_solve(&in, &got, &err) && err.text[0]);
        rt_solved_free(&got);
        rt_solved_free(&want);
    }
}

// What is in a file may go while it is read; and who has waited long enough may say so.
static const float *lost_row(void *ctx, int64_t i, float *room, RtErr *err) {
    Data *d = ctx;
    static int reads; // of the last image: twice for the scales
    reads += i == N - 1;
    if (i == N - 1 && reads > 12) {
        rt_fail(err, "image %lld is gone", (long long)i);
        return NULL;
    }
    memcpy(room, d->x[i], sizeof d->x[i]);
    return room;
}

static bool stop_in_a_ridge(void *ctx, int done, int total) {
    static int calls;
    (void)ctx;
    CHECK(done < total);
    return ++calls < 40;
}

static void blocks_that_do_not_come(void) {
    Data d = {0};
    RtSolved s;
    RtErr err;
    fill(&d, 13);
    RtSolveInput in = input(&d, true);
    in.memory = rt_solve_bytes(N, D, C, 32);
    in.progress = stop_in_a_ridge;
    CHECK(!rt_solve(&in, &s, &err) && err.text[0] == 0);
    rt_solved_free(&s);
    in.progress = NULL;
    in.row = lost_row;
    CHECK(!rt_solve(&in, &s, &err));
    CHECK_STR_EQ(err.text, "image 89 is gone");
    rt_solved_free(&s);
}

// ---------------------------------------------------------------- edges

// Strata of so few images that no fifth of them can be held out, or of one each.
static void small_strata(void) {
    enum { IMAGES = 2000 };
    static int32_t label[IMAGES], strata[IMAGES];
    RtSolveInput in = {
        .n = IMAGES, .d = WIDE, .columns = 10, .exclusive = true, .threads = 1, .row = wide_row};
    RtSolved s;
    RtErr err;
    in.labels = label;
    in.strata = strata;
    for (int few = 4; few > 0; few -= 3) {
        for (int i = 0; i < IMAGES; i++) {
            label[i] = i % 10;
            strata[i] = i / few;
        }
        CHECK(rt_solve(&in, &s, &err));
        CHECK(few > 1 ? s.parts == 1 && s.path[s.best].held > 0 && s.path[s.best].held_top1 > 0.3
                      : s.parts == 0 && s.n_path == 1 && isfinite(s.bias[0]));
        rt_solved_free(&s);
    }
}

static bool stop(void *ctx, int done, int total) {
    (void)ctx;
    CHECK(done >= 1 && done < total);
    return done < 2;
}

static void edges(void) {
    Data d = {0};
    RtSolved s;
    RtErr err;
    fill(&d, 21);
    RtSolveInput in = input(&d, true);
    in.progress = stop;
    CHECK(!rt_solve(&in, &s, &err) && err.text[0] == 0);
    rt_solved_free(&s);
    in.progress = NULL;
    in.n = 3; // too few to hold any out
    CHECK(rt_solve(&in, &s, &err) && s.parts == 0 && s.n_path == 1 && isfinite(s.bias[0]));
    rt_solved_free(&s);
    in.n = N;
    for (int i = 0; i < N; i++)
        d.label[i] = 1; // nothing to tell apart
    CHECK(rt_solve(&in, &s, &err) && isfinite(s.bias[1]) && s.bias[1] > s.bias[0]);
    rt_solved_free(&s);
    memset(d.x, 0, sizeof d.x); // dead features
    CHECK(rt_solve(&in, &s, &err) && isfinite(s.bias[1]) && s.weight[0] == 0);
    rt_solved_free(&s);
    d.x[40][2] = INFINITY;
    CHECK(!rt_solve(&in, &s, &err));
    CHECK_STR_EQ(err.text, "a feature of image 40 is not finite");
    rt_solved_free(&s);
    in.n = INT64_MAX / 4;
    CHECK(rt_solve_bytes(in.n, 2048, 10, in.n) == INT64_MAX && !rt_solve(&in, &s, &err) &&
          err.text[0]);
    rt_solved_free(&s);
}

static void derivatives_of_softmax(void) {
    derivatives(true, N);
    derivatives(true, 32);
}

static void derivatives_of_sigmoids(void) {
    derivatives(false, N);
    derivatives(false, 16);
}

static void known_answers(void) {
    known_answer(0);
    known_answer(0.05);
    known_answer(2);
}

static void bottoms(void) {
    ends_at_the_bottom(true, false);
    ends_at_the_bottom(true, true);
    ends_at_the_bottom(false, false);
}

int main(void) {
    CHECK_RUN(same_product);
    CHECK_RUN(derivatives_of_softmax);
    CHECK_RUN(derivatives_of_sigmoids);
    CHECK_RUN(known_answers);
    CHECK_RUN(bottoms);
    CHECK_RUN(ridge_follows_the_data);
    CHECK_RUN(same_solution);
    CHECK_RUN(small_strata);
    CHECK_RUN(same_in_blocks);
    CHECK_RUN(blocks_that_do_not_come);
    CHECK_RUN(edges);
    return check_done();
}
