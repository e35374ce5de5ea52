// DeformConv: a convolution that reads x not at its taps but beside them, by offsets of each output
// pixel. Written out: each tap's positions are a grid, GridSample reads it (bilinear, zeros
// outside), and what was read is multiplied like a convolution of 1x1 over channels and taps:
//
//   x [N*G,C/G,H,W], grid [N*G,K*OH,OW,2] -> [N,G,C/G,K,OH,OW] * mask -> [N,C*K,OH,OW] -> conv 1x1
//
// G: groups of offsets; K: taps. The grid's unit is half an image: -1 is its first edge, 1 the
// last.
#include "frontend/import.h"

typedef struct Deform {
    IrValue *x, *w, *offset, *mask;
    FeSpan span[IR_MAX_RANK]; // rows, columns
    int64_t out[2];           // OH, OW
    int64_t groups, taps;
} Deform;

// Where tap k of output pixel (i, j) reads along an axis without offset, [K,OH,OW], in pixels.
static IrValue *tap_positions(FeNode *n, const Deform *d, int axis) {
    const FeSpan *s = &d->span[axis];
    IrType type = {IR_F32, {3, {ir_dim(d->taps), ir_dim(d->out[0]), ir_dim(d->out[1])}}, 0};
    const char *why = n->refused ? NULL : fe_check_fill(n->fe, &type);
    if (why) {
        fe_refuse(n, "its positions: %s", why);
    }
    if (n->refused) {
        return NULL;
    }
    IrTensor t = ir_tensor_new(n->fe->arena, &type, 1);
    int64_t plane = d->out[0] * d->out[1], columns = d->span[1].kernel;
    for (int64_t i = 0; i < d->taps * plane; i++) {
        int64_t k = i / plane, at = axis ? i % d->out[1] : i % plane / d->out[1];
        int64_t tap = axis ? k % columns : k / columns;
        ((float *)t.data)[i] = (float)(at * s->stride - s->begin + tap * s->dilation);
    }
    return fe_tensor_const(n, &t);
}

// The axis' coordinate of all grids, [N*G,K*OH,OW,1]. Offsets are [N,G,K,2,OH,OW], rows first.
static IrValue *build_coordinate(FeNode *n, const Deform *d, IrDim grids, int axis) {
    IrDim N = d->x->type.shape.dim[0], rows = ir_dim(d->out[0]), columns = ir_dim(d->out[1]);
    IrShape split = {6, {N, ir_dim(d->groups), ir_dim(d->taps), ir_dim(2), rows, columns}};
    IrShape each = {4, {grids, ir_dim(d->taps), rows, columns}}, flat = {4, {grids}};
    IrValue *v = fe_part(n, fe_reshape(n, d->offset, &split), 3, axis, 1);
    v = n->refused ? NULL
                   : fe_bin(n, IR_OP_ADD, fe_reshape(n, v, &each), tap_positions(n, d, axis));
    double size = (double)d->span[axis].size;
    v = fe_op_const(n, IR_OP_MUL, fe_op_const(n, IR_OP_ADD, v, 0.5), 2 / size);
    v = fe_op_const(n, IR_OP_SUB, v, 1);
    flat.dim[1] = ir_dim(d->taps * d->out[0]);
    flat.dim[2] = columns;
    flat.dim[3] = ir_dim(1);
    return n->refused ? NULL : fe_reshape(n, v, &flat);
}

