// Elementwise kernels against the evaluator: every op, blocked and plain, every kind of operand,
// numpy broadcasting with N on any axis, other dtypes than f32.
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

// Puts the next node in the blocked world.
#define BLOCKED "%b = max_pool %x {kernel=[2,2], stride=[1,1]}\n"

static const char *const unary[] = {"relu %%%s",
                                    "leaky_relu %%%s {alpha=0.1}",
                                    "elu %%%s",
                                    "elu %%%s {alpha=0.7}",
                                    "clip %%%s {min=-0.3, max=0.4}",
                                    "clip %%%s {max=0.1}",
                                    "sigmoid %%%s",
                                    "hard_sigmoid %%%s",
                                    "hard_sigmoid %%%s {alpha=0.3, beta=0.4}",
                                    "hard_swish %%%s",
                                    "tanh %%%s",
                                    "erf %%%s",
                                    "gelu %%%s",
                                    "exp %%%s",
                                    "abs %%%s",
                                    "neg %%%s",
                                    "floor %%%s",
                                    "ceil %%%s",
                                    "sqrt %%%s",
                                    "log %%%s"};
enum { UNARY = sizeof unary / sizeof *unary };

static void unary_ops(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < UNARY; k++) {
            char op[64];
            snprintf(op, sizeof op, unary[k], "b");
            case_add(r, 2 * k, "in %%x: f32[N,20,6,6]\n%s%%y = %s\nout %%y", BLOCKED, op);
            snprintf(op, sizeof op, unary[k], "x");
            case_add(r, 2 * k + 1, "in %%x: f32[N,37]\n%%y = %s\nout %%y", op);
        }
        CHECK_INT_EQ(case_check(r, 2e-6, true), 0);
    }
}

static const char *const operands[] = { // of a result [N,20,5,5]
    "const %c: f32[20,1,1] = rand(1)",
    "const %c: f32[1] = splat(0.5)",
    "const %c: f32[1] = rand(2)",
    "const %c: f32[1,20,5,5] = rand(3)",
    "const %c: f32[5,5] = rand(4)",
    "const %c: f32[5] = rand(5)",
    "in %c: f32[N,20,1,1]",
    "in %c: f32[N,1,5,5]",
    "in %c: f32[N,1,1,1]",
    "in %c: f32[1,20,1,1]",
    "in %c: f32[N,20,5,5]",
    "in %c: f32[20,5,1]"};
enum { OPERANDS = sizeof operands / sizeof *operands };

static void binary_op(const char *op) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < OPERANDS; k++) {
            const char *c = operands[k];
            case_add(r, 3 * k, "%s\nin %%x: f32[N,20,6,6]\n%s%%y = %s %%b, %%c\nout %%y", c,
                     BLOCKED, op);
            case_add(r, 3 * k + 1, "%s\nin %%x: f32[N,20,5,5]\n%%y = %s %%x, %%c\nout %%y", c, op);
            case_add(r, 3 * k + 2, "%s\nin %%x: f32[N,20,6,6]\n%s%%y = %s %%c, %%b\nout %%y", c,
                     BLOCKED, op);
        }
        CHECK_INT_EQ(case_check(r, 2e-6, true), 0);
    }
}

static void operand_kinds_sub(void) {
    binary_op("sub");
}
static void operand_kinds_maximum(void) {
    binary_op("maximum");
}
static void operand_kinds_relu_grad(void) {
    binary_op("relu_grad");
}

