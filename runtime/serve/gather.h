// How long a run waits for more requests, by what earlier waits brought. Private header.
#ifndef RUNTIME_SERVE_GATHER_H
#define RUNTIME_SERVE_GATHER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct RtServeGather { // of one worker; zeros at first
    int64_t rows;              // of its last run,
    uint64_t began;            // when that began, rt_now()
    int64_t there, wanted;     // rows queued at its end, and those of the next one
    uint64_t until;            // how long it may wait for them; 0: not at all
    bool waits;                // it does
    int vain, rests;           // waits without gain, one after the other; runs to go without one
} RtServeGather;

// A run has ended: its clients may ask again. `queued` rows are there, `most` fit into a run.
void rt_serve_gather_end(RtServeGather *g, int64_t queued, int64_t most, uint64_t now);
// Is it worth waiting until g->until, with so many rows there?
bool rt_serve_gather_waits(RtServeGather *g, int64_t queued, uint64_t now);
// A run of so many rows begins.
void rt_serve_gather_begin(RtServeGather *g, int64_t rows, uint64_t now);

#endif
