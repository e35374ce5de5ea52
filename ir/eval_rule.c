// What each elementwise op does to one element: the meaning of a step of a body, for the reference
// evaluator.
//
// Floats in double; NaN goes through relu, clip, maximum, minimum and sign. Integers exact, in a
// type wider than all; x / 0, and what is left of it, is 0; division truncates, as does x to a
// negative power; a shift by a count outside [0, bits) shifts everything out.
#include "ir/eval_rule.h"
#include <math.h>

#define MAYBE __attribute__((unused))
#define FLOAT_RULE(name, expr)                                                                     \
    static double name##_f(MAYBE double x, MAYBE double y, MAYBE const double *p) {                \
        return expr;                                                                               \
    }
#define WIDE_RULE(name, expr)                                                                      \
    static IrWide name##_i(MAYBE IrWide x, MAYBE IrWide y, MAYBE const double *p) {                \
        return expr;                                                                               \
    }

static IrWide wide_from(double x) // saturates
{
    return isnan(x)        ? 0
           : x <= -0x1p100 ? -((IrWide)1 << 100)
           : x >= 0x1p100  ? (IrWide)1 << 100
                           : (IrWide)x;
}

static IrWide wide_mul(IrWide x, IrWide y) // wraps around
{
    return (IrWide)((unsigned __int128)x * (unsigned __int128)y);
}

static IrWide wide_pow(IrWide x, IrWide y) {
    IrWide r = 1;
    if (y < 0) {
        return x == 1 ? 1 : x == -1 ? (y & 1 ? -1 : 1) : 0;
    }
    for (; y > 0; y >>= 1, x = wide_mul(x, x)) {
        r = y & 1 ? wide_mul(r, x) : r;
    }
    return r;
}

// Mod-13 with fmod=0: the sign is the divisor's.
static IrWide wide_mod(IrWide x, IrWide y) {
    IrWide r = y == 0 ? 0 : x % y;
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}

static double clamp(double x, double low, double high) {
    x = x < low ? low : x;
    return x > high ? high : x;
}

FLOAT_RULE(relu, x < 0 ? 0 : x)                        // Relu-14
FLOAT_RULE(leaky_relu, x < 0 ? p[0] * x : x)           // LeakyRelu-16
FLOAT_RULE(elu, x < 0 ? p[0] * expm1(x) : x)           // Elu-6
FLOAT_RULE(clip, clamp(x, p[0], p[1]))                 // Clip-13: max wins over min
FLOAT_RULE(sigmoid, 1 / (1 + exp(-x)))                 // Sigmoid-13
FLOAT_RULE(hard_sigmoid, clamp(p[0] * x + p[1], 0, 1)) // HardSigmoid-6
FLOAT_RULE(hard_swish, x *clamp(x / 6 + 0.5, 0, 1))    // HardSwish-14
FLOAT_RULE(tanh, tanh(x))
FLOAT_RULE(erf, erf(x))
FLOAT_RULE(gelu, x * 0.5 * erfc(-x * M_SQRT1_2)) // Gelu-20
FLOAT_RULE(exp, exp(x))
FLOAT_RULE(log, log(x))
FLOAT_RULE(sqrt, sqrt(x))
FLOAT_RULE(abs, fabs(x))
FLOAT_RULE(neg, -x)
FLOAT_RULE(floor, floor(x))
FLOAT_RULE(ceil, ceil(x))
FLOAT_RULE(round, nearbyint(x)) // Round-11: halves to even
FLOAT_RULE(round_f16, ir_dtype_round(IR_F16, (double)(float)x))
FLOAT_RULE(round_bf16, ir_dtype_round(IR_BF16, (double)(float)x))
FLOAT_RULE(sign, x > 0 ? 1 : x < 0 ? -1 : x)
FLOAT_RULE(sin, sin(x))
FLOAT_RULE(cos, cos(x))
FLOAT_RULE(tan, tan(x))
FLOAT_RULE(asin, asin(x))
FLOAT_RULE(acos, acos(x))
FLOAT_RULE(atan, atan(x))
FLOAT_RULE(sinh, sinh(x))
FLOAT_RULE(cosh, cosh(x))
FLOAT_RULE(asinh, asinh(x))
FLOAT_RULE(acosh, acosh(x))
FLOAT_RULE(atanh, atanh(x))
FLOAT_RULE(add, x + y)
FLOAT_RULE(sub, x - y)
FLOAT_RULE(mul, x *y)
FLOAT_RULE(div, x / y)
FLOAT_RULE(pow, pow(x, y))                     // Pow-15, one dtype
FLOAT_RULE(rem, fmod(x, y))                    // Mod-13 with fmod=1
FLOAT_RULE(maximum, x > y || isnan(x) ? x : y) // Max-13
FLOAT_RULE(minimum, x < y || isnan(x) ? x : y) // Min-13
FLOAT_RULE(prelu, x < 0 ? x * y : x)           // PRelu-16
FLOAT_RULE(equal, x == y)
FLOAT_RULE(less, x < y)
FLOAT_RULE(greater, x > y)
FLOAT_RULE(relu_grad, x > 0 ? y : 0)

