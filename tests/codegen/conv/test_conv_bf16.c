// Convolutions of bf16 against the evaluator: products of pairs, by the instruction for them or as
// f32, sums in f32, rounded where they are stored; kernel sizes, strides, groups, odd channel
// counts, epilogues.
#include "ir/conv.h"
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

typedef struct Conv {
    int C, H, W, O, kh, kw, s, p, group;
} Conv;

static const Conv shapes[] = {
    {16, 4, 4, 16, 1, 1, 1, 0, 1},    {17, 5, 3, 33, 1, 1, 1, 0, 1},
    {64, 7, 7, 128, 1, 1, 1, 0, 1},   {24, 9, 9, 80, 1, 1, 2, 0, 1},
    {3, 20, 22, 40, 7, 7, 2, 3, 1},   {1, 9, 9, 20, 5, 5, 1, 2, 1},
    {2, 8, 9, 16, 3, 3, 1, 1, 1},     {4, 9, 7, 24, 3, 3, 2, 1, 1},
    {32, 14, 14, 32, 3, 3, 1, 1, 1},  {16, 28, 29, 80, 3, 3, 2, 1, 1},
    {7, 3, 3, 9, 7, 7, 1, 3, 1},      {130, 6, 6, 70, 3, 3, 1, 1, 1},
    {64, 9, 9, 64, 3, 3, 1, 1, 2},    {40, 6, 7, 40, 3, 3, 1, 1, 5},
    {64, 14, 14, 64, 3, 3, 2, 1, 8},  {32, 14, 14, 32, 3, 3, 1, 1, 32},
    {19, 12, 12, 19, 5, 5, 1, 2, 19},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

// A constant bias, one that is computed, none; a residual's place is taken by a scale per channel.
// Then as the pass bf16 has it: sums stay f32 until they are stored, biases are f32, a residual is
// widened, and weights are computed.
static const char *const forms[] = {
    "in %%x: bf16[N,%1$d,%2$d,%3$d]\nconst %%w: bf16[%4$d,%10$d,%5$d,%6$d] = rand(1)\n"
    "const %%b: bf16[%4$d] = rand(2)\n"
    "%%c = conv %%x, %%w, %%b {stride=[%7$d,%7$d], pad=[%8$d,%8$d,%8$d,%8$d], group=%9$d}\n"
    "%%y = relu %%c\nout %%y",
    "in %%x: bf16[N,%1$d,%2$d,%3$d]\nconst %%w: bf16[%4$d,%10$d,%5$d,%6$d] = rand(1)\n"
    "in %%v: bf16[%4$d]\n%%b = relu %%v\n"
    "%%c = conv %%x, %%w, %%b {stride=[%7$d,%7$d], pad=[%8$d,%8$d,%8$d,%8$d], group=%9$d}\n"
    "out %%c",
    "in %%x: bf16[N,%1$d,%2$d,%3$d]\nconst %%w: bf16[%4$d,%10$d,%5$d,%6$d] = rand(1)\n"
    "const %%k: bf16[%4$d,1,1] = rand(3)\n"
    "%%c = conv %%x, %%w {stride=[%7$d,%7$d], pad=[%8$d,%8$d,%8$d,%8$d], group=%9$d}\n"
    "%%y = mul %%c, %%k\nout %%y",
    "in %%x: bf16[N,%1$d,%2$d,%3$d]\nconst %%w: bf16[%4$d,%10$d,%5$d,%6$d] = rand(1)\n"
    "const %%b: f32[%4$d] = rand(2)\nin %%v: f32[%4$d]\n%%a = relu %%v\n"
    "in %%i: f32[%4$d,%10$d,%5$d,%6$d]\n%%u = cast %%i {to=bf16}\n"
    "%%t = conv %%x, %%u, %%a {stride=[%7$d,%7$d], pad=[%8$d,%8$d,%8$d,%8$d], group=%9$d, to=f32}\n"
    "%%c = conv %%x, %%w, %%a {stride=[%7$d,%7$d], pad=[%8$d,%8$d,%8$d,%8$d], group=%9$d, to=f32, "
    "then=[cast(acc, to=bf16)]}\n"
    "%%y = conv %%x, %%w, %%b, %%c {stride=[%7$d,%7$d], pad=[%8$d,%8$d,%8$d,%8$d], group=%9$d, "
    "to=f32, then=[cast(3, to=f32), add(acc, s0), relu(s1), cast(s2, to=bf16)]}\n"
    "%%s = conv %%x, %%w {stride=[%7$d,%7$d], pad=[%8$d,%8$d,%8$d,%8$d], group=%9$d, to=f32}\n"
    "out %%y\nout %%s\nout %%t",
};
enum { FORMS = sizeof forms / sizeof *forms };

// Channels that are no pairs are computed one result at a time, unless they are few.
static int count_slow(const IrGraph *g) {
    int n = 0;
    IrConvAlgo algo;
    for (const IrNode *i = g->first; i; i = i->next) {
        bool pairs = i->op == IR_OP_CONV && (ir_in(i, 0)->type.shape.dim[1].c % 2 == 0 ||
                                             ir_in(i, 0)->type.shape.dim[1].c <= 4);
        n += pairs && (!ir_conv_algo(i, &algo) || algo == IR_CONV_ELEMENTS);
    }
    return n;
}

static void convolves_pairs(void) {
    static const CaseTarget more[] = {{"sapphirerapids", 2}, {"neoverse-v1", 2}, {"aarch64", 2}};
    for (int t = 0; t < CASE_TARGETS + 3; t++) {
        CaseTarget on = t < CASE_TARGETS ? case_targets[t] : more[t - CASE_TARGETS];
        Rig *r = rig_new(on.mcpu, on.opt_level);
        rig_amx(r);
        for (int k = 0; k < N_SHAPES * FORMS; k++) {
            const Conv *c = &shapes[k / FORMS];
            case_add(r, k, forms[k % FORMS], c->C, c->H, c->W, c->O, c->kh, c->kw, c->s, c->p,
                     c->group, c->C / c->group);
        }
        RigRuns runs = {.N = {2, 1, 5},
                        .n = t < CASE_TARGETS ? 3 : 1,
                        .threads = {1, 2, 3},
                        .n_threads = 3,
                        .tolerance = 8e-3};
        CHECK_INT_EQ(rig_check(r, &runs), 0);
        CHECK_INT_EQ(rig_graph(r) ? count_slow(rig_graph(r)) : -1, 0);
        rig_free(r);
    }
}

// In a graph: convolutions by this algorithm, with a pool behind them where `pool` is set.
static int count_algo(Rig *r, IrConvAlgo want, bool pool) {
    int n = 0;
    IrConvAlgo algo;
    for (const IrNode *i = rig_graph(r)->first; i; i = i->next) {
        n += i->op == IR_OP_CONV && ir_conv_algo(i, &algo) && algo == want &&
             !ir_attr(i, IR_ATTR_POOL) == !pool;
    }
    return n;
}

// Winograd's algorithms on bf16: transforms in f32 of the weights' pairs and of what is widened,
// with odd tiles, edges, pairs of a last block, images in a concat.
static void transforms_pairs(void) {
    static const struct {
        int C, H, W, O, kh, kw, ph, pw, mh, mw;
    } shapes[] = {{32, 14, 14, 32, 3, 3, 1, 1, 4, 4}, {18, 9, 23, 33, 3, 3, 1, 1, 4, 4},
                  {40, 7, 9, 20, 3, 3, 0, 0, 2, 2},   {16, 3, 5, 16, 3, 3, 2, 2, 4, 2},
                  {32, 9, 11, 48, 1, 7, 0, 3, 1, 4},  {24, 9, 8, 32, 5, 5, 2, 2, 2, 2}};
    enum { SHAPES = sizeof shapes / sizeof *shapes };
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        rig_winograd(r, true);
        for (int k = 0; k < SHAPES; k++) {
            int m = shapes[k].mh > shapes[k].mw ? shapes[k].mh : shapes[k].mw;
            case_add(
                r, k,
                "in %%x: bf16[N,%1$d,%2$d,%3$d]\nconst %%w: bf16[%4$d,%1$d,%5$d,%6$d] = rand(1)\n"
                "const %%b: f32[%4$d] = rand(2)\n"
                "%%c = conv %%x, %%w, %%b {pad=[%7$d,%8$d,%7$d,%8$d], to=f32, "
                "then=[relu(acc), cast(s0, to=bf16)], algo=\"winograd%11$d\", "
                "tile=[vecs=2,out_rows=%9$d,out_cols=%10$d,block=5]}\n"
                "in %%i: f32[%4$d,%1$d,%5$d,%6$d]\n%%u = cast %%i {to=bf16}\n"
                "%%d = conv %%x, %%u, %%b {pad=[%7$d,%8$d,%7$d,%8$d], to=f32, "
                "then=[cast(acc, to=bf16)], algo=\"winograd%11$d\", "
                "tile=[vecs=1,out_rows=%9$d,out_cols=%10$d,block=4]}\n"
                "%%j = concat %%c, %%d {axis=1}\nout %%j",
                shapes[k].C, shapes[k].H, shapes[k].W, shapes[k].O, shapes[k].kh, shapes[k].kw,
                shapes[k].ph, shapes[k].pw, shapes[k].mh, shapes[k].mw, m);
        }
        RigRuns runs = {.N = {1, 3}, .n = 2, .threads = {1, 3}, .n_threads = 2, .tolerance = 8e-3};
        CHECK_INT_EQ(rig_check(r, &runs), 0);
        CHECK_INT_EQ(rig_graph(r) ? count_algo(r, IR_CONV_WINOGRAD2, false) +
                                        count_algo(r, IR_CONV_WINOGRAD4, false)
                                  : -1,
                     2 * SHAPES);
        rig_free(r);
    }
}

