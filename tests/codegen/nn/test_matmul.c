// matmul against the evaluator: constant and runtime b, transposed operands, broadcast batches,
// bias, epilogues, tails of rows and columns, N on any axis, other dtypes.
#include "runtime/core/rt.h"
#include "tests/check.h"
#include "tests/codegen/conv/spills.h"
#include "tests/codegen/rig/cases.h"

#include <stdio.h>
#include <string.h>

static const struct {
    int K, M;
} sizes[] = {{20, 10}, {64, 1000}, {33, 64}, {7, 3}, {512, 129}, {1, 17}};
enum { SIZES = sizeof sizes / sizeof *sizes };

static const char *const forms[] = {
    // K, M
    "in %%x: f32[N,%1$d]\nconst %%w: f32[%1$d,%2$d] = rand(1)\nconst %%v: f32[%2$d] = rand(2)\n"
    "%%y = matmul %%x, %%w, %%v\nout %%y",
    "in %%x: f32[N,7,%1$d]\nconst %%w: f32[%1$d,%2$d] = rand(1)\nconst %%v: f32[%2$d] = rand(2)\n"
    "%%m = matmul %%x, %%w\n%%a = add %%m, %%v\n%%y = relu %%a\nout %%y",
    "in %%x: f32[13,%1$d]\nconst %%w: f32[%1$d,%2$d] = rand(1)\nin %%v: f32[%2$d]\n"
    "%%m = matmul %%x, %%w\n%%y = mul %%m, %%v\nout %%y",
    "in %%x: f32[N,%1$d]\nconst %%w: f32[%2$d,%1$d] = rand(1)\nconst %%v: f32[1,%2$d] = rand(2)\n"
    "%%y = matmul %%x, %%w, %%v {trans_b=1}\nout %%y",
    "in %%x: f32[%1$d,N]\nconst %%w: f32[%1$d,%2$d] = rand(1)\n"
    "%%y = matmul %%x, %%w {trans_a=1}\nout %%y",
    "in %%x: f32[3,%1$d,N]\nconst %%w: f32[%1$d,%2$d] = rand(1)\nin %%v: f32[N,1]\n"
    "%%m = matmul %%x, %%w {trans_a=1}\n%%y = add %%m, %%v\nout %%y",
    "in %%x: f32[N,%1$d]\nconst %%w: f32[%1$d,%2$d] = rand(1)\nin %%z: f32[N,%2$d]\n"
    "in %%r: f32[N,1]\n%%m = matmul %%x, %%w\n%%b = add %%m, %%z\n%%c = mul %%b, %%r\n"
    "%%y = relu %%c\nout %%y",
};
enum { FORMS = sizeof forms / sizeof *forms };

static void classifiers(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        int k = 0;
        for (int s = 0; s < SIZES; s++) {
            for (int i = 0; i < FORMS; i++) {
                case_add(r, k++, forms[i], sizes[s].K, sizes[s].M);
            }
        }
        CHECK_INT_EQ(case_check(r, 4e-6, false), 0);
    }
}

static const struct {
    const char *a, *b; // batch dims
    int R, K, M;
} products[] = {{"", "", 5, 20, 33},       {"N,", "N,", 7, 9, 40},       {"N,3,", "3,", 4, 16, 16},
                {"3,", "N,1,", 13, 5, 70}, {"N,", "1,", 1, 64, 10},      {"", "N,2,", 20, 3, 1},
                {"N,3,", "3,", 1, 33, 7},  {"2,3,", "N,1,3,", 1, 16, 16}};
enum { PRODUCTS = sizeof products / sizeof *products };

static void runtime_operands(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < 4 * PRODUCTS; k++) {
            const char *a = products[k / 4].a, *b = products[k / 4].b;
            int R = products[k / 4].R, K = products[k / 4].K, M = products[k / 4].M;
            int ta = k & 1, tb = k >> 1 & 1;
            case_add(r, k,
                     "in %%x: f32[%s%d,%d]\nin %%z: f32[%s%d,%d]\nin %%q: f32[1,%d]\n"
                     "%%y = matmul %%x, %%z, %%q {trans_a=%d, trans_b=%d}\nout %%y",
                     a, ta ? K : R, ta ? R : K, b, tb ? M : K, tb ? K : M, M, ta, tb);
        }
        CHECK_INT_EQ(case_check(r, 4e-6, false), 0);
    }
}

