// What only training needs, in the reference evaluator: gradients of convolution, pools, slices.
// All on floats in double; sums run in one order whatever the number of threads.
#include "ir/eval.h"
#include <math.h>
#include <string.h>

typedef struct Conv {
    IrWindow w;
    int64_t images, c, h, wd; // x
    int64_t o, oh, ow;        // y
    int64_t in, out;          // channels of a group
} Conv;

static Conv conv_of(const IrNode *n, const IrTensor *x, const IrTensor *w, const IrTensor *y) {
    Conv t = {.w = ir_window(n),
              .images = x->dim[0],
              .c = x->dim[1],
              .h = x->dim[2],
              .wd = x->dim[3],
              .o = y->dim[1],
              .oh = y->dim[2],
              .ow = y->dim[3]};
    t.w.kh = w->dim[2];
    t.w.kw = w->dim[3];
    t.in = t.c / t.w.group;
    t.out = t.o / t.w.group;
    return t;
}

// Outputs [first, end) of an axis whose tap lands at output * stride + shift, inside [0, dim).
static void clip_outputs(int64_t dim, int64_t stride, int64_t shift, int64_t outputs,
                         int64_t *first, int64_t *end) {
    *first = shift < 0 ? (-shift + stride - 1) / stride : 0;
    *end = shift < dim ? (dim - 1 - shift) / stride + 1 : 0;
    *end = *end < outputs ? *end : outputs;
}

// The pixels of x that tap (kh, kw) pairs with outputs: rows [h0, h1), columns [w0, w1) of y, and
// where in a plane of x output (0, 0) would land.
typedef struct Tap {
    int64_t h0, h1, w0, w1, origin;
} Tap;

static Tap tap_of(const Conv *t, int64_t kh, int64_t kw) {
    Tap p;
    int64_t down = kh * t->w.dh - t->w.pt, right = kw * t->w.dw - t->w.pl;
    clip_outputs(t->h, t->w.sh, down, t->oh, &p.h0, &p.h1);
    clip_outputs(t->wd, t->w.sw, right, t->ow, &p.w0, &p.w1);
    p.origin = down * t->wd + right;
    return p;
}

static void add_tap(const Conv *t, const Tap *p, double weight, const double *dy, double *dx) {
    for (int64_t oh = p->h0; oh < p->h1; oh++) {
        double *row = dx + p->origin + oh * t->w.sh * t->wd;
        for (int64_t ow = p->w0; ow < p->w1; ow++) {
            row[ow * t->w.sw] += weight * dy[oh * t->ow + ow];
        }
    }
}

// Gradient of Conv-11 by x: dx[n,c,h,w] is the sum of dy[n,o,oh,ow] * w[o,c,kh,kw] over all that
// read x[n,c,h,w] with that weight.
const char *ir_eval_conv_dgrad(IrEval *e, const IrNode *n, const IrTensor *const *in,
                               IrTensor *out) {
    Conv t = conv_of(n, out, in[1], in[0]);
    const double *dy = ir_eval_doubles(e, in[0]), *w = ir_eval_doubles(e, in[1]);
    int64_t plane = t.h * t.wd, taps = t.w.kh * t.w.kw;
    double *dx = ir_eval_scratch(e, ir_tensor_elems(out), sizeof *dx);
#pragma omp parallel for
    for (int64_t row = 0; row < t.images * t.c; row++) {
        int64_t image = row / t.c, c = row % t.c, first = c / t.in * t.out;
        memset(dx + row * plane, 0, (size_t)plane * sizeof *dx);
        for (int64_t o = first; o < first + t.out; o++) {
            for (int64_t k = 0; k < taps; k++) {
                Tap p = tap_of(&t, k / t.w.kw, k % t.w.kw);
                add_tap(&t, &p, w[(o * t.in + c % t.in) * taps + k],
                        dy + (image * t.o + o) * t.oh * t.ow, dx + row * plane);
            }
        }
        ir_tensor_store(out, row * plane, plane, dx + row * plane);
    }
    return NULL;
}

static double sum_tap(const Conv *t, const Tap *p, const double *x, const double *dy) {
    double sum = 0;
    for (int64_t oh = p->h0; oh < p->h1; oh++) {
        const double *row = x + p->origin + oh * t->w.sh * t->wd;
        for (int64_t ow = p->w0; ow < p->w1; ow++) {
            sum += row[ow * t->w.sw] * dy[oh * t->ow + ow];
        }
    }
    return sum;
}

