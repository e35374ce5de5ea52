// The engine's optimiser: graphs that go over groups of parameters, their gradients and moments.
#include "runtime/train/engine_part.h"

#include <math.h>

enum { ROWS = 256 }; // at a time: 1 MB of parameters

static bool trains(const RtEngine *t, const HoneParamGroup *g) {
    return g->trains >> t->stage & 1;
}

static float *rows_behind(void *of, int64_t floats) {
    return of ? (float *)of + floats : NULL;
}

// Runs an optimiser's graph on rows of parameters, some at a time: what one of its nodes leaves for
// the next stays in the cache.
static bool run_rows(RtEngine *t, int which, int64_t rows, const RtEngineBound *all, RtErr *err) {
    static const int of_params[] = {HONE_BIND_P, HONE_BIND_G, HONE_BIND_M, HONE_BIND_V};
    for (int64_t r = 0; r < rows; r += ROWS) {
        RtEngineBound b = *all;
        for (int i = 0; i < 4; i++)
            b.at[of_params[i]] = rows_behind(all->at[of_params[i]], r * HONE_TRAIN_ROW);
        b.at[HONE_BIND_SUM] = rows_behind(all->at[HONE_BIND_SUM], r);
        if (!rt_engine_run(t, which, rows - r < ROWS ? rows - r : ROWS, &b, err))
            return false;
    }
    return true;
}

bool rt_engine_grad_norm(RtEngine *t, double *norm, RtErr *err) {
    double sum = 0;
    for (int i = 0; i < t->d->n_groups; i++) {
        const HoneParamGroup *g = &t->d->groups[i];
        if (!trains(t, g))
            continue;
        int64_t rows = g->count / HONE_TRAIN_ROW;
        RtEngineBound b = {
            .at = {
                [HONE_BIND_G] = t->buffer[RT_ENGINE_G] + g->offset, [HONE_BIND_SUM] = t->row_sums}};
        if (!run_rows(t, SQSUM, rows, &b, err))
            return false;
        for (int64_t r = 0; r < rows; r++)
            sum += (double)t->row_sums[r];
    }
    *norm = sqrt(sum);
    return true;
}

bool rt_engine_update(RtEngine *t, const RtEngineRates *r, RtErr *err) {
    RtEngineRates x = *r;
    float correction1 = (float)(1 / (1 - pow((double)r->momentum, (double)r->t)));
    float correction2 = (float)(1 / (1 - pow((double)r->beta2, (double)r->t)));
    for (int i = 0; i < t->d->n_groups; i++) {
        const HoneParamGroup *g = &t->d->groups[i];
        if (!trains(t, g))
            continue;
        float lr = r->lr * g->lr_mult, decay = g->decays ? r->decay : 0;
        RtEngineBound b = {.at = {[HONE_BIND_P] = t->buffer[RT_ENGINE_P] + g->offset,
                                  [HONE_BIND_G] = t->buffer[RT_ENGINE_G] + g->offset,
                                  [HONE_BIND_M] = t->buffer[RT_ENGINE_M] + g->offset,
                                  [HONE_BIND_V] = t->buffer[RT_ENGINE_V] + g->offset,
                                  [HONE_BIND_LR] = &lr,
                                  [HONE_BIND_MOMENTUM] = &x.momentum,
                                  [HONE_BIND_BETA2] = &x.beta2,
                                  [HONE_BIND_EPS] = &x.eps,
                                  [HONE_BIND_DECAY] = &decay,
                                  [HONE_BIND_CLIP] = &x.clip,
                                  [HONE_BIND_CORRECTION1] = &correction1,
                                  [HONE_BIND_CORRECTION2] = &correction2}};
        if (!run_rows(t, OPT + r->kind, g->count / HONE_TRAIN_ROW, &b, err))
            return false;
    }
    return true;
}
