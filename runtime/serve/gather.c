// Clients that are answered together ask again together, a moment later. A worker that takes the
// first of them at once runs it alone while the others queue, and from then on they take turns in
// two halves: smaller runs, and what clients and connections do takes CPUs from them. So it waits
// for as many rows as it has just answered, beside those that queue: an eighth of that run at most.
//
// Where they do not come, waiting stops: for one run at first, for 63 in the end.
#include "runtime/serve/gather.h"

enum { PART = 8, LONGEST_MS = 50, MOST_VAIN = 6 };

static uint64_t wait_after(uint64_t run_ns) {
    uint64_t ns = run_ns / PART, longest = LONGEST_MS * UINT64_C(1000000);
    return ns < longest ? ns : longest;
}

void rt_serve_gather_end(RtServeGather *g, int64_t queued, int64_t most, uint64_t now) {
    int64_t wanted = queued + g->rows;
    g->there = queued;
    g->wanted = wanted < most ? wanted : most;
    g->until = g->rests ? 0 : now + wait_after(now - g->began);
    g->rests -= g->rests > 0;
    g->waits = false;
}

bool rt_serve_gather_waits(RtServeGather *g, int64_t queued, uint64_t now) {
    bool waits = queued < g->wanted && now < g->until;
    g->waits = g->waits || waits;
    return waits;
}

void rt_serve_gather_begin(RtServeGather *g, int64_t rows, uint64_t now) {
    bool gained = 2 * (rows - g->there) >= g->wanted - g->there; // half of them came
    if (g->waits && gained) {
        g->vain = 0;
    } else if (g->waits) {
        g->vain += g->vain < MOST_VAIN;
        g->rests = (1 << g->vain) - 1;
    }
    g->rows = rows;
    g->began = now;
}
