// Damaged models: pieces of ONNX's own test models and of small networks of every family
// (make_corpus.py) change, by the field (onnx_tree.h) or as graphs do (onnx_edit.h), and now and
// then by a single byte. Every import ends with a program or a diagnostic, in less than a second;
// of half the training program is planned and its graphs built, and the file that it would export
// is read again; half are quantized, and that is read; some are compiled and run between guard
// pages. What crashes here, hangs, leaks, or what a sanitizer complains about, is a bug. The same
// seed gives the same model.
//
//   test_mutations [COUNT [FIRST_SEED [JOBS [RUNS]]]]     RUNS programs are run; default 100000 1 1
//                                                         400 under ASan, 3000 1 1 60 elsewhere
//   test_mutations --seed SEED FILE                       writes that model
//
// HONE_CORPUS names the folder that make_corpus.py filled.
#define _GNU_SOURCE
#include "frontend/quantize/quantize.h"
#include "passes/train/train.h"
#include "tests/check.h"
#include "tests/fuzz/graph_check.h"
#include "tests/fuzz/onnx_tree.h"
#include "tests/machine.h"
#include <errno.h>
#include <glob.h>
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MODELS "/usr/share/libonnx-testdata/data/*/*/model.onnx"
enum { MOST_BYTES = 60000, JOBS = 8, SECONDS = 30, MOST_ELEMS = 1 << 16, EXTERNAL_BYTES = 8192 };
#ifdef __SANITIZE_ADDRESS__
enum { COUNT = 100000, RUNS = 400 };
#else
enum { COUNT = 3000, RUNS = 60 };
#endif

enum { ONNX, NODES, NETS, KINDS };

typedef struct Corpus {
    int n, kind_end[KINDS]; // by kinds
    Tree **tree;
    char folder[32]; // the models that are made, and "external", the data of some
} Corpus;

typedef struct Shared { // between the process and its workers
    long imported, trained, quantized, ran, refused, skipped, failed;
    double slowest, slowest_training;
    uint64_t slowest_seed;
    uint64_t current[JOBS]; // what each worker is at; 0: nothing
    long runs_left;
} Shared;

static uint8_t *load_file(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    uint8_t *p = f ? malloc(MOST_BYTES) : NULL;
    *size = p ? fread(p, 1, MOST_BYTES, f) : 0;
    if (f)
        fclose(f);
    return p;
}

static void load_models(Corpus *c, const char *pattern) {
    glob_t files;
    if (glob(pattern, 0, NULL, &files) != 0)
        return;
    c->tree = realloc(c->tree, ((size_t)c->n + files.gl_pathc) * sizeof *c->tree);
    for (size_t i = 0; c->tree && i < files.gl_pathc; i++) {
        size_t size;
        uint8_t *p = load_file(files.gl_pathv[i], &size);
        Tree *t = p && size < MOST_BYTES ? tree_read(p, size) : NULL;
        if (t)
            c->tree[c->n++] = t;
        free(p);
    }
    globfree(&files);
}

static void write_bytes(const char *path, const uint8_t *p, size_t size) {
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(p, 1, size, f) != size || fclose(f) != 0) {
        perror(path);
        exit(2);
    }
}

static void write_external(const Corpus *c) {
    uint8_t bytes[EXTERNAL_BYTES];
    char path[64];
    for (int i = 0; i < EXTERNAL_BYTES; i++) // floats near 1, small integers
        bytes[i] = (uint8_t)(i % 4 == 3 ? 0x3f : i % 4 == 2 ? 0x40 + i % 64 : 0);
    snprintf(path, sizeof path, "%s/external", c->folder);
    write_bytes(path, bytes, sizeof bytes);
}

