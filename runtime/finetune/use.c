// eval and predict: the tuned model at work, straight from the checkpoint.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/core/tally.h"
#include "runtime/data/input_file.h"
#include "runtime/file/json.h"
#include "runtime/image/inputs.h"
#include "runtime/finetune/finetune.h"

// ---------------------------------------------------------------- eval

typedef struct Eval {
    const char *folder;
    int confusions; // pairs of classes to be named
    bool help, json, pretrained, train_part, classes;
    int threads, batch, workers;
} Eval;

static void print_classes(const RtScores *s, const RtDataset *data) {
    printf("%-24s %8s %10s %8s %8s\n", "class", "images", "precision", "recall", "F1");
    for (int k = 0; k < s->classes; k++) {
        RtClassScores c = rt_scores_of_class(s, k);
        printf("%-24s %8lld %9.2f%% %7.2f%% %7.2f%%\n", RT_SHOW(data->names[k]),
               (long long)c.images, c.precision * 100, c.recall * 100, c.f1 * 100);
    }
}

static void put_classes(RtJson *j, const RtScores *s, const RtDataset *data) {
    rt_json_number(j, "macro_f1", rt_scores_macro_f1(s), 9);
    rt_json_begin(j, "classes", '[');
    for (int k = 0; k < s->classes; k++) {
        RtClassScores c = rt_scores_of_class(s, k);
        rt_json_begin(j, NULL, '{');
        rt_json_text(j, "class", data->names[k]);
        rt_json_int(j, "images", c.images);
        rt_json_number(j, "precision", c.precision, 9);
        rt_json_number(j, "recall", c.recall, 9);
        rt_json_number(j, "f1", c.f1, 9);
        rt_json_end(j, '}');
    }
    rt_json_end(j, ']');
}

static void print_confusions(const RtConfusion *c, int n, const RtDataset *data) {
    for (int i = 0; i < n; i++)
        printf("%6lld of %s taken for %s\n", (long long)c[i].images,
               RT_SHOW(data->names[c[i].label]), RT_SHOW(data->names[c[i].guess]));
}

static void put_confusions(RtJson *j, const RtConfusion *c, int n, const RtDataset *data) {
    rt_json_begin(j, "confusions", '[');
    for (int i = 0; i < n; i++) {
        rt_json_begin(j, NULL, '{');
        rt_json_text(j, "class", data->names[c[i].label]);
        rt_json_text(j, "taken_for", data->names[c[i].guess]);
        rt_json_int(j, "images", c[i].images);
        rt_json_end(j, '}');
    }
    rt_json_end(j, ']');
}

// The pairs that e asks for, in text or, j not NULL, in JSON.
static void tell_confusions(const Eval *e, const RtScores *s, const RtDataset *data, RtJson *j) {
    RtConfusion *c = s->confusion ? calloc((size_t)e->confusions + 1, sizeof *c) : NULL;
    int n = c ? rt_scores_confusions(s, c, e->confusions) : 0;
    if (j && c && e->confusions)
        put_confusions(j, c, n, data);
    else if (!j && c)
        print_confusions(c, n, data);
    free(c);
}

static void print_temperature(const RtTemper *t) {
    RtTemperature x = rt_temper_best(t);
    printf("at temperature %.3g: loss %.4f, calibration error %.2f%%\n", x.value, x.loss,
           x.calibration_error * 100);
}

static void put_temperature(RtJson *j, const RtTemper *t) {
    RtTemperature x = rt_temper_best(t);
    rt_json_begin(j, "temperature", '{');
    rt_json_number(j, "value", x.value, 9);
    rt_json_number(j, "loss", x.loss, 9);
    rt_json_number(j, "calibration_error", x.calibration_error, 9);
    rt_json_end(j, '}');
}

