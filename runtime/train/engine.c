// The engine behind train/engine.h: state, binding of graphs to it, running them.
#define _GNU_SOURCE
#include "runtime/train/engine_graphs.h"
#include "runtime/train/engine_part.h"
#include "runtime/train/stored.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { HUGE_PAGE = 2 << 20, MAX_BINDS = 4096 };

// ---------------------------------------------------------------- memory

static float *alloc_floats(int64_t n) {
    float *p = NULL;
    if (n >= 0 && n < INT64_MAX / 8)
        p = rt_alloc_aligned((size_t)(n ? n : 1) * sizeof *p);
    if (p)
        memset(p, 0, (size_t)n * sizeof *p);
    return p;
}

// Zeros that take no memory until they are written: SGD has no second moment, what is frozen no
// gradient. Large pages: a step goes through all of them.
static bool clear_buffer(RtEngine *t, RtEngineBuffer b, RtErr *err) {
    if (t->buffer[b])
        munmap(t->buffer[b], t->state_bytes);
    t->buffer[b] = NULL;
    if (t->d->param_floats < 0 || t->d->param_floats >= INT64_MAX / 8)
        return rt_fail(err, "no memory for %lld parameters", (long long)t->d->param_floats);
    t->state_bytes = (size_t)t->d->param_floats * sizeof(float) + 1;
    t->buffer[b] = (float *)(void *)rt_alloc_pages(&t->state_bytes);
    return t->buffer[b] ||
           rt_fail(err, "no memory for %lld parameters", (long long)t->d->param_floats);
}

static void free_space(RtEngine *t) {
    if (t->space)
        munmap(t->space, t->space_bytes);
    t->space = NULL;
    t->space_bytes = 0;
}

