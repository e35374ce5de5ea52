// What ONNX Runtime's optimizers fuse (com.microsoft), taken apart again into operators of ai.onnx:
// convolutions and products with an activation behind them, Gelu with its bias. Normalizations are
// in norm.c, attention in attention.c, quantized operators in qlinear.c and qproduct.c.
#include "frontend/import/activation.h"

#include <math.h>

// ---------------------------------------------------------------- convolutions

// y with the node's activation, an operator of its own by that name: what ends a network is.
static IrValue *activate_as(FeNode *n, IrValue *y, const double *p) {
    const char *name = fe_attr_str(n, "activation", ""), *whole = n->b.src_op;
    n->b.src_op = *name ? name : whole;
    y = fe_activate(n, y, name, p);
    n->b.src_op = whole;
    return y;
}

// y with the node's activation, whose parameters are a list.
static IrValue *activate_listed(FeNode *n, IrValue *y) {
    const Onnx__AttributeProto *a = fe_attr(n, "activation_params");
    double p[FE_ACTIVATION_PARAMS] = {NAN, NAN, NAN};
    if (a && a->n_floats > FE_ACTIVATION_PARAMS) {
        fe_refuse(n, "%zu activation_params are too many", a->n_floats);
    }
    for (size_t i = 0; a && i < a->n_floats && !n->refused; i++) {
        p[i] = (double)a->floats[i];
    }
    return activate_as(n, y, p);
}

// FusedConv-1: x, w, bias, z: activation(conv(x, w) + bias + z)
void fe_import_fused_conv(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *w = fe_operand(n, 1), *b = fe_operand_or_null(n, 2);
    IrValue *z = fe_operand_or_null(n, 3), *y = fe_conv(n, x, w, b);
    y = z ? fe_bin(n, IR_OP_ADD, y, z) : y;
    fe_out(n, 0, activate_listed(n, y));
}

// NhwcFusedConv-1: the same where x, z and y are NHWC; w is not
void fe_import_nhwc_fused_conv(FeNode *n) {
    IrValue *x = fe_channels_first(n, fe_operand(n, 0)), *w = fe_operand(n, 1);
    IrValue *y = fe_channels_last(n, fe_conv(n, x, w, fe_operand_or_null(n, 2)));
    IrValue *z = fe_operand_or_null(n, 3);
    y = z ? fe_bin(n, IR_OP_ADD, y, z) : y;
    fe_out(n, 0, activate_listed(n, y));
}

// NhwcConv-1: w is [O,...,C/group], as its kernels read it. Where it could be [O,C/group,...] as
// well, as its text has it, it is refused.
void fe_import_nhwc_conv(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *w = fe_operand(n, 1), *b = fe_operand_or_null(n, 2);
    int64_t group = fe_attr_int(n, "group", 1);
    IrInts kernel = fe_attr_ints(n, "kernel_shape");
    if (n->refused) {
        return;
    }
    const IrShape *xs = &x->type.shape, *ws = &w->type.shape;
    int rank = ws->rank;
    if (rank < 3 || xs->rank != rank || group < 1 || xs->dim[rank - 1].n) {
        fe_refuse(n, "input of rank %d with weights of rank %d", xs->rank, rank);
        return;
    }
    int64_t each = xs->dim[rank - 1].c / group;
    bool first = ir_dim_is(ws->dim[1], each), last = ir_dim_is(ws->dim[rank - 1], each);
    for (int i = 0; kernel.v && i < kernel.n && i < rank - 2; i++) {
        first &= ir_dim_is(ws->dim[2 + i], kernel.v[i]);
        last &= ir_dim_is(ws->dim[1 + i], kernel.v[i]);
    }
    bool same = first && last;
    for (int i = 1; i < rank && same; i++) {
        same = ir_dim_is(ws->dim[i], each);
    }
    if (first == last && !(same && each == 1)) {
        fe_refuse(n, first ? "its weights may be [O,C,H,W] or [O,H,W,C]"
                           : "weights and group do not fit the input");
        return;
    }
    w = last ? fe_channels_first(n, w) : w;
    fe_out(n, 0, fe_channels_last(n, fe_conv(n, fe_channels_first(n, x), w, b)));
}

// ---------------------------------------------------------------- products

