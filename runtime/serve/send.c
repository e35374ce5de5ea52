// A reply as the bytes that go out.
#include "runtime/serve/send.h"

#include <event2/buffer.h>
#include <stdlib.h>

#include "runtime/serve/http.h"

static void free_bytes(const void *data, size_t n, void *ctx) {
    (void)data, (void)n;
    free(ctx);
}

static void add_bytes(struct evbuffer *out, char *data, size_t n) {
    if (!n || evbuffer_add_reference(out, data, n, free_bytes, data) != 0)
        free(data);
}

static void add_head(struct evbuffer *out, const RtServeReply *r, bool close) {
    evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\nContent-Length: %zu\r\nConnection: %s\r\n",
                        r->status, rt_http_reason(r->status), r->text_bytes + r->data_bytes,
                        close ? "close" : "keep-alive");
    if (r->type)
        evbuffer_add_printf(out, "Content-Type: %s\r\nX-Content-Type-Options: nosniff\r\n",
                            r->type);
    if (r->data)
        evbuffer_add_printf(out, "Inference-Header-Content-Length: %zu\r\n", r->text_bytes);
    if (r->allow)
        evbuffer_add_printf(out, "Allow: %s\r\n", r->allow);
    if (r->again)
        evbuffer_add_printf(out, "Retry-After: 1\r\n");
    evbuffer_add(out, "\r\n", 2);
}

struct evbuffer *rt_serve_send(RtServeReply *reply, bool close, bool bodyless) {
    struct evbuffer *out = evbuffer_new();
    if (out)
        add_head(out, reply, close);
    if (out && !bodyless) {
        add_bytes(out, reply->text, reply->text_bytes);
        add_bytes(out, reply->data, reply->data_bytes);
        reply->text = reply->data = NULL;
    }
    rt_serve_reply_free(reply);
    return out;
}
