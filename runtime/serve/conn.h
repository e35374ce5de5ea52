// Connections: bytes to requests, replies to bytes, within limits of size and time. Private header.
#ifndef RUNTIME_SERVE_CONN_H
#define RUNTIME_SERVE_CONN_H

#include "runtime/serve/routes.h"

struct event_base;
typedef struct RtServeConn RtServeConn;

typedef struct RtServeConns { // of a server; all of it belongs to the loop's thread
    struct event_base *base;  // set by the owner:
    RtServeRoutes *routes;
    RtServeMetrics *metrics;
    int most;
    int64_t max_body, max_bodies;        // bytes of one request, of all that are read or waiting
    int head_s, idle_s, body_s, write_s; // whole times, however the bytes trickle. idle_s: between
                                         // requests; the first has head_s to begin
    void (*emptied)(void *ctx), *ctx;    // the last one closed

    RtServeConn *first;
    int n, lingering; // of them, those that have had their last reply
    int64_t bodies;   // bytes now
} RtServeConns;

// Takes the socket over. Where there are too many, the longest idle one closes; else it is refused.
void rt_serve_conn_accept(RtServeConns *all, int fd);
// Sends the reply to `owner` of a job; the reply's memory goes with it.
void rt_serve_conn_reply(RtServeConn *c, RtServeReply *reply);
// `draining` is set: those that wait for nothing close when nothing comes in a moment, the others
// with their reply.
void rt_serve_conns_drain(RtServeConns *all);
// How many have begun a request and not got their reply.
int rt_serve_conns_owed(const RtServeConns *all);
void rt_serve_conns_free(RtServeConns *all);

#endif
