// Views: see view.h. The chain is walked up to its source, then down again, axis by axis.
#include "passes/fuse/view.h"

enum { MAX_CHAIN = 12 };

bool pass_view_scale(PassContext *ctx, const IrNode *n, IrValue **of, double *k) {
    for (int i = 0; i < 2; i++) {
        bool right = n->op == IR_OP_MUL || (n->op == IR_OP_DIV && i == 1);
        if (!right || !pass_scalar(ctx, ir_in(n, i), k) ||
            !ir_type_eq(&ir_in(n, 1 - i)->type, &n->out[0]->type))
            continue;
        *of = ir_in(n, 1 - i);
        *k = n->op == IR_OP_DIV ? 1 / *k : *k;
        return true;
    }
    return false;
}

// ---------------------------------------------------------------- down the chain

// Drops the axes of one element, which lie anywhere.
static void drop_ones(PassView *v) {
    int rank = 0;
    for (int i = 0; i < v->rank; i++) {
        if (ir_dim_is(v->size[i], 1))
            continue;
        v->size[rank] = v->size[i];
        v->stride[rank++] = v->stride[i];
    }
    v->rank = rank;
}

// `want` elements, the axis's first of which are those of old axis *at and, where these do not
// suffice, of those behind it, as far as these follow each other. What is left of the last one
// stays at *at.
static bool take_axis(PassView *old, int *at, int64_t want, int64_t *stride) {
    int64_t have = 1;
    while (have < want) {
        if (*at >= old->rank || old->size[*at].n)
            return false;
        int64_t size = old->size[*at].c, part = want / have;
        if (have > 1 && *stride != size * old->stride[*at])
            return false;
        if (size > part) { // the axis is cut: its outer part belongs to this one
            if (have > 1 || size % part)
                return false;
            old->size[*at].c = size / part;
            *stride = old->stride[*at] * old->size[*at].c;
            return true;
        }
        if (want % (have * size))
            return false;
        have *= size;
        *stride = old->stride[(*at)++];
    }
    return true;
}

static bool reshape(PassView *v, const IrShape *to) {
    PassView old = *v;
    int at = 0;
    drop_ones(&old);
    v->rank = to->rank;
    for (int i = 0; i < to->rank; i++) {
        IrDim d = to->dim[i];
        v->size[i] = d;
        v->stride[i] = 0;
        if (ir_dim_is(d, 1))
            continue;
        if (d.n) { // as it is
            if (at >= old.rank || !ir_dim_eq(old.size[at], d))
                return false;
            v->stride[i] = old.stride[at++];
        } else if (!take_axis(&old, &at, d.c, &v->stride[i])) {
            return false;
        }
    }
    return at == old.rank;
}

static bool slice(PassView *v, const IrNode *n) {
    IrInts start = ir_ints(n, IR_ATTR_START), step = ir_ints(n, IR_ATTR_STEP);
    for (int i = 0; i < v->rank; i++) {
        v->offset += start.v[i] * v->stride[i];
        v->stride[i] *= step.n ? step.v[i] : 1;
        v->size[i] = n->out[0]->type.shape.dim[i];
    }
    return true;
}

static bool transpose(PassView *v, const IrNode *n) {
    PassView old = *v;
    IrInts perm = ir_ints(n, IR_ATTR_PERM);
    for (int i = 0; i < v->rank; i++) {
        v->size[i] = old.size[perm.v[i]];
        v->stride[i] = old.stride[perm.v[i]];
    }
    return true;
}

static bool apply(PassView *v, const IrNode *n) {
    if (n->op == IR_OP_RESHAPE)
        return reshape(v, &n->out[0]->type.shape);
    if (n->op == IR_OP_SLICE)
        return slice(v, n);
    if (n->op == IR_OP_TRANSPOSE)
        return transpose(v, n);
    return true; // a factor, which `scale` has
}

// ---------------------------------------------------------------- up

// The value that n views, or NULL
static IrValue *viewed(PassContext *ctx, const IrNode *n, double *scale) {
    IrValue *of;
    double k;
    if (n->op == IR_OP_RESHAPE || n->op == IR_OP_SLICE || n->op == IR_OP_TRANSPOSE)
        return ir_in(n, 0);
    if (!pass_view_scale(ctx, n, &of, &k))
        return NULL;
    *scale *= k;
    return of;
}

static bool begin(PassView *v, IrValue *source) {
    const IrShape *s = &source->type.shape;
    int64_t stride = 1;
    v->source = source;
    v->rank = s->rank;
    for (int i = s->rank - 1; i >= 0; i--) {
        if (i && (s->dim[i].n || s->dim[i].c < 1))
            return false;
        v->size[i] = s->dim[i];
        v->stride[i] = stride;
        if (i && __builtin_mul_overflow(stride, s->dim[i].c, &stride))
            return false;
    }
    return true;
}

bool pass_view(PassContext *ctx, IrValue *value, PassView *v) {
    const IrNode *chain[MAX_CHAIN];
    int n = 0;
    *v = (PassView){.scale = 1};
    IrValue *up;
    while (value->def && n < MAX_CHAIN && (up = viewed(ctx, value->def, &v->scale))) {
        chain[n++] = value->def;
        value = up;
    }
    bool fits = begin(v, value);
    while (n > 0 && fits)
        fits = apply(v, chain[--n]);
    return fits;
}
