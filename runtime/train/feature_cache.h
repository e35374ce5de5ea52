// Results of the frozen layers, kept: one row of floats per image (and variant of it). In memory,
// in a file that is gone when the process is, or in one that later runs find again. Private header.
#ifndef RUNTIME_TRAIN_FEATURE_CACHE_H
#define RUNTIME_TRAIN_FEATURE_CACHE_H

#include "runtime/core/rt.h"

typedef struct RtFeatureCache RtFeatureCache;

extern const char *const rt_feature_cache_files[]; // of a folder, for rt_outs_reserve()

// rows x row_floats, all missing. folder NULL: in memory. Else a file of that folder named after
// `key` (model, frozen parameters, preprocessing, data: 32 hex digits), whose rows are taken over
// where their checksums are right. NULL with err set.
RtFeatureCache *rt_feature_cache_open(const char *folder, const char *key, int64_t rows,
                                      int64_t row_floats, RtErr *err);
// In a file without a name on the disk of `folder`, of whose free space it may take half. NULL with
// err set: that is too little, or what lies there lies in memory.
RtFeatureCache *rt_feature_cache_open_unnamed(const char *folder, int64_t rows, int64_t row_floats,
                                              RtErr *err);
void rt_feature_cache_close(RtFeatureCache *c); // NULL is fine

// The row, until the next call; NULL while it is missing or its image is bad, and with err set when
// the file does not hold it any more.
const float *rt_feature_cache_row(const RtFeatureCache *c, int64_t row, RtErr *err);
// The same for several threads: a row that is not in memory is put in room, [row_floats].
const float *rt_feature_cache_read(const RtFeatureCache *c, int64_t row, float *room, RtErr *err);
// False with err set: it cannot be written.
bool rt_feature_cache_put(RtFeatureCache *c, int64_t row, const float *values, RtErr *err);
void rt_feature_cache_put_bad(RtFeatureCache *c, int64_t row); // no image: never missing again
// Are rows first to first + n - 1 all there (or bad)?
bool rt_feature_cache_complete(const RtFeatureCache *c, int64_t first, int64_t n);
int64_t rt_feature_cache_bytes(int64_t rows, int64_t row_floats); // that such a cache takes

#endif
