// Every op of the reference evaluator against results computed elsewhere (eval_cases.def), and
// against results worked out by hand: bodies, epilogues, refusals, element types, dropout.
#include "ir/eval.h"
#include "ir/random.h"
#include "tests/check.h"
#include "tests/ir/eval_case.h"

static const Case computed_cases[] = {
#include "tests/ir/eval_cases.def"
};

#define STEP(E, ...)                                                                               \
    {                                                                                              \
        .op = IR_OP_##E, .arg = { __VA_ARGS__ }                                                    \
    }
#define STEP_P(E, x, a, b)                                                                         \
    {                                                                                              \
        .op = IR_OP_##E, .arg = {x}, .p = { a, b }                                                 \
    }

static const Case body_cases[] = {
    // 2x + 1 where x > 0, else 0; x = -1, 0, 1, 2
    {.name = "map of steps, compare and where",
     .op = IR_OP_MAP,
     .in = {X(F32, DIMS(4), -1, 0, 1, 2), X(F32, DIMS(), 2), X(F32, DIMS(1), 1), X(F32, DIMS(), 0)},
     .attr = {A_STEPS(BODY, STEP(MUL, 0, 1), STEP(ADD, IR_STEP(0), 2), STEP(GREATER, 0, 3),
                      STEP(WHERE, IR_STEP(2), IR_STEP(1), 3))},
     .out = X(F32, DIMS(4), 0, 0, 3, 5)},
    {.name = "map that compares",
     .op = IR_OP_MAP,
     .in = {X(I64, DIMS(2, 1), 3, 4), X(I64, DIMS(2), 3, 5)},
     .attr = {A_STEPS(BODY, STEP(LESS, 0, 1), STEP(NOT, IR_STEP(0)))},
     .out = X(BOOL, DIMS(2, 2), 1, 0, 1, 0)},
    // Every step wraps around: 100 + 100 = -56, -56 / 2 = -28; -100 - 100 = 56, 28.
    {.name = "map of i8 wraps around after each step",
     .op = IR_OP_MAP,
     .in = {X(I8, DIMS(2), 100, -100), X(I8, DIMS(), 2)},
     .attr = {A_STEPS(BODY, STEP(ADD, 0, 0), STEP(DIV, IR_STEP(0), 1))},
     .out = X(I8, DIMS(2), -28, 28)},
    // 1e30 * 1e30 overflows float32: each step is what its node would store.
    {.name = "map rounds each step",
     .op = IR_OP_MAP,
     .in = {X(F32, DIMS(1), 1e30)},
     .attr = {A_STEPS(BODY, STEP(MUL, 0, 0), STEP(SQRT, IR_STEP(0)))},
     .out = X(F32, DIMS(1), INFINITY)},
    {.name = "map with attributes in its steps",
     .op = IR_OP_MAP,
     .in = {X(F32, DIMS(4), -10, -1, 3, 10)},
     .attr = {A_STEPS(BODY, STEP_P(LEAKY_RELU, 0, 0.5, 0), STEP_P(CLIP, IR_STEP(0), -2, 6))},
     .out = X(F32, DIMS(4), -2, -0.5, 3, 6)},
    // x = 1 2 3 4, w = 2 and -1, bias = 1 and 0: 3 5 7 9 and -1 -2 -3 -4; plus the residual 1 1 1 1
    // and 2 2 2 2, then relu.
    {.name = "conv with residual and relu",
     .op = IR_OP_CONV,
     .in = {X(F32, DIMS(1, 1, 2, 2), 1, 2, 3, 4), X(F32, DIMS(2, 1, 1, 1), 2, -1),
            X(F32, DIMS(2), 1, 0), X(F32, DIMS(1, 2, 2, 2), 1, 1, 1, 1, 2, 2, 2, 2)},
     .attr = {A_STEPS(THEN, STEP(ADD, IR_ACC, 3), STEP(RELU, IR_STEP(0)))},
     .out = X(F32, DIMS(1, 2, 2, 2), 4, 6, 8, 10, 1, 0, 0, 0)},
    {.name = "conv without bias, scaled by channel",
     .op = IR_OP_CONV,
     .in = {X(F32, DIMS(1, 1, 1, 2), 1, 2), X(F32, DIMS(2, 1, 1, 1), 2, -1), NONE,
            X(F32, DIMS(2, 1, 1), 10, 100)},
     .attr = {A_STEPS(THEN, STEP(MUL, IR_ACC, 3))},
     .out = X(F32, DIMS(1, 2, 1, 2), 20, 40, -100, -200)},
    // x = 1 -2 3 in a row, times 2 plus 1, relu: 3 0 7; under padding that stays 0, sums of two:
    // 3 3 7 7; times 10
    {.name = "conv with a prologue, padded after it",
     .op = IR_OP_CONV,
     .in = {X(F32, DIMS(1, 1, 1, 3), 1, -2, 3), X(F32, DIMS(1, 1, 1, 2), 1, 1), NONE,
            X(F32, DIMS(), 10), X(F32, DIMS(1, 1, 1, 1), 2), X(F32, DIMS(1), 1)},
     .attr = {A_INTS(PAD, 0, 1, 0, 1),
              A_STEPS(PRE, STEP(MUL, IR_ACC, 4), STEP(ADD, IR_STEP(0), 5), STEP(RELU, IR_STEP(1))),
              A_STEPS(THEN, STEP(MUL, IR_ACC, 3))},
     .out = X(F32, DIMS(1, 1, 1, 4), 30, 30, 70, 70)},
    {.name = "reduce_sum with a prologue",
     .op = IR_OP_REDUCE_SUM,
     .in = {X(F32, DIMS(2, 3), 1, 2, 3, 4, 5, 6), X(F32, DIMS(2, 3), 1, -1, 2, 0, 3, 0.5)},
     .attr = {A_INTS(AXES, 1), A_INT(KEEPDIMS, 0), A_STEPS(PRE, STEP(MUL, IR_ACC, 1))},
     .out = X(F32, DIMS(2), 5, 18)},
    {.name = "pack_filter: weights and zeros behind them",
     .op = IR_OP_PACK_FILTER,
     .in = {X(F32, DIMS(2, 1, 1, 2), 1, 2, 3, 4)},
     .attr = {A_DIMS(SHAPE, 7)},
     .out = X(F32, DIMS(7), 1, 2, 3, 4, 0, 0, 0)},
    // 1 + 3/256 is half way between 1 + 2/256 and 1 + 4/256, whose last bit is 0
    {.name = "pack_filter: weights times factors, turned",
     .op = IR_OP_PACK_FILTER,
     .in = {X(F32, DIMS(2, 1, 1, 2), 1, 2, 3, 4), X(F32, DIMS(2, 1, 1, 1), 10, -1)},
     .attr = {A_DIMS(SHAPE, 5), A_INT(REVERSE, 1)},
     .out = X(F32, DIMS(5), 20, 10, -4, -3, 0)},
    {.name = "pack_filter: weights turned and rounded",
     .op = IR_OP_PACK_FILTER,
     .in = {X(F32, DIMS(2, 1, 1, 2), 1 + 3. / 256, 2, 3, 4)},
     .attr = {A_DIMS(SHAPE, 5), A_INT(REVERSE, 1), A_STR(TO, "bf16")},
     .out = X(BF16, DIMS(5), 2, 1 + 4. / 256, 4, 3, 0)},
    // 1*5 + 2*6, 1*6 + 2*7; 3*5 + 4*6, 3*6 + 4*7
    {.name = "conv of packed weights",
     .op = IR_OP_CONV,
     .in = {X(F32, DIMS(1, 1, 1, 3), 5, 6, 7), X(F32, DIMS(6), 1, 2, 3, 4, 0, 0)},
     .attr = {A_DIMS(FILTER, 2, 1, 1, 2)},
     .out = X(F32, DIMS(1, 2, 1, 2), 17, 20, 39, 46)},
    // [1 2] [3 4; 5 6] = [13 16]; minus [13 20] is [0 -4]; abs
    {.name = "matmul with an epilogue",
     .op = IR_OP_MATMUL,
     .in = {X(F32, DIMS(1, 2), 1, 2), X(F32, DIMS(2, 2), 3, 4, 5, 6), NONE,
            X(F32, DIMS(2), 13, 20)},
     .attr = {A_STEPS(THEN, STEP(SUB, IR_ACC, 3), STEP(ABS, IR_STEP(0)))},
     .out = X(F32, DIMS(1, 2), 0, 4)},
    // means of the pixels 2 -3; 5 1: [2 -3] [1 2; 3 4] = [-7 -8], [5 1] [1 2; 3 4] = [8 14];
    // plus 1 2
    {.name = "matmul with the means of a map",
     .op = IR_OP_MATMUL,
     .in = {X(F32, DIMS(2, 2, 1, 2), 1, 3, -2, -4, 5, 5, 0, 2), X(F32, DIMS(2, 2), 1, 2, 3, 4),
            X(F32, DIMS(2), 1, 2)},
     .attr = {A_INT(MEAN, 1)},
     .out = X(F32, DIMS(2, 2), -6, -6, 9, 16)},
    {.name = "reduce with an epilogue",
     .op = IR_OP_REDUCE_MEAN,
     .in = {X(F32, DIMS(2, 2), 1, 3, 5, 9), X(F32, DIMS(), 2)},
     .attr = {A_INTS(AXES, 1), A_INT(KEEPDIMS, 0), A_STEPS(THEN, STEP(DIV, IR_ACC, 1))},
     .out = X(F32, DIMS(2), 1, 3.5)},
    // means 2 and -5, plus 1 and 2 by channel
    {.name = "avg_pool with bias and relu",
     .op = IR_OP_AVG_POOL,
     .in = {X(F32, DIMS(1, 2, 2, 1), 1, 3, -4, -6), X(F32, DIMS(1, 2, 1, 1), 1, 2)},
     .attr = {A_INTS(KERNEL, 2, 1), A_STEPS(THEN, STEP(ADD, IR_ACC, 1), STEP(RELU, IR_STEP(0)))},
     .out = X(F32, DIMS(1, 2, 1, 1), 3, 0)},
    {.name = "max_pool squared",
     .op = IR_OP_MAX_POOL,
     .in = {X(F32, DIMS(1, 1, 1, 4), 1, 3, -4, -6)},
     .attr = {A_INTS(KERNEL, 1, 2), A_INTS(STRIDE, 1, 2), A_STEPS(THEN, STEP(MUL, IR_ACC, IR_ACC))},
     .out = X(F32, DIMS(1, 1, 1, 2), 9, 16)},
    // channels 1 2 | 3 4 5 of two images; 1 is picked twice, 2 and 4 never
    {.name = "shuffle",
     .op = IR_OP_SHUFFLE,
     .in = {X(F32, DIMS(2, 2, 1), 1, 2, 11, 12), X(F32, DIMS(2, 3, 1), 3, 4, 5, 13, 14, 15)},
     .attr = {A_INTS(CHANNELS, 4, 0, 2, 0)},
     .out = X(F32, DIMS(2, 4, 1), 5, 1, 3, 1, 15, 11, 13, 11)},
    {.name = "shuffle of u8",
     .op = IR_OP_SHUFFLE,
     .in = {X(U8, DIMS(1, 3, 2), 1, 2, 3, 4, 5, 6)},
     .attr = {A_INTS(CHANNELS, 2, 1)},
     .out = X(U8, DIMS(1, 2, 2), 5, 6, 3, 4)},
    {.name = "reduce over no axes",
     .op = IR_OP_REDUCE_SUM,
     .in = {X(F32, DIMS(2), 1, 3)},
     .out = X(F32, DIMS(2), 1, 3)},
    {.name = "reorder",
     .op = IR_OP_REORDER,
     .in = {X(F32, DIMS(1, 2), 1, 2)},
     .out = X(F32, DIMS(1, 2), 1, 2)},
    {.name = "lrn defaults: x / (1 + 1e-4 x^2)^0.75",
     .op = IR_OP_LRN,
     .in = {X(F32, DIMS(1, 1), 10)},
     .attr = {A_INT(SIZE, 1)},
     .out = X(F32, DIMS(1, 1), 9.92564926)},
};

