// Products of quantized tensors: MatMulInteger, ConvInteger, QLinearMatMul, QLinearConv, and
// com.microsoft's QGemm, MatMulIntegerToFloat and DynamicQuantizeMatMul.
//
// Sums are exact: of int32. By constant weights they are sums of bytes (qbytes.c). All others are
// computed by the kernels of f32, which hold integers up to 2^24 exactly, in parts of so many inner
// entries that no sum can be larger; the parts are added as int32:
//
//   matmul(a - za, b - zb) = sum over parts k of i32(matmul(f32(a - za)[.., k], f32(b - zb)[k,
//   ..]))
//
// Convolutions are cut along their input channels. All say `exact=1`: kernels that transform their
// input (Winograd, Strassen) round.
#include "frontend/import/quant.h"

#include <math.h>

enum { MAX_PARTS = 256 };
static const double EXACT = 1 << 24;

// One factor, ready to multiply: the input less its zero point, as f32.
typedef struct Factor {
    IrValue *v;
    double most; // of its magnitudes
} Factor;

// The largest |x - zero| that the types, or constants, allow.
static double find_most(FeNode *n, int input, int zero) {
    const IrTensor *z = fe_has(n, zero) ? fe_tensor(n, zero) : NULL;
    IrType x;
    if (!fe_type(n, input, &x) || n->refused) {
        return 0;
    }
    double low = x.dtype == IR_I8 ? -128 : 0, high = low + 255, most = 255;
    if (z || !fe_has(n, zero)) {
        most = z ? 0 : fmax(-low, high);
        for (int64_t i = 0; z && i < ir_tensor_elems(z); i++) {
            double at = ir_tensor_get(z, i);
            most = fmax(most, fmax(high - at, at - low));
        }
    }
    return most;
}

// The axis that scales and zero points of more than one element lie along: that of the rows or the
// columns of matrices, counted from the end, or output channels in the weights or the result.
enum { ROWS = -2, COLUMNS = -1, FILTERS = 0, CHANNELS = 1 };

// A scale or zero point as it broadcasts to a tensor of rank `rank`; those of the tensor's own rank
// do already.
static IrValue *spread(FeNode *n, int input, int along, int rank) {
    IrValue *v = fe_operand_or_null(n, input);
    if (n->refused || !v) {
        return NULL;
    }
    IrDim elems;
    const IrShape *s = &v->type.shape;
    if (ir_shape_elems(s, &elems) && ir_dim_is(elems, 1)) {
        return fe_reshape(n, v, &(IrShape){.rank = 0});
    }
    if (s->rank != 1) {
        return v;
    }
    int64_t axis = along < 0 ? along + rank : along;
    if (axis < 0 || axis >= rank) {
        fe_refuse(n, "input %d has %lld entries for a vector", input, (long long)s->dim[0].c);
        return NULL;
    }
    return fe_reshape_axes(n, v, rank, (IrInts){1, &axis});
}

// The same of constants, as a constant; NULL where they are none.
static IrValue *subtract_constants(FeNode *n, int input, int zero, int along) {
    const IrTensor *t = fe_tensor(n, input), *z = fe_tensor(n, zero);
    int64_t zeros = z ? ir_tensor_elems(z) : 1, inner = 1;
    if (n->refused || !t || (fe_has(n, zero) && !z)) {
        return NULL;
    }
    int axis = along < 0 ? along + t->rank : along;
    if (zeros != 1 && (z->rank != 1 || axis < 0 || axis >= t->rank || zeros != t->dim[axis])) {
        return NULL;
    }
    for (int i = axis + 1; i < t->rank && zeros > 1; i++) {
        inner *= t->dim[i];
    }
    IrType type = {IR_F32, ir_shape_of(t->rank, t->dim), 0};
    int64_t elems = ir_tensor_elems(t);
    if (!fe_charge(n, elems * (int64_t)sizeof(float))) {
        return NULL;
    }
    IrTensor out = ir_tensor_new(n->fe->arena, &type, 1);
    for (int64_t i = 0; i < elems; i++) {
        double at = z ? ir_tensor_get(z, i / inner % zeros) : 0;
        ((float *)out.data)[i] = (float)(ir_tensor_get(t, i) - at);
    }
    return fe_tensor_const(n, &out);
}

