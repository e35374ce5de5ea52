// The changes behind policy.h, on 8-bit pixels as Pillow makes them: affine maps by the nearest
// pixel in fixed point of 16 bits, tables for what looks at one value, blends in float that
// truncate.
#include "runtime/image/policy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/image/jitter.h"

enum { STRENGTHS = 31, FIXED = 16 };

// ---------------------------------------------------------------- choices

static const struct {
    double from, to; // linear in the strength
    bool is_signed;
} ranges[RT_N_POLICIES] = {
    [RT_POLICY_SHEAR_X] = {0, 0.99, true},   [RT_POLICY_SHEAR_Y] = {0, 0.99, true},
    [RT_POLICY_TRANSLATE_X] = {0, 32, true}, [RT_POLICY_TRANSLATE_Y] = {0, 32, true},
    [RT_POLICY_ROTATE] = {0, 135, true},     [RT_POLICY_BRIGHTNESS] = {0, 0.99, true},
    [RT_POLICY_COLOR] = {0, 0.99, true},     [RT_POLICY_CONTRAST] = {0, 0.99, true},
    [RT_POLICY_SHARPNESS] = {0, 0.99, true}, [RT_POLICY_POSTERIZE] = {8, 2, false},
    [RT_POLICY_SOLARIZE] = {255, 0, false},
};

RtPolicy rt_policy_draw(RtRng *r) {
    int op = (int)rt_rng_below(r, RT_N_POLICIES);
    int strength = (int)rt_rng_below(r, STRENGTHS);
    bool back = rt_rng_uniform(r) < 0.5;
    double x = ranges[op].from + (ranges[op].to - ranges[op].from) * strength / (STRENGTHS - 1);
    if (op == RT_POLICY_POSTERIZE)
        x = 8 - rint((double)strength / ((STRENGTHS - 1) / 6.0));
    return (RtPolicy){op, ranges[op].is_signed && back ? -x : x};
}

// ---------------------------------------------------------------- affine maps

typedef struct Affine { // x of the source is a[0] x + a[1] y + a[2], y of it a[3] x + a[4] y + a[5]
    double a[6];
} Affine;

static int64_t fixed(double v) {
    return (int64_t)floor(v * (1 << FIXED) + 0.5);
}

static bool map_pixels(const Affine *m, RtImage *image, RtErr *err) {
    const double *a = m->a;
    size_t ch = (size_t)image->channels, w = (size_t)image->width;
    uint8_t *to = calloc(w * (size_t)image->height, ch);
    if (!to)
        return rt_fail(err, "no memory to augment an image");
    int64_t x0 = fixed(a[2] + a[0] * 0.5 + a[1] * 0.5), y0 = fixed(a[5] + a[3] * 0.5 + a[4] * 0.5);
    for (int y = 0; y < image->height; y++, x0 += fixed(a[1]), y0 += fixed(a[4])) {
        int64_t xx = x0, yy = y0;
        for (size_t x = 0; x < w; x++, xx += fixed(a[0]), yy += fixed(a[3])) {
            int64_t from_x = xx >> FIXED, from_y = yy >> FIXED;
            if (from_x >= 0 && from_x < image->width && from_y >= 0 && from_y < image->height)
                memcpy(to + ((size_t)y * w + x) * ch,
                       image->pixel + ((size_t)from_y * w + (size_t)from_x) * ch, ch);
        }
    }
    memcpy(image->pixel, to, w * (size_t)image->height * ch);
    free(to);
    return true;
}

// About the centre, counterclockwise, in degrees.
static Affine rotation(double degrees, int width, int height) {
    double t = -degrees * 3.14159265358979323846 / 180, cx = width / 2.0, cy = height / 2.0;
    double c = cos(t), s = sin(t);
    return (Affine){{c, s, -cx * c - cy * s + cx, -s, c, cx * s - cy * c + cy}};
}

static Affine affine_of(const RtPolicy *p, const RtImage *image) {
    double v = p->how_far;
    switch (p->op) {
    case RT_POLICY_SHEAR_X:
        return (Affine){{1, v, 0, 0, 1, 0}};
    case RT_POLICY_SHEAR_Y:
        return (Affine){{1, 0, 0, v, 1, 0}};
    case RT_POLICY_TRANSLATE_X:
        return (Affine){{1, 0, -trunc(v), 0, 1, 0}};
    case RT_POLICY_TRANSLATE_Y:
        return (Affine){{1, 0, 0, 0, 1, -trunc(v)}};
    default:
        return rotation(v, image->width, image->height);
    }
}

// ---------------------------------------------------------------- tables

static void posterize(uint8_t *table, const uint32_t *seen, double bits) {
    (void)seen;
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)(i & ~((1 << (8 - (int)bits)) - 1));
}

