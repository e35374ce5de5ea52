// Attention and RotaryEmbedding of ai.onnx, and what they share with those of com.microsoft,
// written out in products and softmax.
#include "frontend/import/attention.h"

#include <math.h>
#include <string.h>

// ---------------------------------------------------------------- heads

IrValue *fe_split_heads(FeNode *n, IrValue *x, int64_t heads) {
    if (n->refused) {
        return NULL;
    }
    const IrShape *s = &x->type.shape;
    if (s->rank != 3 || heads < 1 || s->dim[2].n || s->dim[2].c % heads) {
        fe_refuse(n, "%lld heads do not divide an input of rank %d", (long long)heads, s->rank);
        return NULL;
    }
    IrShape split = {4, {s->dim[0], s->dim[1], ir_dim(heads), ir_dim(s->dim[2].c / heads)}};
    return fe_transpose(n, fe_reshape(n, x, &split), 4, (int64_t[]){0, 2, 1, 3});
}

IrValue *fe_join_heads(FeNode *n, IrValue *x) {
    x = fe_transpose(n, x, 4, (int64_t[]){0, 2, 1, 3});
    if (n->refused) {
        return NULL;
    }
    const IrShape *s = &x->type.shape;
    return fe_reshape(n, x, &(IrShape){3, {s->dim[0], s->dim[1], fe_dim_product(n, s, 2, 4)}});
}

// [N,K,T,D] -> [N,K*each,T,D], each head `each` times
static IrValue *repeat_heads(FeNode *n, IrValue *x, int64_t each) {
    if (n->refused || each == 1) {
        return x;
    }
    IrShape s = x->type.shape;
    IrShape one = {5, {s.dim[0], s.dim[1], ir_dim(1), s.dim[2], s.dim[3]}}, many = one;
    many.dim[2] = ir_dim(each);
    x = fe_build(n, IR_OP_EXPAND, FE_IN(fe_reshape(n, x, &one)),
                 FE_WITH(ir_attr_dims(IR_ATTR_SHAPE, &many)));
    s.dim[1].c *= each;
    return n->refused ? NULL : fe_reshape(n, x, &s);
}

double fe_default_scale(FeNode *n, const IrValue *q) {
    int rank = n->refused ? 0 : q->type.shape.rank;
    return rank && q->type.shape.dim[rank - 1].c > 0
               ? 1 / sqrt((double)q->type.shape.dim[rank - 1].c)
               : 1;
}

// ---------------------------------------------------------------- masks

IrValue *fe_both(FeNode *n, IrValue *a, IrValue *b, IrOp op) {
    return a && b ? fe_bin(n, op, a, b) : a ? a : b;
}

static IrValue *not_above(FeNode *n, IrValue *a, IrValue *b) { // a <= b
    return fe_un(n, IR_OP_NOT, fe_bin(n, IR_OP_GREATER, a, b));
}

IrValue *fe_window_mask(FeNode *n, IrDim S, IrDim T, IrValue *offset, int64_t low, int64_t high) {
    IrValue *at = fe_iota(n, 0, S, 0, 2), *key = fe_iota(n, 0, T, 1, 2), *mask = NULL;
    at = fe_both(n, at, offset, IR_OP_ADD);
    if (low != FE_OPEN) {
        mask = not_above(n, fe_op_const(n, IR_OP_ADD, at, (double)low), key);
    }
    if (high != FE_OPEN) {
        IrValue *most = fe_op_const(n, IR_OP_ADD, at, (double)high);
        mask = fe_both(n, mask, not_above(n, key, most), IR_OP_AND);
    }
    return mask;
}

// ---------------------------------------------------------------- the products

static bool check_operands(FeNode *n, const FeAttention *a) {
    if (n->refused) {
        return false;
    }
    const IrShape *q = &a->q->type.shape, *k = &a->k->type.shape, *v = &a->v->type.shape;
    bool fits = q->rank == 4 && k->rank == 4 && v->rank == 4 && !q->dim[1].n && !k->dim[1].n;
    fits = fits && k->dim[1].c > 0 && q->dim[1].c % k->dim[1].c == 0;
    fits = fits && ir_dim_eq(k->dim[1], v->dim[1]) && ir_dim_eq(k->dim[2], v->dim[2]) &&
           ir_dim_eq(q->dim[3], k->dim[3]) && ir_dim_eq(q->dim[0], k->dim[0]) &&
           ir_dim_eq(q->dim[0], v->dim[0]);
    if (!fits) {
        fe_refuse(n, "query, key and value do not fit one another");
    }
    return fits;
}

