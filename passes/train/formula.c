// What a constant's numbers tell by a formula that makes them: sines, geometric series, outer
// products, orthogonal signs, resampling, symmetric filters. A test takes equations that learned
// numbers would fulfil once in a million times at most: single ones to all digits of f32, several
// to those of f16 and bf16.
#include "passes/train/content.h"

#include <math.h>

enum { ENOUGH_BITS = 20 };

// What an equation of rounded numbers may be off by, relative, and what its holding says.
static double slack_of(const PassNumbers *t) {
    return 4 * t->unit;
}

static double bits_of(const PassNumbers *t) {
    return -log2(2 * slack_of(t));
}

enum { SAMPLES = 256 };

// Of some of them: as much as a bound on rounding needs.
static double find_top(const PassNumbers *t) {
    int64_t step = t->n / SAMPLES | 1;
    double top = 0;
    for (int64_t i = 0; i < t->n; i += step) {
        top = fmax(top, fabs((double)t->v[i]));
    }
    return top;
}

// ---------------------------------------------------------------- sines

enum {
    SHORTEST_WAVE = 5, // three equations for one unknown
    MOST_TOKENS = 8,   // in front of positions,
    LEAST_TABLE = 16,  // of which there are this many with them
};

// v[0], v[by], ... v[(n - 1) * by]: each but the first and last is in the same ratio to the sum of
// its neighbours, up to a share of what they range over. *moves when that is more than rounding, or
// than what a gain of ones has learned in a few steps.
static bool is_wave_line(const float *v, int64_t by, int64_t n, double noise, bool *moves) {
    double dot = 0, square = 0, low = v[0], high = v[0];
    for (int64_t i = 1; i + 1 < n; i++) {
        double x = v[i * by], sides = (double)v[(i - 1) * by] + v[(i + 1) * by];
        dot += x * sides;
        square += x * x;
        low = fmin(low, x);
        high = fmax(high, x);
    }
    double ratio = square > 0 ? dot / square : 0, most = fmax(fabs(low), fabs(high));
    for (int64_t i = 1; i + 1 < n; i++) {
        double sides = (double)v[(i - 1) * by] + v[(i + 1) * by];
        if (!(fabs(sides - ratio * v[i * by]) <= 1e-3 * (high - low) + noise)) {
            return false;
        }
    }
    *moves = *moves || high - low > fmax(1e-4 * most, 4 * noise);
    return true;
}

// Its beginning tells most that it is none.
static bool is_wave_piece(const float *v, int64_t by, int64_t n, double noise, bool *moves) {
    bool begins = false;
    return (n <= 2 * SHORTEST_WAVE || is_wave_line(v, by, 2 * SHORTEST_WAVE, noise, &begins)) &&
           is_wave_line(v, by, n, noise, moves);
}

// Pieces of `n` along an axis of `d` elements that are `by` apart, behind the first of them.
static bool are_waves(const PassNumbers *t, int64_t by, int64_t d, int64_t n, double noise) {
    bool moves = false;
    for (int64_t block = 0; block < t->n; block += by * d) {
        for (int64_t i = block; i < block + by; i++) {
            for (int64_t at = d % n; at < d; at += n) {
                if (!is_wave_piece(t->v + i + at * by, by, n, noise, &moves)) {
                    return false;
                }
            }
        }
    }
    return moves;
}

// Positions in the plane are numbered row by row: the pieces are a row each. In front of them may
// be those of tokens.
bool pass_is_wave(IrProgram *p, IrConst *c) {
    PassNumbers t = pass_numbers(p, c);
    double noise = 8 * t.unit * find_top(&t);
    int64_t by = 1;
    for (int axis = t.n ? t.shape->rank - 1 : -1; axis >= 0; axis--) {
        int64_t d = t.shape->dim[axis].c;
        for (int64_t n = d; n >= SHORTEST_WAVE; n--) {
            bool tokens = d >= LEAST_TABLE && d % n <= MOST_TOKENS;
            if ((tokens || d % n == 0) && are_waves(&t, by, d, n, noise)) {
                return true;
            }
        }
        by *= d;
    }
    return false;
}

// ---------------------------------------------------------------- series

