// Operands that broadcast to a node's result: their strides in the result's space.
#include "codegen/build/nd.h"

#include <string.h>

// A plain constant of rank <= 4, aligned right as rank 4, as blocks: lanes past C are 0. Its
// offset in the weights; *t describes it.
static int64_t pack_blocked(CgProgram *p, const IrValue *v, int block, CgTensor *t) {
    IrShape s = v->type.shape;
    int64_t d[4] = {1, 1, 1, 1};
    for (int i = 0; i < s.rank; i++) {
        d[4 - s.rank + i] = s.dim[i].c;
    }
    int64_t blocks = (d[1] + block - 1) / block, pixels = d[2] * d[3], offset;
    int64_t image = blocks * pixels * block;
    memset(t, 0, sizeof *t);
    t->dtype = (int32_t)v->type.dtype;
    t->rank = 4;
    t->block = block;
    for (int i = 0; i < 4; i++) {
        t->dim[i] = ir_dim(d[i]);
    }
    t->image = image;
    bool fresh;
    char *key = ir_sprintf(cg_arena(p), "blocked%d:%p:%lldx%lldx%lld", block, (void *)v->konst,
                           (long long)d[0], (long long)d[1], (long long)pixels);
    size_t bytes = (size_t)ir_dtype_bytes(v->type.dtype);
    char *to = cg_pack(p, key, (size_t)(d[0] * image) * bytes, &offset, &fresh);
    const char *from = fresh && to ? ir_const_data(cg_ir(p), v->konst) : NULL;
    for (int64_t i = 0; from && i < d[0] * d[1] * pixels; i++) {
        int64_t pixel = i % pixels, c = i / pixels % d[1], n = i / pixels / d[1];
        int64_t at = n * image + (c / block * pixels + pixel) * block + c % block;
        memcpy(to + (size_t)at * bytes, from + (size_t)i * bytes, bytes);
    }
    return offset;
}

bool cg_operand_strides(CgProgram *p, const IrNode *n, const CgTensor *r, const IrValue *v,
                        IrDim *stride, CgArg *arg) {
    CgTensor t = cg_tensor(v);
    bool fits = cg_nd_broadcast(r, &t, stride);
    if (!fits && v->konst && r->block) {
        *arg = cg_packed(pack_blocked(p, v, r->block, &t));
        fits = cg_nd_broadcast(r, &t, stride);
    }
    if (!fits) {
        cg_nyi(p, n, "an operand in another layout than the result");
    }
    return fits;
}

bool cg_operands_join(CgProgram *p, const IrNode *n, const CgTensor *r, int first, CgBody *body,
                      CgNd *nd, CgArg *args) {
    for (int k = 0; k < body->n_in; k++) {
        CgOperand *in = &body->in[k];
        IrDim stride[CG_ND_RANK] = {{0, 0}};
        if (in->kind != CG_OPERAND_IMM &&
            !cg_operand_strides(p, n, r, ir_in(n, first + k), stride, &args[body->first_arg + k])) {
            return false;
        }
        cg_nd_add(nd, stride, ir_dim(0));
        memset(&in->t, 0, sizeof in->t);
    }
    return true;
}
