// softmax and log_softmax along one axis of a plain tensor, shifted by the maximum (Softmax-13,
// LogSoftmax-13). Three passes: maximum, exp and its sum, scale. Vectors run along the axis where
// it is innermost, in registers from the first pass to the last where they hold a line, as those of
// attention over an image's patches or a window; else over neighbouring lines. Where the result's
// type is narrower than what it is computed in, exp is computed again rather than kept in the
// result, which would round twice.
#include "codegen/build/nd.h"
#include <math.h>
#include <string.h>

typedef struct SoftmaxSpec {
    CgNd nd;          // all dims but the axis; operands: result, x, which lie alike
    IrDim size, step; // of the axis
    int32_t logarithm, dtype;
} SoftmaxSpec;

typedef struct SoftmaxRun {
    const SoftmaxSpec *spec;
    const CgVal *off;
    CgVal to, from; // of the line's first element
    CgVal slot;     // accumulator vector
    CgVal most, sum;
} SoftmaxRun;

static IrDtype dtype_of(const SoftmaxRun *r) {
    return (IrDtype)r->spec->dtype;
}
static CgVal at(CgFn *f, const SoftmaxRun *r, CgVal p, CgVal index) {
    return cg_elem_at(f, dtype_of(r), p, index);
}
static CgVal load(CgFn *f, const SoftmaxRun *r, CgVal p, CgVal n) {
    return cg_elem_load_n(f, dtype_of(r), p, n);
}
static void store(CgFn *f, const SoftmaxRun *r, CgVal y, CgVal p, CgVal n) {
    cg_elem_store_n(f, dtype_of(r), y, p, n);
}
static CgVal splat(CgFn *f, const SoftmaxRun *r, double x) {
    return cg_elem_splat(f, dtype_of(r), x);
}
static CgVal load_slot(CgFn *f, const SoftmaxRun *r) {
    return cg_load(f, cg_elem_vec(f, dtype_of(r)), r->slot, 4);
}

// The second pass leaves exp in the result.
static bool keeps_exp(const SoftmaxRun *r) {
    return !r->spec->logarithm && cg_elem_is_exact(dtype_of(r));
}

// ---------------------------------------------------------------- along the axis

static CgVal mask_tail(CgFn *f, const SoftmaxRun *r, CgVal x, CgVal n, double other) {
    return n ? cg_select(f, cg_lane_mask(f, n), x, splat(f, r, other)) : x;
}

static void row_max(void *ctx, CgFn *f, CgVal i, CgVal n) {
    SoftmaxRun *r = ctx;
    CgVal x = mask_tail(f, r, load(f, r, at(f, r, r->from, i), n), n, -INFINITY);
    cg_store(f, cg_fmax(f, load_slot(f, r), x), r->slot, 4);
}

static void row_exp(void *ctx, CgFn *f, CgVal i, CgVal n) {
    SoftmaxRun *r = ctx;
    CgVal x = load(f, r, at(f, r, r->from, i), n);
    CgVal e = cg_exp_below(f, cg_fsub(f, x, r->most));
    if (keeps_exp(r)) {
        store(f, r, e, at(f, r, r->to, i), n);
    }
    CgVal sum = load_slot(f, r);
    cg_store(f, cg_fadd(f, sum, mask_tail(f, r, e, n, 0)), r->slot, 4);
}

static void row_scale(void *ctx, CgFn *f, CgVal i, CgVal n) {
    SoftmaxRun *r = ctx;
    CgVal p = at(f, r, r->to, i), y;
    if (keeps_exp(r)) {
        y = cg_fmul(f, load(f, r, p, n), r->sum);
    } else {
        y = cg_fsub(f, load(f, r, at(f, r, r->from, i), n), r->most);
        y = r->spec->logarithm ? cg_fsub(f, y, r->sum) : cg_fmul(f, cg_exp_below(f, y), r->sum);
    }
    store(f, r, y, p, n);
}

// ---------------------------------------------------------------- a line in registers

enum { LINE_VECTORS = 16 };