// Each number but for repetitions (sine and cosine of one frequency) is the one before it times the
// same factor. Returns how many equations say so; negative: it is not so.
static int64_t count_ratios(const PassNumbers *t, int64_t at, int64_t by, int64_t n) {
    double before = 0, last = t->v[at];
    int64_t count = 0;
    for (int64_t i = 1; i < n; i++) {
        double x = t->v[at + i * by];
        if (x == last) {
            continue;
        }
        bool first = before == 0;
        if (!(last * x > 0) ||
            (!first && !(fabs(before * x - last * last) <= 2 * slack_of(t) * last * last))) {
            return -1;
        }
        count += !first;
        before = last;
        last = x;
    }
    return count;
}

static bool is_geometric(const PassNumbers *t) {
    int64_t by = 1;
    for (int axis = t->shape->rank - 1; axis >= 0; axis--) {
        int64_t d = t->shape->dim[axis].c, most = 0, i = 0;
        for (; i < t->n; i++) {
            int64_t count = i / by % d ? 0 : count_ratios(t, i, by, d);
            most = count > most ? count : most;
            if (count < 0) {
                break;
            }
        }
        if (i == t->n && (double)most * bits_of(t) >= ENOUGH_BITS) {
            return true;
        }
        by *= d;
    }
    return false;
}

// What says that x is a power of two, whole or by eighths (slopes of a number of heads that is no
// power of two); negative: it is none.
static double bits_of_power(const PassNumbers *t, double x) {
    int exponent;
    double eighths = 8 * log2(fabs(x));
    if (x == 0 || !isfinite(x)) {
        return -1;
    }
    if (frexp(fabs(x), &exponent) == 0.5) {
        return 7; // all that bf16 has
    }
    double off = 12 * slack_of(t); // 8 / ln 2
    return fabs(eighths - round(eighths)) <= off ? -log2(2 * off) : -1;
}

static bool are_powers(const PassNumbers *t) {
    double bits = 0, least = fabs((double)t->v[0]), most = least;
    bool between = false;
    for (int64_t i = 0; i < t->n; i++) {
        double x = fabs((double)t->v[i]), b = bits_of_power(t, x);
        if (b < 0) {
            return false;
        }
        bits += b;
        between = between || (x != least && x != most && least != most);
        least = fmin(least, x);
        most = fmax(most, x);
    }
    return between && bits >= ENOUGH_BITS;
}

enum { MOST_STEPS = 64 };

// Distances times one slope.
bool pass_is_steps(IrProgram *p, IrConst *c) {
    PassNumbers t = pass_numbers(p, c);
    double least = INFINITY, bits = 0;
    bool between = false;
    for (int64_t i = 0; i < t.n; i++) {
        double x = fabs((double)t.v[i]);
        least = x > 0 && x < least ? x : least;
    }
    for (int64_t i = 0; i < t.n; i++) {
        double steps = fabs((double)t.v[i]) / least, off = slack_of(&t) * steps;
        if (!(steps <= MOST_STEPS && fabs(steps - round(steps)) <= off)) {
            return false;
        }
        between = between || steps > 2.5;
        bits += steps > 1.5 ? -log2(fmin(1, 2 * off)) : 0;
    }
    return between && bits >= 2 * ENOUGH_BITS;
}

bool pass_is_series(IrProgram *p, IrConst *c) {
    PassNumbers t = pass_numbers(p, c);
    return t.n && t.shape->rank && (is_geometric(&t) || are_powers(&t));
}

// ---------------------------------------------------------------- outer products

// t as [rows,columns], with the largest number: its row and column are the factors.
typedef struct Matrix {
    const PassNumbers *t;
    int64_t rows, columns, row, column;
} Matrix;

static double at(const Matrix *m, int64_t row, int64_t column) {
    return m->t->v[row * m->columns + column];
}

static Matrix pivot(const PassNumbers *t, int64_t rows) {
    int64_t best = -1;
    for (int64_t i = 0; i < t->n; i++) {
        if (isfinite(t->v[i]) && (best < 0 || fabsf(t->v[i]) > fabsf(t->v[best]))) {
            best = i;
        }
    }
    int64_t columns = t->n / rows;
    return (Matrix){t, rows, columns, best < 0 ? -1 : best / columns, best % columns};
}

