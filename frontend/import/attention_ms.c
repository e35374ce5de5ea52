// Attention of com.microsoft: MultiHeadAttention, which is given query, key and value, and
// Attention, which computes them from one input. Unlike that of ai.onnx, a key that a mask hides
// keeps a small weight: mask_filter_value, -10000 by default, is added to its score.
#include "frontend/import/attention.h"

// ---------------------------------------------------------------- masks

// 0 where `seen`, else mask_filter_value.
static IrValue *filter(FeNode *n, IrValue *seen) {
    double value = fe_attr_float(n, "mask_filter_value", -10000);
    IrValue *scalar = n->refused ? NULL : ir_build_scalar(&n->b, IR_F32, value);
    IrValue *zero = n->refused ? NULL : ir_build_scalar(&n->b, IR_F32, 0);
    return fe_build(n, IR_OP_WHERE, FE_IN(seen, zero, scalar), 0, NULL);
}

// Lengths [N], or ends and starts [2N], of the keys that count.
static IrValue *seen_range(FeNode *n, IrValue *mask, IrDim batch, IrDim T) {
    int64_t axis = 0;
    IrValue *key = fe_iota(n, 0, T, 3, 4), *start = NULL;
    mask = fe_cast(n, mask, IR_I64);
    if (!n->refused && !ir_dim_eq(mask->type.shape.dim[0], batch)) {
        IrShape two = {2, {ir_dim(2), batch}}, one = {1, {batch}};
        IrValue *both = fe_reshape(n, mask, &two);
        mask = fe_reshape(n, fe_part(n, both, 0, 0, 1), &one);
        start = fe_reshape(n, fe_part(n, both, 0, 1, 1), &one);
        start = fe_reshape_axes(n, start, 4, (IrInts){1, &axis});
    }
    mask = fe_reshape_axes(n, mask, 4, (IrInts){1, &axis});
    IrValue *seen = fe_bin(n, IR_OP_LESS, key, mask);
    if (start) {
        IrValue *early = fe_bin(n, IR_OP_LESS, key, start);
        seen = fe_bin(n, IR_OP_AND, seen, fe_un(n, IR_OP_NOT, early));
    }
    return seen;
}

// Input i, a mask of the keys: lengths, or 0 for a hidden key, [N,T] or [N,S,T]. What it adds to
// the scores; NULL where it is absent.
static IrValue *read_padding(FeNode *n, int i, IrDim batch, IrDim T) {
    IrValue *mask = fe_operand_or_null(n, i);
    if (n->refused || !mask) {
        return NULL;
    }
    const IrShape *s = &mask->type.shape;
    IrDim twice;
    bool lengths =
        s->rank == 1 && (ir_dim_eq(s->dim[0], batch) ||
                         (ir_dim_mul(batch, ir_dim(2), &twice) && ir_dim_eq(s->dim[0], twice)));
    if (lengths) {
        return filter(n, seen_range(n, mask, batch, T));
    }
    if (s->rank < 2 || s->rank > 3 || !ir_dim_eq(s->dim[s->rank - 1], T)) {
        fe_refuse(n, "NYI: a mask of rank %d, or of another length than the keys", s->rank);
        return NULL;
    }
    int64_t axes[] = {0, s->rank == 2 ? 3 : 2, 3};
    IrValue *hidden = fe_op_const(n, IR_OP_EQUAL, fe_cast(n, mask, IR_I64), 0);
    hidden = fe_reshape_axes(n, hidden, 4, (IrInts){s->rank, axes});
    return filter(n, fe_un(n, IR_OP_NOT, hidden));
}

typedef struct Inputs {
    int mask, bias; // of the keys; to be added to the scores
} Inputs;

// The scores' bias from the masks, and what `unidirectional` leaves of `past` keys and their own.
static void read_masks(FeNode *n, FeAttention *a, Inputs at, int64_t past) {
    if (n->refused) {
        return;
    }
    IrDim S = a->q->type.shape.dim[2], T = a->k->type.shape.dim[2];
    IrValue *padding = read_padding(n, at.mask, a->q->type.shape.dim[0], T);
    a->bias = fe_both(n, padding, fe_operand_or_null(n, at.bias), IR_OP_ADD);
    if (fe_attr_int(n, "unidirectional", 0) && !n->refused) {
        IrValue *offset = ir_build_scalar(&n->b, IR_I64, (double)past);
        a->allowed = fe_window_mask(n, S, T, offset, FE_OPEN, 0);
    }
    a->scale = fe_attr_float(n, "scale", 0);
    a->scale = a->scale == 0 ? fe_default_scale(n, a->q) : a->scale;
}

