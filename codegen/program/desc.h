// Constants of C structures as LLVM values: what the descriptors are written with. Private to
// descriptor.c and train_desc.c.
#ifndef CODEGEN_PROGRAM_DESC_H
#define CODEGEN_PROGRAM_DESC_H

#include "codegen/program/program.h"

#include <string.h>

typedef struct Desc {
    CgProgram *p;
    const CgCode *code; // of a model's descriptor
    LLVMModuleRef m;
    LLVMContextRef c;
    LLVMTypeRef i8, i32, i64, f32, ptr;
} Desc;

static inline LLVMValueRef const_i32(Desc *d, int64_t x) {
    return LLVMConstInt(d->i32, (uint64_t)x, 1);
}
static inline LLVMValueRef const_i64(Desc *d, int64_t x) {
    return LLVMConstInt(d->i64, (uint64_t)x, 1);
}

// A private constant in this module; NULL pointer when there is nothing in it.
static inline LLVMValueRef private_data(Desc *d, LLVMValueRef init) {
    LLVMValueRef g = LLVMAddGlobal(d->m, LLVMTypeOf(init), "");
    LLVMSetInitializer(g, init);
    LLVMSetGlobalConstant(g, 1);
    LLVMSetLinkage(g, LLVMPrivateLinkage);
    return g;
}

static inline LLVMValueRef const_str(Desc *d, const char *s) {
    if (!s)
        return LLVMConstNull(d->ptr);
    LLVMValueRef g = private_data(d, LLVMConstStringInContext(d->c, s, (unsigned)strlen(s), 0));
    LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
    return g;
}

static inline LLVMValueRef const_struct(Desc *d, int n, LLVMValueRef *v) {
    return LLVMConstStructInContext(d->c, v, (unsigned)n, 0);
}

static inline LLVMValueRef const_table(Desc *d, LLVMTypeRef t, int n, LLVMValueRef *v) {
    return n ? private_data(d, LLVMConstArray2(t, v, (uint64_t)n)) : LLVMConstNull(d->ptr);
}

static inline LLVMValueRef const_dim(Desc *d, IrDim x) {
    LLVMValueRef v[] = {const_i64(d, x.c), const_i64(d, x.n)};
    return const_struct(d, 2, v);
}

static inline Desc desc_init(CgProgram *p, const CgCode *code, LLVMModuleRef m) {
    LLVMContextRef c = LLVMGetModuleContext(m);
    return (Desc){p,
                  code,
                  m,
                  c,
                  LLVMInt8TypeInContext(c),
                  LLVMInt32TypeInContext(c),
                  LLVMInt64TypeInContext(c),
                  LLVMFloatTypeInContext(c),
                  LLVMPointerTypeInContext(c, 0)};
}

// What another object, or this module, defines under SYMBOL_SUFFIX.
static inline LLVMValueRef extern_symbol(Desc *d, const char *symbol, const char *suffix) {
    const char *name = ir_sprintf(d->p->arena, "%s_%s", symbol, suffix);
    LLVMValueRef g = LLVMGetNamedFunction(d->m, name);
    g = g ? g : LLVMGetNamedGlobal(d->m, name);
    if (!g) {
        g = LLVMAddGlobal(d->m, d->i8, name);
        LLVMSetVisibility(g, LLVMHiddenVisibility);
    }
    return g;
}

LLVMValueRef cg_const_place(Desc *d, HonePlace p);                // steps.c
LLVMValueRef cg_const_steps(Desc *d, const CgCall *calls, int n); // HoneSteps
LLVMValueRef cg_const_kernels(Desc *d);                           // of the whole program

#endif
