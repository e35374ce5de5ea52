// Between a run and the solver: which stages are solved, the rows that it reads, where its answer
// goes. Features come from the cache, which one pass over the images fills. Nothing of it is saved
// halfway: a run that is killed solves again, to the same bits.
#include "runtime/train/solved.h"

#include "runtime/core/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SOLVER_SHARE = 2 }; // of the memory that is free, one in so many parts may be worked in

typedef struct Rows { // training images whose features are there
    RtRun *r;
    bool (*stop)(RtRun *r);
    int64_t n, *cached; // row of the cache
    int32_t *labels, *strata;
    float *targets, *weight;
} Rows;

// ---------------------------------------------------------------- whether

// What stands against it; NULL: nothing.
static const char *reason_against(RtRun *r, char *text, size_t size) {
    int64_t n = r->data->n_train, bytes = rt_solve_bytes(n, r->affine.features, r->affine.columns);
    if (r->set->augment != RT_AUGMENT_NONE && !r->data->tensors)
        return "with --augment features are new in every epoch";
    if (!r->cache)
        return "features are not cached";
    if (bytes <= rt_memory_available() / SOLVER_SHARE)
        return NULL;
    snprintf(text, size, "%lld images of %lld features would take %lld MB", (long long)n,
             (long long)r->affine.features, (long long)(bytes / 1000000));
    return text;
}

// A first stage that moves pretrained layers together with a new classifier, whose random numbers
// mislead them.
static void advise(RtRun *r, const char *spec) {
    bool fresh = false, pretrained = false;
    for (int i = 0; i < r->d->n_params; i++) {
        const HoneParam *p = &r->d->params[i];
        fresh |= p->trains & 1 && p->fresh;
        pretrained |= p->trains & 1 && !p->fresh;
    }
    if (fresh && pretrained && r->state.at[RT_AT_STAGE] == 0)
        rt_train_log_line(&r->log,
                          "%s begins with a random classifier; compiled with --stages head,%s it "
                          "begins with the solved one",
                          spec, spec);
}

bool rt_run_choose_solver(RtRun *r) {
    const char *spec = r->d->stages[r->state.at[RT_AT_STAGE]].spec, *why;
    char text[128];
    bool is;
    r->solves = false;
    if (r->set->head_solver == RT_HEAD_STEPS)
        return true;
    if (!rt_affine_find(r->engine, &r->affine, &is, &why, &r->err))
        return false;
    why = is ? reason_against(r, text, sizeof text) : why;
    r->solves = is && !why;
    advise(r, spec);
    if (is && why)
        rt_train_log_line(&r->log, "%s is trained in steps, not solved: %s", spec, why);
    return r->solves || r->set->head_solver != RT_HEAD_NEWTON || r->state.at[RT_AT_STAGE] > 0 ||
           rt_fail(&r->err, "--head-solver newton: stage '%s' cannot be solved: %s", spec, why);
}

// ---------------------------------------------------------------- features

static bool fill_cache(Rows *w, bool *stopped) {
    RtRun *r = w->r;
    uint64_t since = rt_now();
    int64_t total = rt_source_batches(r->train), images = 0;
    if (!rt_source_seek(r->train, r->state.at[RT_AT_EPOCH], 0, &r->err))
        return false;
    for (const RtFeed *f; (f = rt_source_next(r->train, &r->err));) {
        images += f->n;
        double s = (double)(rt_now() - since) * 1e-9, speed = s > 0 ? (double)images / s : 0;
        rt_train_log_progress(&r->log, "features", f->index + 1, total, -1, 0, speed,
                              speed > 0 ? (double)((total - f->index - 1) * r->batch) / speed : -1);
        if ((*stopped = w->stop(r)))
            return true;
    }
    r->images_done += images;
    return r->err.text[0] == 0;
}

static bool alloc_rows(Rows *w) {
    size_t n = (size_t)w->r->data->n_train, width = (size_t)w->r->affine.columns;
    return (w->cached = malloc(n * sizeof *w->cached)) &&
           (w->labels = malloc(n * sizeof *w->labels)) &&
           (w->strata = malloc(n * sizeof *w->strata)) &&
           (w->weight = malloc(n * sizeof *w->weight)) &&
           (w->targets = malloc(n * width * sizeof *w->targets));
}

static void free_rows(Rows *w) {
    free(w->cached);
    free(w->labels);
    free(w->strata);
    free(w->weight);
    free(w->targets);
}

// Bad images are left out. Class weights are those of an image's class; a class by itself has none,
// for it would only weigh against its own ridge.
static bool list_rows(Rows *w) {
    RtRun *r = w->r;
    const RtDataset *d = r->data;
    int variants = r->set->variants > 0 ? r->set->variants : 1;
    bool one_label = r->d->loss == HONE_LOSS_CE || r->d->binary;
    for (int64_t i = 0; i < d->n_train; i++) {
        int64_t row = rt_source_row(d, variants, i, r->state.at[RT_AT_EPOCH]);
        r->err.text[0] = 0;
        if (!rt_feature_cache_row(r->cache, row, &r->err)) {
            if (r->err.text[0])
                return false;
            continue;
        }
        int32_t label = rt_dataset_label(d, i);
        w->cached[w->n] = row;
        w->labels[w->n] = label;
        w->strata[w->n] = label + 1;
        w->weight[w->n] = one_label && label >= 0 ? r->class_weight[label] : 1;
        if (d->target_width)
            rt_dataset_target(d, i, w->targets + w->n * d->target_width);
        w->n++;
    }
    return w->n > 0 || rt_fail(&r->err, "%s: no image could be read", r->set->data);
}

