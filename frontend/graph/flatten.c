// The model's graph without functions and branches: what stands in the place of such a node has
// taken it, under the names that the walk gave it. For export, which changes a graph of plain
// nodes.
//
//   y = Block(x, w)                          t = Conv(x, w)            named Block/conv
//   Block(a, b) { t = Conv(a, b); Relu(t) }  y = Relu(t)               named Block/relu
//
// Loops stay as they are: nothing in them changes.
//
// Invariants: names of the model's own graph stay; those from inside get the scope's prefix, and a
// number where that is taken. Producers stand before their readers.
#include "frontend/graph/graph.h"
#include "ir/map.h"

#include <string.h>

typedef struct Flat {
    FeContext *fe;
    IrArena *arena;
    IrMap taken; // names of values, anywhere
    int n_nodes, cap_nodes, n_inits, cap_inits;
    Onnx__NodeProto **node;
    Onnx__TensorProto **init;
} Flat;

typedef struct Names { // of a scope: what its values are called in the flat graph
    IrMap map;
    const struct Names *outer; // as FeScope.outer
} Names;

static void *copy_of(IrArena *a, const void *p, size_t bytes) {
    return memcpy(ir_alloc(a, bytes + 1), p, bytes);
}

// ---------------------------------------------------------------- names

static char *find_name(const Names *names, const char *name) {
    char *found = NULL;
    for (; names && !found; names = names->outer) {
        found = ir_map_get(&names->map, name);
    }
    return found;
}

static char *new_name(Flat *f, const char *name) {
    const char *full = fe_full_name(f->fe, name), *now = full;
    for (int k = 2; ir_map_get(&f->taken, now); k++) {
        now = ir_sprintf(f->arena, "%s.%d", full, k);
    }
    *ir_map_put(&f->taken, now) = f;
    return ir_strdup(f->arena, now);
}

static void set_name(Names *names, const char *name, char *flat) {
    *ir_map_put(&names->map, name) = flat;
}

// Names of what the scope makes itself and nobody has named yet. The model's own stay.
static void name_values(Flat *f, const FeScope *s, Names *names) {
    for (int i = 0; i < s->n_values; i++) {
        const char *name = s->values[i].name;
        bool made = s->values[i].producer >= 0 || s->values[i].init;
        if (!s->caller) {
            set_name(names, name, ir_strdup(f->arena, name));
        } else if (made && !ir_map_get(&names->map, name)) {
            set_name(names, name, new_name(f, name));
        }
    }
}

static FeValue *find_value(const FeScope *s, const char *name) {
    for (int i = 0; i < s->n_values; i++) {
        if (strcmp(s->values[i].name, name) == 0) {
            return &s->values[i];
        }
    }
    return NULL;
}

// ---------------------------------------------------------------- nodes

static const Onnx__AttributeProto *resolve(const FeScope *s, const Onnx__AttributeProto *a) {
    for (int i = 0; a->ref_attr_name && *a->ref_attr_name && i < s->n_attrs; i++) {
        if (strcmp(s->attrs[i].name, a->ref_attr_name) != 0) {
            continue;
        }
        if (!s->attrs[i].a) {
            return NULL;
        }
        return s->attrs[i].a;
    }
    return a->ref_attr_name && *a->ref_attr_name ? NULL : a;
}

static void copy_attributes(Flat *f, const FeScope *s, const Onnx__NodeProto *n,
                            Onnx__NodeProto *to) {
    to->attribute = ir_alloc_array(f->arena, n->n_attribute + 1, sizeof *to->attribute);
    to->n_attribute = 0;
    for (size_t i = 0; i < n->n_attribute; i++) {
        const Onnx__AttributeProto *a = resolve(s, n->attribute[i]);
        if (a) {
            Onnx__AttributeProto *own = copy_of(f->arena, a, sizeof *a);
            own->name = n->attribute[i]->name;
            to->attribute[to->n_attribute++] = own;
        }
    }
}

static void push_node(Flat *f, Onnx__NodeProto *n) {
    IR_PUSH(f->arena, f->node, f->n_nodes, f->cap_nodes, n);
}

