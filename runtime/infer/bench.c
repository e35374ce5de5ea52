// bench: time and memory on synthetic data, as a line for people or an object for programs.
// Where the time goes, node by node: infer/profile.c.
#include <stdlib.h>
#include <string.h>

#include "runtime/file/json.h"
#include "runtime/infer/infer.h"
#include "runtime/infer/profile.h"

enum { MAX_ITERS = 1000000, AUTO_MIN_ITERS = 10, AUTO_MAX_ITERS = 1000 };
#define AUTO_SECONDS 1.0

typedef struct Bench {
    const RtInfer *in;
    const HoneModelDesc *d;
    HoneModel *model;
    bool help, json, profile;
    const char *size;           // that is asked for, or NULL
    const char *html;           // file for the profile's page, or NULL
    int batch;                  // images a run; 0: 1, or the model's if that is fixed
    int threads, iters, warmup; // iters 0: as many as fit in AUTO_SECONDS
    void **x, **y;
    double *ms;      // [iters]
    uint64_t *stamp; // [n_nodes + 1] of the last run
    double *node_ms; // [n_nodes] minimum over the runs
    double load_ms, first_ms;
    RtOutFile page;
    RtProfile p;
} Bench;

static void print_help(const RtInfer *in, const RtCliOption *options, int n) {
    printf("Usage: %s bench [OPTION...]\n\n"
           "Runs the model on synthetic data and prints how long it took:\n"
           "  load_ms    from the start of the process until the model is ready\n"
           "  first_ms   the first run, which also brings weights and workspace into memory\n"
           "  min_ms, median_ms, mean_ms  of the runs after it and the warm-up\n"
           "  gflops     GFLOP/s at min_ms, a multiply and an add counted as two\n"
           "  rss_mb     peak resident memory of the process in 10^6 bytes\n\n",
           in->program);
    rt_cli_help(stdout, options, n);
    printf("\nExample:\n  %s bench --batch 8 --threads 2 --profile\n"
           "  %s bench --profile-html profile.html\n",
           in->program, in->program);
}

static double elapsed_ms(uint64_t since) {
    return (double)(rt_now() - since) * 1e-6;
}

// Floats uniform in [-1, 1), bytes uniform, other types 0: they may be indices.
static void fill_input(const HoneTensorDesc *t, void *data, int64_t count) {
    const RtDtype *type = rt_dtype(t->dtype);
    uint32_t state = 12345;
    for (int64_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        if (type->store)
            type->store((char *)data + i * type->bytes, (float)(int32_t)state * 0x1p-31f);
        else if (t->dtype == HONE_U8)
            ((uint8_t *)data)[i] = (uint8_t)(state >> 24);
    }
}

static bool allocate_tensors(const Bench *b, const HoneTensorDesc *t, int n, void **to,
                             RtErr *err) {
    for (int i = 0; i < n; i++) {
        int64_t count, bytes;
        if (!rt_tensor_count(&t[i], b->batch, &count) ||
            !rt_tensor_bytes(&t[i], b->batch, &bytes) || !(to[i] = rt_alloc_aligned((size_t)bytes)))
            return rt_fail(err, "%s: no memory for '%s' at batch size %d", b->d->name, t[i].name,
                           b->batch);
        memset(to[i], 0, (size_t)bytes);
        if (t == b->d->inputs)
            fill_input(&t[i], to[i], count);
    }
    return true;
}

static bool allocate(Bench *b, RtErr *err) {
    size_t nodes = (size_t)b->d->n_nodes + 1;
    b->x = calloc((size_t)b->d->n_inputs + 1, sizeof *b->x);
    b->y = calloc((size_t)b->d->n_outputs + 1, sizeof *b->y);
    b->ms = calloc(b->iters ? (size_t)b->iters : AUTO_MAX_ITERS, sizeof *b->ms);
    b->stamp = calloc(nodes, sizeof *b->stamp);
    b->node_ms = calloc(nodes, sizeof *b->node_ms);
    if (!b->x || !b->y || !b->ms || !b->stamp || !b->node_ms)
        return rt_fail(err, "no memory");
    return allocate_tensors(b, b->d->inputs, b->d->n_inputs, b->x, err) &&
           allocate_tensors(b, b->d->outputs, b->d->n_outputs, b->y, err);
}

