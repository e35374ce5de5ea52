// Image files to pixels: finds out the format, decodes, converts to grey where a model wants it,
// turns upright.
#include "runtime/image/image.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_IMAGE_FILE = 1 << 30 };

static void convert_grey(RtImage *image) { // in place
    size_t n = (size_t)image->width * (size_t)image->height;
    for (size_t i = 0; i < n; i++)
        image->pixel[i] = rt_grey(image->pixel + 3 * i);
    image->channels = 1;
}

typedef struct Format {
    const char *name;
    int offset, length;
    const char *magic;
    RtImageDecoder *decode; // NULL: known, but not read
    const char *part;       // what hone compile --without calls it
} Format;

static const Format formats[] = {
    {"JPEG", 0, 3, "\xff\xd8\xff", rt_jpeg_decode, "jpeg"},
    {"PNG", 0, 8, "\x89PNG\r\n\x1a\n", rt_png_decode, "png"},
    {"GIF", 0, 4, "GIF8", NULL, NULL},
    {"WebP", 8, 4, "WEBP", rt_webp_decode, "webp"},
    {"BMP", 0, 2, "BM", NULL, NULL},
    {"TIFF", 0, 4, "II*\0", NULL, NULL},
    {"TIFF", 0, 4, "MM\0*", NULL, NULL},
    {"HEIF", 4, 8, "ftypheic", NULL, NULL},
    {"AVIF", 4, 8, "ftypavif", NULL, NULL},
    {"NumPy .npy (use the subcommand run)", 0, 6, "\x93NUMPY", NULL, NULL},
};
enum { N_FORMATS = sizeof formats / sizeof *formats };

static const Format *find_format(const uint8_t *data, size_t size) {
    for (int i = 0; i < N_FORMATS; i++) {
        const Format *f = &formats[i];
        if (size >= (size_t)(f->offset + f->length) &&
            memcmp(data + f->offset, f->magic, (size_t)f->length) == 0)
            return f;
    }
    return NULL;
}

bool rt_image_is_file(const uint8_t *data, size_t size) {
    const Format *f = find_format(data, size);
    return f && f->decode;
}

int rt_image_left_out(const char *part[RT_MAX_DECODERS]) {
    int n = 0;
    for (int i = 0; i < N_FORMATS; i++)
        if (rt_image_is_no_decoder(formats[i].decode))
            part[n++] = formats[i].part;
    return n;
}

static bool decode(const char *name, const uint8_t *data, size_t size, int channels, bool as_stored,
                   int least, int most, RtImage *image, RtErr *err) {
    *image = (RtImage){0};
    const Format *f = find_format(data, size);
    bool good = false;
    if (f && rt_image_is_no_decoder(f->decode))
        rt_fail(err, RT_LEFT_OUT, name, f->name, f->part);
    else if (f && f->decode)
        good = f->decode(name, data, size, least, most, image, err);
    else if (size == 0)
        rt_fail(err, "%s: the file is empty", name);
    else if (f)
        rt_fail(err, "%s: not a JPEG, PNG or WebP file but %s", name, f->name);
    else
        rt_fail(err, "%s: not a JPEG, PNG or WebP file", name);
    if (good && channels == 1)
        convert_grey(image);
    if (good && !as_stored)
        good = rt_exif_turn(name, rt_exif_orientation(data, size), image, err);
    if (!good)
        rt_image_free(image);
    return good;
}

bool rt_image_decode(const char *name, const uint8_t *data, size_t size, int channels,
                     bool as_stored, int most, RtImage *image, RtErr *err) {
    return decode(name, data, size, channels, as_stored, 0, most, image, err);
}

bool rt_image_decode_small(const char *name, const uint8_t *data, size_t size, int channels,
                           bool as_stored, int least, RtImage *image, RtErr *err) {
    return decode(name, data, size, channels, as_stored, least, RT_MAX_PIXELS, image, err);
}

bool rt_image_load(const char *path, int channels, bool as_stored, RtImage *image, RtErr *err) {
    return rt_image_load_small(path, channels, as_stored, 0, image, err);
}

bool rt_image_load_small(const char *path, int channels, bool as_stored, int least, RtImage *image,
                         RtErr *err) {
    *image = (RtImage){0};
    size_t size;
    uint8_t *data = rt_file_load(path, MAX_IMAGE_FILE, &size, err);
    bool good =
        data && rt_image_decode_small(path, data, size, channels, as_stored, least, image, err);
    free(data);
    return good;
}
