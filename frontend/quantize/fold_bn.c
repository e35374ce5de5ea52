// A BatchNormalization behind a Conv goes into its weights, as in the compiled program: rounded to
// eight bits are the weights that the product then has.
//
//   t = Conv(x, w, b); y = BatchNormalization(t, s, o, m, v)   ->   y = Conv(x, w', b')
//   a = s / sqrt(v + epsilon); w' = w * a by output channel; b' = (b - m) * a + o
//
// BatchNormalization-15 in inference form. Arithmetic in double, one rounding.
#include "frontend/quantize/room.h"

#include <math.h>

typedef struct Norm {
    IrTensor scale, shift, mean, var;
    double epsilon;
} Norm;

static bool read_norm(const FeEdit *r, const Onnx__NodeProto *n, int64_t channels, Norm *out) {
    IrTensor *to[4] = {&out->scale, &out->shift, &out->mean, &out->var};
    for (size_t i = 0; i < 4; i++) {
        if (!fe_quant_floats(r, fe_quant_input(n, i + 1), to[i]) ||
            ir_tensor_elems(to[i]) != channels) {
            return false;
        }
    }
    out->epsilon = (double)fe_quant_float(n, "epsilon", 1e-5f);
    return fe_is_op(n, "BatchNormalization") && n->n_output == 1 &&
           !fe_quant_int(n, "training_mode", 0);
}

static void fold(FeEdit *r, int at, const FeQuantWeights *w, const IrTensor *bias, const Norm *bn,
                 const Onnx__NodeProto *behind) {
    IrArena *a = r->arena;
    Onnx__NodeProto *conv = fe_edit_own_node(r, (size_t)at);
    int64_t all = ir_tensor_elems(&w->w), *dims = ir_alloc_array(a, 8, sizeof *dims);
    float *weights = ir_alloc_array(a, (size_t)all + 1, sizeof *weights);
    float *shift = ir_alloc_array(a, (size_t)w->channels + 1, sizeof *shift);
    for (int i = 0; i < w->w.rank; i++) {
        dims[i] = w->w.dim[i];
    }
    for (int64_t o = 0; o < w->channels; o++) {
        double f = ir_tensor_get(&bn->scale, o) / sqrt(ir_tensor_get(&bn->var, o) + bn->epsilon);
        double b = bias ? ir_tensor_get(bias, o) : 0;
        for (int64_t j = 0; j < w->products; j++) {
            int64_t k = o * w->of_channel + j * w->of_product;
            weights[k] = (float)(ir_tensor_get(&w->w, k) * f);
        }
        shift[o] = (float)((b - ir_tensor_get(&bn->mean, o)) * f + ir_tensor_get(&bn->shift, o));
    }
    const char *name = behind->output[0];
    const char *in[3] = {
        conv->input[0],
        fe_quant_init(r, ir_sprintf(a, "%s.folded", conv->input[1]),
                      ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, w->w.rank, dims, weights, 4 * all),
        fe_quant_init(r, ir_sprintf(a, "%s.bias", name), ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 1,
                      &w->channels, shift, 4 * w->channels)};
    fe_quant_set_inputs(a, conv, 3, in);
    conv->output = fe_copy_array(a, conv->output, conv->n_output, 0, sizeof *conv->output);
    conv->output[0] = behind->output[0];
}

// The only reader of what node `at` makes; -1: there are more, or it is an output.
static int only_reader(const FeEdit *r, const FeQuantGraph *g, int at) {
    int v = fe_quant_find(g, r->g->node[at]->output[0]);
    const FeQuantValue *x = v >= 0 ? &g->values[v] : NULL;
    return x && x->n_readers == 1 && !x->is_output ? x->reader : -1;
}

// Nothing that is read any more stays: initializers of what was folded.
static void drop_unread(FeEdit *r, const FeQuantGraph *g, const bool *gone) {
    for (size_t i = 0; i < g->edit.g->n_node; i++) {
        const Onnx__NodeProto *n = g->edit.g->node[i];
        for (size_t k = 0; gone[i] && k < n->n_input; k++) {
            if (fe_quant_input(n, k) && fe_edit_find_init(r, n->input[k]) >= 0) {
                fe_edit_drop_unread(r, n->input[k]);
            }
        }
    }
}

void fe_quant_fold_bn(FeEdit *r, const FeQuantGraph *g) {
    size_t n = r->g->n_node, kept = 0;
    bool *gone = ir_alloc_array(r->arena, n + 1, sizeof *gone); // the graph's nodes
    bool *read = ir_alloc_array(r->arena, n + 1, sizeof *read); // whose inputs may be unread now
    for (size_t i = 0; i < n; i++) {
        const Onnx__NodeProto *conv = r->g->node[i];
        FeQuantWeights w;
        IrTensor bias;
        Norm bn;
        int next = fe_is_op(conv, "Conv") && conv->n_output == 1 ? only_reader(r, g, (int)i) : -1;
        if (next < 0 || !fe_quant_weights(r, conv, &w) ||
            strcmp(fe_text(r->g->node[next]->input[0]), conv->output[0]) != 0 ||
            !read_norm(r, r->g->node[next], w.channels, &bn)) {
            continue;
        }
        bool has_bias = fe_quant_floats(r, fe_quant_input(conv, 2), &bias);
        fold(r, (int)i, &w, has_bias ? &bias : NULL, &bn, r->g->node[next]);
        gone[next] = read[next] = read[i] = true;
    }
    for (size_t i = 0; i < n; i++) {
        if (!gone[i]) {
            r->g->node[kept++] = r->g->node[i];
        }
    }
    r->g->n_node = kept;
    drop_unread(r, g, read);
}
