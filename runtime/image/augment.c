// The random transforms of training. What is drawn and what is done are apart: a plan is checked
// against torchvision by its distribution, its execution by its pixels.
//
// Pixels follow Pillow 9: crop, then antialiased bilinear resize of the box alone (no pixel outside
// it counts); ImageEnhance's Brightness, Contrast and Color are blends of 8-bit images in float
// that truncate, the grey image of Contrast and Color is convert('L').
#include "runtime/image/augment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/core/rng.h"

static const char *const augment_names[] = {"none", "light", "imagenet"};

bool rt_augment_parse(const char *name, RtAugment *kind) {
    for (int i = 0; i <= RT_AUGMENT_IMAGENET; i++)
        if (strcmp(name, augment_names[i]) == 0) {
            *kind = (RtAugment)i;
            return true;
        }
    return false;
}

const char *rt_augment_name(RtAugment kind) {
    return augment_names[kind];
}

// ---- choices

// A crop's start along one axis. The resized image may be smaller than the crop (then it moves
// inside), or hardly larger: then it is padded so that the start has a choice of size / 8 at least.
static int64_t draw_start(RtRng *r, int64_t full, int size) {
    int64_t room = full - size, low = room < 0 ? room : 0, high = room > 0 ? room : 0;
    int64_t pad = size / 8 - (high - low);
    if (pad > 0) {
        low -= pad;
        high += pad;
    }
    return low + rt_rng_below(r, high - low + 1);
}

// torchvision's RandomResizedCrop.get_params
static void draw_box(RtRng *r, RtAugmentPlan *plan, int width, int height) {
    const double ratio_low = 3.0 / 4.0, ratio_high = 4.0 / 3.0;
    for (int i = 0; i < 10; i++) {
        double area = (double)width * height * rt_rng_between(r, 0.08, 1.0);
        double aspect = exp(rt_rng_between(r, log(ratio_low), log(ratio_high)));
        double w = rint(sqrt(area * aspect)), h = rint(sqrt(area / aspect));
        if (w >= 1 && w <= width && h >= 1 && h <= height) {
            plan->width = (int)w;
            plan->height = (int)h;
            plan->top = (int)rt_rng_below(r, height - plan->height + 1);
            plan->left = (int)rt_rng_below(r, width - plan->width + 1);
            return;
        }
    }
    double ratio = (double)width / height;
    plan->width = ratio > ratio_high ? (int)rint(height * ratio_high) : width;
    plan->height = ratio < ratio_low ? (int)rint(width / ratio_low) : height;
    plan->left = (width - plan->width) / 2;
    plan->top = (height - plan->height) / 2;
}

static void draw_jitter(RtRng *r, RtAugmentPlan *plan) {
    plan->n_jitters = RT_N_JITTERS;
    for (int i = 0; i < RT_N_JITTERS; i++) {
        int j = (int)rt_rng_below(r, i + 1);
        plan->jitter[i] = plan->jitter[j];
        plan->jitter[j] = i;
    }
    for (int i = 0; i < RT_N_JITTERS; i++)
        plan->factor[i] = (float)rt_rng_between(r, 0.6, 1.4);
}

RtAugmentPlan rt_augment_plan(RtAugment kind, const HonePreprocess *p, int width, int height,
                              uint64_t seed, int64_t epoch, int64_t item) {
    RtRng r = rt_rng(seed, epoch, item, RT_RNG_AUGMENT);
    RtAugmentPlan plan = {.width = width,
                          .height = height,
                          .window = rt_preprocess_window(p, width, height),
                          .filter = p->interpolation,
                          .fill = rt_preprocess_fill(p)};
    if (kind == RT_AUGMENT_NONE)
        return plan;
    plan.flip = rt_rng_uniform(&r) < 0.5;
    if (kind == RT_AUGMENT_LIGHT) {
        plan.window.left = draw_start(&r, plan.window.full_width, p->width);
        plan.window.top = draw_start(&r, plan.window.full_height, p->height);
    } else {
        draw_box(&r, &plan, width, height);
        draw_jitter(&r, &plan);
        plan.window = (RtWindow){p->width, p->height, 0, 0, p->width, p->height};
    }
    return plan;
}

// ---- pixels