static Factor read_factor(FeNode *n, int input, int zero, int along) {
    Factor f = {fe_operand(n, input), find_most(n, input, zero)};
    if (!n->refused && f.v->type.dtype != IR_I8 && f.v->type.dtype != IR_U8) {
        fe_refuse(n, "input %d is %s, it must be int8 or uint8", input,
                  ir_dtype_name(f.v->type.dtype));
    }
    if (n->refused) {
        return f;
    }
    IrValue *z = spread(n, zero, along, f.v->type.shape.rank);
    if (z && z->type.dtype != f.v->type.dtype) {
        fe_refuse(n, "input %d and its zero point differ in type", input);
    }
    IrValue *known = subtract_constants(n, input, zero, along);
    if (known || n->refused) {
        f.v = known;
        return f;
    }
    f.v = fe_cast(n, f.v, IR_F32);
    if (z) {
        f.v = fe_bin(n, IR_OP_SUB, f.v, fe_cast(n, z, IR_F32));
    }
    return f;
}

// How many entries of the inner axis, each standing for `taps` products, one part has; refuses
// where parts are too small or too many.
static int64_t part_length(FeNode *n, const Factor *a, const Factor *b, int64_t length,
                           int64_t taps) {
    double most = a->most * b->most * (double)taps;
    double fits = most > 0 ? floor(EXACT / most) : (double)length;
    int64_t part = fits >= (double)length ? length : (int64_t)fits;
    if (length > 0 && (part < 1 || (length + part - 1) / part > MAX_PARTS)) {
        fe_refuse(n, "NYI: exact sums of %lld by %lld products", (long long)length,
                  (long long)taps);
    }
    return part > 0 ? part : 1;
}

static IrValue *add_part(FeNode *n, IrValue *sum, IrValue *part) {
    part = n->refused ? NULL : fe_cast(n, part, IR_I32);
    return sum ? fe_bin(n, IR_OP_ADD, sum, part) : part;
}

static void mark_exact(FeNode *n, IrNode *before) { // the products behind it
    for (IrNode *k = before ? before->next : n->b.graph->first; k; k = k->next) {
        if (k->op == IR_OP_CONV || k->op == IR_OP_MATMUL) {
            ir_set_attr(k, ir_attr_i(IR_ATTR_EXACT, 1));
        }
    }
}

// ---------------------------------------------------------------- matrices

static IrValue *multiply(FeNode *n, const Factor *a, const Factor *b) {
    if (n->refused) {
        return NULL;
    }
    const IrShape *as = &a->v->type.shape, *bs = &b->v->type.shape;
    int ka = as->rank - 1, kb = bs->rank > 1 ? bs->rank - 2 : 0;
    if (as->rank == 0 || bs->rank == 0 || as->dim[ka].n || !ir_dim_eq(as->dim[ka], bs->dim[kb])) {
        fe_refuse(n, "the inner dimensions differ, or depend on the batch size");
        return NULL;
    }
    int64_t length = as->dim[ka].c, part = part_length(n, a, b, length, 1), at = 0;
    IrNode *before = n->b.graph->last;
    IrValue *sum = NULL;
    do {
        int64_t count = length - at < part ? length - at : part;
        IrValue *x = fe_part(n, a->v, ka, at, count), *y = fe_part(n, b->v, kb, at, count);
        sum = add_part(n, sum, fe_matmul(n, x, y));
        at += part;
    } while (at < length && !n->refused);
    mark_exact(n, before);
    return sum;
}

static FeQuantized read_quantized(FeNode *n, int input, int zero, int along) {
    FeQuantized q = {.v = fe_operand(n, input),
                     .known = fe_has(n, zero) ? fe_tensor(n, zero) : NULL};
    q.zero = n->refused ? NULL : spread(n, zero, along, q.v->type.shape.rank);
    return q;
}

// Inputs a and b less their zero points, multiplied as matrices.
static IrValue *sum_matrices(FeNode *n, int a, int a_zero, int b, int b_zero) {
    FeQuantized q = read_quantized(n, a, a_zero, ROWS);
    IrValue *sum = fe_matmul_bytes(n, &q, b, b_zero);
    if (sum || n->refused) {
        return sum;
    }
    Factor x = read_factor(n, a, a_zero, ROWS), y = read_factor(n, b, b_zero, COLUMNS);
    return multiply(n, &x, &y);
}

// MatMulInteger-10: A, B, zero points of A and B
void fe_import_matmul_integer(FeNode *n) {
    fe_out(n, 0, sum_matrices(n, 0, 2, 1, 3));
}

// ---------------------------------------------------------------- convolutions

