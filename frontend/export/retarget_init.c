// The initializers of a model while it is changed: taken over, set to other numbers, made of
// Constant nodes. Numbers are kept apart from their messages, to be written where a program finds
// them.
#include "frontend/export/retarget_edit.h"

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
    pb->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT;
    pb->base.n_unknown_fields = 0; // doc_string among them: see retarget_write.c
    t->pb = pb;
    t->raw = data;
    t->raw_bytes = bytes;
}

// The numbers of an initializer apart, to be written where they can be found.
static bool align_init(FeEdit *r, FeInit *t) {
    const Onnx__TensorProto *old = t->pb;
    FeExternal *ext = r->from->external;
    IrTensor x;
    if (t->raw_bytes >= 0) {
        return true;
    }
    const char *why = fe_read_stored(r->arena, ext, old, &x);
    if (why) {
        ir_error(ir_arena_diag(r->arena), IR_NOWHERE, "initializer '%s': %s", fe_text(old->name),
                 why);
        return false;
    }
    detach_numbers(r, t, x.data, ir_tensor_elems(&x) * ir_dtype_bytes(x.dtype));
    return true;
}

bool fe_edit_take_init(FeEdit *r, const Onnx__TensorProto *old) {
    bool outside = old->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    FeInit *t = add_init(r, (Onnx__TensorProto *)old, false);
    bool whole = old->data_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT && !outside;
    return whole || align_init(r, t);
}

// Constant's attributes of numbers without a shape of their own (version 12).
static void fill_numbers(IrArena *a, const Onnx__AttributeProto *from, Onnx__TensorProto *t) {
    bool ints = strncmp(from->name, "value_int", 9) == 0, list = strchr(from->name, 's');
    size_t n = !list ? 1 : ints ? from->n_ints : from->n_floats;
    int64_t dim = (int64_t)n;
    t->has_data_type = 1;
    if (ints) {
        t->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
        t->n_int64_data = n;
        t->int64_data = fe_copy_array(a, list ? from->ints : &from->i, n, 0, sizeof from->i);
    } else {
        t->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
        t->n_float_data = n;
        t->float_data = fe_copy_array(a, list ? from->floats : &from->f, n, 0, sizeof from->f);
    }
    t->n_dims = list;
    t->dims = fe_copy_array(a, &dim, 1, 0, sizeof dim);
}

// What a Constant node makes, as a tensor of that name; NULL: no tensor of numbers.
static Onnx__TensorProto *read_constant(IrArena *a, const Onnx__NodeProto *n, const char *name) {
    Onnx__TensorProto init = ONNX__TENSOR_PROTO__INIT, *t = NULL;
    for (size_t k = 0; fe_is_op(n, "Constant") && k < n->n_attribute; k++) {
        const Onnx__AttributeProto *from = n->attribute[k];
        if (strcmp(fe_text(from->name), "value") == 0 && from->t) {
            t = FE_COPY_OF(a, from->t);
        } else if (strncmp(fe_text(from->name), "value_float", 11) == 0 ||
                   strncmp(fe_text(from->name), "value_int", 9) == 0) {
            t = FE_COPY_OF(a, &init);
            fill_numbers(a, from, t);
        }
    }
    if (t) {
        t->name = ir_strdup(a, name);
    }
    return t;
}

