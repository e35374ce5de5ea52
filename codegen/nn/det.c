// det (Det-11): determinants by LU decomposition with partial pivoting, in double in this thread's
// scratch whatever the dtype is. The same steps in the same order as the evaluator's. Matrices are
// divided among the threads.
#include "codegen/index/index.h"

#include <string.h>

typedef struct DetSpec {
    IrDim count;  // of matrices
    int64_t rows; // of each
    int64_t dtype;
} DetSpec;

static CgVal entry(CgFn *f, const DetSpec *s, CgVal i, CgVal j) {
    return cg_at(f, f->f64, f->scratch, cg_iadd(f, cg_imulc(f, i, s->rows), j));
}

static CgVal load_entry(CgFn *f, const DetSpec *s, CgVal i, CgVal j) {
    return cg_load(f, f->f64, entry(f, s, i, j), 8);
}

static void load_matrix(CgFn *f, const DetSpec *s, CgVal from) {
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, s->rows * s->rows), 1);
    CgVal x = cg_elem_load_as(f, IR_F64, (IrDtype)s->dtype, f->arg[1], cg_iadd(f, from, loop.iv));
    cg_store(f, x, cg_at(f, f->f64, f->scratch, loop.iv), 8);
    cg_end(f, &loop);
}

// The row from k on whose entry of column k is largest in magnitude, the first of them.
static CgVal find_pivot(CgFn *f, const DetSpec *s, CgVal k) {
    CgVal first = load_entry(f, s, k, k);
    CgVal best[] = {k, cg_intrinsic(f, "llvm.fabs", 1, &first)};
    CgLoop loop;
    cg_for_carry(f, &loop, cg_iaddc(f, k, 1), cg_i64(f, s->rows), 1, 2, best);
    CgVal x = load_entry(f, s, loop.iv, k);
    x = cg_intrinsic(f, "llvm.fabs", 1, &x);
    CgVal larger = cg_fcmp(f, LLVMRealOGT, x, best[1]);
    best[0] = cg_select(f, larger, loop.iv, best[0]);
    best[1] = cg_select(f, larger, x, best[1]);
    cg_end_carry(f, &loop, best);
    return best[0];
}

static void swap_rows(CgFn *f, const DetSpec *s, CgVal k, CgVal pivot) {
    CgLoop loop;
    cg_for(f, &loop, k, cg_i64(f, s->rows), 1);
    CgVal x = load_entry(f, s, k, loop.iv), y = load_entry(f, s, pivot, loop.iv);
    cg_store(f, y, entry(f, s, k, loop.iv), 8);
    cg_store(f, x, entry(f, s, pivot, loop.iv), 8);
    cg_end(f, &loop);
}

static void eliminate(CgFn *f, const DetSpec *s, CgVal k, CgVal by) {
    CgVal end = cg_i64(f, s->rows), next = cg_iaddc(f, k, 1);
    CgLoop row, column;
    cg_for(f, &row, next, end, 1);
    CgVal factor = cg_fdiv(f, load_entry(f, s, row.iv, k), by);
    cg_for(f, &column, next, end, 1);
    CgVal x = load_entry(f, s, row.iv, column.iv), y = load_entry(f, s, k, column.iv);
    cg_store(f, cg_fsub(f, x, cg_fmul(f, factor, y)), entry(f, s, row.iv, column.iv), 8);
    cg_end(f, &column);
    cg_end(f, &row);
}

static void emit_det(CgFn *f, const void *spec) {
    const DetSpec *s = spec;
    CgVal lo, hi, det[] = {LLVMConstReal(f->f64, 1)};
    CgLoop matrix, step;
    CgIf regular;
    cg_split(f, cg_dim(f, s->count), &lo, &hi);
    cg_for(f, &matrix, lo, hi, 1);
    load_matrix(f, s, cg_imulc(f, matrix.iv, s->rows * s->rows));
    cg_for_carry(f, &step, cg_i64(f, 0), cg_i64(f, s->rows), 1, 1, det);
    CgVal k = step.iv, pivot = find_pivot(f, s, k);
    swap_rows(f, s, k, pivot);
    CgVal by = load_entry(f, s, k, k);
    CgVal factor = cg_select(f, cg_icmp(f, LLVMIntEQ, pivot, k), by, LLVMBuildFNeg(f->b, by, ""));
    CgVal product = cg_fmul(f, det[0], factor);
    cg_if(f, &regular, cg_fcmp(f, LLVMRealUNE, by, LLVMConstReal(f->f64, 0)));
    eliminate(f, s, k, by);
    cg_endif(f, &regular);
    det[0] = product;
    cg_end_carry(f, &step, det);
    IrDtype t = (IrDtype)s->dtype;
    cg_elem_store(f, t, cg_elem_convert(f, IR_F64, t, det[0]), f->arg[0], matrix.iv);
    cg_end(f, &matrix);
}

void cg_lower_det(CgProgram *p, const IrNode *n) {
    DetSpec s;
    memset(&s, 0, sizeof s);
    const IrValue *x = ir_in(n, 0);
    if (!cg_need_plain(p, n)) {
        return;
    }
    s.rows = x->type.shape.dim[x->type.shape.rank - 1].c;
    s.dtype = (int64_t)x->type.dtype;
    int64_t scratch;
    if (__builtin_mul_overflow(s.rows, s.rows, &scratch) ||
        __builtin_mul_overflow(scratch, 8, &scratch) ||
        !ir_shape_elems(&n->out[0]->type.shape, &s.count)) {
        cg_nyi(p, n, "matrices of %lld rows", (long long)s.rows);
        return;
    }
    if (ir_dim_is(s.count, 0)) {
        return;
    }
    cg_scratch(p, scratch);
    CgArg args[] = {cg_write(n->out[0]), cg_read(x)};
    int k = cg_kernel(p, "det", emit_det, &s, sizeof s, 2, 200);
    cg_call(p, n, k, 2, args, "det", (IrDim){0, 0});
}
