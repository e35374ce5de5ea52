// Autotuning: the schedule of each distinct convolution by measurement.
//
// The cost model proposes candidates. Those that the cache does not know are compiled, many
// convolutions to a library, loaded into this process and timed on the threads that the program is
// expected to run on. The library's one graph is, for each candidate in turn,
//
//   %x: f32[N,64,56,56]{nChw16c} = reorder %in      // just written, as it is in the network
//   %y = conv %x, %w, %b, ... {algo=..., tile=...}  // the real weights and epilogue
//   %z = reduce_max %y                              // a barrier stands before it
//
// All convolutions' first candidates come first, then all second ones: between two uses of a weight
// lie the weights of all others, so that they are as cold as in the network. What counts is the
// tenth part of the runs that was fastest: its slowest, as a single stamp may come late. The
// model's own choice stays unless another is clearly faster.
#include "tools/autotune.h"

#include "ir/conv.h"
#include "runtime/core/rt.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BATCH_CASES = 128,       // kernels of a library
    BATCH_BYTES = 192 << 20, // of weights in it
    MIN_RUNS = 5,
    MAX_RUNS = 200,
    CASE_MS = 20, // of measuring
};
static const double clearly = 0.98; // of the first candidate's time

typedef struct Case {
    const IrNode *node; // the first of its kind
    const char *key;
    int n;
    PassSchedule schedule[PASS_MAX_SCHEDULES];
    double us[PASS_MAX_SCHEDULES];
    float *run[PASS_MAX_SCHEDULES]; // us of each run
    IrValue **in; // in the batch's graph: constants, and plain inputs for the others
} Case;

typedef struct Batch {
    int n, n_cases;
    Case **v;
} Batch;

typedef struct Autotuner {
    Tool *t;
    const ToolModel *model;
    const PassOptions *opt;
    AutotuneCache cache;
    int n, cap, n_different;
    Case *v;
    ToolProgress bar;
    int done, now; // convolutions measured; in this batch
} Autotuner;

// ---------------------------------------------------------------- what a convolution is

static const char *add_text(Autotuner *u, const char *s, const char *name, IrInts v) {
    s = ir_sprintf(u->t->arena, "%s %s", s, name);
    for (int i = 0; i < v.n; i++)
        s = ir_sprintf(u->t->arena, "%s%s%lld", s, i ? "x" : " ", (long long)v.v[i]);
    return s;
}

// Steps of the epilogue, and the shapes of its operands with N for any batch
static const char *describe_then(Autotuner *u, const IrNode *n, const char *s) {
    char type[160];
    IrBody then = ir_body(n, IR_ATTR_THEN);
    for (int i = 0; i < then.n; i++) {
        s = ir_sprintf(u->t->arena, "%s %s", s, ir_op_info(then.step[i].op)->text);
        for (int k = 0; k < 3 && k < ir_op_info(then.step[i].op)->max_in; k++)
            s = ir_sprintf(u->t->arena, "%s:%d", s, then.step[i].arg[k]);
    }
    for (int i = 3; i < n->n_in; i++)
        s = ir_sprintf(u->t->arena, "%s %s%s", s, ir_in(n, i)->konst ? "const " : "",
                       ir_type_print(&ir_in(n, i)->type, type, sizeof type));
    return s;
}

static const char *make_key(Autotuner *u, const IrNode *n) {
    char x[160], w[160], y[160];
    const CgTarget *target = &u->model->target;
    const char *s =
        ir_sprintf(u->t->arena, "%s, %s, -O%d, %d threads, %s: conv %s %s -> %s%s", TOOL_PRODUCER,
                   cg_target_describe(target, u->t->arena), u->opt->opt_level, u->opt->threads,
                   u->opt->winograd ? "winograd" : "no winograd",
                   ir_type_print(&ir_in(n, 0)->type, x, sizeof x),
                   ir_type_print(&ir_in(n, 1)->type, w, sizeof w),
                   ir_type_print(&n->out[0]->type, y, sizeof y), ir_in(n, 2) ? " bias" : "");
    const IrWindow win = ir_conv(n).w;
    s = add_text(u, s, "stride", (IrInts){2, (int64_t[]){win.sh, win.sw}});
    s = add_text(u, s, "pad", (IrInts){4, (int64_t[]){win.pt, win.pl, win.pb, win.pr}});
    s = add_text(u, s, "dilation", (IrInts){2, (int64_t[]){win.dh, win.dw}});
    s = add_text(u, s, "group", (IrInts){1, (int64_t[]){win.group}});
    return describe_then(u, n, s);
}

