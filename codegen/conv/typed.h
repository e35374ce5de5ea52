// Private to codegen/.
#ifndef CODEGEN_CONV_TYPED_H
#define CODEGEN_CONV_TYPED_H

#include "codegen/move/move.h"

// Convolutions of f64 and f16, plain.
void cg_lower_conv_typed(CgProgram *p, const IrNode *n);

#endif
