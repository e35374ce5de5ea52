// What moves data, against the evaluator: concat, slice, shuffle, reorder, transpose, expand,
// reshape, pad, gather, cast, dropout; blocked and plain.
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

#include <stdlib.h>

typedef void (*AddCases)(Rig *r);

static void for_targets(AddCases add, bool empty) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        add(r);
        CHECK_INT_EQ(case_check(r, 2e-6, empty), 0);
    }
}

// ---------------------------------------------------------------- concat

static const int channels[][24] = { // 0 ends
    {16, 32},
    {58, 58},
    {3, 5, 7},
    {20, 20, 20},
    {24, 8, 33},
    {64, 3, 16},
    {5},
    {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}}; // more than one call takes
enum { CONCATS = sizeof channels / sizeof *channels };

// Operands through a pool: blocked. Else as they come in: plain.
static void add_concat(Rig *r, int k, const int *c, bool blocked, int axis) {
    char text[4096];
    size_t n = 0;
    for (int i = 0; c[i]; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "in %%x%d: f32[N,%d,6,5]\n", i, c[i]);
        if (blocked) {
            n += (size_t)snprintf(text + n, sizeof text - n,
                                  "%%b%d = max_pool %%x%d {kernel=[2,2], stride=[1,1]}\n", i, i);
        }
    }
    n += (size_t)snprintf(text + n, sizeof text - n, "%%y = concat ");
    for (int i = 0; c[i]; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%%%c%d", i ? ", " : "",
                              blocked ? 'b' : 'x', i);
    }
    snprintf(text + n, sizeof text - n, " {axis=%d}\nout %%y", axis);
    case_add(r, k, "%s", text);
}

static void add_concats(Rig *r) {
    for (int k = 0; k < CONCATS; k++) {
        add_concat(r, 4 * k, channels[k], true, 1);
        add_concat(r, 4 * k + 1, channels[k], false, 1);
        if (channels[k][0] == channels[k][1]) {
            add_concat(r, 4 * k + 2, channels[k], true, 2);
            add_concat(r, 4 * k + 3, channels[k], false, 3);
        }
    }
    case_add(r, 100,
             "in %%x: f32[N,5]\nin %%z: f32[3,5]\n%%y = concat %%x, %%z, %%x {axis=0}\n"
             "%%w = neg %%x\nout %%w");
    case_add(r, 101, "in %%x: i64[N,5]\nin %%z: i64[N,3]\n%%y = concat %%x, %%z {axis=1}\nout %%y");
}

static void concat(void) {
    for_targets(add_concats, true);
}

// ---------------------------------------------------------------- slice

static const struct {
    int C, start, size;
} slices[] = {{116, 58, 58}, {116, 0, 58}, {64, 16, 32}, {33, 1, 30},
              {20, 3, 5},    {48, 32, 16}, {40, 5, 35}};
enum { SLICES = sizeof slices / sizeof *slices };

static void add_slices(Rig *r) {
    for (int k = 0; k < SLICES; k++) {
        case_add(r, k,
                 "in %%x: f32[N,%1$d,6,5]\n%%b = max_pool %%x {kernel=[2,2], stride=[1,1]}\n"
                 "%%y = slice %%b {start=[0,%2$d,0,0], step=[1,1,1,1], shape=[N,%3$d,5,4]}\n"
                 "%%z = slice %%x {start=[0,%2$d,1,0], step=[1,1,1,1], shape=[N,%3$d,5,5]}\n"
                 "out %%y\nout %%z",
                 slices[k].C, slices[k].start, slices[k].size);
    }
    case_add(r, 50,
             "in %%x: f32[N,40,9,10]\n%%b = max_pool %%x {kernel=[2,2], stride=[1,1]}\n"
             "%%y = slice %%b {start=[0,1,1,0], step=[1,2,2,2], shape=[N,19,4,5]}\n"
             "%%z = slice %%b {start=[0,0,1,3], step=[1,1,1,1], shape=[N,40,4,5]}\n"
             "out %%y\nout %%z");
    case_add(r, 51,
             "in %%x: f32[N,7,9]\n"
             "%%y = slice %%x {start=[0,6,8], step=[1,-2,-1], shape=[N,4,9]}\nout %%y");
    case_add(r, 52,
             "in %%x: f64[N,7,9]\n"
             "%%y = slice %%x {start=[0,1,2], step=[1,1,3], shape=[N,4,3]}\nout %%y");
}

static void slice(void) {
    for_targets(add_slices, true);
}

// ---------------------------------------------------------------- shuffle

