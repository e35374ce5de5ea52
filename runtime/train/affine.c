// See affine.h. Whatever the compiler made of the classifier (a Gemm, a MatMul and an Add, a 1x1
// convolution, its weights in either order) and whatever stands behind it, the proof is the same:
// a few random images.
#include "runtime/train/affine.h"

#include "runtime/core/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 4 };
#define TOLERANCE 0.01 // of the sum of the products' sizes: the graph may compute in bfloat16

static bool trains(const RtEngine *t, const HoneParam *p) {
    return p->trains >> rt_engine_stage(t) & 1;
}

// The two tensors that train, or are new among others, by their sizes.
static const char *find_params(const RtEngine *t, RtAffine *a) {
    const HoneTrainDesc *d = rt_engine_desc(t);
    const HoneParam *p[2];
    int64_t told = rt_engine_head_floats(t);
    int n = 0;
    if (rt_engine_places(t) > 1)
        return "it makes a map of classes";
    for (int i = 0; i < d->n_params; i++) {
        if (!trains(t, &d->params[i]) || (told && !d->params[i].fresh))
            continue;
        if (n == 2)
            return "more than one layer trains";
        if (!d->params[i].fresh)
            return "it goes on from the file's own classifier";
        p[n++] = &d->params[i];
    }
    if (n < 2)
        return "it has no bias";
    int bias = p[0]->rank > p[1]->rank || p[0]->count > p[1]->count;
    *a = (RtAffine){.weight = p[!bias], .bias = p[bias], .columns = rt_engine_logit_columns(t)};
    if (!told && rt_engine_n_features(t) != 1)
        return "it reads more than the features of one frozen layer";
    a->features = told ? told : rt_engine_feature_floats(t, 0);
    if (a->bias->count != a->columns || a->weight->count / a->columns != a->features ||
        a->weight->count % a->columns != 0)
        return "its weights are not one for each feature and class";
    return NULL;
}

static float weight_at(const RtAffine *a, const float *w, int c, int64_t k) {
    return w[a->columns_first ? c * a->features + k : k * a->columns + c];
}

static bool explains(const RtAffine *a, const float *w, const float *b, const float *x,
                     const float *logits) {
    for (int i = 0; i < IMAGES; i++) {
        for (int c = 0; c < a->columns; c++) {
            double sum = (double)b[c], size = fabs(sum);
            for (int64_t k = 0; k < a->features; k++) {
                double product = (double)weight_at(a, w, c, k) * (double)x[i * a->features + k];
                sum += product;
                size += fabs(product);
            }
            if (!(fabs((double)logits[i * a->columns + c] - sum) <= TOLERANCE * size))
                return false;
        }
    }
    return true;
}

typedef struct Probe { // what a graph is given, and gives
    float *image, *x;  // image NULL: x is given
    float *weight, *loss, *logits, *target, *saved;
    int32_t label[IMAGES];
} Probe;

static int64_t image_floats(const RtEngine *t) {
    const HonePreprocess *p = &rt_engine_desc(t)->info->preprocess;
    return (int64_t)p->height * p->width * p->channels;
}

static bool alloc_probe(const RtEngine *t, Probe *p, const RtAffine *a, int classes) {
    size_t logits = (size_t)a->columns * IMAGES;
    size_t image = rt_engine_head_floats(t) ? (size_t)image_floats(t) * IMAGES : 0;
    *p = (Probe){.image = image ? rt_alloc_aligned(image * sizeof(float)) : NULL,
                 .x = rt_alloc_aligned((size_t)a->features * IMAGES * sizeof(float)),
                 .weight = rt_alloc_aligned((size_t)classes * sizeof(float)),
                 .loss = rt_alloc_aligned(IMAGES * sizeof(float)),
                 .logits = rt_alloc_aligned(logits * sizeof(float)),
                 .target = rt_alloc_aligned(logits * sizeof(float)),
                 .saved = malloc((size_t)(a->weight->count + a->bias->count) * sizeof(float))};
    if ((image && !p->image) || !p->x || !p->weight || !p->loss || !p->logits || !p->target ||
        !p->saved)
        return false;
    memset(p->target, 0, logits * sizeof(float));
    for (int i = 0; i < classes; i++)
        p->weight[i] = 1;
    return true;
}

static void free_probe(Probe *p) {
    free(p->image);
    free(p->x);
    free(p->weight);
    free(p->loss);
    free(p->logits);
    free(p->target);
    free(p->saved);
}

static void randomize(float *x, int64_t n, int64_t stream) {
    RtRng g = rt_rng(1, 0, stream, RT_RNG_SYNTHETIC);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)rt_rng_between(&g, -1, 1);
}

// Runs the evaluation under random numbers; *is: a linear layer gives the same, in one of the two
// orders of its weights.
static bool ask(RtEngine *t, RtAffine *a, Probe *p, bool *is, RtErr *err) {
    float *w = rt_engine_buffer(t, RT_ENGINE_P) + a->weight->offset;
    float *b = rt_engine_buffer(t, RT_ENGINE_P) + a->bias->offset;
    size_t weights = (size_t)a->weight->count, biases = (size_t)a->bias->count;
    memcpy(p->saved, w, weights * sizeof *w);
    memcpy(p->saved + weights, b, biases * sizeof *b);
    randomize(w, a->weight->count, 0);
    randomize(b, a->bias->count, 1);
    if (p->image)
        randomize(p->image, image_floats(t) * IMAGES, 2);
    else
        randomize(p->x, a->features * IMAGES, 2);
    RtEngineBatch batch = {.n = IMAGES,
                           .images = p->image,
                           .features = p->image ? NULL : &p->x,
                           .head_input = p->image ? p->x : NULL,
                           .labels = p->label,
                           .targets = p->target,
                           .class_weight = p->weight,
                           .scale = 1,
                           .loss = p->loss,
                           .logits = p->logits};
    bool ok = rt_engine_eval(t, &batch, err);
    for (int first = 1; ok && first >= 0 && !*is; first--) {
        a->columns_first = first;
        *is = explains(a, w, b, p->x, p->logits);
    }
    memcpy(w, p->saved, weights * sizeof *w);
    memcpy(b, p->saved + weights, biases * sizeof *b);
    return ok;
}

bool rt_affine_find(RtEngine *t, RtAffine *a, bool *is, const char **why, RtErr *err) {
    const HoneTrainDesc *d = rt_engine_desc(t);
    Probe p;
    *is = false;
    *why = rt_engine_n_features(t) || rt_engine_head_floats(t) ? find_params(t, a)
                                                               : "nothing in front of it is frozen";
    if (*why)
        return true;
    bool ok = alloc_probe(t, &p, a, d->binary ? 2 : d->classes) ? ask(t, a, &p, is, err)
                                                                : rt_fail(err, "no memory");
    free_probe(&p);
    *why = *is ? NULL : "its scores are not linear in the features";
    return ok;
}

void rt_affine_put(RtEngine *t, const RtAffine *a, const float *weight, const float *bias) {
    float *w = rt_engine_buffer(t, RT_ENGINE_P) + a->weight->offset;
    float *b = rt_engine_buffer(t, RT_ENGINE_P) + a->bias->offset;
    for (int c = 0; c < a->columns; c++) {
        b[c] = bias[c];
        for (int64_t k = 0; k < a->features; k++)
            w[a->columns_first ? c * a->features + k : k * a->columns + c] =
                weight[c * a->features + k];
    }
}
