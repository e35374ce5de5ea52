// Checks of gradients: a graph as text, its autodiff, finite differences. The helper of
// test_grad_*.c.
//
// Inputs are written  %NAME: T[dims]; T stands for f64 or, for the passes of an inference graph,
// f32. %two and %three are constants, and tables for resize: %near copies 3 pixels to 6, %line and
// %line_w make 5 of 3 from two each, %cubic and %cubic_w 2 of 4 from four each. Floats are
// differentiated unless their name starts with '_'. Values are random in [-1, 1), or in [0.5, 1.5)
// where the name holds "pos"; integers are 0 .. 2; bools either.
#ifndef TESTS_PASSES_TRAIN_GRAD_CASE_H
#define TESTS_PASSES_TRAIN_GRAD_CASE_H

#include "ir/random.h"
#include "passes/train/autodiff.h"
#include "tests/check.h"
#include "tests/machine.h"
#include <stdlib.h>

typedef struct GradCase {
    const char *name, *inputs, *body; // body: node lines; the last defines %y
    double step;                      // of the differences; 0: 1e-5
    int64_t N;                        // 0: 2
} GradCase;

enum { GRAD_MAX_INPUTS = 10, GRAD_MAX_CHECKS = 24 };

typedef struct GradGraph {
    IrGraph *g;
    int n_own; // inputs but the seed
    int n_wrt;
    int wrt[GRAD_MAX_INPUTS]; // input numbers
} GradGraph;

static IrGraph *grad_parse(IrArena *a, const GradCase *c, const char *dtype) {
    char *text =
        ir_sprintf(a,
                   "const %%two: T[] = splat(2)\nconst %%three: T[] = splat(3)\n"
                   "const %%near: i32[1,6] = [0, 0, 1, 1, 2, 2]\n"
                   "const %%line: i32[2,5] = [0, 0, 0, 1, 1, 0, 1, 1, 2, 2]\n"
                   "const %%line_w: T[2,5] = [1, 0.75, 0.25, 0.5, 0, 0, 0.25, 0.75, 0.5, 1]\n"
                   "const %%cubic: i32[4,2] = [0, 0, 0, 2, 1, 3, 2, 3]\n"
                   "const %%cubic_w: T[4,2] = [-0.1, 0.2, 0.6, -0.3, 0.55, 1.2, -0.05, -0.1]\n"
                   "graph g(%s) -> (%%y) {\n%s\n}\n",
                   c->inputs, c->body);
    char *out = ir_alloc(a, 2 * strlen(text) + 1);
    for (char *p = text, *q = out; *p; p++) {
        bool type = *p == 'T' && p[1] == '[' && (p == text || p[-1] == ' ' || p[-1] == ':');
        q += sprintf(q, "%s", type ? dtype : (char[]){*p, 0});
    }
    IrProgram *p = ir_parse(a, c->name, out, strlen(out));
    return p ? p->graphs[0] : NULL;
}

static void grad_fill(IrTensor *t, const char *name, uint64_t seed) {
    uint64_t key = ir_random_key(seed);
    for (int64_t i = 0; i < ir_tensor_elems(t); i++) {
        uint32_t r = ir_random_u32(key, (uint64_t)i);
        double x = strstr(name, "pos") ? 0.5 + r / 4294967296.0 : r / 2147483648.0 - 1;
        ir_tensor_set(t, i,
                      ir_dtype_is_float(t->dtype) ? (float)x
                      : t->dtype == IR_BOOL       ? r & 1
                                                  : r % 3);
    }
}

// The graph with its gradients as further outputs, and the input "seed".
static bool grad_build(IrArena *a, IrGraph *g, GradGraph *out) {
    PassOptions opt = {.opt_level = 2, .block = 8, .machine = machine_of(a, "x86-64-v3")};
    PassContext ctx = {.scratch = a, .prog = g->prog, .opt = &opt};
    IrValue *wrt[GRAD_MAX_INPUTS], *grad[GRAD_MAX_INPUTS];
    *out = (GradGraph){.g = g, .n_own = g->n_inputs};
    for (int i = 0; i < g->n_inputs; i++) {
        if (g->inputs[i]->name[0] != '_' && ir_dtype_is_float(g->inputs[i]->type.dtype)) {
            wrt[out->n_wrt] = g->inputs[i];
            out->wrt[out->n_wrt++] = i;
        }
    }
    AutodiffSeed seed = {g->outputs[0], ir_input(g, "seed", g->outputs[0]->type)};
    AutodiffSpec spec = {1, out->n_wrt, &seed, wrt};
    if (!CHECK(pass_autodiff(&ctx, g, &spec, grad))) {
        return false;
    }
    for (int i = 0; i < out->n_wrt; i++) {
        ir_output(g, grad[i]);
        g->outputs[1 + i]->name = ir_sprintf(a, "grad:%d", i);
    }
    const char *wrong = ir_verify(g);
    CHECK_STR_EQ(wrong, NULL);
    return !wrong;
}

static double grad_dot(const IrTensor *x, const IrTensor *y) {
    double sum = 0;
    for (int64_t i = 0; i < ir_tensor_elems(x); i++) {
        sum += ir_tensor_get(x, i) * ir_tensor_get(y, i);
    }
    return sum;
}

