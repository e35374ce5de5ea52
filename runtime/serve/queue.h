// Requests on their way: read, waiting to be run together, written. Private header.
#ifndef RUNTIME_SERVE_QUEUE_H
#define RUNTIME_SERVE_QUEUE_H

#include <pthread.h>

#include "runtime/serve/gather.h"
#include "runtime/serve/job.h"
#include "runtime/serve/metrics.h"

typedef struct RtServeList { // of jobs, first in first out
    RtServeJob *first, **last;
} RtServeList;

typedef struct RtServeQueue {
    const RtServeModel *m; // set by the owner, before it starts:
    RtServeMetrics *metrics;
    int max_jobs;      // between rt_serve_queue_add() and _take()
    uint64_t delay_ns; // that a request may wait for others,
    bool gathers;      // or as gather.h finds it worth
    int done_fd;       // readable when jobs are done

    pthread_mutex_t lock;
    pthread_cond_t helpers_wanted, workers_wanted;
    RtServeList to_help, to_run, done;
    int jobs;
    bool hurries; // no request waits for others any more
    bool stops;
    pthread_t *helper;
    int n_helpers;
    RtWorkers workers;
} RtServeQueue;

// Starts `instances` workers and, for reading and writing, as many helpers as there are CPUs.
bool rt_serve_queue_start(RtServeQueue *q, const HoneOptions *opt, int instances, RtErr *err);
// Hands a job over; false: there are too many.
bool rt_serve_queue_add(RtServeQueue *q, RtServeJob *job);
// The jobs that are done, each with its reply; the caller's from now on. NULL: none.
RtServeJob *rt_serve_queue_take(RtServeQueue *q);
// Nothing new is to come: from now on requests run at once.
void rt_serve_queue_hurry(RtServeQueue *q);
// What runs is finished, what waits is dropped.
void rt_serve_queue_stop(RtServeQueue *q);

#endif
