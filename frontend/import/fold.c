// Col2Im: columns of blocks put back where they came from, adding where blocks overlap. One axis
// after another, since what a cell of a block is worth is a product of spans:
//
//   [N,C,K1,K2,L1,L2] -> [N,C,K1,L1,K2,L2] -> fold [..,K2,L2,1] to [..,I2] -> fold [..,K1,L1,I2]
//
// and a fold of one axis is the gradient of a convolution whose filter k is 1 at tap k, or, where
// blocks lie side by side, no more than another order.
#include "frontend/import.h"

// x [A,K,L,B], cell k of block l at l * stride + k * dilation: [A,cells,B].
static IrValue *fold_axis(FeNode *n, IrValue *x, const FeSpan *s, int64_t cells) {
    if (n->refused) {
        return NULL;
    }
    const IrDim *d = x->type.shape.dim;
    IrShape y = {4, {d[0], ir_dim(1), ir_dim(cells), d[3]}}, joined = {3, {d[0], y.dim[2], d[3]}};
    if (s->stride == s->kernel && s->dilation == 1) {
        return fe_reshape(n, fe_transpose(n, x, 4, (int64_t[]){0, 2, 1, 3}), &joined);
    }
    IrType type = {IR_F32, {4, {d[1], ir_dim(1), d[1], ir_dim(1)}}, 0};
    const char *why = fe_check_fill(n->fe, &type);
    if (why) {
        fe_refuse(n, "its filter %s", why);
        return NULL;
    }
    IrTensor w = ir_tensor_new(n->fe->arena, &type, 1);
    for (int64_t k = 0; k < s->kernel; k++) {
        ((float *)w.data)[k * s->kernel + k] = 1;
    }
    int64_t stride[] = {s->stride, 1}, dilation[] = {s->dilation, 1}, pad[4] = {0};
    x = fe_build(n, IR_OP_CONV_DGRAD, FE_IN(x, fe_tensor_const(n, &w)),
                 FE_WITH(fe_ints_attr(n, IR_ATTR_STRIDE, 2, stride),
                         fe_ints_attr(n, IR_ATTR_DILATION, 2, dilation),
                         fe_ints_attr(n, IR_ATTR_PAD, 4, pad), ir_attr_i(IR_ATTR_GROUP, 1),
                         ir_attr_dims(IR_ATTR_SHAPE, &y)));
    return n->refused ? NULL : fe_reshape(n, x, &joined);
}

// Cells [begin, begin + size) of axis 1, zeros where it has fewer.
static IrValue *cut_cells(FeNode *n, IrValue *x, int64_t begin, int64_t size) {
    if (n->refused || (begin == 0 && ir_dim_is(x->type.shape.dim[1], size))) {
        return x;
    }
    int64_t pads[] = {0, -begin, 0, 0, size + begin - x->type.shape.dim[1].c, 0};
    return fe_build(n, IR_OP_PAD, FE_IN(x),
                    FE_WITH(fe_ints_attr(n, IR_ATTR_PAD, 6, pads),
                            ir_attr_s(IR_ATTR_MODE, "constant"), ir_attr_f(IR_ATTR_VALUE, 0)));
}

typedef struct Fold {
    int rank;                 // spatial axes
    FeSpan span[IR_MAX_RANK]; // size: of the image
    int64_t blocks[IR_MAX_RANK];
} Fold;

static bool read_fold(FeNode *n, const IrShape *x, Fold *f) {
    IrInts image = fe_ints(n, 1), block = fe_ints(n, 2);
    int most = IR_MAX_RANK / 2 - 1;
    if (n->refused || image.n < 1 || image.n > most || block.n != image.n || x->rank != 3) {
        fe_refuse(n, "an input of rank %d with images of %d and blocks of %d dimensions", x->rank,
                  image.n, block.n);
        return false;
    }
    f->rank = image.n;
    IrShape as = {image.n + 2, {ir_dim(1), ir_dim(1)}};
    int64_t taps = 1, all = 1;
    for (int i = 0; i < image.n; i++) {
        if (image.v[i] < 1 || image.v[i] > INT32_MAX || block.v[i] < 1 || block.v[i] > INT32_MAX) {
            fe_refuse(n, "an image of %lld by blocks of %lld", (long long)image.v[i],
                      (long long)block.v[i]);
            return false;
        }
        as.dim[2 + i] = ir_dim(image.v[i]);
    }
    if (!fe_spans(n, &as, block.v, f->span)) {
        return false;
    }
    for (int i = 0; i < f->rank && !n->refused; i++) {
        f->blocks[i] = fe_span_windows(n, &f->span[i], false);
        if (__builtin_mul_overflow(taps, block.v[i], &taps) ||
            __builtin_mul_overflow(all, f->blocks[i], &all)) {
            fe_refuse(n, "it is too large");
        }
    }
    if (!n->refused && (x->dim[1].n || x->dim[1].c % taps || !ir_dim_is(x->dim[2], all))) {
        fe_refuse(n, "%lld rows and %lld columns, for %lld cells in each of %lld blocks",
                  (long long)x->dim[1].c, (long long)x->dim[2].c, (long long)taps, (long long)all);
    }
    return !n->refused;
}

// x [N,C*K1..,L1*..] -> [N,C,K1,L1,K2,L2..]
static IrValue *split_columns(FeNode *n, IrValue *x, const Fold *f, int64_t channels) {
    IrShape split = {2, {x->type.shape.dim[0], ir_dim(channels)}};
    int64_t perm[IR_MAX_RANK] = {0, 1};
    for (int i = 0; i < f->rank; i++) {
        split.dim[2 + i] = ir_dim(f->span[i].kernel);
        split.dim[2 + f->rank + i] = ir_dim(f->blocks[i]);
        perm[2 + 2 * i] = 2 + i;
        perm[3 + 2 * i] = 2 + f->rank + i;
    }
    split.rank = 2 + 2 * f->rank;
    return fe_transpose(n, fe_reshape(n, x, &split), split.rank, perm);
}

// Col2Im-18: columns, the image's shape, the block's
void fe_import_col2im(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    Fold f;
    if (n->refused || !read_fold(n, &x->type.shape, &f)) {
        return;
    }
    IrShape out = {2 + f.rank, {x->type.shape.dim[0], x->type.shape.dim[1]}};
    for (int i = 0; i < f.rank; i++) {
        out.dim[1].c /= f.span[i].kernel;
        out.dim[2 + i] = ir_dim(f.span[i].size);
    }
    x = split_columns(n, x, &f, out.dim[1].c);
    IrDim inner = ir_dim(1);
    for (int i = f.rank - 1; i >= 0 && !n->refused; i--) {
        const FeSpan *s = &f.span[i];
        int64_t cells = (f.blocks[i] - 1) * s->stride + fe_span_extent(s);
        IrDim outer = ir_dim(1);
        bool fits = ir_dim_mul(out.dim[0], out.dim[1], &outer);
        for (int k = 0; k < i && fits; k++) {
            fits = ir_dim_mul(outer, ir_dim(f.span[k].kernel * f.blocks[k]), &outer);
        }
        if (!fits) {
            fe_refuse(n, "it is too large");
        }
        IrShape as = {4, {outer, ir_dim(s->kernel), ir_dim(f.blocks[i]), inner}};
        x = fold_axis(n, fe_reshape(n, x, &as), s, cells);
        x = cut_cells(n, x, s->begin, s->size);
        if (!ir_dim_mul(inner, ir_dim(s->size), &inner)) {
            fe_refuse(n, "it is too large");
        }
    }
    fe_out(n, 0, n->refused ? NULL : fe_reshape(n, x, &out));
}
