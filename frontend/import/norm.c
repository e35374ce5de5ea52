// Normalization: BatchNormalization in its inference and training forms, Dropout, LRN, softmax in
// its two axis meanings, and instance, layer and group normalization written out.
//
// Exports in training form are switched to inference unless keep_training_mode is set; how many
// were is counted for one warning at the end of the import.
#include "frontend/import/activation.h"

// ---------------------------------------------------------------- shared

// (x - mean) / sqrt(var + eps) * scale + bias; scale and bias may be NULL. All broadcast to x.
static IrValue *normalize(FeNode *n, IrValue *x, IrValue *mean, IrValue *var, double eps,
                          IrValue *scale, IrValue *bias) {
    IrValue *dev = fe_un(n, IR_OP_SQRT, fe_op_const(n, IR_OP_ADD, var, eps));
    IrValue *y = fe_bin(n, IR_OP_DIV, fe_bin(n, IR_OP_SUB, x, mean), dev);
    y = scale ? fe_bin(n, IR_OP_MUL, y, scale) : y;
    return bias ? fe_bin(n, IR_OP_ADD, y, bias) : y;
}

// Mean and biased variance over the axes, which are kept with size 1.
static void build_moments(FeNode *n, IrValue *x, IrInts axes, IrValue **mean, IrValue **var) {
    *mean = fe_reduce(n, IR_OP_REDUCE_MEAN, x, axes, true);
    IrValue *d = fe_bin(n, IR_OP_SUB, x, *mean);
    *var = fe_reduce(n, IR_OP_REDUCE_MEAN, fe_bin(n, IR_OP_MUL, d, d), axes, true);
}

static const IrInts channel_axis = {1, (int64_t[]){1}};

// All axes of a tensor but the channels'.
static IrInts axes_but_channels(FeNode *n, int rank) {
    IrInts axes = fe_range(n, 0, rank - 1);
    for (int i = 1; i < axes.n; i++) {
        axes.v[i] = i + 1;
    }
    return axes;
}

// ---------------------------------------------------------------- BatchNormalization

typedef struct BatchNorm {
    IrValue *x, *p[4]; // scale, bias, mean, variance
    double eps;
    bool per_cell; // spatial = 0: parameters of the shape [C,H,W]
} BatchNorm;

// BatchNormalization-15 with training_mode=1: normalizes with the batch's own moments;
//   running = momentum * input statistic + (1 - momentum) * batch statistic, variances biased.
// Version 9 gives the batch's moments themselves as outputs 3 and 4 too.
static void build_training(FeNode *n, const BatchNorm *bn) {
    int rank = bn->x->type.shape.rank;
    double momentum = fe_attr_float(n, "momentum", 0.9);
    IrValue *stat[2], *scale = fe_reshape_axes(n, bn->p[0], rank, channel_axis);
    IrValue *bias = fe_reshape_axes(n, bn->p[1], rank, channel_axis);
    build_moments(n, bn->x, axes_but_channels(n, rank), &stat[0], &stat[1]);
    fe_out(n, 0, normalize(n, bn->x, stat[0], stat[1], bn->eps, scale, bias));
    for (int i = 0; i < 2 && !n->refused; i++) {
        IrValue *batch = fe_reshape(n, stat[i], &bn->p[2 + i]->type.shape);
        if (fe_used(n, 1 + i)) {
            IrValue *old = fe_op_const(n, IR_OP_MUL, bn->p[2 + i], momentum);
            IrValue *now = fe_op_const(n, IR_OP_MUL, batch, 1 - momentum);
            fe_out(n, 1 + i, fe_bin(n, IR_OP_ADD, old, now));
        }
        if (fe_used(n, 3 + i)) {
            fe_out(n, 3 + i, fe_un(n, IR_OP_COPY, batch));
        }
    }
}

// Inference: the running statistics pass through unchanged.
static void build_inference(FeNode *n, const BatchNorm *bn) {
    IrValue *y;
    if (bn->per_cell) {
        y = normalize(n, bn->x, bn->p[2], bn->p[3], bn->eps, bn->p[0], bn->p[1]);
    } else {
        y = fe_build(n, IR_OP_BATCH_NORM, FE_IN(bn->x, bn->p[0], bn->p[1], bn->p[2], bn->p[3]),
                     FE_WITH(ir_attr_f(IR_ATTR_EPS, bn->eps)));
    }
    fe_out(n, 0, y);
    for (int i = 1; i <= 2; i++) {
        if (fe_used(n, i)) {
            fe_out_alias(n, i, 2 + i);
        }
    }
}