// Channel c of the result is channel first + c * step (modulo) of the operands joined; with groups,
// c / groups of group c % groups.
static const struct {
    int C[4]; // of the operands, 0 ends
    int size, first, step, groups;
} shuffles[] = {
    {{58, 58}, 116, 0, 1, 2},                          // ShuffleNet v2's
    {{58, 58}, 58, 29, 1, 2},   {{112}, 112, 0, 1, 4}, // ShuffleNet v1's
    {{136}, 136, 0, 1, 4},      {{136}, 136, 0, 1, 8},
    {{40, 3, 17}, 60, 0, 1, 3}, {{64, 32}, 96, 32, 1, 1}, // whole blocks, in another order
    {{20, 33}, 31, 5, 1, 1},    {{33}, 33, 32, 32, 1},    // backwards
    {{100}, 50, 7, 37, 1}, // from everywhere: more sources than one call takes
    {{5}, 40, 0, 3, 1},    // several times
    {{1, 1}, 2, 1, 1, 1},
};
enum { SHUFFLES = sizeof shuffles / sizeof *shuffles };

static void print_channels(char *text, size_t size, int k) {
    size_t n = 0;
    int joined = 0;
    for (int i = 0; i < 4; i++) {
        joined += shuffles[k].C[i];
    }
    for (int c = 0; c < shuffles[k].size; c++) {
        int groups = shuffles[k].groups, each = joined / groups;
        int from = (shuffles[k].first + c * shuffles[k].step) % joined;
        n += (size_t)snprintf(text + n, size - n, "%s%d", c ? "," : "",
                              from % groups * each + from / groups);
    }
}

static void add_shuffle(Rig *r, int k, int number, bool blocked) {
    char in[1024] = "", names[64] = "", channels[2048];
    size_t n = 0, m = 0;
    for (int i = 0; i < 4 && shuffles[k].C[i]; i++) {
        n += (size_t)snprintf(in + n, sizeof in - n, "in %%x%d: f32[N,%d,6,5]\n", i,
                              shuffles[k].C[i]);
        if (blocked) {
            n += (size_t)snprintf(in + n, sizeof in - n,
                                  "%%b%d = max_pool %%x%d {kernel=[2,2], stride=[1,1]}\n", i, i);
        }
        m += (size_t)snprintf(names + m, sizeof names - m, "%s%%%c%d", i ? ", " : "",
                              blocked ? 'b' : 'x', i);
    }
    print_channels(channels, sizeof channels, k);
    case_add(r, number, "%s%%y = shuffle %s {channels=[%s]}\nout %%y", in, names, channels);
}

static void add_shuffles(Rig *r) {
    for (int k = 0; k < SHUFFLES; k++) {
        add_shuffle(r, k, 2 * k, true);
        add_shuffle(r, k, 2 * k + 1, false);
    }
    case_add(r, 100, "in %%x: f64[N,6,3,2]\n%%y = shuffle %%x {channels=[0,3,1,4,2,5]}\nout %%y");
    case_add(r, 101, // operands and result are slices of concats
             "in %%x: f32[N,32,6,5]\nin %%z: f32[N,20,6,5]\n"
             "%%a = max_pool %%x {kernel=[2,2], stride=[1,1]}\n"
             "%%b = max_pool %%z {kernel=[2,2], stride=[1,1]}\n"
             "%%c = concat %%a, %%b {axis=1}\n"
             "%%s = shuffle %%b, %%a {channels=[0,20,1,21,2,22,3,23,19,51,7,7,7]}\n"
             "%%d = concat %%a, %%s {axis=1}\nout %%c\nout %%d");
}

static void shuffle(void) {
    for_targets(add_shuffles, true);
}

// The pass and the kernel together, as ShuffleNet has them; its weights take orders over.
static const char *const units[] = {
    "in %x: f32[N,40,7,6]\nconst %w: f32[20,20,1,1] = rand(1)\nconst %d: f32[40,1,3,3] = rand(2)\n"
    "const %u: f32[9,40,1,1] = rand(3)\n"
    "%r = reshape %x {shape=[N,2,20,7,6]}\n%t = transpose %r {perm=[0,2,1,3,4]}\n"
    "%s = reshape %t {shape=[N,40,7,6]}\n"
    "%p = slice %s {shape=[N,20,7,6], start=[0,0,0,0], step=[1,1,1,1]}\n"
    "%q = slice %s {shape=[N,20,7,6], start=[0,20,0,0], step=[1,1,1,1]}\n"
    "%c = conv %q, %w\n%a = relu %c\n%j = concat %p, %a {axis=1}\n"
    "%r2 = reshape %j {shape=[N,2,20,7,6]}\n%t2 = transpose %r2 {perm=[0,2,1,3,4]}\n"
    "%s2 = reshape %t2 {shape=[N,40,7,6]}\n"
    "%e = conv %s2, %d {group=40, pad=[1,1,1,1]}\n%y = conv %e, %u\n%z = conv %s2, %u\n"
    "out %y\nout %z",
    "in %x: f32[N,36,7,6]\nconst %g: f32[36,9,1,1] = rand(1)\nconst %d: f32[36,1,3,3] = rand(2)\n"
    "const %b: f32[36] = rand(3)\n"
    "%c = conv %x, %g {group=4}\n%a = relu %c\n"
    "%r = reshape %a {shape=[N,4,9,7,6]}\n%t = transpose %r {perm=[0,2,1,3,4]}\n"
    "%s = reshape %t {shape=[N,36,7,6]}\n%e = conv %s, %d, %b {group=36, stride=[2,2]}\n"
    "%y = conv %e, %g {group=4}\nout %y",
    NULL};

