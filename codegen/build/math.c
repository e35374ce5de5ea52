// Elementwise math on float vectors or scalars, from polynomials fitted (Chebyshev, double
// precision) to the function on a reduced range, then rounded to float. Errors below were measured
// against double over a million arguments by tests/codegen/build/test_vmath.c.
//   exp 1.5 ulp, log 1.5 ulp, tanh 2 ulp, sigmoid 3 ulp, erf 3 ulp; results below FLT_MIN become 0
//   or lose bits; pow, the trigonometric functions and their kin are the C library's, as is all of
//   this on doubles (scalars only).
#include "codegen/build/builder.h"

#include <math.h>

static CgVal poly(CgFn *f, CgVal x, int n, const double *c) // c[0] + c[1] x + ..., Horner
{
    CgVal y = cg_like(f, x, c[n - 1]);
    for (int i = n - 2; i >= 0; i--)
        y = cg_fma(f, y, x, cg_like(f, x, c[i]));
    return y;
}

static LLVMTypeRef int_type(CgFn *f, CgVal x) // of the same shape
{
    return LLVMGetTypeKind(LLVMTypeOf(x)) == LLVMVectorTypeKind ? f->ivec : f->i32;
}

static CgVal int_like(CgFn *f, CgVal x, int32_t c) {
    CgVal k = cg_i32(f, c);
    return LLVMGetTypeKind(LLVMTypeOf(x)) == LLVMVectorTypeKind ? cg_splat(f, k) : k;
}

// 2^n for integral float n in [-126, 127]
static CgVal pow2i(CgFn *f, CgVal n) {
    CgVal i = LLVMBuildFPToSI(f->b, n, int_type(f, n), "");
    CgVal bits =
        LLVMBuildShl(f->b, LLVMBuildAdd(f->b, i, int_like(f, n, 127), ""), int_like(f, n, 23), "");
    return LLVMBuildBitCast(f->b, bits, LLVMTypeOf(n), "");
}

static CgVal round_even(CgFn *f, CgVal x) // |x| < 2^22, by the magic number 1.5 * 2^23
{
    CgVal magic = cg_like(f, x, 12582912.0);
    return cg_fsub(f, cg_fadd(f, x, magic), magic);
}

static const double exp_poly[] = {1.0,        1.0,        0.5,       0.16666577,
                                  0.04166646, 0.00836318, 0.00139336}; // on |r| <= ln 2 / 2

// exp(x) for x in [-87.3, 88.3], or NaN. Adding 1.5 * 2^23 + 127 rounds x / ln 2 to an integer n
// and leaves the exponent field of 2^n in the lowest bits, without a conversion that NaN must not
// reach.
static CgVal exp_capped(CgFn *f, CgVal x) {
    CgVal magic = cg_like(f, x, 12582912.0 + 127);
    CgVal u = cg_fma(f, x, cg_like(f, x, 1.44269504088896341), magic);
    CgVal n = cg_fsub(f, u, magic);
    CgVal r = cg_fma(f, n, cg_like(f, x, -0.693359375), x);
    r = cg_fma(f, n, cg_like(f, x, 2.12194440e-4), r);
    CgVal bits = LLVMBuildBitCast(f->b, u, int_type(f, u), "");
    CgVal power =
        LLVMBuildBitCast(f->b, LLVMBuildShl(f->b, bits, int_like(f, u, 23), ""), LLVMTypeOf(u), "");
    return cg_fmul(f, poly(f, r, 7, exp_poly), power);
}

// exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln 2 / 2. 2^n is applied in two halves, so that
// n = 128 and small n need no special case.
CgVal cg_exp(CgFn *f, CgVal x) {
    if (LLVMTypeOf(x) == f->f64)
        return cg_libm(f, "exp", 1, &x);
    CgVal t = cg_fmin(f, cg_fmax(f, x, cg_like(f, x, -104.0)), cg_like(f, x, 89.0));
    // NaN must not reach the conversion to integer
    CgVal ordered = cg_select(f, cg_fcmp(f, LLVMRealORD, x, x), t, cg_like(f, x, 0));
    CgVal n = round_even(f, cg_fmul(f, ordered, cg_like(f, x, 1.44269504088896341)));
    CgVal r = cg_fma(f, n, cg_like(f, x, -0.693359375), ordered);
    r = cg_fma(f, n, cg_like(f, x, 2.12194440e-4), r);
    CgVal half = round_even(f, cg_fmul(f, n, cg_like(f, x, 0.5)));
    CgVal y = cg_fmul(f, poly(f, r, 7, exp_poly), pow2i(f, half));
    y = cg_fmul(f, y, pow2i(f, cg_fsub(f, n, half)));
    return cg_select(f, cg_fcmp(f, LLVMRealORD, x, x), y, x);
}

// log(x) = e ln 2 + log(1 + g), 1 + g = mantissa in [sqrt(1/2), sqrt(2))
CgVal cg_log(CgFn *f, CgVal x) {
    static const double c[] = {0.33333331,  -0.24999989, 0.20000707,  -0.1666848, 0.14249937,
                               -0.12411051, 0.11661511,  -0.11571201, 0.07149755};
    LLVMTypeRef it = int_type(f, x), ft = LLVMTypeOf(x);
    if (ft == f->f64)
        return cg_libm(f, "log", 1, &x);
    CgVal tiny = cg_fcmp(f, LLVMRealOLT, x, cg_like(f, x, 1.17549435e-38));
    CgVal scaled = cg_select(f, tiny, cg_fmul(f, x, cg_like(f, x, 8388608.0)), x); // * 2^23
    CgVal bits = LLVMBuildBitCast(f->b, scaled, it, "");
    // Subtracting sqrt(1/2)'s bits makes the exponent field that of the mantissa range above.
    CgVal off = LLVMBuildSub(f->b, bits, int_like(f, x, 0x3f3504f3), "");
    CgVal e = LLVMBuildAShr(f->b, off, int_like(f, x, 23), "");
    CgVal mant = LLVMBuildSub(f->b, bits, LLVMBuildShl(f->b, e, int_like(f, x, 23), ""), "");
    CgVal g = cg_fsub(f, LLVMBuildBitCast(f->b, mant, ft, ""), cg_like(f, x, 1.0));
    CgVal ef = LLVMBuildSIToFP(f->b, e, ft, "");
    ef = cg_select(f, tiny, cg_fsub(f, ef, cg_like(f, x, 23.0)), ef);
    CgVal g2 = cg_fmul(f, g, g);
    CgVal y = cg_fmul(f, cg_fmul(f, g, g2), poly(f, g, 9, c));
    y = cg_fma(f, ef, cg_like(f, x, -2.12194440e-4), y);
    y = cg_fma(f, g2, cg_like(f, x, -0.5), y);
    y = cg_fadd(f, g, y);
    y = cg_fma(f, ef, cg_like(f, x, 0.693359375), y);
    y = cg_select(f, cg_fcmp(f, LLVMRealOEQ, x, cg_like(f, x, INFINITY)), x, y);
    y = cg_select(f, cg_fcmp(f, LLVMRealOEQ, x, cg_like(f, x, 0)), cg_like(f, x, -INFINITY), y);
    return cg_select(f, cg_fcmp(f, LLVMRealUGE, x, cg_like(f, x, 0)), // NaN stays
                     cg_select(f, cg_fcmp(f, LLVMRealORD, x, x), y, x), cg_like(f, x, NAN));
}

static CgVal fabs_of(CgFn *f, CgVal x) {
    return cg_intrinsic(f, "llvm.fabs", 1, &x);
}
static CgVal copysign_of(CgFn *f, CgVal mag, CgVal sign) {
    CgVal args[] = {mag, sign};
    return cg_intrinsic(f, "llvm.copysign", 2, args);
}

