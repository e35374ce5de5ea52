// batch_norm with given statistics, and lrn: normalisations along axis 1. Blocked: a vector is the
// channels of a block at one pixel; plain, of any float type: neighbouring pixels of one channel.
#include "codegen/build/nd.h"
#include <math.h>
#include <string.h>

enum { Y, X, CHANNEL }; // operands of the space; CHANNEL: no memory, the number of channel or block

typedef struct NormSpec {
    CgNd nd;
    CgTensor x;
    int64_t size;             // lrn
    double alpha, beta, bias; // lrn; alpha is divided by size already
    double eps;               // batch_norm
} NormSpec;

typedef struct NormRun {
    const NormSpec *spec;
    CgVal to, from;
    CgVal mean, scale, shift; // batch_norm
    CgVal channel, n[3];      // lrn: lanes that count in the block before, this one, that behind
    CgVal step[3];            // where these lie from the pixel on; plain: lo, hi of the window
} NormRun;

static IrDtype dtype_of(const NormSpec *s) {
    return (IrDtype)s->x.dtype;
}
static CgVal at(CgFn *f, const NormSpec *s, CgVal p, CgVal index) {
    return cg_elem_at(f, dtype_of(s), p, index);
}
static CgVal load(CgFn *f, const NormSpec *s, CgVal p, CgVal n) {
    return cg_elem_load_n(f, dtype_of(s), p, n);
}
static void store(CgFn *f, const NormSpec *s, CgVal y, CgVal p, CgVal n) {
    cg_elem_store_n(f, dtype_of(s), y, p, n);
}
static CgVal splat(CgFn *f, const NormSpec *s, double x) {
    return cg_elem_splat(f, dtype_of(s), x);
}

// The space [N, C or C/B, pixels] with the channel's number.
static void init_space(NormSpec *s, const IrNode *n) {
    CgTensor y = cg_tensor(n->out[0]);
    s->x = cg_tensor(ir_in(n, 0));
    IrDim size[CG_ND_RANK], channel[CG_ND_RANK] = {{0, 0}, {1, 0}}, sy[CG_ND_RANK], sx[CG_ND_RANK];
    int rank = cg_nd_sizes(&y, size);
    cg_nd_strides(&y, sy);
    cg_nd_strides(&s->x, sx);
    rank -= y.block != 0; // the lanes
    cg_nd_init(&s->nd, rank, size);
    cg_nd_add(&s->nd, sy, ir_dim(0));
    cg_nd_add(&s->nd, sx, ir_dim(0));
    cg_nd_add(&s->nd, channel, ir_dim(0));
}

// The innermost dimension is the pixels, which lie side by side in both tensors; it is there even
// for a single pixel, where the channel's or the images' (apart in a slice of a concat) would stand
// last.
static bool finish_space(NormSpec *s) {
    if (cg_nd_empty(&s->nd)) {
        return false;
    }
    cg_nd_collapse(&s->nd, 1);
    const CgNdDim *last = &s->nd.dim[s->nd.rank - 1];
    int64_t step = s->x.block ? s->x.block : 1;
    if (!ir_dim_is(last->stride[CHANNEL], 0) || !ir_dim_is(last->stride[X], step) ||
        !ir_dim_is(last->stride[Y], step)) {
        s->nd.rank++;
        s->nd.dim[s->nd.rank - 1] = (CgNdDim){.size = ir_dim(1)};
    }
    return true;
}

static void call_norm(CgProgram *p, const IrNode *n, NormSpec *s, CgEmit emit, int weight) {
    CgArg args[CG_MAX_ARGS] = {cg_write(n->out[0])};
    for (int i = 0; i < n->n_in; i++) {
        args[i + 1] = cg_read(ir_in(n, i));
    }
    s->nd.cost = s->x.block ? s->x.block : 1;
    const char *algo = ir_op_info(n->op)->text;
    int k = cg_kernel(p, algo, emit, s, sizeof *s, n->n_in + 1, weight);
    cg_call(p, n, k, n->n_in + 1, args, algo, (IrDim){0, 0});
}

// False after reporting NYI.
static bool check_layout(CgProgram *p, const IrNode *n) {
    const IrType *x = &ir_in(n, 0)->type, *y = &n->out[0]->type;
    bool fits = x->block == y->block && x->shape.rank >= 2;
    if (!fits) {
        cg_nyi(p, n, "%s of this layout", ir_op_info(n->op)->text);
    }
    return fits;
}

// ---------------------------------------------------------------- batch_norm

// Parameter `arg` of the channel, or of the lanes of the block.
static CgVal load_param(CgFn *f, const NormRun *r, int arg) {
    const NormSpec *s = r->spec;
    int block = s->x.block;
    CgVal first = cg_imulc(f, r->channel, block ? block : 1);
    return block ? load(f, s, at(f, s, f->arg[arg], first), r->n[1])
                 : cg_splat(f, cg_elem_load(f, dtype_of(s), f->arg[arg], first));
}

