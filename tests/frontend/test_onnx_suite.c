// ONNX's own backend tests (Debian: libonnx-testdata): imports each model and runs the reference
// evaluator on its stored inputs against its stored outputs.
//
//   test_onnx_suite [-v] [DIR [NAME_PART]]
//
// Every case runs in its own process and ends as one of: passed; bound (passed once integer inputs
// that only shapes depend on were given as constants); refused (by a diagnostic); failed (wrong
// result, crash, bug, timeout). Two cases hold one random result and are left out. The test fails
// when any case failed or fewer passed than FLOOR; where the data is not installed it says so and
// succeeds.
#define _GNU_SOURCE
#include "frontend/frontend.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DATA_DIR "/usr/share/libonnx-testdata/data"
enum { FLOOR = 460, MAX_FILES = 16, SECONDS_PER_CASE = 60 };

typedef enum Outcome { PASSED, BOUND, REFUSED, FAILED, OUTCOMES } Outcome;
static const char *const outcome_name[OUTCOMES] = {"passed", "bound", "refused", "FAILED"};

// Dropout's results depend on the random numbers of whoever stored them.
static const char *const random_cases[] = {"test_training_dropout",
                                           "test_training_dropout_default"};

typedef struct Case {
    IrArena *arena;
    const char *dir;
    char why[300];
    int n_in, n_out;
    IrTensor in[MAX_FILES], want[MAX_FILES];
    const char *in_name[MAX_FILES];
} Case;

static int load_tensors(Case *c, const char *kind, IrTensor *t, const char **names) {
    int n = 0;
    for (; n < MAX_FILES; n++) {
        const char *path = ir_sprintf(c->arena, "%s/test_data_set_0/%s_%d.pb", c->dir, kind, n);
        const char *name;
        if (access(path, R_OK) != 0) {
            break;
        }
        if (!fe_load_tensor(c->arena, path, &t[n], names ? &names[n] : &name)) {
            return -1;
        }
    }
    return n;
}

static bool is_close(double got, double want) {
    if (isnan(want) || isinf(want)) {
        return isnan(want) ? isnan(got) : got == want;
    }
    return fabs(got - want) <= 1e-7 + 1e-3 * fabs(want);
}

static bool compare(Case *c, int k, const IrTensor *got) {
    const IrTensor *want = &c->want[k];
    bool shape = got->rank == want->rank && got->dtype == want->dtype;
    for (int i = 0; i < want->rank && shape; i++) {
        shape = got->dim[i] == want->dim[i];
    }
    if (!shape) {
        snprintf(c->why, sizeof c->why,
                 "output %d: %s of rank %d, expected %s of rank %d, or dims differ", k,
                 ir_dtype_name(got->dtype), got->rank, ir_dtype_name(want->dtype), want->rank);
        return false;
    }
    for (int64_t i = 0; i < ir_tensor_elems(want); i++) {
        double a = ir_tensor_get(got, i), b = ir_tensor_get(want, i);
        if (!is_close(a, b)) {
            snprintf(c->why, sizeof c->why, "output %d element %lld: %.9g, expected %.9g", k,
                     (long long)i, a, b);
            return false;
        }
    }
    return true;
}

static int64_t batch_of(const IrGraph *g, const IrTensor *in) {
    for (int i = 0; i < g->n_inputs; i++) {
        const IrShape *s = &g->inputs[i]->type.shape;
        if (s->rank > 0 && s->dim[0].n) {
            return in[i].dim[0];
        }
    }
    return 1;
}

static Outcome run_graph(Case *c, IrProgram *p, bool bound) {
    IrGraph *g = p->graphs[0];
    IrTensor in[MAX_FILES], out[MAX_FILES];
    if (g->n_inputs > MAX_FILES || g->n_outputs != c->n_out || (!bound && g->n_inputs != c->n_in)) {
        snprintf(c->why, sizeof c->why, "%d inputs and %d outputs, files for %d and %d",
                 g->n_inputs, g->n_outputs, c->n_in, c->n_out);
        return FAILED;
    }
    for (int i = 0; i < g->n_inputs; i++) {
        in[i] = c->in[i];
        for (int k = 0; k < c->n_in && bound; k++) {
            if (strcmp(c->in_name[k], g->inputs[i]->name) == 0) {
                in[i] = c->in[k];
            }
        }
    }
    const char *why = ir_eval(g, batch_of(g, in), in, out, c->arena, NULL, NULL);
    if (why) {
        snprintf(c->why, sizeof c->why, "evaluator: %s", why);
        return FAILED;
    }
    for (int k = 0; k < c->n_out; k++) {
        if (!compare(c, k, &out[k])) {
            return FAILED;
        }
    }
    return bound ? BOUND : PASSED;
}