static int64_t read_heads(FeNode *n) {
    int64_t heads = fe_attr_int(n, "num_heads", 0);
    if (heads < 1) {
        fe_refuse(n, "num_heads is %lld", (long long)heads);
    }
    return heads;
}

static void refuse_inputs(FeNode *n, int from) {
    for (int i = from; i < n->n_in; i++) {
        if (fe_has(n, i)) {
            fe_refuse(n, "NYI: input %d, of a decoder", i);
        }
    }
}

static IrValue *join_past(FeNode *n, IrValue *past, IrValue *now) {
    return fe_build(n, IR_OP_CONCAT, FE_IN(past, now), FE_WITH(ir_attr_i(IR_ATTR_AXIS, 2)));
}

// ---------------------------------------------------------------- MultiHeadAttention

// [N,T,H,count,D]: the one at `which`, as [N,H,T,D]
static IrValue *unpack(FeNode *n, IrValue *x, int64_t count, int64_t which) {
    if (n->refused || x->type.shape.rank != 5 || !ir_dim_is(x->type.shape.dim[3], count)) {
        fe_refuse(n, "a packed input is not [N,T,H,%lld,D]", (long long)count);
        return NULL;
    }
    IrShape s = x->type.shape;
    s.rank = 4;
    s.dim[3] = s.dim[4];
    x = fe_reshape(n, fe_part(n, x, 3, which, 1), &s);
    return fe_transpose(n, x, 4, (int64_t[]){0, 2, 1, 3});
}

// x [N,T,H*D] plus its part of the bias, which begins at *from, by heads.
static IrValue *split_biased(FeNode *n, IrValue *x, int64_t heads, IrValue *bias, int64_t *from) {
    if (n->refused || x->type.shape.rank != 3) {
        fe_refuse(n, "query, key and value are of different forms");
        return NULL;
    }
    int64_t width = x->type.shape.dim[2].c;
    if (bias && (bias->type.shape.rank != 1 || *from + width > bias->type.shape.dim[0].c)) {
        fe_refuse(n, "its bias is too short");
        return NULL;
    }
    x = bias ? fe_bin(n, IR_OP_ADD, x, fe_part(n, bias, 0, *from, width)) : x;
    *from += width;
    return fe_split_heads(n, x, heads);
}

static void read_heads_of(FeNode *n, FeAttention *a, int64_t heads) {
    IrValue *q = fe_operand(n, 0), *k = fe_operand_or_null(n, 1), *v = fe_operand_or_null(n, 2);
    IrValue *bias = fe_operand_or_null(n, 3);
    if (n->refused) {
        return;
    }
    bool packed = q->type.shape.rank == 5, packed_kv = k && k->type.shape.rank == 5;
    bool by_heads = k && k->type.shape.rank == 4;
    if (bias && (packed || packed_kv || by_heads)) {
        fe_refuse(n, "NYI: a bias for packed inputs, or for keys by heads");
    } else if (!packed && (!k || (!packed_kv && !v))) {
        fe_refuse(n, "key or value is missing");
    }
    int64_t at = 0;
    a->q = packed ? unpack(n, q, 3, 0) : split_biased(n, q, heads, bias, &at);
    if (packed || packed_kv) {
        int64_t count = packed ? 3 : 2;
        a->k = unpack(n, packed ? q : k, count, count - 2);
        a->v = unpack(n, packed ? q : k, count, count - 1);
    } else {
        a->k = by_heads ? k : split_biased(n, k, heads, bias, &at);
        a->v = by_heads ? v : split_biased(n, v, heads, bias, &at);
    }
}

// MultiHeadAttention-1: query, key, value, bias, mask of keys, bias of scores, past key and value
void fe_import_multi_head_attention(FeNode *n) {
    FeAttention a = {0};
    int64_t past = 0;
    read_heads_of(n, &a, read_heads(n));
    refuse_inputs(n, 8);
    if (!n->refused && fe_has(n, 6) && fe_has(n, 7)) {
        past = -a.k->type.shape.dim[2].c;
        a.k = join_past(n, fe_operand(n, 6), a.k);
        a.v = join_past(n, fe_operand(n, 7), a.v);
        past += n->refused ? 0 : a.k->type.shape.dim[2].c;
    } else if (fe_has(n, 6) || fe_has(n, 7)) {
        fe_refuse(n, "past_key and past_value must be given together");
    }
    read_masks(n, &a, (Inputs){4, 5}, past);
    fe_out(n, 0, fe_join_heads(n, fe_attend(n, &a)));
    IrValue *const more[] = {a.k, a.v, a.stage[3]};
    for (int i = 0; i < 3; i++) {
        if (fe_used(n, 1 + i)) {
            fe_out(n, 1 + i, fe_un(n, IR_OP_COPY, more[i]));
        }
    }
}

