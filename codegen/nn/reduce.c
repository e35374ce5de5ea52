// Reductions, in one of two forms: a vector of results at a time, where the innermost kept
// dimension is a run of the operand (global pools on blocks of channels), or a vector of operands
// at a time, where the innermost reduced one is (rows of a plain tensor). Four accumulators, joined
// in a fixed order: results do not depend on the number of threads. Integers wrap around, and a
// mean of integers of 64 bits where their sum does.
#include "codegen/build/eltwise.h"
#include "codegen/build/nd.h"
#include <math.h>
#include <string.h>

enum { ACCS = 4 };

typedef struct ReduceSpec {
    CgNd kept; // operands: the result, x, then the epilogue's
    CgNd over; // operand: x
    CgBody then;
    CgBody pre;                  // its operands are plain, f32 and lie as x does
    int32_t op, rows;            // rows: the innermost reduced dimension is a run
    int32_t dtype, own, y, pad_; // IrDtype: of x, of what it is reduced to, of the result
} ReduceSpec;

// ---------------------------------------------------------------- operators

static double start_of(IrOp op) {
    return op == IR_OP_REDUCE_MAX    ? -INFINITY
           : op == IR_OP_REDUCE_MIN  ? INFINITY
           : op == IR_OP_REDUCE_PROD ? 1
                                     : 0;
}

// The type that elements are summed up in: of a mean of integers, 64 bits.
static IrDtype acc_dtype(const ReduceSpec *s) {
    IrDtype t = (IrDtype)s->own;
    bool wide = s->op == IR_OP_REDUCE_MEAN && !ir_dtype_is_float(t);
    return !wide ? t : cg_elem_is_signed(t) ? IR_I64 : IR_U64;
}

static CgVal combine(CgFn *f, const ReduceSpec *s, CgVal acc, CgVal x) {
    IrDtype t = acc_dtype(s);
    bool most = s->op == IR_OP_REDUCE_MAX, least = s->op == IR_OP_REDUCE_MIN;
    if (ir_dtype_is_float(t) && (most || least)) {
        return cg_most(f, most ? LLVMRealOGT : LLVMRealOLT, acc, x); // NaN wins
    }
    IrOp op = most                         ? IR_OP_MAXIMUM
              : least                      ? IR_OP_MINIMUM
              : s->op == IR_OP_REDUCE_PROD ? IR_OP_MUL
                                           : IR_OP_ADD;
    return cg_eltwise(f, t, op, (CgVal[]){acc, x}, NULL);
}

static CgVal combine_lanes(CgFn *f, const ReduceSpec *s, CgVal v) {
    for (int n = f->lanes / 2; n >= 1; n /= 2) {
        int low[64], high[64];
        for (int i = 0; i < n; i++) {
            low[i] = i;
            high[i] = i + n;
        }
        v = combine(f, s, cg_shuffle(f, v, NULL, n, low), cg_shuffle(f, v, NULL, n, high));
    }
    return LLVMBuildExtractElement(f->b, v, cg_i32(f, 0), "");
}

static CgVal combine_accs(CgFn *f, const ReduceSpec *s, CgVal *acc) {
    return combine(f, s, combine(f, s, acc[0], acc[1]), combine(f, s, acc[2], acc[3]));
}

static void start_accs(CgFn *f, const ReduceSpec *s, CgVal *acc) {
    for (int k = 0; k < ACCS; k++) {
        acc[k] = cg_elem_splat(f, acc_dtype(s), start_of((IrOp)s->op));
    }
}

typedef struct Elements { // of x: n lanes, or all, `stride` apart from p on
    const ReduceSpec *spec;
    CgVal p, stride, n;
} Elements;

