// gather_elements (GatherElements-13) and gather_nd (GatherND-13) on plain tensors of any dtype.
// Indices outside of their axis are clamped to it, so that no memory outside of x is read.
#include "codegen/index/index.h"

#include <string.h>

// ---------------------------------------------------------------- indices

CgVal cg_index_load(CgFn *f, IrDtype t, CgVal base, CgVal i, CgVal size) {
    CgVal k = cg_elem_load(f, t, base, i);
    k = cg_elem_is_signed(t) ? LLVMBuildSExtOrBitCast(f->b, k, f->i64, "")
                           : LLVMBuildZExtOrBitCast(f->b, k, f->i64, "");
    CgVal negative = cg_icmp(f, LLVMIntSLT, k, cg_i64(f, 0));
    return cg_select(f, negative, LLVMBuildAdd(f->b, k, size, ""), k);
}

CgVal cg_index_clamp(CgFn *f, CgVal k, CgVal size) {
    return cg_imax(f, cg_imin(f, k, cg_iaddc(f, size, -1)), cg_i64(f, 0));
}

typedef struct CopyRun {
    CgVal to, from;
} CopyRun;

static void copy_words(void *ctx, CgFn *f, CgVal i, CgVal n) {
    CopyRun *r = ctx;
    cg_store_n(f, cg_load_n(f, cg_fat(f, r->from, i), n), cg_fat(f, r->to, i), n);
}

void cg_index_copy(CgFn *f, int bytes, CgVal to, CgVal from, CgVal n) {
    CopyRun r = {to, from};
    CgLoop loop;
    if (bytes == 4) {
        cg_nd_vectors(f, n, 1, copy_words, &r);
        return;
    }
    LLVMTypeRef t = LLVMIntTypeInContext(f->ctx, (unsigned)bytes * 8);
    cg_for(f, &loop, cg_i64(f, 0), n, 1);
    CgVal x = cg_load(f, t, cg_at(f, t, from, loop.iv), (unsigned)bytes);
    cg_store(f, x, cg_at(f, t, to, loop.iv), (unsigned)bytes);
    cg_end(f, &loop);
}

CgTuples cg_tuples(const IrValue *x, const IrValue *indices, int first) {
    CgTuples t;
    const IrShape *sx = &x->type.shape, *si = &indices->type.shape;
    memset(&t, 0, sizeof t);
    t.batch = t.rows = t.slice = t.selected = ir_dim(1);
    t.depth = (int32_t)si->dim[si->rank - 1].c;
    t.index = (int32_t)indices->type.dtype;
    for (int i = 0; i < si->rank - 1; i++) {
        IrDim *into = i < first ? &t.batch : &t.rows;
        *into = cg_nd_mul(*into, si->dim[i]);
    }
    for (int i = first + t.depth; i < sx->rank; i++) {
        t.slice = cg_nd_mul(t.slice, sx->dim[i]);
    }
    for (int i = t.depth - 1; i >= 0; i--) {
        t.dim[i] = sx->dim[first + i];
        t.stride[i] = t.selected;
        t.selected = cg_nd_mul(t.selected, t.dim[i]);
    }
    return t;
}

// ---------------------------------------------------------------- gather_elements

typedef struct ElementsSpec {
    CgNd nd;              // operands: the result, the indices, x along all axes but one
    IrDim axis, step;     // size of that one in x, its stride
    int32_t bytes, index; // of an element; dtype of the indices
} ElementsSpec;

static void emit_elements(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    const ElementsSpec *s = ctx;
    const IrDim *stride = s->nd.dim[s->nd.rank - 1].stride;
    LLVMTypeRef t = LLVMIntTypeInContext(f->ctx, (unsigned)s->bytes * 8);
    CgVal size = cg_dim(f, s->axis), at[3];
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), len, 1);
    for (int k = 0; k < 3; k++) {
        at[k] = cg_iadd(f, off[k], cg_stride(f, loop.iv, stride[k]));
    }
    CgVal k = cg_index_load(f, (IrDtype)s->index, f->arg[2], at[1], size);
    CgVal from = cg_iadd(f, at[2], cg_stride(f, cg_index_clamp(f, k, size), s->step));
    CgVal x = cg_load(f, t, cg_at(f, t, f->arg[1], from), (unsigned)s->bytes);
    cg_store(f, x, cg_at(f, t, f->arg[0], at[0]), (unsigned)s->bytes);
    cg_end(f, &loop);
}

