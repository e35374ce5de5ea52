// interleave and slice_grad: tensors whose elements come from smaller ones by strides, and are zero
// elsewhere. Each operand is one strided copy; what no operand covers is cleared first.
//
//   interleave of x0, x1 absent, x2, x3 with stride [2,2]:   x0 0  x0 0
//                                                            x2 x3 x2 x3
//
// In blocked tensors what is copied is a whole vector of channels.
#include "codegen/move/move.h"
#include <string.h>

// ---------------------------------------------------------------- zeros

typedef struct ClearSpec {
    CgNd nd;
    int32_t dtype, pad_;
} ClearSpec;

typedef struct Clear {
    IrDtype t;
    CgVal base, stride;
} Clear;

static void clear_vector(void *ctx, CgFn *f, CgVal i, CgVal n) {
    const Clear *c = ctx;
    cg_elem_store_n(f, c->t, cg_elem_splat(f, c->t, 0), cg_elem_at(f, c->t, c->base, i), n);
}

static void clear_element(void *ctx, CgFn *f, CgVal i, CgVal n) {
    (void)n;
    const Clear *c = ctx;
    cg_elem_store(f, c->t, cg_elem_const(f, c->t, 0), c->base, cg_imul(f, i, c->stride));
}

static void clear_row(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    const ClearSpec *s = ctx;
    IrDtype t = (IrDtype)s->dtype;
    IrDim stride = s->nd.dim[s->nd.rank - 1].stride[0];
    Clear c = {t, cg_elem_at(f, t, f->arg[0], off[0]), cg_dim(f, stride)};
    if (ir_dim_is(stride, 1)) {
        cg_nd_vectors(f, len, 4, clear_vector, &c);
    } else {
        cg_nd_steps(f, len, 4, clear_element, &c);
    }
}

static void emit_clear(CgFn *f, const void *spec) {
    const ClearSpec *s = spec;
    cg_nd_for(f, &s->nd, 1, f->lanes, clear_row, (void *)spec);
}

// Zeros in the space of operand 0.
static void clear_nd(CgProgram *p, const IrNode *n, const CgNd *nd) {
    ClearSpec s;
    if (cg_nd_empty(nd)) {
        return;
    }
    memset(&s, 0, sizeof s);
    s.nd = *nd;
    s.dtype = (int32_t)cg_elem_bits(n->out[0]->type.dtype);
    cg_nd_collapse(&s.nd, 1);
    CgArg args[] = {cg_write(n->out[0])};
    int k = cg_kernel(p, "clear", emit_clear, &s, sizeof s, 1, 60);
    cg_call(p, n, k, 1, args, "clear", (IrDim){0, 0});
}

static void clear_all(CgProgram *p, const IrNode *n) {
    CgTensor y = cg_tensor(n->out[0]);
    IrDim size[CG_ND_RANK], stride[CG_ND_RANK];
    CgNd nd;
    cg_nd_init(&nd, cg_nd_sizes(&y, size), size);
    cg_nd_strides(&y, stride);
    cg_nd_add(&nd, stride, ir_dim(0));
    clear_nd(p, n, &nd);
}

static bool check_types(CgProgram *p, const IrNode *n) {
    const IrType *y = &n->out[0]->type;
    bool bytes = n->op == IR_OP_INTERLEAVE && ir_dtype_bytes(y->dtype) == 1;
    bool fits = y->dtype == IR_F32 || y->dtype == IR_BF16 || y->dtype == IR_F16 || bytes;
    for (int i = 0; i < n->n_in; i++) {
        fits = fits && (ir_in(n, i) ? ir_in(n, i)->type.block == y->block : !bytes);
    }
    if (!fits) {
        cg_nyi(p, n, "%s of %s in mixed layouts", ir_op_info(n->op)->text, ir_dtype_name(y->dtype));
    }
    return fits;
}

// ---------------------------------------------------------------- interleave

static int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// Pixels of one phase, rows [0, h) and columns [0, w) of operand x, or zeros in [h0, h1) x [w0, w1)
typedef struct Phase {
    int64_t row, column, sh, sw;
} Phase;

