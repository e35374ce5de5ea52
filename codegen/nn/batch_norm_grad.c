// batch_norm_train and batch_norm_grad.
//
// The statistics of batch_norm are per channel, so threads split channels (blocks of them) and
// nothing is summed up between threads. Blocked, the pixels come in runs that stay in L1: a run's
// mean and squares around it are sums of floats; runs are joined in double (Chan, Golub, LeVeque
// 1979), so that a channel far from zero keeps its variance. Plain, all is in double. Elements of
// 16 bits are widened as they are loaded, and rounded once, behind the epilogue.
#include "codegen/nn/norm_grad.h"

enum { RUN = 256 }; // pixels

typedef struct Block {
    const CgNormGrad *spec;
    CgVal cb, lanes; // number of the block; how many of its lanes are channels, NULL: all
} Block;

static CgVal load_channels(CgFn *f, const Block *b, int arg) {
    return cg_load_n(f, cg_fat(f, f->arg[arg], cg_imulc(f, b->cb, f->lanes)), b->lanes);
}

static void store_channels(CgFn *f, const Block *b, CgVal v, int arg) {
    cg_store_n(f, v, cg_fat(f, f->arg[arg], cg_imulc(f, b->cb, f->lanes)), b->lanes);
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
static CgVal count_elements(CgFn *f, const CgNormGrad *s) {
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

// Opens a loop over images, the last one first, as its end is what a pass before has left in the
// cache.
static CgVal open_images_back(CgFn *f, const CgNormGrad *s, CgLoop *loop) {
    CgVal images = cg_dim(f, s->x.dim[0]);
    cg_for(f, loop, cg_i64(f, 0), images, 1);
    return cg_isub(f, cg_iaddc(f, images, -1), loop->iv);
}

// Called for each run of a block's pixels, with values carried from run to run.
typedef void (*DoRun)(void *ctx, CgFn *f, CgVal image, CgVal first, CgVal len, CgVal *carry);

static void for_runs(CgFn *f, const CgNormGrad *s, int n, CgVal *carry, DoRun run, void *ctx) {
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
    CgVal from, to; // of the run; of the image
    CgVal image;
    CgVal mean; // of the run, then of all
    CgVal scale, bias;
} Train;

static void add_value(void *ctx, CgFn *f, CgVal i, CgVal *sum) {
    const Train *t = ctx;
    sum[0] = cg_fadd(f, sum[0], cg_norm_grad_load(f, &t->b.spec->x, t->from, i));
}

// Around a mean that is rounded: the sum of differences corrects it.
static void add_difference(void *ctx, CgFn *f, CgVal i, CgVal *sum) {
    const Train *t = ctx;
    CgVal diff = cg_fsub(f, cg_norm_grad_load(f, &t->b.spec->x, t->from, i), t->mean);
    sum[0] = cg_fadd(f, sum[0], diff);
    sum[1] = cg_fma(f, diff, diff, sum[1]);
}

enum { MEAN, SQUARES, COUNT, STATS };

// Joins the run's mean and squares to those so far.
static void join_run(void *ctx, CgFn *f, CgVal image, CgVal first, CgVal len, CgVal *carry) {
    Train *t = ctx;
    CgVal sum[MOST_SUMS], n = int_to_double(f, len), wn = cg_splat(f, n);
    const CgTensor *x = &t->b.spec->x;
    t->from = cg_norm_grad_pixel(f, x, cg_norm_grad_plane(f, T_X, x, image, t->b.cb), first);
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
    CgVal x = cg_norm_grad_load(f, &t->b.spec->x, t->from, i), at[] = {t->image, t->b.cb, i};
    CgVal y = cg_fma(f, cg_fsub(f, x, t->mean), t->scale, t->bias);
    cg_norm_grad_store(f, t->b.spec, y, t->to, at);
}

// scale / sqrt(var + eps)
static CgVal divide_deviation(CgFn *f, const CgNormGrad *s, CgVal scale, CgVal var) {
    CgVal sum = cg_fadd(f, var, cg_like(f, var, s->eps));
    return cg_fdiv(f, scale, cg_intrinsic(f, "llvm.sqrt", 1, &sum));
}

static void train_block(CgFn *f, Train *t) {
    const CgNormGrad *s = t->b.spec;
    CgVal zero = LLVMConstNull(wide_type(f)), stats[STATS] = {zero, zero, d(f, 0)};
    for_runs(f, s, STATS, stats, join_run, t);
    CgVal var = narrow(f, cg_fdiv(f, stats[SQUARES], cg_splat(f, count_elements(f, s))));
    t->mean = narrow(f, stats[MEAN]);
    store_channels(f, &t->b, t->mean, T_MEAN);
    store_channels(f, &t->b, var, T_VAR);
    t->scale = divide_deviation(f, s, load_channels(f, &t->b, T_SCALE), var);
    t->bias = load_channels(f, &t->b, T_BIAS);
    CgLoop image;
    t->image = open_images_back(f, s, &image);
    t->from = cg_norm_grad_plane(f, T_X, &s->x, t->image, t->b.cb);
    t->to = cg_norm_grad_plane(f, T_Y, &s->y, t->image, t->b.cb);
    cg_nd_steps(f, cg_i64(f, cg_spatial(&s->x)), 4, normalise_pixel, t);
    cg_end(f, &image);
}

// Opens a loop over this thread's blocks of channels.
static void open_blocks(CgFn *f, const CgNormGrad *s, CgLoop *loop, Block *b) {
    CgVal lo, hi;
    cg_split(f, cg_i64(f, cg_norm_grad_blocks(f, s)), &lo, &hi);
    cg_for(f, loop, lo, hi, 1);
    b->spec = s;
    b->cb = loop->iv;
    b->lanes = cg_channels(&s->x) % f->lanes ? cg_norm_grad_lanes(f, s, loop->iv) : NULL;
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
    CgVal x, dy, dx; // of the run; of the image
    CgVal image;
    CgVal mean;
    CgVal a, c, e; // dx = a * dy + c * (x - mean) + e
} Grad;

static void add_gradient(void *ctx, CgFn *f, CgVal i, CgVal *sum) {
    const Grad *g = ctx;
    CgVal dy = cg_norm_grad_load(f, &g->b.spec->dy, g->dy, i),
          x = cg_norm_grad_load(f, &g->b.spec->x, g->x, i);
    sum[0] = cg_fadd(f, sum[0], dy);
    sum[1] = cg_fma(f, cg_fsub(f, x, g->mean), dy, sum[1]);
}

static void sum_run(void *ctx, CgFn *f, CgVal image, CgVal first, CgVal len, CgVal *carry) {
    Grad *g = ctx;
    const CgNormGrad *s = g->b.spec;
    CgVal sum[MOST_SUMS];
    g->x = cg_norm_grad_plane(f, G_X, &s->x, image, g->b.cb);
    g->x = cg_norm_grad_pixel(f, &s->x, g->x, first);
    g->dy = cg_norm_grad_plane(f, G_DY, &s->dy, image, g->b.cb);
    g->dy = cg_norm_grad_pixel(f, &s->dy, g->dy, first);
    sum_pixels(f, len, 2, add_gradient, g, sum);
    carry[0] = cg_fadd(f, carry[0], widen(f, sum[0]));
    carry[1] = cg_fadd(f, carry[1], widen(f, sum[1]));
}

static void gradient_pixel(void *ctx, CgFn *f, CgVal i, CgVal n) {
    (void)n;
    const Grad *g = ctx;
    const CgNormGrad *s = g->b.spec;
    CgVal dy = cg_norm_grad_load(f, &s->dy, g->dy, i), x = cg_norm_grad_load(f, &s->x, g->x, i);
    CgVal at[] = {g->image, g->b.cb, i};
    CgVal dx = cg_fma(f, cg_fsub(f, x, g->mean), g->c, g->e);
    cg_norm_grad_store(f, s, cg_fma(f, dy, g->a, dx), g->dx, at);
}

// Of vectors or scalars, in double: dbias and the sum of dy * (x - mean) to dscale and a, c, e.
static CgVal finish_sums(CgFn *f, Grad *g, CgVal scale, CgVal var, CgVal dbias, CgVal product) {
    const CgNormGrad *s = g->b.spec;
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
    const CgNormGrad *s = g->b.spec;
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
    g->image = open_images_back(f, s, &image);
    g->x = cg_norm_grad_plane(f, G_X, &s->x, g->image, g->b.cb);
    g->dy = cg_norm_grad_plane(f, G_DY, &s->dy, g->image, g->b.cb);
    g->dx = cg_norm_grad_plane(f, G_DX, &s->y, g->image, g->b.cb);
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
    const CgNormGrad *spec;
    CgVal c, inner;
    CgVal image, i; // of the element: its image, its place in the channel's plane
} Channel;

static CgVal load_double(CgFn *f, int arg, CgVal i) {
    return LLVMBuildFPExt(f->b, cg_load_f(f, cg_fat(f, f->arg[arg], i)), f->f64, "");
}
static CgVal load_element(CgFn *f, const CgTensor *t, int arg, CgVal i) {
    CgVal x = cg_elem_load(f, (IrDtype)t->dtype, f->arg[arg], i);
    return LLVMBuildFPExt(f->b, x, f->f64, "");
}
static void store_double(CgFn *f, CgVal x, int arg, CgVal i) {
    cg_store(f, LLVMBuildFPTrunc(f->b, x, f->f32, ""), cg_fat(f, f->arg[arg], i), 4);
}

// x, as the epilogue has it, as element i of result 0: the open loops' element.
static void store_element(CgFn *f, const Channel *h, CgVal x, CgVal i) {
    const CgNormGrad *s = h->spec;
    CgVal at[] = {h->image, h->c, h->i, cg_i64(f, 0)};
    if (s->y.rank == 4) {
        cg_divmod(f, h->i, cg_dim(f, s->y.dim[3]), &at[2], &at[3]);
    }
    CgVal y = cg_pixel_element(f, &s->then, LLVMBuildFPTrunc(f->b, x, f->f32, ""), at);
    cg_elem_store(f, (IrDtype)s->y.dtype, y, f->arg[0], i);
}

// Opens loops over the channel's elements; the element's index. Two sums are carried.
static CgVal open_elements(CgFn *f, Channel *h, CgLoop loop[2], CgVal *sum) {
    CgVal C = cg_dim(f, h->spec->x.dim[1]);
    cg_for_carry(f, &loop[0], cg_i64(f, 0), cg_dim(f, h->spec->x.dim[0]), 1, 2, sum);
    cg_for_carry(f, &loop[1], cg_i64(f, 0), h->inner, 1, 2, sum);
    CgVal row = cg_iadd(f, cg_imul(f, loop[0].iv, C), h->c);
    h->image = loop[0].iv;
    h->i = loop[1].iv;
    return cg_iadd(f, cg_imul(f, row, h->inner), loop[1].iv);
}

static void close_elements(CgFn *f, CgLoop loop[2], CgVal *sum) {
    cg_end_carry(f, &loop[1], sum);
    cg_end_carry(f, &loop[0], sum);
}

static void train_channel(CgFn *f, Channel *h) {
    CgLoop loop[2];
    CgVal sum[] = {d(f, 0), d(f, 0)}, n = count_elements(f, h->spec);
    CgVal i = open_elements(f, h, loop, sum);
    sum[0] = cg_fadd(f, sum[0], load_element(f, &h->spec->x, T_X, i));
    close_elements(f, loop, sum);
    CgVal mean = cg_fdiv(f, sum[0], n);
    i = open_elements(f, h, loop, sum);
    CgVal diff = cg_fsub(f, load_element(f, &h->spec->x, T_X, i), mean);
    sum[1] = cg_fadd(f, sum[1], cg_fmul(f, diff, diff));
    close_elements(f, loop, sum);
    CgVal var = cg_fdiv(f, sum[1], n);
    store_double(f, mean, T_MEAN, h->c);
    store_double(f, var, T_VAR, h->c);
    CgVal scale = divide_deviation(f, h->spec, load_double(f, T_SCALE, h->c), var);
    CgVal bias = load_double(f, T_BIAS, h->c);
    i = open_elements(f, h, loop, sum);
    diff = cg_fsub(f, load_element(f, &h->spec->x, T_X, i), mean);
    store_element(f, h, cg_fadd(f, cg_fmul(f, diff, scale), bias), i);
    close_elements(f, loop, sum);
}

static void grad_channel(CgFn *f, Channel *h) {
    Grad g = {.b.spec = h->spec};
    CgLoop loop[2];
    CgVal sum[] = {d(f, 0), d(f, 0)}, mean = load_double(f, G_MEAN, h->c);
    CgVal i = open_elements(f, h, loop, sum), dy = load_element(f, &h->spec->dy, G_DY, i);
    CgVal diff = cg_fsub(f, load_element(f, &h->spec->x, G_X, i), mean);
    sum[0] = cg_fadd(f, sum[0], dy);
    sum[1] = cg_fadd(f, sum[1], cg_fmul(f, dy, diff));
    close_elements(f, loop, sum);
    CgVal scale = load_double(f, G_SCALE, h->c), var = load_double(f, G_VAR, h->c);
    store_double(f, finish_sums(f, &g, scale, var, sum[0], sum[1]), G_DSCALE, h->c);
    store_double(f, sum[0], G_DBIAS, h->c);
    i = open_elements(f, h, loop, sum);
    diff = cg_fsub(f, load_element(f, &h->spec->x, G_X, i), mean);
    dy = cg_fmul(f, load_element(f, &h->spec->dy, G_DY, i), g.a);
    store_element(f, h, cg_fadd(f, dy, cg_fadd(f, cg_fmul(f, diff, g.c), g.e)), i);
    close_elements(f, loop, sum);
}

static void for_channels(CgFn *f, const CgNormGrad *s, void (*body)(CgFn *, Channel *)) {
    CgVal lo, hi;
    CgLoop loop;
    cg_split(f, cg_dim(f, s->x.dim[1]), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    Channel h = {.spec = s, .c = loop.iv, .inner = cg_i64(f, 1)};
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

// ---------------------------------------------------------------- lowering

void cg_lower_batch_norm_train(CgProgram *p, const IrNode *n) {
    CgNormGrad s;
    if (cg_norm_grad_read(p, n, NULL, &s)) {
        cg_norm_grad_call(p, n, &s, s.x.block ? emit_train : emit_plain_train);
    }
}

void cg_lower_batch_norm_grad(CgProgram *p, const IrNode *n) {
    CgNormGrad s;
    if (cg_norm_grad_read(p, n, ir_in(n, 1), &s)) {
        cg_norm_grad_call(p, n, &s, s.x.block ? emit_grad : emit_plain_grad);
    }
}
