// Constants that keep other numbers in a range: epsilons and bounds. Private to passes/train/.
#ifndef PASSES_TRAIN_RANGE_H
#define PASSES_TRAIN_RANGE_H

#include "ir/ir.h"

// Operand `index` of n is a constant of one number, or of many that are the same, that keeps what
// comes next from dividing by 0, from the root or the logarithm of less.
bool pass_is_epsilon(IrProgram *p, const IrNode *n, int index);
// Operand `index` of n, all of whose operands are constants, is the bound of the other.
bool pass_is_bound(const IrNode *n, int index);

#endif
