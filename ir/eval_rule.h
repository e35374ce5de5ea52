// What an elementwise op does to one element. Private to the reference evaluator.
#ifndef IR_EVAL_RULE_H
#define IR_EVAL_RULE_H

#include "ir/eval.h"

// p: the op's FLOAT attributes, IrStep.p.
typedef double IrFloatRule(double x, double y, const double *p);
typedef IrWide IrWideRule(IrWide x, IrWide y, const double *p); // wrapped around by the caller

typedef struct IrEvalRule {
    IrFloatRule *f; // on floats; comparisons give 0 or 1. NULL: not defined on floats
    IrWideRule *i;  // on integers, and on bool where `on_bool`. NULL: not defined on integers
    bool on_bool;   // takes bool; `only_bool` and nothing else
    bool only_bool;
} IrEvalRule;

// `where`, alone with three operands, copies, and `cast` converts: they need no function.
extern const IrEvalRule ir_eval_rule[IR_OP_COUNT];

#endif
