// Several views of one picture, whose scores are averaged: test-time augmentation. As torchvision's
// FiveCrop and TenCrop; the first view is what rt_preprocess() makes. Private header.
#ifndef RUNTIME_IMAGE_VIEWS_H
#define RUNTIME_IMAGE_VIEWS_H

#include "runtime/image/image.h"

typedef enum RtViews {
    RT_VIEWS_ONE,
    RT_VIEWS_FLIP,      // and its mirror image
    RT_VIEWS_FIVE_CROP, // the centre and the corners of the resized picture
    RT_VIEWS_TEN_CROP,  // and their mirror images
} RtViews;
#define RT_VIEWS_CHOICE "none|flip|five-crop|ten-crop"

bool rt_views_parse(const char *name, RtViews *v); // false: it is none of the choice's
int rt_views_count(RtViews v);
// out: [views][p->height * p->width * p->channels] of the model's f32 input. False with err set: no
// memory.
bool rt_views(RtViews v, const HonePreprocess *p, const RtImage *image, float *out, RtErr *err);

#endif