static IrValue *swap_last(FeNode *n, IrValue *x) {
    int64_t perm[IR_MAX_RANK];
    int rank = x->type.shape.rank;
    for (int i = 0; i < rank; i++) {
        perm[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
    }
    return fe_transpose(n, x, rank, perm);
}

// Axis 0 behind the axes 1 to rank - 2, which are the batch.
static IrValue *move_batch(FeNode *n, IrValue *x) {
    int64_t perm[IR_MAX_RANK];
    int rank = x->type.shape.rank;
    for (int i = 0; i < rank; i++) {
        perm[i] = i < rank - 2 ? i + 1 : i == rank - 2 ? 0 : i;
    }
    return fe_transpose(n, x, rank, perm);
}

static IrValue *read_matrix(FeNode *n, int i, const char *turn, const char *turn_batch) {
    IrValue *x = fe_operand(n, i);
    bool swap = fe_attr_int(n, turn, 0) != 0, move = fe_attr_int(n, turn_batch, 0) != 0;
    if (n->refused) {
        return NULL;
    }
    x = move && x->type.shape.rank > 2 ? move_batch(n, x) : x;
    return n->refused || !swap || x->type.shape.rank < 2 ? x : swap_last(n, x);
}

// y with the activation whose parameters are attributes of their own.
static IrValue *activate(FeNode *n, IrValue *y) {
    double p[FE_ACTIVATION_PARAMS] = {fe_attr_float(n, "activation_alpha", NAN),
                                      fe_attr_float(n, "activation_beta", NAN),
                                      fe_attr_float(n, "activation_gamma", NAN)};
    return activate_as(n, y, p);
}

// FusedMatMul-1, FusedMatMulActivation-1, TransposeMatMul-1: activation(alpha * a' * b')
void fe_import_fused_matmul(FeNode *n) {
    IrValue *a = read_matrix(n, 0, "transA", "transBatchA");
    IrValue *b = read_matrix(n, 1, "transB", "transBatchB"), *y = fe_matmul(n, a, b);
    double alpha = fe_attr_float(n, "alpha", 1);
    y = alpha == 1 ? y : fe_op_const(n, IR_OP_MUL, y, alpha);
    fe_out(n, 0, activate(n, y));
}

// FusedGemm-1: activation(Gemm-13)
void fe_import_fused_gemm(FeNode *n) {
    fe_out(n, 0, activate(n, fe_gemm(n)));
}

// ---------------------------------------------------------------- Gelu

// The first input and, where it is given, the second.
static IrValue *add_bias(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *bias = fe_operand_or_null(n, 1);
    return bias ? fe_bin(n, IR_OP_ADD, x, bias) : x;
}

// BiasGelu-1
void fe_import_bias_gelu(FeNode *n) {
    fe_out(n, 0, fe_gelu(n, add_bias(n), false));
}

// FastGelu-1
void fe_import_fast_gelu(FeNode *n) {
    fe_out(n, 0, fe_gelu(n, add_bias(n), true));
}

// BiasSplitGelu-1: with [l, r] = x + bias along the last axis, l * gelu(r)
void fe_import_bias_split_gelu(FeNode *n) {
    IrValue *x = add_bias(n);
    int axis = n->refused ? 0 : x->type.shape.rank - 1;
    if (n->refused || axis < 0 || x->type.shape.dim[axis].n || x->type.shape.dim[axis].c % 2) {
        fe_refuse(n, "its input cannot be halved");
        return;
    }
    int64_t half = x->type.shape.dim[axis].c / 2;
    IrValue *left = fe_part(n, x, axis, 0, half), *right = fe_part(n, x, axis, half, half);
    fe_out(n, 0, fe_bin(n, IR_OP_MUL, left, fe_gelu(n, right, false)));
}

// BiasAdd-1: x + bias + skip
void fe_import_bias_add(FeNode *n) {
    fe_out(n, 0, fe_bin(n, IR_OP_ADD, add_bias(n), fe_operand(n, 2)));
}

// BiasSoftmax-1: softmax(x + bias) over the axes from `axis` on
void fe_import_bias_softmax(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *y = fe_bin(n, IR_OP_ADD, x, fe_operand(n, 1));
    if (!n->refused && !ir_shape_eq(&x->type.shape, &y->type.shape)) {
        fe_refuse(n, "its bias does not broadcast to the input");
    }
    fe_out(n, 0, fe_softmax(n, y, fe_attr_int(n, "axis", 1), true));
}
