// batch_norm_train, batch_norm_grad and lrn_grad. Blocked tensors: a vector is the channels of a
// block at one pixel; others are plain, [N][C][inner].
//
// The statistics of batch_norm are per channel, so threads split channels (blocks of them) and
// nothing is summed up between threads. Blocked, the pixels come in runs that stay in L1: a run's
// mean and squares around it are sums of floats; runs are joined in double (Chan, Golub, LeVeque
// 1979), so that a channel far from zero keeps its variance. Plain, all is in double.
//
// Kernel arguments: results, then operands.
#include "codegen/move/move.h"
#include <math.h>
#include <string.h>

typedef struct NormGrad {
    CgTensor x, dy, y;        // y: y or dx; train has no dy
    double eps;               // batch_norm
    int64_t size;             // lrn
    double alpha, beta, bias; // lrn; alpha is divided by size already
} NormGrad;

enum { RUN = 256 }; // pixels

typedef struct Block {
    const NormGrad *spec;
    CgVal cb, lanes; // number of the block; how many of its lanes are channels, NULL: all
} Block;

static CgVal block_lanes(CgFn *f, const NormGrad *s, CgVal cb) {
    CgVal left = cg_isub(f, cg_i64(f, cg_channels(&s->x)), cg_imulc(f, cb, f->lanes));
    return cg_imin(f, left, cg_i64(f, f->lanes));
}

static int64_t count_blocks(CgFn *f, const NormGrad *s) {
    return (cg_channels(&s->x) + f->lanes - 1) / f->lanes;
}

static CgVal load_channels(CgFn *f, const Block *b, int arg) {
    return cg_load_n(f, cg_fat(f, f->arg[arg], cg_imulc(f, b->cb, f->lanes)), b->lanes);
}

static void store_channels(CgFn *f, const Block *b, CgVal v, int arg) {
    cg_store_n(f, v, cg_fat(f, f->arg[arg], cg_imulc(f, b->cb, f->lanes)), b->lanes);
}

static CgVal plane_at(CgFn *f, int arg, const CgTensor *t, CgVal n, CgVal cb) {
    CgVal plane = cg_imulc(f, cb, cg_spatial(t) * f->lanes);
    return cg_fat(f, f->arg[arg], cg_iadd(f, cg_imulc(f, n, t->image), plane));
}

static CgVal pixel_at(CgFn *f, CgVal base, CgVal i) {
    return cg_fat(f, base, cg_imulc(f, i, f->lanes));
}

// ---------------------------------------------------------------- doubles

static LLVMTypeRef wide_type(CgFn *f) {
    return LLVMVectorType(f->f64, (unsigned)f->lanes);
}
static CgVal widen(CgFn *f, CgVal v) {
    return LLVMBuildFPExt(f->b, v, wide_type(f), "");
}
static CgVal narrow(CgFn *f, CgVal v) {
    return LLVMBuildFPTrunc(f->b, v, f->vec, "");
}
static CgVal int_to_double(CgFn *f, CgVal n) {
    return LLVMBuildSIToFP(f->b, n, f->f64, "");
}
static CgVal d(CgFn *f, double x) {
    return LLVMConstReal(f->f64, x);
}

// The number of a channel's elements, at least 1, as double.
static CgVal count_elements(CgFn *f, const NormGrad *s) {
    CgVal n = cg_dim(f, s->x.dim[0]);
    for (int i = 2; i < s->x.rank; i++) {
        n = cg_imul(f, n, cg_dim(f, s->x.dim[i]));
    }
    return int_to_double(f, cg_imax(f, n, cg_i64(f, 1)));
}

// ---------------------------------------------------------------- sums over runs of pixels

enum { CHAINS = 4, MOST_SUMS = 2 };

// Adds pixel i to n sums.
typedef void (*AddPixel)(void *ctx, CgFn *f, CgVal i, CgVal *sum);

