// scatter_elements (ScatterElements-18) and scatter_nd (ScatterND-18) on plain tensors: a copy of
// the data, then the updates. An index outside of its axis is skipped. Every element of the result
// belongs to one thread, which makes its updates in the order of the indices, so results do not
// depend on the number of threads: scatter_elements divides the lines along its axis, which do not
// meet, and in scatter_nd each thread looks at all indices for those in its part.
#include "codegen/build/eltwise.h"
#include "codegen/index/index.h"
#include "codegen/move/move.h"

#include <string.h>

typedef enum Reduction { REDUCE_NONE, REDUCE_ADD, REDUCE_MUL, REDUCE_MAX, REDUCE_MIN } Reduction;

static Reduction read_reduction(const IrNode *n) {
    static const char *const names[] = {"none", "add", "mul", "max", "min"};
    const char *mode = ir_str(n, IR_ATTR_MODE, "none");
    int r = 0;
    while (r < REDUCE_MIN && strcmp(mode, names[r])) {
        r++;
    }
    return (Reduction)r;
}

// ---------------------------------------------------------------- one update

// Integers wrap around; of bool, add is or and mul is and.
static CgVal reduce(CgFn *f, Reduction r, IrDtype t, CgVal x, CgVal u) {
    static const IrOp numbers[] = {[REDUCE_ADD] = IR_OP_ADD,
                                   [REDUCE_MUL] = IR_OP_MUL,
                                   [REDUCE_MAX] = IR_OP_MAXIMUM,
                                   [REDUCE_MIN] = IR_OP_MINIMUM};
    static const IrOp bools[] = {[REDUCE_ADD] = IR_OP_OR,
                                 [REDUCE_MUL] = IR_OP_AND,
                                 [REDUCE_MAX] = IR_OP_OR,
                                 [REDUCE_MIN] = IR_OP_AND};
    if (ir_dtype_is_float(t) && (r == REDUCE_MAX || r == REDUCE_MIN)) {
        return cg_most(f, r == REDUCE_MAX ? LLVMRealOGT : LLVMRealOLT, x, u); // NaN wins
    }
    return cg_eltwise(f, t, (t == IR_BOOL ? bools : numbers)[r], (CgVal[]){x, u}, NULL);
}

// Element `to` of the result and element `from` of the updates become element `to`.
static void emit_update(CgFn *f, Reduction r, IrDtype t, CgVal to, CgVal from) {
    CgVal u = cg_elem_load(f, t, f->arg[2], from);
    if (r != REDUCE_NONE) {
        CgVal x = cg_elem_load(f, t, f->arg[0], to);
        u = reduce(f, r, t, x, u);
    }
    cg_elem_store(f, t, u, f->arg[0], to);
}

static CgVal is_inside(CgFn *f, CgVal k, CgVal size) {
    return cg_icmp(f, LLVMIntULT, k, size);
}

// The result as the data is; a barrier follows, since the updates write it again.
static void copy_data(CgProgram *p, const IrNode *n) {
    IrDim elems, one = ir_dim(1);
    CgNd nd;
    if (!ir_shape_elems(&n->out[0]->type.shape, &elems)) {
        ir_bug("codegen", n->name, "a result whose size is not affine in N");
    }
    cg_nd_init(&nd, 1, &elems);
    cg_nd_add(&nd, &one, ir_dim(0));
    cg_nd_add(&nd, &one, ir_dim(0));
    cg_copy_nd(p, n, "scatter copy", &nd, n->out[0]->type.dtype, cg_write(n->out[0]),
               cg_read(ir_in(n, 0)));
}

// ---------------------------------------------------------------- scatter_elements

typedef struct ElementsSpec {
    CgNd nd;                  // lines of the indices; operands: the result, the indices
    IrDim count, step;        // indices along the axis, their stride
    IrDim axis, axis_step;    // the same of the result
    int32_t reduction, dtype; // of the result
    int32_t index, pad_;      // dtype of the indices
} ElementsSpec;

static void emit_lines(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    const ElementsSpec *s = ctx;
    const IrDim *stride = s->nd.dim[s->nd.rank - 1].stride;
    CgVal size = cg_dim(f, s->axis), zero = cg_i64(f, 0);
    CgLoop line, loop;
    CgIf inside;
    cg_for(f, &line, zero, len, 1);
    CgVal to = cg_iadd(f, off[0], cg_stride(f, line.iv, stride[0]));
    CgVal from = cg_iadd(f, off[1], cg_stride(f, line.iv, stride[1]));
    cg_for(f, &loop, zero, cg_dim(f, s->count), 1);
    CgVal at = cg_iadd(f, from, cg_stride(f, loop.iv, s->step));
    CgVal k = cg_index_load(f, (IrDtype)s->index, f->arg[1], at, size);
    cg_if(f, &inside, is_inside(f, k, size));
    emit_update(f, (Reduction)s->reduction, (IrDtype)s->dtype,
                cg_iadd(f, to, cg_stride(f, k, s->axis_step)), at);
    cg_endif(f, &inside);
    cg_end(f, &loop);
    cg_end(f, &line);
}

