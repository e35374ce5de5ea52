// See picture.h.
#include "runtime/infer/picture.h"

#include <stdlib.h>
#include <string.h>

bool rt_picture_parse(const RtInfer *in, const char *name, const char *about,
                      const RtCliOption *options, int n, const bool *help, int argc, char **argv,
                      RtPictureArgs *args, int *code) {
    RtErr err;
    if (!rt_cli_parse(options, n, argc, argv, &args->files, &err)) {
        *code = rt_infer_usage(in, name, err.text);
        return false;
    }
    if (*help) {
        printf("Usage: %s %s [OPTION...] IMAGE...\n\n%s\n\n", in->program, name, about);
        rt_cli_help(stdout, options, n);
        *code = RT_EXIT_FINE;
        return false;
    }
    if (args->files.n == 0)
        *code = rt_infer_usage(in, name, "no images given");
    return args->files.n > 0;
}

static bool check_task(const RtPicture *p, int kind, RtErr *err) {
    static const char *const what[HONE_TASK_COUNT] = {
        [HONE_TASK_DETECT] = "boxes, scores and classes of objects",
        [HONE_TASK_SEGMENT] = "a class for each pixel"};
    const HoneModelDesc *d = p->d;
    int64_t count, pixels = (int64_t)d->preprocess.height * d->preprocess.width;
    if (d->task.kind != kind)
        return rt_fail(err, "%s: no output of the model gives %s; use the subcommand run", d->name,
                       what[kind]);
    if (!rt_tensor_count(&d->inputs[0], 1, &count) || count != pixels * d->preprocess.channels)
        return rt_fail(err, "%s: the model takes several images at once; use the subcommand run",
                       d->name);
    return true;
}

static bool allocate(RtPicture *p, RtErr *err) {
    const HoneModelDesc *d = p->d;
    int64_t bytes;
    p->y = calloc((size_t)d->n_outputs + 1, sizeof *p->y);
    bool good = p->y && rt_tensor_bytes(&d->inputs[0], 1, &bytes) &&
                (p->x = rt_alloc_aligned((size_t)bytes));
    for (int i = 0; good && i < d->n_outputs; i++)
        good = rt_tensor_bytes(&d->outputs[i], 1, &bytes) &&
               (p->y[i] = rt_alloc_aligned((size_t)bytes));
    return good || rt_fail(err, "no memory for an image");
}

static bool open_drawing(RtPicture *p, const RtPictureArgs *args, RtErr *err) {
    if (!args->draw)
        return true;
    if (args->files.n > 1)
        return rt_fail(err, "--draw takes one picture, not %d", args->files.n);
    p->draw = args->draw;
    return rt_out_open(&p->drawn, p->in->outs, args->draw, RT_OUT_WHOLE, err) &&
           rt_outs_allow(p->in->outs, args->files.item[0], 0, err);
}

bool rt_picture_open(RtPicture *p, const RtInfer *in, int kind, const RtPictureArgs *args,
                     RtErr *err) {
    *p = (RtPicture){.in = in, .d = in->desc};
    p->labels = p->d->labels;
    p->n_labels = p->labels ? p->d->n_labels : 0;
    if (args->labels) {
        if (!rt_names_load(&p->names, args->labels, err))
            return false;
        p->labels = p->names.name;
        p->n_labels = p->names.n;
    }
    rt_outs_watch(in->outs, NULL, NULL);
    return check_task(p, kind, err) && open_drawing(p, args, err) && allocate(p, err) &&
           ((p->model = rt_infer_create(in, 0, args->threads)) || rt_fail(err, "%s", ""));
}

bool rt_picture_run(RtPicture *p, const char *path, RtErr *err) {
    RtImage grey = {0};
    rt_image_free(&p->image);
    p->image = (RtImage){0};
    const HoneModelDesc *d = p->d;
    const HonePreprocess *prep = &d->preprocess;
    if (!rt_image_load(path, 3, prep->as_stored, &p->image, err) ||
        (prep->channels == 1 && !rt_image_load(path, 1, prep->as_stored, &grey, err)))
        return false;
    const RtImage *seen = prep->channels == 1 ? &grey : &p->image;
    p->window = rt_preprocess_window(prep, seen->width, seen->height);
    bool good = rt_preprocess(prep, d->inputs[0].dtype, seen, p->x, err);
    rt_image_free(&grey);
    const void *x = p->x;
    if (good && hone_run(p->model, 1, &x, (void *const *)p->y) != 0)
        return rt_fail(err, "%s: %s", path, hone_error(p->model));
    return good;
}

double rt_picture_x(const RtPicture *p, double x) {
    return (x + (double)p->window.left) * p->image.width / (double)p->window.full_width;
}

double rt_picture_y(const RtPicture *p, double y) {
    return (y + (double)p->window.top) * p->image.height / (double)p->window.full_height;
}

const char *rt_picture_label(const RtPicture *p, int64_t index, char *text, size_t size) {
    if (index >= 0 && index < p->n_labels && p->labels[index] && p->labels[index][0])
        return p->labels[index];
    snprintf(text, size, "class %lld", (long long)index);
    return text;
}

bool rt_picture_write(RtPicture *p, RtErr *err) {
    if (!p->draw)
        return true;
    if (!rt_out_begin(&p->drawn, err))
        return false;
    if (!rt_png_encode(p->drawn.f, &p->image))
        return rt_fail(err, "%s: the picture cannot be written", p->draw);
    return rt_out_commit(&p->drawn, err);
}

void rt_picture_close(RtPicture *p) {
    for (int i = 0; p->y && i < p->d->n_outputs; i++)
        free(p->y[i]);
    free(p->y);
    free(p->x);
    rt_out_abort(&p->drawn);
    rt_image_free(&p->image);
    rt_names_free(&p->names);
    if (p->model)
        hone_destroy(p->model);
}
