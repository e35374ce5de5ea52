// Numbers of float16 and bfloat16 files, against the compiler's own conversions and against
// rounding done in double.
#include "runtime/train/stored.h"

#include "tests/check.h"

#include <math.h>
#include <string.h>

static HoneParam param(int stored, int64_t count, const void *initial) {
    return (HoneParam){.name = "w", .stored = stored, .count = count, .initial = initial};
}

static uint16_t pack(int stored, float x, bool *fits) {
    uint16_t bits = 0;
    HoneParam p = param(stored, 1, NULL);
    *fits = rt_stored_pack(&p, &x, &bits);
    return bits;
}

static float load(int stored, uint16_t bits) {
    float x;
    HoneParam p = param(stored, 1, (const uint8_t *)&bits);
    rt_stored_load(&p, &x);
    return x;
}

static uint32_t next(uint32_t *seed) { // xorshift
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    return *seed ^= *seed << 5;
}

// Every number of 16 bits comes back.
static void keeps_what_fits(void) {
    for (uint32_t i = 0; i < 65536; i++) {
        for (int k = 0; k < 2; k++) {
            int type = k ? HONE_BF16 : HONE_F16;
            float x = load(type, (uint16_t)i);
            bool fits;
            uint16_t back = pack(type, x, &fits);
            if (isnan(x)) {
                CHECK(isnan(load(type, back)) && fits);
            } else {
                CHECK(back == i && fits);
            }
        }
    }
}

static void loads_float16(void) {
#ifdef __FLT16_MAX__
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t bits = (uint16_t)i;
        _Float16 half;
        memcpy(&half, &bits, 2);
        float want = (float)half, got = load(HONE_F16, bits);
        CHECK(isnan(want) ? isnan(got) : want == got && signbit(want) == signbit(got));
    }
#endif
}

// To the nearest of the two neighbours; in the middle to the even one.
static void rounds_to_nearest(void) {
    uint32_t seed = 7;
    for (int i = 0; i < 300000; i++) {
        uint32_t bits = next(&seed);
        float x;
        memcpy(&x, &bits, 4);
        if (i % 3 == 0) { // near the middles, and in reach of float16
            uint16_t half = (uint16_t)(bits % 0x7bff);
            x = (load(HONE_F16, half) + load(HONE_F16, (uint16_t)(half + 1))) / 2;
            x = i % 2 ? x : nextafterf(x, i % 4 ? 1e9f : 0);
        }
        for (int k = 0; k < 2 && isfinite(x); k++) {
            int type = k ? HONE_BF16 : HONE_F16;
            bool fits;
            uint16_t got = pack(type, fabsf(x), &fits), most = k ? 0x7f80 : 0x7c00;
            CHECK(fits == (got < most));
            if (got >= most || got == 0)
                continue;
            double at = (double)load(type, got), below = (double)load(type, (uint16_t)(got - 1));
            double a = fabs((double)x), down = (at + below) / 2;
            CHECK(a > down || (a == down && got % 2 == 0));
            if (got + 1 < most) {
                double up = (at + (double)load(type, (uint16_t)(got + 1))) / 2;
                CHECK(a < up || (a == up && got % 2 == 0));
            }
        }
    }
}

static void widens_doubles(void) {
    double stored[2] = {0.1, -3};
    float x[2];
    HoneParam p = param(HONE_F64, 2, (const uint8_t *)stored);
    rt_stored_load(&p, x);
    CHECK(x[0] == 0.1f && x[1] == -3.0f);
    double back[2];
    CHECK(rt_stored_pack(&p, x, back) && back[0] == (double)0.1f && back[1] == -3.0);
    CHECK(rt_stored_bytes(&p) == 16);
}

// A value beyond the type's range is named by export; infinities are the state's own.
static void says_what_does_not_fit(void) {
    bool fits;
    CHECK(pack(HONE_F16, 65519.0f, &fits) == 0x7bff && fits);
    CHECK(pack(HONE_F16, 65520.0f, &fits) == 0x7c00 && !fits);
    CHECK(pack(HONE_F16, -1e30f, &fits) == 0xfc00 && !fits);
    CHECK(pack(HONE_F16, INFINITY, &fits) == 0x7c00 && fits);
    CHECK(pack(HONE_BF16, 3.4e38f, &fits) == 0x7f80 && !fits);
}

int main(void) {
    CHECK_RUN(keeps_what_fits);
    CHECK_RUN(loads_float16);
    CHECK_RUN(rounds_to_nearest);
    CHECK_RUN(widens_doubles);
    CHECK_RUN(says_what_does_not_fit);
    return check_done();
}
