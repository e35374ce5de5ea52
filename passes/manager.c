// The pass manager: runs the pipelines of passes.def by level, verifies, times and prints.
//
// Invariants: every pass gets a scratch arena of its own that dies with it; with opt->verify a pass
// that leaves a graph ir_verify() rejects, and has reported no error, is a bug of ours and named as
// such.

#include "passes/util.h"
#include <string.h>
#include <time.h>

enum { PASS_MAX_ROUNDS = 8 };

#define PASS(name, function, level, pipelines, loop, what, why)                                    \
    PassResult pass_##function(PassContext *, IrGraph *);
#include "passes/passes.def"

enum { // as passes.def writes which pipelines a pass belongs to
    NAMED = 0,
#define PIPELINE(NAME, name, what) NAME = 1 << PASS_##NAME,
#include "passes/passes.def"
};

static const struct {
    const char *name, *what;
} pipelines[] = {
#define PIPELINE(NAME, name, what) [PASS_##NAME] = {name, what},
#include "passes/passes.def"
};

typedef struct PassInfo {
    const char *name;
    PassFn run;
    int level, pipelines, loop;
    const char *what, *why;
} PassInfo;

static const PassInfo table[] = {
#define PASS(name, function, level, pipelines, loop, what, why)                                    \
    {#name, pass_##function, level, pipelines, loop, what, why},
#include "passes/passes.def"
};
enum { N_PASSES = sizeof table / sizeof *table };

static double read_clock_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static bool wants_print(const PassOptions *opt, const char *name) {
    return opt->print_after &&
           (strcmp(opt->print_after, "all") == 0 || strcmp(opt->print_after, name) == 0);
}

// Returns the pass's number of changes.
static int run_one(IrProgram *p, IrGraph *g, const PassOptions *opt, const PassInfo *pass) {
    FILE *out = opt->out ? opt->out : stderr;
    int before = g->n_nodes, errors = p->diag->errors;
    double start = read_clock_ms();
    IrArena **scratch = pass_begin_arena(p->arena, p->diag);
    PassContext ctx = {.scratch = *scratch, .prog = p, .opt = opt};
    p->diag->at = IR_NOWHERE;
    PassResult r = pass->run(&ctx, g);
    p->diag->at = IR_NOWHERE;
    pass_end_arena(scratch);
    double ms = read_clock_ms() - start;
    if (opt->time_passes) {
        fprintf(out, "%-16s %9.2f ms  %6d changes  %6d -> %d nodes\n", pass->name, ms, r.changes,
                before, g->n_nodes);
    }
    if (opt->verify && p->diag->errors == errors) {
        const char *wrong = ir_verify(g);
        if (wrong) {
            ir_bug(pass->name, g->name, "%s", wrong);
        }
    }
    if (wants_print(opt, pass->name)) {
        fprintf(out, "// after %s\n", pass->name);
        ir_print_graph(out, g);
    }
    return r.changes;
}

static bool belongs(const PassInfo *pass, PassPipeline in, const PassOptions *opt) {
    return pass->pipelines >> in & 1 && pass->level <= opt->opt_level;
}

// Runs table[first..end), one loop group, until a round changes nothing.
static void run_group(IrProgram *p, IrGraph *g, const PassOptions *opt, PassPipeline in, int first,
                      int end) {
    for (int round = 0; round < PASS_MAX_ROUNDS; round++) {
        int changes = 0;
        for (int i = first; i < end; i++) {
            if (belongs(&table[i], in, opt)) {
                changes += run_one(p, g, opt, &table[i]);
            }
        }
        if (changes == 0) {
            return;
        }
    }
}

// Runs those of table[first..last) that belong, by groups.
static void run_rows(IrProgram *p, IrGraph *g, const PassOptions *opt, PassPipeline in, int first,
                     int last) {
    for (int i = first; i < last;) {
        int end = i + 1;
        while (table[i].loop && end < last && table[end].loop == table[i].loop) {
            end++;
        }
        if (table[i].loop) {
            run_group(p, g, opt, in, i, end);
        } else if (belongs(&table[i], in, opt)) {
            run_one(p, g, opt, &table[i]);
        }
        i = end;
    }
}

// The first row that asks what the machine is
static int first_of_machine(void) {
    int i = 0;
    while (table[i].run != pass_layout) {
        i++;
    }
    return i;
}

void passes_run(IrProgram *p, IrGraph *g, const PassOptions *opt, PassPipeline in) {
    run_rows(p, g, opt, in, 0, N_PASSES);
}

void passes_run_part(IrProgram *p, IrGraph *g, const PassOptions *opt, PassPipeline in,
                     PassPart part) {
    int cut = first_of_machine();
    PassOptions any = *opt;
    any.machine = NULL;
    if (part == PASS_ANY_MACHINE) {
        run_rows(p, g, &any, in, 0, cut);
    } else {
        run_rows(p, g, opt, in, cut, N_PASSES);
    }
}

bool passes_find_pipeline(const char *name, PassPipeline *out) {
    for (int i = 0; i < PASS_PIPELINES; i++) {
        if (strcmp(pipelines[i].name, name) == 0) {
            *out = (PassPipeline)i;
            return true;
        }
    }
    return false;
}

static const PassInfo *find_pass(const char *name, size_t len) {
    for (int i = 0; i < N_PASSES; i++) {
        if (strlen(table[i].name) == len && memcmp(table[i].name, name, len) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

bool passes_run_named(IrProgram *p, IrGraph *g, const PassOptions *opt, const char *names) {
    for (const char *s = names; *s;) {
        size_t len = strcspn(s, ",");
        const PassInfo *pass = find_pass(s, len);
        if (!pass) {
            int shown = len < 80 ? (int)len : 80;
            ir_error(p->diag, IR_NOWHERE, "no pass is called '%.*s'", shown, s);
            return false;
        }
        run_one(p, g, opt, pass);
        s += len;
        s += *s == ',';
    }
    return true;
}

bool passes_is_pass(const char *name) {
    return find_pass(name, strlen(name)) != NULL;
}

void passes_list(FILE *f) {
    fputs("pipelines\n", f);
    for (int i = 0; i < PASS_PIPELINES; i++) {
        fprintf(f, "  %-16s %s\n", pipelines[i].name, pipelines[i].what);
    }
    fputs("passes\n", f);
    for (int i = 0; i < N_PASSES; i++) {
        fprintf(f, "  %-16s -O%d  %s (", table[i].name, table[i].level, table[i].what);
        const char *sep = "";
        for (int k = 0; k < PASS_PIPELINES; k++) {
            if (table[i].pipelines >> k & 1) {
                fprintf(f, "%s%s", sep, pipelines[k].name);
                sep = " ";
            }
        }
        fprintf(f, "%s)\n", *sep ? "" : "by name");
    }
}
