// The account behind memory.h. A diag without one has no limit.
#include "ir/memory.h"

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
        double mb = 1 << 20;
        ir_fatal(d, IR_NOWHERE,
                 "%.0f MB of memory are needed beside the %.0f MB in use, more than the %.0f MB "
                 "allowed (--max-memory SIZE raises it)",
                 (double)bytes / mb, (double)d->memory->used / mb, (double)most(d->memory) / mb);
    }
}

void ir_memory_give(IrDiag *d, size_t bytes) {
    if (d->memory) {
        __atomic_sub_fetch(&d->memory->used, (int64_t)bytes, __ATOMIC_RELAXED);
    }
}
