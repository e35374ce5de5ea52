// A main() for fine-tune executables that looks at the emitted graphs one by one, in place of the
// training program's (tests/e2e/test_finetune.py links it in):
//
//   OUT check STAGE N         gradients of train.STAGE against central differences of eval.STAGE
//   OUT masks STAGE N         the loss of train.STAGE with the seeds 1, 1, 2 and that of eval.STAGE
//   OUT dump STAGE N X Y FOLDER   raw float files X [N,C,H,W] and int32 Y -> FOLDER/loss, logits,
//                             grad.I, moved.I (I: the parameter's number), features
//   OUT onnx FILE             the model inside
//
// Inputs of `check` are drawn from a fixed seed. Exit code 1: something is off.
#include "runtime/core/hone.h"
#include "runtime/train/abi.h"
#include "runtime/train/stored.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_VALUES = 2048, CHECKED = 12 };

typedef struct State {
    const HoneTrainDesc *d;
    int stage;
    int64_t N;
    float *params;         // the whole buffer
    float *image, *target; // [N,C,H,W]; [N,columns]
    int32_t *label;
    float mix[1 << 12]; // all 1
    float class_weight[1 << 15], smoothing, scale;
    int64_t seed;
    float *feature[MAX_VALUES];
    float *loss, *logits, *head_input;
    float *grad[MAX_VALUES], *moved[MAX_VALUES]; // by parameter
} State;

static void fail(const char *what) {
    fprintf(stderr, "drive_train: %s\n", what);
    exit(1);
}

static int64_t count_elems(const HoneTensorDesc *t, int64_t N) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++)
        n *= t->dim[i].c + t->dim[i].n * N;
    return n;
}

static const HoneTrainGraph *image_graph(const State *s) {
    const HoneTrainStage *st = &s->d->stages[s->stage];
    return st->features.model ? &st->features : &st->train;
}

static const HoneTensorDesc *find_image(const State *s) {
    const HoneTrainGraph *g = image_graph(s);
    for (int i = 0; i < g->model->n_inputs; i++)
        if (g->in[i].kind == HONE_BIND_IMAGE)
            return &g->model->inputs[i];
    fail("nobody reads the image");
    return NULL;
}

static const void *input_of(State *s, const HoneBind *b) {
    switch (b->kind) {
    case HONE_BIND_IMAGE:
        return s->image;
    case HONE_BIND_FEATURE:
        return s->feature[b->index];
    case HONE_BIND_LABEL:
    case HONE_BIND_LABEL2:
        return s->label;
    case HONE_BIND_MIX:
        return s->mix;
    case HONE_BIND_TARGET:
        return s->target;
    case HONE_BIND_CLASS_WEIGHT:
        return s->class_weight;
    case HONE_BIND_SMOOTHING:
        return &s->smoothing;
    case HONE_BIND_SCALE:
        return &s->scale;
    case HONE_BIND_SEED:
        return &s->seed;
    case HONE_BIND_PARAM:
        return s->params + s->d->params[b->index].offset;
    default:
        fail("an input of an unexpected kind");
        return NULL;
    }
}

static void *output_of(State *s, const HoneBind *b, int64_t elems) {
    float **p = b->kind == HONE_BIND_FEATURE      ? &s->feature[b->index]
                : b->kind == HONE_BIND_LOSS       ? &s->loss
                : b->kind == HONE_BIND_LOGITS     ? &s->logits
                : b->kind == HONE_BIND_GRAD       ? &s->grad[b->index]
                : b->kind == HONE_BIND_PARAM      ? &s->moved[b->index]
                : b->kind == HONE_BIND_HEAD_INPUT ? &s->head_input
                                                  : NULL;
    if (!p)
        fail("an output of an unexpected kind");
    if (!*p)
        *p = calloc((size_t)elems + 1, sizeof **p);
    return *p;
}

static void run(State *s, const HoneTrainGraph *g) {
    const void *in[MAX_VALUES];
    void *out[MAX_VALUES];
    char err[256];
    if (!g->model)
        return;
    HoneModel *m = hone_create(g->model, NULL, err, sizeof err);
    if (!m)
        fail(err);
    for (int i = 0; i < g->model->n_inputs; i++)
        in[i] = input_of(s, &g->in[i]);
    for (int i = 0; i < g->model->n_outputs; i++)
        out[i] = output_of(s, &g->out[i], count_elems(&g->model->outputs[i], s->N));
    if (hone_run(m, s->N, in, out) != 0)
        fail(hone_error(m));
    hone_destroy(m);
}

