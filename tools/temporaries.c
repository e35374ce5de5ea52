// What a run leaves behind on no account: intermediate files and outputs under temporary names,
// whether it ends by itself or by a signal.
#include "tools/tool.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static void remove_dir(const char *path) {
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    rmdir(path);
}

void tool_remove_temporaries(const Tool *t) {
    for (size_t i = 0; i < sizeof t->temp_out / sizeof *t->temp_out; i++)
        if (t->temp_out[i])
            unlink(t->temp_out[i]);
    if (t->temp_dir)
        remove_dir(t->temp_dir);
}

static void fill_signals(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
}

static void *wait_for_signal(void *tool) {
    sigset_t set, one;
    int sig;
    fill_signals(&set);
    if (sigwait(&set, &sig) != 0)
        return NULL;
    tool_remove_temporaries(tool);
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
    fill_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL); // threads made later inherit it
    if (pthread_create(&thread, NULL, wait_for_signal, t) == 0)
        pthread_detach(thread);
    else
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