static void shuffle_units(void) {
    CHECK_INT_EQ(case_check_all(units, 1e-5, true), 0);
}

// ---------------------------------------------------------------- reorder, transpose

static const int images[][3] = {{3, 7, 9},  {16, 8, 8},   {33, 5, 7},  {64, 1, 1},
                                {20, 1, 1}, {48, 16, 16}, {17, 30, 30}};
enum { IMAGES = sizeof images / sizeof *images };

static void add_reorders(Rig *r) {
    for (int k = 0; k < IMAGES; k++) {
        case_add(r, k,
                 "in %%x: f32[N,%d,%d,%d]\n"
                 "%%y = max_pool %%x {kernel=[1,1], stride=[1,1]}\nout %%y",
                 images[k][0], images[k][1], images[k][2]);
    }
}

static void reorder(void) {
    for_targets(add_reorders, true);
}

static const char *const perms3[] = {"0,1,2", "0,2,1", "1,0,2", "1,2,0", "2,0,1", "2,1,0"};
static const char *const perms4[] = {"0,2,1,3", "0,3,1,2", "0,2,3,1", "3,2,1,0", "1,0,3,2"};

static void add_transposes(Rig *r) {
    for (int k = 0; k < 6; k++) {
        case_add(r, k,
                 "in %%x: f32[N,19,37]\nin %%i: i64[N,5,7]\n"
                 "%%y = transpose %%x {perm=[%1$s]}\n"
                 "%%z = transpose %%i {perm=[%1$s]}\nout %%y\nout %%z",
                 perms3[k]);
    }
    for (int k = 0; k < 5; k++) {
        case_add(r, 10 + k, "in %%x: f32[N,6,17,20]\n%%y = transpose %%x {perm=[%s]}\nout %%y",
                 perms4[k]);
    }
    case_add(r, 20, "in %%x: f32[N,20,21,3]\n%%y = transpose %%x {perm=[0,3,1,2]}\nout %%y");
    case_add(r, 21, "in %%x: f32[N,2,58,5,7]\n%%y = transpose %%x {perm=[0,2,1,3,4]}\nout %%y");
}

static void transpose(void) {
    for_targets(add_transposes, true);
}

// ---------------------------------------------------------------- pad

static const char *const modes[] = {"constant", "edge", "reflect"};
static const char *const pads[] = {"0,0,1,2,0,0,3,1", "0,0,2,-1,0,0,-2,3", "0,0,0,2,0,0,0,0",
                                   "0,0,-1,-1,0,0,-1,-1", "0,0,3,0,0,0,0,0"};

static void add_pads(Rig *r) {
    for (int k = 0; k < 15; k++) {
        case_add(r, k,
                 "in %%x: f32[N,20,7,8]\nin %%q: f32[N,3,7,8]\n"
                 "%%b = max_pool %%x {kernel=[2,2], stride=[1,1]}\n"
                 "%%y = pad %%b {pad=[%1$s], mode=%2$s, value=1.5}\n"
                 "%%z = pad %%q {pad=[%1$s], mode=%2$s, value=1.5}\nout %%y\nout %%z",
                 pads[k / 3], modes[k % 3]);
    }
    for (int k = 0; k < 3; k++) {
        case_add(r, 20 + k,
                 "in %%x: f32[4,9,N]\n"
                 "%%y = pad %%x {pad=[1,2,0,-1,1,0], mode=%s, value=-2}\nout %%y",
                 modes[k]);
    }
    case_add(r, 30, "in %%x: f32[N,9,8]\n%%y = pad %%x {pad=[0,2,0,0,3,0], value=-2}\nout %%y");
    case_add(r, 31, "in %%x: i64[N,9]\n%%y = pad %%x {pad=[0,2,0,1], value=-2}\nout %%y");
}

static void pad(void) {
    for_targets(add_pads, true);
}

// ---------------------------------------------------------------- the rest

