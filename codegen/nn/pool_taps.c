// Which cells of a pool's window fall on its input, and how one more of them is taken in.
#include "codegen/build/eltwise.h"
#include "codegen/nn/pool.h"

// ceil(max(0, x) / d), at most k
static CgVal taps_below(CgFn *f, CgVal x, int64_t d, int64_t k) {
    CgVal up = cg_iaddc(f, cg_imax(f, x, cg_i64(f, 0)), d - 1);
    return cg_imin(f, cg_idivc(f, up, d), cg_i64(f, k));
}

CgPoolTaps cg_pool_taps(CgFn *f, CgVal out, int64_t stride, int64_t begin, int64_t dilation,
                        int64_t k, CgVal size, int64_t end, bool count_pad) {
    CgPoolTaps t;
    t.first = cg_iaddc(f, cg_imulc(f, out, stride), -begin);
    t.lo = taps_below(f, cg_isub(f, cg_i64(f, 0), t.first), dilation, k);
    t.hi = taps_below(f, cg_isub(f, size, t.first), dilation, k);
    CgVal all = taps_below(f, cg_isub(f, cg_iaddc(f, size, end), t.first), dilation, k);
    t.count = count_pad ? all : cg_imax(f, cg_isub(f, t.hi, t.lo), cg_i64(f, 0));
    return t;
}

CgPoolTaps cg_pool_taps_h(CgFn *f, const CgPool *s, CgVal oh) {
    return cg_pool_taps(f, oh, s->sh, s->pt, s->dh, s->kh, cg_dim(f, s->x.dim[2]), s->pb,
                        s->count_pad);
}

CgPoolTaps cg_pool_taps_w(CgFn *f, const CgPool *s, CgVal ow) {
    return cg_pool_taps(f, ow, s->sw, s->pl, s->dw, s->kw, cg_dim(f, s->x.dim[3]), s->pr,
                        s->count_pad);
}

CgVal cg_pool_take(CgFn *f, const CgPool *s, CgVal acc, CgVal x) {
    if (!ir_dtype_is_float((IrDtype)s->own))
        return cg_eltwise(f, (IrDtype)s->own, IR_OP_MAXIMUM, (CgVal[]){acc, x}, NULL);
    CgVal sum = cg_fadd(f, acc, x);
    if (!s->max)
        return sum;
    // MaxPool-12: NaN wins. One compare of both: one of each with a zero would keep that in a
    // register, of which a convolution in front has none to spare.
    return cg_select(f, cg_fcmp(f, LLVMRealUNO, acc, x), sum, cg_fmax(f, acc, x));
}
