// Tensors of the reference evaluator: plain row-major arrays of any dtype, read and written in runs
// as double or as wide integers. All conversions between element types are here, and none of them
// is undefined behaviour:
//   to float    round to nearest even, one rounding, overflow gives infinity
//   to integer  from float: truncate, saturate, NaN gives 0 (LLVM's fptosi.sat); from integer: wrap
//   to bool     x != 0, so NaN is true
#include "ir/eval.h"
#include <math.h>
#include <string.h>

// ---------------------------------------------------------------- runs of elements

typedef void LoadFn(const void *data, int64_t at, int64_t stride, int64_t n, double *to);
typedef void StoreFn(void *data, int64_t at, int64_t n, const double *from);
typedef void LoadWideFn(const void *data, int64_t at, int64_t stride, int64_t n, IrWide *to);
typedef void StoreWideFn(void *data, int64_t at, int64_t n, const IrWide *from);

// The four functions of one dtype; the conversions are functions or macros of one argument.
#define LOAD(name, ctype, rtype, widen)                                                            \
    static void name(const void *data, int64_t at, int64_t stride, int64_t n,                      \
                     rtype *restrict to) {                                                         \
        const ctype *p = (const ctype *)data + at;                                                 \
        if (stride == 1) {                                                                         \
            for (int64_t i = 0; i < n; i++) {                                                      \
                to[i] = widen(p[i]);                                                               \
            }                                                                                      \
        } else {                                                                                   \
            for (int64_t i = 0; i < n; i++) {                                                      \
                to[i] = widen(p[i * stride]);                                                      \
            }                                                                                      \
        }                                                                                          \
    }
#define STORE(name, ctype, rtype, narrow)                                                          \
    static void name(void *data, int64_t at, int64_t n, const rtype *restrict from) {              \
        ctype *p = (ctype *)data + at;                                                             \
        for (int64_t i = 0; i < n; i++) {                                                          \
            p[i] = (ctype)narrow(from[i]);                                                         \
        }                                                                                          \
    }
