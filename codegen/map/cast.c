// cast (Cast-13) in vectors; elem.c says how.
#include "codegen/build/nd.h"
#include <string.h>

typedef struct CastSpec {
    CgNd nd;
    int32_t from, to;
} CastSpec;

typedef struct CastRun {
    const CastSpec *spec;
    const CgVal *off;
} CastRun;

static void emit_cast_vector(void *ctx, CgFn *f, CgVal i, CgVal n) {
    const CastRun *r = ctx;
    IrDtype from = (IrDtype)r->spec->from, to = (IrDtype)r->spec->to;
    CgVal at = cg_elem_at(f, from, f->arg[1], cg_iadd(f, r->off[1], i));
    CgVal x = cg_elem_convert(f, from, to, cg_elem_load_n(f, from, at, n));
    cg_elem_store_n(f, to, x, cg_elem_at(f, to, f->arg[0], cg_iadd(f, r->off[0], i)), n);
}

static void emit_cast_row(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    CastRun r = {ctx, off};
    cg_nd_vectors(f, len, 1, emit_cast_vector, &r);
}

static void emit_cast(CgFn *f, const void *spec) {
    cg_nd_for(f, &((const CastSpec *)spec)->nd, 1, f->lanes, emit_cast_row, (void *)spec);
}

void cg_lower_cast(CgProgram *p, const IrNode *n) {
    CastSpec s;
    memset(&s, 0, sizeof s);
    IrDim elems, one = ir_dim(1);
    if (!cg_need_plain(p, n)) {
        return;
    }
    if (!ir_shape_elems(&n->out[0]->type.shape, &elems)) {
        cg_nyi(p, n, "a cast whose size is not affine in N");
        return;
    }
    cg_nd_init(&s.nd, 1, &elems);
    cg_nd_add(&s.nd, &one, ir_dim(0));
    cg_nd_add(&s.nd, &one, ir_dim(0));
    s.from = (int32_t)ir_in(n, 0)->type.dtype;
    s.to = (int32_t)n->out[0]->type.dtype;
    if (cg_nd_empty(&s.nd)) {
        return;
    }
    CgArg args[] = {cg_write(n->out[0]), cg_read(ir_in(n, 0))};
    int k = cg_kernel(p, "cast", emit_cast, &s, sizeof s, 2, 60);
    cg_call(p, n, k, 2, args, "cast", (IrDim){0, 0});
}
