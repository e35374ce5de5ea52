// Where quantizers go.
//
// The products ask: a Conv for what it reads and makes (behind its ReLU, and where not a layer that
// stays float alone reads it), a Gemm or MatMul for what it reads, so that logits stay float. What
// is asked for goes on upwards through operators that runtimes have in integers (residual
// additions, average pools) and through moves, whose tensors all have one range. Everything else
// (normalizations, softmax, attention) is an island of floats.
#include "frontend/quantize/room.h"

#include <math.h>

// ---------------------------------------------------------------- which ranges

static bool is_wanted(const FeQuantGraph *g, const bool *wanted, int value) {
    return wanted[g->values[value].range];
}

// What no other node reads need not be quantized for it; an output of the graph stays exact.
static bool can_be_asked(const FeQuantValue *v) {
    return !v->is_constant && v->n_readers > 0;
}

static void ask(const FeQuantGraph *g, bool *wanted, const char *name) {
    int v = fe_quant_find(g, name);
    if (v >= 0 && can_be_asked(&g->values[v])) {
        wanted[g->values[v].range] = true;
    }
}

// Only a layer that stays float reads it: eight bits would be noise for nothing.
static bool is_for_float(const FeQuantGraph *g, const bool *is_float, int value) {
    const FeQuantValue *v = &g->values[value];
    int layer = v->n_readers == 1 && v->reader >= 0 ? g->layer_of[v->reader] : -1;
    return layer >= 0 && is_float && is_float[layer];
}

static void ask_behind(const FeQuantGraph *g, const bool *is_float, bool *wanted,
                       const char *name) {
    int v = fe_quant_find(g, name);
    if (v >= 0 && can_be_asked(&g->values[v])) {
        v = fe_quant_behind(g, v);
        if (!is_for_float(g, is_float, v)) {
            ask(g, wanted, g->values[v].name);
        }
    }
}

static bool reads_constants(const FeQuantGraph *g, const Onnx__NodeProto *n) {
    for (size_t k = 0; k < n->n_input; k++) {
        int v = fe_quant_find(g, n->input[k]);
        if (v < 0 || g->values[v].is_constant) {
            return true;
        }
    }
    return false;
}

// What an integer operator makes is wanted: so is what it reads. True where that is new.
static bool ask_upwards(const FeQuantGraph *g, bool *wanted, const Onnx__NodeProto *n) {
    int out = n->n_output ? fe_quant_find(g, n->output[0]) : -1;
    bool more = false;
    if (out < 0 || !fe_quant_is_integer_op(n) || !is_wanted(g, wanted, fe_quant_behind(g, out)) ||
        reads_constants(g, n)) {
        return false;
    }
    for (size_t k = 0; k < n->n_input; k++) {
        int v = fe_quant_find(g, n->input[k]);
        more |= !is_wanted(g, wanted, v);
        wanted[g->values[v].range] = true;
    }
    return more;
}

bool *fe_quant_wanted(IrArena *a, const FeQuantPlan *p, const bool *is_float) {
    const FeQuantGraph *g = p->graph;
    const Onnx__GraphProto *pb = g->edit.g;
    bool *wanted = ir_alloc_array(a, (size_t)g->n_ranges + 1, sizeof *wanted), more = true;
    for (size_t i = 0; i < pb->n_node; i++) {
        int layer = g->layer_of[i];
        if (layer >= 0 && !(is_float && is_float[layer])) {
            ask(g, wanted, pb->node[i]->input[0]);
            if (fe_is_op(pb->node[i], "Conv")) {
                ask_behind(g, is_float, wanted, pb->node[i]->output[0]);
            }
        }
    }
    while (more) {
        more = false;
        for (size_t i = pb->n_node; i-- > 0;) {
            more |= ask_upwards(g, wanted, pb->node[i]);
        }
    }
    return wanted;
}

// ---------------------------------------------------------------- the plan

static bool is_finite(const IrTensor *t) {
    const float *x = t->data;
    bool finite = true;
    for (int64_t i = 0, n = ir_tensor_elems(t); i < n; i++) {
        finite &= isfinite(x[i]) != 0;
    }
    return finite;
}

// What is no number has no integer.
static void check_weights(const FeQuantGraph *g, const Onnx__NodeProto *n, const char *name,
                          const FeQuantWeights *w) {
    IrTensor bias;
    bool has_bias = fe_quant_floats(&g->edit, fe_quant_input(n, 2), &bias);
    if (!is_finite(&w->w) || (has_bias && !is_finite(&bias))) {
        ir_error(ir_arena_diag(g->arena), (IrWhere){name, n->op_type},
                 "its weights hold numbers that are not finite");
    }
}

