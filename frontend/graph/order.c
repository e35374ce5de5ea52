// Names to values, and nodes in execution order.
//
// Invariants: values are looked up in one array per scope, sorted by name, so that no choice of
// names makes it slow; recursion is as deep as subgraphs are nested, which the wire scan limits.
#include "frontend/graph/graph.h"

#include <stdlib.h>
#include <string.h>

// ---------------------------------------------------------------- values by name

static int compare_values(const void *a, const void *b) {
    return strcmp(((const FeValue *)a)->name, ((const FeValue *)b)->name);
}

FeValue *fe_find_value(FeContext *fe, const char *name) {
    FeValue key = {.name = name}, *v = NULL;
    for (const FeScope *s = fe->scope; s && !v; s = s->outer) {
        v = bsearch(&key, s->values, (size_t)s->n_values, sizeof key, compare_values);
    }
    return v;
}

// The index of the node of this scope that makes v; -1: none.
static int producer_of(const FeContext *fe, const FeValue *v) {
    const FeScope *s = fe->scope;
    return v && v >= s->values && v < s->values + s->n_values ? v->producer : -1;
}

enum { FROM_INPUT = -1, FROM_INITIALIZER = -2 }; // FeValue.producer until names are merged

const char *fe_node_name(FeContext *fe, size_t index) {
    const Onnx__NodeProto *n = fe->scope->pb->node[index];
    const char *name = n->name ? n->name : "";
    for (size_t i = 0; i < n->n_output && !*name; i++) {
        name = n->output[i];
    }
    return fe_full_name(fe, *name ? name : ir_sprintf(fe->arena, "node %zu", index));
}

static void report_twice(FeContext *fe, const FeValue *a, const FeValue *b) {
    int producer = a->producer > b->producer ? a->producer : b->producer;
    IrWhere where = IR_NOWHERE;
    if (producer >= 0) {
        where =
            (IrWhere){fe_node_name(fe, (size_t)producer), fe->scope->pb->node[producer]->op_type};
    }
    ir_error(fe->diag, where, "the name '%s' is defined twice", a->name);
}

// One entry per name; an initializer that also is a graph input is a constant.
static void merge_values(FeContext *fe) {
    FeScope *s = fe->scope;
    qsort(s->values, (size_t)s->n_values, sizeof *s->values, compare_values);
    int n = 0;
    for (int i = 0; i < s->n_values; i++) {
        FeValue *v = &s->values[i], *last = n ? &s->values[n - 1] : NULL;
        if (!last || strcmp(last->name, v->name) != 0) {
            s->values[n++] = *v;
        } else if (v->producer < 0 && last->producer < 0 && v->producer != last->producer) {
            last->init = last->init ? last->init : v->init;
            last->producer = FROM_INITIALIZER;
        } else {
            report_twice(fe, last, v);
        }
    }
    s->n_values = n;
    for (int i = 0; i < n; i++) {
        FeValue *v = &s->values[i];
        IrDtype t;
        v->producer = v->producer < 0 ? -1 : v->producer;
        v->stored = fe->opt->to_train && v->init && fe_dtype(v->init->data_type, true, &t) &&
                    ir_dtype_is_float(t) && !fe_small_type(v->init->data_type);
    }
}

void fe_collect_values(FeContext *fe) {
    const Onnx__GraphProto *g = fe->scope->pb;
    size_t n = g->n_input + g->n_initializer;
    for (size_t i = 0; i < g->n_node; i++) {
        n += g->node[i]->n_output;
    }
    if (n > INT32_MAX || g->n_node > INT32_MAX) {
        ir_fatal(fe->diag, IR_NOWHERE, "the graph is too big");
    }
    fe->scope->values = ir_alloc_array(fe->arena, n + 1, sizeof *fe->scope->values);
    FeValue *v = fe->scope->values;
    for (size_t i = 0; i < g->n_input; i++) {
        *v++ =
            (FeValue){.name = g->input[i]->name ? g->input[i]->name : "", .producer = FROM_INPUT};
    }
    for (size_t i = 0; i < g->n_initializer; i++) {
        const Onnx__TensorProto *t = g->initializer[i];
        if (t->name && *t->name) {
            *v++ = (FeValue){.name = t->name, .init = t, .producer = FROM_INITIALIZER};
        }
    }
    for (size_t i = 0; i < g->n_node; i++) {
        for (size_t k = 0; k < g->node[i]->n_output; k++) {
            if (*g->node[i]->output[k]) {
                *v++ = (FeValue){.name = g->node[i]->output[k], .producer = (int)i};
            }
        }
    }
    fe->scope->n_values = (int)(v - fe->scope->values);
    merge_values(fe);
}

// ---------------------------------------------------------------- links and order

typedef struct Reads { // values that the subgraphs of a node read from around it
    FeValue **v;
    int n, cap;
} Reads;

