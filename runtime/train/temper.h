// Temperature scaling (Guo et al., On Calibration of Modern Neural Networks, 2017): what logits are
// to be divided by so that probabilities are as often right as they say. Private header.
#ifndef RUNTIME_TRAIN_TEMPER_H
#define RUNTIME_TRAIN_TEMPER_H

#include "runtime/train/abi.h"

#include <stdbool.h>

enum { RT_TEMPERATURES = 65, RT_TEMPER_BINS = 15 }; // from 1/8 to 8, by factors of 2^(3/32)
enum { RT_TEMPER_VIEWS = 10 };                      // of an image, at most

typedef struct RtTemper { // sums over images, for each temperature
    double n, loss[RT_TEMPERATURES];
    double right[RT_TEMPERATURES][RT_TEMPER_BINS], sure[RT_TEMPERATURES][RT_TEMPER_BINS];
} RtTemper;

typedef struct RtTemperature {
    double value, loss, calibration_error; // means
} RtTemperature;

// An image whose classes exclude each other: logits [views][classes], one of two by itself when
// binary. Views are divided each by itself, then their probabilities averaged.
void rt_temper_add(RtTemper *t, const HoneTrainDesc *d, const float *logits, int views,
                   int32_t label);
RtTemperature rt_temper_best(const RtTemper *t); // of the least loss; 1 where there is no image

#endif
