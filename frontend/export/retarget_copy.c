// A changed copy of a model: how it begins (messages shared, initializers inside) and ends (inputs
// of initializers listed, everything in its place in the file).
#include "frontend/export/retarget_edit.h"

// ---------------------------------------------------------------- the end

static Onnx__ValueInfoProto *info_of(FeEdit *r, const Onnx__TensorProto *t) {
    Onnx__ValueInfoProto v0 = ONNX__VALUE_INFO_PROTO__INIT, *v = FE_COPY_OF(r->arena, &v0);
    Onnx__TypeProto t0 = ONNX__TYPE_PROTO__INIT;
    Onnx__TypeProto__Tensor x0 = ONNX__TYPE_PROTO__TENSOR__INIT;
    Onnx__TensorShapeProto s0 = ONNX__TENSOR_SHAPE_PROTO__INIT, *s = FE_COPY_OF(r->arena, &s0);
    Onnx__TensorShapeProto__Dimension d0 = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__INIT;
    v->name = t->name;
    v->type = FE_COPY_OF(r->arena, &t0);
    v->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    v->type->tensor_type = FE_COPY_OF(r->arena, &x0);
    v->type->tensor_type->has_elem_type = 1;
    v->type->tensor_type->elem_type = t->data_type;
    v->type->tensor_type->shape = s;
    s->n_dim = t->n_dims;
    s->dim = ir_alloc_array(r->arena, t->n_dims + 1, sizeof *s->dim);
    for (size_t k = 0; k < t->n_dims; k++) {
        s->dim[k] = FE_COPY_OF(r->arena, &d0);
        s->dim[k]->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        s->dim[k]->dim_value = t->dims[k];
    }
    return v;
}

// Initializers that are inputs, too: their shapes as they are now. Before version 4 of the format
// every one is.
static void list_inputs(FeEdit *r) {
    size_t room = (size_t)r->to->n_init;
    r->g->input = fe_copy_array(r->arena, r->g->input, r->g->n_input, room, sizeof *r->g->input);
    for (size_t i = 0; i < r->g->n_input; i++) {
        int at = fe_edit_find_init(r, fe_text(r->g->input[i]->name));
        if (at >= 0 && r->to->init[at].swapped) {
            r->g->input[i] = info_of(r, r->to->init[at].pb);
        }
    }
    for (int i = 0; i < r->to->n_init && r->to->pb->ir_version < 4; i++) {
        if (r->to->init[i].fresh) {
            r->g->input[r->g->n_input++] = info_of(r, r->to->init[i].pb);
        }
    }
}

// A message of the format may be 2 GB long.
static bool check_bytes(FeEdit *r) {
    if (r->to->bytes <= INT32_MAX) {
        return true;
    }
    ir_error(ir_arena_diag(r->arena), IR_NOWHERE,
             "NYI: the new model would be %.1f GB; an ONNX file without other files beside it "
             "is at most 2 GB long",
             (double)r->to->bytes / 1e9);
    return false;
}

FeNewModel *fe_edit_end(FeEdit *r) {
    list_inputs(r);
    fe_layout_model(r->to);
    return check_bytes(r) ? r->to : NULL;
}

// ---------------------------------------------------------------- the beginning

enum { MODEL_TRAINING_INFO = 20, GRAPH_QUANTIZATION_ANNOTATION = 14 }; // fields of onnx.proto

// Of a copy: a field that speaks of names that may go, and that nobody here reads.
static void drop_field(IrArena *a, ProtobufCMessage *m, uint32_t tag) {
    m->unknown_fields =
        fe_copy_array(a, m->unknown_fields, m->n_unknown_fields, 0, sizeof *m->unknown_fields);
    unsigned kept = 0;
    for (unsigned i = 0; i < m->n_unknown_fields; i++) {
        if (m->unknown_fields[i].tag != tag) {
            m->unknown_fields[kept++] = m->unknown_fields[i];
        }
    }
    m->n_unknown_fields = kept;
}

static void copy_graph(FeEdit *r, int n_meta) {
    IrArena *a = r->arena;
    FeNewModel *m = r->to;
    const Onnx__GraphProto *old = r->from->pb->graph;
    m->pb = FE_COPY_OF(a, r->from->pb);
    m->pb->graph = NULL;
    drop_field(a, &m->pb->base, MODEL_TRAINING_INFO);
    m->pb->metadata_props = fe_copy_array(a, m->pb->metadata_props, m->pb->n_metadata_props,
                                          (size_t)n_meta, sizeof *m->pb->metadata_props);
    r->g = m->graph = FE_COPY_OF(a, old);
    r->g->n_initializer = 0;
    drop_field(a, &r->g->base, GRAPH_QUANTIZATION_ANNOTATION);
    r->g->node = fe_copy_array(a, old->node, old->n_node, old->n_output, sizeof *old->node);
    r->g->input = fe_copy_array(a, old->input, old->n_input, 0, sizeof *old->input);
    r->g->output = fe_copy_array(a, old->output, old->n_output, 0, sizeof *old->output);
    r->g->value_info =
        fe_copy_array(a, old->value_info, old->n_value_info, 0, sizeof *old->value_info);
}

// Initializers, and Constant nodes whose numbers lie in other files.
static bool take_numbers(FeEdit *r) {
    const Onnx__GraphProto *old = r->from->pb->graph;
    for (size_t i = 0; i < old->n_initializer; i++) {
        if (!fe_edit_take_init(r, old->initializer[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < old->n_node; i++) {
        const Onnx__NodeProto *n = old->node[i];
        for (size_t k = 0; fe_is_op(n, "Constant") && n->n_output && k < n->n_attribute; k++) {
            const Onnx__TensorProto *t = n->attribute[k]->t;
            if (t && t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL &&
                !fe_edit_take_param(r, n->output[0])) {
                return false;
            }
        }
    }
    return true;
}

bool fe_edit_begin(FeEdit *r, IrArena *a, const FeModel *from, int n_meta) {
    r->arena = a;
    r->from = from;
    r->to = ir_alloc(a, sizeof *r->to);
    r->inits.arena = r->affected.arena = r->on_path.arena = r->unsound.arena = r->to->arena = a;
    if (fe_read_opset(a, from->pb->n_opset_import, from->pb->opset_import, &r->opset)) {
        return false; // it was read before
    }
    copy_graph(r, n_meta);
    return take_numbers(r);
}

void fe_edit_set_meta(FeEdit *r, const IrMeta *m) {
    Onnx__ModelProto *pb = r->to->pb;
    Onnx__StringStringEntryProto e0 = ONNX__STRING_STRING_ENTRY_PROTO__INIT, *e;
    size_t kept = 0;
    for (size_t i = 0; i < pb->n_metadata_props; i++) {
        if (strcmp(fe_text(pb->metadata_props[i]->key), m->key) != 0) {
            pb->metadata_props[kept++] = pb->metadata_props[i];
        }
    }
    pb->n_metadata_props = kept;
    if (m->value) {
        e = FE_COPY_OF(r->arena, &e0);
        e->key = ir_strdup(r->arena, m->key);
        e->value = ir_strdup(r->arena, m->value);
        pb->metadata_props[pb->n_metadata_props++] = e;
    }
}
