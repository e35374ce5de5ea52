// Normalisation by the batch's statistics, its gradient, LRN's, and the loss, in the reference
// evaluator. x is seen as [N][C][inner]. All in double.
#include "ir/eval.h"
#include <math.h>

typedef struct Channels {
    int64_t images, c, inner;
} Channels;

static Channels channels_of(const IrTensor *t) {
    Channels a = {t->dim[0], t->dim[1], 1};
    for (int i = 2; i < t->rank; i++) {
        a.inner *= t->dim[i];
    }
    return a;
}

// Element i of channel c, i counting over images and what is inside.
static int64_t element_of(const Channels *a, int64_t c, int64_t i) {
    return (i / a->inner * a->c + c) * a->inner + i % a->inner;
}

// BatchNormalization-15 in training mode: y as in inference, with the mean and the biased variance
// of the channel's elements in this batch, which are results 1 and 2. Of no elements both are 0.
const char *ir_eval_batch_norm_train(IrEval *e, const IrNode *n, const IrTensor *const *in,
                                     IrTensor *out) {
    Channels a = channels_of(in[0]);
    IrTensor own = ir_eval_own(e, &out[0], ir_own_dtype(n));
    const double *x = ir_eval_doubles(e, in[0]);
    double eps = ir_float(n, IR_ATTR_EPS, 1e-5);
    int64_t count = a.images * a.inner;
#pragma omp parallel for
    for (int64_t c = 0; c < a.c; c++) {
        double scale = ir_tensor_get(in[1], c), bias = ir_tensor_get(in[2], c);
        double mean = 0, var = 0;
        for (int64_t i = 0; i < count; i++) {
            mean += x[element_of(&a, c, i)] / (double)count;
        }
        for (int64_t i = 0; i < count; i++) {
            double d = x[element_of(&a, c, i)] - mean;
            var += d * d / (double)count;
        }
        for (int64_t i = 0; i < count; i++) {
            int64_t at = element_of(&a, c, i);
            ir_tensor_set(&own, at, (x[at] - mean) / sqrt(var + eps) * scale + bias);
        }
        ir_tensor_set(&out[1], c, mean);
        ir_tensor_set(&out[2], c, var);
    }
    return ir_eval_then(e, n, in, &own, &out[0]);
}

// With z = (x - mean) / std, std = sqrt(var + eps), m the number of a channel's elements:
//   dbias = sum dy, dscale = sum dy * z,
//   dx = scale / std * (dy - (dbias + z * dscale) / m)
// (Ioffe and Szegedy 2015). mean and var are those that batch_norm_train gave.
const char *ir_eval_batch_norm_grad(IrEval *e, const IrNode *n, const IrTensor *const *in,
                                    IrTensor *out) {
    Channels a = channels_of(in[0]);
    IrTensor own = ir_eval_own(e, &out[0], ir_own_dtype(n));
    const double *x = ir_eval_doubles(e, in[0]), *dy = ir_eval_doubles(e, in[1]);
    double eps = ir_float(n, IR_ATTR_EPS, 1e-5);
    int64_t count = a.images * a.inner;
#pragma omp parallel for
    for (int64_t c = 0; c < a.c; c++) {
        double mean = ir_tensor_get(in[3], c), std = sqrt(ir_tensor_get(in[4], c) + eps);
        double scale = ir_tensor_get(in[2], c), dscale = 0, dbias = 0;
        for (int64_t i = 0; i < count; i++) {
            int64_t at = element_of(&a, c, i);
            dscale += dy[at] * (x[at] - mean) / std;
            dbias += dy[at];
        }
        for (int64_t i = 0; i < count; i++) {
            int64_t at = element_of(&a, c, i);
            double z = (x[at] - mean) / std;
            ir_tensor_set(&own, at, scale / std * (dy[at] - (dbias + z * dscale) / (double)count));
        }
        ir_tensor_set(&out[1], c, dscale);
        ir_tensor_set(&out[2], c, dbias);
    }
    return ir_eval_then(e, n, in, &own, &out[0]);
}

