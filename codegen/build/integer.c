// Elementwise ops on integers and bools, scalars or vectors: they wrap around, x / 0 is 0; a bool
// is a byte 0 or 1. What the evaluator does, in the type itself.
#include "codegen/build/eltwise.h"

#include <math.h>

typedef CgVal (*IntegerOp)(CgFn *f, const CgVal *x, bool is_signed, const double *p);

static CgVal pick(CgFn *f, LLVMIntPredicate s, LLVMIntPredicate u, const CgVal *x, bool is_signed) {
    return cg_select(f, cg_icmp(f, is_signed ? s : u, x[0], x[1]), x[0], x[1]);
}

static unsigned width_of(CgVal x) { // bits of an element
    LLVMTypeRef t = LLVMTypeOf(x);
    return LLVMGetIntTypeWidth(LLVMGetTypeKind(t) == LLVMVectorTypeKind ? LLVMGetElementType(t)
                                                                        : t);
}
static CgVal zero_like(CgVal x) {
    return LLVMConstNull(LLVMTypeOf(x));
}
static CgVal is_set(CgFn *f, CgVal x) {
    return cg_icmp(f, LLVMIntNE, x, zero_like(x));
}

#define INTEGER(name)                                                                              \
    static CgVal int_##name(CgFn *f, const CgVal *x, __attribute__((unused)) bool is_signed,       \
                            __attribute__((unused)) const double *p)
