// matmul on matrix tiles (codegen/build/amx.h): a's rows are rows of tiles where they lie, b is
// packed in the order of tiles anyway (matmul_pack.c).
//
// A strip is two tiles of 16 rows by two vectors of the panel; the rows left over, fewer than 32,
// are a tile or two by two vectors, the last of which has rows again that are done: they are read
// and multiplied, and nobody reads their sums. Where there are fewer than 16 rows at all, tiles are
// of as many, and configured with them. K is cut into equal pieces of whole words. A row's sums
// depend on K alone: not on the number of rows, nor on the threads. They pass through the scratch
// on their way to the epilogue, which is pipelined (CgAmxPending).
#include "codegen/build/amx.h"
#include "codegen/nn/matmul_tile.h"

enum { TILES = CG_AMX_PAIR, VECTORS = CG_AMX_PAIR };
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

// There is a whole tile of rows, whatever the batch.
static bool fills_tiles(const CgMatmul *s) {
    IrDim rows = s->nd.dim[s->nd.rank - 1].size;
    return rows.c + rows.n >= CG_AMX_ROWS;
}

// Sums of two strips: [vector][row of the strip][lane] each
enum { STRIP_ROWS = TILES * CG_AMX_ROWS, SUMS = VECTORS * STRIP_ROWS * IR_BLOCK };

int64_t cg_matmul_floats_amx(void) {
    return 2 * SUMS;
}

// ---------------------------------------------------------------- a strip

// A strip is vectors [t->first, t->end) of the panel and `tiles` tiles, of whose rows [begin, end)
// are to be finished.
typedef struct Strip {
    CgMatmulTile *t;
    int tiles;
    CgVal begin, end;
} Strip;

// What of the last strip is not finished yet: where its operands and its first row are, in slots;
// its sums.
typedef struct Pending {
    CgVal off[CG_ND_OPERANDS], row;
    CgAmxPending sums;
    int first, vectors; // of the panel
} Pending;

typedef struct Run {
    CgFn *f;
    const CgMatmul *s;
    Pending last;
} Run;

// rows: of tiles that there are too few rows to fill; or NULL
static void configure(CgFn *f, const CgMatmul *s, CgVal rows) {
    cg_amx_begin_product(f, (IrDtype)s->dtype, rows ? CG_AMX_SOME : STRIP_ROWS, piece_words(s->k.c),
                         rows);
}

// ---------------------------------------------------------------- rows of the strip before

static CgVal sums_at(CgFn *f, CgVal sums, CgVal row, int v) {
    CgVal at = cg_iadd(f, cg_imulc(f, sums, SUMS), cg_imulc(f, row, f->lanes));
    return cg_fatc(f, cg_fat(f, f->scratch, at), (int64_t)v * STRIP_ROWS * f->lanes);
}

