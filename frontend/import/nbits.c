// com.microsoft's MatMulNBits-1: y = a wT + bias, where w [N][K] is stored in numbers of 2, 4 or 8
// bits, blocks of a row sharing a scale and zero point:
//
//   b       u8 [N][blocks of a row][block_size * bits / 8], the lowest bits of a byte first
//   scales  [N][blocks], of a's type, in any shape
//   zeros   [N][blocks] of a's type, or packed as b is, each row in whole bytes; else 2^(bits - 1)
//   g_idx   reorders K: refused
//
// w becomes a constant of f32.
#include "frontend/import/quant.h"

typedef struct Bits {
    int64_t K, N, bits, size, blocks; // of a block; of a row
    const IrTensor *b, *scale, *zero; // zero may be NULL
} Bits;

// Number `i` of those packed in a row of bytes
static double unpack(const IrTensor *t, int64_t row, int64_t i, int64_t bits) {
    int64_t at = i * bits;
    unsigned byte = ((const uint8_t *)t->data)[row + at / 8];
    return byte >> at % 8 & ((1u << bits) - 1);
}

static double zero_of(const Bits *w, int64_t n, int64_t block) {
    if (!w->zero)
        return (double)(1 << (w->bits - 1));
    if (w->zero->dtype != IR_U8)
        return ir_tensor_get(w->zero, n * w->blocks + block);
    return unpack(w->zero, n * ((w->blocks * w->bits + 7) / 8), block, w->bits);
}

static IrTensor *dequantize(FeNode *n, const Bits *w) {
    IrType type = {IR_F32, {2, {ir_dim(w->K), ir_dim(w->N)}}, 0};
    int64_t bytes = w->size * w->bits / 8;
    if (!fe_charge(n, w->K * w->N * (int64_t)sizeof(float)))
        return NULL;
    IrTensor *y = ir_alloc(n->fe->arena, sizeof *y);
    *y = ir_tensor_new(n->fe->arena, &type, 1);
    for (int64_t o = 0; o < w->N; o++)
        for (int64_t k = 0; k < w->K; k++) {
            int64_t block = k / w->size, row = (o * w->blocks + block) * bytes;
            double q = unpack(w->b, row, k % w->size, w->bits) - zero_of(w, o, block);
            ((float *)y->data)[k * w->N + o] =
                (float)(q * ir_tensor_get(w->scale, o * w->blocks + block));
        }
    return y;
}

static bool holds(FeNode *n, const char *what, const IrTensor *t, int64_t elems) {
    if (!n->refused && ir_tensor_elems(t) != elems)
        fe_refuse(n, "%s hold %lld numbers, %lld are needed", what, (long long)ir_tensor_elems(t),
                  (long long)elems);
    return !n->refused;
}

static bool read_sizes(FeNode *n, Bits *w) {
    const int64_t most = 1 << 24;
    w->K = fe_attr_int(n, "K", 0);
    w->N = fe_attr_int(n, "N", 0);
    w->bits = fe_attr_int(n, "bits", 4);
    w->size = fe_attr_int(n, "block_size", 0);
    if (w->K < 1 || w->N < 1 || w->K > most || w->N > most)
        fe_refuse(n, "K is %lld, N %lld", (long long)w->K, (long long)w->N);
    else if (w->bits != 2 && w->bits != 4 && w->bits != 8)
        fe_refuse(n, "NYI: numbers of %lld bits", (long long)w->bits);
    else if (w->size < 8 || w->size > most || w->size & (w->size - 1))
        fe_refuse(n, "block_size is %lld, it must be a power of 2", (long long)w->size);
    else if (fe_has(n, 4))
        fe_refuse(n, "NYI: g_idx");
    w->blocks = n->refused ? 0 : (w->K + w->size - 1) / w->size;
    return !n->refused;
}

static bool read_weights(FeNode *n, Bits *w) {
    w->b = fe_tensor(n, 1);
    w->scale = fe_tensor(n, 2);
    w->zero = fe_has(n, 3) ? fe_tensor(n, 3) : NULL;
    if (!w->b || !w->scale || (fe_has(n, 3) && !w->zero))
        fe_refuse(n, "its weights, scales and zero points must be constants");
    else if (w->b->dtype != IR_U8 || !ir_dtype_is_float(w->scale->dtype) ||
             (w->zero && w->zero->dtype != IR_U8 && !ir_dtype_is_float(w->zero->dtype)))
        fe_refuse(n, "weights are bytes and scales floats, zero points either");
    return holds(n, "weights", w->b, w->N * w->blocks * (w->size * w->bits / 8)) &&
           holds(n, "scales", w->scale, w->N * w->blocks) && fe_check_scale(n, 2) &&
           (!w->zero ||
            holds(n, "zero points", w->zero,
                  w->N * (w->zero->dtype == IR_U8 ? (w->blocks * w->bits + 7) / 8 : w->blocks)));
}

void fe_import_matmul_nbits(FeNode *n) {
    Bits w = {0};
    IrValue *a = fe_operand(n, 0);
    if (n->refused || !read_sizes(n, &w) || !read_weights(n, &w))
        return;
    IrTensor *t = dequantize(n, &w);
    if (!t)
        return;
    IrValue *y = fe_matmul(n, a, fe_tensor_const(n, t)), *bias = fe_operand_or_null(n, 5);
    fe_out(n, 0, bias ? fe_bin(n, IR_OP_ADD, y, bias) : y);
}