// n sums over pixels [0, len).
static void sum_pixels(CgFn *f, CgVal len, int n, AddPixel add, void *ctx, CgVal *sum) {
    CgVal acc[CHAINS * MOST_SUMS], main = cg_imulc(f, cg_idivc(f, len, CHAINS), CHAINS);
    CgLoop loop;
    for (int i = 0; i < CHAINS * n; i++) {
        acc[i] = cg_v(f, 0);
    }
    cg_for_carry(f, &loop, cg_i64(f, 0), main, CHAINS, CHAINS * n, acc);
    for (int k = 0; k < CHAINS; k++) {
        add(ctx, f, cg_iaddc(f, loop.iv, k), acc + k * n);
    }
    cg_end_carry(f, &loop, acc);
    cg_for_carry(f, &loop, main, len, 1, n, acc);
    add(ctx, f, loop.iv, acc);
    cg_end_carry(f, &loop, acc);
    for (int i = 0; i < n; i++) {
        CgVal a = cg_fadd(f, acc[i], acc[n + i]), b = cg_fadd(f, acc[2 * n + i], acc[3 * n + i]);
        sum[i] = cg_fadd(f, a, b);
    }
}

// Called for each run of a block's pixels, with values carried from run to run.
typedef void (*DoRun)(void *ctx, CgFn *f, CgVal image, CgVal first, CgVal len, CgVal *carry);

static void for_runs(CgFn *f, const NormGrad *s, int n, CgVal *carry, DoRun run, void *ctx) {
    CgLoop image, pixel;
    CgVal pixels = cg_i64(f, cg_spatial(&s->x));
    cg_for_carry(f, &image, cg_i64(f, 0), cg_dim(f, s->x.dim[0]), 1, n, carry);
    cg_for_carry(f, &pixel, cg_i64(f, 0), pixels, RUN, n, carry);
    CgVal len = cg_imin(f, cg_i64(f, RUN), cg_isub(f, pixels, pixel.iv));
    run(ctx, f, image.iv, pixel.iv, len, carry);
    cg_end_carry(f, &pixel, carry);
    cg_end_carry(f, &image, carry);
}

// ---------------------------------------------------------------- batch_norm_train

enum { T_Y, T_MEAN, T_VAR, T_X, T_SCALE, T_BIAS, T_ARGS };

typedef struct Train {
    Block b;
    CgVal from, to; // of the run
    CgVal mean;     // of the run, then of all
    CgVal scale, bias;
} Train;

static void add_value(void *ctx, CgFn *f, CgVal i, CgVal *sum) {
    const Train *t = ctx;
    sum[0] = cg_fadd(f, sum[0], cg_load_v(f, pixel_at(f, t->from, i)));
}

// Around a mean that is rounded: the sum of differences corrects it.
static void add_difference(void *ctx, CgFn *f, CgVal i, CgVal *sum) {
    const Train *t = ctx;
    CgVal diff = cg_fsub(f, cg_load_v(f, pixel_at(f, t->from, i)), t->mean);
    sum[0] = cg_fadd(f, sum[0], diff);
    sum[1] = cg_fma(f, diff, diff, sum[1]);
}

enum { MEAN, SQUARES, COUNT, STATS };

// Joins the run's mean and squares to those so far.
static void join_run(void *ctx, CgFn *f, CgVal image, CgVal first, CgVal len, CgVal *carry) {
    Train *t = ctx;
    CgVal sum[MOST_SUMS], n = int_to_double(f, len), wn = cg_splat(f, n);
    t->from = pixel_at(f, plane_at(f, T_X, &t->b.spec->x, image, t->b.cb), first);
    sum_pixels(f, len, 1, add_value, t, sum);
    t->mean = narrow(f, cg_fdiv(f, widen(f, sum[0]), wn));
    sum_pixels(f, len, 2, add_difference, t, sum);
    CgVal off = widen(f, sum[0]), shift = cg_fdiv(f, off, wn);
    CgVal mean = cg_fadd(f, widen(f, t->mean), shift);
    CgVal squares = cg_fsub(f, widen(f, sum[1]), cg_fmul(f, off, shift));
    CgVal total = cg_fadd(f, carry[COUNT], n), delta = cg_fsub(f, mean, carry[MEAN]);
    CgVal share = cg_splat(f, cg_fdiv(f, n, total));
    CgVal between =
        cg_fmul(f, cg_fmul(f, delta, delta), cg_fmul(f, cg_splat(f, carry[COUNT]), share));
    carry[MEAN] = cg_fadd(f, carry[MEAN], cg_fmul(f, delta, share));
    carry[SQUARES] = cg_fadd(f, carry[SQUARES], cg_fadd(f, squares, between));
    carry[COUNT] = total;
}

