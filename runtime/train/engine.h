// The engine of a fine-tune executable: its graphs run over the state that training changes. It
// knows nothing of data sets, epochs or files. Private header.
//
// One stage is open at a time; its graphs share one workspace.
#ifndef RUNTIME_TRAIN_ENGINE_H
#define RUNTIME_TRAIN_ENGINE_H

#include "runtime/core/rt.h"
#include "runtime/train/abi.h"

enum { RT_MAX_FEATURES = 64 };

typedef struct RtEngineBatch {
    int64_t n;
    const float *images;       // [n] of the image input; not read where features are given
    float *const *features;    // values at the frozen prefix's edge, or NULL: from the images
    const int32_t *labels;     // [n][places], 0 to classes - 1, of maps also -1 (HONE_LOSS_CE)
    const float *targets;      // [n][width] (HONE_LOSS_BCE)
    const int32_t *labels2;    // as many that count for the rest of `mix`; NULL: nothing is mixed
    const float *mix;          // [n] share of the first label; NULL as labels2
    const float *class_weight; // [classes]
    float smoothing, scale;    // see HONE_BIND_SMOOTHING, HONE_BIND_SCALE
    int64_t seed;              // of dropout
    float *loss, *logits;      // out: [n], [n][places][logit columns]
    float *head_input;         // out of evaluation: [n][rt_engine_head_floats()]; NULL: not wanted
} RtEngineBatch;

typedef struct RtEngineRates { // one optimiser step
    int kind;                  // HONE_OPT_*
    float lr, momentum, beta2, eps, decay, clip;
    int64_t t; // steps of this optimiser so far, this one included (AdamW's bias correction)
} RtEngineRates;

typedef struct RtEngine RtEngine;

// NULL with err set: the CPU lacks instructions, no memory. State: the pretrained values.
RtEngine *rt_engine_open(const HoneTrainDesc *d, int threads, RtErr *err);
void rt_engine_close(RtEngine *t); // NULL is fine
const HoneTrainDesc *rt_engine_desc(const RtEngine *t);
int rt_engine_threads(const RtEngine *t);
int rt_engine_stage(const RtEngine *t);         // the open one; -1: none
int rt_engine_logit_columns(const RtEngine *t); // 1 when binary, else classes
int64_t rt_engine_places(const RtEngine *t);    // labels of an image: those of its map; 1 without

// Goes to stage s; the optimiser's moments become 0.
bool rt_engine_open_stage(RtEngine *t, int s, RtErr *err);

// Buffers of the state, [param_floats] each.
typedef enum RtEngineBuffer {
    RT_ENGINE_P,
    RT_ENGINE_M,
    RT_ENGINE_V,
    RT_ENGINE_G,
    RT_ENGINE_BUFFERS
} RtEngineBuffer;
float *rt_engine_buffer(RtEngine *t, RtEngineBuffer b);
void rt_engine_swap(RtEngine *t, RtEngineBuffer b, float **other); // for another buffer, RT_ALIGN
// XXH3 of everything that stage s must leave as it is; the same before and after it.
uint64_t rt_engine_frozen_hash(const RtEngine *t, int s);

// The frozen prefix of the open stage. 0: there is none, graphs start at the image.
int rt_engine_n_features(const RtEngine *t);
int64_t rt_engine_feature_floats(const RtEngine *t, int i); // of one image
bool rt_engine_features(RtEngine *t, int64_t n, const float *images, float *const *features,
                        RtErr *err);

// Loss, logits and gradients of a micro-batch. gradient: [param_floats], of which what the stage
// trains is written. observe may be NULL; it is called as HoneCall.observe is.
bool rt_engine_train(RtEngine *t, const RtEngineBatch *b, float *gradient, RtObserve observe,
                     void *ctx, RtErr *err);
// The last step of the open stage's training graph that writes each parameter's gradient, -1: none
// does; [n_params]. And whether all threads meet before a step.
void rt_engine_written(const RtEngine *t, int32_t *step);
bool rt_engine_meets(const RtEngine *t, int32_t step);
// What the new classifier of the open stage reads of one image, where the program tells it
// (HONE_BIND_HEAD_INPUT); 0: it does not.
int64_t rt_engine_head_floats(const RtEngine *t);
// Loss and logits, inference mode.
bool rt_engine_eval(RtEngine *t, const RtEngineBatch *b, RtErr *err);
// Euclidean norm of the gradients of the open stage; NaN or infinite when one of them is.
bool rt_engine_grad_norm(RtEngine *t, double *norm, RtErr *err);
// Moves the parameters that the open stage trains.
bool rt_engine_update(RtEngine *t, const RtEngineRates *r, RtErr *err);
// Where a training step of this batch first makes a value that is not finite: text such as
// "node 'layer4.0.conv1' (conv)". Parameters, labels and images count as inputs. False: those are
// at fault as they were given, and no other rate would help.
bool rt_engine_find_nonfinite(RtEngine *t, const RtEngineBatch *b, char *text, size_t size);

#endif
