// Elementwise operators, pools and the like on quantized tensors (com.microsoft's QLinear family):
//
//   y = quantize(op(dequantize(a), dequantize(b) ..))
//
// with the arithmetic of QuantizeLinear and DequantizeLinear and a scale and zero point per tensor.
// Products are in qproduct.c.
#include "frontend/import/quant.h"

// Input i, a scale or zero point, which must be one number: as a scalar. NULL where it is absent.
static IrValue *read_number(FeNode *n, int i) {
    IrValue *v = fe_operand_or_null(n, i);
    IrDim elems;
    if (n->refused || !v) {
        return NULL;
    }
    if (!ir_shape_elems(&v->type.shape, &elems) || !ir_dim_is(elems, 1)) {
        fe_refuse(n, "input %d, a scale or zero point, must be one number", i);
        return NULL;
    }
    return fe_reshape(n, v, &(IrShape){.rank = 0});
}

static IrValue *read_scale(FeNode *n, int i) {
    IrValue *scale = read_number(n, i);
    if (!n->refused && (!scale || scale->type.dtype != IR_F32)) {
        fe_refuse(n, "input %d must be a scale, a float", i);
    }
    return fe_check_scale(n, i) ? scale : NULL;
}

// The numbers that the quantized input i stands for; its scale and zero point are the next two.
static IrValue *read_real(FeNode *n, int i) {
    IrValue *x = fe_operand(n, i), *scale = read_scale(n, i + 1), *zero = read_number(n, i + 2);
    if (n->refused || !fe_quant_dtype(n, x->type.dtype)) {
        return NULL;
    }
    if (zero && zero->type.dtype != x->type.dtype) {
        fe_refuse(n, "input %d and its zero point differ in type", i);
    }
    return fe_dequantize(n, x, scale, zero);
}

// Output 0: x by the scale at input i and the zero point behind it, of that one's type, or of the
// type of input `like` where it is absent.
static void write_quantized(FeNode *n, IrValue *x, int i, int like) {
    IrValue *scale = read_scale(n, i), *zero = read_number(n, i + 1);
    IrType t;
    if (!n->refused && (zero || fe_type(n, like, &t))) {
        scale = fe_divisor(n, i, scale);
        fe_out(n, 0, fe_quantize(n, x, scale, zero, zero ? zero->type.dtype : t.dtype));
    }
}

// ---------------------------------------------------------------- elementwise

// QLinearAdd-1, QLinearMul-1: a, scale, zero; b, scale, zero; scale and zero of y
void fe_import_qlinear_binary(FeNode *n) {
    IrValue *a = read_real(n, 0), *b = read_real(n, 3);
    write_quantized(n, fe_bin(n, n->info->op, a, b), 6, 0);
}

// QLinearWhere-1: condition; x, scale, zero; y, scale, zero; scale and zero of z
void fe_import_qlinear_where(FeNode *n) {
    IrValue *c = fe_operand(n, 0), *x = read_real(n, 1), *y = read_real(n, 4);
    write_quantized(n, fe_build(n, IR_OP_WHERE, FE_IN(c, x, y), 0, NULL), 7, 1);
}

// QLinearSigmoid-1: x, scale, zero; scale and zero of y. So it is with those below.
void fe_import_qlinear_unary(FeNode *n) {
    IrValue *x = read_real(n, 0);
    write_quantized(n, fe_un(n, n->info->op, x), 3, 0);
}

void fe_import_qlinear_leaky_relu(FeNode *n) {
    IrValue *x = read_real(n, 0);
    double alpha = fe_attr_float(n, "alpha", 0.01);
    x = fe_build(n, IR_OP_LEAKY_RELU, FE_IN(x), FE_WITH(ir_attr_f(IR_ATTR_ALPHA, alpha)));
    write_quantized(n, x, 3, 0);
}

// QLinearSoftmax-1: `opset` is that of the Softmax that it was.
void fe_import_qlinear_softmax(FeNode *n) {
    IrValue *x = read_real(n, 0);
    int64_t opset = fe_attr_int(n, "opset", 0);
    if (opset < 1) {
        fe_refuse(n, "attribute 'opset' is %lld", (long long)opset);
    }
    write_quantized(n, fe_softmax(n, x, fe_attr_int(n, "axis", -1), opset < 13), 3, 0);
}

// ---------------------------------------------------------------- over several elements

// QLinearConcat-1: scale and zero of y; then x, scale, zero of each
void fe_import_qlinear_concat(FeNode *n) {
    int count = (n->n_in - 2) / 3;
    IrValue **x = ir_alloc_array(n->fe->arena, (size_t)n->n_in + 1, sizeof *x);
    if (count < 1 || count * 3 + 2 != n->n_in) {
        fe_refuse(n, "%d inputs, they must be a scale, a zero point and three for each tensor",
                  n->n_in);
    }
    for (int i = 0; i < count && !n->refused; i++) {
        x[i] = read_real(n, 2 + 3 * i);
    }
    if (n->refused) {
        return;
    }
    int axis = fe_axis(n, fe_attr_int(n, "axis", 1), x[0]->type.shape.rank);
    IrValue *y = fe_build(n, IR_OP_CONCAT, count, x, FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis)));
    write_quantized(n, y, 0, 2);
}

// QLinearReduceMean-1
void fe_import_qlinear_reduce_mean(FeNode *n) {
    IrValue *x = read_real(n, 0);
    IrInts axes = fe_attr_ints(n, "axes");
    if (n->refused) {
        return;
    }
    int rank = x->type.shape.rank;
    axes = axes.n ? fe_axes(n, axes, rank) : fe_range(n, 0, rank);
    bool keep = fe_attr_int(n, "keepdims", 1) != 0;
    write_quantized(n, n->refused ? NULL : fe_reduce(n, n->info->op, x, axes, keep), 3, 0);
}

static bool is_channels_last(FeNode *n) {
    return fe_attr_int(n, "channels_last", 0) != 0;
}

// QLinearAveragePool-1, of AveragePool-7 with ceil_mode; the layout is NHWC with channels_last.
void fe_import_qlinear_average_pool(FeNode *n) {
    IrValue *x = read_real(n, 0);
    bool last = is_channels_last(n);
    x = fe_average_pool(n, last ? fe_channels_first(n, x) : x);
    write_quantized(n, last ? fe_channels_last(n, x) : x, 3, 0);
}

// QLinearGlobalAveragePool-1
void fe_import_qlinear_global_pool(FeNode *n) {
    IrValue *x = read_real(n, 0);
    if (!n->refused && x->type.shape.rank < 3) {
        fe_refuse(n, "input of rank %d has no spatial axes", x->type.shape.rank);
    }
    if (n->refused) {
        return;
    }
    int last = is_channels_last(n), rank = x->type.shape.rank;
    x = fe_reduce(n, n->info->op, x, fe_range(n, last ? 1 : 2, rank - last), true);
    write_quantized(n, x, 3, 0);
}

// NhwcMaxPool-1 of int8 and uint8: MaxPool-12 in NHWC, without scales
void fe_import_nhwc_max_pool(FeNode *n) {
    IrValue *x = fe_channels_first(n, fe_operand(n, 0));
    fe_out(n, 0, fe_channels_last(n, fe_max_pool(n, x)));
}
