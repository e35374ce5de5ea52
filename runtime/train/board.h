// A run's numbers for TensorBoard: losses, accuracies and rates by the optimiser's steps, as they
// come. Private header.
#ifndef RUNTIME_TRAIN_BOARD_H
#define RUNTIME_TRAIN_BOARD_H

#include "runtime/file/out.h"
#include "runtime/train/checkpoint.h"
#include "runtime/train/eval.h"

typedef struct RtBoard { // all zero: nobody asked for it
    RtOutFile file;
    char *folder;
    bool wanted, made; // wanted: what comes is written. made: the folder, by this process; it goes
                       // again unless a run begins
} RtBoard;

// A run that begins has the folder for itself. False with err set: an earlier one's events are
// there, its own or of parts of its k-fold.
bool rt_board_is_free(const char *folder, RtErr *err);
void rt_board_drop_parts(const char *folder); // events of the parts of a k-fold
// Makes the folder where there is none, and sees that a file in it can be written. resume: it goes
// on. False with err set.
bool rt_board_open(RtBoard *b, RtOuts *outs, const char *folder, bool resume, RtErr *err);
// Numbers come now. What a former run wrote goes, of a run that goes on what it had written behind
// the checkpoint whose state this is. False with err set.
bool rt_board_begin(RtBoard *b, const RtTrainState *s, RtErr *err);
bool rt_board_step(RtBoard *b, const RtTrainState *s, double loss, double lr, double norm,
                   RtErr *err);
// row: of the history. val: there are validation images.
bool rt_board_epoch(RtBoard *b, const RtTrainState *s, const RtScoreWords *words, const double *row,
                    bool val, RtErr *err);
bool rt_board_commit(RtBoard *b, RtErr *err); // all of it is on the disk
void rt_board_close(RtBoard *b);              // any state

#endif
