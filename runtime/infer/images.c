// Images of files as runs of the model: preprocessing as the user changed it, files decoded in
// parallel, those that are good run together.
#include "runtime/infer/images.h"

#include "runtime/data/input_file.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_BATCH = 8 };

const char *rt_images_conflict(const RtImageSettings *s) {
    int sizes = (s->resize >= 0) + (s->crop_pct > 0) + (s->fit != NULL);
    return s->bgr && s->rgb ? "--bgr and --rgb exclude each other"
           : sizes > 1      ? "--resize, --crop-pct and --fit exclude each other"
                            : NULL;
}

const char *rt_images_rule(const RtInfer *in) {
    return in->n_sizes > 1
               ? "It was compiled for several sizes. A picture takes the one whose shape is "
                 "nearest: by\n"
                 "the ratio of the sides, then by the area. --size takes one for all.\n\n"
               : "";
}

bool rt_images_begin(RtImages *m, const RtInfer *in, RtErr *err) {
    const HoneModelDesc *d = in->desc;
    bool none = in->n_sizes == 0; // of another ABI: told where the model is created
    *m = (RtImages){
        .in = in, .n_sizes = none ? 1 : in->n_sizes, .sizes = none ? &in->desc : in->size};
    if (d->n_inputs != 1 || d->n_outputs < 1)
        return rt_fail(err, "%s: the model has %d inputs and %d outputs; use the subcommand run",
                       d->name, d->n_inputs, d->n_outputs);
    m->unit = d;
    m->input = &d->inputs[0];
    m->prep = calloc((size_t)m->n_sizes, sizeof *m->prep);
    for (int k = 0; m->prep && k < m->n_sizes; k++) {
        m->prep[k] = m->sizes[k]->preprocess;
        if (!rt_preprocess_check(&m->prep[k], &m->sizes[k]->inputs[0], err))
            return false;
    }
    return m->prep || rt_fail(err, "no memory");
}

// ---------------------------------------------------------------- preprocessing

static int shorter(const HonePreprocess *p) {
    return p->height < p->width ? p->height : p->width;
}

