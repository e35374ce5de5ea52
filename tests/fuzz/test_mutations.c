// Damaged models, by the field: numbers, names, dimensions, attributes and whole pieces of ONNX's
// own test models change (onnx_tree.h), and now and then single bytes. Every import ends with a
// program or a diagnostic, in less than a second; some of the programs are compiled and run between
// guard pages. What crashes here, hangs, leaks, or what a sanitizer complains about, is a bug. The
// same seed gives the same model.
//
//   test_mutations [COUNT [FIRST_SEED [JOBS [RUNS]]]]     default 3000 1 1 60: RUNS programs are
//   run test_mutations --seed SEED FILE                       writes that model
#define _GNU_SOURCE
#include "frontend/frontend.h"
#include "tests/check.h"
#include "tests/fuzz/graph_check.h"
#include "tests/fuzz/onnx_tree.h"
#include <errno.h>
#include <glob.h>
#include <omp.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MODELS "/usr/share/libonnx-testdata/data/*/*/model.onnx"
enum { MOST_BYTES = 20000, JOBS = 8, SECONDS = 30, MOST_ELEMS = 1 << 16 };

typedef struct Corpus {
    int n;
    Tree **tree;
} Corpus;

typedef struct Shared { // between the process and its workers
    long imported, ran, refused, skipped, failed;
    double slowest;
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

static Corpus load_corpus(void) {
    glob_t files;
    Corpus c = {0};
    if (glob(MODELS, 0, NULL, &files) != 0)
        return c;
    c.tree = calloc(files.gl_pathc, sizeof(Tree *));
    for (size_t i = 0; i < files.gl_pathc; i++) {
        size_t size;
        uint8_t *p = load_file(files.gl_pathv[i], &size);
        Tree *t = p && size < MOST_BYTES ? tree_read(p, size) : NULL;
        if (t)
            c.tree[c.n++] = t;
        free(p);
    }
    globfree(&files);
    return c;
}

static void free_corpus(Corpus *c) {
    for (int i = 0; i < c->n; i++)
        tree_free(c->tree[i]);
    free(c->tree);
}

static uint8_t *make_model(const Corpus *c, uint64_t seed, size_t *size) {
    uint64_t s = seed * 7919;
    const Tree *model = c->tree[tree_draw(&s) % (uint64_t)c->n];
    const Tree *donor = c->tree[tree_draw(&s) % (uint64_t)c->n];
    uint8_t *p = tree_write(model, size);
    Tree *t = tree_read(p, *size);
    free(p);
    for (int k = (int)(tree_draw(&s) % 4); k >= 0; k--)
        tree_mutate(t, tree_draw(&s) % 3 ? t : donor, &s);
    p = tree_write(t, size);
    tree_free(t);
    if (*size > 0 && tree_draw(&s) % 8 == 0)
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

// fe_import() as the tool calls it: errors that cannot be collected unwind to here.
static IrProgram *import_guarded(IrArena *a, IrDiag *diag, const char *path) {
    jmp_buf guard;
    IrProgram *volatile p = NULL;
    diag->guard = &guard;
    if (setjmp(guard) == 0)
        p = fe_import(a, path, NULL);
    diag->guard = NULL;
    return p;
}

static void run_guarded(Shared *s, IrProgram *p) {
    jmp_buf guard;
    p->diag->guard = &guard;
    if (setjmp(guard) == 0)
        run_program(s, p);
    p->diag->guard = NULL;
}

// False when there is neither a program nor a diagnostic.
static bool import_model(Shared *s, uint64_t seed, const char *path) {
    IrDiag diag;
    char *text = NULL;
    size_t size;
    ir_diag_init(&diag, path);
    diag.out = open_memstream(&text, &size);
    IrArena *a = ir_arena_new(&diag);
    double start = cpu_seconds();
    IrProgram *p = import_guarded(a, &diag, path);
    note_time(s, seed, cpu_seconds() - start);
    bool ok = p || diag.errors > 0;
    __atomic_add_fetch(&s->imported, p != NULL, __ATOMIC_RELAXED);
    if (p && __atomic_sub_fetch(&s->runs_left, 1, __ATOMIC_RELAXED) >= 0)
        run_guarded(s, p);
    ir_arena_free(a);
    fclose(diag.out);
    free(text);
    return ok;
}

// ---------------------------------------------------------------- many

static void write_bytes(const char *path, const uint8_t *p, size_t size) {
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(p, 1, size, f) != size || fclose(f) != 0) {
        perror(path);
        exit(2);
    }
}

typedef struct Range {
    uint64_t next, end;
} Range;

// Ends with 1 after a failure. A leak shows when the process ends.
static void work(const Corpus *c, Shared *s, int worker, Range r, const char *path) {
    int failures = 0;
    for (uint64_t seed = r.next; seed < r.end; seed++) {
        size_t size;
        s->current[worker] = seed;
        uint8_t *p = make_model(c, seed, &size);
        write_bytes(path, p, size);
        free(p);
        alarm(SECONDS);
        long failed = s->failed;
        bool said = import_model(s, seed, path);
        alarm(0);
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
        snprintf(path[i], sizeof path[i], "/tmp/hone-mutation-%d-%d.onnx", (int)getpid(), i);
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
        free_corpus(&c);
        return 0;
    }
    long count = argc > 1 ? atol(argv[1]) : 3000;
    int jobs = argc > 3 ? atoi(argv[3]) : 1;
    Shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        return 2;
    s->runs_left = argc > 4 ? atol(argv[4]) : 60;
    run_workers(&c, s, count, argc > 2 ? strtoull(argv[2], NULL, 10) : 1,
                jobs < 1      ? 1
                : jobs < JOBS ? jobs
                              : JOBS);
    CHECK_INT_EQ(s->failed, 0);
    if (!CHECK(s->slowest < 1))
        fprintf(stderr, "mutation %llu\n", (unsigned long long)s->slowest_seed);
    printf("%ld of %ld mutated models import, slowest %.3f s; of them %ld run between guard pages, "
           "%ld refused by the code generator, %ld too large\n",
           s->imported, count, s->slowest, s->ran, s->refused, s->skipped);
    munmap(s, sizeof *s);
    free_corpus(&c);
    return check_done();
}
