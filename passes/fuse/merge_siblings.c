// merge_siblings: 1x1 convolutions that read one tensor become one convolution and slices.
//
//   %a = conv %x, %wa, %ba                  %m = conv %x, [%wa; %wb], [%ba; %bb]
//   %b = conv %x, %wb, %bb           ->     %r = relu %m
//   %ra = relu %a                           %ra = slice %r, channels [0, A)
//   %rb = relu %b                           %rb = slice %r, channels [A, A + B)
//
// The reduce branches of an Inception module: the input is read once, and the tile of output
// channels is wider. Conditions, each because the slices must come for free:
//   - every slice starts at a multiple of opt->block, so that it is a view of whole channel
//     blocks: at most one sibling has an odd channel count, and it comes last
//   - all siblings are followed by the same chain of one-operand activations, which moves above
//     the slices and becomes one epilogue
//   - no result goes straight into a concat: that one wants it in a slice of its own result
// Frozen float32 weights only.

#include "passes/util.h"
#include <string.h>

enum { MAX_SIBLINGS = 8, MAX_CHAIN = 4, MAX_READERS = 64 };

typedef struct Sibling {
    IrNode *conv;
    int n_chain;
    IrNode *chain[MAX_CHAIN];
    IrValue *out; // the end of the chain
} Sibling;

static bool is_pointwise(const IrNode *n) {
    if (n->op != IR_OP_CONV || ir_body(n, IR_ATTR_THEN).n || ir_body(n, IR_ATTR_PRE).n) {
        return false;
    }
    IrWindow w = ir_window(n);
    const IrValue *weights = ir_in(n, 1), *bias = ir_in(n, 2);
    return w.kh == 1 && w.kw == 1 && w.group == 1 && !w.pt && !w.pl && !w.pb && !w.pr &&
           pass_is_frozen(weights) && weights->type.dtype == IR_F32 &&
           n->out[0]->type.dtype == IR_F32 &&
           (!bias || (pass_is_frozen(bias) && bias->type.dtype == IR_F32));
}

static int64_t channels_of(const IrNode *conv) {
    return ir_in(conv, 1)->type.shape.dim[0].c;
}

static bool read_sibling(IrNode *conv, Sibling *s) {
    *s = (Sibling){.conv = conv, .out = conv->out[0]};
    IrNode *user;
    while (s->n_chain < MAX_CHAIN && (user = ir_only_user(s->out)) && user->n_in == 1 &&
           pass_is_eltwise(user)) {
        s->chain[s->n_chain++] = user;
        s->out = user->out[0];
    }
    if (s->out->is_output || !s->out->uses) {
        return false;
    }
    for (const IrUse *u = s->out->uses; u; u = u->next) {
        if (u->node->op == IR_OP_CONCAT) {
            return false;
        }
    }
    return true;
}

static bool same_step(const IrNode *a, const IrNode *b) {
    double pa[2], pb[2];
    ir_step_params(a, pa);
    ir_step_params(b, pb);
    return a->op == b->op && memcmp(pa, pb, sizeof pa) == 0;
}

static bool are_alike(const Sibling *a, const Sibling *b) {
    IrWindow v = ir_window(a->conv), w = ir_window(b->conv);
    bool same = v.sh == w.sh && v.sw == w.sw && a->n_chain == b->n_chain &&
                ir_int(a->conv, IR_ATTR_EXACT, 0) == ir_int(b->conv, IR_ATTR_EXACT, 0);
    for (int i = 0; same && i < a->n_chain; i++) {
        same = same_step(a->chain[i], b->chain[i]);
    }
    return same;
}

// The siblings of first->conv from it on in the list of nodes, in an order whose slices are
// aligned.
static int find_siblings(PassContext *ctx, const PassOrder *order, const Sibling *first,
                         Sibling *out) {
    int n = 0, odd = -1, block = ctx->opt->block > 0 ? ctx->opt->block : 1;
    for (const IrUse *u = ir_in(first->conv, 0)->uses; u && n < MAX_SIBLINGS; u = u->next) {
        Sibling s;
        if (u->index != 0 || !is_pointwise(u->node) || !read_sibling(u->node, &s) ||
            !are_alike(first, &s)) {
            continue;
        }
        bool aligned = channels_of(s.conv) % block == 0;
        if (!aligned && odd >= 0) {
            continue;
        }
        odd = aligned ? odd : n;
        out[n++] = s;
    }
    for (int i = 0; i < n; i++) { // by position, the odd one last
        for (int k = i + 1; k < n; k++) {
            bool i_odd = channels_of(out[i].conv) % block != 0;
            bool k_odd = channels_of(out[k].conv) % block != 0;
            if (i_odd > k_odd ||
                (i_odd == k_odd && pass_at(order, out[i].conv) > pass_at(order, out[k].conv))) {
                Sibling t = out[i];
                out[i] = out[k];
                out[k] = t;
            }
        }
    }
    return n;
}

