// See rig.h.
#define _GNU_SOURCE
#include "tests/codegen/rig.h"

#include "passes/passes.h"
#include "runtime/hone.h"
#include <dlfcn.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Text {
    char *s;
    size_t len, cap;
} Text;

struct Rig {
    IrDiag diag;
    IrArena *arena;
    CgTarget target;
    const char *mcpu;
    int opt_level;
    bool winograd;
    Text consts, inputs, nodes, outputs;
    char *program;
    char dir[64];
    IrGraph *before, *after;
    CgResult cg;
    void *lib;
};

static void append_text(Text *t, const char *sep, const char *fmt, va_list ap) {
    char *line = NULL;
    if (vasprintf(&line, fmt, ap) < 0)
        abort();
    size_t n = strlen(line) + strlen(sep);
    if (t->len + n + 1 > t->cap) {
        t->cap = 2 * (t->cap + n + 1);
        t->s = realloc(t->s, t->cap);
    }
    t->len += (size_t)sprintf(t->s + t->len, "%s%s", t->len ? sep : "", line);
    free(line);
}

#define RIG_APPEND(name, field, sep)                                                               \
    void name(Rig *r, const char *fmt, ...) {                                                      \
        va_list ap;                                                                                \
        va_start(ap, fmt);                                                                         \
        append_text(&r->field, sep, fmt, ap);                                                      \
        va_end(ap);                                                                                \
    }
RIG_APPEND(rig_const, consts, "\nconst ")
RIG_APPEND(rig_input, inputs, ", ")
RIG_APPEND(rig_node, nodes, "\n  ")
RIG_APPEND(rig_output, outputs, ", ")

Rig *rig_new(const char *mcpu, int opt_level) {
    Rig *r = calloc(1, sizeof *r);
    ir_diag_init(&r->diag, "rig");
    r->arena = ir_arena_new(&r->diag);
    r->mcpu = mcpu;
    r->opt_level = opt_level;
    snprintf(r->dir, sizeof r->dir, "/tmp/hone-rig-XXXXXX");
    if (!mkdtemp(r->dir) || !cg_target_init(&r->target, r->arena, mcpu, &r->diag))
        abort();
    return r;
}

void rig_free(Rig *r) {
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", r->dir);
    if (system(cmd) != 0)
        fprintf(stderr, "rig: cannot remove %s\n", r->dir);
    if (r->lib)
        dlclose(r->lib);
    free(r->consts.s);
    free(r->inputs.s);
    free(r->nodes.s);
    free(r->outputs.s);
    free(r->program);
    ir_arena_free(r->arena);
    free(r);
}

// ---------------------------------------------------------------- compiling

static IrGraph *parse_graph(Rig *r) {
    IrProgram *p = ir_parse(r->arena, "rig", r->program, strlen(r->program));
    return p ? p->graphs[0] : NULL;
}

void rig_winograd(Rig *r, bool on) {
    r->winograd = on;
}
IrGraph *rig_graph(Rig *r) {
    return r->after;
}

const char *rig_compile(Rig *r, CgResult *result) {
    if (asprintf(&r->program, "%s%s\ngraph infer(%s) -> (%s) {\n  %s\n}\n",
                 r->consts.len ? "const " : "", r->consts.len ? r->consts.s : "",
                 r->inputs.len ? r->inputs.s : "", r->outputs.s, r->nodes.s) < 0)
        abort();
    r->before = parse_graph(r);
    r->after = r->before ? parse_graph(r) : NULL;
    if (!r->after) {
        fprintf(stderr, "%s", r->program);
        return NULL;
    }
    PassOptions po = {.opt_level = r->opt_level,
                      .block = r->target.lanes,
                      .vector_registers = r->target.vector_registers,
                      .winograd = r->winograd,
                      .verify = true,
                      .out = stdout};
    passes_run(r->after->prog, r->after, &po);
    CgOptions co = {.target = &r->target,
                    .opt_level = r->opt_level,
                    .jobs = 2,
                    .symbol = "rig",
                    .model_hash = "",
                    .producer = "rig"};
    bool ok = cg_compile(r->after, &co, r->dir, &r->cg);
    if (result)
        *result = r->cg;
    return ok ? r->dir : NULL;
}

