// Numbers between float32 and the types of ONNX files; see stored.h.
#include "runtime/train/stored.h"

#include <math.h>
#include <string.h>

size_t rt_stored_bytes(const HoneParam *p) {
    return (size_t)p->count * (size_t)rt_dtype(p->stored)->bytes;
}

void rt_stored_load(const HoneParam *p, float *to) {
    const RtDtype *type = rt_dtype(p->stored);
    if (p->stored == HONE_F32) {
        memcpy(to, p->initial, rt_stored_bytes(p));
        return;
    }
    for (int64_t i = 0; i < p->count; i++)
        to[i] = (float)type->load(p->initial + (size_t)i * (size_t)type->bytes);
}

bool rt_stored_pack(const HoneParam *p, const float *from, void *to) {
    const RtDtype *type = rt_dtype(p->stored);
    bool good = true;
    if (p->stored == HONE_F32) {
        memcpy(to, from, rt_stored_bytes(p));
        return true;
    }
    for (int64_t i = 0; i < p->count; i++) {
        char *at = (char *)to + (size_t)i * (size_t)type->bytes;
        type->store(at, from[i]);
        good = good && (isinf(from[i]) || !isinf(type->load(at)));
    }
    return good;
}

void rt_stored_round(const HoneTrainDesc *d, float *params) {
    for (int k = 0; k < d->n_params; k++) {
        const HoneParam *p = &d->params[k];
        const RtDtype *type = rt_dtype(p->stored);
        float *x = params + p->offset;
        char one[8];
        for (int64_t i = 0; p->stored != HONE_F32 && i < p->count; i++) {
            type->store(one, x[i]);
            x[i] = (float)type->load(one);
        }
    }
}
