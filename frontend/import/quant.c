// QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear:
//
//   quantize    y = saturate(round(x / scale) + zero), halves to even
//   dequantize  y = (x - zero) * scale
//
// scale and zero are per tensor, one per entry of an axis, or one per block of an axis (version
// 21). They are IR's ops of that name; to train, the arithmetic, and constants that are dequantized
// become constants of f32 at once, as those in blocks do.
#include "frontend/import/quant.h"
#include "frontend/import/bits.h"

#include <math.h>

typedef struct Quant {
    int axis;
    int64_t channels; // entries of the axis; 1: the scale is per tensor
    int64_t inner;    // elements behind each
    int64_t block;    // entries that share a scale; 0: the scale is a vector
} Quant;

// One scale for `block` entries of the axis; else of x's shape.
static bool check_blocks(FeNode *n, const IrShape *x, const IrShape *scale, Quant *q) {
    int64_t given = fe_attr_int(n, "block_size", 0), dim = x->dim[q->axis].c;
    for (int i = 0; i < x->rank; i++) {
        if (x->dim[i].n || (i != q->axis && !ir_dim_eq(x->dim[i], scale->dim[i]))) {
            fe_refuse(n, "dimension %d of blocked scales is not that of the tensor", i);
            return false;
        }
    }
    q->block = given;
    if (given < 1 || given > INT32_MAX || scale->dim[q->axis].c != (dim + given - 1) / given) {
        fe_refuse(n, "blocks of %lld along %lld entries, there are %lld scales", (long long)given,
                  (long long)dim, (long long)scale->dim[q->axis].c);
    }
    return !n->refused;
}

static bool read_layout(FeNode *n, const IrType *x, const IrType *scale, Quant *q) {
    const IrShape *xs = &x->shape, *ss = &scale->shape;
    *q = (Quant){0, 1, 1, 0};
    bool blocked = n->since >= 21 && fe_attr_int(n, "block_size", 0) != 0;
    if (blocked ? ss->rank != xs->rank : ss->rank > 1) {
        fe_refuse(n, "scales of rank %d for a tensor of rank %d", ss->rank, xs->rank);
        return false;
    }
    if (ss->rank == 0 || (!blocked && ir_dim_is(ss->dim[0], 1))) {
        return true;
    }
    q->axis = fe_axis(n, fe_attr_int(n, "axis", 1), xs->rank);
    if (n->refused) {
        return false;
    }
    if (!blocked && !ir_dim_eq(xs->dim[q->axis], ss->dim[0])) {
        fe_refuse(n, "the scale has %lld entries, axis %d has %lld", (long long)ss->dim[0].c,
                  q->axis, (long long)xs->dim[q->axis].c);
        return false;
    }
    q->channels = xs->dim[q->axis].c;
    for (int i = q->axis + 1; i < xs->rank; i++) {
        q->inner *= xs->dim[i].c;
    }
    return !blocked || check_blocks(n, xs, ss, q);
}

// The scale's number for element i of the tensor.
static int64_t find_scale(const Quant *q, int64_t i) {
    int64_t c = i / q->inner % q->channels, row = i / q->inner / q->channels;
    if (!q->block) {
        return q->channels == 1 ? 0 : c;
    }
    int64_t blocks = (q->channels + q->block - 1) / q->block;
    return (row * blocks + c / q->block) * q->inner + i % q->inner;
}

static void fold_weights(FeNode *n, const Quant *q, const IrTensor *x, const IrTensor *scale,
                         const IrTensor *zero) {
    IrType type = {IR_F32, ir_shape_of(x->rank, x->dim), 0};
    int64_t elems = ir_tensor_elems(x);
    if (!fe_charge(n, elems * (int64_t)sizeof(float))) {
        return;
    }
    IrTensor *y = ir_alloc(n->fe->arena, sizeof *y);
    *y = ir_tensor_new(n->fe->arena, &type, 1);
    for (int64_t i = 0; i < elems; i++) {
        int64_t c = find_scale(q, i);
        double z = zero ? ir_tensor_get(zero, c) : 0;
        ((float *)y->data)[i] = (float)((ir_tensor_get(x, i) - z) * ir_tensor_get(scale, c));
    }
    fe_out_tensor(n, 0, y);
}

