// Copies between strided spaces, and every op that is one: copy, reorder (plain <-> blocked),
// reshape, expand, transpose, and slices and concats of plain tensors or whole blocks. Where the
// two sides are contiguous along different dimensions, square tiles are transposed in registers.
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
    int32_t whole, pad_; // i fits one vector of the result, whose other lanes may be overwritten
} TileSpec;

typedef struct Tile {
    CgVal to, from; // of element (0, 0)
    CgVal nj, ni;   // how many count; NULL: all lanes
} Tile;

static void emit_tile(CgFn *f, const TileSpec *s, const Tile *t) {
    const CgNdDim *dj = &s->nd.dim[s->nd.rank - 2], *di = dj + 1;
    CgVal row[64];
    int64_t fixed;
    CgVal last = t->ni ? cg_iaddc(f, t->ni, -1) : NULL;
    for (int i = 0; i < f->lanes; i++) {
        CgVal index = cg_i64(f, i);
        if (t->ni && cg_is_const(t->ni, &fixed)) {
            if (i >= fixed) {
                row[i] = LLVMGetPoison(f->vec);
                continue;
            }
        } else if (t->ni) {
            index = cg_imin(f, index, last);
        }
        row[i] = cg_load_n(f, cg_fat(f, t->from, cg_stride(f, index, di->stride[1])), t->nj);
    }
    cg_transpose_lanes(f, row);
    bool known = !t->nj || cg_is_const(t->nj, &fixed);
    int count = t->nj && known ? (int)fixed : f->lanes;
    for (int j = 0; j < count; j++) {
        CgIf guard;
        if (!known) {
            cg_if(f, &guard, cg_icmp(f, LLVMIntSGT, t->nj, cg_i64(f, j)));
        }
        CgVal p = cg_fat(f, t->to, cg_stride(f, cg_i64(f, j), dj->stride[0]));
        cg_store_n(f, row[j], p, s->whole ? NULL : t->ni);
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
        Tile t = {cg_fat(f, to, loop.iv), cg_fat(f, from, cg_stride(f, loop.iv, di->stride[1])), nj,
                  NULL};
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
    Tile t = {cg_fat(f, to, main), cg_fat(f, from, cg_stride(f, main, di->stride[1])), nj, rest};
    emit_tile(f, s, &t);
    if (!known) {
        cg_endif(f, &guard);
    }
}

static void emit_tile_block(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    const TileSpec *s = ctx;
    const CgNdDim *dj = &s->nd.dim[s->nd.rank - 2];
    CgVal to = cg_fat(f, f->arg[0], off[0]), from = cg_fat(f, f->arg[1], off[1]);
    CgVal main = rounded_down(f, len), rest = cg_isub(f, len, main);
    int64_t fixed;
    if (!cg_is_const(main, &fixed) || fixed > 0) {
        CgLoop loop;
        cg_for(f, &loop, cg_i64(f, 0), main, f->lanes);
        emit_tile_row(f, s, cg_fat(f, to, cg_stride(f, loop.iv, dj->stride[0])),
                      cg_fat(f, from, loop.iv), NULL);
        cg_end(f, &loop);
    }
    bool known = cg_is_const(rest, &fixed);
    if (known && fixed == 0) {
        return;
    }
    CgIf guard;
    if (!known) {
        cg_if(f, &guard, cg_icmp(f, LLVMIntSGT, rest, cg_i64(f, 0)));
    }
    emit_tile_row(f, s, cg_fat(f, to, cg_stride(f, main, dj->stride[0])), cg_fat(f, from, main),
                  rest);
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

static void call_tiles(CgProgram *p, const IrNode *n, const char *algo, const CgNd *nd, bool whole,
                       const CgArg *args) {
    TileSpec s;
    memset(&s, 0, sizeof s);
    s.nd = *nd;
    s.whole = whole;
    int lanes = cg_target(p)->lanes;
    int k = cg_kernel(p, algo, emit_tiles, &s, sizeof s, 2, 40 + 24 * lanes);
    cg_call(p, n, k, 2, args, algo, (IrDim){0, 0});
}

static void copy_nd(CgProgram *p, const IrNode *n, const char *algo, CgNd *nd, IrDtype t,
                    bool whole, CgArg to, CgArg from) {
    if (cg_nd_empty(nd)) {
        return;
    }
    cg_nd_collapse(nd, 1);
    CgArg args[] = {to, from};
    CgNdDim *last = &nd->dim[nd->rank - 1];
    bool words = ir_dtype_bytes(t) == 4 && ir_dim_is(last->stride[0], 1);
    bool runs = last->stride[1].n == 0 && (last->stride[1].c == 0 || last->stride[1].c == 1);
    int j = find_source_run(nd);
    if (words && !runs && j >= 0) {
        cg_nd_move_dim(nd, j, nd->rank - 2);
        call_tiles(p, n, algo, nd, whole, args);
    } else if (words) {
        cg_map_nd(p, n, algo, nd, NULL, 2, args);
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
    copy_nd(p, n, algo, nd, t, false, to, from);
}

// ---------------------------------------------------------------- copy, reorder, reshape

// Same shape and layout; image strides may differ.
static void lower_same(CgProgram *p, const IrNode *n, const IrValue *x, const IrValue *y) {
    CgTensor tx = cg_tensor(x), ty = cg_tensor(y);
    IrDim size[CG_ND_RANK], stride[CG_ND_RANK];
    CgNd nd;
    cg_nd_init(&nd, cg_nd_sizes(&ty, size), size);
    cg_nd_strides(&ty, stride);
    cg_nd_add(&nd, stride, ir_dim(0));
    cg_nd_strides(&tx, stride);
    cg_nd_add(&nd, stride, ir_dim(0));
    cg_copy_nd(p, n, "copy", &nd, x->type.dtype, cg_write(y), cg_read(x));
}

// The channels of blocks [0, C/B), or of the last partial block.
static void lower_blocks(CgProgram *p, const IrNode *n, const CgTensor *x, const CgTensor *y,
                         bool partial) {
    const CgTensor *blocked = x->block ? x : y, *plain = x->block ? y : x;
    int block = blocked->block, rank = blocked->rank;
    int64_t whole = cg_channels(blocked) / block, pixels = cg_spatial(blocked);
    IrDim size[CG_ND_RANK], in_blocks[CG_ND_RANK], in_plain[CG_ND_RANK];
    cg_nd_sizes(blocked, size);
    cg_nd_strides(blocked, in_blocks);
    cg_nd_strides(plain, in_plain);
    size[1] = ir_dim(partial ? 1 : whole);
    size[rank] = ir_dim(partial ? cg_channels(blocked) % block : block);
    in_plain[1] = ir_dim(pixels * block);
    in_plain[rank] = ir_dim(pixels);
    CgNd nd;
    cg_nd_init(&nd, rank + 1, size);
    IrDim at_block = ir_dim(partial ? whole * block * pixels : 0);
    const IrDim *sx = x->block ? in_blocks : in_plain, *sy = y->block ? in_blocks : in_plain;
    cg_nd_add(&nd, sy, at_block);
    cg_nd_add(&nd, sx, at_block);
    if (!y->block) { // pixels innermost in the result
        cg_nd_move_dim(&nd, rank, 2);
    }
    copy_nd(p, n, "reorder", &nd, (IrDtype)x->dtype, partial && y->block, cg_write(n->out[0]),
            cg_read(ir_in(n, 0)));
}

void cg_lower_copy(CgProgram *p, const IrNode *n) {
    const IrValue *x = ir_in(n, 0), *y = n->out[0];
    if (x->type.block == y->type.block) {
        lower_same(p, n, x, y);
        return;
    }
    CgTensor tx = cg_tensor(x), ty = cg_tensor(y);
    if (tx.block && ty.block) {
        cg_nyi(p, n, "reorder from blocks of %d to blocks of %d", tx.block, ty.block);
        return;
    }
    int64_t c = cg_channels(&tx), block = tx.block ? tx.block : ty.block;
    if (c / block > 0) {
        lower_blocks(p, n, &tx, &ty, false);
    }
    if (c % block > 0) {
        lower_blocks(p, n, &tx, &ty, true);
    }
}

void cg_lower_reorder(CgProgram *p, const IrNode *n) {
    cg_lower_copy(p, n);
}

bool cg_need_plain(CgProgram *p, const IrNode *n) {
    bool plain = n->out[0]->type.block == 0;
    for (int i = 0; i < n->n_in; i++) {
        plain = plain && (!ir_in(n, i) || ir_in(n, i)->type.block == 0);
    }
    if (!plain) {
        cg_nyi(p, n, "%s on blocked tensors", ir_op_info(n->op)->text);
    }
    return plain;
}

void cg_lower_reshape(CgProgram *p, const IrNode *n) {
    const IrValue *x = ir_in(n, 0), *y = n->out[0];
    IrDim elems, one = ir_dim(1);
    if (!cg_need_plain(p, n)) {
        return;
    }
    if (!ir_shape_elems(&y->type.shape, &elems)) {
        cg_nyi(p, n, "a reshape whose size is not affine in N");
        return;
    }
    CgNd nd;
    cg_nd_init(&nd, 1, &elems);
    cg_nd_add(&nd, &one, ir_dim(0));
    cg_nd_add(&nd, &one, ir_dim(0));
    cg_copy_nd(p, n, "reshape", &nd, x->type.dtype, cg_write(y), cg_read(x));
}

// ---------------------------------------------------------------- transpose, expand, slice, concat

// Result y = x read with these strides and offset.
static void lower_strided(CgProgram *p, const IrNode *n, const IrDim *stride, IrDim offset) {
    CgTensor ty = cg_tensor(n->out[0]);
    IrDim size[CG_ND_RANK], own[CG_ND_RANK];
    CgNd nd;
    cg_nd_init(&nd, cg_nd_sizes(&ty, size), size);
    cg_nd_strides(&ty, own);
    cg_nd_add(&nd, own, ir_dim(0));
    cg_nd_add(&nd, stride, offset);
    cg_copy_nd(p, n, ir_op_info(n->op)->text, &nd, (IrDtype)ty.dtype, cg_write(n->out[0]),
               cg_read(ir_in(n, 0)));
}

void cg_lower_transpose(CgProgram *p, const IrNode *n) {
    if (!cg_need_plain(p, n)) {
        return;
    }
    CgTensor tx = cg_tensor(ir_in(n, 0));
    IrInts perm = ir_ints(n, IR_ATTR_PERM);
    IrDim own[CG_ND_RANK], stride[CG_ND_RANK];
    cg_nd_strides(&tx, own);
    for (int i = 0; i < tx.rank; i++) {
        stride[i] = own[perm.n == tx.rank ? perm.v[i] : tx.rank - 1 - i];
    }
    lower_strided(p, n, stride, ir_dim(0));
}

void cg_lower_expand(CgProgram *p, const IrNode *n) {
    if (!cg_need_plain(p, n)) {
        return;
    }
    CgTensor tx = cg_tensor(ir_in(n, 0)), ty = cg_tensor(n->out[0]);
    IrDim stride[CG_ND_RANK];
    cg_nd_broadcast(&ty, &tx, stride);
    lower_strided(p, n, stride, ir_dim(0));
}

static IrDim add_dims(IrDim a, IrDim b) {
    return (IrDim){a.c + b.c, a.n + b.n};
}

static void lower_plain_slice(CgProgram *p, const IrNode *n) {
    CgTensor tx = cg_tensor(ir_in(n, 0));
    IrInts start = ir_ints(n, IR_ATTR_START), step = ir_ints(n, IR_ATTR_STEP);
    IrDim stride[CG_ND_RANK], offset = ir_dim(0);
    cg_nd_strides(&tx, stride);
    for (int i = 0; i < tx.rank; i++) {
        offset = add_dims(offset, cg_nd_mul(stride[i], ir_dim(start.v[i])));
        stride[i] = cg_nd_mul(stride[i], ir_dim(step.n ? step.v[i] : 1));
    }
    lower_strided(p, n, stride, offset);
}

void cg_lower_slice(CgProgram *p, const IrNode *n) {
    if (n->out[0]->type.block) {
        cg_lower_channel_slice(p, n);
    } else if (cg_need_plain(p, n)) {
        lower_plain_slice(p, n);
    }
}

void cg_lower_concat(CgProgram *p, const IrNode *n) {
    int axis = (int)ir_int(n, IR_ATTR_AXIS, 0);
    if (n->out[0]->type.block) {
        cg_lower_channel_concat(p, n);
        return;
    }
    if (!cg_need_plain(p, n)) {
        return;
    }
    CgTensor ty = cg_tensor(n->out[0]);
    IrDim at = ir_dim(0), size[CG_ND_RANK], own[CG_ND_RANK];
    cg_nd_strides(&ty, own);
    for (int i = 0; i < n->n_in; i++) {
        CgTensor tx = cg_tensor(ir_in(n, i));
        IrDim stride[CG_ND_RANK];
        CgNd nd;
        cg_nd_init(&nd, cg_nd_sizes(&tx, size), size);
        cg_nd_strides(&tx, stride);
        cg_nd_add(&nd, own, cg_nd_mul(at, own[axis]));
        cg_nd_add(&nd, stride, ir_dim(0));
        cg_copy_nd(p, n, "concat", &nd, (IrDtype)tx.dtype, cg_write(n->out[0]),
                   cg_read(ir_in(n, i)));
        at = add_dims(at, tx.dim[axis]);
    }
}