static void normalise_pixel(void *ctx, CgFn *f, CgVal i, CgVal n) {
    (void)n;
    const Train *t = ctx;
    CgVal x = cg_load_v(f, pixel_at(f, t->from, i));
    CgVal y = cg_fma(f, cg_fsub(f, x, t->mean), t->scale, t->bias);
    cg_store_v(f, y, pixel_at(f, t->to, i));
}

// scale / sqrt(var + eps)
static CgVal divide_deviation(CgFn *f, const NormGrad *s, CgVal scale, CgVal var) {
    CgVal sum = cg_fadd(f, var, cg_like(f, var, s->eps));
    return cg_fdiv(f, scale, cg_intrinsic(f, "llvm.sqrt", 1, &sum));
}

static void train_block(CgFn *f, Train *t) {
    const NormGrad *s = t->b.spec;
    CgVal zero = LLVMConstNull(wide_type(f)), stats[STATS] = {zero, zero, d(f, 0)};
    for_runs(f, s, STATS, stats, join_run, t);
    CgVal var = narrow(f, cg_fdiv(f, stats[SQUARES], cg_splat(f, count_elements(f, s))));
    t->mean = narrow(f, stats[MEAN]);
    store_channels(f, &t->b, t->mean, T_MEAN);
    store_channels(f, &t->b, var, T_VAR);
    t->scale = divide_deviation(f, s, load_channels(f, &t->b, T_SCALE), var);
    t->bias = load_channels(f, &t->b, T_BIAS);
    CgLoop image;
    cg_for(f, &image, cg_i64(f, 0), cg_dim(f, s->x.dim[0]), 1);
    t->from = plane_at(f, T_X, &s->x, image.iv, t->b.cb);
    t->to = plane_at(f, T_Y, &s->y, image.iv, t->b.cb);
    cg_nd_steps(f, cg_i64(f, cg_spatial(&s->x)), 4, normalise_pixel, t);
    cg_end(f, &image);
}

// Opens a loop over this thread's blocks of channels.
static void open_blocks(CgFn *f, const NormGrad *s, CgLoop *loop, Block *b) {
    CgVal lo, hi;
    cg_split(f, cg_i64(f, count_blocks(f, s)), &lo, &hi);
    cg_for(f, loop, lo, hi, 1);
    b->spec = s;
    b->cb = loop->iv;
    b->lanes = cg_channels(&s->x) % f->lanes ? block_lanes(f, s, loop->iv) : NULL;
}

static void emit_train(CgFn *f, const void *spec) {
    Train t;
    CgLoop loop;
    open_blocks(f, spec, &loop, &t.b);
    train_block(f, &t);
    cg_end(f, &loop);
}

// ---------------------------------------------------------------- batch_norm_grad

enum { G_DX, G_DSCALE, G_DBIAS, G_X, G_DY, G_SCALE, G_MEAN, G_VAR, G_ARGS };

typedef struct Grad {
    Block b;
    CgVal x, dy, dx; // of the run
    CgVal mean;
    CgVal a, c, e; // dx = a * dy + c * (x - mean) + e
} Grad;

static void add_gradient(void *ctx, CgFn *f, CgVal i, CgVal *sum) {
    const Grad *g = ctx;
    CgVal dy = cg_load_v(f, pixel_at(f, g->dy, i)), x = cg_load_v(f, pixel_at(f, g->x, i));
    sum[0] = cg_fadd(f, sum[0], dy);
    sum[1] = cg_fma(f, cg_fsub(f, x, g->mean), dy, sum[1]);
}

static void sum_run(void *ctx, CgFn *f, CgVal image, CgVal first, CgVal len, CgVal *carry) {
    Grad *g = ctx;
    const NormGrad *s = g->b.spec;
    CgVal sum[MOST_SUMS];
    g->x = pixel_at(f, plane_at(f, G_X, &s->x, image, g->b.cb), first);
    g->dy = pixel_at(f, plane_at(f, G_DY, &s->dy, image, g->b.cb), first);
    sum_pixels(f, len, 2, add_gradient, g, sum);
    carry[0] = cg_fadd(f, carry[0], widen(f, sum[0]));
    carry[1] = cg_fadd(f, carry[1], widen(f, sum[1]));
}

