// ONNX's own backend cases (Debian: libonnx-testdata), each imported in a process of its own and
// run by whoever calls: the reference evaluator, or compiled code.
//
// A case ends as one of
//   passed    outputs of the stored types and shapes, integers equal, floats within rtol 1e-3
//             (float16: 2e-3, bfloat16: 1.6e-2, since the
//             cases keep 11 and 8 bits at each step) and atol 1e-7 of the largest, or of 1
//   bound     passed once integer inputs that only shapes depend on were given as constants
//   refused   by a diagnostic that names node and operator, or the input or output
//   failed    anything else: wrong results, a refusal that names nothing, a bug, a crash, a timeout
//
//   TEST [-v] [--write-list] [DIR [NAME_PART]]
//
// -v prints every refusal, --write-list writes the list of refused cases anew. NAME_PART: only the
// cases that have it in their names ("node/test_add"), without floor and list.
#ifndef TESTS_FRONTEND_ONNX_ONNX_SUITE_H
#define TESTS_FRONTEND_ONNX_ONNX_SUITE_H

#include "frontend/frontend.h"

enum { SUITE_MAX_FILES = 16 };

typedef enum SuiteOutcome {
    SUITE_PASSED,
    SUITE_BOUND,
    SUITE_REFUSED,
    SUITE_FAILED,
    SUITE_OUTCOMES
} SuiteOutcome;

typedef struct SuiteCase {
    IrArena *arena;
    const char *dir;
    char why[1000]; // it failed
    int n_in, n_out;
    IrTensor in[SUITE_MAX_FILES], want[SUITE_MAX_FILES]; // as stored
    const char *in_name[SUITE_MAX_FILES];
} SuiteCase;

// Runs the graph at batch size N on in[g->n_inputs] into out[g->n_outputs]. SUITE_PASSED;
// SUITE_REFUSED once the arena's diag has an error; SUITE_FAILED with c->why.
typedef SuiteOutcome SuiteRun(SuiteCase *c, IrGraph *g, int64_t N, const IrTensor *in,
                              IrTensor *out);

typedef struct Suite {
    SuiteRun *run;
    int floor;        // the test fails when fewer passed,
    bool bound_count; // those that are bound included
    // Path of a text file, a line "KIND/NAME Operator" for each case that may be refused; a refused
    // one that is not in it fails the test. NULL: any may be.
    const char *refused_list;
} Suite;

// main() of a test. Where the data is not installed it says so and succeeds.
int suite_main(int argc, char **argv, const Suite *suite);

#endif
