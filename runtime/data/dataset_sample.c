// What is asked of a set after it was opened: names, labels, targets, pixels. Only reads; any
// number of threads at once.
#define _GNU_SOURCE
#include "runtime/data/dataset_build.h"
#include "runtime/image/mask.h"

#include <errno.h>
#include <libgen.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const RtSource *source_of(const RtDataset *d, int64_t item) {
    return &d->state->source[d->state->item[item].source];
}

const char *rt_dataset_item_name(const RtDataset *d, int64_t item, char *text, size_t size) {
    const RtItem *it = &d->state->item[item];
    const RtSource *s = source_of(d, item);
    bool named = s->kind == RT_SOURCE_FILES || s->kind == RT_SOURCE_TAR;
    const char *path = named ? d->state->text + it->at : NULL;
    if (!path)
        snprintf(text, size, "%s[%lld]", s->name, (long long)it->at);
    else if (*path == '/')
        snprintf(text, size, "%s", path);
    else
        snprintf(text, size, "%s/%s", s->name, path);
    return text;
}

int32_t rt_dataset_label(const RtDataset *d, int64_t item) {
    return d->state->item[item].label;
}

void rt_dataset_target(const RtDataset *d, int64_t item, float *row) {
    const RtItem *it = &d->state->item[item];
    const float *targets = source_of(d, item)->targets;
    size_t n = (size_t)d->target_width;
    if (d->target == RT_TARGET_BINARY)
        row[0] = (float)it->label;
    if (d->target != RT_TARGET_MULTI)
        return;
    if (targets) {
        memcpy(row, targets + (size_t)it->at * n, n * sizeof *row);
        return;
    }
    memset(row, 0, n * sizeof *row);
    const int32_t *tags = it->tag > 0 ? d->state->tag + it->tag : NULL;
    for (int32_t i = 0; tags && i < tags[0]; i++)
        row[tags[1 + i]] = 1;
}

// ---- pixels

// File name of an item: where it lies. free() releases. NULL: no memory.
static char *item_path(const RtDataset *d, int64_t item) {
    const char *path = d->state->text + d->state->item[item].at;
    size_t size = strlen(source_of(d, item)->name) + strlen(path) + 2;
    char *full = malloc(size);
    if (full)
        rt_dataset_item_name(d, item, full, size);
    return full;
}

// Behind the picture's name: the mask's, or, in a shard, where it is.
static const char *mask_text(const RtDataset *d, int64_t item) {
    const char *picture = d->state->text + d->state->item[item].at;
    return picture + strlen(picture) + 1;
}

// The mask's file name, or what a mask in a shard is called. free() releases. NULL: no memory.
static char *mask_path(const RtDataset *d, int64_t item) {
    const char *mask = mask_text(d, item);
    if (source_of(d, item)->kind == RT_SOURCE_TAR) {
        char *picture = item_path(d, item), *path = NULL;
        int n = picture ? asprintf(&path, "%s, its mask", picture) : -1;
        free(picture);
        return n < 0 ? NULL : path;
    }
    return *mask == '/' ? strdup(mask) : rt_build_join_path(source_of(d, item)->name, mask);
}

bool rt_dataset_files(const RtDataset *d, bool (*visit)(void *ctx, const char *path), void *ctx) {
    const RtDataState *s = d->state;
    bool good = true;
    for (int64_t i = 0; good && i < s->n_sources; i++)
        if (s->source[i].kind != RT_SOURCE_FILES)
            good = visit(ctx, s->source[i].name) &&
                   (!s->source[i].labels || visit(ctx, s->source[i].labels));
    for (int64_t i = 0; good && i < d->n_train + d->n_val; i++) {
        char *path = source_of(d, i)->kind == RT_SOURCE_FILES ? item_path(d, i) : NULL;
        char *mask = path && d->target == RT_TARGET_MAP ? mask_path(d, i) : NULL;
        good = !path || (visit(ctx, path) && (!mask || visit(ctx, mask)));
        free(path);
        free(mask);
    }
    return good;
}