// The next `share` rows of what is pending
static void finish_rows(Run *r, int64_t share) {
    CgFn *f = r->f;
    const Pending *last = &r->last;
    IrDtype sum = cg_elem_sum((IrDtype)r->s->dtype);
    CgVal off[CG_ND_OPERANDS] = {NULL}, lo, hi;
    CgLoop loop;
    for (int k = 0; k < r->s->nd.n; k++)
        off[k] = cg_get(f, last->off[k]);
    CgMatmulTile t = cg_matmul_tile(f, r->s, off);
    CgVal row = cg_get(f, last->row), sums = cg_get(f, last->sums.sums);
    t.first = last->first;
    t.end = last->first + last->vectors;
    cg_amx_take(f, &last->sums, share, &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    t.row = cg_iadd(f, row, loop.iv);
    for (t.v = t.first; t.v < t.end; t.v++)
        cg_matmul_finish(f, &t,
                         cg_elem_load_n(f, sum, sums_at(f, sums, loop.iv, t.v - t.first), NULL));
    cg_end(f, &loop);
}

// The strip's sums become those that are pending.
static void leave_pending(Run *r, const Strip *strip) {
    CgFn *f = r->f;
    const CgMatmulTile *t = strip->t;
    Pending *last = &r->last;
    CgVal sums = cg_isub(f, cg_i64(f, 1), cg_get(f, last->sums.sums));
    last->first = t->first;
    last->vectors = t->end - t->first;
    for (int i = 0; i < strip->tiles; i++)
        for (int v = 0; v < last->vectors; v++)
            cg_amx_store(f, cg_amx_sum_tile(i, v), sums_at(f, sums, cg_i64(f, i * CG_AMX_ROWS), v),
                         cg_i64(f, CG_AMX_ROW_BYTES));
    for (int k = 0; k < r->s->nd.n; k++)
        cg_set(f, last->off[k], t->off[k]);
    cg_set(f, last->row, t->row);
    cg_amx_leave(f, &last->sums, strip->begin, strip->end, sums);
}

static void begin_pending(Run *r) {
    CgFn *f = r->f;
    CgVal zero = cg_i64(f, 0);
    r->last.row = cg_slot_of(f, zero);
    r->last.sums = cg_amx_pending(f);
    for (int k = 0; k < r->s->nd.n; k++)
        r->last.off[k] = cg_slot_of(f, zero);
}

// ---------------------------------------------------------------- a strip

// The next panel on its way into the second level cache, as in matmul_panels.c: strips of one
// image's rows ask for all of it, as many lines with each piece.
typedef struct Ahead {
    int64_t lines;  // with a piece; 0: nothing is asked for
    CgVal at, step; // of the strip's first, elements from piece to piece
} Ahead;

static Ahead begin_ahead(CgFn *f, const CgMatmulTile *t) {
    const CgMatmul *s = t->spec;
    int64_t words = piece_words(s->k.c), pieces = s->k.c / words;
    int64_t halves = (s->vectors + VECTORS - 1) / VECTORS;
    int64_t rows = ir_dim_at(s->nd.dim[s->nd.rank - 1].size, 1);
    int64_t strips = (rows + STRIP_ROWS - 1) / STRIP_ROWS * halves;
    if (!s->ahead)
        return (Ahead){0, NULL, NULL};
    int64_t lines = (words * s->vectors + strips - 1) / strips;
    lines = lines < words ? lines : words;
    CgVal row = cg_iaddc(f, cg_iadd(f, t->off[CG_MATMUL_ROW], t->row), STRIP_ROWS - 1);
    CgVal strip = cg_idivc(f, row, STRIP_ROWS);
    strip = cg_iaddc(f, cg_imulc(f, strip, halves), t->first / VECTORS);
    CgVal line = cg_imulc(f, strip, pieces * lines), zero = cg_i64(f, 0);
    CgVal left = cg_icmp(f, LLVMIntSLT, line, cg_i64(f, s->k.c * s->vectors));
    CgVal next = cg_iadd(f, t->off[CG_MATMUL_B], cg_dim(f, s->nd.dim[0].stride[CG_MATMUL_B]));
    next = cg_iadd(f, next, cg_imulc(f, cg_select(f, left, line, zero), f->lanes));
    return (Ahead){lines, cg_fat(f, f->arg[CG_MATMUL_B], next),
                   cg_select(f, left, cg_i64(f, lines * f->lanes), zero)};
}

static void ask_ahead(CgFn *f, const Ahead *ahead, CgVal piece) {
    CgVal at = ahead->lines ? cg_fat(f, ahead->at, cg_imul(f, piece, ahead->step)) : NULL;
    for (int64_t i = 0; i < ahead->lines; i++)
        cg_prefetch(f, cg_fatc(f, at, i * f->lanes), 2);
}

static void emit_products(Run *r, const Strip *strip) {
    CgFn *f = r->f;
    const CgMatmulTile *t = strip->t;
    const CgMatmul *s = t->spec;
    IrDtype type = (IrDtype)s->dtype;
    int64_t words = piece_words(s->k.c), pieces = s->k.c / words;
    int64_t share = (STRIP_ROWS + pieces - 1) / pieces; // rows that are finished with a piece
    CgVal a[TILES], b = cg_fat(f, f->arg[CG_MATMUL_B], t->off[CG_MATMUL_B]);
    CgVal line = cg_i64(f, CG_AMX_ROW_BYTES), step;
    Ahead ahead = begin_ahead(f, t);
    CgLoop loop;
    step = cg_stride(f, cg_i64(f, ir_dtype_bytes(type)),
                     s->nd.dim[s->nd.rank - 1].stride[CG_MATMUL_A]);
    for (int i = 0; i < strip->tiles; i++) {
        a[i] = cg_matmul_row(f, t, type, CG_MATMUL_A, CG_MATMUL_A, i * CG_AMX_ROWS);
        for (int v = t->first; v < t->end; v++)
            cg_amx_zero(f, cg_amx_sum_tile(i, v - t->first));
    }
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, pieces), 1);
    CgVal word = cg_imulc(f, loop.iv, words);
    ask_ahead(f, &ahead, loop.iv);
    for (int v = t->first; v < t->end; v++) {
        CgVal at = cg_fat(f, b, cg_imulc(f, cg_iaddc(f, word, v * s->k.c), f->lanes));
        cg_amx_load(f, cg_amx_column_tile(v - t->first), at, line);
    }
    for (int i = 0; i < strip->tiles; i++) {
        cg_amx_load(f, cg_amx_row_tile(i), cg_fat(f, a[i], word), step);
        for (int v = 0; v < t->end - t->first; v++)
            cg_amx_dot(f, type, cg_amx_sum_tile(i, v), cg_amx_row_tile(i), cg_amx_column_tile(v));
    }
    finish_rows(r, share);
    cg_end(f, &loop);
}

