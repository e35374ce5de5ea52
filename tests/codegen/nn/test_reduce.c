// Reductions against the evaluator: every op over many sets of axes, plain and blocked, epilogues.
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

#define BLOCKED "%%b = max_pool %%x {kernel=[2,2], stride=[1,1]}\n"

static const char *const ops[] = {"reduce_sum", "reduce_mean", "reduce_max", "reduce_min",
                                  "reduce_prod"};
static const char *const axes[] = {"[0]",   "[1]",   "[2]",     "[3]",       "[2,3]",
                                   "[0,1]", "[1,3]", "[0,2,3]", "[0,1,2,3]", "[1,2,3]"};
enum { OPS = sizeof ops / sizeof *ops, AXES = sizeof axes / sizeof *axes };

// abs first: sums of both signs cancel, and then a relative error means little.
static void sets_of_axes(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        int k = 0;
        for (int op = 0; op < OPS; op++) {
            for (int a = 0; a < 2 * AXES; a++) {
                case_add(r, k++,
                         "in %%x: f32[N,5,3,19]\n%%a = abs %%x\n"
                         "%%y = %s %%a {axes=%s, keepdims=%d}\nout %%y",
                         ops[op], axes[a / 2], a % 2);
            }
        }
        CHECK_INT_EQ(case_check(r, 4e-6, false), 0);
    }
}

// Over the channels of blocks, whole ones and others; a normalisation over channels.
static const char *const channels[] = {
    "in %x: f32[N,32,6,7]\n%b = max_pool %x {kernel=[2,2], stride=[1,1]}\n"
    "%m = reduce_mean %b {axes=[1], keepdims=1}\n%d = sub %b, %m\n%q = mul %d, %d\n"
    "const %e: f32[] = splat(0.01)\n%v = reduce_mean %q {axes=[1], keepdims=1}\n%a = add %v, %e\n"
    "%s = sqrt %a\n%y = div %d, %s\nout %y",
    "in %x: f32[N,48,4,4]\nin %z: f32[N,1,3,3]\n%b = max_pool %x {kernel=[2,2], stride=[1,1]}\n"
    "%m = reduce_max %b {axes=[1], keepdims=1}\n%y = add %m, %z\nout %y",
    "in %x: f32[N,16,4,4]\n%b = max_pool %x {kernel=[2,2], stride=[1,1]}\n"
    "%y = reduce_sum %b {axes=[1], keepdims=0}\nout %y",
    "in %x: f32[N,20,4,4]\n%b = max_pool %x {kernel=[2,2], stride=[1,1]}\n"
    "%y = reduce_mean %b {axes=[1], keepdims=1}\nout %y",
    NULL};

static void channels_of_blocks(void) {
    CHECK_INT_EQ(case_check_all(channels, 4e-6, true), 0);
}

static void blocked(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < 2 * OPS; k++) {
            case_add(r, k,
                     "in %%x: f32[N,20,6,7]\n" BLOCKED
                     "%%y = %s %%b {axes=[2,3], keepdims=%d}\nout %%y",
                     ops[k / 2], k % 2);
            case_add(r, 100 + k,
                     "in %%x: f32[N,33,8,8]\nconst %%c: f32[33,1,1] = rand(1)\n" BLOCKED
                     "%%m = %s %%b {axes=[2,3], keepdims=1}\n"
                     "%%s = mul %%m, %%c\n%%y = sigmoid %%s\nout %%y",
                     ops[k / 2]);
        }
        CHECK_INT_EQ(case_check(r, 4e-6, true), 0);
    }
}

static const char *const others[] = {
    "in %x: f32[N,3000]\n%a = abs %x\n%y = reduce_sum %a {axes=[1], keepdims=0}\nout %y",
    "in %x: f32[N,7,300]\n%a = abs %x\n%m = reduce_mean %a {axes=[2], keepdims=1}\n"
    "%y = sub %m, %z\nin %z: f32[7,1]\nout %y",
    // NaN wins
    "in %x: f32[N,70,3]\n%s = sqrt %x\n%y = reduce_max %s {axes=[1], keepdims=0}\nout %y",
    "in %x: f32[N,3,70]\n%s = sqrt %x\n%y = reduce_min %s {axes=[2], keepdims=0}\nout %y",
    "in %x: f32[N,4]\n%y = reduce_max %x {axes=[0,1], keepdims=0}\nout %y",
    "in %x: i64[N,7,9]\n%y = reduce_sum %x {axes=[1], keepdims=0}\n"
    "%z = reduce_max %x {axes=[1,2], keepdims=1}\nout %y\nout %z",
    "in %x: i32[N,7,9]\n%y = reduce_prod %x {axes=[2], keepdims=0}\nout %y",
    "in %x: f64[N,7,9]\n%y = reduce_mean %x {axes=[1], keepdims=0}\nout %y", NULL};

static void other_forms(void) {
    CHECK_INT_EQ(case_check_all(others, 4e-6, false), 0);
}

// Sums of products, which are never written: over rows, over columns with tails, of a square, in
// front of an epilogue; with one that something else reads, or of other shapes, as before.
static void sums_of_products(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        int k = 0, fused = 0;
        for (int a = 0; a < AXES; a++)
            case_add(r, k++,
                     "in %%x: f32[N,5,3,19]\nin %%z: f32[N,5,3,19]\n%%a = softmax %%x {axis=3}\n"
                     "%%b = softmax %%z {axis=2}\n%%p = mul %%a, %%b\n"
                     "%%y = reduce_sum %%p {axes=%s, keepdims=%d}\nout %%y",
                     axes[a], a % 2);
        case_add(r, k++,
                 "in %%x: f32[7,300]\n%%p = mul %%x, %%x\n"
                 "%%y = reduce_sum %%p {axes=[1], keepdims=0}\nout %%y");
        case_add(r, k++,
                 "in %%x: f32[7,64]\nin %%z: f32[7,1]\n%%p = mul %%x, %%x\n%%q = mul %%x, %%z\n"
                 "%%y = reduce_sum %%p {axes=[1], keepdims=1}\n%%s = add %%y, %%z\n"
                 "%%u = abs %%q\n%%v = reduce_sum %%u {axes=[0], keepdims=0}\nout %%s\nout %%v");
        RigRuns runs = {
            .N = {1, 3}, .n = 2, .threads = {1, 2, 3}, .n_threads = 3, .tolerance = 4e-6};
        CHECK_INT_EQ(rig_check(r, &runs), 0);
        for (const IrNode *n = rig_graph(r) ? rig_graph(r)->first : NULL; n; n = n->next)
            fused += n->op == IR_OP_REDUCE_SUM && ir_body(n, IR_ATTR_PRE).n == 1;
        CHECK_INT_EQ(fused, case_targets[t].opt_level ? AXES + 2 : 0);
        rig_free(r);
    }
}

int main(void) {
    CHECK_RUN(sets_of_axes);
    CHECK_RUN(channels_of_blocks);
    CHECK_RUN(blocked);
    CHECK_RUN(other_forms);
    CHECK_RUN(sums_of_products);
    return check_done();
}
