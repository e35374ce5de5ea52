// Resize along one axis: from which pixels of the input a pixel of the result comes, and with which
// weights, as tables. Coordinates are computed in float, as exporters and other runtimes do: ties
// of nearest depend on it.
#include "frontend/import/resize.h"

#include <math.h>

enum { MAX_TABLE = 1 << 22 }; // entries
static const double HALF_WAY = 1e-6;

// Resize-19, coordinate_transformation_mode.
static float source_of(const FeResize *r, const FeResizeAxis *a, int64_t pixel) {
    float x = (float)pixel, in = (float)a->in, out = (float)a->out;
    switch (r->coordinates) {
    case FE_RESIZE_PYTORCH_HALF_PIXEL:
        return a->out > 1 ? (x + 0.5f) / a->scale - 0.5f : 0;
    case FE_RESIZE_ALIGN_CORNERS: // by the length of the result, scale * size rounded down
        return a->out > 1 ? x * (in - 1) / (out - 1) : 0;
    case FE_RESIZE_ASYMMETRIC:
        return x / a->scale;
    case FE_RESIZE_TF_HALF_PIXEL_FOR_NN:
        return (x + 0.5f) / a->scale;
    case FE_RESIZE_TF_CROP_AND_RESIZE:
        return a->out > 1 ? a->start * (in - 1) + x * (a->end - a->start) * (in - 1) / (out - 1)
                          : 0.5f * (a->start + a->end) * (in - 1);
    case FE_RESIZE_HALF_PIXEL_SYMMETRIC:
        return (float)(in / 2 * (1 - out / (a->scale * in)) + (x + 0.5) / (double)a->scale - 0.5);
    default:
        return (x + 0.5f) / a->scale - 0.5f;
    }
}

// Resize-19, nearest_mode. SIMPLE: what was meant before version 11. What should be half way, and a
// rounded scale has moved a little, is half way.
static double round_source(FeResizeRounding how, double x, double scale) {
    double half = floor(x) + 0.5;
    x = fabs(x - half) <= HALF_WAY ? half : x;
    switch (how) {
    case FE_RESIZE_PREFER_FLOOR:
        return ceil(x - 0.5);
    case FE_RESIZE_PREFER_CEIL:
        return floor(x + 0.5);
    case FE_RESIZE_CEIL:
        return ceil(x);
    case FE_RESIZE_SIMPLE:
        return scale < 1 ? ceil(x) : trunc(x);
    default:
        return floor(x);
    }
}

// Weight of a pixel at distance d: the triangle, or the cubic of "Cubic convolution interpolation
// for digital image processing", R. G. Keys, 1981, with parameter a.
static double kernel_at(const FeResize *r, double d) {
    double a = r->cubic_a;
    d = fabs(d);
    if (r->mode == FE_RESIZE_LINEAR) {
        return d < 1 ? 1 - d : 0;
    }
    return d <= 1  ? ((a + 2) * d - (a + 3)) * d * d + 1
           : d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
                   : 0;
}

// By how much antialias widens the kernel when the axis shrinks.
static double stretch_of(const FeResize *r, const FeResizeAxis *a) {
    return r->antialias && a->scale < 1 ? (double)a->scale : 1;
}

static int64_t count_taps(const FeResize *r, const FeResizeAxis *a) {
    double reach = r->mode == FE_RESIZE_CUBIC ? 2 : 1;
    return r->mode == FE_RESIZE_NEAREST ? 1 : 2 * (int64_t)ceil(reach / stretch_of(r, a));
}

// Entries of pixel i: taps around x, outside ones at the nearest end or, with exclude_outside,
// without weight.
static void fill_taps(const FeResize *r, FeResizeAxis *a, int64_t i, double x) {
    int32_t *index = (int32_t *)a->index.data + i;
    double stretch = stretch_of(r, a), sum = 0, first = floor(x) - (double)(a->taps / 2 - 1);
    double *weight = (double *)a->weight.data + i;
    for (int64_t t = 0; t < a->taps; t++) {
        double at = first + (double)t;
        bool outside = at < 0 || at > (double)(a->in - 1);
        weight[t * a->out] = outside && r->exclude_outside ? 0 : kernel_at(r, (at - x) * stretch);
        sum += weight[t * a->out];
        index[t * a->out] = (int32_t)fmin(fmax(at, 0), (double)(a->in - 1));
    }
    for (int64_t t = 0; t < a->taps && sum != 0; t++) {
        weight[t * a->out] /= sum;
    }
}

static bool is_identity(const FeResizeAxis *a) {
    const int32_t *index = a->index.data;
    const double *weight = a->weight.data;
    if (a->in != a->out || a->has_outside) {
        return false;
    }
    for (int64_t k = 0; k < a->taps * a->out; k++) {
        bool same = index[k] == k % a->out;
        if (weight ? !same && weight[k] != 0 : !same) {
            return false;
        }
    }
    return true;
}

void fe_resize_fill_axis(FeNode *n, const FeResize *r, FeResizeAxis *a) {
    double low = -2.0 * (double)a->in - 16, high = 3.0 * (double)a->in + 16;
    a->taps = count_taps(r, a);
    if (a->taps > MAX_TABLE / a->out) {
        fe_refuse(n, "%lld to %lld pixels is too much", (long long)a->in, (long long)a->out);
        return;
    }
    IrType index = {IR_I32, {2, {ir_dim(a->taps), ir_dim(a->out)}}, 0}, weight = index;
    IrType inside = {IR_BOOL, {1, {ir_dim(a->out)}}, 0};
    weight.dtype = IR_F64;
    a->index = ir_tensor_new(n->fe->arena, &index, 1);
    a->inside = ir_tensor_new(n->fe->arena, &inside, 1);
    if (r->mode != FE_RESIZE_NEAREST) {
        a->weight = ir_tensor_new(n->fe->arena, &weight, 1);
    }
    for (int64_t i = 0; i < a->out; i++) {
        double x = (double)source_of(r, a, i);
        bool is_inside =
            r->coordinates != FE_RESIZE_TF_CROP_AND_RESIZE || (x >= 0 && x <= (double)a->in - 1);
        ir_tensor_set(&a->inside, i, is_inside);
        a->has_outside |= !is_inside;
        x = x > low ? fmin(x, high) : low;
        if (r->mode == FE_RESIZE_NEAREST) {
            x = round_source(r->rounding, x, (double)a->scale);
            ((int32_t *)a->index.data)[i] = (int32_t)fmin(fmax(x, 0), (double)(a->in - 1));
        } else {
            // At the ends one pixel is all of it, to the last bit: integers are cut off later.
            bool clamps = r->mode == FE_RESIZE_LINEAR && !r->antialias && !r->exclude_outside;
            fill_taps(r, a, i, clamps ? fmin(fmax(x, 0), (double)(a->in - 1)) : x);
        }
    }
    a->changes = !is_identity(a) && !(r->antialias && a->in == a->out);
}
