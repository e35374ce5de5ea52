// quant_products: products of quantized numbers are computed on the integers.
//
//   %x = dequantize %q, 0.5, 128                %a: i32 = conv %q, %w8, %b32 {zero=128}
//   %w = dequantize %w8, %s                ->   %f = cast %a {to=f32}
//   %y = conv %x, %w, %b                        %y = mul %f, 0.5 * %s
//
//   %y = reduce_mean %x                    ->   %y = (reduce_mean %q {to=f32} - 128) * 0.5
//
// conv, and matmul by a matrix; avg_pool, reduce_mean. Weights are constants, with a scale per
// tensor or output channel; q is u8, i8 becomes u8. u8 weights that do not fit i8 once their zero
// point is subtracted are i8 and one number more for each channel, which a product by ones adds.
// A bias of i32 in units of the product's scale stays one; any other is added to the result, in
// f32, and so is one with which a sum could leave int32, as quantizers write it for channels whose
// weights are next to nothing. Sums are exact: no output channel can reach 2^31, whatever q is.
// What does not fit stays f32.

#include "passes/quant/quant.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

// Weights as integers less their zero points, and what one of a sum's units is, by output channel.
typedef struct Weights {
    IrValue *v;              // i8
    int *more;               // [channels]: each weight is so much above v; NULL: they are v
    int64_t channels, inner; // channel c has elements (i / inner) % channels == c
    double *scale;           // [channels]
    double *most;            // [channels]: the sum of the magnitudes
} Weights;

static const double LIMIT = 2147483648.0; // 2^31

// ---------------------------------------------------------------- weights

// v is a frozen constant per tensor, or along `axis` of `of`; NULL stands for 0.
static bool is_along(const IrValue *v, const IrShape *of, int axis) {
    return !v || (pass_is_frozen(v) && (ir_const_is_scalar(v) || pass_is_per_axis(v, of, axis)));
}

static IrValue *const_bytes(PassContext *ctx, const IrNode *at, const IrType *type,
                            const char *name, int8_t *data) {
    IrType t = {IR_I8, type->shape, 0};
    return ir_const_value(at->graph, ir_const_new(ctx->prog, name, t, data));
}

static void make_bytes(PassContext *ctx, IrNode *at, const IrNode *d, Weights *w) {
    IrValue *from = ir_in(d, 0), *zero = ir_in(d, 2);
    int64_t elems = pass_elems(&from->type);
    int *zeros = ir_alloc_array(ctx->scratch, (size_t)w->channels, sizeof *zeros);
    int *more = ir_alloc_array(ctx->scratch, (size_t)w->channels, sizeof *more);
    bool same = from->type.dtype == IR_I8;
    for (int64_t c = 0; c < w->channels; c++) {
        zeros[c] = zero ? (int)pass_channel(ctx, zero, c) : 0;
        same = same && zeros[c] == 0;
    }
    ir_work_on(at);
    IrTensor t = {from->type.dtype, 1, {elems}, (void *)ir_const_data(ctx->prog, from->konst)};
    int8_t *to = ir_alloc(ctx->prog->arena, (size_t)elems + 1);
    w->more = ir_split_bytes(&t, w->channels, w->inner, zeros, to, more) ? more : NULL;
    for (int64_t i = 0; i < elems; i++) {
        int64_t c = i / w->inner % w->channels;
        w->most[c] += abs(to[i] + more[c]);
    }
    w->v = same ? from : const_bytes(ctx, at, &from->type, from->konst->name, to);
}

// Operand 1 of n, whose output channels lie along `axis` of it.
static bool read_weights(PassContext *ctx, IrNode *n, int axis, Weights *w) {
    const IrNode *d = pass_def(ir_in(n, 1), IR_OP_DEQUANTIZE);
    IrValue *from = d ? ir_in(d, 0) : NULL;
    if (!pass_is_frozen(from) || (from->type.dtype != IR_I8 && from->type.dtype != IR_U8) ||
        !ir_in(d, 1) || !is_along(ir_in(d, 1), &from->type.shape, axis) ||
        !is_along(ir_in(d, 2), &from->type.shape, axis) || pass_elems(&from->type) < 1) {
        return false;
    }
    const IrShape *s = &from->type.shape;
    *w = (Weights){.channels = s->dim[axis].c, .inner = 1};
    for (int i = axis + 1; i < s->rank; i++) {
        w->inner *= s->dim[i].c;
    }
    w->scale = ir_alloc_array(ctx->scratch, (size_t)w->channels, sizeof *w->scale);
    w->most = ir_alloc_array(ctx->scratch, (size_t)w->channels, sizeof *w->most);
    for (int64_t c = 0; c < w->channels; c++) {
        w->scale[c] = pass_channel(ctx, ir_in(d, 1), c);
        if (!(fabs(w->scale[c]) < 1e12)) {
            return false;
        }
    }
    make_bytes(ctx, n, d, w);
    return true;
}