// Pillow's Image.blend: a at factor 0, b at factor 1.
static uint8_t blend(int a, int b, float factor) {
    float x = (float)a + factor * (float)(b - a);
    return (uint8_t)(x <= 0 ? 0 : x >= 255 ? 255 : x);
}

static void blend_constant(uint8_t *pixel, size_t bytes, int value, float factor) {
    uint8_t table[256];
    for (int i = 0; i < 256; i++)
        table[i] = blend(value, i, factor);
    for (size_t i = 0; i < bytes; i++)
        pixel[i] = table[pixel[i]];
}

static void change_brightness(uint8_t *pixel, size_t n, int channels, float factor) {
    blend_constant(pixel, n * (size_t)channels, 0, factor);
}

static void change_contrast(uint8_t *pixel, size_t n, int channels, float factor) {
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += channels == 1 ? pixel[i] : rt_grey(pixel + 3 * i);
    int mean = (int)((double)sum / (double)n + 0.5);
    blend_constant(pixel, n * (size_t)channels, mean, factor);
}

static void change_saturation(uint8_t *pixel, size_t n, int channels, float factor) {
    if (channels == 1)
        return;
    for (uint8_t *end = pixel + n * 3; pixel < end; pixel += 3) {
        int grey = rt_grey(pixel);
        for (int c = 0; c < 3; c++)
            pixel[c] = blend(grey, pixel[c], factor);
    }
}

static void flip_rows(uint8_t *pixel, int width, int height, int channels) {
    for (int y = 0; y < height; y++, pixel += (size_t)width * (size_t)channels)
        for (int a = 0, b = width - 1; a < b; a++, b--)
            for (int c = 0; c < channels; c++) {
                uint8_t t = pixel[a * channels + c];
                pixel[a * channels + c] = pixel[b * channels + c];
                pixel[b * channels + c] = t;
            }
}

// The box as an image of its own; shares the pixels where it is as wide as the image.
static bool cut_box(const RtAugmentPlan *plan, const RtImage *image, RtImage *box) {
    size_t ch = (size_t)image->channels, row = (size_t)plan->width * ch;
    size_t in_row = (size_t)image->width * ch;
    uint8_t *from = image->pixel + (size_t)plan->top * in_row + (size_t)plan->left * ch;
    *box = (RtImage){plan->width, plan->height, image->channels, 0, from};
    if (plan->width == image->width)
        return true;
    box->pixel = malloc(row * (size_t)plan->height);
    for (int y = 0; box->pixel && y < plan->height; y++)
        memcpy(box->pixel + (size_t)y * row, from + (size_t)y * in_row, row);
    return box->pixel != NULL;
}

bool rt_augment_pixels(const RtAugmentPlan *plan, const RtImage *image, uint8_t *pixel,
                       RtErr *err) {
    static void (*const change[RT_N_JITTERS])(uint8_t *, size_t, int, float) = {
        [RT_JITTER_BRIGHTNESS] = change_brightness,
        [RT_JITTER_CONTRAST] = change_contrast,
        [RT_JITTER_SATURATION] = change_saturation,
    };
    int w = plan->window.width, h = plan->window.height, ch = image->channels;
    RtImage box;
    bool good = cut_box(plan, image, &box) &&
                rt_resize_padded(&box, plan->filter, &plan->window, plan->fill, pixel);
    if (plan->width != image->width)
        free(box.pixel);
    if (!good)
        return rt_fail(err, "no memory to resize an image");
    if (plan->flip)
        flip_rows(pixel, w, h, ch);
    for (int i = 0; i < plan->n_jitters; i++)
        change[plan->jitter[i]](pixel, (size_t)w * (size_t)h, ch, plan->factor[i]);
    return true;
}

bool rt_augment(RtAugment kind, const HonePreprocess *p, const RtImage *image, uint64_t seed,
                int64_t epoch, int64_t item, float *out, RtErr *err) {
    RtAugmentPlan plan = rt_augment_plan(kind, p, image->width, image->height, seed, epoch, item);
    uint8_t *pixel = malloc((size_t)p->height * (size_t)p->width * (size_t)p->channels);
    bool good = pixel ? rt_augment_pixels(&plan, image, pixel, err)
                      : rt_fail(err, "no memory to resize an image");
    if (good)
        rt_preprocess_pixels(p, HONE_F32, pixel, out);
    free(pixel);
    return good;
}