static const Case refused_cases[] = {
    {.name = "max_pool i64",
     .op = IR_OP_MAX_POOL,
     .in = {X(I64, DIMS(1, 1, 1, 1), 1)},
     .attr = {A_INTS(KERNEL, 1, 1)},
     .error = "NYI: max_pool of i64"},
};

static void agrees_with_other_libraries(void) {
    check_cases(computed_cases, sizeof computed_cases / sizeof computed_cases[0]);
}

static void runs_bodies(void) {
    check_cases(body_cases, sizeof body_cases / sizeof body_cases[0]);
}

static void refuses(void) {
    check_cases(refused_cases, sizeof refused_cases / sizeof refused_cases[0]);
}

// Every number of a type of 16 bits survives a trip through double, and set rounds to nearest even
// between two. inf: the bits of infinity.
static void check_halves(IrDtype t, uint16_t inf) {
    uint16_t h = 0, back = 0, up = 0;
    IrTensor from = {.dtype = t, .rank = 0, .data = &h};
    IrTensor to = {.dtype = t, .rank = 0, .data = &back};
    IrTensor next = {.dtype = t, .rank = 0, .data = &up};
    int wrong = 0;
    for (int i = 0; i < 0x10000; i++) {
        h = (uint16_t)i;
        double x = ir_tensor_get(&from, 0);
        ir_tensor_set(&to, 0, x);
        wrong += isnan(x) ? (back & 0x7fff) <= inf : back != h;
        if ((h & 0x7fff) < inf - 1) {
            up = (uint16_t)(h + 1);
            double middle = (x + ir_tensor_get(&next, 0)) / 2;
            ir_tensor_set(&to, 0, middle);
            wrong += back != (h & 1 ? up : h);
            ir_tensor_set(&to, 0, nextafter(middle, x));
            wrong += back != h;
            ir_tensor_set(&to, 0, nextafter(middle, ir_tensor_get(&next, 0)));
            wrong += back != up;
        }
    }
    CHECK_INT_EQ(wrong, 0);
}

