// Masks: pictures whose pixels are numbers of classes, and what of one a model's input shows.
// Private header.
#ifndef RUNTIME_IMAGE_MASK_H
#define RUNTIME_IMAGE_MASK_H

#include "runtime/image/augment.h"

enum { RT_MASK_NONE = 255 }; // the pixel does not count

// Reads a PNG's numbers: of a palette or of grey, at most 8 bits. False with err set.
// rt_image_free() releases.
bool rt_mask_load(const char *path, RtImage *mask, RtErr *err);

// The classes of a map of height x width places over what the plan takes of a picture as large as
// the mask; to: [height][width], each the number at the place's middle (nearest neighbour), -1
// where that is RT_MASK_NONE or no pixel lies. False with err set: a number is none of `classes`.
bool rt_mask_take(const char *path, const RtAugmentPlan *plan, const RtImage *mask, int classes,
                  int height, int width, int32_t *to, RtErr *err);

#endif