// The path without links of a folder, or of where it will be. free() releases. NULL: there is none.
static char *real_folder(const char *path) {
    char *real = realpath(path, NULL), *copy = real ? NULL : strdup(path), *full = NULL;
    if (!copy)
        return real;
    char *parent = realpath(dirname(copy), NULL);
    free(copy);
    copy = parent ? strdup(path) : NULL;
    if (copy && asprintf(&full, "%s/%s", strcmp(parent, "/") ? parent : "", basename(copy)) < 0)
        full = NULL;
    free(copy);
    free(parent);
    return full;
}

// What lies below a folder of classes, unless it is hidden, is a class or of one.
bool rt_dataset_takes(const RtDataset *d, const char *folder) {
    const RtDataState *s = d->state;
    char *path = real_folder(folder);
    bool takes = false;
    for (int64_t i = 0; path && !takes && i < s->n_sources; i++) {
        char *root = s->source[i].classes ? realpath(s->source[i].name, NULL) : NULL;
        size_t n = root && strcmp(root, "/") ? strlen(root) : 0;
        takes = root && strncmp(path, root, n) == 0 &&
                (!path[n] || (path[n] == '/' && path[n + 1] != '.'));
        free(root);
    }
    free(path);
    return takes;
}

// Row `at` of a u8 array to [height][width][channels].
static bool copy_pixels(const RtSource *s, int64_t at, const char *name, int channels,
                        RtImage *image, RtErr *err) {
    size_t n = (size_t)s->height * (size_t)s->width, have = (size_t)s->channels;
    if (!rt_image_alloc(name, s->width, s->height, channels, image, err))
        return false;
    const uint8_t *from = (const uint8_t *)s->array.data + (size_t)at * n * have;
    size_t pixel_step = s->planar ? 1 : have, channel_step = s->planar ? n : 1;
    uint8_t *to = image->pixel;
    for (size_t i = 0; i < n; i++, from += pixel_step) {
        uint8_t rgb[3];
        for (size_t c = 0; c < 3; c++)
            rgb[c] = from[have == 3 ? c * channel_step : 0];
        if (channels == 1)
            *to++ = have == 3 ? rt_grey(rgb) : rgb[0];
        for (int c = 0; channels == 3 && c < 3; c++)
            *to++ = rgb[c];
    }
    return true;
}

// Bytes out of the item's shard. free() releases. NULL with err set.
static uint8_t *read_member(const RtDataset *d, int64_t item, int64_t offset, int64_t bytes,
                            RtErr *err) {
    const char *path = source_of(d, item)->name;
    int64_t size;
    int fd = rt_file_open(path, &size, err);
    if (fd < 0)
        return NULL;
    uint8_t *data = size - offset >= bytes ? malloc((size_t)bytes + 1) : NULL;
    bool good = false;
    if (size - offset < bytes)
        rt_fail(err, "%s: is shorter than it was", path);
    else if (!data)
        rt_fail(err, "%s: no memory", path);
    else if (lseek(fd, offset, SEEK_SET) != offset)
        rt_fail(err, "%s: cannot be read: %s", path, strerror(errno));
    else
        good = rt_file_read(fd, path, data, (size_t)bytes, err);
    close(fd);
    if (good)
        return data;
    free(data);
    return NULL;
}

static bool fetch_member(const RtDataset *d, int64_t item, int channels, int least, RtImage *image,
                         RtErr *err) {
    char name[1024];
    const RtItem *it = &d->state->item[item];
    uint8_t *data = read_member(d, item, it->offset, it->bytes, err);
    bool good = data && rt_image_decode_small(rt_dataset_item_name(d, item, name, sizeof name),
                                              data, (size_t)it->bytes, channels,
                                              d->state->as_stored, least, image, err);
    free(data);
    return good;
}

static bool fetch(const RtDataset *d, int64_t item, int channels, int least, RtImage *image,
                  RtErr *err) {
    const RtSource *s = source_of(d, item);
    *image = (RtImage){0};
    if (s->kind == RT_SOURCE_TAR)
        return fetch_member(d, item, channels, least, image, err);
    if (s->kind == RT_SOURCE_U8) {
        char name[512];
        rt_dataset_item_name(d, item, name, sizeof name);
        return copy_pixels(s, d->state->item[item].at, name, channels, image, err);
    }
    char *path = item_path(d, item);
    bool good = path ? rt_image_load_small(path, channels, d->state->as_stored, least, image, err)
                     : rt_fail(err, "no memory for a file's name");
    free(path);
    return good;
}