// Softmax over the keys; where a query may see none, 0 instead of NaN.
static IrValue *weigh(FeNode *n, IrValue *scores, bool may_see_none) {
    IrAttr axis = ir_attr_i(IR_ATTR_AXIS, 3);
    if (!may_see_none || n->refused) {
        return fe_build(n, IR_OP_SOFTMAX, FE_IN(scores), 1, &axis);
    }
    IrInts keys = fe_range(n, 3, 4);
    IrValue *most = fe_reduce(n, IR_OP_REDUCE_MAX, scores, keys, true);
    IrValue *none = fe_op_const(n, IR_OP_EQUAL, most, -INFINITY), *zero = fe_const(n, scores, 0);
    scores = fe_build(n, IR_OP_WHERE, FE_IN(none, zero, scores), 0, NULL);
    IrValue *y = fe_build(n, IR_OP_SOFTMAX, FE_IN(scores), 1, &axis);
    return fe_build(n, IR_OP_WHERE, FE_IN(none, zero, y), 0, NULL);
}

IrValue *fe_attend(FeNode *n, FeAttention *a) {
    if (!check_operands(n, a)) {
        return NULL;
    }
    int64_t each = a->q->type.shape.dim[1].c / a->k->type.shape.dim[1].c;
    IrValue *k = fe_transpose(n, repeat_heads(n, a->k, each), 4, (int64_t[]){0, 1, 3, 2});
    IrValue *s = fe_matmul(n, fe_op_const(n, IR_OP_MUL, a->q, a->scale), k);
    a->stage[0] = s;
    if (a->softcap != 0) {
        s = fe_un(n, IR_OP_TANH, fe_op_const(n, IR_OP_DIV, s, a->softcap));
        s = fe_op_const(n, IR_OP_MUL, s, a->softcap);
    }
    a->stage[1] = s;
    s = a->bias ? fe_bin(n, IR_OP_ADD, s, a->bias) : s;
    if (a->allowed && !n->refused) {
        s = fe_build(n, IR_OP_WHERE, FE_IN(a->allowed, s, fe_const(n, s, -INFINITY)), 0, NULL);
    }
    if (!n->refused && !ir_shape_eq(&s->type.shape, &a->stage[0]->type.shape)) {
        fe_refuse(n, "the mask does not broadcast to the scores");
    }
    a->stage[2] = s;
    a->stage[3] = weigh(n, s, a->may_see_none);
    return fe_matmul(n, a->stage[3], repeat_heads(n, a->v, each));
}

// ---------------------------------------------------------------- Attention

// Attention-23, 24, 25 on its way.
typedef struct Attend {
    FeAttention a;
    IrDim S, T;
    bool joined;      // inputs and output have rank 3
    IrValue *offset;  // i64, keys before the first query; NULL: none
    IrValue *lengths; // i64 [N,1,1,1], keys that count; NULL: all
} Attend;

static void read_operands(FeNode *n, Attend *t) {
    FeAttention *a = &t->a;
    a->q = fe_operand(n, 0);
    a->k = fe_operand(n, 1);
    a->v = fe_operand(n, 2);
    if (n->refused) {
        return;
    }
    t->joined = a->q->type.shape.rank == 3;
    if (t->joined) {
        int64_t heads = fe_attr_int(n, "kv_num_heads", 0);
        a->q = fe_split_heads(n, a->q, fe_attr_int(n, "q_num_heads", 0));
        a->k = fe_split_heads(n, a->k, heads);
        a->v = fe_split_heads(n, a->v, heads);
    }
    a->scale = fe_attr_float(n, "scale", 0);
    a->scale = a->scale == 0 ? fe_default_scale(n, a->q) : a->scale; // as its text has it
    a->softcap = fe_attr_float(n, "softcap", 0);
}

static IrValue *join_past(FeNode *n, int past, IrValue *now) {
    IrValue *before = fe_operand(n, past);
    return fe_build(n, IR_OP_CONCAT, FE_IN(before, now), FE_WITH(ir_attr_i(IR_ATTR_AXIS, 2)));
}

