// matmul in panels: columns go in panels of W = vectors * lanes, rows in register tiles of up to
// CG_MATMUL_ROWS, over the whole reduction. A constant b is packed at compile time (matmul_pack.c),
// whatever W is, so that a thread streams its own panels once: at batch 1 the product runs at the
// speed of memory. Other operands are read where they are, by strides. Of u8 by constant s8 a word
// of 4 products takes the place of an f32, and sums are i32; of bf16 by constant bf16 a word of 2;
// else the kernel is the same.
#include "codegen/build/dot.h"
#include "codegen/build/eltwise.h"
#include "codegen/nn/matmul_tile.h"

int64_t cg_matmul_totals(int lanes) {
    return (int64_t)CG_MATMUL_TALL_ROWS * CG_MATMUL_VECTORS * lanes;
}

CgVal cg_matmul_list_count(CgFn *f, const CgMatmul *s, CgVal list, CgVal lo) {
    return cg_at(f, f->i32, list, cg_iaddc(f, cg_idivc(f, lo, CG_MATMUL_RUN), s->k.c));
}

// ---------------------------------------------------------------- a tile

CgVal cg_matmul_row(CgFn *f, const CgMatmulTile *t, IrDtype type, int operand, int arg, int i) {
    const CgNd *nd = &t->spec->nd;
    CgVal row = cg_iaddc(f, t->row, i);
    row = t->last ? cg_imin(f, row, t->last) : row;
    CgVal r = cg_stride(f, row, nd->dim[nd->rank - 1].stride[operand]);
    CgVal base = f->arg[arg];
    if (operand == CG_MATMUL_A && t->spec->mean.blocks) {
        base = cg_fatc(f, f->scratch, cg_matmul_totals(f->lanes));
    }
    return cg_elem_at(f, type, base, cg_iadd(f, t->off[operand], r));
}

// Operand at row i, vector v of the panel, for the epilogue.
static CgVal load_extra(CgFn *f, const CgMatmulTile *t, IrDtype type, int operand, int arg) {
    const CgMatmul *s = t->spec;
    CgVal first = cg_iaddc(f, t->off[CG_MATMUL_COLUMN], (int64_t)t->v * f->lanes);
    CgVal p = cg_matmul_row(f, t, type, operand, arg, t->i);
    p = cg_elem_at(f, type, p, cg_stride(f, first, s->col[operand]));
    return cg_elem_load_strided(f, type, p, cg_dim(f, s->col[operand]), t->count[t->v]);
}

static CgVal load_then(void *ctx, CgFn *f, int k) {
    const CgMatmulTile *t = ctx;
    int first = CG_MATMUL_EXTRA + t->spec->bias;
    IrDtype type = (IrDtype)t->spec->then.in[k].dtype;
    return load_extra(f, t, type, first + k, CG_MATMUL_ARG(first + k));
}

static CgVal load_b(CgFn *f, const CgMatmulTile *t, CgVal p, int v) {
    const CgMatmul *s = t->spec;
    CgVal at = cg_i64(f, (int64_t)v * f->lanes), n = t->count[v];
    if (s->packed)
        return cg_load(f, cg_dot_words(f, (IrDtype)s->dtype), cg_fatc(f, p, v * s->k.c * f->lanes),
                       4);
    if (n && !ir_dim_is(s->col[CG_MATMUL_B],
                        1)) { // elements: even a vector behind the columns reads one
        at = cg_imin(f, at, cg_isub(f, cg_i64(f, s->columns - 1), t->off[CG_MATMUL_COLUMN]));
        n = cg_imax(f, n, cg_i64(f, 1));
    }
    return cg_load_strided(f, cg_fat(f, p, cg_stride(f, at, s->col[CG_MATMUL_B])),
                           cg_dim(f, s->col[CG_MATMUL_B]), n);
}

bool cg_matmul_is_long(const CgMatmul *s) {
    return s->dtype != IR_U8 && s->k.n == 0 && s->k.c > 2 * CG_MATMUL_RUN;
}

// `step`: k's among those whose words of a are in rows[], which are loaded with the first; NULL:
// each by itself.
static void emit_products(CgFn *f, const CgMatmulTile *t, const CgVal *a, CgVal b, CgVal k,
                          CgDot *rows, int step, CgVal *acc) {
    const CgMatmul *s = t->spec;
    IrDtype type = (IrDtype)s->dtype;
    CgVal pb = cg_fat(f, b, cg_stride(f, k, s->b_k));
    CgDot w[CG_MATMUL_VECTORS];
    for (int v = t->first; v < t->end; v++) {
        w[v] = cg_dot_w(f, type, load_b(f, t, pb, v));
    }
    for (int i = 0; i < t->rows; i++) {
        CgVal p = cg_fat(f, a[i], cg_stride(f, k, s->a_k));
        CgDot x = cg_dot_step_x(f, type, rows ? &rows[i] : NULL, step, p);
        for (int v = t->first; v < t->end; v++, acc++) {
            *acc = cg_dot(f, type, x, w[v], *acc);
        }
    }
}

