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
    bool *below;      // depends on a product, a normalization, a reduction that is no preprocessing
    int64_t channels; // of the image; 0: the input is none
    // Room for who walks along: seen is 0 in between; `left` are the steps that may still be taken,
    // 0 after an error.
    uint64_t (*seen)[32];
    PassStep *steps;
    int cap_steps;
    int64_t left;
} PassFlow;

PassFlow pass_flow(IrArena *a, const IrGraph *g);

// n does to the image, pixel by pixel, what is done before a network begins: scales channels,
// shifts them, exchanges them, makes luma and chroma of them. x, its operand, is not below
// anything yet.
bool pass_is_preprocessing(IrProgram *p, const IrNode *n);

static inline bool pass_is_product(IrOp op) {
    return op == IR_OP_CONV || op == IR_OP_MATMUL || op == IR_OP_CONV_DGRAD;
}
static inline bool pass_is_number(const IrValue *v) { // of one element
    IrDim n;
    return ir_shape_elems(&v->type.shape, &n) && ir_dim_is(n, 1);
}
// Its result is its first operand's elements, some of them, in another order or more than once.
bool pass_only_moves(IrOp op);

#endif
