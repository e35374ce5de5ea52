// A model written by hand in the shape that the code generator emits, so that the runtime and its
// program are tested without the compiler: a colour classifier. Two phases with a barrier between
// them, an arena linear in N, scratch per thread and weights that are prepared once, so that every
// promise of core/abi.h is used.
//
// It scores images f32[N,3,8,8] (values 0..1 by its preprocessing) as red, green, blue, dark or
// bright. Compile-time variants: FAKE_FIXED=2 (batch fixed at 2), FAKE_ABI, FAKE_NEED (HONE_CPU_*),
// FAKE_NAN, FAKE_SOFTMAX, FAKE_NHWC, FAKE_NAMES (of nodes: hostile and long).
#include <math.h>
#include <stddef.h>

#include "runtime/core/abi.h"

#ifndef FAKE_ABI
#define FAKE_ABI HONE_ABI
#endif
#ifndef FAKE_NEED
#define FAKE_NEED 0
#endif
#ifdef FAKE_FIXED
#define BATCH                                                                                      \
    { FAKE_FIXED, 0 }
#else
#define FAKE_FIXED 0
#define BATCH                                                                                      \
    { 0, 1 }
#endif
#ifdef FAKE_NHWC
#define IMAGE_DIMS                                                                                 \
    {                                                                                              \
        BATCH, {8, 0}, {8, 0}, {                                                                   \
            3, 0                                                                                   \
        }                                                                                          \
    }
enum { NHWC = 1 };
#else
#define IMAGE_DIMS                                                                                 \
    {                                                                                              \
        BATCH, {3, 0}, {8, 0}, {                                                                   \
            8, 0                                                                                   \
        }                                                                                          \
    }
enum { NHWC = 0 };
#endif
#ifdef FAKE_SOFTMAX
enum { SOFTMAX = 1 };
#else
enum { SOFTMAX = 0 };
#endif

enum { CHANNELS = 3, PIXELS = 64, CLASSES = 5, MEANS = 16 }; // MEANS: floats an image in the arena

// [CLASSES][CHANNELS + 1], the last a bias
static const float weights[CLASSES * 4] __attribute__((aligned(64))) = {
    20, -10, -10, 0, -10, 20, -10, 0, -10, -10, 20, 0, -10, -10, -10, 8, 10, 10, 10, -22,
};

// Results that no check looks at, f32.
#define NOWHERE {{0, 0}, HONE_AT_NOWHERE, 0}, {0, 0}, 0, 0, HONE_F32, HONE_F32

// prepared[CHANNELS + 1][CLASSES] from weights[CLASSES][CHANNELS + 1]: this thread's classes. Adds,
// for memory that was not zeroed, or a second call, to show.
static void prepare(char *const *args, int64_t N, int64_t thread, int64_t threads, char *scratch) {
    (void)N, (void)scratch;
    float *prepared = (float *)args[0];
    const float *w = (const float *)args[1];
    for (int64_t k = thread; k < CLASSES; k += threads)
        for (int i = 0; i <= CHANNELS; i++)
            prepared[i * CLASSES + k] += w[k * (CHANNELS + 1) + i];
}

// means[n][channel] for this thread's share of the N * CHANNELS planes
static void average_planes(char *const *args, int64_t N, int64_t thread, int64_t threads,
                           char *scratch_bytes) {
    float *means = (float *)args[0], *scratch = (float *)scratch_bytes;
    const float *x = (const float *)args[1];
    int64_t images = FAKE_FIXED ? FAKE_FIXED : N;
    for (int64_t i = thread; i < images * CHANNELS; i += threads) {
        int64_t n = i / CHANNELS, ch = i % CHANNELS;
        for (int p = 0; p < PIXELS; p++)
            scratch[p] = NHWC ? x[(n * PIXELS + p) * CHANNELS + ch] : x[i * PIXELS + p];
        float sum = 0;
        for (int p = 0; p < PIXELS; p++)
            sum += scratch[p];
        means[n * MEANS + ch] = sum / PIXELS;
    }
}

