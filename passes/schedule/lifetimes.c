// Lifetimes: which storages a graph's values need, and from where to where each is alive; see
// memory_plan.c, which places them, and recompute.c, which shortens them.
#include "passes/schedule/lifetimes.h"

enum { ALIGN = 64 };

const char *pass_lives_name(const IrValue *v) {
    return v->name ? v->name : v->def ? v->def->name : "";
}

IrDim pass_lives_bytes(const IrValue *v) {
    IrDim bytes;
    if (!ir_type_bytes(&v->type, &bytes) || bytes.c < 0 || bytes.n < 0) {
        ir_bug("memory_plan", pass_lives_name(v), "a value without a size");
    }
    return bytes;
}

int64_t pass_lives_add(const PassLives *p, int64_t a, int64_t b) {
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum) || sum > INT64_MAX / 4) {
        ir_fatal(p->graph->prog->diag, IR_NOWHERE, "graph '%s' needs more memory than there can be",
                 p->graph->name);
    }
    return sum;
}

static int64_t round_up(const PassLives *p, int64_t bytes) {
    return pass_lives_add(p, bytes, ALIGN - 1) / ALIGN * ALIGN;
}

// ---------------------------------------------------------------- storages and their lifetimes

PassStorage *pass_lives_of(const PassLives *p, const IrValue *v) {
    int64_t channel = 0;
    const IrValue *root = ir_view_root((IrValue *)v, &channel);
    int i = p->of_value[root->id] - 1;
    while (i >= 0 && p->v[i].merged >= 0) {
        i = p->v[i].merged;
    }
    return i >= 0 ? &p->v[i] : NULL;
}

static void add_storage(PassLives *p, const IrValue *root) {
    IrDim bytes = pass_lives_bytes(root);
    bool batched = bytes.n != 0;
    // c + n*N <= (c + n)*N
    int64_t size = batched ? pass_lives_add(p, bytes.n, bytes.c) : bytes.c;
    PassStorage s = {.root = root,
                     .size = round_up(p, size),
                     .batched = batched,
                     .merged = -1,
                     .first = p->n_nodes,
                     .last = 0};
    IR_PUSH(p->ctx->scratch, p->v, p->n, p->cap, s);
    p->of_value[root->id] = p->n;
}

static void collect_storages(PassLives *p) {
    IrGraph *g = p->graph;
    p->of_value = ir_alloc_array(p->ctx->scratch, (size_t)g->next_id + 1, sizeof *p->of_value);
    p->output = ir_alloc_array(p->ctx->scratch, (size_t)g->next_id + 1, sizeof *p->output);
    for (int i = 0; i < g->n_outputs; i++) {
        int64_t channel = 0;
        p->output[ir_view_root(g->outputs[i], &channel)->id] = i + 1;
    }
    for (const IrNode *n = g->first; n; n = n->next, p->n_nodes++) {
    }
    for (const IrNode *n = g->first; n; n = n->next) {
        for (int i = 0; i < n->n_out; i++) {
            if (!n->out[i]->view_of && !p->output[n->out[i]->id]) {
                add_storage(p, n->out[i]);
            }
        }
    }
}

static void touch(PassLives *p, const IrValue *v, int at) {
    PassStorage *s = v ? pass_lives_of(p, v) : NULL;
    if (s) {
        s->first = at < s->first ? at : s->first;
        s->last = at > s->last ? at : s->last;
    }
}

static void compute_lifetimes(PassLives *p) {
    int at = 0;
    for (const IrNode *n = p->graph->first; n; n = n->next, at++) {
        for (int i = 0; i < n->n_in; i++) {
            touch(p, ir_in(n, i), at);
        }
        for (int i = 0; i < n->n_out; i++) {
            touch(p, n->out[i], at);
        }
    }
}

// ---------------------------------------------------------------- results over dying operands

// The operands of n whose elements are read only by the thread that then writes the same element of
// the result: from which index on, up to ir_prologue(n); n->n_in when there are none.
static int first_in_place(const IrNode *n) {
    if (ir_op_info(n->op)->flags & IR_FLAG_E || n->op == IR_OP_MAP) {
        return 0;
    }
    return n->op == IR_OP_CONV ? ir_op_info(n->op)->max_in : n->n_in;
}

static bool can_take_over(const PassLives *p, const IrNode *n, int index, int at) {
    const IrValue *y = n->out[0], *x = ir_in(n, index);
    const PassStorage *s = x ? pass_lives_of(p, x) : NULL;
    int64_t channel = 0;
    if (!s || s->last != at || !ir_type_eq(&x->type, &y->type) ||
        !ir_dim_eq(pass_lives_bytes(x), pass_lives_bytes(ir_view_root((IrValue *)x, &channel)))) {
        return false;
    }
    int first = first_in_place(n), end = ir_prologue(n);
    for (int i = 0; i < n->n_in; i++) {
        const IrValue *other = ir_in(n, i);
        if (other && pass_lives_of(p, other) == s && (other != x || i < first || i >= end)) {
            return false;
        }
    }
    return true;
}

void pass_lives_merge(PassLives *p) {
    int at = 0;
    for (const IrNode *n = p->graph->first; n; n = n->next, at++) {
        PassStorage *y = n->n_out == 1 && !n->out[0]->view_of ? pass_lives_of(p, n->out[0]) : NULL;
        for (int i = first_in_place(n); y && i < ir_prologue(n); i++) {
            if (can_take_over(p, n, i, at)) {
                PassStorage *x = pass_lives_of(p, ir_in(n, i));
                x->last = y->last;
                y->merged = (int)(x - p->v);
                break;
            }
        }
    }
}

PassLives pass_lives(PassContext *ctx, IrGraph *g) {
    PassLives p = {.ctx = ctx, .graph = g};
    collect_storages(&p);
    compute_lifetimes(&p);
    return p;
}
