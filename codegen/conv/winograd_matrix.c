// The matrices of Winograd convolution and their products with vectors of registers.
//
// Cook-Toom, transposed: with finite points p[0..n-2] and infinity, N[i] = prod_{j != i} (p[i] -
// p[j]),
//
//   At[k][i] = p[i]^k                 At[k][n-1] = (k == m-1)
//   G[i][k]  = p[i]^k / N[i]          G[n-1][k]  = (k == r-1)
//   Bt[i]    = coefficients of prod_{j != i} (x - p[j])      Bt[n-1]: of prod_j (x - p[j])
//
// Everything in double; kernels get the entries rounded to float. Points are pairs +-p, and 0 where
// their number is odd, so rows of Bt and columns of At come in pairs that differ only in signs, and
// a pair shares its even and odd half.
#include "codegen/conv/winograd.h"

#include <math.h>
#include <string.h>

// Points by their number. Chosen for small error in float, by measurement: see
// tests/bench/winograd_error.py.
static const struct {
    int n;
    double p[WINO_MAX_N];
} point_sets[] = {
    {0, {0}},
    {2, {1, -1}},
    {3, {0, 1, -1}},
    {4, {0.375, -0.375, 1.25, -1.25}},
    {5, {0, 0.75, -0.75, 1.5, -1.5}},
    {7, {0, 0.5, -0.5, 1, -1, 2, -2}},
    {9, {0, 0.375, -0.375, 0.75, -0.75, 1.25, -1.25, 2, -2}},
};

// ---------------------------------------------------------------- construction

// c[0..n]: coefficients of the product of (x - p[j]) over j < n, j != skip
static void expand_roots(const double *p, int n, int skip, double *c) {
    int degree = 0;
    c[0] = 1;
    for (int j = 0; j < n; j++) {
        if (j == skip)
            continue;
        c[degree + 1] = 0;
        for (int k = ++degree; k > 0; k--)
            c[k] = c[k - 1] - p[j] * c[k];
        c[0] *= -p[j];
    }
}

static bool same_but_signs(const WinoMatrix *m, int a, int b, bool rows) {
    bool plus = false, minus = false;
    for (int k = 0; k < (rows ? m->cols : m->rows); k++) {
        double x = rows ? m->at[a][k] : m->at[k][a], y = rows ? m->at[b][k] : m->at[k][b];
        if (x != y && x != -y)
            return false;
        plus |= x == y && x != 0;
        minus |= x == -y && x != 0;
    }
    return plus && minus;
}

static void find_pairs(WinoMatrix *m) {
    memset(m->pair_row, -1, sizeof m->pair_row);
    memset(m->pair_col, -1, sizeof m->pair_col);
    for (int a = 0; a < m->rows; a++)
        for (int b = 0; b < m->rows; b++)
            if (a != b && same_but_signs(m, a, b, true))
                m->pair_row[a] = b;
    for (int a = 0; a < m->cols; a++)
        for (int b = 0; b < m->cols; b++)
            if (a != b && same_but_signs(m, a, b, false))
                m->pair_col[a] = b;
}

// Pairs of rows stand together; rows of paired columns by parity, since the half sums that they use
// are the same.
static void order_rows(WinoMatrix *m, bool by_parity) {
    int k = 0;
    if (by_parity) {
        for (int odd = 0; odd < 2; odd++)
            for (int i = odd; i < m->rows; i += 2)
                m->order[k++] = i;
        return;
    }
    for (int i = 0; i < m->rows; i++)
        if (m->pair_row[i] > i) {
            m->order[k++] = i;
            m->order[k++] = m->pair_row[i];
        }
    for (int i = 0; i < m->rows; i++)
        if (m->pair_row[i] < 0)
            m->order[k++] = i;
}

static const double *find_points(int n) {
    for (size_t i = 0; i < sizeof point_sets / sizeof *point_sets; i++)
        if (point_sets[i].n == n)
            return point_sets[i].p;
    return NULL;
}

