// The learning rate as a function of the step. Private header.
#ifndef RUNTIME_TRAIN_LR_SCHEDULE_H
#define RUNTIME_TRAIN_LR_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum RtLrKind { RT_LR_CONSTANT, RT_LR_COSINE, RT_LR_STEP } RtLrKind;

typedef struct RtLrSchedule {
    RtLrKind kind;
    double base;         // the rate after the warm-up
    int64_t warmup;      // steps that rise linearly: base/warmup, 2*base/warmup, ..., base
    int64_t total;       // steps of the stage, warm-up included
    int64_t step_length; // RT_LR_STEP: steps between two decays, at least 1
    double gamma;        // RT_LR_STEP: the factor of one
} RtLrSchedule;

// "constant", "cosine", "step".
bool rt_lr_schedule_parse(const char *name, RtLrKind *kind);
const char *rt_lr_schedule_name(RtLrKind kind);
// It ends at `total`, where the rate is 0; others go on as they were behind it.
bool rt_lr_schedule_ends(RtLrKind kind);
// The rate of step k, 0 <= k. cosine: base * (1 + cos(pi * i / n)) / 2 with i of the n steps after
// the warm-up done (SGDR without restarts, Loshchilov and Hutter 2017).
double rt_lr_schedule_rate(const RtLrSchedule *s, int64_t k);

#endif
