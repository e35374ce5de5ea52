// softmax, log_softmax, batch_norm and lrn of f64 and f16, plain: one result at a time, f16
// computed in float. Networks are f32 (softmax.c, norm.c); this is what is left when a graph asks
// for others.
#include "codegen/nn/float_typed.h"
#include "codegen/map/map.h"
#include <math.h>
#include <string.h>

enum { Y, X, CHANNEL }; // operands of the space; CHANNEL: no memory, the index along axis 1

typedef struct FloatSpec {
    CgNd nd;          // all dims of the result; softmax: but the axis
    IrDim size, step; // of the axis; lrn, batch_norm: of axis 1
    int32_t op, dtype;
    double eps;               // batch_norm
    double alpha, beta, bias; // lrn; alpha is divided by the size already
    int64_t below, above;     // lrn
} FloatSpec;

typedef struct FloatRun {
    const FloatSpec *spec;
    CgVal at[3]; // offsets of the operands
} FloatRun;

static CgVal load_x(const FloatRun *r, CgFn *f, int arg, CgVal at) {
    return cg_elem_load(f, (IrDtype)r->spec->dtype, f->arg[arg], at);
}

static void store_y(const FloatRun *r, CgFn *f, CgVal y, CgVal at) {
    cg_elem_store(f, (IrDtype)r->spec->dtype, y, f->arg[Y], at);
}

static CgVal constant(CgFn *f, const FloatSpec *s, double x) {
    return LLVMConstReal(s->dtype == IR_F64 ? f->f64 : f->f32, x);
}

// ---------------------------------------------------------------- softmax (Softmax-13)

static void emit_line(const FloatRun *r, CgFn *f) {
    const FloatSpec *s = r->spec;
    CgVal zero = cg_i64(f, 0), size = cg_dim(f, s->size), acc[] = {constant(f, s, -INFINITY)};
    CgLoop loop;
    cg_for_carry(f, &loop, zero, size, 1, 1, acc);
    CgVal x = load_x(r, f, X, cg_iadd(f, r->at[X], cg_stride(f, loop.iv, s->step)));
    acc[0] = cg_fmax(f, acc[0], x);
    cg_end_carry(f, &loop, acc);
    CgVal most = acc[0];
    acc[0] = constant(f, s, 0);
    cg_for_carry(f, &loop, zero, size, 1, 1, acc);
    x = load_x(r, f, X, cg_iadd(f, r->at[X], cg_stride(f, loop.iv, s->step)));
    acc[0] = cg_fadd(f, acc[0], cg_exp(f, cg_fsub(f, x, most)));
    cg_end_carry(f, &loop, acc);
    bool logarithm = s->op == IR_OP_LOG_SOFTMAX;
    CgVal sum = logarithm ? cg_log(f, acc[0]) : acc[0];
    cg_for(f, &loop, zero, size, 1);
    CgVal along = cg_stride(f, loop.iv, s->step);
    CgVal z = cg_fsub(f, load_x(r, f, X, cg_iadd(f, r->at[X], along)), most);
    CgVal y = logarithm ? cg_fsub(f, z, sum) : cg_fdiv(f, cg_exp(f, z), sum);
    store_y(r, f, y, cg_iadd(f, r->at[Y], along));
    cg_end(f, &loop);
}

// ---------------------------------------------------------------- normalisations

// BatchNormalization-15; inputs x, scale, bias, mean, var
static void emit_batch_norm(const FloatRun *r, CgFn *f) {
    const FloatSpec *s = r->spec;
    CgVal c = r->at[CHANNEL], x = load_x(r, f, X, r->at[X]);
    CgVal var = cg_fadd(f, load_x(r, f, 5, c), constant(f, s, s->eps));
    CgVal scale = cg_fdiv(f, load_x(r, f, 2, c), cg_intrinsic(f, "llvm.sqrt", 1, &var));
    CgVal y = cg_fmul(f, cg_fsub(f, x, load_x(r, f, 4, c)), scale);
    store_y(r, f, cg_fadd(f, y, load_x(r, f, 3, c)), r->at[Y]);
}

