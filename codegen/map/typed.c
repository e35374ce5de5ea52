// Elementwise steps on single elements of any dtype. Integers wrap around, x / 0 is 0; bool is one
// byte 0 or 1; f16 is computed in float. What the evaluator does, in the dtype itself.
#include "codegen/map/map.h"
#include <math.h>
#include <string.h>

typedef struct TypedSpec {
    CgNd nd;
    CgBody body;
    int32_t dtype[CG_ND_OPERANDS]; // result, operands
} TypedSpec;

// ---------------------------------------------------------------- integers

typedef CgVal (*IntegerOp)(CgFn *f, const CgVal *x, bool is_signed, const double *p);

static CgVal pick(CgFn *f, LLVMIntPredicate s, LLVMIntPredicate u, const CgVal *x, bool is_signed) {
    return cg_select(f, cg_icmp(f, is_signed ? s : u, x[0], x[1]), x[0], x[1]);
}

static CgVal zero_like(CgVal x) {
    return LLVMConstNull(LLVMTypeOf(x));
}
static CgVal byte_of(CgFn *f, CgVal bit) {
    return LLVMBuildZExt(f->b, bit, f->i8, "");
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
    CgVal one = LLVMConstInt(LLVMTypeOf(x[1]), 1, 0);
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
    CgVal zero = zero_like(x[0]), one = LLVMConstInt(t, 1, 0), v[] = {one, x[0], x[1]};
    CgLoop loop;
    cg_for_carry(f, &loop, cg_i64(f, 0), cg_i64(f, LLVMGetIntTypeWidth(t)), 1, 3, v);
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
    CgVal d = cg_select(f, by_none, LLVMConstInt(LLVMTypeOf(x[1]), 1, 0), x[1]);
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
    CgVal zero = zero_like(x[0]), one = LLVMConstInt(LLVMTypeOf(x[0]), 1, 0);
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
    unsigned bits = LLVMGetIntTypeWidth(LLVMTypeOf(x[1]));
    *most = LLVMConstInt(LLVMTypeOf(x[1]), bits - 1, 0);
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
    LLVMTypeRef t = LLVMTypeOf(x[0]);
    unsigned bits = LLVMGetIntTypeWidth(t);
    double low = is_signed ? -ldexp(1, (int)bits - 1) : 0;
    double high = ldexp(1, (int)bits - (is_signed ? 1 : 0));
    CgVal y = x[0];
    if (p[0] > low) {
        CgVal a[] = {y, LLVMConstInt(t, (uint64_t)saturate(ceil(p[0])), 1)};
        y = int_maximum(f, a, is_signed, p);
    }
    if (p[1] < high) {
        CgVal a[] = {y, LLVMConstInt(t, (uint64_t)saturate(floor(fmax(p[1], low))), 1)};
        y = int_minimum(f, a, is_signed, p);
    }
    return y;
}
INTEGER(not ) {
    return byte_of(f, cg_icmp(f, LLVMIntEQ, x[0], zero_like(x[0])));
}
INTEGER(and) {
    return byte_of(f, LLVMBuildAnd(f->b, is_set(f, x[0]), is_set(f, x[1]), ""));
}
INTEGER(or) {
    return byte_of(f, LLVMBuildOr(f->b, is_set(f, x[0]), is_set(f, x[1]), ""));
}
INTEGER(equal) {
    return byte_of(f, cg_icmp(f, LLVMIntEQ, x[0], x[1]));
}
INTEGER(less) {
    return byte_of(f, cg_icmp(f, is_signed ? LLVMIntSLT : LLVMIntULT, x[0], x[1]));
}
INTEGER(greater) {
    return byte_of(f, cg_icmp(f, is_signed ? LLVMIntSGT : LLVMIntUGT, x[0], x[1]));
}
INTEGER(where) {
    return cg_select(f, is_set(f, x[0]), x[1], x[2]);
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
    [IR_OP_WHERE] = int_where,
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

// ---------------------------------------------------------------- one step

static IrDtype arg_dtype(const TypedSpec *s, const IrDtype *step, int arg) {
    return arg >= 0 ? (IrDtype)s->dtype[arg + 1] : step[-1 - arg];
}

// The dtype that step i computes in, and of its result. False: not implemented.
static bool type_step(const TypedSpec *s, int i, IrDtype *step, IrDtype *in) {
    const IrStep *st = &s->body.step[i];
    *in = arg_dtype(s, step, st->arg[st->op == IR_OP_WHERE ? 1 : 0]);
    step[i] = ir_op_info(st->op)->flags & IR_FLAG_B ? IR_BOOL : *in;
    return ir_dtype_is_float(*in) || integer_table[st->op] != NULL;
}

static CgVal emit_step(CgFn *f, const IrStep *st, IrDtype in, const CgVal *x) {
    if (!ir_dtype_is_float(in) || st->op == IR_OP_WHERE) {
        return integer_table[st->op](f, x, cg_elem_is_signed(in), st->p);
    }
    CgVal y = cg_eltwise(f, st->op, x, st->p);
    if (ir_op_info(st->op)->flags & IR_FLAG_B) {
        y = byte_of(f, cg_fcmp(f, LLVMRealUNE, y, zero_like(y)));
    }
    return y;
}

// ---------------------------------------------------------------- kernel

static void emit_elements(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    const TypedSpec *s = ctx;
    const CgNdDim *inner = &s->nd.dim[s->nd.rank - 1];
    CgLoop loop;
    CgVal operand[CG_ND_OPERANDS], result[CG_MAX_STEPS];
    IrDtype step[CG_MAX_STEPS], in;
    cg_for(f, &loop, cg_i64(f, 0), len, 1);
    for (int k = 1; k < s->nd.n; k++) {
        CgVal at = cg_iadd(f, off[k], cg_stride(f, loop.iv, inner->stride[k]));
        operand[k] = cg_elem_load(f, (IrDtype)s->dtype[k], f->arg[k], at);
    }
    CgVal y = operand[1];
    for (int i = 0; i < s->body.n; i++) {
        const IrStep *st = &s->body.step[i];
        CgVal x[3] = {NULL};
        type_step(s, i, step, &in);
        for (int k = 0; k < ir_op_info(st->op)->max_in; k++) {
            x[k] = st->arg[k] >= 0 ? operand[st->arg[k] + 1] : result[-1 - st->arg[k]];
        }
        y = result[i] = emit_step(f, st, in, x);
    }
    CgVal to = cg_iadd(f, off[0], cg_stride(f, loop.iv, inner->stride[0]));
    cg_elem_store(f, (IrDtype)s->dtype[0], y, f->arg[0], to);
    cg_end(f, &loop);
}

static void emit_typed(CgFn *f, const void *spec) {
    const TypedSpec *s = spec;
    cg_nd_for(f, &s->nd, 1, 16, emit_elements, (void *)spec);
}

void cg_map_typed(CgProgram *p, const IrNode *n, const char *algo, CgNd *nd, const CgBody *body,
                  int n_args, const CgArg *args) {
    if (cg_nd_empty(nd)) {
        return;
    }
    cg_nd_collapse(nd, 1);
    TypedSpec s;
    memset(&s, 0, sizeof s);
    s.nd = *nd;
    s.body = *body;
    s.dtype[0] = (int32_t)n->out[0]->type.dtype;
    for (int k = 0; k < body->n_in; k++) {
        s.dtype[k + 1] = (int32_t)ir_in(n, k)->type.dtype;
        memset(&s.body.in[k].t, 0, sizeof s.body.in[k].t);
    }
    IrDtype step[CG_MAX_STEPS], in;
    for (int i = 0; i < body->n; i++) {
        if (!type_step(&s, i, step, &in)) {
            cg_nyi(p, n, "%s on %s", ir_op_info(body->step[i].op)->text, ir_dtype_name(in));
            return;
        }
    }
    int k = cg_kernel(p, algo, emit_typed, &s, sizeof s, n_args, 60 + 20 * body->n);
    cg_call(p, n, k, n_args, args, algo, (IrDim){0, 0});
}
