// One step: this rank's batches forward and backward, what all ranks found, the parameters' move.
//
// Until every rank's gradients are summed and its counts are here, nothing of the run's state has
// changed: a rank that loses the others then holds the state of the step before, whole.
#include "runtime/train/step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/core/rng.h"
#include "runtime/train/average.h"
#include "runtime/train/beside.h"
#include "runtime/train/rate.h"

// ---------------------------------------------------------------- batches

// Of a label; what does not count weighs nothing.
static double weight_of(const RtRun *r, int32_t label) {
    return label >= 0 ? (double)r->class_weight[label] : 0;
}

double rt_run_batch_weight(const RtRun *r, const RtFeed *f) {
    double sum = 0;
    int64_t places = rt_engine_places(r->engine);
    if (r->d->loss != HONE_LOSS_CE)
        return (double)f->n;
    for (int64_t i = 0; i < f->n * places; i++) {
        double share = f->mix ? (double)f->mix[i / places] : 1;
        double rest = f->mix ? (1 - share) * weight_of(r, f->labels2[i]) : 0;
        sum += share * weight_of(r, f->labels[i]) + rest;
    }
    return sum;
}

static int64_t dropout_seed(const RtRun *r, int64_t index) {
    RtRng g = rt_rng(r->set->seed, r->state.at[RT_AT_EPOCH], index, RT_RNG_DROPOUT);
    return (int64_t)(rt_rng_u64(&g) >> 1);
}

typedef struct Counts { // of a batch
    double loss, weight, right;
    int64_t n;
} Counts;

// Of a map's labels the share that is right; 1: it has none.
static double map_right(const RtRun *r, const int32_t *labels, const float *logits) {
    int64_t places = rt_engine_places(r->engine), n = 0;
    double right = 0, right5 = 0;
    for (int64_t k = 0; k < places; k++) {
        const float *row = logits + k * r->d->classes;
        if (labels[k] >= 0)
            rt_score_row(r->d, row, labels[k], NULL, &right, &right5);
        n += labels[k] >= 0;
    }
    return n ? right / (double)n : 1;
}

