// See matmul_blocks.h.
#include "codegen/nn/matmul_blocks.h"

enum { CHUNK_TILES = 4 };

bool cg_matmul_in_pieces(const CgMatmul *s) {
    return s->k.n || s->k.c > s->piece;
}

// All pieces. Without any k there is one of none, whose sums are 0.
static void emit_block(CgFn *f, CgMatmulBlock *d, CgVal len) {
    CgVal size = cg_dim(f, d->whole->k), zero = cg_i64(f, 0);
    if (!cg_matmul_in_pieces(d->whole)) {
        d->k = zero;
        d->size = size;
        d->piece(f, d, len);
        return;
    }
    CgLoop piece;
    cg_for(f, &piece, zero, cg_imax(f, size, cg_i64(f, 1)), d->s.piece);
    CgVal left = cg_isub(f, size, piece.iv);
    d->k = piece.iv;
    d->size = cg_imin(f, left, cg_i64(f, d->s.piece));
    d->piece(f, d, len);
    cg_end(f, &piece);
}

// ---------------------------------------------------------------- tasks

// d->off of batch number `batch`, its rows from `row` on.
static void find_batch(CgFn *f, CgMatmulBlock *d, CgVal batch, CgVal row) {
    const CgNd *nd = &d->s.nd;
    for (int k = 0; k < nd->n; k++) {
        d->off[k] = cg_stride(f, row, nd->dim[nd->rank - 1].stride[k]);
    }
    for (int i = nd->rank - 2; i > 0; i--) {
        CgVal index;
        cg_divmod(f, batch, cg_dim(f, nd->dim[i].size), &batch, &index);
        for (int k = 0; k < nd->n; k++) {
            d->off[k] = cg_iadd(f, d->off[k], cg_stride(f, index, nd->dim[i].stride[k]));
        }
    }
}

// Chunks [lo, hi) of all batches' blocks.
static void emit_tasks(CgFn *f, CgMatmulBlock *d, CgVal lo, CgVal hi, CgVal chunks) {
    const CgNd *nd = &d->s.nd;
    int64_t step = (int64_t)d->s.rows * CHUNK_TILES, panels = nd->dim[0].size.c;
    int64_t blocks = (panels + d->s.panels - 1) / d->s.panels;
    CgVal group, last, unused, batch, block, rows = cg_dim(f, nd->dim[nd->rank - 1].size);
    CgLoop loop;
    cg_divmod(f, lo, chunks, &group, &unused);
    cg_divmod(f, cg_iaddc(f, hi, -1), chunks, &last, &unused);
    cg_for(f, &loop, group, cg_iaddc(f, last, 1), 1);
    CgVal start = cg_imul(f, loop.iv, chunks);
    CgVal begin = cg_imulc(f, cg_isub(f, cg_imax(f, lo, start), start), step);
    CgVal end = cg_imin(f, cg_imulc(f, cg_isub(f, hi, start), step), rows);
    cg_divmod(f, loop.iv, cg_i64(f, blocks), &batch, &block);
    d->panel = cg_imulc(f, block, d->s.panels);
    d->panels = cg_imin(f, cg_isub(f, cg_i64(f, panels), d->panel), cg_i64(f, d->s.panels));
    find_batch(f, d, batch, begin);
    emit_block(f, d, cg_isub(f, end, begin));
    cg_end(f, &loop);
}

void cg_matmul_for_blocks(CgFn *f, CgMatmulBlock *d) {
    const CgMatmul *s = d->whole;
    const CgNd *nd = &s->nd;
    int64_t step = (int64_t)s->rows * CHUNK_TILES, panels = nd->dim[0].size.c;
    CgVal rows = cg_dim(f, nd->dim[nd->rank - 1].size), lo, hi;
    CgVal chunks = cg_idivc(f, cg_iaddc(f, rows, step - 1), step);
    CgVal tasks = cg_imulc(f, chunks, (panels + s->panels - 1) / s->panels);
    for (int i = 1; i < nd->rank - 1; i++) {
        tasks = cg_imul(f, tasks, cg_dim(f, nd->dim[i].size));
    }
    CgIf some;
    cg_split(f, tasks, &lo, &hi);
    cg_if(f, &some, cg_icmp(f, LLVMIntSLT, lo, hi));
    emit_tasks(f, d, lo, hi, chunks);
    cg_endif(f, &some);
}