WIDE_RULE(relu, x < 0 ? 0 : x)
static IrWide clip_i(IrWide x, MAYBE IrWide y, const double *p) { // Clip-13: max wins over min
    IrWide low = wide_from(ceil(p[0])), high = wide_from(floor(p[1]));
    x = x < low ? low : x;
    return x > high ? high : x;
}
WIDE_RULE(abs, x < 0 ? -x : x)
WIDE_RULE(neg, -x)
WIDE_RULE(not, !x)
WIDE_RULE(add, x + y)
WIDE_RULE(sub, x - y)
WIDE_RULE(mul, wide_mul(x, y))
WIDE_RULE(div, y == 0 ? 0 : x / y)
WIDE_RULE(pow, wide_pow(x, y))
WIDE_RULE(maximum, x > y ? x : y)
WIDE_RULE(minimum, x < y ? x : y)
WIDE_RULE(rem, y == 0 ? 0 : x % y)
WIDE_RULE(mod, wide_mod(x, y))
WIDE_RULE(sign, (x > 0) - (x < 0))
WIDE_RULE(bit_and, x &y)
WIDE_RULE(bit_or, x | y)
WIDE_RULE(bit_xor, x ^ y)
WIDE_RULE(shift_left, y<0 || y> 63 ? 0 : (IrWide)((unsigned __int128)x << y))
WIDE_RULE(shift_right, y<0 || y> 63 ? -(IrWide)(x < 0) : x >> y)
WIDE_RULE(prelu, x < 0 ? wide_mul(x, y) : x)
WIDE_RULE(equal, x == y)
WIDE_RULE(less, x < y)
WIDE_RULE(greater, x > y)
WIDE_RULE(and, x &&y)
WIDE_RULE(or, x || y)

const IrEvalRule ir_eval_rule[IR_OP_COUNT] = {
    [IR_OP_RELU] = {relu_f, relu_i, 0, 0},
    [IR_OP_LEAKY_RELU] = {leaky_relu_f, NULL, 0, 0},
    [IR_OP_ELU] = {elu_f, NULL, 0, 0},
    [IR_OP_CLIP] = {clip_f, clip_i, 0, 0},
    [IR_OP_SIGMOID] = {sigmoid_f, NULL, 0, 0},
    [IR_OP_HARD_SIGMOID] = {hard_sigmoid_f, NULL, 0, 0},
    [IR_OP_HARD_SWISH] = {hard_swish_f, NULL, 0, 0},
    [IR_OP_TANH] = {tanh_f, NULL, 0, 0},
    [IR_OP_ERF] = {erf_f, NULL, 0, 0},
    [IR_OP_GELU] = {gelu_f, NULL, 0, 0},
    [IR_OP_EXP] = {exp_f, NULL, 0, 0},
    [IR_OP_LOG] = {log_f, NULL, 0, 0},
    [IR_OP_SQRT] = {sqrt_f, NULL, 0, 0},
    [IR_OP_ABS] = {abs_f, abs_i, 0, 0},
    [IR_OP_NEG] = {neg_f, neg_i, 0, 0},
    [IR_OP_FLOOR] = {floor_f, NULL, 0, 0},
    [IR_OP_CEIL] = {ceil_f, NULL, 0, 0},
    [IR_OP_ROUND] = {round_f, NULL, 0, 0},
    [IR_OP_ROUND_F16] = {round_f16_f, NULL, 0, 0},
    [IR_OP_ROUND_BF16] = {round_bf16_f, NULL, 0, 0},
    [IR_OP_SIGN] = {sign_f, sign_i, 0, 0},
    [IR_OP_SIN] = {sin_f, NULL, 0, 0},
    [IR_OP_COS] = {cos_f, NULL, 0, 0},
    [IR_OP_TAN] = {tan_f, NULL, 0, 0},
    [IR_OP_ASIN] = {asin_f, NULL, 0, 0},
    [IR_OP_ACOS] = {acos_f, NULL, 0, 0},
    [IR_OP_ATAN] = {atan_f, NULL, 0, 0},
    [IR_OP_SINH] = {sinh_f, NULL, 0, 0},
    [IR_OP_COSH] = {cosh_f, NULL, 0, 0},
    [IR_OP_ASINH] = {asinh_f, NULL, 0, 0},
    [IR_OP_ACOSH] = {acosh_f, NULL, 0, 0},
    [IR_OP_ATANH] = {atanh_f, NULL, 0, 0},
    [IR_OP_NOT] = {NULL, not_i, 1, 1},
    [IR_OP_ADD] = {add_f, add_i, 0, 0},
    [IR_OP_SUB] = {sub_f, sub_i, 0, 0},
    [IR_OP_MUL] = {mul_f, mul_i, 0, 0},
    [IR_OP_DIV] = {div_f, div_i, 0, 0},
    [IR_OP_POW] = {pow_f, pow_i, 0, 0},
    [IR_OP_REM] = {rem_f, rem_i, 0, 0},
    [IR_OP_MOD] = {NULL, mod_i, 0, 0},
    [IR_OP_BIT_AND] = {NULL, bit_and_i, 0, 0},
    [IR_OP_BIT_OR] = {NULL, bit_or_i, 0, 0},
    [IR_OP_BIT_XOR] = {NULL, bit_xor_i, 0, 0},
    [IR_OP_SHIFT_LEFT] = {NULL, shift_left_i, 0, 0},
    [IR_OP_SHIFT_RIGHT] = {NULL, shift_right_i, 0, 0},
    [IR_OP_MAXIMUM] = {maximum_f, maximum_i, 0, 0},
    [IR_OP_MINIMUM] = {minimum_f, minimum_i, 0, 0},
    [IR_OP_PRELU] = {prelu_f, prelu_i, 0, 0},
    [IR_OP_RELU_GRAD] = {relu_grad_f, NULL, 0, 0},
    [IR_OP_EQUAL] = {equal_f, equal_i, 1, 0},
    [IR_OP_LESS] = {less_f, less_i, 0, 0},
    [IR_OP_GREATER] = {greater_f, greater_i, 0, 0},
    [IR_OP_AND] = {NULL, and_i, 1, 1},
    [IR_OP_OR] = {NULL, or_i, 1, 1},
};
