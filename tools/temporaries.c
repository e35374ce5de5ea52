// What a run leaves behind on no account, whether it ends by itself or by a signal: its subprocess
// and intermediate files. (Outputs under temporary names are those of runtime/file/outs.c, whose
// thread calls us with the lock held: from then on no subprocess starts.)
//
// And a file that is mapped, a model's external data, which may be larger than memory: where
// somebody cuts it off, that is SIGBUS, which ends us with a line and exit code 1.
//
// Other threads of the compiler run on until the process ends, so the directory for intermediate
// files moves to a new name before it is emptied: what opens a file by its path afterwards fails.
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
    rt_outs_lock(&t->outs);
    bool ok = mkdtemp(path) != NULL;
    int why = errno;
    if (ok)
        t->temp_dir = path;
    rt_outs_unlock(&t->outs);
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

// The whole group: a compiler driver's linker would write the output anew.
static void kill_child(const Tool *t) {
    if (!t->child)
        return;
    kill(-t->child, SIGKILL);
    for (int i = 0; i < PATIENCE && kill(-t->child, 0) == 0; i++)
        sleep_1ms();
}

// Before a signal ends the process, with the lock held. Returns the exit code where LLVM ended it,
// see cg_catch_llvm_errors(), else -1.
static int clean_up(void *ctx, const siginfo_t *info) {
    const Tool *t = ctx;
    kill_child(t);
    if (t->temp_dir)
        remove_dir(t->temp_dir);
    return info->si_code == SI_QUEUE && info->si_pid == getpid() ? info->si_value.sival_int : -1;
}

// The line of /proc/self/maps that holds `at`: its path into name[size]. It is asked at the end of
// a process that may be anywhere, so there is no allocation and no lock. False: no file is there.
static bool find_mapping(uintptr_t at, char *name, size_t size) {
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    bool found = false;
    for (char c; fd >= 0 && !found && read(fd, &c, 1) == 1;) {
        if (c != '\n') {
            name[n] = c < 32 || c == 127 ? '?' : c;
            n += n + 1 < size;
            continue;
        }
        name[n] = 0;
        n = 0;
        char *end, *path = strchr(name, '/');
        uintptr_t first = strtoul(name, &end, 16), last = *end ? strtoul(end + 1, NULL, 16) : 0;
        found = path && first <= at && at < last;
        if (found)
            memmove(name, path, strlen(path) + 1);
    }
    if (fd >= 0)
        close(fd);
    return found;
}

// Who waits for signals removes the temporary files, and ends with the exit code in the value.
static void on_bus_error(int sig, siginfo_t *info, void *context) {
    (void)context;
    char line[4400] = "hone: ", *name = line + strlen(line);
    if (!find_mapping((uintptr_t)info->si_addr, name, 4096)) {
        signal(sig, SIG_DFL);
        raise(sig);
        return;
    }
    strcat(line, ": it was cut off while it was read\n");
    if (write(2, line, strlen(line)) < 0)
        _exit(EXIT_INPUT);
    sigqueue(getpid(), SIGTERM, (union sigval){.sival_int = EXIT_INPUT});
    for (;;)
        pause();
}

void tool_catch_signals(Tool *t) {
    struct sigaction bus = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    sigaction(SIGBUS, &bus, NULL);
    rt_outs_init(&t->outs);
    rt_outs_watch(&t->outs, clean_up, t);
}

void tool_end_temporaries(Tool *t) {
    while (t->outs.first)
        rt_out_abort(t->outs.first);
    rt_outs_end(&t->outs);
    if (t->temp_dir)
        remove_dir(t->temp_dir);
}