static bool wants_nodes(const Bench *b) {
    return b->profile || b->html;
}

static bool run_once(Bench *b, double *ms, RtErr *err) {
    uint64_t start = rt_now();
    if (rt_model_run(b->model, b->d->batch_symbolic ? b->batch : 1, (const void *const *)b->x, b->y,
                     wants_nodes(b) ? b->stamp : NULL) != 0)
        return rt_fail(err, "%s: %s", b->d->name, hone_error(b->model));
    *ms = elapsed_ms(start);
    return true;
}

static void note_nodes(Bench *b, bool first) {
    for (int i = 0; i < b->d->n_nodes; i++) {
        double ms = (double)(b->stamp[i + 1] - b->stamp[i]) * 1e-6;
        if (first || ms < b->node_ms[i])
            b->node_ms[i] = ms;
    }
}

static bool measure(Bench *b, RtErr *err) {
    double ms;
    if (!run_once(b, &b->first_ms, err))
        return false;
    for (int i = 0; i < b->warmup; i++)
        if (!run_once(b, &ms, err))
            return false;
    bool automatic = b->iters == 0;
    int limit = automatic ? AUTO_MAX_ITERS : b->iters;
    uint64_t start = rt_now();
    for (b->iters = 0; b->iters < limit; b->iters++) {
        if (automatic && b->iters >= AUTO_MIN_ITERS && elapsed_ms(start) > AUTO_SECONDS * 1e3)
            break;
        if (!run_once(b, &b->ms[b->iters], err))
            return false;
        if (wants_nodes(b))
            note_nodes(b, b->iters == 0);
    }
    return true;
}

static int compare_double(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double rate(double work, double ms) {
    return ms > 0 ? work / ms * 1e-6 : 0;
}

// The profile's figures; false: no memory.
static bool make_profile(Bench *b, double median, double rss) {
    b->p = (RtProfile){.desc = b->d,
                       .batch = b->batch,
                       .threads = rt_model_threads(b->model),
                       .runs = b->iters,
                       .min_ms = b->ms[0],
                       .median_ms = median,
                       .load_ms = b->load_ms,
                       .first_ms = b->first_ms,
                       .rss_mb = rss};
    return rt_infer_profile_fill(&b->p, b->node_ms);
}

static double mean_ms(const Bench *b) {
    double sum = 0;
    for (int i = 0; i < b->iters; i++)
        sum += b->ms[i];
    return sum / b->iters;
}

static void print_json(const Bench *b, double median, double gflops, double rss) {
    RtJson j = {.f = stdout};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "model", b->d->name);
    rt_json_int(&j, "batch", b->batch);
    rt_json_int(&j, "threads", rt_model_threads(b->model));
    rt_json_int(&j, "iters", b->iters);
    rt_json_number(&j, "load_ms", b->load_ms, 6);
    rt_json_number(&j, "first_ms", b->first_ms, 6);
    rt_json_number(&j, "min_ms", b->ms[0], 6);
    rt_json_number(&j, "median_ms", median, 6);
    rt_json_number(&j, "mean_ms", mean_ms(b), 6);
    rt_json_number(&j, "gflops", gflops, 6);
    rt_json_number(&j, "rss_mb", rss, 6);
    if (b->profile)
        rt_infer_profile_json(&b->p, &j);
    rt_json_end(&j, '}');
    putchar('\n');
}

static bool report(Bench *b, RtErr *err) {
    qsort(b->ms, (size_t)b->iters, sizeof *b->ms, compare_double);
    int mid = b->iters / 2;
    double median = b->iters % 2 ? b->ms[mid] : (b->ms[mid - 1] + b->ms[mid]) / 2;
    double gflops = rate(rt_infer_total_flops(b->d, b->batch), b->ms[0]), rss = rt_peak_rss_mb();
    if (wants_nodes(b) && !make_profile(b, median, rss))
        return rt_fail(err, "no memory");
    if (!b->json) {
        printf("%s: batch %d, threads %d, %d runs\n"
               "  load %.2f ms, first %.2f ms, min %.3f ms, median %.3f ms\n"
               "  %.1f GFLOP/s, %.1f images/s, %.1f MB resident at peak\n",
               RT_SHOW(b->d->name), b->batch, rt_model_threads(b->model), b->iters, b->load_ms,
               b->first_ms, b->ms[0], median, gflops, b->batch / b->ms[0] * 1e3, rss);
        if (b->profile)
            rt_infer_profile_print(&b->p);
    } else {
        print_json(b, median, gflops, rss);
    }
    if (!b->html)
        return true;
    if (!rt_out_begin(&b->page, err))
        return false;
    rt_infer_profile_html(&b->p, b->page.f);
    return rt_out_commit(&b->page, err);
}

