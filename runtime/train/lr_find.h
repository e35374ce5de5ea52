// A learning rate by a short range test: steps whose rate grows from step to step, until the loss
// does (Smith, Cyclical Learning Rates for Training Neural Networks, 2017). Private header.
#ifndef RUNTIME_TRAIN_LR_FIND_H
#define RUNTIME_TRAIN_LR_FIND_H

#include "runtime/train/run.h"

enum { RT_LR_STEPS = 80 };

typedef struct RtLrCurve {
    int n;
    double lr[RT_LR_STEPS], loss[RT_LR_STEPS]; // loss: smoothed
    bool fell;                                 // by more than batches differ
    double chosen; // a tenth of the rate where the loss was least; where it did not fall, of the
                   // last one before it rose
} RtLrCurve;

// For the open stage, over its training images from the epoch's beginning. Parameters, moments and
// sums are as before afterwards. *stopped: as `stop` said. False with r->err set.
bool rt_lr_find(RtRun *r, bool (*stop)(RtRun *r), RtLrCurve *c, bool *stopped);
// The curve as an SVG picture into `out`, which is open. False with err set.
bool rt_lr_find_picture(const RtLrCurve *c, const char *title, RtOutFile *out, RtErr *err);

#endif
