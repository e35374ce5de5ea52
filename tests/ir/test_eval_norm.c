// layer_norm of the reference evaluator against results worked out by hand, and what its shape rule
// refuses.
#include "tests/check.h"
#include "tests/ir/eval_case.h"

static const Case cases[] = {
    {.name = "each row by its own mean and deviation",
     .op = IR_OP_LAYER_NORM,
     .in = {X(F64, DIMS(2, 4), 1, 1, 5, 5, -30, -10, -10, -30)},
     .attr = {A_FLOAT(EPS, 0)},
     .out = X(F64, DIMS(2, 4), -1, -1, 1, 1, -1, 1, 1, -1)},
    {.name = "eps is added to the variance",
     .op = IR_OP_LAYER_NORM,
     .in = {X(F32, DIMS(1, 1, 2), 4, 12)},
     .attr = {A_FLOAT(EPS, 48)},
     .out = X(F32, DIMS(1, 1, 2), -0.5, 0.5)},
    {.name = "equal numbers, and rows of one",
     .op = IR_OP_LAYER_NORM,
     .in = {X(F32, DIMS(3, 1), 7, -2, 1e30)},
     .attr = {A_FLOAT(EPS, 1e-5)},
     .out = X(F32, DIMS(3, 1), 0, 0, 0)},
    {.name = "a large mean beside a small deviation",
     .op = IR_OP_LAYER_NORM,
     .in = {X(F32, DIMS(2), 4097, 4099)},
     .attr = {A_FLOAT(EPS, 0)},
     .out = X(F32, DIMS(2), -1, 1)},
    {.name = "NaN stays in its row",
     .op = IR_OP_LAYER_NORM,
     .in = {X(F32, DIMS(2, 2), NAN, 1, 0, 2)},
     .attr = {A_FLOAT(EPS, 0)},
     .out = X(F32, DIMS(2, 2), NAN, NAN, -1, 1)},
    {.name = "no integers",
     .op = IR_OP_LAYER_NORM,
     .in = {X(I32, DIMS(1, 2), 0, 1)},
     .error = "operand 0 is i32[1,2]"},
};

static void runs_cases(void) {
    check_cases(cases, sizeof cases / sizeof *cases);
}

int main(void) {
    CHECK_RUN(runs_cases);
    return check_done();
}
