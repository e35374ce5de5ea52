// Convolution on matrix tiles: what its tasks (amx.c), the copy of x (amx_copy.c) and what becomes
// of sums (amx_finish.c) share.
#ifndef CODEGEN_CONV_AMX_H
#define CODEGEN_CONV_AMX_H

#include "codegen/build/amx.h"
#include "codegen/conv/conv.h"

enum { CG_CONV_AMX_SUMS = 4 }; // tiles of sums, at most

// Of what the last strip left, in slots: its image, output vectors, first tile and pixel; its sums,
// of which rows are those of its tiles.
typedef struct AmxPending {
    CgVal n, ocb, vecs, first, pixel;
    CgAmxPending sums;
} AmxPending;

typedef struct Amx {
    CgFn *f;
    const CgConv *s;
    IrDtype type; // of x
    IrConvCopy copy;
    IrConvStrips cut;
    bool in_place;    // x is read where it lies, there is no copy
    int images, rows; // of a band, where that is of several; strips of those, or of an image
    int asks;         // for lines of weights, with each piece
    CgCut oc;         // groups of output vectors
    CgVal lines;      // in scratch, behind the sums of two strips: of the copy from `origin` on
    CgVal n, origin;  // the band's image, first line
    CgVal fresh;      // no band before read weights
    AmxPending last;
} Amx;

typedef struct AmxStrip {
    CgVal first, ocb;             // its first tile; output vector
    int nv;                       // vectors
    CgVal x[CG_CONV_AMX_SUMS], w; // its tiles' first pixels; weights
    CgVal ask, ask_step;          // of weights, words behind w; from vector to vector
} AmxStrip;

// Lines [lo, hi) of image n from x to the scratch
void cg_conv_amx_copy(Amx *a, CgVal lo, CgVal hi);

static inline int cg_conv_amx_sums(const Amx *a, int i, int v) { // tile of pixels, vector
    return i * a->oc.size + v;
}
static inline int64_t cg_conv_amx_rows(const Amx *a) { // of a strip
    return a->cut.count * a->cut.rows;
}
static inline int64_t cg_conv_amx_pieces(const Amx *a) { // whose products a strip adds up
    return a->s->kh * a->copy.runs * a->copy.pieces;
}
// Rows of a strip's tiles are pixels of the result that follow each other.
bool cg_conv_amx_in_order(const Amx *a);
// Where they do: the pixel of the first of a strip that begins with tile `first`. Nothing is read
// behind x: the last strip in place has rows again that another has.
CgVal cg_conv_amx_pixel(const Amx *a, CgVal first);

// Nothing is pending.
void cg_conv_amx_begin(Amx *a);
// The next `share` rows of what is pending; s: what is computed meanwhile, or NULL
void cg_conv_amx_finish(Amx *a, const AmxStrip *s, int64_t share);
// The strip's sums become those that are pending.
void cg_conv_amx_leave(Amx *a, const AmxStrip *s);
int64_t cg_conv_amx_scratch(void); // bytes, of the sums

#endif
