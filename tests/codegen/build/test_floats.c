// Weights of f32 that are numbers of f16 or bf16: half the space in the weights section, the same
// results, in every order that kernels read weights in, whoever widens them.
#include "ir/conv.h"
#include "runtime/core/rt.h"
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

// W: the type that holds them.
#define WEIGHTS(dims) "const %%h: f32[" dims "] = rand(1)\n%%w = round_%1$s %%h\n"
static const char *const texts[] = {
    "in %%x: f32[N,48,9,10]\n" WEIGHTS(
        "40,48,3,3") "const %%b: f32[40] = rand(2)\n"
                     "%%y = conv %%x, %%w, %%b {pad=[1,1,1,1], algo=\"winograd4\", "
                     "tile=[vecs=2,out_rows=4,out_cols=4,block=5]}\nout %%y",
    "in %%x: f32[N,40,9,10]\n" WEIGHTS(
        "48,40,3,3") "%%y = conv %%x, %%w {stride=[2,2], pad=[1,1,1,1]}\nout %%y",
    "in %%x: f32[N,128,8,8]\n" WEIGHTS(
        "128,128,1,1") "%%y = conv %%x, %%w {algo=\"strassen\", "
                       "tile=[rows=2,cols=1,vecs=2,band=4]}\nout %%y",
    "in %%x: f32[N,128,9,9]\n" WEIGHTS("128,1,3,3") "%%y = conv %%x, %%w {group=128}\nout %%y",
    "in %%x: f32[N,3,20,20]\n" WEIGHTS("32,3,7,7") "%%y = conv %%x, %%w {stride=[2,2]}\nout %%y",
    "in %%x: f32[N,70]\n" WEIGHTS("70,40") "%%y = matmul %%x, %%w\nout %%y",
    "in %%x: f32[N,5,64]\n" WEIGHTS("33,64") "%%y = matmul %%x, %%w {trans_b=1}\nout %%y",
};
enum { TEXTS = sizeof texts / sizeof *texts };
// Floats, as they are packed, at most: whole blocks of 16 output channels, panels of columns.
static const int64_t floats =
    48 * 48 * 9 + 48 * 40 * 9 + 128 * 128 + 128 * 9 + 32 * 3 * 49 + 70 * 48 + 64 * 48;

static int count_algo(const IrGraph *g, IrConvAlgo want) {
    int n = 0;
    IrConvAlgo algo;
    for (const IrNode *i = g->first; i; i = i->next) {
        n += i->op == IR_OP_CONV && ir_conv_algo(i, &algo) && algo == want;
    }
    return n;
}

// Of both types in one rig: half the space, but for biases and the like.
static void check_size(Rig *r) {
    bool skip = true;
    HoneModel *m = rig_load(r, 1, &skip);
    CHECK(m || skip);
    if (m) {
        const HoneModelDesc *d = rt_model_desc(m);
        CHECK(d->weights_bytes > 2 * 2 * floats * 9 / 10);
        CHECK(d->weights_bytes < 2 * 2 * floats + 4096);
        CHECK(d->prepared_bytes > 2 * 4 * floats * 9 / 10);
    }
    hone_destroy(m);
}

static void holds_halves(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        rig_winograd(r, true);
        for (int k = 0; k < 2 * TEXTS; k++) {
            case_add(r, k, texts[k % TEXTS], k < TEXTS ? "f16" : "bf16");
        }
        RigRuns runs = {.N = {1, 3}, .n = 2, .threads = {1, 3}, .n_threads = 2, .tolerance = 1e-4};
        CHECK_INT_EQ(rig_check(r, &runs), 0);
        if (rig_graph(r)) {
            CHECK_INT_EQ(count_algo(rig_graph(r), IR_CONV_WINOGRAD4), 2);
            CHECK_INT_EQ(count_algo(rig_graph(r), IR_CONV_STRASSEN), 2);
            check_size(r);
        }
        rig_free(r);
    }
}

int main(void) {
    CHECK_RUN(holds_halves);
    return check_done();
}
