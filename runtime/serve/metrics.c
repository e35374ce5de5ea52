// The counters, and the two forms that they are shown in.
#include "runtime/serve/metrics.h"

#include "runtime/file/json.h"

static const char *const reasons[RT_SERVE_FAILURES] = {
    [RT_SERVE_REJECTED] = "REJECTED", [RT_SERVE_WRONG] = "OTHER", [RT_SERVE_BROKEN] = "BACKEND"};

void rt_serve_metrics_success(RtServeMetrics *c, const RtServeJob *job, uint64_t now) {
    c->success++;
    c->rows += (uint64_t)job->rows;
    c->request_ns += now - job->arrived;
    c->input_ns += job->queued - job->arrived;
    c->queue_ns += job->started - job->queued;
    c->infer_ns += job->computed - job->started;
    c->output_ns += now - job->computed;
}

// A label's value: what a name may hold, escaped as Prometheus wants it
static void print_value(FILE *f, const char *text) {
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fprintf(f, "\\%c", *text);
        else if (*text == '\n')
            fputs("\\n", f);
        else
            fputc(*text, f);
    }
}

static void print_head(FILE *f, const char *name, const char *type, const char *help) {
    fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_model(FILE *f, const char *name, const RtServeModel *m, const char *reason,
                        int64_t value) {
    fprintf(f, "%s{model=\"", name);
    print_value(f, m->name);
    fputs("\",version=\"1\"", f);
    if (reason)
        fprintf(f, ",reason=\"%s\"", reason);
    fprintf(f, "} %lld\n", (long long)value);
}

void rt_serve_metrics_print(const RtServeMetrics *c, const RtServeModel *m, FILE *f) {
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        {"nv_inference_request_success", "counter", "Requests that got a result", c->success},
        {"nv_inference_count", "counter", "Rows (images) computed", c->rows},
        {"nv_inference_exec_count", "counter", "Runs of the model, each of one or more rows",
         c->runs},
        {"nv_inference_request_duration_us", "counter", "From a request's arrival to its reply",
         c->request_ns / 1000},
        {"nv_inference_queue_duration_us", "counter", "Waiting for a run", c->queue_ns / 1000},
        {"nv_inference_compute_input_duration_us", "counter", "Reading and decoding inputs",
         c->input_ns / 1000},
        {"nv_inference_compute_infer_duration_us", "counter", "Running the model",
         c->infer_ns / 1000},
        {"nv_inference_compute_output_duration_us", "counter", "Writing replies",
         c->output_ns / 1000},
        {"nv_inference_pending_request_count", "gauge", "Requests without a reply yet",
         (uint64_t)c->pending},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        print_head(f, rows[i].name, rows[i].type, rows[i].help);
        print_model(f, rows[i].name, m, NULL, (int64_t)rows[i].value);
    }
    print_head(f, "nv_inference_request_failure", "counter", "Requests that got no result");
    for (int i = 0; i < RT_SERVE_FAILURES; i++)
        print_model(f, "nv_inference_request_failure", m, reasons[i], (int64_t)c->failure[i]);
    print_head(f, "hone_http_connections", "gauge", "Open connections");
    fprintf(f, "hone_http_connections %lld\n", (long long)c->connections);
    print_head(f, "hone_http_responses_total", "counter", "Responses by class of their status");
    for (int i = 2; i < RT_SERVE_STATUS_CLASSES; i++)
        fprintf(f, "hone_http_responses_total{code=\"%dxx\"} %llu\n", i,
                (unsigned long long)c->responses[i]);
}

static void write_duration(RtJson *j, const char *key, uint64_t count, uint64_t ns) {
    rt_json_begin(j, key, '{');
    rt_json_int(j, "count", (int64_t)count);
    rt_json_int(j, "ns", (int64_t)ns);
    rt_json_end(j, '}');
}

void rt_serve_metrics_stats(const RtServeMetrics *c, const RtServeModel *m, FILE *f) {
    RtJson j = {.f = f};
    uint64_t failed = 0;
    for (int i = 0; i < RT_SERVE_FAILURES; i++)
        failed += c->failure[i];
    rt_json_begin(&j, NULL, '{');
    rt_json_begin(&j, "model_stats", '[');
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "name", m->name);
    rt_json_text(&j, "version", "1");
    rt_json_int(&j, "inference_count", (int64_t)c->rows);
    rt_json_int(&j, "execution_count", (int64_t)c->runs);
    rt_json_begin(&j, "inference_stats", '{');
    write_duration(&j, "success", c->success, c->request_ns);
    write_duration(&j, "fail", failed, 0);
    write_duration(&j, "queue", c->success, c->queue_ns);
    write_duration(&j, "compute_input", c->success, c->input_ns);
    write_duration(&j, "compute_infer", c->success, c->infer_ns);
    write_duration(&j, "compute_output", c->success, c->output_ns);
    rt_json_end(&j, '}');
    rt_json_begin(&j, "batch_stats", '[');
    rt_json_end(&j, ']');
    rt_json_end(&j, '}');
    rt_json_end(&j, ']');
    rt_json_end(&j, '}');
}
