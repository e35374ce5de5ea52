// fuse_shuffle: channel shuffles become one op that picks channels, and most of it is taken over by
// the weights of the convolutions that read it.
//
//   before  %j = concat %a, %b {axis=1}                          // 58 and 58 channels
//           %r = reshape %j {shape=[N,2,58,28,28]}
//           %t = transpose %r {perm=[0,2,1,3,4]}
//           %s = reshape %t {shape=[N,116,28,28]}
//           %p = slice %s {start=[0,0,0,0], ...}                 // goes into the next concat
//           %q = slice %s {start=[0,58,0,0], ...}
//           %y = conv %q, %w
//   after   %p = shuffle %a, %b {channels=[0,58,1,59,...]}
//           %q = shuffle %a, %b {channels=[29,30,...,87,88,...]} // in order of the sources
//           %y = conv %q, %w.p                                   // its input channels too
//
// First, what only moves channels becomes a shuffle: reshape-transpose-reshape, a gather along axis
// 1 by constants, a slice of channels from a shuffle. A shuffle reads through the shuffles, concats
// and slices of channels above it where nobody else needs those: a channel that ShuffleNet v2
// passes on from unit to unit is moved once, when it is read.
//
// Then, where all readers are convolutions with frozen weights, the channels are brought into the
// order of their sources, which makes runs of them, and the weights' input channels into the same
// order: within a group, where there are groups. Depthwise convolutions hand the new order on to
// their own readers.

#include "passes/util.h"
#include <stdlib.h>
#include <string.h>

// ---------------------------------------------------------------- what only moves channels

static bool is_image(const IrValue *v) {
    const IrType *t = &v->type;
    return t->dtype == IR_F32 && t->shape.rank == 4 && t->shape.dim[1].n == 0;
}

static int64_t channels_of(const IrValue *v) {
    return v->type.shape.dim[1].c;
}

// x of reshape(transpose(reshape x)) that turns [g, C/g] channels into [C/g, g]; NULL else.
static IrValue *find_shuffled(const IrNode *n, int64_t *groups) {
    IrNode *transpose = n->op == IR_OP_RESHAPE ? pass_def(ir_in(n, 0), IR_OP_TRANSPOSE) : NULL;
    IrNode *split = transpose ? pass_def(ir_in(transpose, 0), IR_OP_RESHAPE) : NULL;
    IrValue *x = split ? ir_in(split, 0) : NULL;
    if (!x || !is_image(x) || !ir_shape_eq(&x->type.shape, &n->out[0]->type.shape)) {
        return NULL;
    }
    static const int64_t swap[] = {0, 2, 1, 3, 4};
    const IrShape *to = &split->out[0]->type.shape, *from = &x->type.shape;
    IrInts perm = ir_ints(transpose, IR_ATTR_PERM);
    if (to->rank != 5 || perm.n != 5 || memcmp(perm.v, swap, sizeof swap) != 0 || to->dim[1].n ||
        to->dim[2].n || !ir_dim_eq(to->dim[0], from->dim[0]) ||
        !ir_dim_eq(to->dim[3], from->dim[2]) || !ir_dim_eq(to->dim[4], from->dim[3])) {
        return NULL;
    }
    *groups = to->dim[1].c;
    return x;
}

// With indices that the shape rule has checked.
static bool is_channel_gather(const IrNode *n) {
    const IrValue *index = n->op == IR_OP_GATHER ? ir_in(n, 1) : NULL;
    return index && is_image(ir_in(n, 0)) && ir_int(n, IR_ATTR_AXIS, 0) == 1 &&
           pass_is_frozen(index) && index->konst->kind != IR_CONST_RAND &&
           index->type.shape.rank == 1;
}

// A slice of channels and of nothing else.
static bool is_channel_slice(const IrNode *n) {
    if (n->op != IR_OP_SLICE || !is_image(ir_in(n, 0)) || n->out[0]->type.shape.dim[1].n) {
        return false;
    }
    const IrShape *x = &ir_in(n, 0)->type.shape, *y = &n->out[0]->type.shape;
    IrInts start = ir_ints(n, IR_ATTR_START), step = ir_ints(n, IR_ATTR_STEP);
    for (int i = 0; i < 4; i++) {
        if (i != 1 && (start.v[i] != 0 || step.v[i] != 1 || !ir_dim_eq(x->dim[i], y->dim[i]))) {
            return false;
        }
    }
    return true;
}

