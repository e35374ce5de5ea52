// Element types of 8 bits and less that the IR lacks: floats of 8 and 4 bits, integers of 4 and 2.
// Files store weights in them; here integers become i8 and u8, floats become f32. A table says how
// their bits are read; importers take ranges for saturation from the same rows.
//
// Formats: ONNX's TensorProto.DataType, OCP's "8-bit Floating Point" and "Microscaling Formats".
#include "frontend/onnx/load.h"

#include <math.h>

static const FeSmall small_types[] = {
    {.elem = 17, .bits = 8, .is_float = true, .mantissa = 3, .bias = 7, .top = 0x7e, .nan = 0x7f},
    {.elem = 18, .bits = 8, .is_float = true, .mantissa = 3, .bias = 8, .top = 0x7f, .nan = 0x80},
    {.elem = 19,
     .bits = 8,
     .is_float = true,
     .mantissa = 2,
     .bias = 15,
     .top = 0x7b,
     .nan = 0x7f,
     .inf = true},
    {.elem = 20, .bits = 8, .is_float = true, .mantissa = 2, .bias = 16, .top = 0x7f, .nan = 0x80},
    {.elem = 21, .bits = 4},
    {.elem = 22, .bits = 4, .is_signed = true},
    {.elem = 23, .bits = 4, .is_float = true, .mantissa = 1, .bias = 1, .top = 7, .nan = -1},
    {.elem = 24, .bits = 8, .is_float = true, .bias = 127, .unsigned_power = true, .nan = 0xff},
    {.elem = 25, .bits = 2},
    {.elem = 26, .bits = 2, .is_signed = true},
};

const FeSmall *fe_small_type(int32_t onnx_type) {
    for (size_t i = 0; i < sizeof small_types / sizeof *small_types; i++) {
        if (small_types[i].elem == onnx_type) {
            return &small_types[i];
        }
    }
    return NULL;
}

// (-1)^sign * 2^(exponent - bias) * 1.mantissa, or 2^(1 - bias) * 0.mantissa where the exponent is
// 0.
static double value_of(const FeSmall *t, int code) {
    int sign = code >> (t->bits - 1), rest = code & ((1 << (t->bits - 1)) - 1);
    if (t->unsigned_power) {
        return code == t->nan ? NAN : ldexp(1, code - t->bias);
    }
    if (code == t->nan || (rest > t->top && !(t->inf && rest == t->top + 1))) {
        return NAN;
    }
    int exponent = rest >> t->mantissa, one = 1 << t->mantissa, part = rest & (one - 1);
    double x = exponent ? ldexp(one + part, exponent - t->bias - t->mantissa)
                        : ldexp(part, 1 - t->bias - t->mantissa);
    x = rest > t->top ? INFINITY : x;
    return sign ? -x : x;
}

double fe_small_max(const FeSmall *t) {
    return t->is_float ? value_of(t, t->unsigned_power ? 0xfe : t->top)
                       : (double)((1 << (t->bits - t->is_signed)) - 1);
}

void fe_unpack_small(const FeSmall *t, void *dst, const void *src, int64_t n) {
    const uint8_t *p = src;
    int each = 8 / t->bits, mask = (1 << t->bits) - 1;
    for (int64_t i = 0; i < n; i++) {
        int code = p[i / each] >> (int)(i % each) * t->bits & mask;
        if (t->is_float) {
            ((float *)dst)[i] = (float)value_of(t, code);
        } else {
            int top = t->is_signed ? 1 << (t->bits - 1) : 0;
            ((uint8_t *)dst)[i] = (uint8_t)((code ^ top) - top);
        }
    }
}
