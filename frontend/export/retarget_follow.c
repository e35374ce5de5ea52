// What follows the classifier when the number of classes changes.
#include "frontend/export/retarget_edit.h"

// Content of an integer constant: an initializer or the output of a Constant node. NULL: neither.
static const Onnx__TensorProto *find_ints(const FeEdit *r, const char *name) {
    int at = fe_edit_find_init(r, name);
    if (at >= 0) {
        return r->to->init[at].pb;
    }
    for (size_t i = 0; i < r->g->n_node; i++) {
        const Onnx__NodeProto *n = r->g->node[i];
        if (fe_is_op(n, "Constant") && n->n_output && strcmp(n->output[0], name) == 0) {
            for (size_t k = 0; k < n->n_attribute; k++) {
                if (strcmp(fe_text(n->attribute[k]->name), "value") == 0 && n->attribute[k]->t) {
                    return n->attribute[k]->t;
                }
            }
        }
    }
    return NULL;
}

// `name`, an integer constant with the old number of classes in it, with the new one; NULL: it is
// no such thing.
static const char *follow_ints(FeEdit *r, const char *name) {
    const Onnx__TensorProto *t = find_ints(r, name);
    IrTensor x;
    FeExternal *ext = r->from->external;
    if (!t || fe_read_tensor(r->arena, ext, t, true, &x) || x.rank > 1 ||
        (x.dtype != IR_I64 && x.dtype != IR_I32)) {
        return NULL;
    }
    int64_t len = ir_tensor_elems(&x), bytes = len * ir_dtype_bytes(x.dtype);
    x.data = fe_copy_array(r->arena, x.data, (size_t)bytes, 0, 1);
    for (int64_t k = 0; k < len; k++) {
        if (ir_tensor_get(&x, k) == (double)r->what->old_classes) {
            ir_tensor_set(&x, k, (double)r->what->classes);
            name = ir_sprintf(r->arena, "hone.head.shape%d", r->n_shapes++);
            fe_edit_new_init(r, name, t->data_type, x.rank, &len, x.data, bytes);
            return name;
        }
    }
    return NULL;
}

// Input `input` of a node is the target of a Reshape, or part of one that Concat and the like put
// together.
static bool follow_target(FeEdit *r, size_t i, size_t input, int depth) {
    static const char *const parts[] = {"Concat", "Cast", "Unsqueeze", "Squeeze", "Identity"};
    const char *old = r->g->node[i]->input[input], *now = follow_ints(r, old);
    int maker = now || depth == 0 ? -1 : fe_edit_find_maker(r, old);
    if (now) {
        fe_edit_set_input(r, i, input, now);
        fe_edit_drop_unread(r, old);
        return true;
    }
    for (size_t k = 0; maker >= 0 && k < sizeof parts / sizeof *parts; k++) {
        const Onnx__NodeProto *n = r->g->node[maker];
        for (size_t j = 0; fe_is_op(n, parts[k]) && j < n->n_input; j++) {
            if (follow_target(r, (size_t)maker, j, depth - 1)) {
                return true;
            }
        }
    }
    return false;
}

static bool reads_affected(const FeEdit *r, const Onnx__NodeProto *n) {
    for (size_t k = 0; k < n->n_input; k++) {
        if (ir_map_get(&r->affected, n->input[k])) {
            return true;
        }
    }
    return false;
}

static void follow_node(FeEdit *r, size_t i) {
    Onnx__NodeProto *n = r->g->node[i];
    for (size_t k = 0; k < n->n_output; k++) {
        *ir_map_put(&r->affected, n->output[k]) = r;
    }
    if (fe_is_op(n, "Reshape") && n->n_input > 1) {
        follow_target(r, i, 1, 4);
    } else if (r->what->sigmoid && (fe_is_op(n, "Softmax") || fe_is_op(n, "LogSoftmax"))) {
        n = fe_edit_own_node(r, i);
        n->op_type = ir_strdup(r->arena, "Sigmoid");
        n->n_attribute = 0;
    }
}

