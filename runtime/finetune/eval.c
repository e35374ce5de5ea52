// eval: how well the tuned model does on labelled images, straight from the checkpoint.
#include <math.h>
#include <stdlib.h>

#include "runtime/file/json.h"
#include "runtime/finetune/finetune.h"

typedef struct Eval {
    const char *folder;
    int confusions; // pairs of classes to be named
    const char *views_name, *mask_values;
    RtViews views;
    bool help, json, pretrained, train_part, classes;
    int threads, batch, workers;
} Eval;

// "-" where there is nothing to divide by.
static void print_share(double x, int wide) {
    if (isnan(x))
        printf(" %*s", wide + 1, "-");
    else
        printf(" %*.2f%%", wide, x * 100);
}

static void print_classes(const RtScores *s, const RtDataset *data, const char *unit) {
    printf("%-24s %8s %10s %8s %8s %8s\n", "class", unit, "precision", "recall", "F1", "IoU");
    for (int k = 0; k < s->classes; k++) {
        RtClassScores c = rt_scores_of_class(s, k);
        printf("%-24s %8lld", RT_SHOW(data->names[k]), (long long)c.images);
        print_share(c.precision, 9);
        print_share(c.recall, 7);
        print_share(c.f1, 7);
        print_share(c.iou, 7);
        putchar('\n');
    }
}

static void put_classes(RtJson *j, const RtScores *s, const RtDataset *data, const char *unit) {
    rt_json_number(j, "macro_f1", rt_scores_macro_f1(s), 9);
    rt_json_begin(j, "classes", '[');
    for (int k = 0; k < s->classes; k++) {
        RtClassScores c = rt_scores_of_class(s, k);
        rt_json_begin(j, NULL, '{');
        rt_json_text(j, "class", data->names[k]);
        rt_json_int(j, unit, c.images);
        rt_json_number(j, "precision", c.precision, 9);
        rt_json_number(j, "recall", c.recall, 9);
        rt_json_number(j, "f1", c.f1, 9);
        rt_json_number(j, "iou", c.iou, 9);
        rt_json_end(j, '}');
    }
    rt_json_end(j, ']');
}

static void print_confusions(const RtConfusion *c, int n, const RtDataset *data) {
    for (int i = 0; i < n; i++)
        printf("%6lld of %s taken for %s\n", (long long)c[i].images,
               RT_SHOW(data->names[c[i].label]), RT_SHOW(data->names[c[i].guess]));
}

static void put_confusions(RtJson *j, const RtConfusion *c, int n, const RtDataset *data,
                           const char *unit) {
    rt_json_begin(j, "confusions", '[');
    for (int i = 0; i < n; i++) {
        rt_json_begin(j, NULL, '{');
        rt_json_text(j, "class", data->names[c[i].label]);
        rt_json_text(j, "taken_for", data->names[c[i].guess]);
        rt_json_int(j, unit, c[i].images);
        rt_json_end(j, '}');
    }
    rt_json_end(j, ']');
}

