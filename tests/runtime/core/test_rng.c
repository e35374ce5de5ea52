// Philox against its authors' known answers; streams that do not meet; draws without bias.
#include "tests/check.h"

#include <stdlib.h>

#include "runtime/core/rng.h"

static void philox_gives_the_known_answers(void) { // Random123's kat_vectors
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        rt_philox(known[i].counter, known[i].key, out);
        for (int k = 0; k < 4; k++)
            CHECK_INT_EQ(out[k], known[i].out[k]);
    }
}

static void every_argument_makes_another_stream(void) {
    static const struct {
        uint64_t seed;
        int64_t epoch, index;
        uint32_t purpose;
    } args[] = {{0, 0, 0, 1},         {1, 0, 0, 1},         {1ull << 32, 0, 0, 1},
                {0, 1, 0, 1},         {0, 0, 1, 1},         {0, 0, 0, 2},
                {0, 0, 1ll << 32, 1}, {0, 0, 1ll << 33, 1}, {0, 0, 1ll << 40, 1}};
    enum { N = sizeof args / sizeof *args };
    uint64_t first[N];
    for (int i = 0; i < N; i++) {
        RtRng r = rt_rng(args[i].seed, args[i].epoch, args[i].index, args[i].purpose);
        first[i] = rt_rng_u64(&r);
        RtRng again = rt_rng(args[i].seed, args[i].epoch, args[i].index, args[i].purpose);
        CHECK(rt_rng_u64(&again) == first[i]);
        CHECK(rt_rng_u64(&again) != first[i]);
        for (int k = 0; k < i; k++)
            CHECK(first[k] != first[i]);
    }
}

static void draws_are_even(void) {
    enum { N = 60000 };
    RtRng r = rt_rng(7, 0, 0, 1);
    int count[6] = {0};
    double sum = 0, low = 1, high = 0;
    for (int i = 0; i < N; i++) {
        count[rt_rng_below(&r, 6)]++;
        double u = rt_rng_uniform(&r);
        sum += u;
        low = fmin(low, u);
        high = fmax(high, u);
    }
    for (int i = 0; i < 6; i++) // 5 standard deviations
        CHECK_NEAR(count[i], N / 6.0, 5 * sqrt(N * 5 / 36.0));
    CHECK_NEAR(sum / N, 0.5, 0.006);
    CHECK(low >= 0 && low < 0.001 && high < 1 && high > 0.999);
    CHECK_INT_EQ(rt_rng_below(&r, 1), 0);
    int64_t big = rt_rng_below(&r, INT64_MAX);
    CHECK(big >= 0 && big < INT64_MAX);
}

static void permutations_are_permutations(void) {
    enum { N = 50 };
    int64_t order[N], other[N];
    int first[N] = {0};
    for (int64_t epoch = 0; epoch < 2000; epoch++) {
        bool seen[N] = {false};
        rt_rng_permutation(3, epoch, order, N);
        for (int i = 0; i < N; i++) {
            CHECK(order[i] >= 0 && order[i] < N && !seen[order[i]]);
            seen[order[i]] = true;
        }
        first[order[0]]++;
    }
    for (int i = 0; i < N; i++)
        CHECK_NEAR(first[i], 40, 35);
    rt_rng_permutation(3, 1, order, N);
    rt_rng_permutation(3, 1, other, N);
    CHECK(memcmp(order, other, sizeof order) == 0);
    rt_rng_permutation(3, 2, other, N);
    CHECK(memcmp(order, other, sizeof order) != 0);
    rt_rng_permutation(4, 1, other, N);
    CHECK(memcmp(order, other, sizeof order) != 0);
    rt_rng_permutation(3, 1, order, 1);
    CHECK_INT_EQ(order[0], 0);
    rt_rng_permutation(3, 1, order, 0);
}

// Of every size: small ones as the permutation, large ones computed place by place.
static void orders_are_permutations(void) {
    static const int64_t sizes[] = {1, 2, 1000, RT_ORDER_TABLE, 1281167};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        int64_t n = sizes[k], same = 0, near = 0, wrong = 0;
        RtOrder o;
        uint8_t *seen = calloc((size_t)n, 1);
        int64_t *table = malloc((size_t)n * sizeof *table);
        CHECK(seen && table && rt_order_open(&o, n, true, 3));
        rt_rng_permutation(3, 5, table, n);
        rt_order_set(&o, 5);
        for (int64_t i = 0, last = 0; i < n; i++) {
            int64_t x = rt_order_at(&o, i);
            wrong += x < 0 || x >= n || seen[x];
            seen[x] = 1;
            same += x == table[i];
            near += i && llabs(x - last) <= 10;
            last = x;
        }
        CHECK_INT_EQ(wrong, 0);
        CHECK(n > RT_ORDER_TABLE ? same < 20 : same == n);
        if (n > 1000) // neighbours stay neighbours as often as by chance, 20 times
            CHECK(near < 60);
        rt_order_close(&o);
        free(seen);
        free(table);
    }
}

static void large_orders_depend_on_seed_and_epoch(void) {
    enum { N = 2 * RT_ORDER_TABLE };
    RtOrder o, other, plain;
    int64_t epochs = 0, seeds = 0;
    CHECK(rt_order_open(&o, N, true, 3) && rt_order_open(&other, N, true, 4) &&
          rt_order_open(&plain, N, false, 3));
    for (int64_t i = 0; i < 1000; i++) {
        rt_order_set(&o, 0);
        int64_t x = rt_order_at(&o, i);
        rt_order_set(&other, 0);
        seeds += x == rt_order_at(&other, i);
        rt_order_set(&o, 1);
        epochs += x == rt_order_at(&o, i);
        rt_order_set(&o, 0);
        CHECK_INT_EQ(rt_order_at(&o, i), x);
        CHECK_INT_EQ(rt_order_at(&plain, i), i);
    }
    CHECK(seeds < 3 && epochs < 3);
    rt_order_close(&o);
    rt_order_close(&other);
    rt_order_close(&plain);
}

int main(void) {
    CHECK_RUN(philox_gives_the_known_answers);
    CHECK_RUN(every_argument_makes_another_stream);
    CHECK_RUN(draws_are_even);
    CHECK_RUN(permutations_are_permutations);
    CHECK_RUN(orders_are_permutations);
    CHECK_RUN(large_orders_depend_on_seed_and_epoch);
    return check_done();
}
