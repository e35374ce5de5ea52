// Between a run and the solver: which stages are solved, the rows that it reads, where its answer
// goes. Features come from the cache, which one pass over the images fills; where more than the
// classifier is to move, from a pass of their own over the images as they are, without
// augmentation. Nothing of it is saved halfway: a run that is killed solves again, to the same
// bits.
#include "runtime/train/solved.h"

#include "runtime/core/text.h"
#include "runtime/train/beside.h"
#include "runtime/train/cached.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Rows { // training images whose features are there
    RtRun *r;
    bool (*stop)(RtRun *r);
    RtFeatureCache *cache; // of the run, or of this solution alone
    int64_t n, *cached;    // row of the cache
    int32_t *labels, *strata;
    float *targets, *weight;
} Rows;

// ---------------------------------------------------------------- whether

// Even a few images at a time would be too many.
static const char *reason_of_memory(const RtRun *r, char *text, size_t size) {
    int64_t n = r->data->n_train, d = r->affine.features, room = r->solver_memory;
    if (rt_solve_block(n, d, r->affine.columns, room))
        return NULL;
    double least = (double)rt_solve_bytes(n, d, r->affine.columns, 1) * 1e-6;
    snprintf(text, size,
             "%lld images of %d classes want %.1f MB, of %.1f that may be taken (--feature-memory "
             "SIZE says how much)",
             (long long)n, r->affine.columns, least, (double)room * 1e-6);
    return text;
}

// Before other layers move, features have a place of their own: is there one?
static const char *reason_of_place(const RtRun *r, char *text, size_t size) {
    RtErr why;
    char *where;
    RtFeatureCache *c = rt_cached_make(r, r->data->n_train, r->affine.features, &where, &why);
    if (!c)
        snprintf(text, size, "features have no place: %.192s", why.text);
    rt_feature_cache_close(c);
    free(where);
    return c ? NULL : text;
}

// What stands against it; NULL: nothing.
static const char *reason_against(const RtRun *r, char *text, size_t size) {
    if (!r->starts && !rt_mix_is_none(&r->set->mix))
        return "with --mixup and --cutmix features are new in every epoch";
    if (!r->starts && !rt_augment_is_none(&r->set->augment) && !r->data->tensors)
        return "with --augment features are new in every epoch";
    if (!r->starts && !r->cache)
        return "features are not cached";
    const char *why = reason_of_memory(r, text, size);
    return why || !r->starts ? why : reason_of_place(r, text, size);
}

// Does the open stage move a new classifier and pretrained layers?
static bool moves_more(const RtRun *r) {
    bool fresh = false, pretrained = false;
    for (int i = 0; i < r->d->n_params; i++) {
        const HoneParam *p = &r->d->params[i];
        bool trains = p->trains >> r->state.at[RT_AT_STAGE] & 1;
        fresh |= trains && p->fresh;
        pretrained |= trains && !p->fresh;
    }
    return fresh && pretrained;
}

// Nothing has moved yet; a solution may be there whose validation was stopped.
static bool is_beginning(const RtRun *r) {
    const int64_t *at = r->state.at;
    return at[RT_AT_STAGE] == 0 && at[RT_AT_EPOCH] == 0 && at[RT_AT_STAGE_STEP] == 0 &&
           r->set->epochs[0] != 0;
}

bool rt_run_choose_solver(RtRun *r) {
    const char *spec = r->d->stages[r->state.at[RT_AT_STAGE]].spec, *why;
    char text[256];
    bool is, more = moves_more(r);
    r->starts = r->solves = false;
    if (r->set->head_solver == RT_HEAD_STEPS || (more && !is_beginning(r)))
        return true;
    if (!rt_affine_find(r->engine, &r->affine, &is, &why, &r->err))
        return false;
    r->starts = more;
    r->solver_memory = rt_cached_room(r);
    why = is ? reason_against(r, text, sizeof text) : why;
    r->solves = is && !why;
    r->starts &= r->solves;
    if (more && why)
        rt_train_log_line(&r->log, "%s begins with a random classifier, not a solved one: %s", spec,
                          why);
    else if (is && why)
        rt_train_log_line(&r->log, "%s is trained in steps%s, not solved: %s", spec,
                          r->cache ? " over the cached features" : "", why);
    if (r->solves && r->set->balanced && r->d->loss == HONE_LOSS_BCE && !r->d->binary)
        rt_train_log_line(&r->log, "without effect on the solved classifier: --class-weights (each "
                                   "class is solved by itself)");
    bool alone = !more && r->d->n_stages == 1 && r->set->epochs[0] != 0;
    if (r->solves && alone && *r->set->of_steps)
        rt_train_log_line(&r->log,
                          "without effect: %s (the classifier is solved; --head-solver sgd or "
                          "adamw takes steps)",
                          r->set->of_steps);
    if (is && why && !more && r->set->lr_open[r->state.at[RT_AT_STAGE]])
        r->own.lr[r->state.at[RT_AT_STAGE]] = 0;
    return r->solves || r->set->head_solver != RT_HEAD_NEWTON || r->state.at[RT_AT_STAGE] > 0 ||
           rt_fail(&r->err, "--head-solver newton: stage '%s' cannot be solved: %s", spec, why);
}

