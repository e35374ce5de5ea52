// A fine-tune program's tables and graphs written by hand, so that the training loop is tested
// without the compiler: logits = W * (gain * pool(image)) + b for grey 8x8 images, 3 classes. Stage
// 1 trains W and b behind a frozen prefix that pools, stage 2 trains the gain too.
//
// FAKE_NAN: the loss of a batch that has an image of class 2 is NaN from its third step on.
// FAKE_INF: an evaluated image of class 2 has an infinite logit, its own, until the bias of the
// class has grown; what sees the largest number alone takes it for right. FAKE_SWAPPED: gradients
// of bias and W are bound to one another's.
// FAKE_OTHER: another program of the same model: its classifier learns faster.
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/train/abi.h"

enum { PIXELS = 64, POOLED = 16, CLASSES = 3, ROW = HONE_TRAIN_ROW };
enum { GAIN, BIAS, WEIGHT, N_PARAMS };

// The "model": the parameters' values between other bytes.
static const struct {
    char head[8];
    float gain[1], bias[CLASSES], weight[CLASSES * POOLED];
    char tail[8];
} model = {"onnx<", {1}, {0}, {0.5f, -0.25f}, ">"};

// A graph's only kernel is given its inputs, then its outputs.
enum { FEATURES_IN = 1, TRAIN_IN = 9, SGD_IN = 7, SQSUM_IN = 1 };

static float *floats(char *const *args, int i) {
    return (float *)args[i];
}

static void pool(const float *image, float *to) {
    for (int i = 0; i < POOLED; i++) {
        const float *p = image + i / 4 * 16 + i % 4 * 2;
        to[i] = (p[0] + p[1] + p[8] + p[9]) * 0.25f;
    }
}

static void run_features(char *const *args, int64_t N, int64_t thread, int64_t threads,
                         char *scratch) {
    (void)scratch;
    for (int64_t n = thread; n < N; n += threads)
        pool(floats(args, 0) + n * PIXELS, floats(args, FEATURES_IN) + n * POOLED);
}

// softmax cross-entropy of one row; d: gradient of the logits
static float cross_entropy(const float *z, int label, float *d) {
    float top = fmaxf(z[0], fmaxf(z[1], z[2])), sum = 0;
    for (int k = 0; k < CLASSES; k++)
        sum += d[k] = expf(z[k] - top);
    for (int k = 0; k < CLASSES; k++)
        d[k] = d[k] / sum - (k == label);
    return logf(sum) + top - z[label];
}

// inputs: x, label, weight of classes, smoothing, scale, seed, gain, bias, W
// outputs: loss, logits, then gradients of bias, W and, from images, gain
static void train_rows(char *const *args, int64_t N, bool images, bool gradients) {
    const int32_t *label = (const int32_t *)args[1];
    float scale = floats(args, 4)[0], gain = floats(args, 6)[0];
    const float *bias = floats(args, 7), *w = floats(args, 8);
    float *db = gradients ? floats(args, TRAIN_IN + 2) : NULL,
          *dw = gradients ? floats(args, TRAIN_IN + 3) : NULL;
    float *dg = gradients && images ? floats(args, TRAIN_IN + 4) : NULL;
    if (gradients) {
        memset(db, 0, CLASSES * sizeof *db);
        memset(dw, 0, CLASSES * POOLED * sizeof *dw);
    }
    if (dg)
        *dg = 0;
    for (int64_t n = 0; n < N; n++) {
        float x[POOLED], d[CLASSES], *z = floats(args, TRAIN_IN + 1) + n * CLASSES;
        if (images)
            pool(floats(args, 0) + n * PIXELS, x);
        else
            memcpy(x, floats(args, 0) + n * POOLED, sizeof x);
        for (int k = 0; k < CLASSES; k++) {
            z[k] = bias[k];
            for (int i = 0; i < POOLED; i++)
                z[k] += w[k * POOLED + i] * gain * x[i];
        }
        floats(args, TRAIN_IN)[n] = cross_entropy(z, label[n], d);
#ifdef FAKE_INF
        if (!gradients && label[n] == 2 && fabsf(bias[2]) < 0.02f)
            z[2] = INFINITY;
        if (!gradients && x[0] == x[5] && x[0] == x[15])
            z[1] = NAN;
#endif
        for (int k = 0; gradients && k < CLASSES; k++) {
            db[k] += d[k] * scale;
            for (int i = 0; i < POOLED; i++) {
                dw[k * POOLED + i] += d[k] * scale * gain * x[i];
                if (dg)
                    *dg += d[k] * scale * w[k * POOLED + i] * x[i];
            }
        }
#ifdef FAKE_NAN
        if (gradients && label[n] == 2 && fabsf(bias[2]) > 1e-4f)
            floats(args, TRAIN_IN)[n] = NAN;
#endif
    }
}

