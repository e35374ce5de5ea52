// Kernels that search along an axis or address elements by tensors of indices, against the
// evaluator. Integer inputs lie in [-8, 8), so that indices count from both ends of short axes and
// miss them, and equal elements are common.
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

// The same statements for several dtypes: %1$s in a text.
static const char *const dtypes[] = {"f32", "f64", "f16", "i8",  "i16", "i32",
                                     "i64", "u8",  "u16", "u32", "u64"};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

static void for_targets(const char *const *typed, const char *const *texts, double tolerance) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        int k = 0;
        bool types = typed && case_targets[t].opt_level > 0 && t != 2; // widest and narrowest
        for (int i = 0; types && typed[i]; i++) {
            for (int d = 0; d < DTYPES; d++) {
                char text[1000], *to = text;
                for (const char *s = typed[i]; *s; s++) { // $ is the dtype
                    to += *s == '$' ? sprintf(to, "%s", dtypes[d]) : sprintf(to, "%c", *s);
                }
                case_add(r, k++, "%s", text);
            }
        }
        for (int i = 0; texts && texts[i]; i++) {
            case_add(r, k++, "%s", texts[i]);
        }
        CHECK_INT_EQ(case_check(r, tolerance, false), 0);
    }
}

// ---------------------------------------------------------------- along an axis

static const char *const arg_typed[] = {
    "in %x: $[N,40]\n%y = arg_max %x {axis=1}\n%z = arg_min %x {axis=1, reverse=1}\nout %y\nout %z",
    "in %x: $[N,9,21]\n%y = arg_max %x {axis=1, keepdims=0, reverse=1}\n"
    "%z = arg_min %x {axis=1, keepdims=0}\nout %y\nout %z",
    NULL};
static const char *const arg_texts[] = {
    "in %x: f32[N,21,13,17]\n%y = arg_max %x {axis=1, keepdims=0}\nout %y",
    "in %x: f32[N,3,1000]\n%y = arg_max %x {axis=2}\n%z = arg_min %x {axis=0}\nout %y\nout %z",
    "in %x: f32[N]\n%y = arg_max %x {axis=0, keepdims=0}\nout %y",
    "in %x: f32[2,3,4,N,2,3,2,1]\n%y = arg_max %x {axis=4}\nout %y",
    // the maximum is everywhere, and NaN
    "in %x: f32[N,7,33]\n%c = less %x, %x\n%f = cast %c {to=\"f32\"}\n%n = div %f, %f\n"
    "%w = less %x, %f\n%m = where %w, %n, %x\n%y = arg_max %m {axis=1}\n"
    "%z = arg_min %m {axis=1, reverse=1}\n%u = arg_max %f {axis=1, reverse=1}\n"
    "out %y\nout %z\nout %u",
    // from blocks of channels, as a segmentation network ends
    "in %x: f32[N,20,9,10]\n%b = max_pool %x {kernel=[2,2], stride=[1,1]}\n"
    "%y = arg_max %b {axis=1, keepdims=0}\nout %y",
    NULL};

static void arg(void) {
    for_targets(arg_typed, arg_texts, 1e-9);
}

static const char *const cumsum_typed[] = {
    "in %x: $[N,12]\n%y = cumsum %x {axis=1}\n%z = cumsum %x {axis=1, exclusive=1, reverse=1}\n"
    "out %y\nout %z",
    "in %x: $[N,5,7]\n%y = cumsum %x {axis=1, reverse=1}\n%z = cumsum %x {axis=0, exclusive=1}\n"
    "out %y\nout %z",
    NULL};
static const char *const cumsum_texts[] = {"in %x: f32[N,3,5000]\n%y = cumsum %x {axis=2}\nout %y",
                                           "in %x: f32[N]\n%y = cumsum %x {axis=0}\nout %y", NULL};

static void cumsum(void) {
    for_targets(cumsum_typed, cumsum_texts, 2e-3); // f16's half unit
}

static const char *const top_k_typed[] = {
    "in %x: $[N,37]\n%y, %i = top_k %x {axis=1, size=5}\nout %y\nout %i",
    "in %x: $[N,37]\n%y, %i = top_k %x {axis=1, size=37, reverse=1}\nout %y\nout %i",
    "in %x: $[N,13,3]\n%y, %i = top_k %x {axis=1, size=4, reverse=1}\nout %y\nout %i", NULL};
