// What the ranks of a run make sure of with each other, outside of its steps. Private header.
#ifndef RUNTIME_TRAIN_TOGETHER_H
#define RUNTIME_TRAIN_TOGETHER_H

#include "runtime/train/run.h"

// Settings of this rank of s->ranks: what is written, rank 0 writes.
void rt_together_take_rank(RtTrainSettings *s);
// Everybody goes on from rank 0's state. False with run->err set: a rank has other data, another
// program, other options or another CPU's code than rank 0.
bool rt_run_share_state(RtRun *r);
// Whether all ranks are well. Else false, run->err's text empty on those that have none to tell,
// and on all others where rank 0 tells its own.
bool rt_run_agree_well(RtRun *r, bool well);
// False with run->err set: `value` is not rank 0's.
bool rt_run_agree(RtRun *r, int64_t value, const char *what);

#endif
