// attention against the evaluator: the op itself over heads, their places, tails of vectors of keys
// and columns, and biases; and what fuse_attention makes it of, as exporters spell it, against the
// evaluator on the spelling.
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

typedef struct Op {
    const char *B;
    int N, M, heads, size, columns[3], start[3];
    int period, bias_heads; // 0: no bias
} Op;
static const Op ops[] = {
    {"N", 197, 197, 2, 64, {384, 384, 384}, {0, 128, 256}, 0, 0},
    {"N", 49, 49, 3, 32, {288, 288, 288}, {0, 96, 192}, 1, 3},
    {"4N", 49, 49, 2, 32, {64, 64, 64}, {0, 0, 0}, 4, 1},
    {"2N", 7, 16, 1, 16, {40, 16, 20}, {3, 0, 4}, 2, 1},
    {"N", 1, 1, 2, 1, {2, 2, 2}, {0, 0, 0}, 1, 1},
    {"N", 13, 70, 2, 20, {40, 41, 60}, {0, 1, 20}, 1, 2},
    {"3N", 5, 33, 4, 80, {320, 320, 320}, {0, 0, 0}, 3, 4},
    {"N", 6, 15, 1, 130, {130, 130, 130}, {0, 0, 0}, 0, 0},
};
enum { OPS = sizeof ops / sizeof *ops };

// For matrix tiles: tasks of two tiles and of one, of two sizes; pieces of 16, 10, 13 and 9 words;
// keys that end in either vector of two; columns of half a vector. The last two do not fit.
static const Op tiled[] = {
    {"N", 197, 197, 2, 64, {384, 384, 384}, {0, 128, 256}, 0, 0},
    {"2N", 49, 49, 3, 32, {288, 288, 288}, {0, 96, 192}, 2, 3},
    {"N", 4, 17, 2, 80, {160, 160, 160}, {0, 0, 0}, 1, 1},
    {"N", 33, 31, 1, 26, {26, 26, 26}, {0, 0, 0}, 1, 1},
    {"N", 16, 64, 2, 36, {72, 76, 80}, {0, 4, 8}, 0, 0},
    {"N", 50, 1, 1, 128, {128, 128, 128}, {0, 0, 0}, 0, 0},
    {"N", 3, 40, 2, 64, {128, 128, 128}, {0, 0, 0}, 0, 0},
    {"N", 20, 20, 2, 34, {68, 68, 68}, {0, 0, 0}, 0, 0},
};
enum { TILED = sizeof tiled / sizeof *tiled, NOT_TILED = 2 };

// Of bf16 q, k and v: even columns. Its result is bf16, or f32 where `to` says so.
static bool is_even(const Op *op) {
    int odd = op->size;
    for (int i = 0; i < 3; i++) {
        odd |= op->columns[i] | op->start[i];
    }
    return odd % 2 == 0;
}

static void add_op(Rig *r, int k, const Op *op, const char *type, const char *to) {
    char bias[160] = "", name[8] = "";
    if (op->period) {
        snprintf(bias, sizeof bias, "const %%s: f32[%d,%d,%d,%d] = rand(%d)\n", op->period,
                 op->bias_heads, op->N, op->M, k + 1);
        snprintf(name, sizeof name, ", %%s");
    }
    char text[900];
    snprintf(text, sizeof text,
             "in %%q: %s[%s,%d,%d]\nin %%k: %s[%s,%d,%d]\nin %%v: %s[%s,%d,%d]\n%s"
             "%%y = attention %%q, %%k, %%v%s "
             "{group=%d, size=%d, start=[%d,%d,%d], alpha=%g%s}\nout %%y",
             type, op->B, op->N, op->columns[0], type, op->B, op->M, op->columns[1], type, op->B,
             op->M, op->columns[2], bias, name, op->heads, op->size, op->start[0], op->start[1],
             op->start[2], k % 2 ? 1.0 : 0.25, to);
    case_add(r, k, "%s", text);
}

static void heads_where_they_lie(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < OPS; k++)
            add_op(r, k, &ops[k], "f32", "");
        CHECK_INT_EQ(case_check(r, 2e-5, true), 0);
    }
}

// Weights of values are rounded to bf16: where a score's last bit decides how, one of them is off
// by 2^-8 of itself, as a result is that is stored in bf16.
static void pairs_of_bf16(void) {
    for (int t = 0; t < 2 * CASE_TARGETS; t++) {
        const CaseTarget *target = &case_targets[t / 2];
        Rig *r = rig_new(target->mcpu, target->opt_level);
        for (int k = 0; k < OPS; k++)
            if (is_even(&ops[k]))
                add_op(r, k, &ops[k], "bf16", t % 2 ? ", to=f32" : "");
        CHECK_INT_EQ(case_check(r, t % 2 ? 2e-3 : 8e-3, true), 0);
    }
}

