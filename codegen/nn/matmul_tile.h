// A tile of a product, as matmul_panels.c, matmul_blocks.c, matmul_strassen.c and
// matmul_amx.c compute it. Private to codegen/nn/.
#ifndef CODEGEN_NN_MATMUL_TILE_H
#define CODEGEN_NN_MATMUL_TILE_H

#include "codegen/nn/matmul.h"

typedef struct CgMatmulTile {
    const CgMatmul *spec;
    const CgVal *off;               // of the operands, in elements
    CgVal row;                      // of the tile's first row, from off on
    int rows, first, end;           // vectors [first, end) of the panel
    CgVal last;                     // rows behind it are this one again; NULL: there are none
    CgVal count[CG_MATMUL_VECTORS]; // lanes that count, or NULL: all
    CgVal ahead, ahead_step;        // what to prefetch at k: ahead + k * ahead_step; NULL: nothing
    CgVal list;                     // of the row's places that are not 0; NULL: all count
    int i, v;                       // of the vector being finished
} CgMatmulTile;

// A tile of the panel at off, without rows yet.
CgMatmulTile cg_matmul_tile(CgFn *f, const CgMatmul *s, const CgVal *off);
// Tiles of t->spec->rows over `len` rows, and those that are left, fewer or some twice: t->row,
// rows and last are set for each.
typedef void (*CgMatmulRows)(void *ctx, CgFn *f, CgMatmulTile *t);
void cg_matmul_for_rows(CgFn *f, CgMatmulTile *t, CgVal len, CgMatmulRows body, void *ctx);
// acc[] = n sums, [t->rows][vectors], of the products over k in [lo, hi), of rows from a[i] and the
// panel from b on.
void cg_matmul_emit_run(CgFn *f, const CgMatmulTile *t, const CgVal *a, CgVal b, CgVal lo, CgVal hi,
                        int n, CgVal *acc);
// Address of row i of the tile in operand `operand`, argument `arg`, of this type.
CgVal cg_matmul_row(CgFn *f, const CgMatmulTile *t, IrDtype type, int operand, int arg, int i);
// Address of vector t->v of row t->i in the result.
CgVal cg_matmul_result(CgFn *f, const CgMatmulTile *t);
// Bias and epilogue of the sum at row t->i, vector t->v; stores the result.
void cg_matmul_finish(CgFn *f, CgMatmulTile *t, CgVal sum);
// The same for all sums of the tile, row by row; `keep`: room for them, count rows * vectors, where
// cg_matmul_keeps() says so.
void cg_matmul_finish_tile(CgFn *f, CgMatmulTile *t, const CgVal *sum, CgVal keep);
// All columns of a panel, `len` rows from off on; one row by its list.
void cg_matmul_emit_rows(CgFn *f, const CgMatmul *s, const CgVal *off, CgVal len);
void cg_matmul_emit_listed_row(CgFn *f, const CgMatmul *s, const CgVal *off, CgVal list);
// Lists the places of a row that are not 0, to `list`, which it returns (matmul_nonzero.c).
CgVal cg_matmul_list(CgFn *f, const CgMatmul *s, CgVal row, CgVal list);
// Where it says, an i32, how many the run from lo on has.
CgVal cg_matmul_list_count(CgFn *f, const CgMatmul *s, CgVal list, CgVal lo);

#endif
