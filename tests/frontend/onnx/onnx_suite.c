// See onnx_suite.h.
#define _GNU_SOURCE
#include "tests/frontend/onnx/onnx_suite.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DATA_DIR "/usr/share/libonnx-testdata/data"
enum { SECONDS_PER_CASE = 60, JOBS = 2 };

static const char *const outcome_name[SUITE_OUTCOMES] = {"passed", "bound", "refused", "FAILED"};
static const char *const kind_name[] = {"node", "simple", "pytorch-converted", "pytorch-operator"};
enum { KINDS = sizeof kind_name / sizeof *kind_name };

// Two results depend on the random numbers of whoever stored them. In the other two align_corners
// divides by scale * size without rounding it down to the length of the result, as the operator's
// text and ONNX Runtime do. Of the last four (Debian's) an input is stored in another shape than
// the model declares.
static const char *const left_out[] = {"test_training_dropout",
                                       "test_training_dropout_default",
                                       "test_resize_downsample_scales_linear_align_corners",
                                       "test_resize_downsample_scales_cubic_align_corners",
                                       "test_castlike_BFLOAT16_to_FLOAT",
                                       "test_castlike_BFLOAT16_to_FLOAT_expanded",
                                       "test_castlike_FLOAT_to_BFLOAT16",
                                       "test_castlike_FLOAT_to_BFLOAT16_expanded"};

// ---------------------------------------------------------------- one case, in its own process

