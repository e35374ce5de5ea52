// Masks: pictures whose pixels are numbers that mean classes, and what of one a model's input
// shows. Private header.
#ifndef RUNTIME_IMAGE_MASK_H
#define RUNTIME_IMAGE_MASK_H

#include "runtime/image/augment.h"

enum { RT_MASK_NONE = 255 }; // the pixel does not count, where nothing else is said of numbers

// What each number means: a class, or one of the others.
enum { RT_MASK_VOID = -1, RT_MASK_UNKNOWN = -2 };
enum { RT_MASK_TEXT = 200 }; // bytes of their text, at most
typedef struct RtMaskValues {
    int16_t to[256];
    bool named; // by a text
} RtMaskValues;

// "0,255" or "1-150,void": the numbers of the classes in order; void: all others do not count, as
// RT_MASK_NONE does where it is no class. NULL: each number is its class. False with err set.
bool rt_mask_values(const char *text, int classes, RtMaskValues *v, RtErr *err);

// Reads a PNG's numbers: of a palette or of grey, at most 8 bits. False with err set.
// rt_image_free() releases.
bool rt_mask_load(const char *path, RtImage *mask, RtErr *err);
bool rt_mask_decode(const char *path, const uint8_t *data, size_t size, RtImage *mask, RtErr *err);

// The classes of a map of height x width places over what the plan takes of a picture as large as
// the mask; to: [height][width], each what the number at the place's middle means (nearest
// neighbour), -1 where that does not count or no pixel lies. False with err set: a number is none
// of the classes'.
bool rt_mask_take(const char *path, const RtAugmentPlan *plan, const RtImage *mask,
                  const RtMaskValues *values, int height, int width, int32_t *to, RtErr *err);

#endif
