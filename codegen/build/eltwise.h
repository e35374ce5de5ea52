// One elementwise op of ops.def (flag E) on values in registers, scalars or vectors. Private to
// codegen/.
#ifndef CODEGEN_BUILD_ELTWISE_H
#define CODEGEN_BUILD_ELTWISE_H

#include "codegen/build/elem.h"

// x: operands as t is computed (of `where`, the condition is a bool). Comparisons give a bool.
CgVal cg_eltwise(CgFn *f, IrDtype t, IrOp op, const CgVal *x, const double *p);
bool cg_eltwise_defined(IrDtype t, IrOp op);

// The same for integers and bools (integer.c).
CgVal cg_integer(CgFn *f, IrDtype t, IrOp op, const CgVal *x, const double *p);
bool cg_integer_defined(IrOp op);

#endif