bool rt_dataset_fetch(const RtDataset *d, int64_t item, int channels, RtImage *image, RtErr *err) {
    return fetch(d, item, channels, 0, image, err);
}

static const float *tensor_of(const RtDataset *d, int64_t item, const HonePreprocess *p) {
    size_t n = (size_t)p->height * (size_t)p->width * (size_t)p->channels;
    const RtSource *s = source_of(d, item);
    return (const float *)s->array.data + (size_t)d->state->item[item].at * n;
}

static bool copy_tensor(const RtDataset *d, int64_t item, const HonePreprocess *p, float *out,
                        RtErr *err) {
    size_t n = (size_t)p->height * (size_t)p->width * (size_t)p->channels;
    const float *x = tensor_of(d, item, p);
    char name[512];
    for (size_t i = 0; i < n; i++)
        if (!isfinite(out[i] = x[i]))
            return rt_fail(err, "%s: holds a number that is not finite",
                           rt_dataset_item_name(d, item, name, sizeof name));
    return true;
}

bool rt_dataset_sample(const RtDataset *d, int64_t item, const HonePreprocess *p, RtAugment augment,
                       uint64_t seed, int64_t epoch, float *out, RtErr *err) {
    if (d->tensors)
        return copy_tensor(d, item, p, out, err);
    RtImage image;
    int least = item < d->n_train ? d->least : 0;
    bool good = fetch(d, item, p->channels, least, &image, err) &&
                rt_augment(&augment, p, &image, seed, epoch, item, out, err);
    rt_image_free(&image);
    return good;
}

bool rt_dataset_views(const RtDataset *d, int64_t item, const HonePreprocess *p, RtViews views,
                      float *out, RtErr *err) {
    RtImage image;
    bool good = fetch(d, item, p->channels, 0, &image, err) &&
                rt_views(views, p, HONE_F32, &image, out, err);
    rt_image_free(&image);
    return good;
}

static bool fits(const char *path, const RtImage *image, const RtImage *mask, RtErr *err) {
    return (mask->width == image->width && mask->height == image->height) ||
           rt_fail(err, "%s: the mask is %dx%d, its picture %dx%d", path, mask->width, mask->height,
                   image->width, image->height);
}

static bool load_mask(const RtDataset *d, int64_t item, const char *path, RtImage *mask,
                      RtErr *err) {
    long long offset, bytes;
    if (source_of(d, item)->kind != RT_SOURCE_TAR)
        return rt_mask_load(path, mask, err);
    if (sscanf(mask_text(d, item), "%lld %lld", &offset, &bytes) != 2 || offset < 0 || bytes < 0)
        return rt_fail(err, "%s: is nowhere", path);
    uint8_t *data = read_member(d, item, offset, bytes, err);
    bool good = data && rt_mask_decode(path, data, (size_t)bytes, mask, err);
    free(data);
    return good;
}

bool rt_dataset_sample_map(const RtDataset *d, int64_t item, const HonePreprocess *p,
                           RtAugment augment, RtViews views, uint64_t seed, int64_t epoch,
                           float *out, int height, int width, int32_t *places, RtErr *err) {
    RtImage image = {0}, mask = {0};
    char *path = mask_path(d, item);
    bool good = path ? fetch(d, item, p->channels, 0, &image, err) &&
                           load_mask(d, item, path, &mask, err) && fits(path, &image, &mask, err)
                     : rt_fail(err, "no memory for a file's name");
    if (good) {
        RtAugmentPlan plan =
            rt_augment_plan(&augment, p, image.width, image.height, seed, epoch, item);
        good = views == RT_VIEWS_ONE
                   ? rt_augment_planned(&augment, p, &plan, &image, seed, epoch, item, out, err)
                   : rt_views(views, p, HONE_F32, &image, out, err);
        good =
            good && rt_mask_take(path, &plan, &mask, &d->mask_values, height, width, places, err);
    }
    rt_image_free(&image);
    rt_image_free(&mask);
    free(path);
    return good;
}