static void gradient_pixel(void *ctx, CgFn *f, CgVal i, CgVal n) {
    (void)n;
    const Grad *g = ctx;
    CgVal dy = cg_load_v(f, pixel_at(f, g->dy, i)), x = cg_load_v(f, pixel_at(f, g->x, i));
    CgVal dx = cg_fma(f, cg_fsub(f, x, g->mean), g->c, g->e);
    cg_store_v(f, cg_fma(f, dy, g->a, dx), pixel_at(f, g->dx, i));
}

// Of vectors or scalars, in double: dbias and the sum of dy * (x - mean) to dscale and a, c, e.
static CgVal finish_sums(CgFn *f, Grad *g, CgVal scale, CgVal var, CgVal dbias, CgVal product) {
    const NormGrad *s = g->b.spec;
    CgVal inverse = divide_deviation(f, s, cg_like(f, var, 1), var), n = count_elements(f, s);
    n = LLVMGetTypeKind(LLVMTypeOf(var)) == LLVMVectorTypeKind ? cg_splat(f, n) : n;
    CgVal dscale = cg_fmul(f, product, inverse);
    g->a = cg_fmul(f, scale, inverse);
    g->c = cg_fdiv(f, cg_fmul(f, cg_fmul(f, g->a, inverse), dscale), n);
    g->c = LLVMBuildFNeg(f->b, g->c, "");
    g->e = LLVMBuildFNeg(f->b, cg_fdiv(f, cg_fmul(f, g->a, dbias), n), "");
    return dscale;
}

static void grad_block(CgFn *f, Grad *g) {
    const NormGrad *s = g->b.spec;
    CgVal zero = LLVMConstNull(wide_type(f)), sum[] = {zero, zero};
    g->mean = load_channels(f, &g->b, G_MEAN);
    for_runs(f, s, 2, sum, sum_run, g);
    CgVal scale = widen(f, load_channels(f, &g->b, G_SCALE));
    CgVal var = widen(f, load_channels(f, &g->b, G_VAR));
    CgVal dscale = finish_sums(f, g, scale, var, sum[0], sum[1]);
    store_channels(f, &g->b, narrow(f, dscale), G_DSCALE);
    store_channels(f, &g->b, narrow(f, sum[0]), G_DBIAS);
    g->a = narrow(f, g->a);
    g->c = narrow(f, g->c);
    g->e = narrow(f, g->e);
    CgLoop image;
    cg_for(f, &image, cg_i64(f, 0), cg_dim(f, s->x.dim[0]), 1);
    g->x = plane_at(f, G_X, &s->x, image.iv, g->b.cb);
    g->dy = plane_at(f, G_DY, &s->dy, image.iv, g->b.cb);
    g->dx = plane_at(f, G_DX, &s->y, image.iv, g->b.cb);
    cg_nd_steps(f, cg_i64(f, cg_spatial(&s->x)), 4, gradient_pixel, g);
    cg_end(f, &image);
}

static void emit_grad(CgFn *f, const void *spec) {
    Grad g;
    CgLoop loop;
    open_blocks(f, spec, &loop, &g.b);
    grad_block(f, &g);
    cg_end(f, &loop);
}

// ---------------------------------------------------------------- plain: a channel at a time

typedef struct Channel {
    const NormGrad *spec;
    CgVal c, inner;
} Channel;

static CgVal load_double(CgFn *f, int arg, CgVal i) {
    return LLVMBuildFPExt(f->b, cg_load_f(f, cg_fat(f, f->arg[arg], i)), f->f64, "");
}
static void store_double(CgFn *f, CgVal x, int arg, CgVal i) {
    cg_store(f, LLVMBuildFPTrunc(f->b, x, f->f32, ""), cg_fat(f, f->arg[arg], i), 4);
}

