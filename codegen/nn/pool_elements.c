// max_pool and avg_pool of any element type in plain layout, one result at a time.
#include "codegen/nn/pool.h"
#include <math.h>

void cg_pool_emit_elements(CgFn *f, const void *spec) {
    const CgPool *s = spec;
    IrDtype own = (IrDtype)s->own;
    CgVal h = cg_dim(f, s->x.dim[2]), w = cg_dim(f, s->x.dim[3]);
    CgVal at4[4] = {NULL}; // image, channel, row, column
    CgVal oh = cg_dim(f, s->y.dim[2]), ow = cg_dim(f, s->y.dim[3]), lo, hi, plane, row;
    CgVal channels = cg_dim(f, s->y.dim[1]), planes = cg_imul(f, cg_dim(f, s->y.dim[0]), channels);
    CgLoop loop, rows, columns;
    cg_split(f, cg_imul(f, planes, cg_imul(f, oh, ow)), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    cg_divmod(f, loop.iv, ow, &row, &at4[3]);
    cg_divmod(f, row, oh, &plane, &at4[2]);
    CgPoolTaps th = cg_pool_taps_h(f, s, at4[2]), tw = cg_pool_taps_w(f, s, at4[3]);
    CgVal base = cg_imul(f, plane, cg_imul(f, h, w));
    CgVal acc[] = {cg_elem_const(f, own, s->max ? -INFINITY : 0)};
    cg_for_carry(f, &rows, th.lo, th.hi, 1, 1, acc);
    CgVal ih = cg_iadd(f, th.first, cg_imulc(f, rows.iv, s->dh));
    cg_for_carry(f, &columns, tw.lo, tw.hi, 1, 1, acc);
    CgVal iw = cg_iadd(f, tw.first, cg_imulc(f, columns.iv, s->dw));
    CgVal at = cg_iadd(f, base, cg_iadd(f, cg_imul(f, ih, w), iw));
    CgVal x = cg_elem_load_as(f, own, (IrDtype)s->x.dtype, f->arg[1], at);
    acc[0] = cg_pool_take(f, s, acc[0], x);
    cg_end_carry(f, &columns, acc);
    cg_end_carry(f, &rows, acc);
    if (!s->max) {
        CgVal n = cg_imax(f, cg_imul(f, th.count, tw.count), cg_i64(f, 1));
        acc[0] = cg_fdiv(f, acc[0], LLVMBuildSIToFP(f->b, n, cg_elem_type(f, own), ""));
    }
    if (s->then.body.n) {
        cg_divmod(f, plane, channels, &at4[0], &at4[1]);
    }
    CgVal y = cg_pixel_element(f, &s->then, acc[0], at4);
    cg_elem_store(f, (IrDtype)s->y.dtype, y, f->arg[0], loop.iv);
    cg_end(f, &loop);
}
