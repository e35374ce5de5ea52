// The functions of hone.h about images: files, bytes and pixels to a model's input, and what its
// output says of them. Libraries carry the decoders for these.
#include <stdlib.h>
#include <string.h>

#include "runtime/core/rank.h"
#include "runtime/image/image.h"

typedef struct Picture { // where it comes from: a file, bytes, or pixels
    const char *file;
    const void *data;
    size_t bytes;
    const unsigned char *rgb;
    int width, height;
    void *input; // where it goes
} Picture;

static int64_t images_at_once(const HoneTensorDesc *t) {
    return t->rank < 1 ? 0 : t->dim[0].n ? 1 : t->dim[0].c;
}

int64_t hone_image_bytes(const HoneModel *m) {
    const HoneModelDesc *d = rt_model_desc(m);
    RtErr ignored;
    int64_t bytes;
    bool takes = d->n_inputs > 0 && rt_preprocess_check(&d->preprocess, &d->inputs[0], &ignored) &&
                 rt_tensor_bytes(&d->inputs[0], 1, &bytes) && images_at_once(&d->inputs[0]) > 0;
    return takes ? bytes / images_at_once(&d->inputs[0]) : 0;
}

// Pixels of the caller's, in the channels that the model has.
static bool copy_pixels(const Picture *p, int channels, RtImage *image, RtErr *err) {
    if (!rt_image_alloc("pixels", p->width, p->height, channels, image, err))
        return false;
    size_t n = (size_t)p->width * (size_t)p->height;
    if (channels == 3)
        memcpy(image->pixel, p->rgb, 3 * n);
    for (size_t i = 0; channels == 1 && i < n; i++)
        image->pixel[i] = rt_grey(p->rgb + 3 * i);
    return true;
}

static bool fill_input(void *ctx, HoneModel *m, RtErr *err) {
    const Picture *p = ctx;
    const HoneModelDesc *d = rt_model_desc(m);
    const HonePreprocess *prep = &d->preprocess;
    if (!hone_image_bytes(m))
        return rt_fail(err, "%s: the model takes no images", d->name);
    if (!p->input || (!p->file && !p->data && !p->rgb))
        return rt_fail(err, "%s is NULL", p->input ? "the image" : "the room for an image");
    RtImage image;
    bool good = p->file   ? rt_image_load(p->file, prep->channels, prep->as_stored, &image, err)
                : p->data ? rt_image_decode("the image", p->data, p->bytes, prep->channels,
                                            prep->as_stored, RT_MAX_PIXELS, &image, err)
                          : copy_pixels(p, prep->channels, &image, err);
    if (!good)
        return false;
    good = rt_preprocess(prep, d->inputs[0].dtype, &image, p->input, err);
    rt_image_free(&image);
    return good;
}

int hone_preprocess(HoneModel *m, const char *file, void *input) {
    return rt_model_call(m, fill_input, &(Picture){.file = file, .input = input});
}

int hone_preprocess_bytes(HoneModel *m, const void *data, size_t bytes, void *input) {
    return rt_model_call(m, fill_input, &(Picture){.data = data, .bytes = bytes, .input = input});
}

int hone_preprocess_pixels(HoneModel *m, const unsigned char *rgb, int width, int height,
                           void *input) {
    return rt_model_call(m, fill_input,
                         &(Picture){.rgb = rgb, .width = width, .height = height, .input = input});
}

// ---------------------------------------------------------------- classes

int hone_classifier(const HoneModel *m) {
    return rt_model_desc(m)->classifier;
}

int hone_rank(const HoneModel *m, const void *row, int top, HoneClass *classes) {
    const HoneModelDesc *d = rt_model_desc(m);
    if (d->classifier < 0 || top < 1 || !row || !classes)
        return -1;
    int64_t all = rt_rank_classes(d);
    return rt_rank(d, row, top < all ? top : (int)all, classes);
}

typedef struct Classify {
    const char *file;
    int top, n;
    HoneClass *classes;
} Classify;

static void free_all(void *input, void **outputs, int n) {
    for (int i = 0; outputs && i < n; i++)
        free(outputs[i]);
    free(outputs);
    free(input);
}

static bool run_file(Classify *c, HoneModel *m, void *input, void **outputs, RtErr *err) {
    const HoneModelDesc *d = rt_model_desc(m);
    bool good = input && outputs;
    int64_t bytes = hone_input_bytes(m, 0, 1);
    if (good)
        memset(input, 0, (size_t)bytes);
    for (int i = 0; good && i < d->n_outputs; i++) {
        bytes = hone_output_bytes(m, i, 1);
        good = bytes >= 0 && (outputs[i] = rt_alloc_aligned((size_t)bytes));
    }
    if (!good)
        return rt_fail(err, "no memory");
    const void *inputs[] = {input};
    if (!fill_input(&(Picture){.file = c->file, .input = input}, m, err) ||
        !rt_model_run_inside(m, 1, inputs, outputs, err))
        return false;
    c->n = hone_rank(m, outputs[d->classifier], c->top, c->classes);
    return c->n >= 0 || rt_fail(err, "%s: the model's output is not finite", c->file);
}

static bool classify(void *ctx, HoneModel *m, RtErr *err) {
    Classify *c = ctx;
    const HoneModelDesc *d = rt_model_desc(m);
    if (d->classifier < 0 || d->n_inputs != 1 || !hone_image_bytes(m))
        return rt_fail(err, "%s: the model does not classify images", d->name);
    if (c->top < 1 || !c->classes)
        return rt_fail(err, "%d classes were asked for, and there is %s room", c->top,
                       c->classes ? "some" : "no");
    void *input = rt_alloc_aligned((size_t)hone_input_bytes(m, 0, 1));
    void **outputs = calloc((size_t)d->n_outputs, sizeof *outputs);
    bool good = run_file(c, m, input, outputs, err);
    free_all(input, outputs, d->n_outputs);
    return good;
}

int hone_classify_file(HoneModel *m, const char *file, int top, HoneClass *classes) {
    Classify c = {.file = file, .top = top, .classes = classes};
    return rt_model_call(m, classify, &c) == 0 ? c.n : -1;
}

// ---------------------------------------------------------------- in a library

// The image libraries' archives are made for programs: their code reaches `stderr`, a variable of
// libc's, as a shared library's may not. In the copies for libraries (CMakeLists.txt)
// that name is this one's. Nothing is printed there: decoders report to our handlers.
extern struct _IO_FILE_plus _IO_2_1_stderr_;
FILE *rt_image_stderr = (FILE *)&_IO_2_1_stderr_;