static Corpus load_corpus(void) {
    static const char *const kinds[KINDS] = {[NODES] = "nodes", [NETS] = "nets"};
    Corpus c = {.folder = "/tmp/hone-mutation-XXXXXX"};
    char pattern[512];
    const char *own = getenv("HONE_CORPUS");
    load_models(&c, MODELS);
    c.kind_end[ONNX] = c.n;
    for (int k = NODES; k < KINDS; k++) {
        snprintf(pattern, sizeof pattern, "%s/%s/*.onnx", own ? own : "/nowhere", kinds[k]);
        load_models(&c, pattern);
        c.kind_end[k] = c.n;
    }
    if (!mkdtemp(c.folder))
        exit(2);
    write_external(&c);
    return c;
}

static void free_corpus(Corpus *c) {
    for (int i = 0; i < c->n; i++)
        tree_free(c->tree[i]);
    free(c->tree);
}

static void remove_folder(const Corpus *c) {
    char path[64];
    snprintf(path, sizeof path, "%s/external", c->folder);
    unlink(path);
    rmdir(c->folder);
}

// Half of them networks, where there are any.
static const Tree *draw_tree(const Corpus *c, uint64_t *s) {
    static const int kinds[] = {ONNX, ONNX, NODES, NETS, NETS, NETS};
    int kind = kinds[tree_draw(s) % 6], from = kind ? c->kind_end[kind - 1] : 0;
    int n = c->kind_end[kind] - from;
    return c->tree[n > 0 ? from + (int)(tree_draw(s) % (uint64_t)n)
                         : (int)(tree_draw(s) % (uint64_t)c->n)];
}

static uint8_t *make_model(const Corpus *c, uint64_t seed, size_t *size) {
    uint64_t s = seed * 7919;
    const Tree *donor = draw_tree(c, &s);
    uint8_t *p = tree_write(draw_tree(c, &s), size);
    Tree *t = tree_read(p, *size);
    free(p);
    uint64_t edits = tree_draw(&s) % 4; // of four changes
    for (int k = (int)(tree_draw(&s) % 3); k >= 0; k--) {
        const Tree *from = tree_draw(&s) % 3 ? t : donor;
        if (tree_draw(&s) % 4 <= edits)
            tree_edit(t, from, &s);
        else
            tree_mutate(t, from, &s);
    }
    p = tree_write(t, size);
    tree_free(t);
    if (*size > 0 && tree_draw(&s) % 16 == 0)
        p[tree_draw(&s) % *size] = (uint8_t)tree_draw(&s);
    return p;
}

// ---------------------------------------------------------------- one model

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool is_small(const IrType *t) {
    IrDim n;
    return ir_shape_elems(&t->shape, &n) && n.c <= MOST_ELEMS && n.n <= MOST_ELEMS;
}

// What the code is compiled and run for in a moment.
static bool is_runnable(const IrProgram *p) {
    const IrGraph *g = p->graphs[0];
    bool small = g->n_nodes < 100 && g->n_outputs > 0;
    for (int i = 0; i < g->n_inputs; i++)
        small = small && is_small(&g->inputs[i]->type);
    for (const IrNode *n = g->first; n && small; n = n->next) {
        for (int i = 0; i < n->n_in; i++)
            small = small && (!ir_in(n, i) || is_small(&ir_in(n, i)->type));
        for (int i = 0; i < n->n_out; i++)
            small = small && is_small(&n->out[i]->type);
    }
    return small;
}

static void note_time(Shared *s, uint64_t seed, double seconds) {
    if (seconds > s->slowest) {
        s->slowest = seconds;
        s->slowest_seed = seed;
    }
}

static void run_program(Shared *s, IrProgram *p) {
    if (!is_runnable(p)) {
        __atomic_add_fetch(&s->skipped, 1, __ATOMIC_RELAXED);
        return;
    }
    CheckStatus status = check_runs(p->graphs[0], 1);
    long *count = status == CHECK_AGREES    ? &s->ran
                  : status == CHECK_REFUSED ? &s->refused
                                            : &s->failed;
    __atomic_add_fetch(count, 1, __ATOMIC_RELAXED);
    if (count == &s->failed)
        fprintf(stderr, "mutation: a program that was imported: %s\n", check_status_names[status]);
}