static void batch_norm_at(void *ctx, CgFn *f, CgVal i, CgVal n) {
    NormRun *r = ctx;
    const NormSpec *s = r->spec;
    CgVal first = s->x.block ? cg_imulc(f, i, f->lanes) : i;
    CgVal x = load(f, s, at(f, s, r->from, first), n);
    CgVal y = cg_fma(f, cg_fsub(f, x, r->mean), r->scale, r->shift);
    store(f, s, y, at(f, s, r->to, first), n);
}

// How many of the lanes of block `cb` are channels.
static CgVal count_lanes(CgFn *f, const NormSpec *s, CgVal cb) {
    CgVal left = cg_isub(f, cg_i64(f, cg_channels(&s->x)), cg_imulc(f, cb, f->lanes));
    return cg_imax(f, cg_imin(f, left, cg_i64(f, f->lanes)), cg_i64(f, 0));
}

// BatchNormalization-15: y = (x - mean) / sqrt(var + eps) * scale + bias; inputs x, scale, bias,
// mean, var
static void batch_norm_row(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    NormRun *r = ctx;
    const NormSpec *s = r->spec;
    bool block = s->x.block != 0;
    r->channel = off[CHANNEL];
    r->n[1] = block && cg_channels(&s->x) % f->lanes ? count_lanes(f, s, r->channel) : NULL;
    CgVal var = cg_fadd(f, load_param(f, r, 5), splat(f, s, s->eps));
    r->scale = cg_fdiv(f, load_param(f, r, 2), cg_intrinsic(f, "llvm.sqrt", 1, &var));
    r->shift = load_param(f, r, 3);
    r->mean = load_param(f, r, 4);
    r->to = at(f, s, f->arg[0], off[Y]);
    r->from = at(f, s, f->arg[1], off[X]);
    if (block) {
        cg_nd_steps(f, len, 4, batch_norm_at, r);
    } else {
        cg_nd_vectors(f, len, 4, batch_norm_at, r);
    }
}

static void emit_batch_norm(CgFn *f, const void *spec) {
    NormRun r = {.spec = spec};
    cg_nd_for(f, &r.spec->nd, 1, r.spec->x.block ? 1 : f->lanes, batch_norm_row, &r);
}

void cg_lower_batch_norm(CgProgram *p, const IrNode *n) {
    NormSpec s;
    memset(&s, 0, sizeof s);
    if (!check_layout(p, n)) {
        return;
    }
    init_space(&s, n);
    s.eps = ir_float(n, IR_ATTR_EPS, 1e-5);
    if (finish_space(&s)) {
        call_norm(p, n, &s, emit_batch_norm, 150);
    }
}

// ---------------------------------------------------------------- lrn

// x / s^beta
static CgVal divide_pow(CgFn *f, const NormSpec *s, CgVal x, CgVal sum) {
    CgVal root = cg_intrinsic(f, "llvm.sqrt", 1, &sum);
    if (s->beta == 0.75) {
        CgVal fourth = cg_intrinsic(f, "llvm.sqrt", 1, &root);
        return cg_fdiv(f, x, cg_fmul(f, root, fourth));
    }
    if (s->beta == 0.5) {
        return cg_fdiv(f, x, root);
    }
    if (s->beta == 1) {
        return cg_fdiv(f, x, sum);
    }
    return cg_fdiv(f, x, cg_pow(f, sum, splat(f, s, s->beta)));
}

static CgVal normalise(CgFn *f, const NormSpec *s, CgVal x, CgVal squares) {
    return divide_pow(f, s, x, cg_fma(f, squares, splat(f, s, s->alpha), splat(f, s, s->bias)));
}

// Squares of block k - 1, of which `n` lanes count.
static CgVal block_squares(CgFn *f, const NormRun *r, CgVal at, int k, CgVal *x) {
    *x = cg_load_v(f, cg_fat(f, r->from, cg_iadd(f, at, r->step[k])));
    CgVal q = cg_fmul(f, *x, *x);
    return r->n[k] ? cg_select(f, cg_lane_mask(f, r->n[k]), q, splat(f, r->spec, 0)) : q;
}

