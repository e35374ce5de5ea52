// Ops of the reference evaluator that read images at computed positions, and determinants.
#include "ir/eval.h"

#include <math.h>
#include <string.h>

// ---------------------------------------------------------------- det

// LU decomposition with partial pivoting of m[n][n], in place: the product of the pivots, negated
// by each exchange of rows. The pivot is the first of the greatest magnitudes of its column.
static double eliminate(double *m, int64_t n) {
    double det = 1;
    for (int64_t k = 0; k < n; k++) {
        int64_t pivot = k;
        for (int64_t i = k + 1; i < n; i++) {
            pivot = fabs(m[i * n + k]) > fabs(m[pivot * n + k]) ? i : pivot;
        }
        for (int64_t j = k; j < n && pivot != k; j++) {
            double x = m[k * n + j];
            m[k * n + j] = m[pivot * n + j];
            m[pivot * n + j] = x;
        }
        double by = m[k * n + k];
        det *= pivot != k ? -by : by;
        for (int64_t i = k + 1; i < n && by != 0; i++) {
            double factor = m[i * n + k] / by;
            for (int64_t j = k + 1; j < n; j++) {
                m[i * n + j] -= factor * m[k * n + j];
            }
        }
    }
    return det;
}

// Det-11
const char *ir_eval_det(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    (void)n;
    int64_t rows = in[0]->dim[in[0]->rank - 1], size = rows * rows;
    double *m = ir_eval_scratch(e, size, sizeof *m);
    for (int64_t i = 0; i < ir_tensor_elems(out); i++) {
        ir_tensor_load(in[0], i * size, 1, size, m);
        ir_tensor_set(out, i, eliminate(m, rows));
    }
    return NULL;
}

// ---------------------------------------------------------------- grid_sample

typedef enum Border { BORDER_ZEROS, BORDER_EDGE, BORDER_REFLECTION } Border;

static const double FAR_AWAY = 1073741824; // pixels: positions are clamped to it, NaN to minus it

enum { MAX_TAPS = 4 };
typedef struct Taps { // of a position on one axis
    int n;
    int64_t at[MAX_TAPS]; // -1: a zero
    double weight[MAX_TAPS];
} Taps;

// Where pixel i of an axis of `size` pixels is found; -1: nowhere, it is 0. Reflection is about the
// centres of the border pixels with align_corners, else about their outer edges.
static int64_t fold_pixel(int64_t i, int64_t size, Border border, bool align) {
    if (i >= 0 && i < size) {
        return i;
    }
    if (border != BORDER_REFLECTION) {
        return border == BORDER_ZEROS ? -1 : i < 0 ? 0 : size - 1;
    }
    int64_t period = align ? 2 * (size - 1) : 2 * size;
    if (period == 0) {
        return 0;
    }
    i = (i % period + period) % period;
    return i < size ? i : period - i - !align;
}

// Keys' cubic convolution with a = -0.75 for the four pixels around, the position being t behind
// the second.
static void cubic_weights(double t, double *w) {
    const double a = -0.75;
    for (int k = 0; k < 4; k++) {
        double x = fabs(t + 1 - k);
        w[k] = x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1
                      : ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    }
}

// GridSample-20: g in [-1, 1] spans the axis, from centre to centre of its border pixels with
// align_corners, else from edge to edge.
static Taps find_taps(double g, int64_t size, const char *mode, Border border, bool align) {
    double x = align ? (g + 1) / 2 * (double)(size - 1) : ((g + 1) * (double)size - 1) / 2;
    x = x >= -FAR_AWAY ? x : -FAR_AWAY;
    x = x <= FAR_AWAY ? x : FAR_AWAY;
    Taps t = {1, {0}, {1}};
    double first = rint(x);
    if (strcmp(mode, "linear") == 0) {
        first = floor(x);
        t = (Taps){2, {0}, {1 - (x - first), x - first}};
    } else if (strcmp(mode, "cubic") == 0) {
        first = floor(x) - 1;
        t.n = 4;
        cubic_weights(x - first - 1, t.weight);
    }
    for (int k = 0; k < t.n; k++) {
        t.at[k] = fold_pixel((int64_t)first + k, size, border, align);
    }
    return t;
}

static double sample(const IrTensor *x, int64_t plane, int64_t width, const Taps *ty,
                     const Taps *tx) {
    double sum = 0;
    for (int r = 0; r < ty->n; r++) {
        double row = 0;
        for (int c = 0; c < tx->n; c++) {
            bool there = ty->at[r] >= 0 && tx->at[c] >= 0;
            row += tx->weight[c] *
                   (there ? ir_tensor_get(x, plane + ty->at[r] * width + tx->at[c]) : 0);
        }
        sum += ty->weight[r] * row;
    }
    return sum;
}

