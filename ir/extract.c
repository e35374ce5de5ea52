// A part of a graph as a graph of its own: what is needed to compute some of its values from some
// others. Fine-tuning cuts a network at the frozen prefix's edge with it, and turns constants that
// train into inputs; the whole of a graph is a copy.
#include "ir/ir_private.h"
#include <string.h>

typedef struct Extract {
    IrGraph *from, *to;
    IrValue **now; // by id of a value of `from`: what stands for it; NULL: not yet
    bool *needed;  // by the same
} Extract;

static void mark_needed(Extract *x, int n_in, IrValue *const *in, int n_out, IrValue *const *out) {
    bool *stop = ir_alloc_array(x->from->prog->arena, x->from->next_id, sizeof *stop);
    for (int i = 0; i < n_in; i++) {
        stop[in[i]->id] = true;
    }
    for (int i = 0; i < n_out; i++) {
        x->needed[out[i]->id] = true;
    }
    for (IrNode *n = x->from->last; n; n = n->prev) {
        bool wanted = false;
        for (int i = 0; i < n->n_out; i++) {
            wanted = wanted || (x->needed[n->out[i]->id] && !stop[n->out[i]->id]);
        }
        for (int i = 0; wanted && i < n->n_in; i++) {
            if (n->in[i].value) {
                x->needed[n->in[i].value->id] = true;
            }
        }
    }
}

static bool is_name_of_input(const IrGraph *g, const char *name) {
    for (int i = 0; i < g->n_inputs; i++) {
        if (strcmp(g->inputs[i]->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void add_input(Extract *x, IrValue *v) {
    if (!x->needed[v->id] || x->now[v->id]) {
        return;
    }
    IrType plain = v->type;
    plain.block = 0;
    const char *name = v->name && !is_name_of_input(x->to, v->name)
                           ? v->name
                           : ir_sprintf(x->from->prog->arena, "v%u", v->id);
    x->now[v->id] = ir_input(x->to, name, plain);
}

// The operand's counterpart: constants are shared, results were copied before.
static IrValue *find_operand(Extract *x, IrValue *v) {
    if (v && !x->now[v->id] && v->konst) {
        x->now[v->id] = ir_const_value(x->to, v->konst);
    }
    return v ? x->now[v->id] : NULL;
}

static void copy_node(Extract *x, const IrNode *n) {
    IrArena *a = x->from->prog->arena;
    IrValue **in = ir_alloc_array(a, (size_t)n->n_in + 1, sizeof *in);
    for (int i = 0; i < n->n_in; i++) {
        in[i] = find_operand(x, ir_in(n, i));
    }
    IrBuilder b = {.graph = x->to, .name = n->name, .src_op = n->src_op};
    IrNode *copy = ir_build_node(&b, n->op, n->n_in, in, n->n_attrs, n->attrs);
    if (!copy) {
        ir_bug("ir_extract", n->name, "%s", b.err);
    }
    for (int i = 0; i < n->n_out; i++) {
        copy->out[i]->name = n->out[i]->name;
        copy->out[i]->type.block = n->out[i]->type.block;
        if (!x->now[n->out[i]->id]) { // else it is an input of the new graph
            x->now[n->out[i]->id] = copy->out[i];
        }
    }
}

static bool is_copied(const Extract *x, const IrNode *n) {
    for (int i = 0; i < n->n_out; i++) {
        if (x->needed[n->out[i]->id] && !x->now[n->out[i]->id]) {
            return true;
        }
    }
    return false;
}

static Extract begin(IrGraph *g, const char *name) {
    IrArena *a = g->prog->arena;
    return (Extract){.from = g,
                     .to = ir_graph_new(g->prog, name),
                     .now = ir_alloc_array(a, g->next_id, sizeof(IrValue *)),
                     .needed = ir_alloc_array(a, g->next_id, sizeof(bool))};
}

static IrGraph *copy_needed(Extract *x, int n_out, IrValue *const *out) {
    for (int i = 0; i < x->from->n_inputs; i++) {
        add_input(x, x->from->inputs[i]);
    }
    for (const IrNode *n = x->from->first; n; n = n->next) {
        if (is_copied(x, n)) {
            copy_node(x, n);
        }
    }
    for (int i = 0; i < n_out; i++) {
        ir_output(x->to, find_operand(x, out[i]));
    }
    return x->to;
}

IrGraph *ir_extract(IrGraph *g, const char *name, int n_in, IrValue *const *in, int n_out,
                    IrValue *const *out) {
    Extract x = begin(g, name);
    mark_needed(&x, n_in, in, n_out, out);
    for (int i = 0; i < n_in; i++) {
        add_input(&x, in[i]);
    }
    return copy_needed(&x, n_out, out);
}

IrGraph *ir_copy(IrGraph *g, const char *name) {
    Extract x = begin(g, name);
    memset(x.needed, true, g->next_id);
    return copy_needed(&x, g->n_outputs, g->outputs);
}
