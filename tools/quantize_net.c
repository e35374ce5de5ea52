// Models of hone quantize, compiled and run.
#include "tools/quantize.h"

#include <string.h>

bool quant_net_load(Quantize *q, const FeNewModel *m, const char *name, QuantNet *out) {
    Tool *t = q->tool;
    FeOptions opt;
    IrProgram *p = m && tool_import_options(t, &q->model, &opt)
                       ? fe_new_model_import(t->arena, m, &opt)
                       : NULL;
    if (!p || !compiled_load(t, &q->model, tool_infer_graph(p), 0, name, &out->compiled))
        return false;
    out->graph = out->compiled.graph;
    out->out = ir_alloc_array(t->arena, (size_t)out->graph->n_outputs + 1, sizeof *out->out);
    for (int i = 0; i < out->graph->n_outputs; i++)
        out->out[i] = ir_tensor_new(t->arena, &out->graph->outputs[i]->type, 1).data;
    return true;
}

bool quant_net_run(Quantize *q, QuantNet *net, const void *x) {
    if (hone_run(net->compiled.model, 1, &x, net->out) == 0)
        return true;
    ir_error(&q->tool->diag, IR_NOWHERE, "the compiled model failed: %s",
             hone_error(net->compiled.model));
    return false;
}

static FeQuantNumbers numbers(const Quantize *q) {
    return (FeQuantNumbers){.ranges = q->ranges,
                            .mean = q->no_bias_correction ? NULL : (const double *const *)q->mean,
                            .channels = q->channels,
                            .is_float = q->is_float};
}

FeNewModel *quant_model(Quantize *q, IrArena *a, const char **shown) {
    IrMeta meta[TOOL_IMAGE_META];
    bool told = tool_image_is_told(&q->image); // what is assumed stays unsaid
    FeQuantNumbers n = numbers(q);
    n.n_meta = told ? tool_image_meta(a, &q->reading, meta) : 0;
    n.meta = meta;
    n.shown = shown;
    return fe_quant_write(a, q->plan, &n);
}

FeNewModel *quant_model_alone(Quantize *q, IrArena *a, const char **pairs) {
    FeQuantNumbers n = numbers(q);
    return fe_quant_alone(a, q->plan, &n, pairs);
}