INTEGER(add) {
    return LLVMBuildAdd(f->b, x[0], x[1], "");
}
INTEGER(sub) {
    return LLVMBuildSub(f->b, x[0], x[1], "");
}
INTEGER(mul) {
    return LLVMBuildMul(f->b, x[0], x[1], "");
}
INTEGER(neg) {
    return LLVMBuildNeg(f->b, x[0], "");
}
INTEGER(maximum) {
    return pick(f, LLVMIntSGT, LLVMIntUGT, x, is_signed);
}
INTEGER(minimum) {
    return pick(f, LLVMIntSLT, LLVMIntULT, x, is_signed);
}
INTEGER(same) {
    return (void)f, x[0];
}
INTEGER(relu) {
    CgVal y[] = {x[0], zero_like(x[0])};
    return is_signed ? int_maximum(f, y, true, p) : x[0];
}
INTEGER(abs) {
    CgVal y[] = {x[0], LLVMBuildNeg(f->b, x[0], "")};
    return is_signed ? int_maximum(f, y, true, p) : x[0];
}
// Truncates; by 0 it is 0. By -1 it is a negation, which wraps where the instruction would trap.
INTEGER(div) {
    CgVal zero = zero_like(x[1]), ones = LLVMConstAllOnes(LLVMTypeOf(x[1]));
    CgVal one = cg_int_like(x[1], 1);
    CgVal by_zero = cg_icmp(f, LLVMIntEQ, x[1], zero);
    CgVal by_minus = cg_icmp(f, LLVMIntEQ, x[1], ones);
    CgVal d = cg_select(f, by_zero, one, x[1]);
    if (!is_signed) {
        return cg_select(f, by_zero, zero, LLVMBuildUDiv(f->b, x[0], d, ""));
    }
    d = cg_select(f, by_minus, one, d);
    CgVal q = LLVMBuildSDiv(f->b, x[0], d, "");
    q = cg_select(f, by_minus, LLVMBuildNeg(f->b, x[0], ""), q);
    return cg_select(f, by_zero, zero, q);
}
// Pow-15: wraps; to a negative power it truncates, so that only 1 and -1 give more than 0.
INTEGER(pow) {
    LLVMTypeRef t = LLVMTypeOf(x[0]);
    CgVal zero = zero_like(x[0]), one = cg_int_like(x[0], 1), v[] = {one, x[0], x[1]};
    CgLoop loop;
    cg_for_carry(f, &loop, cg_i64(f, 0), cg_i64(f, width_of(x[0])), 1, 3, v);
    CgVal odd = is_set(f, LLVMBuildAnd(f->b, v[2], one, ""));
    v[0] = cg_select(f, odd, LLVMBuildMul(f->b, v[0], v[1], ""), v[0]);
    v[1] = LLVMBuildMul(f->b, v[1], v[1], "");
    v[2] = LLVMBuildLShr(f->b, v[2], one, "");
    cg_end_carry(f, &loop, v);
    if (!is_signed) {
        return v[0];
    }
    CgVal above = cg_icmp(f, LLVMIntSGT, x[0], one);
    CgVal below = cg_icmp(f, LLVMIntSLT, x[0], LLVMConstAllOnes(t));
    CgVal other = LLVMBuildOr(f->b, LLVMBuildOr(f->b, above, below, ""),
                              cg_icmp(f, LLVMIntEQ, x[0], zero), "");
    CgVal vanishes = LLVMBuildAnd(f->b, other, cg_icmp(f, LLVMIntSLT, x[1], zero), "");
    return cg_select(f, vanishes, zero, v[0]);
}
// As div: by 0, and by -1, it is 0.
INTEGER(rem) {
    CgVal zero = zero_like(x[1]), ones = LLVMConstAllOnes(LLVMTypeOf(x[1]));
    CgVal by_none = cg_icmp(f, LLVMIntEQ, x[1], zero);
    if (is_signed) {
        by_none = LLVMBuildOr(f->b, by_none, cg_icmp(f, LLVMIntEQ, x[1], ones), "");
    }
    CgVal d = cg_select(f, by_none, cg_int_like(x[1], 1), x[1]);
    return is_signed ? LLVMBuildSRem(f->b, x[0], d, "") : LLVMBuildURem(f->b, x[0], d, "");
}
INTEGER(mod) {
    CgVal r = int_rem(f, x, is_signed, p), zero = zero_like(r);
    if (!is_signed) {
        return r;
    }
    CgVal differ = cg_icmp(f, LLVMIntSLT, LLVMBuildXor(f->b, r, x[1], ""), zero);
    CgVal moves = LLVMBuildAnd(f->b, differ, cg_icmp(f, LLVMIntNE, r, zero), "");
    return cg_select(f, moves, LLVMBuildAdd(f->b, r, x[1], ""), r);
}
INTEGER(sign) {
    CgVal zero = zero_like(x[0]), one = cg_int_like(x[0], 1);
    CgVal y = cg_select(f, cg_icmp(f, LLVMIntEQ, x[0], zero), zero, one);
    CgVal below = cg_icmp(f, LLVMIntSLT, x[0], zero);
    return is_signed ? cg_select(f, below, LLVMConstAllOnes(LLVMTypeOf(x[0])), y) : y;
}
INTEGER(bit_and) {
    return LLVMBuildAnd(f->b, x[0], x[1], "");
}
INTEGER(bit_or) {
    return LLVMBuildOr(f->b, x[0], x[1], "");
}
INTEGER(bit_xor) {
    return LLVMBuildXor(f->b, x[0], x[1], "");
}
// Is the count, as an unsigned number, less than the number of bits?
static CgVal in_width(CgFn *f, const CgVal *x, CgVal *most) {
    unsigned bits = width_of(x[1]);
    *most = cg_int_like(x[1], bits - 1);
    return cg_icmp(f, LLVMIntULE, x[1], *most);
}
INTEGER(shift_left) {
    CgVal most, fits = in_width(f, x, &most), count = cg_select(f, fits, x[1], most);
    return cg_select(f, fits, LLVMBuildShl(f->b, x[0], count, ""), zero_like(x[0]));
}
INTEGER(shift_right) {
    CgVal most, fits = in_width(f, x, &most), count = cg_select(f, fits, x[1], most);
    if (is_signed) {
        return LLVMBuildAShr(f->b, x[0], count, "");
    }
    return cg_select(f, fits, LLVMBuildLShr(f->b, x[0], count, ""), zero_like(x[0]));
}
INTEGER(prelu) {
    CgVal negative = cg_icmp(f, LLVMIntSLT, x[0], zero_like(x[0]));
    return is_signed ? cg_select(f, negative, LLVMBuildMul(f->b, x[0], x[1], ""), x[0]) : x[0];
}
static int64_t saturate(double x) {
    return x >= 9.2e18 ? INT64_MAX : x <= -9.2e18 ? INT64_MIN : (int64_t)x;
}
INTEGER(clip) // Clip-12; the bounds' fractions point inwards
{
    unsigned bits = width_of(x[0]);
    double low = is_signed ? -ldexp(1, (int)bits - 1) : 0;
    double high = ldexp(1, (int)bits - (is_signed ? 1 : 0));
    CgVal y = x[0];
    if (p[0] > low) {
        CgVal a[] = {y, cg_int_like(x[0], (uint64_t)saturate(ceil(p[0])))};
        y = int_maximum(f, a, is_signed, p);
    }
    if (p[1] < high) {
        CgVal a[] = {y, cg_int_like(x[0], (uint64_t)saturate(floor(fmax(p[1], low))))};
        y = int_minimum(f, a, is_signed, p);
    }
    return y;
}
INTEGER(not ) {
    return cg_elem_truth(f, cg_icmp(f, LLVMIntEQ, x[0], zero_like(x[0])));
}
INTEGER(and) {
    return cg_elem_truth(f, LLVMBuildAnd(f->b, is_set(f, x[0]), is_set(f, x[1]), ""));
}
INTEGER(or) {
    return cg_elem_truth(f, LLVMBuildOr(f->b, is_set(f, x[0]), is_set(f, x[1]), ""));
}
INTEGER(equal) {
    return cg_elem_truth(f, cg_icmp(f, LLVMIntEQ, x[0], x[1]));
}
INTEGER(less) {
    return cg_elem_truth(f, cg_icmp(f, is_signed ? LLVMIntSLT : LLVMIntULT, x[0], x[1]));
}
INTEGER(greater) {
    return cg_elem_truth(f, cg_icmp(f, is_signed ? LLVMIntSGT : LLVMIntUGT, x[0], x[1]));
}

