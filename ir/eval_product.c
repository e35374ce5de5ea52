// Convolution and matrix product of the reference evaluator, both as
//
//   out[m][p] = sum over k of a(m, k) * b(k, p)
//
// computed tile by tile: a panel of b is gathered as double (for conv the pixels under kernel
// element k), and every row of a is multiplied with it. All sums run in double, over k in the same
// order whatever the number of threads: those of 8-bit integers are exact, then wrapped around to
// i32.
#include "ir/eval.h"
#include <string.h>

enum { TILE_M = 64, TILE_K = 128, TILE_P = 32 };

typedef double Row[TILE_P];

typedef struct Product Product;
struct Product {
    int64_t batch, m, p, k;
    void (*load_a)(const Product *, int64_t batch, int64_t m, int64_t k0, int64_t n, double *row);
    // Row i of the panel gets b(k0 + i, p0 ...), n columns; what the rest hold does not matter.
    void (*load_b)(const Product *, int64_t batch, int64_t k0, int64_t rows, int64_t p0, int64_t n,
                   Row *panel);
    // Adds the bias and stores out(m, p0 ...).
    void (*store)(const Product *, int64_t batch, int64_t m, int64_t p0, int64_t n, double *sum);
    const IrTensor *a, *b, *bias; // bias may be NULL
    IrTensor *out;
    double zero; // what elements of x, of the matrix on the left, are less
    // conv
    IrWindow w;
    const double *x; // [N][C][H][W]
    int64_t c, h, wd, ow;
    // matmul
    bool trans_a, trans_b;
    int64_t step_a[IR_MAX_RANK], step_b[IR_MAX_RANK], step_bias[IR_MAX_RANK]; // per axis of out
};

// sum[p] += sum over i of a[i] * panel[i][p]
static void add_products(const double *a, const Row *panel, int64_t n, double *restrict sum) {
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        double a0 = a[i], a1 = a[i + 1], a2 = a[i + 2], a3 = a[i + 3];
        const double *b0 = panel[i], *b1 = panel[i + 1], *b2 = panel[i + 2], *b3 = panel[i + 3];
        for (int p = 0; p < TILE_P; p++) {
            sum[p] += (a0 * b0[p] + a1 * b1[p]) + (a2 * b2[p] + a3 * b3[p]);
        }
    }
    for (; i < n; i++) {
        for (int p = 0; p < TILE_P; p++) {
            sum[p] += a[i] * panel[i][p];
        }
    }
}

static void run_tile(const Product *t, int64_t batch, int64_t m0, int64_t p0) {
    Row panel[TILE_K], sum[TILE_M];
    double row[TILE_K];
    int64_t m = t->m - m0 < TILE_M ? t->m - m0 : TILE_M;
    int64_t n = t->p - p0 < TILE_P ? t->p - p0 : TILE_P;
    memset(sum, 0, (size_t)m * sizeof sum[0]);
    memset(panel, 0, (size_t)(t->k < TILE_K ? t->k : TILE_K) * sizeof panel[0]);
    for (int64_t k0 = 0; k0 < t->k; k0 += TILE_K) {
        int64_t k = t->k - k0 < TILE_K ? t->k - k0 : TILE_K;
        t->load_b(t, batch, k0, k, p0, n, panel);
        for (int64_t i = 0; i < m; i++) {
            t->load_a(t, batch, m0 + i, k0, k, row);
            add_products(row, (const Row *)panel, k, sum[i]);
        }
    }
    for (int64_t i = 0; i < m; i++) {
        t->store(t, batch, m0 + i, p0, n, sum[i]);
    }
}

static void run_product(const Product *t) {
    int64_t tiles_m = (t->m + TILE_M - 1) / TILE_M, tiles_p = (t->p + TILE_P - 1) / TILE_P;
    int64_t tiles = t->batch * tiles_m * tiles_p;
#pragma omp parallel for schedule(dynamic) if (tiles > 1)
    for (int64_t i = 0; i < tiles; i++) {
        int64_t tile = i % (tiles_m * tiles_p);
        run_tile(t, i / (tiles_m * tiles_p), tile / tiles_p * TILE_M, tile % tiles_p * TILE_P);
    }
}

static void store_sums(const Product *t, int64_t at, int64_t n, const double *sum) {
    IrWide whole[TILE_P];
    if (ir_dtype_is_float(t->out->dtype)) {
        ir_tensor_store(t->out, at, n, sum);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        whole[i] = (IrWide)sum[i];
    }
    ir_tensor_store_wide(t->out, at, n, whole);
}

