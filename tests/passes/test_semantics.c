// The passes change how a graph computes, not what:
//
//   test_semantics                     tests/passes/*.ir and 150 random graphs
//   test_semantics FILE.ir...          each graph of each file
//   test_semantics --random N [SEED]   N random graphs (random_graph.h)
//
// A graph is evaluated on random inputs, before and after the passes at every optimisation level
// and, for random graphs, after random sequences of single passes. Outputs must agree to float32's
// rounding, and keep their names and types. With products in bf16 they agree to the roundings of
// that, of the largest output's numbers: differences of equal ones are all rounding.

#include "passes/passes.h"
#include "tests/machine.h"
#include "tests/passes/random_graph.h"
#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Case {
    const char *file; // NULL: random
    char *text;
    size_t len;
    uint64_t seed;
    int nodes, graph;
    IrDiag *diag;
} Case;

static IrGraph *load_case(const Case *c, IrArena *a) {
    IrProgram *p =
        c->file ? ir_parse(a, c->file, c->text, c->len) : random_graph(a, c->seed, c->nodes);
    return p && c->graph < p->n_graphs ? p->graphs[c->graph] : NULL;
}

static IrTensor *make_inputs(IrGraph *g, int64_t N, IrArena *a) {
    IrTensor *in = ir_alloc_array(a, (size_t)g->n_inputs, sizeof *in);
    uint64_t state = 42;
    for (int i = 0; i < g->n_inputs; i++) {
        in[i] = ir_tensor_new(a, &g->inputs[i]->type, N);
        for (int64_t k = 0; k < ir_tensor_elems(&in[i]); k++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            ir_tensor_set(&in[i], k, (double)(state >> 40) / (1 << 23) - 1);
        }
    }
    return in;
}

static double largest(const IrTensor *t) {
    double top = 1e-6;
    for (int64_t i = 0; i < ir_tensor_elems(t); i++) {
        double x = ir_tensor_get(t, i);
        top = isfinite(x) ? fmax(top, fabs(x)) : top;
    }
    return top;
}

// The largest difference where `want` is finite; -1 when shapes differ.
static double compare(const IrTensor *want, const IrTensor *got) {
    double worst = 0;
    if (want->rank != got->rank || want->dtype != got->dtype ||
        memcmp(want->dim, got->dim, (size_t)want->rank * sizeof *want->dim)) {
        return -1;
    }
    for (int64_t i = 0; i < ir_tensor_elems(want); i++) {
        double x = ir_tensor_get(want, i), y = ir_tensor_get(got, i);
        if (isfinite(x)) {
            worst = fmax(worst, isfinite(y) ? fabs(x - y) : INFINITY);
        }
    }
    return worst;
}

// One run: `level` -1 for the passes in `names`, BF16 for -O2 with products in bf16. Returns
// whether outputs agree.
enum { BF16 = 3 };
static bool check_passes(const Case *c, int level, const char *names, int64_t N) {
    IrArena *a = ir_arena_new(c->diag);
    IrGraph *before = load_case(c, a), *after = load_case(c, a);
    PassOptions opt = {.opt_level = level == BF16 ? 2 : level,
                       .block = 8,
                       .bf16 = level == BF16,
                       .machine = machine_of(a, "x86-64-v3"),
                       .verify = true};
    double top = 0, tolerance = level == BF16 ? 0.05 : 2e-4;
    IrTensor *in = make_inputs(before, N, a);
    IrTensor *want = ir_alloc_array(a, (size_t)before->n_outputs, sizeof *want);
    IrTensor *got = ir_alloc_array(a, (size_t)before->n_outputs, sizeof *got);
    const char *why = ir_eval(before, N, in, want, a, NULL, NULL);
    bool ok = true;
    if (level >= 0) {
        passes_run(after->prog, after, &opt, PASS_INFER);
    } else {
        ok = passes_run_named(after->prog, after, &opt, names);
    }
    if (!why && ok) {
        const char *wrong = ir_eval(after, N, in, got, a, NULL, NULL);
        ok = !wrong && after->n_outputs == before->n_outputs;
        for (int i = 0; ok && level == BF16 && i < before->n_outputs; i++) {
            top = fmax(top, largest(&want[i]));
        }
        for (int i = 0; ok && i < before->n_outputs; i++) {
            double error = compare(&want[i], &got[i]);
            error /= error > 0 ? fmax(top, largest(&want[i])) : 1;
            ok = error >= 0 && error < tolerance &&
                 strcmp(before->outputs[i]->name, after->outputs[i]->name) == 0;
            if (!ok) {
                printf("output %s: error %g\n", before->outputs[i]->name, error);
            }
        }
        if (wrong) {
            printf("evaluation afterwards: %s\n", wrong);
        }
    }
    if (!ok) {
        printf("FAILED: %s graph %d seed %llu nodes %d N %lld level %d passes %s\n",
               c->file ? c->file : "random", c->graph, (unsigned long long)c->seed, c->nodes,
               (long long)N, level, names ? names : "");
        if (getenv("DUMP")) {
            ir_print_graph(stdout, load_case(c, a));
            ir_print_graph(stdout, after);
        }
    }
    ir_arena_free(a);
    return ok;
}

