// Convolutions of bf16 against the evaluator: products of pairs, by the instruction for them or as
// f32, sums in f32, rounded where they are stored; kernel sizes, strides, groups, odd channel
// counts, epilogues.
#include "ir/conv.h"
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

typedef struct Conv {
    int C, H, W, O, kh, kw, s, p, group;
} Conv;

static const Conv shapes[] = {
    {16, 4, 4, 16, 1, 1, 1, 0, 1},    {17, 5, 3, 33, 1, 1, 1, 0, 1},
    {64, 7, 7, 128, 1, 1, 1, 0, 1},   {24, 9, 9, 80, 1, 1, 2, 0, 1},
    {3, 20, 22, 40, 7, 7, 2, 3, 1},   {1, 9, 9, 20, 5, 5, 1, 2, 1},
    {2, 8, 9, 16, 3, 3, 1, 1, 1},     {4, 9, 7, 24, 3, 3, 2, 1, 1},
    {32, 14, 14, 32, 3, 3, 1, 1, 1},  {16, 28, 29, 80, 3, 3, 2, 1, 1},
    {7, 3, 3, 9, 7, 7, 1, 3, 1},      {130, 6, 6, 70, 3, 3, 1, 1, 1},
    {64, 9, 9, 64, 3, 3, 1, 1, 2},    {40, 6, 7, 40, 3, 3, 1, 1, 5},
    {64, 14, 14, 64, 3, 3, 2, 1, 8},  {32, 14, 14, 32, 3, 3, 1, 1, 32},
    {19, 12, 12, 19, 5, 5, 1, 2, 19},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

// A constant bias, one that is computed, none; a residual's place is taken by a scale per channel.
// Then as the pass bf16 has it: sums stay f32 until they are stored, biases are f32, and a residual
// is widened.
static const char *const forms[] = {
    "in %%x: bf16[N,%1$d,%2$d,%3$d]\nconst %%w: bf16[%4$d,%10$d,%5$d,%6$d] = rand(1)\n"
    "const %%b: bf16[%4$d] = rand(2)\n"
    "%%c = conv %%x, %%w, %%b {stride=[%7$d,%7$d], pad=[%8$d,%8$d,%8$d,%8$d], group=%9$d}\n"
    "%%y = relu %%c\nout %%y",
    "in %%x: bf16[N,%1$d,%2$d,%3$d]\nconst %%w: bf16[%4$d,%10$d,%5$d,%6$d] = rand(1)\n"
    "in %%v: bf16[%4$d]\n%%b = relu %%v\n"
    "%%c = conv %%x, %%w, %%b {stride=[%7$d,%7$d], pad=[%8$d,%8$d,%8$d,%8$d], group=%9$d}\n"
    "out %%c",
    "in %%x: bf16[N,%1$d,%2$d,%3$d]\nconst %%w: bf16[%4$d,%10$d,%5$d,%6$d] = rand(1)\n"
    "const %%k: bf16[%4$d,1,1] = rand(3)\n"
    "%%c = conv %%x, %%w {stride=[%7$d,%7$d], pad=[%8$d,%8$d,%8$d,%8$d], group=%9$d}\n"
    "%%y = mul %%c, %%k\nout %%y",
    "in %%x: bf16[N,%1$d,%2$d,%3$d]\nconst %%w: bf16[%4$d,%10$d,%5$d,%6$d] = rand(1)\n"
    "const %%b: f32[%4$d] = rand(2)\nin %%v: f32[%4$d]\n%%a = relu %%v\n"
    "%%c = conv %%x, %%w, %%a {stride=[%7$d,%7$d], pad=[%8$d,%8$d,%8$d,%8$d], group=%9$d, to=f32, "
    "then=[cast(acc, to=bf16)]}\n"
    "%%y = conv %%x, %%w, %%b, %%c {stride=[%7$d,%7$d], pad=[%8$d,%8$d,%8$d,%8$d], group=%9$d, "
    "to=f32, then=[cast(3, to=f32), add(acc, s0), relu(s1), cast(s2, to=bf16)]}\n"
    "%%s = conv %%x, %%w {stride=[%7$d,%7$d], pad=[%8$d,%8$d,%8$d,%8$d], group=%9$d, to=f32}\n"
    "out %%y\nout %%s",
};
enum { FORMS = sizeof forms / sizeof *forms };

// Channels that are no pairs are computed one result at a time, unless they are few.
static int count_slow(const IrGraph *g) {
    int n = 0;
    IrConvAlgo algo;
    for (const IrNode *i = g->first; i; i = i->next) {
        bool pairs = i->op == IR_OP_CONV && (ir_in(i, 0)->type.shape.dim[1].c % 2 == 0 ||
                                             ir_in(i, 0)->type.shape.dim[1].c <= 4);
        n += pairs && (!ir_conv_algo(i, &algo) || algo == IR_CONV_ELEMENTS);
    }
    return n;
}

static void convolves_pairs(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < N_SHAPES * FORMS; k++) {
            const Conv *c = &shapes[k / FORMS];
            case_add(r, k, forms[k % FORMS], c->C, c->H, c->W, c->O, c->kh, c->kw, c->s, c->p,
                     c->group, c->C / c->group);
        }
        RigRuns runs = {
            .N = {1, 2, 5}, .n = 3, .threads = {1, 2, 3}, .n_threads = 3, .tolerance = 8e-3};
        CHECK_INT_EQ(rig_check(r, &runs), 0);
        CHECK_INT_EQ(rig_graph(r) ? count_slow(rig_graph(r)) : -1, 0);
        rig_free(r);
    }
}

int main(void) {
    CHECK_RUN(convolves_pairs);
    return check_done();
}
