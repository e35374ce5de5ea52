// matmul's spec, and what its lowering and its two kernels share. Private to codegen/nn/.
#ifndef CODEGEN_NN_MATMUL_H
#define CODEGEN_NN_MATMUL_H

#include "codegen/build/nd.h"
#include "codegen/nn/mean.h"

enum {
    CG_MATMUL_ROWS = 6,
    CG_MATMUL_TALL_ROWS = 8,
    CG_MATMUL_MOST_ROWS = 9, // that read few weights
    CG_MATMUL_VECTORS = 4,
    CG_MATMUL_RUN = 1024
};
// Operands of the space. COLUMN and ROW have no memory: their offsets are the panel's first column
// and, where b is packed, the task's first row of all.
enum { CG_MATMUL_Y, CG_MATMUL_A, CG_MATMUL_B, CG_MATMUL_COLUMN, CG_MATMUL_ROW, CG_MATMUL_EXTRA };
// An operand's argument, from EXTRA on.
#define CG_MATMUL_ARG(operand) ((operand) - (CG_MATMUL_EXTRA - 3))

// Panels multiply words, 4 bytes along k (codegen/build/dot.h): k and the strides along it count
// words there. With a zero point the last operand is a table, per column: what sums of a - zero
// have less than those of a.
typedef struct CgMatmul {
    CgNd nd;                   // panels, batch dims, rows
    IrDim k, a_k, b_k;         // size, strides along it
    IrDim col[CG_ND_OPERANDS]; // strides along the columns
    int64_t columns;
    int32_t vectors, packed, bias, zero; // packed: b is, by pack_columns(); zero: what a's are less
    int32_t rows, pass;                  // of the largest tile: its rows, its vectors
    int32_t images, ahead;               // of the scratch, with `mean`; prefetch the next panel
    int32_t dtype, b_dtype, own, y_dtype; // IrDtype: of a, b, the sums as the epilogue sees them, y
    int64_t image, band, run; // Strassen's: rows of an image, tiles of a band and of a run
    int64_t piece, panels;    // copied blocks': k that are copied at a time, panels
    int64_t nonzero;          // a single row meets weights only where it is not 0
    CgMean mean;
    CgBody then;
} CgMatmul;

// A constant b: [words * word][m], strides in elements.
typedef struct CgMatmulColumns {
    IrConst *konst;
    int64_t words, m, k_stride, m_stride;
    int word; // elements to a word
} CgMatmulColumns;
// Most blocks of columns of a panel on any machine: packed weights are padded for it.
int64_t cg_matmul_most_vectors(int64_t columns);
CgArg cg_matmul_pack(CgProgram *p, const CgMatmulColumns *b);
// i32 per column: -zero times the sum of the column, of s8.
int64_t cg_matmul_pack_zero(CgProgram *p, const CgMatmulColumns *b, int64_t zero);

// Floats of the scratch that the totals of long sums take; means lie behind them.
int64_t cg_matmul_totals(int lanes);
bool cg_matmul_is_long(const CgMatmul *s); // its sums are made of runs, whose totals are kept
bool cg_matmul_keeps(const CgMatmul *s);   // a tile's sums are kept there before the epilogue

// By Strassen's multiplication (matmul_strassen.c): false where it does not apply. Floats of its
// scratch.
bool cg_matmul_use_strassen(CgMatmul *s, const IrMachine *m);
int64_t cg_matmul_strassen_floats(const CgMatmul *s, int lanes);

// In blocks that are copied (matmul_blocks.c): false where that does not pay. Floats of its
// scratch.
bool cg_matmul_use_blocks(CgMatmul *s, const IrMachine *m);
int64_t cg_matmul_block_floats(const CgMatmul *s, int lanes);

// In panels that leave out what a single row's zeros would meet (matmul_nonzero.c): whether that
// pays for the weights b. Floats of its scratch, behind totals and means.
bool cg_matmul_skips_zeros(CgProgram *p, const CgMatmul *s, IrConst *b);
int64_t cg_matmul_list_floats(const CgMatmul *s);

// Two operands of bf16 that are not constant, on matrix tiles (matmul_pairs.c), k of which is k:
// each must lie side by side along k or across. Then, in panels: blocks, and floats of its scratch.
bool cg_matmul_fits_pairs(const CgMatmul *s, const CgTarget *t, IrDim k);
void cg_matmul_use_pairs(CgMatmul *s, const IrMachine *m);
int64_t cg_matmul_pair_floats(const CgMatmul *s);
void cg_matmul_emit_pairs(CgFn *f, const void *spec);

// CgEmit of a spec: in panels (matmul_panels.c), where rows are means (matmul_means.c), and element
// by element.
void cg_matmul_emit_panels(CgFn *f, const void *spec);
void cg_matmul_emit_nonzero(CgFn *f, const void *spec);
void cg_matmul_emit_strassen(CgFn *f, const void *spec);
void cg_matmul_emit_blocks(CgFn *f, const void *spec);
void cg_matmul_emit_means(CgFn *f, const void *spec);
void cg_matmul_emit_elements(CgFn *f, const void *spec);
// On matrix tiles (matmul_amx.c), where the machine has them for this product in panels.
bool cg_matmul_fits_amx(const CgMatmul *s, const IrMachine *m);
void cg_matmul_emit_amx(CgFn *f, const void *spec);
int64_t cg_matmul_floats_amx(void); // of its scratch

#endif