static void converts_halves(void) {
    uint16_t h = 0x3555; // 0x155 / 1024 * 2^-2 + 2^-2
    IrTensor t = {.dtype = IR_F16, .rank = 0, .data = &h};
    check_halves(IR_F16, 0x7c00);
    check_halves(IR_BF16, 0x7f80);
    CHECK_NEAR(ir_tensor_get(&t, 0), 0.333251953125, 0);
    t.dtype = IR_BF16;
    h = 0x3eab; // 0x2b / 128 * 2^-2 + 2^-2
    CHECK_NEAR(ir_tensor_get(&t, 0), 0.333984375, 0);
    IrWide x = ((IrWide)0x101 << 55) + 1; // just above the middle of two numbers: not to even
    ir_tensor_store_wide(&t, 0, 1, &x);
    CHECK_NEAR(ir_tensor_get(&t, 0), 0x1.02p63, 0);
}

// A tensor of every dtype takes what fits and saturates the rest; NaN is 0 in integers.
static void saturates_elements(void) {
    static const struct {
        IrDtype dtype;
        double low, high; // what -1e300 and 1e300 become
    } range[] = {
        {IR_I8, -128, 127},
        {IR_I16, -32768, 32767},
        {IR_I32, -2147483648.0, 2147483647},
        {IR_I64, -0x1p63, 0x1p63},
        {IR_U8, 0, 255},
        {IR_U16, 0, 65535},
        {IR_U32, 0, 4294967295.0},
        {IR_U64, 0, 0x1p64},
        {IR_BOOL, 1, 1},
        {IR_F32, -INFINITY, INFINITY},
        {IR_F16, -INFINITY, INFINITY},
        {IR_BF16, -INFINITY, INFINITY},
        {IR_F64, -1e300, 1e300},
    };
    for (size_t i = 0; i < sizeof range / sizeof range[0]; i++) {
        int64_t room[4] = {0};
        IrTensor t = {.dtype = range[i].dtype, .rank = 1, .dim = {4}, .data = room};
        ir_tensor_set(&t, 0, 1);
        ir_tensor_set(&t, 1, -1e300);
        ir_tensor_set(&t, 2, 1e300);
        ir_tensor_set(&t, 3, NAN);
        CHECK_NEAR(ir_tensor_get(&t, 0), 1, 0);
        CHECK_NEAR(ir_tensor_get(&t, 1), range[i].low, 0);
        CHECK_NEAR(ir_tensor_get(&t, 2), range[i].high, 0);
        CHECK_NEAR(ir_tensor_get(&t, 3), ir_dtype_is_float(t.dtype) ? NAN : t.dtype == IR_BOOL, 0);
    }
}