const char *ir_eval_grid_sample(IrEval *e, const IrNode *n, const IrTensor *const *in,
                                IrTensor *out) {
    (void)e;
    const char *mode = ir_str(n, IR_ATTR_MODE, "linear");
    const char *outside = ir_str(n, IR_ATTR_BORDER, "zeros");
    Border border = strcmp(outside, "zeros") == 0    ? BORDER_ZEROS
                    : strcmp(outside, "border") == 0 ? BORDER_EDGE
                                                     : BORDER_REFLECTION;
    bool align = ir_int(n, IR_ATTR_ALIGN, 0);
    const int64_t *d = in[0]->dim;
    int64_t pixels = out->dim[2] * out->dim[3];
#pragma omp parallel for if (out->dim[0] * pixels * d[1] > IR_EVAL_PARALLEL)
    for (int64_t i = 0; i < out->dim[0] * pixels; i++) {
        int64_t image = i / pixels, at = i % pixels;
        Taps tx = find_taps(ir_tensor_get(in[1], 2 * i), d[3], mode, border, align);
        Taps ty = find_taps(ir_tensor_get(in[1], 2 * i + 1), d[2], mode, border, align);
        for (int64_t c = 0; c < d[1]; c++) {
            int64_t plane = image * d[1] + c;
            double y = sample(in[0], plane * d[2] * d[3], d[3], &ty, &tx);
            ir_tensor_set(out, plane * pixels + at, y);
        }
    }
    return NULL;
}

// ---------------------------------------------------------------- roi_align

static const double MAX_SAMPLES = 1024; // of a bin, along one axis

typedef struct Bins { // of a region along one axis
    double start, size, samples;
} Bins;

// RoiAlign-16: [from, to] of an image in `count` bins; with `align` pixels have their centres at
// halves, else a region is one pixel wide at least. Without a given number of samples, a bin has
// one for each pixel that it covers.
static Bins cut_region(double from, double to, int64_t count, double scale, bool align,
                       int64_t samples) {
    double start = from * scale - (align ? 0.5 : 0),
           extent = to * scale - (align ? 0.5 : 0) - start;
    extent = align || extent >= 1 ? extent : 1;
    Bins b = {start, extent / (double)count, (double)samples};
    if (samples == 0) {
        double n = ceil(b.size);
        n = n >= 1 ? n : 0;
        b.samples = n <= MAX_SAMPLES ? n : MAX_SAMPLES;
    }
    return b;
}

// The two pixels around and their weights. False: more than a pixel outside of the image.
static bool find_pair(double x, int64_t size, Taps *t) {
    if (!(x >= -1 && x <= (double)size)) {
        return false;
    }
    x = x > 0 ? x : 0;
    int64_t low = (int64_t)x;
    if (low >= size - 1) {
        low = size - 1;
        x = (double)low;
    }
    *t = (Taps){2, {low, low + (low < size - 1)}, {1 - (x - (double)low), x - (double)low}};
    return true;
}

// The samples of one bin of a plane: their mean, or the greatest weighted pixel, what is outside
// being 0.
static double pool_bin(const IrTensor *x, int64_t plane, const Bins *by, const Bins *bx, int64_t py,
                       int64_t px, bool most) {
    int64_t h = x->dim[2], w = x->dim[3];
    double sum = 0, greatest = -INFINITY, count = by->samples * bx->samples;
    for (double iy = 0; iy < by->samples; iy++) {
        double y = by->start + ((double)py + (iy + 0.5) / by->samples) * by->size;
        for (double ix = 0; ix < bx->samples; ix++) {
            double at = bx->start + ((double)px + (ix + 0.5) / bx->samples) * bx->size;
            Taps ty, tx;
            bool inside = find_pair(y, h, &ty) && find_pair(at, w, &tx);
            for (int k = 0; k < 4; k++) {
                double v = 0;
                if (inside) {
                    int64_t pixel = (plane * h + ty.at[k / 2]) * w + tx.at[k % 2];
                    v = ty.weight[k / 2] * tx.weight[k % 2] * ir_tensor_get(x, pixel);
                }
                sum += v;
                greatest = v > greatest ? v : greatest;
            }
        }
    }
    return count < 1 ? 0 : most ? greatest : sum / count;
}

const char *ir_eval_roi_align(IrEval *e, const IrNode *n, const IrTensor *const *in,
                              IrTensor *out) {
    (void)e;
    bool most = strcmp(ir_str(n, IR_ATTR_MODE, "avg"), "max") == 0;
    bool align = ir_int(n, IR_ATTR_ALIGN, 0);
    double scale = ir_float(n, IR_ATTR_ALPHA, 1);
    int64_t samples = ir_int(n, IR_ATTR_SIZE, 0), images = in[0]->dim[0], channels = in[0]->dim[1];
    const int64_t *d = out->dim;
#pragma omp parallel for if (ir_tensor_elems(out) > IR_EVAL_PARALLEL / 16)
    for (int64_t r = 0; r < d[0]; r++) {
        IrWide image;
        ir_tensor_load_wide(in[2], r, 1, 1, &image);
        image += image < 0 ? images : 0;
        image = image < 0 ? 0 : image >= images ? images - 1 : image;
        double at[4];
        ir_tensor_load(in[1], 4 * r, 1, 4, at);
        Bins bx = cut_region(at[0], at[2], d[3], scale, align, samples);
        Bins by = cut_region(at[1], at[3], d[2], scale, align, samples);
        for (int64_t i = 0; i < channels * d[2] * d[3]; i++) {
            int64_t c = i / (d[2] * d[3]), py = i / d[3] % d[2], px = i % d[3];
            double y = pool_bin(in[0], (int64_t)image * channels + c, &by, &bx, py, px, most);
            ir_tensor_set(out, r * channels * d[2] * d[3] + i, y);
        }
    }
    return NULL;
}
