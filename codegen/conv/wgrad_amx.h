// The gradient of a convolution's weights on matrix tiles: what its lowering, its kernel and the
// copies of its operands share. Private to codegen/conv/wgrad_amx*.c; wgrad_amx.c says what the
// words mean. Kernel arguments: dw, x, dy, as in wgrad.h.
#ifndef CODEGEN_CONV_WGRAD_AMX_H
#define CODEGEN_CONV_WGRAD_AMX_H

#include "codegen/conv/wgrad.h"
#include "ir/conv.h"

typedef struct CgWgradAmx {
    CgWgradSizes c;
    int32_t terms;        // bf16 that are a number: 1, of bf16; 2, of f32
    int32_t plain;        // x is no blocks, of few channels
    int32_t by_x;         // rows of tiles of sums are channels of x, columns of dy; of one tap
    int32_t split_right;  // threads share the blocks of the right operand, not of the left one
    int32_t unit;         // blocks that a thread takes together: 2, or 1 where they are few
    int32_t left, right;  // blocks of a group, at most: all, or an even number
    int32_t rows, images; // of a band: of the result, and pairs of images; one where rows < OH
    int32_t chunk;        // tiles of positions
} CgWgradAmx;

// One operand: its images, and the planes that it is copied to.
typedef struct CgWgradSide {
    int blocks, plain; // plain: its channels, where they lie in planes, one block; else 0
    int H, W, sh, sw, pt, pl;
    int planes_h, planes_w;
    int halo; // lines of a plane beyond those of the result's rows
    int arg;
    int64_t image; // numbers of one
} CgWgradSide;

typedef struct CgWgradAmxShape {
    CgWgradSide left, right;
    int terms;
    int taps, pitch; // positions from line to line
    int lines;       // from image to image
    int behind;      // positions of zeros that stand behind a plane's last line
    int tiles;       // of a band, at most
    int64_t left_block, right_block, plane;             // words of a band
    int64_t sums_at, left_at, right_at, line_at, words; // of scratch
} CgWgradAmxShape;

CgWgradAmxShape cg_conv_wgrad_amx_shape(const CgWgradAmx *s);
// False: the node asks for it not, or it cannot be.
bool cg_conv_wgrad_by_amx(CgProgram *p, const IrNode *n, const IrConv *c);
void cg_conv_wgrad_amx(CgFn *f, const void *spec);

// ---- copies (wgrad_amx_copy.c)

typedef struct CgWgradBand {
    CgVal pair, images; // the first pair of images, and how many
    CgVal row, rows;    // of the result
    CgVal N;            // images that there are
} CgWgradBand;

// Block `block` of an operand, in words of two images' numbers, positions one after another; of two
// terms all planes of the first ones, then all of the second ones.
void cg_conv_wgrad_amx_copy(CgFn *f, const CgWgradAmxShape *w, const CgWgradSide *side,
                            const CgWgradBand *b, CgVal block, CgVal to);
// The same in tiles of [channel][position]; by way of `line`.
void cg_conv_wgrad_amx_copy_left(CgFn *f, const CgWgradAmxShape *w, const CgWgradBand *b,
                                 CgVal block, CgVal line, CgVal to, CgVal tiles);

#endif
