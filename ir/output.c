// Outputs of a graph, and replacing a value where it may be one. An output owns its storage: what
// does not is copied at the graph's end, which takes the builder. Costs O(the uses it moves);
// outputs are looked up by walking the (short) list of them.
#include "ir/ir_private.h"

// v if it can be an output under its own storage and name, else a copy of it at the graph's end.
static IrValue *own_output(IrGraph *g, IrValue *v) {
    if (v->def && !v->is_output) {
        return v;
    }
    IrBuilder b = {.graph = g, .name = v->def ? v->def->name : v->name ? v->name : ""};
    IrValue *copy = ir_build1(&b, IR_OP_COPY, v);
    if (!copy) {
        ir_bug("ir_output", b.name, "%s", b.err);
    }
    return copy;
}

void ir_output(IrGraph *g, IrValue *v) {
    IrValue *own = own_output(g, v);
    if (own != v) {
        own->name = v->name;
    }
    ir_make_name(g, own);
    own->is_output = true;
    IR_PUSH(g->prog->arena, g->outputs, g->n_outputs, g->cap_outputs, own);
}

void ir_replace_output(IrGraph *g, int index, IrValue *v) {
    IrValue *old = g->outputs[index];
    if (old == v) {
        return;
    }
    IrValue *own = own_output(g, v);
    own->name = old->name;
    old->is_output = false;
    own->is_output = true;
    g->outputs[index] = own;
}

void ir_replace_uses(IrValue *old, IrValue *now) {
    if (old == now) {
        return;
    }
    while (old->uses) {
        ir_set_in(old->uses->node, old->uses->index, now);
    }
    IrGraph *g = old->is_output ? old->def->graph : NULL;
    for (int i = 0; g && i < g->n_outputs; i++) {
        if (g->outputs[i] == old) {
            ir_replace_output(g, i, now);
        }
    }
}

static bool is_count(const IrValue *v) {
    const IrNode *n = v->def;
    return n && (n->op == IR_OP_CHECK || (n->op == IR_OP_BOUNDED && v == n->out[1]));
}

int ir_own_outputs(const IrGraph *g) {
    int n = g->n_outputs;
    while (n > 0 && is_count(g->outputs[n - 1])) {
        n--;
    }
    return n;
}
