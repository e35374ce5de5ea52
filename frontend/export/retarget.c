// The user's model with another classifier: initializers of its node are replaced, and what depends
// on the number of classes follows (targets of Reshape, the last activation, outputs and their
// shapes). Also what a model needs that has been trained: training-mode attributes go,
// metadata_props come. Everything else stays as it was, names above all.
//
// Only what the importer accepted comes here: names are unique, functions and branches stand in the
// graph already (graph/flatten.c).
#include "frontend/export/retarget_edit.h"

const char *fe_model_input(const FeModel *m, const char *node, const char *op, int input) {
    const Onnx__GraphProto *g = m->pb->graph;
    const Onnx__NodeProto *found = NULL;
    for (size_t i = 0; i < g->n_node; i++) {
        found = fe_has_name(g->node[i], node, op) ? g->node[i] : found;
    }
    return found && (size_t)input < found->n_input ? found->input[input] : NULL;
}

bool fe_model_has_node(const FeModel *m, const char *name) {
    for (size_t i = 0; i < m->pb->graph->n_node; i++) {
        const Onnx__NodeProto *n = m->pb->graph->node[i];
        if (fe_has_name(n, name, fe_text(n->op_type))) {
            return true;
        }
    }
    return false;
}

bool fe_model_has_output(const FeModel *m, const char *name) {
    for (size_t i = 0; i < m->pb->graph->n_output; i++) {
        if (strcmp(fe_text(m->pb->graph->output[i]->name), name) == 0) {
            return true;
        }
    }
    return false;
}

// ---------------------------------------------------------------- initializers

// What the trained output is made of, by name.
static void mark_path(FeEdit *r) {
    const Onnx__GraphProto *g = r->g;
    const char **list = NULL;
    int n = 0, cap = 0;
    IrMap makers = {.arena = r->arena};
    for (size_t i = 0; i < g->n_node; i++) {
        for (size_t k = 0; k < g->node[i]->n_output; k++) {
            *ir_map_put(&makers, g->node[i]->output[k]) = g->node[i];
        }
    }
    IR_PUSH(r->arena, list, n, cap, r->what->train->output);
    while (n) {
        const char *name = list[--n];
        void **seen = ir_map_put(&r->on_path, name);
        const Onnx__NodeProto *maker = *seen ? NULL : ir_map_get(&makers, name);
        *seen = r;
        for (size_t k = 0; maker && k < maker->n_input; k++) {
            IR_PUSH(r->arena, list, n, cap, maker->input[k]);
        }
    }
}

// The initializer gets other numbers; nodes that the trained output does not need keep the old
// ones.
static void keep_for_others(FeEdit *r, const char *name) {
    const char *copy = NULL;
    for (size_t i = 0; i < r->g->n_node; i++) {
        const Onnx__NodeProto *n = r->g->node[i];
        for (size_t k = 0; k < n->n_input && !fe_edit_is_on_path(r, n); k++) {
            if (strcmp(n->input[k], name) != 0) {
                continue;
            }
            if (!copy) {
                copy = fe_edit_new_name(r, ir_sprintf(r->arena, "%s.old", name));
                fe_edit_copy_init(r, fe_edit_find_init(r, name), copy);
            }
            fe_edit_set_input(r, i, k, copy);
            n = r->g->node[i];
        }
    }
}

// Of a tensor that an Identity of an initializer makes: one of its own, which keeps its numbers
// whatever becomes of the other.
static void take_identity(FeEdit *r, const IrConst *c) {
    int maker = fe_edit_find_init(r, c->name) < 0 ? fe_edit_find_maker(r, c->name) : -1;
    if (maker >= 0 && fe_is_op(r->g->node[maker], "Identity")) {
        const char *source = r->g->node[maker]->input[0];
        int32_t type = fe_edit_type(r, source);
        fe_edit_drop_node(r, (size_t)maker);
        fe_edit_set_init(r, c, type);
        fe_edit_drop_unread(r, source);
    }
}

const char *fe_model_file(const FeModel *m, int i) {
    return i < m->external->n ? m->external->v[i].path : NULL;
}

const char *fe_model_changed(const FeModel *m) {
    const FeExternal *x = m->external;
    if (!fe_has_stamp(x->path, &x->stamp)) {
        return x->path;
    }
    for (int i = 0; i < x->n; i++) {
        if (!fe_has_stamp(x->v[i].path, &x->v[i].file.stamp)) {
            return x->v[i].path;
        }
    }
    return NULL;
}

static bool swap_input(FeEdit *r, const IrSwap *s) {
    const char *name = s->konst->name;
    if (!s->node) {
        int at = fe_edit_find_init(r, name);
        if (at >= 0) {
            keep_for_others(r, name);
            fe_edit_set_init(r, s->konst, r->to->init[at].pb->data_type);
            *ir_map_put(&r->affected, name) = r;
        }
        return at >= 0;
    }
    int i = fe_edit_find_node(r, s->node, s->op);
    if (i < 0 || (size_t)s->input >= r->g->node[i]->n_input) {
        return false;
    }
    const char *old = r->g->node[i]->input[s->input];
    int32_t type = fe_edit_type(r, old);
    if (!fe_edit_free_name(r, name)) { // the node's own, perhaps: of an Identity
        return false;
    }
    old = r->g->node[i]->input[s->input];
    fe_edit_set_input(r, (size_t)i, (size_t)s->input, name);
    fe_edit_drop_unread(r, old);
    fe_edit_set_init(r, s->konst, type);
    return true;
}

