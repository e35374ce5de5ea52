// A graph, given as textual IR, through passes, code generator and a run between guard pages, in
// several configurations, each against the reference evaluator on the graph before the passes, at
// several batch sizes.
#ifndef TESTS_FUZZ_GRAPH_CHECK_H
#define TESTS_FUZZ_GRAPH_CHECK_H

#include "ir/ir.h"

typedef enum CheckStatus {
    CHECK_PENDING, // not finished: the process that was at it died, or took too long
    CHECK_AGREES,
    CHECK_INVALID, // no graph, or one that the evaluator refuses
    CHECK_REFUSED, // the code generator has not got something: it says NYI
    CHECK_DIFFERS, // another result than the evaluator's, or than on one thread
    CHECK_CRASHED, // by a signal, past a guard page, in a bug trap, or a refusal without NYI
    CHECK_STATUSES
} CheckStatus;
extern const char *const check_status_names[CHECK_STATUSES];

enum { CHECK_BATCHES = 2 };
typedef struct CheckJob {
    const char *text;
    int n; // batch sizes that the compiled graph runs at
    int64_t N[CHECK_BATCHES];
    IrOp wrong; // see ref_evaluate(); IR_OP_COUNT: none
    const char *mcpu; // of another kind of machine than this (rig/foreign.h), or NULL: this one
} CheckJob;

// In this process, which may not survive it; says on stderr what is wrong.
CheckStatus check_graph(const CheckJob *job);
// In a child, with a time limit. `quiet`: what it says goes nowhere.
CheckStatus check_in_child(const CheckJob *job, bool quiet);

// Compiled at -O1 and run between guard pages, in this process, whatever comes out. The graph is
// changed.
CheckStatus check_runs(IrGraph *g, int64_t N);

// "graph ... {" and the constants it uses, as ir_parse() takes it; malloc.
char *check_print(IrProgram *p);

#endif