// |x| < 0.625: x + x^3 Q(x^2); above: 1 - 2 / (exp(2|x|) + 1)
CgVal cg_tanh(CgFn *f, CgVal x) {
    static const double c[] = {-0.33333329, 0.13332782, -0.0538525, 0.02100364, -0.00610495};
    if (LLVMTypeOf(x) == f->f64)
        return cg_libm(f, "tanh", 1, &x);
    CgVal u = cg_fmul(f, x, x), a = fabs_of(f, x), one = cg_like(f, x, 1.0);
    CgVal small = cg_fma(f, cg_fmul(f, x, u), poly(f, u, 5, c), x);
    CgVal e = cg_exp(f, cg_fadd(f, a, a));
    CgVal big = cg_fsub(f, one, cg_fdiv(f, cg_like(f, x, 2.0), cg_fadd(f, e, one)));
    return cg_select(f, cg_fcmp(f, LLVMRealOLT, a, cg_like(f, x, 0.625)), small,
                     copysign_of(f, big, x));
}

// |x| < 1: x T(x^2); above: 1 - exp(S(|x|)), S fitted to log(erfc) on [1, 4]
CgVal cg_erf(CgFn *f, CgVal x) {
    static const double t[] = {1.12837917e+00, -3.76126269e-01, 1.12835975e-01, -2.68543288e-02,
                               5.18931195e-03, -8.01885505e-04, 7.88249733e-05};
    static const double s[] = {3.03212945e-04,  -1.13016668e+00, -6.31937094e-01,
                               -1.09978245e-01, 2.63647173e-02,  -4.74022230e-03,
                               5.92769529e-04,  -4.55906214e-05, 1.61406155e-06};
    if (LLVMTypeOf(x) == f->f64)
        return cg_libm(f, "erf", 1, &x);
    CgVal a = fabs_of(f, x), u = cg_fmul(f, x, x);
    CgVal small = cg_fmul(f, x, poly(f, u, 7, t));
    CgVal capped = cg_fmin(f, a, cg_like(f, x, 4.0));
    CgVal big = cg_fsub(f, cg_like(f, x, 1.0), cg_exp(f, poly(f, capped, 9, s)));
    return cg_select(f, cg_fcmp(f, LLVMRealOLT, a, cg_like(f, x, 1.0)), small,
                     copysign_of(f, big, x));
}

CgVal cg_sigmoid(CgFn *f, CgVal x) {
    CgVal one = cg_like(f, x, 1.0);
    if (LLVMTypeOf(x) == f->f64)
        return cg_fdiv(f, one, cg_fadd(f, one, cg_exp(f, LLVMBuildFNeg(f->b, x, ""))));
    CgVal t = cg_fmin(f, cg_fmax(f, x, cg_like(f, x, -88)), cg_like(f, x, 87));
    return cg_fdiv(f, one, cg_fadd(f, one, exp_capped(f, LLVMBuildFNeg(f->b, t, ""))));
}

CgVal cg_pow(CgFn *f, CgVal x, CgVal y) {
    if (y == cg_like(f, x, 2.0)) // constants are unique in LLVM
        return cg_fmul(f, x, x);
    return cg_libm(f, "pow", 2, (CgVal[]){x, y});
}

// ---------------------------------------------------------------- one op of ops.def

typedef CgVal (*Eltwise)(CgFn *f, const CgVal *x, const double *p);

static CgVal truth(CgFn *f, CgVal like, CgVal cond) {
    return cg_select(f, cond, cg_like(f, like, 1.0), cg_like(f, like, 0.0));
}
static CgVal is_true(CgFn *f, CgVal x) {
    return cg_fcmp(f, LLVMRealUNE, x, cg_like(f, x, 0));
}
static CgVal clip(CgFn *f, CgVal x, double lo, double hi) {
    if (lo > -3.4028234663852886e38)
        x = cg_fmax(f, x, cg_like(f, x, lo));
    return hi < 3.4028234663852886e38 ? cg_fmin(f, x, cg_like(f, x, hi)) : x;
}

