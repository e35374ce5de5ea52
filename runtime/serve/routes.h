// What a request asks for. Private header.
#ifndef RUNTIME_SERVE_ROUTES_H
#define RUNTIME_SERVE_ROUTES_H

#include "runtime/serve/http.h"
#include "runtime/serve/queue.h"

typedef struct RtServeRoutes { // what answers are made of
    const RtServeModel *m;
    RtServeQueue *queue;
    RtServeMetrics *metrics;
    uint64_t timeout_ns; // of a request that waits
    size_t max_body;     // bytes of a compressed one, unpacked
    int instances;
    bool draining; // nobody should send more
} RtServeRoutes;

typedef struct RtServeBody {
    char *memory; // free() releases; may be NULL
    char *start;  // within it: [bytes], and a 0 byte behind
    size_t bytes;
} RtServeBody;

// Bytes of the body before a tensor that had better be aligned; 0: there is none.
size_t rt_serve_route_lead(const RtHttpHead *head);
// Fills the reply, or hands the body over to the queue for `owner` and leaves reply->status 0. The
// body's memory is the routes' from now on. `arrived`: rt_now() when the request began.
void rt_serve_route(RtServeRoutes *r, const RtHttpHead *head, const RtServeBody *body,
                    uint64_t arrived, void *owner, RtServeReply *reply);

#endif
