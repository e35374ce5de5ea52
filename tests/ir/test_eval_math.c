// Trigonometry, rounding, remainders, bits and shifts of the reference evaluator, against values
// worked out by hand or known: types of every width, 64-bit integers beyond 2^53, what is left
// over.
#include "tests/check.h"
#include "tests/ir/eval_case.h"

#define BIG 9007199254740992.0 // 2^53: doubles there are exact, odd numbers behind it are not

static const Case cases[] = {
    {.name = "sin",
     .op = IR_OP_SIN,
     .in = {X(F32, DIMS(5), 0, M_PI / 6, -M_PI / 2, 1e6, INFINITY)},
     .out = X(F32, DIMS(5), 0, 0.5, -1, -0.34999350, NAN)},
    {.name = "cos f64",
     .op = IR_OP_COS,
     .in = {X(F64, DIMS(3), 0, M_PI / 3, M_PI)},
     .out = X(F64, DIMS(3), 1, 0.5, -1)},
    {.name = "tan",
     .op = IR_OP_TAN,
     .in = {X(F32, DIMS(2), 0, 1)},
     .out = X(F32, DIMS(2), 0, 1.5574077)},
    {.name = "asin",
     .op = IR_OP_ASIN,
     .in = {X(F32, DIMS(4), 0, 0.5, -1, 1.5)},
     .out = X(F32, DIMS(4), 0, M_PI / 6, -M_PI / 2, NAN)},
    {.name = "acos",
     .op = IR_OP_ACOS,
     .in = {X(F32, DIMS(3), 1, 0.5, -1)},
     .out = X(F32, DIMS(3), 0, M_PI / 3, M_PI)},
    {.name = "atan",
     .op = IR_OP_ATAN,
     .in = {X(F32, DIMS(3), 0, 1, -INFINITY)},
     .out = X(F32, DIMS(3), 0, M_PI / 4, -M_PI / 2)},
    {.name = "sinh",
     .op = IR_OP_SINH,
     .in = {X(F32, DIMS(2), 1, -2)},
     .out = X(F32, DIMS(2), 1.1752012, -3.6268604)},
    {.name = "cosh",
     .op = IR_OP_COSH,
     .in = {X(F32, DIMS(2), 0, -2)},
     .out = X(F32, DIMS(2), 1, 3.7621957)},
    {.name = "asinh undoes sinh",
     .op = IR_OP_ASINH,
     .in = {X(F32, DIMS(2), 1.1752012, -3.6268604)},
     .out = X(F32, DIMS(2), 1, -2)},
    {.name = "acosh",
     .op = IR_OP_ACOSH,
     .in = {X(F32, DIMS(3), 1, 3.7621957, 0)},
     .out = X(F32, DIMS(3), 0, 2, NAN)},
    {.name = "atanh",
     .op = IR_OP_ATANH,
     .in = {X(F32, DIMS(3), 0, 0.76159416, 1)},
     .out = X(F32, DIMS(3), 0, 1, INFINITY)},
    {.name = "gelu",
     .op = IR_OP_GELU,
     .in = {X(F32, DIMS(7), 0, 1, -3, 0.5, -40, INFINITY, -INFINITY)},
     .out = X(F32, DIMS(7), 0, 0.84134475, -0.0040496942, 0.34573123, 0, INFINITY, NAN)},
    {.name = "round: halves to even",
     .op = IR_OP_ROUND,
     .in = {X(F32, DIMS(8), 0.5, 1.5, 2.5, -0.5, -2.5, 2.51, 1e30, NAN)},
     .out = X(F32, DIMS(8), 0, 2, 2, 0, -2, 3, 1e30, NAN)},
    {.name = "round_f16: halves to even, subnormals, overflow",
     .op = IR_OP_ROUND_F16,
     .in = {X(F32, DIMS(9), 2049, 2051, 65519, 65520, -1e30, 0x1p-25, 0x1.8p-24, 1.0009765625,
              NAN)},
     .out = X(F32, DIMS(9), 2048, 2052, 65504, INFINITY, -INFINITY, 0, 0x1p-23, 1.0009765625, NAN)},
    {.name = "round_bf16: halves to even, subnormals, overflow",
     .op = IR_OP_ROUND_BF16,
     .in = {X(F32, DIMS(7), 257, 259, 3.4e38, 3.38e38, 0x1.01p-130, 0x1p-134, NAN)},
     .out = X(F32, DIMS(7), 256, 260, INFINITY, 0x1.fcp127, 0x1p-130, 0, NAN)},
    {.name = "sign",
     .op = IR_OP_SIGN,
     .in = {X(F32, DIMS(5), -1e-30, 0, 7, -INFINITY, NAN)},
     .out = X(F32, DIMS(5), -1, 0, 1, -1, NAN)},
    {.name = "sign i8",
     .op = IR_OP_SIGN,
     .in = {X(I8, DIMS(3), -128, 0, 5)},
     .out = X(I8, DIMS(3), -1, 0, 1)},
    {.name = "sign u64",
     .op = IR_OP_SIGN,
     .in = {X(U64, DIMS(2), 0, 0x1p63)},
     .out = X(U64, DIMS(2), 0, 1)},
    // the sign of the dividend
    {.name = "rem",
     .op = IR_OP_REM,
     .in = {X(F32, DIMS(5), 5.5, -5.5, 5.5, -5.5, 1), X(F32, DIMS(5), 3, 3, -3, -3, 0)},
     .out = X(F32, DIMS(5), 2.5, -2.5, 2.5, -2.5, NAN)},
    {.name = "rem i32",
     .op = IR_OP_REM,
     .in = {X(I32, DIMS(6), 7, -7, 7, -7, 7, -2147483648.0), X(I32, DIMS(6), 3, 3, -3, -3, 0, -1)},
     .out = X(I32, DIMS(6), 1, -1, 1, -1, 0, 0)},
    // the sign of the divisor
    {.name = "mod i32",
     .op = IR_OP_MOD,
     .in = {X(I32, DIMS(6), 7, -7, 7, -7, 6, 7), X(I32, DIMS(6), 3, 3, -3, -3, -3, 0)},
     .out = X(I32, DIMS(6), 1, 2, -2, -1, 0, 0)},
    {.name = "mod i8: the sum of remainder and divisor may not overflow",
     .op = IR_OP_MOD,
     .in = {X(I8, DIMS(3), 99, -99, -128), X(I8, DIMS(3), 100, 100, 127)},
     .out = X(I8, DIMS(3), 99, 1, 126)},
    {.name = "mod u64 beyond 2^63",
     .op = IR_OP_MOD,
     .in = {X(U64, DIMS(1), 0x1.8p63), X(U64, DIMS(1), 0x1p62 + 1024)},
     .out = X(U64, DIMS(1), 0x1p62 - 2048)},
    {.name = "mod i64 beyond 2^53",
     .op = IR_OP_MOD,
     .in = {X(I64, DIMS(1), BIG), X(I64, DIMS(1), 10)},
     .out = X(I64, DIMS(1), 2)},
    {.name = "bit_and u8",
     .op = IR_OP_BIT_AND,
     .in = {X(U8, DIMS(2), 0xf0, 0x3c), X(U8, DIMS(), 0x1f)},
     .out = X(U8, DIMS(2), 0x10, 0x1c)},
    {.name = "bit_or i16",
     .op = IR_OP_BIT_OR,
     .in = {X(I16, DIMS(2), -256, 1), X(I16, DIMS(), 6)},
     .out = X(I16, DIMS(2), -250, 7)},
    {.name = "bit_xor i64",
     .op = IR_OP_BIT_XOR,
     .in = {X(I64, DIMS(2), -1, BIG), X(I64, DIMS(2), BIG, BIG)},
     .out = X(I64, DIMS(2), -BIG - 1 - 1, 0)},
    {.name = "shift_left u8",
     .op = IR_OP_SHIFT_LEFT,
     .in = {X(U8, DIMS(4), 0x81, 1, 1, 1), X(U8, DIMS(4), 1, 7, 8, 200)},
     .out = X(U8, DIMS(4), 2, 128, 0, 0)},
    {.name = "shift_left u64",
     .op = IR_OP_SHIFT_LEFT,
     .in = {X(U64, DIMS(3), 3, 1, 1), X(U64, DIMS(3), 62, 63, 64)},
     .out = X(U64, DIMS(3), 0x1.8p63, 0x1p63, 0)},
    {.name = "shift_right u32",
     .op = IR_OP_SHIFT_RIGHT,
     .in = {X(U32, DIMS(3), 0x80000000, 5, 5), X(U32, DIMS(3), 31, 1, 32)},
     .out = X(U32, DIMS(3), 1, 2, 0)},
    {.name = "shift_right i32 keeps the sign",
     .op = IR_OP_SHIFT_RIGHT,
     .in = {X(I32, DIMS(4), -8, -1, 8, -8), X(I32, DIMS(4), 1, 40, 40, -1)},
     .out = X(I32, DIMS(4), -4, -1, 0, -1)},
    {.name = "bits of floats",
     .op = IR_OP_BIT_AND,
     .in = {X(F32, DIMS(1), 1), X(F32, DIMS(1), 1)},
     .error = "bit_and of f32: it works on integers"},
    {.name = "bits of bool",
     .op = IR_OP_BIT_XOR,
     .in = {X(BOOL, DIMS(1), 1), X(BOOL, DIMS(1), 1)},
     .error = "bit_xor of bool: it works on integers"},
    {.name = "sine of integers",
     .op = IR_OP_SIN,
     .in = {X(I32, DIMS(1), 1)},
     .error = "sin of i32: it works on floating point"},
};

