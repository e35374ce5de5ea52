// The epochs of a run as a table for other programs. Private header.
#ifndef RUNTIME_TRAIN_HISTORY_H
#define RUNTIME_TRAIN_HISTORY_H

#include "runtime/file/out.h"
#include "runtime/train/checkpoint.h"
#include "runtime/train/eval.h"

// A line an epoch, as comma-separated values under the names of timm's summary.csv, into `out`,
// which is open; val: there are validation images. False with err set.
bool rt_history_csv(const RtTrainState *s, const RtScoreWords *words, bool val, RtOutFile *out,
                    RtErr *err);

#endif
