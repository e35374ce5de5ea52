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

#include "runtime/core/text.h"
#include "runtime/train/average.h"
#include "runtime/train/beside.h"
#include "runtime/train/folds.h"
#include "runtime/train/lr_find.h"
#include "runtime/train/rate.h"
#include "runtime/train/recipe.h"
#include "runtime/train/solved.h"
#include "runtime/train/step.h"
#include "runtime/train/together.h"

enum { EXIT_SIGNAL = 128 };

// Signals that end a run are blocked; a pending one is taken here, between steps.
static bool is_stopped(RtRun *r) {
    sigset_t set;
    rt_outs_signals(&set);
    if (!r->signal) {
        int sig = sigtimedwait(&set, NULL, &(struct timespec){0, 0});
        r->signal = sig > 0 ? sig : 0;
        if (r->signal)
            rt_ranks_expect_end(r->ranks);
    }
    return r->signal != 0;
}

static bool is_over(const RtRun *r) {
    return r->set->max_steps > 0 && r->state.at[RT_AT_STEP] >= r->set->max_steps;
}

// ---------------------------------------------------------------- an epoch

static double rate_of_images(uint64_t since_ns, int64_t images) {
    double s = (double)(rt_now() - since_ns) * 1e-9;
    return s > 0 ? (double)images / s : 0;
}

static void show_progress(RtRun *r, uint64_t since_ns, int64_t images) {
    char what[96];
    const int64_t *at = r->state.at;
    int64_t batches = rt_source_batches(r->train), epochs = rt_rate_epochs(r);
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
                          rt_score_words(r->d)->train,
                          at[RT_SEEN] ? (double)at[RT_CORRECT] * 1e-6 / (double)at[RT_SEEN] : 0,
                          speed, speed > 0 ? left / speed : -1);
}

// The rest of the epoch's steps. *stopped: by a signal or --max-steps, behind a step.
static bool train_epoch(RtRun *r, bool *stopped) {
    int64_t *at = r->state.at, since_images = r->images_done, saved = at[RT_AT_STEP];
    int64_t batches = rt_source_batches(r->train);
    uint64_t since = rt_now();
    *stopped = false;
    if (at[RT_AT_BATCH] > batches)
        return rt_fail(&r->err, "%s: damaged: batch %lld of %lld", r->set->folder,
                       (long long)at[RT_AT_BATCH], (long long)batches);
    if (at[RT_AT_BATCH] == batches)
        return true;
    if (!rt_run_begin_steps(r) ||
        !rt_source_seek(r->train, at[RT_AT_EPOCH], at[RT_AT_BATCH], &r->err))
        return false;
    while (at[RT_AT_BATCH] < batches) {
        if (!rt_run_step(r, rt_rate_now(r), is_stopped, stopped))
            return false;
        show_progress(r, since, r->images_done - since_images);
        if ((*stopped |= is_over(r)))
            return true;
        if (r->set->checkpoint_every > 0 && at[RT_AT_STEP] - saved >= r->set->checkpoint_every) {
            saved = at[RT_AT_STEP];
            rt_beside_save(r);
        }
    }
    return true;
}

// ---------------------------------------------------------------- validation

static bool show_validation(void *ctx, int64_t done, int64_t total) {
    RtRun *r = ctx;
    rt_train_log_progress(&r->log, "validation", done, total, -1, "", 0, 0, -1);
    return !is_stopped(r);
}

// Is there a score to go by? Of masks no pixel may count.
static bool has_scores(const RtRun *r, const RtScores *v) {
    return r->val && !isnan(v->top1);
}

// A better top-1, or as good a one and a smaller loss. Without scores the last is the best. An
// epoch with outputs that are not finite is never.
static void keep_best(RtRun *r, const RtScores *v) {
    RtTrainState *s = &r->state;
    bool better = s->at[RT_BEST_EPOCH] < 0 || v->top1 > s->sum[RT_BEST_TOP1] ||
                  (v->top1 == s->sum[RT_BEST_TOP1] && v->loss < s->sum[RT_BEST_LOSS]);
    better = !has_scores(r, v) || (better && v->n_not_finite == 0);
    s->at[RT_SINCE_BEST] = better ? 0 : s->at[RT_SINCE_BEST] + 1;
    if (!better)
        return;
    s->at[RT_BEST_EPOCH] = s->at[RT_AT_EPOCH];
    s->at[RT_BEST_STAGE] = s->at[RT_AT_STAGE];
    s->sum[RT_BEST_TOP1] = v->top1;
    s->sum[RT_BEST_LOSS] = v->loss;
    memcpy(s->best, rt_average_counts(r) ? s->average : rt_engine_buffer(r->engine, RT_ENGINE_P),
           (size_t)r->d->param_floats * sizeof(float));
}

static void say_line(void *ctx, const char *line) {
    RtRun *r = ctx;
    rt_train_log_line(&r->log, "%s", line);
}

