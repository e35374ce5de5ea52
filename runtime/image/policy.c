// The changes behind policy.h, on 8-bit pixels as Pillow makes them: affine maps by the nearest
// pixel in fixed point of 16 bits or by four in double precision, tables for what looks at one
// value, blends in float that truncate.
#include "runtime/image/policy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/image/jitter.h"

enum { FIXED = 16 };

// ---------------------------------------------------------------- affine maps

typedef struct Affine { // x of the source is a[0] x + a[1] y + a[2], y of it a[3] x + a[4] y + a[5]
    double a[6];
} Affine;

static int64_t fixed(double v) {
    return (int64_t)floor(v * (1 << FIXED) + 0.5);
}

// Each pixel of `to` from the one that it falls into; what falls outside stays.
static void map_nearest(const Affine *m, const RtImage *image, uint8_t *to) {
    const double *a = m->a;
    size_t ch = (size_t)image->channels, w = (size_t)image->width;
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
}

static int clip(int i, int n) {
    return i < 0 ? 0 : i < n ? i : n - 1;
}

// The colour between the centres of four pixels; those beyond the edge are the edge's.
static void blend_four(const RtImage *im, double x, double y, uint8_t *to) {
    int ch = im->channels, left = (int)floor(x - 0.5), top = (int)floor(y - 0.5);
    double dx = x - 0.5 - left, dy = y - 0.5 - top;
    const uint8_t *row[2];
    for (int k = 0; k < 2; k++)
        row[k] = im->pixel + (size_t)clip(top + k, im->height) * (size_t)im->width * (size_t)ch;
    int a = clip(left, im->width) * ch, b = clip(left + 1, im->width) * ch;
    for (int c = 0; c < ch; c++) {
        double v[2];
        for (int k = 0; k < 2; k++)
            v[k] = row[k][a + c] + (row[k][b + c] - row[k][a + c]) * dx;
        to[c] = (uint8_t)(v[0] + (v[1] - v[0]) * dy);
    }
}

static void map_smooth(const Affine *m, const RtImage *im, uint8_t *to) {
    const double *a = m->a;
    for (int y = 0; y < im->height; y++)
        for (int x = 0; x < im->width; x++, to += im->channels) {
            double from_x = a[0] * (x + 0.5) + a[1] * (y + 0.5) + a[2];
            double from_y = a[3] * (x + 0.5) + a[4] * (y + 0.5) + a[5];
            if (from_x >= 0 && from_x < im->width && from_y >= 0 && from_y < im->height)
                blend_four(im, from_x, from_y, to);
        }
}

static bool map_pixels(const Affine *m, const RtPolicy *p, RtImage *image, RtErr *err) {
    size_t ch = (size_t)image->channels, n = (size_t)image->width * (size_t)image->height;
    uint8_t *to = malloc(n * ch + 1);
    if (!to)
        return rt_fail(err, "no memory to augment an image");
    for (size_t i = 0; i < n; i++)
        memcpy(to + i * ch, p->fill, ch);
    (p->smooth ? map_smooth : map_nearest)(m, image, to);
    memcpy(image->pixel, to, n * ch);
    free(to);
    return true;
}

// About the centre, counterclockwise, in degrees.
static Affine rotation(double degrees, int width, int height) {
    double t = -degrees * 3.14159265358979323846 / 180, cx = width / 2.0, cy = height / 2.0;
    double c = cos(t), s = sin(t);
    return (Affine){{c, s, -cx * c - cy * s + cx, -s, c, cx * s - cy * c + cy}};
}

static Affine affine_of(const RtPolicy *p, int width, int height) {
    double v = p->how_far, whole = p->smooth ? v : trunc(v);
    switch (p->op) {
    case RT_POLICY_SHEAR_X:
        return (Affine){{1, v, 0, 0, 1, 0}};
    case RT_POLICY_SHEAR_Y:
        return (Affine){{1, 0, 0, v, 1, 0}};
    case RT_POLICY_TRANSLATE_X:
        return (Affine){{1, 0, -whole, 0, 1, 0}};
    case RT_POLICY_TRANSLATE_Y:
        return (Affine){{1, 0, 0, 0, 1, -whole}};
    default:
        return rotation(v, width, height);
    }
}

static bool moves(const RtPolicy *p) {
    return p->op >= RT_POLICY_SHEAR_X && p->op <= RT_POLICY_ROTATE;
}

bool rt_policy_place(const RtPolicy *p, int width, int height, double *x, double *y) {
    if (!moves(p))
        return true;
    Affine m = affine_of(p, width, height);
    double from_x = m.a[0] * *x + m.a[1] * *y + m.a[2], from_y = m.a[3] * *x + m.a[4] * *y + m.a[5];
    *x = from_x;
    *y = from_y;
    return from_x >= 0 && from_y >= 0 && from_x < width && from_y < height;
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

static void invert(uint8_t *table, const uint32_t *seen, double unused) {
    (void)seen, (void)unused;
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)(255 - i);
}

// The darker half gets lighter.
static void solarize_add(uint8_t *table, const uint32_t *seen, double more) {
    (void)seen;
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)(i >= 128 ? i : i + more > 255 ? 255 : i + more);
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
        [RT_POLICY_INVERT] = invert,
        [RT_POLICY_SOLARIZE_ADD] = solarize_add,
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
        Affine m = affine_of(p, image->width, image->height);
        return map_pixels(&m, p, image, err);
    }
    return true;
}