// A number of pixels is meant for the first size; others have the same share of the picture.
static bool settle_size(const RtImages *m, HonePreprocess *p, const RtImageSettings *s,
                        RtErr *err) {
    if (s->resize >= 0 || s->crop_pct > 0)
        p->letterbox = 0;
    if (s->fit)
        rt_preprocess_fit(p, s->fit);
    if (s->resize >= 0)
        p->resize = (int)lrint((double)s->resize * shorter(p) / shorter(&m->prep[0]));
    if (s->crop_pct > 0) // timm's: the crop's share of the resized shorter side
        p->resize = (int)floor(shorter(p) / (double)s->crop_pct);
    if (s->scale > 0)
        p->scale = s->scale;
    if (s->bgr || s->rgb)
        p->bgr = s->bgr;
    if (s->interpolation)
        p->interpolation = rt_resize_filter(s->interpolation);
    p->as_stored |= s->as_stored;
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

static bool find_crop(RtImages *m, int side, RtErr *err) {
    for (int k = 0; k < m->n_sizes; k++)
        if (m->prep[k].height == side && m->prep[k].width == side) {
            m->only = k;
            return true;
        }
    return rt_fail(err,
                   "the model's input is %d x %d, not %d x %d; compile it with another "
                   "--input-shape",
                   m->prep[0].width, m->prep[0].height, side, side);
}

bool rt_images_settle(RtImages *m, const RtImageSettings *s, RtErr *err) {
    m->only = m->n_sizes > 1 ? -1 : 0;
    if (s->crop > 0 && !find_crop(m, s->crop, err))
        return false;
    if (s->size && (m->only = rt_infer_find_size(m->in, s->size, err)) < 0)
        return false;
    m->unit = m->sizes[m->only < 0 ? 0 : m->only];
    m->input = &m->unit->inputs[0];
    for (int k = 0; k < m->n_sizes; k++)
        if (!settle_size(m, &m->prep[k], s, err))
            return false;
    m->kind = s->views;
    m->views = rt_views_count(s->views);
    return true;
}

HoneModel *rt_images_create(const RtImages *m, const RtImageSettings *s) {
    return rt_infer_create(m->in, m->only < 0 ? 0 : m->only, s->threads);
}

// ---------------------------------------------------------------- memory

static int64_t count_images(const HoneTensorDesc *t) {
    return t->rank < 1 ? 0 : t->dim[0].n ? 1 : t->dim[0].c;
}

// Bytes of an output for an image; false: it has no row for each.
static bool row_bytes(const HoneModelDesc *d, int output, size_t *row) {
    const HoneTensorDesc *t = &d->outputs[output];
    int64_t bytes, images = count_images(t);
    bool rows = images > 0 && t->dim[0].n == d->inputs[0].dim[0].n &&
                t->dim[0].c == d->inputs[0].dim[0].c && rt_tensor_bytes(t, 1, &bytes);
    *row = rows ? (size_t)(bytes / images) : 0;
    return rows;
}

// Where each image has its own size, all give rows alike.
static bool check_rows(const RtImages *m, RtErr *err) {
    bool good = true;
    for (int k = 0; m->only < 0 && good && k < m->n_sizes; k++) {
        const HoneDim a = m->sizes[k]->inputs[0].dim[0], b = m->input->dim[0];
        good = a.n == b.n && a.c == b.c;
        for (int i = 0; good && i < m->in->desc->n_outputs; i++) {
            size_t row, first;
            good = row_bytes(m->sizes[k], i, &row) && row_bytes(m->sizes[0], i, &first) &&
                   row == first;
        }
    }
    return good || rt_fail(err,
                           "%s: its sizes do not give rows alike for an image; choose one by "
                           "--size",
                           m->in->desc->name);
}

static bool measure(RtImages *m, RtErr *err) {
    int64_t bytes;
    m->slots = count_images(m->input);
    m->fixed = m->input->dim[0].n == 0;
    for (int k = 0; k < m->n_sizes; k++) {
        const HoneTensorDesc *t = &m->sizes[k]->inputs[0];
        if (m->only >= 0 && k != m->only)
            continue;
        if (count_images(t) < 1 || !rt_tensor_bytes(t, 1, &bytes))
            return rt_fail(err, "%s: the model's input is empty", m->in->desc->name);
        size_t one = (size_t)(bytes / count_images(t));
        m->image_bytes = one > m->image_bytes ? one : m->image_bytes;
    }
    return check_rows(m, err);
}

// Of `times` runs of a batch.
static char **allocate_outputs(const RtImages *m, int64_t batch, int64_t times) {
    const HoneModelDesc *d = m->unit;
    char **y = calloc((size_t)d->n_outputs, sizeof *y);
    bool good = y;
    int64_t bytes;
    for (int i = 0; good && i < d->n_outputs; i++)
        good = rt_tensor_bytes(&d->outputs[i], batch, &bytes) &&
               !__builtin_mul_overflow(bytes, times, &bytes) &&
               (y[i] = rt_alloc_aligned((size_t)bytes));
    return y; // freed where it is not whole
}

static bool is_whole(const RtImages *m, char *const *y) {
    for (int i = 0; y && i < m->in->desc->n_outputs; i++)
        if (!y[i])
            return false;
    return y;
}

// A run has not all that was decoded, as it stands.
static bool is_grouped(const RtImages *m) {
    return m->only < 0 || m->views > 1;
}

bool rt_images_allocate(RtImages *m, const RtImageSettings *s, int64_t n_images, RtErr *err) {
    if (!measure(m, err))
        return false;
    m->rows = m->slots;
    if (!m->fixed) {
        m->slots = (s->batch ? s->batch : DEFAULT_BATCH) / m->views;
        if (m->slots == 0)
            m->slots = 1;
        if (n_images >= 0 && m->slots > n_images)
            m->slots = n_images;
        m->rows = m->slots * m->views;
    }
    int64_t batch = m->fixed ? 1 : m->rows;
    size_t bytes = 0, n = (size_t)m->slots;
    bool good = !__builtin_mul_overflow(n * (size_t)m->views, m->image_bytes, &bytes);
    m->errors = calloc(n, sizeof *m->errors);
    m->size = calloc(n, sizeof *m->size);
    m->turned = calloc(n, sizeof *m->turned);
    m->y = allocate_outputs(m, batch, m->fixed ? m->views : 1);
    m->x = good ? rt_alloc_aligned(bytes) : NULL;
    good = m->errors && m->size && m->turned && m->x && is_whole(m, m->y);
    if (good)
        memset(m->x, 0, bytes);
    if (good && is_grouped(m)) {
        m->group_x = rt_alloc_aligned((size_t)m->rows * m->image_bytes);
        m->group_y = allocate_outputs(m, batch, 1);
        m->place = calloc((size_t)m->rows, sizeof *m->place);
        good = m->group_x && m->place && is_whole(m, m->group_y);
    }
    if (good && m->group_x)
        memset(m->group_x, 0, (size_t)m->rows * m->image_bytes);
    return good || rt_fail(err, "no memory for a batch of %lld", (long long)m->slots);
}

// ---------------------------------------------------------------- a run

// That which takes the array as it is, else the nearest to the picture.
static int find_size(const RtImages *m, const RtInputFile *f) {
    for (int k = 0; k < m->n_sizes; k++)
        if (rt_input_file_fits(f, &m->sizes[k]->inputs[0]))
            return k;
    return f->image.pixel ? rt_infer_nearest_size(m->in, f->image.width, f->image.height) : 0;
}

static bool load_image(RtImages *m, const char *path, int slot, RtErr *err) {
    RtInputFile f;
    if (!rt_input_file_open(path, m->prep->channels, m->prep->as_stored, &f, err))
        return false;
    int size = m->only < 0 ? find_size(m, &f) : m->only;
    m->size[slot] = size;
    m->turned[slot] = f.image.turned;
    const HoneTensorDesc *input = &m->sizes[size]->inputs[0];
    char *to = m->x + (size_t)slot * (size_t)m->views * m->image_bytes;
    bool good, as_it_is = rt_input_file_fits(&f, input);
    if (m->views > 1 && as_it_is)
        good = rt_fail(err, "%s: is the model's input as it is; --tta is for pictures", path);
    else if (m->views > 1 && f.image.pixel)
        good = rt_views(m->kind, &m->prep[size], input->dtype, &f.image, to, err);
    else
        good = rt_input_file_fill(&f, path, &m->prep[size], input, to, err);
    rt_input_file_close(&f);
    return good;
}

static bool run_model(RtImages *m, int size, int images, const void *x, char **y, RtErr *err) {
    bool there = size == hone_size(m->model) || hone_use_size(m->model, size) == 0;
    return (there && hone_run(m->model, m->fixed ? 1 : images, &x, (void *const *)y) == 0) ||
           rt_fail(err, "%s: %s", m->in->desc->name, hone_error(m->model));
}

static bool is_good(const RtImages *m, int i) {
    return !m->errors[i].text[0];
}

static bool run_all(RtImages *m, int n, RtErr *err) {
    int good = 0;
    for (int i = 0; i < n; i++)
        if (is_good(m, i) && good++ != i)
            memcpy(m->x + (size_t)(good - 1) * m->image_bytes, m->x + (size_t)i * m->image_bytes,
                   m->image_bytes);
    return !good || run_model(m, m->only, good, m->x, m->y, err);
}

// Row k of the group's results to row `to` of all
static void keep_rows(RtImages *m, int size, int k, int to) {
    for (int i = 0; i < m->in->desc->n_outputs; i++) {
        size_t row;
        row_bytes(m->sizes[size], i, &row);
        memcpy(m->y[i] + (size_t)to * row, m->group_y[i] + (size_t)k * row, row);
    }
}

// The first n rows of the group; it is empty then.
static bool run_group(RtImages *m, int size, int *n, RtErr *err) {
    if (*n && !run_model(m, size, *n, m->group_x, m->group_y, err))
        return false;
    for (int k = 0; k < *n; k++)
        keep_rows(m, size, k, (int)m->place[k]);
    *n = 0;
    return true;
}

// Views of the good images that have this size, as many a run as it takes, their results to where
// they belong among all.
static bool run_size(RtImages *m, int size, int n, RtErr *err) {
    const HonePreprocess *p = &m->prep[size];
    size_t bytes = (size_t)p->channels * (size_t)p->height * (size_t)p->width *
                   (size_t)rt_dtype(m->input->dtype)->bytes;
    int held = 0, good = 0;
    for (int i = 0; i < n; i++) {
        const char *x = m->x + (size_t)i * (size_t)m->views * m->image_bytes;
        for (int v = 0; is_good(m, i) && m->size[i] == size && v < m->views; v++) {
            memcpy(m->group_x + (size_t)held * bytes, x + (size_t)v * bytes, bytes);
            m->place[held++] = good * m->views + v;
            if (held == m->rows && !run_group(m, size, &held, err))
                return false;
        }
        good += is_good(m, i);
    }
    return run_group(m, size, &held, err);
}

bool rt_images_run(RtImages *m, char *const *files, int n, RtErr *err) {
#pragma omp parallel for schedule(dynamic, 1)                                                      \
    num_threads(rt_region_threads(rt_model_threads(m->model)))
    for (int i = 0; i < n; i++) {
        m->errors[i].text[0] = 0;
        m->turned[i] = 0;
        load_image(m, files[i], i, &m->errors[i]);
    }
    if (!is_grouped(m))
        return run_all(m, n, err);
    for (int k = 0; k < m->n_sizes; k++)
        if (!run_size(m, k, n, err))
            return false;
    return true;
}

static void free_outputs(const RtImages *m, char **y) {
    for (int i = 0; y && i < m->in->desc->n_outputs; i++)
        free(y[i]);
    free(y);
}

void rt_images_free(RtImages *m) {
    free_outputs(m, m->y);
    free_outputs(m, m->group_y);
    free(m->group_x);
    free(m->x);
    free(m->place);
    free(m->size);
    free(m->turned);
    free(m->prep);
    free(m->errors);
    hone_destroy(m->model);
}
