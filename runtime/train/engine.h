// The engine of a fine-tune executable: its graphs run over the state that training changes. It
// knows nothing of data sets, epochs or files. Private header.
//
// One stage is open at a time; its graphs share one workspace.
#ifndef RUNTIME_TRAIN_ENGINE_H
#define RUNTIME_TRAIN_ENGINE_H

#include "runtime/core/rt.h"
#include "runtime/train/abi.h"

enum { RT_MAX_FEATURES = 64 };

typedef struct RtTuneBatch {
    int64_t n;
    const float *images;       // [n] of the image input; not read where features are given
    float *const *features;    // values at the frozen prefix's edge, or NULL: from the images
    const int32_t *labels;     // [n], 0 to classes - 1 (HONE_LOSS_CE)
    const float *targets;      // [n][width] (HONE_LOSS_BCE)
    const float *class_weight; // [classes]
    float smoothing, scale;    // see HONE_BIND_SMOOTHING, HONE_BIND_SCALE
    int64_t seed;              // of dropout
    float *loss, *logits;      // out: [n], [n][logit columns]
} RtTuneBatch;

typedef struct RtTuneRates { // one optimiser step
    int kind;                // HONE_OPT_*
    float lr, momentum, beta2, eps, decay, clip;
    int64_t t; // steps of this optimiser so far, this one included (AdamW's bias correction)
} RtTuneRates;

typedef struct RtTuner RtTuner;

// NULL with err set: the CPU lacks instructions, no memory. State: the pretrained values.
RtTuner *rt_tuner_open(const HoneTuneDesc *d, int threads, RtErr *err);
void rt_tuner_close(RtTuner *t); // NULL is fine
const HoneTuneDesc *rt_tuner_desc(const RtTuner *t);
int rt_tuner_threads(const RtTuner *t);
int rt_tuner_logit_columns(const RtTuner *t); // 1 when binary, else classes

// Goes to stage s; the optimiser's moments become 0.
bool rt_tuner_open_stage(RtTuner *t, int s, RtErr *err);

// Buffers of the state, [param_floats] each.
typedef enum RtTuneBuffer {
    RT_TUNE_P,
    RT_TUNE_M,
    RT_TUNE_V,
    RT_TUNE_G,
    RT_TUNE_BUFFERS
} RtTuneBuffer;
float *rt_tuner_buffer(RtTuner *t, RtTuneBuffer b);
// XXH3 of everything that stage s must leave as it is; the same before and after it.
uint64_t rt_tuner_frozen_hash(const RtTuner *t, int s);

// The frozen prefix of the open stage. 0: there is none, graphs start at the image.
int rt_tuner_n_features(const RtTuner *t);
int64_t rt_tuner_feature_floats(const RtTuner *t, int i); // of one image
bool rt_tuner_features(RtTuner *t, int64_t n, const float *images, float *const *features,
                       RtErr *err);

// Loss, logits and gradients of a micro-batch; gradients replace those in the buffer, or are added.
bool rt_tuner_train(RtTuner *t, const RtTuneBatch *b, bool add, RtErr *err);
// Loss and logits, inference mode.
bool rt_tuner_eval(RtTuner *t, const RtTuneBatch *b, RtErr *err);
// Euclidean norm of the gradients of the open stage; NaN or infinite when one of them is.
bool rt_tuner_grad_norm(RtTuner *t, double *norm, RtErr *err);
// Moves the parameters that the open stage trains.
bool rt_tuner_update(RtTuner *t, const RtTuneRates *r, RtErr *err);
// Where a training step of this batch first makes a value that is not finite: text such as
// "node 'layer4.0.conv1' (conv)". Parameters, labels and images count as inputs.
void rt_tuner_find_nonfinite(RtTuner *t, const RtTuneBatch *b, char *text, size_t size);

#endif
