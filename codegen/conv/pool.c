// Max-pool behind a direct convolution, while its rows are in cache:
//
//   conv %x, %w, %b {then=[relu(acc)], pool=[3,3,2,2,1,1,1,1,0]}
//
// A thread takes a contiguous piece of the pooled rows in the order images, groups of output
// vectors, rows, and goes through it in chunks of a few rows. What a chunk reads of the convolution
// is computed to the thread's scratch
//   scratch  [output vector of the group][row][column][lanes], as the result is stored,
// and pooled from there, so the convolution's result never goes to memory. Rows that the next chunk
// reads too move to the front; only where two threads meet both compute them.
#include "codegen/conv/conv.h"
#include "codegen/nn/pool.h"
#include <string.h>

static int64_t row_elems(const CgConv *s, int lanes) {
    return (int64_t)s->OW * lanes;
}

// The rows of a chunk, all vectors of a group, are a budget's.
void cg_conv_pool_init(CgConv *s, const IrMachine *m, int lanes) {
    int64_t row = row_elems(s, lanes) * s->tile.vecs * ir_dtype_bytes((IrDtype)s->y_dtype);
    int64_t fit = (ir_budget(m, IR_L2_BAND) / row - s->pool.kh) / s->pool.sh + 1;
    s->pool.chunk = (int32_t)(fit < 1 ? 1 : fit > s->pool.OH ? s->pool.OH : fit);
}

int64_t cg_conv_pool_block(const CgConv *s, int lanes) {
    int rows = (s->pool.chunk - 1) * s->pool.sh + s->pool.kh;
    return rows * row_elems(s, lanes);
}

int64_t cg_conv_pool_elems(const CgConv *s, int lanes) {
    return cg_conv_oc(s, lanes).cut.size * cg_conv_pool_block(s, lanes);
}

typedef struct Pooled {
    CgFn *f;
    const CgConv *s;
    CgConvOc oc;
    CgPool pool;
    CgConvRow *row;
    void *ctx;
    int chunk;
    CgVal n, group, ocb, vectors; // the image; the group, its first vector and how many
} Pooled;

static CgPool read_pool(const CgConv *s) {
    const CgConvPool *p = &s->pool;
    CgPool pool;
    memset(&pool, 0, sizeof pool);
    pool.x.dim[2] = ir_dim(s->OH);
    pool.x.dim[3] = ir_dim(s->OW);
    pool.y.dim[2] = ir_dim(p->OH);
    pool.y.dim[3] = ir_dim(p->OW);
    pool.kh = p->kh, pool.kw = p->kw, pool.sh = p->sh, pool.sw = p->sw;
    pool.dh = pool.dw = 1;
    pool.pt = p->pt, pool.pl = p->pl;
    pool.max = 1;
    pool.x.dtype = pool.y.dtype = pool.own = s->y_dtype;
    return pool;
}

// First row of the convolution that pooled row `at` reads, and the one after its last.
static CgVal first_row(Pooled *p, CgVal at) {
    const CgConvPool *w = &p->s->pool;
    return cg_imax(p->f, cg_iaddc(p->f, cg_imulc(p->f, at, w->sh), -w->pt), cg_i64(p->f, 0));
}

static CgVal last_row(Pooled *p, CgVal at) {
    const CgConvPool *w = &p->s->pool;
    CgVal end = cg_iaddc(p->f, cg_imulc(p->f, at, w->sh), w->kh - w->pt);
    return cg_imin(p->f, end, cg_i64(p->f, p->s->OH));
}

// Where row `row` of the group's first vector lies in the scratch that begins with row `first`.
static CgVal scratch_row(Pooled *p, CgVal row, CgVal first) {
    CgVal at = cg_imulc(p->f, cg_isub(p->f, row, first), row_elems(p->s, p->f->lanes));
    return cg_conv_y(p->f, p->s, p->f->scratch, at);
}

// Rows [first, done), which the chunk before left behind its row `was`, to the front.
static void keep_rows(Pooled *p, CgVal was, CgVal first, CgVal done) {
    CgFn *f = p->f;
    CgLoop vector, at;
    CgVal elems = cg_imulc(f, cg_isub(f, done, first), row_elems(p->s, f->lanes));
    CgVal from = scratch_row(p, first, was);
    cg_for(f, &vector, cg_i64(f, 0), p->vectors, 1);
    CgVal block = cg_imulc(f, vector.iv, cg_conv_pool_block(p->s, f->lanes));
    cg_for(f, &at, cg_i64(f, 0), elems, f->lanes);
    CgVal to = cg_iadd(f, block, at.iv);
    IrDtype t = cg_elem_bits((IrDtype)p->s->y_dtype);
    CgVal x = cg_elem_load_n(f, t, cg_elem_at(f, t, from, to), NULL);
    cg_elem_store_n(f, t, x, cg_elem_at(f, t, f->scratch, to), NULL);
    cg_end(f, &at);
    cg_end(f, &vector);
}