// ---------------------------------------------------------------- conv
// batch = image * group + g, m an output channel of the group, p = oh * OW + ow, k = (ic, kh, kw).

static void load_kernel(const Product *t, int64_t batch, int64_t m, int64_t k0, int64_t n,
                        double *row) {
    int64_t channel = batch % t->w.group * t->m + m;
    ir_tensor_load(t->a, channel * t->k + k0, 1, n, row);
}

static void load_pixels(const Product *t, int64_t batch, int64_t k0, int64_t rows, int64_t p0,
                        int64_t n, Row *panel) {
    const IrWindow *w = &t->w;
    int64_t per_group = t->c / w->group;
    int64_t channel = batch / w->group * t->c + batch % w->group * per_group;
    const double *x = t->x + channel * t->h * t->wd;
    int64_t top[TILE_P], left[TILE_P];
    for (int64_t p = 0; p < n; p++) {
        top[p] = (p0 + p) / t->ow * w->sh - w->pt;
        left[p] = (p0 + p) % t->ow * w->sw - w->pl;
    }
    for (int64_t i = 0; i < rows; i++) {
        int64_t k = k0 + i;
        int64_t down = k / w->kw % w->kh * w->dh, right = k % w->kw * w->dw;
        const double *plane = x + k / (w->kh * w->kw) * t->h * t->wd;
        for (int64_t p = 0; p < n; p++) {
            int64_t ih = top[p] + down, iw = left[p] + right;
            bool inside = ih >= 0 && ih < t->h && iw >= 0 && iw < t->wd;
            panel[i][p] = inside ? plane[ih * t->wd + iw] - t->zero : 0;
        }
    }
}

static void store_pixels(const Product *t, int64_t batch, int64_t m, int64_t p0, int64_t n,
                         double *sum) {
    int64_t channel = batch % t->w.group * t->m + m;
    double bias = t->bias ? ir_tensor_get(t->bias, channel) : 0;
    for (int64_t p = 0; p < n; p++) {
        sum[p] += bias;
    }
    store_sums(t, (batch * t->m + m) * t->p + p0, n, sum);
}

// in[0] times a factor of each row of its first dimension, rounded to f32
static const double *scale_rows(IrEval *e, const IrTensor *const *in) {
    int64_t elems = ir_tensor_elems(in[0]), rows = in[0]->dim[0];
    const double *w = ir_eval_doubles(e, in[0]), *factor = ir_eval_doubles(e, in[1]);
    double *y = ir_eval_scratch(e, elems, sizeof *y);
    for (int64_t i = 0; i < elems; i++) {
        y[i] = (float)(w[i] * factor[i / (elems / rows)]);
    }
    return y;
}

// The order is the kernel's own affair: see conv, which reads it as it is here.
const char *ir_eval_pack_filter(IrEval *e, const IrNode *n, const IrTensor *const *in,
                                IrTensor *out) {
    IrTensor w = *in[0], flipped = w;
    const IrTensor *from[] = {&w};
    memset(out->data, 0, ir_tensor_bytes(out));
    if (w.dtype != out->dtype || n->n_in > 1) {
        int64_t elems = ir_tensor_elems(&w);
        w.dtype = flipped.dtype = out->dtype;
        w.data = ir_eval_scratch(e, elems, (size_t)ir_dtype_bytes(w.dtype));
        ir_tensor_store(&w, 0, elems, n->n_in > 1 ? scale_rows(e, in) : ir_eval_doubles(e, in[0]));
    }
    if (ir_int(n, IR_ATTR_REVERSE, 0)) {
        flipped.dim[0] = w.dim[1];
        flipped.dim[1] = w.dim[0];
        flipped.data = out->data;
        return ir_eval_flip_filter(e, n, from, &flipped);
    }
    memcpy(out->data, w.data, ir_tensor_bytes(&w));
    return NULL;
}