// Those of operand k of the prologue lie as far behind its begin.
static CgVal load_pre(void *ctx, CgFn *f, int k) {
    const Elements *e = ctx;
    CgVal x = LLVMBuildPtrToInt(f->b, f->arg[1], f->i64, "");
    CgVal at = cg_isub(f, LLVMBuildPtrToInt(f->b, e->p, f->i64, ""), x);
    CgVal p = cg_at(f, f->i8, f->arg[e->spec->pre.first_arg + k], at);
    return cg_elem_load_strided(f, (IrDtype)e->spec->dtype, p, e->stride, e->n);
}

static CgVal load_elements(CgFn *f, const ReduceSpec *s, CgVal p, CgVal stride, CgVal n) {
    IrDtype t = (IrDtype)s->dtype;
    Elements e = {s, p, stride, n};
    CgVal x = cg_elem_load_strided(f, t, p, stride, n);
    return cg_elem_convert(f, t, acc_dtype(s), cg_body_emit(f, &s->pre, x, load_pre, &e));
}

// n lanes from p on, or all, as they are summed up.
static CgVal load_run(CgFn *f, const ReduceSpec *s, CgVal p, CgVal n) {
    return load_elements(f, s, p, cg_i64(f, 1), n);
}

static CgVal at(CgFn *f, const ReduceSpec *s, CgVal p, CgVal index) {
    return cg_elem_at(f, (IrDtype)s->dtype, p, index);
}

// ---------------------------------------------------------------- loops over what is reduced

typedef struct ReduceRun {
    const ReduceSpec *spec;
    const CgVal *off; // of the row in the kept space
    CgVal x;          // address of the result element's first operand
    CgVal n;          // lanes that count, or NULL
    CgVal i;          // result elements from the row's begin
} ReduceRun;

typedef void (*ReduceStep)(const ReduceRun *r, CgFn *f, CgVal p, CgVal *acc);

// Dims [dim, last) of `over` as loops that carry acc, then `step` at the address.
static void emit_over(const ReduceRun *r, CgFn *f, int dim, int last, CgVal p, CgVal *acc,
                      ReduceStep step) {
    const CgNd *over = &r->spec->over;
    if (dim >= last) {
        step(r, f, p, acc);
        return;
    }
    CgLoop loop;
    cg_for_carry(f, &loop, cg_i64(f, 0), cg_dim(f, over->dim[dim].size), 1, ACCS, acc);
    CgVal next = at(f, r->spec, p, cg_stride(f, loop.iv, over->dim[dim].stride[0]));
    emit_over(r, f, dim + 1, last, next, acc, step);
    cg_end_carry(f, &loop, acc);
}

typedef struct Take { // the last reduced dimension from address p on
    const ReduceRun *r;
    CgVal p;
    IrDim stride;
} Take;

static void take_kept(const Take *t, CgFn *f, CgVal i, CgVal *acc) {
    const ReduceSpec *s = t->r->spec;
    IrDim lane = s->kept.dim[s->kept.rank - 1].stride[1];
    CgVal p = at(f, s, t->p, cg_stride(f, i, t->stride));
    *acc = combine(f, s, *acc, load_elements(f, s, p, cg_dim(f, lane), t->r->n));
}

// The last reduced dimension, vectors over kept elements.
static void reduce_kept(const ReduceRun *r, CgFn *f, CgVal p, CgVal *acc) {
    const CgNd *over = &r->spec->over;
    CgVal zero = cg_i64(f, 0), size = cg_dim(f, over->dim[over->rank - 1].size);
    CgVal main = cg_imulc(f, cg_idivc(f, size, ACCS), ACCS);
    Take t = {r, p, over->dim[over->rank - 1].stride[0]};
    CgLoop loop;
    cg_for_carry(f, &loop, zero, main, ACCS, ACCS, acc);
    for (int k = 0; k < ACCS; k++) {
        take_kept(&t, f, cg_iaddc(f, loop.iv, k), &acc[k]);
    }
    cg_end_carry(f, &loop, acc);
    cg_for_carry(f, &loop, main, size, 1, 1, acc);
    take_kept(&t, f, loop.iv, &acc[0]);
    cg_end_carry(f, &loop, acc);
}