// The next panel on its way into the second level cache: each tile fetches a line of it for every
// two k, until all of it is there. The memory's time goes by during products with this panel.
static void begin_ahead(CgFn *f, CgMatmulTile *t) {
    const CgMatmul *s = t->spec;
    if (!s->ahead) {
        return;
    }
    int passes = (s->vectors + s->pass - 1) / s->pass;
    CgVal row = cg_iadd(f, t->off[CG_MATMUL_ROW], t->row);
    CgVal tile = cg_iaddc(f, cg_imulc(f, cg_idivc(f, row, s->rows), passes), t->first / s->pass);
    CgVal line = cg_imulc(f, tile, s->k.c / 2), zero = cg_i64(f, 0);
    CgVal left = cg_icmp(f, LLVMIntSLT, line, cg_i64(f, s->k.c * s->vectors));
    CgVal next = cg_iadd(f, t->off[CG_MATMUL_B], cg_dim(f, s->nd.dim[0].stride[CG_MATMUL_B]));
    line = cg_imulc(f, cg_select(f, left, line, zero), f->lanes);
    t->ahead = cg_fat(f, f->arg[CG_MATMUL_B], cg_iadd(f, next, line));
    t->ahead_step = cg_select(f, left, cg_i64(f, f->lanes / 2), zero);
}

void cg_matmul_emit_run(CgFn *f, const CgMatmulTile *t, const CgVal *a, CgVal b, CgVal lo, CgVal hi,
                        int n, CgVal *acc) {
    CgDot rows[CG_MATMUL_MOST_ROWS];
    int unroll = t->rows <= 2 ? 4 : 2;
    bool by_row = ir_dim_is(t->spec->a_k, 1) && cg_dot_by_row(f, (IrDtype)t->spec->dtype, 4);
    unroll = by_row ? 4 : unroll;
    CgVal size = cg_isub(f, hi, lo);
    CgVal main = cg_iadd(f, lo, cg_imulc(f, cg_idivc(f, size, unroll), unroll));
    CgLoop loop;
    for (int i = 0; i < n; i++) {
        acc[i] = cg_elem_splat(f, (IrDtype)t->spec->own, 0);
    }
    cg_for_carry(f, &loop, lo, main, unroll, n, acc);
    if (t->ahead) {
        cg_prefetch(f, cg_fat(f, t->ahead, cg_imul(f, loop.iv, t->ahead_step)), 2);
    }
    for (int u = 0; u < unroll; u++) {
        if (by_row) {
            cg_fence(f);
        }
        emit_products(f, t, a, b, cg_iaddc(f, loop.iv, u), by_row ? rows : NULL, u, acc);
    }
    cg_end_carry(f, &loop, acc);
    cg_for_carry(f, &loop, main, hi, 1, n, acc);
    emit_products(f, t, a, b, loop.iv, NULL, 0, acc);
    cg_end_carry(f, &loop, acc);
}

// The same of the places that are listed (matmul_nonzero.c) alone, in [lo, lo + CG_MATMUL_RUN) or,
// where sums are not long, in all of k.
static void emit_listed_run(CgFn *f, const CgMatmulTile *t, const CgVal *a, CgVal b, CgVal lo,
                            int n, CgVal *acc) {
    CgVal places = cg_at(f, f->i32, t->list, lo);
    CgLoop loop;
    for (int i = 0; i < n; i++) {
        acc[i] = cg_v(f, 0);
    }
    CgVal count = cg_load(f, f->i32, cg_matmul_list_count(f, t->spec, t->list, lo), 4);
    count = LLVMBuildZExt(f->b, count, f->i64, "");
    cg_for_carry(f, &loop, cg_i64(f, 0), count, 1, n, acc);
    CgVal k = cg_elem_load(f, IR_I32, places, loop.iv);
    emit_products(f, t, a, b, LLVMBuildZExt(f->b, k, f->i64, ""), NULL, 0, acc);
    cg_end_carry(f, &loop, acc);
}

static void emit_run(CgFn *f, const CgMatmulTile *t, const CgVal *a, CgVal b, CgVal lo, CgVal hi,
                     int n, CgVal *acc) {
    if (t->list)
        emit_listed_run(f, t, a, b, lo, n, acc);
    else
        cg_matmul_emit_run(f, t, a, b, lo, hi, n, acc);
}