// The numbers of a factor that are not zero, no more than count; 1 if they are all the same.
static int64_t count_factor(const Matrix *m, bool rows) {
    int64_t n = rows ? m->rows : m->columns, count = 0;
    double first = 0;
    bool differ = false;
    for (int64_t i = 0; i < n; i++) {
        double x = rows ? at(m, i, m->column) : at(m, m->row, i);
        first = count ? first : x;
        differ = differ || (x != 0 && isfinite(x) && fabs(x - first) > 1e-6 * fabs(first));
        count += x != 0 && isfinite(x);
    }
    return differ ? count : 1;
}

static bool is_product(const Matrix *m) {
    double top = at(m, m->row, m->column);
    for (int64_t i = 0; i < m->rows; i++) {
        for (int64_t j = 0; j < m->columns; j++) {
            double x = at(m, i, j), r = at(m, i, m->column), c = at(m, m->row, j);
            bool masked = !isfinite(x) && x == c; // in every row
            if (!masked && !(fabs(x * top - r * c) <= 2 * slack_of(m->t) * fabs(r * c))) {
                return false;
            }
        }
    }
    return true;
}

// Distances times the slopes of heads, positions times frequencies. A vector that is only repeated
// is none, and neither is what has a single row beside zeros.
bool pass_is_outer(IrProgram *p, IrConst *c) {
    PassNumbers t = pass_numbers(p, c);
    int64_t rows = 1;
    for (int axis = 0; t.n && axis + 1 < t.shape->rank; axis++) {
        rows *= t.shape->dim[axis].c;
        Matrix m = pivot(&t, rows);
        if (rows == 1 || rows == t.n || m.row < 0) {
            continue;
        }
        double equations =
            (double)(count_factor(&m, true) - 1) * (double)(count_factor(&m, false) - 1);
        if (equations * bits_of(&t) >= ENOUGH_BITS && is_product(&m)) {
            return true;
        }
    }
    return false;
}

// ---------------------------------------------------------------- matrices

static bool has_one_magnitude(const PassNumbers *t) {
    bool plus = false, minus = false;
    for (int64_t i = 0; i < t->n; i++) {
        if (!(fabs(fabs((double)t->v[i]) - fabs((double)t->v[0])) <=
              slack_of(t) * fabs((double)t->v[0]))) {
            return false;
        }
        plus = plus || t->v[i] > 0;
        minus = minus || t->v[i] < 0;
    }
    return plus && minus;
}

enum { MOST_PRODUCTS = 1 << 26 };

// Few rows may be so by chance, where weights are nothing but signs.
bool pass_is_signs(IrProgram *p, IrConst *c) {
    PassNumbers t = pass_numbers(p, c);
    int64_t rows = t.n && t.shape->rank > 1 ? t.shape->dim[0].c : 0, n = rows ? t.n / rows : 0;
    if (rows < 2 || n < 2 || (rows < 4 && rows != n) || !has_one_magnitude(&t) ||
        rows * rows > MOST_PRODUCTS / n) {
        return false;
    }
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < i; j++) {
            int64_t same = 0;
            for (int64_t k = 0; k < n; k++) {
                same += (t.v[i * n + k] > 0) == (t.v[j * n + k] > 0);
            }
            if (2 * same != n) {
                return false;
            }
        }
    }
    return true;
}

// Lines of `n`, `by` apart, of a matrix [rows,columns] at v.
static bool sum_to_one(const float *v, int64_t lines, int64_t step, int64_t n, int64_t by) {
    for (int64_t i = 0; i < lines; i++) {
        double sum = 0;
        for (int64_t k = 0; k < n; k++) {
            sum += v[i * step + k * by];
        }
        if (!(fabs(sum - 1) <= 1e-5)) {
            return false;
        }
    }
    return true;
}

