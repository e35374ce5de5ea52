// How long a worker of the server waits for more requests: simulated clients and times, no clocks.
#include "runtime/serve/gather.h"
#include "tests/check.h"

enum { MS = 1000000, RUN = 8 * MS, MOST = 8 }; // so a wait is 1 ms

static uint64_t now;

// A run of the rows that are there, `queued` of others come meanwhile.
static void run(RtServeGather *g, int64_t rows, int64_t queued) {
    rt_serve_gather_begin(g, rows, now);
    now += RUN;
    rt_serve_gather_end(g, queued, MOST, now);
}

static void waits_for_those_just_answered(void) {
    RtServeGather g = {0};
    now = 5 * MS;
    run(&g, 3, 2);
    CHECK(rt_serve_gather_waits(&g, 2, now));
    now += MS / 2;
    CHECK(rt_serve_gather_waits(&g, 4, now));
    CHECK(!rt_serve_gather_waits(&g, 5, now)); // all of them
    now += MS / 2 - 1;
    CHECK(rt_serve_gather_waits(&g, 4, now));
    CHECK(!rt_serve_gather_waits(&g, 4, now + 1)); // an eighth of the run
}

static void never_for_more_than_fit(void) {
    RtServeGather g = {0};
    run(&g, 6, 5);
    CHECK(rt_serve_gather_waits(&g, 7, now));
    CHECK(!rt_serve_gather_waits(&g, MOST, now));
    run(&g, MOST, MOST);
    CHECK(!rt_serve_gather_waits(&g, MOST, now));
}

static void who_is_alone_never_waits(void) {
    RtServeGather g = {0};
    CHECK(!rt_serve_gather_waits(&g, 1, now));
    for (int i = 0; i < 100; i++) {
        run(&g, 1, 0);
        now += (uint64_t)i * MS / 10; // some come within what would be a wait, some after it
        CHECK(!rt_serve_gather_waits(&g, 1, now));
    }
}

static void a_long_run_makes_no_long_wait(void) {
    RtServeGather g = {0};
    rt_serve_gather_begin(&g, 2, now);
    now += (uint64_t)60000 * MS;
    rt_serve_gather_end(&g, 0, MOST, now);
    CHECK(rt_serve_gather_waits(&g, 1, now + 49 * MS));
    CHECK(!rt_serve_gather_waits(&g, 1, now + 50 * MS));
}

// One row waits for another that does not come. How many of 1,000 runs were waited for.
static int waits_in_vain(RtServeGather *g) {
    int n = 0;
    for (int i = 0; i < 1000; i++) {
        run(g, 1, 1);
        if (rt_serve_gather_waits(g, 1, now)) {
            n++;
            now = g->until;
            CHECK(!rt_serve_gather_waits(g, 1, now));
        }
    }
    return n;
}

static void waits_seldom_where_nobody_comes(void) {
    RtServeGather g = {0};
    int n = waits_in_vain(&g); // at 1, 3, 7, 15, 31, 63 and then each 64 runs
    CHECK(n >= 15 && n <= 25);
    int tries = 0; // and as ever where somebody comes again
    do {
        run(&g, 1, 1);
        CHECK(tries++ < 64);
    } while (!rt_serve_gather_waits(&g, 1, now));
    run(&g, 2, 0);
    CHECK(rt_serve_gather_waits(&g, 1, now));
    run(&g, 2, 0);
    CHECK(rt_serve_gather_waits(&g, 1, now));
}

// Halves that take turns become one: the first's end finds the second, and waits for the first.
static void halves_meet(void) {
    RtServeGather g = {0};
    run(&g, 4, 4);
    CHECK(rt_serve_gather_waits(&g, 4, now));
    CHECK(!rt_serve_gather_waits(&g, 8, now + MS / 2));
    now += MS / 2;
    run(&g, 8, 0);
    CHECK(rt_serve_gather_waits(&g, 7, now));
    now += MS / 2; // one has left: half of those waited for is enough to wait again
    run(&g, 7, 0);
    CHECK(rt_serve_gather_waits(&g, 1, now));
}

int main(void) {
    CHECK_RUN(waits_for_those_just_answered);
    CHECK_RUN(never_for_more_than_fit);
    CHECK_RUN(who_is_alone_never_waits);
    CHECK_RUN(a_long_run_makes_no_long_wait);
    CHECK_RUN(waits_seldom_where_nobody_comes);
    CHECK_RUN(halves_meet);
    return check_done();
}