// <seed, y> by the forward graph with element i of input k moved by `by`.
static double grad_value(IrGraph *forward, int64_t N, IrTensor *in, const IrTensor *seed, int k,
                         int64_t i, double by, IrDiag *diag) {
    IrArena *a = ir_arena_new(diag);
    IrTensor y = {0};
    double had = ir_tensor_get(&in[k], i);
    ir_tensor_set(&in[k], i, had + by);
    const char *why = ir_eval(forward, N, in, &y, a, NULL, NULL);
    ir_tensor_set(&in[k], i, had);
    double sum = why ? NAN : grad_dot(&y, seed);
    ir_arena_free(a);
    return sum;
}

static void grad_compare_outputs(const char *name, const char *what, const IrTensor *x,
                                 const IrTensor *y, int n, double tolerance) {
    for (int k = 0; k < n; k++) {
        double top = 1e-3, worst = 0;
        for (int64_t i = 0; i < ir_tensor_elems(&x[k]); i++) {
            top = fmax(top, fabs(ir_tensor_get(&x[k], i)));
            worst = fmax(worst, fabs(ir_tensor_get(&x[k], i) - ir_tensor_get(&y[k], i)));
        }
        if (!CHECK(worst <= tolerance * top)) {
            fprintf(stderr, "  %s, %s: output %d off by %g of %g\n", name, what, k, worst, top);
        }
    }
}

// Gradients by autodiff against central differences, then the passes on them: expand_dgrad on the
// f64 graph changes nothing but the order of sums; all of -O2 on an f32 graph agrees with f64.
static void grad_check(const GradCase *c) {
    IrDiag diag;
    ir_diag_init(&diag, c->name);
    IrArena *a = ir_arena_new(&diag);
    int64_t N = c->N ? c->N : 2;
    double step = c->step ? c->step : 1e-5;
    IrGraph *forward = grad_parse(a, c, "f64"), *graph = grad_parse(a, c, "f64");
    IrGraph *single = grad_parse(a, c, "f32");
    GradGraph b, s;
    IrTensor in[GRAD_MAX_INPUTS], in32[GRAD_MAX_INPUTS];
    IrTensor out[GRAD_MAX_INPUTS], again[GRAD_MAX_INPUTS];
    if (!CHECK(forward && graph && single) || !grad_build(a, graph, &b) ||
        !grad_build(a, single, &s)) {
        fprintf(stderr, "  %s\n", c->name);
        ir_arena_free(a);
        return;
    }
    for (int i = 0; i < graph->n_inputs; i++) {
        in[i] = ir_tensor_new(a, &graph->inputs[i]->type, N);
        in32[i] = ir_tensor_new(a, &single->inputs[i]->type, N);
        grad_fill(&in[i], graph->inputs[i]->name, (uint64_t)i + 7);
        grad_fill(&in32[i], graph->inputs[i]->name, (uint64_t)i + 7);
    }
    const char *why = ir_eval(graph, N, in, out, a, NULL, NULL);
    CHECK_STR_EQ(why, NULL);
    for (int k = 0; k < b.n_wrt && !why; k++) {
        const IrTensor *dx = &out[1 + k];
        int64_t n = ir_tensor_elems(dx), by = n / GRAD_MAX_CHECKS + 1;
        for (int64_t i = 0; i < n; i += by) {
            double up = grad_value(forward, N, in, &in[b.n_own], b.wrt[k], i, step, &diag);
            double down = grad_value(forward, N, in, &in[b.n_own], b.wrt[k], i, -step, &diag);
            double got = ir_tensor_get(dx, i), want = (up - down) / (2 * step);
            if (!CHECK_NEAR(got, want, 1e-6 + 1e-4 * fabs(want))) {
                fprintf(stderr, "  %s: d %s[%lld]\n", c->name, graph->inputs[b.wrt[k]]->name,
                        (long long)i);
                break;
            }
        }
    }
    PassOptions opt = {
        .opt_level = 2, .block = 8, .machine = machine_of(a, "x86-64-v3"), .verify = true};
    CHECK(passes_run_named(graph->prog, graph, &opt, "expand_dgrad,dce"));
    why = why ? why : ir_eval(graph, N, in, again, a, NULL, NULL);
    CHECK_STR_EQ(why, NULL);
    if (!why) {
        grad_compare_outputs(c->name, "expand_dgrad", out, again, graph->n_outputs, 1e-12);
    }
    CHECK(passes_run_named(single->prog, single, &opt, "expand_dgrad"));
    passes_run(single->prog, single, &opt, PASS_INFER);
    why = why ? why : ir_eval(single, N, in32, again, a, NULL, NULL);
    CHECK_STR_EQ(why, NULL);
    if (!why) {
        grad_compare_outputs(c->name, "-O2", out, again, graph->n_outputs, 2e-4);
    }
    ir_arena_free(a);
}

static void grad_check_all(int n, const GradCase *cases) {
    for (int i = 0; i < n; i++) {
        grad_check(&cases[i]);
    }
}

#define GRAD_CHECK_ALL(cases) grad_check_all((int)(sizeof(cases) / sizeof *(cases)), cases)

#endif
