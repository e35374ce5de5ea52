// Convolutions one result at a time, in plain layout and any float type; f16 is computed in float.
// Networks are f32, for which there are faster kernels; this is what is left when a graph asks for
// other types.
#include "codegen/conv/conv.h"

// Row-major index of (a, b, c, d), whose last three dims have these sizes.
static CgVal index_of(CgFn *f, CgVal a, CgVal b, int64_t nb, CgVal c, int64_t nc, CgVal d,
                      int64_t nd) {
    CgVal at = cg_iadd(f, cg_imulc(f, a, nb), b);
    at = cg_iadd(f, cg_imulc(f, at, nc), c);
    return cg_iadd(f, cg_imulc(f, at, nd), d);
}

static CgVal is_inside(CgFn *f, CgVal i, int64_t size) {
    return cg_icmp(f, LLVMIntULT, i, cg_i64(f, size));
}

// Sums one result's products into the slot `acc`; first: the group's first input channel.
static void emit_products(CgFn *f, const CgConv *s, const CgVal *out, CgVal first, CgVal acc) {
    IrDtype t = (IrDtype)s->dtype;
    LLVMTypeRef type = cg_elem_type(f, t);
    int64_t cg = s->C / s->group;
    CgLoop c, r, k;
    CgIf in;
    cg_for(f, &c, cg_i64(f, 0), cg_i64(f, cg), 1);
    cg_for(f, &r, cg_i64(f, 0), cg_i64(f, s->kh), 1);
    cg_for(f, &k, cg_i64(f, 0), cg_i64(f, s->kw), 1);
    CgVal ih =
        cg_iadd(f, cg_imulc(f, out[2], s->sh), cg_iaddc(f, cg_imulc(f, r.iv, s->dh), -s->pt));
    CgVal iw =
        cg_iadd(f, cg_imulc(f, out[3], s->sw), cg_iaddc(f, cg_imulc(f, k.iv, s->dw), -s->pl));
    cg_if(f, &in, LLVMBuildAnd(f->b, is_inside(f, ih, s->H), is_inside(f, iw, s->W), ""));
    CgVal ic = cg_iadd(f, first, c.iv);
    CgVal x =
        cg_elem_load(f, t, f->arg[CG_CONV_X], index_of(f, out[0], ic, s->C, ih, s->H, iw, s->W));
    CgVal w = cg_elem_load(f, t, f->arg[CG_CONV_W],
                           index_of(f, out[1], c.iv, cg, r.iv, s->kh, k.iv, s->kw));
    CgVal sum = cg_fadd(f, cg_load(f, type, acc, 8), cg_fmul(f, x, w));
    cg_store(f, sum, acc, 8);
    cg_endif(f, &in);
    cg_end(f, &k);
    cg_end(f, &r);
    cg_end(f, &c);
}

bool cg_conv_fits_elements(const CgConv *s, int lanes) {
    (void)s;
    (void)lanes;
    return true;
}

void cg_conv_emit_elements(CgFn *f, const void *spec) {
    const CgConv *s = spec;
    IrDtype t = (IrDtype)s->dtype;
    LLVMTypeRef type = cg_elem_type(f, t);
    CgVal acc = cg_slot(f, type), lo, hi, out[4], rest;
    CgLoop loop;
    LLVMSetAlignment(acc, 8);
    cg_split(f, cg_imulc(f, cg_dim(f, s->N), (int64_t)s->O * s->OH * s->OW), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    cg_divmod(f, loop.iv, cg_i64(f, s->OW), &rest, &out[3]);
    cg_divmod(f, rest, cg_i64(f, s->OH), &rest, &out[2]);
    cg_divmod(f, rest, cg_i64(f, s->O), &out[0], &out[1]);
    CgVal first = cg_imulc(f, cg_idivc(f, out[1], s->O / s->group), s->C / s->group);
    cg_store(f, s->bias ? cg_elem_load(f, t, f->arg[CG_CONV_BIAS], out[1]) : LLVMConstNull(type),
             acc, 8);
    emit_products(f, s, out, first, acc);
    cg_elem_store(f, t, cg_load(f, type, acc, 8), f->arg[CG_CONV_Y], loop.iv);
    cg_end(f, &loop);
}
