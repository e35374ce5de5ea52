// Where a value that is not finite comes from.
#include <math.h>

#include "runtime/tuner.h"

static bool all_finite(const float *x, int64_t n) {
    for (int64_t i = 0; x && i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

static bool image_is_bad(RtTuner *t, const RtTuneBatch *b) {
    const HonePreprocess *p = &rt_tuner_desc(t)->info->preprocess;
    return !b->features &&
           !all_finite(b->images, b->n * p->height * p->width * (int64_t)p->channels);
}

static const HoneParam *bad_parameter(RtTuner *t) {
    const HoneTuneDesc *d = rt_tuner_desc(t);
    for (int i = 0; i < d->n_params; i++)
        if (!all_finite(rt_tuner_buffer(t, RT_TUNE_P) + d->params[i].offset, d->params[i].count))
            return &d->params[i];
    return NULL;
}

void rt_tuner_find_nonfinite(RtTuner *t, const RtTuneBatch *b, char *text, size_t size) {
    const HoneParam *p = bad_parameter(t);
    if (image_is_bad(t, b))
        snprintf(text, size, "the images");
    else if (p)
        snprintf(text, size, "parameter '%s'", p->name);
    else
        snprintf(text, size, "the network");
}