// Of an item's mask. False: it cannot be read.
static bool count_mask(const RtDataset *d, int64_t item, int64_t *number) {
    RtErr ignored;
    RtImage mask = {0};
    char *path = mask_path(d, item);
    bool good = path && load_mask(d, item, path, &mask, &ignored);
    for (int64_t i = 0; good && i < (int64_t)mask.width * mask.height; i++)
        number[mask.pixel[i]]++;
    rt_image_free(&mask);
    free(path);
    return good;
}

int64_t rt_dataset_count_pixels(const RtDataset *d, int64_t most, int64_t *number) {
    int64_t n = d->n_train ? d->n_train : d->n_val, looks = n < most ? n : most, read = 0;
    memset(number, 0, 256 * sizeof *number);
#pragma omp parallel for schedule(dynamic) num_threads(rt_threads(0)) reduction(+ : read)          \
    reduction(+ : number[ : 256])
    for (int64_t i = 0; i < looks; i++)
        read += count_mask(d, i * n / looks, number);
    return read;
}

// ---- thumbnails

// One that is no picture: its first channel, from the least number to the greatest.
static void show_channel(const float *x, const HonePreprocess *p, RtImage *image) {
    size_t n = (size_t)p->height * (size_t)p->width;
    float least = x[0], most = x[0];
    for (size_t i = 1; i < n; i++) {
        least = x[i] < least ? x[i] : least;
        most = x[i] > most ? x[i] : most;
    }
    double by = most > least ? 255 / ((double)most - (double)least) : 0;
    for (size_t i = 0; i < n; i++)
        memset(image->pixel + 3 * i, (uint8_t)(((double)x[i] - (double)least) * by), 3);
}

// A tensor back to pixels, as far as the preprocessing can be undone.
static bool undo_preprocess(const RtDataset *d, int64_t item, const HonePreprocess *p,
                            RtImage *image, RtErr *err) {
    char name[512];
    rt_dataset_item_name(d, item, name, sizeof name);
    if (!rt_image_alloc(name, p->width, p->height, 3, image, err))
        return false;
    const float *x = tensor_of(d, item, p);
    if (!rt_takes_pictures(p)) {
        show_channel(x, p, image);
        return true;
    }
    size_t plane = (size_t)p->height * (size_t)p->width, ch = (size_t)p->channels;
    for (size_t i = 0; i < plane; i++)
        for (size_t c = 0; c < 3; c++) {
            size_t m = ch == 1 ? 0 : p->bgr ? 2 - c : c;
            float v = x[p->nhwc ? i * ch + m : m * plane + i];
            v = (v * p->std[m] + p->mean[m]) / p->scale;
            image->pixel[3 * i + c] = (uint8_t)(v >= 255 ? 255 : v > 0 ? v + 0.5f : 0);
        }
    return true;
}

uint8_t *rt_dataset_thumbnail(const RtDataset *d, int64_t item, const HonePreprocess *p, int side,
                              size_t *bytes, RtErr *err) {
    RtImage image = {0}, small = {0};
    bool good = d->tensors ? undo_preprocess(d, item, p, &image, err)
                           : rt_dataset_fetch(d, item, 3, &image, err);
    int w = image.width, h = image.height, longer = w > h ? w : h;
    if (good && longer > side) {
        w = (int)((int64_t)w * side / longer);
        h = (int)((int64_t)h * side / longer);
        w = w < 1 ? 1 : w;
        h = h < 1 ? 1 : h;
    }
    RtWindow all = {w, h, 0, 0, w, h};
    good = good && rt_image_alloc("thumbnail", w, h, 3, &small, err) &&
           (rt_resize(&image, HONE_RESIZE_BILINEAR, &all, small.pixel) ||
            rt_fail(err, "no memory for a thumbnail"));
    uint8_t *jpeg = good ? rt_jpeg_encode(&small, bytes, err) : NULL;
    rt_image_free(&image);
    rt_image_free(&small);
    return jpeg;
}