// clang-format off
#define ELT(name) static CgVal elt_##name(CgFn *f, const CgVal *x, const double *p)
#define UNUSED_P (void)p
ELT(relu) { UNUSED_P; return cg_fmax(f, x[0], cg_like(f, x[0], 0)); }
ELT(leaky_relu)
{
    CgVal neg = cg_fcmp(f, LLVMRealOLT, x[0], cg_like(f, x[0], 0));
    return cg_select(f, neg, cg_fmul(f, x[0], cg_like(f, x[0], p[0])), x[0]);
}
ELT(elu)
{
    CgVal neg = cg_fcmp(f, LLVMRealOLT, x[0], cg_like(f, x[0], 0));
    CgVal em1 = cg_fsub(f, cg_exp(f, cg_fmin(f, x[0], cg_like(f, x[0], 0))), cg_like(f, x[0], 1));
    return cg_select(f, neg, cg_fmul(f, em1, cg_like(f, x[0], p[0])), x[0]);
}
ELT(clip) { return clip(f, x[0], p[0], p[1]); }
ELT(sigmoid) { UNUSED_P; return cg_sigmoid(f, x[0]); }
ELT(hard_sigmoid) // ONNX HardSigmoid: max(0, min(1, alpha x + beta))
{
    CgVal y = cg_fadd(f, cg_fmul(f, x[0], cg_like(f, x[0], p[0])), cg_like(f, x[0], p[1]));
    return clip(f, y, 0, 1);
}
ELT(hard_swish) // ONNX HardSwish: x * HardSigmoid(x) with alpha 1/6, beta 0.5
{
    UNUSED_P;
    CgVal y = cg_fma(f, x[0], cg_like(f, x[0], 1.0 / 6), cg_like(f, x[0], 0.5));
    return cg_fmul(f, x[0], clip(f, y, 0, 1));
}
ELT(tanh) { UNUSED_P; return cg_tanh(f, x[0]); }
ELT(erf) { UNUSED_P; return cg_erf(f, x[0]); }
ELT(exp) { UNUSED_P; return cg_exp(f, x[0]); }
ELT(log) { UNUSED_P; return cg_log(f, x[0]); }
ELT(sqrt) { UNUSED_P; CgVal a[] = {x[0]}; return cg_intrinsic(f, "llvm.sqrt", 1, a); }
ELT(abs) { UNUSED_P; return fabs_of(f, x[0]); }
ELT(neg) { UNUSED_P; return LLVMBuildFNeg(f->b, x[0], ""); }

// Without SSE4.1 there is no rounding instruction and LLVM calls floorf, lane by lane: right, slow.
ELT(floor) { UNUSED_P; CgVal a[] = {x[0]}; return cg_intrinsic(f, "llvm.floor", 1, a); }
ELT(ceil) { UNUSED_P; CgVal a[] = {x[0]}; return cg_intrinsic(f, "llvm.ceil", 1, a); }
ELT(round) { UNUSED_P; CgVal a[] = {x[0]}; return cg_intrinsic(f, "llvm.roundeven", 1, a); }
ELT(sign)
{
    UNUSED_P;
    CgVal zero = cg_like(f, x[0], 0);
    CgVal y = cg_select(f, cg_fcmp(f, LLVMRealOLT, x[0], zero), cg_like(f, x[0], -1), x[0]);
    return cg_select(f, cg_fcmp(f, LLVMRealOGT, x[0], zero), cg_like(f, x[0], 1), y);
}
ELT(not)
{
    UNUSED_P;
    return truth(f, x[0], cg_fcmp(f, LLVMRealOEQ, x[0], cg_like(f, x[0], 0)));
}
ELT(add) { UNUSED_P; return cg_fadd(f, x[0], x[1]); }
ELT(sub) { UNUSED_P; return cg_fsub(f, x[0], x[1]); }
ELT(mul) { UNUSED_P; return cg_fmul(f, x[0], x[1]); }
ELT(div) { UNUSED_P; return cg_fdiv(f, x[0], x[1]); }
ELT(pow) { UNUSED_P; return cg_pow(f, x[0], x[1]); }
ELT(rem) { UNUSED_P; return cg_libm(f, "fmod", 2, x); }
ELT(maximum) { UNUSED_P; return cg_fmax(f, x[0], x[1]); }
ELT(minimum) { UNUSED_P; return cg_fmin(f, x[0], x[1]); }
ELT(prelu)
{
    UNUSED_P;
    CgVal neg = cg_fcmp(f, LLVMRealOLT, x[0], cg_like(f, x[0], 0));
    return cg_select(f, neg, cg_fmul(f, x[0], x[1]), x[0]);
}
ELT(relu_grad)
{
    UNUSED_P;
    CgVal zero = cg_like(f, x[0], 0);
    return cg_select(f, cg_fcmp(f, LLVMRealOGT, x[0], zero), x[1], zero);
}
ELT(equal) { UNUSED_P; return truth(f, x[0], cg_fcmp(f, LLVMRealOEQ, x[0], x[1])); }
ELT(less) { UNUSED_P; return truth(f, x[0], cg_fcmp(f, LLVMRealOLT, x[0], x[1])); }
ELT(greater) { UNUSED_P; return truth(f, x[0], cg_fcmp(f, LLVMRealOGT, x[0], x[1])); }
ELT(and)
{
    UNUSED_P;
    return truth(f, x[0], LLVMBuildAnd(f->b, is_true(f, x[0]), is_true(f, x[1]), ""));
}
ELT(or)
{
    UNUSED_P;
    return truth(f, x[0], LLVMBuildOr(f->b, is_true(f, x[0]), is_true(f, x[1]), ""));
}
ELT(where) { UNUSED_P; return cg_select(f, is_true(f, x[0]), x[1], x[2]); }
// clang-format on

