// ONNX's own backend cases: imports each model and runs the reference evaluator on its stored
// inputs against its stored outputs. See onnx_suite.h.
#include "tests/frontend/onnx/onnx_suite.h"

#include <stdio.h>

enum { FLOOR = 970 };

static SuiteOutcome run(SuiteCase *c, IrGraph *g, int64_t N, const IrTensor *in, IrTensor *out) {
    const char *why = ir_eval(g, N, in, out, c->arena, NULL, NULL);
    if (why) {
        snprintf(c->why, sizeof c->why, "evaluator: %s", why);
    }
    return why ? SUITE_FAILED : SUITE_PASSED;
}

int main(int argc, char **argv) {
    const Suite suite = {.run = run, .floor = FLOOR, .bound_count = true};
    return suite_main(argc, argv, &suite);
}