static const char *const top_k_texts[] = {
    "in %x: f32[N,1000]\n%y, %i = top_k %x {axis=1, size=5}\nout %y\nout %i",
    "in %x: f32[N,3000]\n%y, %i = top_k %x {axis=1, size=700}\nout %i",
    "in %x: f32[N,8,5]\n%y, %i = top_k %x {axis=2, size=1}\nout %y",
    "in %x: f32[N,1]\n%y, %i = top_k %x {axis=1, size=1}\nout %y\nout %i",
    "in %x: f32[N,2]\n%y, %i = top_k %x {axis=1, size=2}\nout %y\nout %i",
    "in %x: f32[4,N]\n%y, %i = top_k %x {axis=0, size=3}\nout %y\nout %i",
    "in %x: f32[N,9]\n%c = less %x, %x\n%f = cast %c {to=\"f32\"}\n%n = div %f, %f\n"
    "%w = less %x, %f\n%m = where %w, %n, %x\n%y, %i = top_k %m {axis=1, size=7}\n"
    "%z, %j = top_k %m {axis=1, size=7, reverse=1}\nout %y\nout %i\nout %z\nout %j",
    NULL};

static void top_k(void) {
    for_targets(top_k_typed, top_k_texts, 1e-9);
}

// ---------------------------------------------------------------- gathers

static const char *const gather_typed[] = {
    "in %x: $[N,9]\nin %i: i64[N,4]\n%y = gather_elements %x, %i {axis=1}\nout %y",
    "in %x: $[N,5,6]\nin %i: i32[N,3,2]\n%y = gather_nd %x, %i\nout %y",
    "in %x: $[N,5,6]\nin %i: i64[N,3,1]\n%y = gather_nd %x, %i {axis=1}\nout %y",
    "in %x: $[N,5]\nin %i: i64[3]\n%y = gather %x, %i {axis=1}\nout %y", NULL};
static const char *const gather_texts[] = {
    "in %x: f32[N,5]\nin %i: i64[4]\n%z = gather %x, %i {axis=0}\n%y = neg %x\nout %y\nout %z",
    "in %x: f32[N,4,5]\nin %i: i32[N,11,3]\n%y = gather_elements %x, %i {axis=1}\nout %y",
    "in %x: f32[N,4,5]\nin %i: i64[1,2,3]\n%z = gather_elements %x, %i {axis=2}\n%y = neg %x\n"
    "out %y\nout %z",
    "in %x: f32[N,4,5]\nin %i: i64[6,2,3]\n%z = gather_elements %x, %i {axis=0}\n%y = neg %x\n"
    "out %y\nout %z",
    "in %x: bool[N,9]\nin %i: i64[N,4]\n%y = gather_elements %x, %i {axis=1}\nout %y",
    "in %x: f32[N,3,4,5,6]\nin %i: i64[N,3,2]\n%y = gather_nd %x, %i {axis=2}\nout %y",
    "in %x: f32[N,3,4,5,6]\nin %i: i64[N,3,2,3]\n%y = gather_nd %x, %i {axis=1}\nout %y",
    "in %x: f32[7,40]\nin %i: i64[N,2,1]\n%y = gather_nd %x, %i\nout %y",
    "in %x: f64[7,3,2]\nin %i: i64[N,3]\n%y = gather_nd %x, %i\nout %y",
    NULL};

static void gathers(void) {
    for_targets(gather_typed, gather_texts, 1e-9);
}

// ---------------------------------------------------------------- scatters

static const char *const scatter_typed[] = {
    "in %x: $[N,6]\nin %i: i64[N,9]\nin %u: $[N,9]\n%y = scatter_elements %x, %i, %u {axis=1}\n"
    "%z = scatter_elements %x, %i, %u {axis=1, mode=\"add\"}\n"
    "%v = scatter_elements %x, %i, %u {axis=1, mode=\"mul\"}\n"
    "%w = scatter_elements %x, %i, %u {axis=1, mode=\"max\"}\n"
    "%q = scatter_elements %x, %i, %u {axis=1, mode=\"min\"}\n"
    "out %y\nout %z\nout %v\nout %w\nout %q",
    "in %x: $[N,6,3]\nin %i: i32[N,5,2]\nin %u: $[N,5,3]\n%y = scatter_nd %x, %i, %u\n"
    "%z = scatter_nd %x, %i, %u {mode=\"add\"}\n%v = scatter_nd %x, %i, %u {mode=\"mul\"}\n"
    "%w = scatter_nd %x, %i, %u {mode=\"max\"}\n%q = scatter_nd %x, %i, %u {mode=\"min\"}\n"
    "out %y\nout %z\nout %v\nout %w\nout %q",
    NULL};