static void emit_gather_elements(CgFn *f, const void *spec) {
    cg_nd_for(f, &((const ElementsSpec *)spec)->nd, 1, 16, emit_elements, (void *)spec);
}

void cg_lower_gather_elements(CgProgram *p, const IrNode *n) {
    const IrValue *x = ir_in(n, 0), *index = ir_in(n, 1);
    int axis = (int)ir_int(n, IR_ATTR_AXIS, 0);
    IrDim size[CG_ND_RANK], stride[CG_ND_RANK];
    ElementsSpec s;
    memset(&s, 0, sizeof s);
    if (!cg_need_plain(p, n)) {
        return;
    }
    CgTensor y = cg_tensor(n->out[0]), tx = cg_tensor(x);
    cg_nd_init(&s.nd, cg_nd_sizes(&y, size), size);
    cg_nd_strides(&y, stride);
    cg_nd_add(&s.nd, stride, ir_dim(0));
    cg_nd_add(&s.nd, stride, ir_dim(0));
    cg_nd_strides(&tx, stride);
    s.step = stride[axis];
    stride[axis] = ir_dim(0);
    cg_nd_add(&s.nd, stride, ir_dim(0));
    if (cg_nd_empty(&s.nd)) {
        return;
    }
    cg_nd_collapse(&s.nd, 1);
    s.axis = tx.dim[axis];
    s.bytes = ir_dtype_bytes(x->type.dtype);
    s.index = (int32_t)index->type.dtype;
    CgArg args[] = {cg_write(n->out[0]), cg_read(x), cg_read(index)};
    int k = cg_kernel(p, "gather_elements", emit_gather_elements, &s, sizeof s, 3, 80);
    cg_call(p, n, k, 3, args, "gather_elements", (IrDim){0, 0});
}

// ---------------------------------------------------------------- gather_nd

typedef struct TuplesSpec {
    CgTuples tuples;
    int64_t bytes; // of an element
} TuplesSpec;

static void emit_gather_nd(CgFn *f, const void *spec) {
    const TuplesSpec *s = spec;
    const CgTuples *t = &s->tuples;
    LLVMTypeRef type = LLVMIntTypeInContext(f->ctx, (unsigned)s->bytes * 8);
    CgVal rows = cg_dim(f, t->rows), slice = cg_dim(f, t->slice), lo, hi, batch, row;
    CgLoop loop;
    cg_split(f, cg_imul(f, cg_dim(f, t->batch), rows), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    cg_divmod(f, loop.iv, rows, &batch, &row);
    CgVal from = cg_stride(f, batch, t->selected);
    for (int i = 0; i < t->depth; i++) {
        CgVal size = cg_dim(f, t->dim[i]), at = cg_iaddc(f, cg_imulc(f, loop.iv, t->depth), i);
        CgVal k = cg_index_load(f, (IrDtype)t->index, f->arg[2], at, size);
        from = cg_iadd(f, from, cg_stride(f, cg_index_clamp(f, k, size), t->stride[i]));
    }
    cg_index_copy(f, (int)s->bytes, cg_at(f, type, f->arg[0], cg_imul(f, loop.iv, slice)),
                  cg_at(f, type, f->arg[1], cg_imul(f, from, slice)), slice);
    cg_end(f, &loop);
}

void cg_lower_gather_nd(CgProgram *p, const IrNode *n) {
    const IrValue *x = ir_in(n, 0), *index = ir_in(n, 1);
    TuplesSpec s;
    memset(&s, 0, sizeof s);
    if (!cg_need_plain(p, n)) {
        return;
    }
    s.tuples = cg_tuples(x, index, (int)ir_int(n, IR_ATTR_AXIS, 0));
    s.bytes = ir_dtype_bytes(x->type.dtype);
    const IrDim size[] = {s.tuples.batch, s.tuples.rows, s.tuples.slice, s.tuples.selected};
    for (int i = 0; i < 4; i++) {
        if (ir_dim_is(size[i], 0)) {
            return;
        }
    }
    CgArg args[] = {cg_write(n->out[0]), cg_read(x), cg_read(index)};
    int k = cg_kernel(p, "gather_nd", emit_gather_nd, &s, sizeof s, 3, 100);
    cg_call(p, n, k, 3, args, "gather_nd", (IrDim){0, 0});
}
