// Rates by the schedule that is on: the stage's own, or, where a finished run goes on, the one that
// began behind its end.
#include "runtime/train/rate.h"

#include <math.h>

static int64_t steps_per_epoch(const RtRun *r) {
    int64_t k = r->set->accumulate;
    return (rt_source_batches(r->train) + k - 1) / k;
}

static int64_t cycle_epochs(const RtRun *r) {
    const int64_t *at = r->state.at;
    return at[RT_AT_CYCLE_LENGTH] ? at[RT_AT_CYCLE_LENGTH] : r->set->epochs[at[RT_AT_STAGE]];
}

int rt_rate_epochs(const RtRun *r) {
    int n = (int)(r->state.at[RT_AT_CYCLE_EPOCH] + cycle_epochs(r));
    return r->solves && !r->starts && n > 1 ? 1 : n;
}

double rt_rate_base(const RtRun *r) {
    double given = (double)r->set->lr[r->state.at[RT_AT_STAGE]];
    return given > 0 ? given : r->state.sum[RT_STAGE_RATE];
}

double rt_rate_now(const RtRun *r) {
    const RtTrainSettings *s = r->set;
    const int64_t *at = r->state.at;
    double per_epoch = (double)steps_per_epoch(r);
    if (r->solves)
        return 0;
    RtLrSchedule lr = {.kind = s->lr_schedule,
                       .base = rt_rate_base(r),
                       .warmup =
                           (int64_t)llround((double)s->warmup_epochs[at[RT_AT_STAGE]] * per_epoch),
                       .total = steps_per_epoch(r) * cycle_epochs(r),
                       .step_length = (int64_t)llround((double)s->step_epochs * per_epoch),
                       .gamma = (double)s->gamma};
    return rt_lr_schedule_rate(&lr, at[RT_AT_STAGE_STEP] - at[RT_AT_CYCLE_STEP]);
}

RtEngineRates rt_rate_of_step(const RtRun *r, double lr, double norm, int64_t t) {
    const RtTrainSettings *s = r->set;
    bool clips = s->clip > 0 && norm > (double)s->clip;
    return (RtEngineRates){.kind = s->optimizer[r->state.at[RT_AT_STAGE]],
                           .lr = (float)lr,
                           .momentum = s->momentum,
                           .beta2 = s->beta2,
                           .eps = s->eps,
                           .decay = s->decay,
                           .clip = clips ? (float)((double)s->clip / norm) : 1,
                           .t = t};
}
