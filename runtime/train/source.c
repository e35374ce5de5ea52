// Batches from a loader, or, once every image's features are cached, from the cache. Both give the
// same batches, bit for bit: features do not depend on what else is in a batch. Behind an image's
// features its map of labels is cached, as floats.
#include "runtime/train/source.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/core/rng.h"

struct RtSource {
    RtEngine *engine;
    const RtDataset *data;
    RtFeatureCache *cache;
    RtSourceOptions o;
    RtLoaderShare share;
    bool validation;
    int64_t first, n; // items
    int64_t epoch, batch;
    int64_t places;   // labels of an image
    RtLoader *loader; // NULL: from the cache, or the epoch has not begun
    uint64_t wait_ns; // of loaders that are closed
    RtOrder order;    // of the epoch, for batches from the cache; items from `first`
    float *feature[RT_MAX_FEATURES];
    int32_t *labels, *labels2;
    float *mix;
    float *targets;
    int64_t *items;
    RtFeed feed;
};

int64_t rt_source_rows(const RtDataset *d, int variants) {
    if (d->place)
        return d->n_train + d->n_val;
    return d->n_train * variants + d->n_val;
}

int64_t rt_source_row(const RtDataset *d, int variants, int64_t item, int64_t epoch) {
    if (d->place)
        return d->place[item];
    return item < d->n_train ? epoch % variants * d->n_train + item
                             : (int64_t)(variants - 1) * d->n_train + item;
}

int64_t rt_source_row_floats(const RtEngine *t) {
    int64_t n = 0;
    for (int i = 0; i < rt_engine_n_features(t); i++)
        n += rt_engine_feature_floats(t, i);
    return n + (rt_engine_places(t) > 1 ? rt_engine_places(t) : 0);
}

static int64_t row_of(const RtSource *s, int64_t item) {
    return rt_source_row(s->data, s->o.variants, item, s->validation ? 0 : s->epoch);
}

static void note_bad(void *ctx, int64_t item, const char *line) {
    RtSource *s = ctx;
    for (int v = 0; s->cache && v < (s->validation ? 1 : s->o.variants); v++)
        rt_feature_cache_put_bad(s->cache, rt_source_row(s->data, s->o.variants, item, v));
    if (s->o.bad)
        s->o.bad(s->o.ctx, item, line);
}

static bool alloc_batch(RtSource *s, RtErr *err) {
    size_t n = (size_t)s->o.batch;
    size_t labels = n * (size_t)s->places;
    bool ok = (s->labels = calloc(labels, sizeof *s->labels)) &&
              (s->labels2 = calloc(labels, sizeof *s->labels2)) &&
              (s->mix = calloc(n, sizeof *s->mix)) && (s->items = calloc(n, sizeof *s->items)) &&
              (s->targets = calloc(n * (size_t)s->data->target_width + 1, sizeof *s->targets)) &&
              rt_order_open(&s->order, s->n, !s->validation, s->o.seed);
    for (int i = 0; ok && i < rt_engine_n_features(s->engine); i++)
        ok = (s->feature[i] =
                  rt_alloc_aligned(n * (size_t)rt_source_views(s) *
                                   (size_t)rt_engine_feature_floats(s->engine, i) * sizeof(float)));
    return ok || rt_fail(err, "no memory for batches of %lld images", (long long)s->o.batch);
}

RtSource *rt_source_open(RtEngine *t, const RtDataset *d, bool validation, RtFeatureCache *cache,
                         const RtSourceOptions *o, RtErr *err) {
    RtSource *s = calloc(1, sizeof *s);
    if (!s) {
        rt_fail(err, "no memory");
        return NULL;
    }
    *s = (RtSource){.engine = t,
                    .data = d,
                    .cache = cache,
                    .o = *o,
                    .places = rt_engine_places(t),
                    .validation = validation,
                    .first = validation ? d->n_train : 0,
                    .n = validation ? d->n_val : d->n_train};
    if (s->o.batch > s->n && s->n > 0)
        s->o.batch = s->n;
    if (!alloc_batch(s, err)) {
        rt_source_close(s);
        return NULL;
    }
    return s;
}

static void close_loader(RtSource *s) {
    if (s->loader)
        s->wait_ns += rt_loader_stats(s->loader).wait_ns;
    rt_loader_close(s->loader);
    s->loader = NULL;
}

void rt_source_close(RtSource *s) {
    if (!s)
        return;
    close_loader(s);
    for (int i = 0; i < RT_MAX_FEATURES; i++)
        free(s->feature[i]);
    free(s->labels);
    free(s->labels2);
    free(s->mix);
    free(s->targets);
    free(s->items);
    rt_order_close(&s->order);
    free(s);
}

void rt_source_share(RtSource *s, const RtLoaderShare *share) {
    close_loader(s);
    s->cache = NULL;
    s->share = *share;
}

const RtDataset *rt_source_data(const RtSource *s) {
    return s->data;
}

int rt_source_views(const RtSource *s) {
    return s->validation ? rt_views_count(s->o.views) : 1;
}

int64_t rt_source_batches(const RtSource *s) {
    return (s->n + s->o.batch - 1) / s->o.batch;
}

uint64_t rt_source_wait_ns(const RtSource *s) {
    return s->wait_ns + (s->loader ? rt_loader_stats(s->loader).wait_ns : 0);
}

// ---------------------------------------------------------------- an epoch begins

static bool is_cached(const RtSource *s) {
    if (!s->cache || s->n == 0)
        return false;
    for (int64_t i = 0; i < s->n; i++)
        if (!rt_feature_cache_complete(s->cache, row_of(s, s->first + i), 1))
            return false;
    return true;
}

