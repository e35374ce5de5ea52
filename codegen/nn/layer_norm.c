// layer_norm: each row along the last axis of a plain tensor less its mean, divided by its
// deviation; then the epilogue. Three passes over a row, which stays in the first level cache: sum,
// what is left and its squares, result. What is left has a mean, too, since the first one is
// rounded: it corrects the mean and the variance (Chan, Golub and LeVeque, "Algorithms for
// Computing the Sample Variance", 1983), so that a row of equal numbers becomes zeros. Four
// accumulators of each sum, joined in a fixed order.
#include "codegen/build/nd.h"
#include <math.h>
#include <string.h>

enum { ACCS = 4, Y = 0, X, EXTRA }; // operands of the space, which are the arguments

typedef struct LayerNormSpec {
    CgNd nd;                   // all dims but the last
    IrDim col[CG_ND_OPERANDS]; // strides along the rows
    int64_t size;              // of a row
    double eps;
    CgBody then;
    int32_t dtype, own, y_dtype, pad_; // IrDtype: of x, as it is computed, of the result
} LayerNormSpec;

typedef struct LayerNormRun {
    const LayerNormSpec *spec;
    const CgVal *off;
    CgVal row, x;        // number of the row from off on, address of its operand
    CgVal mean, inverse; // in all lanes
    CgVal i, n;          // of the vector being finished
} LayerNormRun;

static IrDtype own_of(const LayerNormRun *r) {
    return (IrDtype)r->spec->own;
}

static CgVal address(const LayerNormRun *r, CgFn *f, IrDtype t, int operand) {
    const CgNd *nd = &r->spec->nd;
    CgVal row = cg_stride(f, r->row, nd->dim[nd->rank - 1].stride[operand]);
    return cg_elem_at(f, t, f->arg[operand], cg_iadd(f, r->off[operand], row));
}

static CgVal load_x(const LayerNormRun *r, CgFn *f, CgVal i, CgVal n) {
    IrDtype t = (IrDtype)r->spec->dtype;
    CgVal x = cg_elem_load_n(f, t, cg_elem_at(f, t, r->x, i), n);
    return cg_elem_convert(f, t, own_of(r), x);
}

// x, or what x has more than the mean; lanes that do not count are 0.
static CgVal load_term(const LayerNormRun *r, CgFn *f, CgVal i, CgVal n) {
    CgVal x = load_x(r, f, i, n);
    if (!r->mean) {
        return x; // those are 0 as they are loaded
    }
    CgVal d = cg_fsub(f, x, r->mean);
    return n ? cg_select(f, cg_lane_mask(f, n), d, cg_elem_splat(f, own_of(r), 0)) : d;
}

// acc: sums of the terms, and behind them of their squares once there is a mean.
static void add_term(const LayerNormRun *r, CgFn *f, CgVal i, CgVal n, CgVal *acc) {
    CgVal d = load_term(r, f, i, n);
    acc[0] = cg_fadd(f, acc[0], d);
    if (r->mean) {
        acc[ACCS] = cg_fadd(f, acc[ACCS], cg_fmul(f, d, d));
    }
}

// The mean of what ACCS accumulators hold the sums of, in all lanes.
static CgVal emit_mean(const LayerNormRun *r, CgFn *f, const CgVal *acc) {
    CgVal sum = cg_fadd(f, cg_fadd(f, acc[0], acc[1]), cg_fadd(f, acc[2], acc[3]));
    sum = cg_sum_lanes(f, sum);
    return cg_splat(f, cg_fdiv(f, sum, cg_elem_const(f, own_of(r), (double)r->spec->size)));
}

// mean[0]: of the row's terms; mean[1]: of their squares, once there is a mean.
static void emit_means(const LayerNormRun *r, CgFn *f, CgVal mean[2]) {
    int64_t size = r->spec->size, step = (int64_t)ACCS * f->lanes, main = size / step * step;
    CgVal acc[2 * ACCS];
    int n_acc = r->mean ? 2 * ACCS : ACCS;
    CgLoop loop;
    for (int k = 0; k < n_acc; k++) {
        acc[k] = cg_elem_splat(f, own_of(r), 0);
    }
    cg_for_carry(f, &loop, cg_i64(f, 0), cg_i64(f, main), step, n_acc, acc);
    for (int k = 0; k < ACCS; k++) {
        add_term(r, f, cg_iaddc(f, loop.iv, (int64_t)k * f->lanes), NULL, acc + k);
    }
    cg_end_carry(f, &loop, acc);
    for (int k = 0; main < size; k++, main += f->lanes) {
        CgVal n = size - main < f->lanes ? cg_i64(f, size - main) : NULL;
        add_term(r, f, cg_i64(f, main), n, acc + k);
    }
    for (int k = 0; k * ACCS < n_acc; k++) {
        mean[k] = emit_mean(r, f, acc + (ptrdiff_t)k * ACCS);
    }
}