// Channels [from, from + count) of each group of x [N,C,...].
static IrValue *cut_channels(FeNode *n, IrValue *x, int64_t group, int64_t from, int64_t count) {
    IrShape s = x->type.shape, split = s;
    int64_t each = s.dim[1].c / group;
    if (group == 1 || count == each) {
        return group == 1 ? fe_part(n, x, 1, from, count) : x;
    }
    split.rank++;
    split.dim[1] = ir_dim(group);
    split.dim[2] = ir_dim(each);
    for (int i = 2; i < s.rank; i++) {
        split.dim[i + 1] = s.dim[i];
    }
    s.dim[1] = ir_dim(group * count);
    x = fe_part(n, fe_reshape(n, x, &split), 2, from, count);
    return n->refused ? NULL : fe_reshape(n, x, &s);
}

static bool check_convolution(FeNode *n, const IrShape *x, const IrShape *w, int64_t group,
                              int64_t *taps) {
    *taps = 1;
    bool fits = x->rank == w->rank && x->rank >= 3 && x->rank < IR_MAX_RANK && !x->dim[1].n;
    for (int i = 1; i < w->rank && fits; i++) {
        fits = w->dim[i].n == 0 && w->dim[i].c > 0 &&
               (i == 1 || !__builtin_mul_overflow(*taps, w->dim[i].c, taps));
    }
    if (!fits || group < 1 || w->dim[1].c > x->dim[1].c || x->dim[1].c % group ||
        x->dim[1].c / group != w->dim[1].c) {
        fe_refuse(n, "weights and group do not fit the input");
    }
    return !n->refused;
}

static IrValue *convolve(FeNode *n, const Factor *x, const Factor *w) {
    int64_t group = fe_attr_int(n, "group", 1), taps, at = 0;
    if (n->refused || !check_convolution(n, &x->v->type.shape, &w->v->type.shape, group, &taps)) {
        return NULL;
    }
    int64_t length = w->v->type.shape.dim[1].c, part = part_length(n, x, w, length, taps);
    IrNode *before = n->b.graph->last;
    IrValue *sum = NULL;
    do {
        int64_t count = length - at < part ? length - at : part;
        IrValue *from = cut_channels(n, x->v, group, at, count),
                *by = fe_part(n, w->v, 1, at, count);
        sum = add_part(n, sum, fe_conv(n, from, by, NULL));
        at += part;
    } while (at < length && !n->refused);
    mark_exact(n, before);
    return sum;
}

// ConvInteger-10: x, w, zero points of x and w
void fe_import_conv_integer(FeNode *n) {
    FeQuantized q = read_quantized(n, 0, 2, CHANNELS);
    IrValue *sum = fe_conv_bytes(n, &q, 1, 3);
    if (!sum && !n->refused) {
        Factor x = read_factor(n, 0, 2, CHANNELS), w = read_factor(n, 1, 3, FILTERS);
        sum = convolve(n, &x, &w);
    }
    fe_out(n, 0, sum);
}

// ---------------------------------------------------------------- quantized again

// Input i, a scale that broadcasts to a result of rank `rank`, as f32.
static IrValue *read_scale(FeNode *n, int i, int along, int rank) {
    IrValue *v = fe_operand(n, i) ? spread(n, i, along, rank) : NULL;
    return fe_check_scale(n, i) ? fe_cast(n, v, IR_F32) : NULL;
}

// The sum times `by`, as f32.
static IrValue *scale_sum(FeNode *n, IrValue *sum, IrValue *by) {
    return n->refused ? NULL : fe_bin(n, IR_OP_MUL, fe_cast(n, sum, IR_F32), by);
}

// Output 0: the sum times `by` / scale(y), as y's type. y's scale is input i, along its axis; its
// zero point the next.
static void requantize(FeNode *n, IrValue *sum, IrValue *by, int i, int along) {
    IrType zero;
    if (n->refused || !fe_type(n, i + 1, &zero)) {
        return;
    }
    int rank = sum->type.shape.rank;
    by = fe_bin(n, IR_OP_DIV, by, fe_divisor(n, i, read_scale(n, i, along, rank)));
    fe_out(n, 0,
           fe_requantize(n, scale_sum(n, sum, by), spread(n, i + 1, along, rank), zero.dtype));
}

// The product of the scales of inputs a and b.
static IrValue *join_scales(FeNode *n, const IrValue *sum, int a, int along_a, int b, int along_b) {
    if (n->refused) {
        return NULL;
    }
    int rank = sum->type.shape.rank;
    IrValue *x = read_scale(n, a, along_a, rank);
    return fe_bin(n, IR_OP_MUL, x, read_scale(n, b, along_b, rank));
}

// ---------------------------------------------------------------- by constant weights
// These say what they mean, y = quantize(product(dequantize(a), dequantize(b)) + dequantize(bias)),
// and the pass quant_products makes sums of integers of it.

