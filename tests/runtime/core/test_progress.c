// The walk over steps by threads that come late, not at all for a while, or lose their CPU within a
// share: each share of each phase is done once, by whoever, after all of the phase before.
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/core/rt.h"
#include "tests/check.h"

enum { PHASES = 20, THREADS = 4, STEPS = 2 * PHASES, SCRATCH = 64 };

// Each phase has two steps, that do not depend on each other.
static _Atomic int done[STEPS][THREADS];  // how often
static _Atomic int shares, wrong, latest; // done in all; what should not be; the latest phase begun
static _Atomic long by[THREADS];          // shares that this thread did, as its scratch says
static char scratch[THREADS][SCRATCH], arena[STEPS]; // a byte for each step: which it is
static bool naps;

static int count_phase(int phase, int threads) {
    int n = 0;
    for (int k = 0; k < 2 * threads; k++)
        n += done[2 * phase + k / threads][k % threads];
    return n;
}

static void note(char *const *args, int64_t N, int64_t share, int64_t threads, char *mine) {
    int step = (int)(args[0] - arena), phase = step / 2;
    int thread = (int)((mine - scratch[0]) / SCRATCH);
    (void)N;
    if (phase > latest)
        latest = phase;
    wrong += phase > 0 && count_phase(phase - 1, (int)threads) != 2 * threads;
    if (naps && (step * 7 + share * 3) % 11 == 0)
        nanosleep(&(struct timespec){0, 300000}, NULL);
    by[thread]++;
    done[step][share]++;
    shares++;
}

static const HoneKernel kernels[] = {note};
static HonePlace places[STEPS];
static HoneStep steps[STEPS];
static const HoneModelDesc desc = {.kernels = kernels, .scratch_bytes = SCRATCH};
static const HoneSteps all = {STEPS, STEPS, steps, places};

typedef struct Thread {
    HoneCall *call;
    int thread, threads;
} Thread;

static void *walk(void *arg) {
    const Thread *t = arg;
    rt_steps(&desc, &all, t->call, t->thread, t->threads);
    return NULL;
}

static void reset(void) {
    for (int i = 0; i < STEPS; i++) {
        places[i] = (HonePlace){.offset = {i, 0}, .at = HONE_AT_ARENA};
        steps[i] = (HoneStep){0, i, 1, i % 2 == 0 && i > 0};
    }
    memset(done, 0, sizeof done);
    memset(by, 0, sizeof by);
    shares = wrong = latest = 0;
}

static void check_all(int threads) {
    for (int i = 0; i < STEPS; i++)
        for (int k = 0; k < threads; k++)
            CHECK(done[i][k] == 1);
    CHECK(!wrong && shares == STEPS * threads);
}

static void wait_for_shares(int n) {
    while (shares < n)
        sched_yield();
}

// Threads from `late` on come once so many shares are done.
static void run(HoneCall *call, int threads, int late, int until) {
    pthread_t id[THREADS];
    Thread t[THREADS];
    reset();
    rt_progress_start(call->progress, threads);
    for (int k = 0; k < threads; k++) {
        if (k == late)
            wait_for_shares(until);
        t[k] = (Thread){call, k, threads};
        CHECK(pthread_create(&id[k], NULL, walk, &t[k]) == 0);
    }
    for (int k = 0; k < threads; k++)
        pthread_join(id[k], NULL);
    check_all(threads);
}

static HoneCall make_call(RtProgress *p) {
    RtErr err;
    CHECK(rt_progress_make(p, THREADS, &err));
    return (HoneCall){.progress = p, .arena = arena, .scratch = scratch[0]};
}

static void one_thread_does_what_others_do_not_come_to(void) {
    RtProgress p;
    HoneCall call = make_call(&p);
    for (int threads = 2; threads <= THREADS; threads++) {
        run(&call, threads, 1, STEPS * threads); // the first does all, or this does not end
        CHECK_INT_EQ(by[0], STEPS * threads);
    }
    rt_progress_free(&p);
}

static void threads_that_lose_their_cpu_change_nothing(void) {
    RtProgress p;
    HoneCall call = make_call(&p);
    naps = true;
    for (int k = 0; k < 20; k++)
        run(&call, 2 + k % 3, THREADS, 0);
    naps = false;
    rt_progress_free(&p);
}

typedef struct Watched {
    HoneCall call;
    int seen, ahead;
} Watched;

static void watch(const HoneCall *call, int32_t step) {
    Watched *w = (Watched *)call;
    w->ahead += latest > step / 2; // what it looks at is of the steps before
    w->seen++;
}

static void nobody_goes_on_without_an_observer(void) {
    RtProgress p;
    Watched w = {.call = make_call(&p)};
    pthread_t id[THREADS];
    Thread t[THREADS];
    w.call.observe = watch;
    reset();
    rt_progress_start(&p, THREADS);
    for (int k = THREADS - 1; k >= 0; k--) {
        t[k] = (Thread){&w.call, k, THREADS};
        if (k == 0) {
            wait_for_shares(2 * (THREADS - 1)); // the others' of the first phase
            nanosleep(&(struct timespec){0, 5000000}, NULL);
        }
        CHECK(pthread_create(&id[k], NULL, walk, &t[k]) == 0);
    }
    for (int k = 0; k < THREADS; k++)
        pthread_join(id[k], NULL);
    check_all(THREADS);
    CHECK_INT_EQ(w.seen, STEPS + 1);
    CHECK_INT_EQ(w.ahead, 0);
    rt_progress_free(&p);
}

int main(void) {
    CHECK_RUN(one_thread_does_what_others_do_not_come_to);
    CHECK_RUN(threads_that_lose_their_cpu_change_nothing);
    CHECK_RUN(nobody_goes_on_without_an_observer);
    return check_done();
}
