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
// out: [views][p->height * p->width * p->channels] of the model's input, of that type. False with
// err set: no memory.
bool rt_views(RtViews v, const HonePreprocess *p, int dtype, const RtImage *image, void *out,
              RtErr *err);
// Nothing of a square picture is left beside the crop: the corners are hardly other views.
bool rt_views_are_alike(RtViews v, const HonePreprocess *p);
#define RT_VIEWS_HELP                                                                              \
    "probabilities are the mean over views of each picture: its mirror image, the centre and the " \
    "corners of what is resized, both (default none)"

#endif
