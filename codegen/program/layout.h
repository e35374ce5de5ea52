// Instances of the structures of runtime/core/abi.def and runtime/train/abi.def, made in this
// process, as constants of a module. Private to codegen/program/.
//
// A caller fills the C structure by name, with pointers to texts and tables of its own; a
// HONE_SYMBOL field points to a CgSymbol instead of to what it will point to in the program.
#ifndef CODEGEN_PROGRAM_LAYOUT_H
#define CODEGEN_PROGRAM_LAYOUT_H

#include "codegen/build/builder.h"
#include "runtime/train/abi.h"

typedef struct CgSymbol { // offset bytes behind what another object, or this module, defines
    const char *name;
    int64_t offset;
} CgSymbol;

// The value of a HONE_SYMBOL field, of whatever pointer type that is.
void *cg_symbol(IrArena *a, const char *name, int64_t offset);

typedef struct CgLayout CgLayout;
// ir_bug() where LLVM's layout of a structure is not C's. Lives in the arena.
CgLayout *cg_layout_new(IrArena *a, LLVMModuleRef m);
// Defines `symbol`, global and constant.
void cg_layout_model(CgLayout *l, const char *symbol, const HoneModelDesc *x);
void cg_layout_train(CgLayout *l, const char *symbol, const HoneTrainDesc *x);
// Defines `symbol`, hidden: pointers to functions that other objects define.
void cg_layout_functions(CgLayout *l, const char *symbol, int n, const char *const *names);

#endif