static void emit_scatter_elements(CgFn *f, const void *spec) {
    cg_nd_for(f, &((const ElementsSpec *)spec)->nd, 1, 1, emit_lines, (void *)spec);
}

void cg_lower_scatter_elements(CgProgram *p, const IrNode *n) {
    const IrValue *index = ir_in(n, 1);
    int axis = (int)ir_int(n, IR_ATTR_AXIS, 0), rank = 0;
    IrDim size[CG_ND_RANK], to[CG_ND_RANK], from[CG_ND_RANK];
    ElementsSpec s;
    memset(&s, 0, sizeof s);
    if (!cg_need_plain(p, n)) {
        return;
    }
    copy_data(p, n);
    CgTensor y = cg_tensor(n->out[0]), ti = cg_tensor(index);
    cg_nd_strides(&y, to);
    cg_nd_strides(&ti, from);
    s.count = ti.dim[axis];
    s.step = from[axis];
    s.axis = y.dim[axis];
    s.axis_step = to[axis];
    for (int i = 0; i < y.rank; i++) {
        if (i != axis) {
            size[rank] = ti.dim[i];
            to[rank] = to[i];
            from[rank++] = from[i];
        }
    }
    cg_nd_init(&s.nd, rank, size);
    cg_nd_add(&s.nd, to, ir_dim(0));
    cg_nd_add(&s.nd, from, ir_dim(0));
    if (cg_nd_empty(&s.nd) || ir_dim_is(s.count, 0) || ir_dim_is(s.axis, 0)) {
        return;
    }
    cg_nd_collapse(&s.nd, 1);
    s.nd.cost = ir_dim_at(s.count, 1);
    s.reduction = (int32_t)read_reduction(n);
    s.dtype = (int32_t)n->out[0]->type.dtype;
    s.index = (int32_t)index->type.dtype;
    CgArg args[] = {cg_write(n->out[0]), cg_read(index), cg_read(ir_in(n, 2))};
    int k = cg_kernel(p, "scatter_elements", emit_scatter_elements, &s, sizeof s, 3, 100);
    cg_call(p, n, k, 3, args, "scatter_elements", (IrDim){0, 0});
}

// ---------------------------------------------------------------- scatter_nd

typedef struct TuplesSpec {
    CgTuples tuples;
    int32_t reduction, dtype;
} TuplesSpec;

static void emit_scatter_nd(CgFn *f, const void *spec) {
    const TuplesSpec *s = spec;
    const CgTuples *t = &s->tuples;
    CgVal lo, hi, slice = cg_dim(f, t->slice), zero = cg_i64(f, 0);
    CgVal mine = LLVMConstInt(f->i1, 1, 0), to = zero;
    CgLoop row, loop;
    CgIf update;
    cg_split(f, cg_dim(f, t->selected), &lo, &hi);
    cg_for(f, &row, zero, cg_dim(f, t->rows), 1);
    for (int i = 0; i < t->depth; i++) {
        CgVal size = cg_dim(f, t->dim[i]), at = cg_iaddc(f, cg_imulc(f, row.iv, t->depth), i);
        CgVal k = cg_index_load(f, (IrDtype)t->index, f->arg[1], at, size);
        CgVal inside = is_inside(f, k, size);
        mine = LLVMBuildAnd(f->b, mine, inside, "");
        k = cg_select(f, inside, k, zero);
        to = cg_iadd(f, to, cg_stride(f, k, t->stride[i]));
    }
    mine = LLVMBuildAnd(f->b, mine, cg_icmp(f, LLVMIntSGE, to, lo), "");
    mine = LLVMBuildAnd(f->b, mine, cg_icmp(f, LLVMIntSLT, to, hi), "");
    cg_if(f, &update, mine);
    CgVal from = cg_imul(f, row.iv, slice);
    to = cg_imul(f, to, slice);
    cg_for(f, &loop, zero, slice, 1);
    emit_update(f, (Reduction)s->reduction, (IrDtype)s->dtype, cg_iadd(f, to, loop.iv),
                cg_iadd(f, from, loop.iv));
    cg_end(f, &loop);
    cg_endif(f, &update);
    cg_end(f, &row);
}

void cg_lower_scatter_nd(CgProgram *p, const IrNode *n) {
    TuplesSpec s;
    memset(&s, 0, sizeof s);
    if (!cg_need_plain(p, n)) {
        return;
    }
    copy_data(p, n);
    s.tuples = cg_tuples(ir_in(n, 0), ir_in(n, 1), 0);
    s.reduction = (int32_t)read_reduction(n);
    s.dtype = (int32_t)n->out[0]->type.dtype;
    const IrDim size[] = {s.tuples.rows, s.tuples.slice, s.tuples.selected};
    for (int i = 0; i < 3; i++) {
        if (ir_dim_is(size[i], 0)) {
            return;
        }
    }
    CgArg args[] = {cg_write(n->out[0]), cg_read(ir_in(n, 1)), cg_read(ir_in(n, 2))};
    int k = cg_kernel(p, "scatter_nd", emit_scatter_nd, &s, sizeof s, 3, 100);
    cg_call(p, n, k, 3, args, "scatter_nd", (IrDim){0, 0});
}
