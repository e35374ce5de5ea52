// Recompute: where the arena would be larger than the user allows, results that are read again late
// are not kept until then, but computed again.
//
//   before  %a = conv %x, %w                  // %a is alive from here
//           %b = conv %a, %v
//           ...                               // the most memory
//           %dv = conv_wgrad %a, %db          // to here
//   after   %a = conv %x, %w
//           %b = conv %a, %v
//           ...
//           %c = conv %x, %w                  // the same kernel on the same numbers: the same bits
//           %dv = conv_wgrad %c, %db
//
// The memory that is alive at each node is known. At the node where that is the most, each storage
// that is alive and not touched there could be computed again for its next reader. That costs the
// work of its node, and of those that made what this needs and is gone by then; what is still
// alive, or small, is kept a little longer instead. The change that costs the least work per byte
// is made, and so on until the arena fits: cheap nodes with large results go first, then chains of
// convolutions, whose segments come out as in Chen et al., "Training Deep Nets with Sublinear
// Memory Cost" (2016). What an earlier change computes again further down moves up rather than
// being made a third time.
//
// The changes do not depend on the limit, which only ends them: what one limit reaches, a higher
// one reaches with less work.
#include "passes/schedule/recompute.h"
#include "passes/util.h"

#include <string.h>

enum {
    MOVE = 24,       // multiply-adds that take as long as an element read or written
    SMALL = 8,       // of what is not kept: a part of it that is kept rather than made again
    TINY = 1024,     // of the peak: parts of it that are not looked at
    MOST_TRIES = 48, // changes without a smaller peak, before it is given up
    MOST_CHANGES = 2000
};

typedef struct Choice { // of one change
    RecomputeScene *s;
    int peak; // position
    RecomputeChange c;
} Choice;

// ---------------------------------------------------------------- what a result needs

static double elements(const IrValue *v, int64_t batch) {
    IrDim e;
    return v && ir_shape_elems(&v->type.shape, &e) ? (double)ir_dim_at(e, batch) : 0;
}

static double work(const RecomputeScene *s, const IrNode *n) {
    double moved = 0;
    for (int i = 0; i < n->n_in; i++)
        moved += elements(ir_in(n, i), s->batch);
    for (int i = 0; i < n->n_out; i++)
        moved += elements(n->out[i], s->batch);
    return pass_recompute_products(n, s->batch) + MOVE * moved;
}

// Statistics of normalizations move in place: behind that their old values are gone.
static bool reads_what_moves(const IrNode *n) {
    for (int i = 0; i < n->n_in; i++) {
        const IrValue *v = ir_in(n, i);
        for (int k = 0; v && v->input >= 0 && k < n->graph->n_outputs; k++)
            if (strcmp(n->graph->outputs[k]->name, v->name) == 0)
                return true;
    }
    return false;
}

static const PassStorage *storage(const Choice *o, int x) {
    return &o->s->lives.v[x];
}

static bool add_item(Choice *o, IrNode *n, IrNode *moved) {
    if (o->c.n == RECOMPUTE_CHAIN)
        return false;
    o->c.item[o->c.n].node = n;
    o->c.item[o->c.n++].moved = moved;
    return true;
}

static bool has_item(const Choice *o, const IrNode *n) {
    for (int i = 0; i < o->c.n; i++)
        if (o->c.item[i].node == n || o->c.item[i].moved == n)
            return true;
    return false;
}

static bool keep(Choice *o, int x) {
    for (int i = 0; i < o->c.n_kept; i++)
        if (o->c.kept[i] == x)
            return true;
    if (o->c.n_kept == RECOMPUTE_CHAIN)
        return false;
    o->c.kept[o->c.n_kept++] = x;
    return true;
}

// What is computed again for the same result as x, further down; -1: nothing.
static int find_twin(const Choice *o, int x) {
    const RecomputeScene *s = o->s;
    uint32_t of = s->origin[storage(o, x)->root->id];
    for (int i = 0; i < s->lives.n; i++)
        if (i != x && s->lives.v[i].first >= o->c.until && s->origin[s->lives.v[i].root->id] == of)
            return i;
    return -1;
}

