// Resize: the spec, and what its kernels share. Private to codegen/nn/.
#ifndef CODEGEN_NN_RESIZE_H
#define CODEGEN_NN_RESIZE_H

#include "codegen/build/pixel.h"

typedef struct CgResizeAxis {
    int64_t taps, in, out;
    int32_t index, weight; // their arguments, 0: the pixel itself, 1
    int32_t base, pad_;    // argument 0: indices are absolute; else relative to base[vector]
} CgResizeAxis;

typedef struct CgResize {
    CgTensor x, y;
    CgResizeAxis h, w;
    int32_t type, pad_; // of what goes line by line: f32, or what is only copied
    CgPixelThen then;   // of bytes by weights
} CgResize;

// Entry i of tap t in the table that is argument `arg`.
CgVal cg_resize_entry(CgFn *f, const CgResizeAxis *a, int arg, LLVMTypeRef type, CgVal t, CgVal i);
// Kernels of bytes by weights, blocked and plain; both axes have tables of i64 offsets.
void cg_resize_bytes(CgFn *f, const void *spec);
void cg_resize_byte_elements(CgFn *f, const void *spec);

#endif
