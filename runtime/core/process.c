// Which process this is, for what a forked child must not take for its own: threads of OpenMP's and
// of pools, and calls that only its parent is in.
//
// It is a number, other in a child than in all that came before it. Not the system's, which may be
// the same in two processes (each the first of its namespace), and for which virtual machines take
// microseconds; it is remembered. A child forgets it in two ways, for each alone has its gaps:
// - pthread_atfork() tells this library. It knows nothing of _Fork() and clone().
// - The kernel hands it a page of zeros (MADV_WIPEONFORK). Kernels before Linux 4.14 do not, and
//   qemu's emulation of a program says that it does, and does not.
#define _GNU_SOURCE
#include "runtime/core/rt.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

typedef struct Process {
    union {
        _Alignas(PAGE) _Atomic int32_t number; // 0: nobody has asked since this process began
        char page[PAGE];                       // that is wiped, and nothing else
    };
    pthread_once_t once;
    _Atomic int32_t last; // number that was given, here or in a process before it
    bool told;            // of forks, by pthread_atfork()
} Process;
static Process process = {.once = PTHREAD_ONCE_INIT};

static void forget(void) {
    atomic_store(&process.number, 0);
}

static void watch_forks(void) {
    process.told = pthread_atfork(NULL, NULL, forget) == 0; // goes when this library is unloaded
    if (sysconf(_SC_PAGESIZE) == PAGE)
        madvise(&process, PAGE, MADV_WIPEONFORK); // who cannot, is told
}

int32_t rt_process(void) {
    int32_t number = atomic_load_explicit(&process.number, memory_order_relaxed);
    if (number)
        return number;
    pthread_once(&process.once, watch_forks);
    if (!process.told) // no memory for it
        return getpid();
    int32_t mine = atomic_fetch_add(&process.last, 1) + 1;
    return atomic_compare_exchange_strong(&process.number, &number, mine) ? mine : number;
}