static void log_epoch(RtRun *r, const RtScores *v, const double *row) {
    const RtScoreWords *w = rt_score_words(r->d);
    char val[128] = "", what[96], rate[32] = "";
    const char *spec = r->d->stages[r->state.at[RT_AT_STAGE]].spec;
    snprintf(what, sizeof what, r->solves ? "%s solved" : "%s epoch %lld/%d",
             r->starts ? "head" : spec, (long long)r->state.at[RT_AT_STAGE_EPOCH] + 1,
             rt_rate_epochs(r));
    if (!r->solves)
        snprintf(rate, sizeof rate, "  lr %.2e", row[RT_HIST_LR]);
    if (r->val)
        rt_scores_tell(v, r->data, 1, say_line, r);
    if (r->val && !has_scores(r, v))
        snprintf(val, sizeof val, "  val: no pixel counts");
    else if (r->val)
        snprintf(val, sizeof val, "  val loss %.4f %s %.2f%% %s %.2f%%", v->loss, w->first,
                 v->top1 * 100, w->second, v->top5 * 100);
    rt_train_log_line(
        &r->log, "%s  loss %.4f %s %.2f%%%s%s  %.1f s, %.0f images/s, waited %.1f s for data%s",
        what, row[RT_HIST_TRAIN_LOSS], w->train, row[RT_HIST_TRAIN_TOP1] * 100, val, rate,
        row[RT_HIST_SECONDS], row[RT_HIST_IMAGES_PER_S], row[RT_HIST_WAIT_SECONDS],
        r->state.at[RT_SINCE_BEST] == 0 ? "  *" : "");
    rt_beside_epoch(r, v, row);
}

static bool end_epoch(RtRun *r, const RtScores *v, uint64_t since, int64_t images,
                      uint64_t wait_ns) {
    RtTrainState *s = &r->state;
    double loss = s->sum[RT_WEIGHT_SUM] > 0 ? s->sum[RT_LOSS_SUM] / s->sum[RT_WEIGHT_SUM] : 0;
    if (!rt_recipe_counts(r, s->sum[RT_WEIGHT_SUM]) || !rt_recipe_learns(r, loss, v->loss))
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
    row[RT_HIST_LR] = rt_rate_now(r);
    row[RT_HIST_SECONDS] = seconds;
    row[RT_HIST_IMAGES_PER_S] = seconds > 0 ? (double)images / seconds : 0;
    row[RT_HIST_WAIT_SECONDS] = (double)wait_ns * 1e-9;
    keep_best(r, v);
    log_epoch(r, v, row);
    s->at[RT_AT_EPOCH]++;
    s->at[RT_AT_STAGE_EPOCH] += !r->starts;
    s->at[RT_AT_BATCH] = s->at[RT_SEEN] = s->at[RT_CORRECT] = 0;
    s->sum[RT_LOSS_SUM] = s->sum[RT_WEIGHT_SUM] = 0;
    rt_beside_save(r);
    return true;
}

// By the average of parameters where there is one.
static bool validate(RtRun *r, RtScores *v) {
    bool averages = rt_average_counts(r);
    if (averages)
        rt_average_swap(r);
    bool ok = rt_evaluate(r->engine, r->ranks, r->val, r->batch, v, show_validation, r, &r->err);
    if (averages)
        rt_average_swap(r);
    return ok;
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
    bool ok = !r->val || validate(r, &v);
    *stopped = !ok && r->err.text[0] == 0;
    r->alone |= !ok && !*stopped && r->ranks;
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
    return rt_run_open_sources(r, s) && rt_run_choose_solver(r) &&
           rt_run_agree(r, r->solves,
                        "it has not the memory to solve the classifier, or alone has it");
}