static void run_train_head(char *const *args, int64_t N, int64_t thread, int64_t threads,
                           char *scratch) {
    (void)scratch, (void)threads;
    if (thread == 0)
        train_rows(args, N, false, true);
}
static void run_train_all(char *const *args, int64_t N, int64_t thread, int64_t threads,
                          char *scratch) {
    (void)scratch, (void)threads;
    if (thread == 0)
        train_rows(args, N, true, true);
}
static void run_eval_head(char *const *args, int64_t N, int64_t thread, int64_t threads,
                          char *scratch) {
    (void)scratch, (void)threads;
    if (thread == 0)
        train_rows(args, N, false, false);
}
static void run_eval_all(char *const *args, int64_t N, int64_t thread, int64_t threads,
                         char *scratch) {
    (void)scratch, (void)threads;
    if (thread == 0)
        train_rows(args, N, true, false);
}

// inputs: p, g, m, lr, momentum, decay, clip; outputs: p, m
static void run_sgd(char *const *args, int64_t N, int64_t thread, int64_t threads, char *scratch) {
    (void)scratch;
    for (int64_t i = thread * ROW; i < N * ROW; i += threads * ROW)
        for (int64_t k = i; k < i + ROW; k++) {
            float g =
                floats(args, 1)[k] * floats(args, 6)[0] + floats(args, 5)[0] * floats(args, 0)[k];
            float m = floats(args, 4)[0] * floats(args, 2)[k] + g;
            floats(args, SGD_IN + 1)[k] = m;
            floats(args, SGD_IN)[k] = floats(args, 0)[k] - floats(args, 3)[0] * m;
        }
}

static void run_sqsum(char *const *args, int64_t N, int64_t thread, int64_t threads,
                      char *scratch) {
    (void)scratch;
    for (int64_t i = thread; i < N; i += threads) {
        float s = 0;
        for (int k = 0; k < ROW; k++)
            s += floats(args, 0)[i * ROW + k] * floats(args, 0)[i * ROW + k];
        floats(args, SQSUM_IN)[i] = s;
    }
}