static void emit_panel(Run *r, Strip *strip) {
    CgMatmulTile *t = strip->t;
    int vectors = t->spec->vectors;
    for (t->first = 0; t->first < vectors; t->first = t->end) {
        t->end = t->first + VECTORS < vectors ? t->first + VECTORS : vectors;
        emit_products(r, strip);
        leave_pending(r, strip);
    }
}

// ---------------------------------------------------------------- rows of one panel

// The rest of a panel's rows from `row` on, a tile of `left`, or fewer than those there are
static void emit_rest(Run *r, Strip *strip, CgVal row, CgVal left) {
    CgFn *f = r->f;
    CgVal rows = cg_imin(f, left, cg_i64(f, CG_AMX_ROWS));
    bool full = fills_tiles(r->s);
    strip->begin = full ? cg_isub(f, cg_i64(f, CG_AMX_ROWS), rows) : cg_i64(f, 0);
    strip->end = full ? cg_i64(f, CG_AMX_ROWS) : rows;
    strip->t->row = cg_isub(f, row, strip->begin);
    if (!full)
        configure(f, r->s, rows);
    emit_panel(r, strip);
}

static void emit_rows(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    Run *r = ctx;
    CgVal zero = cg_i64(f, 0), main = zero;
    CgMatmulTile t = cg_matmul_tile(f, r->s, off);
    Strip strip = {&t, TILES, zero, cg_i64(f, STRIP_ROWS)};
    CgLoop loop;
    if (fills_tiles(r->s)) {
        main = cg_imulc(f, cg_idivc(f, len, STRIP_ROWS), STRIP_ROWS);
        cg_for(f, &loop, zero, main, STRIP_ROWS);
        t.row = loop.iv;
        emit_panel(r, &strip);
        cg_end(f, &loop);
    }
    strip.tiles = 1;
    cg_for(f, &loop, main, len, CG_AMX_ROWS);
    emit_rest(r, &strip, loop.iv, cg_isub(f, len, loop.iv));
    cg_end(f, &loop);
}

void cg_matmul_emit_amx(CgFn *f, const void *spec) {
    const CgMatmul *s = spec;
    int vectors = s->vectors % VECTORS ? s->vectors % VECTORS : VECTORS;
    Run r = {.f = f, .s = s, .last = {.first = s->vectors - vectors, .vectors = vectors}};
    begin_pending(&r);
    if (fills_tiles(s))
        configure(f, s, NULL);
    cg_nd_for(f, &s->nd, 1, STRIP_ROWS, emit_rows, &r);
    cg_amx_end(f);
    finish_rows(&r, STRIP_ROWS);
}
