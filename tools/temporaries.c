// What a run leaves behind on no account: intermediate files and outputs under temporary names,
// whether it ends by itself or by a signal.
//
// A thread waits for the signals. It takes the lock and keeps it: from then on no output gets its
// name and no subprocess starts. Other threads of the compiler run on until the process ends, so
// the directory for intermediate files moves to a new name before it is emptied: what opens a file
// by its path afterwards fails.
#define _GNU_SOURCE // getdents64
#include "tools/tool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE = 200 }; // milliseconds, for what a killed subprocess or a file being opened takes

static void sleep_1ms(void) {
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

const char *tool_temp_dir(Tool *t) {
    if (t->temp_dir)
        return t->temp_dir;
    const char *tmp = getenv("TMPDIR");
    char *path = ir_sprintf(t->arena, "%s/hone-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    pthread_mutex_lock(&t->lock);
    bool ok = mkdtemp(path) != NULL;
    int why = errno;
    if (ok)
        t->temp_dir = path;
    pthread_mutex_unlock(&t->lock);
    if (!ok)
        ir_fatal(&t->diag, IR_NOWHERE, "cannot make a directory for intermediate files: %s: %s",
                 path, strerror(why));
    return path;
}

// Allocates nothing: the process may end because there is no memory left.
static void empty_dir(const char *path) {
    _Alignas(struct dirent64) char entries[4096];
    int d = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (ssize_t n; d >= 0 && (n = getdents64(d, entries, sizeof entries)) > 0;)
        for (ssize_t at = 0; at < n;) {
            const struct dirent64 *e = (const struct dirent64 *)(entries + at);
            unlinkat(d, e->d_name, 0); // which leaves . and .. alone
            at += e->d_reclen;
        }
    if (d >= 0)
        close(d);
}

static void remove_dir(const char *path) {
    char gone[4096];
    int n = snprintf(gone, sizeof gone, "%s.gone", path);
    if (n < 0 || (size_t)n >= sizeof gone || rename(path, gone) != 0)
        snprintf(gone, sizeof gone, "%s", path);
    for (int i = 0; i < PATIENCE; i++) {
        empty_dir(gone);
        if (rmdir(gone) == 0 || errno != ENOTEMPTY)
            return;
        sleep_1ms();
    }
}

static void remove_temporaries(const Tool *t) {
    for (size_t i = 0; i < sizeof t->temp_out / sizeof *t->temp_out; i++)
        if (t->temp_out[i])
            unlink(t->temp_out[i]);
    if (t->temp_dir)
        remove_dir(t->temp_dir);
}

void tool_end_temporaries(Tool *t) {
    pthread_mutex_lock(&t->lock);
    remove_temporaries(t);
}

// The whole group: a compiler driver's linker would write the output anew.
static void kill_child(const Tool *t) {
    if (!t->child)
        return;
    kill(-t->child, SIGKILL);
    for (int i = 0; i < PATIENCE && kill(-t->child, 0) == 0; i++)
        sleep_1ms();
}

static void fill_signals(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
}

static void *wait_for_signal(void *arg) {
    Tool *t = arg;
    sigset_t set, one;
    siginfo_t info;
    int sig;
    fill_signals(&set);
    while ((sig = sigwaitinfo(&set, &info)) < 0)
        if (errno != EINTR)
            return NULL;
    pthread_mutex_lock(&t->lock);
    kill_child(t);
    remove_temporaries(t);
    if (info.si_code == SI_QUEUE && info.si_pid == getpid())
        _exit(info.si_value.sival_int); // LLVM's end, see cg_catch_llvm_errors()
    sigemptyset(&one);
    sigaddset(&one, sig);
    signal(sig, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
    raise(sig);
    return NULL;
}

void tool_catch_signals(Tool *t) {
    sigset_t set;
    pthread_t thread;
    pthread_mutex_init(&t->lock, NULL);
    fill_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL); // threads made later inherit it
    if (pthread_create(&thread, NULL, wait_for_signal, t) == 0)
        pthread_detach(thread);
    else
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
