// quant_move: quantized numbers stay integers as far as data is merely moved.
//
//   %f = dequantize %q, %s, %z                   %m = max_pool %q
//   %y = max_pool %f                       ->    %y = dequantize %m, %s, %z
//
//   %p = reshape %x                              %q = quantize %x, %s, %z
//   %y = quantize %p, %s, %z               ->    %y = reshape %q
//
//   quantize(dequantize %q) with one scale and zero point      ->    %q
//
//   %q: i8 = quantize %x, %s, -128               %q: u8 = quantize %x, %s, 0
//   %m: i8 = max_pool %q                   ->    %m: u8 = max_pool %q
//   %f = dequantize %m, %s, -128                 %f = dequantize %m, %s, 0
//
//   add(interleave(conv(dequantize ...), ...), %bias)   ->   interleave(add(conv(...), %bias), ...)
//
// The third makes all integers inside of the network unsigned, as the kernels of products have
// them. Values are the same, exactly: scales are positive constants per tensor, and what a pad puts
// beside is a quantized number already. A quantize goes up only where nobody else reads what it
// rounds.

#include "passes/quant/quant.h"
#include <string.h>

static bool is_byte(IrDtype t) {
    return t == IR_U8 || t == IR_I8;
}

// n on in[], the constant that it pads with being `value`.
static IrValue *rebuild(IrBuilder *b, IrNode *n, IrValue *const *in, double value) {
    IrValue *y = pass_quant_check(b, pass_rebuild(b, n, n->n_in, in));
    if (n->op == IR_OP_PAD) {
        ir_set_attr(y->def, ir_attr_f(IR_ATTR_VALUE, value));
    }
    return y;
}

// q on x, right before `at`.
static IrValue *build_like(const IrNode *q, IrNode *at, IrValue *x) {
    IrValue *in[] = {x, ir_in(q, 1), ir_in(q, 2)};
    IrBuilder b = pass_before(at);
    b.name = q->name;
    b.src_op = q->src_op;
    return pass_quant_check(&b, pass_rebuild(&b, q, q->n_in, in));
}

static IrValue **operands_of(PassContext *ctx, const IrNode *n) {
    IrValue **in = ir_alloc_array(ctx->scratch, (size_t)n->n_in, sizeof *in);
    for (int i = 0; i < n->n_in; i++) {
        in[i] = ir_in(n, i);
    }
    return in;
}

// ---------------------------------------------------------------- down

// The number that n pads with is one of q's.
static bool pads_with(const IrNode *n, const PassQuant *q, double *value) {
    double x = n->op == IR_OP_PAD ? (float)ir_float(n, IR_ATTR_VALUE, 0) : 0;
    *value = pass_quant_of(q, x);
    return n->op != IR_OP_PAD || (float)((*value - (double)q->zero) * q->scale) == (float)x;
}

static bool sink_dequantize(PassContext *ctx, IrNode *n) {
    PassQuant first, other;
    double value;
    IrNode *q = pass_moves(n) ? pass_def(ir_in(n, 0), IR_OP_DEQUANTIZE) : NULL;
    if (!q || !pass_quant_read(ctx, q, &first) || !is_byte(first.type) || ir_in(q, 0)->konst ||
        !pads_with(n, &first, &value)) {
        return false;
    }
    IrValue **in = operands_of(ctx, n);
    for (int i = 0; i < pass_n_moved(n); i++) {
        IrNode *each = pass_def(in[i], IR_OP_DEQUANTIZE);
        if (!each || !pass_quant_read(ctx, each, &other) || !pass_quant_same(&first, &other)) {
            return false;
        }
        in[i] = ir_in(each, 0);
    }
    IrBuilder b = pass_before(n);
    pass_forward(n, build_like(q, n, rebuild(&b, n, in, value)));
    return true;
}

// ---------------------------------------------------------------- weights

// A scale or zero point of x as it belongs to transposed x; NULL stays.
static IrValue *transposed(PassContext *ctx, IrBuilder *b, IrValue *v, IrInts perm) {
    if (!v || ir_const_is_scalar(v)) {
        return v;
    }
    IrShape full = {.rank = perm.n};
    for (int i = 0; i < perm.n; i++) {
        int from = i - (perm.n - v->type.shape.rank);
        full.dim[i] = from < 0 ? ir_dim(1) : v->type.shape.dim[from];
    }
    v = pass_const_reshaped(ctx, b->graph, v, &full);
    return pass_quant_check(b, ir_build_transpose(b, v, perm.n, perm.v));
}

