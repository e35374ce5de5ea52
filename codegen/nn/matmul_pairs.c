// matmul of two operands of bf16 that are not constant, as training multiplies them, on matrix
// tiles (codegen/build/amx.h): a thread copies what it reads of b, and of a for each strip of rows,
// into its scratch in the order of tiles, in words of two k, zeros behind the last. Blocks of b are
// those of matmul_blocks.h. Sums are f32, over all k of a piece at a time.
//
//   scratch  [row of the strip][columns of a panel], sums,
//            [row of the strip][word of the piece], of a,
//            [panel of the block][vector][word of the piece][lanes], of b
#include "codegen/build/amx.h"
#include "codegen/build/dot.h"
#include "codegen/nn/matmul_blocks.h"

enum { PIECE = 1024, PAIR = 2 }; // PIECE: k of one of several

// ---------------------------------------------------------------- lowering

bool cg_matmul_fits_pairs(const CgMatmul *s, const CgTarget *t, IrDim k) {
    bool pairs = s->dtype == IR_BF16 && s->b_dtype == IR_BF16 && s->own == IR_F32 && !s->zero;
    bool ends = s->bias || s->then.n > 0 || s->y_dtype != IR_F32;
    bool pieces = k.n || k.c > IR_MOST_PAIRS_K;
    return pairs && ir_has_tiles_of_bf16(&t->machine) && (k.n || k.c > 0) && !(pieces && ends);
}

static int64_t width(const CgMatmul *s) {
    return (int64_t)s->vectors * IR_BLOCK;
}

static int64_t words(const CgMatmul *s) {
    return s->piece / PAIR;
}

void cg_matmul_use_pairs(CgMatmul *s, const IrMachine *m) {
    enum { WHOLE = PAIR * CG_AMX_ROWS };
    bool pieces = s->k.n || s->k.c > IR_MOST_PAIRS_K;
    s->piece = pieces ? PIECE : (s->k.c + WHOLE - 1) / WHOLE * WHOLE;
    int64_t panels = s->nd.dim[0].size.c,
            fit = ir_budget(m, IR_L2_SUMS) / (width(s) * words(s) * 4);
    int64_t blocks = (panels + (fit < 1 ? 1 : fit) - 1) / (fit < 1 ? 1 : fit);
    s->panels = blocks < 1 ? 1 : (panels + blocks - 1) / blocks;
    s->rows = CG_AMX_STRIP;
}

// Words from row to row of a's copy: an odd number of lines, in different sets of L1.
static int64_t row_words(const CgMatmul *s) {
    return words(s) | CG_AMX_ROWS;
}

int64_t cg_matmul_pair_floats(const CgMatmul *s) {
    return CG_AMX_STRIP * (width(s) + row_words(s)) + s->panels * width(s) * words(s);
}

// ---------------------------------------------------------------- words of two k

// At most `all`, at least 0
static CgVal count_lanes(CgFn *f, CgVal left, int64_t all) {
    return cg_imin(f, cg_imax(f, left, cg_i64(f, 0)), cg_i64(f, all));
}

// Words up to the last of the piece that has a k, whole vectors of them
static CgVal all_words(CgFn *f, const CgMatmulBlock *d) {
    enum { WHOLE = PAIR * CG_AMX_ROWS };
    return cg_imulc(f, cg_idivc(f, cg_iaddc(f, d->size, WHOLE - 1), WHOLE), CG_AMX_ROWS);
}

static CgVal whole_words(CgFn *f, const CgMatmulBlock *d) { // words of two k
    return cg_idivc(f, d->size, PAIR);
}

// Numbers of two lines side by side, lane by lane
static CgVal zip(CgFn *f, CgVal low, CgVal high) {
    low = LLVMBuildZExt(f->b, low, f->ivec, "");
    high = LLVMBuildZExt(f->b, high, f->ivec, "");
    high = LLVMBuildShl(f->b, high, cg_int_like(high, 16), "");
    return LLVMBuildBitCast(f->b, LLVMBuildOr(f->b, low, high, ""), f->vec, "");
}