static void add_node(Flat *f, const FeScope *s, const Names *names, size_t index) {
    const Onnx__NodeProto *n = s->pb->node[index];
    Onnx__NodeProto *to = (Onnx__NodeProto *)n;
    if (s->caller) {
        to = copy_of(f->arena, n, sizeof *n);
        to->name = ir_strdup(f->arena, fe_node_name(f->fe, index));
        to->input = ir_alloc_array(f->arena, n->n_input + 1, sizeof *to->input);
        to->output = ir_alloc_array(f->arena, n->n_output + 1, sizeof *to->output);
        char *none = ir_strdup(f->arena, "");
        for (size_t i = 0; i < n->n_input; i++) {
            char *name = find_name(names, n->input[i]);
            to->input[i] = name ? name : none;
        }
        for (size_t i = 0; i < n->n_output; i++) {
            char *name = find_name(names, n->output[i]);
            to->output[i] = name ? name : none;
        }
        copy_attributes(f, s, n, to);
    }
    push_node(f, to);
}

static void add_identity(Flat *f, char *from, char *to) {
    Onnx__NodeProto init = ONNX__NODE_PROTO__INIT, *n = copy_of(f->arena, &init, sizeof init);
    n->op_type = ir_strdup(f->arena, "Identity");
    n->n_input = n->n_output = 1;
    n->input = copy_of(f->arena, &from, sizeof from);
    n->output = copy_of(f->arena, &to, sizeof to);
    push_node(f, n);
}

// ---------------------------------------------------------------- scopes

static void add_scope(Flat *f, const FeScope *s, Names *names);

// What the scope makes for the node's output is called like that, unless it has another name: that
// of an input, of a value around it, or of another output.
static void add_call(Flat *f, const FeScope *s, const Names *around, const Onnx__NodeProto *n) {
    Names names = {.map.arena = f->arena, .outer = s->outer ? around : NULL};
    for (size_t i = 0; s->function && i < s->pb->n_input && i < n->n_input; i++) {
        char *given = *n->input[i] ? find_name(around, n->input[i]) : NULL;
        if (given) {
            set_name(&names, s->pb->input[i]->name, given);
        }
    }
    for (size_t i = 0; i < n->n_output && i < s->pb->n_output; i++) {
        const char *made = s->pb->output[i]->name;
        FeValue *v = made ? find_value(s, made) : NULL;
        if (*n->output[i] && v && v->producer >= 0 && !ir_map_get(&names.map, made)) {
            set_name(&names, made, find_name(around, n->output[i]));
        }
    }
    f->fe->scope = (FeScope *)s;
    add_scope(f, s, &names);
    f->fe->scope = s->caller;
    for (size_t i = 0; i < n->n_output && i < s->pb->n_output; i++) {
        char *made = s->pb->output[i]->name ? find_name(&names, s->pb->output[i]->name) : NULL;
        char *wanted = *n->output[i] ? find_name(around, n->output[i]) : NULL;
        if (made && wanted && strcmp(made, wanted) != 0) {
            add_identity(f, made, wanted);
        }
    }
}

static const FeScope *find_inner(const FeScope *s, const Onnx__NodeProto *n) {
    const FeScope *in = s->inner;
    while (in && in->node != n) {
        in = in->next;
    }
    return in;
}

static bool calls_function(const FeScope *s) {
    bool calls = s->function;
    for (const FeScope *in = s->inner; in && !calls; in = in->next) {
        calls = calls_function(in);
    }
    return calls;
}

// A loop that the flat graph can hold as it stands in the file.
static bool check_loop(const Flat *f, const FeScope *s, const FeScope *body) {
    if (!s->caller && !calls_function(body)) {
        return true;
    }
    ir_error(f->fe->diag, (IrWhere){body->node->name, body->node->op_type},
             "NYI: the trained model cannot be made: a loop %s",
             s->caller ? "in a function or a branch" : "that calls a function");
    return false;
}