// ---------------------------------------------------------------- features

// What the classifier reads of a batch's images, into the rows of their items.
static bool keep_head_input(RtRun *r, RtFeatureCache *cache, const RtFeed *f, float *x) {
    RtEngineBatch b = {.n = f->n,
                       .images = f->images,
                       .features = f->features,
                       .labels = f->labels,
                       .targets = f->targets,
                       .class_weight = r->class_weight,
                       .scale = 1,
                       .loss = r->loss,
                       .logits = r->logits,
                       .head_input = x};
    bool ok = rt_engine_eval(r->engine, &b, &r->err);
    for (int64_t i = 0; ok && i < f->n; i++)
        ok = rt_feature_cache_put(cache, f->items[i], x + i * r->affine.features, &r->err);
    return ok;
}

// One pass over s. x: where more than the features of frozen layers is wanted of each batch.
static bool pass_over(Rows *w, RtSource *s, float *x, bool *stopped) {
    RtRun *r = w->r;
    uint64_t since = rt_now();
    int64_t total = rt_source_batches(s), images = 0;
    if (!rt_source_seek(s, r->state.at[RT_AT_EPOCH], 0, &r->err))
        return false;
    for (const RtFeed *f; (f = rt_source_next(s, &r->err));) {
        if (x && f->n && !keep_head_input(r, w->cache, f, x))
            return false;
        images += f->n;
        double t = (double)(rt_now() - since) * 1e-9, speed = t > 0 ? (double)images / t : 0;
        rt_train_log_progress(&r->log, "features", f->index + 1, total, -1, "", 0, speed,
                              speed > 0 ? (double)((total - f->index - 1) * r->batch) / speed : -1);
        if ((*stopped = w->stop(r)))
            return true;
    }
    r->images_done += images;
    return r->err.text[0] == 0;
}

// Images as they are; the run's own source where it gives those.
static RtSource *open_plain(RtRun *r) {
    if (rt_mix_is_none(&r->set->mix) && (rt_augment_is_none(&r->set->augment) || r->data->tensors))
        return r->train;
    RtSourceOptions o = rt_run_source_options(r);
    o.augment = (RtAugment){0};
    o.mix = (RtMix){0};
    o.variants = 1;
    return rt_source_open(r->engine, r->data, false, NULL, &o, &r->err);
}

static bool fill_cache(Rows *w, bool *stopped) {
    RtRun *r = w->r;
    w->cache = r->cache;
    if (!r->starts)
        return pass_over(w, r->train, NULL, stopped);
    char *where;
    w->cache = rt_cached_make(r, r->data->n_train, r->affine.features, &where, &r->err);
    if (where)
        rt_train_log_line(&r->log, "features are kept in a file in %s", RT_SHOW(where));
    free(where);
    RtSource *s = w->cache ? open_plain(r) : NULL;
    float *x = rt_alloc_aligned((size_t)(r->batch * r->affine.features) * sizeof *x);
    bool ok = s && (x || rt_fail(&r->err, "no memory")) && pass_over(w, s, x, stopped);
    free(x);
    if (s != r->train)
        rt_source_close(s);
    return ok;
}

static bool alloc_rows(Rows *w) {
    size_t n = (size_t)w->r->data->n_train, width = (size_t)w->r->data->target_width;
    return (w->cached = malloc(n * sizeof *w->cached)) &&
           (w->labels = malloc(n * sizeof *w->labels)) &&
           (w->strata = malloc(n * sizeof *w->strata)) &&
           (w->weight = malloc(n * sizeof *w->weight)) &&
           (!width || (w->targets = malloc(n * width * sizeof *w->targets)));
}