// The emitted code calls the runtime of this process.
static const char stub[] = "void (*rig_barrier)(const void *, int, int);\n"
                           "unsigned long long (*rig_now)(void);\n"
                           "void hone_rt_barrier(const void *c, int t, int n)"
                           " { rig_barrier(c, t, n); }\n"
                           "unsigned long long hone_rt_now(void) { return rig_now(); }\n";

static bool link_library(Rig *r, const char *so) {
    const char *c = ir_sprintf(r->arena, "%s/stub.c", r->dir);
    FILE *f = fopen(c, "w");
    if (!f)
        return false;
    fputs(stub, f);
    fclose(f);
    char *line = ir_sprintf(r->arena, "cc -shared -fPIC -o %s %s", so, c);
    for (int i = 0; i < r->cg.n_files; i++)
        line = ir_sprintf(r->arena, "%s %s", line, r->cg.files[i]);
    return system(ir_sprintf(r->arena, "%s -lm", line)) == 0;
}

static bool set_symbol(void *lib, const char *name, void *to) {
    void **p = dlsym(lib, name);
    if (p)
        *p = to;
    return p;
}

struct HoneModel *rig_load(Rig *r, int threads, bool *skip) {
    *skip = false;
    const char *so = ir_sprintf(r->arena, "%s/rig.so", r->dir);
    if (!r->lib) {
        if (!link_library(r, so) || !(r->lib = dlopen(so, RTLD_NOW | RTLD_LOCAL))) {
            fprintf(stderr, "rig: cannot link or load: %s\n", r->lib ? "" : dlerror());
            return NULL;
        }
        if (!set_symbol(r->lib, "rig_barrier", (void *)hone_rt_barrier) ||
            !set_symbol(r->lib, "rig_now", (void *)hone_rt_now))
            return NULL;
    }
    const HoneModelDesc *desc = dlsym(r->lib, "rig_desc");
    char err[256] = "no descriptor";
    HoneOptions opt = {.threads = threads};
    HoneModel *m = desc ? hone_create(desc, &opt, err, sizeof err) : NULL;
    *skip = !m && strstr(err, "needs") != NULL;
    if (!m)
        fprintf(stderr, "rig: %s: %s\n", r->mcpu, err);
    return m;
}

// ---------------------------------------------------------------- running

static IrTensor *make_inputs(Rig *r, int64_t N, IrArena *a) {
    const IrGraph *g = r->before;
    IrTensor *in = ir_alloc_array(a, (size_t)g->n_inputs + 1, sizeof *in);
    uint64_t state = 42;
    for (int i = 0; i < g->n_inputs; i++) {
        in[i] = ir_tensor_new(a, &g->inputs[i]->type, N);
        bool whole = !ir_dtype_is_float(in[i].dtype);
        for (int64_t k = 0; k < ir_tensor_elems(&in[i]); k++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            double x = (double)(state >> 40) / (1 << 23) - 1;
            ir_tensor_set(&in[i], k, whole ? floor(8.5 * x) : x);
        }
    }
    return in;
}

static bool run_model(Rig *r, HoneModel *m, int64_t N, const IrTensor *in, IrTensor *out,
                      IrArena *a) {
    const IrGraph *g = r->before;
    const void **src = ir_alloc_array(a, (size_t)g->n_inputs + 1, sizeof *src);
    void **dst = ir_alloc_array(a, (size_t)g->n_outputs + 1, sizeof *dst);
    for (int i = 0; i < g->n_inputs; i++)
        src[i] = in[i].data;
    for (int i = 0; i < g->n_outputs; i++) {
        out[i] = ir_tensor_new(a, &g->outputs[i]->type, N);
        dst[i] = out[i].data;
    }
    size_t bytes = hone_workspace_bytes(m, N);
    void *ws = ir_alloc(a, bytes > 64 ? bytes : 64);
    memset(ws, 0xff, bytes);
    if (hone_set_workspace(m, ws, bytes) == 0 && hone_run(m, N, src, dst) == 0)
        return true;
    fprintf(stderr, "rig: run failed: %s\n", hone_error(m));
    return false;
}

