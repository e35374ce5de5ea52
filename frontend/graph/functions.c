// Model-local functions (IR version 8): a node whose domain and operator name one is replaced by
// the function's body, with the node's inputs and attributes for the function's.
//
// Invariants: a function never runs inside itself; its body has the operator versions of its own
// opset imports.
#include "frontend/graph/graph.h"

#include <stdlib.h>
#include <string.h>

// ---------------------------------------------------------------- by name

typedef struct FunctionKey {
    const char *domain, *name, *overload;
} FunctionKey;

struct FeFunction {
    FunctionKey key;
    const Onnx__FunctionProto *pb;
};

static const char *text(const char *s) {
    return s ? s : "";
}

static FunctionKey make_key(const char *domain, const char *name, const char *overload) {
    return (FunctionKey){fe_is_onnx_domain(domain) ? "" : domain, text(name), text(overload)};
}

static int compare_keys(const void *a, const void *b) {
    const FunctionKey *x = &((const FeFunction *)a)->key, *y = &((const FeFunction *)b)->key;
    int c = strcmp(x->name, y->name);
    c = c ? c : strcmp(x->domain, y->domain);
    return c ? c : strcmp(x->overload, y->overload);
}

void fe_collect_functions(FeContext *fe) {
    const Onnx__ModelProto *m = fe->model;
    fe->functions = ir_alloc_array(fe->arena, m->n_functions + 1, sizeof *fe->functions);
    fe->n_functions = m->n_functions;
    for (size_t i = 0; i < m->n_functions; i++) {
        const Onnx__FunctionProto *f = m->functions[i];
        fe->functions[i] = (FeFunction){make_key(f->domain, f->name, f->overload), f};
    }
    qsort(fe->functions, fe->n_functions, sizeof *fe->functions, compare_keys);
    for (size_t i = 1; i < fe->n_functions; i++) {
        if (compare_keys(&fe->functions[i - 1], &fe->functions[i]) == 0) {
            ir_error(fe->diag, IR_NOWHERE, "the function '%s' is defined twice",
                     fe->functions[i].key.name);
        }
    }
}

const Onnx__FunctionProto *fe_find_function(FeContext *fe, const Onnx__NodeProto *n) {
    FeFunction key = {.key = make_key(n->domain, n->op_type, n->overload)}, *f = NULL;
    if (fe->n_functions > 0) {
        f = bsearch(&key, fe->functions, fe->n_functions, sizeof key, compare_keys);
    }
    return f ? f->pb : NULL;
}

// ---------------------------------------------------------------- calls

// What ref_attr_name means in the body: the node's attribute or the function's default.
static void bind_attributes(FeNode *n, const Onnx__FunctionProto *f, FeScope *s) {
    s->attrs =
        ir_alloc_array(n->fe->arena, f->n_attribute + f->n_attribute_proto + 1, sizeof *s->attrs);
    for (size_t i = 0; i < f->n_attribute; i++) {
        s->attrs[s->n_attrs++] = (FeBoundAttr){f->attribute[i], fe_attr(n, f->attribute[i])};
    }
    for (size_t i = 0; i < f->n_attribute_proto; i++) {
        const Onnx__AttributeProto *absent = f->attribute_proto[i], *given;
        if (absent->name && !text(absent->ref_attr_name)[0]) {
            given = fe_attr(n, absent->name);
            s->attrs[s->n_attrs++] = (FeBoundAttr){absent->name, given ? given : absent};
        }
    }
}

// The function's inputs are names for the node's; those that the node leaves out are absent.
static void bind_inputs(FeNode *n, const Onnx__FunctionProto *f) {
    for (size_t i = 0; i < f->n_input; i++) {
        FeValue *v = fe_find_value(n->fe, f->input[i]);
        FeValue *given = i < (size_t)n->n_in ? n->in[i] : NULL;
        if (v) {
            v->alias = given;
            v->absent = !given;
        }
    }
}

static Onnx__ValueInfoProto **name_list(FeNode *n, char *const *names, size_t count) {
    Onnx__ValueInfoProto *info = ir_alloc_array(n->fe->arena, count + 1, sizeof *info);
    Onnx__ValueInfoProto **list = ir_alloc_array(n->fe->arena, count + 1, sizeof *list);
    for (size_t i = 0; i < count; i++) {
        info[i] = (Onnx__ValueInfoProto)ONNX__VALUE_INFO_PROTO__INIT;
        info[i].name = names[i];
        list[i] = &info[i];
    }
    return list;
}

enum { MAX_PORTS = 4096 };

static bool check_call(FeNode *n, const Onnx__FunctionProto *f) {
    n->refused |= fe_scopes_are_full(n->fe);
    if (f->n_input > MAX_PORTS || f->n_output > MAX_PORTS || f->n_attribute > MAX_PORTS ||
        f->n_attribute_proto > MAX_PORTS || n->pb->n_attribute > MAX_PORTS) {
        fe_refuse(n, "more than %d inputs, outputs or attributes are not supported",
                  (int)MAX_PORTS);
    }
    for (const FeScope *s = n->fe->scope; s && !n->refused; s = s->caller) {
        if (s->function == f) {
            fe_refuse(n, "the function '%s' calls itself", text(f->name));
        }
    }
    if (!n->refused && ((size_t)n->n_in > f->n_input || (size_t)n->n_out > f->n_output)) {
        fe_refuse(n, "the function '%s' has %zu inputs and %zu outputs, the node %d and %d",
                  text(f->name), f->n_input, f->n_output, n->n_in, n->n_out);
    }
    return !n->refused;
}

void fe_enter_function(FeNode *n, const Onnx__FunctionProto *f) {
    FeContext *fe = n->fe;
    if (!check_call(n, f)) {
        return;
    }
    Onnx__GraphProto *body = ir_alloc(fe->arena, sizeof *body);
    *body = (Onnx__GraphProto)ONNX__GRAPH_PROTO__INIT;
    body->n_node = f->n_node;
    body->node = f->node;
    body->n_input = f->n_input;
    body->input = name_list(n, f->input, f->n_input);
    body->n_output = f->n_output;
    body->output = name_list(n, f->output, f->n_output);
    FeScope *s = ir_alloc(fe->arena, sizeof *s);
    *s = (FeScope){.pb = body, .function = f};
    const char *why = fe_read_opset(fe->arena, f->n_opset_import, f->opset_import, &s->opset);
    if (why) {
        fe_refuse(n, "the function '%s': %s", text(f->name), why);
        return;
    }
    bind_attributes(n, f, s);
    if (fe_enter_scope(n, s)) {
        bind_inputs(n, f);
    }
}
