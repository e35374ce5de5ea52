// The roof over every kernel: how many fp32 operations a second the cores do when nothing but the
// multiply-add units limits them, and how many bytes a second they read from main memory.
//
// Measured rather than looked up: clock, number of units, SMT siblings and memory channels of the
// machine at hand (or the share of it that a container has) are in the figure. Threads run at once,
// because they share units and memory; each counts the shortest of many short trials, so that other
// programs disturb little.
#include "runtime/core/ceiling.h"

#include <math.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/core/cpu.h"
#include "runtime/core/cpu_features.h"
#include "runtime/core/rt.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

enum { CHAINS = 12 };      // independent sums: latency 4 or 5, two units; 16 registers
enum { ROUNDS = 1 << 15 }; // of CHAINS multiply-adds in a trial: about 0.1 ms
enum { MIN_BUFFER = 64 << 20, MAX_BUFFER = 256 << 20 };
enum { TRIALS_NS = 40000000 }; // for arithmetic, and again for memory

// ---------------------------------------------------------------- arithmetic

// x = x * 0.5 + 0.25 in every chain: stays in [0, 1], never denormal. The chains start apart, so
// that they are not merged. Unrolled, or they would live in memory.
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define FMA_LOOP(Vector, splat, fma)                                                               \
    Vector acc[CHAINS], half = splat(0.5f), quarter = splat(0.25f);                                \
    for (int k = 0; k < CHAINS; k++)                                                               \
        acc[k] = splat((float)k / CHAINS);                                                         \
    for (int i = 0; i < ROUNDS; i++)                                                               \
        UNROLL for (int k = 0; k < CHAINS; k++) acc[k] = fma(acc[k], half, quarter);               \
    for (int k = 1; k < CHAINS; k++)                                                               \
        acc[0] = fma(acc[k], half, acc[0]);                                                        \
    memcpy(to, &acc[0], sizeof acc[0])

#if defined(__x86_64__)

__attribute__((target("avx512f"))) static void loop_avx512(float *to) {
    FMA_LOOP(__m512, _mm512_set1_ps, _mm512_fmadd_ps);
}

__attribute__((target("avx2,fma"))) static void loop_avx2(float *to) {
    FMA_LOOP(__m256, _mm256_set1_ps, _mm256_fmadd_ps);
}

static inline __m128 mul_add_sse(__m128 a, __m128 b, __m128 c) {
    return _mm_add_ps(_mm_mul_ps(a, b), c);
}

static void loop_sse(float *to) {
    FMA_LOOP(__m128, _mm_set1_ps, mul_add_sse);
}

#else

typedef float Four __attribute__((vector_size(16)));

static inline Four splat_four(float x) {
    return (Four){x, x, x, x};
}

