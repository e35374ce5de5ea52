// Batches for training and validation, whether their images are decoded now or the frozen layers'
// results come from the cache. Private header.
#ifndef RUNTIME_TRAIN_SOURCE_H
#define RUNTIME_TRAIN_SOURCE_H

#include "runtime/train/feature_cache.h"
#include "runtime/data/loader.h"
#include "runtime/train/engine.h"
#include "runtime/train/mix.h"

typedef struct RtSourceOptions {
    int64_t batch;
    uint64_t seed;
    int workers; // that decode; 0: half of the CPUs
    RtAugment augment;
    RtMix mix;     // of training images
    RtViews views; // of validation images; more than one: nothing is cached
    int variants;  // of each training image, when augmented features are cached; 1 without
    void (*bad)(void *ctx, int64_t item, const char *line); // as RtLoaderOptions
    void *ctx;
} RtSourceOptions;

typedef struct RtFeed { // valid until the next call
    int64_t n, index;   // 0 images: no step
    bool last;
    const float *images;    // [n][views]; NULL where features are there
    float *const *features; // [n][views]; NULL: the network starts at the image
    const int32_t *labels;  // [n][places]
    const int32_t *labels2; // as many, and the share [n] of the first ones; NULL: nothing is mixed
    const float *mix;
    const float *targets;
    const int64_t *items;
    bool cached; // nothing was decoded for it
} RtFeed;

typedef struct RtSource RtSource;

// Over one part of the data, for the open stage of t. cache: rows as rt_source_row() numbers them,
// or NULL. All outlive the source. NULL with err set.
RtSource *rt_source_open(RtEngine *t, const RtDataset *d, bool validation, RtFeatureCache *cache,
                         const RtSourceOptions *o, RtErr *err);
void rt_source_close(RtSource *s); // NULL is fine

// From here on only a share of each epoch's batches comes, and features are computed in each, not
// cached: the others' are not here. rt_source_seek() follows.
void rt_source_share(RtSource *s, const RtLoaderShare *share);

const RtDataset *rt_source_data(const RtSource *s);
int rt_source_views(const RtSource *s); // of each image
int64_t rt_source_batches(const RtSource *s);
// Goes to batch `batch` of epoch `epoch`; training is shuffled by (seed, epoch).
bool rt_source_seek(RtSource *s, int64_t epoch, int64_t batch, RtErr *err);
// The next batch of the epoch. NULL after the last one, with err->text empty, or an error.
const RtFeed *rt_source_next(RtSource *s, RtErr *err);
uint64_t rt_source_wait_ns(const RtSource *s); // spent waiting for images

// The cache's rows: training items of variant 0, 1, ..., then validation. Of a part of a k-fold:
// by the place among all images, without variants, so that all parts have the same rows.
int64_t rt_source_rows(const RtDataset *d, int variants);
int64_t rt_source_row(const RtDataset *d, int variants, int64_t item, int64_t epoch);
int64_t rt_source_row_floats(const RtEngine *t); // features of one image, and of maps its labels

#endif
