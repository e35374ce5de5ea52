// layer_norm against the evaluator: rows of every length about the vectors, epilogues, types; and
// what fuse_layer_norm makes it of, as exporters spell it, along the last axis and along channels,
// against the evaluator on the spelling.
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

static const struct {
    const char *rows;
    int size;
} ops[] = {{"N,", 1},      {"N,3,", 5}, {"N,", 16},    {"2N,5,", 31}, {"N,7,", 64},
           {"N,2,3,", 96}, {"N,", 100}, {"N,9,", 384}, {"N,", 1000}};
enum { OPS = sizeof ops / sizeof *ops };

static void rows(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < OPS; k++) {
            case_add(
                r, k,
                "in %%x: f32[%1$s%2$d]\nin %%r: f32[%1$s%2$d]\nconst %%s: f32[%2$d] = rand(1)\n"
                "const %%b: f32[%2$d] = rand(2)\n%%y = layer_norm %%x {eps=1e-5}\n"
                "%%n = layer_norm %%x {eps=0.5}\n%%m = mul %%n, %%s\n%%a = add %%m, %%b\n"
                "%%z = add %%a, %%r\nout %%y\nout %%z",
                ops[k].rows, ops[k].size);
        }
        CHECK_INT_EQ(case_check(r, 2e-5, true), 0);
    }
}

// A mean that is large beside the deviation.
static void far_from_zero(void) {
    static const char *const text[] = {
        "in %x: f32[N,5,40]\nconst %c: f32[] = splat(100)\n%a = add %x, %c\n"
        "%y = layer_norm %a {eps=1e-5}\nout %y",
        NULL};
    CHECK_INT_EQ(case_check_all(text, 2e-5, false), 0);
}

// Rows of one number are zeros, whatever the number of terms does to the sum.
static void equal_numbers(void) {
    static const char *const text[] = {
        "in %x: f32[N,3,768]\nconst %o: f32[] = splat(0)\nconst %c: f32[] = splat(100.1)\n"
        "%z = mul %x, %o\n%a = add %z, %c\n%y = layer_norm %a {eps=1e-12}\nout %y",
        NULL};
    CHECK_INT_EQ(case_check_all(text, 1e-5, false), 0);
}

// Nodes of the graph that are this op
static int count(Rig *r, IrOp op) {
    int n = 0;
    for (const IrNode *i = rig_graph(r) ? rig_graph(r)->first : NULL; i; i = i->next)
        n += i->op == op;
    return n;
}

#define SPELLED(axis)                                                                              \
    "%%m = reduce_mean %%x {axes=[" axis "], keepdims=1}\n%%d = sub %%x, %%m\n"                    \
    "%%q = mul %%d, %%d\n%%v = reduce_mean %%q {axes=[" axis "], keepdims=1}\n"                    \
    "%%e = add %%v, %%eps\n%%s = sqrt %%e\n%%n = div %%d, %%s\n"

static void spelled_out(void) {
    static const char *const texts[] = {
        "in %%x: f32[N,9,48]\nconst %%eps: f32[] = splat(0.001)\n" SPELLED(
            "2") "const %%g: f32[48] = rand(1)\nconst %%b: f32[48] = rand(2)\n%%h = mul %%n, %%g\n"
                 "%%y = add %%h, %%b\nout %%y",
        // between a convolution and a product over channels, as ConvNeXt has it
        "in %%i: f32[N,32,5,7]\nconst %%w: f32[32,1,3,3] = rand(3)\nconst %%eps: f32[] = "
        "splat(0.001)\n%%x = conv %%i, %%w {group=32, pad=[1,1,1,1]}\n" SPELLED(
            "1") "%%t = transpose %%n {perm=[0,2,3,1]}\nconst %%u: f32[32,40] = rand(4)\n"
                 "%%y = matmul %%t, %%u\nout %%y",
        // between two convolutions: whole blocks, and others
        "in %%i: f32[N,16,6,6]\nconst %%w: f32[48,16,1,1] = rand(5)\nconst %%eps: f32[] = "
        "splat(0.001)\n%%x = conv %%i, %%w\n" SPELLED(
            "1") "const %%u: f32[16,48,2,2] = rand(6)\n%%y = conv %%n, %%u {stride=[2,2]}\nout %%y",
        "in %%i: f32[N,16,6,6]\nconst %%w: f32[20,16,1,1] = rand(5)\nconst %%eps: f32[] = "
        "splat(0.001)\n%%x = conv %%i, %%w\n" SPELLED(
            "1") "const %%u: f32[16,20,2,2] = rand(6)\n%%y = conv %%n, %%u {stride=[2,2]}\nout "
                 "%%y"};
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < 4; k++)
            case_add(r, k, texts[k], 0);
        RigRuns runs = {
            .N = {1, 2, 5}, .n = 3, .threads = {1, 2, 3}, .n_threads = 3, .tolerance = 4e-5};
        CHECK_INT_EQ(rig_check(r, &runs), 0);
        int level = case_targets[t].opt_level;
        CHECK_INT_EQ(count(r, IR_OP_LAYER_NORM), level ? 3 : 0);
        rig_free(r);
    }
}

int main(void) {
    CHECK_RUN(rows);
    CHECK_RUN(far_from_zero);
    CHECK_RUN(equal_numbers);
    CHECK_RUN(spelled_out);
    return check_done();
}