static void release(Bench *b) {
    for (int i = 0; b->x && i < b->d->n_inputs; i++)
        free(b->x[i]);
    for (int i = 0; b->y && i < b->d->n_outputs; i++)
        free(b->y[i]);
    free(b->x);
    free(b->y);
    free(b->ms);
    free(b->stamp);
    free(b->node_ms);
    rt_infer_profile_free(&b->p);
    rt_out_abort(&b->page);
    hone_destroy(b->model);
}

static bool set_batch(Bench *b, RtErr *err) {
    int fixed = 1;
    if (!b->d->batch_symbolic && b->d->n_inputs && b->d->inputs[0].rank)
        fixed = (int)b->d->inputs[0].dim[0].c;
    if (b->batch == 0)
        b->batch = fixed;
    return b->d->batch_symbolic || b->batch == fixed ||
           rt_fail(err, "%s: compiled for batch size %d, cannot run with %d", b->d->name, fixed,
                   b->batch);
}

static int bench(Bench *b) {
    RtErr err;
    if (b->html)
        rt_outs_watch(b->in->outs, NULL, NULL);
    if (b->html && !rt_out_open(&b->page, b->in->outs, b->html, RT_OUT_WHOLE, &err))
        return rt_infer_complain(err.text);
    int size = b->size ? rt_infer_find_size(b->in, b->size, &err) : 0;
    if (size < 0)
        return rt_infer_complain(err.text);
    b->d = b->in->n_sizes ? b->in->size[size] : b->d;
    b->model = rt_infer_create(b->in, size, b->threads);
    if (!b->model)
        return RT_EXIT_INPUT;
    b->load_ms = b->in->startup_ms + elapsed_ms(b->in->start_ns);
    if (!set_batch(b, &err) || !allocate(b, &err) || !measure(b, &err) || !report(b, &err))
        return rt_infer_complain(err.text);
    return RT_EXIT_FINE;
}

int rt_infer_bench(const RtInfer *in, int argc, char **argv) {
    Bench b = {.in = in, .d = in->desc, .warmup = 3};
    const RtCliOption options[] = {
        {"--batch|-b|--batch-size", RT_CLI_INT, &b.batch, 1, RT_MAX_BATCH, "N",
         "images a run (default 1)"},
        RT_THREADS_OPTION(&b.threads),
        RT_SIZE_OPTION(&b.size),
        {"--iters|-n", RT_CLI_INT, &b.iters, 1, MAX_ITERS, "N",
         "measured runs (default: a second's worth, at least 10)"},
        {"--warmup|-w", RT_CLI_INT, &b.warmup, 0, MAX_ITERS, "N",
         "runs after the first that are not measured (default 3)"},
        {"--profile", RT_CLI_FLAG, &b.profile, 0, 0, NULL,
         "time, GFLOP/s and fraction of this machine's ceiling of every node"},
        {"--profile-html", RT_CLI_TEXT, &b.html, 0, 0, "FILE",
         "the profile as a page with a bar chart, one HTML file"},
        {"--json", RT_CLI_FLAG, &b.json, 0, 0, NULL, "one JSON object"},
        {"--help|-h", RT_CLI_FLAG, &b.help, 0, 0, NULL, "this text"},
    };
    enum { N_OPTIONS = sizeof options / sizeof *options };
    RtCliList rest = {0};
    RtErr err;
    int code;
    if (!rt_cli_parse(options, N_OPTIONS, argc, argv, &rest, &err)) {
        code = rt_infer_usage(in, "bench", err.text);
    } else if (b.help) {
        print_help(in, options, N_OPTIONS);
        code = RT_EXIT_FINE;
    } else if (rest.n) {
        rt_fail(&err, "'%s' is no option", rest.item[0]);
        code = rt_infer_usage(in, "bench", err.text);
    } else {
        code = bench(&b);
    }
    release(&b);
    free(rest.item);
    return code;
}
