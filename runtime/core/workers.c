// Threads that each own an instance of a model: what a pool and a server are made of. The instances
// share what is prepared (prepared.c), so each costs its workspace and OpenMP's threads.
#include "runtime/core/rt.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct RtWorker {
    pthread_t thread;
    HoneModel *model;
    RtWorkers *all;
};

static void *work(void *arg) {
    RtWorker *w = arg;
    w->all->body(w->all->ctx, w->model);
    return NULL;
}

static bool create_models(RtWorkers *w, const HoneModelDesc *desc, const HoneOptions *opt, int n,
                          RtErr *err) {
    HoneOptions each = opt ? *opt : (HoneOptions){0};
    int cpus = rt_threads(0);
    if (each.threads == 0) // the CPUs are divided among them
        each.threads = cpus / n > 0 ? cpus / n : 1;
    for (w->n = 0; w->n < n; w->n++) {
        RtWorker *one = &w->worker[w->n];
        one->all = w;
        one->model = hone_create(desc, &each, err->text, sizeof err->text);
        if (!one->model)
            return false;
    }
    return true;
}

static void free_models(RtWorkers *w) {
    for (int i = 0; i < w->n; i++)
        hone_destroy(w->worker[i].model);
    free(w->worker);
    w->worker = NULL;
    w->n = w->started = 0;
}

bool rt_workers_start(RtWorkers *w, const HoneModelDesc *desc, const HoneOptions *opt, int n,
                      RtErr *err) {
    if (n < 1 || n > RT_MAX_THREADS)
        return rt_fail(err, "%d workers were asked for: it is from 1 to %d", n, RT_MAX_THREADS);
    w->worker = calloc((size_t)n, sizeof *w->worker);
    if (!w->worker)
        return rt_fail(err, "no memory");
    bool good = create_models(w, desc, opt, n, err);
    sigset_t all, before; // signals are for the host's threads
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = 0;
    while (good && w->started < n && code == 0) {
        code = pthread_create(&w->worker[w->started].thread, NULL, work, &w->worker[w->started]);
        w->started += code == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (good && w->started == 0)
        good = rt_fail(err, "no thread can be started: %s", strerror(code));
    if (!good)
        free_models(w);
    return good;
}

void rt_workers_join(RtWorkers *w) {
    for (int i = 0; i < w->started; i++)
        pthread_join(w->worker[i].thread, NULL);
    free_models(w);
}

void rt_workers_forget(RtWorkers *w) {
    free_models(w);
}
