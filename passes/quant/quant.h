// What the passes of this room share. Private to passes/quant/.
#ifndef PASSES_QUANT_QUANT_H
#define PASSES_QUANT_QUANT_H

#include "passes/util.h"

// Scale and zero point of a tensor as a whole.
typedef struct PassQuant {
    IrDtype type; // of the integers
    double scale; // from 1e-12 to 1e12: with others the operator's own arithmetic stays
    int64_t zero;
} PassQuant;

// Of a quantize or dequantize; false: not constants, one per channel, or another scale.
bool pass_quant_read(PassContext *ctx, const IrNode *n, PassQuant *q);
bool pass_quant_same(const PassQuant *a, const PassQuant *b);
double pass_quant_of(const PassQuant *q, double x); // what quantize makes of x

// A constant; without an initializer's name.
IrValue *pass_quant_const(PassContext *ctx, IrNode *at, const IrType *type, const void *data);
// x op c, with a scalar of f32; x itself where that changes nothing.
IrValue *pass_quant_with(IrBuilder *b, IrOp op, IrValue *x, double c);
IrValue *pass_quant_cast(IrBuilder *b, IrValue *x, IrDtype to); // x itself when it has that type
IrValue *pass_quant_check(IrBuilder *b, IrValue *v);            // v, which must have been built

// Operand i of n becomes k > 0 times what it is without a node more, by factors that stand above it
// already; false: there are none.
bool pass_quant_scale(PassContext *ctx, IrNode *n, int i, double k);

#endif