// Vectors of a line that registers hold; 0: they do not.
static int line_vectors(const CgFn *f, const SoftmaxSpec *s) {
    int64_t n = s->size.n ? LINE_VECTORS + 1 : (s->size.c + f->lanes - 1) / f->lanes;
    int most = f->target->machine.vector_registers / 2 / cg_parts(f);
    bool floats = s->dtype == IR_F32 || s->dtype == IR_BF16 || s->dtype == IR_F16; // in registers
    return n <= most && floats && !s->logarithm ? (int)n : 0;
}

// x[0] op x[1] op .., as a tree
static CgVal join(CgFn *f, CgVal (*op)(CgFn *, CgVal, CgVal), int n, const CgVal *x) {
    return n == 1 ? x[0] : op(f, join(f, op, n / 2, x), join(f, op, n - n / 2, x + n / 2));
}

static void emit_line(SoftmaxRun *r, CgFn *f, int vectors) {
    int64_t size = r->spec->size.c;
    CgVal x[LINE_VECTORS], count[LINE_VECTORS] = {NULL}, index[LINE_VECTORS];
    for (int i = 0; i < vectors; i++) {
        int64_t left = size - (int64_t)i * f->lanes;
        index[i] = cg_i64(f, (int64_t)i * f->lanes);
        count[i] = left < f->lanes ? cg_i64(f, left) : NULL;
        x[i] =
            mask_tail(f, r, load(f, r, at(f, r, r->from, index[i]), count[i]), count[i], -INFINITY);
    }
    CgVal most = cg_splat(f, cg_max_lanes(f, join(f, cg_fmax, vectors, x)));
    for (int i = 0; i < vectors; i++) {
        x[i] = mask_tail(f, r, cg_exp_below(f, cg_fsub(f, x[i], most)), count[i], 0);
    }
    CgVal sum = cg_sum_lanes(f, join(f, cg_fadd, vectors, x));
    CgVal scale = cg_splat(f, cg_fdiv(f, cg_like(f, sum, 1), sum));
    for (int i = 0; i < vectors; i++) {
        store(f, r, cg_fmul(f, x[i], scale), at(f, r, r->to, index[i]), count[i]);
    }
}

// r->sum: what the last pass needs, the logarithm of the sum or its inverse.
static void finish_sum(SoftmaxRun *r, CgFn *f, CgVal sum) {
    r->sum = r->spec->logarithm ? cg_log(f, sum) : cg_fdiv(f, cg_like(f, sum, 1), sum);
}

static void emit_row(void *ctx, CgFn *f, CgVal i, CgVal n) {
    (void)n;
    SoftmaxRun *r = ctx;
    const CgNd *nd = &r->spec->nd;
    const IrDim *stride = nd->dim[nd->rank - 1].stride;
    CgVal size = cg_dim(f, r->spec->size);
    r->to = at(f, r, f->arg[0], cg_iadd(f, r->off[0], cg_stride(f, i, stride[0])));
    r->from = at(f, r, f->arg[1], cg_iadd(f, r->off[1], cg_stride(f, i, stride[1])));
    int vectors = line_vectors(f, r->spec);
    if (vectors) {
        emit_line(r, f, vectors);
        return;
    }
    cg_store(f, splat(f, r, -INFINITY), r->slot, 4);
    cg_nd_vectors(f, size, 1, row_max, r);
    r->most = cg_splat(f, cg_max_lanes(f, load_slot(f, r)));
    cg_store(f, splat(f, r, 0), r->slot, 4);
    cg_nd_vectors(f, size, 1, row_exp, r);
    finish_sum(r, f, cg_sum_lanes(f, load_slot(f, r)));
    r->sum = cg_splat(f, r->sum);
    cg_nd_vectors(f, size, 1, row_scale, r);
}

static void emit_rows(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    SoftmaxRun *r = ctx;
    r->off = off;
    cg_nd_steps(f, len, 1, emit_row, r);
}

// ---------------------------------------------------------------- lines side by side

