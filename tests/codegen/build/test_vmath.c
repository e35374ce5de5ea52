// The elementary functions of codegen/build/math.c against the C library in double, over a million
// arguments each: the largest error in units in the last place stays within what build/math.c
// states; special values are exact.
#include "runtime/core/hone.h"
#include "tests/check.h"
#include "tests/codegen/rig/rig.h"

#include <math.h>
#include <stdlib.h>

enum { COUNT = 1 << 20 };

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static double gelu(double x) {
    return x / 2 * erfc(-x / sqrt(2));
}

typedef struct Function {
    const char *op;
    double (*exact)(double);
    double lo, hi;    // range of the arguments, where results are normal numbers
    double max_ulp;   // what build/math.c states
    bool by_argument; // in units of the argument's last place, where results vanish before it does
} Function;

static const Function functions[] = {
    {"exp", exp, -87, 88.7, 1.5, false}, {"log", log, 1e-30, 1e30, 1.5, false},
    {"tanh", tanh, -12, 12, 2, false},   {"sigmoid", sigmoid, -86, 20, 3, false},
    {"erf", erf, -5, 5, 3, false},       {"gelu", gelu, -20, 20, 3, true},
};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

// Distance in units of the last place of the float nearest to `of`.
static double ulps(float got, double want, double of) {
    float near = (float)of;
    double unit = nextafterf(fabsf(near), INFINITY) - fabsf(near);
    return fabs((double)got - want) / unit;
}

// Half of the arguments uniform, half uniform in the logarithm, so that small ones are met as well.
static float argument(const Function *fn, int i) {
    double u = (double)(i / 2) / (COUNT / 2);
    if (i % 2 == 0)
        return (float)(fn->lo + u * (fn->hi - fn->lo));
    double size = exp(log(1e-20) + u * (log(fn->hi) - log(1e-20)));
    return (float)(fn->lo < 0 && i % 4 == 1 && -size >= fn->lo ? -size
                   : size < fn->lo                             ? fn->lo
                                                               : size);
}

static void check_target(const char *mcpu) {
    bool skip = false;
    Rig *r = rig_new(mcpu, 2);
    for (int k = 0; k < FUNCTIONS; k++) {
        rig_input(r, "%%x%d: f32[N]", k);
        rig_node(r, "%%y%d = %s %%x%d", k, functions[k].op, k);
        rig_output(r, "%%y%d", k);
    }
    CgResult compiled;
    CHECK(rig_compile(r, &compiled) != NULL);
    HoneModel *m = rig_load(r, 1, &skip);
    CHECK(m || skip);
    float *x[FUNCTIONS], *y[FUNCTIONS];
    for (int k = 0; k < FUNCTIONS; k++) {
        x[k] = malloc(COUNT * sizeof(float));
        y[k] = malloc(COUNT * sizeof(float));
        for (int i = 0; i < COUNT; i++)
            x[k][i] = argument(&functions[k], i);
    }
    CHECK(!m || hone_run(m, COUNT, (const void *const *)x, (void *const *)y) == 0);
    for (int k = 0; k < FUNCTIONS && m; k++) {
        double worst = 0;
        for (int i = 0; i < COUNT; i++) {
            double want = functions[k].exact(x[k][i]);
            worst = fmax(worst, ulps(y[k][i], want, functions[k].by_argument ? x[k][i] : want));
        }
        printf("%-10s %-8s %.2f ulp\n", mcpu, functions[k].op, worst);
        CHECK(worst <= functions[k].max_ulp);
    }
    hone_destroy(m);
    for (int k = 0; k < FUNCTIONS; k++) {
        free(x[k]);
        free(y[k]);
    }
    rig_free(r);
}

static void stays_within_its_error(void) {
    check_target("x86-64-v4");
    check_target("x86-64-v3");
    check_target("generic");
}

// Far out gelu is 0, or its argument within the error, however large; NaN stays, and a zero's sign;
// gelu(x) - x/2 is even.
static void check_gelu_far_out(const char *mcpu) {
    static const float x[] = {-1e30f, -100, -6, 0, -5.4f, 6, 1e30f, INFINITY, NAN, 1, -1, -0.0f,
                              // a whole block more: one result at a time has another formula
                              0, -0.0f, 0, -0.0f, 0, -0.0f, 0, -0.0f};
    enum { N = sizeof x / sizeof *x };
    float y[N], *out = y;
    const float *in = x;
    bool skip = false;
    CgResult compiled;
    Rig *r = rig_new(mcpu, 2);
    rig_input(r, "%%x: f32[N]");
    rig_node(r, "%%y = gelu %%x");
    rig_output(r, "%%y");
    CHECK(rig_compile(r, &compiled) != NULL);
    HoneModel *m = rig_load(r, 1, &skip);
    CHECK(m || skip);
    if (m) {
        CHECK(hone_run(m, N, (const void *const *)&in, (void *const *)&out) == 0);
        CHECK(y[0] == 0 && y[1] == 0 && y[2] == 0 && y[3] == 0);
        CHECK(ulps(y[4], 0, x[4]) <= 3 && ulps(y[5], x[5], x[5]) <= 3 &&
              ulps(y[6], x[6], x[6]) <= 3);
        CHECK(y[7] == INFINITY && isnan(y[8]));
        CHECK_NEAR(y[9] + y[10], 2 * y[9] - 1, 2e-7);
        for (int i = 11; i < N; i++)
            CHECK(y[i] == 0 && signbit(y[i]) == signbit(x[i]));
    }
    hone_destroy(m);
    rig_free(r);
}

static void gelu_far_out(void) {
    check_gelu_far_out("x86-64-v4");
    check_gelu_far_out("x86-64-v3");
    check_gelu_far_out("generic");
}

int main(void) {
    CHECK_RUN(stays_within_its_error);
    CHECK_RUN(gelu_far_out);
    return check_done();
}