// BatchNormalization-7 has no attribute for it: more outputs than one mean training. Versions 1 and
// 6 train unless is_test is set.
static bool has_more_outputs(const FeNode *n) {
    for (int i = 1; i < n->n_out; i++) {
        if (n->out[i]) {
            return true;
        }
    }
    return false;
}

void fe_import_batch_norm(FeNode *n) {
    BatchNorm bn = {.x = fe_operand(n, 0), .eps = fe_attr_float(n, "epsilon", 1e-5)};
    for (int i = 0; i < 4; i++) {
        bn.p[i] = fe_operand(n, 1 + i);
    }
    bn.per_cell = n->since < 9 && fe_attr_int(n, "spatial", 1) == 0;
    bool training = n->since >= 14  ? fe_attr_int(n, "training_mode", 0) != 0
                    : n->since >= 7 ? has_more_outputs(n)
                                    : fe_attr_int(n, "is_test", 0) == 0;
    if (n->refused) {
        return;
    }
    if (bn.x->type.shape.rank < 2) {
        fe_refuse(n, "input of rank %d has no channels", bn.x->type.shape.rank);
        return;
    }
    if (training && n->fe->opt->keep_training_mode && !bn.per_cell) {
        build_training(n, &bn);
    } else {
        n->fe->bn_switched += training;
        build_inference(n, &bn);
    }
}

// ---------------------------------------------------------------- Dropout

static void build_mask(FeNode *n, const IrType *x) {
    IrType type = {n->since >= 10 ? IR_BOOL : x->dtype, {0}, 0};
    IrConst *c = ir_const_splat(n->fe->prog, n->out[1]->name, type, 1);
    IrValue *one = ir_const_value(n->fe->graph, c);
    fe_out(n, 1,
           fe_build(n, IR_OP_EXPAND, FE_IN(one), FE_WITH(ir_attr_dims(IR_ATTR_SHAPE, &x->shape))));
}

// Dropout-7 is inference only; Dropout-12 trains when its third input says so, versions 1 and 6
// unless is_test is set. The mask is bool from version 10 on, before it has x's type.
void fe_import_dropout(FeNode *n) {
    IrType x;
    bool training = n->since >= 12 ? fe_scalar_in(n, 2, 0) != 0
                                   : n->since < 7 && fe_attr_int(n, "is_test", 0) == 0;
    double ratio = n->since >= 12 ? fe_scalar_in(n, 1, 0.5) : fe_attr_float(n, "ratio", 0.5);
    bool keep = n->fe->opt->to_train && !fe_used(n, 1);
    if (!fe_type(n, 0, &x) || n->refused) {
        return;
    }
    if (!(ratio >= 0 && ratio < 1)) {
        fe_refuse(n, "ratio is %g, not a share from 0 to below 1", ratio);
        return;
    }
    if (ratio != 0 && (keep || (training && n->fe->opt->keep_training_mode))) {
        IrValue *v = fe_operand(n, 0);
        int64_t seed = fe_attr_int(n, "seed", n->fe->graph->n_nodes);
        fe_out(n, 0,
               fe_build(n, IR_OP_DROPOUT, FE_IN(v),
                        FE_WITH(ir_attr_f(IR_ATTR_RATIO, ratio), ir_attr_i(IR_ATTR_SEED, seed))));
        return;
    }
    n->fe->dropout_switched += training && ratio != 0;
    fe_out_alias(n, 0, 0);
    if (fe_used(n, 1)) {
        build_mask(n, &x);
    }
}

// ---------------------------------------------------------------- LRN and softmax

// LRN-13
void fe_import_lrn(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    int64_t size = fe_attr_int(n, "size", 0);
    double alpha = fe_attr_float(n, "alpha", 1e-4), beta = fe_attr_float(n, "beta", 0.75);
    double bias = fe_attr_float(n, "bias", 1);
    fe_out(n, 0,
           fe_build(n, IR_OP_LRN, FE_IN(x),
                    FE_WITH(ir_attr_i(IR_ATTR_SIZE, size), ir_attr_f(IR_ATTR_ALPHA, alpha),
                            ir_attr_f(IR_ATTR_BETA, beta), ir_attr_f(IR_ATTR_BIAS, bias))));
}

// [product of the dims before axis, product of the rest]; false when that is not affine in N.
static bool flatten_shape(const IrShape *s, int axis, IrShape *out) {
    *out = (IrShape){2, {ir_dim(1), ir_dim(1)}};
    for (int i = 0; i < s->rank; i++) {
        if (!ir_dim_mul(out->dim[i >= axis], s->dim[i], &out->dim[i >= axis])) {
            return false;
        }
    }
    return true;
}

