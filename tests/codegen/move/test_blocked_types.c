// Blocked tensors of every type that has kernels on them, but f32, against the evaluator, integers
// exactly: what moves them, pools, reductions, maps over operands of several types; whole and
// partial blocks, every vector width, at any channel offset.
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

#include <stdio.h>
#include <string.h>

static const char *const types[] = {"u8", "i8", "i32", "f16", "bf16"};
enum { TYPES = 5 };
static const int channels[] = {32, 21, 3};

// %b and %c become blocked: they follow pools of f32. T the type, C the channels.
#define BLOCKED                                                                                    \
    "in %x: f32[N,C,9,8]\nconst %k: f32[] = splat(50)\n"                                           \
    "%p = max_pool %x {kernel=[2,2], stride=[1,1]}\n%m = mul %p, %k\n%n = neg %m\n"                \
    "%a = abs %m\n%b = cast %a {to=T}\n%c = cast %n {to=T}\n"

static const char *const moves[] = {
    BLOCKED "%y = concat %b, %c, %b {axis=1}\n%z = concat %c, %c {axis=2}\nout %y\nout %z",
    BLOCKED "%y = slice %b {start=[0,1,1,0], step=[1,1,1,2], shape=[N,2,7,4]}\nout %y",
    BLOCKED "%j = concat %b, %c {axis=1}\n%y = slice %j {start=[0,C,0,0], step=[1,1,1,1], "
            "shape=[N,C,8,7]}\n%z = max_pool %y {kernel=[1,1]}\nout %z",
    BLOCKED "%y = shuffle %b, %c {channels=[0,3,1,4,2,5]}\nout %y",
    BLOCKED "%y = pad %b {pad=[0,0,1,2,0,0,0,3], value=7}\n"
            "%z = pad %c {pad=[0,0,1,2,0,0,0,3], mode=edge}\nout %y\nout %z",
    BLOCKED "const %h: i32[1,16] = [0,0,1,1,2,2,3,3,4,4,5,5,6,6,7,7]\n"
            "const %w: i32[1,14] = [0,0,1,1,2,2,3,3,4,4,5,5,6,6]\n%y = resize %b, %h, _, %w\n"
            "%v = max_pool %y {kernel=[1,1]}\n%u = resize %c, _, _, %w\nout %v\nout %u",
    BLOCKED "%y = transpose %b {perm=[0,2,3,1]}\n%z = reshape %c {shape=[N,C,56]}\nout %y\nout %z",
    NULL};

static const char *const windows[] = {
    BLOCKED "%y = max_pool %b {kernel=[3,3], stride=[2,2], pad=[1,1,1,1]}\n"
            "%z = max_pool %c {kernel=[2,3], stride=[1,1], pad=[1,0,0,1]}\nout %y\nout %z",
    BLOCKED "%y = reduce_max %c {axes=[2,3]}\n%z = reduce_min %c {axes=[2,3], keepdims=0}\n"
            "out %y\nout %z",
    BLOCKED "in %r: T[C,1,1]\n%q = max_pool %b {kernel=[2,2]}\n%s = add %q, %r\n%y = relu %s\n"
            "%t = reduce_sum %b {axes=[2,3]}\n%z = add %t, %r\nout %y\nout %z",
    NULL};

// What is summed up in a type of its own, and stored again as it came.
static const char *const sums[] = {
    BLOCKED "%y = avg_pool %b {kernel=[3,3], pad=[1,1,1,1], to=f32}\n%r = round %y\n"
            "%z = cast %r {to=T}\nout %z",
    BLOCKED "%y = reduce_mean %c {axes=[2,3], to=f32}\n%r = round %y\n%z = cast %r {to=T}\nout %z",
    BLOCKED "%y = reduce_sum %c {axes=[2,3], keepdims=0, to=i32}\nout %y", NULL};

// Operands of several types, by channel, pixel and image, in one body.
static const char *const maps[] = {
    BLOCKED "in %f: f32[C,1,1]\nin %i: i8[N,C,1,1]\nin %u: u8[N,1,8,7]\nin %h: f16[N,C,8,7]\n"
            "const %z: u8[] = [5]\nconst %v: i8[C,1,1] = rand(3)\n"
            "%y = map %b, %f, %i, %u, %h, %z, %v {body=[cast(0, to=f32), cast(2, to=f32), "
            "cast(3, to=f32), cast(4, to=f32), cast(5, to=f32), cast(6, to=f32), sub(s0, s4), "
            "mul(s6, s1), add(s7, s2), add(s8, s3), add(s9, s5), add(s10, 1), round(s11), "
            "add(s12, s4), clip(s13, min=0, max=255), cast(s14, to=T)]}\nout %y",
    "in %i: u8[N,C,5,7]\nin %j: i8[N,C,5,7]\nconst %s: f32[C,1,1] = rand(1)\n"
    "%y = map %i, %j, %s {body=[cast(0, to=f32), cast(1, to=f32), mul(s0, s1), mul(s2, 2), "
    "round(s3), cast(s4, to=T)]}\nout %y",
    NULL};

static void write_text(char *to, const char *text, const char *type, int c) {
    for (const char *p = text; *p; p++) {
        bool alone = !(p[1] >= 'A' && p[1] <= 'Z');
        to += *p == 'T' && alone   ? sprintf(to, "%s", type)
              : *p == 'C' && alone ? sprintf(to, "%d", c)
                                   : sprintf(to, "%c", *p);
    }
}

static void check_texts(const char *const *texts, int types_end) {
    static const CaseTarget targets[] = {{"native", 2}, {"x86-64-v3", 2}, {"generic", 0}};
    for (int t = 0; t < 3; t++) {
        Rig *r = rig_new(targets[t].mcpu, targets[t].opt_level);
        int k = 0;
        for (int d = 0; d < types_end; d++) {
            for (int i = 0; texts[i]; i++) {
                char text[4096];
                write_text(text, texts[i], types[d], channels[(d + i) % 3]);
                case_add(r, k++, "%s", text);
            }
        }
        CHECK_INT_EQ(case_check(r, 0, true), 0);
    }
}

static void movement(void) {
    check_texts(moves, TYPES);
}

static void pools_and_reductions(void) {
    check_texts(windows, TYPES);
    check_texts(sums, 2);
}

static void maps_of_types(void) {
    check_texts(maps, TYPES);
}

// Images of a few channels as words, and back: what convolutions of bytes and bf16 read.
static void words(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int c = 1; c <= 4; c++) {
            case_add(r, c,
                     "in %%x: %1$s[N,%2$d,7,9]\n%%b: %1$s[N,%2$d,7,9]{nChw4c} = reorder %%x\n"
                     "%%y = reorder %%b\nout %%y",
                     types[c % 2], c);
            case_add(r, 4 + c,
                     "in %%x: %1$s[N,%2$d,7,9]\n%%b: %1$s[N,%2$d,7,9]{nChw%3$dc} = reorder %%x\n"
                     "%%y = reorder %%b\nout %%y",
                     types[3 + c % 2], c, c > 2 ? 4 : 2 * (c % 2 + 1));
        }
        CHECK_INT_EQ(case_check(r, 0, true), 0);
    }
}

int main(void) {
    CHECK_RUN(movement);
    CHECK_RUN(pools_and_reductions);
    CHECK_RUN(maps_of_types);
    CHECK_RUN(words);
    return check_done();
}