// Where nobody gave a rate; and where only a picture of rates is wanted, which then is made.
static bool find_rate(RtRun *r, bool *stopped) {
    RtLrCurve c;
    char title[96];
    const char *spec = r->d->stages[r->state.at[RT_AT_STAGE]].spec;
    bool open = rt_rate_base(r) <= 0 && r->state.at[RT_AT_STAGE_STEP] == 0;
    if (r->solves || *stopped || (!open && !r->set->lr_picture) || rt_rate_epochs(r) == 0)
        return true;
    if (!rt_lr_find(r, is_stopped, &c, stopped))
        return false;
    if (*stopped)
        return true;
    rt_train_log_line(&r->log, "%s: rate %.2g, a tenth of where a range test of %d steps %s", spec,
                      c.chosen, c.n, c.fell ? "ended best" : "showed no gain, but no loss yet");
    r->state.sum[RT_STAGE_RATE] = open ? c.chosen : 0;
    if (!rt_run_agree(r, (int64_t)llround(c.chosen * 1e15), "its range test found another rate"))
        return false;
    if (!r->set->lr_picture)
        return true;
    *stopped = r->measured = true;
    if (rt_ranks_me(r->ranks) > 0)
        return true;
    snprintf(title, sizeof title, "loss by learning rate, stage %d",
             (int)r->state.at[RT_AT_STAGE] + 1);
    return rt_lr_find_picture(&c, title, &r->lr_picture, &r->err);
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
    if (!find_rate(r, stopped))
        return false;
    while (at[RT_AT_STAGE_EPOCH] < rt_rate_epochs(r) && !*stopped && !stops_early(r))
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
    at[RT_AT_CYCLE_EPOCH] = at[RT_AT_CYCLE_STEP] = at[RT_AT_CYCLE_LENGTH] = 0;
    r->state.sum[RT_STAGE_RATE] = 0;
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
    if (r->val && s->at[RT_BEST_EPOCH] >= 0 && isnan(s->sum[RT_BEST_TOP1]))
        rt_train_log_line(&r->log,
                          "%s: no pixel of the masks for validation counts, all are void (255): "
                          "the model is the last epoch's",
                          RT_SHOW(r->set->val ? r->set->val : r->set->data));
    else if (r->val && s->at[RT_BEST_EPOCH] >= 0 && !r->set->folds)
        rt_train_log_line(&r->log, "best: epoch %lld, %s %.2f%%, loss %.4f",
                          (long long)s->at[RT_BEST_EPOCH] + 1, rt_score_words(r->d)->first,
                          s->sum[RT_BEST_TOP1] * 100, s->sum[RT_BEST_LOSS]);
    if (s->at[RT_AT_STEP] == 0 && s->n_history == 0)
        rt_train_log_line(&r->log, "no stage has an epoch: nothing was trained, a new classifier "
                                   "is random");
    rt_recipe_say_chance(r);
    if (r->bad_images)
        rt_train_log_line(&r->log, "%lld image%s could not be read and %s left out",
                          (long long)r->bad_images, r->bad_images == 1 ? "" : "s",
                          r->bad_images == 1 ? "was" : "were");
    return rt_recipe_say_unread(r) && rt_run_finish(r, since);
}

// A part of a k-fold, by the images that it held out.
static bool measure(RtRun *r, bool *stopped) {
    RtFolds *folds = r->set->folds;
    RtScores v = {.n = 0};
    if (!folds || folds->part == folds->n || *stopped)
        return true;
    bool ok = validate(r, &v) && rt_folds_record(r, &v);
    *stopped = !ok && r->err.text[0] == 0;
    rt_scores_free(&v);
    return ok || *stopped;
}

static bool run_all(RtRun *r, uint64_t since, bool *stopped) {
    if (!rt_run_agree_well(r, rt_run_setup(r)) || !rt_run_begin(r))
        return false;
    rt_beside_begin(r);
    rt_folds_begin(r);
    if (!run_stages(r, stopped))
        return false;
    if (r->set->lr_picture)
        return r->measured || r->signal ||
               rt_fail(&r->err, "--lr-find: every stage is solved, there is no rate; "
                                "--head-solver sgd or adamw takes steps");
    if (!measure(r, stopped) || (r->signal && !rt_beside_save_last(r)))
        return false;
    if (*stopped && !r->signal)
        rt_beside_save(r);
    if (!r->signal && !finish(r, since))
        return false;
    r->folder.finished |= !*stopped;
    rt_beside_end(r, !*stopped);
    return true;
}

// The others are gone, and this rank is the one that writes: what it has is the last whole step.
static void save_alone(RtRun *r) {
    RtErr why = r->err;
    bool saved = r->folder.kept && rt_beside_save_last(r);
    r->err = why;
    fprintf(stderr, "step %lld %s%s\n", (long long)r->state.at[RT_AT_STEP],
            saved ? "is saved; --resume, on any number of processes, goes on from "
                  : "was the last one; checkpoints before it are in ",
            RT_SHOW(r->set->folder));
}

static void complain(const RtRun *r) {
    if (r->ranks && r->err.text[0])
        fprintf(stderr, "rank %d: %s\n", rt_ranks_me(r->ranks), r->err.text);
    else if (r->err.text[0])
        fprintf(stderr, "%s\n", r->err.text);
}

int rt_train(RtEngine *t, const RtTrainSettings *set, bool *well) {
    RtRun r = {.engine = t, .own = *set, .ranks = set->ranks};
    r.set = &r.own;
    bool stopped = false, ok = *well = run_all(&r, rt_now(), &stopped);
    rt_train_log_clear(&r.log);
    if (!ok)
        complain(&r);
    if (!ok && r.alone && r.set->folder)
        save_alone(&r);
    if (ok && r.signal && rt_ranks_me(r.ranks) == 0)
        fprintf(stderr, "stopped by signal %d after step %lld%s%s\n", r.signal,
                (long long)r.state.at[RT_AT_STEP], set->folder ? "; --resume goes on from " : "",
                RT_SHOW(set->folder));
    int code = !ok ? 1 : r.signal ? EXIT_SIGNAL + r.signal : 0;
    if (code == 0 && rt_beside_lost(&r))
        code = rt_folds_lost(&r) ? 0 : rt_beside_say_lost();
    rt_run_close(&r);
    return code;
}