static void means_what_it_says(void) {
    check_cases(cases, sizeof cases / sizeof *cases);
}

// Odd numbers behind 2^53, which no double is: results are compared as integers.
static void is_exact_on_64_bits(void) {
    static const struct {
        IrOp op;
        uint64_t x, y, want;
    } exact[] = {
        {IR_OP_MOD, (UINT64_C(1) << 53) + 1, 1000, 993},
        {IR_OP_REM, UINT64_MAX, UINT64_C(1) << 63, (UINT64_C(1) << 63) - 1},
        {IR_OP_BIT_AND, UINT64_MAX, (UINT64_C(1) << 60) + 1, (UINT64_C(1) << 60) + 1},
        {IR_OP_BIT_OR, UINT64_C(1) << 63, 1, (UINT64_C(1) << 63) + 1},
        {IR_OP_BIT_XOR, UINT64_MAX, 1, UINT64_MAX - 1},
        {IR_OP_SHIFT_LEFT, (UINT64_C(1) << 60) + 1, 3, (UINT64_C(1) << 63) + 8},
        {IR_OP_SHIFT_RIGHT, UINT64_MAX, 1, INT64_MAX},
    };
    IrDiag diag;
    ir_diag_init(&diag, "exact");
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++) {
        IrArena *a = ir_arena_new(&diag);
        IrBuilder b = {.graph = ir_graph_new(ir_program_new(a, "p"), "g"), .name = "n"};
        IrType type = {.dtype = IR_U64};
        IrValue *in[] = {ir_input(b.graph, "x", type), ir_input(b.graph, "y", type)};
        IrNode *n = ir_build_node(&b, exact[i].op, 2, in, 0, NULL);
        uint64_t x = exact[i].x, y = exact[i].y;
        IrTensor tx = {.dtype = IR_U64, .data = &x}, ty = {.dtype = IR_U64, .data = &y}, out = {0};
        CHECK_STR_EQ(ir_eval_node(n, 1, (const IrTensor *[]){&tx, &ty}, &out, a), NULL);
        CHECK(out.data && *(uint64_t *)out.data == exact[i].want);
        ir_arena_free(a);
    }
}

int main(void) {
    CHECK_RUN(means_what_it_says);
    CHECK_RUN(is_exact_on_64_bits);
    return check_done();
}
