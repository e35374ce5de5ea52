// A network becomes a fine-tune program: the classifier is replaced, stages of freezing become a
// plan, each stage and optimiser its graphs. What tools/cmd_finetune.c calls, in two steps, so that
// the plan can be shown before the longer one.
//
//   infer graph, options   -- pass_train_plan() -->     parameters, groups, plan, swaps
//   the same               -- pass_train_graphs() -->   graphs after all passes, their bindings
#ifndef PASSES_TRAIN_TRAIN_H
#define PASSES_TRAIN_TRAIN_H

#include "ir/train.h"
#include "passes/passes.h"

typedef struct PassTrainStage {
    const char *spec; // as mark_frozen takes it
    int epochs;       // 0: not given
    double lr;        // 0: not given
} PassTrainStage;

typedef struct PassLrMult {
    const char *glob; // over names of parameters and nodes
    double factor;
} PassLrMult;

typedef struct PassTrainOptions {
    // the classifier
    const char *head; // the node; NULL: the last one
    bool keep_head, binary, multi_label;
    int classes;    // of the labels; 0: as many as the classifier has
    double dropout; // in front of it; negative: what the model has there
    uint64_t seed;  // of its new weights
    // what trains
    int n_stages, n_unfreeze, n_lr_mult;
    const PassTrainStage *stages; // 1 to IR_MAX_STAGES
    const char *const *unfreeze;  // globs
    int n_params;
    const char *const *params; // globs behind + or -: these are parameters, or are none
    const PassLrMult *lr_mult; // the last that matches counts
    double layer_decay;        // a rate's factor for each block that lies behind; 0: not given
    int n_machines;            // that the program is for, the best first; 0: PassOptions' alone
    const IrMachine *const *machines;
    int64_t memory_limit;      // bytes that training may take at `batch` images; 0: as it comes
    int batch;                 // images that a batch has where nobody says otherwise
    bool bn_train;             // unfrozen batch_norm nodes work on the batch's own statistics
    // The name of input `input` of the file's node; NULL: unknown. Read during pass_train_plan().
    const char *(*input_name)(const void *file, const char *node, const char *op, int input);
    bool (*in_file)(const void *file, const char *glob); // as in PassFreeze
    const void *file;
} PassTrainOptions;

// Rewrites `infer`, whose parameters are constants. NULL after errors.
IrTrainProgram *pass_train_plan(IrGraph *infer, const PassOptions *po, const PassTrainOptions *o);
// False after errors.
bool pass_train_graphs(IrGraph *infer, const PassOptions *po, const PassTrainOptions *o,
                       IrTrainProgram *t);

// Whether `again`, the trained model as a file read again, is the network that trains, up to names:
// the same nodes on the same constants. NULL: it is; else a node that has no equal there. Changes
// `again`.
const IrNode *pass_train_differs(const IrGraph *infer, const IrTrainProgram *t, IrGraph *again,
                                 const PassOptions *po, const PassTrainOptions *o);

// A graph like g with the input "label" i32[N] and the output "input_grad", the gradient of each
// image's cross-entropy, that of the output `classifier`, by the input (input_grad.c). NULL after
// errors, which name --emit-input-grad.
IrGraph *pass_input_grad(const PassOptions *po, IrGraph *g, int classifier);
// g gets an input "grad:NAME" for each output of floats and of its type, and an output "grad:NAME"
// for each of the n inputs that are named: what these cotangents give by them (vjp.c). False after
// errors, which name --emit-gradient, or the nodes without a gradient.
bool pass_vjp(const PassOptions *po, IrGraph *g, int n, const char *const *inputs);
// Of both, before passes: false after errors where numbers are quantized on the way, which passes
// spell as rounding, whose gradient is 0.
bool pass_gradient_exists(const IrGraph *g, const char *option);

#endif