static void join_weights(PassContext *ctx, const Sibling *s, int n, IrBuilder *b, IrValue **weights,
                         IrValue **bias) {
    int64_t total = 0, inputs = ir_in(s[0].conv, 1)->type.shape.dim[1].c, at = 0;
    bool any_bias = false;
    for (int i = 0; i < n; i++) {
        total += channels_of(s[i].conv);
        any_bias = any_bias || ir_in(s[i].conv, 2);
    }
    float *w, *c; // w [total][inputs]
    const char *name = ir_sprintf(ctx->prog->arena, "%s.weights", b->name);
    *weights = pass_const_f32(ctx, b->graph, name, 4, (int64_t[]){total, inputs, 1, 1}, &w);
    name = ir_sprintf(ctx->prog->arena, "%s.bias", b->name);
    *bias = any_bias ? pass_const_f32(ctx, b->graph, name, 1, &total, &c) : NULL;
    for (int i = 0; i < n; i++) {
        int64_t o = channels_of(s[i].conv);
        IrValue *own = ir_in(s[i].conv, 2);
        memcpy(w + at * inputs, ir_const_data(ctx->prog, ir_in(s[i].conv, 1)->konst),
               (size_t)(o * inputs) * sizeof *w);
        for (int64_t k = 0; own && k < o; k++) {
            c[at + k] = (float)pass_elem(ctx, own, k);
        }
        at += o;
    }
}

static IrValue *build_channels(IrBuilder *b, IrValue *x, int64_t first, int64_t count) {
    const int64_t start[] = {0, first, 0, 0}, step[] = {1, 1, 1, 1};
    IrShape shape = x->type.shape;
    shape.dim[1] = ir_dim(count);
    return ir_build_slice(b, x, start, step, &shape);
}

static void merge(PassContext *ctx, Sibling *s, int n, IrNode *place) {
    const char *name = s[0].conv->name;
    for (int i = 1; i < n; i++) {
        name = ir_join_names(ctx->prog->arena, name, s[i].conv->name);
    }
    IrBuilder b = pass_before(place);
    b.name = name;
    b.src_op = s[0].conv->src_op;
    IrValue *in[3] = {ir_in(s[0].conv, 0)};
    join_weights(ctx, s, n, &b, &in[1], &in[2]);
    IrValue *y = ir_build(&b, IR_OP_CONV, in[2] ? 3 : 2, in, s[0].conv->n_attrs, s[0].conv->attrs);
    for (int k = 0; k < s[0].n_chain; k++) {
        b.name = s[0].chain[k]->name;
        for (int i = 1; i < n; i++) {
            b.name = ir_join_names(ctx->prog->arena, b.name, s[i].chain[k]->name);
        }
        y = pass_rebuild(&b, s[0].chain[k], 1, &y);
    }
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        b.name = s[i].conv->name;
        IrValue *part = build_channels(&b, y, at, channels_of(s[i].conv));
        part->name = s[i].out->name;
        ir_replace_uses(s[i].out, part); // dce takes conv and chain
        at += channels_of(s[i].conv);
    }
}

PassResult pass_merge_siblings(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    PassOrder order = pass_order(ctx, g);
    for (IrNode *n = g->first; n; n = n->next) {
        Sibling first, s[MAX_SIBLINGS];
        if (!is_pointwise(n) || !pass_at(&order, n) || ir_in(n, 0)->n_uses > MAX_READERS ||
            !read_sibling(n, &first)) {
            continue;
        }
        int count = find_siblings(ctx, &order, &first, s);
        if (count >= 2) {
            merge(ctx, s, count, n);
            r.changes += count;
        }
    }
    if (r.changes) {
        pass_dce(ctx, g);
    }
    return r;
}
