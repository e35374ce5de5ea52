// The sources of the open stage: batches of training and validation, and where they are kept, the
// features of its frozen layers.
#include "runtime/train/run.h"

#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "runtime/core/text.h"

enum { CACHE_SHARE = 2 }; // of the memory that is free, one in so many parts may hold features

static int cache_variants(const RtRun *r) {
    return r->set->variants > 0 ? r->set->variants : 1;
}

bool rt_run_changes_images(const RtRun *r) {
    const RtTrainSettings *s = r->set;
    return !rt_mix_is_none(&s->mix) ||
           (!rt_augment_is_none(&s->augment) && s->variants == 0 && !r->data->tensors);
}

static bool wants_cache(const RtRun *r) {
    return r->set->cache != RT_CACHE_OFF && rt_engine_n_features(r->engine) > 0 &&
           !rt_run_changes_images(r);
}

// Everything that features depend on.
static void make_cache_key(const RtRun *r, int stage, char key[33]) {
    XXH3_state_t *h = XXH3_createState();
    int variants = cache_variants(r);
    uint64_t frozen = rt_engine_frozen_hash(r->engine, stage);
    XXH3_128bits_reset(h);
    XXH3_128bits_update(h, r->key_model, strlen(r->key_model));
    XXH3_128bits_update(h, r->d->stages[stage].features.model->name,
                        strlen(r->d->stages[stage].features.model->name));
    XXH3_128bits_update(h, &frozen, sizeof frozen);
    XXH3_128bits_update(h, r->data->fingerprint, strlen(r->data->fingerprint));
    XXH3_128bits_update(h, &r->d->info->preprocess, sizeof r->d->info->preprocess);
    XXH3_128bits_update(h, &variants, sizeof variants);
    char augment[RT_AUGMENT_TEXT];
    rt_augment_text(&r->set->augment, augment);
    XXH3_128bits_update(h, augment, strlen(augment));
    if (r->data->least)
        XXH3_128bits_update(h, &r->data->least, sizeof r->data->least);
    if (!rt_augment_is_none(&r->set->augment))
        XXH3_128bits_update(h, &r->set->seed, sizeof r->set->seed);
    XXH128_hash_t x = XXH3_128bits_digest(h);
    XXH3_freeState(h);
    snprintf(key, 33, "%016llx%016llx", (unsigned long long)x.high64, (unsigned long long)x.low64);
}

static bool open_cache(RtRun *r, int stage) {
    int64_t rows = rt_source_rows(r->data, cache_variants(r));
    int64_t floats = rt_source_row_floats(r->engine);
    int64_t bytes = rt_feature_cache_bytes(rows, floats);
    bool folder = r->set->cache == RT_CACHE_FOLDER;
    if (r->set->cache == RT_CACHE_AUTO && bytes > rt_memory_available() / CACHE_SHARE) {
        rt_train_log_line(&r->log,
                          "features are not cached: %lld MB; --feature-cache FOLDER keeps them on "
                          "disk",
                          (long long)(bytes / 1000000));
        return true;
    }
    char key[33];
    make_cache_key(r, stage, key);
    r->cache =
        rt_feature_cache_open(folder ? r->set->cache_folder : NULL, key, rows, floats, &r->err);
    if (r->cache)
        rt_train_log_line(&r->log,
                          "features of the frozen layers are cached%s%s: %.1f MB for %lld "
                          "images",
                          folder ? " in " : "", folder ? r->set->cache_folder : "",
                          (double)bytes * 1e-6, (long long)rows);
    return r->cache != NULL;
}

static void note_bad(void *ctx, int64_t item, const char *line) {
    RtRun *r = ctx;
    if (r->bad_item[item]) // in an earlier stage
        return;
    r->bad_item[item] = true;
    if (r->bad_images < RT_BAD_LINES)
        r->bad_line[r->bad_images] = strdup(line);
    r->bad_images++;
    if (rt_ranks_me(r->ranks) > 0)
        fprintf(stderr, "rank %d: %s (left out)\n", rt_ranks_me(r->ranks), RT_SHOW(line));
    else
        rt_train_log_line(&r->log, "%s (left out)", line);
}

RtSourceOptions rt_run_source_options(RtRun *r) {
    return (RtSourceOptions){.batch = r->batch,
                             .seed = r->set->seed,
                             .workers = r->set->workers,
                             .augment = r->data->tensors ? (RtAugment){0} : r->set->augment,
                             .mix = r->set->mix,
                             .variants = cache_variants(r),
                             .bad = note_bad,
                             .ctx = r};
}

bool rt_run_open_sources(RtRun *r, int stage) {
    if (wants_cache(r) && !open_cache(r, stage))
        return false;
    RtSourceOptions o = rt_run_source_options(r);
    r->train = rt_source_open(r->engine, r->data, false, r->cache, &o, &r->err);
    if (r->train && r->data->n_val)
        r->val = rt_source_open(r->engine, r->data, true, r->cache, &o, &r->err);
    return r->train && (r->val || !r->data->n_val);
}

void rt_run_close_sources(RtRun *r) {
    if (r->train)
        r->wait_before_ns += rt_source_wait_ns(r->train);
    rt_gradient_close(r->gradient);
    rt_source_close(r->train);
    rt_source_close(r->val);
    rt_feature_cache_close(r->cache);
    r->train = r->val = NULL;
    r->cache = NULL;
    r->gradient = NULL;
}