// Prints the first wrong element. `at`: where it is.
static bool compare_output(Rig *r, int i, const IrTensor *want, const IrTensor *got,
                           double tolerance, const char *run) {
    int64_t n = ir_tensor_elems(want), bad = 0, first = -1;
    double top = 1e-6;
    for (int64_t k = 0; k < n; k++)
        if (isfinite(ir_tensor_get(want, k)))
            top = fmax(top, fabs(ir_tensor_get(want, k)));
    for (int64_t k = 0; k < n; k++) {
        double x = ir_tensor_get(want, k), y = ir_tensor_get(got, k);
        bool same = isfinite(x) ? fabs(x - y) <= tolerance * top : x == y || (isnan(x) && isnan(y));
        if (!same && bad++ == 0)
            first = k;
    }
    if (bad == 0)
        return true;
    char type[160];
    fprintf(stderr, "rig: %s %s %s: %s: %lld of %lld wrong, first [%lld] is %.9g, not %.9g\n",
            r->mcpu, r->before->outputs[i]->name,
            ir_type_print(&r->before->outputs[i]->type, type, sizeof type), run, (long long)bad,
            (long long)n, (long long)first, ir_tensor_get(got, first), ir_tensor_get(want, first));
    return false;
}

static int check_run(Rig *r, HoneModel *m, int64_t N, int threads, const IrTensor *in,
                     const IrTensor *want, IrTensor *first, double tolerance, IrArena *a) {
    int n = r->before->n_outputs, failures = 0;
    IrTensor *got = ir_alloc_array(a, (size_t)n, sizeof *got);
    if (!run_model(r, m, N, in, got, a))
        return 1;
    const char *run = ir_sprintf(a, "N = %lld, %d threads", (long long)N, threads);
    for (int i = 0; i < n; i++) {
        failures += !compare_output(r, i, &want[i], &got[i], tolerance, run);
        size_t bytes = (size_t)ir_tensor_elems(&got[i]) * (size_t)ir_dtype_bytes(got[i].dtype);
        if (first[i].data && memcmp(first[i].data, got[i].data, bytes) != 0) {
            fprintf(stderr, "rig: %s %s: %s: not bit for bit as on the first run\n", r->mcpu,
                    r->before->outputs[i]->name, run);
            failures++;
        }
        if (!first[i].data)
            first[i] = got[i];
    }
    return failures;
}

int rig_check(Rig *r, const RigRuns *runs) {
    if (!rig_compile(r, NULL))
        return 1;
    int failures = 0, n = r->before->n_outputs;
    double tolerance = runs->tolerance > 0 ? runs->tolerance : 2e-5;
    for (int k = 0; k < runs->n; k++) {
        IrArena *a = ir_arena_new(&r->diag);
        IrTensor *in = make_inputs(r, runs->N[k], a);
        IrTensor *want = ir_alloc_array(a, (size_t)n, sizeof *want);
        IrTensor *first = ir_alloc_array(a, (size_t)n, sizeof *first);
        const char *why = ir_eval(r->before, runs->N[k], in, want, a, NULL, NULL);
        if (why) {
            fprintf(stderr, "rig: evaluator: %s\n", why);
            failures++;
        }
        for (int t = 0; !why && t < runs->n_threads; t++) {
            bool skip;
            HoneModel *m = rig_load(r, runs->threads[t], &skip);
            if (!m) {
                ir_arena_free(a);
                return failures + !skip;
            }
            failures +=
                check_run(r, m, runs->N[k], runs->threads[t], in, want, first, tolerance, a);
            hone_destroy(m);
        }
        ir_arena_free(a);
    }
    return failures;
}