// A model in an arena of its own. Errors that cannot be collected unwind to try(), as in the tool.
typedef struct Job {
    Shared *shared;
    uint64_t seed;
    const char *path;
    IrArena *arena;
    IrDiag *diag;
    IrProgram *prog;
} Job;

static void try(Job *j, void (*what)(Job *)) {
    jmp_buf guard;
    j->diag->guard = &guard;
    if (setjmp(guard) == 0)
        what(j);
    j->diag->guard = NULL;
}

static void import(Job *j) {
    j->prog = fe_import(j->arena, j->path, NULL);
}

static void run(Job *j) {
    run_program(j->shared, j->prog);
}

// ---------------------------------------------------------------- training

static bool batch_is_fixed(const IrType *x) {
    return x->shape.rank == 4 && x->shape.dim[0].n == 0;
}

// As hone finetune imports it: the batch open, the first output alone. NULL: nothing to train.
static IrGraph *import_to_train(Job *j, const FeModel **file) {
    FePin pin = {.rank = 4, .dim = {FE_SYMBOLIC}};
    FeOptions opt = {.to_train = true, .pins = &pin, .model = file};
    IrProgram *p = fe_import(j->arena, j->path, &opt);
    if (p && p->graphs[0]->n_inputs == 1 && batch_is_fixed(&p->graphs[0]->inputs[0]->type)) {
        for (int i = 1; i < 4; i++)
            pin.dim[i] = p->graphs[0]->inputs[0]->type.shape.dim[i].c;
        opt.n_pins = 1;
        p = fe_import(j->arena, j->path, &opt);
    }
    IrGraph *g = p ? p->graphs[0] : NULL;
    if (!g || g->n_inputs != 1 || g->inputs[0]->type.dtype != IR_F32 ||
        batch_is_fixed(&g->inputs[0]->type))
        return NULL;
    return g->n_outputs > 1 ? ir_extract(g, "first", 0, NULL, 1, g->outputs) : g;
}

static const char *input_name(const void *file, const char *node, const char *op, int input) {
    return fe_model_input(file, node, op, input);
}

// False when the file that a fine-tune program exports cannot be made. Half of those that can are
// read.
static bool export_file(Job *j, const FeModel *file, const IrTrainProgram *p, bool read) {
    FeRetarget r = {.train = p};
    FeNewModel *m = fe_retarget(j->arena, file, &r);
    if (!m || !read)
        return m != NULL;
    size_t size = (size_t)fe_new_model_bytes(m);
    uint8_t *bytes = ir_alloc(j->arena, size);
    fe_new_model_write(m, bytes);
    write_bytes(j->path, bytes, size);
    fe_import(j->arena, j->path, NULL);
    return true;
}

static void train(Job *j) {
    static const PassTrainStage stages[] = {{.spec = "head"}, {.spec = "none"}};
    static const char *const all[] = {"+*"};
    uint64_t s = j->seed * 31;
    const FeModel *file = NULL;
    IrGraph *g = import_to_train(j, &file);
    PassOptions po = {.opt_level = 2,
                      .block = IR_BLOCK,
                      .machine = machine_of(j->arena, "x86-64-v3"),
                      .winograd = true,
                      .arena_limit = fe_limit(&(FeLimits){{0}}, FE_LIMIT_ARENA),
                      .verify = true,
                      .threads = 1,
                      .out = stderr};
    bool keep = tree_draw(&s) % 4 == 0;
    PassTrainOptions o = {.classes = keep ? 0 : 3,
                          .keep_head = keep,
                          .multi_label = tree_draw(&s) % 4 == 0,
                          .dropout = -1,
                          .n_stages = 1,
                          .stages = &stages[tree_draw(&s) % 3 != 0],
                          .n_params = tree_draw(&s) % 4 == 0,
                          .params = all,
                          .bn_train = tree_draw(&s) % 2,
                          .input_name = input_name,
                          .file = file};
    IrTrainProgram *p = g ? pass_train_plan(g, &po, &o) : NULL;
    if (p && export_file(j, file, p, tree_draw(&s) % 2) && pass_train_graphs(g, &po, &o, p))
        __atomic_add_fetch(&j->shared->trained, 1, __ATOMIC_RELAXED);
}

