// A compiled model ready to run: the functions of hone.h that need more than its descriptor.
//
// One inference is one parallel region (region.c) in which every thread walks the emitted steps
// from start to end. A model owns its workspace, which grows with the batch and stays, so that a
// run allocates nothing. Constants that kernels want in another form than the file's are made once,
// by the first hone_create() of a unit, and shared by all instances of it (prepared.c).
//
// An instance serves one call at a time: `user` says whose. A second caller is refused, writes
// nothing of the instance, and is told so in its own thread (`refused`), whatever the first does
// meanwhile. Who destroys an instance in use leaves that to the call. In a forked child the user of
// the parent's does not exist, and the instance is free.
#define _GNU_SOURCE
#include "runtime/core/rt.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/core/counts.h"
#include "runtime/core/text.h"
#include "runtime/core/unit.h"

enum { NOBODY = 0, DESTROYED = -1 };

struct HoneModel {
    RtProgress progress;
    const HoneModelDesc *desc;                 // the unit that runs: size[in_use]
    const HoneModelDesc *size[HONE_MAX_UNITS]; // of each size the unit for this CPU
    int n_sizes, in_use;
    int threads;
    bool host_decides;      // about fewer threads, at each run
    _Atomic int32_t user;   // the process that is in a call, NOBODY, or DESTROYED in a call
    RtCounts counts;        // of the last run
    char *own, *given;      // workspaces; `given` wins
    size_t own_bytes, given_bytes;
    RtPrepared *prepared;  // what the steps of init made of the weights, or NULL: there are none
    _Atomic uint32_t gate; // orders memory between the caller and the threads of a run
    char error[1024];
};

// The instance that the calling thread was refused by, in its last call of one; NULL: by none.
static _Thread_local const HoneModel *refused;

