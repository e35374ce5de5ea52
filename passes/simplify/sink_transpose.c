// sink_transpose: transposes move down through whatever works in either order, until they meet
// their inverse and canonicalize drops both.
//
//   %t = transpose %x {perm=[0,2,3,1]}           %a = add %x, %k'      k' = transpose %k
//   %a = add %t, %k                         ->   %r = relu %a
//   %r = relu %a                                 %t = transpose %r {perm=[0,2,3,1]}
//   %u = transpose %r {perm=[0,3,1,2]}           %u = transpose %t {perm=[0,3,1,2]}    (= %r)
//
// This is how NHWC graphs of TensorFlow exporters, where each convolution stands between two
// transposes, come to have none in their body.
//
// A node is taken when its operands are transposes by one permutation, constants, or values that
// the inverse permutation merely reshapes (only axes of size 1 move); and when everybody who reads
// the transposed value could take it too, so that no transpose is left behind beside the new one.

#include "passes/util.h"

typedef struct Sink {
    PassContext *ctx;
    IrNode *n;
    int rank;
    int64_t perm[IR_MAX_RANK]; // of the transposes above: out axis i is in axis perm[i]
    int64_t inverse[IR_MAX_RANK];
} Sink;

static bool is_eltwise(const IrNode *n) {
    return (ir_op_info(n->op)->flags & IR_FLAG_E) || n->op == IR_OP_COPY ||
           n->op == IR_OP_QUANTIZE || n->op == IR_OP_DEQUANTIZE;
}

static bool is_sinkable(const IrNode *n) {
    return is_eltwise(n) || n->op == IR_OP_CONCAT || n->op == IR_OP_PAD || n->op == IR_OP_SLICE ||
           n->op == IR_OP_SOFTMAX || n->op == IR_OP_LOG_SOFTMAX ||
           (pass_is_reduce(n) && ir_body(n, IR_ATTR_THEN).n == 0);
}

enum { MAX_READERS = 256 }; // each of them looks at all the others

static bool users_follow(const IrValue *t) {
    if (t->is_output || t->n_uses > MAX_READERS) {
        return false;
    }
    for (const IrUse *u = t->uses; u; u = u->next) {
        if (u->node->op != IR_OP_TRANSPOSE && !is_sinkable(u->node)) {
            return false;
        }
    }
    return true;
}

// Takes the permutation of the first operand that is a worthwhile transpose.
static bool init_sink(Sink *s, PassContext *ctx, IrNode *n) {
    *s = (Sink){.ctx = ctx, .n = n};
    for (int i = 0; i < n->n_in; i++) {
        IrNode *t = pass_def(ir_in(n, i), IR_OP_TRANSPOSE);
        if (!t || !users_follow(t->out[0]) ||
            (is_eltwise(n) && !ir_shape_eq(&t->out[0]->type.shape, &n->out[0]->type.shape))) {
            continue;
        }
        IrInts perm = ir_ints(t, IR_ATTR_PERM);
        s->rank = perm.n;
        for (int k = 0; k < perm.n; k++) {
            s->perm[k] = perm.v[k];
            s->inverse[perm.v[k]] = k;
        }
        return true;
    }
    return false;
}

// The inverse permutation of v moves only axes of size 1, so that it is a reshape.
static bool moves_nothing(const Sink *s, const IrShape *shape) {
    int64_t last = -1;
    for (int i = 0; i < s->rank; i++) {
        if (!ir_dim_is(shape->dim[s->inverse[i]], 1)) {
            if (s->inverse[i] < last) {
                return false;
            }
            last = s->inverse[i];
        }
    }
    return true;
}

// Whether operand v can be had in the order that it has above the transpose.
static bool can_lift(const Sink *s, IrValue *v) {
    const IrShape *shape = &v->type.shape;
    IrNode *t = pass_def(v, IR_OP_TRANSPOSE);
    if (t) {
        IrInts perm = ir_ints(t, IR_ATTR_PERM);
        bool same = perm.n == s->rank;
        for (int i = 0; same && i < s->rank; i++) {
            same = perm.v[i] == s->perm[i];
        }
        return same && users_follow(v);
    }
    if (pass_is_frozen(v)) {
        return is_eltwise(s->n) || shape->rank == s->rank;
    }
    return shape->rank == s->rank && moves_nothing(s, shape);
}