static const char *const others[] = {
    // panels of three vectors, whole and with a rest; the next one prefetched
    "in %x: f32[N,49,25]\nconst %w: f32[25,96] = rand(1)\nconst %v: f32[96] = rand(2)\n"
    "%y = matmul %x, %w, %v\nout %y",
    "in %x: f32[37N,40]\nconst %w: f32[40,75] = rand(1)\n%y = matmul %x, %w\nout %y",
    "in %x: f32[50,36]\nconst %w: f32[36,288] = rand(1)\n%m = matmul %x, %w\n%y = add %m, %m\n"
    "out %y",
    // panels larger than the cache: tall tiles
    "in %x: f32[N,12500]\nconst %w: f32[12500,70] = rand(1)\n%y = matmul %x, %w\nout %y",
    "in %x: f32[3N,12500]\nconst %w: f32[12500,33] = rand(1)\nconst %v: f32[33] = rand(2)\n"
    "%y = matmul %x, %w, %v\nout %y",
    "in %x: f32[4N,12500]\nconst %w: f32[12500,16] = rand(1)\n%y = matmul %x, %w\nout %y",
    "in %x: f32[5,7]\nin %z: f32[7,N]\n%y = matmul %x, %z\nout %y",
    "in %x: f32[5,N]\nin %z: f32[N,20]\n%y = matmul %x, %z\nout %y",
    "in %x: f32[N,0]\nin %z: f32[0,20]\n%y = matmul %x, %z\nout %y",
    "in %x: f32[4,N,6]\nconst %w: f32[4,6,5] = rand(3)\n%y = matmul %x, %w\nout %y",
    // the means of one image, of several
    "const %w: f32[24,33] = rand(1)\nin %x: f32[1,24,13,2]\n%p = max_pool %x {kernel=[2,2]}\n"
    "%m = reduce_mean %p {axes=[2,3], keepdims=0}\n%y = matmul %m, %w\nout %y",
    "const %w: f32[5,8] = rand(1)\nin %x: f32[7,8,3,3]\n%p = max_pool %x {kernel=[2,2]}\n"
    "%m = reduce_mean %p {axes=[2,3], keepdims=0}\n%y = matmul %m, %w {trans_b=1}\nout %y",
    "in %x: f64[N,7]\nin %z: f64[7,9]\n%y = matmul %x, %z\nout %y",
    "in %x: i32[N,7]\nin %z: i32[7,9]\n%y = matmul %x, %z\nout %y", NULL};

static void other_forms(void) {
    CHECK_INT_EQ(case_check_all(others, 4e-6, false), 0);
}

// Global mean pools inside products: rests of channels, long sums, weights small and large, batches
// in several parts.
static const struct {
    int K, H, W, M, O; // the map is [O*N,K,H,W]
} maps[] = {{20, 7, 7, 10, 1},    {16, 2, 1, 70, 3}, {33, 2, 3, 129, 1},   {2100, 3, 2, 40, 1},
            {512, 5, 1, 1000, 9}, {3, 4, 4, 1, 20},  {2049, 1, 3, 100, 13}};
enum { MAPS = sizeof maps / sizeof *maps };

static const char *const means[] = {
    // K, H, W, M, N
    "const %%w: f32[%1$d,%4$d] = rand(1)\nin %%x: f32[%5$s,%1$d,%2$d,%3$d]\n"
    "%%p = max_pool %%x {kernel=[2,2], pad=[0,0,1,1]}\n%%m = reduce_mean %%p {axes=[2,3]}\n"
    "%%r = reshape %%m {shape=[%5$s,%1$d]}\n%%y = matmul %%r, %%w\nout %%y",
    "const %%w: f32[%4$d,%1$d] = rand(1)\nconst %%v: f32[%4$d] = rand(2)\n"
    "in %%x: f32[%5$s,%1$d,%2$d,%3$d]\nin %%z: f32[%5$s,%4$d]\n"
    "%%p = max_pool %%x {kernel=[2,2], pad=[0,0,1,1]}\n%%m = reduce_mean %%p {axes=[2,3], "
    "keepdims=0}\n"
    "%%g = matmul %%m, %%w, %%v {trans_b=1}\n%%a = add %%g, %%z\n%%y = relu %%a\nout %%y",
};

