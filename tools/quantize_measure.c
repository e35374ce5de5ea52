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

static void add_layer(const Quantize *q, Measure *m, int layer) {
    int f = q->shown[q->plan->layers[layer].result];
    IrTensor type = {.dtype = IR_F32, .rank = q->observer.graph->outputs[f]->type.shape.rank};
    for (int i = 0; i < type.rank; i++)
        type.dim[i] = ir_dim_at(q->observer.graph->outputs[f]->type.shape.dim[i], 1);
    const float *want = q->observer.out[f], *got = m->net.out[m->shown[layer]];
    for (int64_t i = 0, n = ir_tensor_elems(&type); i < n; i++) {
        double e = (double)got[i] - (double)want[i];
        m->signal[layer] += (double)want[i] * (double)want[i];
        m->noise[layer] += e * e;
    }
}

static bool see(Quantize *q, void *ctx, int i, const void *x) {
    Measure *m = ctx;
    (void)i;
    if (!quant_net_run(q, &q->observer, x) || !quant_net_run(q, &m->net, x))
        return false;
#pragma omp parallel for schedule(dynamic, 1)
    for (int l = 0; l < q->plan->n_layers; l++)
        add_layer(q, m, l);
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
