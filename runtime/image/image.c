// Images by the names of their files, and their pixels in memory: room for what a header claims,
// within limits: a fixed one, and what the file's bytes can hold when they are packed as tightly as
// the format allows.
#include "runtime/image/image.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool rt_image_fits(const char *path, int64_t width, int64_t height, int64_t most, RtErr *err) {
    bool fits =
        width <= 0 || height <= 0 || width > RT_MAX_PIXELS / height || height <= most / width;
    return fits || // or rt_image_alloc() says why not
           rt_fail(err, "%s: truncated: its bytes cannot hold %lld x %lld pixels", path,
                   (long long)width, (long long)height);
}

bool rt_image_alloc(const char *path, int64_t width, int64_t height, int channels, RtImage *image,
                    RtErr *err) {
    return rt_image_alloc_within(path, width, height, channels, RT_MAX_PIXELS, image, err);
}

bool rt_image_alloc_within(const char *path, int64_t width, int64_t height, int channels, int most,
                           RtImage *image, RtErr *err) {
    if (width <= 0 || height <= 0)
        return rt_fail(err, "%s: the image is empty", path);
    if (width > most / height)
        return rt_fail(err, "%s: %lld x %lld pixels are more than %d million", path,
                       (long long)width, (long long)height, most / 1000000);
    *image = (RtImage){(int)width, (int)height, channels, 0,
                       malloc((size_t)width * (size_t)height * (size_t)channels)};
    return image->pixel || rt_fail(err, "%s: no memory for %lld x %lld pixels", path,
                                   (long long)width, (long long)height);
}

bool rt_image_is_name(const char *name) {
    static const char *const endings[] = {".jpg", ".jpeg", ".png", ".webp"};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t k = strlen(endings[i]);
        if (n > k && strcasecmp(name + n - k, endings[i]) == 0)
            return true;
    }
    return false;
}

// In place of png_save_uint_32(), which libpng's reader has of its writer (tools/link.c).
void rt_image_save_32(uint8_t *to, uint32_t x) {
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(x >> (24 - 8 * i));
}

void rt_image_mirror(RtImage *image) {
    int channels = image->channels;
    uint8_t *row = image->pixel;
    for (int y = 0; y < image->height; y++, row += (size_t)image->width * (size_t)channels)
        for (int a = 0, b = image->width - 1; a < b; a++, b--)
            for (int c = 0; c < channels; c++) {
                uint8_t t = row[a * channels + c];
                row[a * channels + c] = row[b * channels + c];
                row[b * channels + c] = t;
            }
}

void rt_image_free(RtImage *image) {
    free(image->pixel);
    *image = (RtImage){0};
}
