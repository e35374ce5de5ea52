// Checkpoints of a training run: everything that it needs to go on bit for bit as if it had never
// stopped. Private header.
//
// A folder holds step-NNNNNNNNNN.safetensors files of one run, see folder.h. A new one is committed
// before the oldest goes; the newest two are kept; which is the newest, and whose, the file tells,
// not its name. A damaged one is passed over for the next. Shuffling, augmentation and dropout are
// functions of (seed, position), so that no generator's state is among the contents.
#ifndef RUNTIME_TRAIN_CHECKPOINT_H
#define RUNTIME_TRAIN_CHECKPOINT_H

#include "runtime/solve/solve.h"
#include "runtime/train/engine.h"
#include "runtime/train/folder.h"

enum { RT_CHECKPOINT_FORMAT = 5, RT_CHECKPOINTS_KEPT = 2 };

enum { // whole numbers of the position
    RT_AT_STAGE,
    RT_AT_STAGE_EPOCH, // within the stage
    RT_AT_EPOCH,       // over all stages: what the shuffle depends on
    RT_AT_BATCH,       // the next one of the epoch
    RT_AT_STEP,        // optimiser steps so far
    RT_AT_STAGE_STEP,  // of this stage
    RT_SEEN,           // images of this epoch so far
    RT_CORRECT,
    RT_BEST_EPOCH, // over all stages; -1: none yet
    RT_BEST_STAGE,
    RT_SINCE_BEST, // epochs of this stage
    // of a stage that goes on after its end, --epochs +N: where the schedule that is on began, and
    // its epochs; 0: as the settings say
    RT_AT_CYCLE_EPOCH,
    RT_AT_CYCLE_STEP,
    RT_AT_CYCLE_LENGTH,
    RT_N_AT
};
enum { // sums of this epoch, and the best so far
    RT_LOSS_SUM,
    RT_WEIGHT_SUM,
    RT_BEST_TOP1,
    RT_BEST_LOSS,
    RT_STAGE_RATE, // that a range test found; 0: none did
    RT_N_SUMS
};
enum { // columns of the history: a row per epoch
    RT_HIST_STAGE,
    RT_HIST_EPOCH,
    RT_HIST_TRAIN_LOSS,
    RT_HIST_TRAIN_TOP1,
    RT_HIST_VAL_LOSS,
    RT_HIST_VAL_TOP1,
    RT_HIST_VAL_TOP5,
    RT_HIST_LR,
    RT_HIST_SECONDS,
    RT_HIST_IMAGES_PER_S,
    RT_HIST_WAIT_SECONDS,
    RT_HIST_COLUMNS
};

enum {        // columns of the ridges that were tried for a solved classifier
    RT_RIDGE, // 0: the path was over
    RT_RIDGE_LOSS,
    RT_RIDGE_HELD, // loss of what was held out
    RT_RIDGE_TOP1,
    RT_RIDGE_TAKEN, // 1 or 0
    RT_RIDGE_COLUMNS
};

typedef struct RtTrainState {
    int64_t at[RT_N_AT];
    double sum[RT_N_SUMS];
    double *history; // [n_history][RT_HIST_COLUMNS]
    int64_t n_history, cap_history;
    double ridge[RT_SOLVE_PATH][RT_RIDGE_COLUMNS]; // of the last stage that was solved
    float *best;                                   // [param_floats], of the best epoch
    float *average; // [param_floats], of this stage's parameters (--model-ema); NULL: none
} RtTrainState;

// What must be the same when a run is resumed; text that says how each was given.
typedef struct RtCheckpointKey {
    const char *model;   // hash of the program: model, classifier, freezing plan
    const char *data;    // fingerprint of the data set
    const char *options; // "seed=1 batch=16 ...": options that change the course of the run
    const char *labels;  // not compared: class names, one a line
} RtCheckpointKey;

bool rt_state_init(RtTrainState *s, int64_t param_floats, bool averages, RtErr *err);
void rt_state_free(RtTrainState *s);
// A new row of the history, zeros; NULL: no memory.
double *rt_state_add_history(RtTrainState *s);

// Does the folder hold any, of whatever run, whole or not?
bool rt_checkpoint_any(const char *folder);
// Writes the next checkpoint of the run whose folder it is, and removes those before its newest two
// and those of the run that it was begun over.
bool rt_checkpoint_save(const RtFolder *folder, RtEngine *t, const RtTrainState *s,
                        const RtCheckpointKey *key, RtErr *err);
// Goes back to the newest valid checkpoint: opens its stage, fills state and buffers. *found false:
// there is none. False with err set: one is there that belongs to another run, another program,
// other data or other options, or none is whole. `say` hears of damaged files that were passed
// over.
bool rt_checkpoint_load(RtFolder *folder, RtEngine *t, RtTrainState *s, const RtCheckpointKey *key,
                        void (*say)(void *, const char *), void *ctx, bool *found, RtErr *err);
// The options that the folder's newest valid checkpoint was made with; free() releases. NULL: there
// is none.
char *rt_checkpoint_options(const RtFolder *folder);

// The best parameters of the newest valid checkpoint, into the engine; *labels (free() releases) as
// they were saved. False with err set: there is none, or it belongs to another model.
bool rt_checkpoint_load_best(const char *folder, RtEngine *t, const char *model, char **labels,
                             RtErr *err);

#endif