static int count_means(IrGraph *g) {
    int n = 0;
    for (const IrNode *i = g->first; i; i = i->next) {
        n += ir_int(i, IR_ATTR_MEAN, 0) != 0;
    }
    return n;
}

static void pooled_operands(void) {
    RigRuns runs = {
        .N = {1, 2, 3, 0}, .n = 4, .threads = {1, 2, 3}, .n_threads = 3, .tolerance = 4e-6};
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < 2 * MAPS; k++) {
            char N[16];
            snprintf(N, sizeof N, "%dN", maps[k / 2].O);
            case_add(r, k, means[k % 2], maps[k / 2].K, maps[k / 2].H, maps[k / 2].W, maps[k / 2].M,
                     N);
        }
        CHECK_INT_EQ(rig_check(r, &runs), 0);
        if (rig_graph(r)) {
            CHECK_INT_EQ(count_means(rig_graph(r)), case_targets[t].opt_level < 2 ? 0 : 2 * MAPS);
        }
        rig_free(r);
    }
}

// Weights from beyond L2: what a single row's zeros meet is left out. Long sums, means of which
// some are 0, strides, NaNs.
static const char *const sparse[] = {
    "in %x: f32[N,1100]\nconst %w: f32[1100,1030] = rand(1)\n%r = relu %x\n"
    "%y = matmul %r, %w\nout %y",
    "in %x: f32[1100,N]\nconst %w: f32[700,1100] = rand(1)\nconst %v: f32[700] = rand(2)\n"
    "%r = relu %x\n%m = matmul %r, %w, %v {trans_a=1, trans_b=1}\n%y = relu %m\nout %y",
    "in %x: f32[N,2500]\nconst %w: f32[2500,310] = rand(1)\n%r = relu %x\n"
    "%y = matmul %r, %w\nout %y",
    "in %x: f32[N,1100,2,1]\nconst %w: f32[1100,530] = rand(1)\nconst %b: f32[1,1100,1,1] = "
    "rand(2)\n"
    "%a = add %x, %b\n%c = relu %a\n%p = max_pool %c {kernel=[2,1], pad=[0,0,1,0]}\n"
    "%m = reduce_mean %p {axes=[2,3], keepdims=0}\n%y = matmul %m, %w\nout %y",
    "in %x: f32[N,1100]\nconst %w: f32[1100,530] = rand(1)\n%s = sqrt %x\n"
    "%y = matmul %s, %w\nout %y",
    NULL};
// Weights that are not finite, few weights, more rows than one.
static const char *const dense[] = {
    "in %x: f32[N,1100]\nconst %w: f32[1100,530] = splat(inf)\n%r = relu %x\n"
    "%y = matmul %r, %w\nout %y",
    "in %x: f32[N,110]\nconst %w: f32[110,53] = rand(1)\n%r = relu %x\n"
    "%y = matmul %r, %w\nout %y",
    "in %x: f32[2N,1100]\nconst %w: f32[1100,530] = rand(1)\n%r = relu %x\n"
    "%y = matmul %r, %w\nout %y",
    NULL};

static int count_nonzero(const char *const *texts) {
    CgResult result;
    Rig *r = rig_new("x86-64-v3", 2);
    for (int k = 0; texts[k]; k++) {
        case_add(r, k, "%s", texts[k]);
    }
    CHECK(rig_compile(r, &result));
    int n = rig_count(r, "nonzero");
    rig_free(r);
    return n;
}

static void zeros_of_a_row(void) {
    int n = count_nonzero(sparse);
    CHECK_INT_EQ(case_check_all(sparse, 4e-6, false), 0);
    CHECK_INT_EQ(case_check_all(dense, 4e-6, false), 0);
    CHECK(n < 0 || n == 5); // less: the CPU lacks instructions
    CHECK(n < 0 || count_nonzero(dense) == 0);
}

