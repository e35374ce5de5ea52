// The account behind memory.h. A diag without one has no limit.
#include "ir/memory.h"

#include <stdio.h>

const char *ir_size_text(int64_t bytes, char *text, size_t size) {
    double kb = (double)bytes / 1024;
    if (bytes < 1024) {
        snprintf(text, size, "%lld bytes", (long long)bytes);
    } else if (kb < 1024) {
        snprintf(text, size, "%.0f KB", kb);
    } else {
        snprintf(text, size, kb < 10 * 1024 ? "%.1f MB" : "%.0f MB", kb / 1024);
    }
    return text;
}

static int64_t most(const IrMemory *m) {
    int64_t bytes;
    if (m->budget) {
        return m->budget;
    }
    bool over = __builtin_mul_overflow(m->read, (int64_t)IR_MEMORY_PER_BYTE, &bytes) ||
                __builtin_add_overflow(bytes, (int64_t)IR_MEMORY_BASE, &bytes) ||
                __builtin_add_overflow(bytes, m->raised, &bytes);
    return over ? INT64_MAX : bytes;
}

void ir_memory_read(IrDiag *d, int64_t bytes) {
    if (d->memory && __builtin_add_overflow(d->memory->read, bytes, &d->memory->read)) {
        d->memory->read = INT64_MAX;
    }
}

bool ir_memory_try(IrDiag *d, size_t bytes) {
    IrMemory *m = d->memory;
    int64_t more = bytes > INT64_MAX / 2 ? INT64_MAX / 2 : (int64_t)bytes;
    if (!m || __atomic_add_fetch(&m->used, more, __ATOMIC_RELAXED) <= most(m)) {
        return true;
    }
    __atomic_sub_fetch(&m->used, more, __ATOMIC_RELAXED);
    return false;
}

void ir_memory_take(IrDiag *d, size_t bytes) {
    if (!ir_memory_try(d, bytes)) {
        int64_t more = bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes;
        ir_fatal(d, IR_NOWHERE,
                 "%s of memory are needed beside the %s in use, more than the %s allowed "
                 "(--max-memory SIZE raises it)",
                 IR_SIZE(more), IR_SIZE(d->memory->used), IR_SIZE(most(d->memory)));
    }
}

void ir_memory_give(IrDiag *d, size_t bytes) {
    if (d->memory) {
        __atomic_sub_fetch(&d->memory->used, (int64_t)bytes, __ATOMIC_RELAXED);
    }
}