static bool grow_space(RtEngine *t, size_t bytes, RtErr *err) {
    if (bytes <= t->space_bytes)
        return true;
    free_space(t);
    if (bytes > SIZE_MAX / 2)
        return rt_fail(err, "the batch is too large");
    size_t want = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *p = mmap(NULL, want, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return rt_fail(err, "no memory for a workspace of %zu MB; try a smaller --batch",
                       want / 1000000);
    madvise(p, want, MADV_HUGEPAGE);
    t->space = p;
    t->space_bytes = want;
    return true;
}

// ---------------------------------------------------------------- graphs

static void close_graph(RtEngine *t, int which) {
    hone_destroy(t->model[which]);
    t->model[which] = NULL;
}

static bool open_graph(RtEngine *t, int which, const HoneTrainGraph *g, RtErr *err) {
    close_graph(t, which);
    t->graph[which] = *g;
    if (!g->model)
        return true;
    if (g->model->n_inputs > MAX_BINDS || g->model->n_outputs > MAX_BINDS)
        return rt_fail(err, "%s: too many inputs", g->model->name);
    if (!rt_bind_check(t->d, g, err))
        return false;
    char text[sizeof err->text];
    HoneOptions o = {.threads = t->threads};
    t->model[which] = hone_create(g->model, &o, text, sizeof text);
    if (!t->model[which])
        return rt_fail(err, "%s", text);
    t->graph[which].model = rt_model_desc(t->model[which]);
    return true;
}

static void *bind_one(const RtEngine *t, const RtEngineBound *b, HoneBind bind) {
    switch (bind.kind) {
    case HONE_BIND_PARAM:
        return t->buffer[RT_ENGINE_P] + t->d->params[bind.index].offset;
    case HONE_BIND_GRAD:
        return (float *)b->at[HONE_BIND_GRAD] + t->d->params[bind.index].offset;
    case HONE_BIND_FEATURE:
        return b->features ? b->features[bind.index] : NULL;
    default:
        return b->at[bind.kind];
    }
}

static bool run_model(RtEngine *t, int which, HoneModel *m, int64_t n, const RtEngineBound *b,
                      RtObserve observe, void *ctx, RtErr *err) {
    const HoneTrainGraph *g = &t->graph[which];
    const void *in[MAX_BINDS];
    void *out[MAX_BINDS];
    for (int i = 0; i < g->model->n_inputs; i++)
        in[i] = bind_one(t, b, g->in[i]);
    for (int i = 0; i < g->model->n_outputs; i++)
        out[i] = bind_one(t, b, g->out[i]);
    if (!grow_space(t, hone_workspace_bytes(m, n), err))
        return false;
    hone_set_workspace(m, t->space, t->space_bytes);
    return rt_model_observe(m, n, in, out, observe, ctx) == 0 ||
           rt_fail(err, "%s: %s", g->model->name, hone_error(m));
}

bool rt_engine_run(RtEngine *t, int which, int64_t n, const RtEngineBound *b, RtErr *err) {
    if (!t->model[which])
        return rt_fail(err, "the program has no graph for this step");
    return run_model(t, which, t->model[which], n, b, NULL, NULL, err);
}

// ---------------------------------------------------------------- open and close

// The file inside the program is read once more at the end, for the export.
static void load_initial(RtEngine *t) {
    for (int i = 0; i < t->d->n_params; i++) {
        const HoneParam *p = &t->d->params[i];
        rt_stored_load(p, t->buffer[RT_ENGINE_P] + p->offset);
    }
    RtPages read = rt_file_pages(t->d->onnx, t->d->onnx_bytes);
    rt_pages_let_go(&read);
}

static bool alloc_state(RtEngine *t, RtErr *err) {
    for (int b = 0; b < RT_ENGINE_BUFFERS; b++)
        if (!clear_buffer(t, b, err))
            return false;
    t->row_sums = alloc_floats(t->d->param_floats / HONE_TRAIN_ROW + 1);
    return t->row_sums || rt_fail(err, "no memory");
}

RtEngine *rt_engine_open(const HoneTrainDesc *d, int threads, RtErr *err) {
    if (d->abi != HONE_ABI) {
        rt_fail(err, "compiled for ABI %u, this runtime has ABI %d; compile it again", d->abi,
                HONE_ABI);
        return NULL;
    }
    RtEngine *t = calloc(1, sizeof *t);
    if (!t) {
        rt_fail(err, "no memory");
        return NULL;
    }
    t->d = d;
    t->stage = -1;
    t->threads = rt_region_threads(rt_threads(threads));
    bool ok = alloc_state(t, err) && open_graph(t, SQSUM, &d->sqsum, err);
    for (int i = 0; ok && i < HONE_OPT_COUNT; i++)
        ok = open_graph(t, OPT + i, &d->opt[i], err);
    if (!ok) {
        rt_engine_close(t);
        return NULL;
    }
    load_initial(t);
    return t;
}

static void free_features(RtEngine *t) {
    for (int i = 0; i < RT_MAX_FEATURES; i++) {
        free(t->feature[i]);
        t->feature[i] = NULL;
    }
    free(t->head_input);
    t->head_input = NULL;
    t->feature_room = t->head_room = 0;
}

void rt_engine_close(RtEngine *t) {
    if (!t)
        return;
    for (int i = 0; i < N_GRAPHS; i++)
        close_graph(t, i);
    for (int b = 0; b < RT_ENGINE_BUFFERS; b++)
        if (t->buffer[b])
            munmap(t->buffer[b], t->state_bytes);
    free_features(t);
    free(t->row_sums);
    free(t->ones);
    free_space(t);
    free(t);
}

// Floats per image of what we hand over for an input: memory is sized by this, so a graph that
// reads more than it is not run.
static int64_t floats_given(const RtEngine *t, HoneBind b, int64_t declared) {
    const HonePreprocess *p = &t->d->info->preprocess;
    if (b.kind == HONE_BIND_IMAGE)
        return (int64_t)p->height * p->width * p->channels;
    if (b.kind == HONE_BIND_FEATURE)
        return b.index < rt_engine_n_features(t) ? rt_engine_feature_floats(t, b.index) : -1;
    return declared;
}

static bool check_stage(const RtEngine *t, RtErr *err) {
    if (rt_engine_n_features(t) > RT_MAX_FEATURES)
        return rt_fail(err, "the frozen prefix has more than %d results", RT_MAX_FEATURES);
    for (int k = PREFIX; k < N_STAGE_GRAPHS; k++) {
        const HoneTrainGraph *g = &t->graph[k];
        for (int i = 0; g->model && i < g->n_in; i++) {
            int64_t count;
            if (!rt_tensor_count(&g->model->inputs[i], 1, &count) ||
                count != floats_given(t, g->in[i], count))
                return rt_fail(err, "%s: its input '%s' is not as large as what it gets",
                               g->model->name, g->model->inputs[i].name);
        }
    }
    return true;
}

bool rt_engine_open_stage(RtEngine *t, int s, RtErr *err) {
    const HoneTrainStage *stage = &t->d->stages[s];
    free_features(t);
    t->stage = -1;
    if (!open_graph(t, PREFIX, &stage->features, err) ||
        !open_graph(t, TRAIN, &stage->train, err) || !open_graph(t, EVAL, &stage->eval, err))
        return false;
    t->stage = s;
    if (!check_stage(t, err))
        return false;
    memset(t->buffer[RT_ENGINE_G], 0, (size_t)t->d->param_floats * sizeof(float));
    return clear_buffer(t, RT_ENGINE_M, err) && clear_buffer(t, RT_ENGINE_V, err);
}

const HoneTrainDesc *rt_engine_desc(const RtEngine *t) {
    return t->d;
}

int rt_engine_threads(const RtEngine *t) {
    return t->threads;
}

int rt_engine_stage(const RtEngine *t) {
    return t->stage;
}

int rt_engine_logit_columns(const RtEngine *t) {
    return t->d->binary ? 1 : t->d->classes;
}

int64_t rt_engine_places(const RtEngine *t) {
    return t->d->map_height ? (int64_t)t->d->map_height * t->d->map_width : 1;
}

float *rt_engine_buffer(RtEngine *t, RtEngineBuffer b) {
    return t->buffer[b];
}

void rt_engine_swap(RtEngine *t, RtEngineBuffer b, float **other) {
    float *had = t->buffer[b];
    t->buffer[b] = *other;
    *other = had;
}

uint64_t rt_engine_frozen_hash(const RtEngine *t, int s) {
    uint64_t h = 0;
    for (int i = 0; i < t->d->n_params; i++) {
        const HoneParam *p = &t->d->params[i];
        if (!(p->trains >> s & 1))
            h = XXH3_64bits_withSeed(t->buffer[RT_ENGINE_P] + p->offset,
                                     (size_t)p->count * sizeof(float), h);
    }
    return h;
}

// ---------------------------------------------------------------- steps

int rt_engine_n_features(const RtEngine *t) {
    const HoneModelDesc *m = t->graph[PREFIX].model;
    return t->stage >= 0 && m ? m->n_outputs : 0;
}

int64_t rt_engine_feature_floats(const RtEngine *t, int i) {
    int64_t count = 0;
    rt_tensor_count(&t->graph[PREFIX].model->outputs[i], 1, &count);
    return count;
}

bool rt_engine_features(RtEngine *t, int64_t n, const float *images, float *const *features,
                        RtErr *err) {
    RtEngineBound b = {.at = {[HONE_BIND_IMAGE] = (void *)images}, .features = features};
    return rt_engine_run(t, PREFIX, n, &b, err);
}

// Own buffers for the prefix's results.
static bool make_features(RtEngine *t, int64_t n, RtErr *err) {
    if (n <= t->feature_room)
        return true;
    free_features(t);
    for (int i = 0; i < rt_engine_n_features(t); i++)
        if (!(t->feature[i] = alloc_floats(rt_engine_feature_floats(t, i) * n)))
            return rt_fail(err, "no memory for the frozen layers' results; try a smaller --batch");
    t->feature_room = n;
    return true;
}

static bool make_ones(RtEngine *t, int64_t n, RtErr *err) {
    if (n <= t->n_ones)
        return true;
    free(t->ones);
    t->ones = alloc_floats(n);
    t->n_ones = t->ones ? n : 0;
    for (int64_t i = 0; i < t->n_ones; i++)
        t->ones[i] = 1;
    return t->ones || rt_fail(err, "no memory for a batch");
}

static bool bind_batch(RtEngine *t, const RtEngineBatch *b, RtEngineBound *to, RtErr *err) {
    if (!b->mix && !make_ones(t, b->n, err))
        return false;
    *to = (RtEngineBound){.at = {[HONE_BIND_IMAGE] = (void *)b->images,
                                 [HONE_BIND_LABEL] = (void *)b->labels,
                                 [HONE_BIND_LABEL2] = (void *)(b->labels2 ? b->labels2 : b->labels),
                                 [HONE_BIND_MIX] = (void *)(b->mix ? b->mix : t->ones),
                                 [HONE_BIND_TARGET] = (void *)b->targets,
                                 [HONE_BIND_CLASS_WEIGHT] = (void *)b->class_weight,
                                 [HONE_BIND_SMOOTHING] = (void *)&b->smoothing,
                                 [HONE_BIND_SCALE] = (void *)&b->scale,
                                 [HONE_BIND_SEED] = (void *)&b->seed,
                                 [HONE_BIND_LOSS] = b->loss,
                                 [HONE_BIND_LOGITS] = b->logits},
                          .features = b->features};
    if (b->features || rt_engine_n_features(t) == 0)
        return true;
    if (!make_features(t, b->n, err) || !rt_engine_features(t, b->n, b->images, t->feature, err))
        return false;
    to->features = t->feature;
    return true;
}

bool rt_engine_train(RtEngine *t, const RtEngineBatch *b, float *gradient, RtObserve observe,
                     void *ctx, RtErr *err) {
    RtEngineBound to;
    if (!t->model[TRAIN])
        return rt_fail(err, "the program has no graph for this step");
    if (!bind_batch(t, b, &to, err))
        return false;
    to.at[HONE_BIND_GRAD] = gradient;
    return run_model(t, TRAIN, t->model[TRAIN], b->n, &to, observe, ctx, err);
}

void rt_engine_written(const RtEngine *t, int32_t *step) {
    const HoneTrainGraph *g = &t->graph[TRAIN];
    const HoneSteps *run = g->model ? &g->model->run : NULL;
    for (int i = 0; i < t->d->n_params; i++)
        step[i] = -1;
    for (int32_t s = 0; run && s < run->n; s++)
        for (int32_t k = 0; k < run->step[s].n_args; k++) {
            const HonePlace *p = &run->args[run->step[s].first_arg + k];
            if (p->at == HONE_AT_OUTPUT && p->index < g->n_out &&
                g->out[p->index].kind == HONE_BIND_GRAD)
                step[g->out[p->index].index] = s;
        }
}

bool rt_engine_meets(const RtEngine *t, int32_t step) {
    const HoneSteps *run = &t->graph[TRAIN].model->run;
    return step < run->n && run->step[step].barrier;
}

int64_t rt_engine_head_floats(const RtEngine *t) {
    const HoneTrainGraph *g = &t->graph[EVAL];
    int64_t count = 0;
    for (int i = 0; t->stage >= 0 && g->model && i < g->n_out; i++)
        if (g->out[i].kind == HONE_BIND_HEAD_INPUT)
            rt_tensor_count(&g->model->outputs[i], 1, &count);
    return count;
}

static bool make_head_input(RtEngine *t, int64_t floats, RtErr *err) {
    if (floats <= t->head_room)
        return true;
    free(t->head_input);
    t->head_input = alloc_floats(floats);
    t->head_room = t->head_input ? floats : 0;
    return t->head_input || rt_fail(err, "no memory for an evaluation; try a smaller --batch");
}

bool rt_engine_eval(RtEngine *t, const RtEngineBatch *b, RtErr *err) {
    RtEngineBound to;
    if (!bind_batch(t, b, &to, err) ||
        (!b->head_input && !make_head_input(t, b->n * rt_engine_head_floats(t), err)))
        return false;
    to.at[HONE_BIND_HEAD_INPUT] = b->head_input ? b->head_input : t->head_input;
    return rt_engine_run(t, EVAL, b->n, &to, err);
}

static const int graph_of[] = {[RT_ENGINE_FEATURES] = PREFIX, [RT_ENGINE_TRAIN] = TRAIN};

const HoneModelDesc *rt_engine_graph(const RtEngine *t, RtEngineGraph which) {
    return t->stage >= 0 ? t->graph[graph_of[which]].model : NULL;
}

bool rt_engine_observe(RtEngine *t, RtEngineGraph which, HoneModel *m, const RtEngineBatch *b,
                       RtObserve observe, void *ctx, RtErr *err) {
    RtEngineBound to;
    if (!bind_batch(t, b, &to, err))
        return false;
    if (which == RT_ENGINE_FEATURES)
        to.features = t->feature;
    to.at[HONE_BIND_GRAD] = t->buffer[RT_ENGINE_G];
    return run_model(t, graph_of[which], m, b->n, &to, observe, ctx, err);
}
