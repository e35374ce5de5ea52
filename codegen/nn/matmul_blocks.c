// matmul of two operands that the compiler has not seen, as training multiplies them: a thread
// copies what it reads of b, and of an a whose rows lie side by side, into its scratch first, in
// the order in which tiles read it. Elsewhere each k of a tile is on a page of its own, and columns
// of a transposed b are gathered one by one.
//
// A block is several panels of b of `piece` k, a quarter of L2, and half of it where a is copied:
// each block copies a again, a part of a line at a time. A piece is all of k where that fits; else,
// or where N decides how many k there are, y keeps the sums of the pieces before. Where something
// follows the sums all of k is a piece. Short pieces make wide blocks: gradients of ViT's weights,
// 3,152 k, take .84 to .88 with 256 of what they take with 512 and a quarter of L2.
//
//   scratch  a tile's sums before its epilogue,
//            [k of the piece][row of the tile], where a is copied,
//            [panel of the block][vec][k of the piece][lanes]
//

#include "codegen/nn/matmul_blocks.h"

enum { PIECE = 256, FEWEST_ROWS = 32 };

// ---------------------------------------------------------------- lowering

static int64_t width(const CgMatmul *s) {
    return (int64_t)s->vectors * IR_BLOCK;
}

static bool gathers(const CgMatmul *s) {
    return !ir_dim_is(s->col[CG_MATMUL_B], 1);
}

static bool copies_rows(const CgMatmul *s) {
    return ir_dim_is(s->nd.dim[s->nd.rank - 1].stride[CG_MATMUL_A], 1) && !ir_dim_is(s->a_k, 1);
}

bool cg_matmul_use_blocks(CgMatmul *s, const IrMachine *m) {
    bool floats = s->dtype == IR_F32 && s->b_dtype == IR_F32 && s->own == IR_F32;
    bool ends = s->bias || s->then.n > 0 || s->y_dtype != IR_F32;
    int64_t line = width(s) * 4;
    int64_t most = ir_budget(m, copies_rows(s) ? IR_L2_IMAGE : IR_L2_SUMS) / line;
    int64_t panels = s->nd.dim[0].size.c;
    bool pieces = s->k.n || s->k.c > (ends ? ir_budget(m, IR_L2_MOST) / line : most);
    if (!floats || s->packed || s->mean.blocks || (pieces && ends) || (!s->k.n && s->k.c < 1) ||
        (!gathers(s) && ir_dim_at(s->nd.dim[s->nd.rank - 1].size, 1) < FEWEST_ROWS)) {
        return false;
    }
    s->piece = pieces ? PIECE : s->k.c;
    int64_t fit = most / s->piece < 1 ? 1 : most / s->piece, blocks = (panels + fit - 1) / fit;
    s->panels = (panels + blocks - 1) / blocks;
    return true;
}

static int64_t row_floats(const CgMatmul *s) { // a whole vector is stored for the last k
    return copies_rows(s) ? s->piece * s->rows + IR_BLOCK : 0;
}

int64_t cg_matmul_block_floats(const CgMatmul *s, int lanes) {
    return cg_matmul_totals(lanes) + row_floats(s) + s->panels * width(s) * s->piece;
}

// ---------------------------------------------------------------- copies of b

// Address of vector v of a panel of the copy, at k.
static CgVal copied(CgFn *f, const CgMatmulBlock *d, CgVal panel, int v, CgVal k) {
    CgVal vector = cg_iaddc(f, cg_imulc(f, panel, d->s.vectors), v);
    return cg_fat(f, d->b, cg_imulc(f, cg_iadd(f, cg_imulc(f, vector, d->s.piece), k), f->lanes));
}

static CgVal first_column(CgFn *f, const CgMatmulBlock *d, CgVal panel, int v) {
    CgVal vector = cg_imulc(f, cg_iadd(f, d->panel, panel), d->s.vectors);
    return cg_imulc(f, cg_iaddc(f, vector, v), f->lanes);
}