static int load_tensors(SuiteCase *c, const char *kind, IrTensor *t, const char **names) {
    int n = 0;
    for (; n < SUITE_MAX_FILES; n++) {
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

// Of what is finite, and at least 1.
static double find_largest(const IrTensor *t) {
    double most = 1;
    for (int64_t i = 0; i < ir_tensor_elems(t) && ir_dtype_is_float(t->dtype); i++) {
        double x = fabs(ir_tensor_get(t, i));
        most = isfinite(x) ? fmax(most, x) : most;
    }
    return most;
}

// Integers and bool exactly, floats within the tolerances.
static bool is_close(const IrTensor *got, const IrTensor *want, int64_t i, double largest) {
    size_t bytes = (size_t)ir_dtype_bytes(want->dtype), at = (size_t)i * bytes;
    if (!ir_dtype_is_float(want->dtype)) {
        return memcmp((const char *)got->data + at, (const char *)want->data + at, bytes) == 0;
    }
    double a = ir_tensor_get(got, i), b = ir_tensor_get(want, i);
    if (isnan(b) || isinf(b)) {
        return isnan(b) ? isnan(a) : a == b;
    }
    double share = want->dtype == IR_F16 ? 2e-3 : want->dtype == IR_BF16 ? 1.6e-2 : 1e-3;
    return fabs(a - b) <= 1e-7 * largest + share * fabs(b);
}

// Older cases store bfloat16 as uint16.
static void read_bits(IrTensor *stored, IrDtype as) {
    stored->dtype = stored->dtype == IR_U16 && as == IR_BF16 ? as : stored->dtype;
}

static bool compare(SuiteCase *c, int k, const IrTensor *got) {
    IrTensor *want = &c->want[k];
    read_bits(want, got->dtype);
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
    double largest = find_largest(want);
    for (int64_t i = 0; i < ir_tensor_elems(want); i++) {
        if (!is_close(got, want, i, largest)) {
            snprintf(c->why, sizeof c->why, "output %d element %lld: %.9g, expected %.9g", k,
                     (long long)i, ir_tensor_get(got, i), ir_tensor_get(want, i));
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

// An output whose size data decides, at the size that it has: its count is one of those behind.
static void take_counted(const IrGraph *g, int k, IrTensor *out) {
    const IrNode *n = g->outputs[k]->def;
    size_t run = (size_t)ir_dtype_bytes(out[k].dtype), rows = 1;
    int axis = (int)ir_int(n, IR_ATTR_AXIS, 0), i = ir_own_outputs(g);
    for (; i < g->n_outputs && (n->op != IR_OP_BOUNDED || g->outputs[i] != n->out[1]); i++) {
    }
    for (int a = 0; a < out[k].rank; a++) {
        *(a < axis ? &rows : &run) *= a == axis ? 1 : (size_t)out[k].dim[a];
    }
    for (size_t row = 0; row < rows && i < g->n_outputs; row++) {
        size_t have = (size_t)out[k].dim[axis] * run, meant = (size_t)ir_tensor_get(&out[i], 0) * run;
        memmove((char *)out[k].data + row * meant, (char *)out[k].data + row * have, meant);
    }
    out[k].dim[axis] = i < g->n_outputs ? (int64_t)ir_tensor_get(&out[i], 0) : out[k].dim[axis];
}

static SuiteOutcome run_graph(const Suite *s, SuiteCase *c, IrGraph *g, bool bound) {
    IrTensor in[SUITE_MAX_FILES], out[SUITE_MAX_FILES];
    if (g->n_inputs > SUITE_MAX_FILES || g->n_outputs > SUITE_MAX_FILES ||
        ir_own_outputs(g) != c->n_out || (!bound && g->n_inputs != c->n_in)) {
        snprintf(c->why, sizeof c->why, "%d inputs and %d outputs, files for %d and %d",
                 g->n_inputs, ir_own_outputs(g), c->n_in, c->n_out);
        return SUITE_FAILED;
    }
    for (int i = 0; i < g->n_inputs; i++) {
        in[i] = c->in[i];
        for (int k = 0; k < c->n_in && bound; k++) {
            if (strcmp(c->in_name[k], g->inputs[i]->name) == 0) {
                in[i] = c->in[k];
            }
        }
        read_bits(&in[i], g->inputs[i]->type.dtype);
    }
    SuiteOutcome o = s->run(c, g, batch_of(g, in), in, out);
    for (int k = 0; k < c->n_out && o == SUITE_PASSED; k++) {
        take_counted(g, k, out);
        o = compare(c, k, &out[k]) ? SUITE_PASSED : SUITE_FAILED;
    }
    return o == SUITE_PASSED && bound ? SUITE_BOUND : o;
}

// What Resize and Upsample are told.
static bool is_scale(const char *name) {
    return strcmp(name, "scales") == 0 || strcmp(name, "roi") == 0;
}

// As constants are: of f32 where it is another float.
static IrTensor widen(IrArena *a, const IrTensor *t) {
    if (!ir_dtype_is_float(t->dtype) || t->dtype == IR_F32) {
        return *t;
    }
    IrType type = {IR_F32, ir_shape_of(t->rank, t->dim), 0};
    IrTensor out = ir_tensor_new(a, &type, 1);
    for (int64_t i = 0; i < ir_tensor_elems(t); i++) {
        ir_tensor_set(&out, i, ir_tensor_get(t, i));
    }
    return out;
}

// Integer and bool inputs of rank 0 and 1, single numbers, scales.
static int pick_bound(SuiteCase *c, FeBound *bound) {
    int n = 0;
    for (int k = 0; k < c->n_in; k++) {
        const IrTensor *t = &c->in[k];
        bool counts = !ir_dtype_is_float(t->dtype) || is_scale(c->in_name[k]);
        if (t->rank == 0 || (t->rank == 1 && counts)) {
            bound[n++] = (FeBound){c->in_name[k], widen(c->arena, t)};
        }
    }
    return n;
}

// Again with small inputs as constants. NULL: still refused, by the same words as before.
static IrProgram *import_bound(SuiteCase *c, const char *model, FeOptions *opt, FeBound *bound) {
    IrDiag *d = ir_arena_diag(c->arena);
    FILE *out = d->out;
    d->out = fopen("/dev/null", "w");
    c->n_in = load_tensors(c, "input", c->in, c->in_name);
    opt->bound = bound;
    opt->n_bound = c->n_in > 0 ? pick_bound(c, bound) : 0;
    IrProgram *p = opt->n_bound > 0 ? fe_import(c->arena, model, opt) : NULL;
    fclose(d->out);
    d->out = out;
    return p;
}

static SuiteOutcome run_case(const Suite *s, SuiteCase *c) {
    const char *model = ir_sprintf(c->arena, "%s/model.onnx", c->dir);
    FeBound bound[SUITE_MAX_FILES];
    FeOptions opt = {.keep_training_mode = true};
    IrProgram *p = fe_import(c->arena, model, &opt);
    if (!p && !(p = import_bound(c, model, &opt, bound))) {
        return SUITE_REFUSED;
    }
    if (opt.n_bound == 0) {
        c->n_in = load_tensors(c, "input", c->in, c->in_name);
    }
    c->n_out = load_tensors(c, "output", c->want, NULL);
    if (c->n_in < 0 || c->n_out < 0) {
        snprintf(c->why, sizeof c->why, "its test data cannot be read");
        return SUITE_FAILED;
    }
    return run_graph(s, c, p->graphs[0], opt.n_bound > 0);
}

// ---------------------------------------------------------------- what a process reports

typedef struct Report { // through a pipe, in one piece
    SuiteOutcome outcome;
    char op[64];     // that was refused: operator, "input" or "output"
    char text[2000]; // diagnostics, or why it failed
} Report;

// The operator of "FILE: node 'NAME' (Op): reason", or what else the line names. False: nothing.
static bool find_culprit(const char *line, char *op, size_t size) {
    const char *node = strstr(line, ": node '"), *p = node ? strstr(node, "' (") : NULL;
    if (p) {
        size_t n = strcspn(p + 3, ",)");
        snprintf(op, size, "%.*s", (int)n, p + 3);
        return true;
    }
    const char *edge = strstr(line, ": input '") ? "input" : NULL;
    edge = strstr(line, ": output '") ? "output" : edge;
    snprintf(op, size, "%s", edge ? edge : "?");
    return edge;
}

// Every line of the diagnostics must say where.
static void check_refusal(Report *r) {
    char text[sizeof r->text], *rest = text;
    memcpy(text, r->text, sizeof text);
    bool first = true, named = true;
    for (char *line; (line = strsep(&rest, "\n"));) {
        char op[sizeof r->op];
        if (*line && rest && !strstr(line, ": warning: ")) { // the last one may be cut
            named &= find_culprit(line, op, sizeof op);
            memcpy(r->op, first ? op : r->op, sizeof op);
            first = false;
        }
    }
    r->outcome = named && !first ? SUITE_REFUSED : SUITE_FAILED;
}

static void run_child(const Suite *s, const char *dir, int fd) {
    static Report r;
    static SuiteCase c;
    IrDiag diag;
    jmp_buf guard;
    char *text = NULL;
    size_t size = 0;
    alarm(SECONDS_PER_CASE);
    ir_diag_init(&diag, dir);
    diag.out = open_memstream(&text, &size);
    diag.guard = &guard;
    if (setjmp(guard)) {
        r.outcome = SUITE_REFUSED;
    } else {
        c.arena = ir_arena_new(&diag);
        c.dir = dir;
        r.outcome = run_case(s, &c);
        ir_arena_free(c.arena);
    }
    fclose(diag.out);
    snprintf(r.text, sizeof r.text, "%s", r.outcome == SUITE_REFUSED ? text : c.why);
    free(text);
    if (r.outcome == SUITE_REFUSED) {
        check_refusal(&r);
    }
    size_t end = strlen(r.text);
    r.text[end && r.text[end - 1] == '\n' ? end - 1 : end] = '\0';
    fflush(NULL);
    _exit(write(fd, &r, sizeof r) != sizeof r);
}

// ---------------------------------------------------------------- all cases

typedef struct Case {
    int kind;
    const char *name, *dir; // "node/test_add"
    Report report;
} Case;

typedef struct Cases {
    Case *v;
    int n, cap;
} Cases;

static bool is_left_out(const char *name) {
    bool found = false;
    for (size_t i = 0; i < sizeof left_out / sizeof left_out[0]; i++) {
        found |= strcmp(name, left_out[i]) == 0;
    }
    return found;
}

static void list_kind(IrArena *a, const char *root, int kind, const char *part, Cases *all) {
    struct dirent **entry;
    struct stat st;
    const char *folder = ir_sprintf(a, "%s/%s", root, kind_name[kind]);
    int n = scandir(folder, &entry, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        Case c = {.kind = kind};
        c.dir = ir_sprintf(a, "%s/%s", folder, entry[i]->d_name);
        c.name = ir_sprintf(a, "%s/%s", kind_name[kind], entry[i]->d_name);
        if (strstr(c.name, part) && !is_left_out(entry[i]->d_name) &&
            stat(ir_sprintf(a, "%s/model.onnx", c.dir), &st) == 0) {
            IR_PUSH(a, all->v, all->n, all->cap, c);
        }
        free(entry[i]);
    }
    if (n >= 0) {
        free(entry);
    }
}

typedef struct Job {
    pid_t pid;
    int fd;
    Case *of;
} Job;

static void start_job(const Suite *s, Job *j, Case *c) {
    int fd[2];
    fflush(NULL);
    if (pipe(fd) != 0 || (j->pid = fork()) < 0) {
        perror("onnx_suite");
        exit(1);
    }
    if (j->pid == 0) {
        close(fd[0]);
        run_child(s, c->dir, fd[1]);
    }
    close(fd[1]);
    j->fd = fd[0];
    j->of = c;
}

// Waits for one that is running; its report goes to its case.
static void end_job(Job *jobs) {
    int status;
    pid_t pid = waitpid(-1, &status, 0);
    for (int i = 0; i < JOBS; i++) {
        if (jobs[i].pid == pid) {
            Report *r = &jobs[i].of->report;
            ssize_t got = read(jobs[i].fd, r, sizeof *r);
            if (got != sizeof *r || status != 0) {
                r->outcome = SUITE_FAILED;
                snprintf(r->text, sizeof r->text, "ended with status %d", status);
            }
            close(jobs[i].fd);
            jobs[i].pid = 0;
        }
    }
}

static void run_cases(const Suite *s, Cases *all, bool verbose) {
    Job jobs[JOBS] = {0};
    for (int i = 0, running = 0; i < all->n || running;) {
        if (i < all->n && running < JOBS) {
            int k = 0;
            while (jobs[k].pid) {
                k++;
            }
            start_job(s, &jobs[k], &all->v[i++]);
            running++;
        } else {
            end_job(jobs);
            running--;
        }
    }
    for (int i = 0; i < all->n; i++) {
        const Report *r = &all->v[i].report;
        if (r->outcome == SUITE_FAILED || (verbose && r->outcome == SUITE_REFUSED)) {
            printf("%s: %s: %s\n", outcome_name[r->outcome], all->v[i].name, r->text);
        }
    }
}

static void count_cases(const Cases *all, int kind, int *count) {
    memset(count, 0, SUITE_OUTCOMES * sizeof *count);
    for (int i = 0; i < all->n; i++) {
        count[all->v[i].report.outcome] += kind < 0 || all->v[i].kind == kind;
    }
}

static void print_counts(const char *name, const int *count) {
    printf("%-18s", name);
    for (int o = 0; o < SUITE_OUTCOMES; o++) {
        printf(" %4d %s", count[o], outcome_name[o]);
    }
    printf("\n");
}

// ---------------------------------------------------------------- the list of refused cases

static bool write_list(const char *path, const Cases *all) {
    FILE *f = fopen(path, "w");
    for (int i = 0; i < all->n && f; i++) {
        if (all->v[i].report.outcome == SUITE_REFUSED) {
            fprintf(f, "%s %s\n", all->v[i].name, all->v[i].report.op);
        }
    }
    bool ok = f && fclose(f) == 0;
    printf(ok ? "wrote %s\n" : "cannot write %s\n", path);
    return ok;
}

static bool is_listed(const char *list, const char *name) {
    size_t n = strlen(name);
    for (const char *p = list; (p = strstr(p, name)); p++) {
        if ((p == list || p[-1] == '\n') && p[n] == ' ') {
            return true;
        }
    }
    return false;
}

// The list only shrinks. False: a case was refused that is not in it.
static bool check_list(IrArena *a, const char *path, const Cases *all) {
    FILE *f = fopen(path, "r");
    size_t size = 1 << 20, got;
    char *list = ir_alloc(a, size);
    if (!f) {
        printf("cannot read %s\n", path);
        return false;
    }
    got = fread(list, 1, size - 1, f);
    list[got] = '\0';
    fclose(f);
    bool ok = true;
    for (int i = 0; i < all->n; i++) {
        const Case *c = &all->v[i];
        bool refused = c->report.outcome == SUITE_REFUSED, listed = is_listed(list, c->name);
        if (refused && !listed) {
            printf("not in %s, but refused: %s: %s\n", path, c->name, c->report.text);
            ok = false;
        } else if (listed && !refused) {
            printf("remove from %s: %s is %s\n", path, c->name, outcome_name[c->report.outcome]);
        }
    }
    return ok;
}

int suite_main(int argc, char **argv, const Suite *suite) {
    bool verbose = false, write = false;
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; at++) {
        verbose |= strcmp(argv[at], "-v") == 0;
        write |= strcmp(argv[at], "--write-list") == 0;
    }
    const char *root = at < argc ? argv[at] : DATA_DIR;
    const char *part = at + 1 < argc ? argv[at + 1] : "";
    IrDiag diag;
    ir_diag_init(&diag, "onnx_suite");
    IrArena *a = ir_arena_new(&diag);
    Cases all = {0};
    for (int k = 0; k < KINDS; k++) {
        list_kind(a, root, k, part, &all);
    }
    if (all.n == 0) {
        printf("skipped: no test data in %s (Debian: libonnx-testdata)\n", root);
        ir_arena_free(a);
        return 0;
    }
    run_cases(suite, &all, verbose);
    int count[SUITE_OUTCOMES];
    for (int k = 0; k < KINDS; k++) {
        count_cases(&all, k, count);
        print_counts(kind_name[k], count);
    }
    count_cases(&all, -1, count);
    print_counts("all", count);
    bool ok = count[SUITE_FAILED] == 0;
    if (!*part) {
        int passed = count[SUITE_PASSED] + (suite->bound_count ? count[SUITE_BOUND] : 0);
        ok &= passed >= suite->floor;
        if (passed < suite->floor) {
            printf("fewer than %d passed\n", suite->floor);
        }
        if (suite->refused_list) {
            ok &= write ? write_list(suite->refused_list, &all)
                        : check_list(a, suite->refused_list, &all);
        }
    }
    ir_arena_free(a);
    return !ok;
}
