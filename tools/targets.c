// --mcpu: the machines that a program is for, the best first: the runtime takes the first that its
// CPU can run.
#include "tools/tool.h"

#include "runtime/core/cpu.h"
#include "runtime/core/cpu_features.h"

#include <stdlib.h>
#include <string.h>

// The levels of x86-64, and what servers have beyond: dot products of bytes, of bf16, and AMX.
static const char all[] = "x86-64-v2,x86-64-v3,x86-64-v4,icelake-server,znver4,sapphirerapids";

// A machine that has all of another's features, and more, stands before it.
static int by_features(const void *a, const void *b) {
    const CgTarget *x = a, *y = b;
    int wide = y->machine.vector_bytes - x->machine.vector_bytes;
    return wide ? wide : __builtin_popcountll(y->has) - __builtin_popcountll(x->has);
}

static const char *find_twice(const CgTarget *v, int n) {
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++)
            if (strcmp(v[i].cpu, v[k].cpu) == 0)
                return v[i].cpu;
    return NULL;
}

static bool check_isa(Tool *t, const CgTarget *v, int n) {
    for (int i = 1; i < n; i++)
        if (v[i].machine.isa != v[0].machine.isa)
            ir_error(&t->diag, IR_NOWHERE,
                     "--mcpu: %s and %s are of two instruction sets: a program is for one",
                     v[0].cpu, v[i].cpu);
    return !t->diag.errors;
}

bool tool_targets(Tool *t, ToolModel *m) {
    IrArena *a = t->arena;
    const char *list = strcmp(m->mcpu, "all") == 0 ? all : m->mcpu;
    CgTarget *v = ir_alloc_array(a, HONE_MAX_UNITS, sizeof *v);
    int n = 0;
    for (const char *s = list; s; n++) {
        size_t len = strcspn(s, ",");
        if (n == HONE_MAX_UNITS) {
            ir_error(&t->diag, IR_NOWHERE, "--mcpu: more than %d CPUs", HONE_MAX_UNITS);
            return false;
        }
        if (!cg_target_init(&v[n], a, ir_strndup(a, s, len), &t->diag))
            return false;
        s = s[len] ? s + len + 1 : NULL;
    }
    const char *twice = find_twice(v, n);
    if (twice) {
        ir_error(&t->diag, IR_NOWHERE, "--mcpu: %s is given twice", twice);
        return false;
    }
    if (!check_isa(t, v, n))
        return false;
    qsort(v, (size_t)n, sizeof *v, by_features);
    m->n_targets = n;
    m->targets = v;
    m->target = v[0];
    return true;
}

bool tool_runs_here(Tool *t, ToolModel *m) {
    bool here = m->n_targets == 1 && !tool_missing(&m->target);
    return here || cg_target_init(&m->target, t->arena, "native", &t->diag);
}

const char *tool_missing(const CgTarget *target) {
    uint32_t needs[HONE_CPU_COUNT + 1];
    int n = 0;
    for (uint32_t i = 1; i < HONE_CPU_COUNT; i++)
        if (target->has >> i & 1)
            needs[n++] = i;
    needs[n] = 0;
    return rt_cpu_missing(needs, RT_CPU_ALL);
}