static bool is_channel_concat(const IrNode *n) {
    return n->op == IR_OP_CONCAT && ir_int(n, IR_ATTR_AXIS, 0) == 1 && is_image(n->out[0]);
}

static IrValue *build_shuffle(IrNode *at, int n_in, IrValue *const *in, int n,
                              const int64_t *channels) {
    IrBuilder b = pass_before(at);
    IrAttr attr = ir_attr_ints(at->graph->prog->arena, IR_ATTR_CHANNELS, n, channels);
    IrValue *v = ir_build(&b, IR_OP_SHUFFLE, n_in, in, 1, &attr);
    if (!v) {
        ir_bug("fuse_shuffle", at->name, "%s", b.err);
    }
    return v;
}

// Puts a shuffle in the place of a node that is one. NULL: it is none.
static IrNode *make_shuffle(PassContext *ctx, IrNode *n) {
    int64_t groups = 0;
    IrValue *x = find_shuffled(n, &groups);
    bool gather = !x && is_channel_gather(n), slice = !x && !gather && is_channel_slice(n);
    if ((!x && !gather && !slice) || channels_of(n->out[0]) > INT32_MAX) {
        return NULL;
    }
    int count = (int)channels_of(n->out[0]);
    int64_t *from = ir_alloc_array(ctx->scratch, (size_t)count, sizeof *from);
    for (int c = 0; c < count && x; c++) {
        from[c] = c % groups * (count / groups) + c / groups;
    }
    for (int c = 0; c < count && slice; c++) {
        from[c] = ir_ints(n, IR_ATTR_START).v[1] + c * ir_ints(n, IR_ATTR_STEP).v[1];
    }
    for (int c = 0; c < count && gather; c++) {
        int64_t index = (int64_t)pass_elem(ctx, ir_in(n, 1), c);
        from[c] = index < 0 ? index + channels_of(ir_in(n, 0)) : index;
    }
    x = x ? x : ir_in(n, 0);
    IrValue *y = build_shuffle(n, 1, &x, count, from);
    pass_forward(n, y);
    return y->def;
}

// ---------------------------------------------------------------- reading through

// The readers of v that move channels alone; all of them, so that nobody needs v itself.
static bool dissolves(const IrValue *v, bool through_concat) {
    bool all = !v->is_output && v->uses;
    for (const IrUse *u = v->uses; u && all; u = u->next) {
        const IrNode *n = u->node;
        all = n->op == IR_OP_SHUFFLE || is_channel_slice(n) ||
              (through_concat && is_channel_concat(n) && dissolves(n->out[0], false));
    }
    return all;
}

// v is made by a node that a shuffle can read through.
static bool is_open(const IrValue *v) {
    const IrNode *n = v->def;
    return n && (n->op == IR_OP_SHUFFLE || is_channel_concat(n) || is_channel_slice(n)) &&
           dissolves(v, true);
}

// Where a channel comes from.
typedef struct Source {
    IrValue *v;
    int64_t channel;
} Source;

static Source find_operand(const IrNode *n, int64_t channel) {
    int i = 0;
    while (channel >= channels_of(ir_in(n, i))) {
        channel -= channels_of(ir_in(n, i++));
    }
    return (Source){ir_in(n, i), channel};
}

static Source find_source(const IrNode *shuffle, int c, bool *deeper) {
    Source s = find_operand(shuffle, ir_ints(shuffle, IR_ATTR_CHANNELS).v[c]);
    while (is_open(s.v)) {
        const IrNode *n = s.v->def;
        *deeper = true;
        if (n->op == IR_OP_SLICE) {
            int64_t start = ir_ints(n, IR_ATTR_START).v[1], step = ir_ints(n, IR_ATTR_STEP).v[1];
            s = (Source){ir_in(n, 0), start + s.channel * step};
        } else if (n->op == IR_OP_CONCAT) {
            s = find_operand(n, s.channel);
        } else {
            s = find_operand(n, ir_ints(n, IR_ATTR_CHANNELS).v[s.channel]);
        }
    }
    return s;
}