// Seven products of halves: rows and columns that divide and others, images side by side, panels of
// three vectors and of four, bands, with what stands behind; and what is too small for it.
static const struct {
    const char *rows; // of x, before k
    int K, M;
} halves[] = {{"N,101", 192, 96}, {"2N,53,2", 224, 256}, {"N,197", 384, 256},
              {"130", 192, 288},  {"N,1200", 512, 128},  {"N,95", 192, 96},
              {"N,7,3", 192, 96}, {"N,120", 176, 96},    {"N,101", 1024, 256}};
enum { HALVES = sizeof halves / sizeof *halves };

static const char half_text[] =
    "in %%x: f32[%1$s,%2$d]\nconst %%w: f32[%2$d,%3$d] = rand(1)\nconst %%v: f32[%3$d] = rand(2)\n"
    "in %%r: f32[%1$s,%3$d]\n%%m = matmul %%x, %%w, %%v\n%%g = gelu %%m\n%%y = add %%g, %%r\n"
    "out %%y";

// How many products the program makes so, by the names of its profile.
static int count_halves(const HoneModelDesc *d) {
    int n = 0;
    for (int i = 0; i < d->run.n; i++) {
        n += strcmp(d->nodes[i].algo, "matmul strassen") == 0;
    }
    return n;
}

static void add_halves(Rig *r) {
    rig_winograd(r, true);
    for (int k = 0; k < HALVES; k++) {
        case_add(r, k, half_text, halves[k].rows, halves[k].K, halves[k].M);
    }
}

// Of panels of one vector the last one is small enough for the second level cache.
static void check_halves(const char *mcpu, int some) {
    bool skip = false;
    CgResult cg;
    Rig *r = rig_new(mcpu, 2);
    add_halves(r);
    CHECK(rig_compile(r, &cg) != NULL);
    HoneModel *m = rig_load(r, 1, &skip);
    CHECK(skip || (m && count_halves(rt_model_desc(m)) == some));
    hone_destroy(m);
    rig_free(r);
}

static void seven_products(void) {
    static const CaseTarget targets[] = {
        {"native", 2}, {"x86-64-v4", 2}, {"skylake-avx512", 2}, {"x86-64-v3", 2}};
    for (int t = 0; t < 4; t++) {
        Rig *r = rig_new(targets[t].mcpu, targets[t].opt_level);
        add_halves(r);
        CHECK_INT_EQ(case_check(r, 4e-6, false), 0);
    }
    check_halves("x86-64-v4", 5);
    check_halves("skylake-avx512", 3); // tiles of 9 x 3 where columns divide
    check_halves("x86-64-v3", 6);
    check_halves("x86-64-v2", 0);
}

// Operands that are copied: all forms of both, columns that divide and others, rows that are left
// over, k in one piece and in several, none of it, batches, what follows.
static const char *const copied[] = {
    "in %x: f32[37,20]\nin %z: f32[20,70]\n%y = matmul %x, %z\nout %y",
    "in %x: f32[N,43,33]\nin %z: f32[33,96]\nin %q: f32[96]\n%m = matmul %x, %z, %q\n"
    "%y = gelu %m\nout %y",
    "in %x: f32[11N,50]\nin %z: f32[83,50]\n%y = matmul %x, %z {trans_b=1}\nout %y",
    "in %x: f32[7,33]\nin %z: f32[192,33]\n%m = matmul %x, %z {trans_b=1}\n%y = relu %m\nout %y",
    "in %x: f32[300N,64]\nin %z: f32[300N,130]\n%y = matmul %x, %z {trans_a=1}\nout %y",
    "in %x: f32[65,600N]\nin %z: f32[70,600N]\n%y = matmul %x, %z {trans_b=1}\nout %y",
    "in %x: f32[2100,44]\nin %z: f32[2100,48]\n%y = matmul %x, %z {trans_a=1}\nout %y",
    "in %x: f32[N,3,40,52]\nin %z: f32[N,3,52,40]\n%y = matmul %x, %z\nout %y",
    "in %x: f32[N,3,52,40]\nin %z: f32[3,97,52]\n%y = matmul %x, %z {trans_a=1, trans_b=1}\n"
    "out %y",
    "in %x: f32[2,3,40,20]\nin %z: f32[N,1,3,20,1]\n%y = matmul %x, %z\nout %y",
    NULL};
