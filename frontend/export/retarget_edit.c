// A model while it is changed: its nodes. Messages of the model that was read are copied before
// they change.
#include "frontend/export/retarget_edit.h"

bool fe_has_name(const Onnx__NodeProto *n, const char *name, const char *op) {
    const char *own = n->name && *n->name ? n->name : n->n_output ? n->output[0] : "";
    return strcmp(own, name) == 0 && fe_is_op(n, op);
}

bool fe_edit_is_on_path(const FeEdit *r, const Onnx__NodeProto *n) {
    for (size_t k = 0; k < n->n_output; k++) {
        if (ir_map_get(&r->on_path, n->output[k])) {
            return true;
        }
    }
    return false;
}

int fe_edit_find_node(const FeEdit *r, const char *name, const char *op) {
    int found = -1;
    for (size_t i = 0; i < r->g->n_node; i++) {
        const Onnx__NodeProto *n = r->g->node[i];
        bool better =
            found < 0 || fe_edit_is_on_path(r, n) || !fe_edit_is_on_path(r, r->g->node[found]);
        found = fe_has_name(n, name, op) && better ? (int)i : found;
    }
    return found;
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
    return fe_edit_is_output(r, name);
}

bool fe_edit_is_output(const FeEdit *r, const char *name) {
    for (size_t i = 0; i < r->g->n_output; i++) {
        if (strcmp(fe_text(r->g->output[i]->name), name) == 0) {
            return true;
        }
    }
    return false;
}

void fe_edit_drop_node(FeEdit *r, size_t i) {
    Onnx__GraphProto *g = r->g;
    memmove(&g->node[i], &g->node[i + 1], (g->n_node - i - 1) * sizeof *g->node);
    g->n_node--;
}
