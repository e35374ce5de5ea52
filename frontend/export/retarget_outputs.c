// The outputs of a model with another classifier, and the shapes that it declares.
#include "frontend/export/retarget_edit.h"

// ---------------------------------------------------------------- outputs that cannot stay

static void warn_dropped(FeEdit *r, const char *name, const Onnx__NodeProto *why) {
    const char *by = why->name && *why->name ? why->name : why->output[0];
    ir_warn(ir_arena_diag(r->arena), (IrWhere){by, fe_text(why->op_type)},
            "made for the old classes: the trained model is without the output '%s'", name);
}

static bool is_listed(Onnx__ValueInfoProto *const *v, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(fe_text(v[i]->name), name) == 0) {
            return true;
        }
    }
    return false;
}

// Other outputs than the trained one that are made for the old classes, and those that are listed
// again.
static void drop_outputs(FeEdit *r) {
    Onnx__GraphProto *g = r->g;
    const char **gone = ir_alloc_array(r->arena, g->n_output + 1, sizeof *gone);
    size_t kept = 0, n_gone = 0;
    for (size_t i = 0; i < g->n_output; i++) {
        const char *name = fe_text(g->output[i]->name);
        bool trained = strcmp(name, r->what->train->output) == 0;
        const Onnx__NodeProto *why = trained ? NULL : ir_map_get(&r->unsound, name);
        if (why) {
            warn_dropped(r, name, why);
            gone[n_gone++] = name;
        } else if (!is_listed(g->output, kept, name)) {
            g->output[kept++] = g->output[i];
        }
    }
    g->n_output = kept;
    for (size_t i = 0; i < n_gone; i++) {
        fe_edit_drop_unread(r, gone[i]);
    }
}

// ---------------------------------------------------------------- a sigmoid at the end

// The file ends in a softmax or sigmoid by now, or names a class, with nothing but what hands that
// on below it.
static bool has_end(const FeEdit *r, const char *output) {
    static const char *const passes[] = {"Identity", "Flatten",   "Reshape", "Squeeze", "Unsqueeze",
                                         "Cast",     "Transpose", "Dropout", "Clip"};
    for (size_t steps = 0; steps <= r->g->n_node; steps++) {
        int maker = fe_edit_find_maker(r, output);
        const Onnx__NodeProto *n = maker >= 0 ? r->g->node[maker] : NULL;
        bool on = false;
        for (size_t i = 0; n && i < sizeof passes / sizeof *passes; i++) {
            on = on || fe_is_op(n, passes[i]);
        }
        if (!on || !n->n_input) {
            return n && (fe_is_op(n, "Sigmoid") || fe_is_op(n, "ArgMax"));
        }
        output = n->input[0];
    }
    return false;
}

// X -> output becomes X -> output.logits -> Sigmoid -> output.
static void append_sigmoid(FeEdit *r, char *output) {
    if (fe_edit_find_maker(r, output) < 0) {
        return;
    }
    char *logits = (char *)fe_edit_new_name(r, ir_sprintf(r->arena, "%s.logits", output));
    fe_edit_rename(r, output, logits);
    Onnx__NodeProto init = ONNX__NODE_PROTO__INIT, *n = FE_COPY_OF(r->arena, &init);
    n->name = n->op_type = ir_strdup(r->arena, "Sigmoid");
    n->n_input = n->n_output = 1;
    n->input = fe_copy_array(r->arena, &logits, 1, 0, sizeof logits);
    n->output = fe_copy_array(r->arena, &output, 1, 0, sizeof output);
    r->g->node[r->g->n_node++] = n; // there is room: see copy_graph()
    *ir_map_put(&r->affected, logits) = r;
}

// ---------------------------------------------------------------- shapes

