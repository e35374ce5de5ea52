// A fine-tune program as passes/train/ makes it and codegen/program/ writes it: graphs, and tables
// that say what they are for. Plain data; everything lives in the IrProgram's arena. The meaning of
// the state, the stages and a training step stands in runtime/train/abi.h, whose structures these
// become.
#ifndef IR_TRAIN_H
#define IR_TRAIN_H

#include "ir/ir.h"

enum { // IR_TRAIN_ROW, IR_MAX_STAGES
#define LIMIT(NAME, value) IR_##NAME = value,
#include "runtime/train/bind.def"
};

typedef enum IrLoss {
#define LOSS(NAME, name) IR_LOSS_##NAME,
#include "runtime/train/bind.def"
} IrLoss;

typedef enum IrOptimizer {
#define OPTIMIZER(NAME, name, title) IR_OPT_##NAME,
#include "runtime/train/bind.def"
    IR_OPT_COUNT
} IrOptimizer;

typedef enum IrBindKind {
#define BIND(NAME, input, output, DTYPE, SHAPE, what) IR_BIND_##NAME,
#include "runtime/train/bind.def"
} IrBindKind;

typedef struct IrBind { // what a graph's input or output is
    IrBindKind kind;
    int index; // of a parameter or feature, else 0
} IrBind;

typedef struct IrTrainGraph {
    int graph;              // in IrTrainProgram.graphs; -1: there is none
    const IrBind *in, *out; // one per input and output of the graph
} IrTrainGraph;

typedef struct IrTrainParam { // a constant that is an input of the graphs
    IrConst *konst;           // its name is the initializer's
    const char *node, *op;    // that reads it first; op as in the file, NULL: unknown
    bool statistic;           // of a batch_norm: moves, but is not optimised
    bool decays, fresh;       // fresh: of the new head, not in the pretrained file
    uint32_t trains;          // bit s: in stage s
    float lr_mult;
    int group;             // -1: a statistic
    int64_t offset, count; // floats, in the parameter buffer
} IrTrainParam;

typedef struct IrTrainGroup { // parameters that the same stages train alike
    int64_t offset, count;    // floats, multiples of IR_TRAIN_ROW
    float lr_mult;
    bool decays;
    uint32_t trains; // bit s
} IrTrainGroup;

typedef struct IrTrainStage {
    const char *spec; // as it was written
    int epochs;       // 0: not given
    float lr;         // 0: not given
    IrTrainGraph features, train, eval;
    int64_t n_trained, n_frozen; // numbers, not tensors
    // Bytes at the batch size: what training takes as planned, and would take if nothing were
    // computed again under a limit; the multiply-adds of that, as a share of a step's.
    int64_t memory, memory_unlimited;
    float again;
} IrTrainStage;

typedef struct IrPlanRow {          // the table of what trains: one row per node with parameters
    const char *node, *op, *params; // params: "fc.weight [10,2048], fc.bias [10]"
    int64_t count;
    uint32_t trains; // bit s; 0: frozen throughout
    float lr_mult;
} IrPlanRow;

typedef struct IrFloats { // a tensor of floats that a node reads
    const IrConst *konst; // its name is the file's
    int64_t count;
    const char *reason; // why it is no parameter; NULL: it is one
    bool fresh;         // of the new head
} IrFloats;

typedef struct IrSwap {    // input `input` of the file's node becomes the initializer `konst`
    const char *node, *op; // node NULL: the initializer of that name has this content now
    int input;
    const IrConst *konst; // with data
} IrSwap;

typedef struct IrFileNode { // of the user's file
    const char *name, *op;
} IrFileNode;

typedef struct IrTrainProgram {
    IrLoss loss;
    bool binary;                // two classes, one logit
    int classes;                // of the labels
    int64_t logits, old_logits; // numbers per image, or place of a map, now and as imported
    int64_t map[2];             // height and width of the map of classes; 0: images have one
    int n_params, n_groups, n_stages, n_plan, n_floats, n_swaps, n_graphs;
    IrTrainParam *params; // those that train in some stage
    IrTrainGroup *groups;
    IrTrainStage *stages;
    IrPlanRow *plan;
    IrFloats *floats;
    IrSwap *swaps;              // how the file differs from the network that trains
    const char *output;         // of the file: that which is trained
    int n_heads;
    const IrFileNode *heads;    // the classifiers
    const char *end, *end_op;   // what made probabilities of its logits in the file; NULL: nothing
    int end_axis;               // of the classes in what that reads, else in the output
    IrGraph **graphs;
    int n_others;     // graphs as planned for further machines, of each graph one after the other:
    IrGraph **others; // [n_graphs][machines - 1]
    int batch;            // images, where nobody says otherwise
    int64_t memory_limit; // bytes at that batch; 0: none
    int64_t param_floats; // of the parameter buffer
    IrTrainGraph opt[IR_OPT_COUNT], sqsum;
    int info; // the graph whose name and input describe the network
} IrTrainProgram;

#endif
