// max_pool and avg_pool against the evaluator: windows, strides, pads, dilations, rounding up,
// every vector width, blocked and plain, NaNs.
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

typedef struct Pool {
    int C, H, W, kh, kw, sh, sw, pt, pl, pb, pr, dh, dw, ceil, count_pad;
} Pool;

static const Pool pools[] = {
    {16, 12, 12, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 0, 0}, // ResNet's
    {3, 9, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1},    // Inception's
    {20, 8, 8, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1, 0, 0},   // VGG's
    {5, 13, 11, 3, 2, 2, 1, 1, 0, 0, 1, 1, 1, 1, 1},
    {33, 7, 7, 7, 7, 1, 1, 3, 3, 3, 3, 1, 1, 0, 0},
    {17, 15, 15, 3, 3, 2, 2, 0, 0, 0, 0, 1, 1, 1, 0}, // AlexNet's, rounded up
    {7, 10, 10, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2, 0, 0},
    {4, 17, 17, 5, 3, 3, 2, 2, 1, 2, 1, 1, 2, 1, 1},
    {16, 28, 28, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1},
    {8, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0},
    {19, 30, 30, 13, 13, 1, 1, 6, 6, 6, 6, 1, 1, 0, 0},
    {6, 5, 5, 5, 5, 5, 5, 0, 0, 0, 0, 1, 1, 0, 1},
    {64, 35, 35, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1},
    {2, 9, 100, 3, 41, 1, 2, 1, 20, 1, 20, 1, 1, 0, 1}, // wider than a tile can be
};
enum { POOLS = sizeof pools / sizeof *pools };

static void add_pool(Rig *r, int k, const Pool *p, const char *op, const char *before) {
    char count[32] = "";
    if (*op == 'a') {
        snprintf(count, sizeof count, ", count_pad=%d", p->count_pad);
    }
    case_add(r, k,
             "in %%x: f32[N,%d,%d,%d]\n%%z = %s\n"
             "%%y = %s %%z {kernel=[%d,%d], stride=[%d,%d], pad=[%d,%d,%d,%d], dilation=[%d,%d], "
             "ceil=%d%s}\nout %%y",
             p->C, p->H, p->W, before, op, p->kh, p->kw, p->sh, p->sw, p->pt, p->pl, p->pb, p->pr,
             p->dh, p->dw, p->ceil, count);
}

static void windows(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < POOLS; k++) {
            add_pool(r, 2 * k, &pools[k], "max_pool", "neg %x");
            add_pool(r, 2 * k + 1, &pools[k], "avg_pool", "neg %x");
        }
        CHECK_INT_EQ(case_check(r, 2e-6, true), 0);
    }
}

static void nan_wins(void) // sqrt makes every second element NaN
{
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < POOLS; k++) {
            add_pool(r, k, &pools[k], "max_pool", "sqrt %x");
        }
        CHECK_INT_EQ(case_check(r, 2e-6, true), 0);
    }
}

// Epilogues: by channel, of the result's shape, by image and channel, one element; edges, NaNs.
static void epilogues(void) {
    static const char *const ops[] = {"max_pool", "avg_pool"};
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < 4; k++) {
            case_add(r, k,
                     "in %%x: f32[N,%1$d,9,20]\nin %%r: f32[N,%1$d,9,20]\nin %%s: f32[N,%1$d,1,1]\n"
                     "in %%o: f32[1]\nconst %%b: f32[%1$d,1,1] = rand(1)\n"
                     "const %%k: f32[] = splat(0.25)\n%%z = %2$s %%x\n"
                     "%%p = %3$s %%z {kernel=[3,3], pad=[1,1,1,1]}\n%%a = add %%p, %%b\n"
                     "%%y = relu %%a\nout %%y\n"
                     "%%q = %3$s %%x {kernel=[3,5], pad=[1,2,1,2]}\n%%m = mul %%q, %%s\n"
                     "%%e = max_pool %%r {kernel=[1,1], stride=[1,1]}\n%%n = neg %%e\n"
                     "%%c = add %%m, %%n\n%%d = mul %%c, %%k\n%%f = mul %%d, %%o\n"
                     "%%w = sigmoid %%f\nout %%w",
                     k < 2 ? 19 : 32, k < 2 ? "neg" : "sqrt", ops[k % 2]);
        }
        CHECK_INT_EQ(case_check(r, 3e-6, true), 0);
    }
}

// What the layout pass leaves plain.
static const char *const plain[] = {
    "in %x: f64[N,3,9,8]\n%y = max_pool %x {kernel=[3,3], stride=[2,2], pad=[1,1,1,1]}\nout %y",
    "in %x: f64[N,3,9,8]\n%y = avg_pool %x {kernel=[3,2], pad=[1,0,1,1]}\nout %y",
    "in %x: i8[N,3,9,8]\n%y = max_pool %x {kernel=[3,3], pad=[1,1,1,1]}\nout %y",
    "in %x: u8[N,3,9,8]\n%y = max_pool %x {kernel=[2,3], stride=[2,1]}\nout %y", NULL};

static void other_dtypes(void) {
    CHECK_INT_EQ(case_check_all(plain, 2e-6, true), 0);
}

int main(void) {
    CHECK_RUN(windows);
    CHECK_RUN(nan_wins);
    CHECK_RUN(epilogues);
    CHECK_RUN(other_dtypes);
    return check_done();
}
