// See elem.h. Conversions are the evaluator's (ir/tensor.c), in instructions that every machine
// has.
#include "codegen/build/elem.h"

#include <math.h>

static bool is_vector(CgVal x) {
    return LLVMGetTypeKind(LLVMTypeOf(x)) == LLVMVectorTypeKind;
}

// `scalar`, or a vector of as many as x has.
static LLVMTypeRef shaped(CgVal x, LLVMTypeRef scalar) {
    return is_vector(x) ? LLVMVectorType(scalar, LLVMGetVectorSize(LLVMTypeOf(x))) : scalar;
}

// ---------------------------------------------------------------- 16 bits

static CgVal word_like(CgFn *f, CgVal x, uint32_t c) { // i32, as many as x has
    return cg_int_like(LLVMConstNull(shaped(x, f->i32)), c);
}

static LLVMTypeRef i16_of(CgFn *f) {
    return LLVMInt16TypeInContext(f->ctx);
}

static CgVal widen_f16(CgFn *f, CgVal x) {
    x = LLVMBuildBitCast(f->b, x, shaped(x, LLVMHalfTypeInContext(f->ctx)), "");
    return LLVMBuildFPExt(f->b, x, shaped(x, f->f32), "");
}

static CgVal narrow_f16(CgFn *f, CgVal x) {
    x = LLVMBuildFPTrunc(f->b, x, shaped(x, LLVMHalfTypeInContext(f->ctx)), "");
    return LLVMBuildBitCast(f->b, x, shaped(x, i16_of(f)), "");
}

static CgVal widen_bf16(CgFn *f, CgVal x) {
    x = LLVMBuildZExt(f->b, x, shaped(x, f->i32), "");
    x = LLVMBuildShl(f->b, x, word_like(f, x, 16), "");
    return LLVMBuildBitCast(f->b, x, shaped(x, f->f32), "");
}

// As integers: the instruction of AVX512-BF16 takes subnormals for 0.
static CgVal narrow_bf16(CgFn *f, CgVal x) {
    CgVal bits = LLVMBuildBitCast(f->b, x, shaped(x, f->i32), ""), sixteen = word_like(f, x, 16);
    CgVal top = LLVMBuildLShr(f->b, bits, sixteen, "");
    CgVal odd = LLVMBuildAnd(f->b, top, word_like(f, x, 1), "");
    CgVal near = LLVMBuildAdd(f->b, LLVMBuildAdd(f->b, bits, word_like(f, x, 0x7fff), ""), odd, "");
    near = LLVMBuildLShr(f->b, near, sixteen, "");
    CgVal nan = LLVMBuildOr(f->b, top, word_like(f, x, 0x40), "");
    near = cg_select(f, cg_fcmp(f, LLVMRealUNO, x, x), nan, near);
    return LLVMBuildTrunc(f->b, near, shaped(x, i16_of(f)), "");
}

// ---------------------------------------------------------------- rows

typedef enum Kind { REAL, SIGNED, UNSIGNED, TRUTH } Kind;
typedef CgVal Half(CgFn *f, CgVal x);

typedef struct Elem {
    Kind kind;
    IrDtype computed, sum;
    Half *widen, *narrow; // NULL: stored as computed
} Elem;

