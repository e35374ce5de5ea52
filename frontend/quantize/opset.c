// A model of opset 7 to 12 says the same in opset 13, where scales can have an axis.
//
//   Squeeze(x) {axes}     ->  Squeeze(x, axes)        attributes that became inputs
//   Upsample(x, scales)   ->  Resize(x, , scales) {asymmetric, floor}
//   Softmax(x) {axis}     ->  Reshape(Softmax(Flatten(x) {axis}), Shape(x))
//   Dropout(x) {ratio}    ->  Dropout(x)              in inference it has no effect
//
// Every other operator that the importer knows means from opset 7 to 13 what it meant.
#include "frontend/quantize/room.h"

enum { OLDEST = 7 };

typedef struct Raise {
    FeEdit *r;
    int n, cap;
    Onnx__NodeProto **nodes;
} Raise;

static void push(Raise *x, Onnx__NodeProto *n) {
    IR_PUSH(x->r->arena, x->nodes, x->n, x->cap, n);
}

static void drop_attr(IrArena *a, Onnx__NodeProto *n, const char *name) {
    size_t kept = 0;
    n->attribute = fe_copy_array(a, n->attribute, n->n_attribute, 0, sizeof *n->attribute);
    for (size_t i = 0; i < n->n_attribute; i++) {
        if (strcmp(fe_text(n->attribute[i]->name), name) != 0) {
            n->attribute[kept++] = n->attribute[i];
        }
    }
    n->n_attribute = kept;
}

// The attribute's numbers as an initializer; "": there is no such attribute.
static const char *attr_init(FeEdit *r, const Onnx__NodeProto *n, const char *name) {
    const Onnx__AttributeProto *t = fe_quant_attr(n, name);
    const char *like = ir_sprintf(r->arena, "%s.%s", n->n_output ? n->output[0] : "", name);
    if (!t) {
        return "";
    }
    int64_t one = 1, many = (int64_t)(t->n_ints ? t->n_ints : t->n_floats);
    if (t->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT) {
        return fe_quant_init(r, like, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 0, NULL, &t->f, 4);
    }
    if (t->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT) {
        return fe_quant_init(r, like, ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 1, &one, &t->i, 8);
    }
    return t->n_floats ? fe_quant_init(r, like, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 1, &many,
                                       t->floats, 4 * many)
                       : fe_quant_init(r, like, ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 1, &many,
                                       t->ints, 8 * many);
}

static const struct {
    const char *op;
    int since;           // the opset in which
    const char *attr[4]; // these became inputs, behind the first one
} to_inputs[] = {
    {"Squeeze", 13, {"axes"}},    {"Unsqueeze", 13, {"axes"}},
    {"ReduceSum", 13, {"axes"}},  {"Split", 13, {"split"}},
    {"Clip", 11, {"min", "max"}}, {"Pad", 11, {"pads", "value"}},
    {"TopK", 10, {"k"}},          {"Slice", 10, {"starts", "ends", "axes"}},
    {"Upsample", 9, {"scales"}},
};

static void move_attrs(FeEdit *r, Onnx__NodeProto *n) {
    for (size_t i = 0; i < sizeof to_inputs / sizeof *to_inputs; i++) {
        if (!fe_is_op(n, to_inputs[i].op) || r->opset >= to_inputs[i].since) {
            continue;
        }
        const char *in[5] = {fe_text(n->n_input ? n->input[0] : NULL)};
        size_t count = 1;
        for (size_t k = 0; to_inputs[i].attr[k]; k++) {
            in[k + 1] = attr_init(r, n, to_inputs[i].attr[k]);
            count = *in[k + 1] ? k + 2 : count;
            drop_attr(r->arena, n, to_inputs[i].attr[k]);
        }
        fe_quant_set_inputs(r->arena, n, count, in);
        return;
    }
}

static bool is_softmax(const Onnx__NodeProto *n) {
    return fe_is_op(n, "Softmax") || fe_is_op(n, "LogSoftmax") || fe_is_op(n, "Hardmax");
}