// Conv-11 in two dimensions: x [N,C,H,W], w [O,C/group,KH,KW], bias [O]. Padding is zeros, whatever
// the prologue makes of a zero. Of integers: of x - zero, as ConvInteger-10.
const char *ir_eval_conv(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    IrTensor x;
    const char *why = ir_eval_pre(e, n, in, &x);
    if (why) {
        return why;
    }
    IrTensor y = *out; // before the pool
    bool pooled = ir_attr(n, IR_ATTR_POOL);
    if (pooled) {
        IrShape own = ir_conv_shape(n);
        y.dim[2] = own.dim[2].c;
        y.dim[3] = own.dim[3].c;
        y.data = ir_eval_scratch(e, ir_tensor_elems(&y), (size_t)ir_dtype_bytes(y.dtype));
    }
    IrTensor own = ir_eval_own(e, &y, ir_own_dtype(n)); // before the epilogue
    Product t = {.a = in[1], .bias = n->n_in > 2 ? in[2] : NULL, .out = &own, .w = ir_window(n)};
    t.zero = (double)ir_int(n, IR_ATTR_ZERO, 0);
    t.c = in[0]->dim[1];
    t.h = in[0]->dim[2];
    t.wd = in[0]->dim[3];
    t.ow = y.dim[3];
    t.batch = y.dim[0] * t.w.group;
    t.m = y.dim[1] / t.w.group;
    t.p = y.dim[2] * y.dim[3];
    t.k = t.c / t.w.group * t.w.kh * t.w.kw;
    t.x = ir_eval_doubles(e, &x);
    t.load_a = load_kernel;
    t.load_b = load_pixels;
    t.store = store_pixels;
    run_product(&t);
    why = ir_eval_then(e, n, in, &own, &y);
    return why || !pooled ? why : ir_eval_max(e, n, ir_conv_pool(n), &y, out);
}

// ---------------------------------------------------------------- matmul
// batch: the leading axes of the result, row-major; m a row, p a column.

// Offset in an operand, whose steps are given per axis of `out`, of its matrix for this batch.
static int64_t batch_offset(const IrTensor *out, int64_t batch, const int64_t *step) {
    int64_t offset = 0;
    for (int i = out->rank - 3; i >= 0; i--) {
        offset += batch % out->dim[i] * step[i];
        batch /= out->dim[i];
    }
    return offset;
}

static void load_row(const Product *t, int64_t batch, int64_t m, int64_t k0, int64_t n,
                     double *row) {
    int64_t at = batch_offset(t->out, batch, t->step_a);
    if (t->trans_a) {
        ir_tensor_load(t->a, at + k0 * t->m + m, t->m, n, row);
    } else {
        ir_tensor_load(t->a, at + m * t->k + k0, 1, n, row);
    }
    for (int64_t i = 0; i < n; i++) {
        row[i] -= t->zero;
    }
}

static void load_columns(const Product *t, int64_t batch, int64_t k0, int64_t rows, int64_t p0,
                         int64_t n, Row *panel) {
    int64_t at = batch_offset(t->out, batch, t->step_b);
    double column[TILE_K];
    for (int64_t i = 0; i < rows && !t->trans_b; i++) {
        ir_tensor_load(t->b, at + (k0 + i) * t->p + p0, 1, n, panel[i]);
    }
    for (int64_t p = 0; p < n && t->trans_b; p++) {
        ir_tensor_load(t->b, at + (p0 + p) * t->k + k0, 1, rows, column);
        for (int64_t i = 0; i < rows; i++) {
            panel[i][p] = column[i];
        }
    }
}

static void store_row(const Product *t, int64_t batch, int64_t m, int64_t p0, int64_t n,
                      double *sum) {
    if (t->bias) {
        const int64_t *step = t->step_bias;
        int rank = t->out->rank;
        double bias[TILE_P];
        int64_t at = batch_offset(t->out, batch, step) + m * step[rank - 2] + p0 * step[rank - 1];
        ir_tensor_load(t->bias, at, step[rank - 1], n, bias);
        for (int64_t p = 0; p < n; p++) {
            sum[p] += bias[p];
        }
    }
    store_sums(t, (batch * t->m + m) * t->p + p0, n, sum);
}