// Address of b at k of the piece, column c.
static CgVal source(CgFn *f, const CgMatmulBlock *d, CgVal k, CgVal c) {
    CgVal row = cg_stride(f, cg_iadd(f, d->k, k), d->whole->b_k);
    CgVal at = cg_iadd(f, row, cg_stride(f, c, d->s.col[CG_MATMUL_B]));
    return cg_fat(f, f->arg[CG_MATMUL_B], cg_iadd(f, d->off[CG_MATMUL_B], at));
}

// One k of a vector; columns that b has not are 0, or the last one's.
static void copy_vector(CgFn *f, const CgMatmulBlock *d, CgVal panel, int v, CgVal k) {
    CgVal c = first_column(f, d, panel, v), n = NULL;
    if (d->s.columns % width(&d->s) != 0) {
        CgVal left = cg_isub(f, cg_i64(f, d->s.columns), c);
        n = cg_imin(f, cg_imax(f, left, cg_i64(f, 0)), cg_i64(f, f->lanes));
    }
    if (gathers(&d->s) && n) {
        c = cg_imin(f, c, cg_i64(f, d->s.columns - 1));
        n = cg_imax(f, n, cg_i64(f, 1));
    }
    CgVal x = cg_load_strided(f, source(f, d, k, c), cg_dim(f, d->s.col[CG_MATMUL_B]), n);
    cg_store_v(f, x, copied(f, d, panel, v, k));
}

// k's [lo, size) one by one.
static void copy_lines(CgFn *f, const CgMatmulBlock *d, CgVal lo) {
    CgLoop k, panel;
    cg_for(f, &k, lo, d->size, 1);
    cg_for(f, &panel, cg_i64(f, 0), d->panels, 1);
    for (int v = 0; v < d->s.vectors; v++) {
        copy_vector(f, d, panel.iv, v, k.iv);
    }
    cg_end(f, &panel);
    cg_end(f, &k);
}

// k's [0, end) of a vector of a transposed b, as many at a time as there are lanes.
static void transpose_vector(CgFn *f, const CgMatmulBlock *d, CgVal panel, int v, CgVal end) {
    CgVal c = first_column(f, d, panel, v), row[64];
    CgLoop k;
    cg_for(f, &k, cg_i64(f, 0), end, f->lanes);
    for (int i = 0; i < f->lanes; i++) {
        CgVal column = cg_imin(f, cg_iaddc(f, c, i), cg_i64(f, d->s.columns - 1));
        row[i] = cg_load_v(f, source(f, d, k.iv, column));
    }
    cg_transpose_lanes(f, row);
    for (int i = 0; i < f->lanes; i++) {
        cg_store_v(f, row[i], copied(f, d, panel, v, cg_iaddc(f, k.iv, i)));
    }
    cg_end(f, &k);
}

static void copy_block(CgFn *f, const CgMatmulBlock *d) {
    CgLoop panel;
    CgVal main = cg_i64(f, 0);
    if (gathers(&d->s) && ir_dim_is(d->whole->b_k, 1)) {
        main = cg_imulc(f, cg_idivc(f, d->size, f->lanes), f->lanes);
        cg_for(f, &panel, cg_i64(f, 0), d->panels, 1);
        for (int v = 0; v < d->s.vectors; v++) {
            transpose_vector(f, d, panel.iv, v, main);
        }
        cg_end(f, &panel);
    }
    copy_lines(f, d, main);
}

// ---------------------------------------------------------------- tiles

// The tile's rows of a transposed a, [k][row]: a vector is stored for each k, of which the next one
// keeps what belongs to the tile.
static void copy_rows(CgFn *f, const CgMatmulBlock *d, const CgMatmulTile *t) {
    CgVal rows = t->last ? cg_iaddc(f, cg_isub(f, t->last, t->row), 1) : cg_i64(f, t->rows);
    CgVal from = cg_matmul_row(f, t, IR_F32, CG_MATMUL_A, CG_MATMUL_A, 0);
    CgLoop k;
    cg_for(f, &k, cg_i64(f, 0), d->size, 1);
    CgVal at = cg_fat(f, from, cg_stride(f, cg_iadd(f, d->k, k.iv), d->whole->a_k));
    cg_store_v(f, cg_load_n(f, at, rows), cg_fat(f, d->a, cg_imulc(f, k.iv, t->rows)));
    cg_end(f, &k);
}