// Each entry of the axis `block` times, cut to the tensor's shape.
static IrValue *repeat_blocks(FeNode *n, const Quant *q, IrValue *v, const IrShape *x) {
    IrShape s = v->type.shape;
    if (n->refused || s.rank == IR_MAX_RANK) {
        fe_refuse(n, "blocks in a tensor of rank %d", s.rank);
        return NULL;
    }
    IrShape split = {s.rank + 1, {{0}}}, repeated, joined = s;
    for (int i = 0; i < split.rank; i++) {
        split.dim[i] = i <= q->axis ? s.dim[i] : i == q->axis + 1 ? ir_dim(1) : s.dim[i - 1];
    }
    repeated = split;
    repeated.dim[q->axis + 1] = ir_dim(q->block);
    joined.dim[q->axis].c *= q->block;
    v = fe_reshape(n, v, &split);
    v = fe_build(n, IR_OP_EXPAND, FE_IN(v), FE_WITH(ir_attr_dims(IR_ATTR_SHAPE, &repeated)));
    int64_t start[IR_MAX_RANK] = {0}, step[IR_MAX_RANK] = {1, 1, 1, 1, 1, 1, 1, 1};
    return fe_build(n, IR_OP_SLICE, FE_IN(fe_reshape(n, v, &joined)),
                    FE_WITH(fe_ints_attr(n, IR_ATTR_START, s.rank, start),
                            fe_ints_attr(n, IR_ATTR_STEP, s.rank, step),
                            ir_attr_dims(IR_ATTR_SHAPE, x)));
}

// A constant that was reshaped, as one.
static IrValue *constant_of(FeNode *n, IrValue *v) {
    IrNode *reshape = v->def && v->def->op == IR_OP_RESHAPE ? v->def : NULL;
    IrConst *c = reshape ? ir_in(reshape, 0)->konst : NULL;
    if (!c) {
        return v;
    }
    IrTensor t = {.dtype = v->type.dtype, .rank = v->type.shape.rank};
    for (int i = 0; i < t.rank; i++) {
        t.dim[i] = v->type.shape.dim[i].c;
    }
    t.data = (void *)ir_const_data(n->fe->prog, c); // read only
    ir_remove_node(reshape);
    return fe_tensor_const(n, &t);
}

// A scale or zero point in a shape that broadcasts to the tensor's.
static IrValue *spread(FeNode *n, const Quant *q, IrValue *v, const IrShape *x) {
    if (n->refused || !v) {
        return NULL;
    }
    if (q->block) {
        return repeat_blocks(n, q, v, x);
    }
    int64_t axis = q->axis;
    v = q->channels == 1 ? fe_reshape(n, v, &(IrShape){.rank = 0})
                         : fe_reshape_axes(n, v, x->rank, (IrInts){1, &axis});
    return n->refused || n->fe->opt->to_train ? v : constant_of(n, v);
}

// How many numbers of input i, where it is known, are 0, or, where `finite`, not finite.
static int64_t count_odd(FeNode *n, int i, bool finite) {
    const IrTensor *t = n->refused || !fe_has(n, i) ? NULL : fe_tensor(n, i);
    int64_t odd = 0;
    for (int64_t k = 0; t && k < ir_tensor_elems(t); k++) {
        double v = ir_tensor_get(t, k);
        odd += finite ? !isfinite(v) : v == 0;
    }
    return odd;
}

bool fe_check_scale(FeNode *n, int i) {
    int64_t odd = count_odd(n, i, true);
    if (odd) {
        fe_refuse(n, "input %d, a scale, is not finite in %lld of %lld numbers", i, (long long)odd,
                  (long long)ir_tensor_elems(fe_tensor(n, i)));
    }
    return !n->refused;
}

IrValue *fe_divisor(FeNode *n, int i, IrValue *v) {
    static const double LEAST = 1e-30; // whose reciprocal leaves room for factors
    if (!count_odd(n, i, false)) {
        return v;
    }
    IrValue *none = fe_op_const(n, IR_OP_EQUAL, v, 0);
    return fe_build(n, IR_OP_WHERE, FE_IN(none, fe_const(n, v, LEAST), v), 0, NULL);
}

// [] or [1]: writers mix the two.
static bool is_one(const IrShape *s) {
    return s->rank == 0 || (s->rank == 1 && ir_dim_is(s->dim[0], 1));
}

static bool read_inputs(FeNode *n, IrType *x, IrType *scale, Quant *q) {
    IrType zero;
    if (!fe_type(n, 0, x) || !fe_type(n, 1, scale) || !read_layout(n, x, scale, q)) {
        return false;
    }
    if (scale->dtype != IR_F32) {
        fe_refuse(n, "scales of %s, they must be floats", ir_dtype_name(scale->dtype));
    }
    if (fe_has(n, 2) && fe_type(n, 2, &zero) && !ir_shape_eq(&zero.shape, &scale->shape) &&
        !(is_one(&zero.shape) && is_one(&scale->shape))) {
        fe_refuse(n, "the zero point does not have the scale's shape");
    }
    return fe_check_scale(n, 1);
}

