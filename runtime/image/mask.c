// The class of each place of a model's map, out of a mask. The plan that made the model's input of
// the picture is followed backwards: moved, flipped, window, resized box, picture. Colours, erased
// parts and filters change no class.
#include "runtime/image/mask.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MASK_FILE = 1 << 30 };

bool rt_mask_decode(const char *path, const uint8_t *data, size_t size, RtImage *mask, RtErr *err) {
    static const uint8_t magic[] = {0x89, 'P', 'N', 'G'};
    *mask = (RtImage){0};
    bool good = (size >= sizeof magic && memcmp(data, magic, sizeof magic) == 0) ||
                rt_fail(err, "%s: a mask is a PNG file", path);
    good = good && rt_png_decode_numbers(path, data, size, mask, err);
    if (!good)
        rt_image_free(mask);
    return good;
}

bool rt_mask_load(const char *path, RtImage *mask, RtErr *err) {
    size_t size;
    uint8_t *data = rt_file_load(path, MAX_MASK_FILE, &size, err);
    *mask = (RtImage){0};
    bool good = data && rt_mask_decode(path, data, size, mask, err);
    free(data);
    return good;
}

// ---- numbers

// "7" or "1-150" at *text, which goes behind it.
static bool take_range(const char **text, long *from, long *to) {
    char *end;
    if (!isdigit((unsigned char)**text))
        return false;
    *from = *to = strtol(*text, &end, 10);
    if (*end == '-' && isdigit((unsigned char)end[1]))
        *to = strtol(end + 1, &end, 10);
    *text = end;
    return *from <= *to && *to <= 255 && (!*end || *end == ',');
}

// The classes of `text` from *classes on. False: it says something else.
static bool take_values(const char *text, RtMaskValues *v, int *classes) {
    while (*text) {
        long from, to;
        if (strcmp(text, "void") == 0) {
            for (int i = 0; i < 256; i++)
                v->to[i] = v->to[i] == RT_MASK_UNKNOWN ? RT_MASK_VOID : v->to[i];
            return true;
        }
        if (!take_range(&text, &from, &to))
            return false;
        for (long i = from; i <= to; i++) {
            if (v->to[i] >= 0)
                return false;
            v->to[i] = (int16_t)(*classes)++;
        }
        text += *text == ',';
    }
    return true;
}

bool rt_mask_values(const char *text, int classes, RtMaskValues *v, RtErr *err) {
    int found = 0;
    v->named = text;
    for (int i = 0; i < 256; i++)
        v->to[i] = !text && i < classes ? (int16_t)i : RT_MASK_UNKNOWN;
    v->to[RT_MASK_NONE] = RT_MASK_VOID;
    if (!text)
        return true;
    if (strlen(text) > RT_MASK_TEXT || !take_values(text, v, &found))
        return rt_fail(err,
                       "--mask-values wants the numbers of the classes in order, none twice, as "
                       "0,255 or 1-150,void (void: others do not count), not '%.*s'",
                       RT_MASK_TEXT, text);
    return found == classes ||
           rt_fail(err, "--mask-values names %d classes, and there are %d", found, classes);
}

// ---- places

// Along one axis of the picture the pixel at `place` of the resized one, -1: none. The resized one
// is `full` long and shows a box that begins at `box` and is `length` long.
static int64_t find_pixel(double place, int64_t full, int box, int length) {
    if (place < 0 || place >= (double)full)
        return -1;
    int64_t i = (int64_t)floor(place * length / (double)full);
    return box + (i < length ? i : length - 1);
}

// Through what was done to the input last, first. Each change took whole pixels: the one that
// (x, y) is in. False: from outside.
static bool undo_changes(const RtAugmentPlan *plan, double *x, double *y) {
    const RtWindow *w = &plan->window;
    for (int i = plan->n_policies - 1; i >= 0; i--) {
        double was_x = *x, was_y = *y;
        if (!rt_policy_place(&plan->policy[i], w->width, w->height, x, y))
            return false;
        if (*x != was_x || *y != was_y) {
            *x = floor(*x) + 0.5;
            *y = floor(*y) + 0.5;
        }
    }
    return true;
}

// The mask's pixel at (x, y) of the input, -1: none.
static int64_t trace(const RtAugmentPlan *plan, const RtImage *mask, double x, double y) {
    const RtWindow *w = &plan->window;
    if (!undo_changes(plan, &x, &y))
        return -1;
    x = plan->flip ? w->width - x : x;
    int64_t i = find_pixel((double)w->top + y, w->full_height, plan->top, plan->height);
    int64_t j = find_pixel((double)w->left + x, w->full_width, plan->left, plan->width);
    return i < 0 || j < 0 ? -1 : i * mask->width + j;
}

static bool fail_unknown(const char *path, const RtImage *mask, int64_t at,
                         const RtMaskValues *values, RtErr *err) {
    int classes = 0;
    long long x = at % mask->width, y = at / mask->width;
    for (int i = 0; i < 256; i++)
        classes = values->to[i] >= classes ? values->to[i] + 1 : classes;
    if (values->named)
        return rt_fail(err, "%s: pixel (%lld, %lld) is %d, of which --mask-values says nothing",
                       path, x, y, mask->pixel[at]);
    return rt_fail(err,
                   "%s: pixel (%lld, %lld) is of class %d, and there are %d (--mask-values says "
                   "what numbers mean)",
                   path, x, y, mask->pixel[at], classes);
}

bool rt_mask_take(const char *path, const RtAugmentPlan *plan, const RtImage *mask,
                  const RtMaskValues *values, int height, int width, int32_t *to, RtErr *err) {
    const RtWindow *w = &plan->window;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, to++) {
            int64_t at =
                trace(plan, mask, (x + 0.5) * w->width / width, (y + 0.5) * w->height / height);
            *to = at < 0 ? RT_MASK_VOID : values->to[mask->pixel[at]];
            if (*to == RT_MASK_UNKNOWN)
                return fail_unknown(path, mask, at, values, err);
        }
    return true;
}
