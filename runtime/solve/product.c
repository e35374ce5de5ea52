// The product behind product.h: 16, 8 or 4 rows by 4 columns at a time, whose sums stay in
// registers. What differs between CPUs is how many rows one register holds; a product is rounded
// before it is added on all of them (-ffp-contract=off), so that the bits are the same.
#include "runtime/solve/product.h"

#include "runtime/core/cpu.h"
#include "runtime/core/cpu_features.h"

#include <stdlib.h>
#include <string.h>

enum { VECTORS = 2 }; // of rows, for each column

int64_t rt_solve_panels_bytes(int64_t rows, int64_t depth) {
    int64_t panels = (rows + RT_SOLVE_PANEL - 1) / RT_SOLVE_PANEL, bytes;
    if (__builtin_mul_overflow(panels * RT_SOLVE_PANEL, depth, &bytes) ||
        __builtin_mul_overflow(bytes, (int64_t)sizeof(float), &bytes))
        return INT64_MAX;
    return bytes;
}

bool rt_solve_panels_init(RtSolvePanels *p, int64_t rows, int64_t depth) {
    int64_t bytes = rt_solve_panels_bytes(rows, depth);
    *p = (RtSolvePanels){rows, depth, NULL};
    if (bytes < INT64_MAX)
        p->data = rt_alloc_aligned((size_t)bytes);
    if (p->data)
        memset(p->data, 0, (size_t)bytes);
    return p->data;
}

void rt_solve_panels_free(RtSolvePanels *p) {
    free(p->data);
    p->data = NULL;
}

#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

// A function over VECTORS * LANES rows of a panel and 4 columns: a[depth][16], b[depth][columns],
// out[rows][columns].
#define SUMS(NAME, TARGET, LANES)                                                                  \
    typedef double NAME##_wide __attribute__((vector_size(LANES * 8)));                            \
    typedef float NAME##_narrow __attribute__((vector_size(LANES * 4)));                           \
    TARGET static void NAME(const float *a, const double *b, int64_t depth, int columns,           \
                            double *out) {                                                         \
        NAME##_wide sum[RT_SOLVE_COLUMNS][VECTORS];                                                \
        UNROLL for (int c = 0; c < RT_SOLVE_COLUMNS; c++) {                                        \
            UNROLL for (int v = 0; v < VECTORS; v++) {                                             \
                double lane[LANES];                                                                \
                for (int l = 0; l < LANES; l++)                                                    \
                    lane[l] = out[(v * LANES + l) * columns + c];                                  \
                memcpy(&sum[c][v], lane, sizeof lane);                                             \
            }                                                                                      \
        }                                                                                          \
        for (int64_t k = 0; k < depth; k++, a += RT_SOLVE_PANEL, b += columns) {                   \
            NAME##_wide x[VECTORS];                                                                \
            UNROLL for (int v = 0; v < VECTORS; v++) {                                             \
                NAME##_narrow narrow;                                                              \
                memcpy(&narrow, a + v * LANES, sizeof narrow);                                     \
                x[v] = __builtin_convertvector(narrow, NAME##_wide);                               \
            }                                                                                      \
            UNROLL for (int c = 0; c < RT_SOLVE_COLUMNS; c++) {                                    \
                UNROLL for (int v = 0; v < VECTORS; v++) sum[c][v] += x[v] * b[c];                 \
            }                                                                                      \
        }                                                                                          \
        for (int c = 0; c < RT_SOLVE_COLUMNS; c++)                                                 \
            for (int r = 0; r < VECTORS * LANES; r++)                                              \
                out[r * columns + c] = sum[c][r / LANES][r % LANES];                               \
    }

#if defined(__x86_64__)
SUMS(sums_8, __attribute__((target("avx512f"))), 8)
SUMS(sums_4, __attribute__((target("avx2"))), 4)
#endif
SUMS(sums_2, , 2)

typedef struct Kernel {
    int rows; // at once
    void (*run)(const float *a, const double *b, int64_t depth, int columns, double *out);
    uint32_t needs[2]; // HONE_CPU_*, 0 ended
} Kernel;

static const Kernel kernels[] = {
// the first that the CPU can run
#if defined(__x86_64__)
    {16, sums_8, {HONE_CPU_AVX512F, 0}},
    {8, sums_4, {HONE_CPU_AVX2, 0}},
#endif
    {4, sums_2, {0}},
};

static const Kernel *choose(void) {
    RtErr ignored;
    uint64_t allowed;
    const Kernel *k = kernels;
    if (!rt_cpu_allowed(&allowed, &ignored))
        allowed = 0;
    while (rt_cpu_missing(k->needs, allowed))
        k++;
    return k;
}

static void run_panel(const Kernel *k, const RtSolvePanels *a, int64_t panel, const double *b,
                      int columns, double *out) {
    const float *from = a->data + panel * a->depth * RT_SOLVE_PANEL;
    for (int64_t r = 0; r < RT_SOLVE_PANEL; r += k->rows)
        for (int c = 0; c < columns; c += RT_SOLVE_COLUMNS)
            k->run(from + r, b + c, a->depth, columns,
                   out + (panel * RT_SOLVE_PANEL + r) * columns + c);
}

void rt_solve_product(const RtSolvePanels *a, const double *b, int columns, double *out,
                      int threads) {
    const Kernel *k = choose();
    int64_t panels = (a->rows + RT_SOLVE_PANEL - 1) / RT_SOLVE_PANEL;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t p = 0; p < panels; p++)
        run_panel(k, a, p, b, columns, out);
}
