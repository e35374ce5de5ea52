// Where the maxima of max_pool lie: the windows' cells one by one, any dtype, plain layout.
#include "codegen/build/nd.h"
#include <string.h>

typedef struct PlaceSpec {
    CgTensor x, y;
    int64_t kh, kw, sh, sw, dh, dw, pt, pl;
    int64_t column; // cells of a plane are counted column by column
} PlaceSpec;

// Whether x is taken over the best so far, of the place `at` (-1: none): MaxPool-12, the first
// maximum, NaN wins.
static CgVal is_better(CgFn *f, IrDtype t, CgVal x, CgVal best, CgVal at) {
    CgVal more, none = cg_icmp(f, LLVMIntSLT, at, cg_i64(f, 0));
    if (ir_dtype_is_float(t)) {
        CgVal nan = LLVMBuildAnd(f->b, cg_fcmp(f, LLVMRealUNO, x, x),
                                 cg_fcmp(f, LLVMRealORD, best, best), "");
        more = LLVMBuildOr(f->b, cg_fcmp(f, LLVMRealOGT, x, best), nan, "");
    } else {
        more = cg_icmp(f, cg_elem_is_signed(t) ? LLVMIntSGT : LLVMIntUGT, x, best);
    }
    return LLVMBuildOr(f->b, none, more, "");
}

// Pixel `out`'s tap k on an axis of `size`: its coordinate clamped to the axis, *inside whether it
// lies there.
static CgVal tap_at(CgFn *f, CgVal out, CgVal k, int64_t stride, int64_t dilation, int64_t begin,
                    CgVal size, CgVal *inside) {
    CgVal at = cg_iadd(f, cg_imulc(f, out, stride), cg_imulc(f, k, dilation));
    at = cg_iaddc(f, at, -begin);
    *inside = cg_icmp(f, LLVMIntULT, at, size); // a negative one is large
    return cg_select(f, *inside, at, cg_i64(f, 0));
}

static void emit_places(CgFn *f, const void *spec) {
    const PlaceSpec *s = spec;
    IrDtype dtype = (IrDtype)s->x.dtype;
    CgVal h = cg_dim(f, s->x.dim[2]), w = cg_dim(f, s->x.dim[3]), size = cg_imul(f, h, w);
    CgVal oh = cg_dim(f, s->y.dim[2]), ow = cg_dim(f, s->y.dim[3]), lo, hi, plane, row, column;
    CgVal planes = cg_imul(f, cg_dim(f, s->y.dim[0]), cg_dim(f, s->y.dim[1])), in[2];
    LLVMTypeRef t = cg_elem_type(f, dtype);
    CgLoop loop, rows, columns;
    cg_split(f, cg_imul(f, planes, cg_imul(f, oh, ow)), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    cg_divmod(f, loop.iv, ow, &row, &column);
    cg_divmod(f, row, oh, &plane, &row);
    CgVal base = cg_imul(f, plane, size), best[] = {LLVMConstNull(t), cg_i64(f, -1)};
    cg_for_carry(f, &rows, cg_i64(f, 0), cg_i64(f, s->kh), 1, 2, best);
    CgVal ih = tap_at(f, row, rows.iv, s->sh, s->dh, s->pt, h, &in[0]);
    cg_for_carry(f, &columns, cg_i64(f, 0), cg_i64(f, s->kw), 1, 2, best);
    CgVal iw = tap_at(f, column, columns.iv, s->sw, s->dw, s->pl, w, &in[1]);
    CgVal at = cg_iadd(f, cg_imul(f, ih, w), iw);
    CgVal x = cg_elem_load(f, dtype, f->arg[1], cg_iadd(f, base, at));
    CgVal take = LLVMBuildAnd(f->b, in[0], in[1], "");
    take = LLVMBuildAnd(f->b, take, is_better(f, dtype, x, best[0], best[1]), "");
    best[0] = cg_select(f, take, x, best[0]);
    best[1] = cg_select(f, take, at, best[1]);
    cg_end_carry(f, &columns, best);
    cg_end_carry(f, &rows, best);
    CgVal place = cg_imax(f, best[1], cg_i64(f, 0)), q, r;
    if (s->column) {
        cg_divmod(f, place, w, &q, &r);
        place = cg_iadd(f, cg_imul(f, r, h), q);
    }
    cg_elem_store(f, IR_I64, cg_iadd(f, base, place), f->arg[0], loop.iv);
    cg_end(f, &loop);
}

void cg_lower_max_pool_index(CgProgram *p, const IrNode *n) {
    IrWindow w = ir_window(n);
    PlaceSpec s;
    if (!cg_need_plain(p, n)) {
        return;
    }
    memset(&s, 0, sizeof s);
    s.x = cg_tensor(ir_in(n, 0));
    s.y = cg_tensor(n->out[0]);
    s.kh = w.kh, s.kw = w.kw, s.sh = w.sh, s.sw = w.sw, s.dh = w.dh, s.dw = w.dw;
    s.pt = w.pt, s.pl = w.pl;
    s.column = strcmp(ir_str(n, IR_ATTR_MODE, "row"), "column") == 0;
    for (int i = 0; i < 4; i++) {
        if (ir_dim_is(s.y.dim[i], 0)) {
            return;
        }
    }
    CgArg args[] = {cg_write(n->out[0]), cg_read(ir_in(n, 0))};
    int k = cg_kernel(p, "max_pool_index", emit_places, &s, sizeof s, 2, 100);
    cg_call(p, n, k, 2, args, "max_pool_index", (IrDim){0, 0});
}
