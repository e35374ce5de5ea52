// Which layers go back to float until the drop is within --max-drop.
//
// One program computes the float model and beside each layer the same quantized, from the float
// model's tensors: a layer's own noise. The worst k go back, k by doubling and bisection, each
// trial a quantized model on all images of --eval. Then groups of them, halves first, become int8
// again where that still is enough: noise that does no harm to what the outputs say.
#include "tools/quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NOISE_IMAGES = 16 };

typedef struct Cost { // of a layer in int8
    int layer;
    double noise; // by the signal
} Cost;

// ---------------------------------------------------------------- noise

typedef struct Alone {
    QuantNet net;
    int *shown; // [layers][2] its outputs, in float and quantized; -1: the layer is float
    double *signal, *noise;
} Alone;

static bool see(Quantize *q, void *ctx, int i, const void *x) {
    Alone *m = ctx;
    (void)i;
    if (!quant_net_run(q, &m->net, x))
        return false;
#pragma omp parallel for schedule(dynamic, 1)
    for (int l = 0; l < q->plan->n_layers; l++)
        if (m->shown[2 * l] >= 0)
            quant_add_noise(&m->net, m->shown[2 * l], &m->net, m->shown[2 * l + 1],
                            &m->signal[l], &m->noise[l]);
    return true;
}

static int find(const IrGraph *g, const char *name) {
    for (int i = 0; name && i < g->n_outputs; i++)
        if (strcmp(g->outputs[i]->name, name) == 0)
            return i;
    return -1;
}

static bool load(Quantize *q, Alone *m) {
    IrArena *a = q->tool->arena;
    size_t n = (size_t)q->plan->n_layers + 1;
    const char **pairs = ir_alloc_array(a, 2 * n, sizeof *pairs);
    m->shown = ir_alloc_array(a, 2 * n, sizeof *m->shown);
    m->signal = ir_alloc_array(a, n, sizeof *m->signal);
    m->noise = ir_alloc_array(a, n, sizeof *m->noise);
    if (!quant_net_load(q, quant_model_alone(q, a, pairs), "alone", &m->net))
        return false;
    for (int i = 0; i < 2 * q->plan->n_layers; i++)
        m->shown[i] = find(m->net.graph, pairs[i]);
    return true;
}

static int by_noise(const void *a, const void *b) {
    const Cost *x = a, *y = b;
    return x->noise > y->noise ? -1 : x->noise < y->noise ? 1 : x->layer - y->layer;
}

// The layers that are int8, the worst first; -1 after an error.
static int measure(Quantize *q, Cost *costs) {
    Tool *t = q->tool;
    IrArena *own = t->arena;
    Alone m;
    int n = 0;
    t->arena = ir_arena_new(&t->diag); // for the model, which is not needed any more
    bool good =
        load(q, &m) && quant_images_walk(q, &q->calibrate, NOISE_IMAGES, "layers", see, &m);
    for (int l = 0; good && l < q->plan->n_layers; l++)
        if (!q->is_float[l])
            costs[n++] = (Cost){l, m.signal[l] > 0 ? m.noise[l] / m.signal[l] : 0};
    ir_arena_free(t->arena);
    t->arena = own;
    qsort(costs, (size_t)n, sizeof *costs, by_noise);
    return good ? n : -1;
}

// ---------------------------------------------------------------- layers back in float

static void set_float(Quantize *q, const Cost *costs, int from, int to, bool is_float) {
    for (int i = from; i < to; i++)
        q->is_float[costs[i].layer] = is_float;
}

// *enough: the model as it is decided now is good enough, and its score is q->as_int8.
static bool is_enough(Quantize *q, bool *enough) {
    const char *what = ir_sprintf(q->tool->arena, "%d in int8", quant_count_int8(q));
    QuantScore s;
    if (!quant_try(q, what, &s))
        return false;
    *enough = quant_drop(q, &s) <= q->max_drop.v;
    q->as_int8 = *enough ? s : q->as_int8;
    return true;
}

// *k: how many of the n worst layers must be float; -1: all are, and that is not enough.
static bool find_worst(Quantize *q, const Cost *costs, int n, int *k) {
    int low = 0, high = 1; // low: too few; high: perhaps enough
    bool enough = false;
    while (!enough && low < n) {
        high = high < n ? high : n;
        set_float(q, costs, 0, high, true);
        if (!is_enough(q, &enough))
            return false;
        low = enough ? low : high;
        high = enough ? high : high * 2;
    }
    while (enough && high - low > 1) {
        int middle = low + (high - low) / 2;
        bool fewer;
        set_float(q, costs, 0, middle, true);
        set_float(q, costs, middle, n, false);
        if (!is_enough(q, &fewer))
            return false;
        low = fewer ? low : middle;
        high = fewer ? middle : high;
    }
    *k = enough ? high : -1;
    set_float(q, costs, 0, enough ? high : n, true);
    set_float(q, costs, enough ? high : n, n, false);
    return true;
}

// Of the k that are float, groups that need not be, from the least noise on.
static bool give_back(Quantize *q, const Cost *costs, int k) {
    enum { PARTS = 8 };
    int least = k / PARTS > 1 ? k / PARTS : 1;
    for (int size = k / 2; size >= least; size /= 2)
        for (int to = k; to - size >= 0; to -= size) {
            bool enough;
            if (!q->is_float[costs[to - 1].layer])
                continue;
            set_float(q, costs, to - size, to, false);
            if (!is_enough(q, &enough))
                return false;
            set_float(q, costs, to - size, to, !enough);
        }
    return true;
}

// Where not even all layers in bf16 are enough, those that go back are f32.
static bool find_worst_of(Quantize *q, const Cost *costs, int n, int *k) {
    if (!find_worst(q, costs, n, k))
        return false;
    if (*k >= 0 || !q->in_bf16)
        return true;
    fprintf(stderr,
            "--max-drop %g: not with bf16, so layers go back to f32: compile the result "
            "without --precision bf16\n",
            q->max_drop.v);
    q->in_bf16 = false;
    set_float(q, costs, 0, n, false);
    return find_worst(q, costs, n, k);
}

bool quant_decide(Quantize *q) {
    int k;
    if (!quant_try(q, "int8", &q->as_int8))
        return false;
    if (!q->max_drop.given || quant_drop(q, &q->as_int8) <= q->max_drop.v)
        return true;
    Cost *costs = ir_alloc_array(q->tool->arena, (size_t)q->plan->n_layers + 1, sizeof *costs);
    int n = measure(q, costs);
    if (n < 0 || !find_worst_of(q, costs, n, &k) || (k >= 0 && !give_back(q, costs, k)))
        return false;
    fprintf(stderr, "--max-drop %g: %d layers back in %s, after %d quantized models\n",
            q->max_drop.v, q->plan->n_layers - quant_count_int8(q), q->in_bf16 ? "bf16" : "float",
            q->n_tried);
    return k >= 0 || quant_try(q, "float", &q->as_int8);
}
