// The direct convolution: what its tasks (direct.c) and its register tile (direct_tile.c) share.
#ifndef CODEGEN_CONV_DIRECT_H
#define CODEGEN_CONV_DIRECT_H

#include "codegen/build/dot.h"
#include "codegen/conv/conv.h"

enum { CG_DIRECT_MAX_ROWS = 32 };

// Kernel rows [lo, hi), where exactly the tile's output rows in the mask read inside the image.
typedef struct KhRun {
    int lo, hi;
    uint32_t rows;
} KhRun;

// A run of row tiles that share code. With one row to a tile the kernel rows are bounded at run
// time.
typedef struct RowTiles {
    int first, n, rows;
    bool at_run_time;
    int n_runs;
    KhRun run[2 * CG_DIRECT_MAX_ROWS + 1];
} RowTiles;

typedef struct Direct {
    CgFn *f;
    const CgConv *s;
    CgConvOc oc;
    CgCut row_cut;
    CgColumns *columns;
    int n_columns, n_row_tiles;
    int bin, unroll; // words to a block of x, to a step of the inner loop
    IrDot dot;
    bool by_row; // words of x are loaded by rows: cg_dot_by_row()
    RowTiles *row_tiles;
    bool prefetch_w, prefetch_x;
    int64_t x_block;  // words from block to block of what the tiles read
    int64_t w_vector; // words of weights from output vector to output vector
    CgVal origin;     // the prologue's first pixel in the scratch, or NULL
    CgVal pool;       // where the row goes that a pool will read, or NULL
    // the task
    CgVal n, group, row_tile, oh, ocb, x, w, icb_lo, icb_hi;
} Direct;

// One tile of the task: all its products, and its results stored. column: its first output column
void cg_conv_direct_tile(Direct *d, const RowTiles *rt, const CgColumns *ct, int nv, CgVal column);

#endif
