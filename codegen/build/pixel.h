// Epilogues of kernels that make a result of rank 4 pixel by pixel. Private to codegen/.
#ifndef CODEGEN_BUILD_PIXEL_H
#define CODEGEN_BUILD_PIXEL_H

#include "codegen/build/lower.h"

// Plain data, part of a kernel's spec.
typedef struct CgPixelThen {
    CgBody body;
    IrDim step[CG_MAX_OPERANDS][5]; // of its operands along N, C/B, H, W, B of the result
} CgPixelThen;

// The epilogue of n, whose result is y, and where its operands lie. False after reporting NYI.
bool cg_pixel_then(CgProgram *p, const IrNode *n, const CgTensor *y, CgPixelThen *t, CgArg *args,
                   int *n_args);
// What it makes of acc, a vector of channels at image, block, row and column at[0..3] of a blocked
// result, or one element of a plain one.
CgVal cg_pixel_vector(CgFn *f, const CgPixelThen *t, CgVal acc, const CgVal *at);
CgVal cg_pixel_element(CgFn *f, const CgPixelThen *t, CgVal acc, const CgVal *at);

#endif
