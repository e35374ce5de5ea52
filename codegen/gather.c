// gather (Gather-13): y[outer, i, inner] = x[outer, index[i], inner]. Negative indices count from
// the end; what is still outside at run time is clamped to the axis, so that no memory outside of x
// is read.
#include "codegen/map.h"
#include "codegen/move.h"
#include <string.h>

typedef struct GatherSpec {
    IrDim outer, count, inner, axis; // sizes
    int32_t bytes, index;            // of an element; dtype of the indices
} GatherSpec;

typedef struct GatherRun {
    const GatherSpec *spec;
    CgVal to, from;
} GatherRun;

static void copy_words(void *ctx, CgFn *f, CgVal i, CgVal n) {
    GatherRun *r = ctx;
    cg_store_n(f, cg_load_n(f, cg_fat(f, r->from, i), n), cg_fat(f, r->to, i), n);
}

static CgVal load_index(CgFn *f, const GatherSpec *s, CgVal i) {
    CgVal x = cg_load_typed(f, (IrDtype)s->index, f->arg[2], i), size = cg_dim(f, s->axis);
    CgVal zero = cg_i64(f, 0);
    x = cg_dtype_signed((IrDtype)s->index) ? LLVMBuildSExtOrBitCast(f->b, x, f->i64, "")
                                           : LLVMBuildZExtOrBitCast(f->b, x, f->i64, "");
    x = cg_select(f, cg_icmp(f, LLVMIntSLT, x, zero), cg_iadd(f, x, size), x);
    return cg_imax(f, cg_imin(f, x, cg_iaddc(f, size, -1)), zero);
}

static void emit_gather(CgFn *f, const void *spec) {
    const GatherSpec *s = spec;
    GatherRun r = {.spec = s};
    CgVal count = cg_dim(f, s->count), inner = cg_dim(f, s->inner), lo, hi, outer, i;
    LLVMTypeRef t = s->bytes == 4 ? f->f32 : LLVMIntTypeInContext(f->ctx, (unsigned)s->bytes * 8);
    CgLoop loop, run;
    cg_split(f, cg_imul(f, cg_dim(f, s->outer), count), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    cg_divmod(f, loop.iv, count, &outer, &i);
    CgVal from = cg_iadd(f, cg_imul(f, outer, cg_dim(f, s->axis)), load_index(f, s, i));
    r.from = cg_at(f, t, f->arg[1], cg_imul(f, from, inner));
    r.to = cg_at(f, t, f->arg[0], cg_imul(f, loop.iv, inner));
    if (s->bytes == 4) {
        cg_nd_vectors(f, inner, 1, copy_words, &r);
    } else {
        cg_for(f, &run, cg_i64(f, 0), inner, 1);
        CgVal x = cg_load(f, t, cg_at(f, t, r.from, run.iv), (unsigned)s->bytes);
        cg_store(f, x, cg_at(f, t, r.to, run.iv), (unsigned)s->bytes);
        cg_end(f, &run);
    }
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
