// The table of paths, and requests for inference on their way into the queue.
#define _GNU_SOURCE
#include "runtime/serve/routes.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "runtime/serve/info.h"

typedef struct Request {
    RtServeRoutes *r;
    const RtHttpHead *head;
    RtServeBody body;
    uint64_t arrived;
    void *owner;
    RtServeReply *reply;
} Request;

// ---------------------------------------------------------------- documents

static void print_server(const RtServeRoutes *r, FILE *f) {
    rt_serve_info_server(r->m, f);
}

static void print_model(const RtServeRoutes *r, FILE *f) {
    rt_serve_info_model(r->m, f);
}

static void print_config(const RtServeRoutes *r, FILE *f) {
    rt_serve_info_config(r->m, r->queue->delay_ns, r->instances, f);
}

static void print_index(const RtServeRoutes *r, FILE *f) {
    rt_serve_info_index(r->m, f);
}

static void print_stats(const RtServeRoutes *r, FILE *f) {
    rt_serve_metrics_stats(r->metrics, r->m, f);
}

static void print_metrics(const RtServeRoutes *r, FILE *f) {
    rt_serve_metrics_print(r->metrics, r->m, f);
}

static void print_page(const RtServeRoutes *r, FILE *f) {
    (void)r;
    fputs(rt_serve_page, f);
}

static void print_page_model(const RtServeRoutes *r, FILE *f) {
    rt_serve_info_page(r->m, f);
}

static void show(Request *q, const char *type, void (*print)(const RtServeRoutes *r, FILE *f)) {
    RtServeReply *reply = q->reply;
    FILE *f = open_memstream(&reply->text, &reply->text_bytes);
    if (f)
        print(q->r, f);
    if (!f || fclose(f) != 0) {
        rt_serve_reply_error(reply, 500, "no memory for the reply");
        return;
    }
    reply->status = 200;
    reply->type = type;
}

static void say_live(Request *q) {
    q->reply->status = 200;
}

static void say_ready(Request *q) {
    q->reply->status = q->r->draining ? 400 : 200; // as Triton
}

// ---------------------------------------------------------------- inference

static bool begins(const char *text, const char *with) {
    return text && strncasecmp(text, with, strlen(with)) == 0;
}

static const char json_header[] = "Inference-Header-Content-Length";

// A number of at most 9 digits; -1: none.
static int64_t read_count(const char *text) {
    size_t n = text ? strspn(text, "0123456789") : 0;
    return n > 0 && n < 10 && text[n] == 0 ? atoll(text) : -1;
}

size_t rt_serve_route_lead(const RtHttpHead *head) {
    int64_t n = read_count(rt_http_field(head, json_header));
    return n < 0 ? 0 : (size_t)n;
}

// How much of the body is JSON: what a header says, nothing of an image, else all of it, -1.
static bool find_json(const Request *q, int64_t *json, RtErr *err) {
    const char *text = rt_http_field(q->head, json_header);
    const char *type = rt_http_field(q->head, "Content-Type");
    *json = text ? read_count(text) : begins(type, "image/") ? 0 : -1;
    return !text || *json >= 0 || rt_fail(err, "%s is no size within the body", json_header);
}

// ?classification=K
static bool find_classes(const Request *q, int *classes, RtErr *err) {
    static const char key[] = "classification=";
    const char *text = q->head->query;
    int64_t n = *text ? -1 : 0;
    if (strncmp(text, key, sizeof key - 1) == 0)
        n = read_count(text + sizeof key - 1);
    *classes = (int)n;
    return n >= 0 || rt_fail(err, "the only query is classification=K");
}

static void infer(Request *q) {
    RtErr err;
    RtServeJob *job = calloc(1, sizeof *job);
    int64_t json;
    int classes;
    if (!job) {
        rt_serve_reply_error(q->reply, 500, "no memory for the request");
        return;
    }
    if (!find_json(q, &json, &err) || !find_classes(q, &classes, &err)) {
        q->r->metrics->failure[RT_SERVE_WRONG]++;
        rt_serve_reply_error(q->reply, 400, err.text);
        free(job);
        return;
    }
    *job = (RtServeJob){.owner = q->owner,
                        .memory = q->body.memory,
                        .body = q->body.start,
                        .body_bytes = q->body.bytes,
                        .packed = q->head->packed,
                        .max_body = q->r->max_body,
                        .json_bytes = json,
                        .classes = classes,
                        .arrived = q->arrived,
                        .deadline = rt_now() + q->r->timeout_ns};
    q->body.memory = NULL;
    if (!rt_serve_queue_add(q->r->queue, job)) {
        rt_serve_reply_error(q->reply, 503, "the queue is full");
        rt_serve_job_free(job);
    }
}