static const char *const single[] = {
    "canonicalize",
    "sink_transpose",
    "fold",
    "cse",
    "dce",
    "fold_pad",
    "fuse_bn",
    "swap_pool",
    "merge_siblings",
    "fuse_softmax",
    "fuse_gelu",
    "fuse_layer_norm",
    "lift_slice",
    "fuse_epilogue",
    "fuse_map",
    "fuse_shuffle",
};

static int check_random(IrDiag *diag, int count, uint64_t first) {
    int failed = 0;
    for (uint64_t seed = first; seed < first + (uint64_t)count; seed++) {
        Case c = {.seed = seed, .nodes = 5 + (int)(seed % 40), .diag = diag};
        for (int level = 0; level <= BF16; level++) {
            failed += !check_passes(&c, level, NULL, 1 + (int64_t)(seed % 3));
        }
        char names[256] = "";
        uint64_t state = seed;
        for (int i = 0; i < 8; i++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            strcat(names, single[(state >> 33) % (sizeof single / sizeof *single)]);
            strcat(names, ",");
        }
        failed += !check_passes(&c, -1, names, 2);
    }
    printf("%d random graphs, %d failures\n", count, failed);
    return failed;
}

static int check_file(IrDiag *diag, const char *file) {
    FILE *f = fopen(file, "rb");
    if (!f) {
        perror(file);
        return 1;
    }
    char *text = malloc(1 << 20);
    size_t len = text ? fread(text, 1, 1 << 20, f) : 0;
    fclose(f);
    Case c = {.file = file, .text = text, .len = len, .diag = diag};
    IrArena *a = ir_arena_new(diag);
    IrProgram *p = ir_parse(a, file, text, len);
    int failed = !p, graphs = p ? p->n_graphs : 0;
    ir_arena_free(a);
    for (c.graph = 0; c.graph < graphs; c.graph++) {
        for (int level = 0; level <= 2; level++) {
            failed += !check_passes(&c, level, NULL, 2);
        }
    }
    free(text);
    printf("%s: %d graphs, %d failures\n", file, graphs, failed);
    return failed;
}

int main(int argc, char **argv) {
    IrDiag diag;
    int failed = 0;
    ir_diag_init(&diag, "test_semantics");
    if (argc > 2 && strcmp(argv[1], "--random") == 0) {
        failed = check_random(&diag, atoi(argv[2]), argc > 3 ? strtoull(argv[3], NULL, 10) : 1);
    }
    for (int i = 1; argc > 1 && argv[1][0] != '-' && i < argc; i++) {
        failed += check_file(&diag, argv[i]);
    }
    if (argc == 1) {
        glob_t files;
        failed += glob("tests/passes/*/*.ir", 0, NULL, &files) != 0;
        for (size_t i = 0; i < files.gl_pathc; i++) {
            failed += check_file(&diag, files.gl_pathv[i]);
        }
        globfree(&files);
        failed += check_random(&diag, 150, 1);
    }
    return failed != 0;
}
