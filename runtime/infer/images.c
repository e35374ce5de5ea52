// Images of files as runs of the model: preprocessing as the user changed it, files decoded in
// parallel, those that are good run together.
#include "runtime/infer/images.h"

#include "runtime/image/image.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_BATCH = 8 };

const char *rt_images_conflict(const RtImageSettings *s) {
    return s->bgr && s->rgb                    ? "--bgr and --rgb exclude each other"
           : s->resize >= 0 && s->crop_pct > 0 ? "--resize and --crop-pct exclude each other"
                                               : NULL;
}

bool rt_images_begin(RtImages *m, const RtInfer *in, RtErr *err) {
    const HoneModelDesc *d = in->desc;
    *m = (RtImages){.in = in, .prep = d->preprocess};
    if (d->n_inputs != 1 || d->n_outputs < 1)
        return rt_fail(err, "%s: the model has %d inputs and %d outputs; use the subcommand run",
                       d->name, d->n_inputs, d->n_outputs);
    m->input = &d->inputs[0];
    return rt_preprocess_check(&d->preprocess, m->input, err);
}

bool rt_images_settle(RtImages *m, const RtImageSettings *s, RtErr *err) {
    HonePreprocess *p = &m->prep;
    if (s->resize >= 0)
        p->resize = s->resize;
    if (s->crop > 0 && (s->crop != p->height || s->crop != p->width))
        return rt_fail(err,
                       "the model's input is %d x %d, not %d x %d; compile it with another "
                       "--input-shape",
                       p->width, p->height, s->crop, s->crop);
    if (s->crop_pct > 0) // timm's: the crop's share of the resized shorter side
        p->resize = (int)floor((p->height < p->width ? p->height : p->width) / (double)s->crop_pct);
    if (s->scale > 0)
        p->scale = s->scale;
    if (s->bgr || s->rgb)
        p->bgr = s->bgr;
    const RtCliFloats *given[2] = {&s->mean, &s->std};
    if (m->input->dtype == HONE_U8 && (s->scale > 0 || s->mean.n || s->std.n))
        return rt_fail(err, "the model takes pixels as they are (u8): no --scale, --mean, --std");
    float *to[2] = {p->mean, p->std};
    for (int k = 0; k < 2; k++) {
        int n = given[k]->n;
        if (n == 0)
            continue;
        if (n != 1 && n != p->channels)
            return rt_fail(err, "--%s wants %d numbers", k ? "std" : "mean", p->channels);
        for (int i = 0; i < p->channels; i++)
            to[k][i] = given[k]->v[n == 1 ? 0 : i];
    }
    return true;
}

bool rt_images_allocate(RtImages *m, const RtImageSettings *s, int n_images, RtErr *err) {
    const HoneModelDesc *d = m->in->desc;
    int64_t bytes, images = m->input->dim[0].n ? 1 : m->input->dim[0].c;
    if (images < 1 || !rt_tensor_bytes(m->input, 1, &bytes))
        return rt_fail(err, "%s: the model's input is empty", d->name);
    m->image_bytes = (size_t)(bytes / images);
    m->fixed = m->input->dim[0].n == 0;
    m->slots = images;
    if (!m->fixed) {
        m->slots = s->batch ? s->batch : DEFAULT_BATCH;
        if (m->slots > n_images)
            m->slots = n_images;
    }
    int64_t batch = m->fixed ? 1 : m->slots;
    m->errors = calloc((size_t)m->slots, sizeof *m->errors);
    m->y = calloc((size_t)d->n_outputs, sizeof *m->y);
    bool good = m->errors && m->y && rt_tensor_bytes(m->input, batch, &bytes) &&
                (m->x = rt_alloc_aligned((size_t)bytes));
    if (good)
        memset(m->x, 0, (size_t)bytes);
    for (int i = 0; good && i < d->n_outputs; i++)
        good = rt_tensor_bytes(&d->outputs[i], batch, &bytes) &&
               (m->y[i] = rt_alloc_aligned((size_t)bytes));
    return good || rt_fail(err, "no memory for a batch of %lld", (long long)m->slots);
}

static bool load_image(RtImages *m, const char *path, char *to, RtErr *err) {
    RtImage image;
    if (!rt_image_load(path, m->prep.channels, &image, err))
        return false;
    bool good = rt_preprocess(&m->prep, m->input->dtype, &image, to, err);
    rt_image_free(&image);
    return good;
}

bool rt_images_run(RtImages *m, const char *const *files, int n, RtErr *err) {
#pragma omp parallel for schedule(dynamic, 1)                                                      \
    num_threads(rt_region_threads(rt_model_threads(m->model)))
    for (int i = 0; i < n; i++) {
        m->errors[i].text[0] = 0;
        load_image(m, files[i], m->x + (size_t)i * m->image_bytes, &m->errors[i]);
    }
    int good = 0;
    for (int i = 0; i < n; i++)
        if (!m->errors[i].text[0] && good++ != i)
            memcpy(m->x + (size_t)(good - 1) * m->image_bytes, m->x + (size_t)i * m->image_bytes,
                   m->image_bytes);
    const void *x = m->x;
    if (good && hone_run(m->model, m->fixed ? 1 : good, &x, (void *const *)m->y) != 0)
        return rt_fail(err, "%s: %s", m->in->desc->name, hone_error(m->model));
    return true;
}

void rt_images_free(RtImages *m) {
    for (int i = 0; m->y && i < m->in->desc->n_outputs; i++)
        free(m->y[i]);
    free(m->y);
    free(m->x);
    free(m->errors);
    hone_destroy(m->model);
}
