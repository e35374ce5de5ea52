// A step of training, of whoever's batches it is made. Private header.
#ifndef RUNTIME_TRAIN_STEP_H
#define RUNTIME_TRAIN_STEP_H

#include "runtime/train/run.h"

// Before the first step of a stage, behind what solves it: shares its batches among the ranks.
bool rt_run_begin_steps(RtRun *r);
// The next step of the epoch. *stopped: some rank's stop() said so. False with run->err set; with
// run->alone, the other ranks are gone and the state is that before the step.
bool rt_run_step(RtRun *r, double lr, bool (*stop)(RtRun *r), bool *stopped);
// What the mean of a batch's losses divides by: its images, or places, as classes weigh them.
double rt_run_batch_weight(const RtRun *r, const RtFeed *f);
// What a batch is to the engine, each loss divided by `divisor` (0: none counts).
RtEngineBatch rt_run_batch(const RtRun *r, const RtFeed *f, double divisor);

#endif
