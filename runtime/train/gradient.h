// The gradient of a step: the sum over its batches, which ranks share. Private header.
//
// Batch `place` of a step is leaf `place` of a balanced binary tree, along which gradients are
// added; rank k computes the leaves of its own subtree. So the sum is the same bits on any number
// of ranks. What the last of a rank's batches has made goes to the others while it makes the rest.
//
// Statistics (BatchNormalization's moving ones) are added in the same tree: every batch of a step
// moves those that the step began with, and the step ends with the mean of what they became.
#ifndef RUNTIME_TRAIN_GRADIENT_H
#define RUNTIME_TRAIN_GRADIENT_H

#include "runtime/ranks/ranks.h"
#include "runtime/train/engine.h"

typedef struct RtGradient RtGradient;

// For steps of up to `places` batches of the stage that t has open. ranks NULL: alone. Both outlive
// it. NULL with err set: no memory.
RtGradient *rt_gradient_open(RtEngine *t, RtRanks *ranks, int64_t places, RtErr *err);
void rt_gradient_close(RtGradient *g); // at any time; NULL is fine
// Of `leaves` batches those that this rank computes: from *from up to *to, none where these meet.
int64_t rt_gradient_width(const RtGradient *g); // of each rank's share, at most
void rt_gradient_share(const RtGradient *g, int64_t leaves, int64_t *from, int64_t *to);

// A step of `leaves` batches: add() for each of the share in order, then sum(), then take().
void rt_gradient_begin(RtGradient *g, int64_t leaves);
// Loss, logits and gradient of one; b->n 0: it has no image and adds nothing.
bool rt_gradient_add(RtGradient *g, const RtEngineBatch *b, int64_t place, RtErr *err);
// The engine's RT_ENGINE_G is the sum over all ranks' batches.
bool rt_gradient_sum(RtGradient *g, RtErr *err);
// Of the last such sum with other ranks: the share of its numbers that were handed to them while
// the backward pass still ran, so that their exchange cost this rank no time of its own.
double rt_gradient_early(const RtGradient *g);
// Moves statistics to the mean over the `batches` that had an image, at least one.
void rt_gradient_take_statistics(RtGradient *g, int64_t batches);

#endif
