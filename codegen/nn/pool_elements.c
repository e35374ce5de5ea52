// max_pool and avg_pool of any element type in plain layout, one result at a time.
#include "codegen/build/eltwise.h"
#include "codegen/nn/pool.h"
#include <math.h>

static CgVal take(CgFn *f, const CgPool *s, CgVal acc, CgVal x) {
    IrDtype t = (IrDtype)s->x.dtype;
    return ir_dtype_is_float(t) ? cg_pool_take(f, s, acc, x)
                                : cg_eltwise(f, t, IR_OP_MAXIMUM, (CgVal[]){acc, x}, NULL);
}

void cg_pool_emit_elements(CgFn *f, const void *spec) {
    const CgPool *s = spec;
    IrDtype dtype = (IrDtype)s->x.dtype;
    CgVal h = cg_dim(f, s->x.dim[2]), w = cg_dim(f, s->x.dim[3]);
    CgVal oh = cg_dim(f, s->y.dim[2]), ow = cg_dim(f, s->y.dim[3]), lo, hi, plane, row, column;
    CgVal planes = cg_imul(f, cg_dim(f, s->y.dim[0]), cg_dim(f, s->y.dim[1]));
    CgLoop loop, rows, columns;
    cg_split(f, cg_imul(f, planes, cg_imul(f, oh, ow)), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    cg_divmod(f, loop.iv, ow, &row, &column);
    cg_divmod(f, row, oh, &plane, &row);
    CgPoolTaps th = cg_pool_taps_h(f, s, row), tw = cg_pool_taps_w(f, s, column);
    CgVal base = cg_imul(f, plane, cg_imul(f, h, w));
    CgVal acc[] = {cg_elem_const(f, dtype, s->max ? -INFINITY : 0)};
    cg_for_carry(f, &rows, th.lo, th.hi, 1, 1, acc);
    CgVal ih = cg_iadd(f, th.first, cg_imulc(f, rows.iv, s->dh));
    cg_for_carry(f, &columns, tw.lo, tw.hi, 1, 1, acc);
    CgVal iw = cg_iadd(f, tw.first, cg_imulc(f, columns.iv, s->dw));
    CgVal at = cg_iadd(f, base, cg_iadd(f, cg_imul(f, ih, w), iw));
    acc[0] = take(f, s, acc[0], cg_elem_load(f, dtype, f->arg[1], at));
    cg_end_carry(f, &columns, acc);
    cg_end_carry(f, &rows, acc);
    if (!s->max) {
        CgVal n = cg_imax(f, cg_imul(f, th.count, tw.count), cg_i64(f, 1));
        acc[0] = cg_fdiv(f, acc[0], LLVMBuildSIToFP(f->b, n, cg_elem_type(f, dtype), ""));
    }
    cg_elem_store(f, dtype, acc[0], f->arg[0], loop.iv);
    cg_end(f, &loop);
}
