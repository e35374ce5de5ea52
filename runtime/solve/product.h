// Sums of products in double precision: what the solver spends its time in. Private header.
#ifndef RUNTIME_SOLVE_PRODUCT_H
#define RUNTIME_SOLVE_PRODUCT_H

#include <stdbool.h>
#include <stdint.h>

enum { RT_SOLVE_PANEL = 16, RT_SOLVE_COLUMNS = 4 }; // rows of a panel; columns come in fours

// A matrix of floats, kept by panels of 16 rows: [ceil(rows / 16)][depth][16], 0 where no row is.
typedef struct RtSolvePanels {
    int64_t rows, depth;
    float *data; // RT_ALIGN; NULL: none
} RtSolvePanels;

int64_t rt_solve_panels_bytes(int64_t rows, int64_t depth);
bool rt_solve_panels_init(RtSolvePanels *p, int64_t rows, int64_t depth); // zeros; false: no memory
void rt_solve_panels_free(RtSolvePanels *p);
static inline float *rt_solve_panels_at(const RtSolvePanels *p, int64_t row, int64_t k) {
    return p->data + (row / RT_SOLVE_PANEL * p->depth + k) * RT_SOLVE_PANEL + row % RT_SOLVE_PANEL;
}

static inline int64_t rt_solve_rows(int64_t rows) { // with those that fill the last panel
    return (rows + RT_SOLVE_PANEL - 1) / RT_SOLVE_PANEL * RT_SOLVE_PANEL;
}

// out[rt_solve_rows(rows)][columns] += a[rows][depth] b[depth][columns], columns a multiple of
// RT_SOLVE_COLUMNS; rows behind the last stay as they are.
// Each sum goes on from k = 0 on: the same bits on any number of threads and any CPU, and where a
// long depth comes in parts.
void rt_solve_product(const RtSolvePanels *a, const double *b, int columns, double *out,
                      int threads);

#endif
