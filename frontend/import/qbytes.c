// Sums of products by constant weights of bytes, as kernels of bytes make them: u8 or i8 by i8,
// into i32. a and its zero point may be computed, as DynamicQuantizeLinear does.
//
//   sum over k of (a - za) (b - zb),  b - zb = w + d: w of i8, d one number per output channel
//
//   = sum (a - za) w + d sum (a - za)                       za is constant: the product's `zero`
//   = sum a w + d sum a - za sum (b - zb)                   za is not
//
// d is 0 but for u8 weights whose zero point is far from 128. A sum of a is a product by ones.
// Padding of a convolution counts as za, and is put around a where za is computed. All of it is
// modulo 2^32, as int32 is.
#include "frontend/import/quant.h"

#include <stdint.h>
#include <string.h>

typedef struct Bytes {
    const IrTensor *b;       // u8 or i8
    int axis;                // of the output channels
    int64_t channels, inner; // element i is of channel i / inner % channels
    int *zero, *more;        // [channels]: zb, d
    IrValue *w;
    bool wide; // d is not 0
} Bytes;

static int byte_at(const IrTensor *t, int64_t i) {
    return t->dtype == IR_I8 ? ((const int8_t *)t->data)[i] : ((const uint8_t *)t->data)[i];
}

// A constant of type t with the input's shape; its elements are to be filled.
static IrTensor like(FeNode *n, const IrTensor *t, IrDtype dtype) {
    IrType type = {dtype, ir_shape_of(t->rank, t->dim), 0};
    return ir_tensor_new(n->fe->arena, &type, 1);
}

static bool read_bytes(FeNode *n, int input, int zero, int axis, Bytes *c) {
    IrType type;
    if (n->refused || !fe_type(n, input, &type) || (type.dtype != IR_I8 && type.dtype != IR_U8) ||
        axis >= type.shape.rank) {
        return false;
    }
    const IrTensor *b = fe_tensor(n, input), *z = fe_has(n, zero) ? fe_tensor(n, zero) : NULL;
    if (!b || !ir_tensor_elems(b) || (fe_has(n, zero) && !z) || (z && z->dtype != b->dtype)) {
        return false;
    }
    *c = (Bytes){.b = b, .axis = axis, .channels = b->dim[axis], .inner = 1};
    int64_t zeros = z ? ir_tensor_elems(z) : 1;
    if ((zeros != 1 && (z->rank != 1 || zeros != c->channels)) ||
        !fe_charge(n, ir_tensor_elems(b))) {
        return false;
    }
    for (int i = axis + 1; i < b->rank; i++) {
        c->inner *= b->dim[i];
    }
    c->zero = ir_alloc_array(n->fe->arena, (size_t)c->channels, sizeof *c->zero);
    c->more = ir_alloc_array(n->fe->arena, (size_t)c->channels, sizeof *c->more);
    for (int64_t k = 0; k < c->channels; k++) {
        c->zero[k] = z ? byte_at(z, zeros == 1 ? 0 : k) : 0;
    }
    IrTensor w = like(n, b, IR_I8);
    c->wide = ir_split_bytes(b, c->channels, c->inner, c->zero, w.data, c->more);
    c->w = fe_tensor_const(n, &w);
    return !n->refused;
}

// ---------------------------------------------------------------- products

// Less a zero point: a product's first factor, and where its windows lie.
typedef struct Factor {
    IrValue *q;         // u8
    int known;          // its zero point,
    IrValue *zero;      // or i32, computed; NULL: it is not
    const FeSpan *span; // of a convolution; NULL: of matrices
} Factor;

static IrValue *multiply(FeNode *n, const Factor *x, IrValue *w) {
    IrNode *before = n->b.graph->last;
    IrValue *y = n->refused ? NULL
                 : x->span  ? fe_conv_windows(n, x->q, w, NULL, x->span)
                            : fe_matmul(n, x->q, w);
    for (IrNode *k = before ? before->next : n->b.graph->first; k && x->known; k = k->next) {
        if (k->op == IR_OP_CONV || k->op == IR_OP_MATMUL) {
            ir_set_attr(k, ir_attr_i(IR_ATTR_ZERO, x->known));
        }
    }
    return y;
}

// A number per output channel, i32, as it broadcasts to the product.
static IrValue *by_channel(FeNode *n, const Factor *x, const Bytes *c, const int32_t *v) {
    int64_t spread[] = {1, c->channels, 1, 1};
    IrShape shape = x->span ? ir_shape_of(c->b->rank, spread) : ir_shape_of(1, &c->channels);
    IrTensor t = ir_tensor_new(n->fe->arena, &(IrType){IR_I32, shape, 0}, 1);
    memcpy(t.data, v, (size_t)c->channels * sizeof *v);
    return fe_tensor_const(n, &t);
}

