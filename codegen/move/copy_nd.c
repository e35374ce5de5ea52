// The copy between two strided spaces, which every op that only moves elements is made of. Where
// the two sides are contiguous along different dimensions, square tiles are transposed in
// registers.
#include "codegen/move/move.h"
#include "codegen/map/map.h"
#include <string.h>

// ---------------------------------------------------------------- element by element, any dtype

typedef struct ScalarSpec {
    CgNd nd;
    int32_t bytes, pad_;
} ScalarSpec;

static void emit_scalar_row(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    const ScalarSpec *s = ctx;
    const IrDim *stride = s->nd.dim[s->nd.rank - 1].stride;
    LLVMTypeRef t = LLVMIntTypeInContext(f->ctx, (unsigned)s->bytes * 8);
    CgVal to = cg_at(f, t, f->arg[0], off[0]), from = cg_at(f, t, f->arg[1], off[1]);
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), len, 1);
    CgVal x =
        cg_load(f, t, cg_at(f, t, from, cg_stride(f, loop.iv, stride[1])), (unsigned)s->bytes);
    cg_store(f, x, cg_at(f, t, to, cg_stride(f, loop.iv, stride[0])), (unsigned)s->bytes);
    cg_end(f, &loop);
}

static void emit_scalar_copy(CgFn *f, const void *spec) {
    const ScalarSpec *s = spec;
    cg_nd_for(f, &s->nd, 1, 16, emit_scalar_row, (void *)spec);
}

// ---------------------------------------------------------------- tiles

// The last two dims are j, along which the source is contiguous, and i, along which the result is.
typedef struct TileSpec {
    CgNd nd;
    int32_t whole; // i fits one vector of the result, whose other lanes may be overwritten
    int32_t dtype;
} TileSpec;

static CgVal tile_at(CgFn *f, const TileSpec *s, CgVal p, CgVal index) {
    return cg_elem_at(f, (IrDtype)s->dtype, p, index);
}

typedef struct Tile {
    CgVal to, from; // of element (0, 0)
    CgVal nj, ni;   // how many count; NULL: all lanes
} Tile;

static void emit_tile(CgFn *f, const TileSpec *s, const Tile *t) {
    const CgNdDim *dj = &s->nd.dim[s->nd.rank - 2], *di = dj + 1;
    IrDtype type = (IrDtype)s->dtype;
    CgVal row[64];
    int64_t fixed;
    CgVal last = t->ni ? cg_iaddc(f, t->ni, -1) : NULL;
    for (int i = 0; i < f->lanes; i++) {
        CgVal index = cg_i64(f, i);
        if (t->ni && cg_is_const(t->ni, &fixed)) {
            if (i >= fixed) {
                row[i] = LLVMGetPoison(cg_elem_vec(f, type));
                continue;
            }
        } else if (t->ni) {
            index = cg_imin(f, index, last);
        }
        CgVal from = tile_at(f, s, t->from, cg_stride(f, index, di->stride[1]));
        row[i] = cg_elem_load_n(f, type, from, t->nj);
    }
    cg_transpose_lanes(f, row);
    bool known = !t->nj || cg_is_const(t->nj, &fixed);
    int count = t->nj && known ? (int)fixed : f->lanes;
    for (int j = 0; j < count; j++) {
        CgIf guard;
        if (!known) {
            cg_if(f, &guard, cg_icmp(f, LLVMIntSGT, t->nj, cg_i64(f, j)));
        }
        CgVal p = tile_at(f, s, t->to, cg_stride(f, cg_i64(f, j), dj->stride[0]));
        cg_elem_store_n(f, type, row[j], p, s->whole ? NULL : t->ni);
        if (!known) {
            cg_endif(f, &guard);
        }
    }
}

static CgVal rounded_down(CgFn *f, CgVal x) {
    return cg_imulc(f, cg_idivc(f, x, f->lanes), f->lanes);
}

// All i for the tiles that begin at (j, 0).
static void emit_tile_row(CgFn *f, const TileSpec *s, CgVal to, CgVal from, CgVal nj) {
    const CgNdDim *di = &s->nd.dim[s->nd.rank - 1];
    CgVal size = cg_dim(f, di->size), main = rounded_down(f, size), rest = cg_isub(f, size, main);
    int64_t fixed;
    if (!cg_is_const(main, &fixed) || fixed > 0) {
        CgLoop loop;
        cg_for(f, &loop, cg_i64(f, 0), main, f->lanes);
        Tile t = {tile_at(f, s, to, loop.iv),
                  tile_at(f, s, from, cg_stride(f, loop.iv, di->stride[1])), nj, NULL};
        emit_tile(f, s, &t);
        cg_end(f, &loop);
    }
    if (cg_is_const(rest, &fixed) && fixed == 0) {
        return;
    }
    bool known = cg_is_const(rest, &fixed);
    CgIf guard;
    if (!known) {
        cg_if(f, &guard, cg_icmp(f, LLVMIntSGT, rest, cg_i64(f, 0)));
    }
    Tile t = {tile_at(f, s, to, main), tile_at(f, s, from, cg_stride(f, main, di->stride[1])), nj,
              rest};
    emit_tile(f, s, &t);
    if (!known) {
        cg_endif(f, &guard);
    }
}