// LRN-13
static void emit_lrn(const FloatRun *r, CgFn *f) {
    const FloatSpec *s = r->spec;
    CgVal c = r->at[CHANNEL];
    CgVal first = cg_isub(f, r->at[X], cg_stride(f, c, s->step)); // of channel 0
    CgVal lo = cg_imax(f, cg_iaddc(f, c, -s->below), cg_i64(f, 0));
    CgVal hi = cg_imin(f, cg_iaddc(f, c, s->above + 1), cg_dim(f, s->size));
    CgVal sum[] = {constant(f, s, 0)};
    CgLoop loop;
    cg_for_carry(f, &loop, lo, hi, 1, 1, sum);
    CgVal x = load_x(r, f, X, cg_iadd(f, first, cg_stride(f, loop.iv, s->step)));
    sum[0] = cg_fadd(f, sum[0], cg_fmul(f, x, x));
    cg_end_carry(f, &loop, sum);
    sum[0] = cg_fadd(f, cg_fmul(f, sum[0], constant(f, s, s->alpha)), constant(f, s, s->bias));
    x = load_x(r, f, X, r->at[X]);
    store_y(r, f, cg_fdiv(f, x, cg_pow(f, sum[0], constant(f, s, s->beta))), r->at[Y]);
}

// ---------------------------------------------------------------- kernel

static void emit_results(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    FloatRun r = {.spec = ctx};
    const FloatSpec *s = ctx;
    const IrDim *stride = s->nd.dim[s->nd.rank - 1].stride;
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), len, 1);
    for (int k = 0; k < s->nd.n; k++) {
        r.at[k] = cg_iadd(f, off[k], cg_stride(f, loop.iv, stride[k]));
    }
    if (s->op == IR_OP_BATCH_NORM) {
        emit_batch_norm(&r, f);
    } else if (s->op == IR_OP_LRN) {
        emit_lrn(&r, f);
    } else {
        emit_line(&r, f);
    }
    cg_end(f, &loop);
}

static void emit_float(CgFn *f, const void *spec) {
    cg_nd_for(f, &((const FloatSpec *)spec)->nd, 1, 1, emit_results, (void *)spec);
}

void cg_lower_float_typed(CgProgram *p, const IrNode *n) {
    CgTensor t = cg_tensor(n->out[0]);
    bool line = n->op == IR_OP_SOFTMAX || n->op == IR_OP_LOG_SOFTMAX;
    int axis = line ? (int)ir_int(n, IR_ATTR_AXIS, t.rank - 1) : 1, rank = 0;
    IrDim all[CG_ND_RANK], size[CG_ND_RANK], stride[CG_ND_RANK], channel[CG_ND_RANK] = {{0, 0}};
    int64_t window = ir_int(n, IR_ATTR_SIZE, 1);
    FloatSpec s;
    memset(&s, 0, sizeof s);
    cg_nd_strides(&t, all);
    s.size = s.step = ir_dim(1); // of a scalar
    for (int i = 0; i < t.rank; i++) {
        if (i == axis) {
            s.size = t.dim[i];
            s.step = all[i];
            channel[rank] = ir_dim(1);
        }
        if (i != axis || !line) {
            size[rank] = t.dim[i];
            stride[rank++] = all[i];
        }
    }
    cg_nd_init(&s.nd, rank, size);
    cg_nd_add(&s.nd, stride, ir_dim(0));
    cg_nd_add(&s.nd, stride, ir_dim(0));
    if (!line) {
        cg_nd_add(&s.nd, channel, ir_dim(0));
    }
    if (cg_nd_empty(&s.nd) || ir_dim_is(s.size, 0)) {
        return;
    }
    cg_nd_collapse(&s.nd, 1);
    s.op = (int32_t)n->op;
    s.dtype = t.dtype;
    s.eps = ir_float(n, IR_ATTR_EPS, 1e-5);
    s.alpha = ir_float(n, IR_ATTR_ALPHA, 1e-4) / (double)window;
    s.beta = ir_float(n, IR_ATTR_BETA, 0.75);
    s.bias = ir_float(n, IR_ATTR_BIAS, 1);
    s.below = (window - 1) / 2;
    s.above = window / 2;
    CgArg args[CG_MAX_ARGS] = {cg_write(n->out[0])};
    for (int i = 0; i < n->n_in; i++) {
        args[i + 1] = cg_read(ir_in(n, i));
    }
    const char *algo = ir_op_info(n->op)->text;
    int k = cg_kernel(p, algo, emit_float, &s, sizeof s, n->n_in + 1, 100);
    cg_call(p, n, k, n->n_in + 1, args, algo, (IrDim){0, 0});
}