// d sum a: by ones, of a single output channel unless the weights are in groups.
static IrValue *sum_more(FeNode *n, const Factor *x, const Bytes *c) {
    IrTensor ones = *c->b;
    if (!x->span || fe_attr_int(n, "group", 1) == 1) {
        ones.dim[c->axis] = 1;
    }
    ones = like(n, &ones, IR_I8);
    memset(ones.data, 1, (size_t)ir_tensor_elems(&ones));
    IrValue *sum = multiply(n, x, fe_tensor_const(n, &ones));
    return n->refused ? NULL : fe_bin(n, IR_OP_MUL, sum, by_channel(n, x, c, c->more));
}

// za sum (b - zb)
static IrValue *sum_less(FeNode *n, const Factor *x, const Bytes *c) {
    int32_t *sum = ir_alloc_array(n->fe->arena, (size_t)c->channels, sizeof *sum);
    for (int64_t i = 0; i < ir_tensor_elems(c->b); i++) {
        int64_t k = i / c->inner % c->channels;
        sum[k] += byte_at(c->b, i) - c->zero[k];
    }
    return fe_bin(n, IR_OP_MUL, x->zero, by_channel(n, x, c, sum));
}

static IrValue *sum_bytes(FeNode *n, const Factor *x, const Bytes *c) {
    IrValue *less = x->zero && !n->refused ? sum_less(n, x, c) : NULL;
    IrValue *more = c->wide && !n->refused ? sum_more(n, x, c) : NULL;
    IrValue *y = multiply(n, x, c->w);
    y = more && !n->refused ? fe_bin(n, IR_OP_ADD, y, more) : y;
    return less && !n->refused ? fe_bin(n, IR_OP_SUB, y, less) : y;
}

// ---------------------------------------------------------------- what is multiplied

// Numbers of i8 become 128 more.
static Factor read_factor(FeNode *n, const FeQuantized *a) {
    Factor x = {.q = a->v};
    int more = a->v->type.dtype == IR_I8 ? 128 : 0;
    if (more) {
        x.q = fe_cast(n, fe_op_const(n, IR_OP_ADD, fe_cast(n, x.q, IR_F32), more), IR_U8);
    }
    if (a->zero && !(a->known && ir_tensor_elems(a->known) == 1)) {
        x.zero = fe_cast(n, a->zero, IR_I32);
        x.zero = more ? fe_op_const(n, IR_OP_ADD, x.zero, more) : x.zero;
    } else {
        x.known = more + (a->zero ? byte_at(a->known, 0) : 0);
    }
    return x;
}

static bool is_byte(const FeQuantized *a) {
    IrDtype t = a->v->type.dtype;
    return (t == IR_U8 || t == IR_I8) && (!a->zero || a->zero->type.dtype == t);
}

IrValue *fe_matmul_bytes(FeNode *n, const FeQuantized *a, int b, int zero) {
    Bytes c;
    if (n->refused || !is_byte(a) || a->v->type.shape.rank < 2 || !read_bytes(n, b, zero, 1, &c) ||
        c.b->rank != 2) {
        return NULL;
    }
    Factor x = read_factor(n, a);
    return sum_bytes(n, &x, &c);
}

// Puts the zero point around x where it is computed.
static void pad_factor(FeNode *n, Factor *x, FeSpan *span) {
    int64_t pads[2 * IR_MAX_RANK] = {0};
    int rank = x->q->type.shape.rank;
    bool any = false;
    for (int i = 2; i < rank; i++) {
        FeSpan *s = &span[i - 2];
        pads[i] = s->begin;
        pads[rank + i] = s->end;
        any = any || s->begin || s->end;
    }
    if (x->zero && any) {
        x->q = fe_pad_by(n, x->q, pads, fe_cast(n, x->zero, IR_U8));
        for (int i = 2; i < rank; i++) {
            FeSpan *s = &span[i - 2];
            s->size += s->begin + s->end;
            s->begin = s->end = 0;
        }
    }
}

IrValue *fe_conv_bytes(FeNode *n, const FeQuantized *a, int w, int zero) {
    Bytes c;
    const IrShape *s = n->refused ? NULL : &a->v->type.shape;
    if (!s || s->rank < 3 || s->rank > 4 || !is_byte(a) ||
        (a->zero && a->zero->type.shape.rank > 0) || !read_bytes(n, w, zero, 0, &c) ||
        c.b->rank != s->rank) {
        return NULL;
    }
    FeSpan span[IR_MAX_RANK];
    Factor x = read_factor(n, a);
    if (n->refused || !fe_spans(n, s, &c.b->dim[2], span)) {
        return NULL;
    }
    pad_factor(n, &x, span);
    x.span = span;
    return sum_bytes(n, &x, &c);
}
