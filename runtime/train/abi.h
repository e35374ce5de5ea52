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

typedef struct HoneBind {
    int32_t kind, index; // HoneBindKind; parameter or feature number, else 0
} HoneBind;

typedef struct HoneTrainGraph {
    const HoneModelDesc *model; // NULL: there is none
    const HoneBind *in, *out;   // model->n_inputs, model->n_outputs
} HoneTrainGraph;

typedef struct HoneParam {
    const char *name; // of the initializer; of a new head's, the name that export gives it
    const char *node; // the node that reads it first
    int32_t rank, group; // group -1: statistics, which move but are not optimised
    int64_t dim[HONE_MAX_RANK];
    int64_t offset, count; // floats, in the parameter buffer
    const float *initial;  // count floats, row-major: the raw_data of its initializer inside
                           // HoneTrainDesc.onnx, so that export is the same bytes with new values
    uint32_t trains;       // bit s: stage s trains it (or moves it)
    int32_t fresh;         // 1: of the new head, not in the pretrained file
} HoneParam;

typedef struct HoneParamGroup {
    int64_t offset, count; // floats, multiples of HONE_TRAIN_ROW
    float lr_mult;
    int32_t decays;  // 0: biases and normalisation
    uint32_t trains; // bit s
} HoneParamGroup;

typedef struct HoneTrainStage {
    const char *spec; // "head", "until:layer4", "none", as written
    int32_t epochs;   // 0: not given
    float lr;         // 0: not given
    HoneTrainGraph features, train, eval;
    int64_t n_trained, n_frozen; // parameters (numbers, not tensors)
} HoneTrainStage;

typedef struct HonePlanRow { // the table of what trains: one row per node with parameters
    const char *node, *op, *params; // params: "fc.weight [10,2048], fc.bias [10]"
    int64_t count;
    uint32_t trains;                // bit s
} HonePlanRow;

enum { HONE_LOSS_CE, HONE_LOSS_BCE };
enum { HONE_OPT_SGD, HONE_OPT_NESTEROV, HONE_OPT_ADAMW, HONE_OPT_COUNT };

typedef struct HoneTrainDesc {
    uint32_t abi;
    int32_t loss, binary, classes; // binary: one logit, labels 0 and 1
    int32_t n_params, n_groups, n_stages, n_plan;
    int64_t param_floats; // of the parameter buffer
    const HoneParam *params;
    const HoneParamGroup *groups;
    const HoneTrainStage *stages;
    const HonePlanRow *plan;
    HoneTrainGraph opt[HONE_OPT_COUNT], sqsum;
    // The pretrained ModelProto with the new head in place, every initializer inside (those of
    // parameters as float raw_data at an address that 4 divides), training-mode attributes gone,
    // preprocessing and, where they were given, labels in metadata_props. Export overwrites the
    // parameters' values and appends metadata_props.
    const uint8_t *onnx;
    int64_t onnx_bytes;
    const HoneModelDesc *info; // names, labels, preprocessing, hash: of the last stage's eval graph
} HoneTrainDesc;

extern const HoneTrainDesc hone_train_desc; // in a fine-tune executable

#endif
