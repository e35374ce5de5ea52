// AMX: products of small matrices. Private to codegen/.
//
// A thread has CG_AMX_TILES registers, each a tile of up to 16 rows of 64 bytes, whose sizes a
// configuration says. A product adds to a tile of sums, i32 or f32,
//
//   sums[m][n] += sum over words k of x[m][k] . w[k][n]
//
// where a word is 4 bytes of one pixel's channels (ir/machine.h): x is a row for each pixel, w for
// each word of x a row of a word for each of 16 output channels, as weights are packed for dots
// (codegen/build/dot.h). Bytes are u8 by s8, exact, and wrap around; products of bf16 round as
// Intel's manual says.
//
//   cg_amx_begin(f, t, shape); ... loads, products, stores ...; cg_amx_end(f);
#ifndef CODEGEN_BUILD_AMX_H
#define CODEGEN_BUILD_AMX_H

#include "codegen/build/builder.h"

enum { CG_AMX_TILES = 8, CG_AMX_ROWS = 16, CG_AMX_ROW_BYTES = 64 };

typedef struct CgAmxShape {
    int rows, bytes; // of a row; both 0: not used
} CgAmxShape;

// The thread's tiles get these sizes, and hold zeros. t: of x, u8 or bf16. rows: 1 to 16, those of
// tiles whose rows are CG_AMX_SOME, or NULL.
enum { CG_AMX_SOME = -1 };
void cg_amx_begin(CgFn *f, IrDtype t, const CgAmxShape shape[CG_AMX_TILES], CgVal rows);
void cg_amx_end(CgFn *f); // and hold nothing that the system would have to save
void cg_amx_zero(CgFn *f, int tile);
void cg_amx_load(CgFn *f, int tile, CgVal p, CgVal stride); // bytes from row to row
void cg_amx_store(CgFn *f, int tile, CgVal p, CgVal stride);
void cg_amx_dot(CgFn *f, IrDtype t, int sums, int x, int w); // three tiles

// A strip's sums on their way through the scratch, where those of two strips lie beside each other:
// rows of one are finished between the products of the next, whose tiles need few of the
// instructions that a core issues. In slots:
typedef struct CgAmxPending {
    CgVal row, end; // from the row that is to be finished next to the last
    CgVal sums;     // which of the two are the strip's
} CgAmxPending;
CgAmxPending cg_amx_pending(CgFn *f); // none are
// The next `share` rows, or those that are left, are [*lo, *hi), and finished then.
void cg_amx_take(CgFn *f, const CgAmxPending *p, int64_t share, CgVal *lo, CgVal *hi);
void cg_amx_leave(CgFn *f, const CgAmxPending *p, CgVal row, CgVal end, CgVal sums);

// Two tiles of rows by two vectors of columns, and their operands: all eight tiles, by number.
enum { CG_AMX_PAIR = 2, CG_AMX_STRIP = CG_AMX_PAIR * CG_AMX_ROWS };
static inline int cg_amx_sum_tile(int i, int v) {
    return i * CG_AMX_PAIR + v;
}
static inline int cg_amx_row_tile(int i) {
    return CG_AMX_PAIR * CG_AMX_PAIR + i;
}
static inline int cg_amx_column_tile(int v) {
    return CG_AMX_PAIR * CG_AMX_PAIR + CG_AMX_PAIR + v;
}
// Tiles for products of so many rows and pieces of so many words, until cg_amx_end(). some: the
// rows of each tile, where that is known at run time alone; or NULL.
void cg_amx_begin_product(CgFn *f, IrDtype t, int64_t rows, int64_t piece, CgVal some);
// Sums over n words, a multiple of `piece`: of up to CG_AMX_STRIP rows, row_step words apart, by
// one or two vectors of columns, `apart` words apart, whose words are `step` words apart. They go
// to `to`, to_step words from row to row, vectors side by side.
typedef struct CgAmxProduct {
    IrDtype type;
    int64_t rows, vectors, piece;
    CgVal n, left, right, to;
    int64_t row_step, apart, step, to_step;
} CgAmxProduct;
void cg_amx_multiply(CgFn *f, const CgAmxProduct *p);

#endif