// Gradient of Conv-11 by w: dw[o,c,kh,kw] is the sum of x * dy over all pairs that weight joins.
const char *ir_eval_conv_wgrad(IrEval *e, const IrNode *n, const IrTensor *const *in,
                               IrTensor *out) {
    Conv t = conv_of(n, in[0], out, in[1]);
    const double *x = ir_eval_doubles(e, in[0]), *dy = ir_eval_doubles(e, in[1]);
    int64_t taps = t.w.kh * t.w.kw;
#pragma omp parallel for
    for (int64_t i = 0; i < ir_tensor_elems(out); i++) {
        int64_t k = i % taps, o = i / taps / t.in, c = o / t.out * t.in + i / taps % t.in;
        Tap p = tap_of(&t, k / t.w.kw, k % t.w.kw);
        double sum = 0;
        for (int64_t image = 0; image < t.images; image++) {
            sum += sum_tap(&t, &p, x + (image * t.c + c) * t.h * t.wd,
                           dy + (image * t.o + o) * t.oh * t.ow);
        }
        ir_tensor_store(out, i, 1, &sum);
    }
    return NULL;
}

// y[g*I + i, o, kh, kw] = x[g*O + o, i, KH-1-kh, KW-1-kw], I and O the channels of a group: with
// it conv computes the gradient by x of a conv of stride 1.
const char *ir_eval_flip_filter(IrEval *e, const IrNode *n, const IrTensor *const *in,
                                IrTensor *out) {
    (void)e;
    int64_t group = ir_int(n, IR_ATTR_GROUP, 1), taps = out->dim[2] * out->dim[3];
    int64_t I = in[0]->dim[1], O = in[0]->dim[0] / group;
    size_t size = (size_t)ir_dtype_bytes(out->dtype);
    for (int64_t at = 0; at < ir_tensor_elems(out); at++) {
        int64_t k = at % taps, o = at / taps % O, i = at / taps / O % I, g = at / taps / O / I;
        int64_t from = ((g * O + o) * I + i) * taps + taps - 1 - k;
        memcpy((char *)out->data + (size_t)at * size,
               (const char *)in[0]->data + (size_t)from * size, size);
    }
    return NULL;
}

// ---------------------------------------------------------------- pools

typedef struct Pool {
    IrWindow w;
    int64_t h, wd;
} Pool;

// Pixel of tap k of a window, -1 in the padding.
static int64_t pixel_of(const Pool *p, int64_t oh, int64_t ow, int64_t k) {
    const IrWindow *w = &p->w;
    int64_t ih = oh * w->sh - w->pt + k / w->kw * w->dh;
    int64_t iw = ow * w->sw - w->pl + k % w->kw * w->dw;
    return ih >= 0 && ih < p->h && iw >= 0 && iw < p->wd ? ih * p->wd + iw : -1;
}

// dx += the gradient that one window sends down.
typedef void PoolGradFn(const Pool *p, const double *x, double dy, int64_t oh, int64_t ow,
                        double *dx);

// All of it to the first maximum in row-major order, or the last NaN, as PyTorch does.
static void send_max(const Pool *p, const double *x, double dy, int64_t oh, int64_t ow,
                     double *dx) {
    int64_t best = -1;
    for (int64_t k = 0; k < p->w.kh * p->w.kw; k++) {
        int64_t i = pixel_of(p, oh, ow, k);
        if (i >= 0 && (best < 0 || x[i] > x[best] || isnan(x[i]))) {
            best = i;
        }
    }
    if (best >= 0) {
        dx[best] += dy;
    }
}

// Divided as avg_pool divides.
static void send_avg(const Pool *p, const double *x, double dy, int64_t oh, int64_t ow,
                     double *dx) {
    (void)x;
    const IrWindow *w = &p->w;
    int64_t count = 0;
    for (int64_t k = 0; k < w->kh * w->kw; k++) {
        int64_t ih = oh * w->sh - w->pt + k / w->kw * w->dh;
        int64_t iw = ow * w->sw - w->pl + k % w->kw * w->dw;
        bool padding = w->count_pad && ih < p->h + w->pb && iw < p->wd + w->pr;
        count += padding || pixel_of(p, oh, ow, k) >= 0;
    }
    for (int64_t k = 0; k < w->kh * w->kw; k++) {
        int64_t i = pixel_of(p, oh, ow, k);
        if (i >= 0) {
            dx[i] += dy / (double)count;
        }
    }
}