// Sum over channels c - below .. c + above of lane c, out of three neighbouring blocks.
static void lrn_at(void *ctx, CgFn *f, CgVal i, CgVal n) {
    (void)n;
    NormRun *r = ctx;
    const NormSpec *s = r->spec;
    int below = (int)((s->size - 1) / 2), above = (int)(s->size / 2), lane[64];
    CgVal at = cg_imulc(f, i, f->lanes), x, other;
    CgVal before = below > 0 ? block_squares(f, r, at, 0, &other) : NULL;
    CgVal here = block_squares(f, r, at, 1, &x);
    CgVal behind = above > 0 ? block_squares(f, r, at, 2, &other) : NULL;
    CgVal sum = here;
    for (int d = -below; d <= above; d++) {
        for (int l = 0; l < f->lanes; l++) { // of the pair (before, here) or (here, behind)
            lane[l] = d < 0 ? f->lanes + l + d : l + d;
        }
        if (d != 0) {
            CgVal a = d < 0 ? before : here, b = d < 0 ? here : behind;
            sum = cg_fadd(f, sum, cg_shuffle(f, a, b, f->lanes, lane));
        }
    }
    cg_store_v(f, normalise(f, s, x, sum), cg_fat(f, r->to, at));
}

static void lrn_blocks(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    NormRun *r = ctx;
    const NormSpec *s = r->spec;
    CgVal cb = off[CHANNEL], zero = cg_i64(f, 0), lanes = cg_i64(f, f->lanes);
    int64_t plane = cg_spatial(&s->x) * f->lanes;
    CgVal is_first = cg_icmp(f, LLVMIntEQ, cb, zero);
    r->n[0] = cg_select(f, is_first, zero, lanes);
    r->n[1] = count_lanes(f, s, cb);
    r->n[2] = count_lanes(f, s, cg_iaddc(f, cb, 1));
    CgVal is_last = cg_icmp(f, LLVMIntEQ, r->n[2], zero);
    r->step[0] = cg_select(f, is_first, zero, cg_i64(f, -plane));
    r->step[1] = zero;
    r->step[2] = cg_select(f, is_last, zero, cg_i64(f, plane));
    r->to = at(f, s, f->arg[0], off[Y]);
    r->from = at(f, s, f->arg[1], off[X]);
    cg_nd_steps(f, len, 1, lrn_at, r);
}

static void lrn_plain_at(void *ctx, CgFn *f, CgVal i, CgVal n) {
    NormRun *r = ctx;
    const NormSpec *s = r->spec;
    CgVal pixels = r->step[2], p = at(f, s, r->from, i), sum[] = {splat(f, s, 0)};
    CgLoop loop;
    cg_for_carry(f, &loop, r->step[0], r->step[1], 1, 1, sum);
    CgVal x = load(f, s, at(f, s, p, cg_imul(f, loop.iv, pixels)), n);
    sum[0] = cg_fma(f, x, x, sum[0]);
    cg_end_carry(f, &loop, sum);
    x = load(f, s, at(f, s, p, cg_imul(f, r->channel, pixels)), n);
    store(f, s, normalise(f, s, x, sum[0]), at(f, s, r->to, i), n);
}

static void lrn_plain(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    NormRun *r = ctx;
    const NormSpec *s = r->spec;
    CgVal c = off[CHANNEL], pixels = cg_i64(f, 1);
    for (int i = 2; i < s->x.rank; i++) {
        pixels = cg_imul(f, pixels, cg_dim(f, s->x.dim[i]));
    }
    r->channel = c;
    r->step[0] = cg_imax(f, cg_iaddc(f, c, -((s->size - 1) / 2)), cg_i64(f, 0));
    r->step[1] = cg_imin(f, cg_iaddc(f, c, s->size / 2 + 1), cg_dim(f, s->x.dim[1]));
    r->step[2] = pixels;
    r->to = at(f, s, f->arg[0], off[Y]);
    r->from = at(f, s, f->arg[1], cg_isub(f, off[X], cg_imul(f, c, pixels)));
    cg_nd_vectors(f, len, 1, lrn_plain_at, r);
}

static void emit_lrn(CgFn *f, const void *spec) {
    NormRun r = {.spec = spec};
    bool block = r.spec->x.block != 0;
    cg_nd_for(f, &r.spec->nd, 1, block ? 1 : f->lanes, block ? lrn_blocks : lrn_plain, &r);
}

// LRN-13: y_c = x_c / (bias + alpha / size * sum of x_i^2)^beta over the window of `size` channels
void cg_lower_lrn(CgProgram *p, const IrNode *n) {
    NormSpec s;
    memset(&s, 0, sizeof s);
    if (!check_layout(p, n)) {
        return;
    }
    init_space(&s, n);
    s.size = ir_int(n, IR_ATTR_SIZE, 1);
    s.alpha = ir_float(n, IR_ATTR_ALPHA, 1e-4) / (double)s.size;
    s.beta = ir_float(n, IR_ATTR_BETA, 0.75);
    s.bias = ir_float(n, IR_ATTR_BIAS, 1);
    if (s.x.block && s.size / 2 > s.x.block) {
        cg_nyi(p, n, "lrn over %lld channels in blocks of %d", (long long)s.size, s.x.block);
        return;
    }
    if (finish_space(&s)) {
        call_norm(p, n, &s, emit_lrn, 250);
    }
}
