// See guard.h. A buffer's mapping is [guard page][pages][guard page].
#define _GNU_SOURCE
#include "tests/codegen/rig/guard.h"

#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

typedef struct Buffer {
    struct Buffer *next;
    char *map, *data;
    size_t map_bytes, bytes;
    bool sealed;
    char label[128];
} Buffer;

struct Guard {
    bool at_end;
    char what[160];
    Buffer *buffers;
    const HoneModelDesc *desc;
    volatile int node; // of thread 0; -1: none yet
    struct sigaction before[2];
    bool watched;
};

static Guard *watched; // a signal handler has no other way to know

Guard *guard_new(bool at_end, const char *what) {
    Guard *g = calloc(1, sizeof *g);
    if (!g)
        abort();
    g->at_end = at_end;
    g->node = -1;
    snprintf(g->what, sizeof g->what, "%s", what);
    return g;
}

void *guard_alloc(Guard *g, size_t bytes, size_t align, const char *fmt, ...) {
    Buffer *b = calloc(1, sizeof *b);
    size_t inner = (bytes + PAGE - 1) / PAGE * PAGE;
    if (!b)
        abort();
    b->bytes = bytes;
    b->map_bytes = inner + 2 * PAGE;
    b->map = mmap(NULL, b->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->map == MAP_FAILED ||
        (inner && mprotect(b->map + PAGE, inner, PROT_READ | PROT_WRITE) != 0))
        abort();
    b->data = b->map + PAGE;
    if (g->at_end)
        b->data = (char *)((uintptr_t)(b->data + inner - bytes) & ~(uintptr_t)(align - 1));
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(b->label, sizeof b->label, fmt, ap);
    va_end(ap);
    b->next = g->buffers;
    g->buffers = b;
    return b->data;
}

void guard_seal(Guard *g) {
    for (Buffer *b = g->buffers; b; b = b->next) {
        size_t inner = b->map_bytes - 2 * PAGE;
        if (inner && mprotect(b->map + PAGE, inner, PROT_READ) != 0)
            abort();
        b->sealed = true;
    }
}

static const Buffer *find_buffer(const Guard *g, const char *at) {
    for (const Buffer *b = g->buffers; b; b = b->next)
        if (at >= b->map && at < b->map + b->map_bytes)
            return b;
    return NULL;
}

static void report_trap(int sig, siginfo_t *info, void *context) {
    (void)context;
    const Guard *g = watched;
    const char *at = info->si_addr;
    const Buffer *b = g ? find_buffer(g, at) : NULL;
    if (!b) { // not ours: a crash like any other
        signal(sig, SIG_DFL);
        raise(sig);
        return;
    }
    char text[512];
    const char *node = "?";
    if (g->desc && g->node >= 0 && g->node < g->desc->n_nodes)
        node = g->desc->nodes[g->node].name;
    long past = at - (b->data + b->bytes), before = b->data - at;
    bool after = past >= 0;
    int n = after || before > 0
                ? snprintf(text, sizeof text, "guard: %s: access %ld bytes %s %s (%zu bytes), ",
                           g->what, after ? past : before, after ? "past the end of" : "before",
                           b->label, b->bytes)
                : snprintf(text, sizeof text, "guard: %s: write into %s, byte %ld, ", g->what,
                           b->label, -before);
    n += snprintf(text + n, sizeof text - (size_t)n, "at or near node '%.200s'\n", node);
    if (write(2, text, (size_t)n) < 0)
        _exit(2);
    _exit(1);
}

void guard_watch(Guard *g) {
    struct sigaction a = {.sa_sigaction = report_trap, .sa_flags = SA_SIGINFO};
    watched = g;
    g->watched = true;
    if (sigaction(SIGSEGV, &a, &g->before[0]) != 0 || sigaction(SIGBUS, &a, &g->before[1]) != 0)
        abort();
}

void guard_names(Guard *g, const HoneModelDesc *desc) {
    g->desc = desc;
}

void guard_observe(void *guard, const HoneCall *call, int32_t node) {
    (void)call;
    ((Guard *)guard)->node = node;
}

void guard_free(Guard *g) {
    if (g->watched) {
        sigaction(SIGSEGV, &g->before[0], NULL);
        sigaction(SIGBUS, &g->before[1], NULL);
        watched = NULL;
    }
    for (Buffer *b = g->buffers, *next; b; b = next) {
        next = b->next;
        munmap(b->map, b->map_bytes);
        free(b);
    }
    free(g);
}
