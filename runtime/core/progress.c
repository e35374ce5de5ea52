// How far the threads of a run are. The steps between two meetings are a phase; of each phase each
// thread has a share, which is the same work whoever does it. A thread does its own share first.
// Then it does those that their threads have not begun: one that has lost its CPU to others, or
// that is not awake yet, holds nobody up but for what it is in the middle of, and when it comes
// back, it finds its shares done. Where every thread has its CPU, all of this costs what a barrier
// costs.
//
// `done` counts shares; who finishes a phase's last advances `phase`, for which the others wait.
// Waiting spins first (shares end within microseconds of each other), then sleeps on a futex, so
// that a machine with fewer free CPUs than threads makes progress and nobody's CPU is burnt.
#define _GNU_SOURCE
#include "runtime/core/rt.h"

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPINS = 1000 }; // some 20 us

struct RtShare {                        // of a thread: a line of its own
    _Alignas(64) _Atomic uint32_t next; // the first phase whose share nobody has begun
};

static inline void relax_cpu(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

bool rt_progress_make(RtProgress *p, int threads, RtErr *err) {
    memset(p, 0, sizeof *p);
    p->spins = threads > rt_cpus_available() ? 1 : SPINS;
    p->share = rt_alloc_aligned((size_t)threads * sizeof *p->share);
    return p->share || rt_fail(err, "no memory");
}

void rt_progress_free(RtProgress *p) {
    free(p->share);
}

void rt_progress_start(RtProgress *p, int threads) {
    atomic_store_explicit(&p->done, 0, memory_order_relaxed);
    atomic_store_explicit(&p->phase, 0, memory_order_relaxed);
    atomic_store_explicit(&p->sleepers, 0, memory_order_relaxed);
    for (int i = 0; i < threads; i++)
        atomic_store_explicit(&p->share[i].next, 0, memory_order_relaxed);
}

bool rt_progress_begin(RtProgress *p, uint32_t phase, int32_t share) {
    uint32_t expected = phase;
    return atomic_compare_exchange_strong_explicit(&p->share[share].next, &expected, phase + 1,
                                                   memory_order_relaxed, memory_order_relaxed);
}

void rt_progress_finish(RtProgress *p, uint32_t phase, int32_t threads) {
    uint32_t before = atomic_fetch_add_explicit(&p->done, 1, memory_order_acq_rel);
    if (before + 1 != (phase + 1) * (uint32_t)threads)
        return;
    // `phase` is advanced before `sleepers` is looked at; the futex compares `phase` after
    // `sleepers` was raised: one of the two sees the other.
    atomic_store(&p->phase, phase + 1);
    if (atomic_load(&p->sleepers) != 0)
        syscall(SYS_futex, &p->phase, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static inline bool is_over(RtProgress *p, uint32_t phase) {
    return atomic_load_explicit(&p->phase, memory_order_acquire) != phase;
}

bool rt_progress_wait_briefly(RtProgress *p, uint32_t phase) {
    enum { MOST = 64 };
    int32_t spins = p->spins < MOST ? p->spins : MOST;
    for (int32_t i = 0; i < spins; i++) {
        if (is_over(p, phase))
            return true;
        relax_cpu();
    }
    return false;
}

void rt_progress_wait(RtProgress *p, uint32_t phase) {
    for (int32_t i = 0; i < p->spins; i++) {
        if (is_over(p, phase))
            return;
        relax_cpu();
    }
    atomic_fetch_add(&p->sleepers, 1);
    while (atomic_load(&p->phase) == phase)
        syscall(SYS_futex, &p->phase, FUTEX_WAIT_PRIVATE, phase, NULL, NULL, 0);
    atomic_fetch_sub(&p->sleepers, 1);
}
