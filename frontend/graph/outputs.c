// What comes out in the place of the model's outputs: nodes and tensors of its graph, which loses
// what none of them needs. An embedding does not wait for the classifier behind it, nor for what
// cannot be compiled there; an input that nothing reads any more is gone.
//
// A node's name means its first result. One output of the model's own alone leaves all as it is.
#include "frontend/graph/graph.h"
#include "ir/map.h"
#include "ir/near.h"

#include <string.h>

typedef struct Choice {
    FeContext *fe;
    IrMap makers; // tensor to the element of `taken` of the node that makes it
    IrMap read;   // names of tensors that are needed
    bool *taken;  // by node: it is needed
    size_t *todo;
    int n_todo, cap_todo;
} Choice;

static const Onnx__ValueInfoProto *find_edge(Onnx__ValueInfoProto *const *v, size_t n,
                                             const char *name) {
    for (size_t i = 0; i < n; i++) {
        if (v[i]->name && strcmp(v[i]->name, name) == 0) {
            return v[i];
        }
    }
    return NULL;
}

static void note_makers(Choice *c) {
    const Onnx__GraphProto *g = c->fe->pb;
    for (size_t i = 0; i < g->n_node; i++) {
        for (size_t k = 0; k < g->node[i]->n_output; k++) {
            *ir_map_put(&c->makers, g->node[i]->output[k]) = &c->taken[i];
        }
    }
}

// The first result of the node of that name, written with or without the '/' in front; NULL: none.
static const char *result_of(const Choice *c, const char *name) {
    const Onnx__GraphProto *g = c->fe->pb;
    for (size_t i = 0; i < g->n_node; i++) {
        const char *own = g->node[i]->name ? g->node[i]->name : "";
        bool same = strcmp(own, name) == 0 || (*own == '/' && strcmp(own + 1, name) == 0);
        for (size_t k = 0; same && k < g->node[i]->n_output; k++) {
            if (*g->node[i]->output[k]) {
                return g->node[i]->output[k];
            }
        }
    }
    return NULL;
}

static void report_unknown(const Choice *c, const char *name) {
    const Onnx__GraphProto *g = c->fe->pb;
    IrNear near = {.arena = c->fe->arena, .what = name};
    for (size_t i = 0; i < g->n_node; i++) {
        const Onnx__NodeProto *n = g->node[i];
        const char *own = n->name && *n->name ? n->name : n->n_output ? n->output[0] : "";
        ir_near_offer(&near, own, strlen(own));
    }
    for (size_t i = 0; i < g->n_output; i++) {
        const char *own = g->output[i]->name ? g->output[i]->name : "";
        ir_near_offer(&near, own, strlen(own));
    }
    ir_error(c->fe->diag, IR_NOWHERE,
             "--output: no output, node or tensor is called '%s'; near: %s", name,
             ir_near_list(&near));
}

// The output, as the model declares it where it does; NULL after an error.
static const Onnx__ValueInfoProto *find_output(const Choice *c, const char *name) {
    const Onnx__GraphProto *g = c->fe->pb;
    const Onnx__ValueInfoProto *own = find_edge(g->output, g->n_output, name);
    if (own) {
        return own;
    }
    bool tensor = ir_map_get(&c->makers, name) || find_edge(g->input, g->n_input, name);
    const char *made = tensor ? name : result_of(c, name);
    if (!made) {
        report_unknown(c, name);
        return NULL;
    }
    own = find_edge(g->output, g->n_output, made);
    if (own) {
        return own;
    }
    Onnx__ValueInfoProto *v = ir_alloc(c->fe->arena, sizeof *v);
    *v = (Onnx__ValueInfoProto)ONNX__VALUE_INFO_PROTO__INIT;
    v->name = ir_strdup(c->fe->arena, made);
    return v;
}

// ---------------------------------------------------------------- what is needed

static void need(Choice *c, const char *tensor) {
    bool *taken = ir_map_get(&c->makers, tensor);
    *ir_map_put(&c->read, tensor) = c;
    if (taken && !*taken) {
        *taken = true;
        IR_PUSH(c->fe->arena, c->todo, c->n_todo, c->cap_todo, (size_t)(taken - c->taken));
    }
}

// What a node reads, its subgraphs' names included, whichever of them are their own.
static void need_inputs(Choice *c, const Onnx__NodeProto *n) {
    for (size_t i = 0; i < n->n_input; i++) {
        need(c, n->input[i]);
    }
    for (size_t i = 0; i < n->n_attribute; i++) {
        const Onnx__GraphProto *g = n->attribute[i]->g;
        for (size_t k = 0; g && k < g->n_node; k++) {
            need_inputs(c, g->node[k]);
        }
        for (size_t k = 0; g && k < g->n_output; k++) {
            need(c, g->output[k]->name ? g->output[k]->name : "");
        }
    }
}

// The graph's nodes that are needed, in their order, and its inputs that are read.
static void cut(Choice *c, Onnx__GraphProto *g) {
    Onnx__NodeProto **node = ir_alloc_array(c->fe->arena, g->n_node + 1, sizeof *node);
    Onnx__ValueInfoProto **input = ir_alloc_array(c->fe->arena, g->n_input + 1, sizeof *input);
    size_t nodes = 0, inputs = 0;
    for (size_t i = 0; i < g->n_node; i++) {
        if (c->taken[i]) {
            node[nodes++] = g->node[i];
        }
    }
    for (size_t i = 0; i < g->n_input; i++) {
        if (ir_map_get(&c->read, g->input[i]->name)) {
            input[inputs++] = g->input[i];
        }
    }
    g->node = node;
    g->n_node = nodes;
    g->input = input;
    g->n_input = inputs;
}

bool fe_choose_outputs(FeContext *fe) {
    const FeOptions *o = fe->opt;
    Choice c = {.fe = fe,
                .makers = {.arena = fe->arena},
                .read = {.arena = fe->arena},
                .taken = ir_alloc_array(fe->arena, fe->pb->n_node + 1, sizeof *c.taken)};
    if (!o->n_outputs ||
        (o->n_outputs == 1 && find_edge(fe->pb->output, fe->pb->n_output, o->outputs[0]))) {
        return true;
    }
    Onnx__GraphProto *g = ir_alloc(fe->arena, sizeof *g);
    const Onnx__ValueInfoProto **chosen =
        ir_alloc_array(fe->arena, (size_t)o->n_outputs, sizeof *chosen);
    note_makers(&c);
    bool known = true;
    for (int i = 0; i < o->n_outputs; i++) {
        chosen[i] = find_output(&c, o->outputs[i]);
        known &= chosen[i] != NULL;
    }
    for (int i = 0; known && i < o->n_outputs; i++) {
        need(&c, chosen[i]->name);
    }
    while (c.n_todo) {
        need_inputs(&c, fe->pb->node[c.todo[--c.n_todo]]);
    }
    *g = *fe->pb;
    cut(&c, g);
    g->output = (Onnx__ValueInfoProto **)chosen;
    g->n_output = (size_t)o->n_outputs;
    fe->pb = fe->scope->pb = g;
    return known;
}
