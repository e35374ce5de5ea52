// Entering scopes: a graph whose nodes are imported in the place of one node, the body of a
// function or a branch of an If. Nothing is rewritten; the walk (graph.c) goes on inside, with the
// scope's own table of names, and what the node has as outputs become other names of the scope's
// values.
//
// Invariants: a value is looked up in the scope, then in those around it (a function's body sees
// its own names only). Scopes lie at most MAX_DEPTH deep, and all that are opened together hold
// no more nodes than the limit for nodes: a chain of functions that each call the next one twice
// asks for 2^n of them.
#include "frontend/graph/graph.h"

#include <string.h>

enum { MAX_DEPTH = 100, BYTES_PER_NODE = 64 };

static int64_t cost_of_name(const char *name) {
    return 1 + (int64_t)strlen(name) / BYTES_PER_NODE;
}

// What opening the scope costs, in nodes, with the subgraphs of its nodes, which are searched for
// what they read; stops counting above `most`.
static int64_t cost_of_graph(const Onnx__GraphProto *g, int64_t most) {
    int64_t cost = (int64_t)(g->n_input + g->n_initializer + g->n_output);
    for (size_t i = 0; i < g->n_node && cost <= most; i++) {
        const Onnx__NodeProto *n = g->node[i];
        cost += 1 + (int64_t)n->n_attribute;
        for (size_t k = 0; k < n->n_attribute && cost <= most; k++) {
            cost += n->attribute[k]->g ? cost_of_graph(n->attribute[k]->g, most - cost) : 0;
        }
        for (size_t k = 0; k < n->n_input && cost <= most; k++) {
            cost += cost_of_name(n->input[k]);
        }
        for (size_t k = 0; k < n->n_output && cost <= most; k++) {
            cost += cost_of_name(n->output[k]);
        }
    }
    return cost;
}

// A node has some inputs and outputs.
static int64_t most_cost(const FeContext *fe) {
    int64_t nodes = fe_limit(&fe->opt->limits, FE_LIMIT_NODES);
    return nodes < INT64_MAX / 16 ? 8 * nodes : INT64_MAX / 2;
}

static bool charge_for(FeNode *n, const Onnx__GraphProto *g) {
    FeContext *fe = n->fe;
    int64_t most = most_cost(fe);
    if (fe->scope_cost > most) {
        n->refused = true; // it is reported
        return false;
    }
    fe->scope_cost += cost_of_graph(g, most - fe->scope_cost);
    if (fe->scope_cost > most) {
        fe_refuse(n, "functions and branches make more than %lld nodes (--limit nodes=N raises it)",
                  (long long)fe_limit(&fe->opt->limits, FE_LIMIT_NODES));
    }
    return !n->refused;
}

bool fe_scopes_are_full(const FeContext *fe) {
    return fe->scope_cost > most_cost(fe);
}

bool fe_enter_scope(FeNode *n, FeScope *s) {
    FeContext *fe = n->fe;
    s->caller = fe->scope;
    s->depth = fe->scope->depth + 1;
    if (n->refused || s->depth > MAX_DEPTH) {
        fe_refuse(n, "functions and branches are nested more than %d deep", (int)MAX_DEPTH);
        return false;
    }
    if (!charge_for(n, s->pb)) {
        return false;
    }
    s->prefix = fe_scope_prefix(n);
    s->node = n->pb;
    s->next = fe->scope->inner;
    fe->scope->inner = s;
    n->nested = true;
    fe->scope = s;
    int errors = fe->diag->errors;
    fe_collect_values(fe);
    if (fe->diag->errors > errors) {
        n->refused = true; // it is reported
        fe->scope = s->caller;
    }
    return !n->refused;
}

bool fe_enter_subgraph(FeNode *n, const Onnx__GraphProto *g, IrValue *guard) {
    FeScope *s = ir_alloc(n->fe->arena, sizeof *s), *outer = n->fe->scope;
    *s = (FeScope){.outer = outer,
                   .pb = g,
                   .opset = outer->opset,
                   .guard = guard,
                   .repeated = strcmp(n->pb->op_type, "If") != 0,
                   .n_attrs = outer->n_attrs,
                   .attrs = outer->attrs};
    return fe_enter_scope(n, s);
}