// ---------------------------------------------------------------- bias

typedef struct Bias {
    bool whole; // in units of the sums
    double *
        value; // [channels], in those, or as they are; NULL: no bias, or one that is added as it is
} Bias;

// The elements of a frozen bias, dequantized, one per channel. NULL: it is none.
static double *read_bias(PassContext *ctx, const IrValue *v, int64_t channels, const IrShape *y,
                         int axis) {
    const IrNode *d = pass_def(v, IR_OP_DEQUANTIZE);
    const IrValue *of = d ? ir_in(d, 0) : v, *scale = d ? ir_in(d, 1) : NULL,
                  *zero = d ? ir_in(d, 2) : NULL;
    IrShape vector = ir_shape_of(1, &channels);
    bool along = of->type.shape.rank == 1 ? is_along(of, &vector, 0) : is_along(of, y, axis);
    if (!along || !is_along(scale, &vector, 0) || !is_along(zero, &vector, 0)) {
        return NULL;
    }
    double *value = ir_alloc_array(ctx->scratch, (size_t)channels, sizeof *value);
    for (int64_t c = 0; c < channels; c++) {
        value[c] = pass_channel(ctx, of, c) - (zero ? pass_channel(ctx, zero, c) : 0);
        value[c] *= scale ? pass_channel(ctx, scale, c) : 1;
    }
    return value;
}

// Whether all are whole numbers of units, to what a float can tell.
static bool to_units(double *value, const Weights *w, const PassQuant *x, double *units) {
    for (int64_t c = 0; c < w->channels; c++) {
        double unit = x->scale * w->scale[c], u = value[c] / unit;
        units[c] = nearbyint(u);
        if (value[c] == 0) {
            units[c] = 0;
        } else if (!(fabs(u - units[c]) <= 1e-6 * fabs(u)) || fabs(units[c]) >= LIMIT) {
            return false;
        }
    }
    return true;
}

// No sum can leave int32.
static bool fits(const Weights *w, const Bias *b, const PassQuant *x) {
    double low = ir_dtype_lowest(x->type), high = ir_dtype_highest(x->type), zero = (double)x->zero;
    double most = fmax(high - zero, zero - low);
    for (int64_t c = 0; c < w->channels; c++) {
        if (!(w->most[c] * most + (b->whole ? fabs(b->value[c]) : 0) < LIMIT)) {
            return false;
        }
    }
    return true;
}

static Bias make_bias(PassContext *ctx, const IrNode *n, const Weights *w, const PassQuant *x,
                      int axis) {
    const IrValue *v = ir_in(n, 2);
    Bias b = {.value = v ? read_bias(ctx, v, w->channels, &n->out[0]->type.shape, axis) : NULL};
    double *units = ir_alloc_array(ctx->scratch, (size_t)w->channels, sizeof *units);
    Bias whole = {true, units};
    bool is_whole = b.value && to_units(b.value, w, x, units) && fits(w, &whole, x);
    return is_whole ? whole : b;
}

static IrValue *whole_bias(PassContext *ctx, IrNode *n, const Bias *b, int64_t channels) {
    IrType type = {IR_I32, ir_shape_of(1, &channels), 0};
    int32_t *data = ir_alloc_array(ctx->prog->arena, (size_t)channels, sizeof *data);
    for (int64_t c = 0; c < channels; c++) {
        data[c] = (int32_t)b->value[c];
    }
    return pass_quant_const(ctx, n, &type, data);
}

// ---------------------------------------------------------------- the product

// A constant of one number, or of one per channel as it broadcasts to n's result.
static IrValue *per_channel(PassContext *ctx, IrNode *n, const double *v, double by,
                            int64_t channels) {
    int64_t dims[] = {1, channels, 1, 1};
    bool conv = n->op == IR_OP_CONV, one = true;
    float *data;
    for (int64_t c = 1; c < channels; c++) {
        one = one && v[c] == v[0];
    }
    int rank = one ? 0 : conv ? 4 : 1;
    IrValue *k = pass_const_f32(ctx, n->graph, "", rank, conv ? dims : &channels, &data);
    for (int64_t c = 0; c < (one ? 1 : channels); c++) {
        data[c] = (float)(v[c] * by);
    }
    return k;
}

