// See graph_check.h.
#define _GNU_SOURCE
#include "tests/fuzz/graph_check.h"

#include "passes/passes.h"
#include "runtime/core/rt.h"
#include "tests/codegen/rig/foreign.h"
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

// What goes in and comes out at a batch size.
typedef struct Batch {
    int64_t N;
    const IrTensor *in;
    IrTensor *shape; // of the outputs; data NULL
    Reference ref;   // want NULL: whatever comes out is right
} Batch;

// A graph's inputs and outputs as they were before the passes.
typedef struct Check {
    const Config *config;
    IrArena *arena;
    IrDiag *diag;
    int n_in, n_out;
    const char **in_name, **out_name;
    bool symbolic; // the batch size matters
    bool checks;   // a run may end with an error: data that leaves what there is room for
    int n;
    Batch batch[CHECK_BATCHES];
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

static bool compare_output(const Check *c, const Batch *b, int i, const IrTensor *got,
                           const char *run) {
    double apart = b->ref.want ? ref_distance(&b->ref.want[i], got) : 0;
    if (!b->ref.want || apart <= b->ref.tolerance[i])
        return true;
    fprintf(stderr, "%s, %s: output %s (%s) is off by %g, may be by %g\n", c->config->name, run,
            c->out_name[i], ir_dtype_name(got->dtype), apart, b->ref.tolerance[i]);
    return false;
}

// Copies of weights and inputs, read only; then the outputs, filled with NaNs.
static void place_buffers(const Check *c, const Batch *b, Guard *guard, HoneModelDesc *desc,
                          const void **src, void **dst) {
    char *weights = guard_alloc(guard, (size_t)desc->weights_bytes, 64, "the weights");
    if (desc->weights_bytes)
        memcpy(weights, desc->weights, (size_t)desc->weights_bytes);
    desc->weights = weights;
    for (int i = 0; i < c->n_in; i++) {
        size_t bytes = tensor_bytes(&b->in[i]);
        void *to = guard_alloc(guard, bytes, 1, "input %.100s", c->in_name[i]);
        if (bytes)
            memcpy(to, b->in[i].data, bytes);
        src[i] = to;
    }
    guard_seal(guard);
    for (int i = 0; i < c->n_out; i++) {
        size_t bytes = tensor_bytes(&b->shape[i]);
        dst[i] = guard_alloc(guard, bytes, 1, "output %.100s", c->out_name[i]);
        memset(dst[i], 0xff, bytes);
    }
}

// The outputs of thread counts after the first must agree with it, out[], bit for bit.
static CheckStatus check_outputs(const Check *c, const Batch *b, void *const *dst, IrTensor *out,
                                 const char *run) {
    CheckStatus status = CHECK_AGREES;
    for (int i = 0; i < c->n_out; i++) {
        IrTensor got = b->shape[i];
        got.data = dst[i];
        if (!compare_output(c, b, i, &got, run))
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

static CheckStatus run_model(const Check *c, const Batch *b, const HoneModelDesc *loaded,
                             int threads, bool at_end, IrTensor *out) {
    int64_t N = loaded->batch_symbolic ? b->N : 1;
    const char *run = ir_sprintf(c->arena, "N = %lld, %d threads", (long long)N, threads);
    Guard *guard = guard_new(at_end, ir_sprintf(c->arena, "%s, %s", c->config->name, run));
    HoneModelDesc desc = *loaded;
    const void **src = ir_alloc_array(c->arena, (size_t)c->n_in + 1, sizeof *src);
    void **dst = ir_alloc_array(c->arena, (size_t)c->n_out + 1, sizeof *dst);
    char err[256] = "";
    HoneOptions opt = {.threads = threads};
    place_buffers(c, b, guard, &desc, src, dst);
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
    CheckStatus status = ok               ? check_outputs(c, b, dst, out, run)
                         : m && c->checks ? CHECK_REFUSED
                                          : CHECK_CRASHED;
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

// All threads counts at all batch sizes; once where these do not matter.
static CheckStatus run_all(const Check *c, const HoneModelDesc *loaded) {
    CheckStatus status = CHECK_AGREES;
    for (int k = 0; k < (c->symbolic ? c->n : 1); k++) {
        IrTensor *out = ir_alloc_array(c->arena, (size_t)c->n_out + 1, sizeof *out);
        for (int threads = 1; threads <= 2 && status == CHECK_AGREES; threads++)
            status = run_model(c, &c->batch[k], loaded, threads, threads == 1, out);
    }
    return status;
}

// The same in another kind of machine, emulated.
static CheckStatus run_foreign(const Check *c, const CgResult *cg, const IrGraph *g) {
    Foreign f = {cg, c->dir, "fuzz", c->config->mcpu, c->n_in, c->n_out, ir_own_outputs(g)};
    for (int k = 0; k < (c->symbolic ? c->n : 1); k++) {
        const Batch *b = &c->batch[k];
        ForeignEnd end = foreign_run(&f, c->symbolic ? b->N : 1, b->in, b->shape, c->arena);
        if (end != FOREIGN_RAN)
            return end == FOREIGN_ENDED && c->checks ? CHECK_REFUSED : CHECK_CRASHED;
        for (int i = 0; i < c->n_out; i++)
            if (!compare_output(c, b, i, &b->shape[i],
                                ir_sprintf(c->arena, "N = %lld", (long long)b->N)))
                return CHECK_DIFFERS;
    }
    return CHECK_AGREES;
}

// Compiles g, which the passes change, and runs it.
static CheckStatus check_config(Check *c, IrGraph *g) {
    char *said = NULL, err[512];
    size_t size;
    CgTarget target;
    CgResult cg = {0};
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
    if (ok && !cg_target_is_host(&target)) {
        status = run_foreign(c, &cg, g);
        remove_files(c->dir);
        return status;
    }
    Jit *jit = ok ? jit_load(&cg, "fuzz", err, sizeof err) : NULL;
    remove_files(c->dir);
    if (ok && !jit) {
        fprintf(stderr, "%s: %s\n", c->config->name, err);
        return CHECK_CRASHED;
    }
    if (jit) {
        status = run_all(c, jit_desc(jit));
        jit_free(jit);
    }
    return status == CHECK_REFUSED && c->config->plain ? CHECK_AGREES : status;
}

static bool is_symbolic(const IrGraph *g) {
    for (int i = 0; i < g->n_inputs; i++)
        if (!ir_shape_is_static(&g->inputs[i]->type.shape))
            return true;
    return false;
}

static bool has_checks(const IrGraph *g) {
    for (const IrNode *n = g->first; n; n = n->next)
        if (n->op == IR_OP_CHECK)
            return true;
    return false;
}

static bool describe_graph(Check *c, const IrGraph *g, int n, const int64_t *N) {
    c->n_in = g->n_inputs;
    c->n_out = g->n_outputs;
    c->n = n;
    c->symbolic = is_symbolic(g);
    c->checks = has_checks(g);
    c->in_name = ir_alloc_array(c->arena, (size_t)c->n_in + 1, sizeof *c->in_name);
    c->out_name = ir_alloc_array(c->arena, (size_t)c->n_out + 1, sizeof *c->out_name);
    for (int i = 0; i < c->n_in; i++)
        c->in_name[i] = ir_strdup(c->arena, g->inputs[i]->name);
    for (int i = 0; i < c->n_out; i++)
        c->out_name[i] = ir_strdup(c->arena, g->outputs[i]->name);
    for (int k = 0; k < n; k++) {
        Batch *b = &c->batch[k];
        b->N = N[k];
        b->in = ref_inputs(g, b->N, c->arena);
        b->shape = ir_alloc_array(c->arena, (size_t)c->n_out + 1, sizeof *b->shape);
        for (int i = 0; i < c->n_out; i++)
            b->shape[i] = ir_tensor_new(c->arena, &g->outputs[i]->type, b->N);
    }
    strcpy(c->dir, "/tmp/hone-fuzz-XXXXXX");
    return mkdtemp(c->dir) != NULL;
}

CheckStatus check_runs(IrGraph *g, int64_t N) {
    static const Config config = {"-O1", "native", 1, false};
    Check c = {.config = &config, .arena = g->prog->arena, .diag = g->prog->diag};
    if (!describe_graph(&c, g, 1, &N))
        return CHECK_INVALID;
    CheckStatus status = check_config(&c, g);
    rmdir(c.dir);
    return status;
}

// False when the evaluator refuses the graph.
static bool evaluate(Check *c, IrGraph *g, IrOp wrong) {
    for (int k = 0; k < c->n; k++) {
        Batch *b = &c->batch[k];
        b->ref = ref_evaluate(g, b->N, b->in, wrong, c->arena);
        if (b->ref.why)
            return false;
    }
    return true;
}

CheckStatus check_graph(const CheckJob *job) {
    IrDiag diag;
    ir_diag_init(&diag, "graph");
    IrArena *a = ir_arena_new(&diag);
    IrProgram *p = ir_parse(a, "graph", job->text, strlen(job->text));
    CheckStatus status = CHECK_INVALID;
    Check c = {.arena = a, .diag = &diag};
    if (p && p->n_graphs == 1 && describe_graph(&c, p->graphs[0], job->n, job->N)) {
        status = evaluate(&c, p->graphs[0], job->wrong) ? CHECK_AGREES : CHECK_INVALID;
        const Config foreign = {job->mcpu, job->mcpu, 2, false};
        size_t n = job->mcpu ? 1 : sizeof configs / sizeof *configs;
        for (size_t i = 0; i < n && status == CHECK_AGREES; i++) {
            c.config = job->mcpu ? &foreign : &configs[i];
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
