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

enum { // HONE_TRAIN_ROW, HONE_MAX_STAGES
#define LIMIT(NAME, value) HONE_##NAME = value,
#include "runtime/train/bind.def"
};

typedef enum HoneBindKind { // what a graph's input or output is: rows of bind.def
#define BIND(NAME, input, output, DTYPE, SHAPE, what) HONE_BIND_##NAME,
#include "runtime/train/bind.def"
    HONE_BIND_COUNT
} HoneBindKind;

enum { // HONE_LOSS_CE, HONE_LOSS_BCE
#define LOSS(NAME, name) HONE_LOSS_##NAME,
#include "runtime/train/bind.def"
};
enum { // HONE_OPT_SGD ...
#define OPTIMIZER(NAME, name, title) HONE_OPT_##NAME,
#include "runtime/train/bind.def"
    HONE_OPT_COUNT
};

#define HONE_TABLES "runtime/train/abi.def"
#include "runtime/core/abi_declare.h"

extern const HoneTrainDesc hone_train_desc; // in a fine-tune executable

#endif
