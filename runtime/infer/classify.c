// IMAGE... -> the most likely classes of each. Images are decoded in parallel and run in batches; a
// bad one is a line on stderr (and an exit code of 1 in the end), the others are still done.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/image/image.h"
#include "runtime/file/json.h"
#include "runtime/file/names.h"
#include "runtime/infer/images.h"

typedef struct Settings {
    bool help, json;
    int top;
    const char *labels;
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
    double *row;   // [columns] of one image
    int failed;
} Classifier;

typedef struct Guess {
    int64_t index;
    double score; // probability, or the number itself where it says none
} Guess;

static void print_help(const Classifier *c, const RtCliOption *options, int n) {
    char text[512];
    const char *p = c->in->program;
    printf("Usage: %s [OPTION...] IMAGE...\n\n"
           "Classifies JPEG, PNG and WebP images and prints the most likely classes of each with "
           "their\n"
           "probabilities. The model's own preprocessing is:\n  %s\n"
           "The options below change it, for models that were compiled with the wrong one.\n\n",
           p, rt_preprocess_text(&c->in->desc->preprocess, text, sizeof text));
    fputs(rt_images_rule(c->in), stdout);
    rt_cli_help(stdout, options, n);
    printf("\nExamples:\n"
           "  %s cat.jpg\n"
           "  %s --top 1 --json --batch 16 photos/*.jpg\n"
           "  %s --labels classes.txt --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5 cat.jpg\n",
           p, p, p);
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
    c->classes = 1;
    for (int i = 1; i < c->output->rank; i++)
        c->classes *= c->output->dim[i].c;
    c->columns = c->classes;
    if (c->columns == 1)
        c->classes = 2;
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

static bool allocate(Classifier *c, int n_images, RtErr *err) {
    if (!check_columns(c, err))
        return false;
    c->row = calloc((size_t)c->columns, sizeof *c->row);
    return rt_images_allocate(&c->images, &c->set.image, n_images, err) &&
           (c->row || rt_fail(err, "no memory"));
}

static void print_image_error(Classifier *c, const char *path, const char *text) {
    c->failed++;
    rt_infer_complain(text);
    if (!c->set.json)
        return;
    RtJson j = {.f = stdout};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "file", path);
    rt_json_text(&j, "error", text);
    rt_json_end(&j, '}');
    putchar('\n');
}

static const char *label_of(const Classifier *c, int64_t index, char *text, size_t size) {
    if (index < c->n_labels && c->labels[index] && c->labels[index][0])
        return c->labels[index];
    snprintf(text, size, "class %lld", (long long)index);
    return text;
}

// What a number is worth: it is none, or infinite where that is no logarithm of 0.
static bool is_usable(const Classifier *c, double y) {
    bool logs = c->in->desc->scores == HONE_SCORES_LOGITS ||
                c->in->desc->scores == HONE_SCORES_LOG_PROBABILITIES;
    return isfinite(y) || (logs && y < 0);
}

// The two classes of a model with one score: the second is "yes".
static bool rank_binary(const Classifier *c, const double *y, Guess *guess, int top) {
    int scores = c->in->desc->scores;
    double yes = scores == HONE_SCORES_LOGITS              ? 1 / (1 + exp(-*y))
                 : scores == HONE_SCORES_LOG_PROBABILITIES ? exp(*y)
                                                           : *y;
    bool is_yes = yes > 0.5;
    guess[0] = (Guess){is_yes, is_yes ? yes : 1 - yes};
    if (top > 1)
        guess[1] = (Guess){!is_yes, is_yes ? 1 - yes : yes};
    return is_usable(c, *y);
}

// The `top` largest of y; their softmax where they are logits, or logarithms. False: y has what is
// no number.
static bool rank_classes(const Classifier *c, const double *y, Guess *guess, int top) {
    int n = 0, scores = c->in->desc->scores;
    double largest = -INFINITY, sum = 0;
    for (int64_t i = 0; i < c->classes; i++) {
        if (!is_usable(c, y[i]))
            return false;
        largest = y[i] > largest ? y[i] : largest;
        if (n == top && y[i] <= guess[n - 1].score)
            continue;
        int at = n < top ? n++ : n - 1;
        for (; at > 0 && guess[at - 1].score < y[i]; at--)
            guess[at] = guess[at - 1];
        guess[at] = (Guess){i, y[i]};
    }
    if (scores != HONE_SCORES_LOGITS && scores != HONE_SCORES_LOG_PROBABILITIES)
        return true;
    if (isinf(largest))
        return false;
    for (int64_t i = 0; i < c->classes; i++)
        sum += exp(y[i] - largest);
    for (int k = 0; k < n; k++)
        guess[k].score = exp(guess[k].score - largest) / sum;
    return true;
}

// The output's numbers for image k of a run.
static const double *scores_of(const Classifier *c, int k) {
    const RtDtype *type = rt_dtype(c->output->dtype);
    const char *y = c->images.y[c->in->desc->classifier];
    for (int64_t i = 0; i < c->columns; i++)
        c->row[i] = type->load(y + (k * c->columns + i) * type->bytes);
    return c->row;
}

