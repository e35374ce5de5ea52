// ConvTranspose: the gradient of a convolution by its input, so the IR's conv_dgrad, which the pass
// expand_dgrad turns into convolutions, and a bias.
//
// Pixel i of the input adds the kernel to the cells i * stride + k * dilation of a row of
//
//   full = (size - 1) * stride + (kernel - 1) * dilation + 1
//
// cells; the result is cells [begin, begin + out) of it, zeros where it reaches further
// (output_padding, output_shape). In 3-D the taps along the depth are further channels of a 2-D
// one, which are then added where they belong:
//
//   x [N*D,C,H,W], w [C,M/group*KD,KH,KW] -> [N,D,M,KD,OH,OW] -> per tap slice, spread, sum
#include "frontend/import.h"

#include <string.h>

typedef struct Deconv {
    int rank;
    FeSpan span[IR_MAX_RANK]; // size: of the input; end is not used
    int64_t out[IR_MAX_RANK];
    int64_t group;
} Deconv;

static int64_t full_size(const FeSpan *s) {
    return (s->size - 1) * s->stride + fe_span_extent(s);
}

// A list of one number >= 0 per spatial axis into out[]; false when it is absent.
static bool read_list(FeNode *n, const char *name, int rank, int64_t *out) {
    IrInts v = fe_attr_ints(n, name);
    int skip = v.n == rank + 2 ? 2 : 0; // output_shape with the images and channels before
    if (v.v && v.n - skip != rank) {
        fe_refuse(n, "%s has %d entries for %d spatial dimensions", name, v.n, rank);
    }
    for (int i = 0; i < v.n - skip && !n->refused; i++) {
        out[i] = v.v[skip + i];
        if (out[i] < 0 || out[i] > INT32_MAX) {
            fe_refuse(n, "%s entry %d is %lld", name, i, (long long)out[i]);
        }
    }
    return v.v && !n->refused;
}

// ConvTranspose-11: sizes of the result from the padding, or the padding from the sizes.
static bool read_sizes(FeNode *n, Deconv *d) {
    int64_t added[IR_MAX_RANK] = {0};
    FeAutoPad mode = fe_auto_pad(n);
    read_list(n, "output_padding", d->rank, added);
    bool given = read_list(n, "output_shape", d->rank, d->out);
    bool same = mode == FE_PAD_SAME_UPPER || mode == FE_PAD_SAME_LOWER;
    if (!given && mode == FE_PAD_NOTSET) {
        fe_read_pads(n, d->rank, d->span);
    }
    for (int i = 0; i < d->rank && !n->refused; i++) {
        FeSpan *s = &d->span[i];
        if (s->size < 1 || s->size > INT32_MAX / 2 || full_size(s) > INT64_MAX / 4) {
            fe_refuse(n, "spatial dimension %d of size %lld cannot be spread", i + 2,
                      (long long)s->size);
            return false;
        }
        if (given || same) {
            // SAME_*: size * stride, or all of it where the kernel is shorter than the stride.
            int64_t all = full_size(s) + added[i], most = s->size * s->stride;
            d->out[i] = given ? d->out[i] : most < all ? most : all;
            fe_share_padding(s, all - d->out[i], mode != FE_PAD_SAME_UPPER); // the odd cell
        } else {
            d->out[i] = full_size(s) + added[i] - s->begin - s->end;
        }
        if (d->out[i] < 1 || d->out[i] > INT32_MAX || s->begin >= full_size(s)) {
            fe_refuse(n, "spatial dimension %d of the result has size %lld", i + 2,
                      (long long)d->out[i]);
        }
    }
    return !n->refused;
}

// The span of the convolution that this is the gradient of, *size that of its input: `out` cells or
// as many as are not certainly zero.
static FeSpan dgrad_span(const FeSpan *s, int64_t out, int64_t *size) {
    int64_t most = full_size(s) + s->stride - 1 - s->begin;
    *size = out < most ? out : most;
    int64_t end = full_size(s) - s->begin - *size;
    FeSpan span = *s;
    span.end = end > 0 ? end : 0;
    return span;
}