static const char *const others[] = {
    "in %x: f32[N,1,5]\n%y = expand %x {shape=[N,7,5]}\nout %y",
    "in %x: f32[5,1]\n%y = expand %x {shape=[N,5,33]}\nout %y",
    "in %x: i64[1,4]\n%y = expand %x {shape=[N,3,4]}\nout %y",
    "in %x: f32[N,6,5]\n%y = reshape %x {shape=[N,30]}\nout %y",
    "in %x: f32[N,20,6,5]\n%b = max_pool %x {kernel=[2,2], stride=[1,1]}\n"
    "%y = reshape %b {shape=[N,400]}\nout %y",
    "in %x: f32[N,9,19]\nin %i: i64[3]\n%y = gather %x, %i {axis=1}\nout %y",
    "in %x: i64[N,9]\nin %i: i32[3]\n%y = gather %x, %i {axis=1}\nout %y",
    "in %x: f32[N,5,19]\nconst %i: i64[4] = splat(-3)\n%y = gather %x, %i {axis=2}\nout %y",
    "in %x: f32[4,N,3]\nconst %i: i32[2,3] = splat(2)\n%y = gather %x, %i {axis=0}\nout %y",
    "in %x: f32[N,20,6,6]\n%y = dropout %x {ratio=0.3, seed=5}\nout %y",
    "in %x: f32[N,20,6,6]\n%b = max_pool %x {kernel=[2,2], stride=[1,1]}\n"
    "%y = dropout %b {ratio=0.3, seed=5}\nout %y",
    "in %x: f32[N,20]\n%y = copy %x\n%z = copy %x\nout %y\nout %z",
    NULL};

static void other_moves(void) {
    CHECK_INT_EQ(case_check_all(others, 2e-6, true), 0);
}

static const char *const dtypes[] = {"f32", "f64", "f16", "i8",  "i16", "i32",
                                     "i64", "u8",  "u16", "u32", "u64", "bool"};

static void add_casts(Rig *r) {
    for (int k = 0; k < 144; k++) {
        const char *from = dtypes[k / 12], *to = dtypes[k % 12];
        if (from != to) {
            case_add(r, k, "in %%x: %s[N,19]\n%%y = cast %%x {to=%s}\nout %%y", from, to);
        }
    }
    case_add(r, 200,
             "in %%x: f32[N,19]\nconst %%c: f32[] = splat(1e12)\n%%z = mul %%x, %%c\n"
             "%%a = cast %%z {to=i32}\n%%b = cast %%z {to=u8}\n%%l = log %%x\n"
             "%%d = cast %%l {to=i64}\nout %%a\nout %%b\nout %%d"); // saturates; NaN is 0
}

static void cast(void) {
    for_targets(add_casts, true);
}

// From blocks to NHWC and back: whole blocks, others, and what no convolution reads.
static const char *const nhwc[] = {
    "in %x: f32[N,32,6,5]\n%b = max_pool %x {kernel=[2,2], stride=[1,1]}\n"
    "%y = transpose %b {perm=[0,2,3,1]}\nout %y",
    "in %x: f32[N,20,6,5]\n%b = max_pool %x {kernel=[2,2], stride=[1,1]}\n"
    "%y = transpose %b {perm=[0,2,3,1]}\nout %y",
    "in %x: f32[N,6,5,48]\nin %z: f32[N,48,6,5]\nconst %w: f32[16,48,1,1] = rand(1)\n"
    "%t = transpose %x {perm=[0,3,1,2]}\n%a = add %t, %z\n%y = conv %a, %w\nout %y",
    "in %x: f32[N,6,5,9]\nconst %w: f32[16,9,1,1] = rand(1)\n%t = transpose %x {perm=[0,3,1,2]}\n"
    "%y = conv %t, %w\nout %y",
    "in %x: f32[N,6,5,32]\n%t = transpose %x {perm=[0,3,1,2]}\n%y = relu %t\nout %y",
    "in %x: u8[N,32,6,5]\n%c = cast %x {to=f16}\n%y = transpose %c {perm=[0,2,3,1]}\nout %y",
    NULL};

static void between_blocks_and_nhwc(void) {
    CHECK_INT_EQ(case_check_all(nhwc, 4e-6, true), 0);
}

int main(void) {
    CHECK_RUN(concat);
    CHECK_RUN(slice);
    CHECK_RUN(shuffle);
    CHECK_RUN(shuffle_units);
    CHECK_RUN(reorder);
    CHECK_RUN(transpose);
    CHECK_RUN(pad);
    CHECK_RUN(other_moves);
    CHECK_RUN(cast);
    CHECK_RUN(between_blocks_and_nhwc);
    return check_done();
}