static void print_guesses(Classifier *c, const char *path, const double *y, Guess *guess, int top) {
    char text[64];
    bool ok = (c->columns == 1 ? rank_binary : rank_classes)(c, y, guess, top);
    bool told = c->in->desc->scores != HONE_SCORES_OTHER; // as a probability
    if (!ok) {
        RtErr err;
        rt_fail(&err, "%s: the model's output is not finite", path);
        print_image_error(c, path, err.text);
        return;
    }
    if (!c->set.json) {
        printf("%s\n", RT_SHOW(path));
        for (int k = 0; k < top; k++)
            printf(told ? "  %6.2f%%  %s\n" : "  %8.4g  %s\n", guess[k].score * (told ? 100 : 1),
                   RT_SHOW(label_of(c, guess[k].index, text, sizeof text)));
        return;
    }
    RtJson j = {.f = stdout};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "file", path);
    rt_json_begin(&j, "top", '[');
    for (int k = 0; k < top; k++) {
        rt_json_begin(&j, NULL, '{');
        rt_json_int(&j, "class", guess[k].index);
        rt_json_text(&j, "label", label_of(c, guess[k].index, text, sizeof text));
        rt_json_number(&j, told ? "probability" : "score", guess[k].score, 6);
        rt_json_end(&j, '}');
    }
    rt_json_end(&j, ']');
    rt_json_end(&j, '}');
    putchar('\n');
}

// Runs files[0..n) and prints all in order.
static bool classify_batch(Classifier *c, const char *const *files, int n, Guess *guess, int top,
                           RtErr *err) {
    if (!rt_images_run(&c->images, files, n, err))
        return false;
    for (int i = 0, k = 0; i < n; i++) {
        if (c->images.errors[i].text[0])
            print_image_error(c, files[i], c->images.errors[i].text);
        else
            print_guesses(c, files[i], scores_of(c, k++), guess, top);
    }
    return true;
}

static bool classify_files(Classifier *c, const RtCliList *files, RtErr *err) {
    int top = c->set.top < c->classes ? c->set.top : (int)c->classes;
    Guess *guess = calloc((size_t)top, sizeof *guess);
    bool good = guess || rt_fail(err, "no memory");
    for (int i = 0; good && i < files->n; i += (int)c->images.slots) {
        int left = files->n - i, n = left < c->images.slots ? left : (int)c->images.slots;
        good = classify_batch(c, files->item + i, n, guess, top, err);
    }
    free(guess);
    return good;
}

static void release(Classifier *c) {
    rt_images_free(&c->images);
    free(c->row);
    rt_names_free(&c->names);
}

static int classify(Classifier *c, const RtCliList *files) {
    RtErr err;
    c->labels = c->in->desc->labels;
    c->n_labels = c->labels ? c->in->desc->n_labels : 0;
    if (!check_model(c, &err) || !rt_images_settle(&c->images, &c->set.image, &err) ||
        (c->set.labels && !load_labels(c, c->set.labels, &err)) || !allocate(c, files->n, &err))
        return rt_infer_complain(err.text);
    c->images.model = rt_images_create(&c->images, &c->set.image);
    if (!c->images.model)
        return RT_EXIT_INPUT;
    if (!classify_files(c, files, &err))
        return rt_infer_complain(err.text);
    return c->failed ? RT_EXIT_INPUT : RT_EXIT_FINE;
}

int rt_infer_classify(const RtInfer *in, int argc, char **argv) {
    Classifier c = {.in = in, .set = {.top = 5, .image = RT_IMAGE_SETTINGS}};
    Settings *s = &c.set;
    const RtCliOption options[] = {
        {"--top|-k", RT_CLI_INT, &s->top, 1, 100000, "K", "classes to show (default 5)"},
        {"--json", RT_CLI_FLAG, &s->json, 0, 0, NULL, "one JSON object a line for each image"},
        {"--labels", RT_CLI_TEXT, &s->labels, 0, 0, "FILE", "class names, one a line"},
        RT_IMAGE_OPTIONS(&s->image),
        {"--help|-h", RT_CLI_FLAG, &s->help, 0, 0, NULL, "this text"},
    };
    enum { N_OPTIONS = sizeof options / sizeof *options };
    RtCliList files = {0};
    RtErr err;
    int code;
    if (!rt_cli_parse(options, N_OPTIONS, argc, argv, &files, &err)) {
        code = rt_infer_usage(in, "classify", err.text);
    } else if (s->help) {
        print_help(&c, options, N_OPTIONS);
        code = RT_EXIT_FINE;
    } else if (files.n == 0) {
        code = rt_infer_usage(in, "classify", "no images given");
    } else if (rt_images_conflict(&s->image)) {
        code = rt_infer_usage(in, "classify", rt_images_conflict(&s->image));
    } else {
        code = classify(&c, &files);
    }
    release(&c);
    free(files.item);
    return code;
}
