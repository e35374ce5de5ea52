// Kernels of trigonometry, rounding, remainders, bits, shifts and integer powers against the
// evaluator: blocked and plain, in bodies, every dtype they are defined on.
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

#define BLOCKED "%b = max_pool %x {kernel=[2,2], stride=[1,1]}\n"

static const char *const unary[] = {"sin",   "cos",       "tan",        "asin",  "acos",
                                    "atan",  "sinh",      "cosh",       "asinh", "atanh",
                                    "round", "round_f16", "round_bf16", "sign"};
enum { UNARY = sizeof unary / sizeof *unary };

static void on_vectors(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < UNARY; k++) {
            case_add(r, 2 * k, "in %%x: f32[N,20,6,6]\n%s%%y = %s %%b\nout %%y", BLOCKED, unary[k]);
            case_add(r, 2 * k + 1,
                     "in %%x: f32[N,37]\nconst %%c: f32[] = splat(7)\n%%s = mul %%x, %%c\n"
                     "%%r = round %%s\n%%t = %s %%x\n%%y = mul %%r, %%t\nout %%y",
                     unary[k]);
        }
        CHECK_INT_EQ(case_check(r, 2e-6, true), 0);
    }
}

static const char *const floats[] = {
    "in %x: f32[N,33]\nconst %c: f32[] = splat(2.5)\n%a = add %x, %c\n%y = acosh %a\nout %y",
    "in %x: f32[N,33]\nconst %c: f32[] = splat(1e5)\n%a = mul %x, %c\n%y = sin %a\n%z = cos %a\n"
    "out %y\nout %z",
    "in %x: f32[N,33]\nin %z: f32[33]\n%y = rem %x, %z\nout %y",
    "in %x: f32[N,20,6,6]\nin %z: f32[N,20,1,1]\n" BLOCKED "%y = rem %b, %z\nout %y",
    // halves: multiples of 0.5
    "in %i: i32[N,40]\nconst %c: f32[] = splat(0.5)\n%x = cast %i {to=f32}\n%a = mul %x, %c\n"
    "%y = round %a\nout %y",
    "in %x: f64[N,9]\nin %z: f64[9]\n%a = sin %x\n%b = rem %a, %z\n%y = round %x\n%s = sign %x\n"
    "out %b\nout %y\nout %s",
    "in %x: f64[N,9]\n%a = atanh %x\n%b = asinh %a\n%y = tan %b\nout %y", NULL};

static void on_other_floats(void) {
    CHECK_INT_EQ(case_check_all(floats, 2e-6, true), 0);
}

static const char *const halves[] = {
    "in %x: f16[N,20]\nin %z: f16[20]\n%y = cos %x\n%s = rem %x, %z\nout %y\nout %s", NULL};

static void on_halves(void) {
    CHECK_INT_EQ(case_check_all(halves, 1e-3, true), 0);
}

// Inputs are -8 to 8, or 0 to 16 of unsigned types: counts reach 8 bits, divisors 0 and -1.
static void on_integers(void) {
    static const char *const types[] = {"i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"};
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < 8; k++) {
            case_add(
                r, k,
                "in %%x: %1$s[N,99]\nin %%z: %1$s[99]\nconst %%c: %1$s[] = splat(100)\n"
                "%%w = mul %%x, %%c\n%%q = rem %%w, %%z\n%%m = mod %%w, %%z\n%%s = sign %%x\n"
                "%%a = bit_and %%w, %%z\n%%o = bit_or %%w, %%z\n%%e = bit_xor %%w, %%z\n"
                "%%l = shift_left %%x, %%z\n%%r = shift_right %%w, %%z\n%%p = pow %%x, %%z\n"
                "out %%q\nout %%m\nout %%s\nout %%a\nout %%o\nout %%e\nout %%l\nout %%r\nout %%p",
                types[k]);
        }
        CHECK_INT_EQ(case_check(r, 1e-30, true), 0);
    }
}

int main(void) {
    CHECK_RUN(on_vectors);
    CHECK_RUN(on_other_floats);
    CHECK_RUN(on_halves);
    CHECK_RUN(on_integers);
    return check_done();
}