static CgVal load_then(void *ctx, CgFn *f, int k) {
    const LayerNormRun *r = ctx;
    IrDtype t = (IrDtype)r->spec->then.in[k].dtype;
    IrDim step = r->spec->col[EXTRA + k];
    CgVal p = cg_elem_at(f, t, address(r, f, t, EXTRA + k), cg_stride(f, r->i, step));
    return cg_elem_load_strided(f, t, p, cg_dim(f, step), r->n);
}

static void emit_result(void *ctx, CgFn *f, CgVal i, CgVal n) {
    LayerNormRun *r = ctx;
    IrDtype t = (IrDtype)r->spec->y_dtype;
    r->i = i;
    r->n = n;
    CgVal y = cg_fmul(f, cg_fsub(f, load_x(r, f, i, n), r->mean), r->inverse);
    y = cg_body_emit(f, &r->spec->then, y, load_then, r);
    cg_elem_store_n(f, t, y, cg_elem_at(f, t, address(r, f, t, Y), i), n);
}

static void emit_statistics(LayerNormRun *r, CgFn *f) {
    CgVal mean[2];
    r->mean = NULL;
    emit_means(r, f, mean);
    r->mean = mean[0];
    emit_means(r, f, mean);
    r->mean = cg_fadd(f, r->mean, mean[0]);
    CgVal variance = cg_fsub(f, mean[1], cg_fmul(f, mean[0], mean[0]));
    variance = cg_fmax(f, variance, cg_elem_splat(f, own_of(r), 0));
    variance = cg_fadd(f, variance, cg_elem_splat(f, own_of(r), r->spec->eps));
    CgVal deviation = cg_intrinsic(f, "llvm.sqrt", 1, &variance);
    r->inverse = cg_fdiv(f, cg_elem_splat(f, own_of(r), 1), deviation);
}

static void emit_row(void *ctx, CgFn *f, CgVal row, CgVal n) {
    (void)n;
    LayerNormRun *r = ctx;
    const LayerNormSpec *s = r->spec;
    r->row = row;
    r->x = address(r, f, (IrDtype)s->dtype, X);
    emit_statistics(r, f);
    cg_nd_vectors(f, cg_i64(f, s->size), 4, emit_result, r);
}

static void emit_rows(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    LayerNormRun *r = ctx;
    r->off = off;
    cg_nd_steps(f, len, 1, emit_row, r);
}

static void emit_layer_norm(CgFn *f, const void *spec) {
    LayerNormRun r = {.spec = spec};
    cg_nd_for(f, &r.spec->nd, 1, 1, emit_rows, &r);
}

// Takes the last dimension out of the space.
static void split_rows(LayerNormSpec *s) {
    CgNd *nd = &s->nd;
    nd->rank--;
    for (int k = 0; k < nd->n; k++) {
        s->col[k] = nd->dim[nd->rank].stride[k];
    }
    memset(&nd->dim[nd->rank], 0, sizeof nd->dim[0]);
    cg_nd_collapse(nd, 1);
    nd->cost = 4 * s->size;
}

void cg_lower_layer_norm(CgProgram *p, const IrNode *n) {
    LayerNormSpec s;
    memset(&s, 0, sizeof s);
    CgTensor x = cg_tensor(ir_in(n, 0)), y = cg_tensor(n->out[0]);
    CgArg args[CG_MAX_ARGS] = {cg_write(n->out[0]), cg_read(ir_in(n, 0))};
    int n_args = EXTRA;
    IrDim size[CG_ND_RANK], stride[CG_ND_RANK];
    if (!cg_need_plain(p, n) || !cg_body_init(p, n, IR_ATTR_THEN, &s.then, args, &n_args)) {
        return;
    }
    cg_nd_init(&s.nd, cg_nd_sizes(&y, size), size);
    cg_nd_strides(&y, stride);
    cg_nd_add(&s.nd, stride, ir_dim(0));
    cg_nd_strides(&x, stride);
    cg_nd_add(&s.nd, stride, ir_dim(0));
    if (!cg_operands_join(p, n, &y, 1, &s.then, &s.nd, args) || cg_nd_empty(&s.nd)) {
        return;
    }
    s.size = y.dim[y.rank - 1].c;
    s.eps = ir_float(n, IR_ATTR_EPS, 1e-5);
    s.dtype = x.dtype;
    s.own = (int32_t)ir_own_dtype(n);
    s.y_dtype = y.dtype;
    split_rows(&s);
    int k = cg_kernel(p, "layer_norm", emit_layer_norm, &s, sizeof s, n_args, 150);
    cg_call(p, n, k, n_args, args, "layer_norm", (IrDim){0, 0});
}
