// Every op that is a copy between strided spaces: copy, reorder (plain <-> blocked), reshape,
// expand, transpose, and slices and concats of plain tensors (those of blocked ones: channels.c).
#include "codegen/move/move.h"

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
    CgArg to = cg_write(n->out[0]), from = cg_read(ir_in(n, 0));
    if (partial && y->block) {
        cg_copy_part_nd(p, n, "reorder", &nd, (IrDtype)x->dtype, to, from);
    } else {
        cg_copy_nd(p, n, "reorder", &nd, (IrDtype)x->dtype, to, from);
    }
}

void cg_lower_copy(CgProgram *p, const IrNode *n) {
    const IrValue *x = ir_in(n, 0), *y = n->out[0];
    if (x->type.block == y->type.block) {
        lower_same(p, n, x, y);
        return;
    }
    CgTensor tx = cg_tensor(x), ty = cg_tensor(y);
    if (cg_lower_words(p, n)) {
        return;
    }
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

// Between blocks, x's or the result's, and NHWC, of whole blocks: the dims [N, C/B, H, W, B] of the
// blocked one, or in NHWC's order, which the result has.
static void lower_nhwc(CgProgram *p, const IrNode *n, const CgTensor *x, const CgTensor *y) {
    const CgTensor *blocked = x->block ? x : y, *nhwc = x->block ? y : x;
    IrDim size[CG_ND_RANK], in_blocks[CG_ND_RANK], own[CG_ND_RANK];
    CgNd nd;
    cg_nd_init(&nd, cg_nd_sizes(blocked, size), size);
    cg_nd_strides(blocked, in_blocks);
    cg_nd_strides(nhwc, own);
    IrDim in_nhwc[] = {own[0], cg_nd_mul(own[3], ir_dim(blocked->block)), own[1], own[2], own[3]};
    cg_nd_add(&nd, y->block ? in_blocks : in_nhwc, ir_dim(0));
    cg_nd_add(&nd, x->block ? in_blocks : in_nhwc, ir_dim(0));
    if (x->block) {
        cg_nd_move_dim(&nd, 1, 3);
    }
    cg_copy_nd(p, n, "transpose", &nd, (IrDtype)x->dtype, cg_write(n->out[0]),
               cg_read(ir_in(n, 0)));
}

void cg_lower_transpose(CgProgram *p, const IrNode *n) {
    CgTensor from = cg_tensor(ir_in(n, 0)), to = cg_tensor(n->out[0]);
    if (from.block != to.block) {
        lower_nhwc(p, n, &from, &to);
        return;
    }
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