enum { COPIED = sizeof copied / sizeof *copied - 1 };

static void operands_in_blocks(void) {
    CgResult cg;
    CHECK_INT_EQ(case_check_all(copied, 4e-6, false), 0);
    Rig *r = rig_new("native", 2);
    for (int k = 0; k < COPIED; k++) {
        case_add(r, k, "%s", copied[k]);
    }
    CHECK(rig_compile(r, &cg) != NULL);
    CHECK_INT_EQ(rig_count(r, "matmul blocks"), COPIED);
    rig_free(r);
}

// The same of bf16 on matrix tiles, with odd k, columns and rows, and results of either type.
static const char *const copied_pairs[] = {
    "in %x: bf16[37,20]\nin %z: bf16[20,70]\n%y = matmul %x, %z {to=f32}\nout %y",
    "in %x: bf16[N,43,33]\nin %z: bf16[33,96]\nin %q: f32[96]\n%y = matmul %x, %z, %q {to=f32, "
    "then=[gelu(acc), cast(s0, to=bf16)]}\nout %y",
    "in %x: bf16[11N,50]\nin %z: bf16[83,50]\n%y = matmul %x, %z {trans_b=1, to=f32}\nout %y",
    "in %x: bf16[7,33]\nin %z: bf16[192,33]\n%y = matmul %x, %z {trans_b=1, to=f32, "
    "then=[cast(acc, to=bf16)]}\nout %y",
    "in %x: bf16[333N,64]\nin %z: bf16[333N,130]\n%y = matmul %x, %z {trans_a=1, to=f32}\nout %y",
    "in %x: bf16[65,611N]\nin %z: bf16[70,611N]\n%y = matmul %x, %z {trans_b=1, to=f32}\nout %y",
    "in %x: bf16[4200,44]\nin %z: bf16[4200,48]\n%y = matmul %x, %z {trans_a=1, to=f32}\nout %y",
    "in %x: bf16[N,3,40,53]\nin %z: bf16[N,3,53,40]\n%y = matmul %x, %z {to=f32}\nout %y",
    "in %x: bf16[N,3,52,40]\nin %z: bf16[3,97,52]\n%y = matmul %x, %z {trans_a=1, trans_b=1, "
    "to=f32, "
    "then=[cast(acc, to=bf16)]}\n"
    "out %y",
    "in %x: bf16[2,3,40,20]\nin %z: bf16[N,1,3,20,1]\n%y = matmul %x, %z {to=f32}\nout %y",
    NULL};
enum { COPIED_PAIRS = sizeof copied_pairs / sizeof *copied_pairs - 1 };

static void pairs_in_blocks(void) {
    Rig *r = rig_new("sapphirerapids", 2);
    rig_amx(r);
    for (int k = 0; k < COPIED_PAIRS; k++) {
        case_add(r, k, "%s", copied_pairs[k]);
    }
    RigRuns runs = {.N = {1, 2, 5}, .n = 3, .threads = {1, 2, 3}, .n_threads = 3};
    CHECK_INT_EQ(rig_check(r, &runs), 0);
    int n = rig_count(r, "matmul pairs amx");
    CHECK(n < 0 || n == COPIED_PAIRS);
    rig_free(r);
}

// ---------------------------------------------------------------- bytes

static const struct {
    int rows, K, M, zero; // rows: of an image
} bytes[] = {
    {1, 4, 1, 0},       {1, 64, 10, 3},  {1, 1280, 100, 128}, {7, 32, 16, 255}, {197, 96, 70, 99},
    {5, 260, 129, 17},  {13, 12, 64, 0}, {3, 30, 20, 7}, // no whole words
    {1, 4100, 33, 255}, {64, 64, 40, 5}, {9, 384, 20, 1},     {17, 64, 33, 9},  {95, 128, 96, 0},
};
enum { BYTES = sizeof bytes / sizeof *bytes };

