// Memory of a run of the evaluator: blocks in two lists, freed one by one after their last use or
// all at once when a node is done. Whatever happens, the arena's end frees the rest.
#include "ir/eval.h"
#include "ir/memory.h"
#include <stdlib.h>

struct IrBlock {
    IrBlock *next, **link; // link: the pointer that points here
    IrDiag *diag;
    size_t size;
    char pad[32];
};
_Static_assert(sizeof(IrBlock) == 64, "what follows a block's head keeps its alignment");

void *ir_eval_take(IrEval *e, IrBlock **list, size_t bytes) {
    IrDiag *diag = ir_arena_diag(e->arena);
    size_t size = bytes + 2 * sizeof(IrBlock) - 1;
    ir_memory_take(diag, size > bytes ? size : bytes);
    IrBlock *b = size > bytes ? aligned_alloc(64, size / 64 * 64) : NULL;
    if (!b) {
        ir_fatal(diag, IR_NOWHERE, "out of memory: %zu bytes", bytes);
    }
    b->diag = diag;
    b->size = size;
    b->next = *list;
    b->link = list;
    if (b->next) {
        b->next->link = &b->next;
    }
    *list = b;
    return b + 1;
}

void ir_eval_drop(void *data) {
    IrBlock *b = (IrBlock *)data - 1;
    *b->link = b->next;
    if (b->next) {
        b->next->link = b->link;
    }
    ir_memory_give(b->diag, b->size);
    free(b);
}

void ir_eval_drop_all(IrBlock **list) {
    while (*list) {
        ir_eval_drop(*list + 1);
    }
}

void ir_eval_release(IrEval *e) {
    ir_eval_drop_all(&e->scratch);
    ir_eval_drop_all(&e->values);
}

static void release_deferred(void *e) {
    ir_eval_release(e);
}

IrEval *ir_eval_new(IrArena *a) {
    IrEval *e = ir_alloc(a, sizeof *e);
    e->arena = a;
    ir_arena_defer(a, release_deferred, e);
    return e;
}

void *ir_eval_scratch(IrEval *e, int64_t count, size_t size) {
    size_t bytes;
    if (count < 0 || __builtin_mul_overflow((size_t)count, size, &bytes)) {
        bytes = SIZE_MAX; // more than there is
    }
    return ir_eval_take(e, &e->scratch, bytes);
}

const double *ir_eval_doubles(IrEval *e, const IrTensor *t) {
    int64_t n = ir_tensor_elems(t);
    if (t->dtype == IR_F64) {
        return t->data;
    }
    double *x = ir_eval_scratch(e, n, sizeof *x);
#pragma omp parallel for if (n > IR_EVAL_PARALLEL)
    for (int64_t i = 0; i < n; i += IR_EVAL_BLOCK) {
        ir_tensor_load(t, i, 1, n - i < IR_EVAL_BLOCK ? n - i : IR_EVAL_BLOCK, x + i);
    }
    return x;
}
