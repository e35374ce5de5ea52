// The noise of each layer: its result in the quantized model beside that in the float one, over
// some of the images. 20 dB: the noise is a tenth of the signal.
#include "tools/quantize.h"

#include <math.h>
#include <string.h>

enum { MOST_IMAGES = 32 };

typedef struct Measure {
    QuantNet net;
    int *shown; // [layers] which of its outputs
    double *signal, *noise;
} Measure;

void quant_add_noise(const QuantNet *a, int f, const QuantNet *b, int shown, double *signal,
                     double *noise) {
    const IrShape *s = &a->graph->outputs[f]->type.shape;
    const float *want = a->out[f], *got = b->out[shown];
    int64_t n = 1;
    for (int i = 0; i < s->rank; i++)
        n *= ir_dim_at(s->dim[i], 1);
    for (int64_t i = 0; i < n; i++) {
        double e = (double)got[i] - (double)want[i];
        *signal += (double)want[i] * (double)want[i];
        *noise += e * e;
    }
}

static bool see(Quantize *q, void *ctx, int i, const void *x) {
    Measure *m = ctx;
    (void)i;
    if (!quant_net_run(q, &q->observer, x) || !quant_net_run(q, &m->net, x))
        return false;
#pragma omp parallel for schedule(dynamic, 1)
    for (int l = 0; l < q->plan->n_layers; l++)
        quant_add_noise(&q->observer, q->shown[q->plan->layers[l].result], &m->net, m->shown[l],
                        &m->signal[l], &m->noise[l]);
    return true;
}

static bool load(Quantize *q, Measure *m) {
    IrArena *a = q->tool->arena;
    int n = q->plan->n_layers;
    const char **names = ir_alloc_array(a, (size_t)n + 1, sizeof *names);
    m->shown = ir_alloc_array(a, (size_t)n + 1, sizeof *m->shown);
    m->signal = ir_alloc_array(a, (size_t)n + 1, sizeof *m->signal);
    m->noise = ir_alloc_array(a, (size_t)n + 1, sizeof *m->noise);
    if (!quant_net_load(q, quant_model(q, a, names), "measured", &m->net))
        return false;
    for (int l = 0; l < n; l++)
        for (int i = 0; i < m->net.graph->n_outputs; i++)
            if (strcmp(m->net.graph->outputs[i]->name, names[l]) == 0)
                m->shown[l] = i;
    return true;
}

bool quant_measure(Quantize *q) {
    Tool *t = q->tool;
    IrArena *own = t->arena;
    Measure m;
    t->arena = ir_arena_new(&t->diag); // for the model, which is not needed any more
    bool good =
        load(q, &m) && quant_images_walk(q, &q->calibrate, MOST_IMAGES, "measuring", see, &m);
    q->snr = ir_alloc_array(own, (size_t)q->plan->n_layers + 1, sizeof *q->snr);
    for (int l = 0; good && l < q->plan->n_layers; l++)
        q->snr[l] = m.noise[l] > 0 ? 10 * log10(m.signal[l] / m.noise[l]) : INFINITY;
    ir_arena_free(t->arena);
    t->arena = own;
    return good;
}
