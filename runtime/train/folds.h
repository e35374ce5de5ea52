// A k-fold: the images are cut into k parts that are alike, each is held out once while a network
// is trained on the others, and at last one is trained on all of them in the same way, which is the
// model. So all images tell how good it is, and all are learned from. Private header.
//
// Its runs are ordinary ones, one after the other, each with a folder of checkpoints of its own;
// what is shared by them is here. Scores are those after the last epoch, since the last run has no
// images by which an earlier one could be chosen.
#ifndef RUNTIME_TRAIN_FOLDS_H
#define RUNTIME_TRAIN_FOLDS_H

#include "runtime/train/run.h"

typedef struct RtFoldScores {
    int64_t images; // held out; 0: not known yet
    double loss, top1, top5;
} RtFoldScores;

typedef struct RtFoldKey { // of the runs whose scores are known; "": none are
    char model[96], data[33], options[RT_RUN_OPTIONS];
} RtFoldKey;

struct RtFolds {
    int n, part; // part: that is held out now; n: none
    RtFoldScores row[RT_MAX_FOLDS];
    struct json_t *told[RT_MAX_FOLDS]; // of each row all that is known, as the file has it
    RtFoldKey key;
    bool logged; // a run has written to the log
    bool lost;   // one could not write all beside its model
    struct {     // features of a stage that all runs share
        char key[33];
        RtFeatureCache *cache;
    } kept[HONE_MAX_STAGES];
    bool *bad_item; // as of RtRun, between runs
    char *bad_line[RT_BAD_LINES];
    int64_t bad_images;
};

// Of a run that is one of several, behind its setup: takes over what is known of bad images. False
// with r->err set: scores that are known are of other runs.
bool rt_folds_enter(RtRun *r);
void rt_folds_leave(RtRun *r); // gives it back
void rt_folds_begin(RtRun *r); // says which run this is; the last one, what the others found
// The scores of a run that is over, of the images that it held out.
bool rt_folds_record(RtRun *r, const RtScores *s);
// Those of all images, each by the run that held it out. False with err set: the file that they
// are from was no program's.
bool rt_folds_pool(const RtRun *r, RtScores *all, RtErr *err);

// Features of stage s that an earlier run kept under that key, or NULL; and those that it keeps.
RtFeatureCache *rt_folds_find(const RtFolds *f, int s, const char *key);
void rt_folds_keep(RtFolds *f, int s, const char *key, RtFeatureCache *cache);
void rt_folds_free(RtFolds *f);

bool rt_folds_lost(const RtRun *r); // a run could not write all; true: it is one of several

typedef struct RtFoldMean {
    double mean, deviation; // of a sample
} RtFoldMean;
// Of a field of the rows, which are all known: offsetof(RtFoldScores, top1).
RtFoldMean rt_folds_mean(const RtFolds *f, size_t field);

// The scores as a file of a folder of checkpoints. A file that is not there, or of another number
// of parts, tells nothing. False with err set.
bool rt_folds_read(RtFolds *f, const char *folder, RtErr *err);
bool rt_folds_write(const RtFolds *f, const char *folder, RtErr *err);

#endif