// Numbers of i8 as u8, 128 more.
static IrValue *to_unsigned(IrBuilder *b, IrValue *q, PassQuant *x) {
    if (x->type == IR_I8) {
        q = pass_quant_with(b, IR_OP_ADD, pass_quant_cast(b, q, IR_F32), 128);
        q = pass_quant_cast(b, q, IR_U8);
        x->type = IR_U8;
        x->zero += 128;
    }
    return q;
}

static IrValue *build_product(IrBuilder *b, const IrNode *n, int n_in, IrValue *const *in,
                              int64_t zero) {
    IrAttr attrs[IR_ATTR_COUNT];
    int n_attrs = 0;
    for (int i = 0; i < n->n_attrs; i++) {
        if (n->attrs[i].key != IR_ATTR_EXACT && n->attrs[i].key != IR_ATTR_ZERO) {
            attrs[n_attrs++] = n->attrs[i];
        }
    }
    if (zero) {
        attrs[n_attrs++] = ir_attr_i(IR_ATTR_ZERO, zero);
    }
    return pass_quant_check(b, ir_build(b, n->op, n_in, in, n_attrs, attrs));
}

// more times the sum of what each weight meets, a product by ones: of one output channel, but where
// the weights are in groups.
static IrValue *build_more(PassContext *ctx, IrBuilder *b, IrNode *n, const Weights *w, IrValue *q,
                           int64_t zero, int axis) {
    IrType type = w->v->type, vector = {IR_I32, ir_shape_of(1, &w->channels), 0};
    int64_t spread[] = {1, w->channels, 1, 1};
    if (ir_int(n, IR_ATTR_GROUP, 1) == 1) {
        type.shape.dim[axis] = ir_dim(1);
    }
    size_t elems = (size_t)pass_elems(&type);
    int8_t *ones = ir_alloc(ctx->prog->arena, elems + 1);
    memset(ones, 1, elems);
    IrValue *in[] = {q, const_bytes(ctx, n, &type, NULL, ones)};
    IrValue *sum = build_product(b, n, 2, in, zero);
    if (n->op == IR_OP_CONV) {
        vector.shape = ir_shape_of(4, spread);
    }
    int32_t *more = ir_alloc_array(ctx->prog->arena, (size_t)w->channels, sizeof *more);
    memcpy(more, w->more, (size_t)w->channels * sizeof *more);
    IrValue *by = pass_quant_const(ctx, n, &vector, more);
    return pass_quant_check(b, ir_build2(b, IR_OP_MUL, sum, by));
}

static bool is_plain(const IrNode *n) {
    return (n->op == IR_OP_CONV || n->op == IR_OP_MATMUL) && !ir_body(n, IR_ATTR_THEN).n &&
           n->n_in <= 3 && n->out[0]->type.dtype == IR_F32 &&
           (n->op == IR_OP_CONV ? !ir_attr(n, IR_ATTR_FILTER)
                                : ir_in(n, 1)->type.shape.rank == 2 && !ir_int(n, IR_ATTR_MEAN, 0));
}

static bool take_product(PassContext *ctx, IrNode *n) {
    PassQuant x;
    Weights w;
    const IrNode *d = is_plain(n) ? pass_def(ir_in(n, 0), IR_OP_DEQUANTIZE) : NULL;
    if (!d || !pass_quant_read(ctx, d, &x) || ir_dtype_bytes(x.type) != 1) {
        return false;
    }
    bool conv = n->op == IR_OP_CONV;
    int w_axis = conv || ir_int(n, IR_ATTR_TRANS_B, 0) ? 0 : 1;
    int y_axis = conv ? 1 : n->out[0]->type.shape.rank - 1;
    if (!read_weights(ctx, n, w_axis, &w)) {
        return false;
    }
    Bias bias = make_bias(ctx, n, &w, &x, y_axis);
    bool added = ir_in(n, 2) && !bias.whole;
    if (!fits(&w, &bias, &x) || (added && !bias.value && conv)) {
        return false;
    }
    IrBuilder b = pass_before(n);
    IrValue *in[] = {to_unsigned(&b, ir_in(d, 0), &x), w.v,
                     bias.whole ? whole_bias(ctx, n, &bias, w.channels) : NULL};
    IrValue *more = w.more ? build_more(ctx, &b, n, &w, in[0], x.zero, w_axis) : NULL;
    IrValue *y = build_product(&b, n, bias.whole ? 3 : 2, in, x.zero);
    y = more ? pass_quant_check(&b, ir_build2(&b, IR_OP_ADD, y, more)) : y;
    y = pass_quant_cast(&b, y, IR_F32);
    IrValue *unit = per_channel(ctx, n, w.scale, x.scale, w.channels);
    y = pass_quant_check(&b, ir_build2(&b, IR_OP_MUL, y, unit));
    if (added) {
        IrValue *by = bias.value ? per_channel(ctx, n, bias.value, 1, w.channels) : ir_in(n, 2);
        y = pass_quant_check(&b, ir_build2(&b, IR_OP_ADD, y, by));
    }
    pass_forward(n, y);
    return true;
}

