// Convolutions with a max-pool behind them against the evaluator: stems of common networks, windows
// that overlap and that do not, rounding up, edges, chunks of a part of the image and of the whole,
// channels that do not fill a vector, groups, NaNs, slices of a concat.
#include "tests/check.h"
#include "tests/codegen/rig/rig.h"

typedef struct Shape {
    int C, H, W, O, k, s, p, group; // convolution
    const char *pool;
} Shape;

#define POOL_3S2P1 "kernel=[3,3], stride=[2,2], pad=[1,1,1,1]"
#define POOL_3S2_CEIL "kernel=[3,3], stride=[2,2], ceil=1"
#define POOL_2S2 "kernel=[2,2], stride=[2,2]"

static const Shape shapes[] = {
    {3, 97, 121, 64, 7, 2, 3, 1, POOL_3S2P1},
    {3, 131, 119, 40, 3, 2, 0, 1, POOL_3S2_CEIL},
    {3, 130, 118, 17, 3, 2, 0, 1, POOL_3S2_CEIL},
    {3, 95, 101, 64, 11, 4, 2, 1, "kernel=[3,3], stride=[2,2]"},
    {16, 40, 96, 48, 3, 1, 1, 1, POOL_2S2},
    {16, 41, 95, 7, 3, 1, 1, 1, POOL_2S2 ", ceil=1"},
    {5, 37, 61, 33, 5, 1, 2, 1, "kernel=[3,3], pad=[1,1,1,1]"},
    {64, 33, 75, 32, 3, 1, 0, 2, "kernel=[3,2], stride=[2,1], pad=[1,0,2,1]"},
    {20, 4, 63, 16, 3, 1, 1, 1, "kernel=[2,3], stride=[1,3], pad=[0,2,1,0]"},
    {1, 9, 64, 1, 9, 1, 0, 1, "kernel=[1,2], stride=[1,2]"},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static const char *target;

static int count_pools(Rig *r) {
    int n = 0;
    for (const IrNode *node = rig_graph(r)->first; node; node = node->next)
        n += node->op == IR_OP_CONV && ir_attr(node, IR_ATTR_POOL);
    return n;
}

static void add_conv(Rig *r, int k, const Shape *s) {
    rig_const(r, "%%w%d: f32[%d,%d,%d,%d] = rand(%d)", k, s->O, s->C / s->group, s->k, s->k, k);
    rig_const(r, "%%b%d: f32[%d] = rand(%d)", k, s->O, 100 + k);
    rig_input(r, "%%x%d: f32[N,%d,%d,%d]", k, s->C, s->H, s->W);
    rig_node(r, "%%c%d = conv %%x%d, %%w%d, %%b%d {stride=[%d,%d], pad=[%d,%d,%d,%d], group=%d}", k,
             k, k, k, s->s, s->s, s->p, s->p, s->p, s->p, s->group);
}

static void pools_results(void) {
    Rig *r = rig_new(target, 3);
    for (int k = 0; k < N_SHAPES; k++) {
        add_conv(r, k, &shapes[k]);
        rig_node(r, "%%r%d = relu %%c%d", k, k);
        rig_node(r, "%%y%d = max_pool %%r%d {%s}", k, k, shapes[k].pool);
        rig_output(r, "%%y%d", k);
    }
    RigRuns runs = {.N = {1, 2, 0, 5}, .n = 4, .threads = {1, 2, 3}, .n_threads = 3};
    CHECK(rig_check(r, &runs) == 0);
    CHECK_INT_EQ(count_pools(r), N_SHAPES);
    rig_free(r);
}

// An epilogue that makes NaNs; padding never wins over what is below zero; a slice of a concat
// behind which other slices lie; weights that are not constant.
static void pools_nan_and_slices(void) {
    Rig *r = rig_new(target, 3);
    for (int k = 0; k < 3; k++) {
        add_conv(r, k, &shapes[k]);
        rig_node(r, "%%l%d = sqrt %%c%d", k, k);
        rig_node(r, "%%y%d = max_pool %%l%d {%s}", k, k, shapes[k].pool);
        rig_output(r, "%%y%d", k);
    }
    rig_const(r, "%%u: f32[32,3,3,3] = rand(11)");
    rig_const(r, "%%v: f32[16,3,3,3] = rand(12)");
    rig_input(r, "%%i: f32[N,3,60,70]");
    rig_node(r, "%%p = conv %%i, %%u");
    rig_node(r, "%%pp = max_pool %%p {" POOL_3S2P1 "}");
    rig_node(r, "%%q = conv %%i, %%v");
    rig_node(r, "%%qq = max_pool %%q {" POOL_3S2P1 "}");
    rig_node(r, "%%j = concat %%pp, %%qq {axis=1}");
    rig_output(r, "%%j");
    rig_input(r, "%%t: f32[24,3,5,5]");
    rig_node(r, "%%s = conv %%i, %%t {pad=[2,2,2,2]}");
    rig_node(r, "%%ss = max_pool %%s {" POOL_2S2 "}");
    rig_output(r, "%%ss");
    RigRuns runs = {.N = {1, 3}, .n = 2, .threads = {1, 2, 4}, .n_threads = 3};
    CHECK(rig_check(r, &runs) == 0);
    CHECK_INT_EQ(count_pools(r), 6);
    rig_free(r);
}

int main(int argc, char **argv) {
    static const char *const targets[] = {"x86-64-v4", "x86-64-v3", "generic"};
    for (int i = 0; i < 3; i++) {
        target = argc > 1 ? argv[1] : targets[i];
        CHECK_RUN(pools_results);
        CHECK_RUN(pools_nan_and_slices);
        if (argc > 1)
            break;
    }
    return check_done();
}