// What all taps read, [N,C*K,OH,OW].
static IrValue *sample(FeNode *n, const Deform *d) {
    IrDim N = d->x->type.shape.dim[0], grids, rows = ir_dim(d->out[0]), columns = ir_dim(d->out[1]);
    int64_t channels = d->x->type.shape.dim[1].c;
    if (!ir_dim_mul(N, ir_dim(d->groups), &grids)) {
        fe_refuse(n, "it is too large");
        return NULL;
    }
    IrDim each = ir_dim(channels / d->groups), taps = ir_dim(d->taps);
    IrShape image = {4, {grids, each, ir_dim(d->span[0].size), ir_dim(d->span[1].size)}};
    IrShape read = {6, {N, ir_dim(d->groups), each, taps, rows, columns}};
    IrShape seen = {6, {N, ir_dim(d->groups), ir_dim(1), taps, rows, columns}};
    IrShape joined = {4, {N, ir_dim(channels * d->taps), rows, columns}};
    IrValue *x = build_coordinate(n, d, grids, 1), *y = build_coordinate(n, d, grids, 0);
    IrValue *grid = fe_build(n, IR_OP_CONCAT, FE_IN(x, y), FE_WITH(ir_attr_i(IR_ATTR_AXIS, 3)));
    IrValue *v = fe_build(n, IR_OP_GRID_SAMPLE, FE_IN(fe_reshape(n, d->x, &image), grid),
                          FE_WITH(ir_attr_s(IR_ATTR_MODE, "linear"),
                                  ir_attr_s(IR_ATTR_BORDER, "zeros"), ir_attr_i(IR_ATTR_ALIGN, 0)));
    if (d->mask && !n->refused) {
        v = fe_bin(n, IR_OP_MUL, fe_reshape(n, v, &read), fe_reshape(n, d->mask, &seen));
    }
    return n->refused ? NULL : fe_reshape(n, v, &joined);
}

static bool has_shape(const IrValue *v, IrDim N, int64_t channels, const int64_t *out) {
    const IrShape *s = &v->type.shape;
    return s->rank == 4 && ir_dim_eq(s->dim[0], N) && ir_dim_is(s->dim[1], channels) &&
           ir_dim_is(s->dim[2], out[0]) && ir_dim_is(s->dim[3], out[1]);
}

static bool read_deform(FeNode *n, Deform *d) {
    *d = (Deform){.x = fe_operand(n, 0), .w = fe_operand(n, 1), .offset = fe_operand(n, 2)};
    d->mask = fe_operand_or_null(n, 4);
    d->groups = fe_attr_int(n, "offset_group", 1);
    if (n->refused) {
        return false;
    }
    const IrShape *xs = &d->x->type.shape, *ws = &d->w->type.shape;
    if (xs->rank != 4 || ws->rank != 4 || xs->dim[1].n || !ir_shape_is_static(ws)) {
        fe_refuse(n, "input of rank %d with weights of rank %d; 2-D is supported", xs->rank,
                  ws->rank);
        return false;
    }
    int64_t kernel[] = {ws->dim[2].c, ws->dim[3].c};
    if (!fe_spans(n, xs, kernel, d->span)) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        d->out[i] = fe_span_windows(n, &d->span[i], false);
    }
    bool fits = !n->refused && !__builtin_mul_overflow(kernel[0], kernel[1], &d->taps) &&
                d->groups > 0 && xs->dim[1].c % d->groups == 0 && d->taps < 1 << 20;
    fits = fits && has_shape(d->offset, xs->dim[0], 2 * d->groups * d->taps, d->out) &&
           (!d->mask || has_shape(d->mask, xs->dim[0], d->groups * d->taps, d->out));
    if (!fits) {
        fe_refuse(n, "offsets or mask do not fit %lld groups of the channels",
                  (long long)d->groups);
    }
    return !n->refused;
}

// DeformConv-19: x, w, offsets [N,G*K*2,OH,OW], bias, mask [N,G*K,OH,OW]
void fe_import_deform_conv(FeNode *n) {
    Deform d;
    if (!read_deform(n, &d)) {
        return;
    }
    const IrDim *w = d.w->type.shape.dim;
    IrShape one = {4, {w[0], ir_dim(w[1].c * d.taps), ir_dim(1), ir_dim(1)}};
    IrValue *bias = fe_operand_or_null(n, 3), *x = sample(n, &d);
    IrAttr attrs[4];
    FeSpan point = {d.out[1], 1, 1, 1, 0, 0};
    fe_span_attrs(n, NULL, &point, attrs);
    attrs[3] = ir_attr_i(IR_ATTR_GROUP, fe_attr_int(n, "group", 1));
    fe_out(n, 0, fe_build(n, IR_OP_CONV, FE_IN(x, fe_reshape(n, d.w, &one), bias), 4, attrs));
}