static IrValue *pad_zeros(FeNode *n, IrValue *x, const int64_t *pads) {
    return fe_build(n, IR_OP_PAD, FE_IN(x),
                    FE_WITH(fe_ints_attr(n, IR_ATTR_PAD, 2 * x->type.shape.rank, pads),
                            ir_attr_s(IR_ATTR_MODE, "constant"), ir_attr_f(IR_ATTR_VALUE, 0)));
}

// x [N,C,H,W], w [C,M/group,KH,KW]; the last two axes of d.
static IrValue *build_deconv2(FeNode *n, IrValue *x, IrValue *w, const Deconv *d) {
    if (n->refused) {
        return NULL;
    }
    int last = d->rank - 1;
    const IrDim *xd = x->type.shape.dim, *wd = w->type.shape.dim;
    int64_t h = 1, wide = 1, out_h = last > 0 ? d->out[last - 1] : 1;
    FeSpan rows = {1, 1, 1, 1, 0, 0}, columns = dgrad_span(&d->span[last], d->out[last], &wide);
    if (last > 0) {
        rows = dgrad_span(&d->span[last - 1], out_h, &h);
    }
    IrDim channels;
    if (!ir_dim_mul(wd[1], ir_dim(d->group), &channels)) {
        fe_refuse(n, "group is %lld", (long long)d->group);
        return NULL;
    }
    IrShape y = {4, {xd[0], channels, ir_dim(h), ir_dim(wide)}};
    IrAttr attrs[5];
    fe_span_attrs(n, &rows, &columns, attrs);
    attrs[3] = ir_attr_i(IR_ATTR_GROUP, d->group);
    attrs[4] = ir_attr_dims(IR_ATTR_SHAPE, &y);
    IrValue *v = fe_build(n, IR_OP_CONV_DGRAD, FE_IN(x, w), 5, attrs);
    int64_t pads[8] = {0, 0, 0, 0, 0, 0, out_h - h, d->out[last] - wide};
    return n->refused || (!pads[6] && !pads[7]) ? v : pad_zeros(n, v, pads);
}

// Tap k of v [N,D,M,KD,OH,OW] on the cells of depth that it adds to, [N,cells,M,OH,OW].
static IrValue *spread_tap(FeNode *n, IrValue *v, const FeSpan *depth, int64_t k, int64_t cells) {
    IrShape one = v->type.shape, to;
    int64_t start[6] = {0, 0, 0, k, 0, 0}, step[6] = {1, 1, 1, 1, 1, 1};
    one.dim[3] = ir_dim(1);
    v = fe_build(n, IR_OP_SLICE, FE_IN(v),
                 FE_WITH(fe_ints_attr(n, IR_ATTR_START, 6, start),
                         fe_ints_attr(n, IR_ATTR_STEP, 6, step),
                         ir_attr_dims(IR_ATTR_SHAPE, &one)));
    to = (IrShape){5, {one.dim[0], one.dim[1], one.dim[2], one.dim[4], one.dim[5]}};
    v = fe_reshape(n, v, &to);
    to.dim[1] = ir_dim(cells);
    int64_t at[5] = {0, k * depth->dilation}, by[5] = {1, depth->stride, 1, 1, 1};
    return fe_build(n, IR_OP_SLICE_GRAD, FE_IN(v),
                    FE_WITH(fe_ints_attr(n, IR_ATTR_START, 5, at),
                            fe_ints_attr(n, IR_ATTR_STEP, 5, by),
                            ir_attr_dims(IR_ATTR_SHAPE, &to)));
}

enum { MAX_DEPTH_TAPS = 64 };

