// Searches and sums along one axis of a plain tensor: arg_max and arg_min (ArgMax-13, ArgMin-13),
// cumsum (CumSum-14). Lines are divided among the threads and each is walked in order, so results
// do not depend on their number. Where f32 lines lie side by side, arg_max takes a vector of them.
#include "codegen/build/eltwise.h"
#include "codegen/index/index.h"

#include <string.h>

bool cg_lines(const IrNode *n, int axis, CgLines *out) {
    CgTensor x = cg_tensor(ir_in(n, 0));
    IrDim own[CG_ND_RANK], size[CG_ND_RANK], line[CG_ND_RANK];
    int rank = 0;
    memset(out, 0, sizeof *out);
    for (int i = 0; i < x.rank; i++) {
        if (i != axis) {
            size[rank++] = x.dim[i];
        }
    }
    cg_nd_init(&out->nd, rank, size);
    out->size = x.dim[axis];
    for (int k = 0; k <= n->n_out; k++) {
        CgTensor t = cg_tensor(k < n->n_out ? n->out[k] : ir_in(n, 0));
        bool has_axis = t.rank == x.rank;
        cg_nd_strides(&t, own);
        for (int i = 0; i < rank; i++) {
            line[i] = own[has_axis && i >= axis ? i + 1 : i];
        }
        cg_nd_add(&out->nd, line, ir_dim(0));
        out->step[k] = has_axis ? own[axis] : ir_dim(0);
    }
    if (cg_nd_empty(&out->nd) || ir_dim_is(out->size, 0)) {
        return false;
    }
    cg_nd_collapse(&out->nd, 1);
    out->nd.cost = ir_dim_at(out->size, 1);
    return true;
}

CgVal cg_precedes(CgFn *f, IrDtype t, bool ascending, bool nan_last, CgVal x, CgVal y) {
    if (!ir_dtype_is_float(t)) {
        bool is_signed = cg_elem_is_signed(t);
        return cg_icmp(f,
                       ascending   ? is_signed ? LLVMIntSLT : LLVMIntULT
                       : is_signed ? LLVMIntSGT
                                   : LLVMIntUGT,
                       x, y);
    }
    CgVal number = nan_last ? x : y; // true where the other one is NaN, or both are ordered so
    return LLVMBuildAnd(f->b, cg_fcmp(f, ascending ? LLVMRealULT : LLVMRealUGT, x, y),
                        cg_fcmp(f, LLVMRealORD, number, number), "");
}

// ---------------------------------------------------------------- arg_max, arg_min

typedef struct ArgSpec {
    CgLines lines;
    int32_t dtype, least, last, pad_;
} ArgSpec;

typedef struct ArgRun {
    const ArgSpec *spec;
    const CgVal *off;
} ArgRun;

// The s-th element that the search meets.
static CgVal nth_position(CgFn *f, const ArgSpec *s, CgVal i) {
    return s->last ? cg_isub(f, cg_iaddc(f, cg_dim(f, s->lines.size), -1), i) : i;
}

static void emit_arg_line(void *ctx, CgFn *f, CgVal i, CgVal n) {
    (void)n;
    const ArgRun *r = ctx;
    const ArgSpec *s = r->spec;
    const IrDim *stride = s->lines.nd.dim[s->lines.nd.rank - 1].stride;
    IrDtype t = (IrDtype)s->dtype;
    CgVal from = cg_iadd(f, r->off[1], cg_stride(f, i, stride[1]));
    CgVal at = nth_position(f, s, cg_i64(f, 0));
    CgVal first = cg_iadd(f, from, cg_stride(f, at, s->lines.step[1]));
    CgVal best[] = {cg_elem_load(f, t, f->arg[1], first), at};
    CgLoop loop;
    cg_for_carry(f, &loop, cg_i64(f, 1), cg_dim(f, s->lines.size), 1, 2, best);
    at = nth_position(f, s, loop.iv);
    CgVal x = cg_elem_load(f, t, f->arg[1], cg_iadd(f, from, cg_stride(f, at, s->lines.step[1])));
    CgVal better = cg_precedes(f, t, s->least, false, x, best[0]);
    best[0] = cg_select(f, better, x, best[0]);
    best[1] = cg_select(f, better, at, best[1]);
    cg_end_carry(f, &loop, best);
    cg_store(f, best[1],
             cg_at(f, f->i64, f->arg[0], cg_iadd(f, r->off[0], cg_stride(f, i, stride[0]))), 8);
}

// `lanes` neighbouring lines; positions fit 32 bits.
static void emit_arg_vector(const ArgRun *r, CgFn *f, CgVal i) {
    const ArgSpec *s = r->spec;
    CgVal from = cg_fat(f, f->arg[1], cg_iadd(f, r->off[1], i));
    CgVal at = nth_position(f, s, cg_i64(f, 0));
    CgVal first = cg_load_v(f, cg_fat(f, from, cg_stride(f, at, s->lines.step[1])));
    CgVal best[] = {first, cg_splat(f, LLVMBuildTrunc(f->b, at, f->i32, ""))};
    CgLoop loop;
    cg_for_carry(f, &loop, cg_i64(f, 1), cg_dim(f, s->lines.size), 1, 2, best);
    at = nth_position(f, s, loop.iv);
    CgVal x = cg_load_v(f, cg_fat(f, from, cg_stride(f, at, s->lines.step[1])));
    CgVal better = cg_precedes(f, IR_F32, s->least, false, x, best[0]);
    best[0] = cg_select(f, better, x, best[0]);
    best[1] = cg_select(f, better, cg_splat(f, LLVMBuildTrunc(f->b, at, f->i32, "")), best[1]);
    cg_end_carry(f, &loop, best);
    LLVMTypeRef wide = LLVMVectorType(f->i64, (unsigned)f->lanes);
    CgVal to = cg_at(f, f->i64, f->arg[0], cg_iadd(f, r->off[0], i));
    cg_store(f, LLVMBuildZExt(f->b, best[1], wide, ""), to, 8);
}

