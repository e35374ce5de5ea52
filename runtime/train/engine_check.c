// Where a value that is not finite comes from: the inputs of a step are looked at, then its graphs
// run once more on one thread, and every node's result is looked at as soon as it is there.
#include "runtime/train/engine_graphs.h"
#include "runtime/train/stored.h"

#include <math.h>
#include <stdlib.h>

static bool all_finite(const float *x, int64_t n) {
    for (int64_t i = 0; x && i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

static bool image_is_bad(RtEngine *t, const RtEngineBatch *b) {
    const HonePreprocess *p = &rt_engine_desc(t)->info->preprocess;
    return !b->features &&
           !all_finite(b->images, b->n * p->height * p->width * (int64_t)p->channels);
}

static bool features_are_bad(RtEngine *t, const RtEngineBatch *b) {
    for (int i = 0; b->features && i < rt_engine_n_features(t); i++)
        if (!all_finite(b->features[i], b->n * rt_engine_feature_floats(t, i)))
            return true;
    return false;
}

static const HoneParam *bad_parameter(RtEngine *t) {
    const HoneTrainDesc *d = rt_engine_desc(t);
    for (int i = 0; i < d->n_params; i++)
        if (!all_finite(rt_engine_buffer(t, RT_ENGINE_P) + d->params[i].offset, d->params[i].count))
            return &d->params[i];
    return NULL;
}

// Numbers of p that are not finite in the pretrained file.
static int64_t count_given(const HoneParam *p) {
    float *given = malloc((size_t)p->count * sizeof *given + 1);
    int64_t bad = 0;
    if (given)
        rt_stored_load(p, given);
    for (int64_t i = 0; given && i < p->count; i++)
        bad += !isfinite(given[i]);
    free(given);
    return bad;
}

typedef struct Search {
    const HoneModelDesc *desc;
    const HoneNodeDesc *found;
} Search;

// A blocked tensor's lanes past its channels may hold anything.
static bool is_finite_blocked(const float *x, int64_t n, int64_t images, int block, int channels) {
    int64_t blocks = (channels + block - 1) / block, image = images > 0 ? n / images : 0;
    int64_t run = blocks > 0 ? image / blocks : 0; // floats of one block of one image
    int last = channels - (int)(blocks - 1) * block;
    for (int64_t i = 0; i + run <= n && run > 0; i += run) {
        bool whole = i / run % blocks < blocks - 1 || last == block;
        for (int64_t k = i; k < i + run; k++)
            if ((whole || k % block < last) && !isfinite(x[k]))
                return false;
    }
    return true;
}

// Before call `node`: the one before it is done, since there is one thread.
static void look(void *ctx, const HoneCall *call, int32_t node) {
    Search *s = ctx;
    if (s->found || node == 0)
        return;
    const HoneNodeDesc *n = &s->desc->nodes[node - 1];
    int64_t offset, bytes;
    if (n->result.at == HONE_AT_NOWHERE || !rt_dim_at(n->result.offset, call->N, &offset) ||
        !rt_dim_at(n->size, call->N, &bytes))
        return;
    const char *base = n->result.at == HONE_AT_ARENA ? call->arena : call->outputs[n->result.index];
    const float *x = (const float *)(base + offset);
    int64_t count = bytes / (int64_t)sizeof *x;
    bool fine = n->block ? is_finite_blocked(x, count, call->N, n->block, n->channels)
                         : all_finite(x, count);
    if (!fine)
        s->found = n;
}

// The graph's first node with a bad result; NULL: none, or it could not be run.
static const HoneNodeDesc *search_graph(RtEngine *t, RtEngineGraph which, const RtEngineBatch *b) {
    const HoneModelDesc *d = rt_engine_graph(t, which);
    Search s = {.desc = d};
    RtErr err;
    HoneOptions o = {.threads = 1};
    HoneModel *m = d ? hone_create(d, &o, err.text, sizeof err.text) : NULL;
    if (m)
        rt_engine_observe(t, which, m, b, look, &s, &err);
    hone_destroy(m);
    return s.found;
}

static bool tell_parameter(const HoneParam *p, char *text, size_t size) {
    const char *what = p->group < 0 ? "the running statistic" : "parameter";
    int64_t given = count_given(p);
    int n = snprintf(text, size, "%s '%s' of node '%s'", what, p->name, p->node);
    if (given && n < (int)size)
        snprintf(text + n, size - (size_t)n,
                 ", as the network's file has it: %lld of %lld numbers are not finite",
                 (long long)given, (long long)p->count);
    return !given;
}

bool rt_engine_find_nonfinite(RtEngine *t, const RtEngineBatch *b, char *text, size_t size) {
    const HoneParam *p = bad_parameter(t);
    const HoneNodeDesc *n = NULL;
    if (image_is_bad(t, b)) {
        snprintf(text, size, "the images");
        return false;
    }
    if (features_are_bad(t, b)) {
        snprintf(text, size, "what the frozen layers make of the images");
        return false;
    }
    if (p)
        return tell_parameter(p, text, size);
    if (!b->features)
        n = search_graph(t, RT_ENGINE_FEATURES, b);
    if (!n)
        n = search_graph(t, RT_ENGINE_TRAIN, b);
    if (n)
        snprintf(text, size, "node '%s' (%s)", n->name, n->op);
    else
        snprintf(text, size, "the sum of the gradients");
    return true;
}
