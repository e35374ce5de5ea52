// Numbers between float32 and the types of ONNX files; see stored.h.
#include "runtime/train/stored.h"

#include <math.h>
#include <string.h>

static float load_f32(const void *p) {
    float x;
    memcpy(&x, p, sizeof x);
    return x;
}

static void store_f32(void *p, float x) {
    memcpy(p, &x, sizeof x);
}

static float load_f64(const void *p) {
    double x;
    memcpy(&x, p, sizeof x);
    return (float)x;
}

static void store_f64(void *p, float x) {
    double wide = (double)x;
    memcpy(p, &wide, sizeof wide);
}

static float load_bf16(const void *p) {
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

static float load_f16(const void *p) {
    uint16_t half;
    memcpy(&half, p, sizeof half);
    int exponent = half >> 10 & 31, fraction = half & 1023;
    float x = exponent == 31 ? (fraction ? NAN : INFINITY)
              : exponent     ? ldexpf((float)(1024 + fraction), exponent - 25)
                             : ldexpf((float)fraction, -24);
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

static const struct {
    size_t bytes;
    float (*load)(const void *p);
    void (*store)(void *p, float x);
} types[] = {[HONE_F32] = {4, load_f32, store_f32},
             [HONE_F64] = {8, load_f64, store_f64},
             [HONE_F16] = {2, load_f16, store_f16},
             [HONE_BF16] = {2, load_bf16, store_bf16}};

size_t rt_stored_bytes(const HoneParam *p) {
    return (size_t)p->count * types[p->stored].bytes;
}

void rt_stored_load(const HoneParam *p, float *to) {
    if (p->stored == HONE_F32) {
        memcpy(to, p->initial, rt_stored_bytes(p));
        return;
    }
    for (int64_t i = 0; i < p->count; i++)
        to[i] = types[p->stored].load(p->initial + (size_t)i * types[p->stored].bytes);
}

bool rt_stored_pack(const HoneParam *p, const float *from, void *to) {
    size_t bytes = types[p->stored].bytes;
    bool good = true;
    if (p->stored == HONE_F32) {
        memcpy(to, from, rt_stored_bytes(p));
        return true;
    }
    for (int64_t i = 0; i < p->count; i++) {
        char *at = (char *)to + (size_t)i * bytes;
        types[p->stored].store(at, from[i]);
        good = good && (isinf(from[i]) || !isinf(types[p->stored].load(at)));
    }
    return good;
}

void rt_stored_round(const HoneTrainDesc *d, float *params) {
    for (int k = 0; k < d->n_params; k++) {
        const HoneParam *p = &d->params[k];
        float *x = params + p->offset;
        char one[8];
        for (int64_t i = 0; p->stored != HONE_F32 && i < p->count; i++) {
            types[p->stored].store(one, x[i]);
            x[i] = types[p->stored].load(one);
        }
    }
}
