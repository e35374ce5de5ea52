// The average is a part of the run's state; frozen parameters are in it as they are.
#include "runtime/train/average.h"

#include <math.h>
#include <string.h>

void rt_average_begin(RtRun *r) {
    if (r->state.average && r->state.at[RT_AT_STAGE_STEP] == 0)
        memcpy(r->state.average, rt_engine_buffer(r->engine, RT_ENGINE_P),
               (size_t)r->d->param_floats * sizeof(float));
}

// It follows faster at first, when it knows little: of step t at most (1 + t) / (10 + t) stays.
void rt_average_move(RtRun *r) {
    const float *p = rt_engine_buffer(r->engine, RT_ENGINE_P);
    double t = (double)r->state.at[RT_AT_STAGE_STEP];
    float keep = (float)fmin((double)r->set->average, (1 + t) / (10 + t)), take = 1 - keep;
    for (int i = 0; r->state.average && i < r->d->n_params; i++) {
        const HoneParam *x = &r->d->params[i];
        float *a = r->state.average + x->offset;
        for (int64_t k = 0; x->trains >> r->state.at[RT_AT_STAGE] & 1 && k < x->count; k++)
            a[k] = keep * a[k] + take * p[x->offset + k];
    }
}

bool rt_average_counts(const RtRun *r) {
    return r->state.average && !r->solves && r->state.at[RT_AT_STAGE_STEP] > 0;
}

void rt_average_swap(RtRun *r) {
    rt_engine_swap(r->engine, RT_ENGINE_P, &r->state.average);
}