// Dropout, or statistics of the batch: training computes another function than evaluation.
static bool differs(const State *s) {
    const HoneTrainGraph *g = &s->d->stages[s->stage].train;
    for (int i = 0; i < g->model->n_inputs; i++)
        if (g->in[i].kind == HONE_BIND_SEED)
            return true;
    for (int i = 0; i < g->model->n_outputs; i++)
        if (g->out[i].kind == HONE_BIND_PARAM)
            return true;
    return false;
}

// Of eval.STAGE, or of the training step where that differs.
static double mean_loss(State *s) {
    const HoneTrainStage *st = &s->d->stages[s->stage];
    double sum = 0;
    float *grad[MAX_VALUES];
    memcpy(grad, s->grad, sizeof grad);
    memset(s->grad, 0, sizeof s->grad);
    run(s, &st->features);
    run(s, differs(s) ? &st->train : &st->eval);
    for (int i = 0; i < MAX_VALUES; i++)
        free(s->grad[i]);
    memcpy(s->grad, grad, sizeof grad);
    for (int64_t i = 0; i < s->N; i++)
        sum += s->loss[i];
    return sum * s->scale;
}

static uint64_t random_state = 7;
static float draw(void) { // uniform in (-1, 1)
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)((double)(random_state >> 40) / (1 << 23) - 1);
}

static int columns(const HoneTrainDesc *d) {
    return d->binary ? 1 : d->classes;
}

static void init(State *s, const char *stage, const char *batch) {
    s->d = &hone_train_desc;
    s->stage = atoi(stage);
    s->N = atoll(batch);
    if (s->stage < 0 || s->stage >= s->d->n_stages || s->d->abi != HONE_ABI)
        fail("no such stage, or another ABI");
    s->params = calloc((size_t)s->d->param_floats + 1, sizeof(float));
    for (int i = 0; i < s->d->n_params; i++) {
        const HoneParam *p = &s->d->params[i];
        if ((uintptr_t)p->initial % 4 || p->initial < s->d->onnx ||
            p->initial + rt_stored_bytes(p) > s->d->onnx + s->d->onnx_bytes)
            fail("a parameter's values are not in the model");
        rt_stored_load(p, s->params + p->offset);
    }
    for (int i = 0; i < 1 << 12; i++)
        s->mix[i] = 1;
    for (int i = 0; i < s->d->classes; i++)
        s->class_weight[i] = 1;
    s->scale = 1 / (float)s->N;
    s->image = calloc((size_t)count_elems(find_image(s), s->N), sizeof(float));
    s->label = calloc((size_t)s->N, sizeof *s->label);
    s->target = calloc((size_t)(s->N * columns(s->d)), sizeof *s->target);
}

// ---------------------------------------------------------------- check

// The derivative along d, a random direction in parameter p, both ways.
static int check_param(State *s, int index, double loss) {
    const HoneParam *p = &s->d->params[index];
    float *x = s->params + p->offset, *old = malloc((size_t)p->count * sizeof *x);
    float *dir = malloc((size_t)p->count * sizeof *x);
    double along = 0, norm = 0, size = 0, grad = 0;
    memcpy(old, x, (size_t)p->count * sizeof *x);
    for (int64_t k = 0; k < p->count; k++) { // near the gradient: else most of it is noise
        dir[k] = s->grad[index][k];
        grad += (double)s->grad[index][k] * s->grad[index][k];
        size += (double)x[k] * x[k];
    }
    double noise = 0.5 * sqrt(grad / (double)p->count);
    for (int64_t k = 0; k < p->count; k++) {
        dir[k] += (float)(grad > 0 ? noise : 1) * draw();
        along += (double)dir[k] * s->grad[index][k];
        norm += (double)dir[k] * dir[k];
    }
    double best = INFINITY, found = 0;
    for (double rel = 0.004; rel > 0.00002 && best > 0.02; rel /= 3) { // activations have kinks
        double h = rel * (sqrt(size) + 0.1) / sqrt(norm), side[2];
        for (int k = 0; k < 2; k++) {
            for (int64_t i = 0; i < p->count; i++)
                x[i] = old[i] + (float)((k ? -h : h) * dir[i]);
            side[k] = mean_loss(s);
        }
        double d = (side[0] - side[1]) / (2 * h), error = fabs(d - along) / (fabs(along) + 1e-6);
        found = error < best ? d : found;
        best = error < best ? error : best;
    }
    memcpy(x, old, (size_t)p->count * sizeof *x);
    free(old);
    free(dir);
    bool bad = !(best < 0.05);
    if (bad || getenv("VERBOSE"))
        fprintf(stderr, "%-40s %s: along the direction %g, by differences %g (loss %g)\n", p->name,
                bad ? "WRONG" : "fine", along, found, loss);
    return bad;
}

