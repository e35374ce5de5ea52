// The moving average of the parameters that the open stage trains (--model-ema). Private header.
#ifndef RUNTIME_TRAIN_AVERAGE_H
#define RUNTIME_TRAIN_AVERAGE_H

#include "runtime/train/run.h"

// Around each step; they do nothing where no average is wanted.
void rt_average_begin(RtRun *r); // before a step: a stage's first begins it
void rt_average_move(RtRun *r);  // behind it
// Is it what the stage made so far, in place of the parameters' last values?
bool rt_average_counts(const RtRun *r);
// The engine's parameters become the average, and the other way round.
void rt_average_swap(RtRun *r);

#endif