// The same of reshaped x, where it varies along axis 0, which stays, at most. False: it does not
// fit.
static bool reshaped(PassContext *ctx, IrNode *n, IrValue **v) {
    const IrShape *x = &ir_in(n, 0)->type.shape, *y = &n->out[0]->type.shape;
    if (!*v || ir_const_is_scalar(*v)) {
        return true;
    }
    if (x->rank == 0 || y->rank == 0 || !ir_dim_eq(x->dim[0], y->dim[0]) ||
        (*v)->type.shape.rank != x->rank || !pass_is_per_axis(*v, x, 0)) {
        return false;
    }
    IrShape s = {.rank = y->rank};
    for (int i = 0; i < y->rank; i++) {
        s.dim[i] = i ? ir_dim(1) : y->dim[0];
    }
    *v = pass_const_reshaped(ctx, n->graph, *v, &s);
    return true;
}

// The same of a part of x that leaves channels whole.
static bool sliced(IrNode *n, const IrValue *v) {
    const IrShape *x = &ir_in(n, 0)->type.shape, *y = &n->out[0]->type.shape;
    bool whole = x->rank == 4 && ir_dim_eq(x->dim[0], y->dim[0]) && ir_dim_eq(x->dim[1], y->dim[1]);
    return !v || ir_const_is_scalar(v) ||
           (whole && (pass_is_per_axis(v, x, 0) || pass_is_per_axis(v, x, 1)));
}

// The same of a turned filter: its output channels are x's axis 1, once for each group.
static bool flipped(PassContext *ctx, IrNode *n, IrValue **v) {
    const IrShape *x = &ir_in(n, 0)->type.shape, *y = &n->out[0]->type.shape;
    if (!*v || ir_const_is_scalar(*v)) {
        return true;
    }
    if (!pass_is_per_axis(*v, x, 1)) {
        return false;
    }
    IrType type = {(*v)->type.dtype, {4, {y->dim[0], ir_dim(1), ir_dim(1), ir_dim(1)}}, 0};
    IrTensor t = ir_tensor_new(ctx->prog->arena, &type, 1);
    for (int64_t i = 0; i < y->dim[0].c; i++) {
        ir_tensor_set(&t, i, pass_elem(ctx, *v, i % x->dim[1].c));
    }
    *v = pass_quant_const(ctx, n, &type, t.data);
    return true;
}

// A scale or zero point of n's operand becomes one of its result. False: it cannot.
static bool follow(PassContext *ctx, IrBuilder *b, IrNode *n, IrValue **v) {
    switch (n->op) {
    case IR_OP_TRANSPOSE:
        *v = transposed(ctx, b, *v, ir_ints(n, IR_ATTR_PERM));
        return true;
    case IR_OP_RESHAPE:
        return reshaped(ctx, n, v);
    case IR_OP_SLICE:
        return sliced(n, *v);
    case IR_OP_FLIP_FILTER:
        return flipped(ctx, n, v);
    default:
        return false;
    }
}

// What moves dequantized constants, with a scale for each channel or not.
static bool sink_weights(PassContext *ctx, IrNode *n) {
    IrNode *d = n->n_in == 1 ? pass_def(ir_in(n, 0), IR_OP_DEQUANTIZE) : NULL;
    if (!d || !pass_is_frozen(ir_in(d, 0)) || !pass_is_frozen(ir_in(d, 1)) ||
        (ir_in(d, 2) && !pass_is_frozen(ir_in(d, 2)))) {
        return false;
    }
    IrValue *scale = ir_in(d, 1), *zero = ir_in(d, 2), *x = ir_in(d, 0);
    IrBuilder b = pass_before(n);
    if (!follow(ctx, &b, n, &scale) || !follow(ctx, &b, n, &zero)) {
        return false;
    }
    IrValue *in[] = {pass_quant_check(&b, pass_rebuild(&b, n, 1, &x)), scale, zero};
    pass_forward(n, pass_quant_check(&b, pass_rebuild(&b, d, zero ? 3 : 2, in)));
    return true;
}

// ---------------------------------------------------------------- up

