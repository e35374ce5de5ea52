// Elementwise math on float vectors or scalars, from polynomials fitted (Chebyshev, double
// precision) to the function on a reduced range, then rounded to float. Errors below were measured
// against double over a million arguments by tests/codegen/build/test_vmath.c.
//   exp 1.5 ulp, log 1.5 ulp, tanh 2 ulp, sigmoid 3 ulp, erf 3 ulp, gelu 3 ulp of x; results below
//   FLT_MIN become 0 or lose bits; pow, the trigonometric functions and their kin are the C
//   library's, as is all of this on doubles.
#include "codegen/build/builder.h"

#include <math.h>

static bool is_double(CgVal x) {
    LLVMTypeRef t = LLVMTypeOf(x);
    t = LLVMGetTypeKind(t) == LLVMVectorTypeKind ? LLVMGetElementType(t) : t;
    return LLVMGetTypeKind(t) == LLVMDoubleTypeKind;
}

static CgVal poly(CgFn *f, CgVal x, int n, const double *c) // c[0] + c[1] x + ..., Horner
{
    CgVal y = cg_like(f, x, c[n - 1]);
    for (int i = n - 2; i >= 0; i--)
        y = cg_fma(f, y, x, cg_like(f, x, c[i]));
    return y;
}

// The same of n > 1 coefficients, even and odd powers apart: two chains of half the length, where a
// long one would keep the CPU waiting for each step.
static CgVal long_poly(CgFn *f, CgVal x, int n, const double *c) {
    CgVal square = cg_fmul(f, x, x), half[2];
    for (int odd = 0; odd < 2; odd++) {
        int last = n - 1 - (n - 1 - odd) % 2;
        half[odd] = cg_like(f, x, c[last]);
        for (int i = last - 2; i >= 0; i -= 2)
            half[odd] = cg_fma(f, half[odd], square, cg_like(f, x, c[i]));
    }
    return cg_fma(f, half[1], x, half[0]);
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
    if (is_double(x))
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

// As cg_exp, whose results it has down to FLT_MIN; 0 below.
CgVal cg_exp_below(CgFn *f, CgVal x) {
    if (is_double(x))
        return cg_libm(f, "exp", 1, &x);
    CgVal least = cg_like(f, x, -87.3);
    CgVal y = exp_capped(f, cg_fmax(f, x, least));
    return cg_select(f, cg_fcmp(f, LLVMRealOLT, x, least), cg_like(f, x, 0), y);
}

// log(x) = e ln 2 + log(1 + g), 1 + g = mantissa in [sqrt(1/2), sqrt(2))
CgVal cg_log(CgFn *f, CgVal x) {
    static const double c[] = {0.33333331,  -0.24999989, 0.20000707,  -0.1666848, 0.14249937,
                               -0.12411051, 0.11661511,  -0.11571201, 0.07149755};
    LLVMTypeRef it = int_type(f, x), ft = LLVMTypeOf(x);
    if (is_double(x))
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
    if (is_double(x))
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
    if (is_double(x))
        return cg_libm(f, "erf", 1, &x);
    CgVal a = fabs_of(f, x), u = cg_fmul(f, x, x);
    CgVal small = cg_fmul(f, x, poly(f, u, 7, t));
    CgVal capped = cg_fmin(f, a, cg_like(f, x, 4.0));
    CgVal big = cg_fsub(f, cg_like(f, x, 1.0), cg_exp(f, poly(f, capped, 9, s)));
    return cg_select(f, cg_fcmp(f, LLVMRealOLT, a, cg_like(f, x, 1.0)), small,
                     copysign_of(f, big, x));
}

enum { PIECES = 16, PIECE_POWERS = 5 };

// A register holds a number for each piece, and one instruction picks them by lane.
static bool has_pieces(CgFn *f, CgVal x) {
    const IrMachine *m = &f->target->machine;
    return m->isa == IR_ISA_X86_64 && m->vector_bytes == 4 * PIECES &&
           LLVMGetTypeKind(LLVMTypeOf(x)) == LLVMVectorTypeKind &&
           LLVMGetVectorSize(LLVMTypeOf(x)) == PIECES;
}

static CgVal pick(CgFn *f, const float *of, CgVal piece) {
    CgVal table[PIECES];
    for (int i = 0; i < PIECES; i++)
        table[i] = cg_f(f, of[i]);
    CgVal args[] = {LLVMConstVector(table, PIECES), piece};
    return cg_call_intrinsic(f, "llvm.x86.avx512.permvar.sf.512", 0, NULL, 2, args);
}

// By power, then piece: Phi - 1/2 in what a number is above the piece's middle, fitted (Chebyshev,
// in double, coefficients rounded one by one) to 9.3e-8; the first piece is but half as wide, and
// ends below 0, which keeps the sign of -0.
static const float gelu_piece[PIECE_POWERS][PIECES] = {
    {-1e-10, 0.142637312, 0.267620951, 0.3635813, 0.428138852, 0.466194153, 0.485850036,
     0.494745582, 0.498272955, 0.499498457, 0.499871492, 0.499970973, 0.499994218, 0.499998987,
     0.499999851, 0.5},
    {0.398941219, 0.373160601, 0.305396497, 0.218680531, 0.137003869, 0.0750983283, 0.0360163674,
     0.015112591, 0.00554809067, 0.00178200833, 0.000500763475, 0.000123113845, 2.64805076e-05,
     4.9829232e-06, 8.20305274e-07, 0},
    {4.66502242e-05, -0.0681955367, -0.111626334, -0.119896375, -0.100155137, -0.0686235726,
     -0.0394944437, -0.0193343665, -0.00811394304, -0.00293241022, -0.000915010343, -0.000245966134,
     -5.63746726e-05, -1.12684611e-05, -2.8180018e-06, 0},
    {-0.0672081336, -0.0535974093, -0.0236910023, 0.00716838287, 0.025726933, 0.0291349608,
     0.0228340272, 0.014004915, 0.00703015924, 0.00295180501, 0.0010496215, 0.000318556849,
     8.29536657e-05, 1.86036414e-05, 3.60286117e-06, 0},
    {0.00451317197, 0.0161185358, 0.022788927, 0.017907897, 0.00726598222, -0.00188422564,
     -0.00589307258, -0.00569160096, -0.00371448067, -0.00189780351, -0.000806705211,
     -0.000314211997, -0.000121502948, -3.36539742e-05, 1.29575437e-05, 0}};

// |x| (Phi(|x|) - 1/2) + x/2. Pieces are `width` wide, around its multiples; each has a polynomial
// of degree 4, the last one 1/2. Adding 1.5 * 2^23 leaves the piece in the lowest bits.
static CgVal gelu_by_pieces(CgFn *f, CgVal x) {
    static const double width = 0.3655172288417816;
    CgVal size = fabs_of(f, x), magic = cg_like(f, x, 12582912.0);
    CgVal t = cg_fmin(f, size, cg_like(f, x, (PIECES - 1) * width));
    CgVal u = cg_fma(f, t, cg_like(f, x, 1 / width), magic);
    CgVal r = cg_fma(f, cg_fsub(f, u, magic), cg_like(f, x, -width), t);
    CgVal piece = LLVMBuildBitCast(f->b, u, int_type(f, u), "");
    CgVal y = pick(f, gelu_piece[PIECE_POWERS - 1], piece);
    for (int i = PIECE_POWERS - 2; i >= 0; i--)
        y = cg_fma(f, y, r, pick(f, gelu_piece[i], piece));
    return cg_fma(f, size, y, cg_fmul(f, x, cg_like(f, x, 0.5)));
}

// x Phi(x). Without pieces Phi(x) = 1/2 + x R(x^2) on |x| <= 5.4, where x^2 goes as t in [-1, 1];
// Phi is 0 below (a number under 3.4e-8) and 1 above.
CgVal cg_gelu(CgFn *f, CgVal x) {
    static const double most = 5.4;
    static const double r[] = {0.130928114,    -0.0653280616,  0.0484996103,  -0.0392065533,
                               0.0321161598,   -0.0257490072,  0.0196487755,  -0.0139527591,
                               0.00963750854,  -0.00673625711, 0.00368448603, -0.00116678828,
                               0.000851888792, -0.00103536714, 0.000400848134};
    CgVal half = cg_like(f, x, 0.5);
    if (is_double(x)) {
        CgVal u = cg_fmul(f, x, cg_like(f, x, M_SQRT1_2)), one = cg_like(f, x, 1.0);
        return cg_fmul(f, cg_fmul(f, x, half), cg_fadd(f, one, cg_libm(f, "erf", 1, &u)));
    }
    if (has_pieces(f, x))
        return gelu_by_pieces(f, x);
    CgVal capped = cg_fmin(f, cg_fmax(f, x, cg_like(f, x, -most)), cg_like(f, x, most));
    CgVal u = cg_fmul(f, capped, capped);
    CgVal t = cg_fma(f, u, cg_like(f, x, 2 / (most * most)), cg_like(f, x, -1.0));
    CgVal phi = cg_fma(f, capped, long_poly(f, t, 15, r), half);
    CgVal below = cg_fcmp(f, LLVMRealOLT, x, cg_like(f, x, -most));
    return cg_fmul(f, x, cg_select(f, below, cg_like(f, x, 0), phi));
}

// 1 + exp(-x), x capped where 2^n has an exponent; n = round(-x / ln 2), and exp(-(x + n ln 2)) by
// exp's polynomial.
static CgVal one_plus_exp(CgFn *f, CgVal x) {
    static const double c[] = {1.0, -1.0, 0.5, -0.16666577, 0.04166646, -0.00836318, 0.00139336};
    CgVal magic = cg_like(f, x, 12582912.0 + 127);
    CgVal t = cg_fmin(f, cg_fmax(f, x, cg_like(f, x, -88)), cg_like(f, x, 87));
    CgVal u = cg_fma(f, t, cg_like(f, x, -1.44269504088896341), magic);
    CgVal n = cg_fsub(f, u, magic);
    CgVal s = cg_fma(f, n, cg_like(f, x, 0.693359375), t);
    s = cg_fma(f, n, cg_like(f, x, -2.12194440e-4), s);
    CgVal bits = LLVMBuildBitCast(f->b, u, int_type(f, u), "");
    bits = LLVMBuildShl(f->b, bits, int_like(f, u, 23), "");
    CgVal power = LLVMBuildBitCast(f->b, bits, LLVMTypeOf(u), "");
    return cg_fma(f, poly(f, s, 7, c), power, cg_like(f, x, 1.0));
}

CgVal cg_sigmoid(CgFn *f, CgVal x) {
    CgVal one = cg_like(f, x, 1.0);
    if (is_double(x))
        return cg_fdiv(f, one, cg_fadd(f, one, cg_exp(f, LLVMBuildFNeg(f->b, x, ""))));
    return cg_fdiv(f, one, one_plus_exp(f, x));
}

CgVal cg_silu(CgFn *f, CgVal x) {
    return is_double(x) ? cg_fmul(f, x, cg_sigmoid(f, x)) : cg_fdiv(f, x, one_plus_exp(f, x));
}

CgVal cg_pow(CgFn *f, CgVal x, CgVal y) {
    if (y == cg_like(f, x, 2.0)) // constants are unique in LLVM
        return cg_fmul(f, x, x);
    return cg_libm(f, "pow", 2, (CgVal[]){x, y});
}
