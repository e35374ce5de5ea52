// Private to frontend/quantize/: the graph with its values indexed, and what ONNX operators are to
// a quantizer.
#ifndef FRONTEND_QUANTIZE_ROOM_H
#define FRONTEND_QUANTIZE_ROOM_H

#include "frontend/export/retarget_edit.h"
#include "frontend/quantize/quantize.h"

// Types and scales of what is quantized need an axis: DequantizeLinear-13.
enum { FE_QUANT_OPSET = 13 };

// ---- nodes (ops.c)

// NULL: the node has no such attribute.
const Onnx__AttributeProto *fe_quant_attr(const Onnx__NodeProto *n, const char *name);
int64_t fe_quant_int(const Onnx__NodeProto *n, const char *name, int64_t otherwise);
float fe_quant_float(const Onnx__NodeProto *n, const char *name, float otherwise);
// The name of an input, NULL where it is left out.
const char *fe_quant_input(const Onnx__NodeProto *n, size_t i);
// The content of an initializer, a Constant or an Identity of one; false: none of these, or no f32.
bool fe_quant_floats(const FeEdit *r, const char *name, IrTensor *out);

// How the weights of a product are laid out: output channel o, product j, is at
// o * of_channel + j * of_product, and meets input channel o / per_group * in_group + j / taps.
typedef struct FeQuantWeights {
    IrTensor w; // f32
    int axis;   // of output channels
    int64_t channels, products, of_channel, of_product, per_group, in_group, taps;
} FeQuantWeights;
// False: the node is no product by constant weights that can be quantized.
bool fe_quant_weights(const FeEdit *r, const Onnx__NodeProto *n, FeQuantWeights *out);

// Moves numbers and makes none: all its tensors are quantized alike. *inputs and *outputs: so many
// of them from the first on.
bool fe_quant_is_move(const FeEdit *r, const Onnx__NodeProto *n, size_t *inputs, size_t *outputs);
// Runtimes have it in integers where what it reads and makes is quantized; not by constants.
bool fe_quant_is_integer_op(const Onnx__NodeProto *n);
// A clipping from *lo to *hi.
bool fe_quant_is_clip(const FeEdit *r, const Onnx__NodeProto *n, double *lo, double *hi);

// ---- making (make.c)

// An initializer of a name like `name`, whose numbers are copied; returns the name that it got.
const char *fe_quant_init(FeEdit *r, const char *name, int32_t type, int rank, const int64_t *dims,
                          const void *data, int64_t bytes);
// A node of the domain ai.onnx with one output; inputs up to NULL, none left out.
Onnx__NodeProto *fe_quant_node(IrArena *a, const char *op, const char *name, const char *output,
                               const char *const *inputs);
// An attribute of the node, which is ours.
void fe_quant_set_int(IrArena *a, Onnx__NodeProto *n, const char *name, int64_t value);
void fe_quant_set_text(IrArena *a, Onnx__NodeProto *n, const char *name, const char *value);
// Inputs of the node, which is ours, from now on: so many, "" where one is left out.
void fe_quant_set_inputs(IrArena *a, Onnx__NodeProto *n, size_t count, const char *const *inputs);

// ---- what is prepared

// opset.c: nodes say in opset 13 what they said before, and the model imports that. False after an
// error.
bool fe_quant_raise_opset(FeEdit *r);
// fold_bn.c; g: the graph of the same nodes.
void fe_quant_fold_bn(FeEdit *r, const struct FeQuantGraph *g);

// ---- numbers (weights.c)

typedef struct FeQuantTables { // of a layer
    const int8_t *weights;     // as the float ones lie
    const float *scale;        // [channels]
    const int32_t *bias;       // [channels], in steps of the input's scale * scale; NULL: none
    const float *bias_scale;   // [channels]
} FeQuantTables;
// x: of the input; bias: [channels] or NULL; mean: [of all input channels] or NULL.
FeQuantTables fe_quant_tables(IrArena *a, const FeQuantWeights *w, FeQuantParams x,
                              const IrTensor *bias, bool can_have_bias, const double *mean);

// ---- the graph (values.c)

typedef struct FeQuantValue {
    const char *name;
    int maker; // node, -1: an input of the graph
    bool is_output;
    bool is_constant;
    int n_readers;
    int reader; // one of them, -1: none
    int range;  // tensors of one range are quantized alike
} FeQuantValue;

typedef struct FeQuantGraph {
    IrArena *arena;
    const FeModel *model;
    FeEdit edit; // of a copy that nothing changes, to read from
    int n_values, cap_values;
    FeQuantValue *values;
    IrMap by_name; // -> index + 1
    int n_ranges;  // of all values
    int *layer_of; // [nodes] index, -1: it is none
    int *tight;    // [n_ranges] index of the plan's range, -1: nobody needs it
} FeQuantGraph;

FeQuantGraph *fe_quant_graph(IrArena *a, const FeModel *m); // NULL after an error
int fe_quant_find(const FeQuantGraph *g, const char *name); // -1: no such value
// The value behind an activation that clips it and alone reads it; else the value itself.
int fe_quant_behind(const FeQuantGraph *g, int value);

// ---- the plan (plan.c)

// Which ranges [n_ranges of the graph] are quantized when these layers stay float (NULL: none).
bool *fe_quant_wanted(IrArena *a, const FeQuantPlan *p, const bool *is_float);

#endif
