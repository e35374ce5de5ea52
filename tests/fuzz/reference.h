// What a graph computes, and how far from that a right program may be: the reference evaluator runs
// twice, the second time with a rounding error added to every result that is not exact in float32.
// Where the two part, the graph amplifies rounding errors (a division by a difference, a comparison
// of two nearly equal numbers), and so may compiled code.
#ifndef TESTS_FUZZ_REFERENCE_H
#define TESTS_FUZZ_REFERENCE_H

#include "ir/ir.h"

// Inputs at batch size N, from the values' names and types alone: floats are multiples of 1/8 in
// [-2, 2], integers in [-4, 4) or [0, 8).
IrTensor *ref_inputs(const IrGraph *g, int64_t N, IrArena *a);

// One node's result t with a rounding error of its type, unless it is exact: made by exact ops of
// exact operands (bits of exact_in) with few enough bits. Returns whether it is.
bool ref_add_noise(const IrNode *n, unsigned exact_in, IrTensor *t);

typedef struct Reference {
    const char *why;   // not NULL: the graph cannot be evaluated
    IrTensor *want;    // per output
    double *tolerance; // per output, absolute; 0 where types are not floating point
} Reference;
// wrong: an op whose results get a wrong first element, to see the tests fail; IR_OP_COUNT: none.
Reference ref_evaluate(IrGraph *g, int64_t N, const IrTensor *inputs, IrOp wrong, IrArena *a);

// The largest difference of finite elements; infinite where one is not finite and the other
// differs.
double ref_distance(const IrTensor *x, const IrTensor *y);
double ref_magnitude(const IrTensor *t); // of the largest finite element

#endif
