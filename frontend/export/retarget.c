// The user's model with another classifier: initializers of its node are replaced, and what depends
// on the number of classes follows (targets of Reshape, shapes of outputs). Also what a model needs
// that has been trained: training-mode attributes go, metadata_props come. Everything else stays as
// it was, names above all.
//
// Only what the importer accepted comes here: names are unique. Models with subgraphs or functions
// of their own, and those of opsets before 7, are refused.
#include "frontend/export/retarget.h"
#include "ir/map.h"

#include <string.h>

typedef struct Retarget {
    IrArena *arena;
    const FeModel *from;
    const FeRetarget *what;
    FeNewModel *to;
    Onnx__GraphProto *g; // to->graph
    IrMap inits;         // name -> FeInit index + 1, as a pointer
    IrMap affected;      // names of values whose shape follows the number of classes
    int n_shapes;        // constants made for Reshape
} Retarget;

static void *copy_bytes(IrArena *a, const void *p, size_t n) {
    return memcpy(ir_alloc(a, n), p, n);
}
#define COPY_OF(a, p) copy_bytes(a, p, sizeof *(p))

static const char *text(const char *s) { // of an optional field
    return s ? s : "";
}

static bool is_op(const Onnx__NodeProto *n, const char *op) {
    return strcmp(text(n->op_type), op) == 0;
}

static void *copy_array(IrArena *a, const void *v, size_t n, size_t room, size_t size) {
    char *copy = ir_alloc_array(a, n + room + 1, size);
    if (n) {
        memcpy(copy, v, n * size);
    }
    return copy;
}

// ---------------------------------------------------------------- initializers

static int find_init(const Retarget *r, const char *name) {
    return (int)(intptr_t)ir_map_get(&r->inits, name) - 1;
}

static FeInit *add_init(Retarget *r, Onnx__TensorProto *pb, bool fresh) {
    FeInit t = {.pb = pb, .raw_bytes = -1, .fresh = fresh};
    FeNewModel *m = r->to;
    IR_PUSH(r->arena, m->init, m->n_init, m->cap_init, t);
    *ir_map_put(&r->inits, text(pb->name)) = (void *)(intptr_t)m->n_init;
    return &m->init[m->n_init - 1];
}