// splitmix64 of seed 1234567 is a published sequence; our keyed streams draw its high halves.
static void draws_splitmix64(void) {
    static const uint64_t published[] = {
        UINT64_C(6457827717110365317),
        UINT64_C(3203168211198807973),
        UINT64_C(9817491932198370423),
        UINT64_C(4593380528125082431),
    };
    for (uint64_t i = 0; i < 4; i++) {
        CHECK_INT_EQ(ir_random_u32(1234567, i), published[i] >> 32);
    }
    CHECK_INT_EQ(ir_random_threshold(0), 0);
    CHECK_INT_EQ(ir_random_threshold(1e-30), 1);
    CHECK_INT_EQ(ir_random_threshold(0.5), INT64_C(1) << 31);
    CHECK_INT_EQ(ir_random_threshold(1), INT64_C(1) << 32);
}

// Kept elements are scaled, the others 0, near the ratio; by seed and index alone.
static void drops_by_seed_and_index(void) {
    enum { ELEMS = 40000 };
    Case c = {.name = "dropout",
              .op = IR_OP_DROPOUT,
              .in = {P(F32, DIMS(ELEMS), 0)},
              .attr = {A_FLOAT(RATIO, 0.3), A_INT(SEED, 5)}};
    IrDiag diag;
    ir_diag_init(&diag, "dropout");
    IrArena *a = ir_arena_new(&diag);
    const char *why;
    IrNode *n = build_case(ir_program_new(a, "p"), &c, &why);
    IrTensor x = operand_tensor(a, &c.in[0]), y;
    for (int i = 0; i < ELEMS; i++) {
        ir_tensor_set(&x, i, 2);
    }
    why = n ? ir_eval_node(n, 1, (const IrTensor *[]){&x}, &y, a) : why;
    CHECK_STR_EQ(why, NULL);
    int dropped = 0, wrong = 0;
    uint64_t key = ir_random_key(5);
    for (int i = 0; i < ELEMS && !why; i++) {
        bool keep = ir_random_u32(key, (uint64_t)i) / 4294967296.0 >= 0.3;
        dropped += !keep;
        wrong += ((const float *)y.data)[i] != (keep ? (float)(2 / 0.7) : 0);
    }
    CHECK_INT_EQ(wrong, 0);
    CHECK_NEAR(dropped, 0.3 * ELEMS, 0.01 * ELEMS);
    ir_arena_free(a);
}

int main(void) {
    CHECK_RUN(agrees_with_other_libraries);
    CHECK_RUN(runs_bodies);
    CHECK_RUN(refuses);
    CHECK_RUN(converts_halves);
    CHECK_RUN(saturates_elements);
    CHECK_RUN(draws_splitmix64);
    CHECK_RUN(drops_by_seed_and_index);
    return check_done();
}
