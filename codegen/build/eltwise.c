// Elementwise ops of ops.def (flag E) on floats, and the choice by element type: those on integers
// and bools are integer.c's.
#include "codegen/build/eltwise.h"
#include "codegen/build/nd.h"

#include <math.h>

typedef CgVal (*Eltwise)(CgFn *f, const CgVal *x, const double *p);

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
ELT(gelu) { UNUSED_P; return cg_gelu(f, x[0]); }
ELT(exp) { UNUSED_P; return cg_exp(f, x[0]); }
ELT(log) { UNUSED_P; return cg_log(f, x[0]); }
ELT(sqrt) { UNUSED_P; CgVal a[] = {x[0]}; return cg_intrinsic(f, "llvm.sqrt", 1, a); }
ELT(abs) { UNUSED_P; return cg_intrinsic(f, "llvm.fabs", 1, (CgVal[]){x[0]}); }
ELT(neg) { UNUSED_P; return LLVMBuildFNeg(f->b, x[0], ""); }

// Without SSE4.1 there is no rounding instruction and LLVM calls floorf, lane by lane: right, slow.
ELT(floor) { UNUSED_P; CgVal a[] = {x[0]}; return cg_intrinsic(f, "llvm.floor", 1, a); }
ELT(ceil) { UNUSED_P; CgVal a[] = {x[0]}; return cg_intrinsic(f, "llvm.ceil", 1, a); }
ELT(round) { UNUSED_P; CgVal a[] = {x[0]}; return cg_intrinsic(f, "llvm.roundeven", 1, a); }
ELT(round_f16) { UNUSED_P; return cg_elem_round(f, IR_F16, x[0]); }
ELT(round_bf16) { UNUSED_P; return cg_elem_round(f, IR_BF16, x[0]); }
ELT(sign)
{
    UNUSED_P;
    CgVal zero = cg_like(f, x[0], 0);
    CgVal y = cg_select(f, cg_fcmp(f, LLVMRealOLT, x[0], zero), cg_like(f, x[0], -1), x[0]);
    return cg_select(f, cg_fcmp(f, LLVMRealOGT, x[0], zero), cg_like(f, x[0], 1), y);
}
ELT(add) { UNUSED_P; return cg_fadd(f, x[0], x[1]); }
ELT(sub) { UNUSED_P; return cg_fsub(f, x[0], x[1]); }
ELT(mul) { UNUSED_P; return cg_fmul(f, x[0], x[1]); }
ELT(div) { UNUSED_P; return cg_fdiv(f, x[0], x[1]); }
ELT(pow) { UNUSED_P; return cg_pow(f, x[0], x[1]); }
ELT(rem) { UNUSED_P; return cg_libm(f, "fmod", 2, x); }
ELT(maximum) { UNUSED_P; return cg_most(f, LLVMRealOGT, x[1], x[0]); } // NaN wins
ELT(minimum) { UNUSED_P; return cg_most(f, LLVMRealOLT, x[1], x[0]); }
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
ELT(equal) { UNUSED_P; return cg_elem_truth(f, cg_fcmp(f, LLVMRealOEQ, x[0], x[1])); }
ELT(less) { UNUSED_P; return cg_elem_truth(f, cg_fcmp(f, LLVMRealOLT, x[0], x[1])); }
ELT(greater) { UNUSED_P; return cg_elem_truth(f, cg_fcmp(f, LLVMRealOGT, x[0], x[1])); }
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
    [IR_OP_GELU] = elt_gelu,
    [IR_OP_EXP] = elt_exp,
    [IR_OP_LOG] = elt_log,
    [IR_OP_SQRT] = elt_sqrt,
    [IR_OP_ABS] = elt_abs,
    [IR_OP_NEG] = elt_neg,
    [IR_OP_FLOOR] = elt_floor,
    [IR_OP_CEIL] = elt_ceil,
    [IR_OP_ROUND] = elt_round,
    [IR_OP_ROUND_F16] = elt_round_f16,
    [IR_OP_ROUND_BF16] = elt_round_bf16,
    [IR_OP_SIGN] = elt_sign,
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
};

// Those that are one function of the C library.
static const char *const libm_table[IR_OP_COUNT] = {
    [IR_OP_SIN] = "sin",     [IR_OP_COS] = "cos",     [IR_OP_TAN] = "tan",
    [IR_OP_ASIN] = "asin",   [IR_OP_ACOS] = "acos",   [IR_OP_ATAN] = "atan",
    [IR_OP_SINH] = "sinh",   [IR_OP_COSH] = "cosh",   [IR_OP_ASINH] = "asinh",
    [IR_OP_ACOSH] = "acosh", [IR_OP_ATANH] = "atanh",
};

static CgVal choose(CgFn *f, const CgVal *x) {
    return cg_select(f, cg_icmp(f, LLVMIntNE, x[0], LLVMConstNull(LLVMTypeOf(x[0]))), x[1], x[2]);
}

bool cg_eltwise_defined(IrDtype t, IrOp op) {
    return op == IR_OP_WHERE || (ir_dtype_is_float(t) ? libm_table[op] || eltwise_table[op]
                                                      : cg_integer_defined(op));
}

CgVal cg_eltwise(CgFn *f, IrDtype t, IrOp op, const CgVal *x, const double *p) {
    if (!cg_eltwise_defined(t, op)) {
        ir_bug("codegen", NULL, "%s of %s", ir_op_info(op)->text, ir_dtype_name(t));
    }
    if (op == IR_OP_WHERE) {
        return choose(f, x);
    }
    if (!ir_dtype_is_float(t)) {
        return cg_integer(f, t, op, x, p);
    }
    return libm_table[op] ? cg_libm(f, libm_table[op], 1, x) : eltwise_table[op](f, x, p);
}
