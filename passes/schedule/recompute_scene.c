// The graph as the pass recompute sees it: who touches which storage where, and how much is alive
// at each node, storages that go over dying operands counted once, as the memory plan places them.
#include "passes/schedule/recompute.h"
#include "passes/util.h"

#include "ir/conv.h"

int pass_recompute_storage(const RecomputeScene *s, const IrValue *v) {
    const PassStorage *x = v ? pass_lives_of(&s->lives, v) : NULL;
    return x ? (int)(x - s->lives.v) : -1;
}

int64_t pass_recompute_bytes(const RecomputeScene *s, const PassStorage *x) {
    return x->batched ? x->size * s->batch : x->size;
}

bool pass_recompute_is_view(const IrNode *n) {
    return n->n_out == 1 && n->out[0]->view_of && n->out[0]->view_of == ir_in(n, 0);
}

double pass_recompute_products(const IrNode *n, int64_t batch) {
    IrDim elems;
    if (n->op == IR_OP_CONV || n->op == IR_OP_CONV_WGRAD) {
        IrConv c = ir_conv(n);
        return (double)ir_conv_products(&c) * (double)ir_dim_at(c.N, batch);
    }
    if (n->op != IR_OP_MATMUL || !ir_shape_elems(&n->out[0]->type.shape, &elems))
        return 0;
    const IrShape *a = &ir_in(n, 0)->type.shape;
    int k = a->rank - (ir_int(n, IR_ATTR_TRANS_A, 0) && a->rank > 1 ? 2 : 1);
    return (double)ir_dim_at(elems, batch) * (double)ir_dim_at(a->dim[k], batch);
}

// ---------------------------------------------------------------- who touches what

static void list_nodes(RecomputeScene *s) {
    IrArena *a = s->ctx.scratch;
    int i = 0;
    s->node = ir_alloc_array(a, (size_t)s->lives.n_nodes + 1, sizeof(IrNode *));
    s->at = ir_alloc_array(a, (size_t)s->n_ids + 1, sizeof *s->at);
    for (IrNode *n = s->graph->first; n; n = n->next) {
        for (int k = 0; k < n->n_out; k++)
            s->at[n->out[k]->id] = i;
        s->node[i++] = n;
    }
}

// The storages that node n touches, each once; how many.
static int touched_by(const RecomputeScene *s, const IrNode *n, int *out) {
    int count = 0;
    for (int k = 0; k < n->n_in + n->n_out; k++) {
        int x = pass_recompute_storage(s, k < n->n_in ? ir_in(n, k) : n->out[k - n->n_in]);
        bool had = x < 0;
        for (int i = 0; i < count && !had; i++)
            had = out[i] == x;
        if (!had)
            out[count++] = x;
    }
    return count;
}

static void list_touches(RecomputeScene *s) {
    IrArena *a = s->ctx.scratch;
    int n = s->lives.n, most = 0, total = 0;
    for (int p = 0; p < s->lives.n_nodes; p++) {
        int k = s->node[p]->n_in + s->node[p]->n_out;
        most = k > most ? k : most;
        total += k;
    }
    int *now = ir_alloc_array(a, (size_t)most + 1, sizeof *now);
    int *end = ir_alloc_array(a, (size_t)n + 1, sizeof *end);
    s->first = ir_alloc_array(a, (size_t)n + 2, sizeof *s->first);
    s->touch = ir_alloc_array(a, (size_t)total + 1, sizeof *s->touch);
    for (int p = 0; p < s->lives.n_nodes; p++)
        for (int i = touched_by(s, s->node[p], now); i-- > 0;)
            s->first[now[i] + 1]++;
    for (int x = 0; x < n; x++)
        end[x] = s->first[x + 1] += s->first[x];
    for (int p = s->lives.n_nodes - 1; p >= 0; p--)
        for (int i = touched_by(s, s->node[p], now); i-- > 0;)
            s->touch[--end[now[i]]] = p;
}

// What writes a part of a storage makes it one that several write: in-place concats.
static void mark_shared(RecomputeScene *s) {
    s->shared = ir_alloc_array(s->ctx.scratch, (size_t)s->lives.n + 1, sizeof *s->shared);
    for (int p = 0; p < s->lives.n_nodes; p++) {
        const IrNode *n = s->node[p];
        for (int k = 0; k < n->n_out; k++) {
            int x = pass_recompute_storage(s, n->out[k]);
            if (x >= 0 && n->out[k]->view_of && !pass_recompute_is_view(n))
                s->shared[x] = true;
        }
    }
}

// ---------------------------------------------------------------- how much is alive

static void sum_memory(RecomputeScene *s) {
    PassLives lives = pass_lives(&s->ctx, s->graph);
    size_t room = (size_t)lives.n_nodes + 2;
    for (int r = 0; r < RECOMPUTE_REGIONS; r++) {
        s->memory[r] = ir_alloc_array(s->ctx.scratch, room, sizeof(int64_t));
        s->extra[r] = ir_alloc_array(s->ctx.scratch, room, sizeof(int64_t));
    }
    pass_lives_merge(&lives);
    for (int i = 0; i < lives.n; i++) {
        const PassStorage *x = &lives.v[i];
        if (x->merged < 0) {
            s->memory[x->batched][x->first] += pass_recompute_bytes(s, x);
            s->memory[x->batched][x->last + 1] -= pass_recompute_bytes(s, x);
        }
    }
    for (int r = 0; r < RECOMPUTE_REGIONS; r++) {
        int64_t *m = s->memory[r];
        s->peak[r] = 0;
        for (int p = 1; p < lives.n_nodes; p++) {
            m[p] += m[p - 1];
            s->peak[r] = m[p] > m[s->peak[r]] ? p : s->peak[r];
        }
    }
}

int64_t pass_recompute_total(const RecomputeScene *s) {
    return s->memory[RECOMPUTE_FIXED][s->peak[RECOMPUTE_FIXED]] +
           s->memory[RECOMPUTE_BATCHED][s->peak[RECOMPUTE_BATCHED]];
}

static void find_origins(RecomputeScene *s, const RecomputeTwins *twins) {
    s->origin = ir_alloc_array(s->ctx.scratch, (size_t)s->n_ids + 1, sizeof *s->origin);
    for (uint32_t i = 0; i < s->n_ids; i++)
        s->origin[i] = i;
    for (int i = 0; i < twins->n; i++)
        s->origin[twins->v[i].now] = s->origin[twins->v[i].of];
}

void pass_recompute_measure(RecomputeScene *s, PassContext *ctx, IrGraph *g, int64_t batch,
                            const RecomputeTwins *twins) {
    *s = (RecomputeScene){.ctx = *ctx, .graph = g, .n_ids = g->next_id, .batch = batch};
    s->own = pass_begin_arena(ctx->scratch, g->prog->diag);
    s->ctx.scratch = *s->own;
    s->lives = pass_lives(&s->ctx, g);
    list_nodes(s);
    list_touches(s);
    mark_shared(s);
    sum_memory(s);
    find_origins(s, twins);
}

void pass_recompute_leave(RecomputeScene *s) {
    pass_end_arena(s->own);
}
