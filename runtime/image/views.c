// A view is the evaluation transform's, its window moved to a corner of the resized picture, turned
// about or not. See views.h. Nothing of the random transforms is needed, which programs go without.
#include "runtime/image/views.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int crops;
    bool mirrors;
} kinds[] = {
    [RT_VIEWS_ONE] = {"none", 1, false},
    [RT_VIEWS_FLIP] = {"flip", 1, true},
    [RT_VIEWS_FIVE_CROP] = {"five-crop", 5, false},
    [RT_VIEWS_TEN_CROP] = {"ten-crop", 5, true},
};

bool rt_views_parse(const char *name, RtViews *v) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(name, kinds[i].name) == 0) {
            *v = (RtViews)i;
            return true;
        }
    return false;
}

int rt_views_count(RtViews v) {
    return kinds[v].crops * (kinds[v].mirrors ? 2 : 1);
}

// Crop 0 stays in the middle; 1 to 4 go to the corners. A picture that is smaller than the crop
// moves inside it.
static void move_window(RtWindow *w, int crop) {
    int64_t right = w->full_width - w->width, bottom = w->full_height - w->height;
    if (crop == 0)
        return;
    w->left = crop % 2 ? 0 : right;
    w->top = crop < 3 ? 0 : bottom;
}

bool rt_views_are_alike(RtViews v, const HonePreprocess *p) {
    RtWindow w = rt_preprocess_window(p, p->width, p->height);
    return kinds[v].crops > 1 && w.full_width <= p->width && w.full_height <= p->height;
}

bool rt_views(RtViews v, const HonePreprocess *p, int dtype, const RtImage *image, void *out,
              RtErr *err) {
    char *to = out;
    size_t numbers = (size_t)p->height * (size_t)p->width * (size_t)p->channels;
    uint8_t *pixel = malloc(numbers + 1);
    bool good = pixel || rt_fail(err, "no memory to resize an image");
    for (int i = 0; good && i < rt_views_count(v); i++) {
        RtImage view = {p->width, p->height, image->channels, 0, pixel};
        RtWindow window = rt_preprocess_window(p, image->width, image->height);
        move_window(&window, i % kinds[v].crops);
        good = rt_resize_padded(image, p->interpolation, &window, rt_preprocess_fill(p), pixel) ||
               rt_fail(err, "no memory to resize an image");
        if (good && i >= kinds[v].crops)
            rt_image_mirror(&view);
        if (good)
            rt_preprocess_pixels(p, dtype, pixel, to);
        to += numbers * (size_t)rt_dtype(dtype)->bytes;
    }
    free(pixel);
    return good;
}