static bool is_byte_tensor(FeNode *n, int i) {
    IrType t;
    return fe_type(n, i, &t) && (t.dtype == IR_I8 || t.dtype == IR_U8);
}

static bool is_number(FeNode *n, int i) {
    const IrTensor *t = fe_has(n, i) ? fe_tensor(n, i) : NULL;
    return !fe_has(n, i) || (t && ir_tensor_elems(t) == 1);
}

// a is scaled as a whole, b is constant, and so is all that scales them and y, whose scale is input
// `y`.
static bool has_constant_weights(FeNode *n, int y) {
    bool known =
        !n->fe->opt->to_train && fe_has(n, 4) && is_byte_tensor(n, 0) && is_byte_tensor(n, 3);
    known = known && is_number(n, 1) && is_number(n, 2) && is_number(n, y) && is_number(n, y + 1);
    for (int i = 3; i < 6 && known; i++) {
        known = !fe_has(n, i) || fe_tensor(n, i);
    }
    return known && !n->refused;
}

// Quantized input i, its scale and its zero point behind it, as the numbers that it stands for.
static IrValue *read_real(FeNode *n, int i, int along) {
    IrValue *x = fe_operand(n, i);
    if (n->refused) {
        return NULL;
    }
    int rank = x->type.shape.rank;
    return fe_dequantize(n, x, read_scale(n, i + 1, along, rank), spread(n, i + 2, along, rank));
}

// Input i, i32 in units of the product of the scales of inputs 1 and 4; NULL where it is absent.
static IrValue *read_real_bias(FeNode *n, int i) {
    const IrTensor *a = fe_tensor(n, 1), *b = fe_tensor(n, 4);
    IrValue *bias = fe_operand_or_null(n, i);
    if (n->refused || !bias) {
        return NULL;
    }
    int64_t elems = ir_tensor_elems(b);
    IrType type = {IR_F32, {elems == 1 ? 0 : 1, {ir_dim(elems)}}, 0};
    IrTensor unit = ir_tensor_new(n->fe->arena, &type, 1);
    for (int64_t k = 0; k < elems; k++) {
        ir_tensor_set(&unit, k, ir_tensor_get(a, 0) * ir_tensor_get(b, k));
    }
    return fe_dequantize(n, bias, fe_tensor_const(n, &unit), NULL);
}

// Output 0: y by the scale at input i and the zero point behind it, single numbers.
static void quantize_result(FeNode *n, IrValue *y, int i) {
    IrType zero;
    if (!n->refused && fe_type(n, i + 1, &zero)) {
        IrValue *scale = fe_divisor(n, i, read_scale(n, i, ROWS, 0));
        fe_out(n, 0, fe_quantize(n, y, scale, spread(n, i + 1, ROWS, 0), zero.dtype));
    }
}

static void multiply_real(FeNode *n) {
    IrValue *a = read_real(n, 0, ROWS);
    quantize_result(n, fe_matmul(n, a, read_real(n, 3, COLUMNS)), 6);
}

static void multiply_matrices_real(FeNode *n, bool turn_a, bool turn_b) {
    IrValue *a = read_real(n, 0, ROWS), *b = read_real(n, 3, turn_b ? ROWS : COLUMNS);
    IrAttr attrs[] = {ir_attr_i(IR_ATTR_TRANS_A, turn_a), ir_attr_i(IR_ATTR_TRANS_B, turn_b)};
    IrValue *y = fe_build(n, IR_OP_MATMUL, FE_IN(a, b), 2, attrs), *c = read_real_bias(n, 6);
    quantize_result(n, c ? fe_bin(n, IR_OP_ADD, y, c) : y, 7);
}

static void convolve_real(FeNode *n, bool last) {
    IrValue *x = read_real(n, 0, CHANNELS), *w = read_real(n, 3, FILTERS);
    x = last ? fe_channels_first(n, x) : x;
    IrValue *y = fe_conv(n, x, w, read_real_bias(n, 8));
    quantize_result(n, last ? fe_channels_last(n, y) : y, 6);
}

// QLinearMatMul-21: a, scale, zero; b, scale, zero; scale and zero of y
void fe_import_qlinear_matmul(FeNode *n) {
    if (has_constant_weights(n, 6)) {
        multiply_real(n);
        return;
    }
    IrValue *sum = sum_matrices(n, 0, 2, 3, 5);
    requantize(n, sum, join_scales(n, sum, 1, ROWS, 4, COLUMNS), 6, ROWS);
}

