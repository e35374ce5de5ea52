// A step of training, of whoever's batches it is made. Private header.
#ifndef RUNTIME_TRAIN_STEP_H
#define RUNTIME_TRAIN_STEP_H

#include "runtime/train/run.h"

// Before the first step of a stage, behind what solves it: shares its batches among the ranks.
bool rt_run_begin_steps(RtRun *r);
// The next step of the epoch. *stopped: some rank's stop() said so. False with run->err set; with
// run->alone, the other ranks are gone and the state is that before the step.
bool rt_run_step(RtRun *r, double lr, bool (*stop)(RtRun *r), bool *stopped);
// What a batch is to the engine, one of `size` in its step; *weight: what the mean of its losses
// divides by.
RtEngineBatch rt_run_batch(const RtRun *r, const RtFeed *f, int64_t size, double *weight);

#endif
