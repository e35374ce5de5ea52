// Strassen's multiplication against the evaluator: pixels and channels of every kind of remainder,
// with every epilogue, in slices of a concat, of constant and computed weights, for every vector
// width, N and number of threads; bands that threads share.
#include "ir/machine.h"
#include "tests/check.h"
#include "tests/codegen/rig/rig.h"

static const char *target;

typedef struct Conv {
    int halves; // vectors of half the channels
    int O;      // output vectors
    int H, W;   // pixels
    int p, v, band;
} Conv;

static const Conv shapes[] = {
    {1, 2, 2, 1, 1, 1, 1},   {1, 2, 1, 3, 2, 1, 1},  {2, 4, 4, 7, 13, 1, 1},
    {2, 4, 7, 7, 13, 1, 2},  {3, 4, 5, 5, 4, 2, 2},  {1, 8, 9, 3, 3, 2, 1},
    {2, 6, 6, 11, 5, 1, 9},  {2, 4, 13, 5, 6, 2, 3}, {4, 12, 14, 14, 3, 3, 4},
    {4, 4, 14, 14, 3, 2, 7}, {1, 2, 1, 2, 9, 1, 5},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static void add_conv(Rig *r, int k, const Conv *c, const char *x) {
    rig_const(r, "%%w%d: f32[%d,%d,1,1] = rand(%d)", k, c->O * IR_BLOCK, 2 * c->halves * IR_BLOCK,
              k + 1);
    rig_const(r, "%%b%d: f32[%d] = rand(%d)", k, c->O * IR_BLOCK, k + 1000);
    rig_node(
        r,
        "%%c%d = conv %s, %%w%d, %%b%d {algo=\"strassen\", tile=[rows=%d,cols=1,vecs=%d,band=%d]}",
        k, x, k, k, c->p, c->v, c->band);
}

// The schedule kept what the text said.
static void check_kept(Rig *r) {
    for (IrNode *n = rig_graph(r)->first; n; n = n->next)
        if (n->op == IR_OP_CONV)
            CHECK(ir_attr(n, IR_ATTR_ALGO)->algo == IR_CONV_STRASSEN);
}

static void runs_every_shape(void) {
    Rig *r = rig_new(target, 2);
    for (int k = 0; k < N_SHAPES; k++) {
        const Conv *c = &shapes[k];
        char x[16];
        snprintf(x, sizeof x, "%%x%d", k);
        rig_input(r, "%s: f32[N,%d,%d,%d]", x, 2 * c->halves * IR_BLOCK, c->H, c->W);
        add_conv(r, k, c, x);
        rig_node(r, "%%y%d = relu %%c%d", k, k);
        rig_output(r, "%%y%d", k);
    }
    RigRuns runs = {.N = {1, 2, 0, 5}, .n = 4, .threads = {1, 2, 3}, .n_threads = 3};
    CHECK(rig_check(r, &runs) == 0);
    check_kept(r);
    rig_free(r);
}

// What passes attach; the sum with an input takes its place.
static void runs_epilogues(void) {
    Rig *r = rig_new(target, 2);
    static const Conv c = {2, 4, 5, 9, 6, 2, 2};
    int C = 2 * c.halves * IR_BLOCK;
    rig_const(r, "%%chan: f32[%d,1,1] = rand(5)", C);
    rig_input(r, "%%p: f32[N,%d,5,9], %%s: f32[N,%d,1,1], %%one: f32[1]", C, C);
    for (int k = 0; k < 4; k++)
        add_conv(r, k, &c, "%p");
    rig_node(r, "%%h = sigmoid %%p");
    rig_node(r, "%%a0 = add %%c0, %%h");
    rig_node(r, "%%y0 = relu %%a0");
    rig_node(r, "%%a1 = mul %%c1, %%chan");
    rig_node(r, "%%y1 = clip %%a1 {min=0, max=6}");
    rig_node(r, "%%a2 = mul %%c2, %%s");
    rig_node(r, "%%y2 = add %%a2, %%p");
    rig_node(r, "%%a3 = mul %%c3, %%one");
    rig_node(r, "%%y3 = hard_swish %%a3");
    rig_output(r, "%%y0, %%y1, %%y2, %%y3");
    RigRuns runs = {.N = {1, 3}, .n = 2, .threads = {1, 2}, .n_threads = 2};
    CHECK(rig_check(r, &runs) == 0);
    check_kept(r);
    rig_free(r);
}

// Weights that the run itself computes, packed by a kernel of the program.
static void runs_computed_weights(void) {
    Rig *r = rig_new(target, 2);
    static const int shapes[][5] = {// output vectors, of half the channels, pixels, vectors, rows
                                    {4, 1, 35, 2, 6},
                                    {6, 2, 21, 1, 9},
                                    {4, 3, 12, 1, 6}};
    for (int k = 0; k < 3; k++) {
        const int *c = shapes[k], O = c[0] * IR_BLOCK, C = 2 * c[1] * IR_BLOCK;
        rig_input(r, "%%x%d: f32[N,%d,%d,1], %%w%d: f32[%d,%d,1,1], %%g%d: f32[%d,1,1,1]", k, C,
                  c[2], k, O, C, k, O);
        rig_node(r, "%%v%d = mul %%w%d, %%g%d", k, k, k);
        rig_node(r,
                 "%%y%d = conv %%x%d, %%v%d {algo=\"strassen\", "
                 "tile=[rows=%d,cols=1,vecs=%d,band=2]}",
                 k, k, k, c[4], c[3]);
        rig_output(r, "%%y%d", k);
    }
    RigRuns runs = {.N = {1, 3}, .n = 2, .threads = {1, 2, 3}, .n_threads = 3};
    CHECK(rig_check(r, &runs) == 0);
    check_kept(r);
    rig_free(r);
}

// Results that are slices of a concat, and inputs that are.
static void runs_concat_slices(void) {
    Rig *r = rig_new(target, 2);
    static const Conv a = {1, 2, 8, 5, 5, 1, 2}, b = {1, 4, 8, 5, 4, 2, 3},
                      c = {3, 2, 8, 5, 7, 1, 1};
    rig_input(r, "%%x: f32[N,%d,8,5]", 2 * IR_BLOCK);
    rig_node(r, "%%h = lrn %%x {size=1}");
    add_conv(r, 0, &a, "%h");
    add_conv(r, 1, &b, "%h");
    rig_node(r, "%%r1 = relu %%c1");
    rig_node(r, "%%cat = concat %%c0, %%r1 {axis=1}");
    add_conv(r, 2, &c, "%cat");
    rig_output(r, "%%cat, %%c2");
    RigRuns runs = {.N = {1, 3}, .n = 2, .threads = {1, 2, 3}, .n_threads = 3};
    CHECK(rig_check(r, &runs) == 0);
    check_kept(r);
    rig_free(r);
}

int main(int argc, char **argv) {
    static const char *const targets[] = {"x86-64-v4", "x86-64-v3", "generic"};
    for (int i = 0; i < 3; i++) {
        target = argc > 1 ? argv[1] : targets[i];
        CHECK_RUN(runs_every_shape);
        CHECK_RUN(runs_epilogues);
        CHECK_RUN(runs_concat_slices);
        CHECK_RUN(runs_computed_weights);
        if (argc > 1)
            break;
    }
    return check_done();
}
