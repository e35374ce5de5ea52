// A model while it is changed: its initializers and nodes. Messages of the model that was read are
// copied before they change.
#include "frontend/export/retarget_edit.h"

// ---------------------------------------------------------------- initializers

int fe_edit_find_init(const FeEdit *r, const char *name) {
    return (int)(intptr_t)ir_map_get(&r->inits, name) - 1;
}

static FeInit *add_init(FeEdit *r, Onnx__TensorProto *pb, bool fresh) {
    FeInit t = {.pb = pb, .raw_bytes = -1, .fresh = fresh};
    FeNewModel *m = r->to;
    IR_PUSH(r->arena, m->init, m->n_init, m->cap_init, t);
    *ir_map_put(&r->inits, fe_text(pb->name)) = (void *)(intptr_t)m->n_init;
    return &m->init[m->n_init - 1];
}

// The message without its numbers, which are written from `data`.
static void detach_numbers(FeEdit *r, FeInit *t, const void *data, int64_t bytes) {
    Onnx__TensorProto *pb = FE_COPY_OF(r->arena, t->pb);
    pb->has_raw_data = 0;
    pb->n_float_data = pb->n_int32_data = pb->n_int64_data = 0;
    pb->n_double_data = pb->n_uint64_data = pb->n_string_data = 0;
    pb->n_external_data = 0;
    pb->has_data_location = 0;
    pb->base.n_unknown_fields = 0; // doc_string among them: see retarget_write.c
    t->pb = pb;
    t->raw = data;
    t->raw_bytes = bytes;
}

bool fe_edit_take_init(FeEdit *r, const Onnx__TensorProto *old) {
    bool outside = old->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    FeInit *t = add_init(r, (Onnx__TensorProto *)old, false);
    IrTensor x;
    if (old->data_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT && !outside) {
        return true;
    }
    FeExternal *ext = r->from->external;
    const char *why = fe_read_tensor(r->arena, ext, old, true, &x);
    if (why) {
        ir_error(ir_arena_diag(r->arena), IR_NOWHERE, "initializer '%s': %s", fe_text(old->name),
                 why);
        return false;
    }
    detach_numbers(r, t, x.data, ir_tensor_elems(&x) * ir_dtype_bytes(x.dtype));
    return true;
}

static Onnx__TensorProto *new_tensor(FeEdit *r, const char *name, int32_t type, int rank,
                                     const int64_t *dims) {
    Onnx__TensorProto init = ONNX__TENSOR_PROTO__INIT, *t = FE_COPY_OF(r->arena, &init);
    t->name = ir_strdup(r->arena, name);
    t->has_data_type = 1;
    t->data_type = type;
    t->n_dims = (size_t)rank;
    t->dims = fe_copy_array(r->arena, dims, (size_t)rank, 0, sizeof *dims);
    return t;
}

void fe_edit_set_init(FeEdit *r, const IrConst *c) {
    int64_t dims[IR_MAX_RANK], elems = 1;
    for (int i = 0; i < c->type.shape.rank; i++) {
        dims[i] = c->type.shape.dim[i].c;
        elems *= dims[i];
    }
    Onnx__TensorProto *pb =
        new_tensor(r, c->name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, c->type.shape.rank, dims);
    int at = fe_edit_find_init(r, c->name);
    FeInit *t = at >= 0 ? &r->to->init[at] : add_init(r, pb, true);
    t->pb = pb;
    detach_numbers(r, t, c->data, elems * 4);
}

void fe_edit_new_init(FeEdit *r, const char *name, int32_t type, int rank, const int64_t *dims,
                      const void *data, int64_t bytes) {
    FeInit *t = add_init(r, new_tensor(r, name, type, rank, dims), true);
    detach_numbers(r, t, data, bytes);
}

// ---------------------------------------------------------------- nodes

int fe_edit_find_node(const Onnx__GraphProto *g, const char *name, const char *op) {
    for (size_t i = g->n_node; i-- > 0;) {
        const Onnx__NodeProto *n = g->node[i];
        const char *own = n->name && *n->name ? n->name : n->n_output ? n->output[0] : "";
        if (strcmp(own, name) == 0 && fe_is_op(n, op)) {
            return (int)i;
        }
    }
    return -1;
}