// QLinearConv-10: x, scale, zero; w, scale, zero; scale and zero of y; bias i32[O]. That of
// com.microsoft may be NHWC (channels_last), its weights are not.
void fe_import_qlinear_conv(FeNode *n) {
    bool last = fe_attr_int(n, "channels_last", 0) != 0;
    if (has_constant_weights(n, 6)) {
        convolve_real(n, last);
        return;
    }
    int channels = last ? COLUMNS : CHANNELS;
    Factor x = read_factor(n, 0, 2, channels), w = read_factor(n, 3, 5, FILTERS);
    x.v = last ? fe_channels_first(n, x.v) : x.v;
    IrValue *sum = convolve(n, &x, &w);
    IrValue *bias = sum ? spread(n, 8, CHANNELS, sum->type.shape.rank) : NULL;
    sum = bias ? fe_bin(n, IR_OP_ADD, sum, bias) : sum;
    IrValue *by = join_scales(n, sum, 1, CHANNELS, 4, CHANNELS);
    if (last && !n->refused) {
        sum = fe_channels_last(n, sum);
        by = by->type.shape.rank > 1 ? fe_channels_last(n, by) : by;
    }
    requantize(n, sum, by, 6, channels);
}

// QGemm-1: a, scale, zero; b, scale, zero; c, i32 in units of alpha * scale(a) * scale(b); scale
// and zero of y, without which it is f32
void fe_import_qgemm(FeNode *n) {
    bool turn_a = fe_attr_int(n, "transA", 0) != 0, turn_b = fe_attr_int(n, "transB", 0) != 0;
    if (has_constant_weights(n, 7) && fe_has(n, 7) && fe_attr_float(n, "alpha", 1) == 1) {
        multiply_matrices_real(n, turn_a, turn_b);
        return;
    }
    Factor a = read_factor(n, 0, 2, turn_a ? COLUMNS : ROWS);
    Factor b = read_factor(n, 3, 5, turn_b ? ROWS : COLUMNS);
    if (!n->refused && (a.v->type.shape.rank != 2 || b.v->type.shape.rank != 2)) {
        fe_refuse(n, "operands of rank %d and %d, both must be matrices", a.v->type.shape.rank,
                  b.v->type.shape.rank);
    }
    a.v = turn_a ? fe_transpose(n, a.v, 2, (int64_t[]){1, 0}) : a.v;
    b.v = turn_b ? fe_transpose(n, b.v, 2, (int64_t[]){1, 0}) : b.v;
    IrValue *sum = multiply(n, &a, &b), *c = fe_operand_or_null(n, 6);
    sum = c ? fe_bin(n, IR_OP_ADD, sum, c) : sum;
    IrValue *by = join_scales(n, sum, 1, ROWS, 4, COLUMNS);
    double alpha = fe_attr_float(n, "alpha", 1);
    by = alpha == 1 ? by : fe_op_const(n, IR_OP_MUL, by, alpha);
    if (fe_has(n, 7)) {
        requantize(n, sum, by, 7, ROWS);
    } else {
        fe_out(n, 0, scale_sum(n, sum, by));
    }
}

static void add_bias(FeNode *n, IrValue *y, int i) {
    IrValue *bias = fe_operand_or_null(n, i);
    fe_out(n, 0, bias ? fe_bin(n, IR_OP_ADD, y, bias) : y);
}

// MatMulIntegerToFloat-1: a, b, their scales, their zero points, bias
void fe_import_matmul_integer_to_float(FeNode *n) {
    IrValue *sum = sum_matrices(n, 0, 4, 1, 5);
    add_bias(n, scale_sum(n, sum, join_scales(n, sum, 2, ROWS, 3, COLUMNS)), 6);
}

// DynamicQuantizeMatMul-1: a of f32, quantized as DynamicQuantizeLinear does; b, its scale and zero
// point, bias
void fe_import_dynamic_quantize_matmul(FeNode *n) {
    FeDynamic q = fe_quantize_dynamic(n, fe_operand(n, 0));
    IrValue *sum = fe_matmul_bytes(n, &(FeQuantized){q.y, q.zero, NULL}, 1, 3);
    if (!sum && !n->refused) {
        Factor b = read_factor(n, 1, 3, COLUMNS);
        IrValue *zero = fe_cast(n, q.zero, IR_F32);
        Factor a = {fe_bin(n, IR_OP_SUB, fe_cast(n, q.y, IR_F32), zero), 255};
        sum = multiply(n, &a, &b);
    }
    IrValue *by = n->refused ? NULL : read_scale(n, 2, COLUMNS, sum->type.shape.rank);
    add_bias(n, scale_sum(n, sum, fe_bin(n, IR_OP_MUL, by, q.scale)), 4);
}
