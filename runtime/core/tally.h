// Files one after the other: progress on a terminal, bad ones named and counted, pictures that were
// turned, and in the end what that means for the exit code. Private header.
#ifndef RUNTIME_CORE_TALLY_H
#define RUNTIME_CORE_TALLY_H

#include "runtime/core/rt.h"

typedef struct RtTally {
    int64_t all; // files that there are; -1: nobody knows
    int64_t done, bad, turned;
    bool shows; // progress
    uint64_t start, shown;
} RtTally;

// talks: results go to standard output as they come; where that is a terminal, they are progress
// enough.
void rt_tally_begin(RtTally *t, int64_t all, bool talks);
// A file is done, well or not.
void rt_tally_step(RtTally *t);
// A bad one: the text goes to standard error.
void rt_tally_bad(RtTally *t, const char *text);
// Takes progress from the terminal, before something else is printed there.
void rt_tally_clear(RtTally *t);
// The last lines: how many were bad, of several; how many were turned. True: none was bad.
bool rt_tally_end(RtTally *t);

#endif