static void collect_reads(FeContext *fe, const Onnx__NodeProto *n, Reads *r) {
    for (size_t i = 0; i < n->n_attribute; i++) {
        const Onnx__GraphProto *g = n->attribute[i]->g;
        for (size_t k = 0; g && k < g->n_node; k++) {
            for (size_t x = 0; x < g->node[k]->n_input; x++) {
                FeValue *v = fe_find_value(fe, g->node[k]->input[x]);
                if (v) {
                    IR_PUSH(fe->arena, r->v, r->n, r->cap, v);
                }
            }
            collect_reads(fe, g->node[k], r);
        }
        for (size_t k = 0; g && k < g->n_output; k++) {
            FeValue *v = g->output[k]->name ? fe_find_value(fe, g->output[k]->name) : NULL;
            if (v) {
                IR_PUSH(fe->arena, r->v, r->n, r->cap, v);
            }
        }
    }
}

FeLink *fe_link_nodes(FeContext *fe) {
    const Onnx__GraphProto *g = fe->scope->pb;
    FeLink *links = ir_alloc_array(fe->arena, g->n_node + 1, sizeof *links);
    for (size_t i = 0; i < g->n_node; i++) {
        const Onnx__NodeProto *n = g->node[i];
        FeLink *l = &links[i];
        Reads reads = {0};
        collect_reads(fe, n, &reads);
        l->n_in = n->n_input + (size_t)reads.n;
        l->in = ir_alloc_array(fe->arena, l->n_in + 1, sizeof *l->in);
        for (int k = 0; k < reads.n; k++) {
            l->in[n->n_input + (size_t)k] = reads.v[k];
            reads.v[k]->uses++;
        }
        l->out = ir_alloc_array(fe->arena, n->n_output + 1, sizeof *l->out);
        for (size_t k = 0; k < n->n_input; k++) {
            if (!*n->input[k]) {
                continue;
            }
            l->in[k] = fe_find_value(fe, n->input[k]);
            if (!l->in[k]) {
                ir_error(fe->diag, (IrWhere){fe_node_name(fe, i), n->op_type},
                         "its input '%s' is made by no node and is no input of the graph",
                         n->input[k]);
                continue;
            }
            l->in[k]->uses++;
        }
        for (size_t k = 0; k < n->n_output; k++) {
            l->out[k] = *n->output[k] ? fe_find_value(fe, n->output[k]) : NULL;
        }
    }
    return links;
}

static bool is_sorted(FeContext *fe, const FeLink *links) {
    for (size_t i = 0; i < fe->scope->pb->n_node; i++) {
        for (size_t k = 0; k < links[i].n_in; k++) {
            if (producer_of(fe, links[i].in[k]) >= (int)i) {
                return false;
            }
        }
    }
    return true;
}

// Kahn's algorithm: edges by producer in compressed rows, nodes in the order in which they get
// ready.
static bool sort_nodes(FeContext *fe, const FeLink *links, int *order) {
    const Onnx__GraphProto *g = fe->scope->pb;
    size_t n = g->n_node, edges = 0;
    int *missing = ir_alloc_array(fe->arena, n + 1, sizeof *missing);
    size_t *row = ir_alloc_array(fe->arena, n + 2, sizeof *row);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < links[i].n_in; k++) {
            if (producer_of(fe, links[i].in[k]) >= 0) {
                row[producer_of(fe, links[i].in[k]) + 2]++;
                missing[i]++;
                edges++;
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        row[i + 1] += row[i];
    }
    int *to = ir_alloc_array(fe->arena, edges + 1, sizeof *to);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < links[i].n_in; k++) {
            if (producer_of(fe, links[i].in[k]) >= 0) {
                to[row[producer_of(fe, links[i].in[k]) + 1]++] = (int)i;
            }
        }
    }
    size_t head = 0, tail = 0;
    for (size_t i = 0; i < n; i++) {
        if (missing[i] == 0) {
            order[tail++] = (int)i;
        }
    }
    for (; head < tail; head++) {
        int i = order[head];
        for (size_t e = row[i]; e < row[i + 1]; e++) {
            if (--missing[to[e]] == 0) {
                order[tail++] = to[e];
            }
        }
    }
    for (size_t i = 0; i < n && tail < n; i++) {
        if (missing[i] > 0) {
            ir_error(fe->diag, (IrWhere){fe_node_name(fe, i), g->node[i]->op_type},
                     "it depends on its own result: the graph has a cycle");
            return false;
        }
    }
    return true;
}

int *fe_order_nodes(FeContext *fe, const FeLink *links) {
    int *order = ir_alloc_array(fe->arena, fe->scope->pb->n_node + 1, sizeof *order);
    for (size_t i = 0; i < fe->scope->pb->n_node; i++) {
        order[i] = (int)i;
    }
    return is_sorted(fe, links) || sort_nodes(fe, links, order) ? order : NULL;
}
