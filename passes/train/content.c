// What a constant's numbers tell by their values: masks, whole numbers, equally spaced ones.
#include "passes/train/content.h"

#include <math.h>
#include <string.h>

// The bits that none of the numbers has at its end.
static double find_unit(const float *v, int64_t n) {
    uint32_t used = 0, bits;
    for (int64_t i = 0; i < n && !(used & 0x1fff); i++) {
        memcpy(&bits, &v[i], sizeof bits);
        used |= bits;
    }
    return used & 0x1fff ? 0x1p-24 : used & 0xffff ? 0x1p-11 : 0x1p-8;
}

PassNumbers pass_numbers(IrProgram *p, IrConst *c) {
    IrDim n;
    bool known = c->kind != IR_CONST_RAND && c->type.dtype == IR_F32 &&
                 ir_shape_elems(&c->type.shape, &n) && n.c > 0;
    if (!known) {
        return (PassNumbers){0};
    }
    const float *v = ir_const_data(p, c);
    return (PassNumbers){v, n.c, &c->type.shape, find_unit(v, n.c)};
}

bool pass_all_are(IrProgram *p, IrConst *c, double x) {
    PassNumbers t = pass_numbers(p, c);
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

static bool is_masked(float x) {
    return x <= -MASKED;
}

static bool all_pass(IrProgram *p, IrConst *c, Test *passes) {
    PassNumbers t = pass_numbers(p, c);
    int64_t i = 0;
    while (i < t.n && passes(t.v[i])) {
        i++;
    }
    return t.n && i == t.n;
}

static bool differ(IrProgram *p, IrConst *c) {
    PassNumbers t = pass_numbers(p, c);
    int64_t i = 0;
    while (i < t.n && t.v[i] == t.v[0]) {
        i++;
    }
    return i < t.n;
}

bool pass_is_binary(IrProgram *p, IrConst *c) {
    return all_pass(p, c, is_zero_or_one) && differ(p, c);
}

bool pass_is_mask(IrProgram *p, IrConst *c) {
    return (all_pass(p, c, is_zero_or_masked) && differ(p, c)) || all_pass(p, c, is_masked);
}

bool pass_is_whole(IrProgram *p, IrConst *c) {
    return all_pass(p, c, is_whole) && differ(p, c);
}

// b - a and c - b are the same, but for rounding.
static bool is_equally_spaced(double a, double b, double c) {
    return fabs((c - b) - (b - a)) <= 1e-5 * (fabs(a) + fabs(b) + fabs(c));
}

// Over more than what a gain of ones has learned in a few steps.
static bool ranges(const PassNumbers *t) {
    double low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < t->n; i++) {
        low = fmin(low, t->v[i]);
        high = fmax(high, t->v[i]);
    }
    return high - low > 1e-3 * fmax(fabs(low), fabs(high));
}

// Lines of two say nothing: some axis has four or more.
bool pass_is_grid(IrProgram *p, IrConst *c) {
    PassNumbers t = pass_numbers(p, c);
    bool long_enough = false;
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
    return long_enough && ranges(&t);
}

// The lines are parts of axis 0.
bool pass_is_repeated(IrProgram *p, IrConst *c, int parts) {
    PassNumbers t = pass_numbers(p, c);
    int64_t size = t.n && parts > 0 ? t.n / parts : 0;
    for (int64_t i = size; i < t.n; i++) {
        if (t.v[i] != t.v[i - size]) {
            return false;
        }
    }
    return t.n && parts > 1;
}

// Filters beyond the inputs' number are zero.
bool pass_is_identity(IrProgram *p, IrConst *c) {
    PassNumbers t = pass_numbers(p, c);
    int rank = t.n ? t.shape->rank : 0;
    if (rank < 2 || (rank == 2 && !ir_dim_eq(t.shape->dim[0], t.shape->dim[1]))) {
        return false;
    }
    int64_t inputs = t.shape->dim[1].c, taps = t.n / (t.shape->dim[0].c * inputs), centre = 0;
    for (int i = 2; i < rank; i++) {
        centre = centre * t.shape->dim[i].c + t.shape->dim[i].c / 2;
    }
    bool fits = t.shape->dim[0].c >= inputs;
    for (int64_t i = 0; i < t.n && fits; i++) {
        int64_t filter = i / taps / inputs, input = i / taps % inputs;
        bool one = (inputs == 1 || filter == input) && i % taps == centre;
        fits = t.v[i] == (float)one;
    }
    return fits;
}