// ---------------------------------------------------------------- the batch's program

static IrValue *check_built(IrValue *v, const IrBuilder *b) {
    if (!v)
        ir_bug("autotune", b->name, "%s", b->err ? b->err : "a node could not be built");
    return v;
}

static void add_operands(Case *c, IrGraph *g, IrProgram *from) {
    IrArena *a = g->prog->arena;
    c->in = ir_alloc_array(a, (size_t)c->node->n_in, sizeof *c->in);
    for (int i = 0; i < c->node->n_in; i++) {
        const IrValue *v = ir_in(c->node, i);
        IrType type;
        if (!v)
            continue;
        type = v->type;
        type.block = 0;
        if (v->konst) {
            const void *data = ir_const_data(from, v->konst);
            c->in[i] = ir_const_value(g, ir_const_new(g->prog, NULL, type, data));
        } else {
            c->in[i] = ir_input(g, ir_sprintf(a, "in%d", g->n_inputs), type);
        }
    }
}

// One candidate. Returns its last value.
static IrValue *add_case(const Case *c, int k, IrGraph *g) {
    IrArena *a = g->prog->arena;
    const IrNode *n = c->node;
    IrBuilder b = {.graph = g, .name = n->name};
    IrValue **in = ir_alloc_array(a, (size_t)n->n_in, sizeof *in);
    for (int i = n->n_in - 1; i >= 0; i--) { // x last: just before it is read
        in[i] = c->in[i];
        if (in[i] && ir_in(n, i)->type.block) {
            in[i] = check_built(ir_build1(&b, IR_OP_REORDER, in[i]), &b);
            in[i]->type.block = ir_in(n, i)->type.block;
        }
    }
    IrAttr *attrs = ir_alloc_array(a, (size_t)n->n_attrs, sizeof *attrs);
    int n_attrs = 0;
    for (int i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].key != IR_ATTR_ALGO && n->attrs[i].key != IR_ATTR_TILE)
            attrs[n_attrs++] = n->attrs[i];
    IrValue *y = check_built(ir_build(&b, n->op, n->n_in, in, n_attrs, attrs), &b);
    y->type.block = n->out[0]->type.block;
    ir_conv_set(y->def, c->schedule[k].algo, &c->schedule[k].tile);
    IrAttr max[] = {ir_attr_ints(a, IR_ATTR_AXES, 2, (int64_t[]){2, 3}),
                    ir_attr_i(IR_ATTR_KEEPDIMS, 1)};
    IrValue *z = check_built(ir_build(&b, IR_OP_REDUCE_MAX, 1, &y, 2, max), &b);
    z->type.block = y->type.block;
    return z;
}

static IrGraph *make_graph(Batch *b, IrArena *a) {
    IrGraph *g = ir_graph_new(ir_program_new(a, "autotune"), "infer");
    IrValue *last = NULL;
    for (int i = 0; i < b->n; i++)
        add_operands(b->v[i], g, b->v[i]->node->graph->prog);
    for (int k = 0; k < PASS_MAX_SCHEDULES; k++)
        for (int i = 0; i < b->n; i++)
            if (k < b->v[i]->n)
                last = add_case(b->v[i], k, g);
    last->name = "last";
    ir_output(g, last);
    return g;
}

// ---------------------------------------------------------------- compiling and running it

static void show_compiling(void *autotuner, int done, int total) {
    Autotuner *u = autotuner;
    int part = total ? u->now * done / total : 0; // half of a batch's time, or so
    tool_progress(&u->bar, 2 * u->done + part, 2 * u->n);
}

static const char *compile_batch(Autotuner *u, IrGraph *g) {
    CgResult cg;
    CgOptions o = {.target = &u->model->target,
                   .opt_level = u->opt->opt_level,
                   .jobs = u->model->jobs,
                   .symbol = "hone_autotune",
                   .model_hash = "",
                   .producer = TOOL_PRODUCER,
                   .progress = show_compiling,
                   .progress_ctx = u};
    PassOptions po = *u->opt;
    po.autotune = NULL;
    po.print_after = NULL;
    po.time_passes = false;
    const char *dir = tool_temp_dir(u->t), *so = ir_sprintf(u->t->arena, "%s/autotune.so", dir);
    passes_run(g->prog, g, &po, PASS_AUTOTUNE);
    if (!cg_compile(g, &o, dir, &cg) || !tool_link_kernels(u->t, &cg, so))
        return NULL;
    for (int i = 0; i < cg.n_files; i++)
        unlink(cg.files[i]);
    return so;
}

