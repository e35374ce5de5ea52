// Gradients of elementwise ops. Kinks: relu_grad passes dy where its first operand is above 0, so a
// kink at c is one of x - c; at the kink itself the gradient is that of the lower side, except
// where a comment says otherwise. What broadcast is summed by pass_rev_give().

#include "passes/train/grad.h"
#include "passes/util.h"
#include <math.h>

static IrValue *add(PassGrad *t, IrValue *x, IrValue *y) {
    return pass_rev_2(t, IR_OP_ADD, x, y);
}
static IrValue *sub(PassGrad *t, IrValue *x, IrValue *y) {
    return pass_rev_2(t, IR_OP_SUB, x, y);
}
static IrValue *mul(PassGrad *t, IrValue *x, IrValue *y) {
    return pass_rev_2(t, IR_OP_MUL, x, y);
}
static IrValue *divide(PassGrad *t, IrValue *x, IrValue *y) {
    return pass_rev_2(t, IR_OP_DIV, x, y);
}
static IrValue *gate(PassGrad *t, IrValue *above_zero, IrValue *dy) {
    return pass_rev_2(t, IR_OP_RELU_GRAD, above_zero, dy);
}
static IrValue *negate(PassGrad *t, IrValue *x) {
    return pass_rev_1(t, IR_OP_NEG, x);
}

// c - x
static IrValue *below(PassGrad *t, double c, IrValue *x) {
    return sub(t, pass_rev_const(t, x, c), x);
}

// slope * dy up to 0 of `at`, dy above
static IrValue *leak(PassGrad *t, IrValue *at, IrValue *slope_dy, IrValue *dy) {
    return add(t, slope_dy, gate(t, at, sub(t, dy, slope_dy)));
}

// ---------------------------------------------------------------- one operand

// dy where lo < y < hi, as PyTorch's relu6 has it.
static IrValue *within(PassGrad *t, IrValue *y, double lo, double hi, IrValue *dy) {
    dy = hi < INFINITY ? gate(t, below(t, hi, y), dy) : dy;
    return lo > -INFINITY ? gate(t, pass_rev_shift(t, y, -lo), dy) : dy;
}

void pass_grad_relu(PassGrad *t, IrNode *n) {
    pass_rev_give(t, n, 0, gate(t, n->out[0], pass_rev_of(t, n, 0)));
}

// From y where its sign is x's, so that x need not be kept.
void pass_grad_leaky_relu(PassGrad *t, IrNode *n) {
    double p[2];
    ir_step_params(n, p);
    IrValue *dy = pass_rev_of(t, n, 0), *at = p[0] > 0 ? n->out[0] : ir_in(n, 0);
    pass_rev_give(t, n, 0, leak(t, at, pass_rev_scale(t, dy, p[0]), dy));
}

// alpha * exp(x) = y + alpha below 0
void pass_grad_elu(PassGrad *t, IrNode *n) {
    double p[2];
    ir_step_params(n, p);
    IrValue *dy = pass_rev_of(t, n, 0), *x = ir_in(n, 0), *y = n->out[0], *slope, *zero;
    if (p[0] > 0) {
        zero = pass_rev_const(t, y, 0);
        slope = pass_rev_shift(t, pass_rev_2(t, IR_OP_MINIMUM, y, zero), p[0]);
    } else {
        zero = pass_rev_const(t, x, 0);
        slope = pass_rev_1(t, IR_OP_EXP, pass_rev_2(t, IR_OP_MINIMUM, x, zero));
        slope = pass_rev_scale(t, slope, p[0]);
    }
    pass_rev_give(t, n, 0, leak(t, p[0] > 0 ? y : x, mul(t, dy, slope), dy));
}

void pass_grad_clip(PassGrad *t, IrNode *n) {
    double p[2];
    ir_step_params(n, p);
    pass_rev_give(t, n, 0, within(t, n->out[0], p[0], p[1], pass_rev_of(t, n, 0)));
}

// y * (1 - y)
void pass_grad_sigmoid(PassGrad *t, IrNode *n) {
    IrValue *y = n->out[0], *dy = pass_rev_of(t, n, 0);
    pass_rev_give(t, n, 0, mul(t, dy, mul(t, y, below(t, 1, y))));
}

void pass_grad_hard_sigmoid(PassGrad *t, IrNode *n) {
    double p[2];
    ir_step_params(n, p);
    IrValue *dy = pass_rev_scale(t, pass_rev_of(t, n, 0), p[0]);
    pass_rev_give(t, n, 0, within(t, n->out[0], 0, 1, dy));
}

