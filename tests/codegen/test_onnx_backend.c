// ONNX's own backend cases compiled as `hone compile` does at -O2, loaded into the process and run
// on their stored inputs, on one thread and on two, against their stored outputs. See
// tests/frontend/onnx/onnx_suite.h; onnx_backend_refused.txt is the list of those that may be
// refused.
#include "tests/codegen/rig/compiled.h"
#include "tests/frontend/onnx/onnx_suite.h"

enum { FLOOR = 866 };

static CgTarget target;

static SuiteOutcome run(SuiteCase *c, IrGraph *g, int64_t N, const IrTensor *in, IrTensor *out) {
    static const SuiteOutcome outcome[] = {[COMPILED_RAN] = SUITE_PASSED,
                                           [COMPILED_REFUSED] = SUITE_REFUSED,
                                           [COMPILED_FAILED] = SUITE_FAILED};
    return outcome[compiled_run(g, &target, 2, N, in, out, c->why, sizeof c->why)];
}

int main(int argc, char **argv) {
    const Suite suite = {
        .run = run, .floor = FLOOR, .refused_list = "tests/codegen/onnx_backend_refused.txt"};
    IrDiag diag;
    ir_diag_init(&diag, "test_onnx_backend");
    IrArena *a = ir_arena_new(&diag);
    int rc = cg_target_init(&target, a, "native", &diag) ? suite_main(argc, argv, &suite) : 1;
    ir_arena_free(a);
    return rc;
}