// Keys and values of earlier steps, before those of this one: inputs 4 and 5.
static void read_past(FeNode *n, Attend *t) {
    if (n->refused || fe_has(n, 4) != fe_has(n, 5)) {
        fe_refuse(n, "past_key and past_value must be given together");
        return;
    }
    if (fe_has(n, 4)) {
        IrDim own = t->a.k->type.shape.dim[2];
        t->a.k = join_past(n, 4, t->a.k);
        t->a.v = join_past(n, 5, t->a.v);
        if (!n->refused) {
            double past = (double)(t->a.k->type.shape.dim[2].c - own.c);
            t->offset = ir_build_scalar(&n->b, IR_I64, past);
        }
    }
    fe_out(n, 1, n->refused ? NULL : fe_un(n, IR_OP_COPY, t->a.k));
    fe_out(n, 2, n->refused ? NULL : fe_un(n, IR_OP_COPY, t->a.v));
}

// nonpad_kv_seqlen, input 6: how many keys of each image count. The queries are their last ones.
static void read_lengths(FeNode *n, Attend *t) {
    IrValue *lengths = fe_operand_or_null(n, 6);
    if (n->refused || !lengths) {
        return;
    }
    int64_t batch = 0;
    t->lengths = fe_reshape_axes(n, fe_cast(n, lengths, IR_I64), 4, (IrInts){1, &batch});
    t->offset = fe_op_const(n, IR_OP_SUB, t->lengths, (double)t->S.c);
}

// Whether a row of constant mask t has only entries that leave keys out; with `any`, any entry.
static bool hides(const IrTensor *t, bool any) {
    int64_t elems = ir_tensor_elems(t), row = t->rank ? t->dim[t->rank - 1] : 1, hidden = 0;
    for (int64_t i = 0; i < elems; i++) {
        double x = ir_tensor_get(t, i);
        hidden = i % row ? hidden : 0;
        hidden += t->dtype == IR_BOOL ? x == 0 : x == -INFINITY;
        if (hidden && (any || hidden == row)) {
            return true;
        }
    }
    return false;
}

// attn_mask, input 3: bool, or f32 to be added; where it has fewer keys, the rest takes no part.
static void read_mask(FeNode *n, Attend *t) {
    IrValue *m = fe_operand_or_null(n, 3);
    if (n->refused || !m) {
        return;
    }
    bool is_bool = m->type.dtype == IR_BOOL;
    const IrTensor *known = fe_tensor(n, 3);
    int rank = m->type.shape.rank;
    if ((!is_bool && m->type.dtype != IR_F32) || rank < 1 || rank > 4) {
        fe_refuse(n, "a mask of %s of rank %d", ir_dtype_name(m->type.dtype), rank);
        return;
    }
    int64_t missing = t->T.c - m->type.shape.dim[rank - 1].c, pads[8] = {0};
    bool narrow = missing > 0 && !ir_dim_is(m->type.shape.dim[rank - 1], 1);
    if (narrow) {
        pads[2 * rank - 1] = missing;
        m = fe_build(n, IR_OP_PAD, FE_IN(m),
                     FE_WITH(fe_ints_attr(n, IR_ATTR_PAD, 2 * rank, pads),
                             ir_attr_s(IR_ATTR_MODE, "constant"),
                             ir_attr_f(IR_ATTR_VALUE, is_bool ? 0 : -INFINITY)));
    }
    *(is_bool ? &t->a.allowed : &t->a.bias) = m;
    bool more = narrow || t->lengths || fe_attr_int(n, "is_causal", 0) ||
                fe_attr_int(n, "left_window_size", -1) >= 0 ||
                fe_attr_int(n, "right_window_size", -1) >= 0;
    t->a.may_see_none = !known || hides(known, more);
}

// What is_causal, the window and the lengths leave of the keys.
static void read_window(FeNode *n, Attend *t) {
    int64_t left = fe_attr_int(n, "left_window_size", -1);
    int64_t right = fe_attr_int(n, "right_window_size", -1);
    right = fe_attr_int(n, "is_causal", 0) ? 0 : right;
    if (left < -1 || right < -1 || left >= FE_OPEN || right >= FE_OPEN) {
        fe_refuse(n, "its window reaches from %lld to %lld", (long long)left, (long long)right);
    }
    IrValue *seen = NULL;
    if (!n->refused && (left >= 0 || right >= 0)) {
        seen = fe_window_mask(n, t->S, t->T, t->offset, left >= 0 ? -left : FE_OPEN,
                              right >= 0 ? right : FE_OPEN);
        t->a.may_see_none |= t->lengths || left >= 0;
    }
    if (t->lengths && !n->refused) {
        IrValue *key = fe_iota(n, 0, t->T, 3, 4);
        seen = fe_both(n, seen, fe_bin(n, IR_OP_LESS, key, t->lengths), IR_OP_AND);
        t->a.may_see_none = true;
    }
    t->a.allowed = fe_both(n, t->a.allowed, seen, IR_OP_AND);
}

