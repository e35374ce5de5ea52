// A model in a process that is somebody else's: forks before and after a run, its floating-point
// modes and traps, its signal masks, its OpenMP settings, a system that starts no more threads.
// Every check in a process of its own, which must end within seconds: a deadlock is a failure.
#define _GNU_SOURCE
#include <fenv.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/core/rt.h"
#include "tests/check.h"
#include "tests/runtime/infer/fake_model.c"

enum { BATCH_SIZE = 4, SECONDS = 20 };

static float x[BATCH_SIZE * CHANNELS * PIXELS], want[BATCH_SIZE * CLASSES];

static HoneModel *create(int threads) {
    return hone_create(&hone_fake_desc, &(HoneOptions){.threads = threads}, NULL, 0);
}

static bool runs_right(HoneModel *m) {
    float y[BATCH_SIZE * CLASSES] = {0};
    const void *in[] = {x};
    void *out[] = {y};
    return m && hone_run(m, BATCH_SIZE, in, out) == 0 && memcmp(y, want, sizeof y) == 0;
}

static void count_team(void *ctx, const HoneCall *call, int32_t node) {
    (void)call, (void)node;
    *(int *)ctx = omp_get_num_threads();
}

// Threads of a run.
static int team_of(HoneModel *m) {
    float y[BATCH_SIZE * CLASSES];
    const void *in[] = {x};
    void *out[] = {y};
    int team = 0;
    return m && rt_model_observe(m, BATCH_SIZE, in, out, count_team, &team) == 0 ? team : -1;
}

// Whether check(arg) holds in a child, in time.
static bool holds_in_child(bool (*check)(void *), void *arg) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(SECONDS);
        _exit(check(arg) ? 0 : 1);
    }
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

// ---------------------------------------------------------------- fork

static void *run_on_thread(void *arg) {
    HoneModel *m = create(2);
    *(bool *)arg = runs_right(m) && team_of(m) == 2; // a thread of the child's has its own pool
    hone_destroy(m);
    return NULL;
}

static bool is_right(void *m) {
    return runs_right(m);
}

// By a process that was forked from one with a pool: what it inherits, what it creates, on a thread
// of its own, in a child of its own.
static bool use_inherited(void *arg) {
    HoneModel *more = create(2);
    pthread_t t;
    bool on_thread = false;
    bool ok = runs_right(arg) && runs_right(more) && team_of(more) == 1 &&
              pthread_create(&t, NULL, run_on_thread, &on_thread) == 0 &&
              pthread_join(t, NULL) == 0 && holds_in_child(is_right, more);
    hone_destroy(more);
    hone_destroy(arg);
    return ok && on_thread;
}

static bool use_first(void *arg) {
    (void)arg;
    HoneModel *m = create(2);
    return runs_right(m) && team_of(m) == 2;
}

static bool fork_before(void *arg) {
    HoneModel *m = create(1); // needs no pool
    return runs_right(m) && holds_in_child(use_first, arg) && use_first(arg);
}

static bool fork_after(void *arg) {
    (void)arg;
    HoneModel *m = create(2);
    bool ok = runs_right(m) && team_of(m) == 2;
    for (int i = 0; ok && i < 3; i++)
        ok = holds_in_child(use_inherited, m);
    return ok && runs_right(m) && team_of(m) == 2;
}

static void fork_in_call(void *ctx, const HoneCall *call, int32_t node) {
    (void)call;
    bool *ok = ((void **)ctx)[1];
    if (node == 1)
        *ok = holds_in_child(is_right, ((void **)ctx)[0]);
}

// The child inherits an instance in the middle of a call that nobody there will end.
static bool fork_during(void *arg) {
    (void)arg;
    HoneModel *m = create(2);
    float y[BATCH_SIZE * CLASSES];
    const void *in[] = {x};
    void *out[] = {y};
    bool ok = false;
    void *ctx[] = {m, &ok};
    return rt_model_observe(m, BATCH_SIZE, in, out, fork_in_call, ctx) == 0 && ok && runs_right(m);
}

static void forks_work(void) {
    CHECK(holds_in_child(fork_before, NULL));
    CHECK(holds_in_child(fork_after, NULL));
    CHECK(holds_in_child(fork_during, NULL));
}

// ---------------------------------------------------------------- floating point and signals

static bool keep_modes(void *arg) {
    HoneModel *m = create(*(int *)arg);
    static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO, FE_TONEAREST};
    bool ok = runs_right(m);
    for (int i = 0; i < 4; i++) {
        fesetround(modes[i]);
        feclearexcept(FE_ALL_EXCEPT);
        feraiseexcept(FE_UNDERFLOW);
        ok = ok && runs_right(m) && fegetround() == modes[i] &&
             fetestexcept(FE_ALL_EXCEPT) == FE_UNDERFLOW;
    }
    feclearexcept(FE_ALL_EXCEPT); // what is raised is reported at once from here on
    feenableexcept(FE_ALL_EXCEPT);
    return ok && runs_right(m) && fegetexcept() == FE_ALL_EXCEPT;
}

