// Private to codegen/.
#ifndef CODEGEN_NN_FLOAT_TYPED_H
#define CODEGEN_NN_FLOAT_TYPED_H

#include "codegen/build/nd.h"

// softmax, log_softmax, batch_norm and lrn of f64 and f16, plain.
void cg_lower_float_typed(CgProgram *p, const IrNode *n);

#endif
