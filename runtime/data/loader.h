// Batches of preprocessed images, made ahead by threads of their own. Private header.
//
//   RtLoader *l = rt_loader_open(data, &options, &err);
//   rt_loader_seek(l, epoch, batch);               // only to resume, or to begin again
//   while ((b = rt_loader_next(l, &err))) { train on b; }     // NULL and !*err.text: the end
//   rt_loader_close(l);
//
// What a batch holds is a function of (data, options, epoch, index of the batch), whatever the
// number of threads. All functions are for one consuming thread.
#ifndef RUNTIME_DATA_LOADER_H
#define RUNTIME_DATA_LOADER_H

#include "runtime/data/dataset.h"

// Of each `of` batches of an epoch those from `from` up to `to`; of 0: all.
typedef struct RtLoaderShare {
    int64_t of, from, to;
} RtLoaderShare;
// The first of the share from `index` on; `batches`: there is none.
int64_t rt_loader_share_next(const RtLoaderShare *s, int64_t index, int64_t batches);

typedef struct RtLoaderOptions {
    const HonePreprocess *prep;
    int64_t batch;          // images a batch, at least 1; the last of an epoch may have fewer
    bool validation;        // which items: validation or training
    RtLoaderShare share;    // of the epoch's batches, which are made
    bool shuffle;           // by (seed, epoch); else in the order of the items
    RtAugment augment;      // by (seed, epoch, item)
    int map_height, map_width; // of the map of classes that an image has (RT_TARGET_MAP)
    int64_t augment_period; // 0, or: by (seed, epoch % augment_period, item); repeats on purpose
    RtViews views;          // of each image, without augmentation; one: as augment says
    uint64_t seed;
    int64_t epochs; // how many from 0 on, 0: without end. The next epoch is begun ahead
    int threads;    // 0: half of the CPUs, at least 1
    int ahead;      // batches made ahead, 0: 2
    // An image that cannot be read is left out, its batch has one fewer; each is named once, in a
    // call of rt_loader_next(), by the consumer's thread. May be NULL.
    void (*bad)(void *context, int64_t item, const char *line);
    void *context;
} RtLoaderOptions;

typedef struct RtBatch {  // valid until the next call of next, seek or close
    int64_t epoch, index; // batch `index` of rt_loader_batches() of the epoch
    int64_t n;            // 0 to batch; 0: none of its images could be read, there is no step
    float *images;        // [n][views] of the model's input, RT_ALIGN aligned
    int32_t *labels;      // [n], of maps [n][map_height][map_width], -1: none
    float *targets;       // [n][target_width], NULL where that is 0
    int64_t *items;       // [n]
    bool last;            // of its epoch
} RtBatch;

typedef struct RtLoaderStats {
    uint64_t wait_ns; // that rt_loader_next() waited for images
    int64_t images;   // delivered
    int64_t bad;      // items that could not be read, each counted once
} RtLoaderStats;

typedef struct RtLoader RtLoader;

// The data must outlive it. NULL with err set: no images in this part, no memory, no threads,
// augmentation of tensors. Its threads begin with the first call of next or seek.
RtLoader *rt_loader_open(const RtDataset *d, const RtLoaderOptions *o, RtErr *err);
void rt_loader_close(RtLoader *l); // at any time; NULL is fine

int64_t rt_loader_batches(const RtLoader *l); // in an epoch
// The next batch is `batch` (0 to batches; batches: the next epoch's first) of `epoch`.
void rt_loader_seek(RtLoader *l, int64_t epoch, int64_t batch);
// The next batch, in order. NULL: the end, err->text is empty; or, with err set, a whole epoch
// without one readable image.
const RtBatch *rt_loader_next(RtLoader *l, RtErr *err);
RtLoaderStats rt_loader_stats(const RtLoader *l);

#endif
