// The class of each place of a model's map, out of a mask. The plan that made the model's input of
// the picture is followed backwards: flipped, window, resized box, picture. Colours, erased parts
// and filters change no class.
#include "runtime/image/mask.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MASK_FILE = 1 << 30 };

bool rt_mask_load(const char *path, RtImage *mask, RtErr *err) {
    static const uint8_t magic[] = {0x89, 'P', 'N', 'G'};
    *mask = (RtImage){0};
    size_t size;
    uint8_t *data = rt_file_load(path, MAX_MASK_FILE, &size, err);
    bool good = data && ((size >= sizeof magic && memcmp(data, magic, sizeof magic) == 0) ||
                         rt_fail(err, "%s: a mask is a PNG file", path));
    good = good && rt_png_decode_numbers(path, data, size, mask, err);
    free(data);
    if (!good)
        rt_image_free(mask);
    return good;
}

// Of place `at` of n: a pixel along one axis of the picture, -1: none. The window begins at `start`
// in the box resized to `full`, and is `window` long; the box begins at `box` and is `length` long.
static int64_t find_pixel(int at, int n, int64_t start, int window, int64_t full, int box,
                          int length) {
    double place = (double)start + (at + 0.5) * (double)window / n;
    if (place < 0 || place >= (double)full)
        return -1;
    int64_t i = (int64_t)floor(place * length / (double)full);
    return box + (i < length ? i : length - 1);
}

bool rt_mask_take(const char *path, const RtAugmentPlan *plan, const RtImage *mask, int classes,
                  int height, int width, int32_t *to, RtErr *err) {
    const RtWindow *w = &plan->window;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, to++) {
            int64_t i =
                find_pixel(y, height, w->top, w->height, w->full_height, plan->top, plan->height);
            int64_t j = find_pixel(plan->flip ? width - 1 - x : x, width, w->left, w->width,
                                   w->full_width, plan->left, plan->width);
            int number = i < 0 || j < 0 ? RT_MASK_NONE : mask->pixel[i * mask->width + j];
            *to = number == RT_MASK_NONE ? -1 : number;
            if (*to >= classes)
                return rt_fail(err, "%s: pixel (%lld, %lld) is of class %d, and there are %d", path,
                               (long long)j, (long long)i, number, classes);
        }
    return true;
}
