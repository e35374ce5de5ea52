// Instances of a model share what is prepared of its weights, and a pool of them takes calls from
// any thread: results, errors, limits, what a forked child gets. Compiled a second time with
// ThreadSanitizer.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/core/rt.h"
#include "tests/runtime/infer/fake_model.c"

enum { MAX_BATCH = 5, IMAGE = CHANNELS * PIXELS, CALLERS = 12, CALLS = 200 };

#define REQUIRE(c)                                                                                 \
    do {                                                                                           \
        if (!(c)) {                                                                                \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #c);                                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static _Atomic int prepared_by_thread_0;

static void count_prepare(char *const *args, int64_t N, int64_t thread, int64_t threads,
                          char *scratch) {
    prepared_by_thread_0 += thread == 0;
    prepare(args, N, thread, threads, scratch);
}

static const HoneKernel counted[] = {count_prepare, average_planes, score_images};

static HoneModelDesc counting_model(void) {
    HoneModelDesc d = hone_fake_desc;
    d.kernels = counted;
    return d;
}

static int run_model(HoneModel *m, const float *x, float *y) {
    const void *in[] = {x};
    void *out[] = {y};
    return hone_run(m, 1, in, out);
}

// ---- prepared once

static void test_shared(const float *x, const float *want) {
    enum { N = 8 };
    HoneModelDesc d = counting_model(), other = counting_model();
    const HoneStep own[] = {other.init.step[0]}; // another model has steps of its own
    other.init.step = own;
    HoneModel *m[N];
    float y[CLASSES];
    prepared_by_thread_0 = 0;
    for (int i = 0; i < N; i++) {
        m[i] = hone_create(&d, &(HoneOptions){.threads = 1 + i % 3}, NULL, 0);
        REQUIRE(m[i]);
    }
    REQUIRE(prepared_by_thread_0 == 1);
    HoneModel *o = hone_create(&other, NULL, NULL, 0); // of another model's weights
    REQUIRE(o && prepared_by_thread_0 == 2);
    hone_destroy(o);
    for (int i = 0; i < N; i++) { // whoever made them goes first
        hone_destroy(i ? m[i - 1] : NULL);
        memset(y, 0, sizeof y);
        REQUIRE(run_model(m[i], x, y) == 0 && memcmp(y, want, sizeof y) == 0);
    }
    hone_destroy(m[N - 1]);
    m[0] = hone_create(&d, NULL, NULL, 0); // nobody has them any more
    REQUIRE(m[0] && prepared_by_thread_0 == 3);
    hone_destroy(m[0]);
}

static void *create_and_destroy(void *arg) {
    for (int i = 0; i < 50; i++) {
        HoneModel *m = hone_create(arg, &(HoneOptions){.threads = 2}, NULL, 0);
        REQUIRE(m);
        hone_destroy(m);
    }
    return NULL;
}

static void test_shared_by_threads(void) {
    HoneModelDesc d = counting_model();
    HoneModel *keeper = hone_create(&d, NULL, NULL, 0);
    prepared_by_thread_0 = 0;
    pthread_t t[CALLERS];
    for (int i = 0; i < CALLERS; i++)
        REQUIRE(pthread_create(&t[i], NULL, create_and_destroy, &d) == 0);
    for (int i = 0; i < CALLERS; i++)
        pthread_join(t[i], NULL);
    REQUIRE(prepared_by_thread_0 == 0);
    hone_destroy(keeper);
}

// ---- pools

typedef struct Caller {
    HonePool *pool;
    const float *x, *want;
} Caller;

static void *call_often(void *arg) {
    Caller *c = arg;
    for (int i = 0; i < CALLS; i++) {
        float y[MAX_BATCH * CLASSES] = {0};
        const void *in[] = {c->x};
        void *out[] = {y};
        int batch = 1 + i % MAX_BATCH;
        char err[256] = "?";
        if (i % 10 == 9) { // each caller is told of its own mistakes
            REQUIRE(hone_pool_run(c->pool, -i, in, out, err, sizeof err) == -1);
            char want[64];
            snprintf(want, sizeof want, "batch -%d is negative", i);
            REQUIRE(strcmp(err, want) == 0);
            continue;
        }
        REQUIRE(hone_pool_run(c->pool, batch, in, out, err, sizeof err) == 0 && !err[0]);
        REQUIRE(memcmp(y, c->want, (size_t)batch * CLASSES * sizeof *y) == 0);
    }
    return NULL;
}

static void test_callers(const float *x, const float *want, int workers, int threads) {
    HoneModelDesc d = counting_model();
    char err[256] = "?";
    prepared_by_thread_0 = 0;
    HonePool *pool =
        hone_pool_create(&d, &(HoneOptions){.threads = threads}, workers, err, sizeof err);
    REQUIRE(pool && !err[0] && prepared_by_thread_0 == 1);
    Caller c = {pool, x, want};
    pthread_t t[CALLERS];
    for (int i = 0; i < CALLERS; i++)
        REQUIRE(pthread_create(&t[i], NULL, call_often, &c) == 0);
    for (int i = 0; i < CALLERS; i++)
        pthread_join(t[i], NULL);
    hone_pool_destroy(pool);
}

// A pool that is destroyed while calls are in it lets them finish.
static void *destroy(void *pool) {
    hone_pool_destroy(pool);
    return NULL;
}

static _Atomic int inside;

static void wait_inside(char *const *args, int64_t N, int64_t thread, int64_t threads,
                        char *scratch) {
    if (thread == 0) {
        inside = 1;
        usleep(100000);
    }
    score_images(args, N, thread, threads, scratch);
}

static void *call_once(void *arg) {
    Caller *c = arg;
    float y[CLASSES] = {0};
    const void *in[] = {c->x};
    void *out[] = {y};
    REQUIRE(hone_pool_run(c->pool, 1, in, out, NULL, 0) == 0);
    REQUIRE(memcmp(y, c->want, sizeof y) == 0);
    return NULL;
}

static void test_destroyed_in_use(const float *x, const float *want) {
    static const HoneKernel slow[] = {prepare, average_planes, wait_inside};
    HoneModelDesc d = hone_fake_desc;
    d.kernels = slow;
    HonePool *pool = hone_pool_create(&d, &(HoneOptions){.threads = 1}, 1, NULL, 0);
    Caller c = {pool, x, want};
    pthread_t caller, destroyer;
    inside = 0;
    REQUIRE(pool && pthread_create(&caller, NULL, call_once, &c) == 0);
    while (!inside)
        usleep(1000);
    REQUIRE(pthread_create(&destroyer, NULL, destroy, pool) == 0);
    pthread_join(caller, NULL);
    pthread_join(destroyer, NULL);
}

static void test_limits(void) {
    static const struct {
        int workers, threads;
        const char *text;
    } bad[] = {{0, 1, "0 workers were asked for: it is from 1 to 1024"},
               {-1, 1, "-1 workers"},
               {1025, 1, "1025 workers"},
               {2, -1, "ask for -1 threads"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char err[256] = "";
        HoneOptions opt = {.threads = bad[i].threads};
        REQUIRE(!hone_pool_create(&hone_fake_desc, &opt, bad[i].workers, err, sizeof err));
        REQUIRE(strstr(err, bad[i].text));
    }
    char err[256];
    REQUIRE(!hone_pool_create(NULL, NULL, 1, err, sizeof err) && strstr(err, "no model"));
    REQUIRE(!hone_pool_create(NULL, NULL, 1, NULL, 0));
    hone_pool_destroy(NULL);
}

#ifndef __SANITIZE_THREAD__ // which knows no threads in a child of several
#include "tests/runtime/core/forked.h"

// A child has no threads of its parent's pool: it is told so, and may have instances and a pool of
// its own, while its parent creates some, too.
static void test_fork(const float *x, const float *want) {
    HonePool *pool = hone_pool_create(&hone_fake_desc, NULL, 2, NULL, 0);
    Caller c = {pool, x, want};
    HoneModelDesc d = counting_model();
    pthread_t busy;
    bool starts = forked_starts_threads();
    REQUIRE(pool && pthread_create(&busy, NULL, create_and_destroy, &d) == 0);
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(20);
            char err[256] = "";
            float y[CLASSES];
            const void *in[] = {x};
            void *out[] = {y};
            REQUIRE(hone_pool_run(pool, 1, in, out, err, sizeof err) == -1);
            REQUIRE(strstr(err, "not in this child"));
            hone_pool_destroy(pool);
            c.pool = starts ? hone_pool_create(&hone_fake_desc, NULL, 1, NULL, 0) : NULL;
            REQUIRE(c.pool || !starts);
            if (starts)
                call_once(&c);
            hone_pool_destroy(c.pool);
            create_and_destroy(&d);
            _exit(0);
        }
        int status;
        REQUIRE(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    }
    pthread_join(busy, NULL);
    call_once(&c);
    hone_pool_destroy(pool);
}
#endif

// ---- sizes that data decides: here the second of the scores, as many as the first input says

static void count_scores(char *const *args, int64_t N, int64_t thread, int64_t threads,
                         char *scratch) {
    (void)N, (void)threads, (void)scratch;
    if (thread == 0)
        *(int64_t *)args[0] = (int64_t) * (const float *)args[1];
}

static void test_dims(void) {
    const HoneKernel with_count[] = {prepare, average_planes, score_images, count_scores};
    HonePlace places[7] = {[5] = {.at = HONE_AT_OUTPUT, .index = 1}, [6] = {.at = HONE_AT_INPUT}};
    memcpy(places, run_args, sizeof run_args);
    const HoneStep steps[] = {run_steps[0], run_steps[1], {3, 5, 2, 0}};
    const HoneCountDesc counts[] = {{.output = 0, .axis = 1}};
    HoneModelDesc d = hone_fake_desc;
    d.kernels = with_count;
    d.run = (HoneSteps){3, 7, steps, places};
    d.n_nodes = 3;
    d.n_counts = 1;
    d.counts = counts;
    HonePool *pool = hone_pool_create(&d, NULL, 3, NULL, 0);
    REQUIRE(pool);
    for (int count = 5; count >= 0; count--) {
        float x[IMAGE] = {(float)count}, y[CLASSES];
        int64_t dims[HONE_MAX_RANK];
        REQUIRE(hone_pool_run_dims(pool, 1, (const void *[]){x}, (void *[]){y}, dims, NULL, 0) ==
                0);
        REQUIRE(dims[0] == -1 && dims[1] == count && dims[2] == -1 && dims[7] == -1);
    }
    hone_pool_destroy(pool);
}

static void test_null(void) {
    char err[64];
    REQUIRE(hone_pool_run(NULL, 1, NULL, NULL, err, sizeof err) == -1);
    REQUIRE(strstr(err, "the pool is NULL"));
    hone_pool_destroy(NULL);
}

int main(void) {
    static float x[MAX_BATCH * IMAGE], want[MAX_BATCH * CLASSES];
    uint32_t s = 1;
    for (int i = 0; i < MAX_BATCH * IMAGE; i++)
        x[i] = (float)((s = s * 1664525u + 1013904223u) >> 8) * 0x1p-24f;
    HoneModel *m = hone_create(&hone_fake_desc, &(HoneOptions){.threads = 1}, NULL, 0);
    const void *in[] = {x};
    void *out[] = {want};
    REQUIRE(m && hone_run(m, MAX_BATCH, in, out) == 0);
    hone_destroy(m);
    test_shared(x, want);
    test_shared_by_threads();
    for (int workers = 1; workers <= 4; workers++)
        test_callers(x, want, workers, 1 + workers % 2);
    test_destroyed_in_use(x, want);
    test_limits();
    test_dims();
    test_null();
#ifndef __SANITIZE_THREAD__
    test_fork(x, want);
#endif
    puts("fine");
    return 0;
}