// The first dimension behind the batch that is the number of classes becomes the new one.
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
    for (size_t i = 1; i < s->n_dim; i++) {
        if (s->dim[i]->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
            s->dim[i]->dim_value == r->what->train->old_logits) {
            s->dim[i] = FE_COPY_OF(r->arena, s->dim[i]);
            s->dim[i]->dim_value = r->what->train->logits;
            break;
        }
    }
    return v;
}

static void add_dim(FeEdit *r, Onnx__TensorShapeProto *s, IrDim d) {
    Onnx__TensorShapeProto__Dimension init = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__INIT;
    Onnx__TensorShapeProto__Dimension *x = s->dim[s->n_dim++] = FE_COPY_OF(r->arena, &init);
    if (d.n == 0) {
        x->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        x->dim_value = d.c;
    } else if (d.n == 1 && d.c == 0) {
        x->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
        x->dim_param = ir_strdup(r->arena, "N");
    }
}

// A shape without sizes that no runtime takes: 0 and -1 were written for any batch.
static bool is_whole(const Onnx__TensorShapeProto *s) {
    for (size_t i = 0; s && i < s->n_dim; i++) {
        if (s->dim[i]->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
            s->dim[i]->dim_value < 1) {
            return false;
        }
    }
    return s;
}

// The format asks for types with shapes at the edges; where the file had none, as it was imported.
static Onnx__ValueInfoProto *complete(FeEdit *r, Onnx__ValueInfoProto *v) {
    Onnx__TypeProto t0 = ONNX__TYPE_PROTO__INIT;
    Onnx__TypeProto__Tensor x0 = ONNX__TYPE_PROTO__TENSOR__INIT;
    Onnx__TensorShapeProto s0 = ONNX__TENSOR_SHAPE_PROTO__INIT;
    const FeEdge *edge = NULL;
    for (int i = 0; i < r->from->n_edges; i++) {
        edge = strcmp(r->from->edges[i].name, fe_text(v->name)) == 0 ? &r->from->edges[i] : edge;
    }
    bool typed = v->type && v->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    if (!edge || (typed && is_whole(v->type->tensor_type->shape))) {
        return v;
    }
    int32_t type = typed ? v->type->tensor_type->elem_type : 0;
    v = FE_COPY_OF(r->arena, v);
    v->type = FE_COPY_OF(r->arena, &t0);
    v->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    v->type->tensor_type = FE_COPY_OF(r->arena, &x0);
    v->type->tensor_type->has_elem_type = 1;
    v->type->tensor_type->elem_type = type ? type : fe_edit_type(r, fe_text(v->name));
    Onnx__TensorShapeProto *s = v->type->tensor_type->shape = FE_COPY_OF(r->arena, &s0);
    s->dim = ir_alloc_array(r->arena, (size_t)edge->shape.rank + 1, sizeof *s->dim);
    for (int i = 0; i < edge->shape.rank; i++) {
        add_dim(r, s, edge->shape.dim[i]);
    }
    return v;
}

void fe_follow_outputs(FeEdit *r) {
    const IrTrainProgram *t = r->what->train;
    Onnx__GraphProto *g = r->g;
    drop_outputs(r);
    // A network that ends in logits answers in probabilities where no softmax can be meant.
    if (t->loss == IR_LOSS_BCE && !has_end(r, t->output)) {
        append_sigmoid(r, (char *)t->output);
    }
    for (size_t i = 0; i < g->n_input; i++) {
        g->input[i] = complete(r, g->input[i]);
    }
    for (size_t i = 0; i < g->n_output; i++) {
        g->output[i] = complete(r, g->output[i]);
    }
    for (size_t i = 0; i < g->n_output && t->logits != t->old_logits; i++) {
        if (ir_map_get(&r->affected, fe_text(g->output[i]->name))) {
            g->output[i] = follow_shape(r, g->output[i]);
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < g->n_value_info; i++) {
        if (!ir_map_get(&r->affected, fe_text(g->value_info[i]->name))) {
            g->value_info[kept++] = g->value_info[i];
        }
    }
    g->n_value_info = kept;
}
