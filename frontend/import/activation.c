// Activations: operators of their own, and what fused operators end with. Those that are no IR op
// are written out by their ONNX formula.
#include "frontend/import/activation.h"

#include <float.h>
#include <math.h>
#include <string.h>

static IrValue *build_with_alpha(FeNode *n, IrOp op, IrValue *x, double alpha) {
    return fe_build(n, op, FE_IN(x), FE_WITH(ir_attr_f(IR_ATTR_ALPHA, alpha)));
}

// ---------------------------------------------------------------- the formulas, p: alpha, beta,
// gamma

static IrValue *build_relu(FeNode *n, IrValue *x, const double *p) {
    (void)p;
    return fe_un(n, IR_OP_RELU, x);
}

static IrValue *build_sigmoid(FeNode *n, IrValue *x, const double *p) {
    (void)p;
    return fe_un(n, IR_OP_SIGMOID, x);
}

static IrValue *build_tanh(FeNode *n, IrValue *x, const double *p) {
    (void)p;
    return fe_un(n, IR_OP_TANH, x);
}

static IrValue *build_leaky_relu(FeNode *n, IrValue *x, const double *p) {
    return build_with_alpha(n, IR_OP_LEAKY_RELU, x, p[0]);
}

static IrValue *build_elu(FeNode *n, IrValue *x, const double *p) {
    return build_with_alpha(n, IR_OP_ELU, x, p[0]);
}

// Selu-6: gamma * (x > 0 ? x : alpha * (exp(x) - 1))
static IrValue *build_selu(FeNode *n, IrValue *x, const double *p) {
    return fe_op_const(n, IR_OP_MUL, build_elu(n, x, p), p[2]);
}

static IrValue *build_hard_sigmoid(FeNode *n, IrValue *x, const double *p) {
    return fe_build(n, IR_OP_HARD_SIGMOID, FE_IN(x),
                    FE_WITH(ir_attr_f(IR_ATTR_ALPHA, p[0]), ir_attr_f(IR_ATTR_BETA, p[1])));
}

static IrValue *build_hard_swish(FeNode *n, IrValue *x, const double *p) {
    (void)p;
    return fe_un(n, IR_OP_HARD_SWISH, x);
}

// From alpha to beta.
static IrValue *build_clip(FeNode *n, IrValue *x, const double *p) {
    return fe_build(n, IR_OP_CLIP, FE_IN(x),
                    FE_WITH(ir_attr_f(IR_ATTR_MIN, p[0]), ir_attr_f(IR_ATTR_MAX, p[1])));
}

// Softplus-1: log(exp(x) + 1), written so that exp cannot overflow: max(x, 0) + log(exp(-|x|) + 1)
static IrValue *build_softplus(FeNode *n, IrValue *x, const double *p) {
    (void)p;
    IrValue *e = fe_un(n, IR_OP_EXP, fe_un(n, IR_OP_NEG, fe_un(n, IR_OP_ABS, x)));
    IrValue *l = fe_un(n, IR_OP_LOG, fe_op_const(n, IR_OP_ADD, e, 1));
    return fe_bin(n, IR_OP_ADD, fe_un(n, IR_OP_RELU, x), l);
}

// Softsign-1: x / (1 + |x|)
static IrValue *build_softsign(FeNode *n, IrValue *x, const double *p) {
    (void)p;
    return fe_bin(n, IR_OP_DIV, x, fe_op_const(n, IR_OP_ADD, fe_un(n, IR_OP_ABS, x), 1));
}

// ThresholdedRelu-10: x > alpha ? x : 0
static IrValue *build_thresholded_relu(FeNode *n, IrValue *x, const double *p) {
    IrValue *above = fe_op_const(n, IR_OP_GREATER, x, p[0]);
    return fe_build(n, IR_OP_WHERE, FE_IN(above, x, fe_const(n, x, 0)), 0, NULL);
}

IrValue *fe_gelu(FeNode *n, IrValue *x, bool by_tanh) {
    IrValue *t;
    if (by_tanh) {
        IrValue *cube = fe_bin(n, IR_OP_MUL, x, fe_bin(n, IR_OP_MUL, x, x));
        IrValue *sum = fe_bin(n, IR_OP_ADD, x, fe_op_const(n, IR_OP_MUL, cube, 0.044715));
        t = fe_un(n, IR_OP_TANH, fe_op_const(n, IR_OP_MUL, sum, sqrt(2 / M_PI)));
    } else {
        t = fe_un(n, IR_OP_ERF, fe_op_const(n, IR_OP_MUL, x, sqrt(0.5)));
    }
    IrValue *half = fe_op_const(n, IR_OP_MUL, x, 0.5);
    return fe_bin(n, IR_OP_MUL, half, fe_op_const(n, IR_OP_ADD, t, 1));
}

IrValue *fe_swish(FeNode *n, IrValue *x, double alpha) {
    IrValue *gate = alpha == 1 ? x : fe_op_const(n, IR_OP_MUL, x, alpha);
    return fe_bin(n, IR_OP_MUL, x, fe_un(n, IR_OP_SIGMOID, gate));
}