void fe_import_attention(FeNode *n) {
    Attend t = {0};
    int64_t mode = fe_attr_int(n, "qk_matmul_output_mode", 0);
    read_operands(n, &t);
    read_past(n, &t);
    if (!n->refused && (mode < 0 || mode > 3)) {
        fe_refuse(n, "qk_matmul_output_mode is %lld", (long long)mode);
    }
    if (n->refused) {
        return;
    }
    t.S = t.a.q->type.shape.dim[2];
    t.T = t.a.k->type.shape.dim[2];
    read_lengths(n, &t);
    read_mask(n, &t);
    read_window(n, &t);
    IrValue *y = fe_attend(n, &t.a);
    fe_out(n, 0, t.joined ? fe_join_heads(n, y) : y);
    if (fe_used(n, 3)) {
        fe_out(n, 3, fe_un(n, IR_OP_COPY, t.a.stage[mode]));
    }
}

// ---------------------------------------------------------------- RotaryEmbedding

// Rows of a table [P,R] by position [N,S], or what is one row per position already [N,S,R].
static IrValue *pick_rows(FeNode *n, IrValue *table, IrValue *position) {
    if (!position || n->refused) {
        return table;
    }
    return fe_build(n, IR_OP_GATHER, FE_IN(table, position), FE_WITH(ir_attr_i(IR_ATTR_AXIS, 0)));
}

// Every second entry of the last axis, from `from` on; or, in halves, that half.
static IrValue *take_half(FeNode *n, IrValue *x, bool interleaved, int64_t from) {
    IrShape s = x->type.shape;
    int last = s.rank - 1;
    int64_t half = s.dim[last].c / 2, start[IR_MAX_RANK] = {0}, step[IR_MAX_RANK];
    for (int i = 0; i < s.rank; i++) {
        step[i] = 1;
    }
    start[last] = interleaved ? from : from * half;
    step[last] = interleaved ? 2 : 1;
    s.dim[last] = ir_dim(half);
    return fe_build(n, IR_OP_SLICE, FE_IN(x),
                    FE_WITH(fe_ints_attr(n, IR_ATTR_START, s.rank, start),
                            fe_ints_attr(n, IR_ATTR_STEP, s.rank, step),
                            ir_attr_dims(IR_ATTR_SHAPE, &s)));
}

// The inverse of take_half().
static IrValue *join_halves(FeNode *n, IrValue *a, IrValue *b, bool interleaved) {
    if (n->refused) {
        return NULL;
    }
    IrShape s = a->type.shape, pair = s;
    int last = s.rank - 1;
    pair.dim[pair.rank++] = ir_dim(1);
    a = interleaved ? fe_reshape(n, a, &pair) : a;
    b = interleaved ? fe_reshape(n, b, &pair) : b;
    int axis = interleaved ? last + 1 : last;
    IrValue *y = fe_build(n, IR_OP_CONCAT, FE_IN(a, b), FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis)));
    s.dim[last].c *= 2;
    return n->refused ? NULL : fe_reshape(n, y, &s);
}

