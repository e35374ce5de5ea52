// A pool: workers that run whatever calls come from whatever thread, each call on one of them, in
// the order in which they came. A call waits until its run is done, so there are never more calls
// than threads of the caller's, and memory is that of the workers.
#include "runtime/core/rt.h"

#include <pthread.h>
#include <stdlib.h>

typedef struct Call {
    int64_t batch;
    const void *const *inputs;
    void *const *outputs;
    int64_t *dims; // NULL, or [outputs][8]
    char *err;
    size_t err_size;
    int code;
    bool done;
    pthread_cond_t finished;
    struct Call *next;
} Call;

struct HonePool {
    int32_t process; // threads do not survive a fork: elsewhere the pool has none
    pthread_mutex_t lock;
    pthread_cond_t wanted, idle;
    Call *first, **last; // that no worker has taken
    int calls;           // that have not returned
    bool stops;
    RtWorkers workers;
};

static void say(char *err, size_t size, const char *text) {
    if (err && size)
        snprintf(err, size, "%s", text);
}

static void run_call(Call *c, HoneModel *m) {
    c->code = hone_run(m, c->batch, c->inputs, c->outputs);
    for (int i = 0; c->dims && c->code == 0 && i < hone_n_outputs(m); i++)
        for (int k = 0; k < HONE_MAX_RANK; k++)
            c->dims[i * HONE_MAX_RANK + k] = hone_output_dim(m, i, k);
    say(c->err, c->err_size, hone_error(m));
}

static void serve_calls(void *ctx, HoneModel *m) {
    HonePool *p = ctx;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->first && !p->stops)
            pthread_cond_wait(&p->wanted, &p->lock);
        Call *c = p->first;
        if (!c)
            break;
        p->first = c->next;
        if (!p->first)
            p->last = &p->first;
        pthread_mutex_unlock(&p->lock);
        run_call(c, m);
        pthread_mutex_lock(&p->lock);
        c->done = true;
        pthread_cond_signal(&c->finished);
    }
    pthread_mutex_unlock(&p->lock);
}

HonePool *hone_pool_create(const HoneModelDesc *desc, const HoneOptions *opt, int workers,
                           char *err, size_t err_size) {
    RtErr e = {{0}};
    HonePool *p = calloc(1, sizeof *p);
    if (!p)
        rt_fail(&e, "no memory");
    if (p) {
        p->process = rt_process();
        p->last = &p->first;
        p->workers = (RtWorkers){.body = serve_calls, .ctx = p};
        pthread_mutex_init(&p->lock, NULL);
        pthread_cond_init(&p->wanted, NULL);
        pthread_cond_init(&p->idle, NULL);
    }
    if (p && !rt_workers_start(&p->workers, desc, opt, workers, &e)) {
        free(p);
        p = NULL;
    }
    say(err, err_size, e.text);
    return p;
}

int hone_pool_run(HonePool *p, int64_t batch, const void *const *inputs, void *const *outputs,
                  char *err, size_t err_size) {
    return hone_pool_run_dims(p, batch, inputs, outputs, NULL, err, err_size);
}

int hone_pool_run_dims(HonePool *p, int64_t batch, const void *const *inputs, void *const *outputs,
                       int64_t *dims, char *err, size_t err_size) {
    if (!p) {
        say(err, err_size, "the pool is NULL: hone_pool_create() says why there is none");
        return -1;
    }
    if (p->process != rt_process()) {
        say(err, err_size,
            "the pool's threads are in the process that created it, not in this "
            "child: create another");
        return -1;
    }
    Call c = {.batch = batch,
              .inputs = inputs,
              .outputs = outputs,
              .dims = dims,
              .err = err,
              .err_size = err_size};
    pthread_cond_init(&c.finished, NULL);
    pthread_mutex_lock(&p->lock);
    *p->last = &c;
    p->last = &c.next;
    p->calls++;
    pthread_cond_signal(&p->wanted);
    while (!c.done)
        pthread_cond_wait(&c.finished, &p->lock);
    if (--p->calls == 0)
        pthread_cond_signal(&p->idle);
    pthread_mutex_unlock(&p->lock);
    pthread_cond_destroy(&c.finished);
    return c.code;
}

void hone_pool_destroy(HonePool *p) {
    if (!p)
        return;
    if (p->process != rt_process()) {
        rt_workers_forget(&p->workers);
        free(p);
        return;
    }
    pthread_mutex_lock(&p->lock);
    while (p->calls)
        pthread_cond_wait(&p->idle, &p->lock);
    p->stops = true;
    pthread_cond_broadcast(&p->wanted);
    pthread_mutex_unlock(&p->lock);
    rt_workers_join(&p->workers);
    pthread_cond_destroy(&p->wanted);
    pthread_cond_destroy(&p->idle);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