// ---------------------------------------------------------------- means

static bool take_mean(PassContext *ctx, IrNode *n) {
    PassQuant x;
    bool mean = n->op == IR_OP_AVG_POOL || n->op == IR_OP_REDUCE_MEAN;
    const IrNode *d = mean && n->n_in == 1 ? pass_def(ir_in(n, 0), IR_OP_DEQUANTIZE) : NULL;
    if (!d || ir_body(n, IR_ATTR_THEN).n || !pass_quant_read(ctx, d, &x) ||
        ir_dtype_bytes(x.type) != 1) {
        return false;
    }
    if (n->op == IR_OP_AVG_POOL && ir_int(n, IR_ATTR_COUNT_PAD, 0) && x.zero) {
        IrWindow w = ir_window(n);
        if (w.pt || w.pl || w.pb || w.pr || w.ceil) {
            return false; // padding counts as 0, which is `zero` here
        }
    }
    IrBuilder b = pass_before(n);
    IrValue *q = to_unsigned(&b, ir_in(d, 0), &x);
    IrAttr attrs[IR_ATTR_COUNT];
    memcpy(attrs, n->attrs, (size_t)n->n_attrs * sizeof *attrs);
    attrs[n->n_attrs] = ir_attr_s(IR_ATTR_TO, ir_dtype_name(IR_F32));
    IrValue *y = pass_quant_check(&b, ir_build(&b, n->op, 1, &q, n->n_attrs + 1, attrs));
    y = pass_quant_with(&b, IR_OP_SUB, y, (double)x.zero);
    pass_forward(n, pass_quant_with(&b, IR_OP_MUL, y, x.scale));
    return true;
}

// ---------------------------------------------------------------- resize

// Weights of each pixel of the result that add up to 1, up to rounding.
static bool adds_up(PassContext *ctx, const IrValue *w) {
    int64_t taps = w ? w->type.shape.dim[0].c : 0, out = w ? w->type.shape.dim[1].c : 0;
    for (int64_t i = 0; i < out; i++) {
        double sum = 0;
        for (int64_t t = 0; t < taps; t++) {
            sum += pass_elem(ctx, w, t * out + i);
        }
        if (!(fabs(sum - 1) < 1e-5)) {
            return false;
        }
    }
    return true;
}

// A weighted sum of what is less a zero point is the weighted sum less that, where weights add up.
static bool take_resize(PassContext *ctx, IrNode *n) {
    PassQuant x;
    bool weighs = n->op == IR_OP_RESIZE && (ir_in(n, 2) || ir_in(n, 4));
    const IrNode *d = weighs ? pass_def(ir_in(n, 0), IR_OP_DEQUANTIZE) : NULL;
    if (!d || ir_attr(n, IR_ATTR_TO) || !pass_quant_read(ctx, d, &x) ||
        ir_dtype_bytes(x.type) != 1) {
        return false;
    }
    IrValue *in[5] = {NULL};
    for (int i = 1; i < n->n_in; i++) {
        in[i] = ir_in(n, i);
        if (in[i] && (!pass_is_frozen(in[i]) || (i % 2 == 0 && !adds_up(ctx, in[i])))) {
            return false;
        }
    }
    IrBuilder b = pass_before(n);
    in[0] = to_unsigned(&b, ir_in(d, 0), &x);
    IrAttr to = ir_attr_s(IR_ATTR_TO, ir_dtype_name(IR_F32));
    IrValue *y = pass_quant_check(&b, ir_build(&b, IR_OP_RESIZE, n->n_in, in, 1, &to));
    y = pass_quant_with(&b, IR_OP_SUB, y, (double)x.zero);
    pass_forward(n, pass_quant_with(&b, IR_OP_MUL, y, x.scale));
    return true;
}

PassResult pass_quant_products(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        r.changes += take_product(ctx, n) || take_mean(ctx, n) || take_resize(ctx, n);
    }
    if (r.changes) {
        pass_dce(ctx, g);
    }
    return r;
}
