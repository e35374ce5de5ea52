// See jit.h.
#include "tests/codegen/rig/jit.h"

#include <llvm-c/Core.h>
#include <llvm-c/LLJIT.h>
#include <stdio.h>
#include <stdlib.h>

struct Jit {
    LLVMOrcLLJITRef lljit;
    const HoneModelDesc *desc;
};

static LLVMErrorRef add_objects(LLVMOrcLLJITRef j, const CgResult *cg, char *err, size_t err_size) {
    for (int i = 0; i < cg->n_files; i++) {
        LLVMMemoryBufferRef bytes;
        char *why = NULL;
        if (LLVMCreateMemoryBufferWithContentsOfFile(cg->files[i], &bytes, &why)) {
            snprintf(err, err_size, "%s: %s", cg->files[i], why);
            LLVMDisposeMessage(why);
            return LLVMCreateStringError(err);
        }
        LLVMErrorRef e = LLVMOrcLLJITAddObjectFile(j, LLVMOrcLLJITGetMainJITDylib(j), bytes);
        if (e)
            return e;
    }
    return LLVMErrorSuccess;
}

Jit *jit_load(const CgResult *cg, const char *symbol, char *err, size_t err_size) {
    Jit *j = calloc(1, sizeof *j);
    char name[256];
    LLVMOrcExecutorAddress at = 0;
    snprintf(name, sizeof name, "%s_desc", symbol);
    LLVMErrorRef e = LLVMOrcCreateLLJIT(&j->lljit, NULL);
    e = e ? e : add_objects(j->lljit, cg, err, err_size);
    e = e ? e : LLVMOrcLLJITLookup(j->lljit, &at, name);
    if (!e) {
        j->desc = (const HoneModelDesc *)(uintptr_t)at;
        return j;
    }
    char *why = LLVMGetErrorMessage(e);
    snprintf(err, err_size, "%s", why);
    LLVMDisposeErrorMessage(why);
    jit_free(j);
    return NULL;
}

const HoneModelDesc *jit_desc(const Jit *j) {
    return j->desc;
}

void jit_free(Jit *j) {
    if (j->lljit)
        LLVMConsumeError(LLVMOrcDisposeLLJIT(j->lljit));
    free(j);
}