// The last reduced dimension, vectors along it.
static void reduce_row(const ReduceRun *r, CgFn *f, CgVal p, CgVal *acc) {
    const ReduceSpec *s = r->spec;
    int64_t big = (int64_t)ACCS * f->lanes;
    CgVal zero = cg_i64(f, 0), size = cg_dim(f, s->over.dim[s->over.rank - 1].size);
    CgVal main = cg_imulc(f, cg_idivc(f, size, big), big);
    CgVal whole = cg_imulc(f, cg_idivc(f, size, f->lanes), f->lanes);
    CgLoop loop;
    cg_for_carry(f, &loop, zero, main, big, ACCS, acc);
    for (int k = 0; k < ACCS; k++) {
        CgVal i = cg_iaddc(f, loop.iv, (int64_t)k * f->lanes);
        acc[k] = combine(f, s, acc[k], load_run(f, s, at(f, s, p, i), NULL));
    }
    cg_end_carry(f, &loop, acc);
    cg_for_carry(f, &loop, main, whole, f->lanes, 1, acc);
    acc[0] = combine(f, s, acc[0], load_run(f, s, at(f, s, p, loop.iv), NULL));
    cg_end_carry(f, &loop, acc);
    CgVal rest = cg_isub(f, size, whole);
    int64_t fixed;
    if (cg_is_const(rest, &fixed) && fixed == 0) {
        return;
    }
    CgVal tail = load_run(f, s, at(f, s, p, whole), rest);
    CgVal none = cg_elem_splat(f, acc_dtype(s), start_of((IrOp)s->op));
    acc[1] = combine(f, s, acc[1], cg_select(f, cg_lane_mask(f, rest), tail, none));
}

static CgVal count_over(CgFn *f, const ReduceSpec *s) {
    CgVal count = cg_i64(f, 1);
    for (int i = 0; i < s->over.rank; i++) {
        count = cg_imul(f, count, cg_dim(f, s->over.dim[i].size));
    }
    return count;
}

// The result from what was summed up. A mean of integers truncates, and of none of them it is 0.
static CgVal finish(CgFn *f, const ReduceSpec *s, CgVal y) {
    IrDtype t = (IrDtype)s->own, acc = acc_dtype(s);
    if (s->op != IR_OP_REDUCE_MEAN) {
        return y;
    }
    CgVal by = count_over(f, s);
    bool vector = LLVMGetTypeKind(LLVMTypeOf(y)) == LLVMVectorTypeKind;
    by = ir_dtype_is_float(t) ? LLVMBuildSIToFP(f->b, by, cg_elem_type(f, t), "") : by;
    by = vector ? cg_splat(f, by) : by;
    return cg_elem_convert(f, acc, t, cg_eltwise(f, acc, IR_OP_DIV, (CgVal[]){y, by}, NULL));
}

// ---------------------------------------------------------------- results

static IrDtype dtype_of(const ReduceSpec *s, int operand) {
    return (IrDtype)(operand == 0 ? s->y : operand == 1 ? s->dtype : s->then.in[operand - 2].dtype);
}

static CgVal element(const ReduceRun *r, CgFn *f, int operand) {
    const CgNd *kept = &r->spec->kept;
    IrDtype t = dtype_of(r->spec, operand);
    CgVal i = cg_stride(f, r->i, kept->dim[kept->rank - 1].stride[operand]);
    return cg_elem_at(f, t, f->arg[operand], cg_iadd(f, r->off[operand], i));
}

static CgVal load_then_vector(void *ctx, CgFn *f, int k) {
    ReduceRun *r = ctx;
    const CgNd *kept = &r->spec->kept;
    IrDim lane = kept->dim[kept->rank - 1].stride[k + 2];
    return cg_elem_load_strided(f, dtype_of(r->spec, k + 2), element(r, f, k + 2), cg_dim(f, lane),
                                r->n);
}

