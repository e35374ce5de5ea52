// What makes and ends values whose size data decides: non_zero (NonZero-13) and bounded. A thread
// of non_zero counts what lies before its own elements and then writes where these are, so that the
// result is the same on any number of them.
#include "codegen/index/index.h"

#include <string.h>

// ---------------------------------------------------------------- non_zero

typedef struct NonZeroSpec {
    int64_t elems, rank, dim[IR_MAX_RANK];
    int64_t dtype;
} NonZeroSpec;

static CgVal is_not_zero(CgFn *f, const NonZeroSpec *s, CgVal i) {
    IrDtype t = (IrDtype)s->dtype;
    CgVal x = cg_elem_load(f, t, f->arg[2], i), zero = cg_elem_const(f, t, 0);
    return ir_dtype_is_float(t) ? cg_fcmp(f, LLVMRealUNE, x, zero) : cg_icmp(f, LLVMIntNE, x, zero);
}

static CgVal count_before(CgFn *f, const NonZeroSpec *s, CgVal end) {
    CgVal count[] = {cg_i64(f, 0)};
    CgLoop loop;
    cg_for_carry(f, &loop, cg_i64(f, 0), end, 1, 1, count);
    count[0] = cg_iadd(f, count[0], LLVMBuildZExt(f->b, is_not_zero(f, s, loop.iv), f->i64, ""));
    cg_end_carry(f, &loop, count);
    return count[0];
}

static void store_position(CgFn *f, const NonZeroSpec *s, CgVal axis, CgVal k, CgVal x) {
    CgVal at = cg_iadd(f, cg_imulc(f, axis, s->elems), k);
    cg_store(f, x, cg_at(f, f->i64, f->arg[0], at), 8);
}

static void store_coordinates(CgFn *f, const NonZeroSpec *s, CgVal k, CgVal i) {
    for (int a = (int)s->rank - 1; a >= 0; a--) {
        store_position(f, s, cg_i64(f, a), k, cg_iremc(f, i, s->dim[a]));
        i = cg_idivc(f, i, s->dim[a]);
    }
}

static void fill_rest(CgFn *f, const NonZeroSpec *s, CgVal count) {
    CgLoop axis, loop;
    cg_for(f, &axis, cg_i64(f, 0), cg_i64(f, s->rank), 1);
    cg_for(f, &loop, count, cg_i64(f, s->elems), 1);
    store_position(f, s, axis.iv, loop.iv, cg_i64(f, 0));
    cg_end(f, &loop);
    cg_end(f, &axis);
}

static void emit_non_zero(CgFn *f, const void *spec) {
    const NonZeroSpec *s = spec;
    CgVal lo, hi;
    CgLoop loop;
    CgIf found, last;
    cg_split(f, cg_i64(f, s->elems), &lo, &hi);
    CgVal count[] = {count_before(f, s, lo)};
    cg_for_carry(f, &loop, lo, hi, 1, 1, count);
    CgVal here = is_not_zero(f, s, loop.iv);
    cg_if(f, &found, here);
    store_coordinates(f, s, count[0], loop.iv);
    cg_endif(f, &found);
    count[0] = cg_iadd(f, count[0], LLVMBuildZExt(f->b, here, f->i64, ""));
    cg_end_carry(f, &loop, count);
    cg_if(f, &last, cg_icmp(f, LLVMIntEQ, cg_iaddc(f, f->tid, 1), f->nth));
    fill_rest(f, s, count[0]);
    cg_store(f, count[0], f->arg[1], 8);
    cg_endif(f, &last);
}

void cg_lower_non_zero(CgProgram *p, const IrNode *n) {
    const IrValue *x = ir_in(n, 0);
    NonZeroSpec s;
    memset(&s, 0, sizeof s);
    if (!cg_need_plain(p, n)) {
        return;
    }
    s.elems = n->out[0]->type.shape.dim[1].c;
    s.rank = x->type.shape.rank;
    for (int i = 0; i < s.rank; i++) {
        s.dim[i] = x->type.shape.dim[i].c;
    }
    s.dtype = (int64_t)x->type.dtype;
    CgArg args[] = {cg_write(n->out[0]), cg_write(n->out[1]), cg_read(x)};
    int k = cg_kernel(p, "non_zero", emit_non_zero, &s, sizeof s, 3, 120);
    cg_call(p, n, k, 3, args, "non_zero", (IrDim){0, 0});
}

// ---------------------------------------------------------------- bounded

typedef struct BoundedSpec { // x is [outer][size][run] elements
    int64_t outer, size, run, bytes;
} BoundedSpec;

static void emit_bounded(CgFn *f, const void *spec) {
    const BoundedSpec *s = spec;
    LLVMTypeRef t = LLVMIntTypeInContext(f->ctx, (unsigned)s->bytes * 8);
    CgVal count = cg_load(f, f->i64, f->arg[3], 8), run = cg_i64(f, s->run), lo, hi;
    CgLoop loop, rest;
    CgIf meant, first;
    cg_split(f, cg_i64(f, s->outer * s->size), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    CgVal at = cg_imulc(f, loop.iv, s->run);
    cg_if(f, &meant, cg_icmp(f, LLVMIntSLT, cg_iremc(f, loop.iv, s->size), count));
    cg_index_copy(f, (int)s->bytes, cg_at(f, t, f->arg[0], at), cg_at(f, t, f->arg[2], at), run);
    cg_else(f, &meant);
    cg_for(f, &rest, cg_i64(f, 0), run, 1);
    cg_store(f, LLVMConstNull(t), cg_at(f, t, f->arg[0], cg_iadd(f, at, rest.iv)),
             (unsigned)s->bytes);
    cg_end(f, &rest);
    cg_endif(f, &meant);
    cg_end(f, &loop);
    cg_if(f, &first, cg_icmp(f, LLVMIntEQ, f->tid, cg_i64(f, 0)));
    cg_store(f, count, f->arg[1], 8);
    cg_endif(f, &first);
}

void cg_lower_bounded(CgProgram *p, const IrNode *n) {
    const IrShape *x = &ir_in(n, 0)->type.shape;
    int axis = (int)ir_int(n, IR_ATTR_AXIS, 0);
    BoundedSpec s = {1, x->dim[axis].c, 1, ir_dtype_bytes(ir_in(n, 0)->type.dtype)};
    if (!cg_need_plain(p, n)) {
        return;
    }
    for (int i = 0; i < x->rank; i++) {
        *(i < axis ? &s.outer : &s.run) *= i == axis ? 1 : x->dim[i].c;
    }
    CgArg args[] = {cg_write(n->out[0]), cg_write(n->out[1]), cg_read(ir_in(n, 0)),
                    cg_read(ir_in(n, 1))};
    int k = cg_kernel(p, "bounded", emit_bounded, &s, sizeof s, 4, 80);
    cg_call(p, n, k, 4, args, "bounded", (IrDim){0, 0});
}
