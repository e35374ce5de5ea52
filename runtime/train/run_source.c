// The sources of the open stage: batches of training and validation.
#include <string.h>

#include "runtime/core/text.h"
#include "runtime/train/cached.h"

static void note_bad(void *ctx, int64_t item, const char *line) {
    RtRun *r = ctx;
    int64_t place = r->data->place ? r->data->place[item] : item;
    if (r->bad_item[place]) // in an earlier stage
        return;
    r->bad_item[place] = true;
    if (r->bad_images < RT_BAD_LINES)
        r->bad_line[r->bad_images] = strdup(line);
    r->bad_images++;
    if (rt_ranks_me(r->ranks) > 0)
        fprintf(stderr, "rank %d: %s (left out)\n", rt_ranks_me(r->ranks), RT_SHOW(line));
    else
        rt_train_log_line(&r->log, "%s (left out)", line);
}

RtSourceOptions rt_run_source_options(RtRun *r) {
    RtMix mix = r->set->mix;
    mix.map_height = r->d->map_height;
    mix.map_width = r->d->map_width;
    return (RtSourceOptions){.batch = r->batch,
                             .seed = r->set->seed,
                             .workers = r->set->workers,
                             .augment = r->data->tensors ? (RtAugment){0} : r->set->augment,
                             .mix = mix,
                             .variants = rt_cached_variants(r),
                             .bad = note_bad,
                             .ctx = r};
}

bool rt_run_open_sources(RtRun *r, int stage) {
    if (!rt_cached_open(r, stage))
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
    if (!r->set || !r->set->folds) // which other runs share
        rt_feature_cache_close(r->cache);
    r->train = r->val = NULL;
    r->cache = NULL;
    r->gradient = NULL;
}