// Pooled rows [lo, hi) from the scratch, which begins with row `first`.
static void pool_rows(Pooled *p, CgVal lo, CgVal hi, CgVal first) {
    CgFn *f = p->f;
    const CgConvPool *w = &p->s->pool;
    CgLoop vector, row;
    CgVal y = cg_conv_y(f, p->s, f->arg[CG_CONV_Y], cg_imulc(f, p->n, p->s->y_image));
    cg_for(f, &vector, cg_i64(f, 0), p->vectors, 1);
    CgVal in = cg_imulc(f, vector.iv, cg_conv_pool_block(p->s, f->lanes));
    in = cg_conv_y(f, p->s, f->scratch, in);
    CgVal rows = cg_imulc(f, cg_iadd(f, p->ocb, vector.iv), w->OH);
    cg_for(f, &row, lo, hi, 1);
    CgVal at = cg_imulc(f, cg_iadd(f, rows, row.iv), (int64_t)w->OW * f->lanes);
    cg_pool_row(f, &p->pool, in, first, cg_conv_y(f, p->s, y, at), row.iv);
    cg_end(f, &row);
    cg_end(f, &vector);
}

// Pooled rows from `at` on, of those from `lo` to `hi` at most a chunk.
static void emit_chunk(Pooled *p, CgVal at, CgVal lo, CgVal hi) {
    CgFn *f = p->f;
    CgLoop row;
    CgVal stop = cg_imin(f, cg_iaddc(f, at, p->chunk), hi);
    CgVal first = first_row(p, at), end = last_row(p, cg_iaddc(f, stop, -1));
    CgVal kept = cg_imax(f, last_row(p, cg_iaddc(f, at, -1)), first);
    CgVal done = cg_select(f, cg_icmp(f, LLVMIntSGT, at, lo), kept, first);
    if (p->s->pool.kh > p->s->pool.sh)
        keep_rows(p, first_row(p, cg_iaddc(f, at, -p->chunk)), first, done);
    cg_for(f, &row, done, end, 1);
    p->row(p->ctx, p->n, p->group, row.iv, scratch_row(p, row.iv, first));
    cg_end(f, &row);
    pool_rows(p, at, stop, first);
}

// The part of tasks [lo, hi) that lies in image and group, pair number `pair`.
static void emit_pair(Pooled *p, CgVal pair, CgVal lo, CgVal hi) {
    CgFn *f = p->f;
    CgLoop at;
    int rows = p->s->pool.OH, groups = p->oc.sets * p->oc.cut.n;
    p->n = cg_idivc(f, pair, groups);
    p->group = cg_iremc(f, pair, groups);
    CgVal set = cg_idivc(f, p->group, p->oc.cut.n), part = cg_iremc(f, p->group, p->oc.cut.n);
    p->ocb = cg_iadd(f, cg_imulc(f, set, p->oc.blocks), cg_cut_at(f, p->oc.cut, part));
    p->vectors = cg_select(f, cg_icmp(f, LLVMIntSLT, part, cg_i64(f, p->oc.cut.big)),
                           cg_i64(f, p->oc.cut.size), cg_i64(f, p->oc.cut.size - 1));
    CgVal start = cg_imulc(f, pair, rows);
    CgVal begin = cg_imax(f, cg_isub(f, lo, start), cg_i64(f, 0));
    CgVal end = cg_imin(f, cg_isub(f, hi, start), cg_i64(f, rows));
    cg_for(f, &at, begin, end, p->chunk);
    emit_chunk(p, at.iv, begin, end);
    cg_end(f, &at);
}

void cg_conv_pool(CgFn *f, const CgConv *s, CgConvRow *row, void *ctx) {
    Pooled p = {.f = f,
                .s = s,
                .oc = cg_conv_oc(s, f->lanes),
                .pool = read_pool(s),
                .row = row,
                .ctx = ctx,
                .chunk = s->pool.chunk};
    int rows = s->pool.OH;
    CgVal tasks = cg_imulc(f, cg_dim(f, s->N), (int64_t)p.oc.sets * p.oc.cut.n * rows), lo, hi;
    CgLoop pair;
    cg_split(f, tasks, &lo, &hi);
    cg_for(f, &pair, cg_idivc(f, lo, rows), cg_idivc(f, cg_iaddc(f, hi, rows - 1), rows), 1);
    emit_pair(&p, pair.iv, lo, hi);
    cg_end(f, &pair);
}
