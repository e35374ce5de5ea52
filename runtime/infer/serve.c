// serve: the options of the server (runtime/serve).
#include <stdlib.h>

#include "runtime/infer/infer.h"
#include "runtime/serve/serve.h"

static void print_help(const RtInfer *in, const RtCliOption *options, int n) {
    const char *p = in->program;
    printf("Usage: %s serve [OPTION...]\n\n"
           "Answers requests over HTTP by KServe's v2 protocol, as its clients and Triton's send "
           "them, with\n"
           "tensors in JSON or binary form, JPEG, PNG and WebP files as BYTES, and a page to drop "
           "pictures on.\n"
           "SIGTERM ends it once what has begun is answered. Sockets of systemd are taken "
           "(LISTEN_FDS),\n"
           "and it is told when the server is ready (NOTIFY_SOCKET).\n\n",
           p);
    rt_cli_help(stdout, options, n);
    printf("\nExamples:\n"
           "  %s serve --port 8080\n"
           "  curl --data-binary @cat.jpg -H 'Content-Type: image/jpeg' \\\n"
           "      'localhost:8080/v2/models/%s/infer?classification=5'\n"
           "  curl localhost:8080/metrics\n",
           p, RT_SHOW(in->desc->name));
}

static int serve(const RtInfer *in, const RtServeOptions *o) {
    RtErr err;
    if (rt_serve(in->first, o, &err))
        return RT_EXIT_FINE;
    fprintf(stderr, "%s: %s\n", in->program, err.text);
    return RT_EXIT_INPUT;
}

int rt_infer_serve(const RtInfer *in, int argc, char **argv) {
    RtServeOptions o = {.host = "127.0.0.1",
                        .port = 8080,
                        .instances = 1,
                        .max_batch = 8,
                        .queue_delay_ms = -1,
                        .max_queue = 128,
                        .max_connections = 256,
                        .max_body_mb = 64,
                        .max_megapixels = 50,
                        .timeout_s = 30,
                        .drain_s = 25};
    bool help = false;
    const RtCliOption options[] = {
        {"--port|-p", RT_CLI_INT, &o.port, 0, 65535, "N", "default 8080; 0: any that is free"},
        {"--host", RT_CLI_TEXT, &o.host, 0, 0, "ADDRESS",
         "where to listen (default 127.0.0.1: this machine alone; 0.0.0.0: all)"},
        {"--name", RT_CLI_TEXT, &o.name, 0, 0, "NAME", "the model's in URLs (default: its own)"},
        {"--instances", RT_CLI_INT, &o.instances, 1, 64, "N", "runs at the same time (default 1)"},
        RT_CLI_THREADS(&o.threads,
                       "threads of a run (default: auto, the CPUs divided among the instances)"),
        {"--max-batch", RT_CLI_INT, &o.max_batch, 1, 1024, "N",
         "images of a request, and of requests that run together (default 8)"},
        {"--queue-delay", RT_CLI_FLOAT, &o.queue_delay_ms, 0, 10000, "MS",
         "how long a request may wait for others to run with (default: while it pays, an "
         "eighth of a run at most; 0: not at all)"},
        {"--max-queue", RT_CLI_INT, &o.max_queue, 1, 1 << 20, "N",
         "requests without a reply; more are refused with 503 (default 128)"},
        {"--max-connections", RT_CLI_INT, &o.max_connections, 1, 1 << 16, "N",
         "one more closes the one that is silent the longest (default 256)"},
        {"--max-body", RT_CLI_INT, &o.max_body_mb, 1, 1024, "MB",
         "of a request; 8 times as much of all at once (default 64)"},
        {"--max-pixels", RT_CLI_INT, &o.max_megapixels, 1, 200, "N",
         "millions of an image; each CPU reads one at a time (default 50)"},
        {"--timeout", RT_CLI_FLOAT, &o.timeout_s, 0.05, 3600, "S",
         "of a request: to arrive, to wait, to be sent (default 30)"},
        {"--drain", RT_CLI_INT, &o.drain_s, 0, 3600, "S",
         "to answer what has begun, after SIGTERM (default 25)"},
        {"--help|-h", RT_CLI_FLAG, &help, 0, 0, NULL, "this text"},
    };
    enum { N_OPTIONS = sizeof options / sizeof *options };
    RtCliList rest = {0};
    RtErr err;
    int code;
    if (!rt_cli_parse(options, N_OPTIONS, argc, argv, &rest, &err)) {
        code = rt_infer_usage(in, "serve", err.text);
    } else if (help) {
        print_help(in, options, N_OPTIONS);
        code = RT_EXIT_FINE;
    } else if (rest.n) {
        rt_fail(&err, "'%s' is no option", rest.item[0]);
        code = rt_infer_usage(in, "serve", err.text);
    } else {
        code = serve(in, &o);
    }
    free(rest.item);
    return code;
}