// Opens loops over the channel's elements; the element's index. Two sums are carried.
static CgVal open_elements(CgFn *f, const Channel *h, CgLoop loop[2], CgVal *sum) {
    CgVal C = cg_dim(f, h->spec->x.dim[1]);
    cg_for_carry(f, &loop[0], cg_i64(f, 0), cg_dim(f, h->spec->x.dim[0]), 1, 2, sum);
    cg_for_carry(f, &loop[1], cg_i64(f, 0), h->inner, 1, 2, sum);
    CgVal row = cg_iadd(f, cg_imul(f, loop[0].iv, C), h->c);
    return cg_iadd(f, cg_imul(f, row, h->inner), loop[1].iv);
}

static void close_elements(CgFn *f, CgLoop loop[2], CgVal *sum) {
    cg_end_carry(f, &loop[1], sum);
    cg_end_carry(f, &loop[0], sum);
}

static void train_channel(CgFn *f, const Channel *h) {
    CgLoop loop[2];
    CgVal sum[] = {d(f, 0), d(f, 0)}, n = count_elements(f, h->spec);
    CgVal i = open_elements(f, h, loop, sum);
    sum[0] = cg_fadd(f, sum[0], load_double(f, T_X, i));
    close_elements(f, loop, sum);
    CgVal mean = cg_fdiv(f, sum[0], n);
    i = open_elements(f, h, loop, sum);
    CgVal diff = cg_fsub(f, load_double(f, T_X, i), mean);
    sum[1] = cg_fadd(f, sum[1], cg_fmul(f, diff, diff));
    close_elements(f, loop, sum);
    CgVal var = cg_fdiv(f, sum[1], n);
    store_double(f, mean, T_MEAN, h->c);
    store_double(f, var, T_VAR, h->c);
    CgVal scale = divide_deviation(f, h->spec, load_double(f, T_SCALE, h->c), var);
    CgVal bias = load_double(f, T_BIAS, h->c);
    i = open_elements(f, h, loop, sum);
    diff = cg_fsub(f, load_double(f, T_X, i), mean);
    store_double(f, cg_fadd(f, cg_fmul(f, diff, scale), bias), T_Y, i);
    close_elements(f, loop, sum);
}

static void grad_channel(CgFn *f, const Channel *h) {
    Grad g = {.b.spec = h->spec};
    CgLoop loop[2];
    CgVal sum[] = {d(f, 0), d(f, 0)}, mean = load_double(f, G_MEAN, h->c);
    CgVal i = open_elements(f, h, loop, sum), dy = load_double(f, G_DY, i);
    CgVal diff = cg_fsub(f, load_double(f, G_X, i), mean);
    sum[0] = cg_fadd(f, sum[0], dy);
    sum[1] = cg_fadd(f, sum[1], cg_fmul(f, dy, diff));
    close_elements(f, loop, sum);
    CgVal scale = load_double(f, G_SCALE, h->c), var = load_double(f, G_VAR, h->c);
    store_double(f, finish_sums(f, &g, scale, var, sum[0], sum[1]), G_DSCALE, h->c);
    store_double(f, sum[0], G_DBIAS, h->c);
    i = open_elements(f, h, loop, sum);
    diff = cg_fsub(f, load_double(f, G_X, i), mean);
    dy = cg_fmul(f, load_double(f, G_DY, i), g.a);
    store_double(f, cg_fadd(f, dy, cg_fadd(f, cg_fmul(f, diff, g.c), g.e)), G_DX, i);
    close_elements(f, loop, sum);
}