static void emit_lines(void *ctx, CgFn *f, CgVal i, CgVal n) {
    SoftmaxRun *r = ctx;
    const SoftmaxSpec *s = r->spec;
    CgVal to = at(f, r, f->arg[0], cg_iadd(f, r->off[0], i));
    CgVal from = at(f, r, f->arg[1], cg_iadd(f, r->off[1], i));
    CgVal zero = cg_i64(f, 0), size = cg_dim(f, s->size), acc[] = {splat(f, r, -INFINITY)};
    CgLoop loop;
    cg_for_carry(f, &loop, zero, size, 1, 1, acc);
    CgVal x = load(f, r, at(f, r, from, cg_stride(f, loop.iv, s->step)), n);
    acc[0] = cg_fmax(f, acc[0], x);
    cg_end_carry(f, &loop, acc);
    r->most = acc[0];
    acc[0] = splat(f, r, 0);
    cg_for_carry(f, &loop, zero, size, 1, 1, acc);
    CgVal along = cg_stride(f, loop.iv, s->step);
    CgVal e = cg_exp_below(f, cg_fsub(f, load(f, r, at(f, r, from, along), n), r->most));
    if (keeps_exp(r)) {
        store(f, r, e, at(f, r, to, along), n);
    }
    acc[0] = cg_fadd(f, acc[0], e);
    cg_end_carry(f, &loop, acc);
    finish_sum(r, f, acc[0]);
    cg_for(f, &loop, zero, size, 1);
    along = cg_stride(f, loop.iv, s->step);
    r->to = at(f, r, to, along);
    r->from = at(f, r, from, along);
    row_scale(r, f, zero, n);
    cg_end(f, &loop);
}

static void emit_line_vectors(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    SoftmaxRun *r = ctx;
    r->off = off;
    cg_nd_vectors(f, len, 1, emit_lines, r);
}

static void emit_softmax(CgFn *f, const void *spec) {
    SoftmaxRun r = {.spec = spec};
    if (ir_dim_is(r.spec->step, 1)) {
        r.slot = cg_slot(f, cg_elem_vec(f, dtype_of(&r)));
        LLVMSetAlignment(r.slot, 64);
        cg_nd_for(f, &r.spec->nd, 1, 1, emit_rows, &r);
    } else {
        cg_nd_for(f, &r.spec->nd, 1, f->lanes, emit_line_vectors, &r);
    }
}

void cg_lower_softmax(CgProgram *p, const IrNode *n) {
    CgTensor t = cg_tensor(n->out[0]);
    int axis = (int)ir_int(n, IR_ATTR_AXIS, t.rank - 1);
    if (!cg_need_plain(p, n)) {
        return;
    }
    IrDim size[CG_ND_RANK], stride[CG_ND_RANK];
    SoftmaxSpec s;
    memset(&s, 0, sizeof s);
    s.size = s.step = ir_dim(1); // of a scalar
    int rank = 0;
    IrDim all[CG_ND_RANK];
    cg_nd_strides(&t, all);
    for (int i = 0; i < t.rank; i++) {
        if (i == axis) {
            s.size = t.dim[i];
            s.step = all[i];
        } else {
            size[rank] = t.dim[i];
            stride[rank++] = all[i];
        }
    }
    cg_nd_init(&s.nd, rank, size);
    cg_nd_add(&s.nd, stride, ir_dim(0));
    cg_nd_add(&s.nd, stride, ir_dim(0));
    if (cg_nd_empty(&s.nd) || ir_dim_is(s.size, 0)) {
        return;
    }
    cg_nd_collapse(&s.nd, 1);
    s.nd.cost = 16 * ir_dim_at(s.size, 1);
    s.logarithm = n->op == IR_OP_LOG_SOFTMAX;
    s.dtype = t.dtype;
    CgArg args[] = {cg_write(n->out[0]), cg_read(ir_in(n, 0))};
    int k = cg_kernel(p, "softmax", emit_softmax, &s, sizeof s, 2, 300);
    cg_call(p, n, k, 2, args, ir_op_info(n->op)->text, (IrDim){0, 0});
}
