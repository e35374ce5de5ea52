// What the files of the pass recompute share: the graph as it stands, measured (recompute_scene.c),
// and one change of it (recompute_apply.c). Private to passes/schedule/recompute*.c.
#ifndef PASSES_SCHEDULE_RECOMPUTE_H
#define PASSES_SCHEDULE_RECOMPUTE_H

#include "passes/schedule/lifetimes.h"

enum { RECOMPUTE_FIXED, RECOMPUTE_BATCHED, RECOMPUTE_REGIONS }; // of the arena
enum { RECOMPUTE_CHAIN = 32 }; // nodes that one change computes again, at most

typedef struct RecomputePair { // of value ids: `now` is computed again for `of`
    uint32_t now, of;
} RecomputePair;

typedef struct RecomputeTwins { // of all changes so far
    int n, cap;
    RecomputePair *v;
} RecomputeTwins;

// Positions are those of nodes in list order; storages by their index in `lives`.
typedef struct RecomputeScene {
    PassContext ctx; // its scratch is the scene's own
    IrArena **own;
    IrGraph *graph;
    int64_t batch;
    PassLives lives;  // nothing is merged
    uint32_t n_ids;   // of values
    IrNode **node;    // by position
    int *at;          // by value id: the position of the node that makes it
    uint32_t *origin; // by value id: what it is computed again for, or itself
    int *first,
        *touch;   // touch[first[s]] to touch[first[s + 1] - 1]: who makes or reads s, ascending
    bool *shared; // by storage: several nodes write it
    int64_t *memory[RECOMPUTE_REGIONS]; // alive at a position, bytes at the batch size
    int peak[RECOMPUTE_REGIONS];        // a position where that is the most
    int64_t *extra[RECOMPUTE_REGIONS];  // zeros, n_nodes + 2: for who weighs a change
} RecomputeScene;

// One change: `storage` is not kept from `from` to `until`, its touches around a peak, but computed
// again at `until`, with what that needs.
typedef struct RecomputeChange {
    int storage, from, until;
    int n, n_kept;
    struct {
        IrNode *node;  // is made again at `until`; or, with `moved`, is made later and moves there
        IrNode *moved; // up: itself, or the node for whose results its own stand there; NULL
    } item[RECOMPUTE_CHAIN];   // in order
    int kept[RECOMPUTE_CHAIN]; // storages that live longer, up to `until`
    double cost;               // multiply-adds, and what else takes time, in these
    int64_t gain;              // bytes at the batch size
} RecomputeChange;

// In a scratch arena of its own, which pass_recompute_leave() frees.
void pass_recompute_measure(RecomputeScene *s, PassContext *ctx, IrGraph *g, int64_t batch,
                            const RecomputeTwins *twins);
void pass_recompute_leave(RecomputeScene *s);
int pass_recompute_storage(const RecomputeScene *s, const IrValue *v); // -1: not in the arena
int64_t pass_recompute_bytes(const RecomputeScene *s, const PassStorage *x);
int64_t pass_recompute_total(const RecomputeScene *s); // most bytes alive in each region, together
// A node's result is other bytes' name: no code is emitted for it.
bool pass_recompute_is_view(const IrNode *n);
double pass_recompute_products(const IrNode *n, int64_t batch); // multiply-adds

void pass_recompute_apply(const RecomputeScene *s, const RecomputeChange *c, PassContext *ctx,
                          RecomputeTwins *twins);

#endif
