// What a constant's numbers tell about it. Training leaves no tensor of many numbers round: what
// holds whole numbers, a mask's or equally spaced ones was written, not learned.
#include "passes/train/flow.h"

#include <math.h>

typedef struct Numbers {
    const float *v;
    int64_t n;
    const IrShape *shape;
} Numbers;

static Numbers numbers_of(IrProgram *p, IrConst *c) { // n == 0: they tell nothing
    IrDim n;
    bool known = c->kind != IR_CONST_RAND && c->type.dtype == IR_F32 &&
                 ir_shape_elems(&c->type.shape, &n) && n.c > 0;
    return known ? (Numbers){ir_const_data(p, c), n.c, &c->type.shape} : (Numbers){0};
}

bool pass_all_are(IrProgram *p, IrConst *c, double x) {
    Numbers t = numbers_of(p, c);
    int64_t i = 0;
    while (i < t.n && t.v[i] == x) {
        i++;
    }
    return t.n && i == t.n;
}

typedef bool Test(float x);

static bool is_zero_or_one(float x) {
    return x == 0 || x == 1;
}

enum { MASKED = 99 }; // exp(-99) is nothing beside what a softmax keeps; Swin's masks hold -100

static bool is_zero_or_masked(float x) {
    return x == 0 || x <= -MASKED;
}

static bool is_whole(float x) { // infinities among them
    return x == floorf(x);
}

// Every number passes, and they are not all the same.
static bool pass_and_differ(IrProgram *p, IrConst *c, Test *passes) {
    Numbers t = numbers_of(p, c);
    bool differ = false;
    for (int64_t i = 0; i < t.n; i++) {
        if (!passes(t.v[i])) {
            return false;
        }
        differ = differ || t.v[i] != t.v[0];
    }
    return differ;
}

bool pass_is_binary(IrProgram *p, IrConst *c) {
    return pass_and_differ(p, c, is_zero_or_one);
}

bool pass_is_mask(IrProgram *p, IrConst *c) {
    return pass_and_differ(p, c, is_zero_or_masked);
}

bool pass_is_whole(IrProgram *p, IrConst *c) {
    return pass_and_differ(p, c, is_whole);
}

// b - a and c - b are the same, but for rounding.
static bool is_equally_spaced(double a, double b, double c) {
    return fabs((c - b) - (b - a)) <= 1e-5 * (fabs(a) + fabs(b) + fabs(c));
}

// Lines of two say nothing: some axis has four or more.
bool pass_is_grid(IrProgram *p, IrConst *c) {
    Numbers t = numbers_of(p, c);
    bool long_enough = false, differ = false;
    int64_t stride = 1;
    for (int axis = t.n ? t.shape->rank - 1 : -1; axis >= 0; axis--) {
        int64_t d = t.shape->dim[axis].c;
        long_enough = long_enough || d >= 4;
        for (int64_t i = 0; i + 2 * stride < t.n; i++) {
            if (i / stride % d + 2 < d &&
                !is_equally_spaced(t.v[i], t.v[i + stride], t.v[i + 2 * stride])) {
                return false;
            }
        }
        stride *= d;
    }
    for (int64_t i = 1; i < t.n && !differ; i++) {
        differ = t.v[i] != t.v[0];
    }
    return long_enough && differ;
}

enum { SHORTEST_WAVE = 5 }; // three equations for one unknown

// v[0], v[by], ... v[(n - 1) * by]: each but the first and last is in the same ratio to the sum of
// its neighbours. *moves when they are not all the same.
static bool is_wave_line(const float *v, int64_t by, int64_t n, bool *moves) {
    double dot = 0, square = 0, most = 0;
    for (int64_t i = 1; i + 1 < n; i++) {
        double x = v[i * by], sides = (double)v[(i - 1) * by] + v[(i + 1) * by];
        dot += x * sides;
        square += x * x;
        most = fmax(most, fabs(x));
        *moves = *moves || v[i * by] != v[0];
    }
    double ratio = square > 0 ? dot / square : 0;
    for (int64_t i = 1; i + 1 < n; i++) {
        double sides = (double)v[(i - 1) * by] + v[(i + 1) * by];
        if (!(fabs(sides - ratio * v[i * by]) <= 1e-3 * most)) {
            return false;
        }
    }
    return true;
}

// Pieces of `n` along an axis whose elements are `by` apart.
static bool are_waves(const Numbers *t, int64_t by, int64_t n) {
    bool moves = false;
    for (int64_t i = 0; i < t->n; i++) {
        if (i / by % n == 0 && !is_wave_line(t->v + i, by, n, &moves)) {
            return false;
        }
    }
    return moves;
}

// Positions in the plane are numbered row by row: the pieces are a row each.
bool pass_is_wave(IrProgram *p, IrConst *c) {
    Numbers t = numbers_of(p, c);
    int64_t by = 1;
    for (int axis = t.n ? t.shape->rank - 1 : -1; axis >= 0; axis--) {
        int64_t d = t.shape->dim[axis].c;
        for (int64_t n = d; n >= SHORTEST_WAVE; n--) {
            if (d % n == 0 && are_waves(&t, by, n)) {
                return true;
            }
        }
        by *= d;
    }
    return false;
}

bool pass_is_repeated(IrProgram *p, IrConst *c) {
    Numbers t = numbers_of(p, c);
    int64_t rows = t.n && t.shape->rank ? t.shape->dim[0].c : 0, size = rows ? t.n / rows : 0;
    for (int64_t i = size; i < t.n; i++) {
        if (t.v[i] != t.v[i - size]) {
            return false;
        }
    }
    return rows > 1;
}
