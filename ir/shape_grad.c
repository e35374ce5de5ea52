// Shape rules of the ops that only training needs: gradients that no chain of other ops computes as
// well, batch normalisation by the batch's own statistics, the loss. A gradient's operand is called
// d of what it is the gradient of: dy has the type of the op's result y.
#include "ir/shape.h"

static const char *need_type(const IrNode *n, int i, IrDtype t, const IrShape *s) {
    IrType want = {.dtype = t, .shape = *s};
    return ir_in_type(n, i)->dtype == t && ir_shape_eq(&ir_in_type(n, i)->shape, s)
               ? NULL
               : ir_why(n, "operand %d is %s, it must be %s", i, ir_operand_text(n, i),
                        ir_type_text(n, &want));
}

static void set_result(IrNode *n, int k, IrDtype t, const IrShape *s) {
    n->out[k]->type = (IrType){.dtype = t, .shape = *s};
}

// The attribute `shape`, of rank 4, fixed but for `free_axes` leading ones.
static const char *need_shape4(const IrNode *n, int free_axes, IrShape *out) {
    const IrAttr *a = ir_attr(n, IR_ATTR_SHAPE);
    if (!a || a->dims.rank != 4) {
        return a ? ir_why(n, "shape has rank %d, it must be 4", a->dims.rank)
                 : "attribute shape is missing";
    }
    *out = a->dims;
    IrType t = {.dtype = IR_F32, .shape = *out};
    const char *why = ir_check_type(n->graph->prog->arena, &t);
    for (int i = free_axes; i < 4 && !why; i++) {
        why = out->dim[i].n ? ir_why(n, "dimension %d of shape must not depend on N", i) : NULL;
    }
    return why;
}

// ---------------------------------------------------------------- convolution

// x, w and dy as a convolution has them; *which: the operand that dy is.
static const char *check_conv(const IrNode *n, const IrShape *x, const IrShape *w, int dy) {
    int64_t group = ir_int(n, IR_ATTR_GROUP, 1);
    if (group < 1 || x->dim[1].c % group || w->dim[0].c % group ||
        x->dim[1].c / group != w->dim[1].c) {
        return ir_why(n, "group %lld does not fit %lld input channels and weights [%lld,%lld,...]",
                      (long long)group, (long long)x->dim[1].c, (long long)w->dim[0].c,
                      (long long)w->dim[1].c);
    }
    if (w->dim[2].c < 1 || w->dim[3].c < 1) {
        return "the kernel of the weights is empty";
    }
    IrShape y = {.rank = 4, .dim = {x->dim[0], w->dim[0]}};
    const char *why = ir_check_window_attrs(n);
    why = why ? why : ir_window_result(n, x, &y.dim[2], &y.dim[3]);
    return why ? why : need_type(n, dy, ir_in_type(n, 0)->dtype, &y);
}

static const char *need_fixed_weights(const IrNode *n, int i) {
    const char *why = ir_need_rank(n, i, 4, 4);
    for (int axis = 0; axis < 4 && !why; axis++) {
        why = ir_need_fixed(n, i, axis);
    }
    return why;
}

// dy [N,O,OH,OW], w [O,C/group,KH,KW] -> dx [N,C,H,W] = shape.
const char *ir_shape_conv_dgrad(IrNode *n) {
    IrShape x;
    const char *why = need_shape4(n, 1, &x);
    why = why ? why : ir_need_float(n, 0);
    why = why ? why : ir_need_same_dtype(n, 0, 1);
    why = why ? why : need_fixed_weights(n, 1);
    why = why ? why : check_conv(n, &x, &ir_in_type(n, 1)->shape, 0);
    if (!why) {
        ir_set_result(n, ir_in_type(n, 0)->dtype, &x);
    }
    return why;
}

// x [N,C,H,W], dy [N,O,OH,OW] -> dw [O,C/group,KH,KW] = shape.
const char *ir_shape_conv_wgrad(IrNode *n) {
    IrShape w;
    const char *why = need_shape4(n, 0, &w);
    why = why ? why : ir_need_float(n, 0);
    why = why ? why : ir_need_rank(n, 0, 4, 4);
    for (int axis = 1; axis < 4 && !why; axis++) {
        why = ir_need_fixed(n, 0, axis);
    }
    why = why ? why : check_conv(n, &ir_in_type(n, 0)->shape, &w, 1);
    if (!why) {
        ir_set_result(n, ir_own_dtype(n), &w);
    }
    return why;
}

const char *ir_shape_pair_images(IrNode *n) {
    IrShape out = ir_in_type(n, 0)->shape;
    const char *why = ir_need_rank(n, 0, 4, 4);
    if (!why && ir_in_type(n, 0)->dtype != IR_BF16) {
        why = ir_why(n, "%s is not of bf16", ir_operand_text(n, 0));
    }
    if (!why && !ir_dim_mul(out.dim[0], ir_dim(2), &out.dim[0])) {
        why = ir_why(n, "twice the images of %s are too many", ir_operand_text(n, 0));
    }
    if (!why) {
        ir_set_result(n, IR_BF16, &out);
    }
    return why;
}

// [O,I/group,KH,KW] -> [I,O/group,KH,KW]
const char *ir_shape_flip_filter(IrNode *n) {
    int64_t group = ir_int(n, IR_ATTR_GROUP, 1);
    const char *why = need_fixed_weights(n, 0);
    if (why) {
        return why;
    }
    const IrShape *w = &ir_in_type(n, 0)->shape;
    IrDim in;
    if (group < 1 || w->dim[0].c % group || !ir_dim_mul(w->dim[1], ir_dim(group), &in)) {
        return ir_why(n, "group %lld does not fit weights %s", (long long)group,
                      ir_operand_text(n, 0));
    }
    IrShape out = {.rank = 4, .dim = {in, ir_dim(w->dim[0].c / group), w->dim[2], w->dim[3]}};
    ir_set_result(n, ir_in_type(n, 0)->dtype, &out);
    return NULL;
}

