// Operators that carry a state along a sequence, one step after another: LinearAttention, unrolled;
// and CausalConvWithState, which needs no more of the past than a convolution sees.
#include "frontend/import/activation.h"
#include "frontend/import/attention.h"

#include <string.h>

enum { MAX_STEPS = 512 };

// ---------------------------------------------------------------- LinearAttention

// Per head of keys, with the decayed state S' = exp(g) S:
//
//   S = S' + beta k (v - S'^T k)^T    beta and S'^T k with a rule of delta, else 1 and 0
//   y = scale q^T S
typedef struct Linear {
    IrValue *q, *k, *v;    // [N,K,T,D]; q [N,K,G,T,D], G heads for each of the keys'
    IrValue *decay, *beta; // [N,K,T,D or 1], [N,K or 1,T,1]; NULL: none
    IrValue *state;        // [N,K,D,V]; NULL: zeros
    int64_t steps;
    double scale;
    bool delta;
} Linear;

// Step t of x, whose axis `axis` is that of the steps, in shape s.
static IrValue *take_step(FeNode *n, IrValue *x, int axis, int64_t t, const IrShape *s) {
    x = fe_part(n, x, axis, t, 1);
    return n->refused ? NULL : fe_reshape(n, x, s);
}

// The state of step t from the one before.
static IrValue *advance(FeNode *n, const Linear *a, IrValue *state, int64_t t) {
    const IrDim *k = a->k->type.shape.dim, *v = a->v->type.shape.dim;
    IrShape column = {4, {k[0], k[1], k[3], ir_dim(1)}}, row = {4, {k[0], k[1], ir_dim(1), v[3]}};
    if (a->decay && state) {
        const IrDim *d = a->decay->type.shape.dim;
        IrValue *g = take_step(n, a->decay, 2, t, &(IrShape){4, {d[0], d[1], d[3], ir_dim(1)}});
        state = fe_bin(n, IR_OP_MUL, state, fe_un(n, IR_OP_EXP, g));
    }
    IrValue *key = take_step(n, a->k, 2, t, &column), *value = take_step(n, a->v, 2, t, &row);
    if (a->delta) {
        IrShape flat = {4, {k[0], k[1], ir_dim(1), k[3]}};
        IrValue *known = n->refused || !state ? NULL : fe_reshape(n, key, &flat);
        value = known ? fe_bin(n, IR_OP_SUB, value, fe_matmul(n, known, state)) : value;
        value = fe_bin(n, IR_OP_MUL, value, fe_part(n, a->beta, 2, t, 1));
    }
    IrValue *added = fe_bin(n, IR_OP_MUL, key, value);
    return state ? fe_bin(n, IR_OP_ADD, state, added) : added;
}

// All steps, [N,T,K*G*V]; *state gets the last state.
static IrValue *run_steps(FeNode *n, const Linear *a, IrValue **state) {
    const IrDim *q = a->q->type.shape.dim, *v = a->v->type.shape.dim;
    IrShape heads = {4, {q[0], q[1], q[2], q[4]}};
    IrShape row = {3, {q[0], ir_dim(1), ir_dim(q[1].c * q[2].c * v[3].c)}};
    IrValue **y = ir_alloc_array(n->fe->arena, (size_t)a->steps + 1, sizeof *y);
    *state = a->state;
    for (int64_t t = 0; t < a->steps && !n->refused; t++) {
        *state = advance(n, a, *state, t);
        y[t] = fe_matmul(n, take_step(n, a->q, 3, t, &heads), *state);
        y[t] = n->refused ? NULL : fe_reshape(n, fe_op_const(n, IR_OP_MUL, y[t], a->scale), &row);
    }
    return fe_build(n, IR_OP_CONCAT, (int)a->steps, y, FE_WITH(ir_attr_i(IR_ATTR_AXIS, 1)));
}

// Input i as [N,K,T,width / K] where it has that width for K heads, or [N,width,T,1].
static IrValue *read_gate(FeNode *n, int i, int64_t heads, bool wanted) {
    IrValue *x = fe_operand_or_null(n, i);
    if (n->refused || (x != NULL) != wanted) {
        fe_refuse(n, wanted ? "input %d is missing" : "input %d has no use here", i);
        return NULL;
    }
    int64_t width = x && x->type.shape.rank == 3 ? x->type.shape.dim[2].c : 0;
    return x ? fe_split_heads(n, x, width == 1 ? 1 : heads) : NULL;
}

