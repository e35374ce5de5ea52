// What works on the pixels of [N,C,H,W] beyond convolutions and pools, in the reference evaluator:
// resize, the places of maxima.
#include "ir/eval.h"
#include <math.h>
#include <string.h>

// ---------------------------------------------------------------- resize

typedef struct Taps {     // of one axis: result pixel i is the sum of weight * x[index]
    const int32_t *index; // [count][size], NULL: the pixel itself
    const double *weight; // NULL: 1
    int64_t count, size, in;
} Taps;

static Taps taps_of(IrEval *e, const IrTensor *index, const IrTensor *weight, int64_t in) {
    if (!index) {
        return (Taps){NULL, NULL, 1, in, in};
    }
    return (Taps){index->data, weight ? ir_eval_doubles(e, weight) : NULL, index->dim[0],
                  index->dim[1], in};
}

// Tap t of pixel i, kept within the axis.
static int64_t tap_at(const Taps *a, int64_t t, int64_t i) {
    int64_t k = a->index ? a->index[t * a->size + i] : i;
    return k < 0 ? 0 : k >= a->in ? a->in - 1 : k;
}

static double weight_at(const Taps *a, int64_t t, int64_t i) {
    return a->weight ? a->weight[t * a->size + i] : 1;
}

static double sum_taps(const Taps *h, const Taps *w, const double *plane, int64_t oh, int64_t ow) {
    double sum = 0;
    for (int64_t i = 0; i < h->count; i++) {
        const double *row = plane + tap_at(h, i, oh) * w->in;
        double line = 0;
        for (int64_t j = 0; j < w->count; j++) {
            line += weight_at(w, j, ow) * row[tap_at(w, j, ow)];
        }
        sum += weight_at(h, i, oh) * line;
    }
    return sum;
}

// y[n,c,oh,ow] = sum over taps i, j of hw[i,oh] * ww[j,ow] * x[n,c,h[i,oh],w[j,ow]]; without
// weights the element itself, of any type. Taps outside of the axis are its nearest end.
const char *ir_eval_resize(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    Taps h = taps_of(e, n->n_in > 1 ? in[1] : NULL, n->n_in > 2 ? in[2] : NULL, in[0]->dim[2]);
    Taps w = taps_of(e, n->n_in > 3 ? in[3] : NULL, n->n_in > 4 ? in[4] : NULL, in[0]->dim[3]);
    bool copies = !h.weight && !w.weight;
    IrTensor own = copies ? *out : ir_eval_own(e, out, ir_own_dtype(n));
    const double *x = copies ? NULL : ir_eval_doubles(e, in[0]);
    size_t size = (size_t)ir_dtype_bytes(out->dtype);
#pragma omp parallel for if (ir_tensor_elems(out) > IR_EVAL_PARALLEL)
    for (int64_t i = 0; i < ir_tensor_elems(out); i++) {
        int64_t plane = i / w.size / h.size * h.in * w.in, oh = i / w.size % h.size;
        if (copies) {
            int64_t from = plane + tap_at(&h, 0, oh) * w.in + tap_at(&w, 0, i % w.size);
            memcpy((char *)out->data + (size_t)i * size,
                   (const char *)in[0]->data + (size_t)from * size, size);
        } else {
            double y = sum_taps(&h, &w, x + plane, oh, i % w.size);
            ir_tensor_store(&own, i, 1, &y);
        }
    }
    return copies ? NULL : ir_eval_then(e, n, in, &own, out);
}

// ---------------------------------------------------------------- places of maxima

// The row-major place in a plane of the first maximum; NaN wins. A window over padding alone has
// the plane's first.
static int64_t find_maximum(const IrWindow *w, const double *plane, int64_t H, int64_t W,
                            int64_t oh, int64_t ow) {
    int64_t best = -1;
    for (int64_t k = 0; k < w->kh * w->kw; k++) {
        int64_t ih = oh * w->sh - w->pt + k / w->kw * w->dh;
        int64_t iw = ow * w->sw - w->pl + k % w->kw * w->dw, at = ih * W + iw;
        if (ih >= 0 && ih < H && iw >= 0 && iw < W &&
            (best < 0 || plane[at] > plane[best] || (isnan(plane[at]) && !isnan(plane[best])))) {
            best = at;
        }
    }
    return best < 0 ? 0 : best;
}

// MaxPool-12, Indices: counted through the whole of x, row by row, or column by column within a
// plane.
const char *ir_eval_max_pool_index(IrEval *e, const IrNode *n, const IrTensor *const *in,
                                   IrTensor *out) {
    const IrTensor *x = in[0];
    if (x->dtype == IR_I64 || x->dtype == IR_U64) { // not exact as double
        return ir_sprintf(e->arena, "NYI: %s of %s", ir_op_info(n->op)->text,
                          ir_dtype_name(x->dtype));
    }
    IrWindow w = ir_window(n);
    int64_t H = x->dim[2], W = x->dim[3], oh = out->dim[2], ow = out->dim[3], *to = out->data;
    bool column = strcmp(ir_str(n, IR_ATTR_MODE, "row"), "column") == 0;
    const double *from = ir_eval_doubles(e, x);
#pragma omp parallel for if (ir_tensor_elems(out) > IR_EVAL_BLOCK)
    for (int64_t i = 0; i < ir_tensor_elems(out); i++) {
        int64_t plane = i / (oh * ow) * H * W;
        int64_t at = find_maximum(&w, from + plane, H, W, i / ow % oh, i % ow);
        to[i] = plane + (column ? at % W * H + at / W : at);
    }
    return NULL;
}
