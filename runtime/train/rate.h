// What a step of the open stage is taken by: its rate, and what else the optimiser is told. Private
// header.
#ifndef RUNTIME_TRAIN_RATE_H
#define RUNTIME_TRAIN_RATE_H

#include "runtime/train/run.h"

int rt_rate_epochs(const RtRun *r);  // of the stage
double rt_rate_now(const RtRun *r);  // of the next step
double rt_rate_base(const RtRun *r); // what the stage's schedule begins from; 0: not known yet
// Step t of the optimiser, where the gradients' norm is `norm`.
RtEngineRates rt_rate_of_step(const RtRun *r, double lr, double norm, int64_t t);

#endif
