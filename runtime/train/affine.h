// Whether the classifier that the open stage trains is one linear layer, of frozen features or of
// what HONE_BIND_HEAD_INPUT tells where other layers move too, and its numbers. Private header.
#ifndef RUNTIME_TRAIN_AFFINE_H
#define RUNTIME_TRAIN_AFFINE_H

#include "runtime/train/engine.h"

typedef struct RtAffine { // logits = weight feature + bias
    const HoneParam *weight, *bias;
    int64_t features;   // of one image
    int columns;        // logits
    bool columns_first; // weight is [columns][features], else [features][columns]
} RtAffine;

// The graphs are asked, not read: logits of random features, or of random images, under random
// numbers are those that a linear layer makes, or they are not. Parameters are as before
// afterwards. *is false: `why` is a few words. False with err set: the graph does not run.
bool rt_affine_find(RtEngine *t, RtAffine *a, bool *is, const char **why, RtErr *err);
// weight[columns][features], bias[columns] into the engine's parameters.
void rt_affine_put(RtEngine *t, const RtAffine *a, const float *weight, const float *bias);

#endif
