// predict: what the tuned model says of pictures, straight from the checkpoint.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/core/tally.h"
#include "runtime/data/input_file.h"
#include "runtime/file/json.h"
#include "runtime/finetune/finetune.h"
#include "runtime/image/inputs.h"

typedef struct Predict {
    const RtFine *f;
    const char *folder;
    bool help, json, as_stored;
    int threads, top;
    RtInputs *inputs;
    RtTally tally;
    RtEngine *engine;
    const char **names, *views_name;
    RtViews kind;
    int views;                                          // of each picture
    float *image, *logits, *weight, *loss, temperature; // image, logits, loss: of each view
    int32_t *label;                                     // and targets: of no loss
    float *targets;
    double *p, *one, *both;
    float *pair; // of a map's place: logits of two views, and of both
} Predict;

static bool alloc_predict(Predict *x) {
    const HonePreprocess *p = &x->f->d->info->preprocess;
    size_t classes = (size_t)(x->f->d->binary ? 2 : x->f->d->classes);
    size_t n = (size_t)x->views, floats = (size_t)p->height * (size_t)p->width;
    x->image = rt_alloc_aligned(n * floats * (size_t)p->channels * sizeof(float));
    size_t places = (size_t)rt_engine_places(x->engine);
    x->logits = rt_alloc_aligned(n * places * classes * sizeof(float));
    x->weight = rt_alloc_aligned(classes * sizeof(float));
    x->loss = calloc(n, sizeof *x->loss);
    x->label = calloc(n * places, sizeof *x->label);
    x->targets = calloc(n * classes, sizeof *x->targets);
    x->p = calloc(classes, sizeof *x->p);
    x->one = calloc(classes, sizeof *x->one);
    x->both = calloc(classes, sizeof *x->both);
    x->pair = calloc(2 * classes, sizeof *x->pair);
    for (size_t i = 0; x->weight && i < classes; i++)
        x->weight[i] = 1;
    return x->image && x->logits && x->weight && x->loss && x->label && x->targets && x->p &&
           x->one && x->both && x->pair && x->names;
}

static void free_predict(Predict *x) {
    free(x->names);
    free(x->image);
    free(x->logits);
    free(x->weight);
    free(x->loss);
    free(x->label);
    free(x->targets);
    free(x->p);
    free(x->one);
    free(x->both);
    free(x->pair);
}

static void print_guess(const Predict *x, RtJson *j, int k) {
    if (j) {
        rt_json_begin(j, NULL, '{');
        rt_json_int(j, "class", k);
        rt_json_text(j, "label", x->names[k]);
        rt_json_number(j, x->f->d->map_height ? "share" : "probability", x->p[k], 9);
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

// Of a network that takes no pictures.
static bool load_array(Predict *x, const char *path, RtErr *err) {
    const HonePreprocess *p = &x->f->d->info->preprocess;
    char has[256], want[256];
    RtInputFile f;
    if (x->views > 1)
        return rt_fail(err, "%s: --tta is for pictures; the network takes arrays", path);
    if (!rt_input_file_open(path, 0, false, &f, err))
        return false;
    const RtNpy *a = &f.array;
    bool good = a->dtype == HONE_F32 && rt_input_is_like(a, 0, p);
    if (good)
        memcpy(x->image, a->data, (size_t)a->count * sizeof(float));
    else
        rt_fail(err, "%s: %s, but the network takes %s", path,
                rt_shape_text(a->dtype, a->rank, a->dim, has, sizeof has),
                rt_input_text(p, 1, want, sizeof want));
    rt_input_file_close(&f);
    return good;
}

static bool load_image(Predict *x, const char *path, RtErr *err) {
    HonePreprocess p = x->f->d->info->preprocess;
    if (!rt_takes_pictures(&p))
        return load_array(x, path, err);
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
    bool as_it_is = rt_input_file_fits(&f, &input), good;
    if (x->views > 1 && as_it_is)
        good = rt_fail(err, "%s: is the model's input as it is; --tta is for pictures", path);
    else if (x->views > 1 && f.image.pixel)
        good = rt_views(x->kind, &p, HONE_F32, &f.image, x->image, err);
    else
        good = rt_input_file_fill(&f, path, &p, &input, x->image, err);
    rt_input_file_close(&f);
    return good;
}

// Of a place's scores and those of the mirror image's.
static const float *mean_of_place(Predict *x, int64_t place) {
    const HoneTrainDesc *d = x->f->d;
    int64_t n = d->classes, mirrored = rt_engine_places(x->engine) + rt_mirrored_place(d, place);
    memcpy(x->pair, x->logits + place * n, (size_t)n * sizeof *x->pair);
    memcpy(x->pair + n, x->logits + mirrored * n, (size_t)n * sizeof *x->pair);
    rt_mean_probabilities(d, x->pair, 2, x->both, x->one);
    rt_logits_of(d, x->both, x->pair);
    return x->pair;
}

// p: each class's share of the places of the image's map.
static void share_places(Predict *x) {
    const HoneTrainDesc *d = x->f->d;
    int64_t places = rt_engine_places(x->engine);
    double right = 0, right5 = 0;
    memset(x->p, 0, (size_t)d->classes * sizeof *x->p);
    for (int64_t i = 0; i < places; i++) {
        const float *row = x->views > 1 ? mean_of_place(x, i) : x->logits + i * d->classes;
        x->p[rt_score_row(d, row, 0, NULL, &right, &right5)] += 1 / (double)places;
    }
}

static bool predict_one(Predict *x, const char *path, RtJson *j, RtErr *err) {
    const HoneTrainDesc *d = x->f->d;
    int64_t places = rt_engine_places(x->engine);
    int64_t numbers = x->views * places * rt_engine_logit_columns(x->engine);
    RtEngineBatch b = {.n = x->views,
                       .images = x->image,
                       .labels = x->label,
                       .targets = x->targets,
                       .class_weight = x->weight,
                       .scale = 1,
                       .loss = x->loss,
                       .logits = x->logits};
    bool ok = load_image(x, path, err) && rt_engine_eval(x->engine, &b, err);
    for (int64_t i = 0; ok && i < numbers; i++)
        ok = isfinite(x->logits[i]) || rt_fail(err, "%s: the network's output is not finite", path);
    if (!ok)
        return false;
    for (int64_t i = 0; i < numbers; i++)
        x->logits[i] /= x->temperature;
    if (places > 1)
        share_places(x);
    else
        rt_mean_probabilities(d, x->logits, x->views, x->p, x->one);
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
    Predict x = {.f = f, .folder = f->folder, .top = 5, .temperature = 1, .views_name = "none"};
    const RtCliOption options[] = {
        {"--top", RT_CLI_INT, &x.top, 1, 1 << 20, "K", "classes an image (default 5)"},
        {"--temperature", RT_CLI_FLOAT, &x.temperature, 0.01, 100, "T",
         "scores are divided by it, as eval finds it for these classes (default 1)"},
        RT_FINE_VIEWS(&x.views_name),
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
                      1 << 30, &code) &&
        rt_views_parse(x.views_name, &x.kind)) {
        code = RT_EXIT_INPUT;
        x.views = rt_views_count(x.kind);
        if (f->d->map_height && x.temperature != 1)
            fprintf(stderr, "without effect: --temperature (a pixel's class is the same at any)\n");
        if (rt_fine_take_views(f, x.kind))
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
    free_predict(&x);
    free(rest.item);
    return code;
}