static IrValue *lift(const Sink *s, IrBuilder *b, IrValue *v) {
    if (pass_def(v, IR_OP_TRANSPOSE)) {
        return ir_in(v->def, 0);
    }
    if (v->type.shape.rank < s->rank) { // a constant that broadcasts: leading axes of size 1
        if (ir_const_is_scalar(v)) {
            return v;
        }
        IrShape full = {.rank = s->rank};
        for (int i = 0; i < s->rank; i++) {
            int from = i - (s->rank - v->type.shape.rank);
            full.dim[i] = from < 0 ? ir_dim(1) : v->type.shape.dim[from];
        }
        v = pass_const_reshaped(s->ctx, s->n->graph, v, &full);
    }
    return ir_build_transpose(b, v, s->rank, s->inverse);
}

// ---------------------------------------------------------------- attributes in the order above

// Values per axis (one list, or begins then ends) in the order above.
static IrAttr permute_list(const Sink *s, IrAttrKey key, const int64_t *v, int lists) {
    int64_t out[2 * IR_MAX_RANK];
    for (int l = 0; l < lists; l++) {
        for (int i = 0; i < s->rank; i++) {
            out[l * s->rank + s->perm[i]] = v[l * s->rank + i];
        }
    }
    return ir_attr_ints(s->ctx->prog->arena, key, lists * s->rank, out);
}

static IrAttr permute_axes(const Sink *s, IrInts axes) {
    int64_t out[IR_MAX_RANK];
    int n = 0;
    for (int above = 0; above < s->rank; above++) {
        for (int i = 0; i < axes.n; i++) {
            if (s->perm[axes.v[i]] == above) {
                out[n++] = above;
            }
        }
    }
    return ir_attr_ints(s->ctx->prog->arena, IR_ATTR_AXES, n, out);
}

static IrAttr permute_shape(const Sink *s, const IrShape *shape) {
    IrShape out = {.rank = s->rank};
    for (int i = 0; i < s->rank; i++) {
        out.dim[s->perm[i]] = shape->dim[i];
    }
    return ir_attr_dims(IR_ATTR_SHAPE, &out);
}

static IrAttr permute_attr(const Sink *s, const IrAttr *a) {
    switch (a->key) {
    case IR_ATTR_AXIS:
        return ir_attr_i(IR_ATTR_AXIS, s->perm[a->i]);
    case IR_ATTR_AXES:
        return permute_axes(s, a->ints);
    case IR_ATTR_PAD:
        return permute_list(s, a->key, a->ints.v, 2);
    case IR_ATTR_START:
    case IR_ATTR_STEP:
        return permute_list(s, a->key, a->ints.v, 1);
    case IR_ATTR_SHAPE:
        return permute_shape(s, &a->dims);
    default:
        return *a;
    }
}

// The transpose that stands below: by perm, or, where a reduction dropped axes, by what is left of
// it.
static int permute_below(const Sink *s, int64_t *perm) {
    IrInts axes = ir_ints(s->n, IR_ATTR_AXES);
    bool keep = !pass_is_reduce(s->n) || ir_int(s->n, IR_ATTR_KEEPDIMS, 1);
    int64_t rank_above[IR_MAX_RANK]; // axis above -> axis above after the reduction
    bool dropped[IR_MAX_RANK] = {false};
    for (int i = 0; !keep && i < axes.n; i++) {
        dropped[s->perm[axes.v[i]]] = true;
    }
    int64_t left = 0;
    for (int i = 0; i < s->rank; i++) {
        rank_above[i] = left;
        left += !dropped[i];
    }
    int n = 0;
    for (int i = 0; i < s->rank; i++) {
        if (!dropped[s->perm[i]]) {
            perm[n++] = rank_above[s->perm[i]];
        }
    }
    return n;
}

static bool sink_node(PassContext *ctx, IrNode *n) {
    Sink s;
    if (!is_sinkable(n) || !init_sink(&s, ctx, n)) {
        return false;
    }
    for (int i = 0; i < n->n_in; i++) {
        if (!ir_in(n, i) || !can_lift(&s, ir_in(n, i))) {
            return false;
        }
    }
    IrBuilder b = pass_before(n);
    IrValue **in = ir_alloc_array(ctx->scratch, (size_t)n->n_in, sizeof *in);
    for (int i = 0; i < n->n_in; i++) {
        in[i] = lift(&s, &b, ir_in(n, i));
    }
    IrAttr *attrs = ir_alloc_array(ctx->scratch, (size_t)n->n_attrs, sizeof *attrs);
    for (int i = 0; i < n->n_attrs; i++) {
        attrs[i] = permute_attr(&s, &n->attrs[i]);
    }
    IrValue *y = ir_build(&b, n->op, n->n_in, in, n->n_attrs, attrs);
    if (!y) {
        return false;
    }
    int64_t perm[IR_MAX_RANK];
    int rank = permute_below(&s, perm);
    pass_forward(n, ir_build_transpose(&b, y, rank, perm));
    return true;
}

PassResult pass_sink_transpose(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        r.changes += sink_node(ctx, n);
    }
    return r;
}