static void pools_pairs(void) {
    static const char *const pools[] = {"kernel=[3,3], stride=[2,2], pad=[1,1,1,1]",
                                        "kernel=[2,2], stride=[2,2], ceil=1"};
    static const char *const targets[] = {"native", "x86-64-v3", "generic"};
    for (int t = 0; t < 3; t++) {
        Rig *r = rig_new(targets[t], 3);
        for (int k = 0; k < 4; k++) {
            case_add(r, k,
                     "in %%x: bf16[N,%1$d,41,37]\nconst %%w: bf16[%2$d,%1$d,3,3] = rand(1)\n"
                     "const %%b: f32[%2$d] = rand(2)\n"
                     "%%c = conv %%x, %%w, %%b {stride=[2,2], pad=[1,1,1,1], to=f32, "
                     "then=[relu(acc), cast(s0, to=bf16)]}\n%%y = max_pool %%c {%3$s}\nout %%y",
                     k < 2 ? 3 : 16, k % 2 ? 24 : 64, pools[k % 2]);
        }
        RigRuns runs = {
            .N = {1, 2}, .n = 2, .threads = {1, 2, 3}, .n_threads = 3, .tolerance = 8e-3};
        CHECK_INT_EQ(rig_check(r, &runs), 0);
        // Matrix tiles pool nothing yet: there the pool stays a node of its own.
        CHECK_INT_EQ(rig_graph(r) ? count_algo(r, IR_CONV_DIRECT_BF16, true) +
                                        count_algo(r, IR_CONV_DIRECT_BF16_AMX, false)
                                  : -1,
                     4);
        rig_free(r);
    }
}

int main(void) {
    CHECK_RUN(transforms_pairs);
    CHECK_RUN(pools_pairs);
    CHECK_RUN(convolves_pairs);
    return check_done();
}
