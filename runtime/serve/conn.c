// A connection is a state and the bytes that it waits for. One request is on its way at a time:
// what a client sends ahead stays in the socket until it has its reply.
//
// Times are whole ones, not from byte to byte, so that a slow sender gains nothing. Who is refused
// is read from a little longer, since closing a socket with unread bytes takes the reply away.
#include "runtime/serve/conn.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/serve/send.h"

typedef enum State {
    IN_HEAD, // or before it, when nothing has arrived
    IN_BODY,
    IN_CHUNK_SIZE,
    IN_CHUNK,
    IN_CHUNK_END,
    IN_LAST_LINE,
    WAITS,   // for the reply; reads nothing
    WRITES,  // the reply; reads nothing
    LINGERS, // until the peer closes
} State;

enum {
    LINGER_S = 2,
    LAST_WORD_S = 1,
    READ_AT_ONCE = 1 << 16,    // through a buffer; of a body whose size is known
    PEEK_AT_ONCE = 1 << 12,    // no more than that, and the rest from the socket:
    RECEIVE_AT_ONCE = 1 << 22, // at most so much before others have their turn,
    WAKE_AT = 1 << 20,         // once so much has arrived, or what is left
};

struct RtServeConn {
    RtServeConns *all;
    struct bufferevent *bev;
    struct event *timer;
    State state;
    uint64_t arrived; // the first byte of a request; 0: none yet
    char *head_text;  // what `head` points into
    RtHttpHead head;
    char *memory, *body; // what free() takes, and within it [room + 1]
    size_t bytes, room;
    int64_t left;     // of the body, or of a chunk
    int wake_at;      // bytes in the socket that the loop is told of
    bool close, gone; // after the reply; before it
    bool known;       // it had a request
    uint64_t idle;    // since when it may be, rt_now()
    RtServeConn *next, **back;
};

// ---------------------------------------------------------------- life

static void drop_request(RtServeConn *c) {
    c->all->bodies -= (int64_t)c->room;
    free(c->memory);
    free(c->head_text);
    c->memory = c->body = c->head_text = NULL;
    c->bytes = c->room = 0;
    c->head = (RtHttpHead){.method = ""};
    c->arrived = 0;
}

static void free_conn(RtServeConn *c) {
    RtServeConns *all = c->all;
    drop_request(c);
    *c->back = c->next;
    if (c->next)
        c->next->back = c->back;
    if (c->timer)
        event_free(c->timer);
    bufferevent_free(c->bev);
    all->n--;
    all->lingering -= c->state == LINGERS;
    free(c);
    all->metrics->connections--;
    if (all->n == 0)
        all->emptied(all->ctx);
}

static void set_deadline(RtServeConn *c, int seconds) {
    evtimer_add(c->timer, &(struct timeval){.tv_sec = seconds});
}

// A body wakes the loop once, not with each packet: each time takes a CPU from a run.
static void wake_at(RtServeConn *c, int64_t bytes) {
    int n = bytes < WAKE_AT ? (int)bytes : WAKE_AT;
    if (n == c->wake_at)
        return;
    c->wake_at = n;
    setsockopt(bufferevent_getfd(c->bev), SOL_SOCKET, SO_RCVLOWAT, &n, sizeof n);
    bufferevent_set_max_single_read(c->bev, n > 1 ? PEEK_AT_ONCE : READ_AT_ONCE);
}

// Before a request. At the end those that are on their way still find somebody.
static void await_request(RtServeConn *c) {
    const RtServeConns *all = c->all;
    c->state = IN_HEAD;
    c->idle = rt_now();
    set_deadline(c, all->routes->draining ? LAST_WORD_S : c->known ? all->idle_s : all->head_s);
}

static bool is_idle(const RtServeConn *c) {
    return c->state == IN_HEAD && !c->arrived;
}

// ---------------------------------------------------------------- replies

// What follows a reply that is sent.
static void end_reply(RtServeConn *c) {
    if (c->close) {
        shutdown(bufferevent_getfd(c->bev), SHUT_WR);
        c->state = LINGERS;
        c->all->lingering++;
        set_deadline(c, LINGER_S);
    } else {
        await_request(c);
    }
    bufferevent_enable(c->bev, EV_READ);
}