// x [N,H,S,D] or, with `joined`, [N,S,H,D]: its first R entries turned by tables of cosines and
// sines [N,S,R/2].
static IrValue *rotate(FeNode *n, IrValue *x, bool joined, int64_t R, IrValue *cos, IrValue *sin) {
    int64_t axes[] = {0, joined ? 1 : 2, 3};
    cos = fe_reshape_axes(n, cos, 4, (IrInts){3, axes});
    sin = fe_reshape_axes(n, sin, 4, (IrInts){3, axes});
    if (n->refused || !ir_dim_is(cos->type.shape.dim[3], R / 2) ||
        !ir_dim_is(sin->type.shape.dim[3], R / 2)) {
        fe_refuse(n, "its tables do not have %lld columns", (long long)R / 2);
        return NULL;
    }
    bool interleaved = fe_attr_int(n, "interleaved", 0) != 0;
    int64_t whole = x->type.shape.dim[3].c;
    IrValue *turned = fe_part(n, x, 3, 0, R);
    IrValue *a = n->refused ? NULL : take_half(n, turned, interleaved, 0);
    IrValue *b = n->refused ? NULL : take_half(n, turned, interleaved, 1);
    IrValue *re = fe_bin(n, IR_OP_SUB, fe_bin(n, IR_OP_MUL, cos, a), fe_bin(n, IR_OP_MUL, sin, b));
    IrValue *im = fe_bin(n, IR_OP_ADD, fe_bin(n, IR_OP_MUL, sin, a), fe_bin(n, IR_OP_MUL, cos, b));
    IrValue *y = join_halves(n, re, im, interleaved);
    return R == whole ? y
                      : fe_build(n, IR_OP_CONCAT, FE_IN(y, fe_part(n, x, 3, R, whole - R)),
                                 FE_WITH(ir_attr_i(IR_ATTR_AXIS, 3)));
}

// x of rank 4, or of rank 3 with its `heads` joined; tables and positions as pick_rows() has them.
static void import_rotary(FeNode *n, int64_t heads, IrValue *cos, IrValue *sin, IrValue *position) {
    IrValue *x = fe_operand(n, 0);
    int64_t R = fe_attr_int(n, "rotary_embedding_dim", 0);
    if (n->refused) {
        return;
    }
    IrShape s = x->type.shape;
    bool joined = s.rank == 3;
    if (joined && (heads < 1 || s.dim[2].n || s.dim[2].c % heads)) {
        fe_refuse(n, "num_heads %lld does not divide the input", (long long)heads);
        return;
    }
    if (joined) {
        IrShape split = {4, {s.dim[0], s.dim[1], ir_dim(heads), ir_dim(s.dim[2].c / heads)}};
        x = fe_reshape(n, x, &split);
    }
    if (n->refused || x->type.shape.rank != 4) {
        fe_refuse(n, "input of rank %d", s.rank);
        return;
    }
    int64_t D = x->type.shape.dim[3].c;
    R = R ? R : D;
    if (R < 2 || R > D || R % 2) {
        fe_refuse(n, "%lld of %lld entries cannot be rotated", (long long)R, (long long)D);
        return;
    }
    cos = pick_rows(n, cos, position);
    IrValue *y = rotate(n, x, joined, R, cos, pick_rows(n, sin, position));
    fe_out(n, 0, n->refused ? NULL : fe_reshape(n, y, &s));
}

// RotaryEmbedding-23: x, cosines, sines, positions
void fe_import_rotary_embedding(FeNode *n) {
    IrValue *cos = fe_operand(n, 1), *sin = fe_operand(n, 2);
    int64_t heads = fe_attr_int(n, "num_heads", 0);
    import_rotary(n, heads, cos, sin, fe_operand_or_null(n, 3));
}

// RotaryEmbedding-1 of com.microsoft: x, positions [N,S] or that of the first [1], cosines, sines.
// Where it does not say num_heads, heads are as wide as the tables turn.
void fe_import_rotary_embedding_ms(FeNode *n) {
    IrValue *position = fe_operand(n, 1), *x = fe_operand(n, 0), *cos = fe_operand(n, 2);
    int64_t heads = fe_attr_int(n, "num_heads", 0);
    if (!n->refused && !heads && x->type.shape.rank == 3 && cos->type.shape.rank == 2) {
        int64_t each = cos->type.shape.dim[1].c;
        heads = each > 0 ? x->type.shape.dim[2].c / each / 2 : 0;
    }
    double scale = fe_attr_float(n, "scale", 1);
    if (fe_attr_int(n, "is_packed_batching", 0) || scale != 1) {
        fe_refuse(n, "NYI: is_packed_batching, or a scale of %g", scale);
    }
    if (!n->refused && position->type.shape.rank == 1 && x->type.shape.rank >= 3) {
        int rank = x->type.shape.rank;
        IrValue *all = fe_iota(n, 0, x->type.shape.dim[rank == 3 ? 1 : 2], 1, 2);
        position = fe_bin(n, IR_OP_ADD, all, fe_cast(n, position, IR_I64));
    }
    import_rotary(n, heads, cos, fe_operand(n, 3), position);
}
