// The gradient of a 3x3 convolution's weights by Winograd's algorithm: what its lowering and its
// kernel share. Private to codegen/conv/.
#ifndef CODEGEN_CONV_WGRAD_WINOGRAD_H
#define CODEGEN_CONV_WGRAD_WINOGRAD_H

#include "codegen/conv/wgrad.h"
#include "codegen/conv/winograd.h"

typedef struct CgWgradWino {
    CgWgradSizes c;             // channels in whole blocks
    int32_t m;                  // pixels of a tile of dy, each way
    int32_t c_blocks, o_blocks; // of a piece
    int32_t terms, vecs;        // register tile: channels of x, vectors of dy's
    int32_t block;              // tiles that are transformed before their products are made
} CgWgradWino;

typedef struct CgWgradWinoShape {
    WinoAxis axis; // F(3, m), of both directions
    int points, tiles_h, tiles_w;
    int64_t v_point, u_point, m_point;    // floats between points
    int64_t v_floats, u_floats, m_floats; // of scratch, in this order
} CgWgradWinoShape;

CgWgradWinoShape cg_conv_wgrad_winograd_shape(const CgWgradWino *s);
// False: the node asks for it not, or it cannot be.
bool cg_conv_wgrad_by_winograd(CgProgram *p, const IrNode *n, const IrConv *c);
void cg_conv_wgrad_winograd(CgFn *f, const void *spec);

#endif