// At once, as far as the socket takes it; the loop sends the rest.
static void send_bytes(RtServeConn *c, struct evbuffer *bytes) {
    struct evbuffer *out = bufferevent_get_output(c->bev);
    while (!evbuffer_get_length(out) && evbuffer_get_length(bytes) &&
           evbuffer_write(bytes, bufferevent_getfd(c->bev)) > 0) {
    }
    evbuffer_add_buffer(out, bytes);
    if (!evbuffer_get_length(out)) {
        end_reply(c);
        return;
    }
    bufferevent_disable(c->bev, EV_READ);
    c->state = WRITES;
    set_deadline(c, c->all->write_s);
}

static void send_reply(RtServeConn *c, RtServeReply *reply) {
    c->all->metrics->responses[reply->status / 100]++;
    c->close = c->close || c->head.close || c->all->routes->draining;
    struct evbuffer *bytes = rt_serve_send(reply, c->close, strcmp(c->head.method, "HEAD") == 0);
    drop_request(c);
    wake_at(c, 1);
    if (bytes) {
        send_bytes(c, bytes);
        evbuffer_free(bytes);
    } else {
        c->close = true; // no memory: without a word
        end_reply(c);
    }
}

// Not a request that can be answered, nor anything behind it.
static bool refuse(RtServeConn *c, int status, const char *reason) {
    RtServeReply reply = {0};
    rt_serve_reply_error(&reply, status, reason);
    c->close = true;
    send_reply(c, &reply);
    return true;
}

// ---------------------------------------------------------------- requests

static bool dispatch(RtServeConn *c) {
    RtServeReply reply;
    RtServeBody body = {c->memory, c->body, c->bytes};
    bufferevent_disable(c->bev, EV_READ);
    event_del(c->timer);
    c->memory = c->body = NULL; // its bytes count until the reply
    c->known = true;
    c->state = WAITS;
    rt_serve_route(c->all->routes, &c->head, &body, c->arrived, c, &reply);
    if (reply.status)
        send_reply(c, &reply);
    return true;
}

// Room for `bytes` of the body and a 0 byte, `lead` of them before a multiple of RT_ALIGN; refuses
// where that is too much.
static bool make_room(RtServeConn *c, size_t bytes, size_t lead) {
    RtServeConns *all = c->all;
    if (bytes <= c->room && c->body)
        return true;
    size_t room = bytes > 2 * c->room ? bytes : 2 * c->room, before = -lead % RT_ALIGN;
    room = room > (size_t)all->max_body ? (size_t)all->max_body : room;
    if (all->bodies + (int64_t)(room - c->room) > all->max_bodies)
        return !refuse(c, 503, "too many requests are being read");
    char *memory = rt_alloc_aligned(before + room + 1);
    if (!memory)
        return !refuse(c, 503, "no memory for the request");
    if (c->bytes)
        memcpy(memory + before, c->body, c->bytes);
    free(c->memory);
    all->bodies += (int64_t)(room - c->room);
    c->memory = memory;
    c->body = memory + before;
    c->room = room;
    return true;
}