// Nodes need not stand in order: until nothing new is reached.
static void follow(FeEdit *r) {
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
static bool ends_in_sigmoid(const FeEdit *r, const char *output) {
    static const char *const shapes[] = {"Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze"};
    for (size_t steps = 0; steps <= r->g->n_node; steps++) {
        int maker = fe_edit_find_maker(r, output);
        const Onnx__NodeProto *n = maker >= 0 ? r->g->node[maker] : NULL;
        bool passes = false;
        for (size_t i = 0; n && i < sizeof shapes / sizeof *shapes; i++) {
            passes = passes || fe_is_op(n, shapes[i]);
        }
        if (!passes || !n->n_input) {
            return n && fe_is_op(n, "Sigmoid");
        }
        output = n->input[0];
    }
    return false;
}

// X -> output becomes X -> output.logits -> Sigmoid -> output.
static void append_sigmoid(FeEdit *r, char *output) {
    int maker = fe_edit_find_maker(r, output);
    if (maker < 0) {
        return;
    }
    char *logits = ir_sprintf(r->arena, "%s.logits", output);
    for (size_t i = 0; i < r->g->n_node; i++) {
        Onnx__NodeProto *n = fe_edit_own_node(r, i);
        n->input = fe_copy_array(r->arena, n->input, n->n_input, 0, sizeof *n->input);
        n->output = fe_copy_array(r->arena, n->output, n->n_output, 0, sizeof *n->output);
        for (size_t k = 0; k < n->n_input; k++) {
            n->input[k] = strcmp(n->input[k], output) == 0 ? logits : n->input[k];
        }
        for (size_t k = 0; k < n->n_output; k++) {
            n->output[k] = strcmp(n->output[k], output) == 0 ? logits : n->output[k];
        }
    }
    Onnx__NodeProto init = ONNX__NODE_PROTO__INIT, *n = FE_COPY_OF(r->arena, &init);
    n->name = n->op_type = ir_strdup(r->arena, "Sigmoid");
    n->n_input = n->n_output = 1;
    n->input = fe_copy_array(r->arena, &logits, 1, 0, sizeof logits);
    n->output = fe_copy_array(r->arena, &output, 1, 0, sizeof output);
    r->g->node[r->g->n_node++] = n; // there is room: see copy_graph()
}

// A network that ends in logits answers in probabilities where no softmax can be meant.
static void end_in_sigmoid(FeEdit *r) {
    for (size_t i = 0; r->what->sigmoid && i < r->g->n_output; i++) {
        char *output = r->g->output[i]->name;
        if (output && ir_map_get(&r->affected, output) && !ends_in_sigmoid(r, output)) {
            append_sigmoid(r, output);
        }
    }
}

static Onnx__ValueInfoProto *follow_shape(FeEdit *r, const Onnx__ValueInfoProto *old) {
    Onnx__ValueInfoProto *v = FE_COPY_OF(r->arena, old);
    if (!v->type || v->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ||
        !v->type->tensor_type->shape) {
        return v;
    }
    v->type = FE_COPY_OF(r->arena, v->type);
    v->type->tensor_type = FE_COPY_OF(r->arena, v->type->tensor_type);
    Onnx__TensorShapeProto *s = FE_COPY_OF(r->arena, v->type->tensor_type->shape);
    v->type->tensor_type->shape = s;
    s->dim = fe_copy_array(r->arena, s->dim, s->n_dim, 0, sizeof *s->dim);
    for (size_t i = 0; i < s->n_dim; i++) {
        if (s->dim[i]->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
            s->dim[i]->dim_value == r->what->old_classes) {
            s->dim[i] = FE_COPY_OF(r->arena, s->dim[i]);
            s->dim[i]->dim_value = r->what->classes;
        }
    }
    return v;
}

static bool is_swapped(const FeEdit *r, const char *name) {
    for (int i = 0; i < r->what->n_swaps; i++) {
        const IrSwap *s = &r->what->swaps[i];
        if (s->is_head && strcmp(s->konst->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void follow_edges(FeEdit *r) {
    Onnx__GraphProto *g = r->g;
    for (size_t i = 0; i < g->n_output; i++) {
        if (ir_map_get(&r->affected, fe_text(g->output[i]->name))) {
            g->output[i] = follow_shape(r, g->output[i]);
        }
    }
    for (size_t i = 0; i < g->n_input; i++) { // old models list their initializers here too
        if (is_swapped(r, fe_text(g->input[i]->name))) {
            g->input[i] = follow_shape(r, g->input[i]);
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < g->n_value_info; i++) {
        const char *name = fe_text(g->value_info[i]->name);
        if (!ir_map_get(&r->affected, name) && !is_swapped(r, name)) {
            g->value_info[kept++] = g->value_info[i];
        }
    }
    g->n_value_info = kept;
}

void fe_follow_classes(FeEdit *r) {
    follow(r);
    end_in_sigmoid(r);
    follow_edges(r);
}
