// The training loop.
//
// Position and sums are in RtTrainState, which checkpoints hold; whatever else the loop keeps is
// made anew from them, so that a resumed run cannot differ from one that was never stopped. A
// step's gradients are looked at before they move anything: the parameters never hold what a NaN
// made.
#define _GNU_SOURCE
#include "runtime/train/train.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/core/rng.h"
#include "runtime/core/text.h"
#include "runtime/train/recipe.h"
#include "runtime/train/solved.h"

enum { EXIT_SIGNAL = 128 };

// Signals that end a run are blocked; a pending one is taken here, between steps.
static bool is_stopped(RtRun *r) {
    sigset_t set;
    rt_outs_signals(&set);
    if (!r->signal) {
        int sig = sigtimedwait(&set, NULL, &(struct timespec){0, 0});
        r->signal = sig > 0 ? sig : 0;
    }
    return r->signal != 0;
}

static bool is_over(const RtRun *r) {
    return r->set->max_steps > 0 && r->state.at[RT_AT_STEP] >= r->set->max_steps;
}

static bool save(RtRun *r) {
    RtCheckpointKey key = rt_run_key(r);
    return !r->set->folder || rt_checkpoint_save(&r->folder, r->engine, &r->state, &key, &r->err);
}

// ---------------------------------------------------------------- rates

static int64_t steps_per_epoch(const RtRun *r) {
    int64_t k = r->set->accumulate;
    return (rt_source_batches(r->train) + k - 1) / k;
}

static int stage_epochs(const RtRun *r) {
    int n = r->set->epochs[r->state.at[RT_AT_STAGE]];
    return r->solves && !r->starts && n > 1 ? 1 : n;
}

static double rate_now(const RtRun *r) {
    const RtTrainSettings *s = r->set;
    int64_t stage = r->state.at[RT_AT_STAGE], per_epoch = steps_per_epoch(r);
    if (r->solves)
        return 0;
    RtLrSchedule lr = {.kind = s->lr_schedule,
                       .base = (double)s->lr[stage],
                       .warmup =
                           (int64_t)llround((double)s->warmup_epochs[stage] * (double)per_epoch),
                       .total = per_epoch * s->epochs[stage],
                       .step_length = (int64_t)llround((double)s->step_epochs * (double)per_epoch),
                       .gamma = (double)s->gamma};
    return rt_lr_schedule_rate(&lr, r->state.at[RT_AT_STAGE_STEP]);
}

// ---------------------------------------------------------------- steps

// Of a batch's images: what the mean of their losses divides by.
static double batch_weight(const RtRun *r, const RtFeed *f) {
    double sum = 0;
    for (int64_t i = 0; i < f->n; i++)
        sum += r->d->loss == HONE_LOSS_CE ? (double)r->class_weight[f->labels[i]] : 1;
    return sum;
}

static int64_t dropout_seed(const RtRun *r, int64_t index) {
    RtRng g = rt_rng(r->set->seed, r->state.at[RT_AT_EPOCH], index, RT_RNG_DROPOUT);
    return (int64_t)(rt_rng_u64(&g) >> 1);
}

static void count_batch(RtRun *r, const RtFeed *f, double weight, double *loss) {
    int columns = rt_engine_logit_columns(r->engine);
    double right = 0, right5 = 0;
    *loss = 0;
    for (int64_t i = 0; i < f->n; i++) {
        const float *targets = f->targets ? f->targets + i * columns : NULL;
        *loss += (double)r->loss[i];
        rt_score_row(r->d, r->logits + i * columns, f->labels[i], targets, &right, &right5);
    }
    r->state.sum[RT_LOSS_SUM] += *loss;
    r->state.sum[RT_WEIGHT_SUM] += weight;
    r->state.at[RT_SEEN] += f->n;
    r->state.at[RT_CORRECT] += (int64_t)llround(right * 1e6); // multi-label: a share
    r->images_done += f->n;
}