static CgVal load_then_scalar(void *ctx, CgFn *f, int k) {
    const ReduceRun *r = ctx;
    return cg_elem_load(f, dtype_of(r->spec, k + 2), element(r, f, k + 2), cg_i64(f, 0));
}

static void emit_kept_vector(void *ctx, CgFn *f, CgVal i, CgVal n) {
    ReduceRun *r = ctx;
    const ReduceSpec *s = r->spec;
    CgVal acc[ACCS];
    start_accs(f, s, acc);
    r->i = i;
    r->n = n;
    emit_over(r, f, 0, s->over.rank - 1, element(r, f, 1), acc, reduce_kept);
    CgVal y = finish(f, s, combine_accs(f, s, acc));
    y = cg_body_emit(f, &s->then, y, load_then_vector, r);
    cg_elem_store_n(f, (IrDtype)s->y, y, element(r, f, 0), n);
}

static void emit_kept_row(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    ReduceRun *r = ctx;
    r->off = off;
    cg_nd_vectors(f, len, 1, emit_kept_vector, r);
}

static void emit_scalar_result(void *ctx, CgFn *f, CgVal i, CgVal n) {
    (void)n;
    ReduceRun *r = ctx;
    const ReduceSpec *s = r->spec;
    CgVal acc[ACCS];
    start_accs(f, s, acc);
    r->i = i;
    r->n = NULL;
    emit_over(r, f, 0, s->over.rank - 1, element(r, f, 1), acc, reduce_row);
    CgVal y = finish(f, s, combine_lanes(f, s, combine_accs(f, s, acc)));
    y = cg_body_emit(f, &s->then, y, load_then_scalar, r);
    cg_elem_store(f, (IrDtype)s->y, y, element(r, f, 0), cg_i64(f, 0));
}

static void emit_scalar_results(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    ReduceRun *r = ctx;
    r->off = off;
    cg_nd_steps(f, len, 1, emit_scalar_result, r);
}

static void emit_reduce(CgFn *f, const void *spec) {
    ReduceRun r = {.spec = spec};
    if (r.spec->rows) {
        cg_nd_for(f, &r.spec->kept, 1, 1, emit_scalar_results, &r);
    } else {
        cg_nd_for(f, &r.spec->kept, 1, f->lanes, emit_kept_row, &r);
    }
}

// ---------------------------------------------------------------- lowering

static bool is_reduced(const IrInts *axes, int axis) {
    for (int i = 0; i < axes->n; i++) {
        if (axes->v[i] == axis) {
            return true;
        }
    }
    return false;
}

// The two spaces of x: in that of the result, x has stride 0 along kept dims of size 1. Of blocks
// whose channels are reduced to a plain result, the lanes are too.
static void split_axes(const IrNode *n, const CgTensor *x, const CgTensor *y, IrDim *in_kept,
                       CgNd *over) {
    IrInts axes = ir_ints(n, IR_ATTR_AXES);
    bool keepdims = y->rank == x->rank;
    IrDim size[CG_ND_RANK], stride[CG_ND_RANK], over_size[CG_ND_RANK], over_stride[CG_ND_RANK];
    int rank = cg_nd_sizes(x, size), n_kept = 0, n_over = 0;
    cg_nd_strides(x, stride);
    for (int i = 0; i < rank; i++) {
        bool lanes = i == x->rank, reduced = lanes ? !y->block : is_reduced(&axes, i);
        if (reduced) {
            over_size[n_over] = size[i];
            over_stride[n_over++] = stride[i];
        }
        if (!reduced || (keepdims && !lanes)) {
            in_kept[n_kept++] = reduced ? ir_dim(0) : stride[i];
        }
    }
    cg_nd_init(over, n_over, over_size);
    cg_nd_add(over, over_stride, ir_dim(0));
    cg_nd_collapse(over, 1);
}

