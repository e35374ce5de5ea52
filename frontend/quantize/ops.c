// What an ONNX operator is to a quantizer: a product, a move, one that runtimes have in integers, a
// clipping. Opset 13 or newer.
#include "frontend/quantize/room.h"

#include <math.h>

const Onnx__AttributeProto *fe_quant_attr(const Onnx__NodeProto *n, const char *name) {
    for (size_t i = 0; i < n->n_attribute; i++) {
        if (strcmp(fe_text(n->attribute[i]->name), name) == 0) {
            return n->attribute[i];
        }
    }
    return NULL;
}

int64_t fe_quant_int(const Onnx__NodeProto *n, const char *name, int64_t otherwise) {
    const Onnx__AttributeProto *a = fe_quant_attr(n, name);
    return a ? a->i : otherwise;
}

float fe_quant_float(const Onnx__NodeProto *n, const char *name, float otherwise) {
    const Onnx__AttributeProto *a = fe_quant_attr(n, name);
    return a ? a->f : otherwise;
}

static bool text_is(const Onnx__NodeProto *n, const char *name, const char *otherwise,
                    const char *text) {
    const Onnx__AttributeProto *a = fe_quant_attr(n, name);
    if (!a) {
        return strcmp(otherwise, text) == 0;
    }
    return a->s.len == strlen(text) && memcmp(a->s.data, text, a->s.len) == 0;
}

const char *fe_quant_input(const Onnx__NodeProto *n, size_t i) {
    return i < n->n_input && *fe_text(n->input[i]) ? n->input[i] : NULL;
}

bool fe_quant_floats(const FeEdit *r, const char *name, IrTensor *out) {
    enum { LONGEST = 16 }; // chain of Identity, as of weights that several nodes share
    int32_t type;
    for (int i = 0; name && i < LONGEST; i++) {
        if (fe_edit_read(r, name, out, &type)) {
            return out->dtype == IR_F32;
        }
        int maker = fe_edit_find_maker(r, name);
        bool copied = maker >= 0 && fe_is_op(r->g->node[maker], "Identity");
        name = copied ? fe_quant_input(r->g->node[maker], 0) : NULL;
    }
    return false;
}

static bool is_plain(const Onnx__NodeProto *n) {
    return fe_is_onnx_domain(fe_text(n->domain));
}

// ---------------------------------------------------------------- products

static bool weights_of_conv(const Onnx__NodeProto *n, FeQuantWeights *w) {
    const int64_t *d = w->w.dim;
    int64_t group = fe_quant_int(n, "group", 1);
    if (w->w.rank < 3 || group < 1 || d[0] % group) {
        return false;
    }
    w->channels = d[0];
    w->in_group = d[1];
    w->per_group = d[0] / group;
    w->taps = 1;
    for (int i = 2; i < w->w.rank; i++) {
        w->taps *= d[i];
    }
    w->products = w->in_group * w->taps;
    w->of_channel = w->products;
    w->of_product = 1;
    return true;
}

static bool weights_of_matrix(FeQuantWeights *w, bool transposed) {
    if (w->w.rank != 2) {
        return false;
    }
    w->axis = transposed ? 0 : 1;
    w->channels = w->w.dim[w->axis];
    w->products = w->in_group = w->w.dim[1 - w->axis];
    w->per_group = w->channels;
    w->taps = 1;
    w->of_channel = transposed ? w->products : 1;
    w->of_product = transposed ? 1 : w->channels;
    return true;
}

// Of the bias of a Conv or Gemm nothing else can be made integers of.
static bool has_bias_of_channels(const FeEdit *r, const Onnx__NodeProto *n, int64_t channels) {
    const char *name = fe_quant_input(n, 2);
    IrTensor b;
    return !name || (fe_quant_floats(r, name, &b) && ir_tensor_elems(&b) == channels &&
                     (b.rank < 1 || b.dim[b.rank - 1] == channels));
}

