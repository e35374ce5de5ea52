// What the importers of quantized operators share. Private to frontend/.
#ifndef FRONTEND_IMPORT_QUANT_H
#define FRONTEND_IMPORT_QUANT_H

#include "frontend/import.h"

// DequantizeLinear-13: (x - zero) * scale, f32; scale, of f32, and zero broadcast to x, zero may be
// NULL.
IrValue *fe_dequantize(FeNode *n, IrValue *x, IrValue *scale, IrValue *zero);
// QuantizeLinear-13: saturate(round(x / scale) + zero) of type `to`, halves to even; scale and zero
// broadcast to x, zero may be NULL. x of f32.
IrValue *fe_quantize(FeNode *n, IrValue *x, IrValue *scale, IrValue *zero, IrDtype to);
// fe_quantize without the division.
IrValue *fe_requantize(FeNode *n, IrValue *x, IrValue *zero, IrDtype to);
// Refuses input i, a scale, where it is known and some number of it is not finite.
bool fe_check_scale(FeNode *n, int i);
// The scale `v` of input i, which x is divided by: what is 0 of it, where it is known, is next to
// nothing instead, so that all but 0 saturates, and 0 stays.
IrValue *fe_divisor(FeNode *n, int i, IrValue *v);
// Is t of 8 or 16 bits and no float? Refuses others.
bool fe_quant_dtype(FeNode *n, IrDtype t);
// DynamicQuantizeLinear-11 of x: its numbers of u8, their scale and zero point, scalars. NULL after
// a refusal.
typedef struct FeDynamic {
    IrValue *y, *scale, *zero;
} FeDynamic;
FeDynamic fe_quantize_dynamic(FeNode *n, IrValue *x);

// Numbers of u8 or i8 and their zero point, which broadcasts to them; NULL stands for 0. `known`:
// the zero point's content, NULL where it is computed.
typedef struct FeQuantized {
    IrValue *v, *zero;
    const IrTensor *known;
} FeQuantized;
// Sums of products of integers less their zero points, i32, by the constant at input b or w whose
// zero point is input `zero`, as kernels of bytes make them (qbytes.c). With the node's attributes
// conv is Conv-11. NULL without a refusal: they are none.
IrValue *fe_matmul_bytes(FeNode *n, const FeQuantized *a, int b, int zero);
IrValue *fe_conv_bytes(FeNode *n, const FeQuantized *x, int w, int zero);

#endif
