// bench: time and memory of a training step on synthetic images.
#include <stdlib.h>
#include <string.h>

#include "runtime/file/json.h"
#include "runtime/finetune/finetune.h"
#include "runtime/core/rng.h"

enum { MAX_ITERS = 1000000, AUTO_MIN_ITERS = 3, AUTO_MAX_ITERS = 200 };
#define AUTO_SECONDS 5.0

typedef struct Bench {
    const RtFine *f;
    bool help, json, cached;
    int batch, threads, iters, warmup, stage;
    const char *optimizer;
    RtEngine *engine;
    float *images, *targets, *weight, *loss, *logits, *feature[RT_MAX_FEATURES];
    int32_t *labels;
    double *ms;
} Bench;

static bool allocate(Bench *b, RtErr *err) {
    const HoneTrainDesc *d = b->f->d;
    const HonePreprocess *p = &d->info->preprocess;
    size_t n = (size_t)b->batch, classes = (size_t)(d->binary ? 2 : d->classes);
    size_t places = n * (size_t)rt_engine_places(b->engine);
    size_t pixels = (size_t)p->height * (size_t)p->width * (size_t)p->channels;
    b->images = rt_alloc_aligned(n * pixels * sizeof(float));
    b->labels = calloc(places, sizeof *b->labels);
    b->targets = calloc(n * classes, sizeof *b->targets);
    b->weight = rt_alloc_aligned(classes * sizeof(float));
    b->loss = rt_alloc_aligned(n * sizeof(float));
    b->logits = rt_alloc_aligned(places * classes * sizeof(float));
    b->ms = calloc(b->iters ? (size_t)b->iters : AUTO_MAX_ITERS, sizeof *b->ms);
    if (!b->images || !b->labels || !b->targets || !b->weight || !b->loss || !b->logits || !b->ms)
        return rt_fail(err, "no memory for batch size %d", b->batch);
    RtRng g = rt_rng(1, 0, 0, RT_RNG_SYNTHETIC);
    for (size_t i = 0; i < n * pixels; i++)
        b->images[i] = (float)rt_rng_between(&g, -1, 1);
    for (size_t i = 0; i < places; i++)
        b->labels[i] = (int32_t)rt_rng_below(&g, (int64_t)classes);
    for (size_t i = 0; i < classes; i++)
        b->weight[i] = 1;
    for (int i = 0; b->cached && i < rt_engine_n_features(b->engine); i++) {
        size_t floats = n * (size_t)rt_engine_feature_floats(b->engine, i);
        if (!(b->feature[i] = rt_alloc_aligned(floats * sizeof(float))))
            return rt_fail(err, "no memory for batch size %d", b->batch);
    }
    return !b->cached || rt_engine_features(b->engine, b->batch, b->images, b->feature, err);
}

// Forward, backward, norm, update: what train does for one batch.
static bool run_step(Bench *b, int64_t t, double *ms, RtErr *err) {
    uint64_t start = rt_now();
    bool features = b->cached && rt_engine_n_features(b->engine) > 0;
    RtEngineBatch batch = {.n = b->batch,
                           .images = b->images,
                           .features = features ? b->feature : NULL,
                           .labels = b->labels,
                           .targets = b->targets,
                           .class_weight = b->weight,
                           .scale = 1 / (float)(b->batch * rt_engine_places(b->engine)),
                           .seed = t,
                           .loss = b->loss,
                           .logits = b->logits};
    RtEngineRates r = {.kind = strcmp(b->optimizer, "adamw") == 0 ? HONE_OPT_ADAMW : HONE_OPT_SGD,
                       .lr = 1e-4f,
                       .momentum = 0.9f,
                       .beta2 = 0.999f,
                       .eps = 1e-8f,
                       .decay = 1e-4f,
                       .clip = 1,
                       .t = t};
    double norm;
    if (!rt_engine_train(b->engine, &batch, rt_engine_buffer(b->engine, RT_ENGINE_G), NULL, NULL,
                         err) ||
        !rt_engine_grad_norm(b->engine, &norm, err) || !rt_engine_update(b->engine, &r, err))
        return false;
    *ms = (double)(rt_now() - start) * 1e-6;
    return true;
}

