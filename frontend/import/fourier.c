// DFT and STFT: products with matrices of cosines and sines, which are constants. The signal's
// length must be known.
//
//   [.., n, re|im] -> [.., n * parts] x [n * parts, k * parts] -> [.., k, re|im]
#include "frontend/import.h"

#include <math.h>

typedef struct Dft {
    int64_t length;      // of the transform
    int64_t in, out;     // entries of the axis that are read and made
    int64_t parts, made; // 1: real, 2: complex
    bool inverse, onesided;
} Dft;

// The share of part p of entry i in part q of entry k.
static double share_of(const Dft *t, int64_t i, int64_t p, int64_t k, int64_t q) {
    int64_t n = t->length;
    double at = 2 * M_PI * (double)(i % n * (k % n) % n) / (double)n * (t->inverse ? 1 : -1);
    double x = p == q ? cos(at) : q ? sin(at) : -sin(at);         // (a + bi) (cos + i sin)
    bool twice = t->inverse && t->onesided && i > 0 && 2 * i < n; // its conjugate is left out
    return t->inverse ? x * (twice ? 2 : 1) / (double)n : x;
}

static IrValue *build_matrix(FeNode *n, const Dft *t) {
    int64_t rows, columns;
    if (__builtin_mul_overflow(t->in, t->parts, &rows) ||
        __builtin_mul_overflow(t->out, t->made, &columns)) {
        fe_refuse(n, "a signal of %lld is too long", (long long)t->in);
        return NULL;
    }
    IrType type = {IR_F32, {2, {ir_dim(rows), ir_dim(columns)}}, 0};
    const char *why = fe_check_fill(n->fe, &type);
    if (why || !fe_spend(n, (double)rows * (double)columns * 16)) {
        fe_refuse(n, "its matrix %s", why ? why : "takes too long for the size of the file");
        return NULL;
    }
    IrTensor w = ir_tensor_new(n->fe->arena, &type, 1);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            ((float *)w.data)[r * columns + c] =
                (float)share_of(t, r / t->parts, r % t->parts, c / t->made, c % t->made);
        }
    }
    return fe_tensor_const(n, &w);
}

// `count` entries of the axis: cut, or filled with zeros.
static IrValue *fit_axis(FeNode *n, IrValue *x, int axis, int64_t count) {
    if (n->refused || x->type.shape.dim[axis].c >= count) {
        return n->refused ? NULL : fe_part(n, x, axis, 0, count);
    }
    int rank = x->type.shape.rank;
    int64_t pads[2 * IR_MAX_RANK] = {0};
    pads[rank + axis] = count - x->type.shape.dim[axis].c;
    return fe_build(n, IR_OP_PAD, FE_IN(x),
                    FE_WITH(fe_ints_attr(n, IR_ATTR_PAD, 2 * rank, pads),
                            ir_attr_s(IR_ATTR_MODE, "constant"), ir_attr_f(IR_ATTR_VALUE, 0)));
}

// Exchanges the axis with the one before the last.
static IrValue *swap_axis(FeNode *n, IrValue *x, int axis) {
    int rank = x->type.shape.rank;
    int64_t perm[IR_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        perm[i] = i == axis ? rank - 2 : i == rank - 2 ? axis : i;
    }
    return axis == rank - 2 ? x : fe_transpose(n, x, rank, perm);
}

// x, whose last axis has the parts, transformed along the axis.
static IrValue *transform(FeNode *n, IrValue *x, int axis, Dft *t) {
    if (n->refused) {
        return NULL;
    }
    t->in = t->inverse && t->onesided ? t->length / 2 + 1 : t->length;
    t->out = !t->inverse && t->onesided ? t->length / 2 + 1 : t->length;
    t->made = t->inverse && t->onesided ? 1 : 2;
    IrValue *w = build_matrix(n, t);
    x = swap_axis(n, fit_axis(n, x, axis, t->in), axis);
    if (n->refused) {
        return NULL;
    }
    IrShape s = x->type.shape, flat = s;
    flat.dim[--flat.rank - 1] = ir_dim(t->in * t->parts);
    x = fe_matmul(n, fe_reshape(n, x, &flat), w);
    s.dim[s.rank - 2] = ir_dim(t->out);
    s.dim[s.rank - 1] = ir_dim(t->made);
    return n->refused ? NULL : swap_axis(n, fe_reshape(n, x, &s), axis);
}

