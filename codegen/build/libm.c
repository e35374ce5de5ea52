// Functions of the C library, called lane by lane: for what build/math.c has no polynomial.
#include "codegen/build/builder.h"

#include <string.h>

enum { MAX_ARGS = 2 };

static CgVal call_scalar(CgFn *f, const char *name, int n, CgVal *x) {
    LLVMTypeRef t = LLVMTypeOf(x[0]), params[MAX_ARGS] = {t, t};
    LLVMTypeRef type = LLVMFunctionType(t, params, (unsigned)n, 0);
    const char *symbol = t == f->f64 ? name : ir_sprintf(f->arena, "%sf", name);
    CgVal fn = LLVMGetNamedFunction(f->mod, symbol);
    if (!fn) {
        fn = LLVMAddFunction(f->mod, symbol, type);
    }
    return LLVMBuildCall2(f->b, type, fn, x, (unsigned)n, "");
}

CgVal cg_libm(CgFn *f, const char *name, int n, const CgVal *x) {
    LLVMTypeRef t = LLVMTypeOf(x[0]);
    CgVal lane[MAX_ARGS];
    if (LLVMGetTypeKind(t) != LLVMVectorTypeKind) {
        memcpy(lane, x, (size_t)n * sizeof *x);
        return call_scalar(f, name, n, lane);
    }
    CgVal out = LLVMGetPoison(t);
    for (unsigned i = 0; i < LLVMGetVectorSize(t); i++) {
        CgVal at = cg_i32(f, (int32_t)i);
        for (int k = 0; k < n; k++) {
            lane[k] = LLVMBuildExtractElement(f->b, x[k], at, "");
        }
        out = LLVMBuildInsertElement(f->b, out, call_scalar(f, name, n, lane), at, "");
    }
    return out;
}