// k number k of the piece, `lanes` numbers that lie side by side from `line` on, zeros where the
// piece has no such k
static CgVal load_line(CgFn *f, const CgMatmulBlock *d, CgVal line, CgVal k, CgVal lanes) {
    CgVal there = cg_icmp(f, LLVMIntSLT, k, d->size);
    return cg_elem_load_n(f, IR_U16, line, cg_select(f, there, lanes, cg_i64(f, 0)));
}

// A word of each of `lanes` lanes, of k 2 word and the next, which lie `k_stride` apart from
// `first` on
static CgVal load_word(CgFn *f, const CgMatmulBlock *d, CgVal first, IrDim k_stride, CgVal word,
                       CgVal lanes) {
    CgVal line[PAIR];
    for (int i = 0; i < PAIR; i++) {
        CgVal k = cg_iaddc(f, cg_imulc(f, word, PAIR), i);
        CgVal at = cg_elem_at(f, IR_U16, first, cg_stride(f, k, k_stride));
        line[i] = load_line(f, d, at, k, lanes);
    }
    return zip(f, line[0], line[1]);
}

// Words [word, word + 16) of a run of k from `first` on
static CgVal load_run(CgFn *f, const CgMatmulBlock *d, CgVal first, CgVal word) {
    CgVal left = count_lanes(f, cg_isub(f, whole_words(f, d), word), f->lanes);
    return cg_load_n(f, cg_fat(f, first, word), left);
}

// Is there a k that makes half a word?
static bool may_be_odd(const CgMatmulBlock *d) {
    return d->whole->k.n || d->whole->k.c % PAIR;
}

static void begin_odd(CgFn *f, const CgMatmulBlock *d, CgIf *odd) {
    CgVal rest = cg_isub(f, d->size, cg_imulc(f, whole_words(f, d), PAIR));
    cg_if(f, odd, cg_icmp(f, LLVMIntNE, rest, cg_i64(f, 0)));
}

// ---------------------------------------------------------------- the copy of b

static CgVal copied(CgFn *f, const CgMatmulBlock *d, CgVal panel, int v, CgVal word) {
    CgVal vector = cg_iaddc(f, cg_imulc(f, panel, d->s.vectors), v);
    CgVal at = cg_iadd(f, cg_imulc(f, vector, words(&d->s)), word);
    return cg_fat(f, d->b, cg_imulc(f, at, f->lanes));
}

// b at the piece's first k, column c
static CgVal column_at(CgFn *f, const CgMatmulBlock *d, CgVal c) {
    CgVal at = cg_iadd(f, d->off[CG_MATMUL_B], cg_stride(f, d->k, d->whole->b_k));
    at = cg_iadd(f, at, cg_stride(f, c, d->s.col[CG_MATMUL_B]));
    return cg_elem_at(f, IR_U16, f->arg[CG_MATMUL_B], at);
}

// A vector whose columns lie side by side
static void zip_vector(CgFn *f, const CgMatmulBlock *d, CgVal panel, int v, CgVal c) {
    CgVal lanes = count_lanes(f, cg_isub(f, cg_i64(f, d->s.columns), c), f->lanes);
    CgVal first = column_at(f, d, c);
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), all_words(f, d), 1);
    CgVal x = load_word(f, d, first, d->whole->b_k, loop.iv, lanes);
    cg_store_v(f, x, copied(f, d, panel, v, loop.iv));
    cg_end(f, &loop);
}

// One whose columns are runs of k; those that b has not are its last.
static void transpose_vector(CgFn *f, const CgMatmulBlock *d, CgVal panel, int v, CgVal c) {
    CgVal first[64], row[64], last = cg_i64(f, d->s.columns - 1);
    CgLoop loop;
    CgIf odd;
    for (int i = 0; i < f->lanes; i++)
        first[i] = column_at(f, d, cg_imin(f, cg_iaddc(f, c, i), last));
    cg_for(f, &loop, cg_i64(f, 0), all_words(f, d), f->lanes);
    for (int i = 0; i < f->lanes; i++)
        row[i] = load_run(f, d, first[i], loop.iv);
    cg_transpose_lanes(f, row);
    for (int i = 0; i < f->lanes; i++)
        cg_store_v(f, row[i], copied(f, d, panel, v, cg_iaddc(f, loop.iv, i)));
    cg_end(f, &loop);
    if (!may_be_odd(d))
        return;
    begin_odd(f, d, &odd);
    CgVal word = whole_words(f, d), x = LLVMConstNull(f->ivec);
    for (int i = 0; i < f->lanes; i++) {
        CgVal k = cg_elem_at(f, IR_U16, first[i], cg_imulc(f, word, PAIR));
        CgVal one = LLVMBuildZExt(f->b, cg_load(f, cg_dtype(f, IR_U16), k, 2), f->i32, "");
        x = LLVMBuildInsertElement(f->b, x, one, cg_i32(f, i), "");
    }
    cg_store(f, x, copied(f, d, panel, v, word), 4);
    cg_endif(f, &odd);
}

