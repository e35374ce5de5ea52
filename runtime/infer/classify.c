// IMAGE... -> the most likely classes of each. Images are decoded in parallel and run in batches; a
// bad one is a line on stderr (and an exit code of 1 in the end), the others are still done.
#include <stdlib.h>

#include "runtime/core/rank.h"
#include "runtime/core/tally.h"
#include "runtime/file/csv.h"
#include "runtime/file/json.h"
#include "runtime/image/inputs.h"
#include "runtime/file/names.h"
#include "runtime/infer/images.h"

typedef struct Settings {
    bool help, json, csv;
    int top;
    const char *labels, *views;
    RtImageSettings image;
} Settings;

typedef struct Classifier {
    const RtInfer *in;
    Settings set;
    RtImages images;
    const HoneTensorDesc *output;
    int64_t classes, columns; // columns of the output: 1 for two classes, else one a class
    const char *const *labels;
    int64_t n_labels;
    RtNames names; // of --labels, or none
    RtInputs *inputs;
    const struct Form *form;
    int top;          // classes that are shown
    bool told;        // as probabilities
    HoneClass *guess; // [top]
    double *mean;     // [columns], over views
    char **batch;     // [slots] files of a run
    RtTally tally;
} Classifier;

static void print_help(const Classifier *c, const RtCliOption *options, int n) {
    char text[512];
    const char *p = c->in->program;
    printf("Usage: %s [OPTION...] IMAGE|FOLDER|PATTERN|-...\n\n"
           "Classifies JPEG, PNG and WebP images and prints the most likely classes of each with "
           "their\n"
           "probabilities. The model's own preprocessing is:\n  %s\n"
           "The options below change it, for models that were compiled with the wrong "
           "one.\n\n" RT_INPUTS_RULE
           "An .npy file holds pixels, u8[H,W,3], or an image of the model's input as it is.\n\n",
           p, rt_preprocess_text(&c->in->desc->preprocess, text, sizeof text));
    fputs(rt_images_rule(c->in), stdout);
    rt_cli_help(stdout, options, n);
    printf("\nExamples:\n"
           "  %s cat.jpg\n"
           "  %s --top 1 --json --batch 16 photos/\n"
           "  find photos -name '*.jpg' | %s --csv - > classes.csv\n"
           "  %s --labels classes.txt --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5 cat.jpg\n",
           p, p, p, p);
}

static bool load_labels(Classifier *c, const char *path, RtErr *err) {
    if (!rt_names_load(&c->names, path, err))
        return false;
    c->labels = c->names.name;
    c->n_labels = c->names.n;
    return c->n_labels == c->classes ||
           rt_fail(err, "%s: %lld labels, but the model has %lld classes", path,
                   (long long)c->n_labels, (long long)c->classes);
}

// Does the model give scores of classes?
static bool check_model(Classifier *c, RtErr *err) {
    const HoneModelDesc *d = c->in->desc;
    char text[256];
    if (!rt_images_begin(&c->images, c->in, err))
        return false;
    c->output = &d->outputs[d->classifier < 0 ? 0 : d->classifier];
    if (d->classifier < 0)
        return rt_fail(
            err,
            "%s: output '%s' is %s, not scores of classes; use the subcommand features or "
            "run",
            d->name, c->output->name, rt_tensor_text(c->output, text, sizeof text));
    c->columns = rt_rank_columns(d);
    c->classes = rt_rank_classes(d);
    return true;
}

// Of the size that runs; those of pictures of many sizes were compared.
static bool check_columns(const Classifier *c, RtErr *err) {
    const HoneTensorDesc *t = &c->images.unit->outputs[c->in->desc->classifier];
    int64_t columns = 1;
    for (int i = 1; i < t->rank; i++)
        columns *= t->dim[i].c;
    return columns == c->columns ||
           rt_fail(err, "%s: this size gives other classes than the first", c->in->desc->name);
}

static bool allocate(Classifier *c, RtErr *err) {
    int64_t known = rt_inputs_listed(c->inputs) ? -1 : rt_inputs_known(c->inputs);
    if (!check_columns(c, err) || !rt_images_allocate(&c->images, &c->set.image, known, err))
        return false;
    c->top = c->set.top < c->classes ? c->set.top : (int)c->classes;
    c->guess = calloc((size_t)c->top, sizeof *c->guess);
    c->batch = calloc((size_t)c->images.slots, sizeof *c->batch);
    rt_tally_begin(&c->tally, known, true);
    c->mean = calloc((size_t)c->columns, sizeof *c->mean);
    return (c->guess && c->batch && c->mean) || rt_fail(err, "no memory");
}

