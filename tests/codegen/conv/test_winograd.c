// Winograd kernels against the evaluator: each output tile at odd sizes, strides, groups, paddings
// and channel counts, with every epilogue, in slices of a concat, for every vector width, N and
// number of threads; block sizes that leave each kind of remainder.
#include "runtime/core/rt.h"
#include "tests/check.h"
#include "tests/codegen/conv/spills.h"
#include "tests/codegen/rig/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *target;

typedef struct Conv {
    int C, H, W, O, kh, kw, pt, pl, pb, pr;
    int mh, mw, vecs, block; // 0: the schedule's choice
    int stride, group;
} Conv;

static const Conv shapes[] = {
    // F(4x4, 3x3): whole tiles, edges, tiny images, channel tails, blocks of every kind
    {32, 14, 14, 32, 3, 3, 1, 1, 1, 1, 4, 4, 2, 7, 1, 1},
    {32, 8, 8, 64, 3, 3, 1, 1, 1, 1, 4, 4, 4, 4, 1, 1},
    {48, 7, 7, 48, 3, 3, 1, 1, 1, 1, 4, 4, 3, 4, 1, 1},
    {17, 9, 23, 33, 3, 3, 1, 1, 1, 1, 4, 4, 2, 5, 1, 1},
    {20, 12, 10, 50, 3, 3, 0, 0, 0, 0, 4, 4, 2, 14, 1, 1},
    {16, 5, 6, 16, 3, 3, 2, 2, 2, 2, 4, 4, 1, 3, 1, 1},
    {16, 11, 13, 80, 3, 3, 2, 0, 1, 1, 4, 4, 2, 9, 1, 1},
    {16, 3, 3, 16, 3, 3, 0, 0, 0, 0, 4, 4, 1, 2, 1, 1},
    {24, 1, 1, 24, 3, 3, 1, 1, 1, 1, 4, 4, 1, 1, 1, 1},
    {40, 2, 19, 24, 3, 3, 1, 1, 1, 1, 4, 4, 2, 8, 1, 1},
    {130, 10, 10, 70, 3, 3, 1, 1, 1, 1, 4, 4, 4, 7, 1, 1},
    {64, 28, 28, 32, 3, 3, 1, 1, 1, 1, 4, 4, 2, 28, 1, 1},
    {16, 21, 4, 100, 3, 3, 1, 1, 1, 1, 4, 4, 6, 4, 1, 1},
    {256, 6, 6, 16, 3, 3, 1, 1, 1, 1, 4, 4, 1, 13, 1, 1},
    // F(2x2, 3x3)
    {32, 7, 7, 32, 3, 3, 1, 1, 1, 1, 2, 2, 2, 16, 1, 1},
    {17, 9, 11, 33, 3, 3, 1, 1, 1, 1, 2, 2, 2, 14, 1, 1},
    {16, 5, 6, 16, 3, 3, 2, 2, 2, 2, 2, 2, 1, 3, 1, 1},
    {20, 4, 4, 40, 3, 3, 0, 0, 0, 0, 2, 2, 3, 11, 1, 1},
    {16, 1, 2, 20, 3, 3, 1, 1, 1, 1, 2, 2, 1, 1, 1, 1},
    // both in one
    {32, 7, 7, 32, 3, 3, 1, 1, 1, 1, 4, 2, 2, 8, 1, 1},
    {32, 7, 9, 32, 3, 3, 1, 1, 1, 1, 2, 4, 2, 5, 1, 1},
    // one axis
    {32, 17, 17, 48, 1, 7, 0, 3, 0, 3, 1, 4, 3, 10, 1, 1},
    {32, 17, 17, 48, 7, 1, 3, 0, 3, 0, 4, 1, 3, 10, 1, 1},
    {24, 9, 11, 32, 1, 7, 0, 3, 0, 3, 1, 2, 2, 9, 1, 1},
    {24, 9, 11, 32, 7, 1, 3, 0, 3, 0, 2, 1, 2, 9, 1, 1},
    {32, 8, 8, 32, 1, 3, 0, 1, 0, 1, 1, 4, 2, 8, 1, 1},
    {32, 8, 8, 32, 3, 1, 1, 0, 1, 0, 4, 1, 2, 8, 1, 1},
    {20, 7, 9, 40, 1, 3, 0, 1, 0, 1, 1, 2, 2, 6, 1, 1},
    // F(2x2, 5x5)
    {24, 13, 13, 32, 5, 5, 2, 2, 2, 2, 2, 2, 2, 14, 1, 1},
    {16, 6, 9, 20, 5, 5, 1, 2, 0, 3, 2, 2, 1, 5, 1, 1},
    // stride 2: an algorithm for the even pixels, one for the odd ones
    {32, 56, 56, 32, 3, 3, 1, 1, 1, 1, 4, 4, 2, 14, 2, 1},
    {17, 23, 9, 33, 3, 3, 1, 1, 1, 1, 4, 4, 2, 5, 2, 1},
    {20, 12, 17, 50, 3, 3, 0, 0, 1, 1, 4, 2, 2, 7, 2, 1},
    {16, 13, 14, 20, 3, 3, 2, 0, 1, 1, 2, 4, 1, 3, 2, 1},
    {40, 14, 14, 24, 3, 3, 1, 1, 1, 1, 3, 3, 2, 9, 2, 1},
    {24, 7, 30, 48, 3, 3, 0, 0, 0, 0, 2, 2, 3, 11, 2, 1},
    {16, 1, 2, 20, 3, 3, 1, 1, 1, 1, 4, 4, 1, 1, 2, 1},
    {130, 10, 10, 70, 3, 3, 1, 1, 1, 1, 2, 2, 4, 7, 2, 1},
    // groups of whole vectors, more than one vector a group, other channels out than in
    {64, 15, 15, 64, 3, 3, 1, 1, 1, 1, 4, 4, 1, 16, 1, 4},
    {32, 28, 13, 96, 3, 3, 1, 1, 1, 1, 4, 2, 2, 5, 1, 2},
    {96, 9, 9, 32, 3, 3, 0, 1, 1, 0, 2, 2, 1, 7, 1, 2},
    {48, 14, 15, 48, 3, 3, 1, 1, 1, 1, 4, 4, 1, 9, 2, 3},
    // as scheduled
    {64, 28, 28, 64, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 1, 4},
    {96, 28, 28, 96, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 2, 1},
    {64, 14, 14, 64, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1},
    {96, 9, 17, 40, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1},
    {64, 9, 9, 64, 1, 7, 0, 3, 0, 3, 0, 0, 0, 0, 1, 1},
    {48, 11, 11, 64, 5, 5, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static void add_conv(Rig *r, int k, const Conv *c, const char *x) {
    char chosen[96] = "";
    if (c->block)
        snprintf(chosen, sizeof chosen,
                 ", algo=\"winograd%d\", tile=[vecs=%d,out_rows=%d,out_cols=%d,block=%d]",
                 c->mh > 2 || c->mw > 2 ? 4 : 2, c->vecs, c->mh, c->mw, c->block);
    rig_const(r, "%%w%d: f32[%d,%d,%d,%d] = rand(%d)", k, c->O, c->C / c->group, c->kh, c->kw,
              k + 1);
    rig_const(r, "%%b%d: f32[%d] = rand(%d)", k, c->O, k + 1000);
    rig_node(r, "%%c%d = conv %s, %%w%d, %%b%d {group=%d, stride=[%d,%d], pad=[%d,%d,%d,%d]%s}", k,
             x, k, k, c->group, c->stride, c->stride, c->pt, c->pl, c->pb, c->pr, chosen);
}

static void runs_every_shape(void) {
    Rig *r = rig_new(target, 2);
    rig_winograd(r, true);
    for (int k = 0; k < N_SHAPES; k++) {
        char x[16];
        snprintf(x, sizeof x, "%%x%d", k);
        rig_input(r, "%s: f32[N,%d,%d,%d]", x, shapes[k].C, shapes[k].H, shapes[k].W);
        add_conv(r, k, &shapes[k], x);
        rig_node(r, "%%y%d = relu %%c%d", k, k);
        rig_output(r, "%%y%d", k);
    }
    RigRuns runs = {.N = {1, 2, 0, 5}, .n = 4, .threads = {1, 2, 3}, .n_threads = 3};
    CHECK(rig_check(r, &runs) == 0);
    rig_free(r);
}

// What passes attach: activations, residuals, channel and scalar operands, long epilogues.
static void runs_epilogues(void) {
    Rig *r = rig_new(target, 2);
    static const char *const x[] = {"%p", "%q"};
    static const Conv convs[] = {
        {20, 9, 9, 20, 3, 3, 1, 1, 1, 1, 4, 4, 2, 5, 1, 1},
        {20, 9, 9, 20, 3, 3, 1, 1, 1, 1, 2, 2, 1, 14, 1, 1},
        {20, 9, 9, 20, 1, 7, 0, 3, 0, 3, 1, 4, 2, 9, 1, 1},
        {20, 18, 18, 20, 3, 3, 1, 1, 1, 1, 4, 4, 2, 5, 2, 1},
    };
    rig_const(r, "%%chan: f32[20,1,1] = rand(5)");
    rig_input(r, "%%p: f32[N,20,9,9], %%q: f32[N,20,9,9], %%s: f32[N,20,1,1], %%one: f32[1]");
    rig_input(r, "%%large: f32[N,20,18,18]");
    for (int i = 0; i < 4; i++) {
        int k = 10 * i;
        for (int e = 0; e < 6; e++)
            add_conv(r, k + e, &convs[i], convs[i].stride > 1 ? "%large" : x[e % 2]);
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
    static const Conv a = {16, 8, 8, 32, 3, 3, 1, 1, 1, 1, 4, 4, 2, 4, 1, 1};
    static const Conv b = {16, 8, 8, 48, 3, 3, 1, 1, 1, 1, 2, 2, 1, 7, 1, 1};
    static const Conv d = {48, 8, 8, 20, 3, 3, 1, 1, 1, 1, 4, 4, 2, 6, 1, 1};
    static const Conv e = {100, 8, 8, 24, 3, 3, 1, 1, 1, 1, 4, 4, 2, 6, 1, 1};
    rig_input(r, "%%x: f32[N,16,8,8]");
    add_conv(r, 0, &a, "%x");
    add_conv(r, 3, &b, "%x");
    rig_node(r, "%%r3 = relu %%c3");
    add_conv(r, 9, &d, "%r3");
    rig_node(r, "%%cat = concat %%c0, %%r3, %%c9 {axis=1}");
    add_conv(r, 12, &e, "%cat");
    rig_output(r, "%%cat, %%c12");
    RigRuns runs = {.N = {1, 3}, .n = 2, .threads = {1, 2, 3}, .n_threads = 3};
    CHECK(rig_check(r, &runs) == 0);
    rig_free(r);
}

// Filters are transformed when a model is created, from one copy of them in the weights section:
// convolutions with other tiles and strides share it.
static void transforms_filters_once(void) {
    Rig *r = rig_new(target, 2);
    CgResult cg;
    bool skip;
    rig_const(r, "%%w: f32[32,48,3,3] = rand(1)");
    rig_input(r, "%%x: f32[N,48,8,8]");
    for (int k = 0; k < 3; k++)
        rig_node(r,
                 "%%c%d = conv %%x, %%w {pad=[1,1,1,1], algo=\"winograd4\", "
                 "tile=[vecs=2,out_rows=4,out_cols=%d,block=4]}",
                 k, k ? 4 : 2);
    rig_node(r, "%%c3 = conv %%x, %%w {pad=[1,1,1,1], stride=[2,2], algo=\"winograd4\", "
                "tile=[vecs=2,out_rows=4,out_cols=4,block=4]}");
    rig_output(r, "%%c0, %%c1, %%c2, %%c3");
    CHECK(rig_compile(r, &cg) != NULL);
    HoneModel *m = rig_load(r, 2, &skip);
    if (m) {
        const HoneModelDesc *d = rt_model_desc(m);
        CHECK_INT_EQ(d->prepared_bytes, 4 * 32 * 48 * (6 * 4 + 6 * 6 + 6 * 6));
        CHECK(d->init.n > 0);
        CHECK(d->weights_bytes < 4 * 32 * 48 * 9 + 1024);
    }
    CHECK(m || skip);
    hone_destroy(m);
    rig_free(r);
}

static void prepares_nothing_else(void) {
    Rig *r = rig_new(target, 2);
    bool skip;
    rig_const(r, "%%w: f32[32,48,3,3] = rand(1)");
    rig_input(r, "%%x: f32[N,48,8,8]");
    rig_node(r, "%%c = conv %%x, %%w {pad=[1,1,1,1]}");
    rig_output(r, "%%c");
    CHECK(rig_compile(r, NULL) != NULL);
    HoneModel *m = rig_load(r, 1, &skip);
    CHECK(m ? rt_model_desc(m)->init.n == 0 && rt_model_desc(m)->prepared_bytes == 0 : skip);
    hone_destroy(m);
    rig_free(r);
}

// 14 output tiles are three register tiles of a core with 16 registers; the first of them would
// read the weights faster than memory gives them, and the others not at all.
static void asks_for_the_next_point(void) {
    Rig *r = rig_new("x86-64-v3", 2);
    CgResult cg = {0};
    int lines = 0;
    rig_winograd(r, true);
    rig_const(r, "%%w: f32[64,128,3,3] = rand(1)");
    rig_input(r, "%%x: f32[N,128,14,14]");
    rig_node(r, "%%y = conv %%x, %%w {pad=[1,1,1,1], algo=\"winograd4\","
                " tile=[vecs=1,out_rows=4,out_cols=4,block=14]}");
    rig_output(r, "%%y");
    if (CHECK(rig_compile(r, &cg) != NULL))
        for (int i = 0; i < cg.n_files && lines >= 0; i++)
            if (!strstr(cg.files[i], "weights")) {
                int n = spills_lines_with(cg.files[i], "prefetcht1");
                lines = n < 0 ? n : lines + n;
            }
    CHECK(lines != 0);
    if (lines < 0)
        printf("skipped: no objdump\n");
    rig_free(r);
}

int main(int argc, char **argv) {
    static const char *const targets[] = {"x86-64-v4", "x86-64-v3", "generic"};
    for (int i = 0; i < 3; i++) {
        target = argc > 1 ? argv[1] : targets[i];
        CHECK_RUN(runs_every_shape);
        CHECK_RUN(runs_epilogues);
        CHECK_RUN(runs_concat_slices);
        CHECK_RUN(transforms_filters_once);
        CHECK_RUN(prepares_nothing_else);
        CHECK_RUN(asks_for_the_next_point);
        if (argc > 1)
            break;
    }
    return check_done();
}
