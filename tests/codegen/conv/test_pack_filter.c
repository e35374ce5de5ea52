// Convolutions whose weights are inputs or computed: every kernel against the evaluator, on weights
// that are packed when the program runs. Panels of every kind: whole and cut vectors of output
// channels, input blocks with a tail, groups of whole vectors, within a vector and across them.
#include "tests/check.h"
#include "tests/codegen/rig/rig.h"

#include <string.h>

static const char *target;

typedef struct Conv {
    int C, H, W, O, kh, kw, sh, sw, pt, pl, group;
    const char *chosen; // algo and tile; NULL: the schedule's choice
} Conv;

static const Conv shapes[] = {
    // direct: 1x1, plain input, tails of input and output channels, strides
    {16, 4, 4, 16, 1, 1, 1, 1, 0, 0, 1, NULL},
    {64, 7, 7, 128, 1, 1, 1, 1, 0, 0, 1, NULL},
    {17, 5, 3, 33, 1, 1, 1, 1, 0, 0, 1, NULL},
    {24, 9, 9, 80, 1, 1, 2, 2, 0, 0, 1, NULL},
    {3, 20, 22, 40, 7, 7, 2, 2, 3, 3, 1, NULL},
    {1, 12, 12, 6, 5, 5, 1, 1, 2, 2, 1, NULL},
    {20, 8, 8, 48, 3, 3, 2, 1, 1, 1, 1, NULL},
    {9, 10, 13, 11, 2, 4, 1, 1, 1, 0, 1, NULL},
    {130, 6, 6, 70, 3, 3, 1, 1, 1, 1, 1, "algo=\"direct\", tile=[rows=1,cols=6,vecs=2]"},
    {32, 6, 6, 112, 3, 3, 1, 1, 1, 1, 1, "algo=\"direct\", tile=[rows=1,cols=4,vecs=3]"},
    // groups: of whole vectors, in no relation to vectors, within a vector; depthwise
    {64, 9, 9, 64, 3, 3, 1, 1, 1, 1, 2, NULL},
    {96, 7, 7, 64, 5, 5, 1, 1, 2, 2, 2, NULL},
    {60, 6, 6, 60, 1, 1, 1, 1, 0, 0, 3, NULL},
    {36, 5, 5, 60, 3, 3, 1, 1, 1, 1, 3, NULL},
    {6, 8, 8, 12, 3, 3, 1, 1, 1, 1, 6, NULL},
    {66, 5, 5, 66, 3, 3, 1, 1, 1, 1, 33, NULL},
    {128, 7, 7, 128, 3, 3, 1, 1, 1, 1, 32, NULL},
    {40, 6, 7, 40, 3, 3, 2, 2, 1, 1, 5, NULL},
    {64, 6, 6, 64, 1, 1, 1, 1, 0, 0, 16, NULL},
    {32, 14, 14, 32, 3, 3, 1, 1, 1, 1, 32, NULL},
    {19, 12, 12, 19, 5, 5, 2, 2, 2, 2, 19, NULL},
    // Winograd: two sizes of groups, tails, each kernel
    {32, 14, 14, 32, 3, 3, 1, 1, 1, 1, 1,
     "algo=\"winograd4\", tile=[vecs=2,out_rows=4,out_cols=4,block=7]"},
    {17, 9, 23, 33, 3, 3, 1, 1, 1, 1, 1,
     "algo=\"winograd4\", tile=[vecs=2,out_rows=4,out_cols=4,block=5]"},
    {16, 11, 13, 80, 3, 3, 1, 1, 0, 0, 1,
     "algo=\"winograd4\", tile=[vecs=3,out_rows=4,out_cols=4,block=9]"},
    {20, 7, 7, 40, 3, 3, 1, 1, 1, 1, 1,
     "algo=\"winograd2\", tile=[vecs=2,out_rows=2,out_cols=2,block=11]"},
    {32, 7, 7, 32, 3, 3, 1, 1, 1, 1, 1,
     "algo=\"winograd4\", tile=[vecs=2,out_rows=4,out_cols=2,block=8]"},
    {32, 17, 17, 48, 1, 7, 1, 1, 0, 3, 1,
     "algo=\"winograd4\", tile=[vecs=3,out_rows=1,out_cols=4,block=10]"},
    {24, 9, 11, 32, 3, 1, 1, 1, 1, 0, 1,
     "algo=\"winograd2\", tile=[vecs=2,out_rows=2,out_cols=1,block=9]"},
    {24, 13, 13, 20, 5, 5, 1, 1, 2, 2, 1,
     "algo=\"winograd2\", tile=[vecs=2,out_rows=2,out_cols=2,block=14]"},
    {64, 9, 10, 96, 3, 3, 1, 1, 1, 1, 2,
     "algo=\"winograd4\", tile=[vecs=2,out_rows=4,out_cols=4,block=5]"},
    {24, 14, 15, 40, 3, 3, 2, 2, 1, 1, 1,
     "algo=\"winograd4\", tile=[vecs=2,out_rows=4,out_cols=3,block=5]"},
    {64, 14, 14, 64, 3, 3, 1, 1, 1, 1, 1, NULL},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static void add_conv(Rig *r, int k, const Conv *c, const char *x, const char *w) {
    char chosen[96] = "";
    if (c->chosen)
        snprintf(chosen, sizeof chosen, ", %s", c->chosen);
    rig_node(r, "%%c%d = conv %s, %s {stride=[%d,%d], pad=[%d,%d,%d,%d], group=%d%s}", k, x, w,
             c->sh, c->sw, c->pt, c->pl, c->pt, c->pl, c->group, chosen);
}

// turned: by flip_filter, as for the gradient of an input; those without groups
static void run_shapes(bool turned) {
    Rig *r = rig_new(target, 2);
    rig_winograd(r, true);
    for (int k = 0; k < N_SHAPES; k++) {
        const Conv *c = &shapes[k];
        char x[16], w[16];
        if (turned && c->group > 1)
            continue;
        snprintf(x, sizeof x, "%%x%d", k);
        snprintf(w, sizeof w, "%%w%d", k);
        rig_input(r, "%s: f32[N,%d,%d,%d]", x, c->C, c->H, c->W);
        int O = turned ? c->C : c->O, C = turned ? c->O : c->C / c->group;
        rig_input(r, "%s: f32[%d,%d,%d,%d]", w, O, C, c->kh, c->kw);
        if (turned)
            rig_node(r, "%%t%d = flip_filter %s", k, w);
        if (turned)
            snprintf(w, sizeof w, "%%t%d", k);
        add_conv(r, k, c, x, w);
        rig_node(r, "%%y%d = relu %%c%d", k, k);
        rig_output(r, "%%y%d", k);
    }
    RigRuns runs = {.N = {1, 2, 0, 3}, .n = 4, .threads = {1, 2, 3}, .n_threads = 3};
    CHECK(rig_check(r, &runs) == 0);
    rig_free(r);
}

static void runs_every_shape(void) {
    run_shapes(false);
}

static void runs_turned_weights(void) {
    run_shapes(true);
}

// Weights that a node computes, a bias that is an input, one filter for two kernels, no passes.
static void runs_computed_weights(int level) {
    Rig *r = rig_new(target, level);
    static const Conv a = {20, 9, 9, 24, 3, 3, 1, 1, 1, 1, 1, NULL};
    static const Conv b = {20, 9, 9, 24, 3, 3, 2, 2, 1, 1, 1, NULL};
    rig_winograd(r, level > 0);
    rig_input(r, "%%x: f32[N,20,9,9], %%w: f32[24,20,3,3], %%s: f32[24,1,1,1], %%b: f32[24]");
    rig_node(r, "%%ws = mul %%w, %%s");
    add_conv(r, 0, &a, "%x", "%ws");
    add_conv(r, 1, &b, "%x", "%ws");
    add_conv(r, 2, &a, "%x", "%w, %b");
    rig_node(r, "%%y = add %%c2, %%c0");
    rig_output(r, "%%c1, %%y, %%ws");
    RigRuns runs = {.N = {1, 3}, .n = 2, .threads = {1, 2}, .n_threads = 2};
    CHECK(rig_check(r, &runs) == 0);
    rig_free(r);
}

static void runs_computed_weights_optimised(void) {
    runs_computed_weights(2);
}
static void runs_computed_weights_unoptimised(void) {
    runs_computed_weights(0);
}

int main(int argc, char **argv) {
    static const char *const targets[] = {"x86-64-v4", "x86-64-v3", "generic"};
    for (int i = 0; i < 3; i++) {
        target = argc > 1 ? argv[1] : targets[i];
        CHECK_RUN(runs_every_shape);
        CHECK_RUN(runs_turned_weights);
        CHECK_RUN(runs_computed_weights_optimised);
        CHECK_RUN(runs_computed_weights_unoptimised);
        if (argc > 1)
            break;
    }
    return check_done();
}
