// Graph to graph. One pass, one file, one function `PassResult pass_NAME(PassContext *, IrGraph
// *)`. Order, optimisation level and reason of each place stand in passes.def.
#ifndef PASSES_PASSES_H
#define PASSES_PASSES_H

#include "ir/ir.h"

typedef struct PassResult {
    int changes; // how many rewrites; 0: the graph is as it was
} PassResult;

typedef struct PassOptions {
    int opt_level;           // 0..3
    int block;               // channels of a block in nChwBc: the target's float lanes (16, 8, 4)
    int vector_registers;    // 32 for AVX-512, 16 else: bounds the convolution's register tile
    bool keep_values;        // memory plan without reuse: verify reads every value afterwards
    bool winograd;           // convolutions by Winograd's algorithms where they are faster
    int threads;             // the schedule's guess of how many threads will run it; 0 unknown
    const char *print_after; // a pass's name, "all", or NULL
    bool time_passes;
    bool verify; // ir_verify after each pass; ir_bug() when it fails
    FILE *out;   // for print_after and time_passes
} PassOptions;

typedef struct PassContext {
    IrArena *scratch; // freed after the pass
    IrProgram *prog;
    const PassOptions *opt;
} PassContext;

typedef PassResult (*PassFn)(PassContext *, IrGraph *);

// Runs the passes of passes.def whose level <= opt->opt_level, in order.
void passes_run(IrProgram *p, IrGraph *g, const PassOptions *opt);
// Runs the named ones ("a,b,c"), whatever their level. false after an error: unknown name.
bool passes_run_named(IrProgram *p, IrGraph *g, const PassOptions *opt, const char *names);
// One line per pass: name, level, what it does (for `hone opt --help`).
void passes_list(FILE *f);
// Where the memory of a planned graph goes at batch size N: the arena, what it would be without
// reuse, the lower bound, the largest values.
void passes_print_memory(FILE *f, IrGraph *g, int64_t N);

#endif