static bool lift_quantize(PassContext *ctx, IrNode *q) {
    PassQuant to;
    IrNode *n = ir_in(q, 0)->def;
    if (!n || !pass_moves(n) || ir_only_user(n->out[0]) != q || !pass_quant_read(ctx, q, &to)) {
        return false;
    }
    bool picks = n->op == IR_OP_SLICE || n->op == IR_OP_GATHER;
    if (!is_byte(to.type) || (picks && !ir_only_user(ir_in(n, 0)))) {
        return false;
    }
    double x = n->op == IR_OP_PAD ? ir_float(n, IR_ATTR_VALUE, 0) : 0;
    IrValue **in = operands_of(ctx, n);
    IrBuilder b = pass_before(n);
    for (int i = 0; i < pass_n_moved(n); i++) {
        in[i] = build_like(q, n, in[i]);
    }
    pass_forward(q, rebuild(&b, n, in, pass_quant_of(&to, (float)x)));
    return true;
}

static bool cancel(PassContext *ctx, IrNode *q) {
    PassQuant to, from;
    IrNode *d = pass_def(ir_in(q, 0), IR_OP_DEQUANTIZE);
    if (!d || !pass_quant_read(ctx, q, &to) || !pass_quant_read(ctx, d, &from) ||
        !pass_quant_same(&to, &from)) {
        return false;
    }
    pass_forward(q, ir_in(d, 0));
    return true;
}

// ---------------------------------------------------------------- transposed convolutions

// A constant, or what is made of constants by nodes that move or dequantize: one number, or one for
// each channel.
static bool is_constant(const IrValue *v, int depth) {
    const IrNode *n = v->def;
    bool moves = n && ((n->n_in == 1 && pass_moves(n)) || n->op == IR_OP_DEQUANTIZE);
    bool all = v->konst || (moves && depth > 0);
    for (int i = 0; n && all && i < n->n_in; i++) {
        all = !ir_in(n, i) || is_constant(ir_in(n, i), depth - 1);
    }
    return all;
}

static bool is_channel_constant(const IrValue *v, const IrShape *of) {
    enum { DEPTH = 4 };
    bool fits = v->type.shape.rank <= of->rank;
    for (int i = 0; fits && i < v->type.shape.rank; i++) {
        fits = i + of->rank - v->type.shape.rank == 1 || ir_dim_is(v->type.shape.dim[i], 1);
    }
    return fits && is_constant(v, DEPTH);
}

// A convolution of quantized numbers, and elementwise work on it.
static bool is_product(const IrValue *v, int depth) {
    const IrNode *n = v ? v->def : NULL;
    if (n && n->op == IR_OP_CONV) {
        return pass_def(ir_in(n, 0), IR_OP_DEQUANTIZE) != NULL;
    }
    return n && depth > 0 && pass_is_eltwise(n) && is_product(ir_in(n, 0), depth - 1);
}

// Elementwise work on the phases of a transposed convolution goes above what puts them together, so
// that each phase ends in its own quantize.
//   relu(add(interleave(%a, ...), %bias))   ->   interleave(relu(add(%a, %bias)), ...)
static bool lift_step(PassContext *ctx, IrNode *u) {
    enum { DEPTH = 4 };
    IrNode *n = pass_is_eltwise(u) ? pass_def(ir_in(u, 0), IR_OP_INTERLEAVE) : NULL;
    if (!n || ir_only_user(n->out[0]) != u ||
        !ir_shape_eq(&n->out[0]->type.shape, &u->out[0]->type.shape)) {
        return false;
    }
    for (int i = 0; i < n->n_in; i++) {
        if (!is_product(ir_in(n, i), DEPTH)) {
            return false;
        }
    }
    for (int i = 1; i < u->n_in; i++) {
        if (!is_channel_constant(ir_in(u, i), &u->out[0]->type.shape)) {
            return false;
        }
    }
    IrBuilder b = pass_before(u);
    IrValue **part = operands_of(ctx, n), **in = operands_of(ctx, u);
    for (int i = 0; i < n->n_in; i++) {
        in[0] = part[i];
        part[i] = pass_quant_check(&b, pass_rebuild(&b, u, u->n_in, in));
    }
    pass_forward(u, pass_quant_check(&b, pass_rebuild(&b, n, n->n_in, part)));
    return true;
}

