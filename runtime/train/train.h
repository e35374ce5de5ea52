// A training run: stages, epochs, steps. Private header.
#ifndef RUNTIME_TRAIN_TRAIN_H
#define RUNTIME_TRAIN_TRAIN_H

#include "runtime/file/out.h"
#include "runtime/train/checkpoint.h"
#include "runtime/train/lr_schedule.h"
#include "runtime/train/eval.h"

typedef enum RtCacheMode {
    RT_CACHE_AUTO,
    RT_CACHE_MEMORY,
    RT_CACHE_FOLDER,
    RT_CACHE_OFF
} RtCacheMode;

typedef enum RtHeadSolver { // of a stage that trains the classifier alone
    RT_HEAD_AUTO,           // solved where it can be
    RT_HEAD_NEWTON,         // the first stage is to be solved
    RT_HEAD_STEPS
} RtHeadSolver;

typedef struct RtFolds RtFolds; // folds.h
enum { RT_MAX_FOLDS = 100 };
enum { RT_BAD_LINES = 12 };   // that are kept for the report
enum { RT_EPOCHS_AUTO = -1 }; // by the number of images

typedef struct RtTrainSettings {
    const char *data, *val, *index; // index: the file that keeps the list of images, or NULL
    const char *mask_values; // what numbers of masks mean; NULL: they are classes
    double val_fraction;
    int k_fold;                    // parts; 0: one run
    RtFolds *folds;                // of the run that is one of several; else NULL
    int epochs[HONE_MAX_STAGES];   // of each stage, resolved
    int more_epochs;               // that a finished run goes on for; 0: none
    float lr[HONE_MAX_STAGES];     // 0: by a range test
    bool lr_open[HONE_MAX_STAGES]; // nobody gave it
    int batch, accumulate, workers, threads;
    RtHeadSolver head_solver;
    int optimizer[HONE_MAX_STAGES]; // HONE_OPT_*
    RtLrKind lr_schedule;
    float warmup_epochs[HONE_MAX_STAGES], step_epochs, gamma;
    float momentum, beta2, eps, decay, smoothing;
    float clip;    // norm; 0: none
    float average; // decay of the moving average of parameters; 0: there is none
    uint64_t seed;
    RtAugment augment;
    RtMix mix;
    RtCacheMode cache;
    const char *cache_folder;
    int64_t feature_memory; // bytes; 0: a share of what is available
    int variants;   // 0: features are cached only without augmentation
    int early_stop; // epochs of a stage without a new best; 0: never; -1: with RT_EPOCHS_AUTO
    bool scaled_decode; // large JPEGs of training at a part of their size
    bool balanced;  // class weights
    bool resume, overwrite;
    int checkpoint_every;                    // steps; 0: at the end of epochs
    int64_t max_steps;                       // of the whole run; 0: no limit
    const char *out, *report, *log, *folder; // folder: of checkpoints; NULL: none
    const char *csv, *board;                 // board: a folder for TensorBoard
    const char *lr_picture; // a range test of the first stage that takes steps, and no training
    bool out_unnamed; // `out` is nobody's choice: there, only a file of this program is replaced
    const char *idle, *of_steps; // options given that do nothing, or only tell of steps: messages
    bool quiet;
    struct RtRanks *ranks; // that train together, open; NULL: this process alone
    RtOuts *outs;
} RtTrainSettings;

// What is known at the end, for the report.
typedef struct RtTrainResult {
    const RtTrainSettings *set;
    const RtDataset *data;
    RtEngine *engine; // holds the best parameters
    const RtTrainState *state;
    // Of the best, on the validation images; of a k-fold, on all, held out; n 0: there are none.
    const RtScores *scores;
    double seconds;
    int64_t bad_images;
    int n_bad_lines; // of them, RT_BAD_LINES at most, what was wrong: "rose/7.jpg: reason"
    char *const *bad_lines;
} RtTrainResult;

// Trains, writes what the settings ask for. Returns the exit code: 0, 1 after an error that was
// printed, 129, 130 or 143 after SIGHUP, SIGINT or SIGTERM. The caller has blocked
// rt_outs_signals() in all threads. *well: no error ended it.
int rt_train(RtEngine *t, const RtTrainSettings *set, bool *well);

// The same, and as many runs as settings ask for; opens the ranks and their engines. An error that
// its opening meets is printed, too.
int rt_train_folds(const HoneTrainDesc *d, const RtTrainSettings *set);

// Opens the data as the program's labels and loss want it; errors are printed.
// Of `asked` what the program does not know: validation, split, index.
RtDataset *rt_train_open_data(const RtEngine *t, const char *spec, const RtDataOptions *asked);

// What checkpoints of this program carry: the model's hash and one of all that was made of it.
// Returns text.
const char *rt_train_model_key(const HoneTrainDesc *d, char *text, size_t size);

#endif
