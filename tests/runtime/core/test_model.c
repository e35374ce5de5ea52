// hone.h on the hand-written model: batches 0 to 5, results that don't depend on threads, errors,
// the caller's workspace, calls from inside a parallel region, many threads at once, each with its
// instance or all with one. Compiled a second time with ThreadSanitizer.
#include <limits.h>
#include <omp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/core/rt.h"
#include "tests/runtime/infer/fake_model.c"

enum { MAX_BATCH = 5, IMAGE = CHANNELS * PIXELS };

#define REQUIRE(c)                                                                                 \
    do {                                                                                           \
        if (!(c)) {                                                                                \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #c);                                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static void fill(float *x, int n) {
    uint32_t s = 1;
    for (int i = 0; i < n; i++)
        x[i] = (float)((s = s * 1664525u + 1013904223u) >> 8) * 0x1p-24f;
}

static HoneModel *create(int threads) {
    char err[256];
    HoneOptions opt = {.threads = threads};
    HoneModel *m = hone_create(&hone_fake_desc, &opt, err, sizeof err);
    REQUIRE(m && !err[0]);
    return m;
}

static void run_model(HoneModel *m, int batch, const float *x, float *y) {
    const void *in[] = {x};
    void *out[] = {y};
    REQUIRE(hone_run(m, batch, in, out) == 0);
}

static void test_batches(const float *x, const float *want) {
    for (int threads = 1; threads <= 5; threads++) {
        HoneModel *m = create(threads);
        for (int batch = MAX_BATCH; batch >= 0; batch--) {
            float y[MAX_BATCH * CLASSES + 1];
            memset(y, 0x55, sizeof y);
            run_model(m, batch, x, y);
            REQUIRE(memcmp(y, want, (size_t)batch * CLASSES * sizeof *y) == 0);
            uint32_t guard;
            memcpy(&guard, y + batch * CLASSES, sizeof guard);
            REQUIRE(guard == 0x55555555);
        }
        hone_destroy(m);
    }
}

static void test_signature(void) {
    HoneModel *m = create(2);
    REQUIRE(hone_n_inputs(m) == 1 && hone_n_outputs(m) == 1);
    HoneTensorInfo in = hone_input_info(m, 0), none = hone_input_info(m, 1);
    REQUIRE(!strcmp(in.name, "image") && !strcmp(in.dtype, "f32") && in.rank == 4);
    REQUIRE(in.dim[0] == -1 && in.dim[1] == 3 && in.dim[2] == 8 && none.name == NULL);
    REQUIRE(hone_input_bytes(m, 0, 3) == 3 * IMAGE * 4 && hone_output_bytes(m, 0, 3) == 3 * 20);
    REQUIRE(hone_input_bytes(m, 0, INT64_MAX) == -1 && hone_input_bytes(m, 1, 1) == -1);
    REQUIRE(hone_workspace_bytes(m, 3) == 3 * 64 + 2 * 256);
    REQUIRE(hone_workspace_bytes(m, INT64_MAX) == SIZE_MAX);
    hone_destroy(m);
    hone_destroy(NULL);
}

static void test_errors(const float *x, float *y) {
    HoneModel *m = create(1);
    const void *in[] = {x}, *no_in[] = {NULL};
    void *out[] = {y};
    REQUIRE(hone_run(m, -1, in, out) == -1 && strstr(hone_error(m), "negative"));
    REQUIRE(hone_run(m, 1, no_in, out) == -1 && strstr(hone_error(m), "image"));
    REQUIRE(hone_run(m, INT64_MAX / 4, in, out) == -1 && strstr(hone_error(m), "too large"));
    REQUIRE(hone_run(m, INT64_MAX / 4096, in, out) == -1 && strstr(hone_error(m), "no memory"));
    REQUIRE(hone_run(m, 1, in, out) == 0 && !hone_error(m)[0]);
    hone_destroy(m);
    char err[8];
    HoneModelDesc wrong = hone_fake_desc;
    wrong.abi = HONE_ABI + 1;
    REQUIRE(!hone_create(&wrong, NULL, err, sizeof err) && strlen(err) == 7);
    REQUIRE(!hone_create(&wrong, NULL, NULL, 0));
    const uint32_t needs[] = {1000, 0};
    wrong = hone_fake_desc;
    wrong.cpu_needs = needs;
    REQUIRE(!hone_create(&wrong, NULL, NULL, 0));
}

static void test_options(void) {
    char err[256];
    HoneTensorInfo asked[] = {{.name = "image", .rank = 4, .dim = {-1, -1, -1, -1}}, {.rank = 4}};
    HoneOptions opt = {.threads = 1, .n_inputs = 1};
    REQUIRE(!hone_create(&hone_fake_desc, &opt, err, sizeof err) && strstr(err, "no table"));
    opt.inputs = asked;
    HoneModel *m = hone_create(&hone_fake_desc, &opt, err, sizeof err);
    REQUIRE(m && !err[0]);
    hone_destroy(m);
    opt.n_inputs = 2;
    REQUIRE(!hone_create(&hone_fake_desc, &opt, err, sizeof err) &&
            strstr(err, "1 of the options"));
}

static void test_workspace(const float *x, const float *want) {
    HoneModel *m = create(2);
    float y[MAX_BATCH * CLASSES];
    size_t bytes = hone_workspace_bytes(m, 2);
    char *space = rt_alloc_aligned(bytes);
    REQUIRE(hone_set_workspace(m, space + 4, bytes - 4) == -1);
    REQUIRE(hone_set_workspace(m, space, bytes) == 0);
    run_model(m, 2, x, y);
    REQUIRE(memcmp(y, want, 2 * CLASSES * sizeof *y) == 0);
    const void *in[] = {x};
    void *out[] = {y};
    REQUIRE(hone_run(m, 3, in, out) == -1 && strstr(hone_error(m), "workspace"));
    REQUIRE(hone_set_workspace(m, NULL, 0) == 0);
    run_model(m, MAX_BATCH, x, y);
    REQUIRE(memcmp(y, want, sizeof y) == 0);
    hone_destroy(m);
    free(space);
}

// Zeroed whole pages; from 2 MiB on those of 2 MiB, not only where two are full.
static void test_pages(void) {
    static const size_t huge = 2 << 20;
    const size_t sizes[][2] = {
        {1, 4096}, {huge - 4096, huge - 4096}, {huge, huge}, {huge + 1, 2 * huge}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t bytes = sizes[i][0];
        char *p = rt_alloc_pages(&bytes);
        REQUIRE(p && bytes == sizes[i][1] && p[0] == 0 && p[bytes - 1] == 0);
        REQUIRE(bytes < huge || (uintptr_t)p % huge == 0);
        munmap(p, bytes);
    }
}

static void test_huge_arena(const float *x, const float *want) {
    HoneModelDesc big = hone_fake_desc;
    big.arena_bytes.c = 9 << 20;
    HoneModel *m = hone_create(&big, NULL, NULL, 0);
    float y[CLASSES];
    REQUIRE(m);
    run_model(m, 1, x, y);
    REQUIRE(memcmp(y, want, sizeof y) == 0);
    hone_destroy(m);
}

// Prepared weights: large ones, none, more than there can be.
static void test_prepared(const float *x, const float *want) {
    float y[CLASSES];
    HoneModelDesc d = hone_fake_desc;
    d.prepared_bytes = (9 << 20) + 5;
    HoneModel *m = hone_create(&d, &(HoneOptions){.threads = 3}, NULL, 0);
    REQUIRE(m);
    run_model(m, 1, x, y);
    REQUIRE(memcmp(y, want, sizeof y) == 0);
    hone_destroy(m);
    char err[256];
    d.prepared_bytes = INT64_MAX / 4;
    REQUIRE(!hone_create(&d, NULL, err, sizeof err) && strstr(err, "no memory"));
    d.prepared_bytes = -1;
    REQUIRE(!hone_create(&d, NULL, err, sizeof err) && strstr(err, "damaged"));
    d = hone_fake_desc;
    d.init.n = 0;
    m = hone_create(&d, NULL, NULL, 0);
    REQUIRE(m && hone_run(m, 0, NULL, NULL) == 0);
    hone_destroy(m);
}

// Each caller has an instance; all share the descriptor.
typedef struct Caller {
    const float *x, *want;
    int calls, threads;
    bool good;
} Caller;

static void *call_often(void *arg) {
    Caller *c = arg;
    HoneModel *m = create(c->threads);
    float y[MAX_BATCH * CLASSES];
    c->good = true;
    for (int i = 0; i < c->calls; i++) {
        int batch = 1 + i % MAX_BATCH;
        memset(y, 0, sizeof y);
        run_model(m, batch, c->x, y);
        c->good &= memcmp(y, c->want, (size_t)batch * CLASSES * sizeof *y) == 0;
    }
    hone_destroy(m);
    return NULL;
}

static void test_callers(const float *x, const float *want, int calls, int threads) {
    enum { CALLERS = 8 };
    pthread_t t[CALLERS];
    Caller c[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        c[i] = (Caller){x, want, calls, threads, false};
        REQUIRE(pthread_create(&t[i], NULL, call_often, &c[i]) == 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(t[i], NULL);
        REQUIRE(c[i].good);
    }
}

// ---- one instance, several threads: refused with a reason, never a wrong result

typedef struct Misuser {
    HoneModel *m;
    const float *x, *want;
    int done, refused, wrong;
} Misuser;

static void *misuse(void *arg) {
    Misuser *u = arg;
    for (int i = 0; i < 1000; i++) {
        float y[MAX_BATCH * CLASSES] = {0};
        const void *in[] = {u->x};
        void *out[] = {y};
        if (hone_run(u->m, MAX_BATCH, in, out) == 0) {
            u->done++;
            u->wrong += memcmp(y, u->want, sizeof y) != 0;
        } else {
            u->refused++;
            u->wrong += strstr(hone_error(u->m), "in use by another thread") == NULL;
        }
    }
    return NULL;
}

static void test_misuse(const float *x, const float *want, int threads) {
    enum { USERS = 8 };
    pthread_t t[USERS];
    Misuser u[USERS];
    HoneModel *m = create(threads);
    int done = 0;
    for (int i = 0; i < USERS; i++) {
        u[i] = (Misuser){m, x, want, 0, 0, 0};
        REQUIRE(pthread_create(&t[i], NULL, misuse, &u[i]) == 0);
    }
    for (int i = 0; i < USERS; i++) {
        pthread_join(t[i], NULL);
        REQUIRE(u[i].wrong == 0 && u[i].done + u[i].refused == 1000);
        done += u[i].done;
    }
    REQUIRE(done > 0);
    float y[MAX_BATCH * CLASSES];
    run_model(m, MAX_BATCH, x, y); // and it is free again
    REQUIRE(memcmp(y, want, sizeof y) == 0);
    hone_destroy(m);
}

typedef struct Meddler { // does all that an instance allows while another thread is in a call of it
    HoneModel *m;
    const float *x;
    char *space;
    bool refused;
} Meddler;

static void *meddle(void *arg) {
    Meddler *d = arg;
    float y[CLASSES];
    const void *in[] = {d->x};
    void *out[] = {y};
    d->refused = hone_run(d->m, 1, in, out) == -1 && strstr(hone_error(d->m), "in use") &&
                 hone_set_workspace(d->m, d->space, 1 << 20) == -1;
    hone_destroy(d->m); // once the call is over
    return NULL;
}

static void call_meddler(void *ctx, const HoneCall *call, int32_t node) {
    (void)call;
    pthread_t t;
    if (node != 1)
        return;
    REQUIRE(pthread_create(&t, NULL, meddle, ctx) == 0);
    pthread_join(t, NULL);
}

static void test_meddling(const float *x, const float *want) {
    for (int threads = 1; threads <= 2; threads++) {
        float y[CLASSES];
        const void *in[] = {x};
        void *out[] = {y};
        Meddler d = {create(threads), x, rt_alloc_aligned(1 << 20), false};
        REQUIRE(rt_model_observe(d.m, 1, in, out, call_meddler, &d) == 0);
        REQUIRE(d.refused && memcmp(y, want, sizeof y) == 0);
        free(d.space);
    }
}

static void call_misuser(void *ctx, const HoneCall *call, int32_t node) {
    (void)call;
    pthread_t t;
    if (node != 1)
        return;
    REQUIRE(pthread_create(&t, NULL, misuse, ctx) == 0);
    pthread_join(t, NULL);
}

// What options may not say, and an error that is told once.
static void test_edges(const float *x, const float *want) {
    static const int wrong[] = {-1, -5, INT_MIN, 1025, 100000, INT_MAX};
    char why[256];
    float y[CLASSES];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        HoneOptions o = {.threads = wrong[i]};
        REQUIRE(!hone_create(&hone_fake_desc, &o, why, sizeof why) && strstr(why, "threads"));
    }
    HoneModel *m = create(1);
    const void *in[] = {x};
    void *out[] = {y};
    REQUIRE(hone_run(m, -1, in, out) == -1 && strstr(hone_error(m), "negative"));
    REQUIRE(hone_set_workspace(m, NULL, 0) == 0 && !*hone_error(m));
    REQUIRE(hone_run(m, 1, NULL, out) == -1 && strstr(hone_error(m), "NULL"));
    REQUIRE(hone_run(m, 1, in, out) == 0 && !*hone_error(m) && memcmp(y, want, sizeof y) == 0);
    Misuser u = {.m = m, .x = x, .want = want};
    REQUIRE(rt_model_observe(m, 1, in, out, call_misuser, &u) == 0 && !*hone_error(m));
    REQUIRE(u.refused == 1000 && u.wrong == 0);
    hone_destroy(m);
}

static void test_null(void) {
    const HoneTensorInfo any = {.name = "image"};
    REQUIRE(hone_n_inputs(NULL) == 0 && hone_n_outputs(NULL) == 0 && hone_n_labels(NULL) == 0);
    REQUIRE(hone_n_sizes(NULL) == 0 && hone_size(NULL) == 0 && hone_find_size(NULL, 0, NULL) == -1);
    REQUIRE(!hone_input_info(NULL, 0).name && !hone_output_info(NULL, 0).name);
    REQUIRE(!hone_size_input_info(NULL, 0, 0).name && hone_find_size(NULL, 1, &any) == -1);
    REQUIRE(hone_input_bytes(NULL, 0, 1) == -1 && hone_output_bytes(NULL, 0, 1) == -1);
    REQUIRE(hone_output_dim(NULL, 0, 0) == -1 && hone_workspace_bytes(NULL, 1) == SIZE_MAX);
    REQUIRE(!hone_label(NULL, 0));
    REQUIRE(hone_run(NULL, 1, NULL, NULL) == -1 && hone_use_size(NULL, 0) == -1);
    REQUIRE(hone_set_workspace(NULL, NULL, 0) == -1);
    REQUIRE(strstr(hone_error(NULL), "the model is NULL"));
    HoneModel *m = create(1);
    REQUIRE(hone_use_size(m, 0) == 0);
    REQUIRE(hone_find_size(m, 1, NULL) == -1 && hone_find_size(m, 0, NULL) == 0 && !*hone_error(m));
    hone_destroy(m);
}

#ifndef __SANITIZE_THREAD__
// What takes images is not linked into that build.
static void test_null_images(void) {
    HoneClass c;
    REQUIRE(hone_image_bytes(NULL) == 0 && hone_classifier(NULL) == -1);
    REQUIRE(hone_preprocess(NULL, "x", &c) == -1 && hone_rank(NULL, &c, 1, &c) == -1);
    REQUIRE(hone_classify_file(NULL, "x", 1, &c) == -1);
    HoneModel *m = create(1);
    float row[CLASSES] = {1, 2, 3};
    REQUIRE(hone_rank(m, NULL, 1, &c) == -1 && hone_rank(m, row, 1, NULL) == -1);
    REQUIRE(hone_rank(m, row, 1, &c) == 1 && c.index == 2);
    REQUIRE(hone_classify_file(m, NULL, 1, &c) == -1 && strstr(hone_error(m), "is NULL"));
    hone_destroy(m);
}

// libgomp's own synchronisation is invisible to ThreadSanitizer: not for that build.
static void test_nested(const float *x, const float *want) {
    int bad = 0;
#pragma omp parallel num_threads(3) reduction(+ : bad)
    {
        Caller c = {x, want, 20, 4, false};
        call_often(&c);
        bad += !c.good;
    }
    REQUIRE(bad == 0);
}
#endif

int main(void) {
    static float x[MAX_BATCH * IMAGE], want[MAX_BATCH * CLASSES], y[MAX_BATCH * CLASSES];
    fill(x, MAX_BATCH * IMAGE);
    HoneModel *m = create(1);
    run_model(m, MAX_BATCH, x, want);
    hone_destroy(m);
    test_signature();
    test_batches(x, want);
    test_errors(x, y);
    test_options();
    test_null();
    test_workspace(x, want);
    test_pages();
    test_huge_arena(x, want);
    test_prepared(x, want);
    test_callers(x, want, 1000, 1);
    test_callers(x, want, 100, 2);
    test_misuse(x, want, 1);
    test_misuse(x, want, 2);
    test_meddling(x, want);
    test_edges(x, want);
    Caller one = {x, want, 1000, 8, false};
    call_often(&one);
    REQUIRE(one.good);
#ifndef __SANITIZE_THREAD__
    test_null_images();
    test_nested(x, want);
#endif
    puts("fine");
    return 0;
}