// ---------------------------------------------------------------- pools

const char *ir_shape_max_pool_grad(IrNode *n) {
    IrShape y = {0};
    const char *why = ir_need_float(n, 0);
    why = why ? why : ir_need_same_dtype(n, 0, 1);
    why = why ? why : ir_pool_result(n, &ir_in_type(n, 0)->shape, &y);
    why = why ? why : need_type(n, 1, ir_in_type(n, 0)->dtype, &y);
    if (!why) {
        ir_set_result(n, ir_in_type(n, 0)->dtype, &ir_in_type(n, 0)->shape);
    }
    return why;
}

const char *ir_shape_avg_pool_grad(IrNode *n) {
    IrShape x = {0}, y = {0};
    const char *why = ir_need_float(n, 0);
    why = why ? why : need_shape4(n, 1, &x);
    why = why ? why : ir_pool_result(n, &x, &y);
    why = why ? why : need_type(n, 0, ir_in_type(n, 0)->dtype, &y);
    if (!why) {
        ir_set_result(n, ir_in_type(n, 0)->dtype, &x);
    }
    return why;
}

// ---------------------------------------------------------------- normalisation

// x [N,C,...]: a channel's statistics are vectors over axis 1.
static const char *check_channels(const IrNode *n) {
    const char *why = ir_need_rank(n, 0, 2, IR_MAX_RANK);
    why = why ? why : ir_need_float(n, 0);
    return why ? why : ir_need_fixed(n, 0, 1);
}

// Operands from `first` on and results 1 and 2 are of channels, in the node's own type, and so is
// result 0, of x's shape, before the epilogue.
static const char *infer_batch_norm(IrNode *n, int first) {
    const IrShape *x = &ir_in_type(n, 0)->shape;
    IrDtype own = ir_own_dtype(n);
    const char *why = ir_check_own(n);
    for (int i = first; i < ir_op_info(n->op)->max_in && !why; i++) {
        why = ir_need_vector(n, i, x->dim[1], own);
    }
    if (why) {
        return why;
    }
    IrShape channels = {.rank = 1, .dim = {x->dim[1]}};
    set_result(n, 0, own, x);
    set_result(n, 1, own, &channels);
    set_result(n, 2, own, &channels);
    return ir_check_epilogue(n);
}

// x, scale [C], bias [C] -> y, mean [C], variance [C]
const char *ir_shape_batch_norm_train(IrNode *n) {
    const char *why = check_channels(n);
    return why ? why : infer_batch_norm(n, 1);
}

// x, dy, scale [C], mean [C], variance [C] -> dx, dscale [C], dbias [C]
const char *ir_shape_batch_norm_grad(IrNode *n) {
    const IrType *x = ir_in_type(n, 0);
    const char *why = check_channels(n);
    why = why ? why : need_type(n, 1, x->dtype, &x->shape);
    return why ? why : infer_batch_norm(n, 2);
}

const char *ir_shape_lrn_grad(IrNode *n) {
    const IrType *x = ir_in_type(n, 0);
    int64_t size = ir_int(n, IR_ATTR_SIZE, 0);
    const char *why = check_channels(n);
    why = why ? why : need_type(n, 1, x->dtype, &x->shape);
    if (!why && size < 1) {
        why = ir_why(n, "size is %lld, it must be at least 1", (long long)size);
    }
    if (!why) {
        ir_set_result(n, x->dtype, &x->shape);
    }
    return why;
}

// ---------------------------------------------------------------- loss, dropout

// logits [N,C], label i32[N], weight [C], smoothing [], label i32[N] and share [N] of both or none
// -> loss [N], dlogits [N,C]
const char *ir_shape_softmax_ce(IrNode *n) {
    const IrType *x = ir_in_type(n, 0);
    const char *why = ir_need_rank(n, 0, 2, 2);
    why = why ? why : ir_need_float(n, 0);
    why = why ? why : ir_need_fixed(n, 0, 1);
    why = why ? why : ir_need_vector(n, 1, x->shape.dim[0], IR_I32);
    why = why ? why : ir_need_vector(n, 2, x->shape.dim[1], x->dtype);
    why = why ? why : need_type(n, 3, x->dtype, &(IrShape){0});
    if (!why && n->n_in > 4) {
        bool both = ir_in(n, 4) && ir_in(n, 5);
        why = both ? ir_need_vector(n, 4, x->shape.dim[0], IR_I32)
                   : ir_why(n, "a second label and its share are there together");
        why = why ? why : ir_need_vector(n, 5, x->shape.dim[0], x->dtype);
    }
    if (!why) {
        set_result(n, 0, x->dtype, &(IrShape){.rank = 1, .dim = {x->shape.dim[0]}});
        set_result(n, 1, x->dtype, &x->shape);
    }
    return why;
}

// ONNX Dropout 13; the seed is an i64 scalar.
const char *ir_shape_dropout(IrNode *n) {
    double ratio = ir_float(n, IR_ATTR_RATIO, 0.5);
    const char *why = ir_need_float(n, 0);
    if (!why && !(ratio >= 0 && ratio <= 1)) {
        why = ir_why(n, "ratio is %g, it must be in 0..1", ratio);
    }
    if (!why && ir_in(n, 1)) {
        why = need_type(n, 1, IR_I64, &(IrShape){0});
    }
    if (!why) {
        ir_set_result(n, ir_in_type(n, 0)->dtype, &ir_in_type(n, 0)->shape);
    }
    return why;
}