static const Eltwise eltwise_table[IR_OP_COUNT] = {
    [IR_OP_RELU] = elt_relu,
    [IR_OP_LEAKY_RELU] = elt_leaky_relu,
    [IR_OP_ELU] = elt_elu,
    [IR_OP_CLIP] = elt_clip,
    [IR_OP_SIGMOID] = elt_sigmoid,
    [IR_OP_HARD_SIGMOID] = elt_hard_sigmoid,
    [IR_OP_HARD_SWISH] = elt_hard_swish,
    [IR_OP_TANH] = elt_tanh,
    [IR_OP_ERF] = elt_erf,
    [IR_OP_EXP] = elt_exp,
    [IR_OP_LOG] = elt_log,
    [IR_OP_SQRT] = elt_sqrt,
    [IR_OP_ABS] = elt_abs,
    [IR_OP_NEG] = elt_neg,
    [IR_OP_FLOOR] = elt_floor,
    [IR_OP_CEIL] = elt_ceil,
    [IR_OP_ROUND] = elt_round,
    [IR_OP_SIGN] = elt_sign,
    [IR_OP_NOT] = elt_not,
    [IR_OP_ADD] = elt_add,
    [IR_OP_SUB] = elt_sub,
    [IR_OP_MUL] = elt_mul,
    [IR_OP_DIV] = elt_div,
    [IR_OP_POW] = elt_pow,
    [IR_OP_REM] = elt_rem,
    [IR_OP_MAXIMUM] = elt_maximum,
    [IR_OP_MINIMUM] = elt_minimum,
    [IR_OP_PRELU] = elt_prelu,
    [IR_OP_RELU_GRAD] = elt_relu_grad,
    [IR_OP_EQUAL] = elt_equal,
    [IR_OP_LESS] = elt_less,
    [IR_OP_GREATER] = elt_greater,
    [IR_OP_AND] = elt_and,
    [IR_OP_OR] = elt_or,
    [IR_OP_WHERE] = elt_where,
};

// Those that are one function of the C library.
static const char *const libm_table[IR_OP_COUNT] = {
    [IR_OP_SIN] = "sin",     [IR_OP_COS] = "cos",     [IR_OP_TAN] = "tan",
    [IR_OP_ASIN] = "asin",   [IR_OP_ACOS] = "acos",   [IR_OP_ATAN] = "atan",
    [IR_OP_SINH] = "sinh",   [IR_OP_COSH] = "cosh",   [IR_OP_ASINH] = "asinh",
    [IR_OP_ACOSH] = "acosh", [IR_OP_ATANH] = "atanh",
};

CgVal cg_eltwise(CgFn *f, IrOp op, const CgVal *x, const double *p) {
    if (libm_table[op])
        return cg_libm(f, libm_table[op], 1, x);
    if (!eltwise_table[op])
        ir_bug("codegen", NULL, "%s is no elementwise op", ir_op_info(op)->text);
    return eltwise_table[op](f, x, p);
}
