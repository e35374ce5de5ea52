// Convolutions one result at a time, in plain layout and any type but f32; f16 is computed in
// float, bytes in i32. Networks are f32, or bytes in blocks, for which there are faster kernels;
// this is what is left when a graph asks for other types.
#include "codegen/build/eltwise.h"
#include "codegen/build/nd.h"
#include "codegen/conv/conv.h"

#include <string.h>

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
    IrDtype t = (IrDtype)s->dtype, sum_t = (IrDtype)s->sum;
    LLVMTypeRef type = cg_elem_type(f, sum_t);
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
    CgVal x = cg_elem_load_as(f, sum_t, t, f->arg[CG_CONV_X],
                              index_of(f, out[0], ic, s->C, ih, s->H, iw, s->W));
    CgVal w = cg_elem_load_as(f, sum_t, cg_conv_weight(s), f->arg[CG_CONV_W],
                              index_of(f, out[1], c.iv, cg, r.iv, s->kh, k.iv, s->kw));
    if (s->zero)
        x = LLVMBuildSub(f->b, x, cg_i32(f, s->zero), "");
    CgVal product = cg_eltwise(f, sum_t, IR_OP_MUL, (CgVal[]){x, w}, NULL);
    CgVal sum[] = {cg_load(f, type, acc, 8), product};
    cg_store(f, cg_eltwise(f, sum_t, IR_OP_ADD, sum, NULL), acc, 8);
    cg_endif(f, &in);
    cg_end(f, &k);
    cg_end(f, &r);
    cg_end(f, &c);
}

typedef struct Element {
    const CgConv *s;
    CgVal at[4]; // image, channel, row, column
} Element;

// Whatever broadcasts to the result.
static CgVal load_operand(void *ctx, CgFn *f, int k) {
    const Element *e = ctx;
    const CgOperand *in = &e->s->then.in[k];
    CgTensor y;
    IrDim stride[CG_ND_RANK];
    memset(&y, 0, sizeof y);
    y.rank = 4;
    cg_nd_broadcast(&y, &in->t, stride);
    CgVal at = cg_i64(f, 0);
    for (int i = 0; i < y.rank; i++)
        at = cg_iadd(f, at, cg_stride(f, e->at[i], stride[i]));
    return cg_elem_load(f, (IrDtype)in->dtype, f->arg[e->s->then.first_arg + k], at);
}

bool cg_conv_fits_elements(const CgConv *s, int lanes) {
    (void)s;
    (void)lanes;
    return true;
}

void cg_conv_emit_elements(CgFn *f, const void *spec) {
    const CgConv *s = spec;
    IrDtype sum = (IrDtype)s->sum, own = (IrDtype)s->then.acc;
    LLVMTypeRef type = cg_elem_type(f, sum);
    CgVal acc = cg_slot(f, type), lo, hi, rest;
    Element e = {.s = s};
    CgLoop loop;
    LLVMSetAlignment(acc, 8);
    cg_split(f, cg_imulc(f, cg_dim(f, s->N), (int64_t)s->O * s->OH * s->OW), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    cg_divmod(f, loop.iv, cg_i64(f, s->OW), &rest, &e.at[3]);
    cg_divmod(f, rest, cg_i64(f, s->OH), &rest, &e.at[2]);
    cg_divmod(f, rest, cg_i64(f, s->O), &e.at[0], &e.at[1]);
    CgVal first = cg_imulc(f, cg_idivc(f, e.at[1], s->O / s->group), s->C / s->group);
    CgVal bias = s->bias ? cg_elem_load(f, own, f->arg[CG_CONV_BIAS], e.at[1]) : NULL;
    cg_store(f, bias ? bias : LLVMConstNull(type), acc, 8);
    emit_products(f, s, e.at, first, acc);
    CgVal y = cg_body_emit(f, &s->then, cg_load(f, type, acc, 8), load_operand, &e);
    cg_elem_store(f, (IrDtype)s->y_dtype, y, f->arg[CG_CONV_Y], loop.iv);
    cg_end(f, &loop);
}
