// From logits to probabilities: of one image, and of several views of it. Private header.
#ifndef RUNTIME_TRAIN_PROBABILITY_H
#define RUNTIME_TRAIN_PROBABILITY_H

#include "runtime/train/abi.h"

// How the numbers of a row are read, as a few words.
const char *rt_reading(const HoneTrainDesc *d);
// Softmax or sigmoid of one row; p: [classes] (binary: 2).
void rt_probabilities(const HoneTrainDesc *d, const float *logits, double *p);
// The mean over rows [views][columns]; p, one: [classes] (binary: 2), `one` to work in.
void rt_mean_probabilities(const HoneTrainDesc *d, const float *logits, int views, double *p,
                           double *one);
// Logits that say p.
void rt_logits_of(const HoneTrainDesc *d, const double *p, float *logits);
// Of one row, as the program's loss without weights and smoothing. targets: as RtEngineBatch's.
double rt_loss_of(const HoneTrainDesc *d, const float *logits, int32_t label, const float *targets);

// Of a map's place, the one in the map of the mirror image.
int64_t rt_mirrored_place(const HoneTrainDesc *d, int64_t place);

#endif
