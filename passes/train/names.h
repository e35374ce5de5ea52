// Names of inputs and outputs of a fine-tune program's graphs, as runtime/train/bind.def has them.
// Private to passes/train/.
#ifndef PASSES_TRAIN_NAMES_H
#define PASSES_TRAIN_NAMES_H

#include "ir/train.h"

// "image", "grad:": the name, or what it begins with. NULL where the graphs have no such input, or
// output.
const char *pass_bind_input(IrBindKind kind);
const char *pass_bind_output(IrBindKind kind);
// What comes after the row's name where that ends in ':', "" where they are the same, else NULL.
// row may be NULL.
const char *pass_bind_match(const char *row, const char *name);

#endif