// One order of additions whatever the number of rows: an image's result does not depend on its
// batch. Long sums are made of runs, whose totals are in the scratch: rounding errors grow with the
// length of a run and with the number of runs, not with the product of both.
static void emit_sums(CgFn *f, const CgMatmulTile *t, CgVal *acc) {
    const CgMatmul *s = t->spec;
    int n = t->rows * (t->end - t->first);
    CgVal a[CG_MATMUL_MOST_ROWS], zero = cg_i64(f, 0), size = cg_dim(f, s->k);
    CgVal b = cg_fat(f, f->arg[CG_MATMUL_B], t->off[CG_MATMUL_B]);
    for (int i = 0; i < t->rows; i++) {
        a[i] = cg_matmul_row(f, t, (IrDtype)s->dtype, CG_MATMUL_A, CG_MATMUL_A, i);
    }
    if (!cg_matmul_is_long(s)) {
        emit_run(f, t, a, b, zero, size, n, acc);
        return;
    }
    for (int i = 0; i < n; i++) {
        cg_store_v(f, cg_v(f, 0), cg_fatc(f, f->scratch, (int64_t)i * f->lanes));
    }
    CgLoop loop;
    cg_for(f, &loop, zero, size, CG_MATMUL_RUN);
    CgVal end = cg_imin(f, cg_iaddc(f, loop.iv, CG_MATMUL_RUN), size);
    emit_run(f, t, a, b, loop.iv, end, n, acc);
    for (int i = 0; i < n; i++) {
        CgVal p = cg_fatc(f, f->scratch, (int64_t)i * f->lanes);
        cg_store_v(f, cg_fadd(f, cg_load_v(f, p), acc[i]), p);
    }
    cg_end(f, &loop);
    for (int i = 0; i < n; i++) {
        acc[i] = cg_load_v(f, cg_fatc(f, f->scratch, (int64_t)i * f->lanes));
    }
}

// A sum with the operand `k` behind the column's added.
static CgVal add_extra(CgFn *f, const CgMatmulTile *t, int k, CgVal sum) {
    IrDtype own = (IrDtype)t->spec->own;
    int operand = CG_MATMUL_EXTRA + k;
    CgVal x[] = {sum, load_extra(f, t, own, operand, CG_MATMUL_ARG(operand))};
    return cg_eltwise(f, own, IR_OP_ADD, x, NULL);
}

CgVal cg_matmul_result(CgFn *f, const CgMatmulTile *t) {
    IrDtype type = (IrDtype)t->spec->y_dtype;
    CgVal to = cg_iaddc(f, t->off[CG_MATMUL_COLUMN], (int64_t)t->v * f->lanes);
    CgVal row = cg_matmul_row(f, t, type, CG_MATMUL_Y, CG_MATMUL_Y, t->i);
    return cg_elem_at(f, type, row, to);
}

void cg_matmul_finish(CgFn *f, CgMatmulTile *t, CgVal sum) {
    const CgMatmul *s = t->spec;
    CgVal y = s->zero ? add_extra(f, t, s->bias + s->then.n_in, sum) : sum;
    y = s->bias ? add_extra(f, t, 0, y) : y;
    y = cg_body_emit(f, &s->then, y, load_then, t);
    CgVal to = cg_matmul_result(f, t), lanes = t->count[t->v];
    if (s->dtype == IR_BF16)
        cg_dot_store_n(f, (IrDtype)s->y_dtype, y, to, lanes);
    else
        cg_elem_store_n(f, (IrDtype)s->y_dtype, y, to, lanes);
}

bool cg_matmul_keeps(const CgMatmul *s) {
    return s->own == IR_F32 && cg_body_is_long(&s->then);
}

// One row of the tile, whose sums lie in `keep`.
static void finish_kept_row(CgFn *f, CgMatmulTile *t, CgVal row, CgVal keep) {
    CgMatmulTile at = *t;
    int vectors = t->end - t->first;
    at.row = cg_iadd(f, t->row, row);
    at.i = 0;
    for (at.v = t->first; at.v < t->end; at.v++) {
        CgVal i = cg_iaddc(f, cg_imulc(f, row, vectors), at.v - t->first);
        cg_matmul_finish(f, &at, cg_load_v(f, cg_fat(f, keep, cg_imulc(f, i, f->lanes))));
    }
}

void cg_matmul_finish_tile(CgFn *f, CgMatmulTile *t, const CgVal *sum, CgVal keep) {
    CgLoop loop;
    if (!cg_matmul_keeps(t->spec)) {
        for (t->i = 0; t->i < t->rows; t->i++) {
            for (t->v = t->first; t->v < t->end; t->v++) {
                cg_matmul_finish(f, t, *sum++);
            }
        }
        return;
    }
    for (int i = 0; i < t->rows * (t->end - t->first); i++) {
        cg_store_v(f, sum[i], cg_fatc(f, keep, (int64_t)i * f->lanes));
    }
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, t->rows), 1);
    finish_kept_row(f, t, loop.iv, keep);
    cg_end(f, &loop);
}