static const char *label_of(const Classifier *c, int64_t index, char *text, size_t size) {
    if (index < c->n_labels && c->labels[index] && c->labels[index][0])
        return c->labels[index];
    snprintf(text, size, "class %lld", (long long)index);
    return text;
}

// ---------------------------------------------------------------- what is printed

// A form of the results: what stands above them, an image's classes, and an image that has none.
typedef struct Form {
    void (*begin)(void);
    void (*good)(const Classifier *c, const char *path, int turned, int n);
    void (*bad)(const char *path, const char *text);
} Form;

static void print_text(const Classifier *c, const char *path, int turned, int n) {
    (void)turned;
    char text[64];
    printf("%s\n", RT_SHOW(path));
    for (int k = 0; k < n; k++)
        printf(c->told ? "  %6.2f%%  %s\n" : "  %8.4g  %s\n",
               c->guess[k].score * (c->told ? 100 : 1),
               RT_SHOW(label_of(c, c->guess[k].index, text, sizeof text)));
}

static void print_json(const Classifier *c, const char *path, int turned, int n) {
    char text[64];
    RtJson j = {.f = stdout};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "file", path);
    if (turned)
        rt_json_int(&j, "orientation", turned);
    rt_json_begin(&j, "top", '[');
    for (int k = 0; k < n; k++) {
        rt_json_begin(&j, NULL, '{');
        rt_json_int(&j, "class", c->guess[k].index);
        rt_json_text(&j, "label", label_of(c, c->guess[k].index, text, sizeof text));
        rt_json_number(&j, c->told ? "probability" : "score", c->guess[k].score, 6);
        rt_json_end(&j, '}');
    }
    rt_json_end(&j, ']');
    rt_json_end(&j, '}');
    putchar('\n');
}

static void print_json_error(const char *path, const char *text) {
    RtJson j = {.f = stdout};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "file", path);
    rt_json_text(&j, "error", text);
    rt_json_end(&j, '}');
    putchar('\n');
}

static void begin_csv(void) {
    puts("file,rank,class,label,score,error");
}

static void print_csv(const Classifier *c, const char *path, int turned, int n) {
    (void)turned;
    char text[64];
    for (int k = 0; k < n; k++) {
        rt_csv_text(stdout, path, true);
        printf(",%d,%lld", k + 1, (long long)c->guess[k].index);
        rt_csv_text(stdout, label_of(c, c->guess[k].index, text, sizeof text), false);
        printf(",%.6g,\n", c->guess[k].score);
    }
}

static void print_csv_error(const char *path, const char *text) {
    rt_csv_text(stdout, path, true);
    fputs(",,,,", stdout);
    rt_csv_text(stdout, text, false);
    putchar('\n');
}

static const Form text_form = {NULL, print_text, NULL};
static const Form json_form = {NULL, print_json, print_json_error};
static const Form csv_form = {begin_csv, print_csv, print_csv_error};

static void tell_bad(Classifier *c, const char *path, const char *text) {
    rt_tally_bad(&c->tally, text);
    if (c->form->bad)
        c->form->bad(path, text);
}

static void tell_good(Classifier *c, const char *path, int turned, const char *row) {
    RtErr err;
    int views = c->images.views;
    int n = views > 1 ? rt_rank_mean(c->in->desc, row, views, c->mean, c->top, c->guess)
                      : rt_rank(c->in->desc, row, c->top, c->guess);
    if (n < 0) {
        rt_fail(&err, "%s: the model's output is not finite", path);
        tell_bad(c, path, err.text);
        return;
    }
    c->tally.turned += turned != 0;
    rt_tally_clear(&c->tally);
    c->form->good(c, path, turned, n);
}

// ---------------------------------------------------------------- the run

// Runs files[0..n) and prints all in order.
static bool classify_batch(Classifier *c, char *const *files, int n, RtErr *err) {
    const RtImages *m = &c->images;
    size_t row = (size_t)c->columns * (size_t)rt_dtype(c->output->dtype)->bytes;
    row *= (size_t)m->views;
    if (!rt_images_run(&c->images, files, n, err))
        return false;
    for (int i = 0, k = 0; i < n; i++) {
        if (m->errors[i].text[0])
            tell_bad(c, files[i], m->errors[i].text);
        else
            tell_good(c, files[i], m->turned[i], m->y[c->in->desc->classifier] + (size_t)k++ * row);
        rt_tally_step(&c->tally);
    }
    fflush(stdout);
    return true;
}