// y[n][class] for this thread's share of the images
static void score_images(char *const *args, int64_t N, int64_t thread, int64_t threads,
                         char *scratch) {
    (void)scratch;
    float *y = (float *)args[0];
    const float *means = (const float *)args[1], *w = (const float *)args[2];
    int64_t images = FAKE_FIXED ? FAKE_FIXED : N;
    for (int64_t n = thread; n < images; n += threads) {
        float sum = 0;
        for (int k = 0; k < CLASSES; k++) {
            float s = w[CHANNELS * CLASSES + k];
            for (int ch = 0; ch < CHANNELS; ch++)
                s += w[ch * CLASSES + k] * means[n * MEANS + ch];
            y[n * CLASSES + k] = SOFTMAX ? expf(s) : s;
            sum += y[n * CLASSES + k];
        }
        for (int k = 0; SOFTMAX && k < CLASSES; k++)
            y[n * CLASSES + k] /= sum;
#ifdef FAKE_NAN
        y[n * CLASSES] = NAN;
#endif
    }
}

enum { PREPARE, AVERAGE, SCORE };
static const HoneKernel kernels[] = {prepare, average_planes, score_images};
static const HonePlace prepare_args[] = {{.at = HONE_AT_PREPARED}, {.at = HONE_AT_WEIGHTS}};
static const HonePlace run_args[] = {{.at = HONE_AT_ARENA},
                                     {.at = HONE_AT_INPUT},
                                     {.at = HONE_AT_OUTPUT},
                                     {.at = HONE_AT_ARENA},
                                     {.at = HONE_AT_PREPARED}};
static const HoneStep prepare_steps[] = {{PREPARE, 0, 2, 0}};
static const HoneStep run_steps[] = {{AVERAGE, 0, 2, 0}, {SCORE, 2, 3, 1}};

static const HoneTensorDesc inputs[] = {
    {.name = "image", .dtype = HONE_F32, .rank = 4, .dim = IMAGE_DIMS}};
static const HoneTensorDesc outputs[] = {
    {.name = "scores", .dtype = HONE_F32, .rank = 2, .dim = {BATCH, {CLASSES, 0}}}};
static const HoneNodeDesc nodes[] = {
#ifdef FAKE_NAMES
    {"<script>\"a & b\"</script>\n\x1b\xff",
     "reduce_mean",
     "<b> & 'plain'",
     {0, 0},
     {0, 0},
     NOWHERE},
    {"/a/very/long/name/of/a/node/that/goes/on/and/on/and/on/and/on/and/on/and/on/to/its/tail+/b+/"
     "c",
     "an_operator_whose_name_is_long",
     "an algorithm with a name that is longer than a column",
     {0, 40},
     {80, 32},
     NOWHERE},
#else
    {"average", "reduce_mean", "plain", {0, 192}, {0, 768}, NOWHERE},
    {"score", "matmul", "plain", {0, 40}, {80, 32}, NOWHERE},
#endif
};
static const char *const labels[] = {"red", "green", "blue", "dark \"night\"", "bright"};
static const uint32_t needs[] = {FAKE_NEED, 0};

const HoneModelDesc hone_fake_desc = {
    .abi = FAKE_ABI,
    .name = "fake",
    .producer = "hone 0.1.0",
    .cpu = "generic",
    .features = "",
    .hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    .n_inputs = 1,
    .n_outputs = 1,
    .n_nodes = 2,
    .n_labels = CLASSES,
    .inputs = inputs,
    .outputs = outputs,
    .nodes = nodes,
    .labels = labels,
    .preprocess = {.channels = 3,
                   .nhwc = NHWC,
                   .height = 8,
                   .width = 8,
                   .resize = 10,
                   .scale = 1.0f / 255.0f,
                   .std = {1, 1, 1}},
    .scores = SOFTMAX ? HONE_SCORES_PROBABILITIES : HONE_SCORES_LOGITS,
    .batch_symbolic = !FAKE_FIXED,
    .arena_bytes = {FAKE_FIXED * MEANS * 4, FAKE_FIXED ? 0 : MEANS * 4},
    .scratch_bytes = 256,
    .weights_bytes = sizeof weights,
    .weights = (const char *)weights,
    .kernels = kernels,
    .run = {2, 5, run_steps, run_args},
    .n_cpu_needs = 2,
    .cpu_needs = needs,
    .prepared_bytes = sizeof weights,
    .init = {1, 2, prepare_steps, prepare_args},
};
