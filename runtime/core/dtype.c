// Element types: names, sizes, and numbers between them and what the runtime computes with.
#include "runtime/core/rt.h"

#include <math.h>
#include <string.h>

static double load_f32(const void *p) {
    float x;
    memcpy(&x, p, sizeof x);
    return (double)x;
}

static void store_f32(void *p, float x) {
    memcpy(p, &x, sizeof x);
}

static double load_f64(const void *p) {
    double x;
    memcpy(&x, p, sizeof x);
    return x;
}

static void store_f64(void *p, float x) {
    double wide = (double)x;
    memcpy(p, &wide, sizeof wide);
}

static double load_bf16(const void *p) {
    uint16_t half;
    memcpy(&half, p, sizeof half);
    uint32_t bits = (uint32_t)half << 16;
    return load_f32(&bits);
}

static void store_bf16(void *p, float x) { // to nearest, halves to even
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t up = isnan(x) ? 0 : 0x7fff + (bits >> 16 & 1);
    uint16_t half = (uint16_t)((bits + up) >> 16);
    memcpy(p, &half, sizeof half);
}

static double load_f16(const void *p) {
    uint16_t half;
    memcpy(&half, p, sizeof half);
    int exponent = half >> 10 & 31, fraction = half & 1023;
    double x = exponent == 31 ? (fraction ? (double)NAN : (double)INFINITY)
               : exponent     ? ldexp(1024 + fraction, exponent - 25)
                              : ldexp(fraction, -24);
    return half >> 15 ? -x : x;
}

static void store_f16(void *p, float x) { // to nearest, halves to even
    int bits = isnan(x) ? 0x7e00 : isinf(x) ? 0x7c00 : 0, e;
    if (isfinite(x) && x != 0) {
        frexpf(x, &e);                          // |x| in [2^(e-1), 2^e)
        int unit = e - 11 > -24 ? e - 11 : -24; // the exponent of the last bit's weight
        // 2048 of them carry over into the exponent by themselves
        bits = (unit + 24) * 1024 + (int)rintf(ldexpf(fabsf(x), -unit));
        bits = bits > 0x7c00 ? 0x7c00 : bits;
    }
    uint16_t half = (uint16_t)(bits | (signbit(x) ? 0x8000 : 0));
    memcpy(p, &half, sizeof half);
}

const RtDtype *rt_dtype(int dtype) {
    static const RtDtype table[RT_N_DTYPES] = {
        [HONE_F32] = {"f32", "<f4", 4, load_f32, store_f32},
        [HONE_F64] = {"f64", "<f8", 8, load_f64, store_f64},
        [HONE_F16] = {"f16", "<f2", 2, load_f16, store_f16},
        [HONE_BF16] = {"bf16", "<V2", 2, load_bf16, store_bf16},
        [HONE_I8] = {"i8", "|i1", 1, NULL, NULL},
        [HONE_I16] = {"i16", "<i2", 2, NULL, NULL},
        [HONE_I32] = {"i32", "<i4", 4, NULL, NULL},
        [HONE_I64] = {"i64", "<i8", 8, NULL, NULL},
        [HONE_U8] = {"u8", "|u1", 1, NULL, NULL},
        [HONE_U16] = {"u16", "<u2", 2, NULL, NULL},
        [HONE_U32] = {"u32", "<u4", 4, NULL, NULL},
        [HONE_U64] = {"u64", "<u8", 8, NULL, NULL},
        [HONE_BOOL] = {"bool", "|b1", 1, NULL, NULL},
    };
    return dtype >= 0 && dtype < RT_N_DTYPES ? &table[dtype] : NULL;
}
