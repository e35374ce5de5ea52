// What the gradients of normalisations share: reading the node, the call, and where the channels of
// a block lie.
#include "codegen/nn/norm_grad.h"
#include <string.h>

CgVal cg_norm_grad_lanes(CgFn *f, const CgNormGrad *s, CgVal cb) {
    CgVal left = cg_isub(f, cg_i64(f, cg_channels(&s->x)), cg_imulc(f, cb, f->lanes));
    return cg_imin(f, left, cg_i64(f, f->lanes));
}

int64_t cg_norm_grad_blocks(CgFn *f, const CgNormGrad *s) {
    return (cg_channels(&s->x) + f->lanes - 1) / f->lanes;
}

CgVal cg_norm_grad_plane(CgFn *f, int arg, const CgTensor *t, CgVal n, CgVal cb) {
    CgVal plane = cg_imulc(f, cb, cg_spatial(t) * f->lanes);
    return cg_fat(f, f->arg[arg], cg_iadd(f, cg_imulc(f, n, t->image), plane));
}

CgVal cg_norm_grad_pixel(CgFn *f, CgVal base, CgVal i) {
    return cg_fat(f, base, cg_imulc(f, i, f->lanes));
}

// ---------------------------------------------------------------- lowering

bool cg_norm_grad_read(CgProgram *p, const IrNode *n, const IrValue *dy, CgNormGrad *s) {
    memset(s, 0, sizeof *s);
    s->x = cg_tensor(ir_in(n, 0));
    s->y = cg_tensor(n->out[0]);
    s->dy = cg_tensor(dy ? dy : ir_in(n, 0));
    bool alike = s->x.block == s->y.block && s->x.block == s->dy.block;
    if (s->x.dtype != IR_F32 || !alike || (s->x.block && !cg_static_dims(&s->x, 1))) {
        cg_nyi(p, n, "%s of %s in this layout", ir_op_info(n->op)->text,
               ir_dtype_name((IrDtype)s->x.dtype));
        return false;
    }
    s->eps = ir_float(n, IR_ATTR_EPS, 1e-5);
    return true;
}

void cg_norm_grad_call(CgProgram *p, const IrNode *n, const CgNormGrad *s, CgEmit emit) {
    CgArg args[CG_MAX_ARGS];
    int n_args = 0;
    for (int i = 0; i < n->n_out; i++) {
        args[n_args++] = cg_write(n->out[i]);
    }
    for (int i = 0; i < n->n_in; i++) {
        args[n_args++] = cg_read(ir_in(n, i));
    }
    const char *algo = ir_op_info(n->op)->text;
    int k = cg_kernel(p, algo, emit, s, sizeof *s, n_args, 500);
    cg_call(p, n, k, n_args, args, algo, (IrDim){0, 0});
}
