// MaxUnpool: numbers go back to where a MaxPool took them from. What its indices count through is
// in no attribute: it is read off the windows, or off the MaxPool where that is in the graph.
#include "frontend/import.h"

#include <string.h>

// The shape that MaxUnpool's indices count in: what a pool of these windows came from.
static bool read_unpooled(FeNode *n, const IrShape *x, IrShape *out) {
    FeSpan span[IR_MAX_RANK];
    *out = *x;
    if (n->refused || !fe_spans(n, x, NULL, span)) {
        return false;
    }
    for (int i = 0; i < x->rank - 2; i++) {
        const FeSpan *s = &span[i];
        int64_t size;
        if (__builtin_mul_overflow(s->size - 1, s->stride, &size) ||
            __builtin_add_overflow(size, s->kernel - s->begin - s->end, &size) || size < 0) {
            fe_refuse(n, "its windows leave nothing of spatial dimension %d", i);
            return false;
        }
        out->dim[i + 2] = ir_dim(size);
    }
    return true;
}

// The shape of the MaxPool's input that these indices count through, with the batch and channels of
// x; false: they come from elsewhere.
static bool find_pooled(const IrValue *index, const IrShape *x, IrShape *out) {
    const IrNode *d = index->def;
    while (d && (d->op == IR_OP_RESHAPE || d->op == IR_OP_COPY || d->op == IR_OP_CAST ||
                 d->op == IR_OP_GATHER)) {
        d = ir_in(d, 0)->def;
    }
    if (!d || d->op != IR_OP_MAX_POOL_INDEX || x->rank > 5) {
        return false;
    }
    const IrDim *from = ir_in(d, 0)->type.shape.dim; // [N, C * depth, height, width]
    int64_t channels = x->dim[1].c;
    *out = *x;
    out->dim[x->rank - 1] = from[3];
    if (x->rank > 3) {
        out->dim[x->rank - 2] = from[2];
    }
    if (x->rank > 4) {
        out->dim[2] = ir_dim(channels ? from[1].c / channels : 0);
    }
    return true;
}

// Zeros of shape s with x at its indices, which count through it.
static IrValue *unpool(FeNode *n, IrValue *x, IrValue *index, const IrShape *s) {
    IrDim count = fe_dim_product(n, &x->type.shape, 0, s->rank);
    IrShape flat = {1, {fe_dim_product(n, s, 0, s->rank)}}, from = {1, {count}};
    if (n->refused) {
        return x;
    }
    IrValue *zeros = fe_build(n, IR_OP_EXPAND, FE_IN(fe_const(n, x, 0)),
                              FE_WITH(ir_attr_dims(IR_ATTR_SHAPE, &flat)));
    IrValue *at = fe_reshape(n, index, &(IrShape){2, {count, ir_dim(1)}});
    IrValue *y = fe_build(n, IR_OP_SCATTER_ND, FE_IN(zeros, at, fe_reshape(n, x, &from)), 0, NULL);
    return fe_reshape(n, y, s);
}

// y of shape s, filled up with zeros behind to the given shape.
static IrValue *fill_up(FeNode *n, IrValue *y, const IrShape *s, const IrDim *given) {
    int64_t pad[2 * IR_MAX_RANK] = {0};
    bool grows = false;
    for (int i = 0; i < s->rank && !n->refused; i++) {
        IrDim d = given[i];
        if (d.n != s->dim[i].n || d.c < s->dim[i].c || (i < 2 && !ir_dim_eq(d, s->dim[i]))) {
            fe_refuse(n, "its output shape does not hold dimension %d of %lld", i,
                      (long long)s->dim[i].c);
            return y;
        }
        pad[s->rank + i] = d.c - s->dim[i].c;
        grows |= pad[s->rank + i] != 0;
    }
    return !grows ? y
                  : fe_build(n, IR_OP_PAD, FE_IN(y),
                             FE_WITH(fe_ints_attr(n, IR_ATTR_PAD, 2 * s->rank, pad),
                                     ir_attr_s(IR_ATTR_MODE, "constant"),
                                     ir_attr_f(IR_ATTR_VALUE, 0)));
}

// MaxUnpool-11. Indices count through what the windows tell, as ONNX's own case has it, and a given
// output shape is filled up with zeros behind. Those of a MaxPool count through its input, which
// windows that leave a rest do not tell: the output must be as large.
void fe_import_max_unpool(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *index = fe_operand(n, 1);
    IrShape s, pooled;
    if (!n->refused && !ir_shape_eq(&x->type.shape, &index->type.shape)) {
        fe_refuse(n, "its indices have another shape than its input");
    }
    if (n->refused || !read_unpooled(n, &x->type.shape, &s)) {
        return;
    }
    IrShape out = s;
    FeDims given = {.n = s.rank, .v = s.dim};
    if (fe_has(n, 2) && (!fe_dims(n, 2, &given) || given.n != s.rank)) {
        fe_refuse(n, "its output shape has %d entries for rank %d", given.n, s.rank);
        return;
    }
    memcpy(out.dim, given.v, (size_t)s.rank * sizeof *out.dim);
    if (find_pooled(index, &x->type.shape, &pooled) && !ir_shape_eq(&pooled, &s)) {
        if (!ir_shape_eq(&pooled, &out)) {
            char text[2][160];
            IrType from = x->type, to = x->type;
            from.shape = pooled;
            to.shape = out;
            fe_refuse(n, "its indices count through the MaxPool's input %s, its output is %s",
                      ir_type_print(&from, text[0], sizeof text[0]),
                      ir_type_print(&to, text[1], sizeof text[1]));
            return;
        }
        s = pooled;
    }
    IrValue *y = unpool(n, x, index, &s);
    fe_out(n, 0, fill_up(n, y, &s, out.dim));
}
