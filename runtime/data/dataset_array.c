// Pairs of arrays, images and labels, from .npy or IDX files.
#include "runtime/data/dataset_build.h"
#include "runtime/data/input_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/file/idx.h"

static bool read_array(RtBuild *b, const char *path, RtNpy *a) {
    RtErr err;
    size_t n = strlen(path);
    bool npy = n > 4 && strcmp(path + n - 4, ".npy") == 0;
    return (npy ? rt_npy_read(path, a, &err) : rt_idx_read(path, a, &err)) ||
           rt_build_error(b, "%s", err.text);
}

static bool has_channels(int64_t n) {
    return n == 1 || n == 3;
}

// u8: where height, width and channels are.
static bool place_pixels(RtBuild *b, RtSource *s) {
    const RtNpy *a = &s->array;
    char text[256];
    bool last = a->rank == 4 && has_channels(a->dim[3]);
    s->planar = a->rank == 4 && !last && has_channels(a->dim[1]);
    int64_t h = 0, w = 0, c = 1;
    if (a->rank >= 3) {
        h = a->dim[s->planar ? 2 : 1];
        w = a->dim[s->planar ? 3 : 2];
        c = a->rank == 4 ? a->dim[last ? 3 : 1] : 1;
    }
    if (a->rank < 3 || (a->rank == 4 && !last && !s->planar) || a->rank > 4)
        return rt_build_error(b,
                              "%s: %s is not [N,H,W], [N,H,W,C] or [N,C,H,W] with 1 or 3 "
                              "channels",
                              s->name, rt_shape_text(a->dtype, a->rank, a->dim, text, sizeof text));
    if (h < 1 || w < 1 || h > RT_MAX_PIXELS / w)
        return rt_build_error(b, "%s: images of %lld x %lld pixels", s->name, (long long)w,
                              (long long)h);
    s->height = (int)h;
    s->width = (int)w;
    s->channels = (int)c;
    return true;
}

// f32: exactly the model's input.
static bool check_tensors(RtBuild *b, RtSource *s) {
    const HonePreprocess *p = b->o->prep;
    const RtNpy *a = &s->array;
    char text[256], want[256];
    if (!p)
        return rt_build_error(b, "%s: f32 arrays need a model that takes images", s->name);
    return (a->dtype == HONE_F32 && a->rank > 0 && rt_input_is_like(a, 1, p)) ||
           rt_build_error(
               b, "%s: %s, but the model takes %s; f32 arrays must be what the model takes%s",
               s->name, rt_shape_text(a->dtype, a->rank, a->dim, text, sizeof text),
               rt_input_text(p, a->rank ? a->dim[0] : 0, want, sizeof want),
               rt_takes_pictures(p) ? ", images are u8" : "");
}

static bool check_images(RtBuild *b, RtSource *s) {
    const HonePreprocess *p = b->o->prep;
    if (s->array.dtype == HONE_F32 || (p && !rt_takes_pictures(p)))
        return check_tensors(b, s);
    if (s->kind == RT_SOURCE_U8)
        return place_pixels(b, s);
    return rt_build_error(b, "%s: images are u8 or f32, not %s", s->name,
                          rt_dtype(s->array.dtype)->name);
}

// ---- labels

static double element_at(const RtNpy *a, int64_t i) {
    switch (a->dtype) {
    case HONE_F32:
        return ((const float *)a->data)[i];
    case HONE_F64:
        return ((const double *)a->data)[i];
    case HONE_I8:
        return ((const int8_t *)a->data)[i];
    case HONE_I16:
        return ((const int16_t *)a->data)[i];
    case HONE_I32:
        return ((const int32_t *)a->data)[i];
    case HONE_I64:
        return (double)((const int64_t *)a->data)[i];
    case HONE_BOOL:
    case HONE_U8:
        return ((const uint8_t *)a->data)[i];
    case HONE_U16:
        return ((const uint16_t *)a->data)[i];
    case HONE_U32:
        return ((const uint32_t *)a->data)[i];
    case HONE_U64:
        return (double)((const uint64_t *)a->data)[i];
    default: // f16, bf16
        return NAN;
    }
}

