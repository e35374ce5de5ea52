// Convolutions whose epilogue reads and gives other types than their sums, by every kernel, on
// blocks and plain, with a pool behind, against the evaluator, bit for bit: inputs and weights are
// small integers, so that sums of f32 are exact, or, where Winograd's are not, are rounded back.
#include "ir/conv.h"
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

#include <stdio.h>
#include <string.h>

#define INPUTS                                                                                     \
    "in %%i: i8[N,%1$d,9,10]\nin %%u: u8[N,%2$d,9,10]\nin %%h: bf16[N,%2$d,9,10]\n"                \
    "in %%p: i8[N,%2$d,1,1]\n%%x = cast %%i {to=f32}\n"                                            \
    "const %%q: i8[%2$d,%3$d,%4$d,%4$d] = rand(1)\n%%w = cast %%q {to=f32}\n"                      \
    "const %%r: i8[%2$d,1,1] = rand(2)\n%%c = cast %%r {to=f32}\nconst %%z: f32[] = splat(5)\n"

#define EPILOGUE                                                                                   \
    "then=[cast(3, to=f32), cast(4, to=f32), cast(6, to=f32), round(s1), add(acc, s0), "           \
    "add(s4, s3), add(s5, 5), sub(s6, s2), round(s7), add(s8, 7), "                                \
    "clip(s9, min=%7$d, max=%8$d), cast(s10, to=%6$s)]"

#define CONV                                                                                       \
    "%%y = conv %%x, %%w, _, %%u, %%h, %%c, %%p, %%z {pad=[%5$d,%5$d,%5$d,%5$d], "                 \
    "group=%9$d%10$s, " EPILOGUE

static const struct {
    int C, O, k, pad, group;
    const char *how;
} convs[] = {
    {20, 33, 3, 1, 1, ""},
    {24, 32, 1, 0, 1, ""},
    {3, 19, 3, 1, 1, ""},
    {32, 32, 3, 1, 8, ""},
    {21, 21, 3, 1, 21, ""},
    {32, 48, 3, 1, 1, ", algo=\"winograd4\", tile=[vecs=2,out_rows=4,out_cols=4,block=7]"},
    {32, 33, 3, 1, 1, ", algo=\"winograd2\", tile=[vecs=1,out_rows=2,out_cols=2,block=7]"},
    {64, 64, 1, 0, 1, ", algo=\"strassen\", tile=[rows=3,cols=1,vecs=2,band=2]"},
};
enum { CONVS = sizeof convs / sizeof *convs };
static const struct {
    const char *name;
    int low, high;
} types[] = {{"u8", 0, 255}, {"i8", -128, 127}, {"bf16", -200, 200}, {"f32", -99, 99}};
enum { TYPES = 4 };

static void add_conv(Rig *r, int k, int i, int t) {
    case_add(r, k, INPUTS CONV "}\n%%v = max_pool %%y {kernel=[1,1]}\nout %%v", convs[i].C,
             convs[i].O, convs[i].C / convs[i].group, convs[i].k, convs[i].pad, types[t].name,
             types[t].low, types[t].high, convs[i].group, convs[i].how);
}

static void epilogues(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < CONVS * 2; k++) {
            add_conv(r, k, k / 2, k % 2 ? 1 + k / 2 % (TYPES - 1) : 0);
        }
        CHECK_INT_EQ(case_check(r, 0, true), 0);
    }
}

// Weights that are not constant: one result at a time, operands that broadcast anyhow.
static const char *const plain[] = {
    "in %x: u8[N,6,7,8]\nin %w: i8[4,3,3,3]\nin %b: i32[4]\nin %s: f32[4,1,1]\nin %u: u8[N,4,7,8]\n"
    "in %r: bf16[N,1,7,1]\n%y = conv %x, %w, %b, %s, %u, %r {zero=3, group=2, pad=[1,1,1,1], "
    "then=[cast(acc, to=f32), cast(4, to=f32), cast(5, to=f32), round(s2), add(s0, s1), "
    "add(s4, s3), mul(s5, 3), round(s6), clip(s7, min=0, max=255), cast(s8, to=u8)]}\nout %y",
    "in %x: i8[N,5,6,6]\nconst %w: i8[7,5,2,2] = rand(1)\nconst %z: f32[] = splat(-3)\n"
    "%y = conv %x, %w, _, %z {zero=-2, stride=[2,1], then=[cast(acc, to=f32), add(s0, 3), "
    "round(s1), cast(s2, to=i8)]}\nout %y",
    NULL};

static void elements(void) {
    CHECK_INT_EQ(case_check_all(plain, 0, true), 0);
}

// A pool behind the epilogue is taken in: rows wait for it as they will be stored.
static void pools(void) {
    static const char *const machines[] = {"native", "x86-64-v3", "generic"};
    for (int t = 0; t < 3; t++) {
        Rig *r = rig_new(machines[t], 3);
        for (int k = 0; k < 4; k++) {
            bool bytes = k % 2;
            case_add(
                r, k,
                "in %%i: %1$s[N,%2$d,23,30]\nconst %%w: i8[37,%2$d,3,3] = rand(1)\n"
                "const %%r: i8[37,1,1] = rand(2)\n%%s = cast %%r {to=f32}\n"
                "const %%z: f32[] = splat(77)\n%%v = cast %%w {to=f32}\n%%x = cast %%i {to=f32}\n"
                "%%c = conv %3$s, _, %%s, %%z {%5$spad=[1,1,1,1], then=[%4$s, add(s0, 3), "
                "round(s1), "
                "add(s2, 4), clip(s3, min=0, max=255), cast(s4, to=u8)]}\n"
                "%%y = max_pool %%c {kernel=[3,3], stride=[2,2], pad=[1,1,1,1]}\nout %%y",
                bytes ? "u8" : "i8", k < 2 ? 3 : 20, bytes ? "%i, %w" : "%x, %v",
                bytes ? "cast(acc, to=f32)" : "relu(acc)", bytes ? "zero=5, " : "");
        }
        RigRuns runs = {.N = {1, 3, 0}, .n = 3, .threads = {1, 2, 3}, .n_threads = 3};
        CHECK_INT_EQ(rig_check(r, &runs), 0);
        int taken = 0;
        for (const IrNode *n = rig_graph(r)->first; n; n = n->next) {
            IrConvAlgo algo = IR_CONV_DIRECT;
            bool tiles = n->op == IR_OP_CONV && ir_conv_algo(n, &algo) &&
                         algo == IR_CONV_DIRECT_INT8_AMX; // matrix tiles take no pool in yet
            taken += n->op == IR_OP_CONV && (tiles || ir_attr(n, IR_ATTR_POOL));
        }
        CHECK_INT_EQ(taken, 4);
        rig_free(r);
    }
}

int main(void) {
    CHECK_RUN(epilogues);
    CHECK_RUN(elements);
    CHECK_RUN(pools);
    return check_done();
}
