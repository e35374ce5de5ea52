// The innermost loops of conv_wgrad keep everything in registers; those of Winograd's algorithm
// where there are 32 of 64 bytes: with fewer its transforms touch the stack, its products do not.
#include "tests/check.h"
#include "tests/codegen/rig/rig.h"
#include "tests/codegen/conv/spills.h"

typedef struct Shape {
    int C, O, H, W, kh, kw, s, ph, pw, group;
} Shape;

static const Shape shapes[] = {
    {3, 64, 224, 224, 7, 7, 2, 3, 3, 1},   {3, 32, 299, 299, 3, 3, 2, 0, 0, 1},
    {64, 64, 56, 56, 1, 1, 1, 0, 0, 1},    {64, 64, 56, 56, 3, 3, 1, 1, 1, 1},
    {128, 128, 28, 28, 3, 3, 1, 1, 1, 1},  {256, 512, 28, 28, 1, 1, 2, 0, 0, 1},
    {256, 256, 14, 14, 3, 3, 1, 1, 1, 1},  {512, 512, 7, 7, 3, 3, 1, 1, 1, 1},
    {64, 80, 73, 73, 1, 1, 1, 0, 0, 1},    {48, 64, 35, 35, 5, 5, 1, 2, 2, 1},
    {128, 192, 17, 17, 1, 7, 1, 0, 3, 1},  {192, 192, 17, 17, 7, 1, 1, 3, 0, 1},
    {16, 48, 14, 14, 3, 3, 1, 1, 1, 1},    {144, 144, 56, 56, 3, 3, 1, 1, 1, 144},
    {256, 256, 56, 56, 3, 3, 2, 1, 1, 32}, {208, 208, 14, 14, 3, 3, 1, 1, 1, 26},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static const char *target;

static int out_size(int in, int k, int s, int pad) {
    return (in + 2 * pad - k) / s + 1;
}

static void check_registers(bool winograd) {
    Rig *r = rig_new(target, 2);
    rig_winograd(r, winograd);
    int loops = 0;
    for (int k = 0; k < N_SHAPES; k++) {
        const Shape *c = &shapes[k];
        rig_input(r, "%%x%d: f32[N,%d,%d,%d]", k, c->C, c->H, c->W);
        rig_input(r, "%%d%d: f32[N,%d,%d,%d]", k, c->O, out_size(c->H, c->kh, c->s, c->ph),
                  out_size(c->W, c->kw, c->s, c->pw));
        rig_node(r,
                 "%%w%1$d = conv_wgrad %%x%1$d, %%d%1$d {stride=[%2$d,%2$d], "
                 "pad=[%3$d,%4$d,%3$d,%4$d], group=%5$d, shape=[%6$d,%7$d,%8$d,%9$d]}",
                 k, c->s, c->ph, c->pw, c->group, c->O, c->C / c->group, c->kh, c->kw);
        rig_output(r, "%%w%d", k);
    }
    CgResult cg;
    if (CHECK(rig_compile(r, &cg) != NULL))
        for (int i = 0; i < cg.n_files; i++)
            if (!strstr(cg.files[i], "weights"))
                CHECK_INT_EQ(spills_count(cg.files[i], &loops), 0);
    CHECK(loops >= N_SHAPES);
    rig_free(r);
}

static void keeps_registers(void) {
    check_registers(false);
}

static void keeps_registers_by_winograd(void) {
    check_registers(true);
}

int main(int argc, char **argv) {
    static const char *const targets[] = {"znver4", "x86-64-v4", "x86-64-v3", "neoverse-n1"};
    for (int i = 0; i < 4; i++) {
        target = argc > 1 ? argv[1] : targets[i];
        if (!spills_can_read(target)) {
            printf("%s: skipped: there is no objdump for it\n", target);
            continue;
        }
        CHECK_RUN(keeps_registers);
        if (i < 2)
            CHECK_RUN(keeps_registers_by_winograd);
        if (argc > 1)
            break;
    }
    return check_done();
}
