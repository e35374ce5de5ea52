// See graph_check.h.
#define _GNU_SOURCE
#include "tests/fuzz/graph_check.h"

#include "passes/passes.h"
#include "runtime/core/rt.h"
#include "tests/codegen/rig/guard.h"
#include "tests/codegen/rig/jit.h"
#include "tests/fuzz/reference.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECONDS = 60 }; // that a graph may take in all configurations

const char *const check_status_names[CHECK_STATUSES] = {"timed out", "agrees",  "invalid",
                                                        "refused",   "differs", "crashed"};

typedef struct Config {
    const char *name, *mcpu;
    int opt_level;
    bool plain; // no blocked layout
} Config;

static const Config configs[] = {
    {"-O0", "native", 0, false},
    {"-O2", "native", 2, false},
    {"-O2 plain", "native", 2, true}, // as far as there are kernels for it
};

// A graph's inputs and outputs as they were before the passes.
typedef struct Check {
    int64_t N;
    const Config *config;
    IrArena *arena;
    IrDiag *diag;
    int n_in, n_out;
    const char **in_name, **out_name;
    const IrTensor *in;
    IrTensor *shape;      // of the outputs; data NULL
    const Reference *ref; // NULL: whatever comes out is right
    char dir[64];
} Check;

char *check_print(IrProgram *p) {
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        abort();
    ir_print_program(f, p);
    fclose(f);
    return text;
}

static size_t tensor_bytes(const IrTensor *t) {
    return (size_t)ir_tensor_elems(t) * (size_t)ir_dtype_bytes(t->dtype);
}

// ---------------------------------------------------------------- a run

static bool compare_output(const Check *c, int i, const IrTensor *got, const char *run) {
    double apart = c->ref ? ref_distance(&c->ref->want[i], got) : 0;
    if (!c->ref || apart <= c->ref->tolerance[i])
        return true;
    fprintf(stderr, "%s, %s: output %s (%s) is off by %g, may be by %g\n", c->config->name, run,
            c->out_name[i], ir_dtype_name(got->dtype), apart, c->ref->tolerance[i]);
    return false;
}

// Copies of weights and inputs, read only; then the outputs, filled with NaNs.
static void place_buffers(const Check *c, Guard *guard, HoneModelDesc *desc, const void **src,
                          void **dst) {
    char *weights = guard_alloc(guard, (size_t)desc->weights_bytes, 64, "the weights");
    if (desc->weights_bytes)
        memcpy(weights, desc->weights, (size_t)desc->weights_bytes);
    desc->weights = weights;
    for (int i = 0; i < c->n_in; i++) {
        size_t bytes = tensor_bytes(&c->in[i]);
        void *to = guard_alloc(guard, bytes, 1, "input %.100s", c->in_name[i]);
        if (bytes)
            memcpy(to, c->in[i].data, bytes);
        src[i] = to;
    }
    guard_seal(guard);
    for (int i = 0; i < c->n_out; i++) {
        size_t bytes = tensor_bytes(&c->shape[i]);
        dst[i] = guard_alloc(guard, bytes, 1, "output %.100s", c->out_name[i]);
        memset(dst[i], 0xff, bytes);
    }
}

// The outputs of thread counts after the first must agree with it, out[], bit for bit.
static CheckStatus check_outputs(const Check *c, void *const *dst, IrTensor *out, const char *run) {
    CheckStatus status = CHECK_AGREES;
    for (int i = 0; i < c->n_out; i++) {
        IrTensor got = c->shape[i];
        got.data = dst[i];
        if (!compare_output(c, i, &got, run))
            status = CHECK_DIFFERS;
        if (out[i].data && memcmp(out[i].data, dst[i], tensor_bytes(&got)) != 0) {
            fprintf(stderr, "%s, %s: output %s is not bit for bit as on the first run\n",
                    c->config->name, run, c->out_name[i]);
            status = CHECK_DIFFERS;
        }
        if (!out[i].data) {
            out[i] = got;
            out[i].data = ir_alloc(c->arena, tensor_bytes(&got) + 1);
            memcpy(out[i].data, dst[i], tensor_bytes(&got));
        }
    }
    return status;
}

static CheckStatus run_model(const Check *c, const HoneModelDesc *loaded, int threads, bool at_end,
                             IrTensor *out) {
    int64_t N = loaded->batch_symbolic ? c->N : 1;
    const char *run = ir_sprintf(c->arena, "N = %lld, %d threads", (long long)N, threads);
    Guard *guard = guard_new(at_end, ir_sprintf(c->arena, "%s, %s", c->config->name, run));
    HoneModelDesc desc = *loaded;
    const void **src = ir_alloc_array(c->arena, (size_t)c->n_in + 1, sizeof *src);
    void **dst = ir_alloc_array(c->arena, (size_t)c->n_out + 1, sizeof *dst);
    char err[256] = "";
    HoneOptions opt = {.threads = threads};
    place_buffers(c, guard, &desc, src, dst);
    guard_names(guard, &desc);
    guard_watch(guard);
    HoneModel *m = hone_create(&desc, &opt, err, sizeof err);
    size_t bytes = m ? hone_workspace_bytes(m, N) : 0;
    void *space = guard_alloc(guard, bytes, 64, "the workspace");
    memset(space, 0xff, bytes);
    bool ok = m && hone_set_workspace(m, space, bytes) == 0 &&
              rt_model_observe(m, N, src, dst, guard_observe, guard) == 0;
    if (!ok)
        fprintf(stderr, "%s: %s\n", run, m ? hone_error(m) : err);
    CheckStatus status = ok ? check_outputs(c, dst, out, run) : CHECK_CRASHED;
    hone_destroy(m);
    guard_free(guard);
    return status;
}

// ---------------------------------------------------------------- compiling

