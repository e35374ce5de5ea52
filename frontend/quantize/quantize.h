// A float model becomes a quantized one: standard ONNX with QuantizeLinear and DequantizeLinear
// (QDQ), activations u8 with a scale and zero point per tensor, weights s8 symmetric per output
// channel, biases i32. The public header of frontend/quantize/.
//
//   prepared = fe_quant_prepare(model)       opset 13 or newer, normalizations in the weights
//   plan = fe_quant_plan(prepared)           the layers, and the tensors whose ranges they need
//   fe_quant_observer(plan)                  the float model, which shows these tensors as outputs
//   fe_quant_see(), fe_quant_count()         ... of images; fe_quant_choose() decides on the ranges
//   fe_quant_alone(plan, numbers)            the float model with each layer quantized beside it
//   fe_quant_write(plan, numbers)            the quantized model
#ifndef FRONTEND_QUANTIZE_QUANTIZE_H
#define FRONTEND_QUANTIZE_QUANTIZE_H

#include "frontend/frontend.h"

// ---- ranges (range.c)

typedef enum FeQuantMethod {
    FE_QUANT_MINMAX,     // all that was seen
    FE_QUANT_PERCENTILE, // without the outermost share of it
    FE_QUANT_ENTROPY,    // where the quantized distribution tells least from the float one
    FE_QUANT_METHODS
} FeQuantMethod;
const char *fe_quant_method_name(FeQuantMethod m);
bool fe_quant_method_parse(const char *name, FeQuantMethod *out);

enum { FE_QUANT_BINS = 2048 };
typedef struct FeQuantRange {  // zeroed: nothing was seen
    double lo, hi;             // of all that was seen, and 0
    double from, to;           // what is quantized, 0 in it; set by fe_quant_choose()
    double bin[FE_QUANT_BINS]; // how many numbers but 0 lie in each part of [lo, hi]
    double zeros;
} FeQuantRange;
// In a first pass over the images. False: a number is not finite.
bool fe_quant_see(FeQuantRange *r, const float *x, int64_t n);
void fe_quant_count(FeQuantRange *r, const float *x, int64_t n); // in a second
// percentile: of FE_QUANT_PERCENTILE, such as 99.99; half of what is left out lies on each side.
void fe_quant_choose(FeQuantRange *r, FeQuantMethod m, double percentile);

typedef struct FeQuantParams { // x is (q - zero) * scale
    float scale;
    int zero; // 0 to 255
} FeQuantParams;
FeQuantParams fe_quant_params(const FeQuantRange *r);

// ---- the plan (plan.c)

typedef struct FeQuantLayer { // a product: Conv, Gemm, MatMul by constant weights
    const char *node, *op;
    int input;  // the tensor it reads, an index in `tensors`
    int result; // the tensor behind it, and behind an activation that clips
} FeQuantLayer;

typedef struct FeQuantTensor { // to be watched while the float model runs
    const char *name;
    int range;   // an index; tensors of one range are quantized alike; -1: it is none of these
    bool source; // not only a part or copy of another tensor of its range
    int axis;    // of its channels, from the end where negative; 0: no layer reads it
} FeQuantTensor;

typedef struct FeQuantPlan {
    int n_layers, n_tensors, n_ranges;
    FeQuantLayer *layers; // in the order of the nodes
    FeQuantTensor *tensors;
    struct FeQuantGraph *graph; // of the room
} FeQuantPlan;

// The model as it can be quantized: see prepare.c. NULL after errors. Lives as long as the arena
// and `m`.
const FeModel *fe_quant_prepare(IrArena *a, const FeModel *m);
// NULL after an error: it has no layer that can be quantized.
FeQuantPlan *fe_quant_plan(IrArena *a, const FeModel *prepared);

// ---- models (write.c)

// The float model, of which all the plan's tensors are outputs, by their names, behind its own.
FeNewModel *fe_quant_observer(IrArena *a, const FeQuantPlan *p);

typedef struct FeQuantNumbers {
    const FeQuantParams *ranges; // [n_ranges]
    // [n_tensors] of each channel: biases are corrected by what rounding the weights adds on
    // average. NULL, or NULL for a tensor: they are not.
    const double *const *mean;
    const int64_t *channels; // [n_tensors]: how many
    const bool *is_float;    // [n_layers]: these stay as they are
    int n_meta;
    const IrMeta *meta; // as in FeRetarget
    // Not NULL: the results of the layers are outputs behind the model's own, and [n_layers] get
    // their names.
    const char **shown;
} FeQuantNumbers;
// The quantized model; NULL after errors.
FeNewModel *fe_quant_write(IrArena *a, const FeQuantPlan *p, const FeQuantNumbers *n);

// The float model, and beside each layer the same quantized, which reads the float model's tensor:
// its own noise, without that of others. pairs[2 l] is the output where layer l's result before an
// activation is in float, pairs[2 l + 1] quantized; NULL: the layer stays float. n's meta and
// `shown` are not read.
FeNewModel *fe_quant_alone(IrArena *a, const FeQuantPlan *p, const FeQuantNumbers *n,
                           const char **pairs);

#endif