// The pairs that e asks for, in text or, j not NULL, in JSON.
static void tell_confusions(const Eval *e, const RtScores *s, const RtDataset *data,
                            const char *unit, RtJson *j) {
    RtConfusion *c = s->confusion ? calloc((size_t)e->confusions + 1, sizeof *c) : NULL;
    int n = c ? rt_scores_confusions(s, c, e->confusions) : 0;
    if (j && c && e->confusions)
        put_confusions(j, c, n, data, unit);
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

// No probability of one class is said of an image.
static bool counts_each(const RtFine *f) {
    return f->d->map_height || (f->d->loss == HONE_LOSS_BCE && !f->d->binary);
}

static void print_scores(const RtFine *f, const RtScores *s) {
    const RtScoreWords *w = rt_score_words(f->d);
    printf("%lld images: loss %.4f, %s %.2f%%, %s %.2f%%", (long long)s->n, s->loss, w->first,
           s->top1 * 100, w->second, s->top5 * 100);
    if (!counts_each(f))
        printf(", calibration error %.2f%%", rt_scores_calibration_error(s) * 100);
    if (s->confusion)
        printf(", macro F1 %.2f%%", rt_scores_macro_f1(s) * 100);
    if (s->n_not_finite)
        printf("; %lld outputs are not finite", (long long)s->n_not_finite);
    putchar('\n');
}

// Tables are of the scores that are told last.
static void print_all(const Eval *e, const RtFine *f, const RtScores *s, const RtDataset *data) {
    print_scores(f, s);
    if (s->of_views) {
        if (!counts_each(f))
            print_temperature(s->temper);
        s = s->of_views;
        printf("--tta %s, the mean of %d views: ", e->views_name, rt_views_count(e->views));
        print_scores(f, s);
    }
    if (e->classes && s->confusion)
        print_classes(s, data, rt_score_words(f->d)->unit);
    tell_confusions(e, s, data, rt_score_words(f->d)->unit, NULL);
    if (!counts_each(f))
        print_temperature(s->temper);
}

static void put_scores(RtJson *j, const Eval *e, const RtFine *f, const RtScores *s,
                       const RtDataset *data, int64_t bad) {
    const RtScoreWords *w = rt_score_words(f->d);
    rt_json_number(j, "loss", s->loss, 9);
    rt_json_number(j, w->first_key, s->top1, 9);
    rt_json_number(j, w->second_key, s->top5, 9);
    rt_json_int(j, "images", s->n);
    rt_json_int(j, "bad_images", bad);
    rt_json_int(j, "not_finite", s->n_not_finite);
    if (!counts_each(f))
        rt_json_number(j, "calibration_error", rt_scores_calibration_error(s), 9);
    if (!counts_each(f))
        put_temperature(j, s->temper);
    if (s->confusion)
        put_classes(j, s, data, w->unit);
    tell_confusions(e, s, data, w->unit, j);
}

static void put_all(const Eval *e, const RtFine *f, const RtScores *s, const RtDataset *data,
                    int64_t bad) {
    RtJson j = {.f = stdout};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "model", f->d->info->name);
    put_scores(&j, e, f, s, data, bad);
    if (s->of_views) {
        rt_json_begin(&j, "tta", '{');
        rt_json_text(&j, "kind", e->views_name);
        rt_json_int(&j, "views", rt_views_count(e->views));
        put_scores(&j, e, f, s->of_views, data, bad);
        rt_json_end(&j, '}');
    }
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

// Batches of as many images as views make about e->batch of.
static RtSourceOptions source_options(const Eval *e, int64_t *bad) {
    int views = rt_views_count(e->views);
    return (RtSourceOptions){.batch = e->batch > views ? e->batch / views : 1,
                             .workers = e->workers,
                             .views = e->views,
                             .variants = 1,
                             .bad = count_bad,
                             .ctx = bad};
}

static bool check_counts(const RtScores *s, const char *spec, RtErr *err) {
    return !isnan(s->top1) ||
           rt_fail(err, "%s: no pixel of the masks counts, all are void (255)", spec);
}

// Tables that are not made of this network, and what is given in vain.
static void say_idle(const RtFine *f, const Eval *e) {
    bool each = f->d->loss == HONE_LOSS_BCE && !f->d->binary;
    if (e->pretrained && e->folder != f->folder)
        fprintf(stderr, "without effect: --checkpoint (--pretrained is the model before)\n");
    if (e->classes && each)
        fprintf(stderr,
                "without effect: --per-class (not made where an image may have several labels)\n");
    if (e->confusions && each)
        fprintf(stderr, "without effect: --confusions (an image may have several labels)\n");
    if ((e->classes || e->confusions) && !f->d->map_height && f->d->classes > RT_MAX_CONFUSION)
        fprintf(stderr, "without effect: --per-class, --confusions (more than %d classes)\n",
                RT_MAX_CONFUSION);
}

static int evaluate(const RtFine *f, const Eval *e, const char *spec) {
    char *labels = NULL;
    int64_t bad = 0;
    RtErr err = {{0}};
    RtTemper temper[2] = {{.n = 0}};
    RtScores of_views = {.temper = &temper[1]}, scores = {.temper = &temper[0]};
    scores.of_views = e->views == RT_VIEWS_ONE ? NULL : &of_views;
    RtSource *source = NULL;
    RtEngine *t = rt_fine_open_trained(f, e->pretrained ? NULL : e->folder, e->threads, &labels);
    free(labels);
    if (!t || !rt_fine_take_views(f, e->views)) {
        rt_engine_close(t);
        return RT_EXIT_INPUT;
    }
    say_idle(f, e);
    RtDataset *data = rt_train_open_data(
        t, spec, &(RtDataOptions){.seed = 1, .mask_values = e->mask_values, .eval_only = true});
    RtSourceOptions o = source_options(e, &bad);
    int code = RT_EXIT_INPUT;
    if (data && (source = rt_source_open(t, data, true, NULL, &o, &err)) &&
        rt_evaluate(t, NULL, source, o.batch, &scores, NULL, NULL, &err) &&
        check_counts(&scores, spec, &err)) {
        rt_scores_tell(&scores, data, RT_WORST, complain_line, NULL);
        if (e->json)
            put_all(e, f, &scores, data, bad);
        else
            print_all(e, f, &scores, data);
        if (bad)
            fprintf(stderr, "%lld images are bad and left out\n", (long long)bad);
        code = scores.n_not_finite || of_views.n_not_finite || bad ? RT_EXIT_INPUT : RT_EXIT_FINE;
    } else if (data) {
        rt_fine_complain(err.text);
    }
    rt_scores_free(&scores);
    rt_scores_free(&of_views);
    rt_source_close(source);
    rt_dataset_close(data);
    rt_engine_close(t);
    return code;
}

int rt_fine_eval(const RtFine *f, int argc, char **argv) {
    Eval e = {.folder = f->folder, .batch = rt_fine_batch(f->d), .views_name = "none"};
    const RtCliOption options[] = {
        RT_FINE_CHECKPOINT(&e.folder),
        {"--pretrained", RT_CLI_FLAG, &e.pretrained, 0, 0, NULL, "the model before training"},
        {"--batch|-b", RT_CLI_INT, &e.batch, 1, RT_MAX_BATCH, "N",
         "images a batch (default 16, or as compiled)"},
        RT_FINE_THREADS(&e.threads),
        {"--workers|-j", RT_CLI_INT, &e.workers, 0, 256, "N", "threads that decode images"},
        {"--per-class", RT_CLI_FLAG, &e.classes, 0, 0, NULL,
         "a table of precision, recall, F1 and IoU of each class"},
        {"--confusions", RT_CLI_INT, &e.confusions, 0, 1000, "K",
         "the K pairs of classes of which one is taken for the other most often"},
        RT_FINE_VIEWS(&e.views_name),
        {"--mask-values", RT_CLI_TEXT, &e.mask_values, 0, 0, "LIST",
         "of networks that label pixels: the numbers in masks that are class 0, 1 ..., as train "
         "takes them"},
        {"--json", RT_CLI_FLAG, &e.json, 0, 0, NULL, "one JSON object"},
        RT_FINE_HELP(&e.help),
    };
    RtCliList rest = {0};
    int code;
    if (rt_fine_parse(f, "eval",
                      "[OPTION...] DATA\n\nLoss and accuracy of the best parameters on DATA: its "
                      "validation images, or all where\nit has none of its own.",
                      options, sizeof options / sizeof *options, &e.help, argc, argv, &rest, 1, 1,
                      &code) &&
        rt_views_parse(e.views_name, &e.views))
        code = evaluate(f, &e, rest.item[0]);
    free(rest.item);
    return code;
}