static float *make_input(const HoneModel *m, IrArena *a) {
    int64_t most = 64;
    for (int i = 0; i < hone_n_inputs(m); i++)
        if (hone_input_bytes(m, i, 1) > most)
            most = hone_input_bytes(m, i, 1);
    float *x = ir_alloc(a, (size_t)most);
    for (int64_t i = 0; i < most / 4; i++)
        x[i] = (float)(i * 2654435761 % 1000) / 1000;
    return x;
}

// Keeps the times of run number `run`.
static void note_times(Batch *b, const HoneModelDesc *d, const uint64_t *stamp, int run) {
    int call = 0;
    for (int k = 0; k < PASS_MAX_SCHEDULES; k++)
        for (int i = 0; i < b->n; i++) {
            if (k >= b->v[i]->n)
                continue;
            while (call < d->n_nodes && strcmp(d->nodes[call].op, "conv") != 0)
                call++;
            b->v[i]->run[k][run] = 1e-3f * (float)(stamp[call + 1] - stamp[call]);
            call++;
        }
}

static int compare_floats(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void pick_times(Batch *b, int runs) {
    for (int i = 0; i < b->n; i++)
        for (int k = 0; k < b->v[i]->n; k++) {
            qsort(b->v[i]->run[k], (size_t)runs, sizeof(float), compare_floats);
            b->v[i]->us[k] = b->v[i]->run[k][runs / 10];
        }
}

static bool run_batch(Autotuner *u, Batch *b, HoneModel *m, IrArena *a) {
    const HoneModelDesc *d = rt_model_desc(m);
    const void **in = ir_alloc_array(a, (size_t)d->n_inputs + 1, sizeof *in);
    uint64_t *stamp = ir_alloc_array(a, (size_t)d->n_nodes + 1, sizeof *stamp);
    void *out[] = {ir_alloc(a, (size_t)hone_output_bytes(m, 0, 1))};
    float *x = make_input(m, a);
    for (int i = 0; i < d->n_inputs; i++)
        in[i] = x;
    for (int i = 0; i < b->n; i++)
        for (int k = 0; k < b->v[i]->n; k++)
            b->v[i]->run[k] = ir_alloc_array(a, MAX_RUNS, sizeof(float));
    uint64_t end = rt_now() + (uint64_t)b->n_cases * CASE_MS * 1000000;
    int runs = 0;
    for (; runs < MIN_RUNS || (runs < MAX_RUNS && rt_now() < end); runs++) {
        if (rt_model_run(m, 1, in, out, stamp) != 0) {
            ir_error(&u->t->diag, IR_NOWHERE, "autotuning failed: %s", hone_error(m));
            return false;
        }
        note_times(b, d, stamp, runs);
    }
    pick_times(b, runs);
    return true;
}

static bool measure_library(Autotuner *u, Batch *b, void *lib, IrArena *a) {
    char err[256] = "no descriptor";
    HoneOptions opt = {.threads = u->opt->threads};
    const HoneModelDesc *desc = dlsym(lib, "hone_autotune_desc");
    HoneModel *m = desc ? hone_create(desc, &opt, err, sizeof err) : NULL;
    if (!m) {
        ir_error(&u->t->diag, IR_NOWHERE, "--autotune runs code for %s here: %s",
                 u->model->target.cpu, err);
        return false;
    }
    bool ok = run_batch(u, b, m, a);
    hone_destroy(m);
    return ok;
}

static bool measure_batch(Autotuner *u, Batch *b) {
    IrArena *a = ir_arena_new(&u->t->diag);
    u->now = b->n;
    const char *so = compile_batch(u, make_graph(b, a));
    void *lib = so ? dlopen(so, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (so && !lib)
        ir_error(&u->t->diag, IR_NOWHERE, "cannot load what --autotune compiled: %s", dlerror());
    if (so)
        unlink(so);
    bool ok = lib && measure_library(u, b, lib, a);
    if (lib)
        dlclose(lib);
    ir_arena_free(a);
    return ok;
}

// ---------------------------------------------------------------- from measurements to choices

static void choose(Autotuner *u, const Case *c) {
    int best = 0;
    for (int k = 1; k < c->n; k++)
        if (c->us[k] < c->us[best])
            best = k;
    if (c->us[best] > clearly * c->us[0])
        best = 0;
    u->n_different += best != 0;
    const PassSchedule *s = &c->schedule[best];
    AutotuneEntry e = {.key = c->key, .algo = s->algo, .tile = s->tile, .us = c->us[best]};
    autotune_cache_add(u->t, &u->cache, &e);
    for (int k = 0; u->t->verbose && k < c->n; k++) {
        char tile[IR_CONV_TILE_TEXT];
        fprintf(stderr, "  %s %s %s [%s] %.1f us, model %.0f\n", k == best ? "*" : " ",
                RT_SHOW(c->node->name), ir_conv_algo_info(c->schedule[k].algo)->text,
                ir_conv_tile_print(&c->schedule[k].tile, tile), c->us[k], c->schedule[k].cycles);
    }
}

// Packed weights of all candidates
static int64_t count_bytes(const Case *c) {
    IrConv conv = ir_conv(c->node);
    int64_t sum = 0;
    for (int k = 0; k < c->n; k++) {
        IrConvWords *words = ir_conv_algo_info(c->schedule[k].algo)->words;
        sum += words ? 4 * words(&conv, &c->schedule[k].tile, conv.y_block) : 0;
    }
    return sum;
}

// Every n-th convolution goes to the same batch, so that large and small ones mix.
static bool measure_all(Autotuner *u) {
    int64_t bytes = 0, cases = 0;
    for (int i = 0; i < u->n; i++) {
        bytes += count_bytes(&u->v[i]);
        cases += u->v[i].n;
    }
    int by_bytes = (int)(bytes / BATCH_BYTES) + 1, by_cases = (int)(cases / BATCH_CASES) + 1;
    int n = by_bytes > by_cases ? by_bytes : by_cases;
    for (int k = 0; k < n && u->n; k++) {
        Batch b = {.v = ir_alloc_array(u->t->arena, (size_t)u->n, sizeof *b.v)};
        for (int i = k; i < u->n; i += n) {
            b.n_cases += u->v[i].n;
            b.v[b.n++] = &u->v[i];
        }
        if (b.n && !measure_batch(u, &b))
            return false;
        for (int i = 0; i < b.n; i++)
            choose(u, b.v[i]);
        u->done += b.n;
        tool_progress(&u->bar, 2 * u->done, 2 * u->n);
        if (!u->bar.on)
            fprintf(stderr, "autotuning: %d of %d convolutions\n", u->done, u->n);
    }
    return true;
}

static const AutotuneEntry *find_entry(Autotuner *u, const IrNode *n, const char *key) {
    const AutotuneEntry *e = autotune_cache_find(&u->cache, key);
    return e && pass_schedule_fits(n, u->opt, e->algo, &e->tile) ? e : NULL;
}

// A convolution that nobody measured yet, and has something to choose
static void add_unknown(Autotuner *u, const IrNode *n) {
    Case c = {.node = n, .key = make_key(u, n)};
    c.n = pass_schedule_candidates(n, u->opt, c.schedule);
    if (c.n < 2 || find_entry(u, n, c.key))
        return;
    for (int i = 0; i < u->n; i++)
        if (strcmp(u->v[i].key, c.key) == 0)
            return;
    IR_PUSH(u->t->arena, u->v, u->n, u->cap, c);
}

void autotune_graph(void *autotune, IrGraph *g, const PassOptions *opt) {
    const Autotune *s = autotune;
    Autotuner u = {.t = s->tool, .model = s->model, .opt = opt};
    autotune_cache_read(u.t, &u.cache, s->cache_file);
    for (const IrNode *n = g->first; n; n = n->next)
        if (n->op == IR_OP_CONV && ir_in(n, 1)->konst)
            add_unknown(&u, n);
    uint64_t start = rt_now();
    tool_progress_start(&u.bar, "autotuning");
    bool ok = measure_all(&u);
    tool_progress_end(&u.bar);
    if (!ok)
        ir_fatal(&u.t->diag, IR_NOWHERE, "without --autotune the cost model chooses");
    for (IrNode *n = g->first; n; n = n->next) {
        const AutotuneEntry *e = n->op == IR_OP_CONV ? find_entry(&u, n, make_key(&u, n)) : NULL;
        if (e)
            ir_conv_set(n, e->algo, &e->tile);
    }
    if (u.n == 0)
        return;
    const char *kept = u.cache.file ? ir_strdup(u.t->arena, u.cache.file->path) : NULL;
    if (kept && !autotune_cache_write(u.t, &u.cache))
        return;
    fprintf(stderr, "autotuned %d convolutions in %.1f s: %d not as the model chooses%s%s\n", u.n,
            1e-9 * (double)(rt_now() - start), u.n_different, kept ? "; kept in " : "",
            RT_SHOW(kept));
}