static void add_scope(Flat *f, const FeScope *s, Names *names) {
    name_values(f, s, names);
    for (size_t i = 0; i < s->pb->n_initializer; i++) {
        Onnx__TensorProto *t = s->pb->initializer[i];
        if (s->caller) {
            char *name = find_name(names, t->name ? t->name : "");
            t = copy_of(f->arena, t, sizeof *t);
            t->name = name;
        }
        IR_PUSH(f->arena, f->init, f->n_inits, f->cap_inits, t);
    }
    for (size_t i = 0; i < s->pb->n_node; i++) {
        size_t at = (size_t)s->order[i];
        const FeScope *inner = find_inner(s, s->pb->node[at]);
        if (inner && inner->repeated && !check_loop(f, s, inner)) {
            return;
        }
        if (inner && !inner->repeated) {
            add_call(f, inner, names, s->pb->node[at]);
        } else {
            add_node(f, s, names, at);
        }
    }
}

// ---------------------------------------------------------------- the model

// A node from a function's body means the same under the model's opset.
static bool check_opsets(FeContext *fe, const FeScope *s, int opset) {
    for (const FeScope *in = s->inner; in; in = in->next) {
        for (size_t i = 0; in->opset != opset && i < in->pb->n_node; i++) {
            const Onnx__NodeProto *n = in->pb->node[i];
            if (fe_op_since(n, in->opset) != fe_op_since(n, opset)) {
                ir_error(fe->diag, (IrWhere){n->name, n->op_type},
                         "NYI: the trained model cannot be made: the function '%s' has opset %d, "
                         "the model %d, and this operator differs",
                         in->function ? in->function->name : "", in->opset, opset);
                return false;
            }
        }
        if (!check_opsets(fe, in, opset)) {
            return false;
        }
    }
    return true;
}

// Imports of operators, without the domains that only functions have.
static void set_imports(FeContext *fe, Onnx__ModelProto *m, int opset, bool add) {
    const Onnx__ModelProto *old = fe->model;
    m->opset_import = ir_alloc_array(fe->arena, old->n_opset_import + 2, sizeof *m->opset_import);
    m->n_opset_import = 0;
    for (size_t i = 0; i < old->n_opset_import; i++) {
        bool of_function = false;
        const char *domain = old->opset_import[i]->domain;
        for (size_t k = 0; k < old->n_functions && !fe_is_onnx_domain(domain); k++) {
            const char *its = old->functions[k]->domain;
            of_function = of_function || strcmp(its ? its : "", domain) == 0;
        }
        if (!of_function) {
            m->opset_import[m->n_opset_import++] = old->opset_import[i];
        }
    }
    if (add) {
        Onnx__OperatorSetIdProto init = ONNX__OPERATOR_SET_ID_PROTO__INIT;
        Onnx__OperatorSetIdProto *o = copy_of(fe->arena, &init, sizeof init);
        o->has_version = 1;
        o->version = opset;
        m->opset_import[m->n_opset_import++] = o;
    }
}

static bool is_sorted(const FeScope *s) {
    for (size_t i = 0; i < s->pb->n_node; i++) {
        if (s->order[i] != (int)i) {
            return false;
        }
    }
    return true;
}

const Onnx__ModelProto *fe_flatten(FeContext *fe) {
    const FeScope *root = fe->scope;
    if (!root->inner && is_sorted(root) && !fe->model->n_functions) {
        return fe->model;
    }
    int opset = root->opset ? root->opset : root->inner ? root->inner->opset : 0;
    if (!check_opsets(fe, root, opset)) {
        return NULL;
    }
    Flat f = {.fe = fe, .arena = fe->arena, .taken.arena = fe->arena};
    Names names = {.map.arena = fe->arena};
    for (int i = 0; i < root->n_values; i++) {
        *ir_map_put(&f.taken, root->values[i].name) = &f;
    }
    int errors = fe->diag->errors;
    add_scope(&f, root, &names);
    if (fe->diag->errors > errors) {
        return NULL;
    }
    Onnx__ModelProto *m = copy_of(fe->arena, fe->model, sizeof *m);
    set_imports(fe, m, opset, !root->opset && opset);
    m->n_functions = 0;
    m->graph = copy_of(fe->arena, fe->pb, sizeof *m->graph);
    m->graph->n_node = (size_t)f.n_nodes;
    m->graph->node = f.node;
    m->graph->n_initializer = (size_t)f.n_inits;
    m->graph->initializer = f.init;
    return m;
}