static bool is_side_by_side(const ArgSpec *s) {
    const CgNdDim *last = &s->lines.nd.dim[s->lines.nd.rank - 1];
    return s->dtype == IR_F32 && ir_dim_is(last->stride[0], 1) && ir_dim_is(last->stride[1], 1) &&
           !ir_dim_is(last->size, 1) && s->lines.size.n == 0 && s->lines.size.c <= INT32_MAX;
}

static void emit_arg_lines(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    ArgRun *r = ctx;
    CgVal whole = cg_i64(f, 0);
    CgLoop loop;
    r->off = off;
    if (is_side_by_side(r->spec)) {
        whole = cg_imulc(f, cg_idivc(f, len, f->lanes), f->lanes);
        cg_for(f, &loop, cg_i64(f, 0), whole, f->lanes);
        emit_arg_vector(r, f, loop.iv);
        cg_end(f, &loop);
    }
    cg_for(f, &loop, whole, len, 1);
    emit_arg_line(r, f, loop.iv, NULL);
    cg_end(f, &loop);
}

static void emit_arg(CgFn *f, const void *spec) {
    ArgRun r = {.spec = spec};
    int64_t step = is_side_by_side(r.spec) ? f->lanes : 1;
    cg_nd_for(f, &r.spec->lines.nd, 1, step, emit_arg_lines, &r);
}

void cg_lower_arg(CgProgram *p, const IrNode *n) {
    ArgSpec s;
    memset(&s, 0, sizeof s);
    if (!cg_need_plain(p, n) || !cg_lines(n, (int)ir_int(n, IR_ATTR_AXIS, 0), &s.lines)) {
        return;
    }
    s.dtype = (int32_t)ir_in(n, 0)->type.dtype;
    s.least = n->op == IR_OP_ARG_MIN;
    s.last = ir_int(n, IR_ATTR_REVERSE, 0) != 0;
    const char *algo = ir_op_info(n->op)->text;
    CgArg args[] = {cg_write(n->out[0]), cg_read(ir_in(n, 0))};
    int k = cg_kernel(p, algo, emit_arg, &s, sizeof s, 2, 150);
    cg_call(p, n, k, 2, args, algo, (IrDim){0, 0});
}

// ---------------------------------------------------------------- cumsum

typedef struct SumSpec {
    CgLines lines;
    int32_t dtype, exclusive, reverse, pad_;
} SumSpec;

// Floats are summed in double.
static void emit_sum_line(const SumSpec *s, CgFn *f, CgVal to, CgVal from) {
    IrDtype t = (IrDtype)s->dtype;
    IrDtype wide = ir_dtype_is_float(t) ? IR_F64 : t;
    CgVal size = cg_dim(f, s->lines.size), sum[] = {cg_elem_const(f, wide, 0)};
    CgLoop loop;
    cg_for_carry(f, &loop, cg_i64(f, 0), size, 1, 1, sum);
    CgVal at = s->reverse ? cg_isub(f, cg_iaddc(f, size, -1), loop.iv) : loop.iv;
    CgVal x = cg_elem_load_as(f, wide, t, f->arg[1],
                              cg_iadd(f, from, cg_stride(f, at, s->lines.step[1])));
    CgVal next = cg_eltwise(f, wide, IR_OP_ADD, (CgVal[]){sum[0], x}, NULL);
    CgVal y = cg_elem_convert(f, wide, t, s->exclusive ? sum[0] : next);
    cg_elem_store(f, t, y, f->arg[0], cg_iadd(f, to, cg_stride(f, at, s->lines.step[0])));
    sum[0] = next;
    cg_end_carry(f, &loop, sum);
}

static void emit_sum_lines(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    const SumSpec *s = ctx;
    const IrDim *stride = s->lines.nd.dim[s->lines.nd.rank - 1].stride;
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), len, 1);
    emit_sum_line(s, f, cg_iadd(f, off[0], cg_stride(f, loop.iv, stride[0])),
                  cg_iadd(f, off[1], cg_stride(f, loop.iv, stride[1])));
    cg_end(f, &loop);
}

static void emit_cumsum(CgFn *f, const void *spec) {
    const SumSpec *s = spec;
    cg_nd_for(f, &s->lines.nd, 1, 1, emit_sum_lines, (void *)spec);
}

void cg_lower_cumsum(CgProgram *p, const IrNode *n) {
    SumSpec s;
    memset(&s, 0, sizeof s);
    if (!cg_need_plain(p, n) || !cg_lines(n, (int)ir_int(n, IR_ATTR_AXIS, 0), &s.lines)) {
        return;
    }
    s.dtype = (int32_t)ir_in(n, 0)->type.dtype;
    s.exclusive = ir_int(n, IR_ATTR_EXCLUSIVE, 0) != 0;
    s.reverse = ir_int(n, IR_ATTR_REVERSE, 0) != 0;
    CgArg args[] = {cg_write(n->out[0]), cg_read(ir_in(n, 0))};
    int k = cg_kernel(p, "cumsum", emit_cumsum, &s, sizeof s, 2, 100);
    cg_call(p, n, k, 2, args, "cumsum", (IrDim){0, 0});
}