static void add_layers(FeQuantPlan *p) {
    FeQuantGraph *g = p->graph;
    const Onnx__GraphProto *pb = g->edit.g;
    int cap = 0;
    g->layer_of = ir_alloc_array(g->arena, pb->n_node + 1, sizeof *g->layer_of);
    for (size_t i = 0; i < pb->n_node; i++) {
        const Onnx__NodeProto *n = pb->node[i];
        FeQuantWeights w;
        int x = n->n_input ? fe_quant_find(g, n->input[0]) : -1;
        g->layer_of[i] = -1;
        if (x < 0 || g->values[x].is_constant || n->n_output != 1 ||
            !fe_quant_weights(&g->edit, n, &w)) {
            continue;
        }
        g->layer_of[i] = p->n_layers;
        FeQuantLayer l = {.node = n->name && *n->name ? n->name : n->output[0], .op = n->op_type};
        IR_PUSH(g->arena, p->layers, p->n_layers, cap, l);
        check_weights(g, n, l.node, &w);
    }
}

// A part or copy of what another tensor of its range holds.
static bool is_moved(const FeQuantGraph *g, int value) {
    size_t inputs, outputs;
    int maker = g->values[value].maker;
    if (maker < 0 || !fe_quant_is_move(&g->edit, g->edit.g->node[maker], &inputs, &outputs)) {
        return false;
    }
    int from = fe_quant_find(g, g->edit.g->node[maker]->input[0]);
    return from >= 0 && g->values[from].range == g->values[value].range;
}

typedef struct Role { // of a value for the layers
    bool source, shown;
    int axis; // of its channels, 0: it is read by none
    int tensor;
} Role;

static void find_roles(const FeQuantPlan *p, const bool *wanted, Role *roles) {
    const FeQuantGraph *g = p->graph;
    for (int v = 0; v < g->n_values; v++) {
        roles[v].source = is_wanted(g, wanted, v) && !is_moved(g, v) && !g->values[v].is_constant;
    }
    for (size_t i = 0; i < g->edit.g->n_node; i++) {
        const Onnx__NodeProto *n = g->edit.g->node[i];
        if (g->layer_of[i] >= 0) {
            roles[fe_quant_find(g, n->input[0])].axis = fe_is_op(n, "MatMul") ? -1 : 1;
            roles[fe_quant_behind(g, fe_quant_find(g, n->output[0]))].shown = true;
        }
    }
}

static void add_tensors(FeQuantPlan *p) {
    FeQuantGraph *g = p->graph;
    int cap = 0;
    bool *wanted = fe_quant_wanted(g->arena, p, NULL);
    Role *roles = ir_alloc_array(g->arena, (size_t)g->n_values + 1, sizeof *roles);
    find_roles(p, wanted, roles);
    g->tight = ir_alloc_array(g->arena, (size_t)g->n_ranges + 1, sizeof *g->tight);
    for (int i = 0; i < g->n_ranges; i++) {
        g->tight[i] = wanted[i] ? p->n_ranges++ : -1;
    }
    for (int v = 0; v < g->n_values; v++) {
        const Role *role = &roles[v];
        if (role->source || role->shown || role->axis) {
            FeQuantTensor t = {.name = g->values[v].name,
                               .range = g->tight[g->values[v].range],
                               .source = role->source,
                               .axis = role->axis};
            roles[v].tensor = p->n_tensors;
            IR_PUSH(g->arena, p->tensors, p->n_tensors, cap, t);
        }
    }
    for (size_t i = 0; i < g->edit.g->n_node; i++) {
        const Onnx__NodeProto *n = g->edit.g->node[i];
        if (g->layer_of[i] >= 0) {
            FeQuantLayer *l = &p->layers[g->layer_of[i]];
            l->input = roles[fe_quant_find(g, n->input[0])].tensor;
            l->result = roles[fe_quant_behind(g, fe_quant_find(g, n->output[0]))].tensor;
        }
    }
}

FeQuantPlan *fe_quant_plan(IrArena *a, const FeModel *prepared) {
    FeQuantPlan *p = ir_alloc(a, sizeof *p);
    p->graph = fe_quant_graph(a, prepared);
    if (!p->graph) {
        return NULL;
    }
    int errors = ir_arena_diag(a)->errors;
    add_layers(p);
    if (ir_arena_diag(a)->errors > errors) {
        return NULL;
    }
    if (!p->n_layers) {
        ir_error(ir_arena_diag(a), IR_NOWHERE,
                 "it has no Conv, Gemm or MatMul with constant weights: nothing to quantize");
        return NULL;
    }
    add_tensors(p);
    return p;
}