static bool measure(Bench *b, RtErr *err) {
    double ms;
    int64_t t = 1;
    for (int i = 0; i < b->warmup; i++)
        if (!run_step(b, t++, &ms, err))
            return false;
    bool automatic = b->iters == 0;
    int limit = automatic ? AUTO_MAX_ITERS : b->iters;
    uint64_t start = rt_now();
    for (b->iters = 0; b->iters < limit; b->iters++) {
        if (automatic && b->iters >= AUTO_MIN_ITERS &&
            (double)(rt_now() - start) * 1e-9 > AUTO_SECONDS)
            break;
        if (!run_step(b, t++, &b->ms[b->iters], err))
            return false;
    }
    return true;
}

static int compare_double(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(Bench *b) {
    const HoneTrainStage *s = &b->f->d->stages[b->stage - 1];
    qsort(b->ms, (size_t)b->iters, sizeof *b->ms, compare_double);
    double median = (b->ms[b->iters / 2] + b->ms[(b->iters - 1) / 2]) / 2;
    double speed = b->batch / b->ms[0] * 1e3, rss = rt_peak_rss_mb();
    if (!b->json) {
        printf("%s, stage %d (%s)%s: batch %d, threads %d, %d steps\n"
               "  min %.3f ms, median %.3f ms, %.2f images/s, %.1f MB resident at peak\n",
               RT_SHOW(b->f->d->info->name), b->stage, RT_SHOW(s->spec),
               b->cached ? ", features cached" : "", b->batch, rt_engine_threads(b->engine),
               b->iters, b->ms[0], median, speed, rss);
        return;
    }
    RtJson j = {.f = stdout};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "model", b->f->d->info->name);
    rt_json_text(&j, "stage", s->spec);
    rt_json_bool(&j, "cached", b->cached);
    rt_json_int(&j, "batch", b->batch);
    rt_json_int(&j, "threads", rt_engine_threads(b->engine));
    rt_json_int(&j, "iters", b->iters);
    rt_json_number(&j, "min_ms", b->ms[0], 6);
    rt_json_number(&j, "median_ms", median, 6);
    rt_json_number(&j, "images_per_s", speed, 6);
    rt_json_number(&j, "rss_mb", rss, 6);
    rt_json_end(&j, '}');
    putchar('\n');
}

static int bench(Bench *b) {
    RtErr err;
    b->engine = rt_engine_open(b->f->d, b->threads, &err);
    if (!b->engine || !rt_engine_open_stage(b->engine, b->stage - 1, &err) || !allocate(b, &err) ||
        !measure(b, &err))
        return rt_fine_complain(err.text);
    report(b);
    return RT_EXIT_FINE;
}

static void release(Bench *b) {
    for (int i = 0; i < RT_MAX_FEATURES; i++)
        free(b->feature[i]);
    free(b->images);
    free(b->labels);
    free(b->targets);
    free(b->weight);
    free(b->loss);
    free(b->logits);
    free(b->ms);
    rt_engine_close(b->engine);
}

int rt_fine_bench(const RtFine *f, int argc, char **argv) {
    Bench b = {.f = f, .batch = rt_fine_batch(f->d), .warmup = 1, .stage = 1, .optimizer = "sgd"};
    const RtCliOption options[] = {
        {"--batch|-b", RT_CLI_INT, &b.batch, 1, RT_MAX_BATCH, "N",
         "images a step (default 16, or as compiled)"},
        RT_FINE_THREADS(&b.threads),
        {"--iters|-n", RT_CLI_INT, &b.iters, 1, MAX_ITERS, "N",
         "measured steps (default: five seconds' worth, at least 3)"},
        {"--warmup|-w", RT_CLI_INT, &b.warmup, 0, MAX_ITERS, "N", "steps before (default 1)"},
        {"--stage", RT_CLI_INT, &b.stage, 1, f->d->n_stages, "S",
         "of the plan, from 1 (default 1)"},
        {"--cached", RT_CLI_FLAG, &b.cached, 0, 0, NULL,
         "without the frozen layers, as in an epoch from cached features"},
        {"--opt", RT_CLI_CHOICE, &b.optimizer, 0, 0, "sgd|adamw", "default sgd"},
        {"--json", RT_CLI_FLAG, &b.json, 0, 0, NULL, "one JSON object"},
        RT_FINE_HELP(&b.help),
    };
    RtCliList rest = {0};
    int code;
    if (rt_fine_parse(f, "bench",
                      "[OPTION...]\n\nRuns training steps on synthetic images: forward, backward, "
                      "update.",
                      options, sizeof options / sizeof *options, &b.help, argc, argv, &rest, 0, 0,
                      &code))
        code = bench(&b);
    release(&b);
    free(rest.item);
    return code;
}
