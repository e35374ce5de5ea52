// Which features a run keeps, and where. Private header.
#ifndef RUNTIME_TRAIN_CACHED_H
#define RUNTIME_TRAIN_CACHED_H

#include "runtime/train/run.h"

bool rt_cached_changes_images(const RtRun *r); // their features are new in every epoch
int rt_cached_variants(const RtRun *r);        // of each image that are kept, at least 1
// Bytes of memory that features may take, and again what works on them.
int64_t rt_cached_room(const RtRun *r);
// r->cache for the open stage, where it has features to keep and they have a place: NULL is said.
// False with r->err set.
bool rt_cached_open(RtRun *r, int stage);
// One for this process: in memory where there is room for it, else in a file of a folder that the
// run writes to, *where, in memory NULL. NULL with err set: nowhere.
RtFeatureCache *rt_cached_make(const RtRun *r, int64_t rows, int64_t row_floats, char **where,
                               RtErr *err);

#endif
