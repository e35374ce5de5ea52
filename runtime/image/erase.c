// The box: a share of the area from 0.02 to a third, a ratio of sides from 0.3 to 1 / 0.3, ten
// tries. What it becomes: 0 (the mean), one normal number for each channel, or one for each pixel.
#include "runtime/image/erase.h"

#include <math.h>

enum { TRIES = 10 };

typedef struct Box {
    int left, top, width, height;
} Box;

static bool draw_box(RtRng *r, const HonePreprocess *p, Box *b) {
    double area = (double)p->width * p->height;
    for (int i = 0; i < TRIES; i++) {
        double share = area * rt_rng_between(r, 0.02, 1.0 / 3);
        double ratio = exp(rt_rng_between(r, log(0.3), log(1 / 0.3)));
        b->height = (int)rint(sqrt(share * ratio));
        b->width = (int)rint(sqrt(share / ratio));
        if (b->width >= 1 && b->height >= 1 && b->width < p->width && b->height < p->height) {
            b->top = (int)rt_rng_below(r, p->height - b->height + 1);
            b->left = (int)rt_rng_below(r, p->width - b->width + 1);
            return true;
        }
    }
    return false;
}

void rt_erase(const RtAugment *a, const HonePreprocess *p, RtRng *r, float *x) {
    Box b;
    if (!(a->erase > 0) || rt_rng_uniform(r) >= (double)a->erase || !draw_box(r, p, &b))
        return;
    size_t ch = (size_t)p->channels, plane = (size_t)p->width * (size_t)p->height;
    for (size_t c = 0; c < ch; c++) {
        float one = a->how == RT_ERASE_RAND ? (float)rt_rng_normal(r) : 0;
        for (int y = b.top; y < b.top + b.height; y++)
            for (int k = b.left; k < b.left + b.width; k++) {
                size_t at = (size_t)y * (size_t)p->width + (size_t)k;
                x[p->nhwc ? at * ch + c : c * plane + at] =
                    a->how == RT_ERASE_PIXEL ? (float)rt_rng_normal(r) : one;
            }
    }
}
