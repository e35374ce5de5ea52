// The state of one training run, shared by train.c (the loop) and train/setup.c (data, cache, key).
#ifndef RUNTIME_TRAIN_RUN_H
#define RUNTIME_TRAIN_RUN_H

#include "runtime/train/affine.h"
#include "runtime/train/board.h"
#include "runtime/train/gradient.h"
#include "runtime/train/train.h"
#include "runtime/train/log.h"

enum { RT_RUN_OPTIONS = 1536 }; // bytes of their text

typedef struct RtRun {
    RtEngine *engine;
    const HoneTrainDesc *d;
    const RtTrainSettings *set; // own
    RtTrainSettings own;        // as given, and what was left open
    RtRanks *ranks;             // that train together; NULL: this process alone
    bool alone;                 // the others are gone
    RtDataset *data;
    RtTrainLog log;
    RtBoard board;
    RtOutFile out, report, csv, lr_picture; // open from the beginning on, where they are wanted
    RtTrainState state;
    RtFolder folder;       // of checkpoints, held; its path NULL: none
    RtSource *train, *val; // of the open stage; val NULL: no validation images
    RtFeatureCache *cache; // of the open stage, or NULL
    RtGradient *gradient;  // of the open stage, from its first step on
    int open_stage;        // -1: none
    bool solves;           // a classifier, in the epoch that is to come
    bool starts;           // which is one before the open stage's own: it moves other layers too
    RtAffine affine;       // the classifier, then
    int64_t solver_memory; // bytes that its solver may work in
    int64_t step_images;   // that were asked for; cut.h
    int64_t batch;         // images a micro-batch
    float *loss, *logits, *class_weight;
    char key_model[96], key_options[RT_RUN_OPTIONS], *labels; // labels: class names, one a line
    int64_t bad_images, steps_before;                         // steps at the start of this process
    bool *bad_item;               // [items] known to be bad; counted once
    char *bad_line[RT_BAD_LINES]; // of the first of them; NULL: no more
    int64_t images_done;          // by this process, for the rate
    uint64_t wait_before_ns;      // of sources that are closed
    int signal;                   // that asked for the end, 0: none
    int fold, folds;              // of a k-fold: the part that is held out, from 1; 0: none is one
    bool lost;                    // a file beside the model was given up
    bool unsaved;                 // the last checkpoint that was due could not be written
    int64_t saved_step;           // of the newest that is there
    bool measured;                // rates, whose picture is all that was wanted
    RtErr err;
} RtRun;

// Data, key, buffers. False with run->err set.
bool rt_run_setup(RtRun *r);
// Only whether what these settings write can be written.
bool rt_run_try_outputs(const HoneTrainDesc *d, const RtTrainSettings *set, RtErr *err);
void rt_run_close(RtRun *r);
// The state that the run begins with: the newest checkpoint's, or the pretrained one, of which it
// writes a checkpoint. False with run->err set: the folder is another run's.
bool rt_run_begin(RtRun *r);
// r->batch and what holds one, by r->set. False with run->err set.
bool rt_run_alloc_batch(RtRun *r);
RtCheckpointKey rt_run_key(const RtRun *r);
void rt_run_make_keys(RtRun *r); // by r->set
// Sources and cache of the stage that the engine has open.
bool rt_run_open_sources(RtRun *r, int stage);
RtSourceOptions rt_run_source_options(RtRun *r); // of training images
void rt_run_close_sources(RtRun *r);
// Writes the trained model and the report. The engine's parameters are the best.
bool rt_run_finish(RtRun *r, uint64_t since_ns);

#endif