static void matrix_tiles(void) {
    for (int to_f32 = 0; to_f32 < 2; to_f32++) {
        Rig *r = rig_new("sapphirerapids", 2);
        rig_amx(r);
        for (int k = 0; k < TILED; k++)
            add_op(r, k, &tiled[k], "bf16", to_f32 ? ", to=f32" : "");
        RigRuns runs = {.N = {1, 2, 5, 0},
                        .n = 4,
                        .threads = {1, 2, 3},
                        .n_threads = 3,
                        .tolerance = to_f32 ? 2e-3 : 8e-3};
        CHECK_INT_EQ(rig_check(r, &runs), 0);
        int n = rig_count(r, "attention amx");
        CHECK(n < 0 || n == TILED - NOT_TILED);
        rig_free(r);
    }
}

// Queries, keys and values in one matrix; the factor before the product, after it, on both sides.
static const char *const spellings[] = {
    // one matrix, taken apart by slices; the result's heads merged
    "in %x: f32[N,21,72]\nconst %f: f32[] = splat(0.3)\n"
    "%r = reshape %x {shape=[N,21,3,2,12]}\n"
    "%qs = slice %r {shape=[N,21,1,2,12], start=[0,0,0,0,0], step=[1,1,1,1,1]}\n"
    "%ks = slice %r {shape=[N,21,1,2,12], start=[0,0,1,0,0], step=[1,1,1,1,1]}\n"
    "%vs = slice %r {shape=[N,21,1,2,12], start=[0,0,2,0,0], step=[1,1,1,1,1]}\n"
    "%qt = transpose %qs {perm=[2,0,3,1,4]}\n%kt = transpose %ks {perm=[2,0,3,4,1]}\n"
    "%vt = transpose %vs {perm=[2,0,3,1,4]}\n"
    "%q = reshape %qt {shape=[N,2,21,12]}\n%k = reshape %kt {shape=[N,2,12,21]}\n"
    "%v = reshape %vt {shape=[N,2,21,12]}\n%qf = mul %q, %f\n%s = matmul %qf, %k\n"
    "%p = softmax %s {axis=3}\n%o = matmul %p, %v\n%y = transpose %o {perm=[0,2,1,3]}\n"
    "out %y",
    // three matrices, keys of another length, a factor behind the product and a bias
    "in %a: f32[N,9,32]\nin %b: f32[N,14,32]\nin %c: f32[N,14,32]\n"
    "const %f: f32[] = splat(4)\nconst %d: f32[2,9,14] = rand(3)\n"
    "%ar = reshape %a {shape=[N,9,2,16]}\n%br = reshape %b {shape=[N,14,2,16]}\n"
    "%cr = reshape %c {shape=[N,14,2,16]}\n%q = transpose %ar {perm=[0,2,1,3]}\n"
    "%k = transpose %br {perm=[0,2,3,1]}\n%v = transpose %cr {perm=[0,2,1,3]}\n"
    "%s = matmul %q, %k\n%t = div %s, %f\n%u = add %t, %d\n%p = softmax %u {axis=3}\n"
    "%y = matmul %p, %v\nout %y",
    // windows: a bias of all, a mask that every fourth has again
    "in %x: f32[4N,9,24]\nconst %d: f32[1,2,9,9] = rand(5)\nconst %m: f32[1,4,1,9,9] = rand(6)\n"
    "%r = reshape %x {shape=[4N,9,3,2,4]}\n%t = transpose %r {perm=[2,0,3,1,4]}\n"
    "%q1 = slice %t {shape=[1,4N,2,9,4], start=[0,0,0,0,0], step=[1,1,1,1,1]}\n"
    "%k1 = slice %t {shape=[1,4N,2,9,4], start=[1,0,0,0,0], step=[1,1,1,1,1]}\n"
    "%v1 = slice %t {shape=[1,4N,2,9,4], start=[2,0,0,0,0], step=[1,1,1,1,1]}\n"
    "%q = reshape %q1 {shape=[4N,2,9,4]}\n%k2 = reshape %k1 {shape=[4N,2,9,4]}\n"
    "%v = reshape %v1 {shape=[4N,2,9,4]}\n%k = transpose %k2 {perm=[0,1,3,2]}\n"
    "%s = matmul %q, %k\n%u = add %s, %d\n%w = reshape %u {shape=[N,4,2,9,9]}\n"
    "%z = add %m, %w\n%e = reshape %z {shape=[4N,2,9,9]}\n%p = softmax %e {axis=3}\n"
    "%o = matmul %p, %v\n%y = transpose %o {perm=[0,2,1,3]}\nout %y",
};
enum { SPELLINGS = sizeof spellings / sizeof *spellings };

static void spelled_out(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < SPELLINGS; k++)
            case_add(r, k, "%s", spellings[k]);
        CHECK_INT_EQ(case_check(r, 2e-5, true), 0);
    }
}

int main(void) {
    CHECK_RUN(heads_where_they_lie);
    CHECK_RUN(pairs_of_bf16);
    CHECK_RUN(matrix_tiles);
    CHECK_RUN(spelled_out);
    return check_done();
}
