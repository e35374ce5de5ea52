// Names to values, and nodes in execution order.
//
// Invariants: values are looked up in one array sorted by name, so that no choice of names makes
// it slow; nothing here recurses.
#include "frontend/fe_graph.h"

#include <stdlib.h>
#include <string.h>

// ---------------------------------------------------------------- values by name

static int compare_values(const void *a, const void *b) {
    return strcmp(((const FeValue *)a)->name, ((const FeValue *)b)->name);
}

FeValue *fe_find_value(FeContext *fe, const char *name) {
    FeValue key = {.name = name};
    return bsearch(&key, fe->values, (size_t)fe->n_values, sizeof key, compare_values);
}

enum { FROM_INPUT = -1, FROM_INITIALIZER = -2 }; // FeValue.producer until names are merged

const char *fe_node_name(FeContext *fe, size_t index) {
    const Onnx__NodeProto *n = fe->pb->node[index];
    if (n->name && *n->name) {
        return n->name;
    }
    for (size_t i = 0; i < n->n_output; i++) {
        if (*n->output[i]) {
            return n->output[i];
        }
    }
    return ir_sprintf(fe->arena, "node %zu", index);
}

static void report_twice(FeContext *fe, const FeValue *a, const FeValue *b) {
    int producer = a->producer > b->producer ? a->producer : b->producer;
    IrWhere where = IR_NOWHERE;
    if (producer >= 0) {
        where = (IrWhere){fe_node_name(fe, (size_t)producer), fe->pb->node[producer]->op_type};
    }
    ir_error(fe->diag, where, "the name '%s' is defined twice", a->name);
}

// One entry per name; an initializer that also is a graph input is a constant.
static void merge_values(FeContext *fe) {
    qsort(fe->values, (size_t)fe->n_values, sizeof *fe->values, compare_values);
    int n = 0;
    for (int i = 0; i < fe->n_values; i++) {
        FeValue *v = &fe->values[i], *last = n ? &fe->values[n - 1] : NULL;
        if (!last || strcmp(last->name, v->name) != 0) {
            fe->values[n++] = *v;
        } else if (v->producer < 0 && last->producer < 0 && v->producer != last->producer) {
            last->init = last->init ? last->init : v->init;
            last->producer = FROM_INITIALIZER;
        } else {
            report_twice(fe, last, v);
        }
    }
    fe->n_values = n;
    for (int i = 0; i < n; i++) {
        fe->values[i].producer = fe->values[i].producer < 0 ? -1 : fe->values[i].producer;
    }
}

void fe_collect_values(FeContext *fe) {
    const Onnx__GraphProto *g = fe->pb;
    size_t n = g->n_input + g->n_initializer;
    for (size_t i = 0; i < g->n_node; i++) {
        n += g->node[i]->n_output;
    }
    if (n > INT32_MAX || g->n_node > INT32_MAX) {
        ir_fatal(fe->diag, IR_NOWHERE, "the graph is too big");
    }
    fe->values = ir_alloc_array(fe->arena, n + 1, sizeof *fe->values);
    FeValue *v = fe->values;
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
    fe->n_values = (int)(v - fe->values);
    merge_values(fe);
}

// ---------------------------------------------------------------- links and order

FeLink *fe_link_nodes(FeContext *fe) {
    const Onnx__GraphProto *g = fe->pb;
    FeLink *links = ir_alloc_array(fe->arena, g->n_node + 1, sizeof *links);
    for (size_t i = 0; i < g->n_node; i++) {
        const Onnx__NodeProto *n = g->node[i];
        FeLink *l = &links[i];
        l->in = ir_alloc_array(fe->arena, n->n_input + 1, sizeof *l->in);
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
    for (size_t i = 0; i < fe->pb->n_node; i++) {
        for (size_t k = 0; k < fe->pb->node[i]->n_input; k++) {
            if (links[i].in[k] && links[i].in[k]->producer >= (int)i) {
                return false;
            }
        }
    }
    return true;
}

// Kahn's algorithm: edges by producer in compressed rows, nodes in the order in which they get
// ready.
static bool sort_nodes(FeContext *fe, const FeLink *links, int *order) {
    const Onnx__GraphProto *g = fe->pb;
    size_t n = g->n_node, edges = 0;
    int *missing = ir_alloc_array(fe->arena, n + 1, sizeof *missing);
    size_t *row = ir_alloc_array(fe->arena, n + 2, sizeof *row);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < g->node[i]->n_input; k++) {
            if (links[i].in[k] && links[i].in[k]->producer >= 0) {
                row[links[i].in[k]->producer + 2]++;
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
        for (size_t k = 0; k < g->node[i]->n_input; k++) {
            if (links[i].in[k] && links[i].in[k]->producer >= 0) {
                to[row[links[i].in[k]->producer + 1]++] = (int)i;
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
    int *order = ir_alloc_array(fe->arena, fe->pb->n_node + 1, sizeof *order);
    for (size_t i = 0; i < fe->pb->n_node; i++) {
        order[i] = (int)i;
    }
    return is_sorted(fe, links) || sort_nodes(fe, links, order) ? order : NULL;
}