// All i for `count` of j, one by one: of what is not a word there are no masked loads.
static void emit_single(CgFn *f, const TileSpec *s, CgVal to, CgVal from, CgVal count) {
    const CgNdDim *dj = &s->nd.dim[s->nd.rank - 2], *di = dj + 1;
    IrDtype type = (IrDtype)s->dtype;
    CgLoop j, i;
    cg_for(f, &j, cg_i64(f, 0), count, 1);
    CgVal row = tile_at(f, s, to, cg_stride(f, j.iv, dj->stride[0]));
    CgVal column = tile_at(f, s, from, j.iv);
    cg_for(f, &i, cg_i64(f, 0), cg_dim(f, di->size), 1);
    CgVal x = cg_elem_load(f, type, column, cg_stride(f, i.iv, di->stride[1]));
    cg_elem_store(f, type, x, row, i.iv);
    cg_end(f, &i);
    cg_end(f, &j);
}

static void emit_tile_block(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    const TileSpec *s = ctx;
    const CgNdDim *dj = &s->nd.dim[s->nd.rank - 2];
    CgVal to = tile_at(f, s, f->arg[0], off[0]), from = tile_at(f, s, f->arg[1], off[1]);
    CgVal main = rounded_down(f, len), rest = cg_isub(f, len, main);
    int64_t fixed;
    if (!cg_is_const(main, &fixed) || fixed > 0) {
        CgLoop loop;
        cg_for(f, &loop, cg_i64(f, 0), main, f->lanes);
        emit_tile_row(f, s, tile_at(f, s, to, cg_stride(f, loop.iv, dj->stride[0])),
                      tile_at(f, s, from, loop.iv), NULL);
        cg_end(f, &loop);
    }
    bool known = cg_is_const(rest, &fixed);
    if (known && fixed == 0) {
        return;
    }
    if (ir_dtype_bytes((IrDtype)s->dtype) != 4) {
        emit_single(f, s, tile_at(f, s, to, cg_stride(f, main, dj->stride[0])),
                    tile_at(f, s, from, main), rest);
        return;
    }
    CgIf guard;
    if (!known) {
        cg_if(f, &guard, cg_icmp(f, LLVMIntSGT, rest, cg_i64(f, 0)));
    }
    emit_tile_row(f, s, tile_at(f, s, to, cg_stride(f, main, dj->stride[0])),
                  tile_at(f, s, from, main), rest);
    if (!known) {
        cg_endif(f, &guard);
    }
}

static void emit_tiles(CgFn *f, const void *spec) {
    const TileSpec *s = spec;
    cg_nd_for(f, &s->nd, 2, f->lanes, emit_tile_block, (void *)spec);
}

// ---------------------------------------------------------------- choice

// The dimension along which the source is contiguous, if that is not the last; else -1.
static int find_source_run(const CgNd *nd) {
    for (int i = 0; i < nd->rank - 1; i++) {
        if (ir_dim_is(nd->dim[i].stride[1], 1)) {
            return i;
        }
    }
    return -1;
}

static void call_tiles(CgProgram *p, const IrNode *n, const char *algo, const CgNd *nd, IrDtype t,
                       bool whole, const CgArg *args) {
    TileSpec s;
    memset(&s, 0, sizeof s);
    s.nd = *nd;
    s.whole = whole;
    s.dtype = (int32_t)t;
    int lanes = cg_target(p)->lanes;
    int k = cg_kernel(p, algo, emit_tiles, &s, sizeof s, 2, 40 + 24 * lanes);
    cg_call(p, n, k, 2, args, algo, (IrDim){0, 0});
}

// Words in any number, others where their columns are a number that is known.
static bool has_tiles(const CgNd *nd, IrDtype t) {
    bool known = nd->dim[nd->rank - 1].size.n == 0;
    return ir_dtype_bytes(t) == 4 || (ir_dtype_bytes(t) < 4 && known);
}

static void call_copy(CgProgram *p, const IrNode *n, const char *algo, CgNd *nd, IrDtype t,
                      bool whole, CgArg to, CgArg from) {
    if (cg_nd_empty(nd)) {
        return;
    }
    cg_nd_collapse(nd, 1);
    CgArg args[] = {to, from};
    for (int i = 0; i < 2; i++) { // one kernel for all pieces of a concat that are alike
        args[i].at = cg_nd_mul(nd->offset[i], ir_dim(ir_dtype_bytes(t)));
        nd->offset[i] = ir_dim(0);
    }
    CgNdDim *last = &nd->dim[nd->rank - 1];
    bool row = ir_dim_is(last->stride[0], 1);
    bool runs = last->stride[1].n == 0 && (last->stride[1].c == 0 || last->stride[1].c == 1);
    int j = find_source_run(nd);
    if (has_tiles(nd, t) && row && !runs && j >= 0) {
        cg_nd_move_dim(nd, j, nd->rank - 2);
        call_tiles(p, n, algo, nd, ir_dtype_bytes(t) == 4 ? IR_F32 : cg_elem_bits(t), whole, args);
    } else if (row) {
        cg_map_nd(p, n, algo, nd, cg_elem_bits(t), NULL, 2, args);
    } else {
        ScalarSpec s;
        memset(&s, 0, sizeof s);
        s.nd = *nd;
        s.bytes = ir_dtype_bytes(t);
        int k = cg_kernel(p, algo, emit_scalar_copy, &s, sizeof s, 2, 60);
        cg_call(p, n, k, 2, args, algo, (IrDim){0, 0});
    }
}

void cg_copy_nd(CgProgram *p, const IrNode *n, const char *algo, CgNd *nd, IrDtype t, CgArg to,
                CgArg from) {
    call_copy(p, n, algo, nd, t, false, to, from);
}

void cg_copy_part_nd(CgProgram *p, const IrNode *n, const char *algo, CgNd *nd, IrDtype t, CgArg to,
                     CgArg from) {
    call_copy(p, n, algo, nd, t, true, to, from);
}
