// Winograd convolution: what its files share. Private to codegen/conv/.
//
// An output tile of mh x mw pixels of an rh x rw kernel is computed from nh x nw products a channel
// pair instead of mh * mw * rh * rw, with n = m + r - 1 where the stride is 1:
//
//   y = At [ (G g Gt) . (Bt d B) ] A
//
// with the kernel g, nh x nw pixels d, '.' element by element and summed over input channels, and
// each axis's own matrices on its side.
//
// Along an axis of stride 2 the result is the sum of two convolutions of stride 1: the even taps'
// over the even pixels and the odd taps' over the odd ones. Their matrices stand beside each other:
// n is the sum of theirs, 2 m + r - 2, which is the number of pixels again, 2 (m - 1) + r. Of 3
// taps the odd one is alone: its m products, the first rows, are pixels times one and the same
// weight. So F(4x4, 3x3) takes 81 products with 36 filters for 144, with smaller errors than that
// of stride 1.
//
// Groups are convolutions beside each other, where they are whole vectors of both channels.
//
// An axis whose kernel has one row or column takes m = 1, for which all three matrices are [1]:
// one-dimensional Winograd is the same code.
#ifndef CODEGEN_CONV_WINOGRAD_H
#define CODEGEN_CONV_WINOGRAD_H

#include "codegen/conv/conv.h"

enum {
    WINO_MAX_M = 4,
    WINO_MAX_R = 7,
    WINO_MAX_N = WINO_MAX_M + WINO_MAX_R - 1,
    WINO_MAX_STRIDE = 2
};

// A matrix that is multiplied by vectors whose entries come in an order chosen to need few
// registers.
typedef struct WinoMatrix {
    int rows, cols;
    double at[WINO_MAX_N][WINO_MAX_N];
    int pair_row[WINO_MAX_N]; // the row that differs from this one only in signs, or -1
    int pair_col[WINO_MAX_N]; // the column that does
    int order[WINO_MAX_N];    // of rows: those that share work stand together
} WinoMatrix;

// One axis, F(m, r)
typedef struct WinoAxis {
    int m, r, n, stride;
    int same;             // rows of G that are the same as row `same`: the first ones
    WinoMatrix g, bt, at; // n x r, n x n, m x n
} WinoAxis;

// False when there are no points for it.
bool cg_conv_winograd_axis(int m, int r, int stride, WinoAxis *out);

// Rows order[first, first + n_rows) of matrix times the vector that load() gives; each column is
// loaded at most once, and only if needed. out[k] belongs to row order[first + k].
typedef CgVal (*WinoLoad)(void *ctx, int col);
void cg_conv_winograd_multiply(CgFn *f, const WinoMatrix *m, int first, int n_rows, WinoLoad load,
                               void *ctx, CgVal *out);

// h X wt, for the vectors X that load() gives, row by row into store(). Others put it first in a
// structure of their own.
typedef struct WinoNest {
    CgVal (*load)(struct WinoNest *, int i, int j);
    void (*store)(struct WinoNest *, int i, int j, CgVal x);
    // while the vertical product of column `at` is made; then the horizontal one of row `at`
    int at;
    CgVal mid[WINO_MAX_N][WINO_MAX_N];
} WinoNest;
void cg_conv_winograd_nest(CgFn *f, WinoNest *n, const WinoMatrix *h, const WinoMatrix *w);

typedef struct WinoShape {
    WinoAxis h, w;
    int points;           // h.n * w.n, the number of products
    int filters;          // of them differ
    int tiles_h, tiles_w; // output tiles of an image
    int in_blocks, out_blocks;
    int channels; // that a result sums over: those of a group
    CgConvOc oc;
    int64_t v_point, m_point; // floats between points in the transformed input, in the products
    int64_t v_floats, m_floats;
    bool in_place; // products lie where the transformed input was
} WinoShape;
WinoShape cg_conv_winograd_shape(const CgConv *s, int lanes);
CgVal cg_conv_winograd_filter(CgFn *f, const WinoShape *s, CgVal point); // its number
// An epilogue that is too long to repeat for every pixel of a tile
bool cg_conv_winograd_long(const CgBody *then);

#endif
