// Three lists and the threads between them. Helpers read a request's body (JSON, images) and later
// write its reply; workers take as many requests as fit into a run, as
// they come or after a delay, and run the model. The event loop adds jobs and takes them when they
// are done.
//
// A job is in one list, or with one thread: nobody else looks at it.
#include "runtime/serve/queue.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static void push(RtServeList *list, RtServeJob *job) {
    job->next = NULL;
    *list->last = job;
    list->last = &job->next;
}

static RtServeJob *pop(RtServeList *list) {
    RtServeJob *job = list->first;
    if (job) {
        list->first = job->next;
        if (!list->first)
            list->last = &list->first;
    }
    return job;
}

// True: the loop is to be told, by tell_done(), once the lock is open; it would wait for it else.
static bool push_done(RtServeQueue *q, RtServeJob *job) {
    bool first = !q->done.first;
    push(&q->done, job);
    return first;
}

static void tell_done(const RtServeQueue *q) {
    eventfd_write(q->done_fd, 1);
}

static void fail(RtServeQueue *q, RtServeJob *job, int status, RtServeFailure why) {
    rt_serve_reply_error(&job->reply, status, job->err.text);
    q->metrics->failure[why]++;
}

// ---------------------------------------------------------------- helpers

static void help(RtServeQueue *q, RtServeJob *job) {
    if (job->computed) {
        rt_serve_write(q->m, job);
        if (job->reply.status == 200)
            rt_serve_metrics_success(q->metrics, job, rt_now());
        else
            q->metrics->failure[RT_SERVE_BROKEN]++;
    } else if (!rt_serve_read(q->m, job)) {
        fail(q, job, job->too_large ? 413 : 400, RT_SERVE_WRONG);
    }
}

// NULL: it is over.
static RtServeJob *take_help(RtServeQueue *q) {
    pthread_mutex_lock(&q->lock);
    while (!q->to_help.first && !q->stops)
        pthread_cond_wait(&q->helpers_wanted, &q->lock);
    RtServeJob *job = pop(&q->to_help);
    pthread_mutex_unlock(&q->lock);
    return job;
}

static void pass_on(RtServeQueue *q, RtServeJob *job) {
    bool done = job->reply.status != 0, tell = false;
    if (!done)
        job->queued = rt_now();
    pthread_mutex_lock(&q->lock);
    if (done)
        tell = push_done(q, job);
    else
        push(&q->to_run, job);
    pthread_mutex_unlock(&q->lock);
    if (tell)
        tell_done(q);
    if (!done)
        pthread_cond_signal(&q->workers_wanted);
}

static void *serve_helper(void *arg) {
    RtServeQueue *q = arg;
    for (RtServeJob *job; (job = take_help(q)) != NULL;) {
        help(q, job);
        pass_on(q, job);
    }
    return NULL;
}

// ---------------------------------------------------------------- workers

typedef struct Fitting { // of the first one's size, as they follow one another in the list
    int jobs;
    int64_t rows;
    bool full; // no other fits
} Fitting;

// What the next run could take; there need not be any.
static Fitting count_fitting(const RtServeQueue *q) {
    Fitting f = {.full = !q->m->batches};
    int size = q->to_run.first ? q->to_run.first->size : 0;
    for (RtServeJob *job = q->to_run.first; job && !(f.full && f.jobs); job = job->next) {
        if (job->size != size)
            continue;
        if (f.jobs && f.rows + job->rows > q->m->max_batch) {
            f.full = true;
            break;
        }
        f.rows += job->rows;
        f.jobs++;
        f.full = f.full || f.rows >= q->m->max_batch;
    }
    return f;
}

// The first job of this size; there is one.
static RtServeJob *pop_size(RtServeList *list, int size) {
    RtServeJob **at = &list->first;
    while ((*at)->size != size)
        at = &(*at)->next;
    RtServeJob *job = *at;
    *at = job->next;
    if (!*at)
        list->last = at;
    return job;
}

static void wait_until(RtServeQueue *q, uint64_t ns) {
    struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    pthread_cond_timedwait(&q->workers_wanted, &q->lock, &t);
}

// The last moment that a request may wait for others: half of what is left of its time, at most.
static uint64_t wait_end(const RtServeJob *job, uint64_t delay_ns) {
    uint64_t left = job->deadline > job->queued ? job->deadline - job->queued : 0;
    return job->queued + (delay_ns < left / 2 ? delay_ns : left / 2);
}

// Waits for others to run with, where the first one may; true: there is something to look at again.
static bool wait_for_more(RtServeQueue *q, RtServeGather *g, const Fitting *f, uint64_t now) {
    uint64_t until = wait_end(q->to_run.first, q->delay_ns);
    if (f->full || q->hurries)
        return false;
    if (q->gathers)
        until = rt_serve_gather_waits(g, f->rows, now) ? g->until : 0;
    if (now < until)
        wait_until(q, until);
    return now < until;
}

