// See rig.h.
#define _GNU_SOURCE
#include "tests/codegen/rig/rig.h"

#include "passes/passes.h"
#include "runtime/core/rt.h"
#include "tests/codegen/rig/amx.h"
#include "tests/codegen/rig/foreign.h"
#include "tests/codegen/rig/guard.h"
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
    bool winograd, amx;
    HoneModelDesc without; // what is asked of the CPU without AMX
    uint32_t needs[64];
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

int rig_count(Rig *r, const char *algo) {
    bool skip;
    HoneModel *m = rig_load(r, 1, &skip);
    const HoneModelDesc *d = m ? rt_model_desc(m) : NULL;
    int n = m ? 0 : -1;
    for (int i = 0; m && i < d->n_nodes; i++)
        n += strstr(d->nodes[i].algo, algo) != NULL;
    hone_destroy(m);
    return n;
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

void rig_amx(Rig *r) {
    r->amx = true;
    amx_enable();
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
                      .machine = &r->target.machine,
                      .bf16_tiles = ir_has_tiles_of_bf16(&r->target.machine),
                      .winograd = r->winograd,
                      .verify = true,
                      .out = stdout};
    passes_run(r->after->prog, r->after, &po, PASS_INFER);
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

static bool link_library(Rig *r, const char *so) {
    char *line = ir_sprintf(r->arena, "cc -shared -fPIC -o %s", so);
    for (int i = 0; i < r->cg.n_files; i++)
        line = ir_sprintf(r->arena, "%s %s", line, r->cg.files[i]);
    return system(ir_sprintf(r->arena, "%s -lm", line)) == 0;
}

static const HoneModelDesc *load_desc(Rig *r) {
    const char *so = ir_sprintf(r->arena, "%s/rig.so", r->dir);
    if (!r->lib) {
        if (!link_library(r, so) || !(r->lib = dlopen(so, RTLD_NOW | RTLD_LOCAL))) {
            fprintf(stderr, "rig: cannot link or load: %s\n", r->lib ? "" : dlerror());
            return NULL;
        }
    }
    return dlsym(r->lib, "rig_desc");
}

static HoneModel *create_model(Rig *r, const HoneModelDesc *desc, int threads, bool *skip) {
    *skip = false;
    char err[256] = "no descriptor";
    HoneOptions opt = {.threads = threads};
    if (desc && r->amx) {
        r->without = *desc;
        amx_enabled_needs(&r->without, r->needs);
        desc = &r->without;
    }
    HoneModel *m = desc ? hone_create(desc, &opt, err, sizeof err) : NULL;
    *skip = !m && strstr(err, "needs") != NULL;
    if (!m)
        fprintf(stderr, "rig: %s: %s\n", r->mcpu, err);
    return m;
}

struct HoneModel *rig_load(Rig *r, int threads, bool *skip) {
    return create_model(r, load_desc(r), threads, skip);
}

// ---------------------------------------------------------------- running

static size_t tensor_bytes(const IrTensor *t) {
    return (size_t)ir_tensor_elems(t) * (size_t)ir_dtype_bytes(t->dtype);
}

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

// A run between guard pages: where it is, and what it makes.
typedef struct Run {
    int64_t N;
    int threads;
    bool at_end; // buffers end at a page's end, else they start at a page's start
    const char *text;
    const IrTensor *in;
    IrTensor *out;
} Run;

static void *place_copy(Guard *g, const void *data, size_t bytes, size_t align, const char *label) {
    void *p = guard_alloc(g, bytes, align, "%s", label);
    if (bytes)
        memcpy(p, data, bytes);
    return p;
}

// Copies of the weights and the inputs, then read only.
static const void **place_inputs(Rig *r, Guard *g, HoneModelDesc *desc, const Run *run,
                                 IrArena *a) {
    const IrGraph *graph = r->before;
    const void **src = ir_alloc_array(a, (size_t)graph->n_inputs + 1, sizeof *src);
    desc->weights = place_copy(g, desc->weights, (size_t)desc->weights_bytes, 64, "the weights");
    for (int i = 0; i < graph->n_inputs; i++)
        src[i] = place_copy(g, run->in[i].data, tensor_bytes(&run->in[i]), 1,
                            ir_sprintf(a, "input %s", graph->inputs[i]->name));
    guard_seal(g);
    return src;
}

static bool run_model(Rig *r, HoneModel *m, Guard *g, const Run *run, const void *const *src,
                      IrArena *a) {
    const IrGraph *graph = r->before;
    void **dst = ir_alloc_array(a, (size_t)graph->n_outputs + 1, sizeof *dst);
    for (int i = 0; i < graph->n_outputs; i++) {
        run->out[i] = ir_tensor_new(a, &graph->outputs[i]->type, run->N);
        dst[i] =
            guard_alloc(g, tensor_bytes(&run->out[i]), 1, "output %s", graph->outputs[i]->name);
    }
    size_t bytes = hone_workspace_bytes(m, run->N);
    void *ws = guard_alloc(g, bytes, 64, "the workspace");
    memset(ws, 0xff, bytes);
    if (hone_set_workspace(m, ws, bytes) != 0 ||
        rt_model_observe(m, run->N, src, dst, guard_observe, g) != 0) {
        fprintf(stderr, "rig: run failed: %s\n", hone_error(m));
        return false;
    }
    for (int i = 0; i < graph->n_outputs; i++)
        if (tensor_bytes(&run->out[i]))
            memcpy(run->out[i].data, dst[i], tensor_bytes(&run->out[i]));
    return true;
}

static bool run_guarded(Rig *r, const Run *run, bool *skip, IrArena *a) {
    const HoneModelDesc *loaded = load_desc(r);
    *skip = false;
    if (!loaded)
        return false;
    HoneModelDesc desc = *loaded;
    Guard *g = guard_new(run->at_end, ir_sprintf(a, "%s, %s", r->mcpu, run->text));
    const void **src = place_inputs(r, g, &desc, run, a);
    guard_names(g, &desc);
    guard_watch(g);
    HoneModel *m = create_model(r, &desc, run->threads, skip);
    bool ok = m && run_model(r, m, g, run, src, a);
    hone_destroy(m);
    guard_free(g);
    return ok;
}

// Integers agree bit for bit.
static bool same_element(const IrTensor *want, const IrTensor *got, int64_t k, double limit) {
    double x = ir_tensor_get(want, k), y = ir_tensor_get(got, k);
    size_t bytes = (size_t)ir_dtype_bytes(want->dtype), at = (size_t)k * bytes;
    if (!ir_dtype_is_float(want->dtype))
        return memcmp((char *)want->data + at, (char *)got->data + at, bytes) == 0;
    return isfinite(x) ? fabs(x - y) <= limit : x == y || (isnan(x) && isnan(y));
}

// What a rounding of a dtype of another precision than f32 allows.
static double tolerance_of(IrDtype t, double tolerance) {
    return t == IR_F16    ? fmax(tolerance, 1e-3)
           : t == IR_BF16 ? fmax(tolerance, 8e-3)
           : t == IR_F64  ? fmin(tolerance, 1e-10)
                          : tolerance;
}

// Prints the first wrong element. `at`: where it is.
static bool compare_output(Rig *r, int i, const IrTensor *want, const IrTensor *got,
                           double tolerance, const char *run) {
    int64_t n = ir_tensor_elems(want), bad = 0, first = -1;
    double top = 1e-6;
    for (int64_t k = 0; k < n; k++)
        if (isfinite(ir_tensor_get(want, k)))
            top = fmax(top, fabs(ir_tensor_get(want, k)));
    double limit = tolerance_of(want->dtype, tolerance) * top;
    for (int64_t k = 0; k < n; k++)
        if (!same_element(want, got, k, limit) && bad++ == 0)
            first = k;
    if (bad == 0)
        return true;
    char type[160];
    fprintf(stderr, "rig: %s %s %s: %s: %lld of %lld wrong, first [%lld] is %.9g, not %.9g\n",
            r->mcpu, r->before->outputs[i]->name,
            ir_type_print(&r->before->outputs[i]->type, type, sizeof type), run, (long long)bad,
            (long long)n, (long long)first, ir_tensor_get(got, first), ir_tensor_get(want, first));
    return false;
}

// Against the evaluator, and bit for bit against the first run. -1: this CPU cannot run it.
static int check_run(Rig *r, Run *run, const IrTensor *want, IrTensor *first, double tolerance,
                     IrArena *a) {
    int n = r->before->n_outputs, failures = 0;
    bool skip;
    run->out = ir_alloc_array(a, (size_t)n, sizeof *run->out);
    run->text = ir_sprintf(a, "N = %lld, %d threads", (long long)run->N, run->threads);
    if (!run_guarded(r, run, &skip, a))
        return skip ? -1 : 1;
    for (int i = 0; i < n; i++) {
        const IrTensor *got = &run->out[i];
        failures += !compare_output(r, i, &want[i], got, tolerance, run->text);
        if (first[i].data && memcmp(first[i].data, got->data, tensor_bytes(got)) != 0) {
            fprintf(stderr, "rig: %s %s: %s: not bit for bit as on the first run\n", r->mcpu,
                    r->before->outputs[i]->name, run->text);
            failures++;
        }
        if (!first[i].data)
            first[i] = *got;
    }
    return failures;
}

// On another kind of machine, emulated here; skipped where nothing does that.
static int check_foreign(Rig *r, int64_t N, const IrTensor *in, const IrTensor *want,
                         double tolerance, IrArena *a) {
    const char *missing = foreign_missing();
    if (missing) {
        printf("rig: %s: skipped: there is no %s\n", r->mcpu, missing);
        return 0;
    }
    int n = r->before->n_outputs, failures = 0;
    IrTensor *out = ir_alloc_array(a, (size_t)n + 1, sizeof *out);
    for (int i = 0; i < n; i++)
        out[i] = ir_tensor_new(a, &r->before->outputs[i]->type, N);
    Foreign f = {&r->cg, r->dir, "rig", r->mcpu, r->before->n_inputs, n, n};
    if (foreign_run(&f, N, in, out, a) != FOREIGN_RAN)
        return 1;
    const char *text = ir_sprintf(a, "N = %lld", (long long)N);
    for (int i = 0; i < n; i++)
        failures += !compare_output(r, i, &want[i], &out[i], tolerance, text);
    return failures;
}

// All numbers of threads; the first one runs with its buffers at both ends of their pages, the
// others at one of them.
static int check_batch(Rig *r, const RigRuns *runs, int64_t N, IrArena *a) {
    size_t n = (size_t)r->before->n_outputs;
    IrTensor *want = ir_alloc_array(a, n, sizeof *want),
             *first = ir_alloc_array(a, n, sizeof *want);
    const IrTensor *in = make_inputs(r, N, a);
    const char *why = ir_eval(r->before, N, in, want, a, NULL, NULL);
    double tolerance = runs->tolerance > 0 ? runs->tolerance : 2e-5;
    int failures = 0;
    if (why) {
        fprintf(stderr, "rig: evaluator: %s\n", why);
        return 1;
    }
    if (!cg_target_is_host(&r->target))
        return check_foreign(r, N, in, want, tolerance, a);
    for (int t = -1; t < runs->n_threads; t++) {
        Run run = {.N = N, .threads = runs->threads[t < 0 ? 0 : t], .at_end = t % 2 != 0, .in = in};
        int k = check_run(r, &run, want, first, tolerance, a);
        if (k < 0)
            break;
        failures += k;
    }
    return failures;
}

int rig_check(Rig *r, const RigRuns *runs) {
    if (!rig_compile(r, NULL))
        return 1;
    int failures = 0;
    for (int k = 0; k < runs->n; k++) {
        IrArena *a = ir_arena_new(&r->diag);
        failures += check_batch(r, runs, runs->N[k], a);
        ir_arena_free(a);
    }
    return failures;
}
