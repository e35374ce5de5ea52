// Every invariant that ir.h states, checked from scratch: a graph that passes can be walked without
// fear. Links are checked before what they lead to is looked at, and every walk is bounded, so that
// a graph that some pass spoiled gives a message and not a crash.
#include "ir/map.h"
#include "ir/shape.h"
#include <stdarg.h>

typedef struct Verifier {
    IrGraph *g;
    IrArena *scratch;     // the program's
    const IrValue **seen; // values known so far, by id: inputs, constants, results
    int64_t uses;         // entries of all use lists
    const char *why;      // the first violation
} Verifier;

static bool violated(Verifier *v, const IrNode *n, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static bool violated(Verifier *v, const IrNode *n, const char *fmt, ...) {
    char reason[2000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(reason, sizeof reason, fmt, ap);
    va_end(ap);
    IrArena *a = v->g->prog->arena;
    v->why =
        n ? ir_sprintf(a, "graph '%s': node '%s' (%s): %s", v->g->name, n->name ? n->name : "?",
                       (unsigned)n->op < IR_OP_COUNT ? ir_op_info(n->op)->text : "?", reason)
          : ir_sprintf(a, "graph '%s': %s", v->g->name, reason);
    return false;
}

static bool is_known(const Verifier *v, const IrValue *x) {
    return x->id < v->g->next_id && v->seen[x->id] == x;
}

// Enters a value after checking what can be said of it alone.
static bool add_value(Verifier *v, const IrNode *n, const IrValue *x) {
    if (x->id >= v->g->next_id || v->seen[x->id]) {
        return violated(v, n, "value number %u is not unique", x->id);
    }
    v->seen[x->id] = x;
    const char *why = ir_check_type(v->scratch, &x->type);
    if (why) {
        return violated(v, n, "%s", why);
    }
    if (x->place.kind > IR_PLACE_CONST || x->place.offset.c < 0 || x->place.offset.n < 0 ||
        x->place.index < 0) {
        return violated(v, n, "value number %u is at an impossible place", x->id);
    }
    return true;
}

static bool check_inputs(Verifier *v) {
    IrMap names = {.arena = v->scratch};
    for (int i = 0; i < v->g->n_inputs; i++) {
        IrValue *x = v->g->inputs[i];
        if (!x || x->def || x->konst || x->input != i || !x->name || x->is_output) {
            return violated(v, NULL, "input %d is not a named input with that index", i);
        }
        void **taken = ir_map_put(&names, x->name);
        if (*taken) {
            return violated(v, NULL, "two inputs are called '%s'", x->name);
        }
        *taken = x;
        if (!add_value(v, NULL, x)) {
            return false;
        }
    }
    return true;
}

static bool check_consts(Verifier *v) {
    for (int i = 0; i < v->g->cap_const_values; i++) {
        const IrValue *x = v->g->const_values[i];
        if (!x) {
            continue;
        }
        const IrConst *c = x->konst;
        if (!c || c->id != (uint32_t)i || x->def || x->input >= 0 || x->is_output) {
            return violated(v, NULL, "value number %u is not that of constant %d", x->id, i);
        }
        if (!c->name || !ir_type_eq(&c->type, &x->type) || c->type.block ||
            !ir_shape_is_static(&c->type.shape) || (c->kind == IR_CONST_DATA && !c->data)) {
            return violated(v, NULL, "constant '%s' has no data, or another type than its value",
                            c->name ? c->name : "");
        }
        if (!add_value(v, NULL, x)) {
            return false;
        }
    }
    return true;
}

static bool check_result(Verifier *v, const IrNode *n, const IrValue *x, const IrType *should) {
    if (x->type.dtype != should->dtype || !ir_shape_eq(&x->type.shape, &should->shape)) {
        return violated(v, n, "its type is %s, it should be %s", ir_type_text(n, &x->type),
                        ir_type_text(n, should));
    }
    if (x->def != n || x->konst || x->input >= 0) {
        return violated(v, n, "its result does not name it as its definition");
    }
    return add_value(v, n, x);
}

static bool check_results(Verifier *v, IrNode *n) {
    enum { MOST = 3 };
    IrType had[MOST], should[MOST];
    for (int i = 0; i < n->n_out; i++) {
        had[i] = n->out[i]->type;
    }
    const char *why = ir_infer(n);
    for (int i = 0; i < n->n_out; i++) {
        should[i] = n->out[i]->type;
        n->out[i]->type = had[i];
    }
    if (why) {
        return violated(v, n, "%s", why);
    }
    for (int i = 0; i < n->n_out; i++) {
        if (!check_result(v, n, n->out[i], &should[i])) {
            return false;
        }
    }
    return true;
}

static bool check_node(Verifier *v, IrNode *n) {
    if ((unsigned)n->op >= IR_OP_COUNT || !n->name || n->n_in < 0 ||
        n->n_out != ir_op_info(n->op)->n_out) {
        return violated(v, n, "it has no name, no op or a wrong number of results");
    }
    for (int i = 0; i < n->n_in; i++) {
        const IrUse *u = &n->in[i];
        if (u->node != n || u->index != i) {
            return violated(v, n, "the use by operand %d names another node or index", i);
        }
        if (u->value && !is_known(v, u->value)) {
            return violated(v, n, "operand %d is used before its definition, or not of this graph",
                            i);
        }
        v->uses += u->value != NULL;
    }
    return check_results(v, n);
}

static bool check_nodes(Verifier *v) {
    IrGraph *g = v->g;
    IrNode *prev = NULL;
    int count = 0;
    for (IrNode *n = g->first; n; prev = n, n = n->next) {
        if (n->prev != prev || n->graph != g || ++count > g->n_nodes) {
            return violated(v, NULL, "the list of nodes is broken at node %d", count);
        }
        if (!check_node(v, n)) {
            return false;
        }
    }
    return (g->last == prev && count == g->n_nodes) ||
           violated(v, NULL, "the list of nodes ends wrong");
}

// Every entry of x's use list is a use of x by a node of this graph.
static bool check_use_list(Verifier *v, const IrValue *x) {
    int count = 0;
    const IrUse *prev = NULL;
    for (const IrUse *u = x->uses; u; prev = u, u = u->next) {
        const IrNode *n = u->node;
        if (++count > x->n_uses || u->value != x || u->prev != prev || !n || n->graph != v->g ||
            u->index < 0 || u->index >= n->n_in || u != &n->in[u->index]) {
            return violated(v, x->def, "the use list of value number %u is broken", x->id);
        }
    }
    v->uses -= count;
    return count == x->n_uses ||
           violated(v, x->def, "value number %u has %d uses and says %d", x->id, count, x->n_uses);
}

static bool check_outputs(Verifier *v) {
    IrGraph *g = v->g;
    IrMap names = {.arena = v->scratch};
    int flagged = 0;
    if (!g->n_outputs) {
        return violated(v, NULL, "it has no outputs");
    }
    for (int i = 0; i < g->n_outputs; i++) {
        IrValue *x = g->outputs[i];
        if (!x || !is_known(v, x) || !x->def || !x->is_output || !x->name) {
            return violated(
                v, NULL, "output %d is not a named result of a node, or not marked as output", i);
        }
        void **taken = ir_map_put(&names, x->name);
        if (*taken) {
            return violated(v, NULL, "two outputs are called '%s'", x->name);
        }
        *taken = x;
    }
    for (uint32_t id = 0; id < g->next_id; id++) {
        flagged += v->seen[id] && v->seen[id]->is_output;
    }
    return flagged == g->n_outputs ||
           violated(v, NULL, "%d values say that they are one of its %d outputs", flagged,
                    g->n_outputs);
}

// ---------------------------------------------------------------- views

// Whether x lies within the value it is a view of: the same bytes under another shape, or a range
// of channels.
static bool view_fits(const IrValue *x) {
    const IrType *a = &x->type, *b = &x->view_of->type;
    IrDim xa, xb, end;
    if (x->view_channel == 0 && a->dtype == b->dtype && ir_type_bytes(a, &xa) &&
        ir_type_bytes(b, &xb) && ir_dim_eq(xa, xb)) {
        return true;
    }
    if (a->dtype != b->dtype || a->block != b->block || a->shape.rank != b->shape.rank ||
        a->shape.rank < 2 || x->view_channel < 0 || (a->block && x->view_channel % a->block) ||
        !ir_dim_add(a->shape.dim[1], ir_dim(x->view_channel), &end)) {
        return false;
    }
    for (int i = 0; i < a->shape.rank; i++) {
        if (i != 1 && !ir_dim_eq(a->shape.dim[i], b->shape.dim[i])) {
            return false;
        }
    }
    return end.n == b->shape.dim[1].n && end.c <= b->shape.dim[1].c;
}

// Chains of views end. Each value's chain is walked up to one that is known to end.
static bool check_views(Verifier *v) {
    enum { ENDS = 1, WALKED = 2 };
    uint32_t n = v->g->next_id;
    char *state = ir_alloc(v->scratch, n);
    for (uint32_t id = 0; id < n; id++) {
        const IrValue *x = v->seen[id];
        for (; x && x->view_of && state[x->id] != ENDS; x = x->view_of) {
            if (!is_known(v, x->view_of) || state[x->id] == WALKED) {
                return violated(v, x->def,
                                "value number %u is a view of itself, or of nothing here", x->id);
            }
            if (!view_fits(x)) {
                return violated(v, x->def,
                                "value number %u does not fit value number %u that it is a view of",
                                x->id, x->view_of->id);
            }
            state[x->id] = WALKED;
        }
        for (x = v->seen[id]; x && state[x->id] == WALKED; x = x->view_of) {
            state[x->id] = ENDS;
        }
    }
    return true;
}

const char *ir_verify(IrGraph *g) {
    Verifier v = {.g = g, .scratch = g->prog->arena};
    v.seen = ir_alloc_array(v.scratch, g->next_id, sizeof *v.seen);
    bool fine = check_inputs(&v) && check_consts(&v) && check_nodes(&v) && check_outputs(&v) &&
                check_views(&v);
    for (uint32_t id = 0; fine && id < g->next_id; id++) {
        fine = !v.seen[id] || check_use_list(&v, v.seen[id]);
    }
    if (fine && v.uses) {
        violated(&v, NULL, "%lld operands are missing from the use lists", (long long)v.uses);
    }
    return v.why;
}
