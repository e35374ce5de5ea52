// matmul of any element type, one element of the result at a time, where panels do not fit: other
// types than f32, and a number of columns that depends on N.
#include "codegen/build/eltwise.h"
#include "codegen/nn/matmul.h"

typedef struct ElementRun {
    const CgMatmul *spec;
    const CgVal *off;
    CgVal i;
} ElementRun;

// The last dimension of the space is the columns here.
static CgVal element_at(const ElementRun *r, CgFn *f, int operand) {
    const CgNd *nd = &r->spec->nd;
    return cg_iadd(f, r->off[operand], cg_stride(f, r->i, nd->dim[nd->rank - 1].stride[operand]));
}

static CgVal load_then_element(void *ctx, CgFn *f, int k) {
    ElementRun *r = ctx;
    int first = CG_MATMUL_EXTRA + r->spec->bias;
    IrDtype t = (IrDtype)r->spec->then.in[k].dtype;
    return cg_elem_load(f, t, f->arg[CG_MATMUL_ARG(first + k)], element_at(r, f, first + k));
}

static void emit_elements(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    const CgMatmul *s = ctx;
    IrDtype t = (IrDtype)s->dtype, own = (IrDtype)s->own;
    ElementRun r = {s, off, NULL};
    CgLoop loop, sum;
    cg_for(f, &loop, cg_i64(f, 0), len, 1);
    r.i = loop.iv;
    CgVal a = element_at(&r, f, CG_MATMUL_A), b = element_at(&r, f, CG_MATMUL_B);
    IrDtype sum_t = cg_elem_sum(t);
    CgVal acc[] = {LLVMConstNull(cg_elem_type(f, sum_t))};
    cg_for_carry(f, &sum, cg_i64(f, 0), cg_dim(f, s->k), 1, 1, acc);
    CgVal x[] = {cg_elem_load_as(f, sum_t, t, f->arg[CG_MATMUL_A],
                                 cg_iadd(f, a, cg_stride(f, sum.iv, s->a_k))),
                 cg_elem_load_as(f, sum_t, (IrDtype)s->b_dtype, f->arg[CG_MATMUL_B],
                                 cg_iadd(f, b, cg_stride(f, sum.iv, s->b_k)))};
    if (s->zero) {
        x[0] = LLVMBuildSub(f->b, x[0], cg_elem_const(f, sum_t, s->zero), "");
    }
    CgVal product = cg_eltwise(f, sum_t, IR_OP_MUL, x, NULL);
    acc[0] = cg_eltwise(f, sum_t, IR_OP_ADD, (CgVal[]){acc[0], product}, NULL);
    cg_end_carry(f, &sum, acc);
    if (s->bias) {
        CgVal c = cg_elem_load_as(f, sum_t, own, f->arg[CG_MATMUL_ARG(CG_MATMUL_EXTRA)],
                                  element_at(&r, f, CG_MATMUL_EXTRA));
        acc[0] = cg_eltwise(f, sum_t, IR_OP_ADD, (CgVal[]){acc[0], c}, NULL);
    }
    acc[0] = cg_elem_convert(f, sum_t, own, acc[0]);
    CgVal y = cg_body_emit(f, &s->then, acc[0], load_then_element, &r);
    cg_elem_store(f, (IrDtype)s->y_dtype, y, f->arg[CG_MATMUL_Y], element_at(&r, f, CG_MATMUL_Y));
    cg_end(f, &loop);
}

void cg_matmul_emit_elements(CgFn *f, const void *spec) {
    const CgMatmul *s = spec;
    cg_nd_for(f, &s->nd, 1, 1, emit_elements, (void *)spec);
}
