// Machines for tests of passes.
#ifndef TESTS_MACHINE_H
#define TESTS_MACHINE_H

#include "codegen/codegen.h"

// Of a CPU that runtime/core/cpus.def names.
static inline const IrMachine *machine_of(IrArena *a, const char *cpu) {
    CgTarget *t = ir_alloc(a, sizeof *t);
    if (!cg_target_find(t, a, cpu))
        ir_bug("test", NULL, "no CPU %s", cpu);
    return &t->machine;
}

#endif