// x * h, h = clip(x / 6 + 1/2, 0, 1):  h + x / 6 where 0 < h < 1
void pass_grad_hard_swish(PassGrad *t, IrNode *n) {
    IrValue *x = ir_in(n, 0), *dy = pass_rev_of(t, n, 0);
    IrAttr attrs[] = {ir_attr_f(IR_ATTR_ALPHA, 1.0 / 6), ir_attr_f(IR_ATTR_BETA, 0.5)};
    IrValue *h = pass_rev_op(t, IR_OP_HARD_SIGMOID, 1, &x, 2, attrs);
    IrValue *inner = within(t, h, 0, 1, mul(t, dy, pass_rev_scale(t, x, 1.0 / 6)));
    pass_rev_give(t, n, 0, add(t, mul(t, dy, h), inner));
}

// 1 - y^2
void pass_grad_tanh(PassGrad *t, IrNode *n) {
    IrValue *y = n->out[0];
    pass_rev_give(t, n, 0, mul(t, pass_rev_of(t, n, 0), below(t, 1, mul(t, y, y))));
}

// 2 / sqrt(pi) * exp(-x^2)
void pass_grad_erf(PassGrad *t, IrNode *n) {
    IrValue *x = ir_in(n, 0);
    IrValue *e = pass_rev_1(t, IR_OP_EXP, negate(t, mul(t, x, x)));
    pass_rev_give(t, n, 0, mul(t, pass_rev_of(t, n, 0), pass_rev_scale(t, e, M_2_SQRTPI)));
}

// (1 + erf(x / sqrt 2)) / 2 + x exp(-x^2 / 2) / sqrt(2 pi): of x alone, which is all that is kept.
void pass_grad_gelu(PassGrad *t, IrNode *n) {
    IrValue *x = ir_in(n, 0);
    IrValue *e = pass_rev_1(t, IR_OP_ERF, pass_rev_scale(t, x, M_SQRT1_2));
    IrValue *below_x = pass_rev_shift(t, pass_rev_scale(t, e, 0.5), 0.5);
    IrValue *bell = pass_rev_1(t, IR_OP_EXP, pass_rev_scale(t, mul(t, x, x), -0.5));
    IrValue *at_x = mul(t, x, pass_rev_scale(t, bell, M_2_SQRTPI * M_SQRT1_2 / 2));
    pass_rev_give(t, n, 0, mul(t, pass_rev_of(t, n, 0), add(t, below_x, at_x)));
}

void pass_grad_exp(PassGrad *t, IrNode *n) {
    pass_rev_give(t, n, 0, mul(t, pass_rev_of(t, n, 0), n->out[0]));
}

void pass_grad_log(PassGrad *t, IrNode *n) {
    pass_rev_give(t, n, 0, divide(t, pass_rev_of(t, n, 0), ir_in(n, 0)));
}

void pass_grad_sqrt(PassGrad *t, IrNode *n) {
    IrValue *half = pass_rev_scale(t, pass_rev_of(t, n, 0), 0.5);
    pass_rev_give(t, n, 0, divide(t, half, n->out[0]));
}

void pass_grad_sin(PassGrad *t, IrNode *n) {
    IrValue *cosine = pass_rev_1(t, IR_OP_COS, ir_in(n, 0));
    pass_rev_give(t, n, 0, mul(t, pass_rev_of(t, n, 0), cosine));
}

void pass_grad_cos(PassGrad *t, IrNode *n) {
    IrValue *sine = pass_rev_1(t, IR_OP_SIN, ir_in(n, 0));
    pass_rev_give(t, n, 0, negate(t, mul(t, pass_rev_of(t, n, 0), sine)));
}

// 1 + y^2
void pass_grad_tan(PassGrad *t, IrNode *n) {
    IrValue *y = n->out[0];
    pass_rev_give(t, n, 0, mul(t, pass_rev_of(t, n, 0), pass_rev_shift(t, mul(t, y, y), 1)));
}

// dy / sqrt(square_sign * x^2 + c)
static IrValue *over_root(PassGrad *t, IrNode *n, double square_sign, double c) {
    IrValue *x = ir_in(n, 0), *square = mul(t, x, x);
    IrValue *inner = square_sign < 0 ? below(t, c, square) : pass_rev_shift(t, square, c);
    return divide(t, pass_rev_of(t, n, 0), pass_rev_1(t, IR_OP_SQRT, inner));
}

