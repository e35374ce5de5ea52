// Transposed convolutions through the normal path: conv_dgrad, which expand_dgrad takes apart in
// every pipeline, with what follows it in networks, against the evaluator.
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

static const struct {
    int C, H, W, M, kh, kw, sh, sw, pt, pl, oh, ow, group;
} cases[] = {
    {24, 5, 6, 20, 4, 4, 2, 2, 1, 1, 10, 12, 1}, // twice the size
    {16, 7, 5, 32, 2, 2, 2, 2, 0, 0, 14, 10, 1},
    {3, 4, 9, 5, 3, 3, 2, 1, 1, 0, 8, 11, 1},  // output_padding 1
    {6, 5, 5, 2, 2, 1, 3, 2, 0, 0, 15, 10, 3}, // stride beyond the kernel: absent phases
    {8, 6, 6, 1, 5, 3, 1, 1, 2, 1, 6, 6, 8},   // depthwise, stride 1
    {4, 3, 3, 4, 3, 3, 9, 9, 0, 0, 21, 21, 1}, // too many phases
    {20, 1, 8, 17, 1, 4, 1, 2, 0, 1, 1, 16, 1},
};

static void upsampling(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < (int)(sizeof cases / sizeof *cases); k++) {
            int channels = cases[k].M * cases[k].group;
            int bottom = (cases[k].H - 1) * cases[k].sh + cases[k].kh - cases[k].pt - cases[k].oh;
            int right = (cases[k].W - 1) * cases[k].sw + cases[k].kw - cases[k].pl - cases[k].ow;
            case_add(r, k,
                     "in %%x: f32[N,%d,%d,%d]\nconst %%w: f32[%d,%d,%d,%d] = rand(1)\n"
                     "const %%b: f32[1,%d,1,1] = rand(2)\nconst %%v: f32[4,%d,1,1] = rand(3)\n"
                     "%%d = conv_dgrad %%x, %%w {stride=[%d,%d], pad=[%d,%d,%d,%d], group=%d, "
                     "shape=[N,%d,%d,%d]}\n%%a = add %%d, %%b\n%%r = relu %%a\n"
                     "%%y = conv %%r, %%v\nout %%y\nout %%d",
                     cases[k].C, cases[k].H, cases[k].W, cases[k].C, cases[k].M, cases[k].kh,
                     cases[k].kw, channels, channels, cases[k].sh, cases[k].sw, cases[k].pt,
                     cases[k].pl, bottom > 0 ? bottom : 0, right > 0 ? right : 0, cases[k].group,
                     channels, cases[k].oh, cases[k].ow);
        }
        CHECK_INT_EQ(case_check(r, 2e-5, true), 0);
    }
}

int main(void) {
    CHECK_RUN(upsampling);
    return check_done();
}