static void free_rows(Rows *w) {
    if (w->cache != w->r->cache)
        rt_feature_cache_close(w->cache);
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
    int variants = !r->starts && r->set->variants > 0 ? r->set->variants : 1;
    bool one_label = r->d->loss == HONE_LOSS_CE || r->d->binary;
    for (int64_t i = 0; i < d->n_train; i++) {
        int64_t row = rt_source_row(d, variants, i, r->state.at[RT_AT_EPOCH]);
        r->err.text[0] = 0;
        if (!rt_feature_cache_row(w->cache, row, &r->err)) {
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

static const float *read_row(void *ctx, int64_t i, float *room, RtErr *err) {
    const Rows *w = ctx;
    err->text[0] = 0;
    const float *row = rt_feature_cache_read(w->cache, w->cached[i], room, err);
    if (!row && !err->text[0])
        rt_fail(err, "cached features are gone");
    return row;
}

// ---------------------------------------------------------------- the answer

static bool show_ridges(void *ctx, int done, int total) {
    Rows *w = ctx;
    rt_train_log_progress(&w->r->log, "ridges", done, total, -1, "", 0, 0, -1);
    return !w->stop(w->r);
}

static void log_ridges(RtRun *r, const RtSolved *s) {
    for (int i = 0; i < s->n_path; i++) {
        const RtSolveStep *p = &s->path[i];
        const RtLogField fields[] = {{"stage", (double)r->state.at[RT_AT_STAGE], NULL},
                                     {"step", (double)r->state.at[RT_AT_STEP], NULL},
                                     {"ridge", p->ridge, NULL},
                                     {"loss", p->loss, NULL},
                                     {"held_loss", p->held, NULL},
                                     {"held_top1", p->held_top1, NULL},
                                     {"taken", i == s->best, NULL}};
        rt_beside_event(r, "ridge", fields, sizeof fields / sizeof *fields);
    }
}

// Of classes that each have a loss of their own the solver tells sums, a run means.
static void take_means(RtSolved *s, const RtSolveInput *in) {
    double n = in->exclusive ? 1 : in->columns;
    s->loss /= n;
    for (int i = 0; i < s->n_path; i++) {
        s->path[i].loss /= n;
        s->path[i].held /= n;
    }
}

static void take_answer(RtRun *r, const Rows *w, const RtSolved *s, double seconds) {
    RtTrainState *state = &r->state;
    const RtSolveStep *p = &s->path[s->best];
    char held[96] = ", which nothing chose: no image can be held out";
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
    state->at[RT_AT_STAGE_STEP] += !r->starts;
    memset(state->ridge, 0, sizeof state->ridge);
    for (int i = 0; i < s->n_path; i++) {
        double *row = state->ridge[i];
        row[RT_RIDGE] = s->path[i].ridge;
        row[RT_RIDGE_LOSS] = s->path[i].loss;
        row[RT_RIDGE_HELD] = s->path[i].held;
        row[RT_RIDGE_TOP1] = s->path[i].held_top1;
        row[RT_RIDGE_TAKEN] = i == s->best;
    }
    log_ridges(r, s);
}

// Where features cannot all be worked on at once.
static void say_blocks(const Rows *w, const RtSolveInput *in) {
    int64_t block = rt_solve_block(in->n, in->d, in->columns, in->memory);
    if (block < in->n)
        rt_train_log_line(&w->r->log,
                          "each pass reads the features anew, %lld images at a time: all at once "
                          "would take %.1f MB, of %.1f (--feature-memory)",
                          (long long)block,
                          (double)rt_solve_bytes(in->n, in->d, in->columns, in->n) * 1e-6,
                          (double)in->memory * 1e-6);
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
                       .memory = r->solver_memory,
                       .row = read_row,
                       .progress = show_ridges,
                       .ctx = w};
    say_blocks(w, &in);
    bool ok = rt_solve(&in, &s, &r->err);
    *stopped = !ok && r->err.text[0] == 0;
    if (ok) {
        take_means(&s, &in);
        take_answer(r, w, &s, (double)(rt_now() - since) * 1e-9);
    }
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
