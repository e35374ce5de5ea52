// Floats to integers of 8 and 16 bits: quantisation, and Cast-13 where it saturates.
//
// The float is brought into range first, so that what follows is defined and needs no instruction
// that only some machines have: added to 1.5 * 2^23 it is rounded to the nearest integer, halves to
// even, which is the low bits of the sum. The zero point is added to what is stored, a byte or two:
//   max, min, add, narrow, add       for round(x) + zero within [low, high]
//   max, min, convert, narrow        for the truncated x
// Low and high are integers: keeping x + zero within them before it is rounded is the same.
//
// With AVX-512 several vectors are packed at once, which saturates: where the float is known to fit
// a word, convert, half of a pack to 16 bits, a quarter of one to 8 and of a permutation are all a
// vector takes.
#include "codegen/build/elem.h"

// An integer type with as many elements as x.
static LLVMTypeRef integers_like(CgVal x, LLVMTypeRef t) {
    LLVMTypeRef like = LLVMTypeOf(x);
    return LLVMGetTypeKind(like) == LLVMVectorTypeKind ? LLVMVectorType(t, LLVMGetVectorSize(like))
                                                       : t;
}

CgVal cg_elem_narrow(CgFn *f, IrDtype t, const CgNarrow *how, CgVal x) {
    LLVMTypeRef words = integers_like(x, f->i32), stored = integers_like(x, cg_dtype(f, t));
    CgVal low = cg_like(f, x, (double)how->low - how->zero), i;
    CgVal high = cg_like(f, x, (double)how->high - how->zero);
    CgVal in = cg_fmin(f, cg_fmax(f, low, x), high); // NaN becomes the low end
    if (how->nearest) {
        i = LLVMBuildBitCast(f->b, cg_fadd(f, in, cg_like(f, x, 0x1.8p23)), words, "");
    } else {
        i = LLVMBuildFPToSI(f->b, in, words, "");
    }
    i = LLVMBuildTrunc(f->b, i, stored, "");
    if (how->zero) {
        uint64_t bits = (uint64_t)how->zero & ((UINT64_C(1) << 8 * ir_dtype_bytes(t)) - 1);
        i = LLVMBuildAdd(f->b, i, cg_int_like(i, bits), "");
    }
    return how->low == 0 ? i
                         : cg_select(f, cg_fcmp(f, LLVMRealORD, x, x), i, LLVMConstNull(stored));
}

static CgVal call(CgFn *f, const char *name, CgVal a, CgVal b) {
    return cg_call_intrinsic(f, name, 0, NULL, 2, (CgVal[]){a, b});
}

// Rounded to the nearest, halves to even
static CgVal to_words(CgFn *f, CgVal x) {
    CgVal zero = LLVMConstNull(integers_like(x, f->i32));
    CgVal all = LLVMConstInt(LLVMInt16TypeInContext(f->ctx), UINT16_MAX, 0);
    CgVal args[] = {x, zero, all, cg_i32(f, 4)}; // 4: as the thread rounds
    return cg_call_intrinsic(f, "llvm.x86.avx512.mask.cvtps2dq.512", 0, NULL, 4, args);
}

// Two vectors of words, lane of 128 bits by lane
static CgVal to_halves(CgFn *f, const CgNarrow *how, CgVal a, CgVal b) {
    CgVal x = call(f, "llvm.x86.avx512.packssdw.512", to_words(f, a), to_words(f, b));
    if (how->zero)
        x = cg_intrinsic(f, "llvm.sadd.sat", 2,
                         (CgVal[]){x, cg_int_like(x, (uint64_t)how->zero & UINT16_MAX)});
    return x;
}

// Of each lane's dwords the first n, those of all lanes together
static CgVal gather_lanes(CgFn *f, CgVal bytes, int n) {
    CgVal index[16], x = LLVMBuildBitCast(f->b, bytes, LLVMVectorType(f->i32, 16), "");
    for (int i = 0; i < 4 * n; i++)
        index[i] = cg_i32(f, i % 4 * 4 + i / 4);
    x = LLVMBuildShuffleVector(f->b, x, x, LLVMConstVector(index, (unsigned)(4 * n)), "");
    LLVMTypeRef byte = LLVMInt8TypeInContext(f->ctx);
    return LLVMBuildBitCast(f->b, x, LLVMVectorType(byte, (unsigned)(16 * n)), "");
}

CgVal cg_elem_pack(CgFn *f, const CgNarrow *how, CgVal *x, int n) {
    CgVal low = to_halves(f, how, x[0], x[1]), high = n == 4 ? to_halves(f, how, x[2], x[3]) : low;
    CgVal y = gather_lanes(f, call(f, "llvm.x86.avx512.packuswb.512", low, high), n);
    if (how->low > 0)
        y = cg_intrinsic(f, "llvm.umax", 2, (CgVal[]){y, cg_int_like(y, (uint64_t)how->low)});
    if (how->high < UINT8_MAX)
        y = cg_intrinsic(f, "llvm.umin", 2, (CgVal[]){y, cg_int_like(y, (uint64_t)how->high)});
    return y;
}