static void draw_batch(State *s) {
    int64_t n = count_elems(find_image(s), s->N);
    for (int64_t i = 0; i < n; i++)
        s->image[i] = draw();
    for (int64_t i = 0; i < s->N; i++)
        s->label[i] = (int32_t)(i * 7 % s->d->classes);
    for (int64_t i = 0; i < s->N * columns(s->d); i++)
        s->target[i] = (float)(i * 5 % 3 == 0);
}

static int check_stage(State *s) {
    const HoneTrainStage *st = &s->d->stages[s->stage];
    draw_batch(s);
    run(s, &st->features);
    run(s, &st->train);
    double train = 0;
    for (int64_t i = 0; i < s->N; i++)
        train += s->loss[i] * s->scale;
    double eval = mean_loss(s);
    if (!differs(s) && !(fabs(train - eval) <= 1e-4 * (1 + fabs(eval)))) {
        fprintf(stderr, "loss %g in training, %g in evaluation\n", train, eval);
        return 1;
    }
    int trained = 0, wrong = 0, step;
    for (int i = 0; i < s->d->n_params; i++) {
        bool trains = s->d->params[i].group >= 0 && s->d->params[i].trains >> s->stage & 1;
        if (trains != (s->grad[i] != NULL))
            fail("a gradient is missing, or there is one that nobody wants");
        trained += trains;
    }
    step = trained / CHECKED + 1;
    for (int i = 0, k = 0; i < s->d->n_params; i++)
        if (s->grad[i] && k++ % step == 0)
            wrong += check_param(s, i, eval);
    fprintf(stderr, "stage %d: %d parameters train, loss %g, %d wrong\n", s->stage, trained, eval,
            wrong);
    return wrong > 0;
}

// ---------------------------------------------------------------- masks

static int print_masks(State *s) {
    static const int64_t seeds[] = {1, 1, 2};
    const HoneTrainStage *st = &s->d->stages[s->stage];
    draw_batch(s);
    run(s, &st->features);
    for (int k = 0; k < 4; k++) {
        double sum = 0;
        s->seed = k < 3 ? seeds[k] : 0;
        run(s, k < 3 ? &st->train : &st->eval);
        for (int64_t i = 0; i < s->N; i++)
            sum += s->loss[i];
        printf("%.9g\n", sum * s->scale);
    }
    return 0;
}

// ---------------------------------------------------------------- dump

static void read_raw(const char *path, void *to, size_t bytes) {
    FILE *f = fopen(path, "rb");
    if (!f || fread(to, 1, bytes, f) != bytes)
        fail(path);
    fclose(f);
}

static void write_raw(const char *folder, const char *name, int index, const void *v, int64_t n) {
    char path[4096];
    snprintf(path, sizeof path, index < 0 ? "%s/%s" : "%s/%s.%d", folder, name, index);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(v, sizeof(float), (size_t)n, f) != (size_t)n || fclose(f) != 0)
        fail(path);
}

static int dump_stage(State *s, char **argv) {
    const HoneTrainStage *st = &s->d->stages[s->stage];
    read_raw(argv[0], s->image, (size_t)count_elems(find_image(s), s->N) * sizeof(float));
    read_raw(argv[1], s->label, (size_t)s->N * sizeof *s->label);
    run(s, &st->features);
    run(s, &st->train);
    write_raw(argv[2], "loss", -1, s->loss, s->N);
    write_raw(argv[2], "logits", -1, s->logits, s->N * columns(s->d));
    for (int i = 0; i < s->d->n_params; i++) {
        if (s->grad[i])
            write_raw(argv[2], "grad", i, s->grad[i], s->d->params[i].count);
        if (s->moved[i])
            write_raw(argv[2], "moved", i, s->moved[i], s->d->params[i].count);
        printf("%d %s\n", i, s->d->params[i].name);
    }
    return 0;
}

int main(int argc, char **argv) {
    State *s = calloc(1, sizeof *s);
    if (argc == 3 && strcmp(argv[1], "onnx") == 0) {
        FILE *f = fopen(argv[2], "wb");
        size_t n = (size_t)hone_train_desc.onnx_bytes;
        return !f || fwrite(hone_train_desc.onnx, 1, n, f) != n || fclose(f) != 0;
    }
    if (argc < 4)
        fail("see the source for how to call it");
    init(s, argv[2], argv[3]);
    return strcmp(argv[1], "check") == 0               ? check_stage(s)
           : strcmp(argv[1], "masks") == 0             ? print_masks(s)
           : strcmp(argv[1], "dump") == 0 && argc == 7 ? dump_stage(s, argv + 4)
                                                       : 2;
}
