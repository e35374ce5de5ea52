// What cg_compile() wrote, loaded into this process without a linker: LLVM's in-process linker
// takes the object files as they are.
//
//   CgResult cg;
//   ... cg_compile(graph, &options, dir, &cg) ...
//   Jit *jit = jit_load(&cg, options.symbol, err, sizeof err);
//   HoneModel *m = hone_create(jit_desc(jit), ...);
//   ... hone_destroy(m); jit_free(jit);
#ifndef TESTS_CODEGEN_RIG_JIT_H
#define TESTS_CODEGEN_RIG_JIT_H

#include "codegen/codegen.h"
#include "runtime/core/hone.h"

typedef struct Jit Jit;

// The objects of `cg`, whose descriptor is SYMBOL_desc; emitted code calls the runtime of this
// process. NULL with the reason in err[err_size].
Jit *jit_load(const CgResult *cg, const char *symbol, char *err, size_t err_size);
const HoneModelDesc *jit_desc(const Jit *j);
void jit_free(Jit *j); // models made from the descriptor are gone by then

#endif
