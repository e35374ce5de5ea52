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
    int head_s, idle_s, body_s, write_s; // whole times, however the bytes trickle
    void (*emptied)(void *ctx), *ctx;    // the last one closed

    RtServeConn *first;
    int n;
    int64_t bodies; // bytes now
} RtServeConns;

// Takes the socket over.
void rt_serve_conn_accept(RtServeConns *all, int fd);
// Sends the reply to `owner` of a job; the reply's memory goes with it.
void rt_serve_conn_reply(RtServeConn *c, RtServeReply *reply);
// Closes those that wait for nothing; the others close with their reply.
void rt_serve_conns_drain(RtServeConns *all);
void rt_serve_conns_free(RtServeConns *all);

#endif