static void print_scores(const Eval *e, const RtFine *f, const RtScores *s, const RtDataset *data,
                         int64_t bad) {
    bool each = f->d->loss == HONE_LOSS_BCE && !f->d->binary;
    if (!e->json) {
        printf("%lld images: loss %.4f, top-1 %.2f%%, top-5 %.2f%%", (long long)s->n, s->loss,
               s->top1 * 100, s->top5 * 100);
        if (!each)
            printf(", calibration error %.2f%%", rt_scores_calibration_error(s) * 100);
        if (s->confusion)
            printf(", macro F1 %.2f%%", rt_scores_macro_f1(s) * 100);
        if (s->n_not_finite)
            printf("; %lld outputs are not finite", (long long)s->n_not_finite);
        putchar('\n');
        if (e->classes && s->confusion)
            print_classes(s, data);
        tell_confusions(e, s, data, NULL);
        if (!each)
            print_temperature(s->temper);
        return;
    }
    RtJson j = {.f = stdout};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "model", f->d->info->name);
    rt_json_number(&j, "loss", s->loss, 9);
    rt_json_number(&j, "top1", s->top1, 9);
    rt_json_number(&j, "top5", s->top5, 9);
    rt_json_int(&j, "images", s->n);
    rt_json_int(&j, "bad_images", bad);
    rt_json_int(&j, "not_finite", s->n_not_finite);
    if (!each)
        rt_json_number(&j, "calibration_error", rt_scores_calibration_error(s), 9);
    if (!each)
        put_temperature(&j, s->temper);
    if (s->confusion)
        put_classes(&j, s, data);
    tell_confusions(e, s, data, &j);
    rt_json_end(&j, '}');
    putchar('\n');
}

static void complain_line(void *ctx, const char *line) {
    (void)ctx;
    rt_fine_complain(line);
}

static void count_bad(void *ctx, int64_t item, const char *line) {
    (void)item;
    ++*(int64_t *)ctx;
    fprintf(stderr, "%s (left out)\n", RT_SHOW(line));
}

static int evaluate(const RtFine *f, const Eval *e, const char *spec) {
    char *labels = NULL;
    int64_t bad = 0;
    RtErr err = {{0}};
    RtTemper temper = {.n = 0};
    RtScores scores = {.temper = &temper};
    RtSource *source = NULL;
    RtEngine *t = rt_fine_open_trained(f, e->pretrained ? NULL : e->folder, e->threads, &labels);
    free(labels);
    if (!t)
        return RT_EXIT_INPUT;
    RtDataset *data = rt_train_open_data(t, spec, &(RtDataOptions){.seed = 1, .eval_only = true});
    RtSourceOptions o = {
        .batch = e->batch, .workers = e->workers, .variants = 1, .bad = count_bad, .ctx = &bad};
    int code = RT_EXIT_INPUT;
    if (data && (source = rt_source_open(t, data, true, NULL, &o, &err)) &&
        rt_evaluate(t, NULL, source, e->batch, &scores, NULL, NULL, &err)) {
        rt_scores_tell(&scores, data, RT_WORST, complain_line, NULL);
        print_scores(e, f, &scores, data, bad);
        if (bad)
            fprintf(stderr, "%lld images are bad and left out\n", (long long)bad);
        code = scores.n_not_finite || bad ? RT_EXIT_INPUT : RT_EXIT_FINE;
    } else if (data) {
        rt_fine_complain(err.text);
    }
    rt_scores_free(&scores);
    rt_source_close(source);
    rt_dataset_close(data);
    rt_engine_close(t);
    return code;
}

int rt_fine_eval(const RtFine *f, int argc, char **argv) {
    Eval e = {.folder = f->folder, .batch = 16};
    const RtCliOption options[] = {
        RT_FINE_CHECKPOINT(&e.folder),
        {"--pretrained", RT_CLI_FLAG, &e.pretrained, 0, 0, NULL, "the model before training"},
        {"--batch|-b", RT_CLI_INT, &e.batch, 1, RT_MAX_BATCH, "N", "images a batch (default 16)"},
        RT_FINE_THREADS(&e.threads),
        {"--workers|-j", RT_CLI_INT, &e.workers, 0, 256, "N", "threads that decode images"},
        {"--per-class", RT_CLI_FLAG, &e.classes, 0, 0, NULL,
         "a table of precision, recall and F1 of each class"},
        {"--confusions", RT_CLI_INT, &e.confusions, 0, 1000, "K",
         "the K pairs of classes of which one is taken for the other most often"},
        {"--json", RT_CLI_FLAG, &e.json, 0, 0, NULL, "one JSON object"},
        RT_FINE_HELP(&e.help),
    };
    RtCliList rest = {0};
    int code;
    if (rt_fine_parse(f, "eval",
                      "[OPTION...] DATA\n\nLoss and accuracy of the best parameters on DATA: its "
                      "validation images, or all where\nit has none of its own.",
                      options, sizeof options / sizeof *options, &e.help, argc, argv, &rest, 1, 1,
                      &code))
        code = evaluate(f, &e, rest.item[0]);
    free(rest.item);
    return code;
}

