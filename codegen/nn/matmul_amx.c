// matmul on matrix tiles (codegen/build/amx.h): a's rows are rows of tiles where they lie, b is
// packed in the order of tiles anyway (matmul_pack.c).
//
// A strip is two tiles of 16 rows by two vectors of the panel; the rows left over, fewer than 32,
// are a tile or two of as many rows by two vectors, for which tiles are configured anew. K is cut
// into equal pieces of whole words. A row's sums depend on K alone: not on the number of rows, nor
// on the threads. They pass through the scratch on their way to the epilogue.
#include "codegen/build/amx.h"
#include "codegen/nn/matmul_tile.h"

enum { TILES = 2, VECTORS = 2, WORD = 4, SUM_WORDS = CG_AMX_ROWS * IR_BLOCK };
enum { FEWEST_WORDS = 8, FEWEST_ROWS = 8 };

// Words of a piece; 0: there are no equal ones of a size that pays.
static int64_t piece_words(int64_t words) {
    for (int64_t n = CG_AMX_ROWS; n >= FEWEST_WORDS; n--) {
        if (words % n == 0) {
            return n;
        }
    }
    return 0;
}

bool cg_matmul_fits_amx(const CgMatmul *s, const IrMachine *m) {
    IrDim rows = s->nd.dim[s->nd.rank - 1].size;
    bool has = s->dtype == IR_BF16 ? m->dot_bf16 & IR_DOT_BF16_AMX
                                   : s->dtype == IR_U8 && m->dot_i8 & IR_DOT_I8_AMX;
    return has && s->packed && !s->mean.blocks && s->k.n == 0 && piece_words(s->k.c) &&
           (rows.n ? rows.n : rows.c) >= FEWEST_ROWS;
}

int64_t cg_matmul_floats_amx(void) {
    return TILES * VECTORS * SUM_WORDS;
}

// ---------------------------------------------------------------- a strip

// Of `tiles` tiles of `rows` rows each and vectors [t->first, t->end) of the panel; rows: a number
// that is known, or CG_AMX_SOME.
typedef struct Strip {
    CgMatmulTile *t;
    int tiles;
    CgVal rows;
} Strip;

static int sum_tile(int i, int v) {
    return i * VECTORS + v;
}
static int row_tile(int i) {
    return TILES * VECTORS + i;
}
static int column_tile(int v) {
    return TILES * VECTORS + TILES + v;
}

static void configure(CgFn *f, const CgMatmul *s, CgVal rows) {
    CgAmxShape shape[CG_AMX_TILES];
    int words = (int)piece_words(s->k.c), some = rows ? CG_AMX_SOME : CG_AMX_ROWS;
    for (int i = 0; i < TILES; i++) {
        shape[row_tile(i)] = (CgAmxShape){some, words * WORD};
        shape[column_tile(i)] = (CgAmxShape){words, CG_AMX_ROW_BYTES};
        for (int v = 0; v < VECTORS; v++) {
            shape[sum_tile(i, v)] = (CgAmxShape){some, CG_AMX_ROW_BYTES};
        }
    }
    cg_amx_begin(f, (IrDtype)s->dtype, shape, rows);
}

static void emit_products(CgFn *f, const Strip *strip) {
    const CgMatmulTile *t = strip->t;
    const CgMatmul *s = t->spec;
    IrDtype type = (IrDtype)s->dtype;
    int64_t words = piece_words(s->k.c);
    CgVal a[TILES], b = cg_fat(f, f->arg[CG_MATMUL_B], t->off[CG_MATMUL_B]);
    CgVal line = cg_i64(f, CG_AMX_ROW_BYTES), step;
    CgLoop loop;
    step = cg_stride(f, cg_i64(f, ir_dtype_bytes(type)),
                     s->nd.dim[s->nd.rank - 1].stride[CG_MATMUL_A]);
    for (int i = 0; i < strip->tiles; i++) {
        a[i] = cg_matmul_row(f, t, type, CG_MATMUL_A, CG_MATMUL_A, i * CG_AMX_ROWS);
        for (int v = t->first; v < t->end; v++) {
            cg_amx_zero(f, sum_tile(i, v - t->first));
        }
    }
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, s->k.c), words);
    for (int v = t->first; v < t->end; v++) {
        CgVal at = cg_fat(f, b, cg_imulc(f, cg_iaddc(f, loop.iv, v * s->k.c), f->lanes));
        cg_amx_load(f, column_tile(v - t->first), at, line);
    }
    for (int i = 0; i < strip->tiles; i++) {
        cg_amx_load(f, row_tile(i), cg_fat(f, a[i], loop.iv), step);
        for (int v = 0; v < t->end - t->first; v++) {
            cg_amx_dot(f, type, sum_tile(i, v), row_tile(i), column_tile(v));
        }
    }
    cg_end(f, &loop);
}

