// Random erasing (Zhong et al., 2020): a box of an image becomes noise, as timm's and torchvision's
// RandomErasing. Private header.
#ifndef RUNTIME_IMAGE_ERASE_H
#define RUNTIME_IMAGE_ERASE_H

#include "runtime/core/rng.h"
#include "runtime/image/augment.h"

// With a->erase's probability, of the model's input x, scaled and normalized.
void rt_erase(const RtAugment *a, const HonePreprocess *p, RtRng *r, float *x);

#endif
