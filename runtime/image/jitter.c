// Changes of brightness, contrast and saturation as Pillow's ImageEnhance makes them: blends of
// 8-bit images in float that truncate.
#include "runtime/image/jitter.h"

uint8_t rt_jitter_blend(int a, int b, float factor) {
    float x = (float)a + factor * (float)(b - a);
    return (uint8_t)(x <= 0 ? 0 : x >= 255 ? 255 : x);
}

static void blend_constant(uint8_t *pixel, size_t bytes, int value, float factor) {
    uint8_t table[256];
    for (int i = 0; i < 256; i++)
        table[i] = rt_jitter_blend(value, i, factor);
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
            pixel[c] = rt_jitter_blend(grey, pixel[c], factor);
    }
}

void rt_jitter_apply(int jitter, RtImage *image, float factor) {
    static void (*const change[RT_N_JITTERS])(uint8_t *, size_t, int, float) = {
        [RT_JITTER_BRIGHTNESS] = change_brightness,
        [RT_JITTER_CONTRAST] = change_contrast,
        [RT_JITTER_SATURATION] = change_saturation,
    };
    change[jitter](image->pixel, (size_t)image->width * (size_t)image->height, image->channels,
                   factor);
}