static const Onnx__AttributeProto *find_attr(const Onnx__NodeProto *n, const char *name) {
    for (size_t k = 0; k < n->n_attribute; k++) {
        if (strcmp(fe_text(n->attribute[k]->name), name) == 0) {
            return n->attribute[k];
        }
    }
    return NULL;
}

void fe_edit_take_constant(FeEdit *r, const IrConst *c, bool trains) {
    int maker = fe_edit_find_init(r, c->name) < 0 ? fe_edit_find_maker(r, c->name) : -1;
    const Onnx__NodeProto *n = maker >= 0 ? r->g->node[maker] : NULL;
    if (n && fe_is_op(n, "Identity")) {
        const char *old = n->input[0];
        fe_edit_set_init(r, c);
        fe_edit_drop_node(r, (size_t)maker);
        fe_edit_drop_unread(r, old);
    }
    if (!n || !trains || !fe_is_op(n, "Constant")) {
        return;
    }
    const Onnx__AttributeProto *value = find_attr(n, "value");
    bool floats = value && value->t ? value->t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT
                                    : find_attr(n, "value_float") || find_attr(n, "value_floats");
    if (floats) {
        fe_edit_set_init(r, c);
        fe_edit_drop_node(r, (size_t)maker);
    }
}

int fe_edit_find_maker(const FeEdit *r, const char *name) {
    for (size_t i = 0; i < r->g->n_node; i++) {
        for (size_t k = 0; k < r->g->node[i]->n_output; k++) {
            if (strcmp(r->g->node[i]->output[k], name) == 0) {
                return (int)i;
            }
        }
    }
    return -1;
}

Onnx__NodeProto *fe_edit_own_node(FeEdit *r, size_t i) {
    return r->g->node[i] = FE_COPY_OF(r->arena, r->g->node[i]);
}

void fe_edit_set_input(FeEdit *r, size_t i, size_t input, const char *name) {
    Onnx__NodeProto *n = fe_edit_own_node(r, i);
    n->input = fe_copy_array(r->arena, n->input, n->n_input, 0, sizeof *n->input);
    n->input[input] = ir_strdup(r->arena, name);
}

bool fe_edit_is_read(const FeEdit *r, const char *name) {
    for (size_t i = 0; i < r->g->n_node; i++) {
        for (size_t k = 0; k < r->g->node[i]->n_input; k++) {
            if (strcmp(r->g->node[i]->input[k], name) == 0) {
                return true;
            }
        }
    }
    for (size_t i = 0; i < r->g->n_output; i++) {
        if (strcmp(fe_text(r->g->output[i]->name), name) == 0) {
            return true;
        }
    }
    return false;
}

static void drop_init(FeEdit *r, int at) {
    FeNewModel *m = r->to;
    const char *name = m->init[at].pb->name;
    size_t kept = 0;
    for (size_t i = 0; i < r->g->n_input; i++) {
        if (strcmp(fe_text(r->g->input[i]->name), name) != 0) {
            r->g->input[kept++] = r->g->input[i];
        }
    }
    r->g->n_input = kept;
    memmove(&m->init[at], &m->init[at + 1], (size_t)(m->n_init - at - 1) * sizeof *m->init);
    m->n_init--;
    for (int i = at; i < m->n_init; i++) {
        *ir_map_put(&r->inits, m->init[i].pb->name) = (void *)(intptr_t)(i + 1);
    }
    *ir_map_put(&r->inits, name) = NULL;
}

void fe_edit_drop_node(FeEdit *r, size_t i) {
    Onnx__GraphProto *g = r->g;
    memmove(&g->node[i], &g->node[i + 1], (g->n_node - i - 1) * sizeof *g->node);
    g->n_node--;
}

void fe_edit_drop_unread(FeEdit *r, const char *name) {
    const char **list = NULL;
    int n = 0, cap = 0;
    IR_PUSH(r->arena, list, n, cap, name);
    while (n) {
        name = list[--n];
        if (fe_edit_is_read(r, name)) {
            continue;
        }
        int at = fe_edit_find_init(r, name);
        if (at >= 0) {
            drop_init(r, at);
        }
        int maker = fe_edit_find_maker(r, name);
        if (maker >= 0 && r->g->node[maker]->n_output == 1) {
            const Onnx__NodeProto *k = r->g->node[maker];
            for (size_t j = 0; j < k->n_input; j++) {
                IR_PUSH(r->arena, list, n, cap, k->input[j]);
            }
            fe_edit_drop_node(r, (size_t)maker);
        }
    }
}
