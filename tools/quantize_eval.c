// Is the quantized model as good as the float one? Top-1 by the labels of --eval, or agreement
// where there are none. Where the drop is more than --max-drop, the layers that cost most stay
// float: each is quantized alone, and what that does to the outputs is its cost. With --precision
// bf16 what is judged computes float layers in bf16; costs are those beside f32.
#include "tools/quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COST_IMAGES = 16 };

static double drop(const Quantize *q, const QuantScore *s) {
    const QuantScore *f = &q->as_float;
    int lost = q->eval.data ? f->right - s->right : f->n - s->agree;
    return s->n ? (double)lost / s->n : 0;
}

// What the outputs [columns] say: the largest, or yes and no of a single one.
static int predict(const Quantize *q, const float *y) {
    int best = 0;
    if (q->columns > 1) {
        for (int i = 1; i < q->columns; i++)
            best = y[i] > y[best] ? i : best;
        return best;
    }
    int scores = q->reading.scores;
    return (double)*y > (scores == HONE_SCORES_LOGITS              ? 0
                         : scores == HONE_SCORES_LOG_PROBABILITIES ? log(0.5)
                                                                   : 0.5);
}

// ---------------------------------------------------------------- scores

static bool see_float(Quantize *q, void *ctx, int i, const void *x) {
    QuantScore *s = ctx;
    float *y = q->float_out + (size_t)i * (size_t)q->columns;
    if (!quant_net_run(q, &q->observer, x))
        return false;
    memcpy(y, q->observer.out[q->output], (size_t)q->columns * sizeof *y);
    s->n++;
    s->right += predict(q, y) == quant_images_label(&q->eval, i);
    s->agree++;
    return true;
}

bool quant_eval_begin(Quantize *q) {
    Tool *t = q->tool;
    const IrType *y = &q->observer.graph->outputs[q->output]->type;
    int64_t columns = 1, wide = 0;
    for (int i = 1; i < y->shape.rank; i++) {
        columns *= ir_dim_at(y->shape.dim[i], 1);
        wide += ir_dim_at(y->shape.dim[i], 1) != 1;
    }
    if (y->dtype != IR_F32 || y->shape.rank < 2 || wide > 1 || columns < 1 || columns > 1 << 20) {
        ir_error(&t->diag, IR_NOWHERE,
                 "--eval: output '%s' is no list of scores of classes for each image",
                 q->observer.graph->outputs[q->output]->name);
        return false;
    }
    q->columns = (int)columns;
    if (!quant_images_find_labelled(q, q->eval_folder, &q->eval))
        return false;
    quant_images_keep(q, &q->eval);
    q->float_out = ir_alloc_array(t->arena, (size_t)q->eval.n * (size_t)columns, sizeof(float));
    if (!quant_images_walk(q, &q->eval, q->eval.n, "float", see_float, &q->as_float))
        return false;
    if (!q->as_float.n)
        ir_error(&t->diag, IR_NOWHERE, "%s: no image can be read", q->eval_folder);
    return q->as_float.n > 0;
}

typedef struct Trial {
    QuantNet net;
    QuantScore score;
} Trial;

static bool see_int8(Quantize *q, void *ctx, int i, const void *x) {
    Trial *trial = ctx;
    QuantScore *s = &trial->score;
    const float *want = q->float_out + (size_t)i * (size_t)q->columns;
    if (!quant_net_run(q, &trial->net, x))
        return false;
    const float *got = trial->net.out[q->output];
    int said = predict(q, got);
    s->n++;
    s->right += said == quant_images_label(&q->eval, i);
    s->agree += said == predict(q, want);
    for (int k = 0; k < q->columns; k++) {
        double e = (double)got[k] - (double)want[k];
        s->noise += isfinite(e) ? e * e : 0;
    }
    return true;
}

// The quantized model as it is decided now, on so many images. False after an error.
static bool try_model(Quantize *q, int most, bool in_bf16, const char *what, QuantScore *out) {
    Tool *t = q->tool;
    IrArena *own = t->arena;
    Trial trial = {.score = {0}};
    const char *name = ir_sprintf(own, "quantized%d", q->n_tried++);
    t->arena = ir_arena_new(&t->diag);
    q->model.bf16 = in_bf16;
    bool good = quant_net_load(q, quant_model(q, t->arena, NULL), name, &trial.net) &&
                quant_images_walk(q, &q->eval, most, what, see_int8, &trial);
    q->model.bf16 = false;
    ir_arena_free(t->arena);
    t->arena = own;
    *out = trial.score;
    return good;
}

// ---------------------------------------------------------------- layers back in float

typedef struct Cost {
    int layer;
    double noise;
} Cost;

static int by_cost(const void *a, const void *b) {
    const Cost *x = a, *y = b;
    return x->noise > y->noise ? -1 : x->noise < y->noise ? 1 : x->layer - y->layer;
}

// The layers that are int8, the dearest first; -1 after an error.
static int measure_costs(Quantize *q, Cost *costs) {
    int n_layers = q->plan->n_layers, n = 0;
    bool *own = q->is_float;
    ToolProgress bar;
    q->is_float = ir_alloc_array(q->tool->arena, (size_t)n_layers + 1, sizeof *q->is_float);
    for (int l = 0; l < n_layers; l++)
        q->is_float[l] = true;
    for (int l = 0; l < n_layers; l++) {
        QuantScore s;
        if (own[l])
            continue;
        q->is_float[l] = false;
        bool good = try_model(q, COST_IMAGES, false, "layers", &s);
        q->is_float[l] = true;
        if (!good)
            return -1;
        costs[n++] = (Cost){l, s.noise};
        tool_progress_start(&bar, "layers");
        tool_progress(&bar, l + 1, n_layers);
    }
    tool_progress_end(&bar);
    q->is_float = own;
    qsort(costs, (size_t)n, sizeof *costs, by_cost);
    return n;
}

// With the first k of them in float.
static bool try_first(Quantize *q, const Cost *costs, int n, int k, QuantScore *out) {
    for (int i = 0; i < n; i++)
        q->is_float[costs[i].layer] = i < k;
    return try_model(q, q->eval.n, q->in_bf16, "int8", out);
}

bool quant_eval_end(Quantize *q) {
    double most = q->max_drop.v;
    if (!try_model(q, q->eval.n, q->in_bf16, "int8", &q->as_int8))
        return false;
    if (!q->max_drop.given || drop(q, &q->as_int8) <= most)
        return true;
    Cost *costs = ir_alloc_array(q->tool->arena, (size_t)q->plan->n_layers + 1, sizeof *costs);
    int n = measure_costs(q, costs), low = 0, high = 1; // low: too few; high: perhaps enough
    if (n < 0)
        return false;
    while (true) {
        high = high < n ? high : n;
        if (!try_first(q, costs, n, high, &q->as_int8))
            return false;
        if (drop(q, &q->as_int8) <= most || high == n)
            break;
        low = high;
        high *= 2;
    }
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        QuantScore s;
        if (!try_first(q, costs, n, middle, &s))
            return false;
        bool enough = drop(q, &s) <= most;
        low = enough ? low : middle;
        high = enough ? middle : high;
        q->as_int8 = enough ? s : q->as_int8;
    }
    for (int i = 0; i < n; i++)
        q->is_float[costs[i].layer] = i < high;
    return true;
}