static int64_t read_count(FeNode *n, int i, int64_t absent) {
    double x = fe_scalar_in(n, i, (double)absent);
    if (!n->refused && !(x >= 1 && x <= 1 << 24)) {
        fe_refuse(n, "input %d is %g", i, x);
    }
    return n->refused ? 1 : (int64_t)x;
}

// The parts of x: its last axis.
static int64_t read_parts(FeNode *n, const IrValue *x, int least_rank) {
    int rank = n->refused ? 0 : x->type.shape.rank;
    int64_t parts =
        rank >= least_rank && !x->type.shape.dim[rank - 1].n ? x->type.shape.dim[rank - 1].c : 0;
    if (!n->refused && parts != 1 && parts != 2) {
        fe_refuse(n, "its input has %lld parts, they must be 1 or 2", (long long)parts);
    }
    return parts;
}

// DFT-20; version 17 has `axis` as an attribute.
void fe_import_dft(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    Dft t = {.inverse = fe_attr_int(n, "inverse", 0) != 0,
             .onesided = fe_attr_int(n, "onesided", 0) != 0,
             .parts = read_parts(n, x, 2)};
    double given = n->since >= 20 ? fe_scalar_in(n, 2, -2) : (double)fe_attr_int(n, "axis", 1);
    if (n->refused) {
        return;
    }
    int rank = x->type.shape.rank;
    int axis = fabs(given) <= rank ? fe_axis(n, (int64_t)given, rank) : rank - 1;
    IrDim size = n->refused ? ir_dim(0) : x->type.shape.dim[axis];
    if (axis == rank - 1 || size.n || size.c < 1 || (t.onesided && !t.inverse && t.parts == 2)) {
        fe_refuse(n, "axis %g of its input cannot be transformed", given);
        return;
    }
    int64_t length = t.inverse && t.onesided ? 2 * (size.c - 1) : size.c;
    t.length = read_count(n, 1, length > 0 ? length : 1);
    fe_out(n, 0, transform(n, x, axis, &t));
}

// x [N,T,parts] -> [N,frames,length,parts]
static IrValue *take_frames(FeNode *n, IrValue *x, int64_t step, int64_t length) {
    int64_t size = x->type.shape.dim[1].c;
    if (x->type.shape.dim[1].n || length > size) {
        fe_refuse(n, "frames of %lld in a signal of %lld", (long long)length, (long long)size);
        return NULL;
    }
    IrType type = {IR_I64, {2, {ir_dim((size - length) / step + 1), ir_dim(length)}}, 0};
    const char *why = fe_check_fill(n->fe, &type);
    if (why) {
        fe_refuse(n, "its frames: %s", why);
        return NULL;
    }
    IrTensor at = ir_tensor_new(n->fe->arena, &type, 1);
    for (int64_t i = 0; i < type.shape.dim[0].c * length; i++) {
        ((int64_t *)at.data)[i] = i / length * step + i % length;
    }
    return fe_build(n, IR_OP_GATHER, FE_IN(x, fe_tensor_const(n, &at)),
                    FE_WITH(ir_attr_i(IR_ATTR_AXIS, 1)));
}

// STFT-17: signal, step, window, length
void fe_import_stft(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *window = fe_operand_or_null(n, 2);
    Dft t = {.onesided = fe_attr_int(n, "onesided", 1) != 0, .parts = read_parts(n, x, 3)};
    int64_t step = read_count(n, 1, 1);
    if (n->refused || x->type.shape.rank != 3 || (window && window->type.shape.rank != 1)) {
        fe_refuse(n, "its signal or its window has a wrong rank");
        return;
    }
    t.length = read_count(n, 3, window ? window->type.shape.dim[0].c : x->type.shape.dim[1].c);
    if (t.onesided && t.parts == 2) {
        fe_refuse(n, "a complex signal cannot have one side");
    }
    if (window && !n->refused && !ir_dim_is(window->type.shape.dim[0], t.length)) {
        fe_refuse(n, "a window of another length than the frames");
    }
    int64_t axis = 2;
    x = n->refused ? NULL : take_frames(n, x, step, t.length);
    x = window && !n->refused
            ? fe_bin(n, IR_OP_MUL, x, fe_reshape_axes(n, window, 4, (IrInts){1, &axis}))
            : x;
    fe_out(n, 0, transform(n, x, 2, &t));
}