static void solarize(uint8_t *table, const uint32_t *seen, double threshold) {
    (void)seen;
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)(i < threshold ? i : 255 - i);
}

static void auto_contrast(uint8_t *table, const uint32_t *seen, double unused) {
    int low = 0, high = 255;
    (void)unused;
    while (low < 255 && !seen[low])
        low++;
    while (high > 0 && !seen[high])
        high--;
    double scale = high > low ? 255.0 / (high - low) : 1, offset = high > low ? -low * scale : 0;
    for (int i = 0; i < 256; i++) {
        double v = trunc(i * scale + offset);
        table[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

static void equalize(uint8_t *table, const uint32_t *seen, double unused) {
    uint64_t all = 0, last = 0;
    int values = 0;
    (void)unused;
    for (int i = 0; i < 256; i++) {
        all += seen[i];
        values += seen[i] > 0;
        last = seen[i] ? seen[i] : last;
    }
    uint64_t step = (all - last) / 255, n = step / 2;
    for (int i = 0; i < 256; i++) {
        uint64_t v = step ? n / step : 0;
        table[i] = (uint8_t)(values <= 1 || !step ? (uint64_t)i : v < 255 ? v : 255);
        n += seen[i];
    }
}

static void change_values(RtImage *image, double how_far,
                          void (*make)(uint8_t *, const uint32_t *, double)) {
    size_t ch = (size_t)image->channels, n = (size_t)image->width * (size_t)image->height;
    for (size_t c = 0; c < ch; c++) {
        uint32_t seen[256] = {0};
        uint8_t table[256];
        for (size_t i = 0; i < n; i++)
            seen[image->pixel[i * ch + c]]++;
        make(table, seen, how_far);
        for (size_t i = 0; i < n; i++)
            image->pixel[i * ch + c] = table[image->pixel[i * ch + c]];
    }
}

// ---------------------------------------------------------------- sharpness

// Pillow's SMOOTH: the neighbours and five times the pixel, over 13; the border stays.
static uint8_t smooth_at(const RtImage *im, const uint8_t *pixel, int x, int y, int c) {
    int ch = im->channels, row = im->width * ch, at = y * row + x * ch + c;
    if (x == 0 || y == 0 || x == im->width - 1 || y == im->height - 1)
        return pixel[at];
    int sum = 4 * pixel[at];
    for (int dy = -1; dy <= 1; dy++)
        for (int dx = -1; dx <= 1; dx++)
            sum += pixel[at + dy * row + dx * ch];
    return (uint8_t)((float)sum / 13 + 0.5f);
}

static bool sharpen(RtImage *im, float factor, RtErr *err) {
    size_t bytes = (size_t)im->width * (size_t)im->height * (size_t)im->channels;
    uint8_t *from = malloc(bytes + 1);
    if (!from)
        return rt_fail(err, "no memory to augment an image");
    memcpy(from, im->pixel, bytes);
    uint8_t *to = im->pixel;
    for (int y = 0; y < im->height; y++)
        for (int x = 0; x < im->width; x++)
            for (int c = 0; c < im->channels; c++, to++)
                *to = rt_jitter_blend(smooth_at(im, from, x, y, c), *to, factor);
    free(from);
    return true;
}

// ---------------------------------------------------------------- all of them

bool rt_policy_apply(const RtPolicy *p, RtImage *image, RtErr *err) {
    static void (*const tables[RT_N_POLICIES])(uint8_t *, const uint32_t *, double) = {
        [RT_POLICY_POSTERIZE] = posterize,
        [RT_POLICY_SOLARIZE] = solarize,
        [RT_POLICY_AUTO_CONTRAST] = auto_contrast,
        [RT_POLICY_EQUALIZE] = equalize,
    };
    static const int jitters[RT_N_POLICIES] = {
        [RT_POLICY_BRIGHTNESS] = RT_JITTER_BRIGHTNESS + 1,
        [RT_POLICY_COLOR] = RT_JITTER_SATURATION + 1,
        [RT_POLICY_CONTRAST] = RT_JITTER_CONTRAST + 1,
    };
    if (p->op == RT_POLICY_IDENTITY)
        return true;
    if (tables[p->op])
        change_values(image, p->how_far, tables[p->op]);
    else if (jitters[p->op])
        rt_jitter_apply(jitters[p->op] - 1, image, (float)(1 + p->how_far));
    else if (p->op == RT_POLICY_SHARPNESS)
        return sharpen(image, (float)(1 + p->how_far), err);
    else {
        Affine m = affine_of(p, image);
        return map_pixels(&m, image, err);
    }
    return true;
}
