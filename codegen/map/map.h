// Elementwise kernels.
// Private to codegen/.
#ifndef CODEGEN_MAP_MAP_H
#define CODEGEN_MAP_MAP_H

#include "codegen/build/nd.h"

// Operand 0 = body of operands 1.., which are args[0], args[1].. Collapses nd, and emits nothing
// where it is empty. Operand 0 is of type t, without a body (NULL) operand 1, too; contiguous
// innermost.
void cg_map_nd(CgProgram *p, const IrNode *n, const char *algo, CgNd *nd, IrDtype t,
               const CgBody *body, int n_args, const CgArg *args);

#endif