static const char *const scatter_texts[] = {
    "in %x: f32[N,7,5]\nin %i: i64[N,4,3]\nin %u: f32[N,4,3]\n"
    "%y = scatter_elements %x, %i, %u {axis=1, mode=\"add\"}\n"
    "%z = scatter_elements %x, %i, %u {axis=2}\nout %y\nout %z",
    "in %x: f32[N]\nin %i: i64[50]\nin %u: f32[50]\n"
    "%y = scatter_elements %x, %i, %u {axis=0, mode=\"add\"}\nout %y",
    "in %x: f32[9,3]\nin %i: i64[N,40,1]\nin %u: f32[N,40,3]\n"
    "%y = scatter_nd %x, %i, %u {mode=\"add\"}\n%z = neg %u\nout %y\nout %z",
    "in %x: bool[N,6]\nin %i: i64[N,9]\nin %u: bool[N,9]\n"
    "%y = scatter_elements %x, %i, %u {axis=1, mode=\"add\"}\n"
    "%z = scatter_elements %x, %i, %u {axis=1, mode=\"mul\"}\nout %y\nout %z",
    "in %x: f32[N,6]\nin %i: i64[N,0]\nin %u: f32[N,0]\n"
    "%y = scatter_elements %x, %i, %u {axis=1}\nout %y",
    "in %x: f32[N,200,9]\nin %i: i64[N,1]\nin %u: f32[N,200,9]\n%y = scatter_nd %x, %i, %u\nout %y",
    NULL};

static void scatters(void) {
    for_targets(scatter_typed, scatter_texts, 2e-3);
}

// ---------------------------------------------------------------- det, grid_sample

static const char *const det_texts[] = {
    "in %x: f32[N,1,1]\n%y = det %x\nout %y",
    "in %x: f32[N,3,7,7]\n%y = det %x\nout %y",
    "in %x: f64[N,20,20]\n%y = det %x\nout %y",
    "in %x: f32[4,4]\nin %z: f32[N]\n%d = det %x\n%y = mul %d, %z\nout %y",
    "in %x: f16[N,2,2]\n%y = det %x\nout %y",
    "in %x: f32[N,3,3]\n%z = sub %x, %x\n%y = det %z\nout %y",
    NULL};

static void det(void) {
    for_targets(NULL, det_texts, 1e-3);
}

static void grid_sample(void) {
    static const char *const modes[] = {"linear", "nearest", "cubic"};
    static const char *const borders[] = {"zeros", "border", "reflection"};
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < 18; k++) { // 3 times [-1, 1) reaches far outside
            case_add(r, k,
                     "in %%x: f32[N,3,5,7]\nin %%g: f32[N,6,9,2]\nconst %%k: f32[] = splat(3)\n"
                     "%%p = mul %%g, %%k\n"
                     "%%y = grid_sample %%x, %%p {mode=\"%s\", border=\"%s\", align=%d}\nout %%y",
                     modes[k % 3], borders[k / 3 % 3], k / 9);
        }
        case_add(r, 18,
                 "in %%x: f64[N,1,1,1]\nin %%g: f32[N,2,2,2]\n"
                 "%%y = grid_sample %%x, %%g {border=\"reflection\", align=1}\nout %%y");
        case_add(r, 19,
                 "in %%x: f16[N,2,3,4]\nin %%g: f64[N,2,2,2]\nconst %%k: f64[] = splat(1e30)\n"
                 "%%p = mul %%g, %%k\n%%q = sub %%p, %%p\n%%z = div %%q, %%q\n"
                 "%%y = grid_sample %%x, %%p {border=\"reflection\"}\n"
                 "%%v = grid_sample %%x, %%z {border=\"border\"}\nout %%y\nout %%v");
        CHECK_INT_EQ(case_check(r, 1e-3, false), 0);
    }
}

static void roi_align(void) {
    static const char *const attrs[] = {"shape=[3,2]", "shape=[2,3], size=2, align=1",
                                        "shape=[1,1], mode=\"max\", align=1",
                                        "shape=[2,2], mode=\"max\", size=3, alpha=0.25"};
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < 4; k++) {
            case_add(r, k,
                     "in %%x: f32[N,5,9,11]\nin %%b: f32[N,4]\nin %%i: i64[N]\n"
                     "const %%k: f32[] = splat(12)\n%%p = mul %%b, %%k\n"
                     "%%y = roi_align %%x, %%p, %%i {%s}\nout %%y",
                     attrs[k]);
        }
        case_add(r, 4, // infinite regions, and none
                 "in %%x: f64[N,2,3,4]\nin %%b: f32[N,4]\nin %%i: i32[N]\n"
                 "const %%k: f32[] = splat(1e38)\n%%p = mul %%b, %%k\n%%q = mul %%p, %%k\n"
                 "%%z = sub %%q, %%q\n%%y = roi_align %%x, %%q, %%i {shape=[2,2]}\n"
                 "%%w = roi_align %%x, %%z, %%i {shape=[2,2], align=1}\nout %%y\nout %%w");
        CHECK_INT_EQ(case_check(r, 2e-6, false), 0);
    }
}

int main(void) {
    CHECK_RUN(arg);
    CHECK_RUN(cumsum);
    CHECK_RUN(top_k);
    CHECK_RUN(gathers);
    CHECK_RUN(scatters);
    CHECK_RUN(det);
    CHECK_RUN(grid_sample);
    CHECK_RUN(roi_align);
    return check_done();
}
