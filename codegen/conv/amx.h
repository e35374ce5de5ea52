// Convolution on matrix tiles: what its tasks (amx.c) and the copy of x (amx_copy.c) share.
#ifndef CODEGEN_CONV_AMX_H
#define CODEGEN_CONV_AMX_H

#include "codegen/build/amx.h"
#include "codegen/conv/conv.h"

typedef struct Amx {
    CgFn *f;
    const CgConv *s;
    IrDtype type; // of x
    IrConvCopy copy;
    IrConvStrips cut;
    int images, rows;  // of a band, where that is of several; strips of those, or of an image
    bool asks;         // for weights, before they are read
    CgCut oc;          // groups of output vectors
    CgVal sums, lines; // in scratch: a strip's sums; lines of the copy from `origin` on
    CgVal n, origin;   // the band's image, first line
} Amx;

IrConv cg_conv_geometry(const CgConv *s);
// Lines [lo, hi) of image n from x to the scratch
void cg_conv_amx_copy(Amx *a, CgVal lo, CgVal hi);

#endif