static int set_error(HoneModel *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int set_error(HoneModel *m, const char *fmt, ...) {
    char text[sizeof m->error];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    rt_clean(text, m->error, sizeof m->error);
    return -1;
}

static bool check_desc(const HoneModelDesc *d, RtErr *err) {
    if (d->run.n != d->n_nodes || d->scratch_bytes < 0 || d->n_inputs < 0 || d->n_outputs < 0 ||
        d->prepared_bytes < 0)
        return rt_fail(err, "the model descriptor is damaged");
    if ((uintptr_t)d->weights % RT_ALIGN)
        return rt_fail(err, "the model's weights are not aligned to %d bytes", RT_ALIGN);
    return true;
}

// ---------------------------------------------------------------- the unit

static bool check_options(const HoneOptions *opt, RtErr *err) {
    if (opt && opt->n_inputs > 0 && !opt->inputs)
        return rt_fail(err, "the options have %d inputs and no table of them", opt->n_inputs);
    for (int k = 0; opt && k < opt->n_inputs; k++)
        if (!opt->inputs[k].name)
            return rt_fail(err, "input %d of the options has no name", k);
    if (opt && (opt->threads < 0 || opt->threads > RT_MAX_THREADS))
        return rt_fail(err,
                       "the options ask for %d threads: it is from 1 to %d, or 0 for the default",
                       opt->threads, RT_MAX_THREADS);
    return true;
}

const HoneModelDesc *rt_model_unit(const HoneModelDesc *desc, const HoneOptions *opt, RtErr *err) {
    if (!desc)
        rt_fail(err, "no model descriptor");
    else if (desc->abi != HONE_ABI)
        rt_fail(err, "the model was compiled for ABI %u, this runtime has ABI %d; compile it again",
                desc->abi, HONE_ABI);
    if (!desc || desc->abi != HONE_ABI || !check_options(opt, err))
        return NULL;
    return rt_unit_find(desc, opt ? opt->n_inputs : 0, opt ? opt->inputs : NULL, err);
}

// ---------------------------------------------------------------- memory

static void release_workspace(HoneModel *m) {
    if (m->own)
        munmap(m->own, m->own_bytes);
    m->own = NULL;
    m->own_bytes = 0;
}

// ---------------------------------------------------------------- a model's life

static void run_steps(HoneModel *m, const HoneSteps *steps, const HoneCall *call) {
    rt_region_run(&(RtRegion){m->desc, steps, call, m->threads, m->host_decides, &m->gate});
}

typedef struct Preparing {
    HoneCall call;
    RtPages pages;
} Preparing;

// What the steps before have read is let go: memory never holds both forms of all weights.
static void let_weights_go(const HoneCall *call, int32_t node) {
    (void)node;
    rt_pages_let_go(&((const Preparing *)call)->pages);
}

static void run_init(void *ctx, char *space) {
    HoneModel *m = ctx;
    Preparing p = {.call = {.weights = m->desc->weights,
                            .prepared = space,
                            .progress = &m->progress,
                            .observe = let_weights_go},
                   .pages = rt_file_pages(m->desc->weights, m->desc->weights_bytes)};
    run_steps(m, &m->desc->init, &p.call);
}

// For unit d. Those of one machine have the same steps of init, and what these made.
static bool prepare_constants(HoneModel *m, const HoneModelDesc *d, RtErr *err) {
    const HoneModelDesc *before = m->desc;
    if (!d->init.n || (m->prepared && m->prepared->made_by == d->init.step))
        return true;
    m->desc = d;
    RtPrepared *p = rt_prepared_get(d, run_init, m, err);
    m->desc = before;
    if (p && m->prepared)
        rt_prepared_release(m->prepared);
    m->prepared = p ? p : m->prepared;
    return p;
}

// desc is one of the units of the chain that begins with `first`
static bool find_sizes(HoneModel *m, const HoneModelDesc *first, const HoneModelDesc *desc,
                       RtErr *err) {
    uint64_t allowed;
    bool good = rt_cpu_allowed(&allowed, err);
    m->desc = desc;
    m->n_sizes = good ? rt_unit_sizes(first, &allowed, m->size) : 0;
    for (int k = 0; k < m->n_sizes; k++)
        m->in_use = m->size[k] == desc ? k : m->in_use;
    return good;
}

HoneModel *hone_create(const HoneModelDesc *desc, const HoneOptions *opt, char *err,
                       size_t err_size) {
    RtErr e = {{0}};
    HoneModel *m = NULL;
    const HoneModelDesc *first = desc;
    desc = rt_model_unit(desc, opt, &e);
    if (desc && check_desc(desc, &e)) {
        m = rt_alloc_aligned(sizeof *m);
        if (!m)
            rt_fail(&e, "no memory");
    }
    if (m) {
        RtPages weights = rt_file_pages(desc->weights, desc->weights_bytes);
        rt_pages_want_huge(&weights);
        memset(m, 0, sizeof *m);
        m->threads = rt_threads(opt ? opt->threads : 0);
        m->host_decides = !opt || opt->threads == 0;
    }
    if (m && !(rt_progress_make(&m->progress, m->threads, &e) && find_sizes(m, first, desc, &e) &&
               (m->threads == 1 || rt_region_keep(&e)) && rt_counts_make(&m->counts, desc, &e) &&
               prepare_constants(m, desc, &e))) {
        hone_destroy(m);
        m = NULL;
    }
    if (err && err_size)
        snprintf(err, err_size, "%s", e.text);
    return m;
}

static void free_model(HoneModel *m) {
    rt_counts_free(&m->counts);
    rt_progress_free(&m->progress);
    release_workspace(m);
    if (m->prepared)
        rt_prepared_release(m->prepared);
    free(m);
}

void hone_destroy(HoneModel *m) {
    refused = refused == m ? NULL : refused;
    if (m && atomic_exchange(&m->user, DESTROYED) != rt_process())
        free_model(m);
}

// ---------------------------------------------------------------- one call at a time

// The user that the instance has now, for leave(); NOBODY: another thread is in a call.
static int32_t enter(HoneModel *m) {
    if (!m)
        return NOBODY;
    int32_t user = NOBODY, me = rt_process();
    bool mine = atomic_compare_exchange_strong(&m->user, &user, me);
    if (!mine && user > 0 && user != me)
        mine = atomic_compare_exchange_strong(&m->user, &user, me);
    refused = mine ? NULL : m;
    if (mine)
        m->error[0] = 0;
    return mine ? me : NOBODY;
}

static void leave(HoneModel *m, int32_t user) {
    if (!atomic_compare_exchange_strong(&m->user, &user, NOBODY))
        free_model(m);
}

// ---------------------------------------------------------------- sizes

static int use_size(HoneModel *m, int size) {
    RtErr e;
    char text[640];
    if (size < 0 || size >= m->n_sizes)
        return set_error(m, "the model was compiled for inputs of other shapes: %s",
                         rt_unit_sizes_text(m->size[0], text, sizeof text));
    if (!check_desc(m->size[size], &e))
        return set_error(m, "%s", e.text);
    RtCounts counts;
    if (!rt_counts_make(&counts, m->size[size], &e) || !prepare_constants(m, m->size[size], &e)) {
        rt_counts_free(&counts);
        return set_error(m, "%s", e.text);
    }
    rt_counts_free(&m->counts);
    m->counts = counts;
    m->desc = m->size[size];
    m->in_use = size;
    return 0;
}

int hone_use_size(HoneModel *m, int size) {
    int32_t user = enter(m);
    if (user == NOBODY)
        return -1;
    int code = use_size(m, size);
    leave(m, user);
    return code;
}

int hone_n_sizes(const HoneModel *m) {
    return m ? m->n_sizes : 0;
}

int hone_size(const HoneModel *m) {
    return m ? m->in_use : 0;
}

int hone_find_size(const HoneModel *m, int n_inputs, const HoneTensorInfo *inputs) {
    bool asked = inputs || n_inputs < 1;
    for (int k = 0; asked && k < hone_n_sizes(m); k++)
        if (rt_unit_fits(m->size[k], n_inputs, inputs))
            return k;
    return -1;
}

// ---------------------------------------------------------------- what it takes and gives

const HoneModelDesc *rt_model_desc(const HoneModel *m) {
    static const HoneModelDesc none = {.name = "", .classifier = -1}; // of NULL
    return m ? m->desc : &none;
}

int rt_model_threads(const HoneModel *m) {
    return m->threads;
}

HoneTensorInfo hone_size_input_info(const HoneModel *m, int size, int i) {
    bool there = size >= 0 && size < hone_n_sizes(m);
    return rt_tensor_info(there ? m->size[size]->inputs : NULL, i, there ? m->desc->n_inputs : 0);
}

int64_t hone_output_dim(const HoneModel *m, int i, int axis) {
    const HoneModelDesc *d = rt_model_desc(m);
    HoneTensorInfo info = rt_tensor_info(d->outputs, i, d->n_outputs);
    return info.name && axis >= 0 && axis < info.rank
               ? rt_counts_dim(&m->counts, d, i, axis, info.dim[axis])
               : -1;
}

const int64_t *rt_model_counts(const HoneModel *m) {
    return m->counts.value;
}

// The arena, rounded up so that the scratch behind it is aligned, and each thread's scratch.
static bool measure_workspace(const HoneModel *m, int64_t batch, size_t *arena, size_t *total) {
    int64_t a, s;
    if (batch < 0 || !rt_dim_at(m->desc->arena_bytes, batch, &a) ||
        __builtin_mul_overflow(m->desc->scratch_bytes, (int64_t)m->threads, &s) ||
        a > INT64_MAX - s - RT_ALIGN)
        return false;
    *arena = (size_t)(a + RT_ALIGN - 1) / RT_ALIGN * RT_ALIGN;
    *total = *arena + (size_t)s;
    return true;
}

size_t hone_workspace_bytes(const HoneModel *m, int64_t batch) {
    size_t arena, total;
    return m && measure_workspace(m, batch, &arena, &total) ? total : SIZE_MAX;
}

static int set_workspace(HoneModel *m, void *workspace, size_t bytes) {
    if ((uintptr_t)workspace % RT_ALIGN)
        return set_error(m, "the workspace is not aligned to %d bytes", RT_ALIGN);
    if (workspace)
        release_workspace(m);
    m->given = workspace;
    m->given_bytes = workspace ? bytes : 0;
    return 0;
}

int hone_set_workspace(HoneModel *m, void *workspace, size_t bytes) {
    int32_t user = enter(m);
    if (user == NOBODY)
        return -1;
    int code = set_workspace(m, workspace, bytes);
    leave(m, user);
    return code;
}

static bool grow_workspace(HoneModel *m, size_t bytes) {
    if (bytes <= m->own_bytes)
        return true;
    release_workspace(m);
    m->own = rt_alloc_pages(&bytes);
    m->own_bytes = m->own ? bytes : 0;
    return m->own != NULL;
}

static int check_call(HoneModel *m, int64_t batch, const void *const *inputs,
                      void *const *outputs) {
    const HoneModelDesc *d = m->desc;
    if (batch < 0)
        return set_error(m, "batch %lld is negative", (long long)batch);
    if (!d->batch_symbolic && batch > 1)
        return set_error(m, "batch %lld, but the model was compiled for a fixed batch size",
                         (long long)batch);
    for (int i = 0; batch && i < d->n_inputs; i++)
        if (!inputs || !inputs[i])
            return set_error(m, "input '%s' is NULL", d->inputs[i].name);
    for (int i = 0; batch && i < d->n_outputs; i++)
        if (!outputs || !outputs[i])
            return set_error(m, "output '%s' is NULL", d->outputs[i].name);
    int64_t bytes;
    for (int i = 0; i < d->n_inputs + d->n_outputs; i++)
        if (!rt_tensor_bytes(i < d->n_inputs ? &d->inputs[i] : &d->outputs[i - d->n_inputs], batch,
                             &bytes))
            return set_error(m, "batch %lld is too large", (long long)batch);
    return 0;
}

typedef struct Observed { // a call and who watches it
    HoneCall call;
    RtObserve observe;
    void *ctx;
} Observed;

static void call_observer(const HoneCall *call, int32_t node) {
    const Observed *o = (const Observed *)call;
    o->observe(o->ctx, call, node);
}

// Whether no output has an element at batch 0: some do not depend on it.
static bool makes_nothing(const HoneModel *m) {
    int64_t bytes = 0;
    for (int i = 0; i < m->desc->n_outputs && bytes == 0; i++)
        rt_tensor_bytes(&m->desc->outputs[i], 0, &bytes);
    return bytes == 0;
}

static int run_alone(HoneModel *m, int64_t batch, const void *const *inputs, void *const *outputs,
                     RtObserve observe, void *ctx) {
    size_t arena, total;
    if (check_call(m, batch, inputs, outputs) != 0)
        return -1;
    if (batch == 0 && makes_nothing(m))
        return 0;
    if (!measure_workspace(m, batch, &arena, &total))
        return set_error(m, "batch %lld is too large", (long long)batch);
    if (m->given && m->given_bytes < total)
        return set_error(m, "the workspace has %zu bytes, batch %lld needs %zu", m->given_bytes,
                         (long long)batch, total);
    if (!m->given && !grow_workspace(m, total))
        return set_error(m, "no memory for a workspace of %zu bytes at batch %lld", total,
                         (long long)batch);
    char *space = m->given ? m->given : m->own;
    Observed o = {.call = {.N = batch,
                           .arena = space,
                           .scratch = space + arena,
                           .weights = m->desc->weights,
                           .inputs = inputs,
                           .outputs = rt_counts_beside(&m->counts, m->desc, outputs),
                           .progress = &m->progress,
                           .observe = observe ? call_observer : NULL,
                           .prepared = m->prepared ? m->prepared->space : NULL},
                  .observe = observe,
                  .ctx = ctx};
    run_steps(m, &m->desc->run, &o.call);
    RtErr err;
    return rt_counts_check(&m->counts, m->desc, &err) ? 0 : set_error(m, "%s", err.text);
}

int rt_model_call(HoneModel *m, bool (*body)(void *ctx, HoneModel *m, RtErr *err), void *ctx) {
    RtErr err = {{0}};
    int32_t user = enter(m);
    if (user == NOBODY)
        return -1;
    int code = body(ctx, m, &err) ? 0 : set_error(m, "%s", err.text);
    leave(m, user);
    return code;
}

bool rt_model_run_inside(HoneModel *m, int64_t batch, const void *const *inputs,
                         void *const *outputs, RtErr *err) {
    return run_alone(m, batch, inputs, outputs, NULL, NULL) == 0 || rt_fail(err, "%s", m->error);
}

int rt_model_observe(HoneModel *m, int64_t batch, const void *const *inputs, void *const *outputs,
                     RtObserve observe, void *ctx) {
    int32_t user = enter(m);
    if (user == NOBODY)
        return -1;
    int code = run_alone(m, batch, inputs, outputs, observe, ctx);
    leave(m, user);
    return code;
}

static void stamp_time(void *ctx, const HoneCall *call, int32_t node) {
    (void)call;
    ((uint64_t *)ctx)[node] = rt_now();
}

int rt_model_run(HoneModel *m, int64_t batch, const void *const *inputs, void *const *outputs,
                 uint64_t *profile) {
    return rt_model_observe(m, batch, inputs, outputs, profile ? stamp_time : NULL, profile);
}

int hone_run(HoneModel *m, int64_t batch, const void *const *inputs, void *const *outputs) {
    return rt_model_observe(m, batch, inputs, outputs, NULL, NULL);
}

const char *hone_error(const HoneModel *m) {
    if (!m)
        return "the model is NULL: hone_create() says why there is none";
    return refused == m ? "this instance is in use by another thread: an instance serves one call "
                          "at a time, each thread creates its own"
                        : m->error;
}