void pass_grad_asin(PassGrad *t, IrNode *n) {
    pass_rev_give(t, n, 0, over_root(t, n, -1, 1));
}

void pass_grad_acos(PassGrad *t, IrNode *n) {
    pass_rev_give(t, n, 0, negate(t, over_root(t, n, -1, 1)));
}

// 1 / (1 + x^2)
void pass_grad_atan(PassGrad *t, IrNode *n) {
    IrValue *x = ir_in(n, 0);
    pass_rev_give(t, n, 0, divide(t, pass_rev_of(t, n, 0), pass_rev_shift(t, mul(t, x, x), 1)));
}

void pass_grad_sinh(PassGrad *t, IrNode *n) {
    IrValue *cosh = pass_rev_1(t, IR_OP_COSH, ir_in(n, 0));
    pass_rev_give(t, n, 0, mul(t, pass_rev_of(t, n, 0), cosh));
}

void pass_grad_cosh(PassGrad *t, IrNode *n) {
    IrValue *sinh = pass_rev_1(t, IR_OP_SINH, ir_in(n, 0));
    pass_rev_give(t, n, 0, mul(t, pass_rev_of(t, n, 0), sinh));
}

void pass_grad_asinh(PassGrad *t, IrNode *n) {
    pass_rev_give(t, n, 0, over_root(t, n, 1, 1));
}

void pass_grad_acosh(PassGrad *t, IrNode *n) {
    pass_rev_give(t, n, 0, over_root(t, n, 1, -1));
}

// 1 / (1 - x^2)
void pass_grad_atanh(PassGrad *t, IrNode *n) {
    IrValue *x = ir_in(n, 0);
    pass_rev_give(t, n, 0, divide(t, pass_rev_of(t, n, 0), below(t, 1, mul(t, x, x))));
}

// sign(x); 0 at 0
void pass_grad_abs(PassGrad *t, IrNode *n) {
    IrValue *x = ir_in(n, 0), *dy = pass_rev_of(t, n, 0);
    pass_rev_give(t, n, 0, sub(t, gate(t, x, dy), gate(t, negate(t, x), dy)));
}

void pass_grad_neg(PassGrad *t, IrNode *n) {
    pass_rev_give(t, n, 0, negate(t, pass_rev_of(t, n, 0)));
}

// Steps: flat wherever they have a gradient.
void pass_grad_zero(PassGrad *t, IrNode *n) {
    (void)t, (void)n;
}

void pass_grad_copy(PassGrad *t, IrNode *n) {
    pass_rev_give(t, n, 0, pass_rev_of(t, n, 0));
}

// Between floating-point types; integers have no gradient.
void pass_grad_cast(PassGrad *t, IrNode *n) {
    IrValue *dy = pass_rev_of(t, n, 0);
    IrAttr to = ir_attr_s(IR_ATTR_TO, ir_dtype_name(ir_in(n, 0)->type.dtype));
    pass_rev_give(t, n, 0, pass_rev_op(t, IR_OP_CAST, 1, &dy, 1, &to));
}

// The same elements are kept, and scaled by as much.
void pass_grad_dropout(PassGrad *t, IrNode *n) {
    IrValue *in[] = {pass_rev_of(t, n, 0), ir_in(n, 1)};
    pass_rev_give(t, n, 0, pass_rev_op(t, IR_OP_DROPOUT, in[1] ? 2 : 1, in, n->n_attrs, n->attrs));
}

// ---------------------------------------------------------------- two operands and more

void pass_grad_add(PassGrad *t, IrNode *n) {
    pass_rev_give(t, n, 0, pass_rev_of(t, n, 0));
    pass_rev_give(t, n, 1, pass_rev_of(t, n, 0));
}

void pass_grad_sub(PassGrad *t, IrNode *n) {
    pass_rev_give(t, n, 0, pass_rev_of(t, n, 0));
    if (pass_rev_wants(t, n, 1)) {
        pass_rev_give(t, n, 1, negate(t, pass_rev_of(t, n, 0)));
    }
}

void pass_grad_mul(PassGrad *t, IrNode *n) {
    for (int i = 0; i < 2; i++) {
        if (pass_rev_wants(t, n, i)) {
            pass_rev_give(t, n, i, mul(t, pass_rev_of(t, n, 0), ir_in(n, 1 - i)));
        }
    }
}