// ---------------------------------------------------------------- quantizing

static bool reads_again(Job *j, const FeNewModel *m) {
    FeOptions opt = {0};
    return m && fe_new_model_import(j->arena, m, &opt);
}

// What shows its tensors can be read; then its quantized form can, too, whatever the ranges and
// the layers that stay float.
static void quantize(Job *j) {
    uint64_t s = j->seed * 37;
    const FeModel *file = NULL;
    FeOptions opt = {.to_train = true, .model = &file};
    const FeModel *m = fe_import(j->arena, j->path, &opt) ? fe_quant_prepare(j->arena, file) : NULL;
    FeQuantPlan *p = m ? fe_quant_plan(j->arena, m) : NULL;
    if (!p || !reads_again(j, fe_quant_observer(j->arena, p)))
        return;
    FeQuantParams *ranges = ir_alloc_array(j->arena, (size_t)p->n_ranges + 1, sizeof *ranges);
    bool *is_float = ir_alloc_array(j->arena, (size_t)p->n_layers + 1, sizeof *is_float);
    const char **shown = ir_alloc_array(j->arena, (size_t)p->n_layers + 1, sizeof *shown);
    for (int i = 0; i < p->n_ranges; i++)
        ranges[i] = (FeQuantParams){0.05f, tree_draw(&s) % 2 ? 0 : 120};
    for (int i = 0; i < p->n_layers; i++)
        is_float[i] = tree_draw(&s) % 4 == 0;
    FeQuantNumbers n = {
        .ranges = ranges, .is_float = is_float, .shown = tree_draw(&s) % 2 ? shown : NULL};
    if (!reads_again(j, fe_quant_write(j->arena, p, &n))) {
        fprintf(stderr, "mutation: its quantized form cannot be read\n");
        __atomic_add_fetch(&j->shared->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    __atomic_add_fetch(&j->shared->quantized, 1, __ATOMIC_RELAXED);
}

// ---------------------------------------------------------------- one model, all of it

// False when there is neither a program nor a diagnostic.
static bool check_model(Shared *s, uint64_t seed, const char *path) {
    IrDiag diag;
    char *text = NULL;
    size_t size;
    ir_diag_init(&diag, path);
    diag.out = open_memstream(&text, &size);
    Job j = {s, seed, path, ir_arena_new(&diag), &diag, NULL};
    double start = cpu_seconds();
    try(&j, import);
    note_time(s, seed, cpu_seconds() - start);
    bool ok = j.prog || diag.errors > 0, imported = j.prog != NULL;
    __atomic_add_fetch(&s->imported, imported, __ATOMIC_RELAXED);
    if (imported && seed % 8 == 0 && __atomic_sub_fetch(&s->runs_left, 1, __ATOMIC_RELAXED) >= 0)
        try(&j, run);
    start = cpu_seconds();
    if (imported)
        try(&j, seed % 2 ? train : quantize);
    s->slowest_training = fmax(s->slowest_training, cpu_seconds() - start);
    ir_arena_free(j.arena);
    fclose(diag.out);
    free(text);
    return ok;
}

// ---------------------------------------------------------------- many

typedef struct Range {
    uint64_t next, end;
} Range;

// After so many seconds of CPU more this process ends by SIGPROF; 0: it does not. Time in which it
// stands still, stopped or waiting for a CPU, is none.
static void allow(int seconds) {
    if (setitimer(ITIMER_PROF, &(struct itimerval){.it_value = {.tv_sec = seconds}}, NULL) != 0)
        abort();
}

// Ends with 1 after a failure. A leak shows when the process ends.
static void work(const Corpus *c, Shared *s, int worker, Range r, const char *path) {
    int failures = 0;
    for (uint64_t seed = r.next; seed < r.end; seed++) {
        size_t size;
        s->current[worker] = seed;
        uint8_t *p = make_model(c, seed, &size);
        write_bytes(path, p, size);
        free(p);
        allow(SECONDS);
        long failed = s->failed;
        bool said = check_model(s, seed, path);
        allow(0);
        if (!said || s->failed != failed) {
            fprintf(stderr, "mutation %llu fails%s\n", (unsigned long long)seed,
                    said ? "" : ": no program and no diagnostic");
            failures++;
        }
    }
    s->current[worker] = 0;
    free_corpus((Corpus *)c);
    exit(failures != 0);
}

static void run_workers(const Corpus *c, Shared *s, long count, uint64_t first, int jobs) {
    pid_t pid[JOBS];
    Range range[JOBS];
    char path[JOBS][64];
    int running = jobs, status;
    for (int i = 0; i < jobs; i++) {
        range[i] = (Range){first + (uint64_t)(count * i / jobs),
                           first + (uint64_t)(count * (i + 1) / jobs)};
        snprintf(path[i], sizeof path[i], "%s/%d.onnx", c->folder, i);
        fflush(NULL);
        if ((pid[i] = fork()) == 0)
            work(c, s, i, range[i], path[i]);
    }
    while (running > 0) {
        pid_t ended = wait(&status);
        for (int i = 0; i < jobs; i++) {
            if (ended != pid[i])
                continue;
            bool fine = WIFEXITED(status) && WEXITSTATUS(status) == 0;
            uint64_t at = s->current[i];
            if (!CHECK(fine))
                fprintf(stderr, "mutation %llu: the process ended with status %#x\n",
                        (unsigned long long)at, (unsigned)status);
            range[i].next = at + 1;
            bool again = !fine && at && range[i].next < range[i].end && check_state.failures < 20;
            if (again && (pid[i] = fork()) == 0)
                work(c, s, i, range[i], path[i]);
            running -= !again;
            if (!again)
                unlink(path[i]);
        }
    }
}

int main(int argc, char **argv) {
    omp_set_num_threads(1); // of the evaluator: children could not use a pool of threads made here
    Corpus c = load_corpus();
    if (c.n == 0) {
        fprintf(stderr, "no models in " MODELS ": apt-get install libonnx-testdata\n");
        return 1;
    }
    if (argc == 4 && strcmp(argv[1], "--seed") == 0) {
        size_t size;
        uint8_t *p = make_model(&c, strtoull(argv[2], NULL, 10), &size);
        write_bytes(argv[3], p, size);
        free(p);
        remove_folder(&c);
        free_corpus(&c);
        return 0;
    }
    long count = argc > 1 ? atol(argv[1]) : COUNT;
    int jobs = argc > 3 ? atoi(argv[3]) : 1;
    Shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        return 2;
    s->runs_left = argc > 4 ? atol(argv[4]) : RUNS;
    run_workers(&c, s, count, argc > 2 ? strtoull(argv[2], NULL, 10) : 1,
                jobs < 1      ? 1
                : jobs < JOBS ? jobs
                              : JOBS);
    CHECK_INT_EQ(s->failed, 0);
    if (!CHECK(s->slowest < 1))
        fprintf(stderr, "mutation %llu\n", (unsigned long long)s->slowest_seed);
    CHECK(s->slowest_training < 2); // or quantizing: two imports, the graphs, the exported file
    printf("%ld of %ld mutated models import, slowest %.3f s; of them %ld train, %ld are "
           "quantized, slowest %.3f s; "
           "%ld run between guard pages, %ld refused by the code generator, %ld too large\n",
           s->imported, count, s->slowest, s->trained, s->quantized, s->slowest_training, s->ran,
           s->refused, s->skipped);
    munmap(s, sizeof *s);
    remove_folder(&c);
    free_corpus(&c);
    return check_done();
}
