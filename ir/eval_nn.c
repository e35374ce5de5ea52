// Pools and normalisations of the reference evaluator, all on floats in double. They see a tensor
// as [N][C][H][W], or [outer][axis][inner] around one axis.
#include "ir/eval.h"
#include <math.h>

// ---------------------------------------------------------------- pools

typedef struct Pool {
    IrWindow w;
    int64_t h, wd; // of a plane
} Pool;

typedef double PoolFn(const Pool *p, const double *plane, int64_t oh, int64_t ow);

// MaxPool-12: padding is ignored, NaN wins. A window over padding alone gives -inf.
static double pool_max(const Pool *p, const double *plane, int64_t oh, int64_t ow) {
    const IrWindow *w = &p->w;
    double best = -INFINITY;
    for (int64_t i = 0; i < w->kh; i++) {
        for (int64_t j = 0; j < w->kw; j++) {
            int64_t ih = oh * w->sh - w->pt + i * w->dh, iw = ow * w->sw - w->pl + j * w->dw;
            if (ih >= 0 && ih < p->h && iw >= 0 && iw < p->wd) {
                double x = plane[ih * p->wd + iw];
                best = x > best || isnan(x) ? x : best;
            }
        }
    }
    return best;
}

// AveragePool-19: with count_pad the divisor counts the padding that was asked for, never what
// rounding the size up adds beyond it. A window that counts nothing gives 0.
static double pool_avg(const Pool *p, const double *plane, int64_t oh, int64_t ow) {
    const IrWindow *w = &p->w;
    double sum = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < w->kh; i++) {
        for (int64_t j = 0; j < w->kw; j++) {
            int64_t ih = oh * w->sh - w->pt + i * w->dh, iw = ow * w->sw - w->pl + j * w->dw;
            if (ih >= 0 && ih < p->h && iw >= 0 && iw < p->wd) {
                sum += plane[ih * p->wd + iw];
                count++;
            } else if (w->count_pad && ih < p->h + w->pb && iw < p->wd + w->pr) {
                count++;
            }
        }
    }
    return count > 0 ? sum / (double)count : 0;
}

static const char *run_pool(IrEval *e, const IrNode *n, IrWindow w, const IrTensor *x,
                            IrTensor *out, PoolFn *f) {
    Pool p = {.w = w, .h = x->dim[2], .wd = x->dim[3]};
    if (x->dtype == IR_I64 || x->dtype == IR_U64) { // not exact as double
        return ir_sprintf(e->arena, "NYI: %s of %s", ir_op_info(n->op)->text,
                          ir_dtype_name(x->dtype));
    }
    const double *from = ir_eval_doubles(e, x);
    int64_t oh = out->dim[2], ow = out->dim[3], rows = out->dim[0] * out->dim[1] * oh;
    double *to = ir_eval_scratch(e, ow > 0 ? rows * ow : 0, sizeof *to);
#pragma omp parallel for if (rows * ow > IR_EVAL_BLOCK)
    for (int64_t r = 0; r < rows; r++) {
        const double *plane = from + r / oh * p.h * p.wd;
        for (int64_t i = 0; i < ow; i++) {
            to[r * ow + i] = f(&p, plane, r % oh, i);
        }
        ir_tensor_store(out, r * ow, ow, to + r * ow);
    }
    return NULL;
}

const char *ir_eval_max(IrEval *e, const IrNode *n, IrWindow w, const IrTensor *x,
                        IrTensor *out) {
    return run_pool(e, n, w, x, out, pool_max);
}

const char *ir_eval_max_pool(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    IrTensor y = ir_eval_own(e, out, ir_own_dtype(n));
    const char *why = ir_eval_max(e, n, ir_window(n), in[0], &y);
    return why ? why : ir_eval_then(e, n, in, &y, out);
}

const char *ir_eval_avg_pool(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    IrTensor y = ir_eval_own(e, out, ir_own_dtype(n));
    const char *why = run_pool(e, n, ir_window(n), in[0], &y, pool_avg);
    return why ? why : ir_eval_then(e, n, in, &y, out);
}

// ---------------------------------------------------------------- along one axis

// LayerNormalization-17 along the last axis, without scale and bias, which are the epilogue's.
const char *ir_eval_layer_norm(IrEval *e, const IrNode *n, const IrTensor *const *in,
                               IrTensor *out) {
    IrTensor own = ir_eval_own(e, out, ir_own_dtype(n));
    const double *x = ir_eval_doubles(e, in[0]);
    int64_t size = out->dim[out->rank - 1];
    double eps = ir_float(n, IR_ATTR_EPS, 1e-5);
    double *y = ir_eval_scratch(e, size, sizeof *y);
    for (int64_t at = 0; at < ir_tensor_elems(out); at += size) {
        double mean = 0, left = 0, variance = 0;
        for (int64_t i = 0; i < size; i++) {
            mean += x[at + i] / (double)size;
        }
        for (int64_t i = 0; i < size; i++) { // which was rounded
            left += (x[at + i] - mean) / (double)size;
        }
        mean += left;
        for (int64_t i = 0; i < size; i++) {
            variance += (x[at + i] - mean) * (x[at + i] - mean) / (double)size;
        }
        for (int64_t i = 0; i < size; i++) {
            y[i] = (x[at + i] - mean) / sqrt(variance + eps);
        }
        ir_tensor_store(&own, at, size, y);
    }
    return ir_eval_then(e, n, in, &own, out);
}