static void emit_tile(CgFn *f, CgMatmulTile *t) {
    CgVal acc[CG_MATMUL_TALL_ROWS * CG_MATMUL_VECTORS];
    begin_ahead(f, t);
    emit_sums(f, t, acc);
    cg_matmul_finish_tile(f, t, acc, f->scratch);
}

// ---------------------------------------------------------------- rows of one panel

// t->rows rows over the whole panel, in tiles that leave room for their accumulators.
static void emit_panel_rows(void *ctx, CgFn *f, CgMatmulTile *t) {
    (void)ctx;
    int vectors = t->spec->vectors, pass = t->rows > CG_MATMUL_ROWS ? t->spec->pass : vectors;
    for (t->first = 0; t->first < vectors; t->first = t->end) {
        t->end = t->first + pass < vectors ? t->first + pass : vectors;
        emit_tile(f, t);
    }
}

// Opens a branch for rest == n, unless that is known. False: it is not.
static bool begin_case(CgFn *f, CgIf *s, CgVal rest, int n) {
    int64_t fixed;
    if (cg_is_const(rest, &fixed)) {
        s->then = NULL;
        return fixed == n;
    }
    cg_if(f, s, cg_icmp(f, LLVMIntEQ, rest, cg_i64(f, n)));
    return true;
}

static void end_case(CgFn *f, CgIf *s) {
    if (s->then) {
        cg_endif(f, s);
    }
}

// The rows behind the last full tile: exact up to CG_MATMUL_ROWS, else a tall tile that does some
// twice.
static void emit_rest(CgFn *f, CgMatmulTile *t, CgVal rest, CgMatmulRows body, void *ctx) {
    CgIf s;
    for (t->rows = 1; t->rows < t->spec->rows; t->rows++) {
        if (begin_case(f, &s, rest, t->rows)) {
            int rows = t->rows;
            if (rows > CG_MATMUL_ROWS) {
                t->rows = t->spec->rows;
                t->last = cg_iaddc(f, t->row, rows - 1);
            }
            body(ctx, f, t);
            t->rows = rows;
            t->last = NULL;
            end_case(f, &s);
        }
    }
}

CgMatmulTile cg_matmul_tile(CgFn *f, const CgMatmul *s, const CgVal *off) {
    CgMatmulTile t = {.spec = s, .off = off};
    int64_t width = (int64_t)s->vectors * f->lanes;
    for (int v = 0; v < s->vectors && s->columns % width != 0; v++) {
        CgVal left =
            cg_isub(f, cg_i64(f, s->columns - (int64_t)v * f->lanes), off[CG_MATMUL_COLUMN]);
        left = cg_imin(f, left, cg_i64(f, f->lanes));
        t.count[v] = cg_imax(f, left, cg_i64(f, 0));
    }
    return t;
}

void cg_matmul_for_rows(CgFn *f, CgMatmulTile *t, CgVal len, CgMatmulRows body, void *ctx) {
    int step = t->spec->rows;
    int64_t fixed;
    CgVal main = cg_imulc(f, cg_idivc(f, len, step), step);
    if (!cg_is_const(main, &fixed) || fixed > 0) {
        CgLoop loop;
        cg_for(f, &loop, cg_i64(f, 0), main, step);
        t->row = loop.iv;
        t->rows = step;
        body(ctx, f, t);
        cg_end(f, &loop);
    }
    t->row = main;
    emit_rest(f, t, cg_isub(f, len, main), body, ctx);
}

void cg_matmul_emit_rows(CgFn *f, const CgMatmul *s, const CgVal *off, CgVal len) {
    CgMatmulTile t = cg_matmul_tile(f, s, off);
    cg_matmul_for_rows(f, &t, len, emit_panel_rows, NULL);
}

void cg_matmul_emit_listed_row(CgFn *f, const CgMatmul *s, const CgVal *off, CgVal list) {
    CgMatmulTile t = cg_matmul_tile(f, s, off);
    t.row = cg_i64(f, 0);
    t.rows = 1;
    t.list = list;
    emit_panel_rows(NULL, f, &t);
}

static void emit_rows(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    cg_matmul_emit_rows(f, ctx, off, len);
}

void cg_matmul_emit_panels(CgFn *f, const void *spec) {
    const CgMatmul *s = spec;
    cg_nd_for(f, &s->nd, 1, s->rows, emit_rows, (void *)spec);
}
