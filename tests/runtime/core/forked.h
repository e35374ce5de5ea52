// Whether a forked child of a process with several threads starts threads of its own, whatever the
// model does: qemu's emulation of a program ends there with an assertion of its own.
#ifndef TESTS_RUNTIME_CORE_FORKED_H
#define TESTS_RUNTIME_CORE_FORKED_H

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static void *forked_wait(void *mutex) {
    if (mutex) {
        pthread_mutex_lock(mutex);
        pthread_mutex_unlock(mutex);
    }
    return NULL;
}

static bool forked_starts_threads(void) {
    pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
    pthread_t other, own;
    pthread_mutex_lock(&held);
    if (pthread_create(&other, NULL, forked_wait, &held) != 0)
        return false;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        _exit(pthread_create(&own, NULL, forked_wait, NULL) || pthread_join(own, NULL));
    }
    int status = -1;
    bool starts = child > 0 && waitpid(child, &status, 0) == child && status == 0;
    pthread_mutex_unlock(&held);
    pthread_join(other, NULL);
    if (!starts)
        puts("skipped: a forked child here starts no threads");
    return starts;
}

#endif
