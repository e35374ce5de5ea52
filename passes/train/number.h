// Single numbers: which are parameters. Private to passes/train/.
#ifndef PASSES_TRAIN_NUMBER_H
#define PASSES_TRAIN_NUMBER_H

#include "passes/train/content.h"

// c's only number is one that sources are written with, to the digits that it has: up to three of
// them, a whole number, the inverse, square or root of these, or a constant of an activation.
bool pass_is_written_number(IrProgram *p, IrConst *c);
// Exporters name what is written in the source so.
bool pass_is_literal_name(const char *name);
// A module's own: block.0.gain, what reads a variable, skip_gain.
bool pass_is_variable_name(const char *name);

#endif
