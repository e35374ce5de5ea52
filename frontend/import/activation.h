// Activations as parts of operators. Private to frontend/.
#ifndef FRONTEND_IMPORT_ACTIVATION_H
#define FRONTEND_IMPORT_ACTIVATION_H

#include "frontend/import.h"

enum { FE_ACTIVATION_PARAMS = 3 }; // alpha, beta, gamma; of Clip: its bounds

// The activation of ONNX's operator `name` ("": none); NAN in `given` stands for the default.
// Refuses names that are not known.
IrValue *fe_activate(FeNode *n, IrValue *x, const char *name, const double *given);
// Gelu-20, by erf or by its approximation with tanh.
IrValue *fe_gelu(FeNode *n, IrValue *x, bool by_tanh);
// Swish-24: x * sigmoid(alpha * x)
IrValue *fe_swish(FeNode *n, IrValue *x, double alpha);

#endif
