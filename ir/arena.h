// Arenas own all of the compiler's memory: one per compilation, one per graph, one of scratch per
// pass. Nothing in them is freed alone. Running out of memory is ir_fatal() on the arena's diag,
// so no caller checks for NULL.
#ifndef IR_ARENA_H
#define IR_ARENA_H

#include "ir/diag.h"
#include <stddef.h>
#include <stdint.h>

typedef struct IrArena IrArena;

IrArena *ir_arena_new(IrDiag *diag);
void ir_arena_free(IrArena *a); // runs the deferred calls, last first; NULL is fine
// Zeroed, aligned to 64 bytes from 64 bytes on, else to 16. Big blocks go straight to malloc.
void *ir_alloc(IrArena *a, size_t bytes);
void *ir_alloc_array(IrArena *a, size_t count, size_t size); // checks the product
char *ir_strdup(IrArena *a, const char *s);
char *ir_strndup(IrArena *a, const char *s, size_t n);
char *ir_sprintf(IrArena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// fn(arg) runs when the arena is freed: munmap, close, LLVM's dispose functions.
void ir_arena_defer(IrArena *a, void (*fn)(void *), void *arg);
IrDiag *ir_arena_diag(const IrArena *a);

// Grows an arena-backed array: IR_PUSH(arena, list.v, list.n, list.cap, item).
#define IR_PUSH(arena, v, n, cap, item)                                                            \
    do {                                                                                           \
        if ((n) == (cap)) {                                                                        \
            (v) = ir_arena_grow((arena), (v), (size_t)(n), &(cap), sizeof *(v));                   \
        }                                                                                          \
        (v)[(n)++] = (item);                                                                       \
    } while (0)
void *ir_arena_grow(IrArena *a, void *old, size_t n, int *cap, size_t size);

#endif