static bool are_ones_after(const IrShape *s, int axis) {
    for (int i = axis + 1; i < s->rank; i++) {
        if (!ir_dim_is(s->dim[i], 1)) {
            return false;
        }
    }
    return true;
}

typedef IrValue *AlongAxis(FeNode *n, IrValue *x, int axis);

// Softmax-13 works along one axis. Before, the input is flattened to two axes at `axis` (default
// 1).
static IrValue *build_along_axis(FeNode *n, IrValue *x, int64_t given, bool flattens,
                                 AlongAxis *build) {
    if (n->refused) {
        return NULL;
    }
    const IrShape *s = &x->type.shape;
    int axis = flattens && given == s->rank ? s->rank : fe_axis(n, given, s->rank);
    IrShape flat = *s;
    if (flattens && !n->refused && (axis == s->rank || !are_ones_after(s, axis))) {
        if (!flatten_shape(s, axis, &flat)) {
            fe_refuse(n, "the batch size is not a factor of the flattened shape");
        }
        axis = 1;
    }
    IrValue *y = build(n, fe_reshape(n, x, &flat), axis);
    return n->refused ? NULL : fe_reshape(n, y, s);
}

static void import_along_axis(FeNode *n, AlongAxis *build) {
    IrValue *x = fe_operand(n, 0);
    bool flattens = n->since < 13;
    int64_t axis = fe_attr_int(n, "axis", flattens ? 1 : -1);
    fe_out(n, 0, build_along_axis(n, x, axis, flattens, build));
}

static IrValue *build_softmax(FeNode *n, IrValue *x, int axis) {
    return fe_build(n, n->info->op, FE_IN(x), FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis)));
}

IrValue *fe_softmax(FeNode *n, IrValue *x, int64_t axis, bool flattens) {
    return build_along_axis(n, x, axis, flattens, build_softmax);
}

void fe_import_softmax(FeNode *n) {
    import_along_axis(n, build_softmax);
}

// 1 at the first maximum along the axis: the least of the positions that hold it.
static IrValue *build_hardmax(FeNode *n, IrValue *x, int axis) {
    if (n->refused) {
        return NULL;
    }
    int64_t at = axis;
    IrInts axes = {1, &at};
    IrValue *place = fe_iota(n, 0, x->type.shape.dim[axis], axis, x->type.shape.rank);
    IrValue *is_most = fe_bin(n, IR_OP_EQUAL, x, fe_reduce(n, IR_OP_REDUCE_MAX, x, axes, true));
    IrValue *none = n->refused ? NULL : fe_const(n, place, (double)INT32_MAX);
    IrValue *where = fe_build(n, IR_OP_WHERE, FE_IN(is_most, place, none), 0, NULL);
    where = fe_reduce(n, IR_OP_REDUCE_MIN, where, axes, true);
    IrValue *y = fe_bin(n, IR_OP_EQUAL, place, where);
    return n->refused ? NULL : fe_cast(n, y, x->type.dtype);
}

// Hardmax-13; its axis is that of softmax.
void fe_import_hardmax(FeNode *n) {
    import_along_axis(n, build_hardmax);
}

// ---------------------------------------------------------------- normalization, written out

// InstanceNormalization-6: each channel of each image by its own moments.
void fe_import_instance_norm(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *scale = fe_operand(n, 1), *bias = fe_operand(n, 2), *mean, *var;
    if (n->refused) {
        return;
    }
    int rank = x->type.shape.rank;
    build_moments(n, x, fe_range(n, 2, rank), &mean, &var);
    scale = fe_reshape_axes(n, scale, rank, channel_axis);
    bias = fe_reshape_axes(n, bias, rank, channel_axis);
    fe_out(n, 0, normalize(n, x, mean, var, fe_attr_float(n, "epsilon", 1e-5), scale, bias));
}

// 1 / sqrt(var + eps)
static IrValue *build_inverse(FeNode *n, IrValue *var, double eps) {
    IrValue *dev = fe_un(n, IR_OP_SQRT, fe_op_const(n, IR_OP_ADD, var, eps));
    return n->refused ? NULL : fe_bin(n, IR_OP_DIV, fe_const(n, dev, 1), dev);
}

// Over the axes from `axis` on; scale and bias broadcast to x, bias may be NULL. Outputs 1 and 2
// are Mean and InvStdDev.
static void build_layer_norm(FeNode *n, IrValue *x, IrValue *scale, IrValue *bias, int64_t from,
                             double eps) {
    IrValue *mean, *var;
    if (n->refused) {
        return;
    }
    int rank = x->type.shape.rank, axis = fe_axis(n, from, rank);
    build_moments(n, x, fe_range(n, axis, rank), &mean, &var);
    fe_out(n, 0, normalize(n, x, mean, var, eps, scale, bias));
    if (fe_used(n, 1)) {
        fe_out(n, 1, mean);
    }
    if (fe_used(n, 2)) {
        fe_out(n, 2, build_inverse(n, var, eps));
    }
}

