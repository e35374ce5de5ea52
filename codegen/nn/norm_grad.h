// What batch_norm_train, batch_norm_grad and lrn_grad share. Private to codegen/nn/.
//
// Blocked tensors: a vector is the channels of a block at one pixel; others are plain,
// [N][C][inner]. All is computed in f32 (plain in double), in which parameters and other results
// than the first are; x, dy and the first result may be stored in 16 bits. Kernel arguments:
// results, then operands.
#ifndef CODEGEN_NN_NORM_GRAD_H
#define CODEGEN_NN_NORM_GRAD_H

#include "codegen/build/nd.h"
#include "codegen/build/pixel.h"

typedef struct CgNormGrad {
    CgTensor x, dy, y;        // y: y or dx; train has no dy
    CgPixelThen then;
    double eps;               // batch_norm
    int64_t size;             // lrn
    double alpha, beta, bias; // lrn; alpha is divided by size already
} CgNormGrad;

// False after reporting NYI. dy: the operand that is the gradient, or NULL.
bool cg_norm_grad_read(CgProgram *p, const IrNode *n, const IrValue *dy, CgNormGrad *s);
// s: as read; its epilogue is filled in.
void cg_norm_grad_call(CgProgram *p, const IrNode *n, CgNormGrad *s, CgEmit emit);

int64_t cg_norm_grad_blocks(CgFn *f, const CgNormGrad *s);        // of channels
CgVal cg_norm_grad_lanes(CgFn *f, const CgNormGrad *s, CgVal cb); // channels among block cb's lanes
// Pixel 0 of block cb of image n of argument `arg`, and the pixel i behind one; its channels.
CgVal cg_norm_grad_plane(CgFn *f, int arg, const CgTensor *t, CgVal n, CgVal cb);
CgVal cg_norm_grad_pixel(CgFn *f, const CgTensor *t, CgVal base, CgVal i);
CgVal cg_norm_grad_load(CgFn *f, const CgTensor *t, CgVal base, CgVal i);
// Stores v, the epilogue's result, as pixel i of block cb of image n, which `base` is pixel 0 of.
void cg_norm_grad_store(CgFn *f, const CgNormGrad *s, CgVal v, CgVal base, const CgVal at[3]);

#endif