static const char *const others[] = {
    // NaN, which every other number becomes, wins on either side
    "in %x: f32[N,20,6,6]\nin %z: f32[N,20,5,5]\n" BLOCKED
    "%a = log %b\n%c = log %z\n%y = maximum %a, %z\n%t = minimum %b, %c\n%u = maximum %a, %c\n"
    "out %y\nout %t\nout %u",
    "in %x: f32[N,20,6,6]\n" BLOCKED "%y = mul %b, %b\nout %y",
    "in %x: f32[N,20,6,6]\n" BLOCKED "%a = abs %b\nconst %e: f32[20,1,1] = rand(9)\n"
    "%y = pow %a, %e\nout %y",
    "in %x: f32[N,20,6,6]\n" BLOCKED "%y = prelu %b, %c\nconst %c: f32[20,1,1] = rand(1)\nout %y",
    "in %x: f32[N,20,6,6]\n" BLOCKED "%c = minimum %b, %x2\nin %x2: f32[N,20,1,1]\nout %c",
    "in %x: f32[N,20,6,6]\n" BLOCKED
    "%m = reduce_mean %b {axes=[2,3], keepdims=1}\n%s = sigmoid %m\n%y = mul %b, %s\nout %y",
    "in %x: f32[N,20,6,6]\n" BLOCKED
    "%y = map %b {body=[sigmoid(0), mul(0, s0), relu(s1)]}\nout %y",
    "in %x: f32[N,37]\n%y = map %x {body=[sigmoid(0), mul(s0, 0), sub(s1, s0)]}\nout %y",
    "in %x: f64[N,7]\n%y = map %x {body=[sigmoid(0), mul(s0, 0)]}\nout %y",
    // broadcasting
    "in %x: f32[N,1,5]\nin %z: f32[7,1]\n%y = add %x, %z\nout %y",
    "in %x: f32[3,1,N]\nin %z: f32[4,1]\n%y = sub %x, %z\nout %y",
    "in %x: f32[5,N,3]\nin %z: f32[N,1]\n%y = mul %x, %z\nout %y",
    "in %x: f32[2N,33]\nin %z: f32[1,33]\n%y = mul %x, %z\nout %y",
    "in %x: f32[N,37,41,43]\nin %z: f32[N,37,1,1]\n%y = mul %x, %z\nout %y",
    "in %x: f32[N,0,3]\nin %z: f32[3]\n%y = mul %x, %z\nout %y",
    // comparisons and bool
    "in %x: f32[N,20]\nin %z: f32[N,20]\n%c = less %x, %z\n%y = where %c, %x, %z\nout %y",
    "in %x: f32[N,20]\nin %z: f32[20]\n%c = greater %x, %z\n%y = equal %x, %z\nout %c\nout %y",
    "in %x: f32[N,20]\nin %z: f32[20]\n%c = greater %x, %z\n%d = less %x, %z\n%e = or %c, %d\n"
    "%g = and %c, %e\n%y = not %g\nout %e\nout %y",
    // other dtypes
    "in %x: i64[N,20]\nin %z: i64[20]\n%a = add %x, %z\n%m = mul %x, %a\n%q = div %x, %z\n"
    "%c = clip %x {min=-1.5, max=2.5}\n%n = neg %x\n%s = abs %x\n"
    "out %m\nout %q\nout %c\nout %n\nout %s",
    "in %x: i32[N,20]\nin %z: i32[20]\n%a = sub %x, %z\n%m = maximum %x, %a\n%c = less %m, %z\n"
    "out %m\nout %c",
    "in %x: u8[N,20]\nin %z: u8[20]\n%a = add %x, %z\n%y = maximum %a, %x\n%q = div %a, %z\n"
    "out %y\nout %q",
    "in %x: f64[N,20]\nin %z: f64[20]\n%a = add %x, %z\n%y = relu %a\n%s = sqrt %y\nout %y\nout %s",
    NULL};

static void other_forms(void) {
    CHECK_INT_EQ(case_check_all(others, 2e-6, true), 0);
}

static const char *const halves[] = {
    "in %x: f16[N,20]\nin %z: f16[20]\n%y = add %x, %z\n%s = sigmoid %y\nout %y\nout %s", NULL};

static void half_floats(void) {
    CHECK_INT_EQ(case_check_all(halves, 1e-3, true), 0);
}

static const char *const fixed[] = {
    "in %x: f32[N]\n%y = neg %x\nout %y", // for a program with a batch
    "in %x: f32[]\nin %z: f32[]\n%y = div %x, %z\nout %y",
    "in %x: f32[20,3]\nin %z: f32[]\n%y = sub %x, %z\nout %y", NULL};

static void without_batch(void) {
    CHECK_INT_EQ(case_check_all(fixed, 2e-6, false), 0);
}

int main(void) {
    CHECK_RUN(unary_ops);
    CHECK_RUN(operand_kinds_sub);
    CHECK_RUN(operand_kinds_maximum);
    CHECK_RUN(operand_kinds_relu_grad);
    CHECK_RUN(other_forms);
    CHECK_RUN(half_floats);
    CHECK_RUN(without_batch);
    return check_done();
}