static bool start_body(RtServeConn *c) {
    if (c->head.length > c->all->max_body)
        return refuse(c, 413, "the request is too large");
    if (!make_room(c, (size_t)c->head.length, rt_serve_route_lead(&c->head)))
        return true;
    if (c->head.expects)
        bufferevent_write(c->bev, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    set_deadline(c, c->all->body_s);
    c->left = c->head.length;
    c->state = c->head.chunked ? IN_CHUNK_SIZE : IN_BODY;
    return true;
}

static bool read_head(RtServeConn *c, struct evbuffer *in) {
    size_t n = evbuffer_get_length(in);
    if (n == 0)
        return false;
    if (!c->arrived) {
        c->arrived = rt_now();
        set_deadline(c, c->all->head_s);
    }
    n = n < RT_HTTP_MAX_HEAD ? n : RT_HTTP_MAX_HEAD;
    const char *text = (const char *)evbuffer_pullup(in, (ev_ssize_t)n);
    int64_t size = text ? rt_http_head_size(text, n) : -1;
    if (size < 0)
        return refuse(c, 400, "a line does not end in CR LF");
    if (size == 0)
        return n == RT_HTTP_MAX_HEAD && refuse(c, 431, "the head is too large");
    c->head_text = calloc(1, (size_t)size + 1);
    if (!c->head_text)
        return refuse(c, 503, "no memory for the request");
    evbuffer_remove(in, c->head_text, (size_t)size);
    if (!rt_http_read(c->head_text, (size_t)size, &c->head))
        return refuse(c, c->head.status, c->head.reason);
    return start_body(c);
}

// Up to `left` bytes into the body; false: there are none.
static bool take_bytes(RtServeConn *c, struct evbuffer *in) {
    int n = evbuffer_remove(in, c->body + c->bytes, (size_t)c->left);
    if (n <= 0)
        return false;
    c->bytes += (size_t)n;
    c->left -= n;
    return true;
}

// From the socket itself, what is left of a body: large ones need not go through a buffer.
static bool receive(RtServeConn *c) {
    size_t n = (size_t)c->left < RECEIVE_AT_ONCE ? (size_t)c->left : RECEIVE_AT_ONCE;
    ssize_t got = recv(bufferevent_getfd(c->bev), c->body + c->bytes, n, MSG_DONTWAIT);
    if (got <= 0)
        return false; // nothing now; an end or an error, the loop is told of, too
    c->bytes += (size_t)got;
    c->left -= got;
    return c->left == 0;
}

static bool read_body(RtServeConn *c, struct evbuffer *in) {
    if (c->left)
        take_bytes(c, in);
    if (c->left && !receive(c)) {
        wake_at(c, c->left);
        return false;
    }
    c->body[c->bytes] = 0;
    return dispatch(c);
}

static bool read_chunk_size(RtServeConn *c, struct evbuffer *in) {
    char line[RT_HTTP_MAX_CHUNK_LINE + 1] = "";
    size_t end;
    struct evbuffer_ptr at = evbuffer_search_eol(in, NULL, &end, EVBUFFER_EOL_CRLF_STRICT);
    if (at.pos < 0)
        return evbuffer_get_length(in) >= sizeof line && refuse(c, 400, "a chunk has no size");
    if (at.pos >= RT_HTTP_MAX_CHUNK_LINE)
        return refuse(c, 400, "a chunk has no size");
    evbuffer_remove(in, line, (size_t)at.pos);
    evbuffer_drain(in, end);
    c->left = strlen(line) == (size_t)at.pos ? rt_http_chunk_size(line) : -1;
    if (c->left < 0)
        return refuse(c, 400, "a chunk has no size");
    if (c->left > c->all->max_body - (int64_t)c->bytes)
        return refuse(c, 413, "the request is too large");
    c->state = c->left ? IN_CHUNK : IN_LAST_LINE;
    return true;
}

static bool read_chunk(RtServeConn *c, struct evbuffer *in) {
    size_t n = evbuffer_get_length(in);
    n = n < (size_t)c->left ? n
                            : (size_t)c->left; // room for what has arrived, not for what is said
    if (n == 0)
        return false;
    if (!make_room(c, c->bytes + n, 0))
        return true;
    take_bytes(c, in);
    if (c->left == 0)
        c->state = IN_CHUNK_END;
    return true;
}

// 1: the end of a line is next, and is taken; 0: not there yet; -1: something else is
static int take_end(struct evbuffer *in) {
    char end[2];
    if (evbuffer_get_length(in) < 2)
        return 0;
    evbuffer_remove(in, end, 2);
    return end[0] == '\r' && end[1] == '\n' ? 1 : -1;
}

static bool read_chunk_end(RtServeConn *c, struct evbuffer *in) {
    int end = take_end(in);
    if (end < 0)
        return refuse(c, 400, "a chunk is longer than its size");
    if (end > 0)
        c->state = IN_CHUNK_SIZE;
    return end > 0;
}

static bool read_last_line(RtServeConn *c, struct evbuffer *in) {
    int end = take_end(in);
    if (end < 0)
        return refuse(c, 400, "trailers are not read");
    if (end == 0)
        return false;
    c->body[c->bytes] = 0;
    return dispatch(c);
}

static bool discard(RtServeConn *c, struct evbuffer *in) {
    (void)c;
    evbuffer_drain(in, evbuffer_get_length(in));
    return false;
}

// As far as the bytes that are there go. A step returns whether the next one has a try.
static void advance(RtServeConn *c) {
    static bool (*const steps[])(RtServeConn * c, struct evbuffer * in) = {
        [IN_HEAD] = read_head,
        [IN_BODY] = read_body,
        [IN_CHUNK_SIZE] = read_chunk_size,
        [IN_CHUNK] = read_chunk,
        [IN_CHUNK_END] = read_chunk_end,
        [IN_LAST_LINE] = read_last_line,
        [WAITS] = NULL,
        [WRITES] = NULL,
        [LINGERS] = discard,
    };
    struct evbuffer *in = bufferevent_get_input(c->bev);
    while (steps[c->state] && steps[c->state](c, in)) {
    }
}

void rt_serve_conn_reply(RtServeConn *c, RtServeReply *reply) {
    if (c->gone) {
        c->all->metrics->responses[reply->status / 100]++;
        rt_serve_reply_free(reply);
        free_conn(c);
        return;
    }
    send_reply(c, reply);
    advance(c); // what the client sent ahead
}

// ---------------------------------------------------------------- events

static void on_read(struct bufferevent *bev, void *ctx) {
    (void)bev;
    advance(ctx);
}

static void on_written(struct bufferevent *bev, void *ctx) {
    RtServeConn *c = ctx;
    if (c->state != WRITES || evbuffer_get_length(bufferevent_get_output(bev)))
        return;
    end_reply(c);
    advance(c);
}

static void on_end(struct bufferevent *bev, short what, void *ctx) {
    RtServeConn *c = ctx;
    (void)bev, (void)what;
    if (c->state == WAITS)
        c->gone = true;
    else
        free_conn(c);
}

static void on_deadline(evutil_socket_t fd, short what, void *ctx) {
    RtServeConn *c = ctx;
    (void)fd, (void)what;
    bool in_request = c->state < WAITS && c->arrived;
    if (in_request)
        refuse(c, 408, "the request took too long to arrive");
    else if (c->state != WAITS)
        free_conn(c);
}

static bool is_full(const RtServeConns *all) {
    return all->n - all->lingering >= all->most;
}

// Who is silent keeps nobody out: the one that is the longest makes room. Not where a request of
// its has just come, which closing would take away.
static void close_longest_idle(RtServeConns *all) {
    RtServeConn *longest = NULL;
    char byte;
    for (RtServeConn *c = all->first; c; c = c->next)
        if (is_idle(c) && (!longest || c->idle < longest->idle))
            longest = c;
    if (longest && recv(bufferevent_getfd(longest->bev), &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
        free_conn(longest);
}

void rt_serve_conn_accept(RtServeConns *all, int fd) {
    if (is_full(all))
        close_longest_idle(all);
    bool refused = is_full(all);
    RtServeConn *c = all->n < 2 * all->most ? calloc(1, sizeof *c) : NULL;
    struct bufferevent *bev =
        c ? bufferevent_socket_new(all->base, fd, BEV_OPT_CLOSE_ON_FREE) : NULL;
    if (!bev) {
        free(c);
        close(fd);
        return;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *c = (RtServeConn){.all = all, .bev = bev, .next = all->first, .back = &all->first};
    c->head.method = "";
    if (c->next)
        c->next->back = &c->next;
    all->first = c;
    all->n++;
    all->metrics->connections++;
    c->timer = evtimer_new(all->base, on_deadline, c);
    if (!c->timer) {
        free_conn(c);
        return;
    }
    bufferevent_setcb(bev, on_read, on_written, on_end, c);
    wake_at(c, 1);
    if (refused) {
        refuse(c, 503, "too many connections");
        return;
    }
    await_request(c);
    bufferevent_enable(bev, EV_READ);
}

void rt_serve_conns_drain(RtServeConns *all) {
    for (RtServeConn *c = all->first; c; c = c->next)
        if (is_idle(c))
            await_request(c);
}

int rt_serve_conns_owed(const RtServeConns *all) {
    int n = 0;
    for (const RtServeConn *c = all->first; c; c = c->next)
        n += !is_idle(c) && c->state != LINGERS;
    return n;
}

void rt_serve_conns_free(RtServeConns *all) {
    while (all->first)
        free_conn(all->first);
}
