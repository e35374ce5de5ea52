// A model compiled in a temporary library and loaded into this process: what verify runs. Private
// to tools/.
#ifndef TOOLS_COMPILED_H
#define TOOLS_COMPILED_H

#include "runtime/core/hone.h"
#include "tools/tool.h"

typedef struct Compiled {
    IrGraph *graph; // after all passes; keep_values decides whether values survive a run
    HoneModel *model;
    char *workspace; // the arena of the last run
} Compiled;

// Runs all passes over g (in place), compiles, links, loads. name: one among those of this run.
// False after errors were reported.
bool compiled_load(Tool *t, const ToolModel *m, IrGraph *g, int threads, const char *name,
                   Compiled *out);
// inputs and outputs as IrTensor in graph order; outputs are allocated in a.
bool compiled_run(Tool *t, Compiled *c, int64_t N, const IrTensor *in, IrTensor *out, IrArena *a);
// Copies a value of the last run out of the arena, as a plain tensor. False when it has no bytes of
// its own there.
bool compiled_value(const Compiled *c, int64_t N, const IrValue *v, IrTensor *out, IrArena *a);

#endif
