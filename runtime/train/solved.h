// A new classifier, solved instead of trained in steps: where a stage trains it alone, and, before
// the first step, where a first stage moves other layers too. Private header.
#ifndef RUNTIME_TRAIN_SOLVED_H
#define RUNTIME_TRAIN_SOLVED_H

#include "runtime/train/run.h"

// Sets r->solves and r->starts for the open stage and its sources, and says why where it is not so.
// False with r->err set.
bool rt_run_choose_solver(RtRun *r);
// The epoch that solves: features of all images, then the solution, into the engine; sums of the
// epoch and ridges into r->state. *stopped, as `stop` says: nothing has changed.
bool rt_run_solve(RtRun *r, bool (*stop)(RtRun *r), bool *stopped);

#endif
