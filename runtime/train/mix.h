// Mixup (Zhang et al., 2018) and cutmix (Yun et al., 2019) of a batch, as timm's in mode "batch":
// one strength for all, each image with the one opposite to it. Private header.
#ifndef RUNTIME_TRAIN_MIX_H
#define RUNTIME_TRAIN_MIX_H

#include "runtime/data/loader.h"

typedef struct RtMix {
    float mixup, cutmix;         // alpha of Beta(alpha, alpha); 0: none
    float probability, switches; // of mixing at all; of cutmix where both are there
    int map_height, map_width;   // of a network's map of classes, which is cut with its image; or 0
} RtMix;

static inline bool rt_mix_is_none(const RtMix *m) {
    return !(m->mixup > 0) && !(m->cutmix > 0);
}
// The batch in place, a function of (seed, its epoch, its index). width: of its targets, which are
// mixed too. other: as its labels, for image i the second one, or map; share: [n], of the first.
void rt_mix_batch(const RtMix *m, const HonePreprocess *p, uint64_t seed, int width, RtBatch *b,
                  int32_t *other, float *share);

#endif
