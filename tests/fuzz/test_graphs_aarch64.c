// Random graphs compiled for aarch64 CPUs in turn and run under qemu, against the reference
// evaluator. With a number, that many from a seed on: test_graphs_aarch64 [COUNT [SEED]].
#include "tests/check.h"
#include "tests/codegen/rig/foreign.h"
#include "tests/fuzz/graph_check.h"
#include "tests/fuzz/graph_gen.h"

#include <stdlib.h>

static uint64_t count = 20, first_seed = 1;

static CheckStatus check_seed(uint64_t seed, const char *mcpu) {
    IrDiag diag;
    ir_diag_init(&diag, "random");
    IrArena *a = ir_arena_new(&diag);
    char *text = check_print(gen_graph(a, seed));
    CheckJob job = {text, GEN_BATCHES, {0}, IR_OP_COUNT, mcpu};
    memcpy(job.N, gen_batches, sizeof gen_batches);
    CheckStatus status = check_graph(&job);
    if (status != CHECK_AGREES && status != CHECK_REFUSED)
        fprintf(stderr, "seed %llu for %s: %s\n%s\n", (unsigned long long)seed, mcpu,
                check_status_names[status], text);
    free(text);
    ir_arena_free(a);
    return status;
}

static void agree_with_the_evaluator(void) {
    static const char *const cpus[] = {"neoverse-n1", "neoverse-v1", "aarch64"};
    uint64_t agreed = 0;
    for (uint64_t i = 0; i < count; i++) {
        CheckStatus status = check_seed(first_seed + i, cpus[i % 3]);
        CHECK(status == CHECK_AGREES || status == CHECK_REFUSED);
        agreed += status == CHECK_AGREES;
    }
    CHECK(agreed * 2 > count);
}

int main(int argc, char **argv) {
    if (argc > 1)
        count = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        first_seed = strtoull(argv[2], NULL, 10);
    if (foreign_missing())
        printf("skipped: there is no %s\n", foreign_missing());
    else
        CHECK_RUN(agree_with_the_evaluator);
    return check_done();
}