// ---------------------------------------------------------------- Attention

// The widths of Q, K and V in the weights.
static bool read_widths(FeNode *n, const IrValue *w, int64_t *width) {
    IrInts given = fe_attr_ints(n, "qkv_hidden_sizes");
    if (n->refused || w->type.shape.rank != 2 || w->type.shape.dim[1].n) {
        fe_refuse(n, "its weights are no matrix");
        return false;
    }
    int64_t all = w->type.shape.dim[1].c, left = all;
    for (int i = 0; i < 3; i++) {
        width[i] = given.n == 3 ? given.v[i] : all / 3;
        if (width[i] < 1 || width[i] > left || (given.n && given.n != 3)) {
            fe_refuse(n, "qkv_hidden_sizes do not fit the weights");
            return false;
        }
        left -= width[i];
    }
    if (left) {
        fe_refuse(n, "its weights have %lld columns, which are not those of query, key and value",
                  (long long)all);
    }
    return !n->refused;
}

// past [2,N,H,P,D]: keys (0) or values (1)
static IrValue *half_of_past(FeNode *n, IrValue *past, int64_t which) {
    if (n->refused || past->type.shape.rank != 5) {
        fe_refuse(n, "past is not [2,N,H,P,D]");
        return NULL;
    }
    const IrDim *d = past->type.shape.dim;
    return fe_reshape(n, fe_part(n, past, 0, which, 1), &(IrShape){4, {d[1], d[2], d[3], d[4]}});
}

static IrValue *stack(FeNode *n, IrValue *k, IrValue *v) {
    if (n->refused) {
        return NULL;
    }
    const IrDim *d = k->type.shape.dim;
    IrShape one = {5, {ir_dim(1), d[0], d[1], d[2], d[3]}};
    k = fe_reshape(n, k, &one);
    v = fe_reshape(n, v, &one);
    return fe_build(n, IR_OP_CONCAT, FE_IN(k, v), FE_WITH(ir_attr_i(IR_ATTR_AXIS, 0)));
}

// Query, key and value, from x times the weights [C,Q+K+V] plus the bias, by heads.
static void project(FeNode *n, FeAttention *a, int64_t heads) {
    IrValue *x = fe_operand(n, 0), *w = fe_operand(n, 1), *bias = fe_operand_or_null(n, 2);
    IrValue **to[] = {&a->q, &a->k, &a->v};
    int64_t width[3], from = 0;
    if (n->refused || !read_widths(n, w, width)) {
        return;
    }
    x = fe_matmul(n, x, w);
    x = bias ? fe_bin(n, IR_OP_ADD, x, bias) : x;
    for (int i = 0; i < 3; i++) {
        *to[i] = n->refused ? NULL : fe_split_heads(n, fe_part(n, x, 2, from, width[i]), heads);
        from += width[i];
    }
}

// Attention-1: x, weights, bias, mask of keys, past, bias of scores
void fe_import_attention_ms(FeNode *n) {
    FeAttention a = {0};
    int64_t past = 0;
    IrValue *x = fe_operand(n, 0);
    if (!n->refused && x->type.shape.rank != 3) {
        fe_refuse(n, "input of rank %d", x->type.shape.rank);
    }
    project(n, &a, read_heads(n));
    refuse_inputs(n, 6);
    if (fe_attr_int(n, "do_rotary", 0) || fe_attr_int(n, "past_present_share_buffer", 0)) {
        fe_refuse(n, "NYI: do_rotary and past_present_share_buffer");
    }
    if (!n->refused && fe_has(n, 4)) {
        IrValue *before = fe_operand(n, 4);
        past = -a.k->type.shape.dim[2].c;
        a.k = join_past(n, half_of_past(n, before, 0), a.k);
        a.v = join_past(n, half_of_past(n, before, 1), a.v);
        past += n->refused ? 0 : a.k->type.shape.dim[2].c;
    }
    read_masks(n, &a, (Inputs){3, 5}, past);
    fe_out(n, 0, fe_join_heads(n, fe_attend(n, &a)));
    if (fe_used(n, 1)) {
        fe_out(n, 1, stack(n, a.k, a.v));
    }
}
