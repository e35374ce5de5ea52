// Convolutions of bf16 against the evaluator: products of pairs, by the instruction for them or as
// f32, sums in f32, rounded where they are stored; kernel sizes, strides, groups, odd channel
// counts, epilogues.
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

typedef struct Conv {
    int C, H, W, O, kh, kw, s, p, group;
} Conv;

static const Conv shapes[] = {
    {16, 4, 4, 16, 1, 1, 1, 0, 1},    {17, 5, 3, 33, 1, 1, 1, 0, 1},
    {64, 7, 7, 128, 1, 1, 1, 0, 1},   {24, 9, 9, 80, 1, 1, 2, 0, 1},
    {3, 20, 22, 40, 7, 7, 2, 3, 1},   {32, 14, 14, 32, 3, 3, 1, 1, 1},
    {16, 28, 29, 80, 3, 3, 2, 1, 1},  {7, 3, 3, 9, 7, 7, 1, 3, 1},
    {130, 6, 6, 70, 3, 3, 1, 1, 1},   {64, 9, 9, 64, 3, 3, 1, 1, 2},
    {40, 6, 7, 40, 3, 3, 1, 1, 5},    {64, 14, 14, 64, 3, 3, 2, 1, 8},
    {32, 14, 14, 32, 3, 3, 1, 1, 32}, {19, 12, 12, 19, 5, 5, 1, 2, 19},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

// A constant bias, one that is computed, none; a residual's place is taken by a scale per channel.
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
};
enum { FORMS = sizeof forms / sizeof *forms };

static void convolves_pairs(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < N_SHAPES * FORMS; k++) {
            const Conv *c = &shapes[k / FORMS];
            case_add(r, k, forms[k % FORMS], c->C, c->H, c->W, c->O, c->kh, c->kw, c->s, c->p,
                     c->group, c->C / c->group);
        }
        CHECK_INT_EQ(case_check(r, 8e-3, false), 0);
    }
}

int main(void) {
    CHECK_RUN(convolves_pairs);
    return check_done();
}
