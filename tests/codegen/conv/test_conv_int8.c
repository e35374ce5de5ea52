// Convolutions of u8 by s8 against the evaluator, bit for bit: bytes over their whole range, their
// ends often among them, zero points with every kind of edge, kernel sizes, strides, dilations,
// groups, odd channel counts, for every way that a machine has to multiply bytes. Epilogues to u8.
#include "runtime/core/cpu_features.h"
#include "runtime/core/rt.h"
#include "tests/check.h"
#include "tests/codegen/conv/conv_sizes.h"
#include "tests/codegen/rig/rig.h"

#include <string.h>

static const Conv shapes[] = {
    // 1x1: flattened, pixel and channel tails, stride
    {16, 4, 4, 16, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {64, 7, 7, 128, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {17, 5, 3, 33, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {5, 17, 17, 7, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {24, 9, 9, 80, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0, 1},
    {42, 1, 1, 100, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {8, 6, 6, 8, 1, 1, 1, 1, 1, 1, 1, 2, 0, 1, 1}, // padding without a window
    // stems: blocks of 4 channels
    {3, 20, 22, 40, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3, 1},
    {3, 15, 15, 64, 3, 3, 2, 2, 1, 1, 0, 0, 0, 0, 1},
    {1, 12, 12, 6, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, 1},
    {4, 11, 30, 20, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    // 3x3 and its kin
    {32, 14, 14, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {20, 8, 8, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {16, 28, 29, 80, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1},
    {16, 9, 9, 16, 3, 3, 1, 1, 1, 1, 0, 1, 2, 0, 1},
    {9, 10, 13, 11, 2, 4, 1, 1, 1, 1, 1, 0, 0, 3, 1},
    {32, 17, 17, 48, 1, 7, 1, 1, 1, 1, 0, 3, 0, 3, 1},
    {32, 17, 17, 48, 7, 1, 1, 1, 1, 1, 3, 0, 3, 0, 1},
    {7, 3, 3, 9, 7, 7, 1, 1, 1, 1, 3, 3, 3, 3, 1}, // kernel wider than the image
    {6, 1, 1, 6, 5, 5, 1, 1, 1, 1, 4, 4, 4, 4, 1}, // some outputs see padding only
    {16, 12, 12, 16, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2, 1},
    {12, 20, 20, 20, 3, 3, 2, 1, 3, 2, 3, 2, 1, 4, 1},
    {10, 9, 23, 10, 3, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1},
    {130, 6, 6, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    // groups: of whole vectors, within a vector, neither
    {64, 9, 9, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2},
    {128, 7, 7, 128, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 32},
    {64, 14, 14, 64, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 8},
    {32, 9, 9, 32, 9, 9, 2, 2, 1, 1, 4, 4, 4, 4, 4}, // too many products for f32
    {64, 10, 10, 64, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 16},
    {40, 6, 7, 40, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 5},
    {36, 5, 5, 60, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 3},
    {6, 8, 8, 12, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 6}, // multiplier 2
    {66, 5, 5, 66, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 33},
    // depthwise
    {32, 14, 14, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 32},
    {24, 15, 15, 24, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 24},
    {19, 28, 28, 19, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, 19},
    {16, 9, 33, 16, 5, 5, 2, 2, 1, 1, 2, 2, 2, 2, 16},
    {10, 12, 12, 10, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2, 10},
    {5, 7, 7, 5, 7, 7, 1, 1, 1, 1, 3, 3, 3, 3, 5},
    {3, 2, 2, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 3},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

// Bytes from floats in [-1, 1), times `scale` and saturated.
static void add_bytes(Rig *r, const char *to, const char *from, const char *type, int scale,
                      int shift, int k) {
    rig_const(r, "%%%ss%d: f32[] = splat(%d)", to, k, scale);
    rig_const(r, "%%%st%d: f32[] = splat(%d)", to, k, shift);
    rig_node(r, "%%%sm%d = mul %s%d, %%%ss%d", to, k, from, k, to, k);
    rig_node(r, "%%%sa%d = add %%%sm%d, %%%st%d", to, k, to, k, to, k);
    rig_node(r, "%%%s%d = cast %%%sa%d {to=%s}", to, k, to, k, type);
}

// Zero points 0, at the ends and between; every third without a bias.
static void add_conv(Rig *r, int k, const Conv *c) {
    static const int zeros[] = {0, 255, 128, 3};
    rig_input(r, "%%x%d: f32[N,%d,%d,%d]", k, c->C, c->H, c->W);
    rig_const(r, "%%v%d: f32[%d,%d,%d,%d] = rand(%d)", k, c->O, c->C / c->group, c->kh, c->kw, k);
    rig_const(r, "%%d%d: i32[%d] = rand(%d)", k, c->O, 1000 + k);
    add_bytes(r, "q", "%x", "u8", 200, 128, k);
    add_bytes(r, "w", "%v", "i8", 180, 0, k);
    char bias[32] = "";
    if (k % 3)
        snprintf(bias, sizeof bias, ", %%d%d", k);
    rig_node(r,
             "%%c%d = conv %%q%d, %%w%d%s {stride=[%d,%d], pad=[%d,%d,%d,%d], dilation=[%d,%d], "
             "group=%d, zero=%d}",
             k, k, k, bias, c->sh, c->sw, c->pt, c->pl, c->pb, c->pr, c->dh, c->dw, c->group,
             zeros[k % 4]);
}

// As passes make them of quantized networks: scale per channel, a residual, the next zero point.
static void add_epilogue(Rig *r, int k, const Conv *c, bool residual) {
    rig_const(r, "%%k%d: f32[%d,1,1] = rand(%d)", k, c->O, 2000 + k);
    rig_const(r, "%%z%d: f32[] = splat(100)", k);
    rig_node(r, "%%f%d = cast %%c%d {to=f32}", k, k);
    rig_node(r, "%%g%d = mul %%f%d, %%k%d", k, k, k);
    if (residual) {
        rig_input(r, "%%y%d: u8[N,%d,%d,%d]", k, c->O, c->H, c->W);
        rig_node(r, "%%h%d = max_pool %%y%d {kernel=[1,1]}", k, k);
        rig_node(r, "%%i%d = cast %%h%d {to=f32}", k, k);
        rig_node(r, "%%j%d = mul %%i%d, %%z%d", k, k, k);
        rig_node(r, "%%l%d = add %%g%d, %%j%d", k, k, k);
    } else {
        rig_node(r, "%%l%d = relu %%g%d", k, k);
    }
    rig_node(r, "%%n%d = round %%l%d", k, k);
    rig_node(r, "%%o%d = add %%n%d, %%z%d", k, k, k);
    rig_node(r, "%%p%d = clip %%o%d {min=0, max=255}", k, k);
    rig_node(r, "%%r%d = cast %%p%d {to=u8}", k, k);
}

static const char *target;

static void runs_every_shape(void) {
    Rig *r = rig_new(target, 2);
    for (int k = 0; k < N_SHAPES; k++) {
        add_conv(r, k, &shapes[k]);
        rig_output(r, "%%c%d", k);
    }
    RigRuns runs = {.N = {1, 3, 0}, .n = 3, .threads = {1, 2}, .n_threads = 2};
    CHECK(rig_check(r, &runs) == 0);
    rig_free(r);
}

static bool keeps_size(const Conv *c) {
    return c->sh == 1 && c->sw == 1 && c->pt + c->pb == (c->kh - 1) * c->dh &&
           c->pl + c->pr == (c->kw - 1) * c->dw;
}

static void runs_epilogues(void) {
    Rig *r = rig_new(target, 2);
    for (int k = 0; k < N_SHAPES; k++) {
        add_conv(r, k, &shapes[k]);
        add_epilogue(r, k, &shapes[k], keeps_size(&shapes[k]));
        rig_output(r, "%%r%d", k);
    }
    RigRuns runs = {.N = {1, 3}, .n = 2, .threads = {1, 2}, .n_threads = 2};
    CHECK(rig_check(r, &runs) == 0);
    rig_free(r);
}

// Without passes that fuse, and where H or W is not known there are no blocks.
static void runs_without_passes(void) {
    Rig *r = rig_new(target, 0);
    for (int k = 0; k < N_SHAPES; k += 5) {
        add_conv(r, k, &shapes[k]);
        add_epilogue(r, k, &shapes[k], false);
        rig_output(r, "%%r%d", k);
    }
    RigRuns runs = {.N = {2}, .n = 1, .threads = {1, 2}, .n_threads = 2};
    CHECK(rig_check(r, &runs) == 0);
    rig_free(r);
}

// Weights that the program computes, plain: one result at a time.
static void runs_weights_that_are_not_constant(void) {
    Rig *r = rig_new(target, 2);
    rig_input(r, "%%x0: f32[N,20,6,7]");
    rig_input(r, "%%v0: f32[24,20,3,3]");
    add_bytes(r, "q", "%x", "u8", 200, 128, 0);
    add_bytes(r, "w", "%v", "i8", 180, 0, 0);
    rig_node(r, "%%c0 = conv %%q0, %%w0 {pad=[1,1,1,1], zero=77}");
    rig_output(r, "%%c0");
    RigRuns runs = {.N = {2}, .n = 1, .threads = {1, 2}, .n_threads = 2};
    CHECK(rig_check(r, &runs) == 0);
    rig_free(r);
}

static bool needs_vnni(bool bytes, bool *skip) {
    Rig *r = rig_new("cascadelake", 2);
    rig_input(r, "%%x: %s[N,16,4,4]", bytes ? "u8" : "f32");
    rig_const(r, "%%w: %s[16,16,1,1] = rand(1)", bytes ? "i8" : "f32");
    rig_node(r, "%%c = conv %%x, %%w");
    rig_output(r, "%%c");
    HoneModel *m = rig_compile(r, NULL) ? rig_load(r, 1, skip) : NULL;
    bool needs = false;
    for (const uint32_t *n = m ? rt_model_desc(m)->cpu_needs : NULL; n && *n; n++)
        needs |= *n == HONE_CPU_AVX512VNNI;
    hone_destroy(m);
    rig_free(r);
    return needs;
}

// A program asks the CPU for the instruction that its products are made of, and no other does.
static void asks_for_the_instruction(void) {
    bool skip = false;
    CHECK(!needs_vnni(false, &skip));
    CHECK(needs_vnni(true, &skip) || skip);
}

int main(int argc, char **argv) {
    static const char *const targets[] = {"native",      "cascadelake", "alderlake",
                                          "x86-64-v4",   "x86-64-v3",   "generic",
                                          "neoverse-v1", "neoverse-n1", "aarch64"};
    CHECK_RUN(asks_for_the_instruction);
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        if (argc > 1 && strcmp(argv[1], targets[i]) != 0)
            continue;
        target = targets[i];
        CHECK_RUN(runs_every_shape);
        if (i == 0 || !strcmp(target, "x86-64-v3") || !strcmp(target, "neoverse-n1"))
            CHECK_RUN(runs_epilogues);
        if (i == 0) {
            CHECK_RUN(runs_without_passes);
            CHECK_RUN(runs_weights_that_are_not_constant);
        }
    }
    return check_done();
}
