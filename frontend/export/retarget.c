// The user's model with another classifier: initializers of its node are replaced, and what depends
// on the number of classes follows (targets of Reshape, shapes of outputs). Also what a model needs
// that has been trained: training-mode attributes go, metadata_props come. Everything else stays as
// it was, names above all.
//
// Only what the importer accepted comes here: names are unique. Models with subgraphs or functions
// of their own, and those of opsets before 7, are refused.
#include "frontend/export/retarget_edit.h"

const char *fe_model_input(const FeModel *m, const char *node, const char *op, int input) {
    int i = fe_edit_find_node(m->pb->graph, node, op);
    const Onnx__NodeProto *n = i >= 0 ? m->pb->graph->node[i] : NULL;
    return n && (size_t)input < n->n_input ? n->input[input] : NULL;
}

const char *fe_model_file(const FeModel *m, int i) {
    return i < m->external->n ? m->external->v[i].path : NULL;
}

static bool swap_input(FeEdit *r, const IrSwap *s) {
    int i = fe_edit_find_node(r->g, s->node, s->op);
    if (i < 0 || (size_t)s->input >= r->g->node[i]->n_input) {
        ir_error(ir_arena_diag(r->arena), (IrWhere){s->node, s->op},
                 "NYI: '%s' is no input of a node of this name", s->konst->name);
        return false;
    }
    const char *old = r->g->node[i]->input[s->input];
    if (s->is_head) {
        *ir_map_put(&r->affected, r->g->node[i]->output[0]) = r;
    }
    fe_edit_set_init(r, s->konst);
    if (strcmp(old, s->konst->name) != 0) {
        fe_edit_set_input(r, (size_t)i, (size_t)s->input, s->konst->name);
        fe_edit_drop_unread(r, old);
        return true;
    }
    int maker = fe_edit_find_maker(r, old); // the name was an Identity's
    if (maker >= 0) {
        const Onnx__NodeProto *n = r->g->node[maker];
        fe_edit_drop_node(r, (size_t)maker);
        for (size_t k = 0; k < n->n_input; k++) {
            fe_edit_drop_unread(r, n->input[k]);
        }
    }
    return true;
}

// Before version 4 of the format every initializer is an input, too.
static void list_new_inputs(FeEdit *r) {
    if (r->to->pb->ir_version >= 4) {
        return;
    }
    for (int i = 0; i < r->to->n_init; i++) {
        const Onnx__TensorProto *t = r->to->init[i].pb;
        if (!r->to->init[i].fresh) {
            continue;
        }
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
        r->g->input[r->g->n_input++] = v; // there is room: see copy_graph()
    }
}

// ---------------------------------------------------------------- training mode

// Without training_mode, and with the result alone, unless the others are read.
static void to_inference(FeEdit *r, size_t i) {
    Onnx__NodeProto *n = r->g->node[i];
    bool bn = fe_is_op(n, "BatchNormalization");
    if (!bn && !fe_is_op(n, "Dropout")) {
        return;
    }
    n = fe_edit_own_node(r, i);
    while (n->n_output > 1 && !fe_edit_is_read(r, n->output[n->n_output - 1])) {
        n->n_output--;
    }
    if (!bn && n->n_input > 2) {
        const char *mode = n->input[2];
        n->n_input = 2;
        fe_edit_drop_unread(r, mode);
        return;
    }
    Onnx__AttributeProto **kept = ir_alloc_array(r->arena, n->n_attribute + 1, sizeof *kept);
    size_t n_kept = 0;
    for (size_t k = 0; k < n->n_attribute; k++) {
        if (strcmp(fe_text(n->attribute[k]->name), "training_mode") != 0) {
            kept[n_kept++] = n->attribute[k];
        }
    }
    n->attribute = kept;
    n->n_attribute = n_kept;
}

// ---------------------------------------------------------------- the whole

static void set_meta(FeEdit *r, const IrMeta *m) {
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

static void copy_graph(FeEdit *r) {
    IrArena *a = r->arena;
    FeNewModel *m = r->to;
    const Onnx__GraphProto *old = r->from->pb->graph;
    m->pb = FE_COPY_OF(a, r->from->pb);
    m->pb->graph = NULL;
    m->pb->metadata_props = fe_copy_array(a, m->pb->metadata_props, m->pb->n_metadata_props,
                                          (size_t)r->what->n_meta, sizeof *m->pb->metadata_props);
    r->g = m->graph = FE_COPY_OF(a, old);
    r->g->n_initializer = 0;
    r->g->node = fe_copy_array(a, old->node, old->n_node, old->n_output, sizeof *old->node);
    // For what follow_ints(), the swaps and Constant nodes add.
    size_t room = 2 * old->n_node + (size_t)r->what->n_swaps;
    r->g->input = fe_copy_array(a, old->input, old->n_input, room, sizeof *old->input);
    r->g->output = fe_copy_array(a, old->output, old->n_output, 0, sizeof *old->output);
    r->g->value_info =
        fe_copy_array(a, old->value_info, old->n_value_info, 0, sizeof *old->value_info);
}

// Why the model cannot be written back; NULL: it can.
static const char *find_obstacle(const Onnx__ModelProto *m) {
    const Onnx__GraphProto *g = m->graph;
    if (m->n_functions) {
        return "it has functions of its own, which cannot be written back; inline them first";
    }
    for (size_t i = 0; i < g->n_node; i++) {
        for (size_t k = 0; k < g->node[i]->n_attribute; k++) {
            if (g->node[i]->attribute[k]->g) {
                return "it has nodes with subgraphs, which cannot be written back; simplify it "
                       "first";
            }
        }
    }
    for (size_t i = 0; i < m->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *o = m->opset_import[i];
        if ((!*fe_text(o->domain) || strcmp(o->domain, "ai.onnx") == 0) && o->version >= 7) {
            return NULL;
        }
    }
    return "its opset is below 7; convert it to a newer one first";
}

FeNewModel *fe_retarget(IrArena *a, const FeModel *from, const FeRetarget *what) {
    const char *why = find_obstacle(from->pb);
    if (why) {
        ir_error(ir_arena_diag(a), IR_NOWHERE, "the trained model cannot be made: %s", why);
        return NULL;
    }
    FeEdit r = {.arena = a, .from = from, .what = what, .to = ir_alloc(a, sizeof *r.to)};
    r.inits.arena = r.affected.arena = r.to->arena = a;
    copy_graph(&r);
    for (size_t i = 0; i < from->pb->graph->n_initializer; i++) {
        if (!fe_edit_take_init(&r, from->pb->graph->initializer[i])) {
            return NULL;
        }
    }
    for (int i = 0; i < what->n_swaps; i++) {
        if (!swap_input(&r, &what->swaps[i])) {
            return NULL;
        }
    }
    for (int i = 0; i < what->n_trained; i++) {
        fe_edit_take_constant(&r, what->trained[i], true);
    }
    for (int i = 0; i < what->n_fixed; i++) {
        fe_edit_take_constant(&r, what->fixed[i], false);
    }
    fe_follow_classes(&r);
    list_new_inputs(&r);
    for (size_t i = 0; i < r.g->n_node; i++) {
        to_inference(&r, i);
    }
    for (int i = 0; i < what->n_meta; i++) {
        set_meta(&r, &what->meta[i]);
    }
    fe_layout_model(r.to);
    return r.to;
}
