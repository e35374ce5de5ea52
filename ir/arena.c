// Bump allocation in chunks. The chunk list holds everything, the deferred calls included, so
// freeing an arena is two walks: the calls, last first, then the chunks.
#include "ir/arena.h"
#include "ir/memory.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CHUNK = 1 << 16, LAST_CHUNK = 1 << 22, BIG = 1 << 15, LINE = 64 };

typedef struct Chunk {
    struct Chunk *next;
    size_t bytes; // with this head
} Chunk;

typedef struct Defer {
    struct Defer *next;
    void (*fn)(void *);
    void *arg;
} Defer;

struct IrArena {
    IrDiag *diag;
    Chunk *chunks;
    Defer *defers;
    char *at, *end; // what is left of the current chunk
    size_t chunk_bytes;
};

static char *align_up(char *p, size_t to) {
    return (char *)(((uintptr_t)p + to - 1) & ~(uintptr_t)(to - 1));
}

IrArena *ir_arena_new(IrDiag *diag) {
    IrArena *a = calloc(1, sizeof *a);
    if (!a) {
        ir_fatal(diag, IR_NOWHERE, "out of memory");
    }
    a->diag = diag;
    a->chunk_bytes = FIRST_CHUNK;
    return a;
}

void ir_arena_free(IrArena *a) {
    if (!a) {
        return;
    }
    for (Defer *d = a->defers; d; d = d->next) {
        d->fn(d->arg);
    }
    for (Chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        ir_memory_give(a->diag, c->bytes);
        free(c);
    }
    free(a);
}

// A zeroed chunk with room for `bytes` after its header and alignment.
static char *add_chunk(IrArena *a, size_t bytes) {
    size_t total;
    Chunk *c = NULL;
    if (!__builtin_add_overflow(bytes, sizeof(Chunk) + LINE, &total) && total <= PTRDIFF_MAX) {
        ir_memory_take(a->diag, total);
        c = calloc(1, total);
    }
    if (!c) {
        ir_fatal(a->diag, IR_NOWHERE, "out of memory: %zu bytes more are needed", bytes);
    }
    *c = (Chunk){a->chunks, total};
    a->chunks = c;
    return align_up((char *)(c + 1), LINE);
}

void *ir_alloc(IrArena *a, size_t bytes) {
    if (bytes >= BIG) {
        return add_chunk(a, bytes);
    }
    char *p = align_up(a->at, bytes >= LINE ? LINE : 16);
    if (!a->at || p > a->end || (size_t)(a->end - p) < bytes) {
        p = add_chunk(a, a->chunk_bytes);
        a->end = p + a->chunk_bytes;
        if (a->chunk_bytes < LAST_CHUNK) {
            a->chunk_bytes *= 2;
        }
    }
    a->at = p + bytes;
    return p;
}

void *ir_alloc_array(IrArena *a, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        ir_fatal(a->diag, IR_NOWHERE, "out of memory: %zu elements of %zu bytes", count, size);
    }
    return ir_alloc(a, bytes);
}

char *ir_strdup(IrArena *a, const char *s) {
    return ir_strndup(a, s, strlen(s));
}

char *ir_strndup(IrArena *a, const char *s, size_t n) {
    char *p = ir_alloc(a, n + 1);
    memcpy(p, s, n);
    return p;
}

char *ir_sprintf(IrArena *a, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        return ir_strdup(a, fmt);
    }
    char *p = ir_alloc(a, (size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return p;
}

void ir_arena_defer(IrArena *a, void (*fn)(void *), void *arg) {
    Defer *d = ir_alloc(a, sizeof *d);
    *d = (Defer){a->defers, fn, arg};
    a->defers = d;
}

IrDiag *ir_arena_diag(const IrArena *a) {
    return a->diag;
}

void *ir_arena_grow(IrArena *a, void *old, size_t n, int *cap, size_t size) {
    if (*cap > INT32_MAX / 2) {
        ir_fatal(a->diag, IR_NOWHERE, "out of memory: a list of more than %d entries", *cap);
    }
    int more = *cap < 4 ? 8 : *cap * 2;
    void *p = ir_alloc_array(a, (size_t)more, size);
    if (n) {
        memcpy(p, old, n * size);
    }
    *cap = more;
    return p;
}