static const IntegerOp integer_table[IR_OP_COUNT] = {
    [IR_OP_ADD] = int_add,
    [IR_OP_SUB] = int_sub,
    [IR_OP_MUL] = int_mul,
    [IR_OP_DIV] = int_div,
    [IR_OP_NEG] = int_neg,
    [IR_OP_ABS] = int_abs,
    [IR_OP_MAXIMUM] = int_maximum,
    [IR_OP_MINIMUM] = int_minimum,
    [IR_OP_RELU] = int_relu,
    [IR_OP_FLOOR] = int_same,
    [IR_OP_CEIL] = int_same,
    [IR_OP_PRELU] = int_prelu,
    [IR_OP_CLIP] = int_clip,
    [IR_OP_NOT] = int_not,
    [IR_OP_AND] = int_and,
    [IR_OP_OR] = int_or,
    [IR_OP_EQUAL] = int_equal,
    [IR_OP_LESS] = int_less,
    [IR_OP_GREATER] = int_greater,
    [IR_OP_POW] = int_pow,
    [IR_OP_REM] = int_rem,
    [IR_OP_MOD] = int_mod,
    [IR_OP_SIGN] = int_sign,
    [IR_OP_BIT_AND] = int_bit_and,
    [IR_OP_BIT_OR] = int_bit_or,
    [IR_OP_BIT_XOR] = int_bit_xor,
    [IR_OP_SHIFT_LEFT] = int_shift_left,
    [IR_OP_SHIFT_RIGHT] = int_shift_right,
};

bool cg_integer_defined(IrOp op) {
    return integer_table[op] != NULL;
}

CgVal cg_integer(CgFn *f, IrDtype t, IrOp op, const CgVal *x, const double *p) {
    return integer_table[op](f, x, cg_elem_is_signed(t), p);
}