// x [N,C,D,H,W], w [C,M/group,KD,KH,KW]
static IrValue *build_deconv3(FeNode *n, IrValue *x, IrValue *w, const Deconv *d) {
    const IrDim *xd = x->type.shape.dim, *wd = w->type.shape.dim;
    const FeSpan *depth = &d->span[0];
    IrDim images, taps = ir_dim(depth->kernel), more;
    if (depth->kernel > MAX_DEPTH_TAPS || !ir_dim_mul(xd[0], xd[2], &images) ||
        !ir_dim_mul(wd[1], taps, &more)) {
        fe_refuse(n, "NYI: a kernel of depth %lld", (long long)depth->kernel);
        return NULL;
    }
    x = fe_transpose(n, x, 5, (int64_t[]){0, 2, 1, 3, 4});
    x = fe_reshape(n, x, &(IrShape){4, {images, xd[1], xd[3], xd[4]}});
    w = fe_reshape(n, w, &(IrShape){4, {wd[0], more, wd[3], wd[4]}});
    IrValue *v = build_deconv2(n, x, w, d), *sum = NULL;
    if (n->refused) {
        return NULL;
    }
    const IrDim *vd = v->type.shape.dim;
    IrDim M = ir_dim(vd[1].c / depth->kernel);
    v = fe_reshape(n, v, &(IrShape){6, {xd[0], xd[2], M, taps, vd[2], vd[3]}});
    int64_t reach = depth->begin + d->out[0], cells = full_size(depth);
    cells = reach > cells ? reach : cells;
    for (int64_t k = 0; k < depth->kernel && !n->refused; k++) {
        IrValue *part = spread_tap(n, v, depth, k, cells);
        sum = sum ? fe_bin(n, IR_OP_ADD, sum, part) : part;
    }
    if (n->refused) {
        return NULL;
    }
    int64_t start[5] = {0, depth->begin}, step[5] = {1, 1, 1, 1, 1};
    IrShape kept = sum->type.shape;
    kept.dim[1] = ir_dim(d->out[0]);
    sum = fe_build(n, IR_OP_SLICE, FE_IN(sum),
                   FE_WITH(fe_ints_attr(n, IR_ATTR_START, 5, start),
                           fe_ints_attr(n, IR_ATTR_STEP, 5, step),
                           ir_attr_dims(IR_ATTR_SHAPE, &kept)));
    return fe_transpose(n, sum, 5, (int64_t[]){0, 2, 1, 3, 4});
}

static bool read_node(FeNode *n, const IrShape *x, const IrShape *w, Deconv *d) {
    int64_t kernel[3];
    if (x->rank != w->rank || x->rank < 3 || x->rank > 5) {
        fe_refuse(n, "input of rank %d with weights of rank %d; 1-D to 3-D are supported", x->rank,
                  w->rank);
        return false;
    }
    for (int i = 0; i < w->rank; i++) {
        if (w->dim[i].n || (i > 0 && x->dim[i].n)) {
            fe_refuse(n, "dimension %d depends on the batch size", i);
            return false;
        }
    }
    *d = (Deconv){.rank = x->rank - 2, .group = fe_attr_int(n, "group", 1)};
    for (int i = 0; i < d->rank; i++) {
        kernel[i] = w->dim[2 + i].c;
    }
    if (d->group < 1 || d->group > INT32_MAX || x->dim[1].c % d->group ||
        x->dim[1].c != w->dim[0].c) {
        fe_refuse(n, "group %lld does not fit %lld input channels and weights for %lld",
                  (long long)d->group, (long long)x->dim[1].c, (long long)w->dim[0].c);
    }
    return !n->refused && fe_read_spans(n, x, kernel, d->span) && read_sizes(n, d);
}

// ConvTranspose-11: x [N,C,...], w [C,M/group,...], b [M]
void fe_import_conv_transpose(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *w = fe_operand(n, 1), *b = fe_operand_or_null(n, 2), *y;
    Deconv d;
    if (n->refused || !read_node(n, &x->type.shape, &w->type.shape, &d)) {
        return;
    }
    int rank = x->type.shape.rank;
    y = rank == 5 ? build_deconv3(n, x, w, &d)
                  : fe_from_2d(n, build_deconv2(n, fe_to_2d(n, x), fe_to_2d(n, w), &d), rank - 2);
    if (b && !n->refused) {
        if (b->type.shape.rank != 1 || !ir_dim_eq(b->type.shape.dim[0], y->type.shape.dim[1])) {
            fe_refuse(n, "the bias does not have one number for each of %lld channels",
                      (long long)y->type.shape.dim[1].c);
            return;
        }
        y = fe_bin(n, IR_OP_ADD, y, fe_reshape_axes(n, b, rank, (IrInts){1, (int64_t[]){1}}));
    }
    fe_out(n, 0, y);
}
