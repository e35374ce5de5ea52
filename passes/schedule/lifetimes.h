// What the memory plan places, and for how long: storages of a graph, their bytes and lifetimes in
// positions of nodes in list order. Private to passes/schedule/.
#ifndef PASSES_SCHEDULE_LIFETIMES_H
#define PASSES_SCHEDULE_LIFETIMES_H

#include "passes/passes.h"

typedef struct PassStorage {
    const IrValue *root; // the first of its roots
    int64_t size;        // bytes, rounded up to 64; per image when batched
    int64_t offset;      // in its region; per image when batched
    int64_t best;        // the offset of the best packing so far
    int first, last;     // positions of nodes
    int merged;          // index of the storage it went into, or -1
    bool batched;
} PassStorage;

typedef struct PassLives {
    PassContext *ctx;
    IrGraph *graph;
    int n_nodes;
    int n, cap;
    PassStorage *v;
    int *of_value; // by id of a root: its storage + 1; 0: not in the arena
    int *output;   // by id of a root: output index + 1
} PassLives;

// Of a legalized graph; in the context's scratch.
PassLives pass_lives(PassContext *ctx, IrGraph *g);
// Results go over operands that die where they are made, where a kernel allows that.
void pass_lives_merge(PassLives *p);
// The storage that v's bytes are in; NULL when they are not in the arena.
PassStorage *pass_lives_of(const PassLives *p, const IrValue *v);
IrDim pass_lives_bytes(const IrValue *v);
int64_t pass_lives_add(const PassLives *p, int64_t a, int64_t b); // ir_fatal() where that overflows
const char *pass_lives_name(const IrValue *v);

// memory_plan.c: the arena that the graph would get.
IrDim pass_memory_needs(PassContext *ctx, IrGraph *g);

#endif