static const char *run_pool(IrEval *e, const IrNode *n, const IrTensor *x, const IrTensor *y,
                            IrTensor *out, PoolGradFn *send) {
    Pool p = {.w = ir_window(n), .h = out->dim[2], .wd = out->dim[3]};
    const double *from = x ? ir_eval_doubles(e, x) : NULL, *dy = ir_eval_doubles(e, y);
    int64_t plane = p.h * p.wd, oh = y->dim[2], ow = y->dim[3];
    double *dx = ir_eval_scratch(e, ir_tensor_elems(out), sizeof *dx);
#pragma omp parallel for
    for (int64_t row = 0; row < out->dim[0] * out->dim[1]; row++) {
        double *to = dx + row * plane;
        memset(to, 0, (size_t)plane * sizeof *to);
        for (int64_t i = 0; i < oh * ow; i++) {
            send(&p, from ? from + row * plane : NULL, dy[row * oh * ow + i], i / ow, i % ow, to);
        }
        ir_tensor_store(out, row * plane, plane, to);
    }
    return NULL;
}

const char *ir_eval_max_pool_grad(IrEval *e, const IrNode *n, const IrTensor *const *in,
                                  IrTensor *out) {
    return run_pool(e, n, in[0], in[1], out, send_max);
}

const char *ir_eval_avg_pool_grad(IrEval *e, const IrNode *n, const IrTensor *const *in,
                                  IrTensor *out) {
    return run_pool(e, n, NULL, in[0], out, send_avg);
}

// ---------------------------------------------------------------- elements that go back

// y[n,c,h,w] = x_k[n,c,h/sh,w/sw], k = (h%sh)*sw + w%sw; what an operand does not have is 0.
const char *ir_eval_interleave(IrEval *e, const IrNode *n, const IrTensor *const *in,
                               IrTensor *out) {
    (void)e;
    int64_t sh = ir_window(n).sh, sw = ir_window(n).sw;
    int64_t rows = out->dim[0] * out->dim[1] * out->dim[2], wd = out->dim[3];
    size_t size = (size_t)ir_dtype_bytes(out->dtype);
    memset(out->data, 0, ir_tensor_bytes(out));
#pragma omp parallel for if (rows * wd > IR_EVAL_PARALLEL)
    for (int64_t r = 0; r < rows; r++) {
        int64_t h = r % out->dim[2], plane = r / out->dim[2];
        for (int64_t w = 0; w < wd; w++) {
            int64_t k = h % sh * sw + w % sw;
            const IrTensor *x = k < n->n_in ? in[k] : NULL;
            if (x && h / sh < x->dim[2] && w / sw < x->dim[3]) {
                int64_t from = (plane * x->dim[2] + h / sh) * x->dim[3] + w / sw;
                memcpy((char *)out->data + (size_t)(r * wd + w) * size,
                       (const char *)x->data + (size_t)from * size, size);
            }
        }
    }
    return NULL;
}

// Zeros, with dy where slice reads what it gives.
const char *ir_eval_slice_grad(IrEval *e, const IrNode *n, const IrTensor *const *in,
                               IrTensor *out) {
    (void)e;
    IrInts start = ir_ints(n, IR_ATTR_START), step = ir_ints(n, IR_ATTR_STEP);
    int64_t stride[IR_MAX_RANK];
    size_t size = (size_t)ir_dtype_bytes(out->dtype);
    ir_tensor_strides(out, stride);
    memset(out->data, 0, ir_tensor_bytes(out));
    for (int64_t i = 0; i < ir_tensor_elems(in[0]); i++) {
        int64_t to = 0, rest = i;
        for (int a = out->rank - 1; a >= 0; a--) {
            to += (start.v[a] + rest % in[0]->dim[a] * step.v[a]) * stride[a];
            rest /= in[0]->dim[a];
        }
        memcpy((char *)out->data + (size_t)to * size, (const char *)in[0]->data + (size_t)i * size,
               size);
    }
    return NULL;
}