// ---------------------------------------------------------------- signed to unsigned

typedef struct Class { // values that become unsigned together
    PassContext *ctx;
    int n, cap;
    IrValue **v;
    int *seen, now; // by value id: the number of the class that it was found in, 0: none
} Class;

// False: it belongs to an earlier class, which stays.
static bool take(Class *c, IrValue *v) {
    if (c->seen[v->id] == 0) {
        c->seen[v->id] = c->now;
        IR_PUSH(c->ctx->scratch, c->v, c->n, c->cap, v);
    }
    return c->seen[v->id] == c->now;
}

static bool has_fixed_zero(const IrNode *n) {
    return !ir_in(n, 2) || pass_is_frozen(ir_in(n, 2));
}

// What makes v follows.
static bool take_maker(Class *c, const IrValue *v) {
    const IrNode *n = v->def;
    if (!n || v->is_output) {
        return false;
    }
    if (n->op == IR_OP_QUANTIZE) {
        return has_fixed_zero(n);
    }
    bool fine = pass_moves(n);
    for (int i = 0; fine && i < pass_n_moved(n); i++) {
        fine = take(c, ir_in(n, i));
    }
    return fine;
}

// So does who reads it.
static bool take_readers(Class *c, const IrValue *v) {
    for (const IrUse *u = v->uses; u; u = u->next) {
        const IrNode *n = u->node;
        bool moves = pass_moves(n) && u->index < pass_n_moved(n);
        bool ends = n->op == IR_OP_DEQUANTIZE && u->index == 0 && has_fixed_zero(n);
        if (moves ? !take(c, n->out[0]) : !ends) {
            return false;
        }
    }
    return true;
}

// The zero point of n, 128 more.
static void shift_zero(Class *c, IrNode *n) {
    IrValue *zero = ir_in(n, 2);
    IrType type = {IR_U8, {0}, 0};
    type.shape = zero ? zero->type.shape : type.shape;
    int64_t elems = pass_elems(&type);
    uint8_t *data = ir_alloc(c->ctx->prog->arena, (size_t)elems + 1);
    for (int64_t i = 0; i < elems; i++) {
        data[i] = (uint8_t)((zero ? pass_elem(c->ctx, zero, i) : 0) + 128);
    }
    ir_set_in(n, 2, pass_quant_const(c->ctx, n, &type, data));
}

static void make_unsigned(Class *c, IrValue *v) {
    IrNode *n = v->def;
    v->type.dtype = IR_U8;
    if (n->op == IR_OP_QUANTIZE) {
        shift_zero(c, n);
        ir_set_attr(n, ir_attr_s(IR_ATTR_TO, ir_dtype_name(IR_U8)));
    } else if (n->op == IR_OP_PAD) {
        ir_set_attr(n, ir_attr_f(IR_ATTR_VALUE, ir_float(n, IR_ATTR_VALUE, 0) + 128));
    }
    for (const IrUse *u = v->uses; u; u = u->next) {
        if (u->node->op == IR_OP_DEQUANTIZE) {
            shift_zero(c, u->node);
        }
    }
}

static bool unsign(Class *c, IrNode *q) {
    if (q->out[0]->type.dtype != IR_I8 || c->seen[q->out[0]->id]) {
        return false;
    }
    c->n = 0;
    c->now++;
    take(c, q->out[0]);
    for (int i = 0; i < c->n; i++) {
        if (!take_maker(c, c->v[i]) || !take_readers(c, c->v[i])) {
            return false;
        }
    }
    for (int i = 0; i < c->n; i++) {
        make_unsigned(c, c->v[i]);
    }
    return true;
}

PassResult pass_quant_move(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        r.changes += sink_dequantize(ctx, n) || sink_weights(ctx, n) || lift_step(ctx, n);
    }
    for (IrNode *n = g->last, *prev; n; n = prev) {
        prev = n->prev;
        r.changes += n->op == IR_OP_QUANTIZE && (cancel(ctx, n) || lift_quantize(ctx, n));
    }
    Class c = {.ctx = ctx,
               .seen = ir_alloc_array(ctx->scratch, (size_t)g->next_id + 1, sizeof *c.seen)};
    for (IrNode *n = g->first; n; n = n->next) {
        r.changes += n->op == IR_OP_QUANTIZE && unsign(&c, n);
    }
    return r;
}
