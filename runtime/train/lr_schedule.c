// Learning rates: one formula a kind.
#include "runtime/train/lr_schedule.h"

#include <math.h>
#include <string.h>

static double decay_constant(const RtLrSchedule *s, int64_t i, int64_t n) {
    (void)s, (void)i, (void)n;
    return 1;
}

static double decay_cosine(const RtLrSchedule *s, int64_t i, int64_t n) {
    (void)s;
    double x = n > 0 ? (double)i / (double)n : 0;
    return 0.5 * (1 + cos(3.14159265358979323846 * (x < 1 ? x : 1)));
}

static double decay_step(const RtLrSchedule *s, int64_t i, int64_t n) {
    (void)n;
    return pow(s->gamma, (double)(i / (s->step_length > 0 ? s->step_length : 1)));
}

static const struct {
    const char *name;
    double (*decay)(const RtLrSchedule *, int64_t i, int64_t n);
    bool ends;
} kinds[] = {
    [RT_LR_CONSTANT] = {"constant", decay_constant, false},
    [RT_LR_COSINE] = {"cosine", decay_cosine, true},
    [RT_LR_STEP] = {"step", decay_step, false},
};

bool rt_lr_schedule_parse(const char *name, RtLrKind *kind) {
    for (int i = 0; i < (int)(sizeof kinds / sizeof *kinds); i++)
        if (strcmp(name, kinds[i].name) == 0) {
            *kind = (RtLrKind)i;
            return true;
        }
    return false;
}

const char *rt_lr_schedule_name(RtLrKind kind) {
    return kinds[kind].name;
}

bool rt_lr_schedule_ends(RtLrKind kind) {
    return kinds[kind].ends;
}

double rt_lr_schedule_rate(const RtLrSchedule *s, int64_t k) {
    if (k < s->warmup)
        return s->base * (double)(k + 1) / (double)s->warmup;
    return s->base * kinds[s->kind].decay(s, k - s->warmup, s->total - s->warmup);
}
