// Prologues of 1x1 convolutions against the evaluator: scale and shift per channel, gates per
// image, scalars, operands of the epilogue beside them; blocks of 16, 8 and 4 channels, odd channel
// counts, bands of a part of the image and of the whole, slices of a concat.
#include "tests/check.h"
#include "tests/codegen/rig/rig.h"

#include <string.h>

typedef struct Shape {
    int C, H, W, O;
} Shape;

// Images of one tile, of a part of a band, of several bands; one output group and many; more
// output channels than pixels.
static const Shape shapes[] = {
    {16, 4, 4, 16},    {64, 7, 7, 128},  {17, 5, 3, 33}, {5, 17, 17, 7},   {40, 1, 1, 100},
    {130, 20, 20, 70}, {96, 31, 29, 40}, {1, 3, 3, 1},   {48, 56, 56, 24}, {200, 14, 14, 256},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static const char *target;

// Names of pass_fuse_prologue's results: every conv of the graph must have a prologue.
static int count_prologues(Rig *r) {
    int n = 0;
    for (const IrNode *node = rig_graph(r)->first; node; node = node->next)
        n += node->op == IR_OP_CONV && ir_body(node, IR_ATTR_PRE).n > 0;
    return n;
}

// %x has the blocked form that a prologue reads, from an op that takes no elementwise work itself.
static void add_input(Rig *r, int k, const Shape *s) {
    rig_input(r, "%%i%d: f32[N,%d,%d,%d]", k, s->C, s->H, s->W);
    rig_node(r, "%%x%d = lrn %%i%d {size=3}", k, k);
    rig_const(r, "%%w%d: f32[%d,%d,1,1] = rand(%d)", k, s->O, s->C, k);
}

// DenseNet's: normalisation and relu in front, a bias and relu behind.
static void runs_norm(void) {
    Rig *r = rig_new(target, 3);
    for (int k = 0; k < N_SHAPES; k++) {
        const Shape *s = &shapes[k];
        add_input(r, k, s);
        rig_const(r, "%%a%d: f32[%d,1,1] = rand(%d)", k, s->C, 100 + k);
        rig_const(r, "%%b%d: f32[1,%d,1,1] = rand(%d)", k, s->C, 200 + k);
        rig_const(r, "%%d%d: f32[%d] = rand(%d)", k, s->O, 300 + k);
        rig_node(r, "%%s%d = mul %%x%d, %%a%d", k, k, k);
        rig_node(r, "%%t%d = add %%s%d, %%b%d", k, k, k);
        rig_node(r, "%%u%d = relu %%t%d", k, k);
        rig_node(r, "%%c%d = conv %%u%d, %%w%d, %%d%d", k, k, k, k);
        rig_node(r, "%%y%d = relu %%c%d", k, k);
        rig_output(r, "%%y%d", k);
    }
    RigRuns runs = {.N = {1, 2, 0, 3}, .n = 4, .threads = {1, 2, 3}, .n_threads = 3};
    CHECK(rig_check(r, &runs) == 0);
    CHECK(count_prologues(r) == N_SHAPES);
    rig_free(r);
}

// Squeeze-and-excitation: a gate that the graph computes, a residual behind.
static void runs_gates(void) {
    Rig *r = rig_new(target, 3);
    for (int k = 0; k < N_SHAPES; k++) {
        const Shape *s = &shapes[k];
        add_input(r, k, s);
        rig_const(r, "%%v%d: f32[%d,%d,1,1] = rand(%d)", k, s->C, s->C, 400 + k);
        rig_input(r, "%%r%d: f32[N,%d,%d,%d]", k, s->O, s->H, s->W);
        rig_node(r, "%%m%d = reduce_mean %%x%d {axes=[2,3], keepdims=1}", k, k);
        rig_node(r, "%%f%d = conv %%m%d, %%v%d", k, k, k);
        rig_node(r, "%%g%d = sigmoid %%f%d", k, k);
        rig_node(r, "%%s%d = mul %%g%d, %%x%d", k, k, k);
        rig_node(r, "%%c%d = conv %%s%d, %%w%d", k, k, k);
        rig_node(r, "%%y%d = add %%c%d, %%r%d", k, k, k);
        rig_output(r, "%%y%d", k);
    }
    RigRuns runs = {.N = {1, 3, 0, 2}, .n = 4, .threads = {1, 2, 3}, .n_threads = 3};
    CHECK(rig_check(r, &runs) == 0);
    CHECK(count_prologues(r) ==
          N_SHAPES - 1); // of one pixel the mean is nothing, its conv multiplies
    rig_free(r);
}

// One element in memory, constants, an input that is used twice, a gate as an input of the graph,
// one gate for all images, input and output in slices of concats.
static void runs_operands(void) {
    Rig *r = rig_new(target, 3);
    rig_const(r, "%%half: f32[] = splat(0.5)");
    rig_const(r, "%%w: f32[40,24,1,1] = rand(1)");
    rig_const(r, "%%v: f32[32,64,1,1] = rand(2)");
    rig_input(r, "%%i: f32[N,24,9,11], %%one: f32[1], %%gate: f32[N,24,1,1], %%all: f32[1,24,1,1]");
    rig_node(r, "%%x = lrn %%i {size=3}");
    rig_node(r, "%%a0 = mul %%x, %%one");
    rig_node(r, "%%a1 = conv %%a0, %%w");
    rig_node(r, "%%b0 = sub %%half, %%x");
    rig_node(r, "%%b1 = conv %%b0, %%w");
    rig_node(r, "%%c0 = sigmoid %%x");
    rig_node(r, "%%c1 = mul %%x, %%c0");
    rig_node(r, "%%c2 = mul %%c1, %%gate");
    rig_node(r, "%%c3 = conv %%c2, %%w");
    rig_node(r, "%%d0 = mul %%all, %%x");
    rig_node(r, "%%d1 = clip %%d0 {min=-0.25, max=0.5}");
    rig_node(r, "%%d2 = conv %%d1, %%w");
    rig_output(r, "%%a1, %%b1, %%c3, %%d2");
    rig_input(r, "%%p: f32[N,32,8,8], %%q: f32[N,32,8,8]");
    rig_node(r, "%%p1 = lrn %%p {size=3}");
    rig_node(r, "%%q1 = lrn %%q {size=3}");
    rig_node(r, "%%j = concat %%p1, %%q1 {axis=1}");
    rig_node(r, "%%k = relu %%j");
    rig_node(r, "%%l = conv %%k, %%v");
    rig_node(r, "%%m = concat %%j, %%l {axis=1}");
    rig_output(r, "%%m");
    RigRuns runs = {.N = {1, 3}, .n = 2, .threads = {1, 2, 3}, .n_threads = 3};
    CHECK(rig_check(r, &runs) == 0);
    CHECK(count_prologues(r) == 5);
    rig_free(r);
}

// With images of one pixel the gate has the result's type and dies here: the result must not take
// its place, since other threads still read it.
static void keeps_dying_gate(void) {
    Rig *r = rig_new(target, 3);
    rig_const(r, "%%w: f32[512,512,1,1] = rand(1)");
    rig_input(r, "%%i: f32[N,512,1,1], %%j: f32[N,512,1,1]");
    rig_node(r, "%%x = lrn %%i {size=3}");
    rig_node(r, "%%g = lrn %%j {size=3}");
    rig_node(r, "%%s = mul %%x, %%g");
    rig_node(r, "%%c = conv %%s, %%w");
    rig_node(r, "%%y = lrn %%c {size=3}");
    rig_output(r, "%%y");
    RigRuns runs = {.N = {1, 2, 5}, .n = 3, .threads = {1, 2, 3}, .n_threads = 3};
    CHECK(rig_check(r, &runs) == 0);
    CHECK(count_prologues(r) == 1);
    const IrValue *y = NULL, *in[2] = {NULL, NULL};
    for (const IrNode *n = rig_graph(r)->first; n; n = n->next)
        if (n->op == IR_OP_CONV) {
            y = n->out[0];
            in[0] = ir_in(n, 0);
            in[1] = ir_in(n, 3);
        }
    for (int i = 0; y && i < 2; i++)
        CHECK(in[i] && (in[i]->place.offset.n != y->place.offset.n ||
                        in[i]->place.offset.c != y->place.offset.c));
    rig_free(r);
}

int main(int argc, char **argv) {
    static const char *const targets[] = {"x86-64-v4", "x86-64-v3", "generic"};
    for (int i = 0; i < 3; i++) {
        target = argc > 1 ? argv[1] : targets[i];
        CHECK_RUN(runs_norm);
        CHECK_RUN(runs_gates);
        CHECK_RUN(runs_operands);
        CHECK_RUN(keeps_dying_gate);
        if (argc > 1)
            break;
    }
    return check_done();
}
