// Features of the frozen layers are kept where nothing changes the images: in memory while there is
// room, else in a file, which one without --feature-cache FOLDER has no name and ends with the
// process. Half of the memory that is available (the machine's, or the control group's) is room,
// or what --feature-memory says.
#define _GNU_SOURCE
#include "runtime/train/cached.h"

#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "runtime/core/text.h"
#include "runtime/train/beside.h"
#include "runtime/train/folds.h"

enum { SHARE = 2 }; // of the memory that is available, one in so many parts

int rt_cached_variants(const RtRun *r) {
    return r->set->variants > 0 ? r->set->variants : 1;
}

bool rt_cached_changes_images(const RtRun *r) {
    const RtTrainSettings *s = r->set;
    return !rt_mix_is_none(&s->mix) ||
           (!rt_augment_is_none(&s->augment) && s->variants == 0 && !r->data->tensors);
}

int64_t rt_cached_room(const RtRun *r) {
    int64_t given = r->set->feature_memory, half = rt_memory_available() / SHARE;
    return given > 0 ? given : half > 0 ? half : 1;
}

// ---------------------------------------------------------------- where

// "models/net.onnx": "models"; free() releases.
static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return !slash          ? strdup(".")
           : slash == path ? strdup("/")
                           : strndup(path, (size_t)(slash - path));
}

// In a file, of the first folder that takes it.
static RtFeatureCache *make_file(const RtRun *r, int64_t rows, int64_t floats, char **where,
                                 RtErr *err) {
    const RtTrainSettings *s = r->set;
    char *const folders[] = {strdup(s->folder ? s->folder : "."), folder_of(s->out ? s->out : "."),
                             strdup(".")};
    enum { N = sizeof folders / sizeof *folders };
    RtFeatureCache *c = NULL;
    for (int i = 0; !c && i < N; i++) {
        RtErr other;
        c = folders[i] ? rt_feature_cache_open_unnamed(folders[i], rows, floats, i ? &other : err)
                       : NULL;
        *where = c ? strdup(folders[i]) : NULL;
    }
    for (int i = 0; i < N; i++)
        free(folders[i]);
    return c;
}

RtFeatureCache *rt_cached_make(const RtRun *r, int64_t rows, int64_t floats, char **where,
                               RtErr *err) {
    *where = NULL;
    if (rt_feature_cache_bytes(rows, floats) <= rt_cached_room(r))
        return rt_feature_cache_open(NULL, "", rows, floats, err);
    return make_file(r, rows, floats, where, err);
}

// ---------------------------------------------------------------- a stage's

static bool wants_cache(const RtRun *r) {
    return r->set->cache != RT_CACHE_OFF && rt_engine_n_features(r->engine) > 0 &&
           !rt_cached_changes_images(r);
}

// Everything that features depend on.
static void make_key(const RtRun *r, int stage, char key[33]) {
    XXH3_state_t *h = XXH3_createState();
    int variants = rt_cached_variants(r);
    uint64_t frozen = rt_engine_frozen_hash(r->engine, stage);
    XXH3_128bits_reset(h);
    XXH3_128bits_update(h, r->key_model, strlen(r->key_model));
    XXH3_128bits_update(h, r->d->stages[stage].features.model->name,
                        strlen(r->d->stages[stage].features.model->name));
    XXH3_128bits_update(h, &frozen, sizeof frozen);
    XXH3_128bits_update(h, r->data->whole, strlen(r->data->whole));
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

// Where nobody said: a disk without room is no error.
static RtFeatureCache *open_auto(RtRun *r, int64_t rows, int64_t floats) {
    char *where;
    RtErr why = {.text = ""};
    double mb = (double)rt_feature_cache_bytes(rows, floats) * 1e-6;
    RtFeatureCache *c = rt_cached_make(r, rows, floats, &where, &why);
    if (where)
        rt_train_log_line(&r->log,
                          "features of the frozen layers are cached in a file in %s while this "
                          "runs: %.1f MB for %lld images, more than the %.1f MB that they may take "
                          "of memory (--feature-memory)",
                          RT_SHOW(where), mb, (long long)rows, (double)rt_cached_room(r) * 1e-6);
    else if (c)
        rt_train_log_line(&r->log,
                          "features of the frozen layers are cached: %.1f MB for %lld images", mb,
                          (long long)rows);
    else
        rt_train_log_line(&r->log,
                          "features are not cached: %.1f MB; --feature-cache FOLDER keeps them on "
                          "disk (%s)",
                          mb, why.text);
    free(where);
    return c;
}

// There is something to lose.
static bool has_begun(const RtRun *r) {
    return r->state.at[RT_AT_STEP] > 0 || (r->set->folds && r->set->folds->part > 0);
}

static bool open_one(RtRun *r, const char *key) {
    const RtTrainSettings *s = r->set;
    int64_t rows = rt_source_rows(r->data, rt_cached_variants(r));
    int64_t floats = rt_source_row_floats(r->engine);
    if (s->cache == RT_CACHE_AUTO) {
        r->cache = open_auto(r, rows, floats);
        return true;
    }
    bool folder = s->cache == RT_CACHE_FOLDER;
    RtErr why;
    r->cache = rt_feature_cache_open(folder ? s->cache_folder : NULL, key, rows, floats, &why);
    if (!r->cache && has_begun(r)) {
        rt_beside_check(r, false, &why);
        r->cache = open_auto(r, rows, floats);
        return true;
    }
    if (r->cache)
        rt_train_log_line(&r->log,
                          "features of the frozen layers are cached%s%s: %.1f MB for %lld images",
                          folder ? " in " : "", folder ? s->cache_folder : "",
                          (double)rt_feature_cache_bytes(rows, floats) * 1e-6, (long long)rows);
    return r->cache || rt_fail(&r->err, "%s", why.text);
}

bool rt_cached_open(RtRun *r, int stage) {
    RtFolds *folds = r->set->folds;
    char key[33];
    if (!wants_cache(r))
        return true;
    make_key(r, stage, key);
    r->cache = folds ? rt_folds_find(folds, stage, key) : NULL;
    if (r->cache)
        return true;
    bool good = open_one(r, key);
    if (folds && r->cache)
        rt_folds_keep(folds, stage, key, r->cache);
    return good;
}
