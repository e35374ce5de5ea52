// Private to frontend/import/bounded*.c: importing nodes some of whose inputs have a size that data
// decides. A rule stands beside an operator's own importer, which it may call: that sees inputs as
// large as their bounds.
#ifndef FRONTEND_IMPORT_BOUNDED_H
#define FRONTEND_IMPORT_BOUNDED_H

#include "frontend/import.h"

typedef void FeBoundedRule(FeNode *n);
#define FE_BOUNDED(name, rule, data) FeBoundedRule fe_bounded_##rule;
#include "frontend/import/bounded_ops.def"
#undef FE_BOUNDED

// Takes v for input i, counted as that is, or not at all. The importer of n sees it so.
void fe_bounded_replace(FeNode *n, int i, IrValue *v, FeCount count);
// Cuts x at `size`, where its bound is larger: it counts less.
IrValue *fe_bounded_cut(FeNode *n, IrValue *x, int axis, int64_t size);
// How many positions of axis `axis` of `to` are meant, where `from` with its count becomes that
// shape.
FeCount fe_bounded_moved(FeNode *n, FeCount count, const IrShape *from, const IrShape *to,
                         int axis);
// The elements of x along the axis that are picked, in order; picked: bool, one per position.
IrValue *fe_bounded_pick(FeNode *n, IrValue *x, int axis, IrValue *picked, IrValue **count);
// Where an operand is not zero: positions [rank, bound] and their number.
IrValue *fe_bounded_find(FeNode *n, IrValue *x, IrValue **count);
// Indices along an axis that counts `count`: negative ones are taken from there, not from the
// bound.
IrValue *fe_bounded_wrap(FeNode *n, IrValue *at, IrValue *count, IrDim bound);
void fe_bounded_import(FeNode *n); // by the operator's own importer
void fe_bounded_nyi(FeNode *n);    // refuses

#endif
