// The processes that train together, started by mpirun; each is a rank. Private header.
//
// Without mpirun there is one, `RtRanks *` is NULL and nothing here has an effect. MPI's library is
// loaded when mpirun started the process, never otherwise: programs do not depend on it. One thread
// of a process talks at a time. Every function returns false with err set when another rank is gone
// or the run is being ended; nothing can be said to the others after that.
#ifndef RUNTIME_RANKS_RANKS_H
#define RUNTIME_RANKS_RANKS_H

#include "runtime/core/rt.h"

typedef struct RtRanks RtRanks;

// *ranks NULL: alone. Their number is a power of two; else false, err's text empty where another
// rank tells it. The caller has blocked the signals that end the process in all threads.
bool rt_ranks_open(RtRanks **ranks, RtErr *err);
// well: all ranks end so. Else this process just ends, and mpirun ends the others. NULL is fine.
void rt_ranks_close(RtRanks *r, bool well);
// Behind an error, before this process ends: mpirun, which ends all when one has, may lose what it
// has not read yet, and rank 0 is the one that tells.
void rt_ranks_linger(void);
int rt_ranks_n(const RtRanks *r);  // 1 alone
int rt_ranks_me(const RtRanks *r); // from 0

// A signal that ends the process was taken: from here on others are waited for a moment only.
void rt_ranks_expect_end(RtRanks *r);

// `bytes` from every rank, in their order, to every rank; all: [rt_ranks_n()][bytes].
bool rt_ranks_gather(RtRanks *r, const void *mine, size_t bytes, void *all, RtErr *err);
// Rank 0's to all others.
bool rt_ranks_share(RtRanks *r, void *data, size_t bytes, RtErr *err);

// Who has what of `leaves` things in order: rank k those from k * width on, `width` of them.
typedef struct RtShares {
    int64_t width, leaves;
} RtShares;

// x[i] of all ranks becomes their sum, added as the balanced binary tree over ranks says: the bits
// do not depend on who is where or how long anything takes. A rank without leaves has nothing to
// add, not even zeros. room: [n].
bool rt_ranks_sum(RtRanks *r, const RtShares *s, float *x, int64_t n, float *room, RtErr *err);

#endif
