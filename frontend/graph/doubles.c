// Which models are computed in double precision. Networks are not: f32 is what their kernels are
// for, so their doubles become f32 at the graph's edges. A graph of nothing but arithmetic and
// movement keeps its element types, whose range it may need.
//
//   Add(double[3,4], double[3,4])      stays f64
//   Cast(double[3,4], int64)           as well: all its digits count
//   Conv(double[1,3,8,8], ...)         cast, conv of f32, cast
#include "frontend/graph/graph.h"

#include <string.h>

// Their importers make no constants of their own but in their operands' type.
static const char *const plain_ops[] = {
    "Abs",     "Add",    "BitCast",   "Cast",      "Concat",  "Constant", "Div",
    "Equal",   "Expand", "Flatten",   "Gather",    "Greater", "Identity", "Less",
    "Max",     "Min",    "Mul",       "Neg",       "Reshape", "Slice",    "Split",
    "Squeeze", "Sub",    "Transpose", "Unsqueeze", "Where"};

static bool is_plain(const Onnx__NodeProto *n) {
    for (size_t i = 0; i < sizeof plain_ops / sizeof *plain_ops; i++) {
        if (n->op_type && fe_is_onnx_domain(n->domain) && strcmp(n->op_type, plain_ops[i]) == 0) {
            return true;
        }
    }
    return false;
}

// BitCast, whose result has all 64 bits of its operand.
static bool makes_double(const Onnx__NodeProto *n) {
    bool found = false;
    for (size_t i = 0; i < n->n_attribute && is_plain(n); i++) {
        found |= strcmp(n->op_type, "BitCast") == 0 &&
                 n->attribute[i]->i == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE;
    }
    return found;
}

bool fe_keeps_doubles(const Onnx__GraphProto *g) {
    bool found = false;
    for (size_t i = 0; i < g->n_input; i++) {
        const Onnx__TypeProto *t = g->input[i]->type;
        found |= t && t->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE &&
                 t->tensor_type->elem_type == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE;
    }
    for (size_t i = 0; i < g->n_node; i++) {
        found |= makes_double(g->node[i]);
    }
    for (size_t i = 0; i < g->n_node && found; i++) {
        found = is_plain(g->node[i]);
    }
    return found;
}
