// The learning rate as a function of the step. Private header.
#ifndef RUNTIME_TRAIN_LR_SCHEDULE_H
#define RUNTIME_TRAIN_LR_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum RtSchedKind { RT_SCHED_CONSTANT, RT_SCHED_COSINE, RT_SCHED_STEP } RtSchedKind;

typedef struct RtSched {
    RtSchedKind kind;
    double base;         // the rate after the warm-up
    int64_t warmup;      // steps that rise linearly: base/warmup, 2*base/warmup, ..., base
    int64_t total;       // steps of the stage, warm-up included
    int64_t step_length; // RT_SCHED_STEP: steps between two decays, at least 1
    double gamma;        // RT_SCHED_STEP: the factor of one
} RtSched;

// "constant", "cosine", "step".
bool rt_sched_parse(const char *name, RtSchedKind *kind);
const char *rt_sched_name(RtSchedKind kind);
// The rate of step k, 0 <= k. cosine: base * (1 + cos(pi * i / n)) / 2 with i of the n steps after
// the warm-up done (SGDR without restarts, Loshchilov and Hutter 2017).
double rt_sched_rate(const RtSched *s, int64_t k);

#endif
