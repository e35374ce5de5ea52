// What a training run says while it runs: a progress bar on a terminal, plain lines elsewhere, one
// JSON object a line in a file on request. Private header.
#ifndef RUNTIME_TRAIN_LOG_H
#define RUNTIME_TRAIN_LOG_H

#include "runtime/file/out.h"

typedef struct RtTrainLog {
    bool terminal, quiet; // quiet: errors and the end only
    RtOutFile jsonl;      // lines are flushed as they are written; f NULL: none, or not yet
    bool wanted;          // jsonl is open, and lines are written
    uint64_t shown_ns;
    bool bar_shown;
} RtTrainLog;

// Checks that the JSON log can be written; jsonl_path NULL: none. append: a resumed run goes on in
// the same file. False with err set.
bool rt_train_log_open(RtTrainLog *l, RtOuts *outs, const char *jsonl_path, bool append, bool quiet,
                       RtErr *err);
typedef struct RtLogPlace { // where a run stands
    int64_t step, epoch;    // that are behind it
    int fold;               // of a k-fold: the number of the run, from 1; 0: it is none
} RtLogPlace;
// Now events come: what a former run wrote goes, of a run that goes on what comes again, so that no
// line is there twice. False with err set, here and below: nothing is written any more.
bool rt_train_log_begin(RtTrainLog *l, const RtLogPlace *at, RtErr *err);
// All of it is on the disk. False with err set.
bool rt_train_log_commit(RtTrainLog *l, RtErr *err);
void rt_train_log_close(RtTrainLog *l);

// A line for the user, on stderr; a bar that is there goes first.
void rt_train_log_line(RtTrainLog *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// The state of an epoch: redrawn at most ten times a second. left_s < 0: not known yet.
void rt_train_log_progress(RtTrainLog *l, const char *what, int64_t done, int64_t total,
                           double loss, const char *score, double right, double images_per_s,
                           double left_s);
void rt_train_log_clear(RtTrainLog *l); // the bar goes

typedef struct RtLogField { // text where it is set, else a number
    const char *key;
    double number;
    const char *text;
} RtLogField;
// One line of the JSON log: {"event": event, fields...}. False with err set (a full disk).
bool rt_train_log_event(RtTrainLog *l, const char *event, const RtLogField *fields, int n,
                        RtErr *err);

#endif
