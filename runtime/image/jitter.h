// Pillow's ImageEnhance: Brightness, Contrast, Color. Private header.
#ifndef RUNTIME_IMAGE_JITTER_H
#define RUNTIME_IMAGE_JITTER_H

#include "runtime/image/image.h"

enum { RT_JITTER_BRIGHTNESS, RT_JITTER_CONTRAST, RT_JITTER_SATURATION, RT_N_JITTERS };

void rt_jitter_apply(int jitter, RtImage *image, float factor); // 1: no change
// Pillow's Image.blend: a at factor 0, b at factor 1.
uint8_t rt_jitter_blend(int a, int b, float factor);

#endif