// LRN-13 has y_c = x_c * s_c^-beta, s_c = bias + alpha/size * (sum of x_k^2 over the window of c):
//   dx_c = dy_c s_c^-beta - 2 beta alpha/size x_c * sum over windows of o that hold c of
//          dy_o x_o s_o^(-beta-1)
const char *ir_eval_lrn_grad(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    Channels a = channels_of(in[0]);
    int64_t size = ir_int(n, IR_ATTR_SIZE, 1), below = (size - 1) / 2, above = size / 2;
    double alpha = ir_float(n, IR_ATTR_ALPHA, 1e-4) / (double)size;
    double beta = ir_float(n, IR_ATTR_BETA, 0.75), bias = ir_float(n, IR_ATTR_BIAS, 1);
    const double *x = ir_eval_doubles(e, in[0]), *dy = ir_eval_doubles(e, in[1]);
    double *s = ir_eval_scratch(e, ir_tensor_elems(out), sizeof *s);
#pragma omp parallel for
    for (int64_t pixel = 0; pixel < a.images * a.inner; pixel++) {
        int64_t at = element_of(&a, 0, pixel), by = a.inner;
        for (int64_t c = 0; c < a.c; c++) {
            double squares = 0;
            int64_t last = above < a.c - 1 - c ? c + above : a.c - 1;
            for (int64_t k = c > below ? c - below : 0; k <= last; k++) {
                squares += x[at + k * by] * x[at + k * by];
            }
            s[at + c * by] = bias + alpha * squares;
        }
        for (int64_t c = 0; c < a.c; c++) {
            double sum = 0;
            int64_t last = below < a.c - 1 - c ? c + below : a.c - 1;
            for (int64_t o = c > above ? c - above : 0; o <= last; o++) {
                int64_t k = at + o * by;
                sum += dy[k] * x[k] * pow(s[k], -beta - 1);
            }
            int64_t k = at + c * by;
            ir_tensor_set(out, k, dy[k] * pow(s[k], -beta) - 2 * beta * alpha * x[k] * sum);
        }
    }
    return NULL;
}

// PyTorch's cross_entropy(reduction='none', weight, label_smoothing): with p = softmax(logits),
//   t_c = (1 - smoothing) * weight[label] * (c == label) + smoothing / C * weight[c]
//   loss = - sum t_c log p_c,  dlogits_c = p_c * (sum t) - t_c
// A label outside 0..C-1 is ignored: its loss and gradients are 0. With smoothing 0 a class of
// probability 0 costs only where it is the label. Of two labels t is the sum by their shares.
typedef struct Target {
    double label[2], share[2], smoothing; // share 0: ignored
    int64_t C;
} Target;

static Target target_of(const IrTensor *const *in, bool two, int64_t i) {
    double first = two ? ir_tensor_get(in[5], i) : 1;
    Target t = {
        .share = {first, 1 - first}, .smoothing = ir_tensor_get(in[3], 0), .C = in[0]->dim[1]};
    for (int k = 0; k < 2; k++) {
        t.label[k] = k == 0 ? ir_tensor_get(in[1], i) : two ? ir_tensor_get(in[4], i) : -1;
        t.share[k] = t.label[k] >= 0 && t.label[k] < (double)t.C ? t.share[k] : 0;
    }
    return t;
}

static double target_at(const Target *t, int64_t c, double weight) {
    double sum = 0;
    for (int k = 0; k < 2; k++) {
        double sure = t->label[k] == (double)c ? 1 - t->smoothing : 0;
        sum += t->share[k] * (t->smoothing / (double)t->C + sure);
    }
    return sum * weight;
}

const char *ir_eval_softmax_ce(IrEval *e, const IrNode *n, const IrTensor *const *in,
                               IrTensor *out) {
    const double *logits = ir_eval_doubles(e, in[0]), *weight = ir_eval_doubles(e, in[2]);
    int64_t images = in[0]->dim[0], C = in[0]->dim[1];
#pragma omp parallel for
    for (int64_t i = 0; i < images; i++) {
        const double *x = logits + i * C;
        Target of = target_of(in, n->n_in > 4, i);
        double most = -INFINITY, sum = 0, total = 0, loss = 0;
        bool ignored = of.share[0] == 0 && of.share[1] == 0;
        for (int64_t c = 0; c < C; c++) {
            most = fmax(most, x[c]);
        }
        for (int64_t c = 0; c < C; c++) {
            sum += exp(x[c] - most);
        }
        for (int64_t c = 0; c < C; c++) {
            double t = target_at(&of, c, weight[c]);
            total += t;
            loss -= t != 0 ? t * (x[c] - most - log(sum)) : 0;
        }
        for (int64_t c = 0; c < C; c++) {
            double t = target_at(&of, c, weight[c]);
            ir_tensor_set(&out[1], i * C + c, ignored ? 0 : exp(x[c] - most) / sum * total - t);
        }
        ir_tensor_set(&out[0], i, ignored ? 0 : loss);
    }
    return NULL;
}
