// One change of the pass recompute: nodes are made again, or moved up, right before the first late
// reader, and all late readers read those.
//
// A node that is made again has the same operands, attributes and layouts, so the same kernel makes
// the same bits. Views of what is made again are made again with it.
#include "passes/schedule/recompute.h"

typedef struct Apply {
    const RecomputeScene *s;
    const RecomputeChange *c;
    PassContext *ctx;
    RecomputeTwins *twins;
    IrNode *before;   // where new nodes go
    IrValue **now_of; // by id of values before the change: what stands for it from there on
} Apply;

static bool is_late(const Apply *a, const IrValue *v) { // v is made from `until` on
    return v->def && a->s->at[v->id] >= a->c->until;
}

static IrBuilder builder(const Apply *a, const IrNode *n) {
    return (IrBuilder){
        .graph = n->graph, .before = a->before, .name = n->name, .src_op = n->src_op};
}

static IrNode *build_again(const Apply *a, const IrNode *n, IrValue *const *in) {
    IrBuilder b = builder(a, n);
    IrNode *again = ir_build_node(&b, n->op, n->n_in, in, n->n_attrs, n->attrs);
    if (!again)
        ir_bug("recompute", n->name, "%s", b.err ? b.err : "it cannot be built again");
    for (int i = 0; i < n->n_out; i++)
        again->out[i]->type = n->out[i]->type;
    return again;
}

// What an operand is from `until` on: v, what was made again for it, or a view of that.
static IrValue *find_now(Apply *a, IrValue *v) {
    if (!v || a->now_of[v->id])
        return v ? a->now_of[v->id] : NULL;
    if (!v->def || !pass_recompute_is_view(v->def))
        return v;
    IrValue *base = find_now(a, v->view_of);
    if (base == v->view_of)
        return v;
    IrValue **in = ir_alloc_array(a->s->ctx.scratch, (size_t)v->def->n_in, sizeof(IrValue *));
    in[0] = base;
    for (int i = 1; i < v->def->n_in; i++)
        in[i] = ir_in(v->def, i);
    IrValue *view = build_again(a, v->def, in)->out[0];
    view->view_of = base;
    view->view_channel = v->view_channel;
    return a->now_of[v->id] = view;
}

// A node made later on goes up, with the views that it reads.
static void move_up(Apply *a, IrNode *n) {
    for (int i = 0; i < n->n_in; i++) {
        IrValue *v = ir_in(n, i);
        if (v && is_late(a, v) && pass_recompute_is_view(v->def))
            move_up(a, v->def);
    }
    ir_move_before(n, a->before);
}

static void make_again(Apply *a, IrNode *n) {
    IrValue **in = ir_alloc_array(a->s->ctx.scratch, (size_t)n->n_in + 1, sizeof(IrValue *));
    for (int i = 0; i < n->n_in; i++)
        in[i] = find_now(a, ir_in(n, i));
    IrNode *again = build_again(a, n, in);
    for (int i = 0; i < n->n_out; i++) {
        RecomputePair pair = {again->out[i]->id, n->out[i]->id};
        RecomputeTwins *t = a->twins;
        a->now_of[n->out[i]->id] = again->out[i];
        IR_PUSH(a->ctx->scratch, t->v, t->n, t->cap, pair);
    }
}

static void move_item(Apply *a, int item) {
    IrNode *n = a->c->item[item].node, *dead = a->c->item[item].moved;
    bool there = false;
    for (int i = 0; i < item; i++)
        there = there || a->c->item[i].node == n;
    if (!there)
        move_up(a, n);
    for (int i = 0; i < n->n_out; i++)
        if (n != dead)
            a->now_of[dead->out[i]->id] = n->out[i];
}

// Late readers of v read what was made again.
static void read_again(Apply *a, IrValue *v) {
    for (IrUse *u = v->uses, *next; u; u = next) {
        next = u->next;
        IrNode *n = u->node;
        if (n->out[0]->id >= a->s->n_ids || !is_late(a, n->out[0]))
            continue;
        bool view = pass_recompute_is_view(n) && n->out[0]->view_of == v;
        IrValue *now = find_now(a, v);
        ir_set_in(n, u->index, now);
        if (view)
            n->out[0]->view_of = now;
    }
}

static bool is_dead(const IrNode *n, const bool *viewed) {
    for (int i = 0; i < n->n_out; i++)
        if (n->out[i]->n_uses || n->out[i]->is_output || viewed[n->out[i]->id])
            return false;
    return true;
}

// What nobody reads any more, but for storages that others write parts of.
static void remove_dead(const RecomputeScene *s) {
    IrGraph *g = s->graph;
    bool *viewed = ir_alloc_array(s->ctx.scratch, (size_t)g->next_id + 1, sizeof *viewed);
    for (const IrNode *n = g->first; n; n = n->next)
        for (int i = 0; i < n->n_out; i++)
            if (n->out[i]->view_of && !pass_recompute_is_view(n))
                viewed[n->out[i]->view_of->id] = true;
    for (IrNode *n = g->last, *prev; n; n = prev) {
        prev = n->prev;
        if (is_dead(n, viewed))
            ir_remove_node(n);
    }
}

void pass_recompute_apply(const RecomputeScene *s, const RecomputeChange *c, PassContext *ctx,
                          RecomputeTwins *twins) {
    const IrValue *root = s->lives.v[c->storage].root;
    Apply a = {s, c, ctx, twins, s->node[c->until], NULL};
    a.now_of = ir_alloc_array(s->ctx.scratch, (size_t)s->n_ids + 1, sizeof(IrValue *));
    for (int i = 0; i < c->n; i++) {
        if (c->item[i].moved)
            move_item(&a, i);
        else
            make_again(&a, c->item[i].node);
    }
    for (int p = 0; p < c->until; p++)
        for (int k = 0; k < s->node[p]->n_out; k++) {
            IrValue *v = s->node[p]->out[k];
            int64_t channel = 0;
            if (ir_view_root(v, &channel) == root)
                read_again(&a, v);
        }
    remove_dead(s);
}