// F(m, taps) for the pixels and the taps at odd = 0 or 1 and each `stride` further, which takes the
// rows from `row` on; its number of rows, or 0: it has no points.
static int add_parity(WinoAxis *a, int odd, int row) {
    int taps = (a->r - odd + a->stride - 1) / a->stride, n = a->m + taps - 1;
    const double *p = find_points(n - 1);
    if (taps == 1) { // a product for each result
        for (int i = 0; i < a->m; i++) {
            a->g.at[row + i][odd] = a->at.at[i][row + i] = 1;
            a->bt.at[row + i][odd + i * a->stride] = 1;
        }
        return a->m;
    }
    if (!p)
        return 0;
    for (int i = 0; i < n; i++) {
        double scale = 1, c[WINO_MAX_N + 1] = {0};
        bool finite = i < n - 1;
        for (int j = 0; finite && j < n - 1; j++)
            scale *= j == i ? 1 : p[i] - p[j];
        for (int k = 0; k < taps; k++)
            a->g.at[row + i][odd + k * a->stride] = finite ? pow(p[i], k) / scale : k == taps - 1;
        for (int k = 0; k < a->m; k++)
            a->at.at[k][row + i] = finite ? pow(p[i], k) : k == a->m - 1;
        expand_roots(p, n - 1, finite ? i : -1, c);
        for (int k = 0; k < n; k++)
            a->bt.at[row + i][odd + k * a->stride] = c[k];
    }
    return n;
}

bool cg_conv_winograd_axis(int m, int r, int stride, WinoAxis *out) {
    bool one = m == 1 && r == 1; // [1], whatever the stride
    int step = one ? 1 : stride, n = step * (m - 1) + r, row = 0;
    if (m < 1 || m > WINO_MAX_M || r < (step > 1 ? 3 : 1) || r > WINO_MAX_R || stride < 1 ||
        step > WINO_MAX_STRIDE || n > WINO_MAX_N)
        return false;
    *out = (WinoAxis){.m = m,
                      .r = r,
                      .n = n,
                      .stride = step,
                      .same = step > 1 && r == 3 ? m - 1 : 0,
                      .g = {.rows = n, .cols = r},
                      .bt = {.rows = n, .cols = n},
                      .at = {.rows = m, .cols = n}};
    for (int odd = step - 1, rows = 1; odd >= 0 && rows; odd--)
        row += rows = add_parity(out, odd, row);
    if (row < n)
        return false;
    out->stride = stride;
    find_pairs(&out->g);
    find_pairs(&out->bt);
    find_pairs(&out->at);
    order_rows(&out->g, false);
    order_rows(&out->bt, false);
    order_rows(&out->at, true);
    return true;
}

// ---------------------------------------------------------------- products

typedef struct Product {
    CgFn *f;
    const WinoMatrix *m;
    WinoLoad load;
    void *ctx;
    CgVal in[WINO_MAX_N];
    CgVal sum[WINO_MAX_N], diff[WINO_MAX_N]; // of paired columns, under the first one's number
} Product;

static CgVal input(Product *p, int col) {
    if (!p->in[col])
        p->in[col] = p->load(p->ctx, col);
    return p->in[col];
}

static CgVal half(Product *p, int a, int b, bool plus) {
    CgVal *v = plus ? &p->sum[a] : &p->diff[a];
    if (!*v)
        *v = (plus ? cg_fadd : cg_fsub)(p->f, input(p, a), input(p, b));
    return *v;
}

typedef struct Term {
    double c;
    CgVal x;
} Term;

// Sum of c * x over the terms, one of which has c == 1 if any can: no multiplication for that one.
static CgVal add_terms(CgFn *f, Term *t, int n) {
    CgVal acc = NULL;
    int first = 0;
    for (int i = 0; i < n && !acc; i++)
        if (t[i].c == 1) {
            acc = t[i].x;
            first = i;
        }
    if (!acc)
        acc = n ? cg_fmul(f, cg_v(f, t[0].c), t[0].x) : LLVMConstNull(f->vec);
    for (int i = 0; i < n; i++) {
        if (i == first)
            continue;
        if (t[i].c == 1 || t[i].c == -1)
            acc = (t[i].c > 0 ? cg_fadd : cg_fsub)(f, acc, t[i].x);
        else
            acc = cg_fma(f, cg_v(f, t[i].c), t[i].x, acc);
    }
    return acc;
}

