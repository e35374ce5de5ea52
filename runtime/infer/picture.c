// See picture.h.
#include "runtime/infer/picture.h"

#include "runtime/data/input_file.h"

#include <errno.h>
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
        printf("Usage: %s %s [OPTION...] "
               "IMAGE|FOLDER|PATTERN|-...\n\n%s\n" RT_INPUTS_RULE RT_PICTURE_OUT_RULE "\n",
               in->program, name, about);
        rt_cli_help(stdout, options, n);
        *code = RT_EXIT_FINE;
        return false;
    }
    const char *wrong = !args->files.n            ? "no images given"
                        : args->json && args->csv ? "--json and --csv exclude each other"
                                                  : NULL;
    if (wrong)
        *code = rt_infer_usage(in, name, wrong);
    return !wrong;
}

static bool check_input(const RtPicture *p, RtErr *err) {
    const HoneModelDesc *d = p->d;
    int64_t count, pixels = (int64_t)d->preprocess.height * d->preprocess.width;
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

static bool apart(const RtPicture *p, RtErr *err) {
    const RtPictureOut *a = &p->drawn, *b = &p->mask;
    bool same = a->folder && b->folder && a->dev == b->dev && a->ino == b->ino;
    return !same || rt_fail(err, "--draw and --mask would write the same files in %s", b->folder);
}

bool rt_picture_open(RtPicture *p, const RtInfer *in, const RtPictureArgs *args, RtErr *err) {
    *p = (RtPicture){.in = in, .d = in->desc};
    p->labels = p->d->labels;
    p->n_labels = p->labels ? p->d->n_labels : 0;
    if (args->labels) {
        if (!rt_names_load(&p->names, args->labels, err))
            return false;
        p->labels = p->names.name;
        p->n_labels = p->names.n;
    }
    p->prep = p->d->preprocess;
    p->prep.as_stored |= args->as_stored;
    if (args->fit)
        rt_preprocess_fit(&p->prep, args->fit);
    rt_outs_watch(in->outs, NULL, NULL);
    if (!check_input(p, err) || !(p->inputs = rt_inputs_open(args->files.item, args->files.n, err)))
        return false;
    rt_tally_begin(&p->tally, rt_inputs_listed(p->inputs) ? -1 : rt_inputs_known(p->inputs), true);
    return rt_picture_out_open(&p->drawn, in->outs, "--draw", args->draw, p->inputs, err) &&
           rt_picture_out_open(&p->mask, in->outs, "--mask", args->mask, p->inputs, err) &&
           apart(p, err) && allocate(p, err) &&
           ((p->model = rt_infer_create(in, 0, args->threads)) || rt_fail(err, "%s", ""));
}

// In three channels, to draw on.
static bool load_picture(RtPicture *p, const char *path, RtInputFile *f, RtErr *err) {
    RtErr ignored;
    if (!rt_input_file_open(path, p->prep.channels, p->prep.as_stored, f, err))
        return false;
    if (!f->image.pixel)
        return rt_fail(err, "%s: an array that is no picture; use the subcommand run", path);
    rt_image_free(&p->image);
    if (p->prep.channels == 3) {
        p->image = f->image;
        f->image = (RtImage){0};
        return true;
    }
    RtInputFile colour;
    if (!rt_input_file_open(path, 3, p->prep.as_stored, &colour, &ignored))
        return rt_fail(err, "%s: changed while it was read", path);
    p->image = colour.image;
    rt_npy_free(&colour.array);
    return true;
}

static bool run_picture(RtPicture *p, const char *path, RtErr *err) {
    RtInputFile f = {.image = {0}};
    bool good = load_picture(p, path, &f, err);
    const RtImage *seen = p->prep.channels == 1 ? &f.image : &p->image;
    if (good)
        p->window = rt_preprocess_window(&p->prep, seen->width, seen->height);
    good = good && rt_preprocess(&p->prep, p->d->inputs[0].dtype, seen, p->x, err);
    rt_input_file_close(&f);
    const void *x = p->x;
    if (good && hone_run(p->model, 1, &x, (void *const *)p->y) != 0)
        return rt_fail(err, "%s: %s", path, hone_error(p->model));
    p->tally.turned += good && p->image.turned;
    return good;
}

int rt_picture_each(RtPicture *p, void *ctx,
                    bool (*each)(void *ctx, const char *path, RtErr *err)) {
    RtErr err;
    char *path;
    int n;
    while ((n = rt_inputs_take(p->inputs, &path, 1, &err)) > 0) {
        bool good = run_picture(p, path, &err);
        rt_tally_clear(&p->tally);
        if (!good || !each(ctx, path, &err))
            rt_tally_bad(&p->tally, err.text);
        rt_tally_step(&p->tally);
        fflush(stdout);
        free(path);
    }
    if (n < 0)
        rt_infer_complain(err.text);
    return rt_tally_end(&p->tally) && n == 0 ? RT_EXIT_FINE : RT_EXIT_INPUT;
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

bool rt_picture_write(RtPicture *p, const char *path, RtErr *err) {
    RtOutFile *out = &p->drawn.file;
    if (!p->drawn.wanted)
        return true;
    if (!rt_picture_out_begin(&p->drawn, p->in->outs, path, err))
        return false;
    if (!rt_png_encode(out->f, &p->image))
        return rt_fail(err, "%s: the picture cannot be written: %s", out->path, strerror(errno));
    return rt_out_commit(out, err);
}

void rt_picture_close(RtPicture *p) {
    for (int i = 0; p->y && i < p->d->n_outputs; i++)
        free(p->y[i]);
    free(p->y);
    free(p->x);
    rt_picture_out_close(&p->drawn);
    rt_picture_out_close(&p->mask);
    rt_image_free(&p->image);
    rt_names_free(&p->names);
    rt_inputs_close(p->inputs);
    if (p->model)
        hone_destroy(p->model);
}