// Which form: rows where the operand's run is reduced. Else the kept run goes innermost.
static void choose_form(ReduceSpec *s) {
    const CgNdDim *kept = &s->kept.dim[s->kept.rank - 1];
    const CgNdDim *over = &s->over.dim[s->over.rank - 1];
    bool kept_run = ir_dim_is(kept->stride[1], 1) && !ir_dim_is(kept->size, 1);
    s->rows = !kept_run && ir_dim_is(over->stride[0], 1);
    int64_t cost = cg_nd_elems(&s->over, 0);
    s->kept.cost = cost < 1 ? 1 : cost;
}

static bool has_layout(const IrNode *n, const CgTensor *x, const CgTensor *y) {
    IrInts axes = ir_ints(n, IR_ATTR_AXES);
    if (!x->block || y->rank != x->rank) {
        return x->block == y->block && !x->block;
    }
    bool channels = axes.n == 1 && axes.v[0] == 1 && cg_channels(x) % x->block == 0;
    return y->block ? x->block == y->block : channels;
}

// The prologue. False after reporting NYI.
static bool take_prologue(CgProgram *p, const IrNode *n, ReduceSpec *s, CgArg *args, int *n_args) {
    const IrType *x = &ir_in(n, 0)->type;
    bool fits = true;
    if (!ir_body(n, IR_ATTR_PRE).n) {
        return true;
    }
    for (int i = ir_prologue(n); i < n->n_in; i++) {
        fits = fits && ir_type_eq(&ir_in(n, i)->type, x) && !ir_in(n, i)->konst;
    }
    if (!fits || x->block || x->dtype != IR_F32) {
        cg_nyi(p, n, "a prologue on a reduction of this form");
        return false;
    }
    if (!cg_body_init(p, n, IR_ATTR_PRE, &s->pre, args, n_args)) {
        return false;
    }
    for (int k = 0; k < s->pre.n_in; k++) {
        memset(&s->pre.in[k].t, 0, sizeof s->pre.in[k].t);
    }
    return true;
}

void cg_lower_reduce(CgProgram *p, const IrNode *n) {
    ReduceSpec s;
    memset(&s, 0, sizeof s);
    const IrValue *xv = ir_in(n, 0);
    CgTensor x = cg_tensor(xv), y = cg_tensor(n->out[0]);
    IrDim size[CG_ND_RANK], stride[CG_ND_RANK];
    if (!has_layout(n, &x, &y)) {
        cg_nyi(p, n, "a reduction from one layout to another");
        return;
    }
    CgArg args[CG_MAX_ARGS] = {cg_write(n->out[0]), cg_read(xv)};
    int n_args = 2;
    if (!cg_body_init(p, n, IR_ATTR_THEN, &s.then, args, &n_args)) {
        return;
    }
    cg_nd_init(&s.kept, cg_nd_sizes(&y, size), size);
    cg_nd_strides(&y, stride);
    cg_nd_add(&s.kept, stride, ir_dim(0));
    split_axes(n, &x, &y, stride, &s.over);
    cg_nd_add(&s.kept, stride, ir_dim(0));
    if (!cg_operands_join(p, n, &y, 1, &s.then, &s.kept, args) || cg_nd_empty(&s.kept)) {
        return;
    }
    if (!take_prologue(p, n, &s, args, &n_args)) {
        return;
    }
    cg_nd_collapse(&s.kept, 1);
    s.op = (int32_t)n->op;
    s.dtype = x.dtype;
    s.own = (int32_t)ir_own_dtype(n);
    s.y = y.dtype;
    choose_form(&s);
    const char *algo = ir_op_info(n->op)->text;
    int k = cg_kernel(p, algo, emit_reduce, &s, sizeof s, n_args, 150);
    cg_call(p, n, k, n_args, args, algo, (IrDim){0, 0});
}
