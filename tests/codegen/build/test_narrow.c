// Floats to small integers in a body: round, zero point, clip and cast as one conversion, or parts
// of it, against the evaluator bit for bit: halves, what is at and past the ends, huge numbers,
// infinities, NaN. In vectors and their tail, on three machines.
#include "runtime/core/hone.h"
#include "tests/check.h"
#include "tests/codegen/rig/rig.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { COUNT = 331 };

static void fill(float *x) {
    static const float odd[] = {
        0.0F,   -0.0F,  0.5F,   -0.5F,    1.5F,       2.5F,       -2.5F,  126.5F,   127.5F,
        128.0F, 254.5F, 255.0F, 255.5F,   -128.5F,    -129.0F,    6e4F,   65534.5F, 7e4F,
        -7e4F,  3e9F,   -3e9F,  8388609,  3e38F,      -3e38F,     1e-40F, INFINITY, -INFINITY,
        NAN,    -NAN,   0.3F,   32767.5F, 4194304.5F, 4194303.5F, 1e6F};
    enum { ODD = sizeof odd / sizeof *odd };
    for (int i = 0; i < COUNT; i++) {
        x[i] = i < ODD ? odd[i] : (float)(i - COUNT / 2) * 1.75F + (float)(i % 7) / 8;
    }
}

// T the type, L and H the ends; operand 1 the zero point, operand 2 a third.
static const char *const bodies[] = {
    "round(0), add(s0, 1), clip(s1, min=L, max=H), cast(s2, to=T)",
    "round(0), add(1, s0), cast(s1, to=T)",
    "round(0), cast(s0, to=T)",
    "clip(0, min=L, max=H), cast(s0, to=T)",
    "cast(0, to=T)",
    "add(0, 1), cast(s0, to=T)",
    "round(0), add(s0, 1), clip(s1, min=L, max=H), add(s2, s1), cast(s3, to=T)",
    "round(0), add(s0, 2), clip(s1, min=0.25, max=77.5), cast(s2, to=T)",
    "round(0), clip(s0, min=H, max=L), cast(s1, to=T)",
    "round(0), cast(s0, to=T), cast(s1, to=f32), mul(s2, 2), round(s3), cast(s4, to=u8)",
};
enum { BODIES = sizeof bodies / sizeof *bodies };

static const struct {
    const char *type;
    int zero, low, high;
} ways[] = {
    {"u8", 0, 0, 255},     {"u8", 128, 0, 255},    {"u8", 3, 3, 255},     {"u8", 17, 5, 200},
    {"u8", -4, -300, 300}, {"i8", 0, -128, 127},   {"i8", -128, 0, 127},  {"i8", 7, -9, 100},
    {"u16", 0, 0, 65535},  {"u16", 32768, 0, 9e3}, {"i16", 0, -32768, 0}, {"i16", -5, -300, 32767},
};
enum { WAYS = sizeof ways / sizeof *ways, OUTPUTS = BODIES * WAYS };

static void write_node(char *to, int way, const char *body, int k) {
    to += sprintf(to, "%%y%d = map %%x, %%z%d, %%t {body=[", k, way);
    for (; *body; body++) {
        to += *body == 'T'   ? sprintf(to, "%s", ways[way].type)
              : *body == 'L' ? sprintf(to, "%d", ways[way].low)
              : *body == 'H' ? sprintf(to, "%d", ways[way].high)
                             : sprintf(to, "%c", *body);
    }
    sprintf(to, "]}");
}

static void write_program(Rig *r) {
    char line[512];
    rig_const(r, "%%t: f32[] = splat(2.5)");
    rig_input(r, "%%x: f32[N]");
    for (int w = 0; w < WAYS; w++) {
        rig_const(r, "%%z%d: f32[] = splat(%d)", w, ways[w].zero);
    }
    for (int k = 0; k < OUTPUTS; k++) {
        write_node(line, k / BODIES, bodies[k % BODIES], k);
        rig_node(r, "%s", line);
        rig_output(r, "%%y%d", k);
    }
}

static void compare(int k, const float *x, const IrTensor *want, const IrTensor *got) {
    char line[512];
    int bad = 0;
    for (int i = 0; i < COUNT; i++) {
        double a = ir_tensor_get(want, i), b = ir_tensor_get(got, i);
        if (a != b && bad++ == 0) {
            write_node(line, k / BODIES, bodies[k % BODIES], k);
            printf("%s: of %.9g got %g, not %g\n", line, (double)x[i], b, a);
        }
    }
    CHECK_INT_EQ(bad, 0);
}

static void check_machine(const char *mcpu, int opt_level) {
    Rig *r = rig_new(mcpu, opt_level);
    CgResult compiled;
    bool skip = false;
    float x[COUNT];
    write_program(r);
    CHECK(rig_compile(r, &compiled) != NULL);
    HoneModel *m = rig_load(r, 1, &skip);
    CHECK(m || skip);
    if (m) {
        IrGraph *g = rig_graph(r);
        IrArena *a = g->prog->arena;
        IrTensor in = {.dtype = IR_F32, .rank = 1, .dim = {COUNT}, .data = x}, want[OUTPUTS];
        IrTensor got[OUTPUTS];
        void *out[OUTPUTS];
        fill(x);
        CHECK_STR_EQ(ir_eval(g, COUNT, &in, want, a, NULL, NULL), NULL);
        for (int k = 0; k < OUTPUTS; k++) {
            got[k] = ir_tensor_new(a, &g->outputs[k]->type, COUNT);
            out[k] = got[k].data;
        }
        CHECK(hone_run(m, COUNT, (const void *[]){x}, out) == 0);
        for (int k = 0; k < OUTPUTS; k++) {
            compare(k, x, &want[k], &got[k]);
        }
    }
    hone_destroy(m);
    rig_free(r);
}

static void narrows_as_the_evaluator_does(void) {
    check_machine("x86-64-v4", 2);
    check_machine("x86-64-v3", 2);
    check_machine("x86-64-v2", 0);
}

int main(void) {
    CHECK_RUN(narrows_as_the_evaluator_does);
    return check_done();
}
