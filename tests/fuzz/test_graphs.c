// Random graphs compiled and run against the reference evaluator, at -O0 and -O2, in blocked and in
// plain layout, each binary at batch 1 and 3, on one and two threads, between guard pages:
//
//   test_graphs                               150 graphs (30 under ASan), the reducer on a wrong op
//   test_graphs --random COUNT [SEED [JOBS]]  until COUNT graphs agree
//   test_graphs --seed SEED                   that graph alone, printed, and reduced if it fails
//   test_graphs FILE.ir [N]                   the graph of a file
//
// What the code generator says it has not got is counted and left out. A graph that fails is
// reduced (graph_reduce.h) and printed as textual IR.
#define _GNU_SOURCE
#include "tests/check.h"
#include "tests/fuzz/graph_gen.h"
#include "tests/fuzz/graph_reduce.h"
#include <errno.h>
#include <fcntl.h>
#include <omp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REDUCTIONS = 5, TRIES = 400, JOBS = 8 };
#ifdef __SANITIZE_ADDRESS__ // slower, and emitted code is as it was
enum { GRAPHS = 30 };
#else
enum { GRAPHS = 150 };
#endif

// ---------------------------------------------------------------- one graph

// job->text is malloc.
static char *make_job(uint64_t seed, CheckJob *job) {
    IrDiag diag;
    ir_diag_init(&diag, "random");
    IrArena *a = ir_arena_new(&diag);
    char *text = check_print(gen_graph(a, seed));
    ir_arena_free(a);
    *job = (CheckJob){text, GEN_BATCHES, {0}, IR_OP_COUNT, NULL};
    memcpy(job->N, gen_batches, sizeof gen_batches);
    return text;
}

static void report_failure(uint64_t seed, CheckStatus status, bool reduce) {
    CheckJob job;
    char *text = make_job(seed, &job);
    fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, check_status_names[status]);
    CheckStatus again = check_in_child(&job, false);
    reduce = reduce && again == status && status != CHECK_INVALID;
    char *small = reduce ? reduce_graph(&job, status, TRIES) : NULL;
    if (small) {
        job.text = small;
        check_in_child(&job, false);
        fprintf(stderr, "// seed %llu, N = %lld%s, reduced\n%s\n", (unsigned long long)seed,
                (long long)job.N[0], job.n > 1 ? " and others" : "", small);
    }
    free(small);
    free(text);
}

// ---------------------------------------------------------------- many

typedef struct Shared { // between the process and its workers
    int count[CHECK_STATUSES];
    uint64_t next; // seed
    int wanted, agreed;
    int n_failed;
    struct {
        uint64_t seed;
        CheckStatus status;
    } failed[64];
    uint64_t current[JOBS]; // what each worker is at
    long nodes;
    int uses[IR_OP_COUNT]; // graphs that agreed with that op in them
} Shared;

static void count_ops(Shared *s, const char *text) {
    IrDiag diag;
    ir_diag_init(&diag, "count");
    IrArena *a = ir_arena_new(&diag);
    IrProgram *p = ir_parse(a, "count", text, strlen(text));
    for (const IrNode *n = p ? p->graphs[0]->first : NULL; n; n = n->next) {
        __atomic_add_fetch(&s->nodes, 1, __ATOMIC_RELAXED);
        __atomic_add_fetch(&s->uses[n->op], 1, __ATOMIC_RELAXED);
    }
    ir_arena_free(a);
}

static void note(Shared *s, uint64_t seed, CheckStatus status) {
    __atomic_add_fetch(&s->count[status], 1, __ATOMIC_RELAXED);
    if (status == CHECK_AGREES)
        __atomic_add_fetch(&s->agreed, 1, __ATOMIC_RELAXED);
    if (status != CHECK_AGREES && status != CHECK_REFUSED) {
        int i = __atomic_fetch_add(&s->n_failed, 1, __ATOMIC_RELAXED);
        if (i < 64) {
            s->failed[i].seed = seed;
            s->failed[i].status = status;
        }
    }
}

// Seeds from the shared counter until enough agree. A seed that ends the process is noted by the
// parent.
static void work(Shared *s, int worker, int said) {
    dup2(said, 2);
    while (__atomic_load_n(&s->agreed, __ATOMIC_RELAXED) < s->wanted &&
           __atomic_load_n(&s->n_failed, __ATOMIC_RELAXED) < 64) {
        uint64_t seed = __atomic_fetch_add(&s->next, 1, __ATOMIC_RELAXED);
        CheckJob job;
        s->current[worker] = seed;
        alarm(30);
        char *text = make_job(seed, &job);
        CheckStatus status = check_graph(&job);
        alarm(0);
        s->current[worker] = UINT64_MAX;
        if (status == CHECK_AGREES)
            count_ops(s, text);
        note(s, seed, status);
        free(text);
    }
    _exit(0);
}

static pid_t start_worker(Shared *s, int worker, int said) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        work(s, worker, said);
    return pid;
}

static void run_workers(Shared *s, int jobs, int said) {
    pid_t pid[JOBS];
    int running = jobs, status;
    for (int i = 0; i < jobs; i++) {
        s->current[i] = UINT64_MAX;
        pid[i] = start_worker(s, i, said);
    }
    while (running > 0) {
        pid_t ended = wait(&status);
        for (int i = 0; i < jobs; i++) {
            if (ended != pid[i])
                continue;
            if (s->current[i] == UINT64_MAX) {
                running--;
                continue;
            }
            bool late = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
            note(s, s->current[i], late ? CHECK_PENDING : CHECK_CRASHED);
            s->current[i] = UINT64_MAX;
            pid[i] = start_worker(s, i, said);
        }
    }
}