// Sources as operands, each once, and channels of these joined.
static IrNode *rebuild_shuffle(PassContext *ctx, IrNode *n, const Source *from) {
    int count = ir_ints(n, IR_ATTR_CHANNELS).n, n_in = 0, cap = 0;
    IrValue **in = NULL;
    int64_t *base = ir_alloc_array(ctx->scratch, (size_t)count + 1, sizeof *base);
    int64_t *channels = ir_alloc_array(ctx->scratch, (size_t)count, sizeof *channels);
    for (int c = 0; c < count; c++) {
        int i = 0;
        while (i < n_in && in[i] != from[c].v) {
            i++;
        }
        if (i == n_in) {
            base[n_in + 1] = base[n_in] + channels_of(from[c].v);
            IR_PUSH(ctx->scratch, in, n_in, cap, from[c].v);
        }
        channels[c] = base[i] + from[c].channel;
    }
    IrValue *y = build_shuffle(n, n_in, in, count, channels);
    pass_forward(n, y);
    return y->def;
}

static IrNode *read_through(PassContext *ctx, IrNode *n, bool *changed) {
    int count = ir_ints(n, IR_ATTR_CHANNELS).n;
    Source *from = ir_alloc_array(ctx->scratch, (size_t)count, sizeof *from);
    *changed = false;
    for (int c = 0; c < count; c++) {
        from[c] = find_source(n, c, changed);
    }
    return *changed ? rebuild_shuffle(ctx, n, from) : n;
}

// ---------------------------------------------------------------- orders that weights take over

enum { MAX_DEPTH = 8 };

static bool is_depthwise(const IrNode *conv) {
    int64_t group = ir_int(conv, IR_ATTR_GROUP, 1);
    return group > 1 && group == channels_of(ir_in(conv, 0)) && group == channels_of(conv->out[0]);
}

static bool has_open_order(const IrValue *v, int64_t *within, int depth);

// The convolution's weights can follow a new order of its input channels.
static bool can_follow(const IrUse *u, int64_t *within, int depth) {
    const IrNode *n = u->node;
    if (n->op != IR_OP_CONV || u->index != 0 || !pass_is_frozen(ir_in(n, 1)) ||
        ir_in(n, 1)->type.dtype != IR_F32 || ir_body(n, IR_ATTR_PRE).n) {
        return false;
    }
    if (is_depthwise(n)) {
        for (int i = 3; i < n->n_in; i++) {
            if (!ir_const_is_scalar(ir_in(n, i))) {
                return false;
            }
        }
        return (!ir_in(n, 2) || pass_is_frozen(ir_in(n, 2))) &&
               has_open_order(n->out[0], within, depth - 1);
    }
    int64_t group = channels_of(ir_in(n, 0)) / ir_int(n, IR_ATTR_GROUP, 1);
    if (*within % group != 0 && group % *within != 0) {
        return false;
    }
    *within = group < *within ? group : *within;
    return true;
}

// v's channels may stand in any order within runs of *within, which is made as small as its readers
// need it.
static bool has_open_order(const IrValue *v, int64_t *within, int depth) {
    bool all = depth > 0 && !v->is_output && v->uses && channels_of(v) > 0;
    for (const IrUse *u = v->uses; u && all; u = u->next) {
        all = can_follow(u, within, depth);
    }
    return all;
}

// w [O, C/group, ...] or bias [O]: `axis` in the order, group by group.
static IrValue *reorder_const(PassContext *ctx, const IrNode *conv, IrValue *v, int axis,
                              int groups, const int64_t *order) {
    const IrShape *s = &v->type.shape;
    int64_t dims[IR_MAX_RANK], inner = 1;
    for (int i = 0; i < s->rank; i++) {
        dims[i] = s->dim[i].c;
        inner *= i > axis ? dims[i] : 1;
    }
    const float *x = ir_const_data(ctx->prog, v->konst);
    float *to;
    char *name = ir_sprintf(ctx->prog->arena, "%s.order", v->konst->name);
    IrValue *y = pass_const_f32(ctx, conv->graph, name, s->rank, dims, &to);
    int64_t outer = axis ? dims[0] : 1, size = dims[axis], each = outer / groups;
    for (int64_t o = 0; o < outer; o++) {
        int64_t first = axis ? o / each * size : 0;
        for (int64_t i = 0; i < size; i++) {
            int64_t k = order[first + i] - first;
            memcpy(to + (o * size + i) * inner, x + (o * size + k) * inner,
                   (size_t)inner * sizeof *to);
        }
    }
    return y;
}