// The message without its numbers, which are written from `data`.
static void detach_numbers(Retarget *r, FeInit *t, const void *data, int64_t bytes) {
    Onnx__TensorProto *pb = COPY_OF(r->arena, t->pb);
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

// Floats become aligned raw_data, and what lies in other files comes in.
static bool take_init(Retarget *r, const Onnx__TensorProto *old) {
    bool outside = old->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    FeInit *t = add_init(r, (Onnx__TensorProto *)old, false);
    IrTensor x;
    if (old->data_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT && !outside) {
        return true;
    }
    FeExternal *ext = (FeExternal *)&r->from->external;
    const char *why = fe_read_tensor(r->arena, ext, old, true, &x);
    if (why) {
        ir_error(ir_arena_diag(r->arena), IR_NOWHERE, "initializer '%s': %s", text(old->name), why);
        return false;
    }
    detach_numbers(r, t, x.data, ir_tensor_elems(&x) * ir_dtype_bytes(x.dtype));
    return true;
}

static Onnx__TensorProto *new_tensor(Retarget *r, const char *name, int32_t type, int rank,
                                     const int64_t *dims) {
    Onnx__TensorProto init = ONNX__TENSOR_PROTO__INIT, *t = COPY_OF(r->arena, &init);
    t->name = ir_strdup(r->arena, name);
    t->has_data_type = 1;
    t->data_type = type;
    t->n_dims = (size_t)rank;
    t->dims = copy_array(r->arena, dims, (size_t)rank, 0, sizeof *dims);
    return t;
}

// The initializer `c->name` holds c from now on, whether there was one before or not.
static void set_init(Retarget *r, const IrConst *c) {
    int64_t dims[IR_MAX_RANK], elems = 1;
    for (int i = 0; i < c->type.shape.rank; i++) {
        dims[i] = c->type.shape.dim[i].c;
        elems *= dims[i];
    }
    Onnx__TensorProto *pb =
        new_tensor(r, c->name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, c->type.shape.rank, dims);
    int at = find_init(r, c->name);
    FeInit *t = at >= 0 ? &r->to->init[at] : add_init(r, pb, true);
    t->pb = pb;
    detach_numbers(r, t, c->data, elems * 4);
}

// ---------------------------------------------------------------- nodes

// The last node of that name and operator; the importer calls a node without a name by its output.
static int find_node(const Onnx__GraphProto *g, const char *name, const char *op) {
    for (size_t i = g->n_node; i-- > 0;) {
        const Onnx__NodeProto *n = g->node[i];
        const char *own = n->name && *n->name ? n->name : n->n_output ? n->output[0] : "";
        if (strcmp(own, name) == 0 && is_op(n, op)) {
            return (int)i;
        }
    }
    return -1;
}

const char *fe_model_input(const FeModel *m, const char *node, const char *op, int input) {
    int i = find_node(m->pb->graph, node, op);
    const Onnx__NodeProto *n = i >= 0 ? m->pb->graph->node[i] : NULL;
    return n && (size_t)input < n->n_input ? n->input[input] : NULL;
}

static int find_maker(const Retarget *r, const char *name) {
    for (size_t i = 0; i < r->g->n_node; i++) {
        for (size_t k = 0; k < r->g->node[i]->n_output; k++) {
            if (strcmp(r->g->node[i]->output[k], name) == 0) {
                return (int)i;
            }
        }
    }
    return -1;
}

static Onnx__NodeProto *own_node(Retarget *r, size_t i) {
    return r->g->node[i] = COPY_OF(r->arena, r->g->node[i]);
}

static void set_node_input(Retarget *r, size_t i, size_t input, const char *name) {
    Onnx__NodeProto *n = own_node(r, i);
    n->input = copy_array(r->arena, n->input, n->n_input, 0, sizeof *n->input);
    n->input[input] = ir_strdup(r->arena, name);
}

static bool is_read(const Retarget *r, const char *name) {
    for (size_t i = 0; i < r->g->n_node; i++) {
        for (size_t k = 0; k < r->g->node[i]->n_input; k++) {
            if (strcmp(r->g->node[i]->input[k], name) == 0) {
                return true;
            }
        }
    }
    for (size_t i = 0; i < r->g->n_output; i++) {
        if (strcmp(text(r->g->output[i]->name), name) == 0) {
            return true;
        }
    }
    return false;
}

static void drop_init(Retarget *r, int at) {
    FeNewModel *m = r->to;
    const char *name = m->init[at].pb->name;
    size_t kept = 0;
    for (size_t i = 0; i < r->g->n_input; i++) {
        if (strcmp(text(r->g->input[i]->name), name) != 0) {
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

static void drop_node(Retarget *r, size_t i) {
    Onnx__GraphProto *g = r->g;
    memmove(&g->node[i], &g->node[i + 1], (g->n_node - i - 1) * sizeof *g->node);
    g->n_node--;
}

// What nobody reads any more after its reader took something else: the value, the node that made
// it, and so on upwards.
static void drop_unread(Retarget *r, const char *name) {
    const char **list = NULL;
    int n = 0, cap = 0;
    IR_PUSH(r->arena, list, n, cap, name);
    while (n) {
        name = list[--n];
        if (is_read(r, name)) {
            continue;
        }
        int at = find_init(r, name);
        if (at >= 0) {
            drop_init(r, at);
        }
        int maker = find_maker(r, name);
        if (maker >= 0 && r->g->node[maker]->n_output == 1) {
            const Onnx__NodeProto *k = r->g->node[maker];
            for (size_t j = 0; j < k->n_input; j++) {
                IR_PUSH(r->arena, list, n, cap, k->input[j]);
            }
            drop_node(r, (size_t)maker);
        }
    }
}

static bool swap_input(Retarget *r, const FeSwap *s) {
    int i = find_node(r->g, s->node, s->op);
    if (i < 0 || (size_t)s->input >= r->g->node[i]->n_input) {
        ir_error(ir_arena_diag(r->arena), (IrWhere){s->node, s->op},
                 "NYI: '%s' is no input of a node of this name", s->konst->name);
        return false;
    }
    const char *old = r->g->node[i]->input[s->input];
    if (s->is_head) {
        *ir_map_put(&r->affected, r->g->node[i]->output[0]) = r;
    }
    set_init(r, s->konst);
    if (strcmp(old, s->konst->name) != 0) {
        set_node_input(r, (size_t)i, (size_t)s->input, s->konst->name);
        drop_unread(r, old);
        return true;
    }
    int maker = find_maker(r, old); // the name was an Identity's
    if (maker >= 0) {
        const Onnx__NodeProto *n = r->g->node[maker];
        drop_node(r, (size_t)maker);
        for (size_t k = 0; k < n->n_input; k++) {
            drop_unread(r, n->input[k]);
        }
    }
    return true;
}

// ---------------------------------------------------------------- what follows the classifier

// Content of an integer constant: an initializer or the output of a Constant node. NULL: neither.
static const Onnx__TensorProto *find_ints(const Retarget *r, const char *name) {
    int at = find_init(r, name);
    if (at >= 0) {
        return r->to->init[at].pb;
    }
    for (size_t i = 0; i < r->g->n_node; i++) {
        const Onnx__NodeProto *n = r->g->node[i];
        if (is_op(n, "Constant") && n->n_output && strcmp(n->output[0], name) == 0) {
            for (size_t k = 0; k < n->n_attribute; k++) {
                if (strcmp(text(n->attribute[k]->name), "value") == 0 && n->attribute[k]->t) {
                    return n->attribute[k]->t;
                }
            }
        }
    }
    return NULL;
}

// `name`, an integer constant with the old number of classes in it, with the new one; NULL: it is
// no such thing.
static const char *follow_ints(Retarget *r, const char *name) {
    const Onnx__TensorProto *t = find_ints(r, name);
    IrTensor x;
    FeExternal *ext = (FeExternal *)&r->from->external;
    if (!t || fe_read_tensor(r->arena, ext, t, true, &x) || x.rank > 1 ||
        (x.dtype != IR_I64 && x.dtype != IR_I32)) {
        return NULL;
    }
    int64_t len = ir_tensor_elems(&x), bytes = len * ir_dtype_bytes(x.dtype);
    x.data = copy_array(r->arena, x.data, (size_t)bytes, 0, 1);
    for (int64_t k = 0; k < len; k++) {
        if (ir_tensor_get(&x, k) == (double)r->what->old_classes) {
            ir_tensor_set(&x, k, (double)r->what->classes);
            name = ir_sprintf(r->arena, "hone.head.shape%d", r->n_shapes++);
            FeInit *s = add_init(r, new_tensor(r, name, t->data_type, x.rank, &len), true);
            detach_numbers(r, s, x.data, bytes);
            return name;
        }
    }
    return NULL;
}

// Input `input` of a node is the target of a Reshape, or part of one that Concat and the like put
// together.
static bool follow_target(Retarget *r, size_t i, size_t input, int depth) {
    static const char *const parts[] = {"Concat", "Cast", "Unsqueeze", "Squeeze", "Identity"};
    const char *old = r->g->node[i]->input[input], *now = follow_ints(r, old);
    int maker = now || depth == 0 ? -1 : find_maker(r, old);
    if (now) {
        set_node_input(r, i, input, now);
        drop_unread(r, old);
        return true;
    }
    for (size_t k = 0; maker >= 0 && k < sizeof parts / sizeof *parts; k++) {
        const Onnx__NodeProto *n = r->g->node[maker];
        for (size_t j = 0; is_op(n, parts[k]) && j < n->n_input; j++) {
            if (follow_target(r, (size_t)maker, j, depth - 1)) {
                return true;
            }
        }
    }
    return false;
}

static bool reads_affected(const Retarget *r, const Onnx__NodeProto *n) {
    for (size_t k = 0; k < n->n_input; k++) {
        if (ir_map_get(&r->affected, n->input[k])) {
            return true;
        }
    }
    return false;
}

static void follow_node(Retarget *r, size_t i) {
    Onnx__NodeProto *n = r->g->node[i];
    for (size_t k = 0; k < n->n_output; k++) {
        *ir_map_put(&r->affected, n->output[k]) = r;
    }
    if (is_op(n, "Reshape") && n->n_input > 1) {
        follow_target(r, i, 1, 4);
    } else if (r->what->sigmoid && (is_op(n, "Softmax") || is_op(n, "LogSoftmax"))) {
        n = own_node(r, i);
        n->op_type = ir_strdup(r->arena, "Sigmoid");
        n->n_attribute = 0;
    }
}

// Nodes need not stand in order: until nothing new is reached.
static void follow(Retarget *r) {
    bool more = r->affected.n > 0;
    while (more) {
        more = false;
        for (size_t i = 0; i < r->g->n_node; i++) {
            const Onnx__NodeProto *n = r->g->node[i];
            if (n->n_output && !ir_map_get(&r->affected, n->output[0]) && reads_affected(r, n)) {
                follow_node(r, i);
                more = true;
                i = r->g->n_node; // nodes may have gone
            }
        }
    }
}

// The sigmoid in front of an output, with nothing but other shapes in between.
static bool ends_in_sigmoid(const Retarget *r, const char *output) {
    static const char *const shapes[] = {"Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze"};
    for (size_t steps = 0; steps <= r->g->n_node; steps++) {
        int maker = find_maker(r, output);
        const Onnx__NodeProto *n = maker >= 0 ? r->g->node[maker] : NULL;
        bool passes = false;
        for (size_t i = 0; n && i < sizeof shapes / sizeof *shapes; i++) {
            passes = passes || is_op(n, shapes[i]);
        }
        if (!passes || !n->n_input) {
            return n && is_op(n, "Sigmoid");
        }
        output = n->input[0];
    }
    return false;
}

// X -> output becomes X -> output.logits -> Sigmoid -> output.
static void append_sigmoid(Retarget *r, char *output) {
    int maker = find_maker(r, output);
    if (maker < 0) {
        return;
    }
    char *logits = ir_sprintf(r->arena, "%s.logits", output);
    for (size_t i = 0; i < r->g->n_node; i++) {
        Onnx__NodeProto *n = own_node(r, i);
        n->input = copy_array(r->arena, n->input, n->n_input, 0, sizeof *n->input);
        n->output = copy_array(r->arena, n->output, n->n_output, 0, sizeof *n->output);
        for (size_t k = 0; k < n->n_input; k++) {
            n->input[k] = strcmp(n->input[k], output) == 0 ? logits : n->input[k];
        }
        for (size_t k = 0; k < n->n_output; k++) {
            n->output[k] = strcmp(n->output[k], output) == 0 ? logits : n->output[k];
        }
    }
    Onnx__NodeProto init = ONNX__NODE_PROTO__INIT, *n = COPY_OF(r->arena, &init);
    n->name = n->op_type = ir_strdup(r->arena, "Sigmoid");
    n->n_input = n->n_output = 1;
    n->input = copy_array(r->arena, &logits, 1, 0, sizeof logits);
    n->output = copy_array(r->arena, &output, 1, 0, sizeof output);
    r->g->node[r->g->n_node++] = n; // there is room: see copy_graph()
}

// A network that ends in logits answers in probabilities where no softmax can be meant.
static void end_in_sigmoid(Retarget *r) {
    for (size_t i = 0; r->what->sigmoid && i < r->g->n_output; i++) {
        char *output = r->g->output[i]->name;
        if (output && ir_map_get(&r->affected, output) && !ends_in_sigmoid(r, output)) {
            append_sigmoid(r, output);
        }
    }
}

static Onnx__ValueInfoProto *follow_shape(Retarget *r, const Onnx__ValueInfoProto *old) {
    Onnx__ValueInfoProto *v = COPY_OF(r->arena, old);
    if (!v->type || v->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ||
        !v->type->tensor_type->shape) {
        return v;
    }
    v->type = COPY_OF(r->arena, v->type);
    v->type->tensor_type = COPY_OF(r->arena, v->type->tensor_type);
    Onnx__TensorShapeProto *s = COPY_OF(r->arena, v->type->tensor_type->shape);
    v->type->tensor_type->shape = s;
    s->dim = copy_array(r->arena, s->dim, s->n_dim, 0, sizeof *s->dim);
    for (size_t i = 0; i < s->n_dim; i++) {
        if (s->dim[i]->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
            s->dim[i]->dim_value == r->what->old_classes) {
            s->dim[i] = COPY_OF(r->arena, s->dim[i]);
            s->dim[i]->dim_value = r->what->classes;
        }
    }
    return v;
}

static bool is_swapped(const Retarget *r, const char *name) {
    for (int i = 0; i < r->what->n_swaps; i++) {
        const FeSwap *s = &r->what->swaps[i];
        if (s->is_head && strcmp(s->konst->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void follow_edges(Retarget *r) {
    Onnx__GraphProto *g = r->g;
    for (size_t i = 0; i < g->n_output; i++) {
        if (ir_map_get(&r->affected, text(g->output[i]->name))) {
            g->output[i] = follow_shape(r, g->output[i]);
        }
    }
    for (size_t i = 0; i < g->n_input; i++) { // old models list their initializers here too
        if (is_swapped(r, text(g->input[i]->name))) {
            g->input[i] = follow_shape(r, g->input[i]);
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < g->n_value_info; i++) {
        const char *name = text(g->value_info[i]->name);
        if (!ir_map_get(&r->affected, name) && !is_swapped(r, name)) {
            g->value_info[kept++] = g->value_info[i];
        }
    }
    g->n_value_info = kept;
}

// Before version 4 of the format every initializer is an input, too.
static void list_new_inputs(Retarget *r) {
    if (r->to->pb->ir_version >= 4) {
        return;
    }
    for (int i = 0; i < r->to->n_init; i++) {
        const Onnx__TensorProto *t = r->to->init[i].pb;
        if (!r->to->init[i].fresh) {
            continue;
        }
        Onnx__ValueInfoProto v0 = ONNX__VALUE_INFO_PROTO__INIT, *v = COPY_OF(r->arena, &v0);
        Onnx__TypeProto t0 = ONNX__TYPE_PROTO__INIT;
        Onnx__TypeProto__Tensor x0 = ONNX__TYPE_PROTO__TENSOR__INIT;
        Onnx__TensorShapeProto s0 = ONNX__TENSOR_SHAPE_PROTO__INIT, *s = COPY_OF(r->arena, &s0);
        Onnx__TensorShapeProto__Dimension d0 = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__INIT;
        v->name = t->name;
        v->type = COPY_OF(r->arena, &t0);
        v->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
        v->type->tensor_type = COPY_OF(r->arena, &x0);
        v->type->tensor_type->has_elem_type = 1;
        v->type->tensor_type->elem_type = t->data_type;
        v->type->tensor_type->shape = s;
        s->n_dim = t->n_dims;
        s->dim = ir_alloc_array(r->arena, t->n_dims + 1, sizeof *s->dim);
        for (size_t k = 0; k < t->n_dims; k++) {
            s->dim[k] = COPY_OF(r->arena, &d0);
            s->dim[k]->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            s->dim[k]->dim_value = t->dims[k];
        }
        r->g->input[r->g->n_input++] = v; // there is room: see copy_graph()
    }
}

// ---------------------------------------------------------------- training mode

// Without training_mode, and with the result alone, unless the others are read.
static void to_inference(Retarget *r, size_t i) {
    Onnx__NodeProto *n = r->g->node[i];
    bool bn = is_op(n, "BatchNormalization");
    if (!bn && !is_op(n, "Dropout")) {
        return;
    }
    n = own_node(r, i);
    while (n->n_output > 1 && !is_read(r, n->output[n->n_output - 1])) {
        n->n_output--;
    }
    if (!bn && n->n_input > 2) {
        const char *mode = n->input[2];
        n->n_input = 2;
        drop_unread(r, mode);
        return;
    }
    Onnx__AttributeProto **kept = ir_alloc_array(r->arena, n->n_attribute + 1, sizeof *kept);
    size_t n_kept = 0;
    for (size_t k = 0; k < n->n_attribute; k++) {
        if (strcmp(text(n->attribute[k]->name), "training_mode") != 0) {
            kept[n_kept++] = n->attribute[k];
        }
    }
    n->attribute = kept;
    n->n_attribute = n_kept;
}

// ---------------------------------------------------------------- the whole

static void set_meta(Retarget *r, const IrMeta *m) {
    Onnx__ModelProto *pb = r->to->pb;
    Onnx__StringStringEntryProto e0 = ONNX__STRING_STRING_ENTRY_PROTO__INIT, *e;
    size_t kept = 0;
    for (size_t i = 0; i < pb->n_metadata_props; i++) {
        if (strcmp(text(pb->metadata_props[i]->key), m->key) != 0) {
            pb->metadata_props[kept++] = pb->metadata_props[i];
        }
    }
    pb->n_metadata_props = kept;
    if (m->value) {
        e = COPY_OF(r->arena, &e0);
        e->key = ir_strdup(r->arena, m->key);
        e->value = ir_strdup(r->arena, m->value);
        pb->metadata_props[pb->n_metadata_props++] = e;
    }
}

static void copy_graph(Retarget *r) {
    IrArena *a = r->arena;
    FeNewModel *m = r->to;
    const Onnx__GraphProto *old = r->from->pb->graph;
    m->pb = COPY_OF(a, r->from->pb);
    m->pb->graph = NULL;
    m->pb->metadata_props = copy_array(a, m->pb->metadata_props, m->pb->n_metadata_props,
                                       (size_t)r->what->n_meta, sizeof *m->pb->metadata_props);
    r->g = m->graph = COPY_OF(a, old);
    r->g->n_initializer = 0;
    r->g->node = copy_array(a, old->node, old->n_node, old->n_output, sizeof *old->node);
    size_t room =
        old->n_node + (size_t)r->what->n_swaps; // for what follow_ints() and the swaps add
    r->g->input = copy_array(a, old->input, old->n_input, room, sizeof *old->input);
    r->g->output = copy_array(a, old->output, old->n_output, 0, sizeof *old->output);
    r->g->value_info =
        copy_array(a, old->value_info, old->n_value_info, 0, sizeof *old->value_info);
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
        if ((!*text(o->domain) || strcmp(o->domain, "ai.onnx") == 0) && o->version >= 7) {
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
    Retarget r = {.arena = a, .from = from, .what = what, .to = ir_alloc(a, sizeof *r.to)};
    r.inits.arena = r.affected.arena = r.to->arena = a;
    copy_graph(&r);
    for (size_t i = 0; i < from->pb->graph->n_initializer; i++) {
        if (!take_init(&r, from->pb->graph->initializer[i])) {
            return NULL;
        }
    }
    for (int i = 0; i < what->n_swaps; i++) {
        if (!swap_input(&r, &what->swaps[i])) {
            return NULL;
        }
    }
    follow(&r);
    end_in_sigmoid(&r);
    follow_edges(&r);
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