static const float *read_row(void *ctx, int64_t i, RtErr *err) {
    Rows *w = ctx;
    err->text[0] = 0;
    const float *row = rt_feature_cache_row(w->r->cache, w->cached[i], err);
    if (!row && !err->text[0])
        rt_fail(err, "cached features are gone");
    return row;
}

// ---------------------------------------------------------------- the answer

static bool show_ridges(void *ctx, int done, int total) {
    Rows *w = ctx;
    rt_train_log_progress(&w->r->log, "ridges", done, total, -1, 0, 0, -1);
    return !w->stop(w->r);
}

static bool log_ridges(RtRun *r, const RtSolved *s) {
    bool ok = true;
    for (int i = 0; ok && i < s->n_path; i++) {
        const RtSolveStep *p = &s->path[i];
        const RtLogField fields[] = {{"stage", (double)r->state.at[RT_AT_STAGE], NULL},
                                     {"ridge", p->ridge, NULL},
                                     {"loss", p->loss, NULL},
                                     {"held_loss", p->held, NULL},
                                     {"held_top1", p->held_top1, NULL},
                                     {"taken", i == s->best, NULL}};
        ok = rt_train_log_event(&r->log, "ridge", fields, sizeof fields / sizeof *fields, &r->err);
    }
    return ok;
}

static bool take_answer(RtRun *r, const Rows *w, const RtSolved *s, double seconds) {
    RtTrainState *state = &r->state;
    const RtSolveStep *p = &s->path[s->best];
    char held[96] = "";
    if (s->parts)
        snprintf(held, sizeof held, " of %d tried on %s of the images, whose loss is %.4f",
                 s->n_path, s->parts > 1 ? "each fifth" : "a fifth", p->held);
    rt_train_log_line(&r->log, "ridge %.2g%s; %lld passes, %.1f s", p->ridge, held,
                      (long long)s->passes, seconds);
    rt_affine_put(r->engine, &r->affine, s->weight, s->bias);
    state->sum[RT_LOSS_SUM] = s->loss * (double)w->n;
    state->sum[RT_WEIGHT_SUM] = (double)w->n;
    state->at[RT_SEEN] = w->n;
    state->at[RT_CORRECT] = (int64_t)llround(s->top1 * 1e6 * (double)w->n);
    state->at[RT_AT_BATCH] = rt_source_batches(r->train);
    state->at[RT_AT_STEP]++;
    state->at[RT_AT_STAGE_STEP]++;
    memset(state->ridge, 0, sizeof state->ridge);
    for (int i = 0; i < s->n_path; i++) {
        double *row = state->ridge[i];
        row[RT_RIDGE] = s->path[i].ridge;
        row[RT_RIDGE_LOSS] = s->path[i].loss;
        row[RT_RIDGE_HELD] = s->path[i].held;
        row[RT_RIDGE_TOP1] = s->path[i].held_top1;
        row[RT_RIDGE_TAKEN] = i == s->best;
    }
    return log_ridges(r, s);
}

static bool solve(Rows *w, bool *stopped) {
    RtRun *r = w->r;
    RtSolved s;
    uint64_t since = rt_now();
    RtSolveInput in = {.n = w->n,
                       .d = r->affine.features,
                       .columns = r->affine.columns,
                       .exclusive = r->d->loss == HONE_LOSS_CE,
                       .labels = w->labels,
                       .targets = w->targets,
                       .strata = w->strata,
                       .weight = w->weight,
                       .seed = r->set->seed,
                       .threads = rt_engine_threads(r->engine),
                       .row = read_row,
                       .progress = show_ridges,
                       .ctx = w};
    bool ok = rt_solve(&in, &s, &r->err);
    if (ok)
        ok = take_answer(r, w, &s, (double)(rt_now() - since) * 1e-9);
    else
        *stopped = r->err.text[0] == 0;
    rt_solved_free(&s);
    return ok || *stopped;
}

bool rt_run_solve(RtRun *r, bool (*stop)(RtRun *r), bool *stopped) {
    Rows w = {.r = r, .stop = stop};
    *stopped = false;
    if (r->state.at[RT_AT_BATCH] > 0) // solved, and stopped while it was validated
        return true;
    bool ok = alloc_rows(&w) || rt_fail(&r->err, "no memory");
    ok = ok && fill_cache(&w, stopped) && (*stopped || (list_rows(&w) && solve(&w, stopped)));
    free_rows(&w);
    return ok;
}