static bool classify_files(Classifier *c, RtErr *err) {
    int n = 1;
    bool good = true;
    if (c->form->begin)
        c->form->begin();
    while (good && n > 0) {
        n = rt_inputs_take(c->inputs, c->batch, (int)c->images.slots, err);
        good = n >= 0 && (n == 0 || classify_batch(c, c->batch, n, err));
        for (int i = 0; i < n; i++)
            free(c->batch[i]);
    }
    return good;
}

static void release(Classifier *c) {
    rt_images_free(&c->images);
    rt_names_free(&c->names);
    rt_inputs_close(c->inputs);
    free(c->guess);
    free(c->mean);
    free(c->batch);
}

static void tell_views(const Classifier *c) {
    const HonePreprocess *p = &c->images.prep[c->images.only < 0 ? 0 : c->images.only];
    if (rt_views_are_alike(c->images.kind, p))
        fprintf(stderr,
                "--tta: pictures are resized to %d x %d, which is all that is cut out: their "
                "corners are hardly other views; a larger --resize leaves a margin\n",
                p->width, p->height);
}

static int classify(Classifier *c, const RtCliList *files) {
    RtErr err;
    c->labels = c->in->desc->labels;
    c->n_labels = c->labels ? c->in->desc->n_labels : 0;
    c->told = c->in->desc->scores != HONE_SCORES_OTHER;
    c->form = c->set.json ? &json_form : c->set.csv ? &csv_form : &text_form;
    if (!check_model(c, &err) || !rt_images_settle(&c->images, &c->set.image, &err) ||
        (c->set.labels && !load_labels(c, c->set.labels, &err)) ||
        !(c->inputs = rt_inputs_open(files->item, files->n, &err)) || !allocate(c, &err))
        return rt_infer_complain(err.text);
    tell_views(c);
    c->images.model = rt_images_create(&c->images, &c->set.image);
    if (!c->images.model)
        return RT_EXIT_INPUT;
    bool good = classify_files(c, &err);
    if (!good)
        rt_infer_complain(err.text);
    return rt_tally_end(&c->tally) && good ? RT_EXIT_FINE : RT_EXIT_INPUT;
}

int rt_infer_classify(const RtInfer *in, int argc, char **argv) {
    Classifier c = {.in = in, .set = {.top = 5, .views = "none", .image = RT_IMAGE_SETTINGS}};
    Settings *s = &c.set;
    const RtCliOption options[] = {
        {"--top|-k", RT_CLI_INT, &s->top, 1, 100000, "K", "classes to show (default 5)"},
        {"--json", RT_CLI_FLAG, &s->json, 0, 0, NULL, "one JSON object a line for each image"},
        {"--csv", RT_CLI_FLAG, &s->csv, 0, 0, NULL,
         "file,rank,class,label,score,error: a line for each class"},
        {"--labels", RT_CLI_TEXT, &s->labels, 0, 0, "FILE", "class names, one a line"},
        {"--tta", RT_CLI_CHOICE, &s->views, 0, 0, RT_VIEWS_CHOICE, RT_VIEWS_HELP},
        RT_IMAGE_OPTIONS(&s->image),
        {"--help|-h", RT_CLI_FLAG, &s->help, 0, 0, NULL, "this text"},
    };
    enum { N_OPTIONS = sizeof options / sizeof *options };
    RtCliList files = {0};
    RtErr err;
    int code = RT_EXIT_USAGE;
    if (!rt_cli_parse(options, N_OPTIONS, argc, argv, &files, &err)) {
        code = rt_infer_usage(in, "classify", err.text);
    } else if (s->help) {
        print_help(&c, options, N_OPTIONS);
        code = RT_EXIT_FINE;
    } else if (files.n == 0) {
        code = rt_infer_usage(in, "classify", "no images given");
    } else if (s->json && s->csv) {
        code = rt_infer_usage(in, "classify", "--json and --csv exclude each other");
    } else if (rt_images_conflict(&s->image)) {
        code = rt_infer_usage(in, "classify", rt_images_conflict(&s->image));
    } else if (rt_views_parse(s->views, &s->image.views)) {
        code = classify(&c, &files);
    }
    release(&c);
    free(files.item);
    return code;
}