static bool fail_nonfinite(RtRun *r, const RtEngineBatch *b, const char *what) {
    char where[512];
    bool moved = rt_engine_find_nonfinite(r->engine, b, where, sizeof where);
    moved &= r->state.at[RT_AT_STEP] > 0; // else the rates have done nothing yet
    return rt_fail(&r->err,
                   "step %lld: %s is not finite, first in %s; nothing was moved by it%s%s%s",
                   (long long)r->state.at[RT_AT_STEP] + 1, what, where,
                   r->set->folder ? ", and the last checkpoint is in " : "",
                   r->set->folder ? r->set->folder : "",
                   moved ? ". Try a smaller --lr, or --clip-grad 1" : "");
}

static bool all_finite(const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

// Forward and backward of one micro-batch.
static bool run_batch(RtRun *r, const RtFeed *f, int64_t group, bool add, RtEngineBatch *b,
                      double *loss, double *weight) {
    *weight = batch_weight(r, f);
    double share = *weight * (double)group;
    *b = (RtEngineBatch){.n = f->n,
                         .images = f->images,
                         .features = f->features,
                         .labels = f->labels,
                         .targets = f->targets,
                         .class_weight = r->class_weight,
                         .smoothing = r->set->smoothing,
                         .scale = (float)(share > 0 ? 1 / share : 0),
                         .seed = dropout_seed(r, f->index),
                         .loss = r->loss,
                         .logits = r->logits};
    if (!rt_engine_train(r->engine, b, add, &r->err))
        return false;
    if (!all_finite(r->loss, f->n))
        return fail_nonfinite(r, b, "the loss");
    if (!all_finite(r->logits, f->n * rt_engine_logit_columns(r->engine)))
        return fail_nonfinite(r, b, "an output");
    count_batch(r, f, *weight, loss);
    return true;
}

static bool move_parameters(RtRun *r, const RtEngineBatch *b, double *lr, double *norm) {
    const RtTrainSettings *s = r->set;
    if (!rt_engine_grad_norm(r->engine, norm, &r->err))
        return false;
    if (!isfinite(*norm))
        return fail_nonfinite(r, b, "a gradient");
    *lr = rate_now(r);
    r->state.at[RT_AT_STEP]++;
    r->state.at[RT_AT_STAGE_STEP]++;
    bool clips = s->clip > 0 && *norm > (double)s->clip;
    RtEngineRates rates = {.kind = s->optimizer[r->state.at[RT_AT_STAGE]],
                           .lr = (float)*lr,
                           .momentum = s->momentum,
                           .beta2 = s->beta2,
                           .eps = s->eps,
                           .decay = s->decay,
                           .clip = clips ? (float)((double)s->clip / *norm) : 1,
                           .t = r->state.at[RT_AT_STAGE_STEP]};
    return rt_engine_update(r->engine, &rates, &r->err);
}

static bool log_step(RtRun *r, double loss, double lr, double norm) {
    const RtLogField fields[] = {{"step", (double)r->state.at[RT_AT_STEP], NULL},
                                 {"stage", (double)r->state.at[RT_AT_STAGE], NULL},
                                 {"epoch", (double)r->state.at[RT_AT_EPOCH], NULL},
                                 {"loss", loss, NULL},
                                 {"lr", lr, NULL},
                                 {"grad_norm", norm, NULL}};
    return rt_train_log_event(&r->log, "step", fields, sizeof fields / sizeof *fields, &r->err);
}

// ---------------------------------------------------------------- an epoch

static double rate_of_images(uint64_t since_ns, int64_t images) {
    double s = (double)(rt_now() - since_ns) * 1e-9;
    return s > 0 ? (double)images / s : 0;
}

static void show_progress(RtRun *r, uint64_t since_ns, int64_t images) {
    char what[96];
    const int64_t *at = r->state.at;
    int64_t batches = rt_source_batches(r->train), epochs = stage_epochs(r);
    double speed = rate_of_images(since_ns, images), weight = r->state.sum[RT_WEIGHT_SUM];
    double left = ((double)(batches - at[RT_AT_BATCH]) +
                   (double)batches * (double)(epochs - 1 - at[RT_AT_STAGE_EPOCH])) *
                  (double)r->batch;
    for (int s = (int)at[RT_AT_STAGE] + 1; s < r->d->n_stages; s++)
        left += (double)r->set->epochs[s] * (double)r->data->n_train;
    snprintf(what, sizeof what, "%s epoch %lld/%lld", r->d->stages[at[RT_AT_STAGE]].spec,
             (long long)at[RT_AT_STAGE_EPOCH] + 1, (long long)epochs);
    rt_train_log_progress(&r->log, what, at[RT_AT_BATCH], batches,
                          weight > 0 ? r->state.sum[RT_LOSS_SUM] / weight : -1,
                          at[RT_SEEN] ? (double)at[RT_CORRECT] * 1e-6 / (double)at[RT_SEEN] : 0,
                          speed, speed > 0 ? left / speed : -1);
}

typedef struct Group { // micro-batches of one step
    int64_t size;      // planned
    bool begun;
    double loss, weight;
} Group;

// One micro-batch; the step's end moves the parameters. False after an error.
static bool train_batch(RtRun *r, const RtFeed *f, Group *g) {
    int64_t k = r->set->accumulate, batches = rt_source_batches(r->train);
    RtEngineBatch b = {0};
    double loss = 0, weight = 0, lr = 0, norm = 0;
    if (f->index % k == 0)
        *g = (Group){.size = batches - f->index < k ? batches - f->index : k};
    if (f->n > 0) {
        if (!run_batch(r, f, g->size, g->begun, &b, &loss, &weight))
            return false;
        g->begun = true;
        g->loss += loss;
        g->weight += weight;
    }
    r->state.at[RT_AT_BATCH] = f->index + 1;
    bool ends = (f->index + 1) % k == 0 || f->index + 1 == batches;
    if (!ends || !g->begun)
        return true;
    return move_parameters(r, &b, &lr, &norm) &&
           log_step(r, g->weight > 0 ? g->loss / g->weight : 0, lr, norm);
}

static bool at_step_end(const RtRun *r) {
    int64_t at = r->state.at[RT_AT_BATCH];
    return at % r->set->accumulate == 0 || at == rt_source_batches(r->train);
}

// The rest of the epoch's batches. *stopped: by a signal or --max-steps, at a step's end.
static bool train_epoch(RtRun *r, bool *stopped) {
    int64_t *at = r->state.at, since_images = r->images_done, saved = at[RT_AT_STEP];
    uint64_t since = rt_now();
    Group g = {0};
    *stopped = false;
    if (at[RT_AT_BATCH] > rt_source_batches(r->train))
        return rt_fail(&r->err, "%s: damaged: batch %lld of %lld", r->set->folder,
                       (long long)at[RT_AT_BATCH], (long long)rt_source_batches(r->train));
    if (at[RT_AT_BATCH] == rt_source_batches(r->train))
        return true;
    if (!rt_source_seek(r->train, at[RT_AT_EPOCH], at[RT_AT_BATCH], &r->err))
        return false;
    for (const RtFeed *f; (f = rt_source_next(r->train, &r->err));) {
        if (!train_batch(r, f, &g))
            return false;
        show_progress(r, since, r->images_done - since_images);
        if (!at_step_end(r))
            continue;
        if ((*stopped = is_stopped(r) || is_over(r)))
            return true;
        if (r->set->checkpoint_every > 0 && at[RT_AT_STEP] - saved >= r->set->checkpoint_every) {
            saved = at[RT_AT_STEP];
            if (!save(r))
                return false;
        }
    }
    return r->err.text[0] == 0;
}

// ---------------------------------------------------------------- validation

static bool show_validation(void *ctx, int64_t done, int64_t total) {
    RtRun *r = ctx;
    rt_train_log_progress(&r->log, "validation", done, total, -1, 0, 0, -1);
    return !is_stopped(r);
}

// A better top-1, or as good a one and a smaller loss. Without validation the last is the best. An
// epoch with outputs that are not finite is never.
static void keep_best(RtRun *r, const RtScores *v) {
    RtTrainState *s = &r->state;
    bool better = s->at[RT_BEST_EPOCH] < 0 || v->top1 > s->sum[RT_BEST_TOP1] ||
                  (v->top1 == s->sum[RT_BEST_TOP1] && v->loss < s->sum[RT_BEST_LOSS]);
    better = !r->val || (better && v->n_not_finite == 0);
    s->at[RT_SINCE_BEST] = better ? 0 : s->at[RT_SINCE_BEST] + 1;
    if (!better)
        return;
    s->at[RT_BEST_EPOCH] = s->at[RT_AT_EPOCH];
    s->at[RT_BEST_STAGE] = s->at[RT_AT_STAGE];
    s->sum[RT_BEST_TOP1] = v->top1;
    s->sum[RT_BEST_LOSS] = v->loss;
    memcpy(s->best, rt_engine_buffer(r->engine, RT_ENGINE_P),
           (size_t)r->d->param_floats * sizeof(float));
}

static void say_line(void *ctx, const char *line) {
    RtRun *r = ctx;
    rt_train_log_line(&r->log, "%s", line);
}

static bool log_epoch(RtRun *r, const RtScores *v, const double *row) {
    const RtLogField fields[] = {{"stage", row[RT_HIST_STAGE], NULL},
                                 {"epoch", row[RT_HIST_EPOCH], NULL},
                                 {"train_loss", row[RT_HIST_TRAIN_LOSS], NULL},
                                 {"train_top1", row[RT_HIST_TRAIN_TOP1], NULL},
                                 {"val_loss", r->val ? v->loss : NAN, NULL},
                                 {"val_top1", r->val ? v->top1 : NAN, NULL},
                                 {"val_top5", r->val ? v->top5 : NAN, NULL},
                                 {"lr", row[RT_HIST_LR], NULL},
                                 {"seconds", row[RT_HIST_SECONDS], NULL},
                                 {"images_per_s", row[RT_HIST_IMAGES_PER_S], NULL},
                                 {"data_wait_s", row[RT_HIST_WAIT_SECONDS], NULL},
                                 {"bad_images", (double)r->bad_images, NULL},
                                 {"not_finite", (double)v->n_not_finite, NULL}};
    char val[128] = "", what[96], rate[32] = "";
    const char *spec = r->d->stages[r->state.at[RT_AT_STAGE]].spec;
    snprintf(what, sizeof what, r->solves ? "%s solved" : "%s epoch %lld/%d",
             r->starts ? "head" : spec, (long long)r->state.at[RT_AT_STAGE_EPOCH] + 1,
             stage_epochs(r));
    if (!r->solves)
        snprintf(rate, sizeof rate, "  lr %.2e", row[RT_HIST_LR]);
    if (r->val)
        rt_scores_tell(v, r->data, 1, say_line, r);
    if (r->val)
        snprintf(val, sizeof val, "  val loss %.4f top-1 %.2f%% top-5 %.2f%%", v->loss,
                 v->top1 * 100, v->top5 * 100);
    rt_train_log_line(
        &r->log, "%s  loss %.4f top-1 %.2f%%%s%s  %.1f s, %.0f images/s, waited %.1f s for data%s",
        what, row[RT_HIST_TRAIN_LOSS], row[RT_HIST_TRAIN_TOP1] * 100, val, rate,
        row[RT_HIST_SECONDS], row[RT_HIST_IMAGES_PER_S], row[RT_HIST_WAIT_SECONDS],
        r->state.at[RT_SINCE_BEST] == 0 ? "  *" : "");
    return rt_train_log_event(&r->log, "epoch", fields, sizeof fields / sizeof *fields, &r->err);
}

static bool end_epoch(RtRun *r, const RtScores *v, uint64_t since, int64_t images,
                      uint64_t wait_ns) {
    RtTrainState *s = &r->state;
    double loss = s->sum[RT_WEIGHT_SUM] > 0 ? s->sum[RT_LOSS_SUM] / s->sum[RT_WEIGHT_SUM] : 0;
    if (!rt_recipe_learns(r, loss))
        return false;
    double *row = rt_state_add_history(s);
    if (!row)
        return rt_fail(&r->err, "no memory");
    double seconds = (double)(rt_now() - since) * 1e-9;
    row[RT_HIST_STAGE] = (double)s->at[RT_AT_STAGE];
    row[RT_HIST_EPOCH] = (double)s->at[RT_AT_EPOCH];
    row[RT_HIST_TRAIN_LOSS] = loss;
    row[RT_HIST_TRAIN_TOP1] =
        s->at[RT_SEEN] ? (double)s->at[RT_CORRECT] * 1e-6 / (double)s->at[RT_SEEN] : 0;
    row[RT_HIST_VAL_LOSS] = v->loss;
    row[RT_HIST_VAL_TOP1] = v->top1;
    row[RT_HIST_VAL_TOP5] = v->top5;
    row[RT_HIST_LR] = rate_now(r);
    row[RT_HIST_SECONDS] = seconds;
    row[RT_HIST_IMAGES_PER_S] = seconds > 0 ? (double)images / seconds : 0;
    row[RT_HIST_WAIT_SECONDS] = (double)wait_ns * 1e-9;
    keep_best(r, v);
    if (!log_epoch(r, v, row))
        return false;
    s->at[RT_AT_EPOCH]++;
    s->at[RT_AT_STAGE_EPOCH] += !r->starts;
    s->at[RT_AT_BATCH] = s->at[RT_SEEN] = s->at[RT_CORRECT] = 0;
    s->sum[RT_LOSS_SUM] = s->sum[RT_WEIGHT_SUM] = 0;
    return save(r);
}

// Training, validation, checkpoint. *stopped: the state is one to resume from.
static bool run_epoch(RtRun *r, bool *stopped) {
    uint64_t since = rt_now(), wait = rt_source_wait_ns(r->train);
    int64_t images = r->images_done;
    if (!(r->solves ? rt_run_solve(r, is_stopped, stopped) : train_epoch(r, stopped)))
        return false;
    if (*stopped)
        return true;
    RtScores v = {.n = 0};
    images = r->images_done - images;
    wait = rt_source_wait_ns(r->train) - wait;
    bool ok = !r->val || rt_evaluate(r->engine, r->val, r->batch, &v, show_validation, r, &r->err);
    *stopped = !ok && r->err.text[0] == 0;
    if (ok)
        ok = end_epoch(r, &v, since, images, wait);
    *stopped |= ok && r->solves && is_over(r);
    rt_scores_free(&v);
    return ok || *stopped;
}

// ---------------------------------------------------------------- stages

static bool stops_early(const RtRun *r) {
    return r->set->early_stop > 0 && r->val && r->state.at[RT_SINCE_BEST] >= r->set->early_stop;
}

static bool begin_stage(RtRun *r, int s) {
    if (r->open_stage != s && !rt_engine_open_stage(r->engine, s, &r->err))
        return false;
    r->open_stage = s;
    const HoneTrainStage *stage = &r->d->stages[s];
    rt_train_log_line(&r->log, "stage %d of %d, %s: %lld parameters train, %lld are frozen", s + 1,
                      r->d->n_stages, stage->spec, (long long)stage->n_trained,
                      (long long)stage->n_frozen);
    return rt_run_open_sources(r, s) && rt_run_choose_solver(r);
}

static bool run_stage(RtRun *r, int s, bool *stopped) {
    int64_t *at = r->state.at;
    *stopped = false;
    if (!begin_stage(r, s))
        return false;
    uint64_t frozen = rt_engine_frozen_hash(r->engine, s);
    if (r->starts && !run_epoch(r, stopped))
        return false;
    r->solves &= !r->starts;
    r->starts = false;
    while (at[RT_AT_STAGE_EPOCH] < stage_epochs(r) && !*stopped && !stops_early(r))
        if (!run_epoch(r, stopped))
            return false;
    if (rt_engine_frozen_hash(r->engine, s) != frozen)
        return rt_fail(&r->err, "a bug in hone: stage '%s' changed a frozen parameter",
                       r->d->stages[s].spec);
    if (*stopped)
        return true;
    if (stops_early(r))
        rt_train_log_line(&r->log, "no better epoch for %d: stage over", r->set->early_stop);
    bool last = s + 1 == r->d->n_stages;
    if (!last)
        rt_run_close_sources(r);
    at[RT_AT_STAGE] = s + 1;
    at[RT_AT_STAGE_EPOCH] = at[RT_AT_STAGE_STEP] = at[RT_SINCE_BEST] = 0;
    return true;
}

static bool run_stages(RtRun *r, bool *stopped) {
    *stopped = false;
    for (int s = (int)r->state.at[RT_AT_STAGE]; s < r->d->n_stages && !*stopped; s++)
        if (!run_stage(r, s, stopped))
            return false;
    return true;
}

// ---------------------------------------------------------------- the end

static bool finish(RtRun *r, uint64_t since) {
    RtTrainState *s = &r->state;
    if (s->at[RT_BEST_EPOCH] >= 0)
        memcpy(rt_engine_buffer(r->engine, RT_ENGINE_P), s->best,
               (size_t)r->d->param_floats * sizeof(float));
    if (r->val && s->at[RT_AT_EPOCH] > 0 && s->at[RT_BEST_EPOCH] < 0)
        return rt_fail(&r->err,
                       "no epoch is the best: after each, validation images had outputs that are "
                       "not finite; nothing is written%s%s",
                       r->set->folder ? ", the last checkpoint is in " : "",
                       r->set->folder ? r->set->folder : "");
    if (r->val && s->at[RT_BEST_EPOCH] >= 0)
        rt_train_log_line(&r->log, "best: epoch %lld, top-1 %.2f%%, loss %.4f",
                          (long long)s->at[RT_BEST_EPOCH] + 1, s->sum[RT_BEST_TOP1] * 100,
                          s->sum[RT_BEST_LOSS]);
    rt_recipe_say_chance(r);
    if (r->bad_images)
        rt_train_log_line(&r->log, "%lld images could not be read and were left out",
                          (long long)r->bad_images);
    if (!rt_run_finish(r, since))
        return false;
    if (r->set->out)
        rt_train_log_line(&r->log, "%s written", r->set->out);
    if (r->set->report)
        rt_train_log_line(&r->log, "%s written", r->set->report);
    return true;
}

static bool run_all(RtRun *r, uint64_t since, bool *stopped) {
    if (!rt_run_setup(r) || !rt_run_begin(r) || !rt_train_log_begin(&r->log, &r->err))
        return false;
    if (!run_stages(r, stopped))
        return false;
    if (*stopped && !save(r))
        return false;
    r->folder.finished |= !*stopped;
    return (r->signal || finish(r, since)) && rt_train_log_commit(&r->log, &r->err) &&
           (*stopped || !r->set->folder || rt_folder_write(&r->folder, &r->err));
}

int rt_train(RtEngine *t, const RtTrainSettings *set) {
    RtRun r = {.engine = t, .own = *set};
    r.set = &r.own;
    bool stopped = false;
    bool ok = run_all(&r, rt_now(), &stopped);
    rt_train_log_clear(&r.log);
    if (!ok && r.err.text[0])
        fprintf(stderr, "%s\n", r.err.text);
    if (ok && r.signal)
        fprintf(stderr, "stopped by signal %d after step %lld%s%s\n", r.signal,
                (long long)r.state.at[RT_AT_STEP], set->folder ? "; --resume goes on from " : "",
                RT_SHOW(set->folder));
    int code = !ok ? 1 : r.signal ? EXIT_SIGNAL + r.signal : 0;
    rt_run_close(&r);
    return code;
}
