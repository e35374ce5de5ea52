// The measured ceiling: figures that any machine exceeds, a bounded time, and what follows from
// them for a node's bound.
#include "runtime/core/ceiling.h"

#include "runtime/core/rt.h"
#include "tests/check.h"

static void measures_any_number_of_threads(void) {
    static const int asked[] = {1, 2, 3, 1000};
    int cpus = rt_cpus_available();
    for (int i = 0; i < 4; i++) {
        uint64_t start = rt_now();
        RtCeiling c = rt_ceiling_measure(asked[i]);
        CHECK_INT_EQ(c.threads, asked[i] < cpus ? asked[i] : cpus);
        CHECK(c.simd && *c.simd);
        CHECK(c.gflops > 0.1 && c.gflops < 1000.0 * c.threads);
        CHECK(c.gbs > 0.05 && c.gbs < 1000.0 * c.threads);
        CHECK(rt_now() - start < 5000000000u); // 0.1 s on a machine that does nothing else
    }
}

static void bounds_by_the_slower(void) {
    RtCeiling c = {.gflops = 100, .gbs = 10};
    int by_memory;
    CHECK_NEAR(rt_ceiling_ms(&c, 100e6, 1e6, &by_memory), 1, 1e-12);
    CHECK(!by_memory);
    CHECK_NEAR(rt_ceiling_ms(&c, 100e6, 30e6, &by_memory), 3, 1e-12);
    CHECK(by_memory);
    CHECK_NEAR(rt_ceiling_ms(&c, 0, 10e6, NULL), 1, 1e-12);
    CHECK_NEAR(rt_ceiling_ms(&c, 0, 0, &by_memory), 0, 0);
    CHECK(!by_memory);
}

static void leaves_out_what_is_unknown(void) {
    RtCeiling no_memory = {.gflops = 100}, nothing = {0};
    CHECK_NEAR(rt_ceiling_ms(&no_memory, 100e6, 1e9, NULL), 1, 1e-12);
    CHECK_NEAR(rt_ceiling_ms(&nothing, 100e6, 1e9, NULL), 0, 0);
}

int main(void) {
    CHECK_RUN(measures_any_number_of_threads);
    CHECK_RUN(bounds_by_the_slower);
    CHECK_RUN(leaves_out_what_is_unknown);
    return check_done();
}