// ---------------------------------------------------------------- the table

typedef struct Route { // a document, or what else answers
    const char *path;  // {M}: the model's name, {V}: its version
    const char *method;
    void (*answer)(Request *q);
    const char *type;
    void (*print)(const RtServeRoutes *r, FILE *f);
} Route;

#define JSON "application/json"
static const Route routes[] = {
    {"", "GET", NULL, "text/html; charset=utf-8", print_page},
    {"model.json", "GET", NULL, JSON, print_page_model},
    {"metrics", "GET", NULL, "text/plain; version=0.0.4; charset=utf-8", print_metrics},
    {"v2", "GET", NULL, JSON, print_server},
    {"v2/health/live", "GET", say_live, NULL, NULL},
    {"v2/health/ready", "GET", say_ready, NULL, NULL},
    {"v2/repository/index", "POST", NULL, JSON, print_index},
    {"v2/models/stats", "GET", NULL, JSON, print_stats},
    {"v2/models/{M}", "GET", NULL, JSON, print_model},
    {"v2/models/{M}/ready", "GET", say_ready, NULL, NULL},
    {"v2/models/{M}/config", "GET", NULL, JSON, print_config},
    {"v2/models/{M}/stats", "GET", NULL, JSON, print_stats},
    {"v2/models/{M}/infer", "POST", infer, NULL, NULL},
    {"v2/models/{M}/versions/{V}", "GET", NULL, JSON, print_model},
    {"v2/models/{M}/versions/{V}/ready", "GET", say_ready, NULL, NULL},
    {"v2/models/{M}/versions/{V}/config", "GET", NULL, JSON, print_config},
    {"v2/models/{M}/versions/{V}/stats", "GET", NULL, JSON, print_stats},
    {"v2/models/{M}/versions/{V}/infer", "POST", infer, NULL, NULL},
};

typedef struct Match {
    const char *model, *version; // segments of the path as sent; NULL: the route names none
    size_t model_bytes, version_bytes;
} Match;

static bool match(const char *pattern, const char *path, Match *found) {
    *found = (Match){0};
    for (;;) {
        size_t p = strcspn(pattern, "/"), n = strcspn(path, "/");
        if (n && strncmp(pattern, "{M}", 3) == 0) {
            found->model = path;
            found->model_bytes = n;
        } else if (n && strncmp(pattern, "{V}", 3) == 0) {
            found->version = path;
            found->version_bytes = n;
        } else if (p != n || strncmp(pattern, path, n) != 0) {
            return false;
        }
        pattern += p;
        path += n;
        if (!*pattern || !*path)
            return *pattern == *path;
        pattern++;
        path++;
    }
}

// Is the segment the escaped form of this text?
static bool names(const char *segment, size_t n, const char *text) {
    char *copy = strndup(segment, n);
    bool same = copy && rt_http_unescape(copy) && strcmp(copy, text) == 0;
    free(copy);
    return same;
}

static bool check_names(const Request *q, const Match *found) {
    RtErr err;
    if (found->model && !names(found->model, found->model_bytes, q->r->m->name))
        rt_fail(&err, "Request for unknown model: '%.*s' is not found; the model is '%s'",
                (int)found->model_bytes, found->model, q->r->m->name);
    else if (found->version && !names(found->version, found->version_bytes, "1"))
        rt_fail(&err, "Request for unknown model: '%s' version %.*s is not found", q->r->m->name,
                (int)found->version_bytes, found->version);
    else
        return true;
    rt_serve_reply_error(q->reply, 404, err.text);
    return false;
}

static void answer(Request *q, const Route *route, const Match *found) {
    const char *method = q->head->method;
    bool get = strcmp(route->method, "GET") == 0;
    if (!check_names(q, found))
        return;
    if (strcmp(method, route->method) != 0 && !(get && strcmp(method, "HEAD") == 0)) {
        rt_serve_reply_error(q->reply, 405, "the method is not one of this path");
        q->reply->allow = get ? "GET, HEAD" : route->method;
        return;
    }
    if (route->print)
        show(q, route->type, route->print);
    else
        route->answer(q);
}

void rt_serve_route(RtServeRoutes *r, const RtHttpHead *head, const RtServeBody *body,
                    uint64_t arrived, void *owner, RtServeReply *reply) {
    Request q = {r, head, *body, arrived, owner, reply};
    *reply = (RtServeReply){0};
    size_t i = 0, n = sizeof routes / sizeof *routes;
    Match found;
    while (i < n && !match(routes[i].path, head->path + 1, &found))
        i++;
    if (i < n)
        answer(&q, &routes[i], &found);
    else
        rt_serve_reply_error(reply, 404, "there is nothing of this name");
    free(q.body.memory);
}