static void print_summary(const Shared *s) {
    printf(
        "%d random graphs agree, %.1f nodes each; %d refused, %d invalid, %d differ, %d crashed, "
        "%d timed out\n",
        s->agreed, (double)s->nodes / (s->agreed ? s->agreed : 1), s->count[CHECK_REFUSED],
        s->count[CHECK_INVALID], s->count[CHECK_DIFFERS], s->count[CHECK_CRASHED],
        s->count[CHECK_PENDING]);
    int ops = 0;
    for (int op = 0; op < IR_OP_COUNT; op++)
        ops += s->uses[op] > 0;
    printf("%d of %d ops:", ops, IR_OP_COUNT);
    for (int op = 0; op < IR_OP_COUNT; op++)
        if (s->uses[op])
            printf(" %s %d", ir_op_info((IrOp)op)->text, s->uses[op]);
    printf("\n");
    for (int i = 0; i < s->n_failed && i < 64; i++)
        printf("%s%llu (%s)", i ? ", " : "failed seeds: ", (unsigned long long)s->failed[i].seed,
               check_status_names[s->failed[i].status]);
    printf(s->n_failed ? "\n" : "");
    fflush(stdout);
}

// What workers say of refusals: the most frequent reasons.
static void print_refusals(const char *path) {
    char cmd[300];
    snprintf(cmd, sizeof cmd,
             "grep -ho 'NYI:.*' %s | sort | uniq -c | sort -rn | head -12 | sed 's/^/  /'", path);
    fflush(stdout);
    if (system(cmd) != 0)
        printf("  no refusals counted\n");
}

static void random_graphs(int count, uint64_t first, int jobs) {
    Shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char path[] = "/tmp/hone-graphs-XXXXXX";
    int said = mkstemp(path);
    if (!CHECK(s != MAP_FAILED && said >= 0))
        return;
    s->next = first;
    s->wanted = count;
    run_workers(s, jobs < JOBS ? jobs : JOBS, said);
    print_summary(s);
    if (s->count[CHECK_REFUSED])
        print_refusals(path);
    for (int i = 0; i < s->n_failed && i < 64; i++)
        report_failure(s->failed[i].seed, s->failed[i].status, i < REDUCTIONS);
    CHECK_INT_EQ(s->n_failed, 0);
    CHECK(s->agreed >= count);
    close(said);
    unlink(path);
    munmap(s, sizeof *s);
}

// ---------------------------------------------------------------- the reducer

static int count_nodes(const char *text, IrOp op, int *of_op) {
    IrDiag diag;
    ir_diag_init(&diag, "reduced");
    IrArena *a = ir_arena_new(&diag);
    IrProgram *p = ir_parse(a, "reduced", text, strlen(text));
    int n = 0;
    *of_op = 0;
    for (const IrNode *x = p ? p->graphs[0]->first : NULL; x; x = x->next) {
        n++;
        *of_op += x->op == op;
    }
    ir_arena_free(a);
    return n;
}

// An op whose reference is wrong on purpose: what is left of the graph is that op.
static void reduces_to_wrong_op(void) {
    static const IrOp wrong[] = {IR_OP_SIGMOID, IR_OP_CONV, IR_OP_REDUCE_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CheckJob job;
        char *text = NULL;
        CheckStatus status = CHECK_AGREES;
        for (uint64_t seed = 1; seed < 400 && status != CHECK_DIFFERS; seed++) {
            int of_op;
            free(text);
            text = make_job(seed, &job);
            job.wrong = wrong[i];
            if (count_nodes(text, wrong[i], &of_op) >= 6 && of_op > 0)
                status = check_in_child(&job, true);
        }
        if (CHECK(status == CHECK_DIFFERS)) {
            int of_op;
            char *small = reduce_graph(&job, status, TRIES);
            bool one = CHECK_INT_EQ(count_nodes(small, wrong[i], &of_op), 1);
            if (!CHECK_INT_EQ(of_op, 1) || !one)
                fprintf(stderr, "%s", small);
            free(small);
        }
        free(text);
    }
}

static int check_file(const char *path, int64_t N) {
    char *text = calloc(1, 1 << 20);
    FILE *f = fopen(path, "rb");
    if (!f || !text || fread(text, 1, (1 << 20) - 1, f) == 0) {
        perror(path);
        return 2;
    }
    fclose(f);
    CheckStatus status =
        check_in_child(&(CheckJob){.text = text, .n = 1, .N = {N}, .wrong = IR_OP_COUNT}, false);
    printf("%s: %s\n", path, check_status_names[status]);
    free(text);
    return status != CHECK_AGREES;
}

int main(int argc, char **argv) {
    omp_set_num_threads(1); // the evaluator's: children could not use a pool of threads made here
    if (argc > 2 && strcmp(argv[1], "--random") == 0) {
        random_graphs(atoi(argv[2]), argc > 3 ? strtoull(argv[3], NULL, 10) : 1,
                      argc > 4 ? atoi(argv[4]) : 1);
        return check_done();
    }
    if (argc > 2 && strcmp(argv[1], "--seed") == 0) {
        CheckJob job;
        char *text = make_job(strtoull(argv[2], NULL, 10), &job);
        printf("%s", text);
        CheckStatus status = check_in_child(&job, true);
        if (status == CHECK_AGREES || status == CHECK_REFUSED)
            printf("%s\n", check_status_names[status]);
        else
            report_failure(strtoull(argv[2], NULL, 10), status, true);
        free(text);
        return status != CHECK_AGREES;
    }
    if (argc > 1)
        return check_file(argv[1], argc > 2 ? atoll(argv[2]) : 1);
    random_graphs(GRAPHS, 1, 1);
    if (GRAPHS > 100)
        CHECK_RUN(reduces_to_wrong_op);
    return check_done();
}