static bool reach(Choice *o, int x);

static bool reach_operands(Choice *o, const IrNode *n) {
    for (int i = 0; i < n->n_in; i++) {
        int x = pass_recompute_storage(o->s, ir_in(n, i));
        if (x >= 0 && !reach(o, x))
            return false;
    }
    return true;
}

static bool move(Choice *o, int twin, IrNode *stands_for) {
    IrNode *n = storage(o, twin)->root->def;
    return !o->s->shared[twin] && reach_operands(o, n) && add_item(o, n, stands_for);
}

static bool make(Choice *o, int x) {
    IrNode *n = storage(o, x)->root->def;
    if (o->s->shared[x] || reads_what_moves(n) || !reach_operands(o, n) || !add_item(o, n, NULL))
        return false;
    o->c.cost += work(o->s, n);
    return true;
}

// Storage x is there at o->c.until.
static bool reach(Choice *o, int x) {
    const PassStorage *v = storage(o, x);
    IrNode *n = v->root->def;
    if (has_item(o, n) || (v->first < o->c.until && v->last >= o->c.until))
        return true;
    if (v->first >= o->c.until) // for what moves up
        return move(o, x, n);
    int twin = find_twin(o, x);
    if (twin >= 0)
        return move(o, twin, n);
    int64_t all = pass_recompute_bytes(o->s, storage(o, o->c.storage));
    if (v->last > o->peak || pass_recompute_bytes(o->s, v) < all / SMALL)
        return keep(o, x);
    Choice without = *o;
    if (make(o, x))
        return true;
    *o = without;
    return keep(o, x);
}

// ---------------------------------------------------------------- what a change gains

static void add_extra(RecomputeScene *s, const PassStorage *x, int64_t sign, int from, int end) {
    if (from < end) {
        s->extra[x->batched][from] += sign * pass_recompute_bytes(s, x);
        s->extra[x->batched][end] -= sign * pass_recompute_bytes(s, x);
    }
}

static void add_changes(const Choice *o, int64_t sign) {
    RecomputeScene *s = o->s;
    const RecomputeChange *c = &o->c;
    add_extra(s, storage(o, c->storage), -sign, c->from + 1, c->until);
    for (int i = 0; i < c->n_kept; i++)
        add_extra(s, storage(o, c->kept[i]), sign, storage(o, c->kept[i])->last + 1, c->until + 1);
    for (int i = 0; i < c->n; i++)
        for (int k = 0; k < c->item[i].node->n_out; k++) {
            int x = pass_recompute_storage(s, c->item[i].node->out[k]);
            if (x < 0 || x == c->storage)
                continue;
            bool later = storage(o, x)->first > c->until;
            add_extra(s, storage(o, x), sign, c->until,
                      later ? storage(o, x)->first : c->until + 1);
        }
}

// Bytes less at the peak; 0 or less where memory there, or elsewhere, would grow.
static int64_t weigh(const Choice *o) {
    RecomputeScene *s = o->s;
    int own = storage(o, o->c.storage)->batched;
    int64_t gain = 0;
    add_changes(o, 1);
    for (int r = 0; r < RECOMPUTE_REGIONS; r++) {
        int64_t sum = 0, most = s->memory[r][s->peak[r]], rise = 0;
        for (int p = 0; p < s->lives.n_nodes; p++) {
            sum += s->extra[r][p];
            if (sum && s->memory[r][p] + sum - most > rise)
                rise = s->memory[r][p] + sum - most;
            if (r == own && p == o->peak)
                gain -= sum;
        }
        gain = r == own && rise ? INT64_MIN / 2 : gain - rise;
    }
    add_changes(o, -1);
    return gain;
}

// The touches of x around the peak.
static bool find_gap(Choice *o, int x) {
    const RecomputeScene *s = o->s;
    o->c.from = o->c.until = -1;
    for (int i = s->first[x]; i < s->first[x + 1]; i++) {
        if (s->touch[i] == o->peak)
            return false;
        if (s->touch[i] < o->peak)
            o->c.from = s->touch[i];
        else if (o->c.until < 0)
            o->c.until = s->touch[i];
    }
    return o->c.from >= 0 && o->c.until >= 0;
}