#define HALF_NONE NULL, NULL
#define HALF_F16 widen_f16, narrow_f16
#define HALF_BF16 widen_bf16, narrow_bf16
static const Elem elems[IR_DTYPE_COUNT] = {
#define CG_ELEM(dtype, kind, computed, sum, half)                                                  \
    [IR_##dtype] = {kind, IR_##computed, IR_##sum, HALF_##half},
#include "codegen/build/elem.def"
#undef CG_ELEM
};

bool cg_elem_is_signed(IrDtype t) {
    return elems[t].kind == SIGNED;
}
IrDtype cg_elem_sum(IrDtype t) {
    return elems[t].sum;
}
bool cg_elem_is_exact(IrDtype t) {
    return !elems[t].narrow;
}
IrDtype cg_elem_bits(IrDtype t) {
    return cg_elem_is_exact(t) ? t : IR_U16;
}
LLVMTypeRef cg_elem_type(CgFn *f, IrDtype t) {
    return cg_dtype(f, elems[t].computed);
}
LLVMTypeRef cg_elem_vec(CgFn *f, IrDtype t) {
    return LLVMVectorType(cg_elem_type(f, t), (unsigned)f->lanes);
}

static CgVal widen(CgFn *f, IrDtype t, CgVal stored) {
    return elems[t].widen ? elems[t].widen(f, stored) : stored;
}
static CgVal narrow(CgFn *f, IrDtype t, CgVal x) {
    return elems[t].narrow ? elems[t].narrow(f, x) : x;
}

// ---------------------------------------------------------------- memory

CgVal cg_elem_at(CgFn *f, IrDtype t, CgVal base, CgVal index) {
    return cg_at(f, cg_dtype(f, t), base, index);
}

static unsigned align_of(IrDtype t) {
    return (unsigned)ir_dtype_bytes(t);
}

static CgVal load_one(CgFn *f, IrDtype t, CgVal p) {
    return cg_load(f, cg_dtype(f, t), p, align_of(t));
}

CgVal cg_elem_block(CgFn *f, IrDtype t, CgVal base, CgVal index) {
    CgVal p = cg_elem_at(f, t, base, cg_imulc(f, index, IR_BLOCK));
    return f->lane0 ? cg_elem_at(f, t, p, f->lane0) : p;
}

CgVal cg_elem_load(CgFn *f, IrDtype t, CgVal base, CgVal index) {
    return widen(f, t, load_one(f, t, cg_elem_at(f, t, base, index)));
}
CgVal cg_elem_load_as(CgFn *f, IrDtype as, IrDtype t, CgVal base, CgVal index) {
    return cg_elem_convert(f, t, as, cg_elem_load(f, t, base, index));
}
void cg_elem_store(CgFn *f, IrDtype t, CgVal x, CgVal base, CgVal index) {
    cg_store(f, narrow(f, t, x), cg_elem_at(f, t, base, index), align_of(t));
}

static LLVMTypeRef stored_vec(CgFn *f, IrDtype t) {
    return LLVMVectorType(cg_dtype(f, t), (unsigned)f->lanes);
}

// <lanes x i1>: the first n lanes
static CgVal const_mask(CgFn *f, int64_t n) {
    CgVal bit[64];
    for (int i = 0; i < f->lanes; i++) {
        bit[i] = LLVMConstInt(f->i1, i < n, 0);
    }
    return LLVMConstVector(bit, (unsigned)f->lanes);
}

CgVal cg_lane_mask(CgFn *f, CgVal n) {
    CgVal lane[64], n32 = LLVMBuildTrunc(f->b, n, f->i32, "");
    for (int i = 0; i < f->lanes; i++) {
        lane[i] = cg_i32(f, i);
    }
    CgVal lanes = LLVMConstVector(lane, (unsigned)f->lanes);
    return LLVMBuildICmp(f->b, LLVMIntSLT, lanes, cg_splat(f, n32), "");
}

// The mask of n lanes; NULL when all count.
static CgVal mask_of(CgFn *f, CgVal n) {
    int64_t c;
    if (!n || (cg_is_const(n, &c) && c >= f->lanes)) {
        return NULL;
    }
    return cg_is_const(n, &c) ? const_mask(f, c) : cg_lane_mask(f, n);
}

CgVal cg_elem_load_n(CgFn *f, IrDtype t, CgVal p, CgVal n) {
    LLVMTypeRef vec = stored_vec(f, t), types[] = {vec, f->ptr};
    CgVal mask = mask_of(f, n);
    if (!mask) {
        return widen(f, t, cg_load(f, vec, p, align_of(t)));
    }
    CgVal args[] = {p, cg_i32(f, (int32_t)align_of(t)), mask, LLVMConstNull(vec)};
    return widen(f, t, cg_call_intrinsic(f, "llvm.masked.load", 2, types, 4, args));
}

void cg_elem_store_n(CgFn *f, IrDtype t, CgVal v, CgVal p, CgVal n) {
    LLVMTypeRef types[] = {stored_vec(f, t), f->ptr};
    CgVal mask = mask_of(f, n), x = narrow(f, t, v);
    if (!mask) {
        cg_store(f, x, p, align_of(t));
        return;
    }
    CgVal args[] = {x, p, cg_i32(f, (int32_t)align_of(t)), mask};
    cg_call_intrinsic(f, "llvm.masked.store", 2, types, 4, args);
}

CgVal cg_elem_load_strided(CgFn *f, IrDtype t, CgVal p, CgVal stride, CgVal n) {
    int64_t c;
    if (cg_is_const(stride, &c) && c <= 1 && c >= 0) {
        return c == 0 ? cg_splat(f, widen(f, t, load_one(f, t, p))) : cg_elem_load_n(f, t, p, n);
    }
    CgVal v = LLVMGetUndef(stored_vec(f, t)), last = n ? cg_iaddc(f, n, -1) : NULL;
    for (int i = 0; i < f->lanes; i++) {
        CgVal lane = n ? cg_imin(f, cg_i64(f, i), last) : cg_i64(f, i);
        CgVal x = load_one(f, t, cg_elem_at(f, t, p, cg_imul(f, lane, stride)));
        v = LLVMBuildInsertElement(f->b, v, x, cg_i32(f, i), "");
    }
    return widen(f, t, v);
}

// ---------------------------------------------------------------- constants

// x in an integer type of `bits`: truncated, saturated, NaN as 0.
static uint64_t saturate(double x, int bits, bool is_signed) {
    double low = is_signed ? -ldexp(1, bits - 1) : 0, high = ldexp(1, is_signed ? bits - 1 : bits);
    uint64_t all = ~UINT64_C(0) >> (64 - bits);
    if (isnan(x)) {
        return 0;
    }
    if (x >= high) {
        return is_signed ? all >> 1 : all;
    }
    return x <= low ? (uint64_t)(int64_t)low : x < 0 ? (uint64_t)(int64_t)x : (uint64_t)x;
}

CgVal cg_elem_const(CgFn *f, IrDtype t, double x) {
    LLVMTypeRef type = cg_elem_type(f, t);
    Kind kind = elems[t].kind;
    if (kind == REAL) {
        return LLVMConstReal(type, x);
    }
    return LLVMConstInt(
        type, kind == TRUTH ? x != 0 : saturate(x, 8 * ir_dtype_bytes(t), kind == SIGNED), 0);
}

CgVal cg_elem_like(CgFn *f, IrDtype t, CgVal shape, double x) {
    CgVal one = cg_elem_const(f, t, x);
    return is_vector(shape) ? cg_splat(f, one) : one;
}

CgVal cg_elem_splat(CgFn *f, IrDtype t, double x) {
    return cg_splat(f, cg_elem_const(f, t, x));
}

// ---------------------------------------------------------------- conversions

CgNarrow cg_elem_range(IrDtype t) {
    bool is_signed = elems[t].kind == SIGNED;
    int bits = 8 * ir_dtype_bytes(t) - is_signed;
    int32_t size = (int32_t)1 << bits;
    return (CgNarrow){.low = is_signed ? -size : 0, .high = size - 1};
}

// The float next to the double x: what is lost stays in its last bit, so that a later rounding to
// fewer bits is the only one.
static CgVal float_of_double(CgFn *f, CgVal x) {
    LLVMTypeRef floats = shaped(x, f->f32), words = shaped(x, f->i32);
    CgVal y = LLVMBuildFPTrunc(f->b, x, floats, ""),
          back = LLVMBuildFPExt(f->b, y, LLVMTypeOf(x), "");
    CgVal size[] = {x}, near[] = {back}, one = word_like(f, x, 1);
    CgVal cut = cg_fcmp(f, LLVMRealONE, back, x);
    CgVal above = cg_fcmp(f, LLVMRealOGT, cg_intrinsic(f, "llvm.fabs", 1, near),
                          cg_intrinsic(f, "llvm.fabs", 1, size));
    CgVal bits = LLVMBuildBitCast(f->b, y, words, "");
    CgVal down = cg_select(f, above, LLVMBuildSub(f->b, bits, one, ""), bits);
    bits = cg_select(f, cut, LLVMBuildOr(f->b, down, one, ""), bits);
    return LLVMBuildBitCast(f->b, bits, floats, "");
}

// An integer of 64 bits as a double, what is lost of large ones in a bit further up.
static CgVal double_of_long(CgFn *f, CgVal x, bool is_signed) {
    enum { DROP = 16 };
    LLVMTypeRef t = shaped(x, f->f64);
    CgVal low = cg_int_like(x, (1 << DROP) - 1), zero = LLVMConstNull(LLVMTypeOf(x));
    CgVal lost = cg_icmp(f, LLVMIntNE, LLVMBuildAnd(f->b, x, low, ""), zero);
    CgVal kept = LLVMBuildAnd(f->b, x, LLVMBuildNot(f->b, low, ""), "");
    CgVal odd = LLVMBuildOr(f->b, kept, cg_int_like(x, 1 << DROP), "");
    CgVal size =
        is_signed ? cg_select(f, cg_icmp(f, LLVMIntSLT, x, zero), LLVMBuildNeg(f->b, x, ""), x) : x;
    CgVal large = cg_icmp(f, LLVMIntUGT, size, cg_int_like(x, UINT64_C(1) << 40));
    x = cg_select(f, LLVMBuildAnd(f->b, large, lost, ""), odd, x);
    return is_signed ? LLVMBuildSIToFP(f->b, x, t, "") : LLVMBuildUIToFP(f->b, x, t, "");
}

// To float, where that is to be rounded to 16 bits.
static CgVal to_half(CgFn *f, IrDtype from, CgVal x) {
    bool real = elems[from].kind == REAL, is_signed = elems[from].kind == SIGNED;
    if (!real && ir_dtype_bytes(from) == 8) {
        return float_of_double(f, double_of_long(f, x, is_signed));
    }
    if (!real && ir_dtype_bytes(from) == 4) {
        LLVMTypeRef t = shaped(x, f->f64);
        return float_of_double(f, is_signed ? LLVMBuildSIToFP(f->b, x, t, "")
                                            : LLVMBuildUIToFP(f->b, x, t, ""));
    }
    return float_of_double(f, x);
}

CgVal cg_elem_truth(CgFn *f, CgVal bit) {
    return LLVMBuildZExt(f->b, bit, shaped(bit, f->i8), "");
}

CgVal cg_elem_convert(CgFn *f, IrDtype from, IrDtype to, CgVal x) {
    Kind a = elems[from].kind, b = elems[to].kind;
    LLVMTypeRef t = shaped(x, cg_elem_type(f, to)), types[] = {t, LLVMTypeOf(x)};
    CgVal zero = LLVMConstNull(LLVMTypeOf(x));
    if (b == TRUTH) {
        CgVal bit = a == REAL ? cg_fcmp(f, LLVMRealUNE, x, zero) : cg_icmp(f, LLVMIntNE, x, zero);
        return cg_elem_truth(f, bit);
    }
    bool wide = from == IR_F64 || (a != REAL && ir_dtype_bytes(from) >= 4);
    if (wide && !cg_elem_is_exact(to)) {
        return to_half(f, from, x);
    }
    if (a == REAL && b == REAL) {
        return LLVMBuildFPCast(f->b, x, t, "");
    }
    if (a == REAL && from != IR_F64 && ir_dtype_bytes(to) <= 2) {
        CgNarrow range = cg_elem_range(to);
        return cg_elem_narrow(f, to, &range, x);
    }
    if (a == REAL) {
        return cg_call_intrinsic(f, b == SIGNED ? "llvm.fptosi.sat" : "llvm.fptoui.sat", 2, types,
                                 1, &x);
    }
    if (b == REAL) {
        return a == SIGNED ? LLVMBuildSIToFP(f->b, x, t, "") : LLVMBuildUIToFP(f->b, x, t, "");
    }
    return LLVMBuildIntCast2(f->b, x, t, a == SIGNED, "");
}

CgVal cg_elem_round(CgFn *f, IrDtype t, CgVal x) {
    LLVMTypeRef type = LLVMTypeOf(x);
    bool wide = type == shaped(x, f->f64);
    CgVal y = widen(f, t, narrow(f, t, wide ? float_of_double(f, x) : x));
    return wide ? LLVMBuildFPExt(f->b, y, type, "") : y;
}

// ---------------------------------------------------------------- f32

CgVal cg_load_f(CgFn *f, CgVal p) {
    return load_one(f, IR_F32, p);
}
CgVal cg_load_splat(CgFn *f, CgVal p) {
    return cg_splat(f, cg_load_f(f, p));
}
CgVal cg_load_v(CgFn *f, CgVal p) {
    return cg_elem_load_n(f, IR_F32, p, NULL);
}
CgVal cg_load_n(CgFn *f, CgVal p, CgVal n) {
    return cg_elem_load_n(f, IR_F32, p, n);
}
CgVal cg_load_strided(CgFn *f, CgVal p, CgVal stride, CgVal n) {
    return cg_elem_load_strided(f, IR_F32, p, stride, n);
}
void cg_store_v(CgFn *f, CgVal v, CgVal p) {
    cg_elem_store_n(f, IR_F32, v, p, NULL);
}
void cg_store_n(CgFn *f, CgVal v, CgVal p, CgVal n) {
    cg_elem_store_n(f, IR_F32, v, p, n);
}