typedef struct Axis { // t seen as [outer][dim][inner]
    int64_t outer, dim, inner;
} Axis;

static Axis split_at(const IrTensor *t, int axis) {
    Axis a = {1, axis >= 0 && axis < t->rank ? t->dim[axis] : 1, 1};
    for (int i = 0; i < t->rank; i++) {
        if (i < axis) {
            a.outer *= t->dim[i];
        } else if (i > axis) {
            a.inner *= t->dim[i];
        }
    }
    return a;
}

// BatchNormalization-15, inference: y = (x - mean) / sqrt(var + eps) * scale + bias per channel.
const char *ir_eval_batch_norm(IrEval *e, const IrNode *n, const IrTensor *const *in,
                               IrTensor *out) {
    (void)e;
    Axis a = split_at(out, 1);
    double eps = ir_float(n, IR_ATTR_EPS, 1e-5);
#pragma omp parallel for if (ir_tensor_elems(out) > IR_EVAL_PARALLEL)
    for (int64_t row = 0; row < a.outer * a.dim; row++) {
        int64_t c = row % a.dim;
        double scale = ir_tensor_get(in[1], c), bias = ir_tensor_get(in[2], c);
        double mean = ir_tensor_get(in[3], c), std = sqrt(ir_tensor_get(in[4], c) + eps);
        double x[IR_EVAL_BLOCK];
        for (int64_t at = 0; at < a.inner; at += IR_EVAL_BLOCK) {
            int64_t len = a.inner - at < IR_EVAL_BLOCK ? a.inner - at : IR_EVAL_BLOCK;
            ir_tensor_load(in[0], row * a.inner + at, 1, len, x);
            for (int64_t i = 0; i < len; i++) {
                x[i] = (x[i] - mean) / std * scale + bias;
            }
            ir_tensor_store(out, row * a.inner + at, len, x);
        }
    }
    return NULL;
}

// LRN-13: y_c = x_c / (bias + alpha / size * sum of x_i^2)^beta,
// i from max(0, c - floor((size-1)/2)) to min(C-1, c + ceil((size-1)/2)).
const char *ir_eval_lrn(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    Axis a = split_at(out, 1);
    int64_t size = ir_int(n, IR_ATTR_SIZE, 1), below = (size - 1) / 2, above = size / 2;
    double alpha = ir_float(n, IR_ATTR_ALPHA, 1e-4) / (double)size;
    double beta = ir_float(n, IR_ATTR_BETA, 0.75), bias = ir_float(n, IR_ATTR_BIAS, 1);
    const double *x = ir_eval_doubles(e, in[0]);
#pragma omp parallel for if (ir_tensor_elems(out) > IR_EVAL_PARALLEL)
    for (int64_t row = 0; row < a.outer * a.dim; row++) {
        int64_t c = row % a.dim, first = c > below ? c - below : 0;
        int64_t last = above < a.dim - 1 - c ? c + above : a.dim - 1;
        const double *image = x + row / a.dim * a.dim * a.inner;
        for (int64_t i = 0; i < a.inner; i++) {
            double squares = 0;
            for (int64_t k = first; k <= last; k++) {
                squares += image[k * a.inner + i] * image[k * a.inner + i];
            }
            double y = image[c * a.inner + i] / pow(bias + alpha * squares, beta);
            ir_tensor_store(out, row * a.inner + i, 1, &y);
        }
    }
    return NULL;
}

// Softmax-13 and LogSoftmax-13, x shifted by its maximum along the axis:
// exp(x) / sum(exp(x)) and x - log(sum(exp(x))).
const char *ir_eval_softmax(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    Axis a = split_at(out, (int)ir_int(n, IR_ATTR_AXIS, out->rank - 1));
    const double *all = ir_eval_doubles(e, in[0]);
    bool logarithm = n->op == IR_OP_LOG_SOFTMAX;
#pragma omp parallel for if (ir_tensor_elems(out) > IR_EVAL_PARALLEL)
    for (int64_t line = 0; line < a.outer * a.inner; line++) {
        int64_t at = line / a.inner * a.dim * a.inner + line % a.inner;
        const double *x = all + at;
        double most = -INFINITY, sum = 0;
        for (int64_t i = 0; i < a.dim; i++) {
            most = fmax(most, x[i * a.inner]);
        }
        for (int64_t i = 0; i < a.dim; i++) {
            sum += exp(x[i * a.inner] - most);
        }
        for (int64_t i = 0; i < a.dim; i++) {
            double z = x[i * a.inner] - most, y = logarithm ? z - log(sum) : exp(z) / sum;
            ir_tensor_store(out, at + i * a.inner, 1, &y);
        }
    }
    return NULL;
}
