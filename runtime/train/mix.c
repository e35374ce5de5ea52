// Mixing in place: image i and n - 1 - i at once; the one in the middle stays. See mix.h.
#include "runtime/train/mix.h"

#include "runtime/core/rng.h"

#include <math.h>
#include <string.h>

// Marsaglia and Tsang, A Simple Method for Generating Gamma Variables, 2000.
static double gamma_of(RtRng *r, double a) {
    double boost = a < 1 ? pow(1 - rt_rng_uniform(r), 1 / a) : 1;
    double d = (a < 1 ? a + 1 : a) - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = rt_rng_normal(r), v = 1 + c * x;
        v = v * v * v;
        if (v > 0 && log(1 - rt_rng_uniform(r)) < 0.5 * x * x + d - d * v + d * log(v))
            return boost * d * v;
    }
}

static double beta_of(RtRng *r, double a) {
    double x = gamma_of(r, a), y = gamma_of(r, a);
    return x + y > 0 ? x / (x + y) : 0.5;
}

static void blend(float *restrict a, float *restrict b, int64_t n, float share) {
    for (int64_t i = 0; i < n; i++) {
        float x = a[i], y = b[i];
        a[i] = x * share + y * (1 - share);
        b[i] = y * share + x * (1 - share);
    }
}

typedef struct Box {
    int left, right, top, bottom;
} Box;

static int clip(double v, int most) {
    return v < 0 ? 0 : v > most ? most : (int)v;
}

// About a random centre, a share 1 - *share of the area, cut off at the edges: *share is what is
// left.
static Box draw_box(RtRng *r, const HonePreprocess *p, double *share) {
    double ratio = sqrt(1 - *share), w = floor(p->width * ratio), h = floor(p->height * ratio);
    double x = (double)rt_rng_below(r, p->width), y = (double)rt_rng_below(r, p->height);
    Box b = {clip(x - floor(w / 2), p->width), clip(x + floor(w / 2), p->width),
             clip(y - floor(h / 2), p->height), clip(y + floor(h / 2), p->height)};
    double area = (double)(b.right - b.left) * (b.bottom - b.top);
    *share = 1 - area / ((double)p->width * p->height);
    return b;
}

static void swap_box(float *a, float *b, const HonePreprocess *p, const Box *box) {
    int64_t ch = p->channels, plane = (int64_t)p->width * p->height;
    for (int64_t c = 0; c < ch; c++)
        for (int y = box->top; y < box->bottom; y++)
            for (int x = box->left; x < box->right; x++) {
                int64_t at = (int64_t)y * p->width + x, k = p->nhwc ? at * ch + c : c * plane + at;
                float t = a[k];
                a[k] = b[k];
                b[k] = t;
            }
}

// The same of the classes of a map's places, by their middles.
static void swap_places(int32_t *a, int32_t *b, const RtMix *m, const HonePreprocess *p,
                        const Box *box) {
    for (int64_t y = 0; y < m->map_height; y++)
        for (int64_t x = 0; x < m->map_width; x++) {
            double at_x = ((double)x + 0.5) * p->width / m->map_width;
            double at_y = ((double)y + 0.5) * p->height / m->map_height;
            if (at_x < box->left || at_x >= box->right || at_y < box->top || at_y >= box->bottom)
                continue;
            int32_t t = a[y * m->map_width + x];
            a[y * m->map_width + x] = b[y * m->map_width + x];
            b[y * m->map_width + x] = t;
        }
}

void rt_mix_batch(const RtMix *m, const HonePreprocess *p, uint64_t seed, int width, RtBatch *b,
                  int32_t *other, float *share) {
    RtRng r = rt_rng(seed, b->epoch, b->index, RT_RNG_MIX);
    int64_t floats = (int64_t)p->width * p->height * p->channels;
    int64_t map = (int64_t)m->map_height * m->map_width, places = map ? map : 1;
    bool mixes = rt_rng_uniform(&r) < (double)m->probability;
    bool cuts = m->cutmix > 0 && (!(m->mixup > 0) || rt_rng_uniform(&r) < (double)m->switches);
    double left = mixes ? beta_of(&r, (double)(cuts ? m->cutmix : m->mixup)) : 1;
    Box box = {0};
    if (mixes && cuts)
        box = draw_box(&r, p, &left);
    for (int64_t i = 0, k = b->n - 1; mixes && i < k; i++, k--) {
        float *x = b->images + i * floats, *y = b->images + k * floats;
        if (cuts)
            swap_box(x, y, p, &box);
        else
            blend(x, y, floats, (float)left);
        if (width)
            blend(b->targets + i * width, b->targets + k * width, width, (float)left);
        if (map && cuts)
            swap_places(b->labels + i * places, b->labels + k * places, m, p, &box);
    }
    bool alone = map && cuts; // each place has one label still
    for (int64_t i = 0; i < b->n; i++) {
        int64_t k = alone ? i : b->n - 1 - i;
        memcpy(other + i * places, b->labels + k * places, (size_t)places * sizeof *other);
        share[i] = alone ? 1 : (float)left;
    }
}
