// From decoded pixels to a model's input with the random changes of training, equal to
// torchvision's transforms over Pillow images for the same random choices. Private header.
//
//   none      the evaluation transform: Resize(shorter side), CenterCrop
//   light     Resize, RandomCrop (with black padding where the resized image is hardly larger than
//             the crop), RandomHorizontalFlip
//   imagenet  RandomResizedCrop(scale 0.08..1, ratio 3/4..4/3), RandomHorizontalFlip,
//             ColorJitter(0.4, 0.4, 0.4)
// then, where they are asked for, changes of TrivialAugment or RandAugment (policy.h); scaling,
// mean and deviation, layout as HonePreprocess says; random erasing (erase.h).
#ifndef RUNTIME_IMAGE_AUGMENT_H
#define RUNTIME_IMAGE_AUGMENT_H

#include "runtime/image/jitter.h"
#include "runtime/image/policy.h"

typedef enum RtAugmentKind { RT_AUGMENT_NONE, RT_AUGMENT_LIGHT, RT_AUGMENT_IMAGENET } RtAugmentKind;

typedef enum RtErase { RT_ERASE_PIXEL, RT_ERASE_RAND, RT_ERASE_CONST } RtErase; // timm's words

enum { RT_AUGMENT_TEXT = 256 };
typedef struct RtAugment { // all zero: none
    RtAugmentKind kind;
    RtPolicies policies; // TrivialAugment, RandAugment
    int filter;   // HONE_RESIZE_* + 1, of imagenet's boxes; 0: the preprocessing's
    double scale[2],
        ratio[2]; // of those, from and to: share of the area, width by height; 0: above
    float erase;  // probability
    RtErase how;
} RtAugment;

// "none", "light", "imagenet".
bool rt_augment_parse(const char *name, RtAugmentKind *kind);
const char *rt_augment_name(RtAugmentKind kind);
bool rt_augment_is_none(const RtAugment *a);
// All of it in a few words: "imagenet,ta_wide,erase:0.25-pixel". Returns text.
const char *rt_augment_text(const RtAugment *a, char text[RT_AUGMENT_TEXT]);

// All choices for one image. Of the box (left, top, width, height) of the image, its window
// `window` after resizing the box to full_width x full_height is taken.
typedef struct RtAugmentPlan {
    int left, top, width, height; // box in the image
    RtWindow window;              // of the resized box; what lies outside it is `fill`
    int filter;                   // that resizes it, HONE_RESIZE_*
    uint8_t fill;
    bool flip;                  // left to right
    int n_jitters;              // 0 or RT_N_JITTERS
    int jitter[RT_N_JITTERS];   // RT_JITTER_*, in the order they are applied
    float factor[RT_N_JITTERS]; // 1: no change
    int n_policies;
    RtPolicy policy[RT_MAX_POLICIES]; // in the order they are applied
} RtAugmentPlan;

// The choices for an image of width x height: a function of (seed, epoch, item).
RtAugmentPlan rt_augment_plan(const RtAugment *a, const HonePreprocess *p, int width, int height,
                              uint64_t seed, int64_t epoch, int64_t item);
// Carries them out. pixel: [p->height][p->width][image->channels]. False with err set: no memory.
bool rt_augment_pixels(const RtAugmentPlan *plan, const RtImage *image, uint8_t *pixel, RtErr *err);
// The plan, to one image of the model's f32 input: p->height * p->width * p->channels floats.
bool rt_augment_planned(const RtAugment *a, const HonePreprocess *p, const RtAugmentPlan *plan,
                        const RtImage *image, uint64_t seed, int64_t epoch, int64_t item,
                        float *out, RtErr *err);
// Choices and all.
bool rt_augment(const RtAugment *a, const HonePreprocess *p, const RtImage *image, uint64_t seed,
                int64_t epoch, int64_t item, float *out, RtErr *err);
#endif