static inline Four mul_add_four(Four a, Four b, Four c) {
#if defined(__aarch64__)
    return (Four)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

static void loop_four(float *to) {
    FMA_LOOP(Four, splat_four, mul_add_four);
}

#endif

typedef struct Loop {
    const char *name;
    int lanes;
    void (*run)(float *to); // to[lanes]: something that depends on all of its work
    uint32_t needs[3];      // HONE_CPU_*, 0 ended
} Loop;

static const Loop loops[] = {
    // the first that the CPU can run
#if defined(__x86_64__)
    {"AVX-512", 16, loop_avx512, {HONE_CPU_AVX512F, 0}},
    {"AVX2+FMA", 8, loop_avx2, {HONE_CPU_AVX2, HONE_CPU_FMA, 0}},
    {"SSE2", 4, loop_sse, {0}},
#else
    {"4 x fp32", 4, loop_four, {0}},
#endif
};

static const Loop *choose_loop(void) {
    const Loop *l = loops;
    while (rt_cpu_missing(l->needs, RT_CPU_ALL))
        l++;
    return l;
}

// ---------------------------------------------------------------- trials

typedef struct Line {
    uint64_t v __attribute__((vector_size(64)));
} Line;

typedef struct Work {
    const Loop *loop;  // NULL: read
    const Line *lines; // [n_lines], a share for each thread, of which a trial reads a slice
    size_t n_lines;
} Work;

enum { SLICES = 4 };

static void read_slice(const Work *w, int thread, int threads, int slice, float *to) {
    size_t share = w->n_lines / (size_t)threads, size = share / SLICES;
    const Line *p = w->lines + share * (size_t)thread + size * (size_t)slice;
    Line a = {0}, b = {0};
    for (size_t i = 0; i + 2 <= size; i += 2) {
        a.v ^= p[i].v;
        b.v ^= p[i + 1].v;
    }
    a.v ^= b.v;
    memcpy(to, &a, sizeof a);
}

static double time_trial(const Work *w, int thread, int threads, int i) {
    _Alignas(64) float sink[16];
    uint64_t start = rt_now();
    if (w->loop)
        w->loop->run(sink);
    else
        read_slice(w, thread, threads, i % SLICES, sink);
    __asm__ volatile("" : : "r"(sink) : "memory");
    return (double)(rt_now() - start + 1) * 1e-9;
}

// Trials a second: the sum over the threads of the best trial of each. Trials count from when the
// last thread has started, and end for all at one time.
static double measure_rate(const Work *w, int threads, int *running) {
    _Atomic int started = 0;
    _Atomic uint64_t deadline = 0;
    double rate = 0;
    int team = 1;
#pragma omp parallel num_threads(threads) reduction(+ : rate) reduction(max : team)
    {
        int thread = omp_get_thread_num(), i = 0;
        double best = INFINITY;
        uint64_t end = 0;
        team = omp_get_num_threads();
        if (atomic_fetch_add(&started, 1) + 1 == team)
            atomic_store(&deadline, rt_now() + TRIALS_NS);
        do {
            bool counts = end != 0;
            double t = time_trial(w, thread, team, i++);
            if (counts && t < best)
                best = t;
            end = atomic_load(&deadline);
        } while (isinf(best) || rt_now() < end);
        rate = 1 / best;
    }
    *running = team;
    return rate;
}

// Twice the last cache: what the kernel says of it, because virtual machines give CPUID's figure
// for the whole host.
static size_t choose_buffer(void) {
    long kib = 0;
    FILE *f = fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "re");
    if (!f || fscanf(f, "%ldK", &kib) != 1)
        kib = 32 << 10;
    if (f)
        fclose(f);
    if (kib < MIN_BUFFER >> 11)
        return MIN_BUFFER;
    return kib < MAX_BUFFER >> 11 ? (size_t)kib << 11 : MAX_BUFFER;
}

// Each thread writes the pages that it reads later: they are real and near it.
static void touch_pages(char *buffer, size_t bytes, int threads) {
    size_t page = 4096, share = bytes / (size_t)threads;
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int t = 0; t < threads; t++)
        for (size_t at = 0; at < share; at += page)
            buffer[share * (size_t)t + at] = 1;
}

static double measure_bandwidth(int threads) {
    size_t bytes = choose_buffer();
    char *buffer = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer == MAP_FAILED)
        return 0;
    madvise(buffer, bytes, MADV_HUGEPAGE);
    touch_pages(buffer, bytes, threads);
    Work w = {.lines = (const Line *)buffer, .n_lines = bytes / sizeof(Line)};
    int team;
    double rate = measure_rate(&w, threads, &team);
    munmap(buffer, bytes);
    return rate * (double)bytes / team / SLICES * 1e-9;
}

RtCeiling rt_ceiling_measure(int threads) {
    RtCeiling c = {0};
    Work w = {.loop = choose_loop()};
    int cpus = rt_cpus_available();
    threads = threads < cpus ? threads : cpus;
    c.simd = w.loop->name;
    c.gflops = measure_rate(&w, threads, &c.threads) * 2 * w.loop->lanes * CHAINS * ROUNDS * 1e-9;
    c.gbs = measure_bandwidth(threads);
    return c;
}

double rt_ceiling_ms(const RtCeiling *c, double flops, double bytes, int *by_memory) {
    double compute = c->gflops > 0 ? flops / c->gflops * 1e-6 : 0;
    double memory = c->gbs > 0 ? bytes / c->gbs * 1e-6 : 0;
    if (by_memory)
        *by_memory = memory > compute;
    return memory > compute ? memory : compute;
}
