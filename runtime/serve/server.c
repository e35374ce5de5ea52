// The server: sockets, the loop, signals. One thread runs the loop (connections, HTTP, documents);
// all that takes long is the queue's threads'.
#define _GNU_SOURCE
#include "runtime/serve/serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/core/text.h"
#include "runtime/serve/conn.h"
#include "runtime/serve/systemd.h"

enum { IDLE_S = 75, HEAD_S = 10, BODIES = 8, ACCEPT_AGAIN_US = 100000 };

typedef struct Server {
    const RtServeOptions *opt;
    RtServeModel model;
    RtServeMetrics metrics;
    RtServeQueue queue;
    RtServeRoutes routes;
    RtServeConns conns;
    struct event_base *base;
    struct event *done, *stop, *interrupt, *accept_again, *drain;
    struct evconnlistener *listener[RT_SYSTEMD_MAX_SOCKETS];
    int n_listeners, cut_off; // requests that had no reply when the time was up
} Server;

// ---------------------------------------------------------------- events

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from, int size,
                      void *ctx) {
    (void)l, (void)from, (void)size;
    rt_serve_conn_accept(&((Server *)ctx)->conns, fd);
}

// No descriptors, mostly: a moment later there may be some.
static void on_accept_error(struct evconnlistener *l, void *ctx) {
    Server *s = ctx;
    evconnlistener_disable(l);
    evtimer_add(s->accept_again, &(struct timeval){.tv_usec = ACCEPT_AGAIN_US});
}

static void on_accept_again(evutil_socket_t fd, short what, void *ctx) {
    Server *s = ctx;
    (void)fd, (void)what;
    for (int i = 0; i < s->n_listeners; i++)
        evconnlistener_enable(s->listener[i]);
}

static void on_done(evutil_socket_t fd, short what, void *ctx) {
    Server *s = ctx;
    (void)fd, (void)what;
    for (RtServeJob *job = rt_serve_queue_take(&s->queue), *next; job; job = next) {
        next = job->next;
        rt_serve_conn_reply(job->owner, &job->reply);
        rt_serve_job_free(job);
    }
}

// Who has connected is a client already: closing the listener would reset it.
static void accept_backlog(Server *s) {
    for (int i = 0; i < s->n_listeners; i++)
        for (int k = 0, fd; k < SOMAXCONN; k++) {
            fd = accept4(evconnlistener_get_fd(s->listener[i]), NULL, NULL,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd < 0)
                break;
            rt_serve_conn_accept(&s->conns, fd);
        }
}

static void close_listeners(Server *s) {
    for (int i = 0; i < s->n_listeners; i++)
        evconnlistener_free(s->listener[i]);
    s->n_listeners = 0;
}

static void on_emptied(void *ctx) {
    Server *s = ctx;
    if (s->routes.draining)
        event_base_loopbreak(s->base);
}

static void on_drained(evutil_socket_t fd, short what, void *ctx) {
    Server *s = ctx;
    (void)fd, (void)what;
    s->cut_off = rt_serve_conns_owed(&s->conns);
    event_base_loopbreak(s->base);
}

static void on_signal(evutil_socket_t fd, short what, void *ctx) {
    Server *s = ctx;
    if (s->routes.draining) { // once more: now
        on_drained(fd, what, ctx);
        return;
    }
    rt_systemd_notify("STOPPING=1");
    accept_backlog(s);
    s->routes.draining = true;
    close_listeners(s);
    evtimer_add(s->drain, &(struct timeval){.tv_sec = s->opt->drain_s});
    rt_serve_queue_hurry(&s->queue);
    rt_serve_conns_drain(&s->conns);
    if (s->conns.n == 0)
        event_base_loopbreak(s->base);
}

// ---------------------------------------------------------------- sockets

static bool listen_on(Server *s, int fd, int backlog, RtErr *err) {
    evutil_make_socket_nonblocking(fd);
    struct evconnlistener *l = evconnlistener_new(
        s->base, on_accept, s, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, backlog, fd);
    if (!l) {
        rt_fail(err, "cannot listen on the socket: %s", strerror(errno));
        close(fd);
        return false;
    }
    evconnlistener_set_error_cb(l, on_accept_error);
    s->listener[s->n_listeners++] = l;
    return true;
}

static bool inherit_sockets(Server *s, int n, RtErr *err) {
    for (int i = 0; i < n; i++) {
        int fd = RT_SYSTEMD_FIRST_SOCKET + i, listens = 0;
        socklen_t size = sizeof listens;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || !listens)
            return rt_fail(err, "descriptor %d, inherited by LISTEN_FDS, is no listening socket",
                           fd);
        if (!listen_on(s, fd, 0, err))
            return false;
    }
    return true;
}

// An address in numbers, or "localhost": names need libraries where the program runs.
static bool read_address(const char *host, int port, struct sockaddr_storage *to, socklen_t *size) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)to;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
    memset(to, 0, sizeof *to);
    host = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *size = sizeof *v4;
        return true;
    }
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)port);
    *size = sizeof *v6;
    return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1;
}

static bool bind_socket(Server *s, RtErr *err) {
    struct sockaddr_storage at;
    socklen_t size;
    const char *host = s->opt->host;
    int on = 1;
    if (!read_address(host, s->opt->port, &at, &size))
        return rt_fail(err, "--host %s: it is no IPv4 or IPv6 address", host);
    int fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                bind(fd, (struct sockaddr *)&at, size) == 0;
    if (good)
        return listen_on(s, fd, SOMAXCONN, err);
    rt_fail(err, "cannot listen on %s port %d: %s", host, s->opt->port, strerror(errno));
    if (fd >= 0)
        close(fd);
    return false;
}

