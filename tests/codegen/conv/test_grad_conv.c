// conv_wgrad against the evaluator: kernel sizes, strides, dilations, padding, groups of every
// kind, few channels, odd sizes; vector widths 16, 8 and 4. Spills in its loops:
// test_grad_spills.c.
#include "tests/check.h"
#include "tests/codegen/conv/conv_sizes.h"
#include "tests/codegen/rig/rig.h"

static const Conv cases[] = {
    // plain x: few channels
    {3, 9, 9, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {3, 31, 30, 64, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3, 1},
    {1, 12, 13, 20, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, 1},
    {4, 8, 8, 7, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {3, 35, 35, 40, 11, 11, 4, 4, 1, 1, 2, 2, 2, 2, 1},
    {2, 9, 40, 33, 3, 3, 1, 1, 4, 12, 4, 12, 4, 12, 1},
    {1, 3, 2, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    // 1x1
    {16, 4, 4, 16, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {64, 14, 14, 96, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {40, 7, 7, 80, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {24, 17, 17, 70, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {48, 15, 14, 64, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0, 1},
    {80, 31, 31, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {7, 1, 1, 16, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {16, 5, 5, 16, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    // 3x3 and others
    {32, 14, 14, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {64, 7, 7, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {20, 28, 29, 36, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1},
    {33, 10, 9, 17, 3, 3, 1, 2, 2, 1, 2, 1, 2, 1, 1},
    {16, 12, 12, 32, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, 1},
    {24, 17, 17, 48, 1, 7, 1, 1, 1, 1, 0, 3, 0, 3, 1},
    {24, 17, 17, 48, 7, 1, 1, 1, 1, 1, 3, 0, 3, 0, 1},
    {16, 8, 8, 32, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3, 1},
    {8, 6, 6, 24, 3, 3, 1, 1, 1, 1, 0, 0, 2, 2, 1},
    {5, 9, 9, 6, 3, 3, 3, 3, 1, 1, 1, 1, 0, 0, 1},
    {16, 2, 2, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {16, 2, 2, 16, 5, 5, 1, 1, 1, 1, 4, 4, 4, 4, 1},
    {80, 9, 9, 100, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    // groups: whole vectors, ranges, inside a vector, depthwise
    {64, 10, 10, 96, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2},
    {24, 9, 9, 36, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 3},
    {64, 9, 9, 24, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2},
    {48, 9, 9, 24, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 6},
    {30, 7, 7, 40, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 5},
    {64, 12, 12, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 16},
    {32, 9, 9, 32, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 16},
    {48, 8, 8, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 6},
    {40, 14, 14, 40, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 40},
    {33, 15, 15, 33, 5, 5, 2, 2, 1, 1, 2, 2, 2, 2, 33},
    {16, 9, 30, 16, 3, 3, 1, 1, 2, 13, 2, 13, 2, 13, 16},
    {12, 9, 9, 24, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 12},
};
enum { N_CASES = sizeof cases / sizeof *cases };

// x and d are the inputs; i and j, where they are to be whole, the same as small integers; of bf16
// a and b.
typedef enum Numbers { ANY, WHOLE, WHOLE_BF16 } Numbers;

static void add_case(Rig *r, int k, const Conv *c, Numbers numbers) {
    int oh = conv_out_height(c), ow = conv_out_width(c);
    rig_input(r, "%%x%d: f32[N,%d,%d,%d]", k, c->C, c->H, c->W);
    rig_input(r, "%%d%d: f32[N,%d,%d,%d]", k, c->O, oh, ow);
    const char *x = "x", *d = "d";
    if (numbers != ANY) {
        rig_node(r, "%%p%1$d = mul %%x%1$d, %%four\n%%q%1$d = mul %%d%1$d, %%four", k);
        rig_node(r, "%%i%1$d = floor %%p%1$d\n%%j%1$d = floor %%q%1$d", k);
        x = "i", d = "j";
    }
    if (numbers == WHOLE_BF16) {
        rig_node(r, "%%a%1$d = cast %%i%1$d {to=bf16}\n%%b%1$d = cast %%j%1$d {to=bf16}", k);
        x = "a", d = "b";
    }
    rig_node(r,
             "%%w%d = conv_wgrad %%%s%d, %%%s%d {stride=[%d,%d], pad=[%d,%d,%d,%d], "
             "dilation=[%d,%d], group=%d, shape=[%d,%d,%d,%d]%s}",
             k, x, k, d, k, c->sh, c->sw, c->pt, c->pl, c->pb, c->pr, c->dh, c->dw, c->group, c->O,
             c->C / c->group, c->kh, c->kw, numbers == WHOLE_BF16 ? ", to=f32" : "");
    rig_output(r, "%%w%d", k);
}

static const char *target;

// Sums of small integers are exact in any order: no product is missing or counted twice.
static void check_exact(Numbers numbers) {
    Rig *r = rig_new(target, 2);
    rig_const(r, "%%four: f32[] = splat(4)");
    for (int k = 0; k < N_CASES; k++)
        add_case(r, k, &cases[k], numbers);
    RigRuns runs = {
        .N = {1, 5, 2, 0}, .n = 4, .threads = {1, 2}, .n_threads = 2, .tolerance = 1e-12};
    CHECK(rig_check(r, &runs) == 0);
    rig_free(r);
}

static void is_exact(void) {
    check_exact(WHOLE);
}

// As pairs of images where there are dots of these, the last image alone; else as f32.
static void is_exact_in_bf16(void) {
    check_exact(WHOLE_BF16);
}

// 1x1 convolution k, small integers in bf16, and `some` of its channels, where they lie: all of it
// is read, too.
static void add_part(Rig *r, int k, const char *name, int some) {
    rig_input(r, "%%%s%d: f32[N,5,9,7]", name, k);
    rig_const(r, "%%%sw%d: f32[48,5,1,1] = rand(%d)", name, k, some);
    rig_node(r, "%%%1$sc%2$d = conv %%%1$s%2$d, %%%1$sw%2$d", name, k);
    rig_node(r, "%%%1$sm%2$d = mul %%%1$sc%2$d, %%four\n%%%1$sf%2$d = floor %%%1$sm%2$d", name, k);
    rig_node(r, "%%%1$sa%2$d = cast %%%1$sf%2$d {to=bf16}", name, k);
    rig_node(r,
             "%%%1$ss%2$d = slice %%%1$sa%2$d {shape=[N,%3$d,9,7], start=[0,0,0,0], "
             "step=[1,1,1,1]}",
             name, k, some);
    rig_node(r, "%%%1$so%2$d = cast %%%1$sa%2$d {to=f32}", name, k);
    rig_output(r, "%%%so%d", name, k);
}

// Images of a view are farther apart than they are large.
static void reads_parts_of_wider_images(void) {
    static const int kernels[] = {1, 3};
    Rig *r = rig_new(target, 2);
    rig_const(r, "%%four: f32[] = splat(4)");
    for (int k = 0; k < 2; k++) {
        add_part(r, k, "x", 16);
        add_part(r, k, "d", 32);
        rig_node(r,
                 "%%w%1$d = conv_wgrad %%xs%1$d, %%ds%1$d {stride=[1,1], "
                 "pad=[%3$d,%3$d,%3$d,%3$d], dilation=[1,1], group=1, shape=[32,16,%2$d,%2$d], "
                 "to=f32}",
                 k, kernels[k], kernels[k] / 2);
        rig_output(r, "%%w%d", k);
    }
    RigRuns runs = {
        .N = {1, 5, 2}, .n = 3, .threads = {1, 2, 3}, .n_threads = 3, .tolerance = 1e-12};
    CHECK(rig_check(r, &runs) == 0);
    rig_free(r);
}

// Those of any numbers are the same bits on any number of threads.
static void agrees(void) {
    Rig *r = rig_new(target, 2);
    for (int k = 0; k < N_CASES; k++)
        add_case(r, k, &cases[k], ANY);
    RigRuns runs = {.N = {2}, .n = 1, .threads = {1, 2, 3}, .n_threads = 3};
    CHECK(rig_check(r, &runs) == 0);
    rig_free(r);
}

// Channels by whole blocks, odd sizes of images, padding none, uneven and more than a tile; pieces
// of several blocks, more tiles than a block holds.
static const struct {
    int C, O, H, W, pt, pl, pb, pr;
} winograd_cases[] = {
    {64, 32, 30, 29, 1, 1, 1, 1}, {16, 32, 9, 11, 0, 0, 0, 0}, {48, 16, 10, 6, 0, 2, 1, 0},
    {16, 16, 1, 1, 1, 1, 1, 1},   {80, 112, 6, 6, 1, 1, 1, 1},
};

static void add_winograd(Rig *r, int m) {
    for (size_t k = 0; k < sizeof winograd_cases / sizeof *winograd_cases; k++) {
        int C = winograd_cases[k].C, O = winograd_cases[k].O, H = winograd_cases[k].H;
        int W = winograd_cases[k].W, pt = winograd_cases[k].pt, pl = winograd_cases[k].pl;
        int pb = winograd_cases[k].pb, pr = winograd_cases[k].pr;
        rig_input(r, "%%x%zu: f32[N,%d,%d,%d]", k, C, H, W);
        rig_input(r, "%%d%zu: f32[N,%d,%d,%d]", k, O, H + pt + pb - 2, W + pl + pr - 2);
        rig_node(r,
                 "%%w%zu = conv_wgrad %%x%zu, %%d%zu {stride=[1,1], pad=[%d,%d,%d,%d], "
                 "dilation=[1,1], group=1, shape=[%d,%d,3,3], algo=\"winograd%d\"}",
                 k, k, k, pt, pl, pb, pr, O, C, m);
        rig_output(r, "%%w%zu", k);
    }
}

// Within 1e-5 of the largest gradient, in the evaluator's doubles; the same bits on any number of
// threads.
static void agrees_by_winograd(void) {
    for (int m = strcmp(target, "x86-64-v4") ? 4 : 2; m <= 4; m += 2) {
        Rig *r = rig_new(target, 2);
        add_winograd(r, m);
        RigRuns runs = {.N = {3}, .n = 1, .threads = {1, 2}, .n_threads = 2, .tolerance = 1e-5};
        CHECK(rig_check(r, &runs) == 0);
        rig_free(r);
    }
}

int main(int argc, char **argv) {
    static const char *const targets[] = {"x86-64-v4", "x86-64-v3", "generic"};
    for (int i = 0; i < 3; i++) {
        target = argc > 1 ? argv[1] : targets[i];
        CHECK_RUN(is_exact);
        CHECK_RUN(agrees_by_winograd);
        if (argc > 1)
            break;
    }
    target = argc > 1 ? argv[1] : "generic";
    CHECK_RUN(is_exact_in_bf16);
    CHECK_RUN(reads_parts_of_wider_images);
    target = argc > 1 ? argv[1] : "cooperlake";
    CHECK_RUN(is_exact_in_bf16);
    CHECK_RUN(reads_parts_of_wider_images);
    target = argc > 1 ? argv[1] : "native";
    CHECK_RUN(agrees);
    return check_done();
}
