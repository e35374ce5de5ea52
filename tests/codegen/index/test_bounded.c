// Kernels of values whose size data decides, against the evaluator: what is found and chosen, in
// which order, and zeros behind. Scores are few different numbers, so that equal ones are common,
// and NaN.
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

static const char *const non_zero_texts[] = {
    "in %x: bool[37]\n%y, %c = non_zero %x\nout %y\nout %c",
    "in %x: f32[5,7,3]\n%z = less %x, %x\n%b = where %z, %x, %x\n%m = greater %x, %x\n"
    "const %h: f32[] = [0.5]\n%g = greater %x, %h\n%y, %c = non_zero %g\n%u, %d = non_zero %z\n"
    "%w, %e = non_zero %b\nout %y\nout %c\nout %u\nout %d\nout %w\nout %e",
    "in %x: i8[300]\n%y, %c = non_zero %x\nout %y\nout %c",
    "in %x: f16[2,9]\n%y, %c = non_zero %x\nout %y\nout %c",
    "in %x: u64[4,4,2,2]\n%y, %c = non_zero %x\nout %y\nout %c",
    "in %x: i64[1]\n%y, %c = non_zero %x\nout %y\nout %c",
    "in %x: f32[2,3]\n%y, %c = non_zero %x\n%b, %n = bounded %y, %c {axis=1}\nout %b",
    "in %x: f32[]\n%y, %c = non_zero %x\nout %c",
    NULL};

// Boxes around each other, from coarse numbers.
#define BOXES                                                                                      \
    "in %r: i32[$B,$N,4]\n%f = cast %r {to=\"f32\"}\nin %q: i32[$B,$C,$N]\n%s = cast %q "          \
    "{to=\"f32\"}\n"                                                                               \
    "in %m: i64[]\nconst %t: f32[] = [0.3]\n"

static const char *const nms_texts[] = {
    BOXES "%y, %c = nms %f, %s, %m, %t {size=$N}\nout %y\nout %c",
    BOXES "const %k: i64[] = [1000]\n%y, %c = nms %f, %s, %k, %t {size=$N}\nout %y\nout %c",
    BOXES "const %k: i64[] = [1000]\nconst %l: f32[] = [-2]\n"
          "%y, %c = nms %f, %s, %k, %t, %l {size=$N, mode=\"center\"}\nout %y\nout %c",
    BOXES "in %n: i64[]\nconst %k: i64[] = [3]\n%y, %c = nms %f, %s, %k, %t, _, %n {size=3}\n"
          "out %y\nout %c",
    // scores that are NaN where two of them are equal
    BOXES "const %k: i64[] = [1000]\nconst %z: f32[] = [0]\n%e = equal %s, %z\n%n = div %z, %z\n"
          "%w = where %e, %n, %s\n%y, %c = nms %f, %w, %k, %t {size=$N}\nout %y\nout %c",
    NULL};

static const char *const bounded_texts[] = {
    "in %x: f32[7,5]\nin %c: i64[]\n%y, %n = bounded %x, %c {axis=0}\nout %y",
    "in %x: i16[3,6,2]\nin %c: i64[]\n%y, %n = bounded %x, %c {axis=1}\nout %y",
    "in %x: bool[2,9]\nconst %c: i64[] = [4]\n%y, %n = bounded %x, %c {axis=1}\nout %y",
    "in %x: f64[5]\nconst %c: i64[] = [9]\n%y, %n = bounded %x, %c\nout %y",
    "in %c: i64[]\n%y = check %c {size=3}\n%z = add %y, %c\nout %z",
    NULL};

// None of these sizes depends on the batch, at whose sizes the rig runs each.
#define BATCH "in %%any: f32[N]\n%%none = neg %%any\nout %%none\n%s"

static int check_all(const char *const *texts) {
    int wrong = 0;
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int i = 0; texts[i]; i++) {
            case_add(r, i, BATCH, texts[i]);
        }
        wrong += case_check(r, 0, false);
    }
    return wrong;
}

// The text with $B, $C and $N replaced.
static void fill(const char *text, const int *size, char *to) {
    for (const char *s = text; *s; s++) {
        const char *const names = "BCN", *which = *s == '$' ? strchr(names, s[1]) : NULL;
        to += which ? sprintf(to, "%d", size[which - names]) : sprintf(to, "%c", *s);
        s += which != NULL;
    }
}

static void non_zero(void) {
    CHECK_INT_EQ(check_all(non_zero_texts), 0);
}

static void nms(void) {
    static const int sizes[][3] = {{1, 1, 1}, {1, 1, 5}, {2, 3, 33}, {1, 2, 150}};
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        int k = 0;
        for (int i = 0; nms_texts[i]; i++) {
            for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
                char text[1000];
                fill(nms_texts[i], sizes[s], text);
                if (sizes[s][2] >= 3 || i != 3) {
                    case_add(r, k++, BATCH, text);
                }
            }
        }
        CHECK_INT_EQ(case_check(r, 0, false), 0);
    }
}

static void bounded(void) {
    CHECK_INT_EQ(check_all(bounded_texts), 0);
}

int main(void) {
    CHECK_RUN(non_zero);
    CHECK_RUN(nms);
    CHECK_RUN(bounded);
    return check_done();
}
