// What an emitted fine-tune executable and its training loop know of each other. Beside core/abi.h:
// each graph of the executable is a HoneModelDesc of its own; these tables say what its inputs and
// outputs are. Any change of layout or meaning: HONE_ABI + 1.
//
// State. Everything that training changes lies in one buffer of floats, the parameters: row-major,
// under the names of the ONNX initializers they came from. Gradients and each of the optimiser's
// moments are buffers of the same layout. Ranges of the buffer that the same stages train at the
// same rate factor and decay are a group; a group starts and ends at a multiple of
// HONE_TRAIN_ROW floats, and what no parameter covers is 0 and stays 0.
//
// A training step of stage s at batch size N, on micro-batches whose gradients add up:
//   features.s  images            -> features       (absent when nothing is frozen in front)
//   train.s     features, labels  -> losses, logits, gradients of what stage s trains (and moved
//                                    statistics, which replace the old ones at once)
//   sqsum       gradients         -> sums of squares, for the norm, when it is clipped or logged
//   sgd|...     parameters, gradients, moments -> the same buffers, once per group that s trains
// Evaluation: features.s, then eval.s: features, labels -> losses, logits.
#ifndef RUNTIME_TRAIN_ABI_H
#define RUNTIME_TRAIN_ABI_H

#include "runtime/core/abi.h"

enum { HONE_TRAIN_ROW = 1024, HONE_MAX_STAGES = 16 };

typedef enum HoneBindKind { // what a graph's input or output is
    HONE_BIND_IMAGE,        // in: f32[N,C,H,W], preprocessed
    HONE_BIND_FEATURE,      // in or out: number `index` of the values at the frozen prefix's edge
    HONE_BIND_LABEL,        // in: i32[N], 0 <= label < classes (HONE_LOSS_CE)
    HONE_BIND_TARGET,       // in: f32[N,classes], 0 to 1 (HONE_LOSS_BCE; one column when binary)
    HONE_BIND_CLASS_WEIGHT, // in: f32[classes], 1 where nothing is asked for
    HONE_BIND_SMOOTHING,    // in: f32[], label smoothing
    HONE_BIND_SCALE,  // in: f32[], what every sample's gradient is multiplied by: one over the
                      // samples (their weights) of a step
    HONE_BIND_SEED,   // in: i64[], for dropout: a function of (seed, step, micro-batch)
    HONE_BIND_PARAM,  // in: parameter `index`; out: the same, moved (statistics)
    HONE_BIND_LOSS,   // out: f32[N], each sample's loss, times its class weight
    HONE_BIND_LOGITS, // out: f32[N,classes], before softmax or sigmoid
    HONE_BIND_GRAD,   // out: gradient of parameter `index`, scaled
    // of the optimiser's graphs: tensors f32[N,HONE_TRAIN_ROW] and scalars f32[]
    HONE_BIND_P, // in and out, the same memory
    HONE_BIND_G, // in
    HONE_BIND_M, // in and out: momentum, or the first moment
    HONE_BIND_V, // in and out: the second moment
    HONE_BIND_LR,
    HONE_BIND_MOMENTUM, // or AdamW's beta1
    HONE_BIND_BETA2,
    HONE_BIND_EPS,
    HONE_BIND_DECAY,       // weight decay; 0 for groups without it
    HONE_BIND_CLIP,        // what gradients are multiplied by, 1 or less
    HONE_BIND_CORRECTION1, // AdamW: 1 / (1 - beta1^t)
    HONE_BIND_CORRECTION2, // AdamW: 1 / (1 - beta2^t)
    HONE_BIND_SUM,         // out: f32[N], sums of squares of rows
} HoneBindKind;

enum { HONE_LOSS_CE, HONE_LOSS_BCE };
enum { HONE_OPT_SGD, HONE_OPT_NESTEROV, HONE_OPT_ADAMW, HONE_OPT_COUNT };

#define HONE_TABLES "runtime/train/abi.def"
#include "runtime/core/abi_declare.h"

extern const HoneTrainDesc hone_train_desc; // in a fine-tune executable

#endif