static void copy_block(CgFn *f, const CgMatmulBlock *d) {
    CgLoop panel;
    cg_for(f, &panel, cg_i64(f, 0), d->panels, 1);
    for (int v = 0; v < d->s.vectors; v++) {
        CgVal first = cg_imulc(f, cg_iadd(f, d->panel, panel.iv), width(&d->s));
        CgVal c = cg_iaddc(f, first, (int64_t)v * f->lanes);
        if (ir_dim_is(d->s.col[CG_MATMUL_B], 1))
            zip_vector(f, d, panel.iv, v, c);
        else
            transpose_vector(f, d, panel.iv, v, c);
    }
    cg_end(f, &panel);
}

// ---------------------------------------------------------------- the copy of a

// a at the piece's first k, row `row`
static CgVal row_at(CgFn *f, const CgMatmulBlock *d, CgVal row) {
    const CgNd *nd = &d->s.nd;
    CgVal at = cg_iadd(f, d->off[CG_MATMUL_A], cg_stride(f, d->k, d->whole->a_k));
    at = cg_iadd(f, at, cg_stride(f, row, nd->dim[nd->rank - 1].stride[CG_MATMUL_A]));
    return cg_elem_at(f, IR_U16, f->arg[CG_MATMUL_A], at);
}

// Rows that are runs of k; those that there are not are the last.
static void copy_rows(CgFn *f, const CgMatmulBlock *d, CgVal row, CgVal left) {
    CgLoop i, loop;
    CgIf odd;
    cg_for(f, &i, cg_i64(f, 0), cg_i64(f, CG_AMX_STRIP), 1);
    CgVal from = row_at(f, d, cg_iadd(f, row, cg_imin(f, i.iv, cg_iaddc(f, left, -1))));
    CgVal to = cg_fat(f, d->a, cg_imulc(f, i.iv, row_words(&d->s)));
    cg_for(f, &loop, cg_i64(f, 0), all_words(f, d), f->lanes);
    cg_store_v(f, load_run(f, d, from, loop.iv), cg_fat(f, to, loop.iv));
    cg_end(f, &loop);
    if (may_be_odd(d)) {
        begin_odd(f, d, &odd);
        CgVal word = whole_words(f, d);
        CgVal k = cg_elem_at(f, IR_U16, from, cg_imulc(f, word, PAIR));
        CgVal one = LLVMBuildZExt(f->b, cg_load(f, cg_dtype(f, IR_U16), k, 2), f->i32, "");
        cg_store(f, one, cg_fat(f, to, word), 4);
        cg_endif(f, &odd);
    }
    cg_end(f, &i);
}

// Rows that lie side by side: words of as many k as there are lanes, turned
static void transpose_rows(CgFn *f, const CgMatmulBlock *d, CgVal row, CgVal left) {
    CgVal word[64];
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), all_words(f, d), f->lanes);
    for (int64_t r = 0; r < CG_AMX_STRIP; r += f->lanes) {
        CgVal lanes = count_lanes(f, cg_iaddc(f, left, -r), f->lanes);
        CgVal first = row_at(f, d, cg_iaddc(f, row, r));
        for (int i = 0; i < f->lanes; i++)
            word[i] = load_word(f, d, first, d->whole->a_k, cg_iaddc(f, loop.iv, i), lanes);
        cg_transpose_lanes(f, word);
        for (int i = 0; i < f->lanes; i++)
            cg_store_v(f, word[i],
                       cg_fat(f, cg_fatc(f, d->a, (r + i) * row_words(&d->s)), loop.iv));
    }
    cg_end(f, &loop);
}

