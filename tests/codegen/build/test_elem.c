// Rows of codegen/build/elem.def: every type's loads, stores, widening and narrowing, and every
// conversion between two types, against the evaluator's tensors, bit for bit (a NaN for a NaN):
// zeros of both signs, subnormals, middles between two numbers of fewer bits, what overflows,
// infinities, NaN, the ends of every integer type. In vectors and their tails (cast, copy) and one
// by one (scatter_elements).
#include "ir/eval.h"
#include "runtime/core/hone.h"
#include "tests/check.h"
#include "tests/codegen/rig/rig.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// As doubles; those of 64 bits that a double does not hold come from WIDE.
static const double VALUES[] = {
    0,
    -0.0,
    1,
    -1,
    0.5,
    -0.5,
    1.5,
    -1.5,
    2.5,
    3.999,
    100.7,
    127,
    127.5,
    128,
    -128,
    -128.9,
    -129,
    255,
    255.5,
    256,
    257,
    32767,
    32768,
    -32768,
    -32769,
    65504,
    65519.99,
    65520,
    65535,
    65536,
    70000,
    -70000,
    2147483647,
    2147483648.0,
    -2147483648.0,
    -2147483649.0,
    4294967295.0,
    4294967296.0,
    0x1p62,
    0x1p63,
    -0x1p63,
    0x1p64,
    1e30,
    -1e30,
    3.4028234663852886e38,
    3.39e38,
    3.3961775292304601e38,
    1e39,
    -1e39,
    1e300,
    INFINITY,
    -INFINITY,
    NAN,
    1e-40,
    -1e-40,
    0x1p-133,
    0x1p-134,
    0x1.8p-134,
    0x1p-149,
    1e-300,
    0x1p-24,
    0x1p-25,
    0x1.000002p-25,
    0x1.8p-24,
    0x1p-14,
    6.1e-5, // f16's subnormals and their middles
    0x1.002p0,
    0x1.006p0,
    0x1.0020000001p0,
    0x1.0060000001p0,
    0x1.001ffffffffp0, // middles of f16
    0x1.01p0,
    0x1.03p0,
    0x1.0100000001p0,
    0x1.0300000001p0,
    0x1.00fffffffffp0, // middles of bf16
    0x1.000001p0,
    0x1.000003p0,
    0x1.0000010000001p0, // middles of f32
};
static const int64_t WIDE[] = {
    INT64_MAX,
    INT64_MIN,
    INT64_MIN + 1,
    -1,
    ((int64_t)0x101 << 54) + 1,
    ((int64_t)0x101 << 54) - 1,
    ((int64_t)0x103 << 54),
    -((int64_t)0x101 << 54) - 1,
    ((int64_t)1 << 53) + 1,
    16842753,
    16842752,
};
enum { PLAIN = sizeof VALUES / sizeof *VALUES, COUNT = PLAIN + sizeof WIDE / sizeof *WIDE };

static void fill(IrTensor *t) {
    for (int i = 0; i < COUNT; i++) {
        IrWide x = i < PLAIN ? 0 : WIDE[i - PLAIN];
        if (i < PLAIN) {
            ir_tensor_store(t, i, 1, &VALUES[i]);
        } else {
            ir_tensor_store_wide(t, i, 1, &x);
        }
    }
}

static void convert(const IrTensor *from, IrTensor *to) {
    for (int i = 0; i < COUNT; i++) {
        double x;
        IrWide w;
        if (ir_dtype_is_float(from->dtype)) {
            ir_tensor_load(from, i, 1, 1, &x);
            ir_tensor_store(to, i, 1, &x);
        } else {
            ir_tensor_load_wide(from, i, 1, 1, &w);
            ir_tensor_store_wide(to, i, 1, &w);
        }
    }
}

static void compare(const char *what, const IrTensor *from, const IrTensor *want, const char *got) {
    int bytes = ir_dtype_bytes(want->dtype), bad = 0;
    IrTensor t = {.dtype = want->dtype, .rank = 1, .dim = {COUNT}, .data = (void *)got};
    for (int i = 0; i < COUNT; i++) {
        double x = ir_tensor_get(want, i), y = ir_tensor_get(&t, i);
        bool same = !memcmp((char *)want->data + i * bytes, got + i * bytes, (size_t)bytes) ||
                    (isnan(x) && isnan(y));
        if (!same && bad++ == 0) {
            printf("%s %s to %s: of %.17g got %.17g, not %.17g\n", what, ir_dtype_name(from->dtype),
                   ir_dtype_name(want->dtype), ir_tensor_get(from, i), y, x);
        }
    }
    CHECK_INT_EQ(bad, 0);
}

// The outputs are a cast to every type, then a copy and a scatter.
static void check_type(IrArena *a, Rig *r, IrDtype from) {
    const char *name = ir_dtype_name(from);
    rig_input(r, "%%x: %s[N]", name);
    rig_input(r, "%%i: i64[N]");
    for (int to = 0; to < IR_DTYPE_COUNT; to++) {
        rig_node(r, "%%c%d = cast %%x {to=%s}", to, ir_dtype_name((IrDtype)to));
        rig_output(r, "%%c%d", to);
    }
    rig_node(r, "%%s = scatter_elements %%x, %%i, %%x {axis=0}");
    rig_output(r, "%%s");
    CgResult compiled;
    bool skip = false;
    CHECK(rig_compile(r, &compiled) != NULL);
    HoneModel *m = rig_load(r, 1, &skip);
    CHECK(m || skip);
    IrType type = {from, {1, {ir_dim(COUNT)}}, 0};
    IrTensor x = ir_tensor_new(a, &type, 1);
    int64_t index[COUNT];
    void *out[IR_DTYPE_COUNT + 1];
    fill(&x);
    for (int i = 0; i < COUNT; i++) {
        index[i] = i;
    }
    for (int i = 0; i <= IR_DTYPE_COUNT; i++) {
        out[i] = ir_alloc(a, COUNT * sizeof(double));
    }
    CHECK(!m || hone_run(m, COUNT, (const void *[]){x.data, index}, out) == 0);
    for (int i = 0; i <= IR_DTYPE_COUNT && m; i++) {
        type.dtype = i < IR_DTYPE_COUNT ? (IrDtype)i : from;
        IrTensor want = ir_tensor_new(a, &type, 1);
        convert(&x, &want);
        compare(i < IR_DTYPE_COUNT ? "cast" : "scatter", &x, &want, out[i]);
    }
    hone_destroy(m);
}

static void check_machine(const char *mcpu) {
    IrDiag diag;
    ir_diag_init(&diag, "elem");
    IrArena *a = ir_arena_new(&diag);
    for (int from = 0; from < IR_DTYPE_COUNT; from++) {
        Rig *r = rig_new(mcpu, 2);
        check_type(a, r, (IrDtype)from);
        rig_free(r);
    }
    ir_arena_free(a);
}

static void converts_as_the_evaluator_does(void) {
    check_machine("x86-64-v4");
    check_machine("x86-64-v3");
    check_machine("x86-64-v2");
}

int main(void) {
    CHECK_RUN(converts_as_the_evaluator_does);
    return check_done();
}
