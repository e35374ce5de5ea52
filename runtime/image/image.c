// Pixels in memory: room for what a header claims, within limits.
#include "runtime/image/image.h"

#include <stdlib.h>

bool rt_image_alloc(const char *path, int64_t width, int64_t height, int channels, RtImage *image,
                    RtErr *err) {
    if (width <= 0 || height <= 0)
        return rt_fail(err, "%s: the image is empty", path);
    if (width > RT_MAX_PIXELS / height)
        return rt_fail(err, "%s: %lld x %lld pixels are more than %d million", path,
                       (long long)width, (long long)height, RT_MAX_PIXELS / 1000000);
    *image = (RtImage){(int)width, (int)height, channels,
                       malloc((size_t)width * (size_t)height * (size_t)channels)};
    return image->pixel || rt_fail(err, "%s: no memory for %lld x %lld pixels", path,
                                   (long long)width, (long long)height);
}

void rt_image_free(RtImage *image) {
    free(image->pixel);
    *image = (RtImage){0};
}