#define SAME(x) (x)
#define TRUTH(x) ((x) != 0)
#define INTEGER(E, ctype, low, high)                                                               \
    static ctype saturate_##E(double x) {                                                          \
        return isnan(x) ? 0 : x <= (double)low ? low : x >= (double)high ? high : (ctype)x;        \
    }                                                                                              \
    LOAD(load_##E, ctype, double, SAME)                                                            \
    STORE(store_##E, ctype, double, saturate_##E)                                                  \
    LOAD(load_wide_##E, ctype, IrWide, SAME)                                                       \
    STORE(store_wide_##E, ctype, IrWide, SAME)
#define FLOATING(E, ctype)                                                                         \
    LOAD(load_##E, ctype, double, SAME)                                                            \
    STORE(store_##E, ctype, double, SAME)                                                          \
    LOAD(load_wide_##E, ctype, IrWide, saturate_I64)                                               \
    STORE(store_wide_##E, ctype, IrWide, SAME)

// bf16 is the upper half of a float.
static float widen_bf16(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, sizeof y);
    return y;
}
// In one rounding: what the float of x loses stays in its last bit, which bf16 does not have. Every
// double and every 64-bit integer is a long double.
static uint16_t narrow_bf16(long double x) {
    float near = (float)x;
    bool cut = near != x && !isnan(x);
    near = cut && fabsl((long double)near) > fabsl(x) ? nextafterf(near, 0) : near;
    uint32_t bits;
    memcpy(&bits, &near, sizeof bits);
    if (isnan(x)) {
        return (uint16_t)(bits >> 16 | 0x40);
    }
    bits |= cut;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

INTEGER(I8, int8_t, INT8_MIN, INT8_MAX)
INTEGER(I16, int16_t, INT16_MIN, INT16_MAX)
INTEGER(I32, int32_t, INT32_MIN, INT32_MAX)
INTEGER(I64, int64_t, INT64_MIN, INT64_MAX)
INTEGER(U8, uint8_t, 0, UINT8_MAX)
INTEGER(U16, uint16_t, 0, UINT16_MAX)
INTEGER(U32, uint32_t, 0, UINT32_MAX)
INTEGER(U64, uint64_t, 0, UINT64_MAX)
FLOATING(F32, float)
FLOATING(F64, double)
FLOATING(F16, _Float16)
LOAD(load_BF16, uint16_t, double, widen_bf16)
STORE(store_BF16, uint16_t, double, narrow_bf16)
static IrWide wide_bf16(uint16_t x) {
    return saturate_I64(widen_bf16(x));
}
LOAD(load_wide_BF16, uint16_t, IrWide, wide_bf16)
STORE(store_wide_BF16, uint16_t, IrWide, narrow_bf16)
LOAD(load_BOOL, uint8_t, double, TRUTH)
STORE(store_BOOL, uint8_t, double, TRUTH)
LOAD(load_wide_BOOL, uint8_t, IrWide, TRUTH)
STORE(store_wide_BOOL, uint8_t, IrWide, TRUTH)

typedef struct Access {
    LoadFn *load;
    StoreFn *store;
    LoadWideFn *load_wide;
    StoreWideFn *store_wide;
} Access;

static const Access access_of[IR_DTYPE_COUNT] = {
#define IR_DTYPE(E, text, ctype, bytes)                                                            \
    [IR_##E] = {load_##E, store_##E, load_wide_##E, store_wide_##E},
#include "ir/dtypes.def"
#undef IR_DTYPE
};

double ir_dtype_round(IrDtype t, double x) {
    union {
        double f;
        int64_t i;
    } stored;
    access_of[t].store(&stored, 0, 1, &x);
    access_of[t].load(&stored, 0, 1, 1, &x);
    return x;
}

void ir_tensor_load(const IrTensor *t, int64_t at, int64_t stride, int64_t n, double *to) {
    access_of[t->dtype].load(t->data, at, stride, n, to);
}

void ir_tensor_store(IrTensor *t, int64_t at, int64_t n, const double *from) {
    access_of[t->dtype].store(t->data, at, n, from);
}

void ir_tensor_load_wide(const IrTensor *t, int64_t at, int64_t stride, int64_t n, IrWide *to) {
    access_of[t->dtype].load_wide(t->data, at, stride, n, to);
}

void ir_tensor_store_wide(IrTensor *t, int64_t at, int64_t n, const IrWide *from) {
    access_of[t->dtype].store_wide(t->data, at, n, from);
}

double ir_tensor_get(const IrTensor *t, int64_t i) {
    double x;
    ir_tensor_load(t, i, 1, 1, &x);
    return x;
}

void ir_tensor_set(IrTensor *t, int64_t i, double x) {
    ir_tensor_store(t, i, 1, &x);
}

// ---------------------------------------------------------------- integer ranges

static bool is_signed(IrDtype t) {
    return t == IR_I8 || t == IR_I16 || t == IR_I32 || t == IR_I64;
}

IrWide ir_wide_wrap(IrWide x, IrDtype t) {
    int drop = 128 - 8 * ir_dtype_bytes(t);
    unsigned __int128 top = (unsigned __int128)x << drop;
    return is_signed(t) ? (IrWide)top >> drop : (IrWide)(top >> drop);
}

IrWide ir_wide_lowest(IrDtype t) {
    return is_signed(t) ? -((IrWide)1 << (8 * ir_dtype_bytes(t) - 1)) : 0;
}

IrWide ir_wide_highest(IrDtype t) {
    return t == IR_BOOL ? 1 : ((IrWide)1 << (8 * ir_dtype_bytes(t) - is_signed(t))) - 1;
}

double ir_dtype_lowest(IrDtype t) {
    return (double)ir_wide_lowest(t);
}

double ir_dtype_highest(IrDtype t) {
    return (double)ir_wide_highest(t);
}

// ---------------------------------------------------------------- shapes

bool ir_tensor_shape(IrTensor *t, const IrType *type, int64_t N) {
    int64_t elems = 1, bytes, dim;
    *t = (IrTensor){.dtype = type->dtype, .rank = type->shape.rank};
    for (int i = 0; i < t->rank; i++) {
        IrDim d = type->shape.dim[i];
        if (__builtin_mul_overflow(d.n, N, &dim) || __builtin_add_overflow(dim, d.c, &dim) ||
            dim < 0 || __builtin_mul_overflow(elems, dim > 0 ? dim : 1, &elems)) {
            return false;
        }
        t->dim[i] = dim;
    }
    return !__builtin_mul_overflow(elems, ir_dtype_bytes(t->dtype), &bytes);
}

bool ir_tensor_same_shape(const IrTensor *a, const IrTensor *b) {
    return a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof a->dim[0]) == 0;
}

int64_t ir_tensor_elems(const IrTensor *t) {
    int64_t elems = 1;
    for (int i = 0; i < t->rank; i++) {
        elems *= t->dim[i];
    }
    return elems;
}

size_t ir_tensor_bytes(const IrTensor *t) {
    return (size_t)ir_tensor_elems(t) * (size_t)ir_dtype_bytes(t->dtype);
}

void ir_tensor_strides(const IrTensor *t, int64_t *stride) {
    int64_t elems = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        stride[i] = elems;
        elems *= t->dim[i] > 0 ? t->dim[i] : 1;
    }
}

bool ir_tensor_broadcast(const IrTensor *t, const IrTensor *to, int64_t *stride) {
    int64_t own[IR_MAX_RANK];
    int lead = to->rank - t->rank;
    if (lead < 0) {
        return false;
    }
    ir_tensor_strides(t, own);
    for (int i = 0; i < to->rank; i++) {
        int64_t dim = i < lead ? 1 : t->dim[i - lead];
        if (dim != 1 && dim != to->dim[i]) {
            return false;
        }
        stride[i] = dim == 1 ? 0 : own[i - lead];
    }
    return true;
}

IrTensor ir_tensor_new(IrArena *a, const IrType *t, int64_t N) {
    IrTensor out;
    char text[160];
    if (!ir_tensor_shape(&out, t, N)) {
        ir_fatal(ir_arena_diag(a), IR_NOWHERE, "no tensor of type %s at batch size %lld",
                 ir_type_print(t, text, sizeof text), (long long)N);
    }
    out.data = ir_alloc(a, ir_tensor_bytes(&out));
    return out;
}

// ---------------------------------------------------------------- bytes

bool ir_split_bytes(const IrTensor *t, int64_t channels, int64_t inner, const int *zero, int8_t *to,
                    int *more) {
    const int8_t *i8 = t->data;
    const uint8_t *u8 = t->data;
    bool is_signed = t->dtype == IR_I8;
    int64_t elems = ir_tensor_elems(t);
    int low = 0, high = 0;
    for (int64_t i = 0; i < elems; i++) {
        int x = (is_signed ? i8[i] : u8[i]) - zero[i / inner % channels];
        low = x < low ? x : low;
        high = x > high ? x : high;
    }
    bool wide = low < INT8_MIN || high > INT8_MAX;
    for (int64_t c = 0; c < channels; c++)
        more[c] = wide ? (is_signed ? 0 : 128) - zero[c] : 0;
    for (int64_t i = 0; i < elems; i++) {
        int64_t c = i / inner % channels;
        to[i] = (int8_t)((is_signed ? i8[i] : u8[i]) - zero[c] - more[c]);
    }
    return wide;
}
