// Winograd convolution: what its files share. Private to codegen/conv/.
//
// An output tile of mh x mw pixels of an rh x rw kernel with stride 1 is computed from nh x nw
// products a channel pair instead of mh * mw * rh * rw, n = m + r - 1:
//
//   y = At [ (G g Gt) . (Bt d B) ] A
//
// with the kernel g, nh x nw pixels d, '.' element by element and summed over input channels, and
// each axis's own matrices on its side.
//
// An axis whose kernel has one row or column takes m = 1, for which all three matrices are [1]:
// one-dimensional Winograd is the same code.
#ifndef CODEGEN_CONV_WINOGRAD_H
#define CODEGEN_CONV_WINOGRAD_H

#include "codegen/conv/conv.h"

enum { WINO_MAX_M = 4, WINO_MAX_R = 7, WINO_MAX_N = WINO_MAX_M + WINO_MAX_R - 1 };

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
    int m, r, n;
    WinoMatrix g, bt, at; // n x r, n x n, m x n
} WinoAxis;

// False when there are no points for m + r - 1.
bool cg_conv_winograd_axis(int m, int r, WinoAxis *out);

// Rows order[first, first + n_rows) of matrix times the vector that load() gives; each column is
// loaded at most once, and only if needed. out[k] belongs to row order[first + k].
typedef CgVal (*WinoLoad)(void *ctx, int col);
void cg_conv_winograd_multiply(CgFn *f, const WinoMatrix *m, int first, int n_rows, WinoLoad load,
                               void *ctx, CgVal *out);

typedef struct WinoShape {
    WinoAxis h, w;
    int points;           // h.n * w.n, the number of products
    int tiles_h, tiles_w; // output tiles of an image
    int in_blocks, out_blocks;
    CgConvOc oc;
    int64_t v_point, m_point; // floats between points in the transformed input, in the products
    int64_t v_floats, m_floats;
} WinoShape;
WinoShape cg_conv_winograd_shape(const CgConv *s, int lanes);

#endif