static bool fail_swap(FeEdit *r, const IrSwap *s) {
    ir_error(ir_arena_diag(r->arena), s->node ? (IrWhere){s->node, s->op} : IR_NOWHERE,
             "NYI: '%s' is no initializer of the model, and no input of a node of this name",
             s->konst->name);
    return false;
}

// What the classifiers' nodes make follows them.
static bool mark_heads(FeEdit *r) {
    const IrTrainProgram *t = r->what->train;
    for (int i = 0; i < t->n_heads; i++) {
        int head = fe_edit_find_node(r, t->heads[i].name, t->heads[i].op);
        if (head >= 0) {
            fe_edit_split_sigmoid(r, (size_t)head);
        }
        for (size_t k = 0; head >= 0 && k < r->g->node[head]->n_output; k++) {
            *ir_map_put(&r->affected, r->g->node[head]->output[k]) = r;
        }
    }
    if (!r->affected.n) {
        ir_error(ir_arena_diag(r->arena), (IrWhere){t->heads[0].name, t->heads[0].op},
                 "NYI: the classifier is no node of the file");
    }
    return r->affected.n > 0;
}

// Parameters are initializers, the new classifier's have its numbers.
static bool set_inits(FeEdit *r) {
    const IrTrainProgram *t = r->what->train;
    for (int i = 0; i < t->n_floats; i++) {
        take_identity(r, t->floats[i].konst);
    }
    for (int i = 0; i < t->n_params; i++) {
        take_identity(r, t->params[i].konst);
        if (!fe_edit_take_param(r, t->params[i].konst->name)) {
            return false;
        }
    }
    for (int i = 0; i < t->n_swaps; i++) {
        const IrSwap *s = &t->swaps[i];
        int errors = ir_arena_diag(r->arena)->errors;
        if (!fe_edit_take_param(r, s->konst->name) || !swap_input(r, s)) {
            return ir_arena_diag(r->arena)->errors > errors ? false : fail_swap(r, s);
        }
    }
    return mark_heads(r);
}

// ---------------------------------------------------------------- training mode

// Before opset 7 a node works as in training unless it says otherwise.
static void set_is_test(FeEdit *r, Onnx__NodeProto *n) {
    Onnx__AttributeProto init = ONNX__ATTRIBUTE_PROTO__INIT, *is_test = FE_COPY_OF(r->arena, &init);
    is_test->name = ir_strdup(r->arena, "is_test");
    is_test->has_type = is_test->has_i = 1;
    is_test->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
    is_test->i = 1;
    n->attribute = fe_copy_array(r->arena, n->attribute, n->n_attribute, 1, sizeof *n->attribute);
    size_t at = 0;
    while (at < n->n_attribute && strcmp(fe_text(n->attribute[at]->name), "is_test") != 0) {
        at++;
    }
    n->n_attribute += at == n->n_attribute;
    n->attribute[at] = is_test;
}

// Without training_mode, and with the result alone, unless the others are read.
// What old exporters still write, and newer opsets do not know.
static bool is_outdated(const FeEdit *r, const Onnx__NodeProto *n, const char *attribute) {
    bool trains = fe_is_op(n, "BatchNormalization") || fe_is_op(n, "Dropout");
    return (r->opset >= 6 && strcmp(attribute, "consumed_inputs") == 0) ||
           (r->opset >= 7 && trains && strcmp(attribute, "is_test") == 0);
}

static void drop_old_attributes(FeEdit *r, size_t i) {
    const Onnx__NodeProto *n = r->g->node[i];
    size_t kept = 0;
    Onnx__AttributeProto **v = ir_alloc_array(r->arena, n->n_attribute + 1, sizeof *v);
    for (size_t k = 0; k < n->n_attribute; k++) {
        if (!is_outdated(r, n, fe_text(n->attribute[k]->name))) {
            v[kept++] = n->attribute[k];
        }
    }
    if (kept < n->n_attribute) {
        Onnx__NodeProto *own = fe_edit_own_node(r, i);
        own->attribute = v;
        own->n_attribute = kept;
    }
}

static void to_inference(FeEdit *r, size_t i) {
    Onnx__NodeProto *n = r->g->node[i];
    bool bn = fe_is_op(n, "BatchNormalization");
    if (!bn && !fe_is_op(n, "Dropout")) {
        return;
    }
    n = fe_edit_own_node(r, i);
    if (r->opset < 7) {
        set_is_test(r, n);
    }
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

FeNewModel *fe_retarget(IrArena *a, const FeModel *from, const FeRetarget *what) {
    FeEdit r = {.what = what};
    if (!fe_edit_begin(&r, a, from, what->n_meta)) {
        return NULL;
    }
    mark_path(&r);
    if (!set_inits(&r)) {
        return NULL;
    }
    fe_follow_classes(&r);
    fe_follow_outputs(&r);
    for (size_t i = 0; i < r.g->n_node; i++) {
        drop_old_attributes(&r, i);
        if (!what->keep_training_mode) {
            to_inference(&r, i);
        }
    }
    for (int i = 0; i < what->n_meta; i++) {
        fe_edit_set_meta(&r, &what->meta[i]);
    }
    return fe_edit_end(&r);
}