// Over the whole range of both factors, plain sums and behind an epilogue that quantises.
#define BYTES_TEXT                                                                                 \
    "in %%i: u8[N,%1$d,%2$d]\nconst %%q: i8[%5$s] = rand(1)\nconst %%a: f32[] = splat(17)\n"       \
    "const %%b: f32[] = splat(16)\n"                                                               \
    "%%x = map %%i, %%a {body=[cast(0, to=f32), mul(s0, 1), cast(s1, to=u8)]}\n"                   \
    "%%w = map %%q, %%b {body=[cast(0, to=f32), mul(s0, 1), cast(s1, to=i8)]}\n"                   \
    "const %%s: f32[%3$d] = rand(2)\nin %%c: i32[%6$s]\nin %%r: u8[N,%1$d,%3$d]\n"                 \
    "%%p = matmul %%x, %%w {zero=%4$d, trans_b=%7$d}\n%%z = matmul %%x, %%w, %%c {trans_b=%7$d}\n" \
    "%%y = matmul %%x, %%w, %%c, %%s, %%r {zero=%4$d, trans_b=%7$d, then=[cast(acc, to=f32), "     \
    "mul(s0, 3), cast(4, to=f32), add(s1, s2), round(s3), clip(s4, min=0, max=255), "              \
    "cast(s5, to=u8)]}\nout %%p\nout %%z\nout %%y"

static int count_dots(const IrGraph *g) {
    int n = 0;
    for (const IrNode *i = g->first; i; i = i->next) {
        n += i->op == IR_OP_MATMUL && ir_in(i, 1)->konst;
    }
    return n;
}

static void products_of_bytes(void) {
    static const CaseTarget targets[] = {
        {"native", 2},         {"x86-64-v4", 2},   {"x86-64-v3", 2},  {"generic", 0},
        {"sapphirerapids", 2}, {"neoverse-v1", 2}, {"neoverse-n1", 2}};
    for (int t = 0; t < 7; t++) {
        Rig *r = rig_new(targets[t].mcpu, targets[t].opt_level);
        rig_amx(r);
        for (int k = 0; k < BYTES; k++) {
            char w[32], c[32];
            int K = bytes[k].K, M = bytes[k].M, trans = k % 2;
            snprintf(w, sizeof w, "%d,%d", trans ? M : K, trans ? K : M);
            snprintf(c, sizeof c, k % 3 ? "%d" : "%d,1", k % 3 ? M : bytes[k].rows);
            case_add(r, k, BYTES_TEXT, bytes[k].rows, K, M, bytes[k].zero, w, c, trans);
        }
        RigRuns runs = {.N = {1, 3, 0}, .n = 3, .threads = {1, 2, 3}, .n_threads = 3};
        CHECK_INT_EQ(rig_check(r, &runs), 0);
        if (rig_graph(r)) {
            CHECK_INT_EQ(count_dots(rig_graph(r)), 3 * BYTES);
        }
        if (!strcmp(targets[t].mcpu, "sapphirerapids")) {
            int n = rig_count(r, "amx");
            CHECK(n < 0 || n == 5 * 3); // those with rows and words enough
        }
        rig_free(r);
    }
}

// Tiles of 6 x 4, 8 x 3, 9 x 3, 8 x 2 of a panel of 4, with what stands behind products in
// transformers.
static void keeps_registers_of(const char *mcpu, const char *then) {
    static const int shapes[][2] = {{384, 1536}, {96, 288}, {384, 96}, {12500, 128}, {768, 192}};
    int loops = 0;
    Rig *r = rig_new(mcpu, 2);
    for (int k = 0; k < 5; k++) {
        rig_const(r, "%%w%d: f32[%d,%d] = rand(%d)", k, shapes[k][0], shapes[k][1], k);
        rig_const(r, "%%b%d: f32[%d] = rand(%d)", k, shapes[k][1], k);
        rig_input(r, "%%x%d: f32[N,49,%d]", k, shapes[k][0]);
        rig_node(r, "%%m%d = matmul %%x%d, %%w%d, %%b%d", k, k, k, k);
        rig_node(r, "%%y%d = %s %%m%d", k, then, k);
        rig_output(r, "%%y%d", k);
    }
    CgResult cg = {0};
    CHECK(rig_compile(r, &cg) != NULL);
    for (int i = 0; i < cg.n_files; i++) {
        if (!strstr(cg.files[i], "weights")) {
            CHECK_INT_EQ(spills_count(cg.files[i], &loops), 0);
        }
    }
    CHECK(loops >= 5);
    rig_free(r);
}

