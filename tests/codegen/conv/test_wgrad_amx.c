// conv_wgrad on matrix tiles against the evaluator: kernel sizes, strides, dilations, padding even
// and not, channels that fill no block, groups of blocks and bands of images more than one, odd
// numbers of images; on the machine code that an AMX machine runs (rig/amx.h). Also: that products
// are the instructions they should be and stay in registers, and what the schedule takes there.
#include "ir/conv.h"
#include "runtime/core/cpu_features.h"
#include "runtime/core/rt.h"
#include "tests/check.h"
#include "tests/codegen/conv/conv_sizes.h"
#include "tests/codegen/conv/spills.h"
#include "tests/codegen/rig/amx.h"
#include "tests/codegen/rig/rig.h"

#include <string.h>

static const Conv cases[] = {
    // 1x1: by x and by dy, blocks even and odd, images of odd sizes, of one pixel, strides, padding
    {16, 4, 4, 16, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {64, 14, 14, 96, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {96, 14, 14, 64, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {24, 17, 17, 70, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {70, 7, 7, 24, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {48, 15, 14, 64, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0, 1},
    {48, 15, 14, 40, 1, 1, 2, 3, 1, 1, 1, 0, 0, 2, 1},
    {7, 1, 1, 40, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {16, 5, 5, 16, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {32, 61, 60, 48, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {800, 2, 3, 1100, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    // 3x3: rows cut into bands, whole images, strides, padding none, on one side, wider than taps
    {32, 14, 14, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {64, 7, 7, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {17, 40, 41, 33, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {20, 28, 29, 36, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1},
    {32, 57, 56, 32, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1},
    {8, 6, 6, 24, 3, 3, 1, 1, 1, 1, 0, 0, 2, 2, 1},
    {5, 9, 9, 6, 3, 3, 3, 3, 1, 1, 1, 1, 0, 0, 1},
    {16, 2, 2, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {16, 2, 2, 16, 5, 5, 1, 1, 1, 1, 4, 4, 4, 4, 1},
    {80, 9, 9, 100, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {208, 5, 4, 240, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    // x of few channels, in planes
    {3, 35, 30, 64, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3, 1},
    {1, 12, 13, 20, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, 1},
    {4, 8, 8, 7, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {2, 9, 40, 33, 3, 3, 1, 1, 2, 6, 2, 6, 2, 6, 1},
    {3, 35, 35, 40, 11, 11, 4, 4, 1, 1, 2, 2, 2, 2, 1},
    // others: wide and high kernels, more taps than a tile has rows, dilations beside strides
    {24, 17, 17, 48, 1, 7, 1, 1, 1, 1, 0, 3, 0, 3, 1},
    {24, 17, 17, 48, 7, 1, 1, 1, 1, 1, 3, 0, 3, 0, 1},
    {16, 12, 12, 32, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, 1},
    {16, 15, 18, 32, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3, 1},
    {33, 10, 9, 17, 3, 3, 1, 2, 2, 1, 2, 1, 2, 1, 1},
    {16, 14, 15, 20, 3, 3, 1, 1, 4, 5, 4, 5, 4, 5, 1},
    {16, 14, 15, 20, 3, 2, 2, 2, 2, 3, 2, 1, 0, 3, 1},
    {16, 14, 15, 20, 4, 2, 3, 2, 1, 4, 0, 3, 5, 2, 1},
};
enum { N_CASES = sizeof cases / sizeof *cases };

// What operands are: inputs of this type, or whole numbers below x and d. Of more than 8 bits f32
// takes two terms; of both operands at once their product would round.
typedef struct Numbers {
    const char *type;
    int x, d;
} Numbers;
static const Numbers bf16 = {"bf16", 0, 0}, bf16_whole = {"bf16", 4, 4}, f32 = {"f32", 0, 0},
                     f32_wide_x = {"f32", 1000, 4}, f32_wide_dy = {"f32", 4, 1000};

static void add_whole(Rig *r, int k, const Numbers *type) {
    rig_node(r, "%%p%1$d = mul %%x%1$d, %%most_x\n%%q%1$d = mul %%d%1$d, %%most_d", k);
    rig_node(r, "%%i%1$d = floor %%p%1$d\n%%j%1$d = floor %%q%1$d", k);
    if (type == &bf16_whole)
        rig_node(r, "%%a%1$d = cast %%i%1$d {to=bf16}\n%%b%1$d = cast %%j%1$d {to=bf16}", k);
}

static void add_case(Rig *r, int k, const Conv *c, const Numbers *type, const char *algo) {
    int oh = conv_out_height(c), ow = conv_out_width(c);
    bool whole = type->x, cast = type == &bf16_whole;
    const char *x = !whole ? "x" : cast ? "a" : "i", *d = !whole ? "d" : cast ? "b" : "j";
    const char *input = whole ? "f32" : type->type;
    rig_input(r, "%%x%d: %s[N,%d,%d,%d]", k, input, c->C, c->H, c->W);
    rig_input(r, "%%d%d: %s[N,%d,%d,%d]", k, input, c->O, oh, ow);
    if (whole)
        add_whole(r, k, type);
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

// Of f32, x in planes is not for tiles.
static bool is_for_tiles(const Numbers *type, const Conv *c) {
    return c->C > 4 || !strcmp(type->type, "bf16");
}

static void check_cases(const Numbers *type, const RigRuns *runs) {
    Rig *r = rig_new("sapphirerapids", 2);
    int n = 0;
    rig_amx(r);
    rig_winograd(r, true);
    rig_const(r, "%%most_x: f32[] = splat(%d)", type->x);
    rig_const(r, "%%most_d: f32[] = splat(%d)", type->d);
    for (int k = 0; k < N_CASES; k++)
        if (is_for_tiles(type, &cases[k]))
            add_case(r, n++, &cases[k], type, ", algo=direct_bf16_amx");
    CHECK_INT_EQ(rig_check(r, runs), 0);
    CHECK_INT_EQ(count_amx(rig_graph(r)), n);
    rig_free(r);
}

// Sums of small integers are exact in any order: no product is missing or counted twice.
static void is_exact(void) {
    RigRuns runs = {.N = {1, 5, 0}, .n = 3, .threads = {1, 2}, .n_threads = 2, .tolerance = 1e-12};
    check_cases(&bf16_whole, &runs);
    check_cases(&f32_wide_x, &runs);
    check_cases(&f32_wide_dy, &runs);
}

// Those of any numbers are the same bits on any number of threads.
static void agrees(void) {
    RigRuns runs = {.N = {4}, .n = 1, .threads = {1, 3}, .n_threads = 2};
    check_cases(&bf16, &runs);
    check_cases(&f32, &runs);
}

// ---------------------------------------------------------------- what the schedule takes

static int amx_on(const char *mcpu, const Numbers *type, bool rounds) {
    static const Conv usual[] = {{64, 14, 14, 96, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
                                 {32, 14, 14, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
                                 {20, 28, 29, 36, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1},
                                 {3, 35, 30, 64, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3, 1}};
    Rig *r = rig_new(mcpu, 2);
    rig_winograd(r, rounds);
    for (int k = 0; k < 4; k++)
        add_case(r, k, &usual[k], type, "");
    int n = rig_compile(r, NULL) ? count_amx(rig_graph(r)) : -1;
    rig_free(r);
    return n;
}

static void takes_tiles_where_they_are(void) {
    CHECK_INT_EQ(amx_on("sapphirerapids", &bf16, false), 4);
    CHECK_INT_EQ(amx_on("cooperlake", &bf16, false), 0);
    CHECK_INT_EQ(amx_on("x86-64-v3", &bf16, false), 0);
    CHECK(amx_on("sapphirerapids", &f32, true) > 0);
    CHECK_INT_EQ(amx_on("sapphirerapids", &f32, false), 0);
    CHECK_INT_EQ(amx_on("cooperlake", &f32, true), 0);
}

// A program asks for what its products take, and says so where it is not there.
static void asks_for_tiles(void) {
    Rig *r = rig_new("sapphirerapids", 2);
    bool skip = false, needs = false;
    add_case(r, 0, &cases[1], &bf16, "");
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

// Two blocks by two: four products for each four loads that are not of tiles that are there,
// nothing on the stack.
static void emits_the_instructions(const Numbers *type, int dots, int loads) {
    static const Conv c = {128, 14, 14, 128, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    Rig *r = rig_new("sapphirerapids", 2);
    CgResult cg;
    int count[N_NAMES] = {0}, loops = 0;
    rig_winograd(r, true);
    add_case(r, 0, &c, type, ", algo=direct_bf16_amx");
    if (CHECK(rig_compile(r, &cg) != NULL))
        for (int i = 0; i < cg.n_files; i++) {
            count_names(cg.files[i], count);
            CHECK_INT_EQ(spills_count(cg.files[i], &loops), 0);
        }
    CHECK_INT_EQ(count[DOTS], dots);
    CHECK_INT_EQ(count[LOADS], loads + 4); // and sums
    CHECK_INT_EQ(count[STORES], 4);
    CHECK_INT_EQ(count[CONFIGS], 1);
    CHECK_INT_EQ(count[RELEASES], 1);
    CHECK_INT_EQ(loops, 1);
    rig_free(r);
}

static void emits_products_of_bf16(void) {
    emits_the_instructions(&bf16, 4, 4);
}

static void emits_products_of_f32(void) {
    emits_the_instructions(&f32, 12, 8);
}

int main(void) {
    if (!amx_is_native())
        fprintf(stderr, "skipped: no amx: the emulator instead of the CPU's own instructions\n");
    CHECK_RUN(is_exact);
    CHECK_RUN(agrees);
    CHECK_RUN(takes_tiles_where_they_are);
    CHECK_RUN(asks_for_tiles);
    CHECK_RUN(emits_products_of_bf16);
    CHECK_RUN(emits_products_of_f32);
    return check_done();
}