static void note_signal(int sig) {
    (void)sig;
}

static bool keep_signals(void *arg) {
    HoneModel *m = create(*(int *)arg);
    sigset_t mask, after;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    struct sigaction mine = {.sa_handler = note_signal}, found;
    bool ok = true;
    for (int sig = 1; sig < 32; sig++)
        if (sig != SIGKILL && sig != SIGSTOP && sig != SIGALRM)
            ok = ok && sigaction(sig, &mine, NULL) == 0;
    ok = ok && runs_right(m);
    hone_destroy(m);
    for (int sig = 1; sig < 32; sig++)
        if (sig != SIGKILL && sig != SIGSTOP && sig != SIGALRM)
            ok = ok && sigaction(sig, NULL, &found) == 0 && found.sa_handler == note_signal;
    sigprocmask(SIG_SETMASK, NULL, &after);
    return ok && sigismember(&after, SIGUSR1) && !sigismember(&after, SIGUSR2);
}

static void what_is_the_hosts_stays(void) {
    for (int threads = 1; threads <= 3; threads++) {
        CHECK(holds_in_child(keep_modes, &threads));
        CHECK(holds_in_child(keep_signals, &threads));
    }
}

// ---------------------------------------------------------------- OpenMP

static bool follow_settings(void *arg) {
    (void)arg;
    int cpus = rt_cpus_available();
    HoneModel *m = create(0), *fixed = create(2);
    bool ok = team_of(m) == cpus && team_of(fixed) == 2;
    omp_set_num_threads(1); // after it was created
    ok = ok && team_of(m) == 1 && team_of(fixed) == 2 && runs_right(m);
    HoneModel *one = create(0);
    ok = ok && rt_model_threads(one) == 1 && team_of(one) == 1;
    omp_set_num_threads(100);
    return ok && team_of(m) == cpus && team_of(one) == 1 && omp_get_max_threads() == 100;
}

static bool inside_regions(void *arg) {
    int levels = *(int *)arg, bad = 0;
    omp_set_max_active_levels(levels);
#pragma omp parallel num_threads(3) reduction(+ : bad)
    {
        HoneModel *m = create(2);
        bad += team_of(m) != (levels == 1 ? 3 : 2); // 3: no region but the host's own
        for (int i = 0; i < 10; i++)
            bad += !runs_right(m);
        hone_destroy(m);
    }
    return bad == 0 && omp_get_max_active_levels() == levels;
}

static void openmp_is_the_hosts(void) {
    CHECK(holds_in_child(follow_settings, NULL));
    for (int levels = 1; levels <= 2; levels++)
        CHECK(holds_in_child(inside_regions, &levels));
}

// ---------------------------------------------------------------- no more threads

#ifndef __SANITIZE_ADDRESS__ // it needs room of its own
static bool run_without_threads(void *arg) {
    (void)arg;
    struct rlimit most;
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    bool ok = f && fscanf(f, "%ld", &pages) == 1;
    if (f)
        fclose(f);
    rlim_t room = (rlim_t)(pages * sysconf(_SC_PAGESIZE)) + (20 << 20); // two stacks of 8 MiB
    ok = ok && getrlimit(RLIMIT_STACK, &most) == 0 && most.rlim_cur == 8 << 20;
    ok = ok && setrlimit(RLIMIT_AS, &(struct rlimit){room, room}) == 0;
    HoneModel *m = create(16);
    int team = team_of(m);
    return ok && runs_right(m) && team >= 1 && team < 16;
}

static void threads_that_cannot_start_are_done_without(void) {
    struct rlimit stack;
    if (getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur == 8 << 20)
        CHECK(holds_in_child(run_without_threads, NULL));
}
#endif

int main(void) {
    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        x[i] = (float)(i * 2654435761u >> 8 & 0xffff) * 0x1p-16f;
    HoneModel *m = create(1);
    float *y = want;
    const void *in[] = {x};
    if (!m || hone_run(m, BATCH_SIZE, in, (void *const *)&y) != 0)
        return 1;
    hone_destroy(m);
    CHECK_RUN(forks_work);
    CHECK_RUN(what_is_the_hosts_stays);
    CHECK_RUN(openmp_is_the_hosts);
#ifndef __SANITIZE_ADDRESS__
    CHECK_RUN(threads_that_cannot_start_are_done_without);
#endif
    return check_done();
}
