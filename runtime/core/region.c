// One run is one OpenMP parallel region, in a process that belongs to somebody else. What that
// means for the region is known here, and nowhere else:
//
// - A pool of worker threads belongs to the thread that called. Between regions its threads wait in
//   OpenMP's library, with nothing of ours on their stacks: so this library may be unloaded, and
//   that one may not, ever (rt_region_keep()).
// - A child of fork() has the calling thread alone, but OpenMP still counts on the pool and would
//   wait for it for ever. `pool` says in which process this thread has one; elsewhere it works
//   alone.
// - OpenMP ends the process when a thread cannot be started. So as many are started once, before it
//   starts its own; what cannot be started is done without.
// - The caller may round or trap as it likes. The kernels are computed with the default, on every
//   thread, and each thread gets back what it had.
//
// The result is the same bits on any number of threads, so none of this changes it.
#define _GNU_SOURCE
#include "runtime/core/rt.h"

#include <dlfcn.h>
#include <fenv.h>
#include <link.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

typedef struct Pool {
    int32_t process;    // 0: none yet
    int asked, threads; // most that were wanted, and how many there can be
} Pool;
static _Thread_local Pool pool; // of the calling thread, as OpenMP's own is

// ---------------------------------------------------------------- how many

int rt_threads(int asked) {
    if (asked > 0)
        return asked;
    int n = rt_cpus_available(), most = omp_get_max_threads(), limit = omp_get_thread_limit();
    n = most < n ? most : n;
    return limit < n ? limit : n;
}

static void *wait_for_mutex(void *mutex) {
    pthread_mutex_lock(mutex);
    pthread_mutex_unlock(mutex);
    return NULL;
}

// How many of n threads can be there at once. They see no signal.
static int start_threads(int n) {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_t *thread = malloc((size_t)n * sizeof *thread);
    sigset_t all, before;
    int started = 0;
    sigfillset(&all);
    if (!thread || pthread_sigmask(SIG_SETMASK, &all, &before) != 0) {
        free(thread);
        return 0;
    }
    pthread_mutex_lock(&mutex);
    while (started < n && !pthread_create(&thread[started], NULL, wait_for_mutex, &mutex))
        started++;
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    free(thread);
    return started;
}

int rt_region_threads(int want) {
    int32_t me = rt_process();
    if (want <= 1 || omp_get_active_level() >= omp_get_max_active_levels())
        return 1;
    if (pool.process && pool.process != me)
        return 1;
    if (pool.asked < want)
        pool = (Pool){me, want, 1 + start_threads(want - 1)};
    return want < pool.threads ? want : pool.threads;
}

// OpenMP looks at it before main() begins, so a program that was told nothing begins again with it
// said. Where that cannot be, it goes on.
void rt_region_patience(char **argv) {
    static const char name[] = "GOMP_SPINCOUNT", spins[] = "1000"; // as progress.c
    const char *path = (const char *)getauxval(AT_EXECFN);
    if (path && argv[0] && omp_get_num_procs() > 1 && !getenv(name) && !getenv("OMP_WAIT_POLICY") &&
        setenv(name, spins, 0) == 0)
        execv(path, argv);
}

bool rt_region_keep(RtErr *err) {
    Dl_info info;
    struct link_map *lib = NULL;
    bool found = dladdr1((void *)omp_get_num_threads, &info, (void **)&lib, RTLD_DL_LINKMAP) != 0;
    if (!found || !lib || !lib->l_name || !lib->l_name[0])
        return true; // it is part of the program itself
    void *handle = dlopen(lib->l_name, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
    if (!handle)
        return rt_fail(err, "%s cannot be kept loaded: %s", lib->l_name, dlerror());
    dlclose(handle); // RTLD_NODELETE stays
    return true;
}

// ---------------------------------------------------------------- floating point

#if defined(__x86_64__)
typedef unsigned FloatMode; // the kernels use SSE and wider alone

static FloatMode set_default_floats(void) {
    enum { DEFAULT = 0x1f80 }; // to nearest, no trap, subnormals kept
    FloatMode before = _mm_getcsr();
    _mm_setcsr(DEFAULT);
    return before;
}

static void restore_floats(FloatMode before) {
    _mm_setcsr(before);
}
#else
typedef fenv_t FloatMode;

static FloatMode set_default_floats(void) {
    FloatMode before;
    feholdexcept(&before);
    fesetenv(FE_DFL_ENV);
    return before;
}

static void restore_floats(FloatMode before) {
    fesetenv(&before);
}
#endif

// ---------------------------------------------------------------- the region

static void run_thread(const RtRegion *r, int thread, int threads) {
    FloatMode before = set_default_floats();
    rt_steps(r->desc, r->steps, r->call, thread, threads);
    restore_floats(before);
}

static void run_gated(const RtRegion *r, _Atomic uint32_t *gate, int thread, int threads) {
    (void)atomic_load_explicit(gate, memory_order_acquire);
    run_thread(r, thread, threads);
    atomic_fetch_add_explicit(gate, 1, memory_order_release);
}

// OpenMP orders memory at both ends of the region. ThreadSanitizer cannot see that inside a libgomp
// that is not built for it; `gate` says the same in terms it knows, and this function,
// which hands the arguments over, is left out.
__attribute__((no_sanitize("thread"), noinline)) static void run_together(const RtRegion *r) {
#pragma omp parallel num_threads(r->threads)
    run_gated(r, r->gate, omp_get_thread_num(), omp_get_num_threads());
}

void rt_region_run(const RtRegion *region) {
    RtRegion r = *region;
    int most = r.host_decides ? omp_get_max_threads() : r.threads;
    r.threads = rt_region_threads(most < r.threads ? most : r.threads);
    if (r.threads == 1) {
        run_thread(&r, 0, 1);
        return;
    }
    rt_progress_start(r.call->progress, r.threads);
    atomic_fetch_add_explicit(r.gate, 1, memory_order_release);
    run_together(&r);
    (void)atomic_load_explicit(r.gate, memory_order_acquire);
}