// Integer and bool inputs of rank 0 and 1, and single numbers.
static int pick_bound(Case *c, FeBound *bound) {
    int n = 0;
    for (int k = 0; k < c->n_in; k++) {
        const IrTensor *t = &c->in[k];
        if ((!ir_dtype_is_float(t->dtype) && t->rank <= 1) || t->rank == 0) {
            bound[n++] = (FeBound){c->in_name[k], *t};
        }
    }
    return n;
}

static Outcome run_case(Case *c) {
    const char *model = ir_sprintf(c->arena, "%s/model.onnx", c->dir);
    IrDiag *d = ir_arena_diag(c->arena);
    FeBound bound[MAX_FILES];
    FeOptions opt = {.bound = bound, .keep_training_mode = true};
    IrProgram *p = fe_import(c->arena, model, &opt);
    c->n_in = c->n_out = -1;
    if (!p) {
        FILE *out = d->out;
        d->out = fopen("/dev/null", "w");
        c->n_in = load_tensors(c, "input", c->in, c->in_name);
        opt.n_bound = c->n_in > 0 ? pick_bound(c, bound) : 0;
        p = opt.n_bound > 0 ? fe_import(c->arena, model, &opt) : NULL;
        d->out = out;
    } else {
        c->n_in = load_tensors(c, "input", c->in, c->in_name);
    }
    if (!p) {
        return REFUSED;
    }
    c->n_out = load_tensors(c, "output", c->want, NULL);
    if (c->n_in < 0 || c->n_out < 0) {
        snprintf(c->why, sizeof c->why, "its test data cannot be read");
        return REFUSED;
    }
    return run_graph(c, p, opt.n_bound > 0);
}

static Outcome fork_case(const char *dir, bool verbose) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(SECONDS_PER_CASE);
        IrDiag diag;
        jmp_buf guard;
        ir_diag_init(&diag, dir);
        diag.out = verbose ? stderr : fopen("/dev/null", "w");
        diag.guard = &guard;
        if (setjmp(guard)) {
            _exit(REFUSED);
        }
        Case c = {.arena = ir_arena_new(&diag), .dir = dir};
        Outcome o = run_case(&c);
        if (c.why[0]) {
            printf("%s: %s: %s\n", outcome_name[o], dir, c.why);
            fflush(stdout);
        }
        ir_arena_free(c.arena);
        _exit(o);
    }
    int status;
    if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) >= OUTCOMES) {
        printf("FAILED: %s: ended with status %d\n", dir, status);
        return FAILED;
    }
    return WEXITSTATUS(status);
}

static bool is_random(const char *name) {
    bool found = false;
    for (size_t i = 0; i < sizeof random_cases / sizeof random_cases[0]; i++) {
        found |= strcmp(name, random_cases[i]) == 0;
    }
    return found;
}

int main(int argc, char **argv) {
    bool verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
    const char *root = argc > 1 + verbose ? argv[1 + verbose] : DATA_DIR;
    const char *part = argc > 2 + verbose ? argv[2 + verbose] : "";
    static const char *const kinds[] = {"node", "simple", "pytorch-converted", "pytorch-operator"};
    int total[OUTCOMES] = {0}, all = 0;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        struct dirent **entry;
        char dir[4096];
        snprintf(dir, sizeof dir, "%s/%s", root, kinds[k]);
        int n = scandir(dir, &entry, NULL, alphasort), count[OUTCOMES] = {0};
        for (int i = 0; i < n; i++) {
            char path[8192];
            struct stat st;
            snprintf(path, sizeof path, "%s/%s/model.onnx", dir, entry[i]->d_name);
            if (strstr(entry[i]->d_name, part) && !is_random(entry[i]->d_name) &&
                stat(path, &st) == 0) {
                *strrchr(path, '/') = '\0';
                count[fork_case(path, verbose)]++;
            }
            free(entry[i]);
        }
        if (n >= 0) {
            free(entry);
        }
        printf("%-18s", kinds[k]);
        for (int o = 0; o < OUTCOMES; o++) {
            printf(" %4d %s", count[o], outcome_name[o]);
            total[o] += count[o];
            all += count[o];
        }
        printf("\n");
    }
    if (all == 0) {
        printf("skipped: no test data in %s (Debian: libonnx-testdata)\n", root);
        return 0;
    }
    printf("all: %d passed, %d bound, %d refused, %d failed\n", total[PASSED], total[BOUND],
           total[REFUSED], total[FAILED]);
    bool enough = total[PASSED] + total[BOUND] >= FLOOR || *part;
    return total[FAILED] || !enough;
}
