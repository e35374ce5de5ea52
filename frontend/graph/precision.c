// How exact the numbers are that a file holds and computes with: its stored results are worth no
// more.
#include "frontend/export/retarget.h"

#include <string.h>

static void see_graph(FePrecision *p, const Onnx__GraphProto *g);

static void see(FePrecision *p, FePrecision other) {
    *p = other > *p ? other : *p;
}

static void see_type(FePrecision *p, int64_t onnx_type) {
    if (onnx_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16) {
        see(p, FE_PRECISION_F16);
    } else if (onnx_type == ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16) {
        see(p, FE_PRECISION_BF16);
    }
}

static void see_value(FePrecision *p, const Onnx__ValueInfoProto *v) {
    if (v->type && v->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) {
        see_type(p, v->type->tensor_type->elem_type);
    }
}

// QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear, QLinearConv, ConvInteger, QGemm and
// their like.
static bool quantizes(const char *op) {
    return strstr(op, "uantize") || strncmp(op, "QLinear", 7) == 0 || strstr(op, "Integer") ||
           strcmp(op, "QGemm") == 0;
}

static void see_node(FePrecision *p, const Onnx__NodeProto *n) {
    if (n->op_type && quantizes(n->op_type)) {
        see(p, FE_PRECISION_INT8);
    }
    for (size_t i = 0; i < n->n_attribute; i++) {
        const Onnx__AttributeProto *a = n->attribute[i];
        if (a->t) {
            see_type(p, a->t->data_type);
        }
        if (a->name && strcmp(a->name, "to") == 0) { // of a Cast
            see_type(p, a->i);
        }
        if (a->g) {
            see_graph(p, a->g);
        }
    }
}

static void see_graph(FePrecision *p, const Onnx__GraphProto *g) {
    for (size_t i = 0; i < g->n_node; i++) {
        see_node(p, g->node[i]);
    }
    for (size_t i = 0; i < g->n_initializer; i++) {
        see_type(p, g->initializer[i]->data_type);
    }
    for (size_t i = 0; i < g->n_input; i++) {
        see_value(p, g->input[i]);
    }
    for (size_t i = 0; i < g->n_output; i++) {
        see_value(p, g->output[i]);
    }
}

FePrecision fe_model_precision(const FeModel *m) {
    FePrecision p = FE_PRECISION_F32;
    see_graph(&p, m->pb->graph);
    for (size_t i = 0; i < m->pb->n_functions; i++) {
        for (size_t k = 0; k < m->pb->functions[i]->n_node; k++) {
            see_node(&p, m->pb->functions[i]->node[k]);
        }
    }
    return p;
}