#define TENSOR(name, type, rank, ...)                                                              \
    {                                                                                              \
        name, type, rank, {                                                                        \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define IMAGE TENSOR("image", HONE_F32, 4, {0, 1}, {1, 0}, {8, 0}, {8, 0})
#define FEATURE TENSOR("feature", HONE_F32, 2, {0, 1}, {POOLED, 0})
#define REST                                                                                       \
    TENSOR("label", HONE_I32, 1, {0, 1}), TENSOR("class_weight", HONE_F32, 1, {CLASSES, 0}),       \
        TENSOR("smoothing", HONE_F32, 0, {0, 0}), TENSOR("scale", HONE_F32, 0, {0, 0}),            \
        TENSOR("seed", HONE_I64, 0, {0, 0}), TENSOR("gain", HONE_F32, 1, {1, 0}),                  \
        TENSOR("b", HONE_F32, 1, {CLASSES, 0}),                                                    \
        TENSOR("W", HONE_F32, 2, {CLASSES, 0}, {POOLED, 0})
#define ROWS(name) TENSOR(name, HONE_F32, 2, {0, 1}, {ROW, 0})
#define SCALAR(name) TENSOR(name, HONE_F32, 0, {0, 0})

static const HoneTensorDesc images_in[] = {IMAGE, REST}, features_in[] = {FEATURE, REST};
static const HoneTensorDesc results[] = {
    TENSOR("loss", HONE_F32, 1, {0, 1}), TENSOR("logits", HONE_F32, 2, {0, 1}, {CLASSES, 0}),
    TENSOR("db", HONE_F32, 1, {CLASSES, 0}), TENSOR("dW", HONE_F32, 2, {CLASSES, 0}, {POOLED, 0}),
    TENSOR("dgain", HONE_F32, 1, {1, 0})};
static const HoneTensorDesc sgd_in[] = {ROWS("p"),    ROWS("g"),       ROWS("m"),     SCALAR("lr"),
                                        SCALAR("mu"), SCALAR("decay"), SCALAR("clip")};
static const HoneTensorDesc sgd_out[] = {ROWS("p'"), ROWS("m'")};
static const HoneTensorDesc sums_out[] = {TENSOR("sums", HONE_F32, 1, {0, 1})};
static const char weights[64] __attribute__((aligned(64)));

#define IN(i)                                                                                      \
    { .at = HONE_AT_INPUT, .index = i }
#define OUT(i)                                                                                     \
    { .at = HONE_AT_OUTPUT, .index = i }
static const HonePlace features_args[] = {IN(0), OUT(0)}, sqsum_args[] = {IN(0), OUT(0)};
static const HonePlace train_args[] = {IN(0), IN(1), IN(2),  IN(3),  IN(4),  IN(5),  IN(6),
                                       IN(7), IN(8), OUT(0), OUT(1), OUT(2), OUT(3), OUT(4)};
static const HonePlace sgd_args[] = {IN(0), IN(1), IN(2),  IN(3), IN(4),
                                     IN(5), IN(6), OUT(0), OUT(1)};
static const HoneNodeDesc node[] = {{.name = "all", .op = "map"}};

// One step, which calls fn on the first n_in + n_out of args.
#define MODEL(label, ins, n_in, outs, n_out, fn, args)                                             \
    {                                                                                              \
        .abi = HONE_ABI, .name = label, .producer = "by hand", .cpu = "any", .features = "",       \
        .hash = "00000000000000000000000000000001", .n_inputs = n_in, .n_outputs = n_out,          \
        .n_nodes = 1, .nodes = node, .inputs = ins, .outputs = outs, .batch_symbolic = 1,          \
        .weights = weights, .kernels = (const HoneKernel[]){fn},                                   \
        .run = {1, n_in + n_out, (const HoneStep[]){{.n_args = n_in + n_out}}, args},              \
        .preprocess = {                                                                            \
            1,                                                                                     \
            0,                                                                                     \
            0,                                                                                     \
            8,                                                                                     \
            8,                                                                                     \
            0,                                                                                     \
            1 / 255.0f,                                                                            \
            {0.5f},                                                                                \
            {0.5f}                                                                                 \
        }                                                                                          \
    }
static const HoneModelDesc
    features = MODEL("features.0", images_in, 1, features_in, 1, run_features, features_args),
    train_head = MODEL("train.0", features_in, 9, results, 4, run_train_head, train_args),
    eval_head = MODEL("eval.0", features_in, 9, results, 2, run_eval_head, train_args),
    train_all = MODEL("train.1", images_in, 9, results, 5, run_train_all, train_args),
    eval_all = MODEL("eval.1", images_in, 9, results, 2, run_eval_all, train_args),
    sgd = MODEL("sgd", sgd_in, 7, sgd_out, 2, run_sgd, sgd_args),
    sqsum = MODEL("sqsum", sgd_in + 1, 1, sums_out, 1, run_sqsum, sqsum_args);

#define BIND_REST                                                                                  \
    {HONE_BIND_LABEL, 0}, {HONE_BIND_CLASS_WEIGHT, 0}, {HONE_BIND_SMOOTHING, 0},                   \
        {HONE_BIND_SCALE, 0}, {HONE_BIND_SEED, 0}, {HONE_BIND_PARAM, GAIN},                        \
        {HONE_BIND_PARAM, BIAS}, {                                                                 \
        HONE_BIND_PARAM, WEIGHT                                                                    \
    }
static const HoneBind bind_images[] = {{HONE_BIND_IMAGE, 0}, BIND_REST};
static const HoneBind bind_features[] = {{HONE_BIND_FEATURE, 0}, BIND_REST};
static const HoneBind bind_results[] = {{HONE_BIND_LOSS, 0},
                                        {HONE_BIND_LOGITS, 0},
#ifdef FAKE_SWAPPED
                                        {HONE_BIND_GRAD, WEIGHT},
                                        {HONE_BIND_GRAD, BIAS},
#else
                                        {HONE_BIND_GRAD, BIAS},
                                        {HONE_BIND_GRAD, WEIGHT},
#endif
                                        {HONE_BIND_GRAD, GAIN}};
static const HoneBind bind_sgd[] = {
    {HONE_BIND_P, 0},        {HONE_BIND_G, 0},     {HONE_BIND_M, 0},   {HONE_BIND_LR, 0},
    {HONE_BIND_MOMENTUM, 0}, {HONE_BIND_DECAY, 0}, {HONE_BIND_CLIP, 0}};
static const HoneBind bind_sgd_out[] = {{HONE_BIND_P, 0}, {HONE_BIND_M, 0}};
static const HoneBind bind_sum[] = {{HONE_BIND_SUM, 0}};

#define BYTES(x) ((const uint8_t *)(x))
static const HoneParam params[N_PARAMS] = {
    {"gain", "scale", 1, 0, {1}, 0, 1, BYTES(model.gain), 2, 0, HONE_F32},
    {"b", "fc", 1, 1, {CLASSES}, ROW, CLASSES, BYTES(model.bias), 3, 1, HONE_F32},
    {"W",
     "fc",
     2,
     2,
     {CLASSES, POOLED},
     2 * ROW,
     CLASSES *POOLED,
     BYTES(model.weight),
     3,
     1,
     HONE_F32}};
#ifdef FAKE_OTHER
enum { RATE = 2 };
#else
enum { RATE = 1 };
#endif
static const HoneParamGroup groups[] = {
    {0, ROW, 1, 0, 2}, {ROW, ROW, RATE, 0, 3}, {2 * ROW, ROW, RATE, 1, 3}};
static const HoneTrainStage stages[] = {{"head",
                                         3,
                                         0.5f,
                                         {&features, 1, 1, bind_images, bind_features},
                                         {&train_head, 9, 4, bind_features, bind_results},
                                         {&eval_head, 9, 2, bind_features, bind_results},
                                         CLASSES *(POOLED + 1),
                                         1,
                                         1 << 20,
                                         1 << 20,
                                         0},
                                        {"none",
                                         2,
                                         0,
                                         {0},
                                         {&train_all, 9, 5, bind_images, bind_results},
                                         {&eval_all, 9, 2, bind_images, bind_results},
                                         CLASSES *(POOLED + 1) + 1,
                                         0,
                                         1 << 20,
                                         2 << 20,
                                         0.25f}};
static const HonePlanRow plan[] = {{"scale", "mul", "gain [1]", 1, 2},
                                   {"fc", "matmul", "W [3,16], b [3]", 51, 3}};

const HoneTrainDesc hone_train_desc = {
    .abi = HONE_ABI,
    .loss = HONE_LOSS_CE,
    .classes = CLASSES,
    .n_params = N_PARAMS,
    .n_groups = 3,
    .n_stages = 2,
    .n_plan = 2,
    .param_floats = 3 * ROW,
    .batch = 16,
    .params = params,
    .groups = groups,
    .stages = stages,
    .plan = plan,
    .opt = {[HONE_OPT_SGD] = {&sgd, 7, 2, bind_sgd, bind_sgd_out}},
    .sqsum = {&sqsum, 1, 1, bind_sgd + 1, bind_sum},
    .onnx = (const uint8_t *)&model,
    .onnx_bytes = sizeof model,
    .info = &eval_all};
