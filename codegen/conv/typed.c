// Convolutions of f64 and f16, plain: one result at a time, f16 computed in float. Networks are f32
// (conv.c); this is what is left when a graph asks for others.
#include "codegen/conv/typed.h"
#include "codegen/map/map.h"
#include <stddef.h>
#include <string.h>

enum { X, Y, W, BIAS }; // kernel arguments

typedef struct TypedConv {
    CgTensor x, y;     // [N,C,H,W], [N,O,OH,OW]
    int64_t i, kh, kw; // the weights' inner dims: [O,I,KH,KW], I = C / group
    IrWindow window;
    int32_t bias, pad_;
} TypedConv;

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
static void emit_products(CgFn *f, const TypedConv *s, const CgVal *out, CgVal first, CgVal acc) {
    const IrWindow *w = &s->window;
    IrDtype t = (IrDtype)s->x.dtype;
    LLVMTypeRef type = t == IR_F64 ? f->f64 : f->f32;
    int64_t H = s->x.dim[2].c, width = s->x.dim[3].c;
    CgLoop c, r, k;
    CgIf in;
    cg_for(f, &c, cg_i64(f, 0), cg_i64(f, s->i), 1);
    cg_for(f, &r, cg_i64(f, 0), cg_i64(f, s->kh), 1);
    cg_for(f, &k, cg_i64(f, 0), cg_i64(f, s->kw), 1);
    CgVal ih =
        cg_iadd(f, cg_imulc(f, out[2], w->sh), cg_iaddc(f, cg_imulc(f, r.iv, w->dh), -w->pt));
    CgVal iw =
        cg_iadd(f, cg_imulc(f, out[3], w->sw), cg_iaddc(f, cg_imulc(f, k.iv, w->dw), -w->pl));
    cg_if(f, &in, LLVMBuildAnd(f->b, is_inside(f, ih, H), is_inside(f, iw, width), ""));
    CgVal ic = cg_iadd(f, first, c.iv);
    CgVal x =
        cg_elem_load(f, t, f->arg[X], index_of(f, out[0], ic, s->x.dim[1].c, ih, H, iw, width));
    CgVal y =
        cg_elem_load(f, t, f->arg[W], index_of(f, out[1], c.iv, s->i, r.iv, s->kh, k.iv, s->kw));
    CgVal sum = cg_fadd(f, cg_load(f, type, acc, 8), cg_fmul(f, x, y));
    cg_store(f, sum, acc, 8);
    cg_endif(f, &in);
    cg_end(f, &k);
    cg_end(f, &r);
    cg_end(f, &c);
}

static void emit_conv(CgFn *f, const void *spec) {
    const TypedConv *s = spec;
    IrDtype t = (IrDtype)s->y.dtype;
    LLVMTypeRef type = t == IR_F64 ? f->f64 : f->f32;
    int64_t O = s->y.dim[1].c, OH = s->y.dim[2].c, OW = s->y.dim[3].c;
    CgVal acc = cg_slot(f, type), lo, hi, out[4], rest;
    CgLoop loop;
    LLVMSetAlignment(acc, 8);
    cg_split(f, cg_imulc(f, cg_dim(f, s->y.dim[0]), O * OH * OW), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    cg_divmod(f, loop.iv, cg_i64(f, OW), &rest, &out[3]);
    cg_divmod(f, rest, cg_i64(f, OH), &rest, &out[2]);
    cg_divmod(f, rest, cg_i64(f, O), &out[0], &out[1]);
    CgVal first = cg_imulc(f, cg_idivc(f, out[1], O / s->window.group), s->i);
    cg_store(f, s->bias ? cg_elem_load(f, t, f->arg[BIAS], out[1]) : LLVMConstNull(type), acc, 8);
    emit_products(f, s, out, first, acc);
    cg_elem_store(f, t, cg_load(f, type, acc, 8), f->arg[Y], loop.iv);
    cg_end(f, &loop);
}

void cg_lower_conv_typed(CgProgram *p, const IrNode *n) {
    TypedConv s;
    memset(&s, 0, sizeof s);
    s.x = cg_tensor(ir_in(n, 0));
    s.y = cg_tensor(n->out[0]);
    if (!cg_need_plain(p, n)) {
        return;
    }
    if (ir_body(n, IR_ATTR_PRE).n || ir_body(n, IR_ATTR_THEN).n) {
        cg_nyi(p, n, "an epilogue on %s", ir_dtype_name((IrDtype)s.x.dtype));
        return;
    }
    if (cg_spatial(&s.y) * cg_channels(&s.y) == 0) {
        return;
    }
    IrShape w = ir_filter_shape(n);
    IrWindow window = ir_window(n);
    s.i = w.dim[1].c;
    s.kh = w.dim[2].c;
    s.kw = w.dim[3].c;
    memcpy(&s.window, &window, offsetof(IrWindow, ceil));
    s.bias = ir_in(n, 2) != NULL;
    CgArg args[] = {cg_read(ir_in(n, 0)), cg_write(n->out[0]), cg_read(ir_in(n, 1)),
                    cg_read(ir_in(n, 2) ? ir_in(n, 2) : ir_in(n, 1))};
    int k = cg_kernel(p, "conv", emit_conv, &s, sizeof s, 3 + s.bias, 100);
    cg_call(p, n, k, 3 + s.bias, args, "elements", (IrDim){0, 0});
}
