// Names in a model while it is changed: new ones, other ones, and those that nobody reads any more.
#include "frontend/export/retarget_edit.h"

static bool is_input(const FeEdit *r, const char *name) {
    for (size_t i = 0; i < r->g->n_input; i++) {
        if (strcmp(fe_text(r->g->input[i]->name), name) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_taken(const FeEdit *r, const char *name) {
    return fe_edit_find_init(r, name) >= 0 || fe_edit_find_maker(r, name) >= 0 || is_input(r, name);
}

const char *fe_edit_new_name(const FeEdit *r, const char *name) {
    const char *now = name;
    for (int k = 2; is_taken(r, now); k++) {
        now = ir_sprintf(r->arena, "%s.%d", name, k);
    }
    return now;
}

static bool has_name(char *const *v, size_t n, const char *name) {
    for (size_t k = 0; k < n; k++) {
        if (strcmp(v[k], name) == 0) {
            return true;
        }
    }
    return false;
}

static char **renamed(FeEdit *r, char *const *v, size_t n, const char *old, char *now) {
    char **copy = fe_copy_array(r->arena, v, n, 0, sizeof *v);
    for (size_t k = 0; k < n; k++) {
        copy[k] = strcmp(v[k], old) == 0 ? now : v[k];
    }
    return copy;
}

void fe_edit_rename(FeEdit *r, const char *old, const char *now) {
    char *own = ir_strdup(r->arena, now);
    for (size_t i = 0; i < r->g->n_node; i++) {
        const Onnx__NodeProto *n = r->g->node[i];
        if (has_name(n->input, n->n_input, old) || has_name(n->output, n->n_output, old)) {
            Onnx__NodeProto *copy = fe_edit_own_node(r, i);
            copy->input = renamed(r, n->input, n->n_input, old, own);
            copy->output = renamed(r, n->output, n->n_output, old, own);
        }
    }
    if (ir_map_get(&r->on_path, old)) {
        *ir_map_put(&r->on_path, own) = r;
    }
}

bool fe_edit_free_name(FeEdit *r, const char *name) {
    if (!is_taken(r, name)) {
        return true;
    }
    if (is_input(r, name) || fe_edit_is_output(r, name)) {
        ir_error(ir_arena_diag(r->arena), IR_NOWHERE,
                 "the trained model cannot be made: its graph has an edge named '%s', which is to "
                 "be the name of a parameter",
                 name);
        return false;
    }
    const char *now = fe_edit_new_name(r, name);
    int at = fe_edit_find_init(r, name);
    if (at >= 0) {
        fe_edit_copy_init(r, at, now);
        fe_edit_drop_init(r, at);
    }
    fe_edit_rename(r, name, now);
    return true;
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
            fe_edit_drop_init(r, at);
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