// The result's space of this phase cut to rows [h0, h1) and columns [w0, w1).
static void phase_space(const CgTensor *y, const Phase *ph, int64_t h0, int64_t h1, int64_t w0,
                        int64_t w1, CgNd *nd) {
    IrDim size[CG_ND_RANK], stride[CG_ND_RANK];
    int rank = cg_nd_sizes(y, size);
    cg_nd_strides(y, stride);
    int64_t at = (ph->row + h0 * ph->sh) * stride[2].c + (ph->column + w0 * ph->sw) * stride[3].c;
    size[2] = ir_dim(h1 > h0 ? h1 - h0 : 0);
    size[3] = ir_dim(w1 > w0 ? w1 - w0 : 0);
    stride[2].c *= ph->sh;
    stride[3].c *= ph->sw;
    cg_nd_init(nd, rank, size);
    cg_nd_add(nd, stride, ir_dim(at));
}

static void copy_phase(CgProgram *p, const IrNode *n, const Phase *ph, const IrValue *x) {
    CgTensor y = cg_tensor(n->out[0]);
    int64_t H = (y.dim[2].c - ph->row + ph->sh - 1) / ph->sh;
    int64_t W = (y.dim[3].c - ph->column + ph->sw - 1) / ph->sw, h = 0, w = 0;
    CgNd nd;
    if (x) {
        CgTensor t = cg_tensor(x);
        IrDim stride[CG_ND_RANK];
        h = min_i64(H, t.dim[2].c);
        w = min_i64(W, t.dim[3].c);
        phase_space(&y, ph, 0, h, 0, w, &nd);
        cg_nd_strides(&t, stride);
        cg_nd_add(&nd, stride, ir_dim(0));
        IrDtype type = cg_elem_bits((IrDtype)y.dtype);
        cg_copy_nd(p, n, "interleave", &nd, type, cg_write(n->out[0]), cg_read(x));
    }
    if (ir_dtype_bytes((IrDtype)y.dtype) == 1) {
        if (h < H || w < W) {
            cg_nyi(p, n, "interleave of %s with zeros", ir_dtype_name((IrDtype)y.dtype));
        }
        return;
    }
    phase_space(&y, ph, h, H, 0, W, &nd);
    clear_nd(p, n, &nd);
    phase_space(&y, ph, 0, h, w, W, &nd);
    clear_nd(p, n, &nd);
}

void cg_lower_interleave(CgProgram *p, const IrNode *n) {
    CgTensor y = cg_tensor(n->out[0]);
    IrWindow w = ir_window(n);
    if (!check_types(p, n)) {
        return;
    }
    if (!cg_static_dims(&y, 2)) {
        cg_nyi(p, n, "interleave with symbolic dimensions");
        return;
    }
    for (int64_t k = 0; k < w.sh * w.sw; k++) {
        Phase ph = {k / w.sw, k % w.sw, w.sh, w.sw};
        if (ph.row < y.dim[2].c && ph.column < y.dim[3].c) {
            copy_phase(p, n, &ph, k < n->n_in ? ir_in(n, (int)k) : NULL);
        }
    }
}

// ---------------------------------------------------------------- slice_grad

// Where dy's elements lie in the result: strides and offset. Blocked: whole blocks of channels.
static IrDim place_slice(const IrNode *n, const CgTensor *y, IrDim *stride) {
    IrInts start = ir_ints(n, IR_ATTR_START), step = ir_ints(n, IR_ATTR_STEP);
    IrDim at = ir_dim(0);
    cg_nd_strides(y, stride);
    for (int i = 0; i < y->rank; i++) {
        int64_t first = start.n ? start.v[i] : 0;
        first = y->block && i == 1 ? first / y->block : first;
        IrDim d = cg_nd_mul(stride[i], ir_dim(first));
        at = (IrDim){at.c + d.c, at.n + d.n};
        stride[i] = cg_nd_mul(stride[i], ir_dim(step.n ? step.v[i] : 1));
    }
    return at;
}

void cg_lower_slice_grad(CgProgram *p, const IrNode *n) {
    if (!check_types(p, n)) {
        return;
    }
    CgTensor y = cg_tensor(n->out[0]), dy = cg_tensor(ir_in(n, 0));
    IrDim size[CG_ND_RANK], stride[CG_ND_RANK];
    clear_all(p, n);
    CgNd nd;
    cg_nd_init(&nd, cg_nd_sizes(&dy, size), size);
    IrDim at = place_slice(n, &y, stride);
    cg_nd_add(&nd, stride, at);
    cg_nd_strides(&dy, stride);
    cg_nd_add(&nd, stride, ir_dim(0));
    IrDtype t = cg_elem_bits((IrDtype)y.dtype);
    cg_copy_nd(p, n, "slice_grad", &nd, t, cg_write(n->out[0]), cg_read(ir_in(n, 0)));
}
