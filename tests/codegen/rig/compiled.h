// A graph compiled as `hone compile` does, loaded into this process and run.
#ifndef TESTS_CODEGEN_RIG_COMPILED_H
#define TESTS_CODEGEN_RIG_COMPILED_H

#include "codegen/codegen.h"
#include "ir/ir.h"

typedef enum Compiled {
    COMPILED_RAN,
    COMPILED_REFUSED, // errors are in the graph's diag
    COMPILED_FAILED   // why[]
} Compiled;

// All passes of the level, Winograd on, and the code generator for `target`; then at batch size N
// on one thread and on two, which must agree bit for bit. `g` is changed. in[g->n_inputs];
// out[g->n_outputs] are made from the arena.
Compiled compiled_run(IrGraph *g, const CgTarget *target, int opt_level, int64_t N,
                      const IrTensor *in, IrTensor *out, char *why, size_t why_size);

#endif
