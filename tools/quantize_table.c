// What hone quantize made of each layer: int8, float or bf16, the range of its result, its noise.
#include "tools/quantize.h"

#include "runtime/file/json.h"

#include <math.h>
#include <string.h>

static const char *state(const Quantize *q, int layer) {
    return !q->is_float[layer] ? "int8" : q->in_bf16 ? "bf16" : "float";
}

// False: the result is not quantized.
static bool range_of(const Quantize *q, int layer, double *from, double *to) {
    int r = q->plan->tensors[q->plan->layers[layer].result].range;
    if (r < 0 || q->is_float[layer])
        return false;
    const FeQuantParams *p = &q->ranges[r];
    *from = -p->zero * (double)p->scale;
    *to = (255.0 - p->zero) * (double)p->scale;
    return true;
}

int quant_count_int8(const Quantize *q) {
    int n = 0;
    for (int l = 0; l < q->plan->n_layers; l++)
        n += !q->is_float[l];
    return n;
}

void quant_print(const Quantize *q, FILE *f) {
    fprintf(f, "%-40s %-8s %-6s %22s %8s\n", "layer", "operator", "type", "range of result",
            "SNR, dB");
    for (int l = 0; l < q->plan->n_layers; l++) {
        const char *name = RT_SHOW(q->plan->layers[l].node);
        size_t n = strlen(name), most = 40;
        double from, to;
        char range[64] = "float";
        if (range_of(q, l, &from, &to))
            snprintf(range, sizeof range, "%.4g to %.4g", from, to);
        fprintf(f, "%-40s %-8s %-6s %22s %8.1f\n", n > most ? name + n - most : name,
                q->plan->layers[l].op, state(q, l), range, q->snr[l]);
    }
    if (!q->as_float.n)
        return;
    double n = q->as_float.n / 100.0;
    if (q->eval.data)
        fprintf(f, "top-1 of %d images: %.2f %% in float, %.2f %% in int8\n", q->as_float.n,
                q->as_float.right / n, q->as_int8.right / n);
    fprintf(f, "agreement with the float model on %d images: %.2f %%\n", q->as_int8.n,
            q->as_int8.agree / n);
}

void quant_print_json(const Quantize *q, FILE *f) {
    RtJson j = {.f = f};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "method", fe_quant_method_name(q->method));
    rt_json_int(&j, "images", q->calibrate.n - q->calibrate.n_bad);
    rt_json_int(&j, "left_out", q->calibrate.n_bad);
    rt_json_begin(&j, "layers", '[');
    for (int l = 0; l < q->plan->n_layers; l++) {
        double from, to;
        rt_json_begin(&j, NULL, '{');
        rt_json_text(&j, "node", q->plan->layers[l].node);
        rt_json_text(&j, "op", q->plan->layers[l].op);
        rt_json_text(&j, "type", state(q, l));
        if (range_of(q, l, &from, &to)) {
            rt_json_number(&j, "from", from, 9);
            rt_json_number(&j, "to", to, 9);
        }
        rt_json_number(&j, "snr", q->snr[l], 4);
        rt_json_end(&j, '}');
    }
    rt_json_end(&j, ']');
    if (q->as_float.n) {
        rt_json_begin(&j, "eval", '{');
        rt_json_int(&j, "images", q->as_float.n);
        if (q->eval.data) {
            rt_json_int(&j, "float_right", q->as_float.right);
            rt_json_int(&j, "int8_right", q->as_int8.right);
        }
        rt_json_int(&j, "agree", q->as_int8.agree);
        rt_json_end(&j, '}');
    }
    rt_json_end(&j, '}');
    fputc('\n', f);
}
