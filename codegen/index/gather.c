// gather (Gather-13): y[outer, i, inner] = x[outer, index[i], inner]. Negative indices count from
// the end; what is still outside at run time is clamped to the axis, so that no memory outside of x
// is read.
#include "codegen/index/index.h"
#include <string.h>

typedef struct GatherSpec {
    IrDim outer, count, inner, axis; // sizes
    int32_t bytes, index;            // of an element; dtype of the indices
} GatherSpec;

static void emit_gather(CgFn *f, const void *spec) {
    const GatherSpec *s = spec;
    CgVal count = cg_dim(f, s->count), inner = cg_dim(f, s->inner), lo, hi, outer, i;
    CgVal size = cg_dim(f, s->axis);
    LLVMTypeRef t = LLVMIntTypeInContext(f->ctx, (unsigned)s->bytes * 8);
    CgLoop loop;
    cg_split(f, cg_imul(f, cg_dim(f, s->outer), count), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    cg_divmod(f, loop.iv, count, &outer, &i);
    CgVal k = cg_index_clamp(f, cg_index_load(f, (IrDtype)s->index, f->arg[2], i, size), size);
    CgVal from = cg_iadd(f, cg_imul(f, outer, size), k);
    cg_index_copy(f, s->bytes, cg_at(f, t, f->arg[0], cg_imul(f, loop.iv, inner)),
                  cg_at(f, t, f->arg[1], cg_imul(f, from, inner)), inner);
    cg_end(f, &loop);
}

void cg_lower_gather(CgProgram *p, const IrNode *n) {
    const IrValue *x = ir_in(n, 0), *index = ir_in(n, 1);
    int axis = (int)ir_int(n, IR_ATTR_AXIS, 0);
    GatherSpec s;
    memset(&s, 0, sizeof s);
    s.outer = s.inner = ir_dim(1);
    if (!cg_need_plain(p, n)) {
        return;
    }
    for (int i = 0; i < x->type.shape.rank; i++) {
        IrDim d = x->type.shape.dim[i];
        IrDim *into = i < axis ? &s.outer : i > axis ? &s.inner : &s.axis;
        *into = i == axis ? d : cg_nd_mul(*into, d);
    }
    if (!ir_shape_elems(&index->type.shape, &s.count) || ir_dtype_is_float(index->type.dtype)) {
        cg_nyi(p, n, "gather with %s indices", ir_dtype_name(index->type.dtype));
        return;
    }
    IrDim size[] = {s.outer, s.count, s.inner, s.axis};
    for (int i = 0; i < 4; i++) {
        if (ir_dim_is(size[i], 0)) {
            return;
        }
    }
    s.bytes = ir_dtype_bytes(x->type.dtype);
    s.index = (int32_t)index->type.dtype;
    CgArg args[] = {cg_write(n->out[0]), cg_read(x), cg_read(index)};
    int k = cg_kernel(p, "gather", emit_gather, &s, sizeof s, 3, 100);
    cg_call(p, n, k, 3, args, "gather", (IrDim){0, 0});
}
