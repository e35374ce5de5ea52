// What the files of the engine (engine.h) share: its state, and how one of its graphs is run.
// Private to runtime/train/engine*.c.
#ifndef RUNTIME_TRAIN_ENGINE_PART_H
#define RUNTIME_TRAIN_ENGINE_PART_H

#include "runtime/train/bind.h"
#include "runtime/train/engine.h"

enum {
    PREFIX,
    TRAIN,
    EVAL,
    N_STAGE_GRAPHS,
    SQSUM = N_STAGE_GRAPHS,
    OPT,
    N_GRAPHS = OPT + HONE_OPT_COUNT
};

struct RtEngine {
    const HoneTrainDesc *d;
    int threads, stage; // -1: none is open
    float *buffer[RT_ENGINE_BUFFERS];
    size_t state_bytes; // of each buffer's pages
    HoneTrainGraph graph[N_GRAPHS];
    HoneModel *model[N_GRAPHS]; // of the open stage, and the optimiser's
    void *space;                // workspace of all graphs
    size_t space_bytes;
    float *feature[RT_MAX_FEATURES]; // of a training step from images
    int64_t feature_room;            // images that they hold
    float *head_input;               // of an evaluation that wants none of it
    int64_t head_room;               // floats that it holds
    float *ones;                     // shares of batches in which nothing is mixed
    int64_t n_ones;
    float *row_sums; // of squares, [param_floats / HONE_TRAIN_ROW]
};

// What the inputs and outputs of a graph stand for in one call. Base pointers; parameters and
// gradients are found from them by their offset, features by their number.
typedef struct RtEngineBound {
    void *at[HONE_BIND_COUNT];
    float *const *features;
} RtEngineBound;

// Runs a graph (PREFIX and so on) on n images or rows; its workspace grows as needed. An open stage
// may lack it: false and an error then.
bool rt_engine_run(RtEngine *t, int which, int64_t n, const RtEngineBound *b, RtErr *err);

#endif