static CgVal sums_at(CgFn *f, int i, int v) {
    return cg_fatc(f, f->scratch, (int64_t)sum_tile(i, v) * SUM_WORDS);
}

static void emit_strip(CgFn *f, const Strip *strip) {
    CgMatmulTile *t = strip->t, row = *t;
    IrDtype sum = cg_elem_sum((IrDtype)t->spec->dtype);
    CgLoop loop;
    emit_products(f, strip);
    for (int i = 0; i < strip->tiles; i++) {
        for (int v = t->first; v < t->end; v++) {
            cg_amx_store(f, sum_tile(i, v - t->first), sums_at(f, i, v - t->first),
                         cg_i64(f, CG_AMX_ROW_BYTES));
        }
    }
    cg_for(f, &loop, cg_i64(f, 0), strip->rows, 1);
    row.i = 0;
    for (int i = 0; i < strip->tiles; i++) {
        row.row = cg_iadd(f, cg_iaddc(f, t->row, i * CG_AMX_ROWS), loop.iv);
        for (row.v = t->first; row.v < t->end; row.v++) {
            CgVal p = cg_elem_block(f, sum, sums_at(f, i, row.v - t->first), loop.iv);
            cg_matmul_finish(f, &row, cg_elem_load_n(f, sum, p, NULL));
        }
    }
    cg_end(f, &loop);
}

static void emit_panel(CgFn *f, Strip *strip) {
    CgMatmulTile *t = strip->t;
    int vectors = t->spec->vectors;
    for (t->first = 0; t->first < vectors; t->first = t->end) {
        t->end = t->first + VECTORS < vectors ? t->first + VECTORS : vectors;
        emit_strip(f, strip);
    }
}

// ---------------------------------------------------------------- rows of one panel

static void emit_rows(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    const CgMatmul *s = ctx;
    enum { STRIP = TILES * CG_AMX_ROWS };
    CgVal main = cg_imulc(f, cg_idivc(f, len, STRIP), STRIP);
    CgMatmulTile t = cg_matmul_tile(f, s, off);
    Strip strip = {.t = &t, .tiles = TILES, .rows = cg_i64(f, CG_AMX_ROWS)};
    CgLoop loop;
    CgIf some;
    cg_if(f, &some, cg_icmp(f, LLVMIntSGT, main, cg_i64(f, 0)));
    configure(f, s, NULL);
    cg_for(f, &loop, cg_i64(f, 0), main, STRIP);
    t.row = loop.iv;
    emit_panel(f, &strip);
    cg_end(f, &loop);
    cg_endif(f, &some);
    cg_for(f, &loop, main, len, CG_AMX_ROWS);
    strip.rows = cg_imin(f, cg_isub(f, len, loop.iv), cg_i64(f, CG_AMX_ROWS));
    strip.tiles = 1;
    t.row = loop.iv;
    configure(f, s, strip.rows);
    emit_panel(f, &strip);
    cg_end(f, &loop);
    cg_amx_end(f);
}

void cg_matmul_emit_amx(CgFn *f, const void *spec) {
    const CgMatmul *s = spec;
    cg_nd_for(f, &s->nd, 1, TILES * CG_AMX_ROWS, emit_rows, (void *)spec);
}
