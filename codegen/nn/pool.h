// Pools: the spec, what its two kernels share, and rows of pools for whoever has the rows of their
// input at hand. Private to codegen/.
#ifndef CODEGEN_NN_POOL_H
#define CODEGEN_NN_POOL_H

#include "codegen/build/pixel.h"

typedef struct CgPool {
    CgTensor x, y; // y is what the epilogue makes of the own type
    int64_t kh, kw, sh, sw, dh, dw, pt, pl, pb, pr;
    int32_t max, count_pad, own, pad_; // own: the IrDtype in which elements are joined
    CgPixelThen then;
} CgPool;

// Taps [lo, hi) of a window that fall inside along one axis; the input index of tap 0, which may be
// negative; how many the divisor of avg_pool counts: with count_pad all before size + end.
typedef struct CgPoolTaps {
    CgVal first, lo, hi, count;
} CgPoolTaps;
CgPoolTaps cg_pool_taps(CgFn *f, CgVal out, int64_t stride, int64_t begin, int64_t dilation,
                        int64_t k, CgVal size, int64_t end, bool count_pad);
CgPoolTaps cg_pool_taps_h(CgFn *f, const CgPool *s, CgVal oh);
CgPoolTaps cg_pool_taps_w(CgFn *f, const CgPool *s, CgVal ow);
CgVal cg_pool_take(CgFn *f, const CgPool *s, CgVal acc, CgVal x); // of the own type
void cg_pool_emit_elements(CgFn *f, const void *spec);            // of plain tensors

// Row oh of the result, of one block of channels, to `out`. `in` is where row `first` of the
// block's plane lies, with those that the windows of oh read behind it. No epilogue with operands.
void cg_pool_row(CgFn *f, const CgPool *s, CgVal in, CgVal first, CgVal out, CgVal oh);

#endif
