// conv_wgrad on matrix tiles against the evaluator: kernel sizes, strides, dilations, padding even
// and not, channels that fill no block, groups of blocks and bands of images more than one, odd
// numbers of images; on the machine code that an AMX machine runs (rig/amx.h). Also: that products
// are the instructions they should be and stay in registers, and what the schedule takes there.
#include "ir/conv.h"
#include "runtime/core/cpu_features.h"
#include "runtime/core/rt.h"
#include "tests/check.h"
#include "tests/codegen/conv/spills.h"
#include "tests/codegen/rig/amx.h"
#include "tests/codegen/rig/rig.h"

#include <string.h>

typedef struct Wgrad {
    int C, O, H, W, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr;
} Wgrad;

static const Wgrad cases[] = {
    // 1x1: by x and by dy, blocks even and odd, images of odd sizes, of one pixel, strides, padding
    {16, 16, 4, 4, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
    {64, 96, 14, 14, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
    {96, 64, 14, 14, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
    {24, 70, 17, 17, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
    {70, 24, 7, 7, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
    {48, 64, 15, 14, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0},
    {48, 40, 15, 14, 1, 1, 2, 3, 1, 1, 1, 0, 0, 2},
    {7, 40, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
    {16, 16, 5, 5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {32, 48, 61, 60, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
    {800, 1100, 2, 3, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
    // 3x3: rows cut into bands, whole images, strides, padding none, on one side, wider than taps
    {32, 48, 14, 14, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    {64, 64, 7, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    {17, 33, 40, 41, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    {20, 36, 28, 29, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1},
    {32, 32, 57, 56, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1},
    {8, 24, 6, 6, 3, 3, 1, 1, 1, 1, 0, 0, 2, 2},
    {5, 6, 9, 9, 3, 3, 3, 3, 1, 1, 1, 1, 0, 0},
    {16, 16, 2, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    {16, 16, 2, 2, 5, 5, 1, 1, 1, 1, 4, 4, 4, 4},
    {80, 100, 9, 9, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0},
    {208, 240, 5, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    // x of few channels, in planes
    {3, 64, 35, 30, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3},
    {1, 20, 12, 13, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2},
    {4, 7, 8, 8, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
    {2, 33, 9, 40, 3, 3, 1, 1, 2, 6, 2, 6, 2, 6},
    {3, 40, 35, 35, 11, 11, 4, 4, 1, 1, 2, 2, 2, 2},
    // others: wide and high kernels, more taps than a tile has rows, dilations beside strides
    {24, 48, 17, 17, 1, 7, 1, 1, 1, 1, 0, 3, 0, 3},
    {24, 48, 17, 17, 7, 1, 1, 1, 1, 1, 3, 0, 3, 0},
    {16, 32, 12, 12, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2},
    {16, 32, 15, 18, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3},
    {33, 17, 10, 9, 3, 3, 1, 2, 2, 1, 2, 1, 2, 1},
    {16, 20, 14, 15, 3, 3, 1, 1, 4, 5, 4, 5, 4, 5},
    {16, 20, 14, 15, 3, 2, 2, 2, 2, 3, 2, 1, 0, 3},
    {16, 20, 14, 15, 4, 2, 3, 2, 1, 4, 0, 3, 5, 2},
};
enum { N_CASES = sizeof cases / sizeof *cases };

static int out_size(int in, int k, int s, int d, int a, int b) {
    return (in + a + b - (k - 1) * d - 1) / s + 1;
}

// Operands are inputs of bf16, or the same as small integers.
static void add_case(Rig *r, int k, const Wgrad *c, bool whole, const char *algo) {
    int oh = out_size(c->H, c->kh, c->sh, c->dh, c->pt, c->pb);
    int ow = out_size(c->W, c->kw, c->sw, c->dw, c->pl, c->pr);
    const char *type = whole ? "f32" : "bf16", *x = whole ? "a" : "x", *d = whole ? "b" : "d";
    rig_input(r, "%%x%d: %s[N,%d,%d,%d]", k, type, c->C, c->H, c->W);
    rig_input(r, "%%d%d: %s[N,%d,%d,%d]", k, type, c->O, oh, ow);
    if (whole) {
        rig_node(r, "%%p%1$d = mul %%x%1$d, %%four\n%%q%1$d = mul %%d%1$d, %%four", k);
        rig_node(r, "%%i%1$d = floor %%p%1$d\n%%j%1$d = floor %%q%1$d", k);
        rig_node(r, "%%a%1$d = cast %%i%1$d {to=bf16}\n%%b%1$d = cast %%j%1$d {to=bf16}", k);
    }
    rig_node(r,
             "%%w%d = conv_wgrad %%%s%d, %%%s%d {stride=[%d,%d], pad=[%d,%d,%d,%d], "
             "dilation=[%d,%d], shape=[%d,%d,%d,%d], to=f32%s}",
             k, x, k, d, k, c->sh, c->sw, c->pt, c->pl, c->pb, c->pr, c->dh, c->dw, c->O, c->C,
             c->kh, c->kw, algo);
    rig_output(r, "%%w%d", k);
}

static int count_amx(const IrGraph *g) {
    int n = 0;
    IrConvAlgo algo;
    for (const IrNode *node = g ? g->first : NULL; node; node = node->next)
        n += node->op == IR_OP_CONV_WGRAD && ir_conv_algo(node, &algo) &&
             algo == IR_CONV_DIRECT_BF16_AMX;
    return n;
}

static void check_cases(bool whole, const RigRuns *runs) {
    Rig *r = rig_new("sapphirerapids", 2);
    rig_amx(r);
    rig_const(r, "%%four: f32[] = splat(4)");
    for (int k = 0; k < N_CASES; k++)
        add_case(r, k, &cases[k], whole, ", algo=direct_bf16_amx");
    CHECK_INT_EQ(rig_check(r, runs), 0);
    CHECK_INT_EQ(count_amx(rig_graph(r)), N_CASES);
    rig_free(r);
}

// Sums of small integers are exact in any order: no product is missing or counted twice.
static void is_exact(void) {
    RigRuns runs = {
        .N = {1, 5, 0}, .n = 3, .threads = {1, 2}, .n_threads = 2, .tolerance = 1e-12};
    check_cases(true, &runs);
}

// Those of any numbers are the same bits on any number of threads.
static void agrees(void) {
    RigRuns runs = {.N = {4}, .n = 1, .threads = {1, 3}, .n_threads = 2};
    check_cases(false, &runs);
}

// ---------------------------------------------------------------- what the schedule takes

static int amx_on(const char *mcpu) {
    static const Wgrad usual[] = {{64, 96, 14, 14, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
                                  {32, 48, 14, 14, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
                                  {20, 36, 28, 29, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1},
                                  {3, 64, 35, 30, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3}};
    Rig *r = rig_new(mcpu, 2);
    for (int k = 0; k < 4; k++)
        add_case(r, k, &usual[k], false, "");
    int n = rig_compile(r, NULL) ? count_amx(rig_graph(r)) : -1;
    rig_free(r);
    return n;
}

static void takes_tiles_where_they_are(void) {
    CHECK_INT_EQ(amx_on("sapphirerapids"), 4);
    CHECK_INT_EQ(amx_on("cooperlake"), 0);
    CHECK_INT_EQ(amx_on("x86-64-v3"), 0);
}

// A program asks for what its products take, and says so where it is not there.
static void asks_for_tiles(void) {
    Rig *r = rig_new("sapphirerapids", 2);
    bool skip = false, needs = false;
    add_case(r, 0, &cases[1], false, "");
    CHECK(rig_compile(r, NULL) != NULL);
    HoneModel *m = rig_load(r, 1, &skip);
    for (const uint32_t *n = m ? rt_model_desc(m)->cpu_needs : NULL; n && *n; n++)
        needs |= *n == HONE_CPU_AMX_BF16;
    CHECK(m ? needs : skip);
    CHECK(!m == !amx_is_native());
    hone_destroy(m);
    rig_free(r);
}

// ---------------------------------------------------------------- instructions

enum { DOTS, LOADS, STORES, CONFIGS, RELEASES, N_NAMES };
static const char *const names[N_NAMES] = {"tdpbf16ps", "tileloadd", "tilestored", "ldtilecfg",
                                           "tilerelease"};

static void count_names(const char *object, int *count) {
    char cmd[512], line[1024];
    snprintf(cmd, sizeof cmd, "objdump -d --no-show-raw-insn %s", object);
    FILE *f = popen(cmd, "r");
    while (f && fgets(line, sizeof line, f))
        for (int i = 0; i < N_NAMES; i++)
            count[i] += strstr(line, names[i]) != NULL;
    if (f)
        pclose(f);
}

// Two blocks by two: four products for four loads, nothing on the stack.
static void emits_the_instructions(void) {
    static const Wgrad c = {128, 128, 14, 14, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1};
    Rig *r = rig_new("sapphirerapids", 2);
    CgResult cg;
    int count[N_NAMES] = {0}, loops = 0;
    add_case(r, 0, &c, false, "");
    if (CHECK(rig_compile(r, &cg) != NULL))
        for (int i = 0; i < cg.n_files; i++) {
            count_names(cg.files[i], count);
            CHECK_INT_EQ(spills_count(cg.files[i], &loops), 0);
        }
    CHECK_INT_EQ(count[DOTS], 4);
    CHECK_INT_EQ(count[LOADS], 4 + 4); // and sums
    CHECK_INT_EQ(count[STORES], 4);
    CHECK_INT_EQ(count[CONFIGS], 1);
    CHECK_INT_EQ(count[RELEASES], 1);
    CHECK_INT_EQ(loops, 1);
    rig_free(r);
}

int main(void) {
    if (!amx_is_native())
        fprintf(stderr, "skipped: no amx: the emulator instead of the CPU's own instructions\n");
    CHECK_RUN(is_exact);
    CHECK_RUN(agrees);
    CHECK_RUN(takes_tiles_where_they_are);
    CHECK_RUN(asks_for_tiles);
    CHECK_RUN(emits_the_instructions);
    return check_done();
}