// Channel i of v now is what channel order[i] was.
static void follow_order(PassContext *ctx, IrValue *v, const int64_t *order) {
    for (IrUse *u = v->uses; u; u = u->next) {
        IrNode *n = u->node;
        if (!is_depthwise(n)) {
            int groups = (int)ir_int(n, IR_ATTR_GROUP, 1);
            ir_set_in(n, 1, reorder_const(ctx, n, ir_in(n, 1), 1, groups, order));
            continue;
        }
        ir_set_in(n, 1, reorder_const(ctx, n, ir_in(n, 1), 0, 1, order));
        if (ir_in(n, 2)) {
            ir_set_in(n, 2, reorder_const(ctx, n, ir_in(n, 2), 0, 1, order));
        }
        follow_order(ctx, n->out[0], order);
    }
}

typedef struct Place {
    int64_t run, from, at; // of a channel: the run it stays in, its source, where it is
} Place;

static int compare_places(const void *a, const void *b) {
    const Place *x = a, *y = b;
    int64_t d = x->run != y->run     ? x->run - y->run
                : x->from != y->from ? x->from - y->from
                                     : x->at - y->at;
    return d < 0 ? -1 : d > 0;
}

static bool sort_channels(PassContext *ctx, IrNode *n) {
    IrInts channels = ir_ints(n, IR_ATTR_CHANNELS);
    int64_t within = channels.n;
    if (!has_open_order(n->out[0], &within, MAX_DEPTH)) {
        return false;
    }
    size_t count = (size_t)channels.n;
    Place *place = ir_alloc_array(ctx->scratch, count, sizeof *place);
    int64_t *order = ir_alloc_array(ctx->scratch, count, sizeof *order), *sorted;
    bool moves = false;
    for (int64_t c = 0; c < channels.n; c++) {
        place[c] = (Place){c / within, channels.v[c], c};
    }
    qsort(place, count, sizeof *place, compare_places);
    sorted = ir_alloc_array(ctx->scratch, count, sizeof *sorted);
    for (int64_t c = 0; c < channels.n; c++) {
        order[c] = place[c].at;
        sorted[c] = place[c].from;
        moves = moves || order[c] != c;
    }
    if (moves) {
        ir_set_attr(n, ir_attr_ints(ctx->prog->arena, IR_ATTR_CHANNELS, channels.n, sorted));
        follow_order(ctx, n->out[0], order);
    }
    return moves;
}

// ---------------------------------------------------------------- the pass

// A shuffle of one run of one operand: the operand, or a slice of it.
static bool drop_shuffle(IrNode *n) {
    IrInts from = ir_ints(n, IR_ATTR_CHANNELS);
    for (int c = 1; c < from.n; c++) {
        if (from.v[c] != from.v[0] + c) {
            return false;
        }
    }
    IrValue *x = ir_in(n, 0);
    if (from.n == 0 || n->n_in != 1) {
        return false;
    }
    if (from.n == channels_of(x)) {
        pass_forward(n, x);
        return true;
    }
    int64_t start[] = {0, from.v[0], 0, 0}, step[] = {1, 1, 1, 1};
    IrBuilder b = pass_before(n);
    IrValue *y = ir_build_slice(&b, x, start, step, &n->out[0]->type.shape);
    if (!y) {
        ir_bug("fuse_shuffle", n->name, "%s", b.err);
    }
    pass_forward(n, y);
    return true;
}

PassResult pass_fuse_shuffle(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    bool changed;
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        r.changes += n->op != IR_OP_SLICE && make_shuffle(ctx, n);
    }
    pass_dce(ctx, g);
    for (IrNode *n = g->first; n; n = n->next) {
        if (is_channel_slice(n) && pass_def(ir_in(n, 0), IR_OP_SHUFFLE) && is_open(ir_in(n, 0))) {
            n = make_shuffle(ctx, n);
        }
        if (n->op == IR_OP_SHUFFLE) {
            n = read_through(ctx, n, &changed);
            r.changes += changed;
        }
    }
    if (r.changes) {
        pass_dce(ctx, g);
    }
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (n->op == IR_OP_SHUFFLE) {
            r.changes += sort_channels(ctx, n);
            r.changes += drop_shuffle(n);
        }
    }
    return r;
}
