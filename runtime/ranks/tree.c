// What all ranks do together, by exchanges of two: with the neighbour, then with the one two away,
// then four. That is the balanced binary tree over the ranks in order, and a sum along it is the
// same bits whatever their number, as long as each rank's own part is a subtree.
#include "runtime/ranks/mpi.h"

#include <string.h>

enum { MOST_LEVELS = 31 };

static int n_levels(const RtRanks *r) {
    int levels = 0;
    while (1 << levels < rt_ranks_n(r))
        levels++;
    return levels;
}

bool rt_ranks_gather(RtRanks *r, const void *mine, size_t bytes, void *all, RtErr *err) {
    int me = rt_ranks_me(r);
    bool good = true;
    char *block = all;
    memcpy(block + (size_t)me * bytes, mine, bytes);
    for (int l = 0; good && l < n_levels(r); l++) {
        int other = me ^ 1 << l;
        size_t here = (size_t)(me >> l << l) * bytes, there = (size_t)(other >> l << l) * bytes;
        good = rt_mpi_swap(r, other, block + here, bytes << l, block + there, bytes << l, err);
    }
    return good;
}

bool rt_ranks_share(RtRanks *r, void *data, size_t bytes, RtErr *err) {
    int me = rt_ranks_me(r);
    bool good = true;
    for (int l = 0; good && l < n_levels(r); l++)
        if (me < 1 << l)
            good = rt_mpi_swap(r, me + (1 << l), data, bytes, NULL, 0, err);
        else if (me < 2 << l)
            good = rt_mpi_swap(r, me - (1 << l), NULL, 0, data, bytes, err);
    return good;
}

// Has any of the 2^level ranks around this one a leaf?
static bool has_leaf(const RtShares *s, int rank, int level) {
    return (int64_t)(rank >> level << level) * s->width < s->leaves;
}

static void add(float *restrict x, const float *restrict y, int64_t n, bool mine, bool theirs) {
    if (mine && theirs)
        for (int64_t i = 0; i < n; i++)
            x[i] += y[i];
    else if (theirs)
        memcpy(x, y, (size_t)n * sizeof *x);
}

typedef struct Part { // of x
    int64_t from, to;
} Part;

static size_t part_bytes(const Part *p) {
    return (size_t)(p->to - p->from) * sizeof(float);
}

// The half of a part that this rank goes on with at a level, and the one that the other does.
static void halve(const Part *whole, int me, int level, Part *mine, Part *theirs) {
    int64_t middle = whole->from + (whole->to - whole->from) / 2;
    Part lower = {whole->from, middle}, upper = {middle, whole->to};
    bool up = me >> level & 1;
    *mine = up ? upper : lower;
    *theirs = up ? lower : upper;
}

// Each exchange hands half of what is left to the other (reduce-scatter by recursive halving), the
// way back gathers the halves (Rabenseifner, "Optimization of Collective Reduction Operations",
// 2004).
bool rt_ranks_sum(RtRanks *r, const RtShares *s, float *x, int64_t n, float *room, RtErr *err) {
    Part whole[MOST_LEVELS], mine = {0, n}, theirs;
    int me = rt_ranks_me(r), levels = n_levels(r);
    bool good = true;
    for (int l = 0; good && l < levels; l++) {
        int other = me ^ 1 << l;
        whole[l] = mine;
        halve(&whole[l], me, l, &mine, &theirs);
        good = rt_mpi_swap(r, other, x + theirs.from, part_bytes(&theirs), room, part_bytes(&mine),
                           err);
        if (good)
            add(x + mine.from, room, mine.to - mine.from, has_leaf(s, me, l),
                has_leaf(s, other, l));
    }
    for (int l = levels - 1; good && l >= 0; l--) {
        halve(&whole[l], me, l, &mine, &theirs);
        good = rt_mpi_swap(r, me ^ 1 << l, x + mine.from, part_bytes(&mine), x + theirs.from,
                           part_bytes(&theirs), err);
    }
    return good;
}