static void keeps_registers(void) {
    keeps_registers_of("x86-64-v4", "gelu");
    keeps_registers_of("skylake-avx512", "gelu");
    if (spills_can_read("neoverse-n1")) {
        keeps_registers_of("neoverse-n1", "relu"); // which leave too few for a gelu
    }
}

// Of bf16: sums in f32, behind an epilogue and as they are, rows that are a batch, a residual.
#define PAIRS_TEXT                                                                                 \
    "in %%x: bf16[N,%1$d,%2$d]\nconst %%w: bf16[%5$s] = rand(1)\nin %%c: f32[%3$d]\n"              \
    "const %%h: bf16[%3$d] = rand(3)\nin %%r: bf16[N,%1$d,%3$d]\n"                                 \
    "%%p = matmul %%x, %%w, %%c {trans_b=%4$d, to=f32}\n%%q = matmul %%x, %%w, %%h "               \
    "{trans_b=%4$d}\n"                                                                             \
    "%%y = matmul %%x, %%w, %%c, %%r {trans_b=%4$d, to=f32, then=[cast(3, to=f32), add(acc, s0), " \
    "relu(s1), cast(s2, to=bf16)]}\nout %%p\nout %%q\nout %%y"

static void products_of_pairs(void) {
    static const struct {
        int rows, K, M;
    } pairs[] = {{1, 2, 1},    {1, 64, 10},  {5, 64, 33},    {7, 130, 64}, {2, 4100, 40},
                 {50, 32, 96}, {33, 96, 40}, {37, 256, 160}, {13, 7, 20}}; // the last are no pairs
    enum { PAIRS = sizeof pairs / sizeof *pairs };
    static const CaseTarget more[] = {
        {"sapphirerapids", 2}, {"neoverse-v1", 2}, {"neoverse-n1", 2}};
    for (int t = 0; t < CASE_TARGETS + 3; t++) {
        bool amx = t == CASE_TARGETS;
        CaseTarget on = t < CASE_TARGETS ? case_targets[t] : more[t - CASE_TARGETS];
        Rig *r = rig_new(on.mcpu, on.opt_level);
        rig_amx(r);
        for (int k = 0; k < PAIRS; k++) {
            char w[32];
            int K = pairs[k].K, M = pairs[k].M, trans = k % 2;
            snprintf(w, sizeof w, "%d,%d", trans ? M : K, trans ? K : M);
            case_add(r, k, PAIRS_TEXT, pairs[k].rows, K, M, trans, w);
        }
        RigRuns runs = {
            .N = {1, 2, 5}, .n = 3, .threads = {1, 2, 3}, .n_threads = 3, .tolerance = 8e-3};
        CHECK_INT_EQ(rig_check(r, &runs), 0);
        int n = amx ? rig_count(r, "amx") : -1;
        CHECK(n < 0 || n == 3 * 3); // those with rows and words enough
        rig_free(r);
    }
}

int main(void) {
    CHECK_RUN(keeps_registers);
    CHECK_RUN(products_of_pairs);
    CHECK_RUN(products_of_bytes);
    CHECK_RUN(classifiers);
    CHECK_RUN(runtime_operands);
    CHECK_RUN(other_forms);
    CHECK_RUN(pooled_operands);
    CHECK_RUN(zeros_of_a_row);
    CHECK_RUN(operands_in_blocks);
    CHECK_RUN(pairs_in_blocks);
    CHECK_RUN(seven_products);
    return check_done();
}
