// Floats to integers of 8 and 16 bits: quantisation, and Cast-13 where it saturates.
//
// The float is brought into range first, so that what follows is defined and needs no instruction
// that only some machines have: added to 1.5 * 2^23 it is rounded to the nearest integer, halves to
// even, which is the low bits of the sum. The zero point is added to what is stored, a byte or two:
//   max, min, add, narrow, add       for round(x) + zero within [low, high]
//   max, min, convert, narrow        for the truncated x
// Low and high are integers: keeping x + zero within them before it is rounded is the same.
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
