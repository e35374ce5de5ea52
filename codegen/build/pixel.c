// Epilogues pixel by pixel: see pixel.h.
#include "codegen/build/pixel.h"
#include "codegen/build/nd.h"

#include <string.h>

bool cg_pixel_then(CgProgram *p, const IrNode *n, const CgTensor *y, CgPixelThen *t, CgArg *args,
                   int *n_args) {
    int own = ir_op_info(n->op)->max_in;
    if (!cg_body_init(p, n, IR_ATTR_THEN, &t->body, args, n_args)) {
        return false;
    }
    for (int k = 0; k < t->body.n_in; k++) {
        CgOperand *in = &t->body.in[k];
        IrDim stride[CG_ND_RANK] = {{0, 0}};
        if (in->kind != CG_OPERAND_IMM &&
            !cg_operand_strides(p, n, y, ir_in(n, own + k), stride, &args[t->body.first_arg + k])) {
            return false;
        }
        memcpy(t->step[k], stride, sizeof t->step[k]);
        memset(&in->t, 0, sizeof in->t);
    }
    return true;
}

typedef struct Pixel {
    const CgPixelThen *then;
    const CgVal *at;
} Pixel;

static CgVal place(CgFn *f, const Pixel *p, int k) {
    CgVal at = cg_stride(f, p->at[3], p->then->step[k][3]);
    for (int i = 0; i < 3; i++) {
        at = cg_iadd(f, at, cg_stride(f, p->at[i], p->then->step[k][i]));
    }
    return at;
}

static CgVal load_vector(void *ctx, CgFn *f, int k) {
    const Pixel *p = ctx;
    const CgBody *b = &p->then->body;
    IrDtype t = (IrDtype)b->in[k].dtype;
    CgVal from = cg_elem_at(f, t, f->arg[b->first_arg + k], place(f, p, k));
    return cg_elem_load_strided(f, t, from, cg_dim(f, p->then->step[k][4]), NULL);
}

static CgVal load_element(void *ctx, CgFn *f, int k) {
    const Pixel *p = ctx;
    const CgBody *b = &p->then->body;
    return cg_elem_load(f, (IrDtype)b->in[k].dtype, f->arg[b->first_arg + k], place(f, p, k));
}

CgVal cg_pixel_vector(CgFn *f, const CgPixelThen *t, CgVal acc, const CgVal *at) {
    return cg_body_emit(f, &t->body, acc, load_vector, &(Pixel){t, at});
}

CgVal cg_pixel_element(CgFn *f, const CgPixelThen *t, CgVal acc, const CgVal *at) {
    return cg_body_emit(f, &t->body, acc, load_element, &(Pixel){t, at});
}
