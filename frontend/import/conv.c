// Conv. 1-D convolutions are 2-D ones of height 1; in 3-D ones the taps along the depth are
// channels of a 2-D one:
//
//   x [N,C,D,H,W] -> transpose, pad [N,D,C,H,W] -> gather of KD slices for each of OD
//     -> [N*OD, KD*C, H, W] -> conv by [O, KD*C/group, KH, KW] -> [N,OD,O,OH,OW] -> transpose
//
// With groups the gathered channels [KD,G,I] are put in the order [G,KD,I].
#include "frontend/import.h"

enum { MAX_DEPTH_TAPS = 1 << 20 };

static IrValue *build_conv2(FeNode *n, IrValue *x, IrValue *w, IrValue *b, const FeSpan *span,
                            int rank) {
    IrAttr attrs[4];
    fe_span_attrs(n, rank > 1 ? &span[rank - 2] : NULL, &span[rank - 1], attrs);
    attrs[3] = ir_attr_i(IR_ATTR_GROUP, fe_attr_int(n, "group", 1));
    return fe_build(n, IR_OP_CONV, FE_IN(x, w, b), 4, attrs);
}

// [N,D,C,H,W] with `begin` and `end` zeros around D.
static IrValue *pad_depth(FeNode *n, IrValue *x, const FeSpan *depth) {
    int64_t pads[10] = {0, depth->begin, 0, 0, 0, 0, depth->end};
    if (!depth->begin && !depth->end) {
        return x;
    }
    return fe_build(n, IR_OP_PAD, FE_IN(x),
                    FE_WITH(fe_ints_attr(n, IR_ATTR_PAD, 10, pads),
                            ir_attr_s(IR_ATTR_MODE, "constant"), ir_attr_f(IR_ATTR_VALUE, 0)));
}

// [N,D,C,H,W] -> [N,OD,KD,C,H,W]
static IrValue *gather_taps(FeNode *n, IrValue *x, const FeSpan *depth, int64_t out) {
    if (n->refused || out > MAX_DEPTH_TAPS / depth->kernel) {
        fe_refuse(n, "a depth of %lld is too much", (long long)out);
        return NULL;
    }
    IrType type = {IR_I64, {2, {ir_dim(out), ir_dim(depth->kernel)}}, 0};
    IrTensor index = ir_tensor_new(n->fe->arena, &type, 1);
    for (int64_t i = 0; i < out * depth->kernel; i++) {
        ((int64_t *)index.data)[i] =
            i / depth->kernel * depth->stride + i % depth->kernel * depth->dilation;
    }
    return fe_build(n, IR_OP_GATHER, FE_IN(x, fe_tensor_const(n, &index)),
                    FE_WITH(ir_attr_i(IR_ATTR_AXIS, 1)));
}

// Conv-11, x [N,C,D,H,W], w [O,C/group,KD,KH,KW].
static IrValue *build_conv3(FeNode *n, IrValue *x, IrValue *w, IrValue *b, const FeSpan *span) {
    const IrDim *xd = x->type.shape.dim, *wd = w->type.shape.dim;
    int64_t out = fe_span_windows(n, span, false), taps = span->kernel;
    int64_t group = fe_attr_int(n, "group", 1);
    if (!n->refused && (group < 1 || xd[1].n || xd[1].c % group)) {
        fe_refuse(n, "group %lld does not divide the %lld channels", (long long)group,
                  (long long)xd[1].c);
    }
    IrDim images, channels, inner;
    if (n->refused || !ir_dim_mul(xd[0], ir_dim(out), &images) ||
        !ir_dim_mul(xd[1], ir_dim(taps), &channels) || !ir_dim_mul(wd[1], ir_dim(taps), &inner)) {
        fe_refuse(n, "it is too large");
        return NULL;
    }
    x = fe_transpose(n, x, 5, (int64_t[]){0, 2, 1, 3, 4});
    x = gather_taps(n, pad_depth(n, x, span), span, out);
    if (group > 1 && taps > 1) {
        IrDim each = ir_dim(xd[1].c / group);
        IrShape split = {7, {xd[0], ir_dim(out), ir_dim(taps), ir_dim(group), each, xd[3], xd[4]}};
        x = fe_transpose(n, fe_reshape(n, x, &split), 7, (int64_t[]){0, 1, 3, 2, 4, 5, 6});
    }
    x = fe_reshape(n, x, &(IrShape){4, {images, channels, xd[3], xd[4]}});
    IrShape filter = {4, {wd[0], inner, wd[3], wd[4]}};
    w = fe_reshape(n, fe_transpose(n, w, 5, (int64_t[]){0, 2, 1, 3, 4}), &filter);
    IrValue *y = build_conv2(n, x, w, b, span, 3);
    if (n->refused) {
        return NULL;
    }
    const IrDim *yd = y->type.shape.dim;
    y = fe_reshape(n, y, &(IrShape){5, {xd[0], ir_dim(out), yd[1], yd[2], yd[3]}});
    return fe_transpose(n, y, 5, (int64_t[]){0, 2, 1, 3, 4});
}

IrValue *fe_conv_windows(FeNode *n, IrValue *x, IrValue *w, IrValue *b, const FeSpan *span) {
    if (n->refused) {
        return NULL;
    }
    int axes = x->type.shape.rank - 2;
    return fe_from_2d(n, build_conv2(n, fe_to_2d(n, x), fe_to_2d(n, w), b, span, axes), axes);
}

// Conv-11: x [N,C,...], w [O,C/group,...], b [O]
IrValue *fe_conv(FeNode *n, IrValue *x, IrValue *w, IrValue *b) {
    if (n->refused) {
        return NULL;
    }
    const IrShape *xs = &x->type.shape, *ws = &w->type.shape;
    if (xs->rank != ws->rank || xs->rank < 3 || xs->rank > 5) {
        fe_refuse(n, "input of rank %d with weights of rank %d; 1-D to 3-D are supported", xs->rank,
                  ws->rank);
        return NULL;
    }
    int64_t kernel[3];
    for (int i = 2; i < ws->rank; i++) {
        kernel[i - 2] = ws->dim[i].n ? 0 : ws->dim[i].c;
    }
    FeSpan span[IR_MAX_RANK];
    if (!fe_spans(n, xs, kernel, span)) {
        return NULL;
    }
    if (xs->rank == 5) {
        return build_conv3(n, x, w, b, span);
    }
    return fe_conv_windows(n, x, w, b, span);
}

void fe_import_conv(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *w = fe_operand(n, 1), *b = fe_operand_or_null(n, 2);
    fe_out(n, 0, fe_conv(n, x, w, b));
}