// Everything from the axis on was one row.
static void add_softmax(Raise *x, Onnx__NodeProto *n) {
    IrArena *a = x->r->arena;
    const char *name = n->output[0], *in = n->input[0];
    const char *shape = fe_edit_new_name(x->r, ir_sprintf(a, "%s.shape", name));
    const char *flat = fe_edit_new_name(x->r, ir_sprintf(a, "%s.flat", name));
    const char *made = fe_edit_new_name(x->r, ir_sprintf(a, "%s.made", name));
    Onnx__NodeProto *f = fe_quant_node(a, "Flatten", flat, flat, (const char *[]){in, NULL});
    fe_quant_set_int(a, f, "axis", fe_quant_int(n, "axis", 1));
    push(x, fe_quant_node(a, "Shape", shape, shape, (const char *[]){in, NULL}));
    push(x, f);
    drop_attr(a, n, "axis");
    fe_quant_set_int(a, n, "axis", -1);
    fe_quant_set_inputs(a, n, 1, &flat);
    n->output = fe_copy_array(a, n->output, n->n_output, 0, sizeof *n->output);
    n->output[0] = ir_strdup(a, made);
    push(x, n);
    push(x, fe_quant_node(a, "Reshape", ir_sprintf(a, "%s.reshape", name), name,
                          (const char *[]){made, shape, NULL}));
}

static void raise_node(Raise *x, Onnx__NodeProto *n) {
    FeEdit *r = x->r;
    n = FE_COPY_OF(r->arena, n);
    if (fe_is_op(n, "Resize") && r->opset < 11) { // Resize-10 is Upsample-9
        n->op_type = ir_strdup(r->arena, "Upsample");
    }
    move_attrs(r, n);
    if (fe_is_op(n, "Upsample") && n->n_input > 1) {
        n->op_type = ir_strdup(r->arena, "Resize");
        fe_quant_set_inputs(r->arena, n, 3, (const char *[]){n->input[0], "", n->input[1]});
        fe_quant_set_text(r->arena, n, "coordinate_transformation_mode", "asymmetric");
        fe_quant_set_text(r->arena, n, "nearest_mode", "floor");
    }
    if (fe_is_op(n, "Dropout") && r->opset < 12) {
        drop_attr(r->arena, n, "ratio");
    }
    if (fe_is_op(n, "BatchNormalization") && r->opset < 9) {
        drop_attr(r->arena, n, "spatial"); // 1, or the importer refuses it
    }
    if (is_softmax(n) && n->n_input == 1 && n->n_output == 1) {
        add_softmax(x, n);
    } else {
        push(x, n);
    }
}

static void set_import(FeEdit *r) {
    Onnx__ModelProto *m = r->to->pb;
    m->opset_import =
        fe_copy_array(r->arena, m->opset_import, m->n_opset_import, 0, sizeof *m->opset_import);
    for (size_t i = 0; i < m->n_opset_import; i++) {
        if (fe_is_onnx_domain(fe_text(m->opset_import[i]->domain))) {
            m->opset_import[i] = FE_COPY_OF(r->arena, m->opset_import[i]);
            m->opset_import[i]->has_version = 1;
            m->opset_import[i]->version = FE_QUANT_OPSET;
        }
    }
    enum { IR_VERSION = 7 }; // of opset 13
    m->has_ir_version = 1;
    m->ir_version = m->ir_version < IR_VERSION ? IR_VERSION : m->ir_version;
}

bool fe_quant_raise_opset(FeEdit *r) {
    if (r->opset >= FE_QUANT_OPSET) {
        return true;
    }
    if (r->opset < OLDEST) {
        ir_error(ir_arena_diag(r->arena), IR_NOWHERE,
                 "NYI: quantizing a model of opset %d; %d is the oldest", r->opset, OLDEST);
        return false;
    }
    Raise x = {.r = r};
    for (size_t i = 0; i < r->g->n_node; i++) {
        raise_node(&x, r->g->node[i]);
    }
    r->g->node = x.nodes;
    r->g->n_node = (size_t)x.n;
    r->opset = FE_QUANT_OPSET;
    set_import(r);
    return true;
}