// The first n jobs of that one's size, linked; those that waited for too long are done instead.
static RtServeJob *take_jobs(RtServeQueue *q, int n, uint64_t now) {
    RtServeList batch = {.last = &batch.first};
    for (int size = q->to_run.first->size; n; n--) {
        RtServeJob *job = pop_size(&q->to_run, size);
        if (now < job->deadline) {
            job->started = now;
            push(&batch, job);
            continue;
        }
        rt_fail(&job->err, "the request waited for too long");
        fail(q, job, 503, RT_SERVE_REJECTED);
        if (push_done(q, job))
            tell_done(q);
    }
    return batch.first;
}

// The jobs of the next run, the lock held. NULL: none, it is over.
static RtServeJob *find_batch(RtServeQueue *q, RtServeGather *g) {
    rt_serve_gather_end(g, count_fitting(q).rows, q->m->max_batch, rt_now());
    for (;;) {
        while (!q->to_run.first && !q->stops)
            pthread_cond_wait(&q->workers_wanted, &q->lock);
        if (q->stops || !q->to_run.first)
            return NULL;
        Fitting fitting = count_fitting(q);
        uint64_t now = rt_now();
        if (wait_for_more(q, g, &fitting, now))
            continue;
        RtServeJob *batch = take_jobs(q, fitting.jobs, now);
        rt_serve_gather_begin(g, fitting.rows, now);
        if (batch)
            return batch;
    }
}

static RtServeJob *take_batch(RtServeQueue *q, RtServeGather *g) {
    pthread_mutex_lock(&q->lock);
    RtServeJob *batch = find_batch(q, g);
    bool more = q->to_run.first != NULL;
    pthread_mutex_unlock(&q->lock);
    if (more)
        pthread_cond_signal(&q->workers_wanted);
    return batch;
}

typedef struct Room { // what several requests are gathered in, each tensor of max_batch rows
    void **x, **y;
} Room;

// Room for each tensor of any size of the model
static void **allocate(const RtServeModel *m, bool outputs) {
    int n = outputs ? m->d->n_outputs : m->d->n_inputs;
    void **tensor = calloc((size_t)n + 1, sizeof *tensor);
    for (int i = 0; tensor && i < n; i++) {
        int64_t most = 0, bytes = 0;
        bool good = true;
        for (int k = 0; k < m->n_sizes; k++) {
            const HoneModelDesc *d = m->size[k];
            good = good &&
                   rt_tensor_bytes(outputs ? &d->outputs[i] : &d->inputs[i], m->max_batch, &bytes);
            most = bytes > most ? bytes : most;
        }
        if (!good || !(tensor[i] = rt_alloc_aligned((size_t)most))) {
            while (i--)
                free(tensor[i]);
            free(tensor);
            return NULL;
        }
    }
    return tensor;
}

static void release(void **tensor, int n) {
    for (int i = 0; tensor && i < n; i++)
        free(tensor[i]);
    free(tensor);
}

// Copies the rows of the batch's tensors together, or apart.
static void copy_rows(const HoneTensorDesc *t, int n, void **room, RtServeJob *batch, bool apart) {
    for (int i = 0; i < n; i++) {
        int64_t row = 0, at = 0;
        rt_tensor_bytes(&t[i], 1, &row);
        for (RtServeJob *job = batch; job; at += row * job->rows, job = job->next) {
            char *in_room = (char *)room[i] + at, *of_job = apart ? job->y[i] : job->x[i];
            memcpy(apart ? of_job : in_room, apart ? in_room : of_job, (size_t)(row * job->rows));
        }
    }
}

// What the run made of the job's outputs
static void note_dims(const HoneModel *model, RtServeJob *job) {
    for (int i = 0; i < job->n_y; i++) {
        const HoneTensorDesc *t = &job->d->outputs[i];
        for (int k = 0; k < t->rank; k++)
            rt_dim_at(t->dim[k], job->rows, &job->dim[i][k]); // they fitted before the run
        rt_model_pack(model, i, job->dim[i], job->y[i]);
    }
}

// Runs the batch; one request alone, or all without room, without copies.
static int run_batch(HoneModel *model, RtServeJob *batch, Room *room) {
    const HoneModelDesc *d = batch->d;
    bool apart = !batch->next || !room->x || !room->y;
    if (hone_size(model) != batch->size && hone_use_size(model, batch->size) != 0)
        return -1;
    int64_t rows = 0;
    for (RtServeJob *job = batch; job; job = job->next) {
        if (apart && hone_run(model, job->rows, (const void *const *)job->x, job->y) != 0)
            return -1;
        if (apart)
            note_dims(model, job);
        rows += job->rows;
    }
    if (apart)
        return 0;
    copy_rows(d->inputs, d->n_inputs, room->x, batch, false);
    int code = hone_run(model, rows, (const void *const *)room->x, room->y);
    if (code == 0)
        copy_rows(d->outputs, d->n_outputs, room->y, batch, true);
    for (RtServeJob *job = batch; code == 0 && job; job = job->next)
        note_dims(model, job);
    return code;
}