// What the file computes the result in: output_dtype (version 23), or the type of the scale.
static void set_real_type(FeNode *n) {
    int64_t given = fe_attr_int(n, "output_dtype", 0);
    IrDtype to;
    if (given && (given != (int32_t)given || !fe_dtype((int32_t)given, false, &to) ||
                  to != IR_F32 || fe_small_type((int32_t)given))) {
        fe_refuse(n, "output_dtype %lld is not supported", (long long)given);
    }
    fe_out_elem(n, 0, given ? (int32_t)given : fe_elem_type(n->in[1]));
}

// Floats of 8 and 4 bits, which are f32 here, by the same formula.
static IrValue *dequantize_floats(FeNode *n, IrValue *x, IrValue *scale, IrValue *zero) {
    return fe_bin(n, IR_OP_MUL, zero ? fe_bin(n, IR_OP_SUB, x, zero) : x, scale);
}

void fe_import_dequantize_linear(FeNode *n) {
    IrType x, scale;
    Quant q;
    if (!read_inputs(n, &x, &scale, &q)) {
        return;
    }
    const IrTensor *t = fe_tensor(n, 0), *s = fe_tensor(n, 1), *z = fe_tensor(n, 2);
    bool known = t && s && (z || !fe_has(n, 2)) && !n->in[1]->stored;
    bool floats = ir_dtype_is_float(x.dtype);
    if (known && !n->refused && (n->fe->opt->to_train || q.block || floats)) {
        fold_weights(n, &q, t, s, z);
    } else {
        IrValue *zero = spread(n, &q, fe_operand_or_null(n, 2), &x.shape), *v = fe_operand(n, 0);
        IrValue *by = spread(n, &q, fe_operand(n, 1), &x.shape);
        fe_out(n, 0, floats ? dequantize_floats(n, v, by, zero) : fe_dequantize(n, v, by, zero));
    }
    set_real_type(n);
}

// ---------------------------------------------------------------- quantize

bool fe_quant_dtype(FeNode *n, IrDtype t) {
    if (ir_dtype_is_float(t) || t == IR_BOOL || ir_dtype_bytes(t) > 2) {
        fe_refuse(n, "numbers quantized to %s, they must be integers of 8 or 16 bits",
                  ir_dtype_name(t));
    }
    return !n->refused;
}

IrValue *fe_requantize(FeNode *n, IrValue *x, IrValue *zero, IrDtype to) {
    if (n->refused || !fe_quant_dtype(n, to)) {
        return NULL;
    }
    bool is_signed = to == IR_I8 || to == IR_I16;
    double range = ldexp(1, 8 * ir_dtype_bytes(to)), low = is_signed ? -range / 2 : 0;
    IrValue *y = fe_un(n, IR_OP_ROUND, x);
    y = zero ? fe_bin(n, IR_OP_ADD, y, fe_cast(n, zero, IR_F32)) : y;
    y = fe_build(n, IR_OP_CLIP, FE_IN(y),
                 FE_WITH(ir_attr_f(IR_ATTR_MIN, low), ir_attr_f(IR_ATTR_MAX, low + range - 1)));
    return n->refused ? NULL : fe_cast(n, y, to);
}

// Training sees the arithmetic.
static IrValue *settle(FeNode *n, IrValue *y) {
    IrStep step[IR_QUANT_STEPS];
    if (n->refused || !n->fe->opt->to_train) {
        return y;
    }
    IrNode *q = y->def;
    IrBody body = {ir_quant_steps(q, step), step};
    IrValue *in[] = {ir_in(q, 0), ir_in(q, 1), ir_in(q, 2)};
    y = ir_build_steps(&n->b, &body, in);
    ir_remove_node(q);
    return y;
}

IrValue *fe_quantize(FeNode *n, IrValue *x, IrValue *scale, IrValue *zero, IrDtype to) {
    if (n->refused || !fe_quant_dtype(n, to)) {
        return NULL;
    }
    return settle(n, fe_build(n, IR_OP_QUANTIZE, FE_IN(x, scale, zero),
                              FE_WITH(ir_attr_s(IR_ATTR_TO, ir_dtype_name(to)))));
}

