// TrivialAugment (Müller and Hutter, 2021), as torchvision's TrivialAugmentWide: one change of an
// image, drawn with its strength. Private header.
#ifndef RUNTIME_IMAGE_POLICY_H
#define RUNTIME_IMAGE_POLICY_H

#include "runtime/core/rng.h"
#include "runtime/image/image.h"

enum { // in torchvision's order
    RT_POLICY_IDENTITY,
    RT_POLICY_SHEAR_X,
    RT_POLICY_SHEAR_Y,
    RT_POLICY_TRANSLATE_X,
    RT_POLICY_TRANSLATE_Y,
    RT_POLICY_ROTATE,
    RT_POLICY_BRIGHTNESS,
    RT_POLICY_COLOR,
    RT_POLICY_CONTRAST,
    RT_POLICY_SHARPNESS,
    RT_POLICY_POSTERIZE,
    RT_POLICY_SOLARIZE,
    RT_POLICY_AUTO_CONTRAST,
    RT_POLICY_EQUALIZE,
    RT_N_POLICIES
};

typedef struct RtPolicy {
    int op;         // RT_POLICY_*
    double how_far; // as torchvision's magnitude, signed
} RtPolicy;

RtPolicy rt_policy_draw(RtRng *r);
// Pixels [height][width][channels] of 1 or 3 channels; what comes from outside is black. False with
// err set: no memory.
bool rt_policy_apply(const RtPolicy *p, RtImage *image, RtErr *err);

#endif
