// What a constant's numbers tell about it. Private to passes/train/.
//
// Training leaves no tensor of many numbers round, equally spaced, symmetric or of low rank: what
// is so was written, not learned. Numbers that are not there yet (rand) tell nothing.
#ifndef PASSES_TRAIN_CONTENT_H
#define PASSES_TRAIN_CONTENT_H

#include "ir/ir.h"

typedef struct PassNumbers {
    const float *v;
    int64_t n; // 0: they tell nothing
    const IrShape *shape;
    double unit; // half of a last digit, relative: of f32, or of the f16 or bf16 that all fit in
} PassNumbers;
PassNumbers pass_numbers(IrProgram *p, IrConst *c);

// ---- by their values (content.c)
bool pass_all_are(IrProgram *p, IrConst *c, double x);
bool pass_is_binary(IrProgram *p, IrConst *c); // 0 and 1, both of them, nothing else
bool pass_is_mask(IrProgram *p, IrConst *c);   // what leaves nothing of a softmax, alone or with 0
bool pass_is_whole(IrProgram *p, IrConst *c);  // whole numbers, not all the same
bool pass_is_grid(IrProgram *p, IrConst *c);   // every line along every axis is equally spaced
bool pass_is_repeated(IrProgram *p, IrConst *c, int parts); // of axis 0, all the same; 2 or more
// Weights that give back what comes in, as a fresh parameter may: ones on the diagonal of [K,N], at
// the centres of filters [O,I,...].
bool pass_is_identity(IrProgram *p, IrConst *c);

// ---- by a formula (formula.c)
bool pass_is_wave(IrProgram *p, IrConst *c);   // the lines of an axis are sines, or geometric
bool pass_is_series(IrProgram *p, IrConst *c); // short geometric lines; powers of two, by eighths
bool pass_is_outer(IrProgram *p, IrConst *c);  // each row is another one times a number
bool pass_is_signs(IrProgram *p, IrConst *c);  // one magnitude, rows at right angles (Hadamard)
bool pass_is_resampling(IrProgram *p, IrConst *c); // lines of mostly zeros that sum to one
bool pass_is_steps(IrProgram *p, IrConst *c); // a few whole multiples of the smallest (distances)
bool pass_is_basis(IrProgram *p, IrConst *c); // all rows, or columns, are even or odd
bool pass_is_mirrored(IrProgram *p, IrConst *c); // row n - 1 - i is row i, or its negative
bool pass_are_filters(IrProgram *p, IrConst *c); // [O,I,...]: each even or odd about its centre

#endif
