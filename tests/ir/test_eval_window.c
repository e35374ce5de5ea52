// resize and max_pool_index of the reference evaluator against results worked out by hand, and what
// their shape rules refuse.
#include "tests/check.h"
#include "tests/ir/eval_case.h"

static const Case cases[] = {
    {.name = "columns copied, any type",
     .op = IR_OP_RESIZE,
     .in = {X(I64, DIMS(1, 1, 2, 2), 5, 7, 8, 9), NONE, NONE, X(I32, DIMS(1, 3), 0, 1, 1)},
     .out = X(I64, DIMS(1, 1, 2, 3), 5, 7, 7, 8, 9, 9)},
    {.name = "rows copied, from the nearest end where they are outside",
     .op = IR_OP_RESIZE,
     .in = {X(BOOL, DIMS(1, 1, 2, 2), 1, 0, 0, 1), X(I32, DIMS(1, 3), -4, 1, 9)},
     .out = X(BOOL, DIMS(1, 1, 3, 2), 1, 0, 0, 1, 0, 1)},
    {.name = "nothing but a copy",
     .op = IR_OP_RESIZE,
     .in = {X(F32, DIMS(1, 1, 1, 2), 3, 4)},
     .out = X(F32, DIMS(1, 1, 1, 2), 3, 4)},
    // 2/4 * 1 + 2/4 * 3; 1/4 * 3 + 3/4 * 1
    {.name = "columns weighted",
     .op = IR_OP_RESIZE,
     .in = {X(F32, DIMS(1, 1, 1, 2), 1, 3), NONE, NONE, X(I32, DIMS(2, 2), 0, 1, 1, 0),
            X(F32, DIMS(2, 2), 0.5, 0.25, 0.5, 0.75)},
     .out = X(F32, DIMS(1, 1, 1, 2), 2, 1.5)},
    // rows 1 2 | 3 4 to their sum 4 6, columns 6 4
    {.name = "rows weighted, columns copied",
     .op = IR_OP_RESIZE,
     .in = {X(F64, DIMS(1, 1, 2, 2), 1, 2, 3, 4), X(I32, DIMS(2, 1), 0, 1),
            X(F64, DIMS(2, 1), 1, 1), X(I32, DIMS(1, 2), 1, 0)},
     .out = X(F64, DIMS(1, 1, 1, 2), 6, 4)},
    {.name = "weights without taps",
     .op = IR_OP_RESIZE,
     .in = {X(F32, DIMS(1, 1, 1, 2), 1, 2), NONE, X(F32, DIMS(1, 2), 1, 1)},
     .error = "operand 2, weights, stands without the taps"},
    {.name = "two taps without weights",
     .op = IR_OP_RESIZE,
     .in = {X(F32, DIMS(1, 1, 1, 2), 1, 2), X(I32, DIMS(2, 1), 0, 0)},
     .error = "must be i32 with one tap, or taps and weights"},
    {.name = "weighted integers",
     .op = IR_OP_RESIZE,
     .in = {X(I32, DIMS(1, 1, 1, 2), 1, 2), X(I32, DIMS(1, 1), 0), X(I32, DIMS(1, 1), 1)},
     .error = "operand 2 holds weights, and sums are i32"},
    {.name = "pixels of an empty axis",
     .op = IR_OP_RESIZE,
     .in = {X(F32, DIMS(1, 1, 0, 2), 0), X(I32, DIMS(1, 1), 0)},
     .error = "takes pixels from an empty axis"},
    // planes 1 5 2 | 0 3 3 and 9 8 7 | 6 5 9: windows of two columns over both rows
    {.name = "places of maxima, the first of equals",
     .op = IR_OP_MAX_POOL_INDEX,
     .in = {X(F32, DIMS(1, 2, 2, 3), 1, 5, 2, 0, 3, 3, 9, 8, 7, 6, 5, 9)},
     .attr = {A_INTS(KERNEL, 2, 2)},
     .out = X(I64, DIMS(1, 2, 1, 2), 1, 1, 6, 11)},
    {.name = "places column by column",
     .op = IR_OP_MAX_POOL_INDEX,
     .in = {X(I8, DIMS(1, 2, 2, 3), 1, 5, 2, 0, 3, 3, 9, 8, 7, 6, 5, 9)},
     .attr = {A_INTS(KERNEL, 2, 2), A_STR(MODE, "column")},
     .out = X(I64, DIMS(1, 2, 1, 2), 2, 2, 6, 11)},
    {.name = "NaN wins, padding never does",
     .op = IR_OP_MAX_POOL_INDEX,
     .in = {X(F32, DIMS(1, 1, 1, 4), -2, NAN, 3, -1)},
     .attr = {A_INTS(KERNEL, 1, 2), A_INTS(PAD, 0, 1, 0, 1)},
     .out = X(I64, DIMS(1, 1, 1, 5), 0, 1, 1, 2, 3)},
    {.name = "an unknown order",
     .op = IR_OP_MAX_POOL_INDEX,
     .in = {X(F32, DIMS(1, 1, 1, 1), 1)},
     .attr = {A_INTS(KERNEL, 1, 1), A_STR(MODE, "diagonal")},
     .error = "mode is diagonal, it must be row or column"},
};

static void runs_cases(void) {
    check_cases(cases, sizeof cases / sizeof *cases);
}

int main(void) {
    CHECK_RUN(runs_cases);
    return check_done();
}
