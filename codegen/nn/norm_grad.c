// What the gradients of normalisations share: reading the node, the call, and where the channels of
// a block lie.
#include "codegen/nn/norm_grad.h"
#include "codegen/build/dot.h"
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
    CgVal at = cg_iadd(f, cg_imulc(f, n, t->image), plane);
    return cg_elem_at(f, (IrDtype)t->dtype, f->arg[arg], at);
}

CgVal cg_norm_grad_pixel(CgFn *f, const CgTensor *t, CgVal base, CgVal i) {
    return cg_elem_at(f, (IrDtype)t->dtype, base, cg_imulc(f, i, f->lanes));
}

CgVal cg_norm_grad_load(CgFn *f, const CgTensor *t, CgVal base, CgVal i) {
    return cg_elem_load_n(f, (IrDtype)t->dtype, cg_norm_grad_pixel(f, t, base, i), NULL);
}

// What the epilogue reads lies pixel by pixel as the result does: rows need not be told apart.
static bool is_flat(const CgNormGrad *s) {
    bool flat = true;
    for (int k = 0; k < s->then.body.n_in; k++) {
        const IrDim *step = s->then.step[k];
        flat = flat && step[2].c == step[3].c * s->y.dim[3].c;
    }
    return flat;
}

void cg_norm_grad_store(CgFn *f, const CgNormGrad *s, CgVal v, CgVal base, const CgVal at[3]) {
    CgVal place[4] = {at[0], at[1], cg_i64(f, 0), at[2]};
    if (!is_flat(s)) {
        cg_divmod(f, at[2], cg_i64(f, s->y.dim[3].c), &place[2], &place[3]);
    }
    v = cg_pixel_vector(f, &s->then, v, place);
    cg_dot_store_n(f, (IrDtype)s->y.dtype, v, cg_norm_grad_pixel(f, &s->y, base, at[2]), NULL);
}

// ---------------------------------------------------------------- lowering

bool cg_norm_grad_read(CgProgram *p, const IrNode *n, const IrValue *dy, CgNormGrad *s) {
    memset(s, 0, sizeof *s);
    s->x = cg_tensor(ir_in(n, 0));
    s->y = cg_tensor(n->out[0]);
    s->dy = cg_tensor(dy ? dy : ir_in(n, 0));
    bool alike = s->x.block == s->y.block && s->x.block == s->dy.block;
    if (ir_own_dtype(n) != IR_F32 || !alike || (s->x.block && !cg_static_dims(&s->x, 1))) {
        cg_nyi(p, n, "%s of %s in this layout", ir_op_info(n->op)->text,
               ir_dtype_name((IrDtype)s->x.dtype));
        return false;
    }
    s->eps = ir_float(n, IR_ATTR_EPS, 1e-5);
    return true;
}

void cg_norm_grad_call(CgProgram *p, const IrNode *n, CgNormGrad *s, CgEmit emit) {
    CgArg args[CG_MAX_ARGS];
    int n_args = 0;
    for (int i = 0; i < n->n_out; i++) {
        args[n_args++] = cg_write(n->out[i]);
    }
    for (int i = 0; i < ir_op_info(n->op)->max_in; i++) {
        args[n_args++] = cg_read(ir_in(n, i));
    }
    if (!cg_pixel_then(p, n, &s->y, &s->then, args, &n_args)) {
        return;
    }
    if (s->then.body.n_in && s->y.rank > 4) {
        cg_nyi(p, n, "an epilogue on rank %d", s->y.rank);
        return;
    }
    if (s->y.block && s->y.dtype == IR_BF16) {
        cg_need(p, cg_target_dot(cg_target(p), IR_BF16)); // which rounds
    }
    const char *algo = ir_op_info(n->op)->text;
    int k = cg_kernel(p, algo, emit, s, sizeof *s, n_args, 500);
    cg_call(p, n, k, n_args, args, algo, (IrDim){0, 0});
}
