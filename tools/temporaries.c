// What a run leaves behind on no account, whether it ends by itself or by a signal: its subprocess
// and intermediate files. (Outputs under temporary names are those of runtime/file/outs.c, whose
// thread calls us with the lock held: from then on no subprocess starts.)
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

void tool_catch_signals(Tool *t) {
    rt_outs_init(&t->outs);
    rt_outs_watch(&t->outs, clean_up, t);
}

void tool_end_temporaries(Tool *t) {
    rt_outs_end(&t->outs);
    if (t->temp_dir)
        remove_dir(t->temp_dir);
}