// The terms of one row; `mask`, if given, says which columns count.
static int row_terms(Product *p, int row, const bool *mask, Term *t) {
    const WinoMatrix *m = p->m;
    int n = 0;
    for (int c = 0; c < m->cols; c++) {
        double x = m->at[row][c];
        int pair = mask ? -1 : m->pair_col[c];
        if (x == 0 || (mask && !mask[c]) || (pair >= 0 && pair < c))
            continue;
        t[n++] = (Term){x, pair < 0 ? input(p, c) : half(p, c, pair, x == m->at[row][pair])};
    }
    return n;
}

// Rows a and b = their common half plus and minus the other half.
static void multiply_pair(Product *p, int a, int b, CgVal *out) {
    const WinoMatrix *m = p->m;
    bool same[WINO_MAX_N], other[WINO_MAX_N];
    Term t[WINO_MAX_N];
    for (int c = 0; c < m->cols; c++) {
        same[c] = m->at[a][c] == m->at[b][c];
        other[c] = !same[c];
    }
    CgVal even = add_terms(p->f, t, row_terms(p, a, same, t));
    int n = row_terms(p, a, other, t);
    double lead = t[n - 1].c;
    for (int i = 0; i < n; i++)
        t[i].c /= lead;
    CgVal odd = add_terms(p->f, t, n);
    Term plus[] = {{1, even}, {lead, odd}}, minus[] = {{1, even}, {-lead, odd}};
    out[0] = add_terms(p->f, plus, 2);
    out[1] = add_terms(p->f, minus, 2);
}

void cg_conv_winograd_multiply(CgFn *f, const WinoMatrix *m, int first, int n_rows, WinoLoad load,
                               void *ctx, CgVal *out) {
    Product p = {.f = f, .m = m, .load = load, .ctx = ctx};
    for (int k = 0; k < n_rows; k++) {
        int row = m->order[first + k];
        if (k + 1 < n_rows && m->pair_row[row] == m->order[first + k + 1]) {
            multiply_pair(&p, row, m->order[first + k + 1], &out[k]);
            k++;
            continue;
        }
        Term t[WINO_MAX_N];
        out[k] = add_terms(f, t, row_terms(&p, row, NULL, t));
    }
}

static CgVal load_vertical(void *ctx, int i) {
    WinoNest *n = ctx;
    return n->load(n, i, n->at);
}

static CgVal load_horizontal(void *ctx, int j) {
    WinoNest *n = ctx;
    return n->mid[n->at][j];
}

// In passes over the rows of h, as many at a time as registers hold: what is loaded again costs
// less than what would be spilled.
void cg_conv_winograd_nest(CgFn *f, WinoNest *n, const WinoMatrix *h, const WinoMatrix *w) {
    int most = (f->target->machine.vector_registers - 14) / w->cols / 2 * 2;
    int step = h->rows == 1 ? 1 : most < 2 ? 2 : most;
    for (int first = 0; first < h->rows; first += step) {
        int rows = h->rows - first < step ? h->rows - first : step;
        CgVal out[WINO_MAX_N];
        for (n->at = 0; n->at < w->cols; n->at++) {
            cg_fence(f);
            cg_conv_winograd_multiply(f, h, first, rows, load_vertical, n, out);
            for (int k = 0; k < rows; k++)
                n->mid[k][n->at] = out[k];
        }
        for (n->at = 0; n->at < rows; n->at++) {
            cg_fence(f);
            cg_conv_winograd_multiply(f, w, 0, w->rows, load_horizontal, n, out);
            for (int k = 0; k < w->rows; k++)
                n->store(n, h->order[first + n->at], w->order[k], out[k]);
        }
    }
}
