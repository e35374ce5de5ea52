// Pools of blocked tensors, for whoever has the rows of their input at hand. Private to codegen/.
#ifndef CODEGEN_NN_POOL_H
#define CODEGEN_NN_POOL_H

#include "codegen/build/lower.h"

typedef struct CgPool {
    CgTensor x, y;
    int64_t kh, kw, sh, sw, dh, dw, pt, pl, pb, pr;
    int32_t max, count_pad;
    CgBody then;
    IrDim step[CG_MAX_OPERANDS][5]; // of its operands along N, C/B, H, W, B of the result
} CgPool;

// Row oh of the result, of one block of channels, to `out`. `in` is where row `first` of the
// block's plane lies, with those that the windows of oh read behind it. No epilogue with operands.
void cg_pool_row(CgFn *f, const CgPool *s, CgVal in, CgVal first, CgVal out, CgVal oh);

#endif
