// The values of a graph, indexed: who makes them, who reads them, which are quantized alike.
#include "frontend/quantize/room.h"

int fe_quant_find(const FeQuantGraph *g, const char *name) {
    return name ? (int)(intptr_t)ir_map_get(&g->by_name, name) - 1 : -1;
}

static int add_value(FeQuantGraph *g, const char *name, int maker) {
    int at = fe_quant_find(g, name);
    if (at >= 0 || !*name) {
        return at;
    }
    FeQuantValue v = {.name = name, .maker = maker, .reader = -1, .range = g->n_values};
    v.is_constant = fe_edit_find_init(&g->edit, name) >= 0;
    IR_PUSH(g->arena, g->values, g->n_values, g->cap_values, v);
    *ir_map_put(&g->by_name, name) = (void *)(intptr_t)g->n_values;
    return g->n_values - 1;
}

static void add_values(FeQuantGraph *g) {
    const Onnx__GraphProto *pb = g->edit.g;
    for (size_t i = 0; i < pb->n_input; i++) {
        add_value(g, fe_text(pb->input[i]->name), -1);
    }
    for (int i = 0; i < g->edit.to->n_init; i++) {
        add_value(g, fe_text(g->edit.to->init[i].pb->name), -1);
    }
    for (size_t i = 0; i < pb->n_node; i++) {
        for (size_t k = 0; k < pb->node[i]->n_output; k++) {
            int v = add_value(g, fe_text(pb->node[i]->output[k]), (int)i);
            if (v >= 0) {
                g->values[v].is_constant |= fe_is_op(pb->node[i], "Constant");
            }
        }
    }
    for (size_t i = 0; i < pb->n_node; i++) {
        for (size_t k = 0; k < pb->node[i]->n_input; k++) {
            int v = fe_quant_find(g, fe_text(pb->node[i]->input[k]));
            if (v >= 0) {
                g->values[v].n_readers++;
                g->values[v].reader = (int)i;
            }
        }
    }
    for (size_t i = 0; i < pb->n_output; i++) {
        int v = fe_quant_find(g, fe_text(pb->output[i]->name));
        if (v >= 0) {
            g->values[v].is_output = true;
        }
    }
}

// ---------------------------------------------------------------- ranges

static int root_of(FeQuantGraph *g, int v) { // halves the path
    while (g->values[v].range != v) {
        v = g->values[v].range = g->values[g->values[v].range].range;
    }
    return v;
}

static void join_node(FeQuantGraph *g, const Onnx__NodeProto *n) {
    size_t inputs, outputs;
    if (!fe_quant_is_move(&g->edit, n, &inputs, &outputs)) {
        return;
    }
    for (size_t k = 0; k < inputs; k++) {
        int v = fe_quant_find(g, fe_quant_input(n, k));
        if (v < 0 || g->values[v].is_constant) {
            return;
        }
    }
    int first = root_of(g, fe_quant_find(g, n->input[0]));
    for (size_t k = 1; k < inputs; k++) {
        g->values[root_of(g, fe_quant_find(g, n->input[k]))].range = first;
    }
    for (size_t k = 0; k < outputs; k++) {
        int v = fe_quant_find(g, n->output[k]);
        if (v >= 0) {
            g->values[root_of(g, v)].range = first;
        }
    }
}

FeQuantGraph *fe_quant_graph(IrArena *a, const FeModel *m) {
    FeQuantGraph *g = ir_alloc(a, sizeof *g);
    *g = (FeQuantGraph){.arena = a, .model = m, .by_name.arena = a};
    if (!fe_edit_begin(&g->edit, a, m, 0)) {
        return NULL;
    }
    add_values(g);
    for (size_t i = 0; i < g->edit.g->n_node; i++) {
        join_node(g, g->edit.g->node[i]);
    }
    int *number = ir_alloc_array(a, (size_t)g->n_values + 1, sizeof *number);
    for (int v = 0; v < g->n_values; v++) {
        number[v] = root_of(g, v) == v ? g->n_ranges++ : 0;
    }
    for (int v = 0; v < g->n_values; v++) {
        int root = root_of(g, v);
        number[v] = number[root];
    }
    for (int v = 0; v < g->n_values; v++) {
        g->values[v].range = number[v];
    }
    return g;
}

int fe_quant_behind(const FeQuantGraph *g, int value) {
    const FeQuantValue *v = &g->values[value];
    double lo, hi;
    if (v->n_readers != 1 || v->is_output) {
        return value;
    }
    const Onnx__NodeProto *n = g->edit.g->node[v->reader];
    bool first = strcmp(fe_text(n->input[0]), v->name) == 0; // not a bound of it
    int behind = first && n->n_output ? fe_quant_find(g, n->output[0]) : -1;
    return behind >= 0 && fe_quant_is_clip(&g->edit, n, &lo, &hi) ? behind : value;
}
