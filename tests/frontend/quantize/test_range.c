// Ranges of what is quantized: extents, percentiles and entropy against values found by hand.
#include "frontend/quantize/quantize.h"
#include "tests/check.h"

#include <math.h>
#include <string.h>

enum { N = 20480 };

static FeQuantRange range_of(const float *x, int64_t n, FeQuantMethod m, double percentile) {
    FeQuantRange r = {0};
    // Two images.
    CHECK(fe_quant_see(&r, x, n / 2) && fe_quant_see(&r, x + n / 2, n - n / 2));
    fe_quant_count(&r, x, n / 2);
    fe_quant_count(&r, x + n / 2, n - n / 2);
    fe_quant_choose(&r, m, percentile);
    return r;
}

// -1 to 3 in equal steps.
static void fill_even(float *x) {
    for (int i = 0; i < N; i++) {
        x[i] = -1 + 4 * (float)i / (N - 1);
    }
}

static void test_minmax(void) {
    static float x[N];
    fill_even(x);
    FeQuantRange r = range_of(x, N, FE_QUANT_MINMAX, 0);
    FeQuantParams p = fe_quant_params(&r);
    CHECK_NEAR(r.from, -1, 1e-6);
    CHECK_NEAR(r.to, 3, 1e-6);
    CHECK_NEAR((double)p.scale, 4.0 / 255, 1e-8);
    CHECK(p.zero == 64); // 63.75
}

// Of one sign: 0 is in the range all the same.
static void test_one_sign(void) {
    float x[] = {2, 3, 5, 4}, y[] = {-2, -3, -5, -4}, z[] = {0, 0, 0, 0};
    FeQuantRange r = range_of(x, 4, FE_QUANT_MINMAX, 0);
    CHECK_NEAR(r.from, 0, 0);
    CHECK(fe_quant_params(&r).zero == 0);
    CHECK_NEAR((double)fe_quant_params(&r).scale, 5.0 / 255, 1e-8);
    r = range_of(y, 4, FE_QUANT_PERCENTILE, 100);
    CHECK_NEAR(r.to, 0, 0);
    CHECK(fe_quant_params(&r).zero == 255);
    for (int m = 0; m < FE_QUANT_METHODS; m++) {
        r = range_of(z, 4, (FeQuantMethod)m, 99);
        CHECK(fe_quant_params(&r).zero == 0 && fe_quant_params(&r).scale == 1);
    }
}

// 90 %: 5 % of an even distribution over 4 goes on each side.
static void test_percentile(void) {
    static float x[N];
    fill_even(x);
    FeQuantRange r = range_of(x, N, FE_QUANT_PERCENTILE, 90);
    CHECK_NEAR(r.from, -0.8, 2e-3);
    CHECK_NEAR(r.to, 2.8, 2e-3);
    r = range_of(x, N, FE_QUANT_PERCENTILE, 100);
    CHECK_NEAR(r.from, -1, 2e-3);
    CHECK_NEAR(r.to, 3, 2e-3);
    // One number in 20,480 far away is out of 99.98 %: 2.05 of them are, on each side.
    x[7] = 1000;
    r = range_of(x, N, FE_QUANT_PERCENTILE, 99.98);
    CHECK(r.to < 4);
}

// A bell with one number far away: what is lost outside is less than what finer steps gain. An even
// distribution keeps its ends.
static void test_entropy(void) {
    static float x[N];
    fill_even(x);
    FeQuantRange r = range_of(x, N, FE_QUANT_ENTROPY, 0);
    CHECK_NEAR(r.from, -1, 0.05);
    CHECK_NEAR(r.to, 3, 0.05);
    uint64_t s = 1;
    for (int i = 0; i < N; i++) {
        double sum = 0;
        for (int k = 0; k < 4; k++) {
            s = s * 6364136223846793005u + 1442695040888963407u;
            sum += (double)(s >> 33) / 2147483648.0 - 0.5;
        }
        x[i] = (float)(sum * 1.7320508);
    }
    x[N - 1] = 30;
    r = range_of(x, N, FE_QUANT_ENTROPY, 0);
    CHECK(r.to > 2 && r.to < 15);
    CHECK(r.from < 0);
}

// What eight pictures with a constant background make: most numbers are a few values, others lie
// between, and one in 20 is spread thinly above. Those stay in the range.
static void test_entropy_of_spikes(void) {
    static float x[N];
    for (int i = 0; i < N; i++) {
        float share = (float)i / N;
        x[i] = i % 20 == 0 ? 4 * share : i % 2 ? 0.11f * (float)(1 + i % 7) : share;
    }
    FeQuantRange r = range_of(x, N, FE_QUANT_ENTROPY, 0);
    CHECK(r.to > 3.8);
}

static void test_not_finite(void) {
    float nan[] = {1, NAN, 2}, inf[] = {1, INFINITY, 2};
    FeQuantRange r = {0};
    CHECK(!fe_quant_see(&r, nan, 3));
    CHECK(!fe_quant_see(&r, inf, 3));
}

static void test_names(void) {
    FeQuantMethod m;
    CHECK(fe_quant_method_parse("entropy", &m) && m == FE_QUANT_ENTROPY);
    CHECK(!fe_quant_method_parse("kl", &m));
    CHECK(strcmp(fe_quant_method_name(FE_QUANT_PERCENTILE), "percentile") == 0);
}

int main(void) {
    CHECK_RUN(test_minmax);
    CHECK_RUN(test_one_sign);
    CHECK_RUN(test_percentile);
    CHECK_RUN(test_entropy);
    CHECK_RUN(test_entropy_of_spikes);
    CHECK_RUN(test_not_finite);
    CHECK_RUN(test_names);
    return check_done();
}