static void count_batch(RtRun *r, const RtFeed *f, double weight, Counts *c) {
    int columns = rt_engine_logit_columns(r->engine);
    int64_t places = rt_engine_places(r->engine), image = places * columns;
    double right5 = 0;
    *c = (Counts){.weight = weight, .n = f->n};
    for (int64_t i = 0; i < f->n; i++) {
        const float *targets = f->targets ? f->targets + i * columns : NULL;
        c->loss += (double)r->loss[i];
        if (places > 1)
            c->right += map_right(r, f->labels + i * places, r->logits + i * image);
        else
            rt_score_row(r->d, r->logits + i * columns, f->labels[i], targets, &c->right, &right5);
    }
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

RtEngineBatch rt_run_batch(const RtRun *r, const RtFeed *f, double divisor) {
    return (RtEngineBatch){.n = f->n,
                           .images = f->images,
                           .features = f->features,
                           .labels = f->labels,
                           .labels2 = f->labels2,
                           .mix = f->mix,
                           .targets = f->targets,
                           .class_weight = r->class_weight,
                           .smoothing = r->set->smoothing,
                           .scale = (float)(divisor > 0 ? 1 / divisor : 0),
                           .seed = dropout_seed(r, f->index),
                           .loss = r->loss,
                           .logits = r->logits};
}

// Forward and backward of one micro-batch, leaf `place` of the step's.
static bool run_batch(RtRun *r, const RtFeed *f, int64_t place, double divisor, RtEngineBatch *b,
                      Counts *c) {
    *b = rt_run_batch(r, f, divisor);
    if (!rt_gradient_add(r->gradient, b, place, &r->err))
        return false;
    if (!all_finite(r->loss, f->n))
        return fail_nonfinite(r, b, "the loss");
    int64_t logits = rt_engine_places(r->engine) * rt_engine_logit_columns(r->engine);
    if (!all_finite(r->logits, f->n * logits))
        return fail_nonfinite(r, b, "an output");
    count_batch(r, f, rt_run_batch_weight(r, f), c);
    return true;
}

// ---------------------------------------------------------------- what ranks tell each other

typedef struct Told { // by a rank, the counts of its share behind it
    int64_t signal;
    Counts counts[];
} Told;

typedef struct Step {
    int64_t first, size; // batches of the epoch
    int64_t from, to;    // of those, this rank's
    double divisor;      // of each loss: what the step's images weigh, if all are alike and count
    size_t told_bytes;
    Told *mine, *all;
    RtEngineBatch last; // of this rank, for messages
} Step;

static Told *told_by(const Step *s, int rank) {
    return (Told *)((char *)s->all + (size_t)rank * s->told_bytes);
}

static bool alloc_step(RtRun *r, Step *s) {
    int64_t left = rt_source_batches(r->train) - s->first, k = r->set->accumulate;
    s->size = left < k ? left : k;
    int64_t images = (s->first + s->size) * r->batch, n = r->data->n_train;
    s->divisor = (double)((images < n ? images : n) - s->first * r->batch) *
                 (double)rt_engine_places(r->engine);
    rt_gradient_share(r->gradient, s->size, &s->from, &s->to);
    int64_t most = rt_gradient_width(r->gradient);
    s->told_bytes = sizeof(Told) + (size_t)most * sizeof(Counts);
    s->mine = calloc(1, s->told_bytes);
    s->all = calloc((size_t)rt_ranks_n(r->ranks), s->told_bytes);
    return (s->mine && s->all) || rt_fail(&r->err, "no memory");
}

static bool run_batches(RtRun *r, Step *s) {
    rt_gradient_begin(r->gradient, s->size);
    for (int64_t place = s->from; place < s->to; place++) {
        const RtFeed *f = rt_source_next(r->train, &r->err);
        if (!f)
            return r->err.text[0] ? false
                                  : rt_fail(&r->err, "a bug in hone: an epoch is too short");
        if (!run_batch(r, f, place, s->divisor, &s->last, &s->mine->counts[place - s->from]))
            return false;
    }
    return true;
}

static bool hear_others(RtRun *r, Step *s) {
    r->alone = !rt_gradient_sum(r->gradient, &r->err) ||
               !rt_ranks_gather(r->ranks, s->mine, s->told_bytes, s->all, &r->err);
    return !r->alone;
}

// In the order of the batches, whoever had them. Returns how many had an image.
static int64_t take_counts(RtRun *r, const Step *s, Counts *sum) {
    int64_t width = rt_gradient_width(r->gradient), batches = 0;
    RtTrainState *state = &r->state;
    for (int64_t i = 0; i < s->size; i++) {
        const Counts *c = &told_by(s, (int)(i / width))->counts[i % width];
        state->sum[RT_LOSS_SUM] += c->loss;
        state->sum[RT_WEIGHT_SUM] += c->weight;
        state->at[RT_SEEN] += c->n;
        state->at[RT_CORRECT] += (int64_t)llround(c->right * 1e6); // multi-label: a share
        r->images_done += c->n;
        sum->loss += c->loss;
        sum->weight += c->weight;
        batches += c->n > 0;
    }
    state->at[RT_AT_BATCH] = s->first + s->size;
    return batches;
}

// ---------------------------------------------------------------- the move

// Divided by what the step's images really weigh, which nobody knew before the ranks told it, the
// gradient is that of their losses' mean, however they were cut into batches.
static bool move_parameters(RtRun *r, const Step *s, double weight, double lr, double *norm) {
    if (!rt_engine_grad_norm(r->engine, norm, &r->err))
        return false;
    if (!isfinite(*norm))
        return fail_nonfinite(r, &s->last, "a gradient");
    double factor = weight > 0 ? s->divisor / weight : 0;
    *norm *= factor;
    rt_average_begin(r);
    r->state.at[RT_AT_STEP]++;
    r->state.at[RT_AT_STAGE_STEP]++;
    RtEngineRates rates = rt_rate_of_step(r, lr, *norm, r->state.at[RT_AT_STAGE_STEP]);
    rates.clip = (float)((double)rates.clip * factor);
    if (!rt_engine_update(r->engine, &rates, &r->err))
        return false;
    rt_average_move(r);
    return true;
}

static bool run_step(RtRun *r, Step *s, double lr, bool (*stop)(RtRun *r), bool *stopped) {
    Counts sum = {0};
    double norm = 0;
    if (!alloc_step(r, s) || !run_batches(r, s))
        return false;
    s->mine->signal = stop(r);
    if (!hear_others(r, s))
        return false;
    for (int k = 0; k < rt_ranks_n(r->ranks); k++)
        *stopped |= told_by(s, k)->signal != 0;
    int64_t batches = take_counts(r, s, &sum);
    if (batches == 0)
        return true;
    rt_gradient_take_statistics(r->gradient, batches);
    if (!move_parameters(r, s, sum.weight, lr, &norm))
        return false;
    rt_beside_step(r, sum.weight > 0 ? sum.loss / sum.weight : 0, lr, norm);
    return true;
}

bool rt_run_begin_steps(RtRun *r) {
    int64_t from, to, k = r->set->accumulate;
    if (r->gradient)
        return true;
    if (rt_ranks_n(r->ranks) > k)
        return rt_fail(&r->err,
                       "this run's steps are of --accumulate %lld: that many processes can share "
                       "them, not %d",
                       (long long)k, rt_ranks_n(r->ranks));
    r->gradient = rt_gradient_open(r->engine, r->ranks, k, &r->err);
    if (!r->gradient)
        return false;
    rt_gradient_share(r->gradient, k, &from, &to);
    if (r->ranks)
        rt_source_share(r->train, &(RtLoaderShare){k, from, to});
    return true;
}

bool rt_run_step(RtRun *r, double lr, bool (*stop)(RtRun *r), bool *stopped) {
    Step s = {.first = r->state.at[RT_AT_BATCH]};
    bool ok = run_step(r, &s, lr, stop, stopped);
    free(s.mine);
    free(s.all);
    return ok;
}
