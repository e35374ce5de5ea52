// A model in a process that is somebody else's: forks before and after a run, also where the kernel
// does not say that a process is a child, its floating-point modes and traps, its signal masks, its
// OpenMP settings, a system that starts no more threads.
// Every check in a process of its own, which must end within a minute: a deadlock is a failure.
#define _GNU_SOURCE
#include <errno.h>
#include <fenv.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/core/rt.h"
#include "tests/check.h"
#include "tests/runtime/core/forked.h"
#include "tests/runtime/infer/fake_model.c"

enum { BATCH_SIZE = 4, SECONDS = 60 };

static bool threads_in_children; // as the system has it
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

// Whether check(arg) holds in a child of `make` (fork, or what is like it), in time.
static bool holds_in(pid_t (*make)(void), bool (*check)(void *), void *arg) {
    fflush(NULL);
    pid_t child = make();
    if (child == 0) {
        alarm(SECONDS);
        bool ok = check(arg);
        fflush(NULL);
        _exit(ok ? 0 : 1);
    }
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

static bool holds_in_child(bool (*check)(void *), void *arg) {
    return holds_in(fork, check, arg);
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
    bool on_thread = !threads_in_children;
    bool ok = runs_right(arg) && runs_right(more) && team_of(more) == 1 &&
              (!threads_in_children || (pthread_create(&t, NULL, run_on_thread, &on_thread) == 0 &&
                                        pthread_join(t, NULL) == 0)) &&
              holds_in_child(is_right, more);
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

static bool check_forks(void) {
    return CHECK(holds_in_child(fork_before, NULL)) && CHECK(holds_in_child(fork_after, NULL)) &&
           CHECK(holds_in_child(fork_during, NULL));
}

static void forks_work(void) {
    check_forks();
}

// What to compare with, by this process.
static bool make_want(void) {
    HoneModel *m = create(1);
    const void *in[] = {x};
    void *out[] = {want};
    bool ok = m && hone_run(m, BATCH_SIZE, in, out) == 0;
    hone_destroy(m);
    return ok;
}

// From now on the kernel refuses MADV_WIPEONFORK with `error`, as old ones do; with 0 it says that
// it is done and does nothing, as qemu's emulation does. False: this process may not ask for that.
static bool refuse_wiping(int error) {
    enum {
        NUMBER = offsetof(struct seccomp_data, nr),
        ADVICE = offsetof(struct seccomp_data, args[2])
    };
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NUMBER),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ADVICE),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_WIPEONFORK, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static bool is_set(void *byte) {
    return *(char *)byte;
}

// Whether the kernel wipes a page when a process is forked, and what it says to that: 0 or errno.
static bool wipes(int *said) {
    size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
    char *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return false;
    *said = madvise(page, bytes, MADV_WIPEONFORK) == 0 ? 0 : errno;
    *page = 1;
    bool kept = holds_in_child(is_set, page);
    munmap(page, bytes);
    return !kept;
}

static bool fork_where_nothing_is_wiped(void *arg) {
    int error = *(int *)arg, said = -1;
    if (!refuse_wiping(error)) {
        printf("skipped: no filter of system calls: %s\n", strerror(errno));
        return true;
    }
    return CHECK(!wipes(&said) && said == error) && CHECK(make_want()) && check_forks();
}

static void forks_work_on_other_kernels(void) {
    for (int error = 0; error <= EINVAL; error += EINVAL)
        CHECK(holds_in_child(fork_where_nothing_is_wiped, &error));
}

// A child that no handler of pthread_atfork() is told of: the kernel says it, where it can.
static bool fork_barely(void *arg) {
    (void)arg;
    int said;
    if (!wipes(&said)) {
        puts("skipped: this kernel wipes no page");
        return true;
    }
    HoneModel *m = create(2);
    return runs_right(m) && team_of(m) == 2 && holds_in(_Fork, is_right, m);
}

static void bare_forks_work(void) {
    CHECK(holds_in_child(fork_barely, NULL));
}

static bool use_as_first(void *m) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); // the first of a namespace does not die of alarm()
    return getpid() == 1 && use_inherited(m);
}

static bool fork_as_first(void *arg) {
    (void)arg;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    HoneModel *m = create(2);
    return getpid() == 1 && runs_right(m) && team_of(m) == 2 && unshare(CLONE_NEWPID) == 0 &&
           holds_in_child(use_as_first, m);
}

static bool begin_namespace(void *arg) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWPID) == 0)
        return holds_in_child(fork_as_first, arg);
    printf("skipped: no namespace: %s\n", strerror(errno));
    return true;
}

// Parent and child are each the first process of a namespace: the system has one number for both.
static void numbers_of_processes_may_be_equal(void) {
    CHECK(holds_in_child(begin_namespace, NULL));
}

// ---------------------------------------------------------------- floating point and signals

static bool keep_modes(void *arg) {
    HoneModel *m = create(*(int *)arg);
    static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO, FE_TONEAREST};
    bool ok = runs_right(m);
    for (int i = 0; i < 4; i++) {
        fesetround(modes[i]);
        feclearexcept(FE_ALL_EXCEPT);
        feraiseexcept(FE_UNDERFLOW); // and with it what comes with it on this machine
        int raised = fetestexcept(FE_ALL_EXCEPT);
        ok = ok && runs_right(m) && fegetround() == modes[i] && (raised & FE_UNDERFLOW) &&
             fetestexcept(FE_ALL_EXCEPT) == raised;
    }
    feclearexcept(FE_ALL_EXCEPT); // what is raised is reported at once from here on
    int traps = feenableexcept(FE_ALL_EXCEPT) == -1 ? 0 : FE_ALL_EXCEPT; // CPUs without them say -1
    return ok && runs_right(m) && fegetexcept() == traps;
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
    if (mmap(NULL, room, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) {
        puts("skipped: memory is not limited here"); // an emulator's
        return ok;
    }
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
    threads_in_children = forked_starts_threads();
    CHECK_RUN(forks_work_on_other_kernels); // before this process has asked the kernel
    if (!make_want())
        return 1;
    CHECK_RUN(forks_work);
    CHECK_RUN(bare_forks_work);
    CHECK_RUN(numbers_of_processes_may_be_equal);
    CHECK_RUN(what_is_the_hosts_stays);
    CHECK_RUN(openmp_is_the_hosts);
#ifndef __SANITIZE_ADDRESS__
    CHECK_RUN(threads_that_cannot_start_are_done_without);
#endif
    return check_done();
}