static void finish_batch(RtServeQueue *q, HoneModel *model, RtServeJob *batch, int code) {
    uint64_t now = rt_now();
    bool tell = false;
    int jobs = 0;
    q->metrics->runs += code == 0;
    for (RtServeJob *job = batch; job; job = job->next, jobs++) {
        job->computed = now;
        if (code == 0)
            continue;
        rt_fail(&job->err, "%s", hone_error(model));
        fail(q, job, 500, RT_SERVE_BROKEN);
    }
    pthread_mutex_lock(&q->lock);
    for (RtServeJob *job = batch, *next; job; job = next) {
        next = job->next;
        if (code == 0)
            push(&q->to_help, job);
        else
            tell = push_done(q, job) || tell;
    }
    pthread_mutex_unlock(&q->lock);
    if (tell)
        tell_done(q);
    for (int i = 0; code == 0 && i < jobs && i < q->n_helpers; i++)
        pthread_cond_signal(&q->helpers_wanted);
}

static void serve_worker(void *ctx, HoneModel *model) {
    RtServeQueue *q = ctx;
    const HoneModelDesc *d = q->m->d;
    Room room = {0};
    RtServeGather gather = {0};
    if (q->m->batches && q->m->max_batch > 1) {
        room.x = allocate(q->m, false);
        room.y = allocate(q->m, true);
    }
    for (RtServeJob *batch; (batch = take_batch(q, &gather)) != NULL;)
        finish_batch(q, model, batch, run_batch(model, batch, &room));
    release(room.x, d->n_inputs);
    release(room.y, d->n_outputs);
}

// ---------------------------------------------------------------- the queue

static void init_locks(RtServeQueue *q) {
    pthread_condattr_t attr;
    pthread_mutex_init(&q->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); // as rt_now()
    pthread_cond_init(&q->workers_wanted, &attr);
    pthread_cond_init(&q->helpers_wanted, NULL);
    pthread_condattr_destroy(&attr);
}

static bool start_helpers(RtServeQueue *q, RtErr *err) {
    int n = rt_cpus_available(), code = 0;
    sigset_t all, before;
    q->helper = calloc((size_t)n, sizeof *q->helper);
    if (!q->helper)
        return rt_fail(err, "no memory");
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (q->n_helpers < n && code == 0) {
        code = pthread_create(&q->helper[q->n_helpers], NULL, serve_helper, q);
        q->n_helpers += code == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return q->n_helpers > 0 || rt_fail(err, "no thread can be started: %s", strerror(code));
}

bool rt_serve_queue_start(RtServeQueue *q, const HoneOptions *opt, int instances, RtErr *err) {
    init_locks(q);
    q->to_help.last = &q->to_help.first;
    q->to_run.last = &q->to_run.first;
    q->done.last = &q->done.first;
    q->workers = (RtWorkers){.body = serve_worker, .ctx = q};
    q->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (q->done_fd < 0)
        return rt_fail(err, "no eventfd: %s", strerror(errno));
    return rt_workers_start(&q->workers, q->m->first, opt, instances, err) && start_helpers(q, err);
}

bool rt_serve_queue_add(RtServeQueue *q, RtServeJob *job) {
    pthread_mutex_lock(&q->lock);
    bool room = q->jobs < q->max_jobs;
    if (room) {
        q->jobs++;
        push(&q->to_help, job);
    }
    pthread_mutex_unlock(&q->lock);
    if (room)
        pthread_cond_signal(&q->helpers_wanted);
    q->metrics->pending += room;
    q->metrics->failure[RT_SERVE_REJECTED] += !room;
    return room;
}

RtServeJob *rt_serve_queue_take(RtServeQueue *q) {
    eventfd_t n;
    eventfd_read(q->done_fd, &n);
    pthread_mutex_lock(&q->lock);
    RtServeJob *job = q->done.first;
    q->done = (RtServeList){.last = &q->done.first};
    for (RtServeJob *j = job; j; j = j->next) {
        q->jobs--;
        q->metrics->pending--;
    }
    pthread_mutex_unlock(&q->lock);
    return job;
}

void rt_serve_queue_hurry(RtServeQueue *q) {
    pthread_mutex_lock(&q->lock);
    q->hurries = true;
    pthread_cond_broadcast(&q->workers_wanted);
    pthread_mutex_unlock(&q->lock);
}

static void drop(RtServeList *list) {
    for (RtServeJob *job; (job = pop(list)) != NULL;)
        rt_serve_job_free(job);
}

void rt_serve_queue_stop(RtServeQueue *q) {
    pthread_mutex_lock(&q->lock);
    q->stops = true;
    pthread_cond_broadcast(&q->workers_wanted);
    pthread_cond_broadcast(&q->helpers_wanted);
    pthread_mutex_unlock(&q->lock);
    rt_workers_join(&q->workers);
    for (int i = 0; i < q->n_helpers; i++)
        pthread_join(q->helper[i], NULL);
    free(q->helper);
    drop(&q->to_help);
    drop(&q->to_run);
    drop(&q->done);
    if (q->done_fd >= 0)
        close(q->done_fd);
    pthread_cond_destroy(&q->workers_wanted);
    pthread_cond_destroy(&q->helpers_wanted);
    pthread_mutex_destroy(&q->lock);
}
