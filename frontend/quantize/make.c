// New initializers, nodes and attributes of a model that is changed.
#include "frontend/quantize/room.h"

const char *fe_quant_init(FeEdit *r, const char *name, int32_t type, int rank, const int64_t *dims,
                          const void *data, int64_t bytes) {
    const char *now = fe_edit_new_name(r, name);
    void *copy = fe_copy_bytes(r->arena, data, (size_t)bytes);
    fe_edit_new_init(r, now, type, rank, dims, copy, bytes);
    return now;
}

void fe_quant_set_inputs(IrArena *a, Onnx__NodeProto *n, size_t count, const char *const *inputs) {
    n->n_input = count;
    n->input = ir_alloc_array(a, count + 1, sizeof *n->input);
    for (size_t i = 0; i < count; i++) {
        n->input[i] = ir_strdup(a, inputs[i]);
    }
}

Onnx__NodeProto *fe_quant_node(IrArena *a, const char *op, const char *name, const char *output,
                               const char *const *inputs) {
    Onnx__NodeProto init = ONNX__NODE_PROTO__INIT, *n = FE_COPY_OF(a, &init);
    size_t count = 0;
    while (inputs[count]) {
        count++;
    }
    n->op_type = ir_strdup(a, op);
    n->name = ir_strdup(a, name);
    fe_quant_set_inputs(a, n, count, inputs);
    n->n_output = 1;
    n->output = ir_alloc_array(a, 1, sizeof *n->output);
    n->output[0] = ir_strdup(a, output);
    return n;
}

static Onnx__AttributeProto *add_attr(IrArena *a, Onnx__NodeProto *n, const char *name) {
    Onnx__AttributeProto init = ONNX__ATTRIBUTE_PROTO__INIT, *attr = FE_COPY_OF(a, &init);
    attr->name = ir_strdup(a, name);
    attr->has_type = 1;
    n->attribute = fe_copy_array(a, n->attribute, n->n_attribute, 1, sizeof *n->attribute);
    n->attribute[n->n_attribute++] = attr;
    return attr;
}

void fe_quant_set_int(IrArena *a, Onnx__NodeProto *n, const char *name, int64_t value) {
    Onnx__AttributeProto *attr = add_attr(a, n, name);
    attr->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
    attr->has_i = 1;
    attr->i = value;
}

void fe_quant_set_text(IrArena *a, Onnx__NodeProto *n, const char *name, const char *value) {
    Onnx__AttributeProto *attr = add_attr(a, n, name);
    attr->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING;
    attr->has_s = 1;
    attr->s.data = (uint8_t *)ir_strdup(a, value);
    attr->s.len = strlen(value);
}