// ---------------------------------------------------------------- predict

typedef struct Predict {
    const RtFine *f;
    const char *folder;
    bool help, json, as_stored;
    int threads, top;
    RtInputs *inputs;
    RtTally tally;
    RtEngine *engine;
    const char **names;
    float *image, *logits, *weight, loss, temperature;
    double *p;
} Predict;

static bool alloc_predict(Predict *x) {
    const HonePreprocess *p = &x->f->d->info->preprocess;
    size_t classes = (size_t)(x->f->d->binary ? 2 : x->f->d->classes);
    x->image = rt_alloc_aligned((size_t)p->height * (size_t)p->width * (size_t)p->channels *
                                sizeof(float));
    x->logits = rt_alloc_aligned(classes * sizeof(float));
    x->weight = rt_alloc_aligned(classes * sizeof(float));
    x->p = calloc(classes, sizeof *x->p);
    for (size_t i = 0; x->weight && i < classes; i++)
        x->weight[i] = 1;
    return x->image && x->logits && x->weight && x->p && x->names;
}

static void print_guess(const Predict *x, RtJson *j, int k) {
    if (j) {
        rt_json_begin(j, NULL, '{');
        rt_json_int(j, "class", k);
        rt_json_text(j, "label", x->names[k]);
        rt_json_number(j, "probability", x->p[k], 9);
        rt_json_end(j, '}');
    } else if (x->names[k][0]) {
        printf("  %6.2f%%  %s\n", x->p[k] * 100, RT_SHOW(x->names[k]));
    } else {
        printf("  %6.2f%%  class %d\n", x->p[k] * 100, k);
    }
}

static void print_top(Predict *x, RtJson *j) {
    int classes = x->f->d->binary ? 2 : x->f->d->classes;
    for (int n = 0; n < x->top && n < classes; n++) {
        int best = -1;
        for (int i = 0; i < classes; i++)
            if (x->p[i] >= 0 && (best < 0 || x->p[i] > x->p[best]))
                best = i;
        if (best < 0)
            return;
        print_guess(x, j, best);
        x->p[best] = -1; // printed
    }
}

static bool load_image(Predict *x, const char *path, RtErr *err) {
    HonePreprocess p = x->f->d->info->preprocess;
    p.as_stored |= x->as_stored;
    int64_t c = p.channels, h = p.height, w = p.width;
    const HoneTensorDesc input = {
        "image",
        HONE_F32,
        4,
        {{0, 1}, {p.nhwc ? h : c, 0}, {p.nhwc ? w : h, 0}, {p.nhwc ? c : w, 0}}};
    RtInputFile f;
    if (!rt_input_file_open(path, p.channels, p.as_stored, &f, err))
        return false;
    x->tally.turned += f.image.turned != 0;
    bool good = rt_input_file_fill(&f, path, &p, &input, x->image, err);
    rt_input_file_close(&f);
    return good;
}

static bool predict_one(Predict *x, const char *path, RtJson *j, RtErr *err) {
    const HoneTrainDesc *d = x->f->d;
    bool ok = load_image(x, path, err);
    int32_t label = 0;
    float *zero = calloc((size_t)d->classes + 1, sizeof *zero); // the targets of no loss
    RtEngineBatch b = {.n = 1,
                       .images = x->image,
                       .labels = &label,
                       .targets = zero,
                       .class_weight = x->weight,
                       .scale = 1,
                       .loss = &x->loss,
                       .logits = x->logits};
    ok = ok && (zero || rt_fail(err, "no memory")) && rt_engine_eval(x->engine, &b, err);
    free(zero);
    for (int i = 0; ok && i < rt_engine_logit_columns(x->engine); i++)
        ok = isfinite(x->logits[i]) || rt_fail(err, "%s: the network's output is not finite", path);
    if (!ok)
        return false;
    for (int i = 0; i < rt_engine_logit_columns(x->engine); i++)
        x->logits[i] /= x->temperature;
    rt_probabilities(d, x->logits, x->p);
    if (j) {
        rt_json_begin(j, NULL, '{');
        rt_json_text(j, "image", path);
        rt_json_begin(j, "top", '[');
        print_top(x, j);
        rt_json_end(j, ']');
        rt_json_end(j, '}');
    } else {
        printf("%s%s\n", RT_SHOW(path),
               d->loss == HONE_LOSS_BCE && !d->binary ? " (each class by itself)" : "");
        print_top(x, NULL);
    }
    return true;
}