static void for_channels(CgFn *f, const NormGrad *s, void (*body)(CgFn *, const Channel *)) {
    CgVal lo, hi;
    CgLoop loop;
    cg_split(f, cg_dim(f, s->x.dim[1]), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    Channel h = {s, loop.iv, cg_i64(f, 1)};
    for (int i = 2; i < s->x.rank; i++) {
        h.inner = cg_imul(f, h.inner, cg_dim(f, s->x.dim[i]));
    }
    body(f, &h);
    cg_end(f, &loop);
}

static void emit_plain_train(CgFn *f, const void *spec) {
    for_channels(f, spec, train_channel);
}
static void emit_plain_grad(CgFn *f, const void *spec) {
    for_channels(f, spec, grad_channel);
}

// ---------------------------------------------------------------- lrn_grad

enum { L_DX, L_X, L_DY, L_ARGS };

// s^-beta
static CgVal inverse_power(CgFn *f, const NormGrad *s, CgVal sum) {
    CgVal one = cg_v(f, 1), root = cg_intrinsic(f, "llvm.sqrt", 1, &sum);
    if (s->beta == 0.75) {
        CgVal fourth = cg_intrinsic(f, "llvm.sqrt", 1, &root);
        return cg_fdiv(f, one, cg_fmul(f, root, fourth));
    }
    if (s->beta == 0.5) {
        return cg_fdiv(f, one, root);
    }
    return s->beta == 1 ? cg_fdiv(f, one, sum) : cg_pow(f, sum, cg_v(f, -s->beta));
}

static CgVal scale_sum(CgFn *f, const NormGrad *s, CgVal squares) {
    return cg_fma(f, squares, cg_v(f, s->alpha), cg_v(f, s->bias));
}

// dy * power - 2 beta alpha x * sum
static CgVal lrn_gradient(CgFn *f, const NormGrad *s, CgVal x, CgVal dy, CgVal power, CgVal sum) {
    CgVal factor = cg_fmul(f, x, cg_v(f, -2 * s->beta * s->alpha));
    return cg_fma(f, factor, sum, cg_fmul(f, dy, power));
}

enum { AROUND = 2, BLOCKS = 2 * AROUND + 1 }; // blocks on each side; all

typedef struct LrnRow {
    const NormGrad *spec;
    CgVal x, dy, dx;                   // of this block's row of pixels
    CgVal step[BLOCKS], lanes[BLOCKS]; // to block cb - 2 + k, and how many of its lanes count
} LrnRow;

// Lane l: sum over channels l - below .. l + above, out of three neighbouring blocks.
static CgVal window_sum(CgFn *f, const CgVal *blocks, int below, int above) {
    CgVal sum = blocks[1];
    int lane[64];
    for (int k = -below; k <= above; k++) {
        for (int l = 0; l < f->lanes; l++) { // of the pair (before, here) or (here, behind)
            lane[l] = k < 0 ? f->lanes + l + k : l + k;
        }
        if (k != 0) {
            CgVal a = k < 0 ? blocks[0] : blocks[1], b = k < 0 ? blocks[1] : blocks[2];
            sum = cg_fadd(f, sum, cg_shuffle(f, a, b, f->lanes, lane));
        }
    }
    return sum;
}

static void lrn_pixel(void *ctx, CgFn *f, CgVal i, CgVal n) {
    (void)n;
    const LrnRow *r = ctx;
    const NormGrad *s = r->spec;
    int below = (int)((s->size - 1) / 2), above = (int)(s->size / 2);
    CgVal x[BLOCKS], squares[BLOCKS], term[3], zero = cg_v(f, 0), dy_here = NULL, power_here = NULL;
    for (int k = 0; k < BLOCKS; k++) {
        x[k] = cg_load_v(f, pixel_at(f, cg_fat(f, r->x, r->step[k]), i));
        x[k] = cg_select(f, cg_lane_mask(f, r->lanes[k]), x[k], zero);
        squares[k] = cg_fmul(f, x[k], x[k]);
    }
    for (int k = 0; k < 3; k++) {
        CgVal dy = cg_load_v(f, pixel_at(f, cg_fat(f, r->dy, r->step[k + 1]), i));
        dy = cg_select(f, cg_lane_mask(f, r->lanes[k + 1]), dy, zero);
        CgVal sum = scale_sum(f, s, window_sum(f, squares + k, below, above));
        CgVal power = inverse_power(f, s, sum);
        term[k] = cg_fdiv(f, cg_fmul(f, cg_fmul(f, dy, x[k + 1]), power), sum);
        term[k] = cg_select(f, cg_lane_mask(f, r->lanes[k + 1]), term[k], zero);
        dy_here = k == 1 ? dy : dy_here;
        power_here = k == 1 ? power : power_here;
    }
    CgVal sum = window_sum(f, term, above, below);
    CgVal dx = lrn_gradient(f, s, x[AROUND], dy_here, power_here, sum);
    cg_store_v(f, dx, pixel_at(f, r->dx, i));
}

static void emit_lrn_grad(CgFn *f, const void *spec) {
    const NormGrad *s = spec;
    LrnRow r = {.spec = s};
    int64_t blocks = count_blocks(f, s), H = s->x.dim[2].c, W = s->x.dim[3].c;
    CgVal lo, hi, zero = cg_i64(f, 0);
    CgLoop loop;
    cg_split(f, cg_imulc(f, cg_dim(f, s->x.dim[0]), blocks * H), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    CgVal plane = cg_idivc(f, loop.iv, H), row = cg_imulc(f, cg_iremc(f, loop.iv, H), W);
    CgVal n = cg_idivc(f, plane, blocks), cb = cg_iremc(f, plane, blocks);
    for (int k = 0; k < BLOCKS; k++) {
        CgVal b = cg_iaddc(f, cb, k - AROUND), lanes = block_lanes(f, s, b);
        CgVal is_block = cg_icmp(f, LLVMIntULT, b, cg_i64(f, blocks));
        r.lanes[k] = cg_select(f, is_block, lanes, zero);
        r.step[k] = cg_select(f, is_block, cg_i64(f, (k - AROUND) * H * W * f->lanes), zero);
    }
    r.x = pixel_at(f, plane_at(f, L_X, &s->x, n, cb), row);
    r.dy = pixel_at(f, plane_at(f, L_DY, &s->dy, n, cb), row);
    r.dx = pixel_at(f, plane_at(f, L_DX, &s->y, n, cb), row);
    cg_nd_steps(f, cg_i64(f, W), 1, lrn_pixel, &r);
    cg_end(f, &loop);
}

typedef struct LrnPlain {
    const NormGrad *spec;
    CgVal image, c, inner; // offset of the image, channel
} LrnPlain;

static CgVal channel_at(CgFn *f, const LrnPlain *r, CgVal c, CgVal i) {
    return cg_iadd(f, cg_iadd(f, r->image, cg_imul(f, c, r->inner)), i);
}

// bias + alpha/size * squares around channel o
static CgVal plain_sum(CgFn *f, const LrnPlain *r, CgVal o, CgVal i, CgVal n) {
    const NormGrad *s = r->spec;
    CgVal lo = cg_imax(f, cg_iaddc(f, o, -((s->size - 1) / 2)), cg_i64(f, 0));
    CgVal hi = cg_imin(f, cg_iaddc(f, o, s->size / 2 + 1), cg_dim(f, s->x.dim[1]));
    CgVal sum[] = {cg_v(f, 0)};
    CgLoop loop;
    cg_for_carry(f, &loop, lo, hi, 1, 1, sum);
    CgVal x = cg_load_n(f, cg_fat(f, f->arg[L_X], channel_at(f, r, loop.iv, i)), n);
    sum[0] = cg_fma(f, x, x, sum[0]);
    cg_end_carry(f, &loop, sum);
    return scale_sum(f, s, sum[0]);
}

static void lrn_plain_at(void *ctx, CgFn *f, CgVal i, CgVal n) {
    const LrnPlain *r = ctx;
    const NormGrad *s = r->spec;
    CgVal lo = cg_imax(f, cg_iaddc(f, r->c, -(s->size / 2)), cg_i64(f, 0)), term[] = {cg_v(f, 0)};
    CgVal hi = cg_imin(f, cg_iaddc(f, r->c, (s->size - 1) / 2 + 1), cg_dim(f, s->x.dim[1]));
    CgLoop loop;
    cg_for_carry(f, &loop, lo, hi, 1, 1, term);
    CgVal at = channel_at(f, r, loop.iv, i), sum = plain_sum(f, r, loop.iv, i, n);
    CgVal x = cg_load_n(f, cg_fat(f, f->arg[L_X], at), n);
    CgVal dy = cg_load_n(f, cg_fat(f, f->arg[L_DY], at), n);
    CgVal product = cg_fmul(f, cg_fmul(f, dy, x), inverse_power(f, s, sum));
    term[0] = cg_fadd(f, term[0], cg_fdiv(f, product, sum));
    cg_end_carry(f, &loop, term);
    at = channel_at(f, r, r->c, i);
    CgVal power = inverse_power(f, s, plain_sum(f, r, r->c, i, n));
    x = cg_load_n(f, cg_fat(f, f->arg[L_X], at), n);
    dy = cg_load_n(f, cg_fat(f, f->arg[L_DY], at), n);
    cg_store_n(f, lrn_gradient(f, s, x, dy, power, term[0]), cg_fat(f, f->arg[L_DX], at), n);
}

static void emit_plain_lrn_grad(CgFn *f, const void *spec) {
    const NormGrad *s = spec;
    LrnPlain r = {.spec = s, .inner = cg_i64(f, 1)};
    CgVal C = cg_dim(f, s->x.dim[1]), lo, hi, image;
    CgLoop loop;
    for (int i = 2; i < s->x.rank; i++) {
        r.inner = cg_imul(f, r.inner, cg_dim(f, s->x.dim[i]));
    }
    cg_split(f, cg_imul(f, cg_dim(f, s->x.dim[0]), C), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    cg_divmod(f, loop.iv, C, &image, &r.c);
    r.image = cg_imul(f, cg_imul(f, image, C), r.inner);
    cg_nd_vectors(f, r.inner, 1, lrn_plain_at, &r);
    cg_end(f, &loop);
}

// ---------------------------------------------------------------- lowering

static bool read_node(CgProgram *p, const IrNode *n, const IrValue *dy, NormGrad *s) {
    memset(s, 0, sizeof *s);
    s->x = cg_tensor(ir_in(n, 0));
    s->y = cg_tensor(n->out[0]);
    s->dy = cg_tensor(dy ? dy : ir_in(n, 0));
    bool alike = s->x.block == s->y.block && s->x.block == s->dy.block;
    if (s->x.dtype != IR_F32 || !alike || (s->x.block && !cg_static_dims(&s->x, 1))) {
        cg_nyi(p, n, "%s of %s in this layout", ir_op_info(n->op)->text,
               ir_dtype_name((IrDtype)s->x.dtype));
        return false;
    }
    s->eps = ir_float(n, IR_ATTR_EPS, 1e-5);
    return true;
}

static void call_norm(CgProgram *p, const IrNode *n, const NormGrad *s, CgEmit emit) {
    CgArg args[CG_MAX_ARGS];
    int n_args = 0;
    for (int i = 0; i < n->n_out; i++) {
        args[n_args++] = cg_write(n->out[i]);
    }
    for (int i = 0; i < n->n_in; i++) {
        args[n_args++] = cg_read(ir_in(n, i));
    }
    const char *algo = ir_op_info(n->op)->text;
    int k = cg_kernel(p, algo, emit, s, sizeof *s, n_args, 500);
    cg_call(p, n, k, n_args, args, algo, (IrDim){0, 0});
}

void cg_lower_batch_norm_train(CgProgram *p, const IrNode *n) {
    NormGrad s;
    if (read_node(p, n, NULL, &s)) {
        call_norm(p, n, &s, s.x.block ? emit_train : emit_plain_train);
    }
}

void cg_lower_batch_norm_grad(CgProgram *p, const IrNode *n) {
    NormGrad s;
    if (read_node(p, n, ir_in(n, 1), &s)) {
        call_norm(p, n, &s, s.x.block ? emit_grad : emit_plain_grad);
    }
}

void cg_lower_lrn_grad(CgProgram *p, const IrNode *n) {
    NormGrad s;
    if (!read_node(p, n, ir_in(n, 1), &s)) {
        return;
    }
    s.size = ir_int(n, IR_ATTR_SIZE, 1);
    s.alpha = ir_float(n, IR_ATTR_ALPHA, 1e-4) / (double)s.size;
    s.beta = ir_float(n, IR_ATTR_BETA, 0.75);
    s.bias = ir_float(n, IR_ATTR_BIAS, 1);
    if (s.x.block && s.size / 2 > s.x.block) {
        cg_nyi(p, n, "lrn_grad over %lld channels in blocks of %d", (long long)s.size, s.x.block);
        return;
    }
    if (cg_channels(&s.x) > 0 && !(s.x.block && cg_spatial(&s.x) == 0)) {
        call_norm(p, n, &s, s.x.block ? emit_lrn_grad : emit_plain_lrn_grad);
    }
}
