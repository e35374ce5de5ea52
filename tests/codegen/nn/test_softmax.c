// softmax and log_softmax along every axis against the evaluator; lines of one element, tails of
// vectors, large values.
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

static const struct {
    const char *shape;
    int axis;
} lines[] = {{"N,1000", 1},   {"N,10", 1},   {"N,7,19", 0}, {"N,7,19", 1},    {"N,7,19", 2},
             {"N,5,4,37", 1}, {"5,N", 1},    {"N,1", 1},    {"N,21,33,3", 1}, {"N,16", 0},
             {"N,6,197", 2},  {"N,2,49", 2}, {"N,256", 1},  {"N,257", 1}};
enum { LINES = sizeof lines / sizeof *lines };

static void axes(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < 4 * LINES; k++) {
            case_add(r, k,
                     "in %%x: f32[%s]\nconst %%c: f32[] = splat(%d)\n%%z = mul %%x, %%c\n"
                     "%%y = %s %%z {axis=%d}\nout %%y",
                     lines[k / 4].shape, k & 1 ? 300 : 3, k & 2 ? "log_softmax" : "softmax",
                     lines[k / 4].axis);
        }
        CHECK_INT_EQ(case_check(r, 4e-6, true), 0);
    }
}

// Numbers of 16 bits are widened, and the result is rounded once: lines in registers and longer.
static void halves(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < LINES; k++) {
            case_add(r, k, "in %%x: %s[%s]\n%%y = %s %%x {axis=%d}\nout %%y",
                     k % 3 ? "bf16" : "f16", lines[k].shape, k % 2 ? "log_softmax" : "softmax",
                     lines[k].axis);
        }
        CHECK_INT_EQ(case_check(r, 1.0 / 256, true), 0);
    }
}

int main(void) {
    CHECK_RUN(axes);
    CHECK_RUN(halves);
    return check_done();
}
