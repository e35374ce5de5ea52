// The gradient of a convolution's weights: what its lowering and its kernel share. Private to
// codegen/conv_wgrad*.c; conv/wgrad_kernel.c says what the words mean.
//
// Kernel arguments: dw, x, dy.
#ifndef CODEGEN_CONV_WGRAD_H
#define CODEGEN_CONV_WGRAD_H

#include "codegen/conv/conv.h"

enum { CG_WGRAD_DW, CG_WGRAD_X, CG_WGRAD_DY };

// Of the convolution, in plain data: all that its kernels know of it, whichever they are.
typedef struct CgWgradSizes {
#define CG_CONV_SIZE(field, from) int32_t field;
#include "codegen/conv/sizes.def"
#undef CG_CONV_SIZE
    int64_t x_image, dy_image; // numbers from image to image
    IrDim N;
} CgWgradSizes;
// Fills it, which is zeros (specs are compared, with what lies between fields). False: a size, or
// an image of either operand, does not fit an int, with room for what kernels add and multiply.
bool cg_conv_wgrad_sizes(const IrNode *n, const IrConv *c, CgWgradSizes *s);

typedef struct CgWgrad {
    CgWgradSizes c;
    int32_t bin; // channels to a block of x: lanes or 1
    int32_t lanewise;
    int32_t pairs;            // operands are of bf16, in words of two images: what is an image here
    int32_t vecs, terms;      // register tile, at most
    int32_t part;             // channels of a blocked x: those of a register tile, or of several
    int32_t rows, images;     // of a chunk
    int32_t pieces, i_blocks; // of a group: pieces, and how many blocks of x they go over
} CgWgrad;

// How output vectors and blocks of x meet.
typedef enum CgWgradPairing {
    CG_PAIR_ALL,    // every output tile with every block of its group; no vector holds two groups
    CG_PAIR_SAME,   // lanewise: block with block
    CG_PAIR_RANGES, // groups that are not whole vectors: a range of blocks for each output vector
} CgWgradPairing;

typedef struct CgWgradPieces {
    CgWgradPairing pairing;
    int sets; // groups whose tiles are cut alike
    CgCut cut;
    int o_tiles, o_blocks, i_blocks; // of a set: output vectors, and blocks of x to a tile
    int64_t n;
    int taps, part, parts; // channels to a part, parts to a block
    int rows;              // of a piece, at most
    int64_t floats;        // of a piece
} CgWgradPieces;

CgWgradPairing cg_conv_wgrad_pairing(const CgWgrad *s, int lanes);
CgWgradPieces cg_conv_wgrad_pieces(const CgWgrad *s, int lanes);
int cg_conv_wgrad_group_channels(const CgWgrad *s); // of x
void cg_conv_wgrad(CgFn *f, const void *spec);

#endif
