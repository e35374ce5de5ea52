// What ranks make sure of with each other. Only rank 0 reads and writes checkpoints: the others get
// its state, so that a run goes on from a folder that they need not see, on any number of them.
#include "runtime/train/together.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/train/engine_graphs.h"

void rt_together_take_rank(RtTrainSettings *s) {
    if (rt_ranks_me(s->ranks) == 0)
        return;
    s->out = s->report = s->log = s->csv = s->board = s->folder = NULL;
    s->quiet = true;
    s->cache = s->cache == RT_CACHE_FOLDER ? RT_CACHE_AUTO : s->cache;
}

bool rt_run_agree(RtRun *r, int64_t value, const char *what) {
    int64_t first = value;
    return !r->ranks || (rt_ranks_share(r->ranks, &first, sizeof first, &r->err) &&
                         (first == value || rt_fail(&r->err, "%s, unlike rank 0", what)));
}

bool rt_run_agree_well(RtRun *r, bool well) {
    size_t n = (size_t)rt_ranks_n(r->ranks);
    RtErr err;
    if (!r->ranks)
        return well;
    bool *all = calloc(n, sizeof *all);
    if (!all || !rt_ranks_gather(r->ranks, &well, sizeof well, all, &err)) {
        if (well)
            r->err = err;
        free(all);
        return false;
    }
    bool every = true;
    for (size_t k = 0; k < n; k++)
        every &= all[k];
    if (rt_ranks_me(r->ranks) > 0 && !all[0])
        r->err.text[0] = 0;
    free(all);
    return every;
}

// ---------------------------------------------------------------- the state

typedef struct Shared { // by rank 0
    char model[96], data[33], options[RT_RUN_OPTIONS];
    int64_t at[RT_N_AT], n_history;
    int epochs[HONE_MAX_STAGES]; // a run that is made longer has those that it was begun with
    float warmup_epochs[HONE_MAX_STAGES];
    int64_t step_images; // cut as the run began
    int batch, accumulate;
    double sum[RT_N_SUMS], ridge[RT_SOLVE_PATH][RT_RIDGE_COLUMNS];
} Shared;

// The CPU that the open stage's steps were compiled for: another's code is other sums.
static void name_code(const RtRun *r, char *text, size_t size) {
    const HoneModelDesc *m = rt_engine_graph(r->engine, RT_ENGINE_TRAIN);
    snprintf(text, size, "%s %s", m && m->cpu ? m->cpu : "", m && m->features ? m->features : "");
}

static void describe(const RtRun *r, Shared *s) {
    memset(s, 0, sizeof *s);
    snprintf(s->model, sizeof s->model, "%s", r->key_model);
    snprintf(s->data, sizeof s->data, "%s", r->data->fingerprint);
    snprintf(s->options, sizeof s->options, "%s", r->key_options);
    memcpy(s->at, r->state.at, sizeof s->at);
    memcpy(s->epochs, r->set->epochs, sizeof s->epochs);
    memcpy(s->warmup_epochs, r->set->warmup_epochs, sizeof s->warmup_epochs);
    s->step_images = r->step_images;
    s->batch = r->set->batch;
    s->accumulate = r->set->accumulate;
    memcpy(s->sum, r->state.sum, sizeof s->sum);
    memcpy(s->ridge, r->state.ridge, sizeof s->ridge);
    s->n_history = r->state.n_history;
}

static bool is_same(RtRun *r, const Shared *first) {
    memcpy(r->own.epochs, first->epochs, sizeof first->epochs);
    memcpy(r->own.warmup_epochs, first->warmup_epochs, sizeof first->warmup_epochs);
    if (r->step_images == first->step_images) {
        r->own.batch = first->batch;
        r->own.accumulate = first->accumulate;
    }
    rt_run_make_keys(r);
    const struct {
        const char *mine, *first, *what;
    } texts[] = {{r->key_model, first->model, "it runs another program"},
                 {r->data->fingerprint, first->data, "its data are other ones"},
                 {r->key_options, first->options, "its options are other ones"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(texts[i].mine, texts[i].first) != 0)
            return rt_fail(&r->err, "%s than rank 0", texts[i].what);
    return true;
}

// Of another rank: position, sums, history's room, the stage that rank 0 has open.
static bool take_state(RtRun *r, const Shared *s) {
    RtTrainState *state = &r->state;
    memcpy(state->at, s->at, sizeof state->at);
    memcpy(state->sum, s->sum, sizeof state->sum);
    memcpy(state->ridge, s->ridge, sizeof state->ridge);
    while (state->n_history < s->n_history)
        if (!rt_state_add_history(state))
            return rt_fail(&r->err, "no memory");
    r->open_stage =
        s->at[RT_AT_STAGE] < r->d->n_stages ? (int)s->at[RT_AT_STAGE] : r->d->n_stages - 1;
    return rt_engine_open_stage(r->engine, r->open_stage, &r->err);
}

static bool share_numbers(RtRun *r) {
    static const RtEngineBuffer buffers[] = {RT_ENGINE_P, RT_ENGINE_M, RT_ENGINE_V};
    size_t bytes = (size_t)r->d->param_floats * sizeof(float);
    RtTrainState *s = &r->state;
    bool good = true;
    for (size_t i = 0; good && i < sizeof buffers / sizeof *buffers; i++)
        good = rt_ranks_share(r->ranks, rt_engine_buffer(r->engine, buffers[i]), bytes, &r->err);
    size_t history = (size_t)s->n_history * RT_HIST_COLUMNS * sizeof *s->history;
    return good && rt_ranks_share(r->ranks, s->best, bytes, &r->err) &&
           (!s->average || rt_ranks_share(r->ranks, s->average, bytes, &r->err)) &&
           rt_ranks_share(r->ranks, s->history, history, &r->err);
}

static bool share_code(RtRun *r) {
    char mine[256], first[256];
    memset(mine, 0, sizeof mine);
    name_code(r, mine, sizeof mine);
    memcpy(first, mine, sizeof first);
    return rt_ranks_share(r->ranks, first, sizeof first, &r->err) &&
           (strcmp(mine, first) == 0 ||
            rt_fail(&r->err,
                    "it runs the code for '%s', rank 0 that for '%s': sums would differ; "
                    "HONE_CPU=NAME caps both",
                    mine, first));
}

bool rt_run_share_state(RtRun *r) {
    if (!r->ranks)
        return true;
    Shared *first = malloc(sizeof *first);
    bool good = first || rt_fail(&r->err, "no memory");
    if (good) {
        describe(r, first);
        good = rt_ranks_share(r->ranks, first, sizeof *first, &r->err) &&
               (rt_ranks_me(r->ranks) == 0 || (is_same(r, first) && take_state(r, first)));
    }
    free(first);
    return good && share_numbers(r) && share_code(r);
}