static bool compile(Check *c, IrGraph *g, CgTarget *target, CgResult *cg) {
    PassOptions po = {.opt_level = c->config->opt_level,
                      .block = c->config->plain ? 1 : target->lanes,
                      .machine = &target->machine,
                      .verify = true,
                      .out = stderr};
    CgOptions co = {.target = target,
                    .opt_level = c->config->opt_level,
                    .jobs = 1,
                    .symbol = "fuzz",
                    .model_hash = "",
                    .producer = "fuzz"};
    passes_run(g->prog, g, &po, PASS_INFER);
    return c->diag->errors == 0 && cg_compile(g, &co, c->dir, cg) && c->diag->errors == 0;
}

static void remove_files(const char *dir) { // of a compilation that failed, too
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
}

// The NYI lines went to `text`; anything else there is no refusal but a bug.
static CheckStatus judge_refusal(const char *text) {
    for (const char *line = text; *line; line = strchr(line, '\n') + 1)
        if (!strchr(line, '\n') || !memmem(line, strcspn(line, "\n"), "NYI", 3))
            return CHECK_CRASHED;
    return *text ? CHECK_REFUSED : CHECK_CRASHED;
}

// Compiles g, which the passes change, and runs it.
static CheckStatus check_config(Check *c, IrGraph *g) {
    char *said = NULL, err[512];
    size_t size;
    CgTarget target;
    CgResult cg = {0};
    IrTensor *out = ir_alloc_array(c->arena, (size_t)c->n_out + 1, sizeof *out);
    if (!cg_target_init(&target, c->arena, c->config->mcpu, c->diag))
        return CHECK_INVALID;
    FILE *usual = c->diag->out;
    c->diag->out = open_memstream(&said, &size);
    bool ok = compile(c, g, &target, &cg);
    fclose(c->diag->out);
    c->diag->out = usual;
    CheckStatus status = ok ? CHECK_AGREES : judge_refusal(said);
    if (!ok)
        fprintf(stderr, "%s: %s", c->config->name, *said ? said : "failed without a word\n");
    free(said);
    Jit *jit = ok ? jit_load(&cg, "fuzz", err, sizeof err) : NULL;
    remove_files(c->dir);
    if (ok && !jit) {
        fprintf(stderr, "%s: %s\n", c->config->name, err);
        return CHECK_CRASHED;
    }
    for (int threads = 1; jit && threads <= 2 && status == CHECK_AGREES; threads++)
        status = run_model(c, jit_desc(jit), threads, threads == 1, out);
    if (jit)
        jit_free(jit);
    return status == CHECK_REFUSED && c->config->plain ? CHECK_AGREES : status;
}

static bool describe_graph(Check *c, const IrGraph *g) {
    c->n_in = g->n_inputs;
    c->n_out = g->n_outputs;
    c->in_name = ir_alloc_array(c->arena, (size_t)c->n_in + 1, sizeof *c->in_name);
    c->out_name = ir_alloc_array(c->arena, (size_t)c->n_out + 1, sizeof *c->out_name);
    c->shape = ir_alloc_array(c->arena, (size_t)c->n_out + 1, sizeof *c->shape);
    c->in = ref_inputs(g, c->N, c->arena);
    for (int i = 0; i < c->n_in; i++)
        c->in_name[i] = ir_strdup(c->arena, g->inputs[i]->name);
    for (int i = 0; i < c->n_out; i++) {
        c->out_name[i] = ir_strdup(c->arena, g->outputs[i]->name);
        c->shape[i] = ir_tensor_new(c->arena, &g->outputs[i]->type, c->N);
    }
    strcpy(c->dir, "/tmp/hone-fuzz-XXXXXX");
    return mkdtemp(c->dir) != NULL;
}

CheckStatus check_runs(IrGraph *g, int64_t N) {
    static const Config config = {"-O1", "native", 1, false};
    Check c = {.N = N, .config = &config, .arena = g->prog->arena, .diag = g->prog->diag};
    if (!describe_graph(&c, g))
        return CHECK_INVALID;
    CheckStatus status = check_config(&c, g);
    rmdir(c.dir);
    return status;
}

CheckStatus check_graph(const CheckJob *job) {
    IrDiag diag;
    ir_diag_init(&diag, "graph");
    IrArena *a = ir_arena_new(&diag);
    IrProgram *p = ir_parse(a, "graph", job->text, strlen(job->text));
    CheckStatus status = CHECK_INVALID;
    Check c = {.N = job->N, .arena = a, .diag = &diag};
    if (p && p->n_graphs == 1 && describe_graph(&c, p->graphs[0])) {
        Reference ref = ref_evaluate(p->graphs[0], c.N, c.in, job->wrong, a);
        c.ref = &ref;
        status = ref.why ? CHECK_INVALID : CHECK_AGREES;
        for (size_t i = 0; i < sizeof configs / sizeof *configs && status == CHECK_AGREES; i++) {
            c.config = &configs[i];
            diag.errors = 0;
            p = ir_parse(a, "graph", job->text, strlen(job->text));
            status = p ? check_config(&c, p->graphs[0]) : CHECK_INVALID;
        }
        rmdir(c.dir);
    }
    ir_arena_free(a);
    return status;
}

CheckStatus check_in_child(const CheckJob *job, bool quiet) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(SECONDS);
        int null = quiet ? open("/dev/null", O_WRONLY) : -1;
        if (null >= 0) {
            dup2(null, 1);
            dup2(null, 2);
        }
        _exit(100 + (int)check_graph(job));
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        abort();
    if (WIFEXITED(status) && WEXITSTATUS(status) > 100)
        return (CheckStatus)(WEXITSTATUS(status) - 100);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? CHECK_PENDING : CHECK_CRASHED;
}