static void read_linear(FeNode *n, Linear *a) {
    const char *rule = fe_attr_str(n, "update_rule", "gated_delta");
    int64_t own = fe_attr_int(n, "q_num_heads", 0), heads = fe_attr_int(n, "kv_num_heads", 0);
    bool gated = strncmp(rule, "gated", 5) == 0;
    a->delta = strcmp(rule, "delta") == 0 || strcmp(rule, "gated_delta") == 0;
    if (!a->delta && strcmp(rule, "linear") != 0 && strcmp(rule, "gated") != 0) {
        fe_refuse(n, "update_rule '%s' is unknown", rule);
    }
    if (heads < 1 || own < 1 || own % heads) {
        fe_refuse(n, "%lld heads of queries for %lld of keys", (long long)own, (long long)heads);
    }
    a->q = fe_split_heads(n, fe_operand(n, 0), own);
    a->k = fe_split_heads(n, fe_operand(n, 1), heads);
    a->v = fe_split_heads(n, fe_operand(n, 2), heads);
    a->state = fe_operand_or_null(n, 3);
    a->decay = read_gate(n, 4, heads, gated);
    a->beta = read_gate(n, 5, heads, a->delta);
    if (n->refused) {
        return;
    }
    const IrDim *q = a->q->type.shape.dim;
    a->steps = q[2].n ? 0 : q[2].c;
    if (a->steps < 1 || a->steps > MAX_STEPS) {
        fe_refuse(n, "NYI: a sequence of %lld steps", (long long)a->steps);
        return;
    }
    a->scale = fe_attr_float(n, "scale", 0);
    a->scale = a->scale == 0 ? fe_default_scale(n, a->q) : a->scale;
    a->q =
        fe_reshape(n, a->q, &(IrShape){5, {q[0], ir_dim(heads), ir_dim(own / heads), q[2], q[3]}});
}

// LinearAttention-27: query, key, value, past state, decay, beta
void fe_import_linear_attention(FeNode *n) {
    Linear a = {0};
    read_linear(n, &a);
    if (n->refused) {
        return;
    }
    IrValue *state;
    fe_out(n, 0, run_steps(n, &a, &state));
    if (fe_used(n, 1)) {
        fe_out(n, 1, fe_un(n, IR_OP_COPY, state));
    }
}

// ---------------------------------------------------------------- CausalConvWithState

// x [N,C,L] behind the last `taps` entries of the past, or zeros.
static IrValue *join_past(FeNode *n, IrValue *x, int64_t taps) {
    IrValue *past = fe_operand_or_null(n, 3);
    if (past) {
        return fe_build(n, IR_OP_CONCAT, FE_IN(past, x), FE_WITH(ir_attr_i(IR_ATTR_AXIS, 2)));
    }
    int64_t pads[] = {0, 0, taps, 0, 0, 0};
    return fe_build(n, IR_OP_PAD, FE_IN(x),
                    FE_WITH(fe_ints_attr(n, IR_ATTR_PAD, 6, pads),
                            ir_attr_s(IR_ATTR_MODE, "constant"), ir_attr_f(IR_ATTR_VALUE, 0)));
}

// CausalConvWithState-27: x [N,C,L], weights [C,1,k], bias, past [N,C,k-1]
void fe_import_causal_conv(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *w = fe_operand(n, 1), *bias = fe_operand_or_null(n, 2);
    const char *name = fe_attr_str(n, "activation", "none");
    bool swish = strcmp(name, "silu") == 0 || strcmp(name, "swish") == 0;
    if (!swish && strcmp(name, "none") != 0) {
        fe_refuse(n, "activation '%s' is not supported", name);
    }
    if (n->refused) {
        return;
    }
    const IrShape *xs = &x->type.shape, *ws = &w->type.shape;
    if (xs->rank != 3 || ws->rank != 3 || xs->dim[1].n || xs->dim[2].n || ws->dim[2].c < 1 ||
        !ir_dim_eq(xs->dim[1], ws->dim[0])) {
        fe_refuse(n, "weights of rank %d do not fit an input of rank %d", ws->rank, xs->rank);
        return;
    }
    int64_t length = xs->dim[2].c, taps = ws->dim[2].c - 1;
    IrAttr attrs[4];
    FeSpan span = {length + taps, taps + 1, 1, 1, 0, 0};
    fe_span_attrs(n, NULL, &span, attrs);
    attrs[3] = ir_attr_i(IR_ATTR_GROUP, xs->dim[1].c);
    IrValue *all = taps || fe_has(n, 3) ? join_past(n, x, taps) : x;
    if (!n->refused && !ir_dim_is(all->type.shape.dim[2], length + taps)) {
        fe_refuse(n, "the past does not have %lld entries", (long long)taps);
    }
    IrValue *y = fe_build(n, IR_OP_CONV, FE_IN(fe_to_2d(n, all), fe_to_2d(n, w), bias), 4, attrs);
    y = n->refused ? NULL : fe_from_2d(n, y, 1);
    fe_out(n, 0, swish ? fe_swish(n, y, 1) : y);
    if (fe_used(n, 1) && !n->refused) {
        IrValue *state = fe_part(n, all, 2, length, taps);
        fe_out(n, 1, state == all ? fe_un(n, IR_OP_COPY, state) : state);
    }
}