// Bilinear, bicubic and area interpolation as a product: from either side.
bool pass_is_resampling(IrProgram *p, IrConst *c) {
    PassNumbers t = pass_numbers(p, c);
    int rank = t.n ? t.shape->rank : 0;
    int64_t rows = rank > 1 ? t.shape->dim[rank - 2].c : 0;
    int64_t columns = rank > 1 ? t.shape->dim[rank - 1].c : 0, zeros = 0;
    if (rows < 2 || columns < 2 || rows * columns != t.n ||
        !(sum_to_one(t.v, rows, columns, columns, 1) ||
          sum_to_one(t.v, columns, 1, rows, columns))) {
        return false;
    }
    for (int64_t i = 0; i < t.n; i++) {
        zeros += t.v[i] == 0;
    }
    return 2 * zeros >= t.n;
}

// ---------------------------------------------------------------- symmetry

static bool are_equal(double a, double b, double most) {
    return a == b || (isfinite(most) && fabs(a - b) <= 1e-6 * most);
}

// n numbers, `by` apart, read backwards from the last, or around from the first, are themselves or
// their negatives. *differ when they are not all the same.
static bool is_even_or_odd(const float *v, int64_t n, int64_t by, bool around, bool *differ) {
    double most = 0;
    bool even = true, odd = true;
    for (int64_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)v[i * by]));
        *differ = *differ || v[i * by] != v[0];
    }
    for (int64_t i = around; i < n && (even || odd); i++) {
        double a = v[i * by], b = v[(n - 1 + around - i) * by];
        even = even && are_equal(a, b, most);
        odd = odd && are_equal(a, -b, most);
    }
    return even || odd;
}

// Coordinates of relative positions, whatever scale they are on: [13,13,2] are 169 rows.
bool pass_is_mirrored(IrProgram *p, IrConst *c) {
    PassNumbers t = pass_numbers(p, c);
    int64_t rows = 1;
    for (int axis = 0; t.n && axis < t.shape->rank; axis++) {
        rows *= t.shape->dim[axis].c;
        int64_t columns = t.n / rows, i = 0;
        bool differ = false;
        while (rows > 2 && i < columns && is_even_or_odd(t.v + i, rows, columns, false, &differ)) {
            i++;
        }
        if (rows > 2 && i == columns && differ) {
            return true;
        }
    }
    return false;
}

// No more than its centre: that says nothing.
static bool is_one_tap(const float *v, int64_t taps) {
    int64_t zeros = 0;
    for (int64_t i = 0; i < taps; i++) {
        zeros += i != taps / 2 && v[i] == 0;
    }
    return zeros == taps - 1;
}

// Blur, Gaussian, Sobel, Laplacian.
bool pass_are_filters(IrProgram *p, IrConst *c) {
    PassNumbers t = pass_numbers(p, c);
    if (!t.n || t.shape->rank < 3) {
        return false;
    }
    int64_t taps = t.n / (t.shape->dim[0].c * t.shape->dim[1].c);
    bool any = false;
    for (int64_t i = 0; i < t.n && taps > 1; i += taps) {
        bool differ = false;
        if (!is_even_or_odd(t.v + i, taps, 1, false, &differ)) {
            return false;
        }
        any = any || (differ && !is_one_tap(t.v + i, taps));
    }
    return any;
}

enum { LEAST_BASIS = 4 }; // numbers of a line, and lines

static bool are_lines(const float *v, int64_t lines, int64_t step, int64_t n, int64_t by,
                      bool around) {
    bool differ = false;
    for (int64_t i = 0; i < lines; i++) {
        if (!is_even_or_odd(v + i * step, n, by, around, &differ)) {
            return false;
        }
    }
    return differ && lines >= LEAST_BASIS && n >= LEAST_BASIS;
}

// Cosine transforms about the centre, Fourier's around. Both sine and cosine begin anew at n.
bool pass_is_basis(IrProgram *p, IrConst *c) {
    PassNumbers t = pass_numbers(p, c);
    int rank = t.n ? t.shape->rank : 0;
    int64_t rows = rank > 1 ? t.shape->dim[rank - 2].c : 0;
    int64_t columns = rank > 1 ? t.shape->dim[rank - 1].c : 0;
    if (!rows || rows * columns != t.n) {
        return false;
    }
    for (int around = 0; around < 2; around++) {
        if (are_lines(t.v, rows, columns, columns, 1, around) ||
            are_lines(t.v, columns, 1, rows, columns, around)) {
            return true;
        }
    }
    return false;
}
