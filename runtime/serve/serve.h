// A server of one model: KServe v2 over HTTP. Header of the room.
#ifndef RUNTIME_SERVE_SERVE_H
#define RUNTIME_SERVE_SERVE_H

#include "runtime/core/rt.h"

typedef struct RtServeOptions {
    const char *host, *name; // name NULL: the model's own
    int port;                // 0: any
    int instances, threads;  // threads of an instance; 0: the CPUs divided among them
    int max_batch, max_queue, max_connections, max_body_mb;
    int max_megapixels;   // of an image, 1 to 200
    float queue_delay_ms; // that a request may wait for others; below 0: while it pays (gather.h)
    float timeout_s;      // of a request: to arrive, to wait, to be sent
    int drain_s;
} RtServeOptions;

// Serves the chain of units until SIGTERM or SIGINT, then answers what has begun, for drain_s at
// most. False: err says what went wrong.
bool rt_serve(const HoneModelDesc *first, const RtServeOptions *opt, RtErr *err);

#endif
