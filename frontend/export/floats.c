// The floats that a file stores: initializers and what Constant nodes hold, in subgraphs and
// functions too. What is said of a model's parameters is held against them.
#include "frontend/export/retarget.h"

#include <fnmatch.h>
#include <string.h>

typedef struct Walk {
    FeFloatsFn *each;
    void *ctx;
} Walk;

static void visit_tensor(const Walk *w, const char *name, const Onnx__TensorProto *t) {
    IrDtype dtype;
    int64_t n = 1;
    if (!fe_dtype(t->data_type, true, &dtype) || !ir_dtype_is_float(dtype) ||
        fe_small_type(t->data_type)) {
        return;
    }
    for (size_t i = 0; i < t->n_dims; i++) {
        n *= t->dims[i]; // the importer has checked that it fits
    }
    w->each(w->ctx, name ? name : "", n);
}

static void visit_graph(const Walk *w, const Onnx__GraphProto *g);

static void visit_nodes(const Walk *w, size_t n, Onnx__NodeProto *const *node) {
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < node[i]->n_attribute; k++) {
            const Onnx__AttributeProto *a = node[i]->attribute[k];
            const char *name = node[i]->n_output ? node[i]->output[0] : "";
            bool constant = node[i]->op_type && strcmp(node[i]->op_type, "Constant") == 0;
            if (a->g) {
                visit_graph(w, a->g);
            } else if (constant && a->t) {
                visit_tensor(w, name, a->t);
            } else if (constant && a->name && strncmp(a->name, "value_float", 11) == 0) {
                w->each(w->ctx, name, a->n_floats ? (int64_t)a->n_floats : 1);
            }
        }
    }
}

// As deep as subgraphs are nested, which the wire scan limits.
static void visit_graph(const Walk *w, const Onnx__GraphProto *g) {
    for (size_t i = 0; i < g->n_initializer; i++) {
        visit_tensor(w, g->initializer[i]->name, g->initializer[i]);
    }
    visit_nodes(w, g->n_node, g->node);
}

void fe_model_floats(const FeModel *m, FeFloatsFn *each, void *ctx) {
    const Walk w = {each, ctx};
    visit_graph(&w, m->pb->graph);
    for (size_t i = 0; i < m->pb->n_functions; i++) {
        visit_nodes(&w, m->pb->functions[i]->n_node, m->pb->functions[i]->node);
    }
}

typedef struct Search {
    const char *glob;
    bool found;
} Search;

static void compare(void *ctx, const char *name, int64_t count) {
    Search *s = ctx;
    s->found = s->found || (count > 0 && fnmatch(s->glob, name, 0) == 0);
}

bool fe_model_has_floats(const FeModel *m, const char *glob) {
    Search s = {.glob = glob};
    fe_model_floats(m, compare, &s);
    return s.found;
}
