// Convolution kernels against the evaluator: kernel sizes, strides, dilations, pads, groups, odd
// channel counts, epilogues, slices of a concat, for every vector width, N and number of threads.
#include "ir/conv.h"
#include "tests/check.h"
#include "tests/codegen/conv/conv_sizes.h"
#include "tests/codegen/conv/spills.h"
#include "tests/codegen/rig/rig.h"

#include <stdio.h>
#include <stdlib.h>

// Every branch of the kernels at a small size.
static const Conv shapes[] = {
    // 1x1: flattened, pixel tails, channel tails, stride
    {16, 4, 4, 16, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {64, 7, 7, 128, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {17, 5, 3, 33, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {5, 17, 17, 7, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {24, 9, 9, 80, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0, 1},
    {40, 1, 1, 100, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {8, 6, 6, 8, 1, 1, 1, 1, 1, 1, 1, 2, 0, 1, 1},
    // plain input
    {3, 20, 22, 40, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3, 1},
    {3, 15, 15, 64, 3, 3, 2, 2, 1, 1, 0, 0, 0, 0, 1},
    {1, 12, 12, 6, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, 1},
    {4, 11, 30, 20, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {3, 35, 35, 16, 11, 11, 4, 4, 1, 1, 2, 2, 2, 2, 1},
    {2, 8, 8, 24, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    // 3x3 and its kin
    {32, 14, 14, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {48, 7, 7, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {20, 8, 8, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {16, 28, 29, 80, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1},
    {16, 17, 35, 24, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {16, 9, 9, 16, 3, 3, 1, 1, 1, 1, 0, 1, 2, 0, 1},
    {9, 10, 13, 11, 2, 4, 1, 1, 1, 1, 1, 0, 0, 3, 1},
    {32, 17, 17, 48, 1, 7, 1, 1, 1, 1, 0, 3, 0, 3, 1},
    {32, 17, 17, 48, 7, 1, 1, 1, 1, 1, 3, 0, 3, 0, 1},
    {32, 8, 8, 32, 1, 3, 1, 1, 1, 1, 0, 1, 0, 1, 1},
    {32, 8, 8, 32, 3, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1},
    {24, 35, 35, 32, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, 1},
    {8, 40, 40, 8, 11, 11, 3, 2, 1, 1, 5, 5, 5, 5, 1},
    {7, 3, 3, 9, 7, 7, 1, 1, 1, 1, 3, 3, 3, 3, 1}, // kernel wider than the image
    {6, 1, 1, 6, 5, 5, 1, 1, 1, 1, 4, 4, 4, 4, 1}, // some outputs see padding only
    {16, 12, 12, 16, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2, 1},
    {12, 20, 20, 20, 3, 3, 2, 1, 3, 2, 3, 2, 1, 4, 1},
    {10, 9, 23, 10, 3, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1},
    {130, 6, 6, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    // groups: of whole vectors, within a vector, neither
    {64, 9, 9, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2},
    {96, 7, 7, 64, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, 2},
    {128, 7, 7, 128, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 32},
    {64, 14, 14, 64, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 8},
    {32, 9, 9, 32, 5, 5, 2, 2, 1, 1, 2, 2, 2, 2, 4},
    {64, 10, 10, 64, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 16},
    {40, 6, 7, 40, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 5},
    {60, 6, 6, 60, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 3},
    {36, 5, 5, 60, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 3},
    {6, 8, 8, 12, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 6}, // multiplier 2
    {4, 8, 8, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2},
    {48, 5, 5, 32, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 2},
    {66, 5, 5, 66, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 33},
    // depthwise
    {32, 14, 14, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 32},
    {24, 15, 15, 24, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 24},
    {19, 28, 28, 19, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, 19},
    {16, 9, 33, 16, 5, 5, 2, 2, 1, 1, 2, 2, 2, 2, 16},
    {10, 12, 12, 10, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2, 10},
    {8, 20, 20, 8, 11, 11, 1, 1, 1, 1, 5, 5, 5, 5, 8},
    {5, 7, 7, 5, 7, 7, 1, 1, 1, 1, 3, 3, 3, 3, 5},
    {3, 9, 9, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 3},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static void add_conv(Rig *r, int k, const Conv *c, const char *x) {
    rig_const(r, "%%w%d: f32[%d,%d,%d,%d] = rand(%d)", k, c->O, c->C / c->group, c->kh, c->kw, k);
    rig_node(r,
             "%%c%d = conv %s, %%w%d, %s {stride=[%d,%d], pad=[%d,%d,%d,%d], dilation=[%d,%d], "
             "group=%d}",
             k, x, k, k % 3 ? "%b" : "_", c->sh, c->sw, c->pt, c->pl, c->pb, c->pr, c->dh, c->dw,
             c->group);
}

static void add_plain_case(Rig *r, int k, const Conv *c) {
    char x[32];
    snprintf(x, sizeof x, "%%x%d", k);
    rig_input(r, "%s: f32[N,%d,%d,%d]", x, c->C, c->H, c->W);
    rig_const(r, "%%w%d: f32[%d,%d,%d,%d] = rand(%d)", k, c->O, c->C / c->group, c->kh, c->kw, k);
    char bias[64] = "";
    if (k % 3) {
        rig_const(r, "%%b%d: f32[%d] = rand(%d)", k, c->O, 1000 + k);
        snprintf(bias, sizeof bias, ", %%b%d", k);
    }
    rig_node(r,
             "%%c%d = conv %s, %%w%d%s {stride=[%d,%d], pad=[%d,%d,%d,%d], dilation=[%d,%d], "
             "group=%d}",
             k, x, k, bias, c->sh, c->sw, c->pt, c->pl, c->pb, c->pr, c->dh, c->dw, c->group);
    rig_output(r, "%%c%d", k);
}

static const char *target;

static void runs_every_shape(void) {
    Rig *r = rig_new(target, 2);
    for (int k = 0; k < N_SHAPES; k++)
        add_plain_case(r, k, &shapes[k]);
    RigRuns runs = {.N = {1, 2, 0, 5}, .n = 4, .threads = {1, 2, 3}, .n_threads = 3};
    CHECK(rig_check(r, &runs) == 0);
    rig_free(r);
}

// Bands of rows, and of row tiles, whatever the threads; one that is larger than the image.
static void runs_bands(void) {
    static const struct {
        Conv c;
        const char *algo;
    } of[] = {
        {{40, 9, 11, 40, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 40}, "depthwise"},
        {{32, 13, 7, 32, 5, 5, 2, 2, 1, 1, 2, 2, 2, 2, 32}, "depthwise"},
        {{32, 7, 9, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 8}, "grouped"},
        {{48, 9, 7, 80, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1}, "direct"},
    };
    static const int bands[] = {0, 1, 2, 4, 5, 100};
    Rig *r = rig_new(target, 2);
    for (int i = 0; i < 4 * 6; i++) {
        const Conv *c = &of[i / 6].c;
        rig_input(r, "%%x%d: f32[N,%d,%d,%d]", i, c->C, c->H, c->W);
        rig_const(r, "%%w%d: f32[%d,%d,%d,%d] = rand(%d)", i, c->O, c->C / c->group, c->kh, c->kw,
                  i);
        rig_node(r,
                 "%%c%d = conv %%x%d, %%w%d {stride=[%d,%d], pad=[%d,%d,%d,%d], group=%d, "
                 "algo=\"%s\", tile=[rows=1,cols=2,vecs=1,band=%d]}",
                 i, i, i, c->sh, c->sw, c->pt, c->pl, c->pb, c->pr, c->group, of[i / 6].algo,
                 bands[i % 6]);
        rig_output(r, "%%c%d", i);
    }
    RigRuns runs = {.N = {1, 2, 3}, .n = 3, .threads = {1, 2, 3}, .n_threads = 3};
    CHECK(rig_check(r, &runs) == 0);
    int i = 0; // the schedule kept what the text said
    for (IrNode *n = rig_graph(r)->first; n; n = n->next)
        i += n->op == IR_OP_CONV && ir_conv_tile(n).band == bands[i % 6];
    CHECK(i == 4 * 6);
    rig_free(r);
}

// Weights of many groups, which each asks for ahead of the next; images of more tiles than one.
static void runs_many_weights(void) {
    Rig *r = rig_new(target, 2);
    static const Conv shapes[] = {
        {160, 7, 7, 256, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
        {250, 5, 9, 200, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
        {64, 9, 9, 96, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    };
    for (int k = 0; k < 3; k++)
        add_plain_case(r, k, &shapes[k]);
    RigRuns runs = {.N = {1, 2}, .n = 2, .threads = {1, 2, 3}, .n_threads = 3};
    CHECK(rig_check(r, &runs) == 0);
    rig_free(r);
}

// Shapes that nobody chose.
static void runs_random_shapes(void) {
    Rig *r = rig_new(target, 2);
    uint64_t state = 7;
    for (int k = 0; k < 60; k++) {
        int v[16];
        for (int i = 0; i < 16; i++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            v[i] = (int)(state >> 40);
        }
        int group = v[0] % 3 ? 1 : 1 + v[1] % 5;
        Conv c = {.C = group * (1 + v[2] % 24),
                  .O = group * (1 + v[3] % 24),
                  .H = 1 + v[4] % 18,
                  .W = 1 + v[5] % 37,
                  .kh = 1 + v[6] % 5,
                  .kw = 1 + v[7] % 5,
                  .sh = 1 + v[8] % 3,
                  .sw = 1 + v[9] % 3,
                  .dh = 1 + v[10] % 2,
                  .dw = 1 + v[11] % 2,
                  .group = group};
        c.pt = v[12] % 3, c.pl = v[13] % 3, c.pb = v[14] % 3, c.pr = v[15] % 3;
        if (c.H + c.pt + c.pb < (c.kh - 1) * c.dh + 1 || c.W + c.pl + c.pr < (c.kw - 1) * c.dw + 1)
            continue;
        add_plain_case(r, k, &c);
    }
    RigRuns runs = {.N = {1, 3}, .n = 2, .threads = {1, 2}, .n_threads = 2};
    CHECK(rig_check(r, &runs) == 0);
    rig_free(r);
}

// What passes attach: activations, residuals, channel and scalar operands, a squeeze-and-excite
// scale.
static void runs_epilogues(void) {
    Rig *r = rig_new(target, 2);
    rig_const(r, "%%six: f32[] = splat(6)");
    rig_const(r, "%%chan: f32[20,1,1] = rand(5)");
    static const char *const x[] = {"%p", "%q"};
    static const Conv convs[] = {
        {20, 9, 9, 20, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
        {20, 9, 9, 20, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
        {20, 9, 9, 20, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 20},
        {20, 9, 9, 20, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 5},
    };
    rig_const(r, "%%b: f32[20] = rand(77)");
    rig_input(r, "%%p: f32[N,20,9,9], %%q: f32[N,20,9,9], %%s: f32[N,20,1,1], %%one: f32[1]");
    for (int i = 0; i < 4; i++) {
        int k = 10 * i;
        for (int e = 0; e < 6; e++)
            add_conv(r, k + e, &convs[i], x[e % 2]);
        rig_node(r, "%%y%d = relu %%c%d", k, k);
        rig_node(r, "%%a%d = add %%c%d, %%q", k + 1, k + 1);
        rig_node(r, "%%y%d = relu %%a%d", k + 1, k + 1);
        rig_node(r, "%%a%d = mul %%c%d, %%chan", k + 2, k + 2);
        rig_node(r, "%%y%d = clip %%a%d {min=0, max=6}", k + 2, k + 2);
        rig_node(r, "%%a%d = sigmoid %%c%d", k + 3, k + 3);
        rig_node(r, "%%y%d = mul %%c%d, %%a%d", k + 3, k + 3, k + 3);
        rig_node(r, "%%a%d = mul %%c%d, %%s", k + 4, k + 4);
        rig_node(r, "%%y%d = add %%a%d, %%p", k + 4, k + 4);
        rig_node(r, "%%a%d = mul %%c%d, %%one", k + 5, k + 5);
        rig_node(r, "%%y%d = hard_swish %%a%d", k + 5, k + 5);
        for (int e = 0; e < 6; e++)
            rig_output(r, "%%y%d", k + e);
    }
    RigRuns runs = {.N = {1, 3}, .n = 2, .threads = {1, 2}, .n_threads = 2};
    CHECK(rig_check(r, &runs) == 0);
    rig_free(r);
}

// Results that are slices of a concat, and inputs that are.
static void runs_concat_slices(void) {
    Rig *r = rig_new(target, 2);
    static const Conv a = {16, 8, 8, 32, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1};
    static const Conv b = {16, 8, 8, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const Conv d = {16, 8, 8, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 16};
    static const Conv e = {48, 8, 8, 20, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const Conv g = {116, 8, 8, 24, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1};
    rig_const(r, "%%b: f32[48] = rand(77)");
    rig_input(r, "%%x: f32[N,16,8,8]");
    add_conv(r, 0, &a, "%x");
    add_conv(r, 3, &b, "%x");
    add_conv(r, 6, &d, "%x");
    rig_node(r, "%%r3 = relu %%c3");
    add_conv(r, 9, &e, "%r3");
    rig_node(r, "%%cat = concat %%c0, %%r3, %%c6, %%c9 {axis=1}");
    add_conv(r, 12, &g, "%cat");
    rig_output(r, "%%cat, %%c12");
    RigRuns runs = {.N = {1, 3}, .n = 2, .threads = {1, 2, 3}, .n_threads = 3};
    CHECK(rig_check(r, &runs) == 0);
    rig_free(r);
}

// Without optimisation the same kernels, unfused.
static void runs_unoptimised(void) {
    Rig *r = rig_new(target, 0);
    for (int k = 0; k < N_SHAPES; k += 5)
        add_plain_case(r, k, &shapes[k]);
    RigRuns runs = {.N = {2}, .n = 1, .threads = {2}, .n_threads = 1};
    CHECK(rig_check(r, &runs) == 0);
    rig_free(r);
}

// Prefetches of a small convolution's kernels; -1: no objdump.
static int count_prefetches(const char *mcpu) {
    Rig *r = rig_new(mcpu, 2);
    CgResult cg = {0};
    int lines = 0;
    rig_const(r, "%%w: f32[96,192,1,1] = rand(1)");
    rig_input(r, "%%x: f32[N,192,14,14]");
    rig_node(r, "%%y = conv %%x, %%w {algo=\"direct\", tile=[rows=14,cols=1,vecs=2,band=7]}");
    rig_output(r, "%%y");
    if (CHECK(rig_compile(r, &cg) != NULL))
        for (int i = 0; i < cg.n_files && lines >= 0; i++) {
            int n = spills_lines_with(cg.files[i], "prefetch");
            lines = n < 0 ? n : lines + n;
        }
    rig_free(r);
    return lines;
}

static void asks_for_weights_from_afar(void) {
    int near = count_prefetches("znver5"), mesh = count_prefetches("sapphirerapids");
    CHECK(near < 0 || (near == 0 && mesh > 0));
    if (near < 0)
        printf("skipped: no objdump\n");
}

int main(int argc, char **argv) {
    static const char *const targets[] = {"x86-64-v4", "x86-64-v3", "generic", "neoverse-n1"};
    for (int i = 0; i < 4; i++) {
        target = argc > 1 ? argv[1] : targets[i];
        CHECK_RUN(runs_every_shape);
        CHECK_RUN(runs_bands);
        CHECK_RUN(runs_many_weights);
        CHECK_RUN(runs_random_shapes);
        CHECK_RUN(runs_epilogues);
        CHECK_RUN(runs_concat_slices);
        CHECK_RUN(runs_unoptimised);
        if (argc > 1)
            break;
    }
    CHECK_RUN(asks_for_weights_from_afar);
    return check_done();
}