IrValue *fe_dequantize(FeNode *n, IrValue *x, IrValue *scale, IrValue *zero) {
    return settle(n, fe_build(n, IR_OP_DEQUANTIZE, FE_IN(x, scale, zero), 0, NULL));
}

// The element type of the result: the zero point's, or output_dtype (version 21), or uint8.
static int32_t read_target(FeNode *n, IrDtype *to) {
    IrType zero;
    *to = IR_U8;
    int64_t given = fe_attr_int(n, "output_dtype", 0);
    if (fe_has(n, 2) && fe_type(n, 2, &zero)) {
        *to = zero.dtype;
        given = fe_elem_type(n->in[2]);
    } else if (given && (given != (int32_t)given || !fe_dtype((int32_t)given, false, to))) {
        fe_refuse(n, "output_dtype %lld is not supported", (long long)given);
    }
    bool floats = !n->refused && fe_small_type((int32_t)given) && ir_dtype_is_float(*to);
    return n->refused || (!floats && !fe_quant_dtype(n, *to)) ? 0 : (int32_t)given;
}

// QuantizeLinear to floats of 8 and 4 bits.
static IrValue *quantize_floats(FeNode *n, IrValue *x, IrValue *scale, IrValue *zero,
                                const FeSmall *to) {
    x = fe_bin(n, IR_OP_DIV, x, scale);
    x = zero ? fe_bin(n, IR_OP_ADD, x, zero) : x;
    return fe_round_small(n, x, to, fe_read_overflow(n, to));
}

// i8 or u8 as integers of less than 8 bits; x itself where `to` is NULL.
static IrValue *clip_small(FeNode *n, IrValue *x, const FeSmall *to) {
    if (n->refused || !to) {
        return x;
    }
    double most = fe_small_max(to);
    x = to->is_signed ? fe_op_const(n, IR_OP_MAXIMUM, x, -most - 1) : x;
    return fe_op_const(n, IR_OP_MINIMUM, x, most);
}

void fe_import_quantize_linear(FeNode *n) {
    IrType x, scale;
    IrDtype to;
    Quant q;
    int32_t elem = read_inputs(n, &x, &scale, &q) ? read_target(n, &to) : 0;
    IrValue *by = n->refused ? NULL : spread(n, &q, fe_operand(n, 1), &x.shape);
    IrValue *zero = n->refused ? NULL : spread(n, &q, fe_operand_or_null(n, 2), &x.shape);
    IrValue *v = fe_operand(n, 0);
    const FeSmall *small = fe_small_type(elem);
    v = n->refused ? NULL : fe_cast(n, v, IR_F32);
    if (small && small->is_float) {
        fe_out(n, 0, quantize_floats(n, v, by, zero, small));
    } else if (!n->refused) {
        by = fe_divisor(n, 1, by);
        fe_out(n, 0, clip_small(n, fe_quantize(n, v, by, zero, to), small));
    }
    fe_out_elem(n, 0, elem);
}

// DynamicQuantizeLinear-11: to uint8 with
//   scale = (max(x, 0) - min(x, 0)) / 255    1 where that is 0
//   zero  = round(clip(-min(x, 0) / scale, 0, 255))
FeDynamic fe_quantize_dynamic(FeNode *n, IrValue *x) {
    if (n->refused) {
        return (FeDynamic){NULL, NULL, NULL};
    }
    IrInts all = fe_range(n, 0, x->type.shape.rank);
    IrValue *most = fe_reduce(n, IR_OP_REDUCE_MAX, x, all, false);
    IrValue *least = fe_reduce(n, IR_OP_REDUCE_MIN, x, all, false);
    most = fe_op_const(n, IR_OP_MAXIMUM, most, 0);
    least = fe_op_const(n, IR_OP_MINIMUM, least, 0);
    IrValue *scale = fe_op_const(n, IR_OP_DIV, fe_bin(n, IR_OP_SUB, most, least), 255);
    IrValue *flat = fe_op_const(n, IR_OP_EQUAL, scale, 0);
    scale = fe_build(n, IR_OP_WHERE, FE_IN(flat, fe_const(n, x, 1), scale), 0, NULL);
    IrValue *zero = fe_quantize(n, fe_un(n, IR_OP_NEG, least), scale, NULL, IR_U8);
    return (FeDynamic){fe_quantize(n, x, scale, zero, IR_U8), scale, zero};
}

void fe_import_dynamic_quantize_linear(FeNode *n) {
    FeDynamic q = fe_quantize_dynamic(n, fe_operand(n, 0));
    fe_out(n, 0, q.y);
    fe_out(n, 1, q.scale);
    fe_out(n, 2, q.zero);
}