static void print_error(RtJson *j, const char *path, const char *text) {
    rt_json_begin(j, NULL, '{');
    rt_json_text(j, "image", path);
    rt_json_text(j, "error", text);
    rt_json_end(j, '}');
}

static void predict_file(Predict *x, const char *path, RtJson *j) {
    RtErr err;
    if (predict_one(x, path, j, &err))
        return;
    rt_tally_bad(&x->tally, err.text);
    if (j)
        print_error(j, path, err.text);
}

static int predict_all(Predict *x) {
    RtErr err;
    RtJson j = {.f = stdout};
    char *path;
    int n;
    if (!alloc_predict(x))
        return rt_fine_complain("no memory");
    rt_tally_begin(&x->tally, rt_inputs_listed(x->inputs) ? -1 : rt_inputs_known(x->inputs), true);
    if (x->json)
        rt_json_begin(&j, NULL, '[');
    while ((n = rt_inputs_take(x->inputs, &path, 1, &err)) > 0) {
        rt_tally_clear(&x->tally);
        predict_file(x, path, x->json ? &j : NULL);
        rt_tally_step(&x->tally);
        fflush(stdout);
        free(path);
    }
    if (x->json) {
        rt_json_end(&j, ']');
        putchar('\n');
    }
    if (n < 0)
        rt_fine_complain(err.text);
    return rt_tally_end(&x->tally) && n == 0 ? RT_EXIT_FINE : RT_EXIT_INPUT;
}

int rt_fine_predict(const RtFine *f, int argc, char **argv) {
    Predict x = {.f = f, .folder = f->folder, .top = 5, .temperature = 1};
    const RtCliOption options[] = {
        {"--top", RT_CLI_INT, &x.top, 1, 1 << 20, "K", "classes an image (default 5)"},
        {"--temperature", RT_CLI_FLOAT, &x.temperature, 0.01, 100, "T",
         "scores are divided by it, as eval finds it for these classes (default 1)"},
        RT_FINE_CHECKPOINT(&x.folder),
        RT_FINE_THREADS(&x.threads),
        {"--json", RT_CLI_FLAG, &x.json, 0, 0, NULL, "one JSON array, its elements as they come"},
        {"--as-stored", RT_CLI_FLAG, &x.as_stored, 0, 0, NULL,
         "not turned upright as their EXIF orientation says"},
        RT_FINE_HELP(&x.help),
    };
    RtCliList rest = {0};
    char *labels = NULL;
    RtErr err;
    int code;
    if (rt_fine_parse(f, "predict",
                      "[OPTION...] IMAGE|FOLDER|PATTERN|-...\n\nThe most likely classes of JPEG, "
                      "PNG and WebP images, with "
                      "the best parameters of the newest\ncheckpoint.\n\n" RT_INPUTS_RULE,
                      options, sizeof options / sizeof *options, &x.help, argc, argv, &rest, 1,
                      1 << 30, &code)) {
        code = RT_EXIT_INPUT;
        x.engine = rt_fine_open_trained(f, x.folder, x.threads, &labels);
        x.names = rt_fine_names(f, labels);
        if (x.engine && (x.inputs = rt_inputs_open(rest.item, rest.n, &err)))
            code = predict_all(&x);
        else if (x.engine)
            rt_fine_complain(err.text);
        rt_inputs_close(x.inputs);
        rt_engine_close(x.engine);
    }
    free(labels);
    free(x.names);
    free(x.image);
    free(x.logits);
    free(x.weight);
    free(x.p);
    free(rest.item);
    return code;
}
