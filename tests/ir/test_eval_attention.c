// attention of the reference evaluator against results worked out by hand, and what its shape rule
// refuses.
#include "tests/check.h"
#include "tests/ir/eval_case.h"

#define LN3 1.09861228866811

static const Case cases[] = {
    {.name = "equal scores: the mean of the values",
     .op = IR_OP_ATTENTION,
     .in = {X(F32, DIMS(1, 1, 1), 0), X(F32, DIMS(1, 2, 1), 1, 5), X(F32, DIMS(1, 2, 1), 2, 4)},
     .attr = {A_INT(SIZE, 1), A_INTS(START, 0, 0, 0)},
     .out = X(F32, DIMS(1, 1, 1), 3)},
    // weights 1/4 and 3/4 of 4 and 8; 1/2 and 1/2 of 2 and 6
    {.name = "two heads, from their columns on",
     .op = IR_OP_ATTENTION,
     .in = {X(F64, DIMS(1, 1, 3), 9, 1, 1), X(F64, DIMS(1, 2, 2), 0, 0, LN3, 0),
            X(F64, DIMS(1, 2, 3), 4, 2, 7, 8, 6, 7)},
     .attr = {A_INT(SIZE, 1), A_INT(GROUP, 2), A_INTS(START, 1, 0, 0)},
     .out = X(F64, DIMS(1, 1, 2), 7, 4)},
    {.name = "a factor of the scores, over two columns",
     .op = IR_OP_ATTENTION,
     .in = {X(F64, DIMS(1, 1, 2), 4, 2), X(F64, DIMS(1, 2, 2), 0, 0, LN3, 2 * -LN3 + LN3),
            X(F64, DIMS(1, 2, 2), 4, 0, 8, 4)},
     .attr = {A_INT(SIZE, 2), A_INTS(START, 0, 0, 0), A_FLOAT(ALPHA, 0.5)},
     .out = X(F64, DIMS(1, 1, 2), 7, 3)},
    {.name = "a mask for every second batch element, and a bias of all",
     .op = IR_OP_ATTENTION,
     .in = {X(F32, DIMS(2, 1, 1), 0, 0), X(F32, DIMS(2, 2, 1), 1, 1, 1, 1),
            X(F32, DIMS(2, 2, 1), 1, 2, 3, 4), X(F32, DIMS(2, 1, 1, 2), 0, -INFINITY, -INFINITY, 0),
            X(F32, DIMS(1, 1, 1, 2), 5, 7)},
     .attr = {A_INT(SIZE, 1), A_INTS(START, 0, 0, 0)},
     .out = X(F32, DIMS(2, 1, 1), 1, 4)},
    {.name = "keys without values",
     .op = IR_OP_ATTENTION,
     .in = {X(F32, DIMS(1, 1, 1), 0), X(F32, DIMS(1, 2, 1), 1, 5), X(F32, DIMS(1, 1, 1), 2)},
     .attr = {A_INT(SIZE, 1), A_INTS(START, 0, 0, 0)},
     .error = "keys are f32[1,2,1], values f32[1,1,1]"},
    {.name = "columns that are not there",
     .op = IR_OP_ATTENTION,
     .in = {X(F32, DIMS(1, 1, 4), 0, 0, 0, 0), X(F32, DIMS(1, 1, 4), 0, 0, 0, 0),
            X(F32, DIMS(1, 1, 4), 0, 0, 0, 0)},
     .attr = {A_INT(SIZE, 2), A_INT(GROUP, 2), A_INTS(START, 0, 1, 0)},
     .error = "2 heads of 2 columns from 1 on are not in f32[1,1,4]"},
    {.name = "other batch elements",
     .op = IR_OP_ATTENTION,
     .in = {X(F32, DIMS(1, 1, 1), 0), X(F32, DIMS(2, 1, 1), 0, 0), X(F32, DIMS(1, 1, 1), 0)},
     .attr = {A_INT(SIZE, 1), A_INTS(START, 0, 0, 0)},
     .error = "operand 1 is f32[2,1,1] where the first is f32[1,1,1]"},
    {.name = "a bias of two batch elements, of which there is one",
     .op = IR_OP_ATTENTION,
     .in = {X(F32, DIMS(1, 1, 1), 0), X(F32, DIMS(1, 1, 1), 0), X(F32, DIMS(1, 1, 1), 0),
            X(F32, DIMS(2, 1, 1, 1), 0, 0)},
     .attr = {A_INT(SIZE, 1), A_INTS(START, 0, 0, 0)},
     .error = "is no bias of scores of 1 heads"},
    {.name = "heads nowhere",
     .op = IR_OP_ATTENTION,
     .in = {X(F32, DIMS(1, 1, 1), 0), X(F32, DIMS(1, 1, 1), 0), X(F32, DIMS(1, 1, 1), 0)},
     .attr = {A_INT(SIZE, 1)},
     .error = "attributes group, size and start must say where heads are"},
};

static void runs_cases(void) {
    check_cases(cases, sizeof cases / sizeof *cases);
}

int main(void) {
    CHECK_RUN(runs_cases);
    return check_done();
}
