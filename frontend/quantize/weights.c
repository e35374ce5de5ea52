// Weights as s8, symmetric, a scale per output channel; biases as i32 in steps of what the products
// are.
//
//   sum over j of (q - zero) * sx * w8[o, j] * sw[o] + b[o]  =  sx * sw[o] * (sum of integers +
//   b32[o])
//
// Rounding the weights moves the mean of a channel by the sum of (w8 * sw - w) * mean(x): where
// the mean of the input is known, that is taken from the bias. (Nagel et al., Data-Free
// Quantization Through Weight Equalization and Bias Correction, 2019, with means that were
// measured.)
#include "frontend/quantize/room.h"

#include <math.h>

enum { MOST = 127 };

static int8_t round_to(double x) {
    double q = nearbyint(x);
    return (int8_t)(q > MOST ? MOST : q < -MOST ? -MOST : q);
}

// Steps so wide that the bias fits into 31 bits with them, and that their product with the input's
// is a normal number.
static float scale_of(double largest, double bias, float x_scale) {
    double least = fabs(bias) / ((double)x_scale * (1 << 30)), s = largest / MOST;
    s = s > least ? s : least;
    s = s * (double)x_scale > 1e-37 || s == 0 ? s : 1e-37 / (double)x_scale;
    return s > 1e-30 ? (float)s : 1.0f; // a channel of zeros
}

FeQuantTables fe_quant_tables(IrArena *a, const FeQuantWeights *w, FeQuantParams x,
                              const IrTensor *bias, bool can_have_bias, const double *mean) {
    const float *f = w->w.data;
    int8_t *weights = ir_alloc_array(a, (size_t)ir_tensor_elems(&w->w) + 1, sizeof *weights);
    float *scale = ir_alloc_array(a, (size_t)w->channels + 1, sizeof *scale);
    float *bias_scale = ir_alloc_array(a, (size_t)w->channels + 1, sizeof *bias_scale);
    int32_t *b32 = ir_alloc_array(a, (size_t)w->channels + 1, sizeof *b32);
    for (int64_t o = 0; o < w->channels; o++) {
        double largest = 0, b = bias ? ir_tensor_get(bias, o) : 0, moved = 0;
        for (int64_t j = 0; j < w->products; j++) {
            double v = fabs((double)f[o * w->of_channel + j * w->of_product]);
            largest = v > largest ? v : largest;
        }
        scale[o] = scale_of(largest, b, x.scale);
        for (int64_t j = 0; j < w->products; j++) {
            int64_t at = o * w->of_channel + j * w->of_product;
            weights[at] = round_to((double)f[at] / (double)scale[o]);
            double error = weights[at] * (double)scale[o] - (double)f[at];
            moved += mean ? error * mean[o / w->per_group * w->in_group + j / w->taps] : 0;
        }
        bias_scale[o] = x.scale * scale[o];
        double steps = nearbyint((b - moved) / (double)bias_scale[o]);
        b32[o] = (int32_t)(steps > INT32_MAX ? INT32_MAX : steps < INT32_MIN ? INT32_MIN : steps);
    }
    bool has_bias = can_have_bias && (bias || mean);
    return (FeQuantTables){weights, scale, has_bias ? b32 : NULL, bias_scale};
}
