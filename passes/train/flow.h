// What depends on what, for the question of which constants train. Private to passes/train/.
#ifndef PASSES_TRAIN_FLOW_H
#define PASSES_TRAIN_FLOW_H

#include "passes/passes.h"

typedef struct PassStep { // of a walk: a value, and what the way to it was
    const IrValue *v;
    unsigned flags;
} PassStep;

typedef struct PassFlow { // by value id
    bool *reached;        // output 0 depends on it by way of floats, with a slope
    bool *varies;         // depends on an input of the graph that is no parameter
    bool *below;          // depends on a product, a normalization, a reduction
    // Room for who walks along: seen is 0 in between; `left` are the steps that may still be taken,
    // 0 after an error.
    uint64_t (*seen)[4];
    PassStep *steps;
    int cap_steps;
    int64_t left;
} PassFlow;

PassFlow pass_flow(IrArena *a, const IrGraph *g);

static inline bool pass_is_product(IrOp op) {
    return op == IR_OP_CONV || op == IR_OP_MATMUL || op == IR_OP_CONV_DGRAD;
}
// Its result is its first operand's elements, some of them, in another order or more than once.
bool pass_only_moves(IrOp op);

// ---- what a constant's numbers tell (content.c). Numbers that are not there yet (rand) tell
// nothing.
bool pass_all_are(IrProgram *p, IrConst *c, double x);
bool pass_is_binary(IrProgram *p, IrConst *c);   // 0 and 1, both of them, nothing else
bool pass_is_mask(IrProgram *p, IrConst *c);     // 0 and what leaves nothing of a softmax, both
bool pass_is_whole(IrProgram *p, IrConst *c);    // whole numbers, not all the same
bool pass_is_grid(IrProgram *p, IrConst *c);     // every line along every axis is equally spaced
bool pass_is_wave(IrProgram *p, IrConst *c);     // the lines of an axis are sines, or geometric
bool pass_is_repeated(IrProgram *p, IrConst *c); // several entries of axis 0, all the same

#endif