// The change for storage x, with a twin that moves up or without. False: none that gains.
static bool propose(RecomputeScene *s, int peak, int x, bool with_twin, RecomputeChange *out) {
    Choice o = {.s = s, .peak = peak, .c = {.storage = x}};
    if (s->shared[x] || !find_gap(&o, x))
        return false;
    IrNode *n = s->lives.v[x].root->def;
    int twin = find_twin(&o, x);
    if (with_twin ? twin < 0 || !move(&o, twin, n) : !make(&o, x))
        return false;
    bool unread = o.c.from == s->lives.v[x].first && n->n_out == 1; // before: it is only made later
    if (unread && s->origin[s->lives.v[x].root->id] != s->lives.v[x].root->id)
        return false; // once: two could change places for ever
    if (!with_twin && unread)
        o.c.cost -= work(s, n);
    o.c.gain = weigh(&o);
    *out = o.c;
    return o.c.gain > 0;
}

static bool choose(RecomputeScene *s, RecomputeChange *best) {
    bool found = false;
    for (int x = 0; x < s->lives.n; x++) {
        int peak = s->peak[s->lives.v[x].batched];
        RecomputeChange c = {0};
        const PassStorage *v = &s->lives.v[x];
        if (v->first >= peak || v->last <= peak ||
            pass_recompute_bytes(s, v) < pass_recompute_total(s) / TINY)
            continue;
        if (!(propose(s, peak, x, true, &c) || propose(s, peak, x, false, &c)))
            continue;
        if (!found || c.cost * (double)best->gain < best->cost * (double)c.gain ||
            (c.cost * (double)best->gain == best->cost * (double)c.gain && c.gain > best->gain))
            *best = c;
        found = true;
    }
    return found;
}

// ---------------------------------------------------------------- the pass

static void sum_work(const IrGraph *g, int64_t batch, double *products, int *nodes) {
    *products = 0;
    *nodes = 0;
    for (const IrNode *n = g->first; n; n = n->next) {
        *products += pass_recompute_products(n, batch);
        *nodes += !pass_recompute_is_view(n);
    }
}

static int64_t needs(PassContext *ctx, IrGraph *g) {
    PassContext own = *ctx;
    IrArena **scratch = pass_begin_arena(ctx->scratch, g->prog->diag);
    own.scratch = *scratch;
    int64_t bytes = ir_dim_at(pass_memory_needs(&own, g), ctx->opt->recompute->batch);
    pass_end_arena(scratch);
    return bytes;
}

// One change, unless the arena fits. False: it does, or there is no change left.
static bool step(PassContext *ctx, IrGraph *g, RecomputeTwins *twins, int64_t *alive) {
    PassRecompute *r = ctx->opt->recompute;
    RecomputeScene s;
    RecomputeChange c;
    pass_recompute_measure(&s, ctx, g, r->batch, twins);
    *alive = pass_recompute_total(&s);
    bool more = (*alive > r->bytes || needs(ctx, g) > r->bytes) && choose(&s, &c);
    if (more)
        pass_recompute_apply(&s, &c, ctx, twins);
    pass_recompute_leave(&s);
    return more;
}

PassResult pass_recompute(PassContext *ctx, IrGraph *g) {
    PassRecompute *r = ctx->opt->recompute;
    PassResult result = {0};
    if (!r)
        return result;
    RecomputeTwins twins = {0};
    int before, after, tries = 0;
    double products;
    int64_t least = INT64_MAX, alive;
    sum_work(g, r->batch, &r->products, &before);
    r->before = needs(ctx, g);
    while (tries++ < MOST_TRIES && result.changes < MOST_CHANGES && step(ctx, g, &twins, &alive)) {
        result.changes++;
        tries = alive < least ? 0 : tries;
        least = alive < least ? alive : least;
    }
    r->after = needs(ctx, g);
    sum_work(g, r->batch, &products, &after);
    r->again = products - r->products;
    r->results = after - before;
    return result;
}