// "listening on http://127.0.0.1:8080", for people and for who asked for any port
static void say_where(const Server *s) {
    for (int i = 0; i < s->n_listeners; i++) {
        struct sockaddr_storage at = {0};
        socklen_t size = sizeof at;
        char host[INET6_ADDRSTRLEN] = "?";
        getsockname(evconnlistener_get_fd(s->listener[i]), (struct sockaddr *)&at, &size);
        bool v6 = at.ss_family == AF_INET6;
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&at;
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&at;
        inet_ntop(at.ss_family, v6 ? (const void *)&six->sin6_addr : &v4->sin_addr, host,
                  sizeof host);
        printf(v6 ? "listening on http://[%s]:%d\n" : "listening on http://%s:%d\n", host,
               ntohs(v6 ? six->sin6_port : v4->sin_port));
    }
    printf("model %s: %d instances, %d rows a run at most\n", RT_SHOW(s->model.name),
           s->opt->instances, s->model.max_batch);
    fflush(stdout);
}

// ---------------------------------------------------------------- a server's life

static bool make_events(Server *s, RtErr *err) {
    struct event_config *changes = event_config_new(); // of interest, told once a turn of the loop
    if (changes) {
        event_config_set_flag(changes, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
        s->base = event_base_new_with_config(changes);
        event_config_free(changes);
    }
    if (!s->base)
        return rt_fail(err, "no event loop: %s", strerror(errno));
    s->done = event_new(s->base, s->queue.done_fd, EV_READ | EV_PERSIST, on_done, s);
    s->stop = evsignal_new(s->base, SIGTERM, on_signal, s);
    s->interrupt = evsignal_new(s->base, SIGINT, on_signal, s);
    s->accept_again = evtimer_new(s->base, on_accept_again, s);
    s->drain = evtimer_new(s->base, on_drained, s);
    return (s->done && s->stop && s->interrupt && s->accept_again && s->drain &&
            event_add(s->done, NULL) == 0 && event_add(s->stop, NULL) == 0 &&
            event_add(s->interrupt, NULL) == 0) ||
           rt_fail(err, "no memory");
}

static void wire(Server *s) {
    const RtServeOptions *o = s->opt;
    int64_t body = (int64_t)o->max_body_mb * 1000000;
    s->model.max_pixels = o->max_megapixels * 1000000;
    s->queue = (RtServeQueue){.m = &s->model,
                              .metrics = &s->metrics,
                              .max_jobs = o->max_queue,
                              .gathers = o->queue_delay_ms < 0};
    if (!s->queue.gathers)
        s->queue.delay_ns = (uint64_t)((double)o->queue_delay_ms * 1e6);
    s->routes = (RtServeRoutes){.m = &s->model,
                                .queue = &s->queue,
                                .metrics = &s->metrics,
                                .timeout_ns = (uint64_t)((double)o->timeout_s * 1e9),
                                .max_body = (size_t)body,
                                .instances = o->instances};
    int seconds = o->timeout_s < 1 ? 1 : (int)o->timeout_s;
    s->conns = (RtServeConns){.routes = &s->routes,
                              .metrics = &s->metrics,
                              .most = o->max_connections,
                              .max_body = body,
                              .max_bodies = BODIES * body,
                              .head_s = seconds < HEAD_S ? seconds : HEAD_S,
                              .idle_s = IDLE_S,
                              .body_s = seconds,
                              .write_s = seconds,
                              .emptied = on_emptied,
                              .ctx = s};
}

static bool run(Server *s, RtErr *err) {
    int inherited = rt_systemd_sockets();
    if (!make_events(s, err) ||
        !(inherited ? inherit_sockets(s, inherited, err) : bind_socket(s, err)))
        return false;
    s->conns.base = s->base;
    say_where(s);
    rt_systemd_notify("READY=1");
    event_base_dispatch(s->base);
    return !s->cut_off ||
           rt_fail(err, "%d connections were cut off: they were not done in time", s->cut_off);
}

static void release(Server *s) {
    struct event *const events[] = {s->done, s->stop, s->interrupt, s->accept_again, s->drain};
    s->routes.draining = false; // nobody is told any more
    close_listeners(s);
    rt_serve_conns_free(&s->conns);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (events[i])
            event_free(events[i]);
    signal(SIGTERM, SIG_IGN); // what ended well ends so, also where one more comes now
    signal(SIGINT, SIG_IGN);
    if (s->base)
        event_base_free(s->base);
}

// Bodies come and go: pages that a request has left are the next one's, not the system's.
static void keep_pages(void) {
#ifdef M_TRIM_THRESHOLD // of glibc's
    enum { KEEP = 16 << 20, MAPPED = 4 << 20 };
    mallopt(M_TRIM_THRESHOLD, KEEP);
    mallopt(M_MMAP_THRESHOLD, MAPPED);
#endif
}

bool rt_serve(const HoneModelDesc *first, const RtServeOptions *opt, RtErr *err) {
    Server *s = calloc(1, sizeof *s);
    if (!s)
        return rt_fail(err, "no memory");
    s->opt = opt;
    if (!rt_serve_model(&s->model, first, opt->name, opt->max_batch, err)) {
        free(s);
        return false;
    }
    wire(s);
    keep_pages();
    signal(SIGPIPE, SIG_IGN); // a client that went away is an error of its connection
    bool good = rt_serve_queue_start(&s->queue, &(HoneOptions){.threads = opt->threads},
                                     opt->instances, err) &&
                run(s, err);
    rt_serve_queue_stop(&s->queue);
    release(s);
    free(s);
    return good;
}