// ---------------------------------------------------------------- strips

// Sums of the strip's vector t->v, at row t->row: y keeps those of the pieces before.
static void finish_vector(CgFn *f, const CgMatmulBlock *d, CgMatmulTile *t, CgVal sum) {
    if (!cg_matmul_in_pieces(d->whole)) {
        cg_matmul_finish(f, t, sum);
        return;
    }
    CgVal first = cg_icmp(f, LLVMIntEQ, d->k, cg_i64(f, 0)), y = cg_matmul_result(f, t);
    CgVal before = cg_load_n(f, y, t->count[t->v]);
    cg_store_n(f, cg_select(f, first, sum, cg_fadd(f, before, sum)), y, t->count[t->v]);
}

// Panel `panel` of the block: `left` rows from `row` on, a strip at most
static void emit_panel(CgFn *f, CgMatmulBlock *d, CgVal panel, CgVal row, CgVal left) {
    CgVal off[CG_ND_OPERANDS];
    CgLoop loop;
    for (int k = 0; k < d->s.nd.n; k++) {
        CgVal at = cg_stride(f, cg_iadd(f, d->panel, panel), d->s.nd.dim[0].stride[k]);
        off[k] = cg_iadd(f, d->off[k], at);
    }
    CgMatmulTile t = cg_matmul_tile(f, &d->s, off);
    CgAmxProduct p = {.type = IR_BF16,
                      .rows = CG_AMX_STRIP,
                      .piece = CG_AMX_ROWS,
                      .n = all_words(f, d),
                      .left = d->a,
                      .row_step = row_words(&d->s),
                      .apart = words(&d->s) * f->lanes,
                      .step = f->lanes,
                      .to_step = width(&d->s)};
    for (int v = 0; v < d->s.vectors; v += CG_AMX_PAIR) {
        p.vectors = d->s.vectors - v < CG_AMX_PAIR ? d->s.vectors - v : CG_AMX_PAIR;
        p.right = copied(f, d, panel, v, cg_i64(f, 0));
        p.to = cg_fatc(f, f->scratch, (int64_t)v * f->lanes);
        cg_amx_multiply(f, &p);
    }
    cg_for(f, &loop, cg_i64(f, 0), left, 1);
    t.row = cg_iadd(f, row, loop.iv);
    CgVal sums = cg_fat(f, f->scratch, cg_imulc(f, loop.iv, width(&d->s)));
    for (t.v = 0; t.v < d->s.vectors; t.v++)
        finish_vector(f, d, &t, cg_load_v(f, cg_fatc(f, sums, (int64_t)t.v * f->lanes)));
    cg_end(f, &loop);
}

static void emit_piece(CgFn *f, CgMatmulBlock *d, CgVal len) {
    const CgNd *nd = &d->s.nd;
    CgLoop row, panel;
    copy_block(f, d);
    cg_for(f, &row, cg_i64(f, 0), len, CG_AMX_STRIP);
    CgVal left = cg_imin(f, cg_isub(f, len, row.iv), cg_i64(f, CG_AMX_STRIP));
    if (ir_dim_is(d->whole->a_k, 1))
        copy_rows(f, d, row.iv, left);
    else if (ir_dim_is(nd->dim[nd->rank - 1].stride[CG_MATMUL_A], 1))
        transpose_rows(f, d, row.iv, left);
    cg_for(f, &panel, cg_i64(f, 0), d->panels, 1);
    emit_panel(f, d, panel.iv, row.iv, left);
    cg_end(f, &panel);
    cg_end(f, &row);
}

void cg_matmul_emit_pairs(CgFn *f, const void *spec) {
    const CgMatmul *s = spec;
    CgMatmulBlock d = {.s = *s, .whole = s, .piece = emit_piece};
    d.a = cg_fatc(f, f->scratch, CG_AMX_STRIP * width(s));
    d.b = cg_fatc(f, d.a, CG_AMX_STRIP * row_words(s));
    cg_amx_begin_product(f, IR_BF16, CG_AMX_STRIP, CG_AMX_ROWS, NULL);
    cg_matmul_for_blocks(f, &d);
    cg_amx_end(f);
}