static bool open_loader(RtSource *s, RtErr *err) {
    const HoneModelDesc *info = rt_engine_desc(s->engine)->info;
    RtLoaderOptions o = {.prep = &info->preprocess,
                         .batch = s->o.batch,
                         .validation = s->validation,
                         .share = s->share,
                         .shuffle = !s->validation,
                         .augment = s->validation ? (RtAugment){0} : s->o.augment,
                         .augment_period = s->o.variants > 1 ? s->o.variants : 0,
                         .views = s->validation ? s->o.views : RT_VIEWS_ONE,
                         .seed = s->o.seed,
                         .map_height = rt_engine_desc(s->engine)->map_height,
                         .map_width = rt_engine_desc(s->engine)->map_width,
                         .epochs = s->validation ? s->epoch + 1 : 0,
                         .threads = s->o.workers,
                         .bad = note_bad,
                         .context = s};
    s->loader = rt_loader_open(s->data, &o, err);
    return s->loader != NULL;
}

bool rt_source_seek(RtSource *s, int64_t epoch, int64_t batch, RtErr *err) {
    int64_t batches = rt_source_batches(s);
    bool follows = s->loader && epoch == s->epoch + 1 && batch == 0 &&
                   rt_loader_share_next(&s->share, s->batch, batches) == batches;
    s->epoch = epoch;
    s->batch = batch;
    if (is_cached(s)) {
        close_loader(s);
        rt_order_set(&s->order, epoch);
        return true;
    }
    if (!s->loader && !open_loader(s, err))
        return false;
    if (!follows)
        rt_loader_seek(s->loader, epoch, batch);
    return true;
}

// ---------------------------------------------------------------- batches

static void copy_out(RtSource *s, int64_t k, const float *row) {
    for (int i = 0; i < rt_engine_n_features(s->engine); i++) {
        int64_t n = rt_engine_feature_floats(s->engine, i);
        memcpy(s->feature[i] + k * n, row, (size_t)n * sizeof *row);
        row += n;
    }
    for (int64_t i = 0; s->places > 1 && i < s->places; i++)
        s->labels[k * s->places + i] = (int32_t)row[i];
}

static const RtFeed *next_cached(RtSource *s, RtErr *err) {
    int64_t from = s->batch * s->o.batch, to = from + s->o.batch < s->n ? from + s->o.batch : s->n;
    int64_t k = 0;
    int width = s->data->target_width;
    for (int64_t i = from; i < to; i++) {
        int64_t item = s->first + rt_order_at(&s->order, i);
        const float *row = rt_feature_cache_row(s->cache, row_of(s, item), err);
        if (!row && err->text[0])
            return NULL;
        if (!row)
            continue; // a bad image
        copy_out(s, k, row);
        if (s->places == 1)
            s->labels[k] = rt_dataset_label(s->data, item);
        if (width)
            rt_dataset_target(s->data, item, s->targets + k * width);
        s->items[k++] = item;
    }
    s->feed = (RtFeed){.n = k,
                       .index = s->batch,
                       .last = to == s->n,
                       .features = s->feature,
                       .labels = s->labels,
                       .targets = width ? s->targets : NULL,
                       .items = s->items,
                       .cached = true};
    return &s->feed;
}

static void make_row(const RtSource *s, int64_t k, float *row) {
    for (int i = 0; i < rt_engine_n_features(s->engine); i++) {
        int64_t n = rt_engine_feature_floats(s->engine, i);
        memcpy(row, s->feature[i] + k * n, (size_t)n * sizeof *row);
        row += n;
    }
    for (int64_t i = 0; s->places > 1 && i < s->places; i++)
        row[i] = (float)s->feed.labels[k * s->places + i];
}

static bool fill_cache(RtSource *s, RtErr *err) {
    float *row = malloc((size_t)rt_source_row_floats(s->engine) * sizeof *row + 1);
    if (!row)
        return rt_fail(err, "no memory");
    bool ok = true;
    for (int64_t k = 0; ok && k < s->feed.n; k++) {
        make_row(s, k, row);
        ok = rt_feature_cache_put(s->cache, row_of(s, s->feed.items[k]), row, err);
    }
    free(row);
    return ok;
}

static const RtFeed *next_loaded(RtSource *s, RtErr *err) {
    RtBatch *b = (RtBatch *)rt_loader_next(s->loader, err); // which is ours until the next one
    bool mixes = !s->validation && !rt_mix_is_none(&s->o.mix);
    if (!b)
        return NULL;
    if (mixes)
        rt_mix_batch(&s->o.mix, &rt_engine_desc(s->engine)->info->preprocess, s->o.seed,
                     s->data->target_width, b, s->labels2, s->mix);
    s->feed = (RtFeed){.n = b->n,
                       .index = b->index,
                       .last = b->last,
                       .images = b->images,
                       .labels = b->labels,
                       .labels2 = mixes ? s->labels2 : NULL,
                       .mix = mixes ? s->mix : NULL,
                       .targets = b->targets,
                       .items = b->items};
    if (rt_engine_n_features(s->engine) == 0 || b->n == 0)
        return &s->feed;
    int64_t n = b->n * rt_source_views(s);
    if (!rt_engine_features(s->engine, n, b->images, s->feature, err))
        return NULL;
    s->feed.features = s->feature;
    if (s->cache && !fill_cache(s, err))
        return NULL;
    return &s->feed;
}

const RtFeed *rt_source_next(RtSource *s, RtErr *err) {
    err->text[0] = 0;
    s->batch = rt_loader_share_next(&s->share, s->batch, rt_source_batches(s));
    if (s->batch == rt_source_batches(s))
        return NULL;
    const RtFeed *f = s->loader ? next_loaded(s, err) : next_cached(s, err);
    s->batch++;
    return f;
}