// LayerNormalization-17, -1
void fe_import_layer_norm(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *scale = fe_operand(n, 1), *bias = fe_operand_or_null(n, 2);
    double eps = fe_attr_float(n, "epsilon", 1e-5);
    build_layer_norm(n, x, scale, bias, fe_attr_int(n, "axis", -1), eps);
}

// x / sqrt(mean(x^2) + eps) * scale over the axes from `axis` on; output `inverse` is the factor of
// x before the scale, -1: there is none.
static void build_rms_norm(FeNode *n, IrValue *x, IrValue *scale, int64_t from, double eps,
                           int inverse) {
    if (n->refused) {
        return;
    }
    int rank = x->type.shape.rank;
    IrInts axes = fe_range(n, fe_axis(n, from, rank), rank);
    IrValue *square = fe_reduce(n, IR_OP_REDUCE_MEAN, fe_bin(n, IR_OP_MUL, x, x), axes, true);
    IrValue *dev = fe_un(n, IR_OP_SQRT, fe_op_const(n, IR_OP_ADD, square, eps));
    fe_out(n, 0, fe_bin(n, IR_OP_MUL, fe_bin(n, IR_OP_DIV, x, dev), scale));
    if (inverse >= 0 && fe_used(n, inverse)) {
        fe_out(n, inverse, build_inverse(n, square, eps));
    }
}

// RMSNormalization-23; SimplifiedLayerNormalization-1, which has InvStdDev for output 1
void fe_import_rms_norm(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *scale = fe_operand(n, 1);
    double eps = fe_attr_float(n, "epsilon", 1e-5);
    build_rms_norm(n, x, scale, fe_attr_int(n, "axis", -1), eps, 1);
}

// Output 3: x + skip + the bias at input `bias`.
static IrValue *add_skip(FeNode *n, int bias) {
    IrValue *x = fe_operand(n, 0), *y = fe_bin(n, IR_OP_ADD, x, fe_operand(n, 1));
    IrValue *b = fe_operand_or_null(n, bias);
    if (!n->refused && !ir_shape_eq(&x->type.shape, &y->type.shape)) {
        fe_refuse(n, "skip does not broadcast to the input");
    }
    y = b ? fe_bin(n, IR_OP_ADD, y, b) : y;
    if (fe_used(n, 3)) {
        fe_out(n, 3, y);
    }
    return y;
}

// SkipLayerNormalization-1: x, skip, gamma, beta, bias: LayerNormalization of x + skip + bias
void fe_import_skip_layer_norm(FeNode *n) {
    IrValue *x = add_skip(n, 4), *gamma = fe_operand(n, 2), *beta = fe_operand_or_null(n, 3);
    build_layer_norm(n, x, gamma, beta, -1, fe_attr_float(n, "epsilon", (double)1e-12f));
}

// SkipSimplifiedLayerNormalization-1: x, skip, gamma, bias
void fe_import_skip_rms_norm(FeNode *n) {
    IrValue *x = add_skip(n, 3), *gamma = fe_operand(n, 2);
    build_rms_norm(n, x, gamma, -1, fe_attr_float(n, "epsilon", (double)1e-12f), 2);
}

// x over groups of channels; scale and bias have an entry per channel or, with `per_group`, per
// group.
static IrValue *build_group_norm(FeNode *n, IrValue *x, int64_t groups, IrValue *scale,
                                 IrValue *bias, bool per_group) {
    IrValue *mean, *var;
    if (n->refused) {
        return NULL;
    }
    IrShape s = x->type.shape, split = {3, {s.dim[0], ir_dim(groups), ir_dim(1)}};
    if (s.rank < 3 || s.rank == IR_MAX_RANK || groups < 1 || s.dim[1].n || s.dim[1].c % groups) {
        fe_refuse(n, "%lld groups do not divide the channels", (long long)groups);
        return NULL;
    }
    split.dim[2] = ir_dim(s.dim[1].c / groups);
    for (int i = 2; i < s.rank; i++) {
        split.dim[split.rank++] = s.dim[i];
    }
    IrValue *g = fe_reshape(n, x, &split);
    build_moments(n, g, fe_range(n, 2, split.rank), &mean, &var);
    int rank = per_group ? split.rank : s.rank;
    scale = fe_reshape_axes(n, scale, rank, channel_axis);
    bias = fe_reshape_axes(n, bias, rank, channel_axis);
    double eps = fe_attr_float(n, "epsilon", 1e-5);
    IrValue *y = normalize(n, g, mean, var, eps, per_group ? scale : NULL, per_group ? bias : NULL);
    y = fe_reshape(n, y, &s);
    return per_group ? y : fe_bin(n, IR_OP_ADD, fe_bin(n, IR_OP_MUL, y, scale), bias);
}

