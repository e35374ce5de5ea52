// Calibration: the ranges of what is quantized and the channel means of what layers read, over all
// images. Two passes: the extent of each range, then its histogram.
#include "tools/quantize.h"

#include <string.h>

typedef struct Calibration {
    FeQuantRange *ranges; // [plan's ranges]
    const char **bad;     // [plan's ranges] a tensor with numbers that are not finite, or NULL
    int images;
} Calibration;

static const IrType *type_of(const Quantize *q, int tensor) {
    return &q->observer.graph->outputs[q->shown[tensor]]->type;
}

static int64_t count(const IrType *type, int from, int to) {
    int64_t n = 1;
    for (int i = from; i < to; i++)
        n *= ir_dim_at(type->shape.dim[i], 1);
    return n;
}

static const float *numbers(const Quantize *q, int tensor) {
    return q->observer.out[q->shown[tensor]];
}

// Of each range all its tensors, so that no two threads share one.
static void for_ranges(Quantize *q, Calibration *c, bool second) {
    const FeQuantPlan *p = q->plan;
#pragma omp parallel for schedule(dynamic, 1)
    for (int r = 0; r < p->n_ranges; r++)
        for (int i = 0; i < p->n_tensors; i++) {
            const FeQuantTensor *t = &p->tensors[i];
            if (t->range != r || !t->source)
                continue;
            int64_t n = count(type_of(q, i), 0, type_of(q, i)->shape.rank);
            if (second)
                fe_quant_count(&c->ranges[r], numbers(q, i), n);
            else if (!fe_quant_see(&c->ranges[r], numbers(q, i), n))
                c->bad[r] = t->name;
        }
}

static void add_means(Quantize *q) {
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < q->plan->n_tensors; i++) {
        const IrType *type = type_of(q, i);
        int rank = type->shape.rank, axis = q->plan->tensors[i].axis;
        axis = axis < 0 ? rank + axis : axis;
        if (!q->mean[i])
            continue;
        int64_t outer = count(type, 0, axis), inner = count(type, axis + 1, rank);
        const float *x = numbers(q, i);
        for (int64_t o = 0; o < outer; o++)
            for (int64_t c = 0; c < q->channels[i]; c++) {
                double sum = 0;
                for (int64_t k = 0; k < inner; k++)
                    sum += (double)*x++;
                q->mean[i][c] += sum / ((double)outer * (double)inner);
            }
    }
}

static bool see(Quantize *q, void *ctx, int i, const void *x) {
    Calibration *c = ctx;
    if (!quant_net_run(q, &q->observer, x))
        return false;
    for_ranges(q, c, false);
    for (int r = 0; r < q->plan->n_ranges; r++)
        if (c->bad[r]) {
            ir_error(&q->tool->diag, IR_NOWHERE,
                     "tensor '%s' holds numbers that are not finite, on %s", c->bad[r],
                     q->calibrate.path[i]);
            return false;
        }
    add_means(q);
    c->images++;
    return true;
}

static bool count_all(Quantize *q, void *ctx, int i, const void *x) {
    (void)i;
    if (!quant_net_run(q, &q->observer, x))
        return false;
    for_ranges(q, ctx, true);
    return true;
}

static int find_output(const IrGraph *g, const char *name) {
    for (int i = 0; i < g->n_outputs; i++)
        if (strcmp(g->outputs[i]->name, name) == 0)
            return i;
    ir_bug("tools", name, "the observer shows no such tensor");
}

static void allocate(Quantize *q) {
    const FeQuantPlan *p = q->plan;
    IrArena *a = q->tool->arena;
    size_t n = (size_t)p->n_tensors + 1;
    q->shown = ir_alloc_array(a, n, sizeof *q->shown);
    q->mean = ir_alloc_array(a, n, sizeof *q->mean);
    q->channels = ir_alloc_array(a, n, sizeof *q->channels);
    q->ranges = ir_alloc_array(a, (size_t)p->n_ranges + 1, sizeof *q->ranges);
    for (int i = 0; i < p->n_tensors; i++) {
        q->shown[i] = find_output(q->observer.graph, p->tensors[i].name);
        const IrShape *s = &type_of(q, i)->shape;
        int axis = p->tensors[i].axis < 0 ? s->rank + p->tensors[i].axis : p->tensors[i].axis;
        if (!p->tensors[i].axis || axis < 0 || axis >= s->rank)
            continue;
        q->channels[i] = ir_dim_at(s->dim[axis], 1);
        q->mean[i] = ir_alloc_array(a, (size_t)q->channels[i] + 1, sizeof **q->mean);
    }
}

static bool check_count(Quantize *q, int images) {
    const QuantImages *s = &q->calibrate;
    if (s->n_bad)
        fprintf(stderr, "%s: %d of %d images cannot be read and are left out\n", RT_SHOW(s->from),
                s->n_bad, s->n);
    if (images >= QUANT_LEAST_IMAGES)
        return true;
    ir_error(&q->tool->diag, IR_NOWHERE, "%s: %d usable images, calibration takes at least %d",
             s->from, images, QUANT_LEAST_IMAGES);
    return false;
}

bool quant_calibrate(Quantize *q) {
    IrArena *a = q->tool->arena;
    const FeQuantPlan *p = q->plan;
    Calibration c = {.ranges = ir_alloc_array(a, (size_t)p->n_ranges + 1, sizeof *c.ranges),
                     .bad = ir_alloc_array(a, (size_t)p->n_ranges + 1, sizeof *c.bad)};
    if (!quant_net_load(q, fe_quant_observer(a, p), "observed", &q->observer))
        return false;
    allocate(q);
    if (!quant_images_walk(q, &q->calibrate, q->max_images, "ranges", see, &c) ||
        !check_count(q, c.images))
        return false;
    for (int i = 0; i < p->n_tensors; i++)
        for (int64_t k = 0; q->mean[i] && k < q->channels[i]; k++)
            q->mean[i][k] /= c.images;
    if (q->method != FE_QUANT_MINMAX &&
        !quant_images_walk(q, &q->calibrate, q->max_images, "histograms", count_all, &c))
        return false;
    for (int r = 0; r < p->n_ranges; r++) {
        fe_quant_choose(&c.ranges[r], q->method, q->percentile.v);
        q->ranges[r] = fe_quant_params(&c.ranges[r]);
    }
    return true;
}
