// Times of what ranks do together, started by mpirun: sums of several sizes along the tree, and a
// gather of a few bytes, the least of many. Rank 0 prints "sum FLOATS MICROSECONDS" and "gather
// ...". See ranks.py.
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/ranks/ranks.h"

enum { MOST = 1 << 22, TRIES = 30 };

static double least_sum(RtRanks *r, float *x, float *room, int64_t n, RtErr *err) {
    RtShares all = {.width = 1, .leaves = rt_ranks_n(r)};
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < TRIES; i++) {
        uint64_t since = rt_now();
        if (!rt_ranks_sum(r, &all, x, n, room, err))
            return -1;
        uint64_t took = rt_now() - since;
        least = took < least ? took : least;
    }
    return (double)least * 1e-3;
}

static double least_gather(RtRanks *r, RtErr *err) {
    char mine[64] = {0}, *all = malloc(sizeof mine * (size_t)rt_ranks_n(r));
    uint64_t least = UINT64_MAX;
    for (int i = 0; all && i < TRIES; i++) {
        uint64_t since = rt_now();
        if (!rt_ranks_gather(r, mine, sizeof mine, all, err))
            return -1;
        uint64_t took = rt_now() - since;
        least = took < least ? took : least;
    }
    free(all);
    return (double)least * 1e-3;
}

int main(void) {
    RtErr err = {{0}};
    RtRanks *r;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    float *x = rt_alloc_aligned(MOST * sizeof *x), *room = rt_alloc_aligned(MOST * sizeof *room);
    bool good = x && room && rt_ranks_open(&r, &err);
    if (good)
        memset(x, 0, MOST * sizeof *x);
    for (int64_t n = 1024; good && n <= MOST; n *= 4) {
        double us = least_sum(r, x, room, n, &err);
        good = us >= 0;
        if (good && rt_ranks_me(r) == 0)
            printf("sum %lld %.1f\n", (long long)n, us);
    }
    double us = good ? least_gather(r, &err) : -1;
    if (us >= 0 && rt_ranks_me(r) == 0)
        printf("gather 64 %.1f\n", us);
    if (us < 0)
        fprintf(stderr, "%s\n", err.text);
    else
        rt_ranks_close(r, true);
    return us < 0;
}