// MatMul-13 on integers: exact, wrapped around.
static void multiply_integers(const Product *t) {
    int64_t elems = ir_tensor_elems(t->out);
    int rank = t->out->rank;
#pragma omp parallel for if (elems > IR_EVAL_BLOCK)
    for (int64_t i = 0; i < elems; i++) {
        int64_t batch = i / t->p / t->m, m = i / t->p % t->m, p = i % t->p;
        int64_t a = batch_offset(t->out, batch, t->step_a) + m * (t->trans_a ? 1 : t->k);
        int64_t b = batch_offset(t->out, batch, t->step_b) + p * (t->trans_b ? t->k : 1);
        unsigned __int128 sum = 0;
        IrWide x, y;
        for (int64_t k = 0; k < t->k; k++) {
            ir_tensor_load_wide(t->a, a + k * (t->trans_a ? t->m : 1), 1, 1, &x);
            ir_tensor_load_wide(t->b, b + k * (t->trans_b ? 1 : t->p), 1, 1, &y);
            sum += (unsigned __int128)x * (unsigned __int128)y;
        }
        if (t->bias) {
            const int64_t *step = t->step_bias;
            ir_tensor_load_wide(t->bias,
                                batch_offset(t->out, batch, step) + m * step[rank - 2] +
                                    p * step[rank - 1],
                                1, 1, &x);
            sum += (unsigned __int128)x;
        }
        x = (IrWide)sum;
        ir_tensor_store_wide(t->out, i, 1, &x);
    }
}

// The steps of an operand's leading axes over those of the result; its last two are a matrix.
static bool find_batch_steps(const IrTensor *x, const IrTensor *out, int64_t *step) {
    IrTensor lead = *x, to = *out;
    int64_t matrix = x->dim[x->rank - 2] * x->dim[x->rank - 1];
    lead.rank -= 2;
    to.rank -= 2;
    if (!ir_tensor_broadcast(&lead, &to, step)) {
        return false;
    }
    for (int i = 0; i < to.rank; i++) {
        step[i] *= matrix;
    }
    return true;
}

// [N,K,H,W] -> [N,K] in doubles, not rounded.
static IrTensor average_pixels(IrEval *e, const IrTensor *x) {
    int64_t rows = x->dim[0] * x->dim[1], pixels = x->dim[2] * x->dim[3];
    double *y = ir_eval_scratch(e, rows, sizeof *y), block[IR_EVAL_BLOCK];
    for (int64_t i = 0; i < rows; i++) {
        double sum = 0;
        for (int64_t k = 0; k < pixels; k += IR_EVAL_BLOCK) {
            int64_t len = pixels - k < IR_EVAL_BLOCK ? pixels - k : IR_EVAL_BLOCK;
            ir_tensor_load(x, i * pixels + k, 1, len, block);
            for (int64_t j = 0; j < len; j++) {
                sum += block[j];
            }
        }
        y[i] = sum / (double)pixels;
    }
    return (IrTensor){.dtype = IR_F64, .rank = 2, .dim = {x->dim[0], x->dim[1]}, .data = y};
}

// MatMul-13 on rank >= 2, leading axes broadcast; with bias, Gemm-13 without alpha and beta.
// With `mean` the rows of a are averages over the pixels of [N,K,H,W]. Of 8-bit integers: of a -
// zero, as MatMulInteger-10.
const char *ir_eval_matmul(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    IrTensor mean;
    IrTensor own = ir_eval_own(e, out, ir_own_dtype(n));
    Product t = {.a = in[0], .b = in[1], .bias = n->n_in > 2 ? in[2] : NULL, .out = &own};
    t.zero = (double)ir_int(n, IR_ATTR_ZERO, 0);
    if (ir_int(n, IR_ATTR_MEAN, 0)) {
        mean = average_pixels(e, in[0]);
        t.a = &mean;
    }
    t.trans_a = ir_int(n, IR_ATTR_TRANS_A, 0);
    t.trans_b = ir_int(n, IR_ATTR_TRANS_B, 0);
    t.m = out->dim[out->rank - 2];
    t.p = out->dim[out->rank - 1];
    t.k = t.a->dim[t.a->rank - (t.trans_a ? 2 : 1)];
    t.batch = 1;
    for (int i = 0; i < out->rank - 2; i++) {
        t.batch *= out->dim[i];
    }
    if (!find_batch_steps(t.a, out, t.step_a) || !find_batch_steps(t.b, out, t.step_b) ||
        (t.bias && !ir_tensor_broadcast(t.bias, out, t.step_bias))) {
        return ir_sprintf(e->arena, "an operand does not broadcast to the result");
    }
    t.load_a = load_row;
    t.load_b = load_columns;
    t.store = store_row;
    if (ir_dtype_is_float(own.dtype) || own.dtype != in[0]->dtype) {
        run_product(&t);
    } else {
        multiply_integers(&t);
    }
    return ir_eval_then(e, n, in, &own, out);
}
