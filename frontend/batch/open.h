// Opening a graph that was made for a fixed batch size. What other rooms see of frontend/batch/.
#ifndef FRONTEND_BATCH_OPEN_H
#define FRONTEND_BATCH_OPEN_H

#include "ir/ir.h"

// The static graph g, whose inputs i with opens[i] hold `size` images in their first dimension, for
// any number N of them: a new graph of its program under its name, which for each image computes
// what g does. With `own_axes`, outputs whose images would share a dimension with something else
// have them in their first dimension of size 1, or in one of their own before the others. NULL when
// that cannot be told, and *why says where.
IrGraph *fe_batch_open(IrGraph *g, int64_t size, const bool *opens, bool own_axes,
                       const char **why);
// Makes the N of a graph the number n.
void fe_batch_fix(IrGraph *g, int64_t n);
// Whether two graphs are the same but for names.
bool fe_batch_same(const IrGraph *a, const IrGraph *b);

#endif