bool fe_quant_weights(const FeEdit *r, const Onnx__NodeProto *n, FeQuantWeights *out) {
    bool conv = fe_is_op(n, "Conv"), gemm = fe_is_op(n, "Gemm");
    *out = (FeQuantWeights){.axis = 0};
    if (!is_plain(n) || !(conv || gemm || fe_is_op(n, "MatMul")) || !fe_quant_input(n, 0) ||
        !fe_quant_floats(r, fe_quant_input(n, 1), &out->w)) {
        return false;
    }
    if (gemm && (fe_quant_int(n, "transA", 0) || fe_quant_float(n, "alpha", 1) != 1 ||
                 fe_quant_float(n, "beta", 1) != 1)) {
        return false;
    }
    bool good = conv ? weights_of_conv(n, out)
                     : weights_of_matrix(out, gemm && fe_quant_int(n, "transB", 0));
    return good && out->channels > 0 && out->products > 0 &&
           has_bias_of_channels(r, n, out->channels);
}

// ---------------------------------------------------------------- moves

typedef bool MoveRule(const FeEdit *r, const Onnx__NodeProto *n);

static bool always(const FeEdit *r, const Onnx__NodeProto *n) {
    (void)r;
    (void)n;
    return true;
}

static bool makes_no_indices(const FeEdit *r, const Onnx__NodeProto *n) {
    (void)r;
    return n->n_output == 1;
}

static bool pads_zeros(const FeEdit *r, const Onnx__NodeProto *n) {
    IrTensor x;
    const char *value = fe_quant_input(n, 2);
    return !text_is(n, "mode", "constant", "constant") || !value ||
           (fe_quant_floats(r, value, &x) && ir_tensor_elems(&x) == 1 && ir_tensor_get(&x, 0) == 0);
}

static bool keeps_range(const FeEdit *r, const Onnx__NodeProto *n) {
    (void)r;
    return !text_is(n, "mode", "nearest", "cubic") &&
           !text_is(n, "coordinate_transformation_mode", "half_pixel", "tf_crop_and_resize");
}

bool fe_quant_is_move(const FeEdit *r, const Onnx__NodeProto *n, size_t *inputs, size_t *outputs) {
    enum { ALL = 0 };
    static const struct {
        const char *op;
        size_t inputs, outputs;
        MoveRule *rule;
    } moves[] = {
        {"MaxPool", 1, 1, makes_no_indices},
        {"Reshape", 1, 1, always},
        {"Flatten", 1, 1, always},
        {"Transpose", 1, 1, always},
        {"Squeeze", 1, 1, always},
        {"Unsqueeze", 1, 1, always},
        {"Identity", 1, 1, always},
        {"Dropout", 1, 1, makes_no_indices},
        {"Slice", 1, 1, always},
        {"Split", 1, ALL, always},
        {"Concat", ALL, 1, always},
        {"Pad", 1, 1, pads_zeros},
        {"Resize", 1, 1, keeps_range},
        {"DepthToSpace", 1, 1, always},
        {"SpaceToDepth", 1, 1, always},
    };
    for (size_t i = 0; i < sizeof moves / sizeof *moves && is_plain(n); i++) {
        if (fe_is_op(n, moves[i].op) && moves[i].rule(r, n)) {
            *inputs = moves[i].inputs == ALL ? n->n_input : moves[i].inputs;
            *outputs = moves[i].outputs == ALL ? n->n_output : moves[i].outputs;
            return *inputs <= n->n_input && *outputs <= n->n_output;
        }
    }
    return false;
}

// ---------------------------------------------------------------- others

bool fe_quant_is_integer_op(const Onnx__NodeProto *n) {
    return is_plain(n) && (fe_is_op(n, "Add") || fe_is_op(n, "Mul") || fe_is_op(n, "AveragePool") ||
                           fe_is_op(n, "GlobalAveragePool"));
}

static bool bound(const FeEdit *r, const Onnx__NodeProto *n, size_t i, double *to) {
    IrTensor x;
    const char *name = fe_quant_input(n, i);
    if (!name) {
        return true;
    }
    bool good = fe_quant_floats(r, name, &x) && ir_tensor_elems(&x) == 1;
    *to = good ? ir_tensor_get(&x, 0) : 0;
    return good;
}

bool fe_quant_is_clip(const FeEdit *r, const Onnx__NodeProto *n, double *lo, double *hi) {
    *lo = fe_is_op(n, "Relu") ? 0 : -INFINITY;
    *hi = INFINITY;
    return is_plain(n) && (fe_is_op(n, "Relu") ||
                           (fe_is_op(n, "Clip") && bound(r, n, 1, lo) && bound(r, n, 2, hi)));
}
