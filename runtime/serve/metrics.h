// Counts of what a server did, under Triton's names. Private header.
#ifndef RUNTIME_SERVE_METRICS_H
#define RUNTIME_SERVE_METRICS_H

#include <stdatomic.h>

#include "runtime/core/rt.h"
#include "runtime/serve/job.h"

typedef enum RtServeFailure { // why a request for inference got no result
    RT_SERVE_REJECTED,        // the queue was full, or it waited for too long
    RT_SERVE_WRONG,           // it said what makes no sense
    RT_SERVE_BROKEN,          // the run failed
    RT_SERVE_FAILURES
} RtServeFailure;

enum { RT_SERVE_STATUS_CLASSES = 6 };

typedef struct RtServeMetrics { // each counts up, from whatever thread
    _Atomic uint64_t success, failure[RT_SERVE_FAILURES];
    _Atomic uint64_t rows, runs;
    _Atomic uint64_t request_ns, queue_ns, input_ns, infer_ns, output_ns; // of successes
    _Atomic uint64_t responses[RT_SERVE_STATUS_CLASSES];                  // 2xx at [2]
    _Atomic int64_t pending, connections;                                 // now
} RtServeMetrics;

// A request that got its result, with its times, from arrival to `now`.
void rt_serve_metrics_success(RtServeMetrics *c, const RtServeJob *job, uint64_t now);
// All of them in Prometheus's text form.
void rt_serve_metrics_print(const RtServeMetrics *c, const RtServeModel *m, FILE *f);
// The same as Triton's statistics extension has them, the object of one model.
void rt_serve_metrics_stats(const RtServeMetrics *c, const RtServeModel *m, FILE *f);

#endif