bool fe_edit_take_param(FeEdit *r, const char *name) {
    int at = fe_edit_find_init(r, name), maker = at < 0 ? fe_edit_find_maker(r, name) : -1;
    Onnx__TensorProto *t = maker >= 0 ? read_constant(r->arena, r->g->node[maker], name) : NULL;
    if (t) {
        fe_edit_drop_node(r, (size_t)maker);
        return align_init(r, add_init(r, t, true));
    }
    return at < 0 || align_init(r, &r->to->init[at]);
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

void fe_edit_set_init(FeEdit *r, const IrConst *c, int32_t type) {
    IrType stored = c->type;
    if (!fe_stored_dtype(type, &stored.dtype) || !ir_dtype_is_float(stored.dtype)) {
        type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
        stored.dtype = IR_F32;
    }
    IrTensor x = {.dtype = IR_F32, .data = (void *)c->data};
    const float *data = c->data; // of a new head, or of an initializer: never a splat
    if (stored.dtype != IR_F32) {
        x = ir_tensor_new(r->arena, &stored, 1);
        for (int64_t i = 0, n = ir_tensor_elems(&x); i < n; i++) {
            ir_tensor_set(&x, i, (double)data[i]);
        }
    }
    int64_t dims[IR_MAX_RANK], elems = 1;
    for (int i = 0; i < c->type.shape.rank; i++) {
        dims[i] = c->type.shape.dim[i].c;
        elems *= dims[i];
    }
    Onnx__TensorProto *pb = new_tensor(r, c->name, type, c->type.shape.rank, dims);
    int at = fe_edit_find_init(r, c->name);
    FeInit *t = at >= 0 ? &r->to->init[at] : add_init(r, pb, true);
    t->pb = pb;
    t->swapped = true;
    detach_numbers(r, t, x.data, elems * ir_dtype_bytes(x.dtype));
}

void fe_edit_new_init(FeEdit *r, const char *name, int32_t type, int rank, const int64_t *dims,
                      const void *data, int64_t bytes) {
    FeInit *t = add_init(r, new_tensor(r, name, type, rank, dims), true);
    detach_numbers(r, t, data, bytes);
}

void fe_edit_copy_init(FeEdit *r, int at, const char *name) {
    FeInit old = r->to->init[at];
    Onnx__TensorProto *pb = FE_COPY_OF(r->arena, old.pb);
    pb->name = ir_strdup(r->arena, name);
    FeInit *t = add_init(r, pb, true);
    t->raw = old.raw;
    t->raw_bytes = old.raw_bytes;
}

void fe_edit_drop_init(FeEdit *r, int at) {
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

// ---------------------------------------------------------------- content and types

bool fe_edit_read(const FeEdit *r, const char *name, IrTensor *out, int32_t *type) {
    int at = fe_edit_find_init(r, name), maker = at < 0 ? fe_edit_find_maker(r, name) : -1;
    const Onnx__TensorProto *t = at >= 0      ? r->to->init[at].pb
                                 : maker >= 0 ? read_constant(r->arena, r->g->node[maker], name)
                                              : NULL;
    if (!t) {
        return false;
    }
    Onnx__TensorProto whole = *t;
    if (at >= 0 && r->to->init[at].raw_bytes >= 0) {
        whole.has_raw_data = 1;
        whole.raw_data.data = (void *)r->to->init[at].raw;
        whole.raw_data.len = (size_t)r->to->init[at].raw_bytes;
    }
    *type = t->data_type;
    FeExternal *ext = r->from->external;
    return fe_read_stored(r->arena, ext, &whole, out) == NULL;
}

static int32_t type_of_info(const Onnx__ValueInfoProto *v) {
    bool tensor = v->type && v->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    return tensor ? v->type->tensor_type->elem_type : 0;
}

static int32_t attr_type(const Onnx__NodeProto *n) { // Cast's
    for (size_t k = 0; k < n->n_attribute; k++) {
        if (strcmp(fe_text(n->attribute[k]->name), "to") == 0) {
            return (int32_t)n->attribute[k]->i;
        }
    }
    return 0;
}

int32_t fe_edit_type(const FeEdit *r, const char *name) {
    for (size_t steps = 0; steps <= r->g->n_node; steps++) {
        int at = fe_edit_find_init(r, name), maker = fe_edit_find_maker(r, name);
        if (at >= 0) {
            return r->to->init[at].pb->data_type;
        }
        for (size_t i = 0; i < r->g->n_input; i++) {
            if (strcmp(fe_text(r->g->input[i]->name), name) == 0) {
                return type_of_info(r->g->input[i]);
            }
        }
        const Onnx__NodeProto *n = maker >= 0 ? r->g->node[maker] : NULL;
        const Onnx__TensorProto *t = n ? read_constant(r->arena, n, name) : NULL;
        if (t || !n || fe_is_op(n, "Cast") || !n->n_input) {
            return t ? t->data_type : n ? attr_type(n) : 0;
        }
        name = n->input[fe_is_op(n, "DequantizeLinear") && n->n_input > 1]; // as its scale
    }
    return 0;
}