// Address of each row at the piece's first k.
static void find_rows(CgFn *f, CgMatmulBlock *d, const CgMatmulTile *t, CgVal *a) {
    bool copies = copies_rows(d->whole);
    d->s.a_k = copies ? ir_dim(t->rows) : d->whole->a_k;
    if (copies) {
        copy_rows(f, d, t);
    }
    for (int i = 0; i < t->rows; i++) {
        CgVal row = cg_i64(f, i);
        row = t->last ? cg_imin(f, row, cg_isub(f, t->last, t->row)) : row;
        a[i] = copies ? cg_fat(f, d->a, row)
                      : cg_fat(f, cg_matmul_row(f, t, IR_F32, CG_MATMUL_A, CG_MATMUL_A, i),
                               cg_stride(f, d->k, d->s.a_k));
    }
}

// The sums of the pieces before are in y. A row may be there twice: all are read before one is
// stored.
static void add_piece(CgFn *f, const CgMatmulBlock *d, CgMatmulTile *t, CgVal *acc) {
    CgVal first = cg_icmp(f, LLVMIntEQ, d->k, cg_i64(f, 0)), *sum = acc;
    for (t->i = 0; t->i < t->rows; t->i++) {
        for (t->v = 0; t->v < t->end; t->v++, sum++) {
            CgVal before = cg_load_n(f, cg_matmul_result(f, t), t->count[t->v]);
            *sum = cg_select(f, first, *sum, cg_fadd(f, before, *sum));
        }
    }
    for (t->i = 0; t->i < t->rows; t->i++) {
        for (t->v = 0; t->v < t->end; t->v++) {
            cg_store_n(f, *acc++, cg_matmul_result(f, t), t->count[t->v]);
        }
    }
}

// Rows of all panels of the block.
static void emit_rows(void *ctx, CgFn *f, CgMatmulTile *rows) {
    CgMatmulBlock *d = ctx;
    CgVal a[CG_MATMUL_MOST_ROWS], acc[CG_MAX_CARRY], off[CG_ND_OPERANDS];
    const CgNd *nd = &d->s.nd;
    CgLoop panel;
    find_rows(f, d, rows, a);
    cg_for(f, &panel, cg_i64(f, 0), d->panels, 1);
    for (int k = 0; k < nd->n; k++) {
        CgVal at = cg_stride(f, cg_iadd(f, d->panel, panel.iv), nd->dim[0].stride[k]);
        off[k] = cg_iadd(f, d->off[k], at);
    }
    CgMatmulTile t = cg_matmul_tile(f, &d->s, off);
    t.row = rows->row;
    t.rows = rows->rows;
    t.last = rows->last;
    t.end = d->s.vectors;
    CgVal b = copied(f, d, panel.iv, 0, cg_i64(f, 0));
    cg_matmul_emit_run(f, &t, a, b, cg_i64(f, 0), d->size, t.rows * t.end, acc);
    if (cg_matmul_in_pieces(d->whole)) {
        add_piece(f, d, &t, acc);
    } else {
        cg_matmul_finish_tile(f, &t, acc, f->scratch);
    }
    cg_end(f, &panel);
}

// `len` rows from d->off on: a piece.
static void emit_piece(CgFn *f, CgMatmulBlock *d, CgVal len) {
    CgMatmulTile t = cg_matmul_tile(f, &d->s, d->off);
    copy_block(f, d);
    cg_matmul_for_rows(f, &t, len, emit_rows, d);
}

void cg_matmul_emit_blocks(CgFn *f, const void *spec) {
    const CgMatmul *s = spec;
    CgMatmulBlock d = {.s = *s, .whole = s, .piece = emit_piece};
    d.s.packed = 1;
    d.s.b_k = ir_dim(IR_BLOCK);
    d.s.k = ir_dim(s->piece);
    d.a = cg_fatc(f, f->scratch, cg_matmul_totals(f->lanes));
    d.b = cg_fatc(f, d.a, row_floats(s));
    cg_matmul_for_blocks(f, &d);
}
