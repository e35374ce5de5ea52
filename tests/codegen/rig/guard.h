// Buffers between pages that nobody may touch, for runs of compiled code: a read or write past
// either end traps, and the message says of which buffer, how far, and in which node.
//
//   Guard *g = guard_new(true, "x86-64-v3, N = 2, 3 threads");    // true: buffers end at a page's
//   end, float *x = guard_alloc(g, 4 * n, 4, "input %s", name);        // false: they start at a
//   page's start guard_seal(g);                                                // from here on x is
//   read only float *y = guard_alloc(g, 4 * n, 4, "output %s", name); guard_watch(g);
//   ... rt_model_observe(m, N, in, out, guard_observe, g) ...
//   guard_free(g);
//
// One Guard is watched at a time. A trap elsewhere is a crash as ever.
#ifndef TESTS_CODEGEN_RIG_GUARD_H
#define TESTS_CODEGEN_RIG_GUARD_H

#include "runtime/core/rt.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct Guard Guard;

Guard *guard_new(bool at_end, const char *what);
// Zeroed. `align`: a power of two; where bytes is not a multiple of it, a buffer at a page's end
// ends up to align - 1 bytes before.
void *guard_alloc(Guard *g, size_t bytes, size_t align, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void guard_seal(Guard *g); // what was allocated so far becomes read only
// Until guard_free(): a trap in or beside a buffer prints one line and ends the process with 1.
void guard_watch(Guard *g);
// An RtObserve whose context is the Guard: the message then names the node of thread 0.
void guard_observe(void *guard, const HoneCall *call, int32_t node);
void guard_names(Guard *g, const HoneModelDesc *desc); // of the nodes
void guard_free(Guard *g);                             // unmaps the buffers

#endif
