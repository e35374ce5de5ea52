// How a step's images are cut into batches. Private header.
#ifndef RUNTIME_TRAIN_CUT_H
#define RUNTIME_TRAIN_CUT_H

#include "runtime/train/run.h"

// Before the run's key is made: where a step has fewer batches than there are processes, each gets
// one, a share of as many images. False with r->err set: it has fewer images than processes.
bool rt_cut_step(RtRun *r);
// A run goes on from a checkpoint with these options: cut as it was, where a step has as many
// images as are asked for now.
void rt_cut_as_before(RtRun *r, const char *options);

#endif
