// Is the quantized model as good as the float one? Top-1 by the labels of --eval, or agreement
// where there are none. With --precision bf16 what is judged computes float layers in bf16.
#include "tools/quantize.h"

#include <math.h>
#include <string.h>

double quant_drop(const Quantize *q, const QuantScore *s) {
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
    return true;
}

bool quant_try(Quantize *q, const char *what, QuantScore *out) {
    Tool *t = q->tool;
    IrArena *own = t->arena;
    Trial trial = {.score = {0}};
    const char *name = ir_sprintf(own, "quantized%d", q->n_tried++);
    t->arena = ir_arena_new(&t->diag);
    q->model.bf16 = q->in_bf16;
    bool good = quant_net_load(q, quant_model(q, t->arena, NULL), name, &trial.net) &&
                quant_images_walk(q, &q->eval, q->eval.n, what, see_int8, &trial);
    q->model.bf16 = false;
    ir_arena_free(t->arena);
    t->arena = own;
    *out = trial.score;
    return good;
}