// 1 / b and -y / b
void pass_grad_div(PassGrad *t, IrNode *n) {
    IrValue *dx = divide(t, pass_rev_of(t, n, 0), ir_in(n, 1));
    pass_rev_give(t, n, 0, dx);
    if (pass_rev_wants(t, n, 1)) {
        pass_rev_give(t, n, 1, negate(t, mul(t, dx, n->out[0])));
    }
}

// y = x - k * z with k, the quotient towards 0, that stays as it is.
void pass_grad_rem(PassGrad *t, IrNode *n) {
    IrValue *x = ir_in(n, 0), *z = ir_in(n, 1), *dy = pass_rev_of(t, n, 0);
    pass_rev_give(t, n, 0, dy);
    if (pass_rev_wants(t, n, 1)) {
        IrValue *k = divide(t, pass_rev_2(t, IR_OP_SUB, x, n->out[0]), z);
        pass_rev_give(t, n, 1, negate(t, mul(t, dy, pass_rev_1(t, IR_OP_ROUND, k))));
    }
}

// e * x^(e-1) and y * log(x); the powers that networks have come without pow.
void pass_grad_pow(PassGrad *t, IrNode *n) {
    IrValue *x = ir_in(n, 0), *e = ir_in(n, 1), *dy = pass_rev_of(t, n, 0);
    double power = NAN;
    pass_scalar(pass_rev_context(t), e, &power);
    if (pass_rev_wants(t, n, 0)) {
        IrValue *d = power == 2 ? pass_rev_scale(t, x, 2)
                                : mul(t, e, pass_rev_2(t, IR_OP_POW, x, pass_rev_shift(t, e, -1)));
        pass_rev_give(t, n, 0, mul(t, dy, d));
    }
    if (pass_rev_wants(t, n, 1)) {
        pass_rev_give(t, n, 1, mul(t, dy, mul(t, n->out[0], pass_rev_1(t, IR_OP_LOG, x))));
    }
}

// All of dy goes to one operand, to b where they are equal. `over` is above 0 where it goes to a.
static void choose(PassGrad *t, IrNode *n, IrValue *over) {
    IrValue *dy = pass_rev_of(t, n, 0), *da = gate(t, over, dy);
    pass_rev_give(t, n, 0, da);
    if (pass_rev_wants(t, n, 1)) {
        pass_rev_give(t, n, 1, sub(t, dy, da));
    }
}

void pass_grad_maximum(PassGrad *t, IrNode *n) {
    choose(t, n, sub(t, ir_in(n, 0), ir_in(n, 1)));
}

void pass_grad_minimum(PassGrad *t, IrNode *n) {
    choose(t, n, sub(t, ir_in(n, 1), ir_in(n, 0)));
}

// y = x above 0, else slope * x
void pass_grad_prelu(PassGrad *t, IrNode *n) {
    IrValue *x = ir_in(n, 0), *dy = pass_rev_of(t, n, 0);
    if (pass_rev_wants(t, n, 0)) {
        pass_rev_give(t, n, 0, leak(t, x, mul(t, dy, ir_in(n, 1)), dy));
    }
    if (pass_rev_wants(t, n, 1)) {
        IrValue *low = pass_rev_2(t, IR_OP_MINIMUM, x, pass_rev_const(t, x, 0));
        pass_rev_give(t, n, 1, mul(t, dy, low));
    }
}

// dy itself: nothing is read but its condition
void pass_grad_relu_grad(PassGrad *t, IrNode *n) {
    pass_rev_give(t, n, 1, gate(t, ir_in(n, 0), pass_rev_of(t, n, 0)));
}

void pass_grad_where(PassGrad *t, IrNode *n) {
    IrValue *dy = pass_rev_of(t, n, 0), *zero = pass_rev_const(t, dy, 0);
    if (pass_rev_wants(t, n, 1)) {
        pass_rev_give(
            t, n, 1, pass_rev_op(t, IR_OP_WHERE, 3, (IrValue *[]){ir_in(n, 0), dy, zero}, 0, NULL));
    }
    if (pass_rev_wants(t, n, 2)) {
        pass_rev_give(
            t, n, 2, pass_rev_op(t, IR_OP_WHERE, 3, (IrValue *[]){ir_in(n, 0), zero, dy}, 0, NULL));
    }
}
