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
#include "runtime/image/erase.h"

static const char *const augment_names[] = {"none", "light", "imagenet"};

bool rt_augment_parse(const char *name, RtAugmentKind *kind) {
    for (int i = 0; i <= RT_AUGMENT_IMAGENET; i++)
        if (strcmp(name, augment_names[i]) == 0) {
            *kind = (RtAugmentKind)i;
            return true;
        }
    return false;
}

const char *rt_augment_name(RtAugmentKind kind) {
    return augment_names[kind];
}

bool rt_augment_is_none(const RtAugment *a) {
    return a->kind == RT_AUGMENT_NONE && a->policies.kind == RT_POLICIES_NONE && !(a->erase > 0);
}

const char *rt_augment_text(const RtAugment *a, char text[RT_AUGMENT_TEXT]) {
    const size_t size = RT_AUGMENT_TEXT;
    static const char *const how[] = {"pixel", "rand", "const"};
    char policies[RT_POLICIES_TEXT];
    bool changes = a->policies.kind != RT_POLICIES_NONE;
    int n = snprintf(text, size, "%s%s%s", rt_augment_name(a->kind), changes ? "," : "",
                     changes ? rt_policies_text(&a->policies, policies) : "");
    if (a->scale[1] > 0)
        n += snprintf(text + n, size - (size_t)n, ",scale:%g-%g", a->scale[0], a->scale[1]);
    if (a->ratio[1] > 0)
        n += snprintf(text + n, size - (size_t)n, ",ratio:%g-%g", a->ratio[0], a->ratio[1]);
    if (a->filter)
        n += snprintf(text + n, size - (size_t)n, ",%s", rt_resize_name(a->filter - 1));
    if (a->erase > 0)
        snprintf(text + n, size - (size_t)n, ",erase:%g-%s", (double)a->erase, how[a->how]);
    return text;
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
static void draw_box(RtRng *r, const RtAugment *a, RtAugmentPlan *plan, int width, int height) {
    bool scales = a->scale[1] > 0, turns = a->ratio[1] > 0;
    const double low = scales ? a->scale[0] : 0.08, high = scales ? a->scale[1] : 1.0;
    const double ratio_low = turns ? a->ratio[0] : 3.0 / 4.0;
    const double ratio_high = turns ? a->ratio[1] : 4.0 / 3.0;
    for (int i = 0; i < 10; i++) {
        double area = (double)width * height * rt_rng_between(r, low, high);
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

// Around what is moved is the colour that becomes 0.
static void draw_policies(const RtAugment *a, const HonePreprocess *p, RtRng own,
                          RtAugmentPlan *plan) {
    uint8_t mean[3];
    for (int c = 0; c < 3; c++) {
        int m = p->channels == 1 ? 0 : p->bgr ? 2 - c : c;
        double v = rint((double)p->mean[m] / (double)p->scale);
        mean[c] = (uint8_t)(v > 0 ? v < 255 ? v : 255 : 0);
    }
    plan->n_policies =
        rt_policies_draw(&a->policies, p->width, p->height, mean, &own, plan->policy);
}

RtAugmentPlan rt_augment_plan(const RtAugment *a, const HonePreprocess *p, int width, int height,
                              uint64_t seed, int64_t epoch, int64_t item) {
    RtRng r = rt_rng(seed, epoch, item, RT_RNG_AUGMENT);
    RtAugmentPlan plan = {.width = width,
                          .height = height,
                          .window = rt_preprocess_window(p, width, height),
                          .filter = p->interpolation,
                          .fill = rt_preprocess_fill(p)};
    draw_policies(a, p, rt_rng(seed, epoch, item, RT_RNG_POLICY), &plan);
    if (a->kind == RT_AUGMENT_NONE)
        return plan;
    plan.flip = rt_rng_uniform(&r) < 0.5;
    if (a->kind == RT_AUGMENT_LIGHT) {
        plan.window.left = draw_start(&r, plan.window.full_width, p->width);
        plan.window.top = draw_start(&r, plan.window.full_height, p->height);
    } else {
        draw_box(&r, a, &plan, width, height);
        plan.filter = a->filter ? a->filter - 1 : plan.filter;
        draw_jitter(&r, &plan);
        plan.window = (RtWindow){p->width, p->height, 0, 0, p->width, p->height};
    }
    return plan;
}

// ---- pixels

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
    int w = plan->window.width, h = plan->window.height, ch = image->channels;
    RtImage box;
    bool good = cut_box(plan, image, &box) &&
                rt_resize_padded(&box, plan->filter, &plan->window, plan->fill, pixel);
    if (plan->width != image->width)
        free(box.pixel);
    if (!good)
        return rt_fail(err, "no memory to resize an image");
    RtImage made = {w, h, ch, 0, pixel};
    if (plan->flip)
        rt_image_mirror(&made);
    for (int i = 0; i < plan->n_jitters; i++)
        rt_jitter_apply(plan->jitter[i], &made, plan->factor[i]);
    for (int i = 0; i < plan->n_policies && good; i++)
        good = rt_policy_apply(&plan->policy[i], &made, err);
    return good;
}

bool rt_augment_planned(const RtAugment *a, const HonePreprocess *p, const RtAugmentPlan *plan,
                        const RtImage *image, uint64_t seed, int64_t epoch, int64_t item,
                        float *out, RtErr *err) {
    uint8_t *pixel = malloc((size_t)p->height * (size_t)p->width * (size_t)p->channels);
    bool good = pixel ? rt_augment_pixels(plan, image, pixel, err)
                      : rt_fail(err, "no memory to resize an image");
    if (good) {
        RtRng own = rt_rng(seed, epoch, item, RT_RNG_ERASE);
        rt_preprocess_pixels(p, HONE_F32, pixel, out);
        rt_erase(a, p, &own, out);
    }
    free(pixel);
    return good;
}

bool rt_augment(const RtAugment *a, const HonePreprocess *p, const RtImage *image, uint64_t seed,
                int64_t epoch, int64_t item, float *out, RtErr *err) {
    RtAugmentPlan plan = rt_augment_plan(a, p, image->width, image->height, seed, epoch, item);
    return rt_augment_planned(a, p, &plan, image, seed, epoch, item, out, err);
}