// GroupNormalization-21; version 18 has one scale and bias per group.
void fe_import_group_norm(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *scale = fe_operand(n, 1), *bias = fe_operand(n, 2);
    int64_t groups = fe_attr_int(n, "num_groups", 0);
    fe_out(n, 0, build_group_norm(n, x, groups, scale, bias, n->since < 21));
}

// GroupNorm-1 and SkipGroupNorm-1 of com.microsoft: x, gamma, beta; skip [N,C] or as x, bias. NHWC
// unless channels_last is 0; output 1 is the sum x + skip + bias.
void fe_import_group_norm_ms(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *gamma = fe_operand(n, 1), *beta = fe_operand(n, 2);
    IrValue *skip = fe_operand_or_null(n, 3), *bias = fe_operand_or_null(n, 4);
    bool last = fe_attr_int(n, "channels_last", 1) != 0;
    int64_t groups = fe_attr_int(n, "groups", 0), activation = fe_attr_int(n, "activation", 0);
    if (activation != 0 && activation != 1) {
        fe_refuse(n, "activation is %lld", (long long)activation);
    }
    if (!n->refused && (skip || bias) && !last) {
        fe_refuse(n, "NYI: skip and bias with channels first");
    }
    if (!n->refused && skip && skip->type.shape.rank == 2) {
        const IrDim *d = skip->type.shape.dim;
        skip = fe_reshape(n, skip, &(IrShape){4, {d[0], ir_dim(1), ir_dim(1), d[1]}});
    }
    x = skip ? fe_bin(n, IR_OP_ADD, x, skip) : x;
    x = bias ? fe_bin(n, IR_OP_ADD, x, bias) : x;
    if (fe_used(n, 1)) {
        fe_out(n, 1, skip || bias || n->refused ? x : fe_un(n, IR_OP_COPY, x));
    }
    IrValue *c = last ? fe_channels_first(n, x) : x;
    IrValue *y = build_group_norm(n, c, groups, gamma, beta, false);
    y = last ? fe_channels_last(n, y) : y;
    fe_out(n, 0, activation ? fe_swish(n, y, 1) : y);
}

// LpNormalization-22: x divided by its norm along the axis; where that is 0, x, which is 0.
void fe_import_lp_norm(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *norm;
    int64_t p = fe_attr_int(n, "p", 2);
    if (p != 1 && p != 2) {
        fe_refuse(n, "p is %lld, it must be 1 or 2", (long long)p);
    }
    if (n->refused) {
        return;
    }
    int64_t axis = fe_axis(n, fe_attr_int(n, "axis", -1), x->type.shape.rank);
    norm = p == 1 ? fe_un(n, IR_OP_ABS, x) : fe_bin(n, IR_OP_MUL, x, x);
    norm = fe_reduce(n, IR_OP_REDUCE_SUM, norm, (IrInts){1, &axis}, true);
    norm = p == 1 ? norm : fe_un(n, IR_OP_SQRT, norm);
    IrValue *none = fe_op_const(n, IR_OP_EQUAL, norm, 0);
    norm = fe_build(n, IR_OP_WHERE, FE_IN(none, fe_const(n, x, 1), norm), 0, NULL);
    fe_out(n, 0, fe_bin(n, IR_OP_DIV, x, norm));
}

// MeanVarianceNormalization-13: (x - mean) / (deviation + 1e-9) over `axes`, by default all but the
// channels.
void fe_import_mean_variance_norm(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *mean, *var;
    IrInts axes = fe_attr_ints(n, "axes");
    if (n->refused) {
        return;
    }
    axes = fe_axes(n, axes.v ? axes : (IrInts){3, (int64_t[]){0, 2, 3}}, x->type.shape.rank);
    if (n->refused) {
        return;
    }
    build_moments(n, x, axes, &mean, &var);
    IrValue *deviation = fe_op_const(n, IR_OP_ADD, fe_un(n, IR_OP_SQRT, var), 1e-9);
    fe_out(n, 0, fe_bin(n, IR_OP_DIV, fe_bin(n, IR_OP_SUB, x, mean), deviation));
}
