// What a run writes beside its model: logs, tables, the report, checkpoints. A disk that is full,
// or a file that cannot be written any more, must not end hours of training: it is told once, the
// training goes on, and the exit code tells at its end. What cannot be written at the beginning is
// refused there (setup.c). Private header.
#ifndef RUNTIME_TRAIN_BESIDE_H
#define RUNTIME_TRAIN_BESIDE_H

#include "runtime/train/run.h"

// good false: `why` says which file was given up; it is told.
void rt_beside_check(RtRun *r, bool good, const RtErr *why);
void rt_beside_begin(RtRun *r); // logs, behind what the checkpoint that it goes on from knows of
void rt_beside_event(RtRun *r, const char *event, const RtLogField *fields, int n);
void rt_beside_step(RtRun *r, double loss, double lr, double norm);
void rt_beside_epoch(RtRun *r, const RtScores *v, const double *row); // a row of the history

// The next checkpoint. One that cannot be written leaves those before it; the next one is tried
// again.
void rt_beside_save(RtRun *r);
// The same of a run that ends with it. False with r->err set: and which one stays.
bool rt_beside_save_last(RtRun *r);
void rt_beside_end(RtRun *r, bool whole); // logs are closed; whole: the run is over
bool rt_beside_lost(const RtRun *r);      // something, all in all
int rt_beside_say_lost(void);             // returns the exit code

#endif