// ---------------------------------------------------------------- by name

// What fused operators may end with; parameters that have no default must be given.
static const struct {
    const char *name;
    IrValue *(*build)(FeNode *n, IrValue *x, const double *p);
    double p[FE_ACTIVATION_PARAMS]; // defaults
} activations[] = {
    {"Relu", build_relu, {0}},
    {"Sigmoid", build_sigmoid, {0}},
    {"Tanh", build_tanh, {0}},
    {"LeakyRelu", build_leaky_relu, {0.01}},
    {"Elu", build_elu, {1}},
    {"Selu", build_selu, {1.67326319217681884765625, 0, 1.05070102214813232421875}},
    {"HardSigmoid", build_hard_sigmoid, {0.2, 0.5}},
    {"HardSwish", build_hard_swish, {0}},
    {"Clip", build_clip, {-FLT_MAX, FLT_MAX}},
    {"Softplus", build_softplus, {0}},
    {"Softsign", build_softsign, {0}},
    {"ThresholdedRelu", build_thresholded_relu, {1}},
};

IrValue *fe_activate(FeNode *n, IrValue *x, const char *name, const double *given) {
    if (!*name || n->refused) {
        return x;
    }
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++) {
        if (strcmp(activations[i].name, name) == 0) {
            double p[FE_ACTIVATION_PARAMS];
            for (int k = 0; k < FE_ACTIVATION_PARAMS; k++) {
                p[k] = isnan(given[k]) ? activations[i].p[k] : given[k];
            }
            return activations[i].build(n, x, p);
        }
    }
    fe_refuse(n, "activation '%s' is not supported", name);
    return NULL;
}

// ---------------------------------------------------------------- importers

// The operator of the node's name, with its attributes.
void fe_import_activation(FeNode *n) {
    static const char *const attr[FE_ACTIVATION_PARAMS] = {"alpha", "beta", "gamma"};
    double p[FE_ACTIVATION_PARAMS];
    for (int i = 0; i < FE_ACTIVATION_PARAMS; i++) {
        p[i] = fe_attr_float(n, attr[i], NAN);
    }
    fe_out(n, 0, fe_activate(n, fe_operand(n, 0), n->info->name, p));
}

// Selu-1 has its defaults rounded.
void fe_import_selu(FeNode *n) {
    bool rounded = n->since < 6;
    double p[] = {fe_attr_float(n, "alpha", rounded ? 1.6732 : NAN), NAN,
                  fe_attr_float(n, "gamma", rounded ? 1.0507 : NAN)};
    fe_out(n, 0, fe_activate(n, fe_operand(n, 0), "Selu", p));
}

// Celu-12: max(0, x) + min(0, alpha * (exp(x / alpha) - 1)), which is alpha * elu(x / alpha) for
// alpha > 0
void fe_import_celu(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    double alpha = fe_attr_float(n, "alpha", 1);
    if (!(alpha > 0)) {
        fe_refuse(n, "alpha is %g, only positive values are supported", alpha);
    }
    IrValue *y = build_with_alpha(n, IR_OP_ELU, fe_op_const(n, IR_OP_DIV, x, alpha), 1);
    fe_out(n, 0, fe_op_const(n, IR_OP_MUL, y, alpha));
}

// Mish-18: x * tanh(softplus(x))
void fe_import_mish(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    IrValue *t = fe_un(n, IR_OP_TANH, build_softplus(n, x, NULL));
    fe_out(n, 0, fe_bin(n, IR_OP_MUL, x, t));
}

// Gelu-20: x/2 * (1 + erf(x / sqrt 2)), or with tanh(sqrt(2/pi) * (x + 0.044715 x^3)) for erf
void fe_import_gelu(FeNode *n) {
    const char *how = fe_attr_str(n, "approximate", "none");
    fe_out(n, 0, fe_gelu(n, fe_operand(n, 0), how[0] == 't'));
}

// Swish-24: x * sigmoid(alpha * x). QuickGelu-1 of com.microsoft is that with another default.
void fe_import_swish(FeNode *n) {
    fe_out(n, 0, fe_swish(n, fe_operand(n, 0), fe_attr_float(n, "alpha", 1)));
}

void fe_import_quick_gelu(FeNode *n) {
    fe_out(n, 0, fe_swish(n, fe_operand(n, 0), fe_attr_float(n, "alpha", (double)1.702f)));
}

// SwiGLU-28: swish(a) * b, of one shape
void fe_import_swiglu(FeNode *n) {
    IrValue *a = fe_operand(n, 0), *b = fe_operand(n, 1);
    if (!n->refused && !ir_shape_eq(&a->type.shape, &b->type.shape)) {
        fe_refuse(n, "its inputs differ in shape");
    }
    fe_out(n, 0, fe_bin(n, IR_OP_MUL, fe_swish(n, a, fe_attr_float(n, "alpha", 1)), b));
}