// [N] class numbers.
static bool add_numbered(RtBuild *b, const char *path, const RtNpy *a, int part) {
    for (int64_t i = 0; i < a->dim[0]; i++) {
        double v = element_at(a, i);
        if (!(v >= 0 && v < (double)b->classes && v == floor(v)))
            return rt_build_error(b, "%s[%lld]: label %g is not a class from 0 to %lld", path,
                                  (long long)i, v, (long long)b->classes - 1);
        RtItem item = {.label = (int32_t)v, .at = i};
        if (b->o->target == RT_TARGET_MULTI &&
            !(rt_build_begin_tags(b, &item) && rt_build_tag(b, item.label)))
            return false;
        if (!rt_build_item(b, part, item, NULL))
            return false;
    }
    return true;
}

// [N,C] targets from 0 to 1.
static bool add_rows(RtBuild *b, const char *path, const RtNpy *a, int part) {
    int64_t classes = b->classes;
    float *row = malloc((size_t)a->count * sizeof *row + 1);
    b->s->source[b->s->n_sources - 1].targets = row;
    if (!row)
        return rt_build_no_memory(b);
    for (int64_t i = 0; i < a->dim[0]; i++, row += classes) {
        RtItem item = {.label = -1, .at = i};
        for (int64_t c = classes - 1; c >= 0; c--) {
            double v = element_at(a, i * classes + c);
            if (!(v >= 0 && v <= 1))
                return rt_build_error(b, "%s[%lld,%lld]: %g is not from 0 to 1", path, (long long)i,
                                      (long long)c, v);
            row[c] = (float)v;
            if (v >= 0.5)
                item.label = (int32_t)c;
        }
        if (!rt_build_item(b, part, item, NULL))
            return false;
    }
    return true;
}

static bool add_labels(RtBuild *b, const RtSource *s, const char *path, const RtNpy *a, int part) {
    char text[256];
    rt_shape_text(a->dtype, a->rank, a->dim, text, sizeof text);
    bool numbers = a->rank == 1 || (a->rank == 2 && a->dim[1] == 1);
    bool rows = !numbers && a->rank == 2 && a->dim[1] == b->classes;
    if (a->rank < 1 || a->dim[0] != s->array.dim[0])
        return rt_build_error(b, "%s: %s for %lld images in %s", path, text,
                              (long long)s->array.dim[0], s->name);
    if (a->dtype == HONE_F16 || a->dtype == HONE_BF16 || (!numbers && !rows))
        return rt_build_error(b, "%s: %s is neither [N] nor [N,%lld]", path, text,
                              (long long)b->classes);
    if (rows && b->o->target != RT_TARGET_MULTI)
        return rt_build_error(b,
                              "%s: %s holds several labels for each image, which are for programs "
                              "made with --multi-label; expected [N] class numbers",
                              path, text);
    return numbers ? add_numbered(b, path, a, part) : add_rows(b, path, a, part);
}

bool rt_dataset_array_read(RtBuild *b, const char *images, const char *labels, int part) {
    RtNpy a = {0}, y = {0};
    bool good = read_array(b, images, &a);
    good = read_array(b, labels, &y) && good; // both are tried: all problems at once
    RtSource *s =
        good && rt_build_numbered(b)
            ? rt_build_source(b, a.dtype == HONE_U8 ? RT_SOURCE_U8 : RT_SOURCE_F32, images)
            : NULL;
    if (s) {
        s->array = a;
        s->labels = strdup(labels);
        good = (s->labels || rt_build_no_memory(b)) && check_images(b, s) &&
               add_labels(b, s, labels, &y, part);
    } else {
        good = false;
        rt_npy_free(&a);
    }
    rt_npy_free(&y);
    return good;
}
