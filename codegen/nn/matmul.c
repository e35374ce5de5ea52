// matmul: y[batch.., r, m] = sum over k of a[batch.., r, k] * b[batch.., k, m], with bias and
// epilogue: which kernel, and how the operands lie. matmul_panels.c and matmul_elements.c are the
// kernels, matmul_pack.c puts constant factors in order.
#include "codegen/nn/matmul.h"
#include "codegen/build/nd.h"
#include "ir/conv.h"
#include <string.h>

typedef struct Factor { // a or b: how it lies
    CgTensor t;
    IrDim k_size, k_stride, other_stride; // other: rows of a, columns of b
    IrDim stride[CG_ND_RANK];             // in the space [batch.., rows, columns]
} Factor;

static Factor read_factor(const IrNode *n, int operand, bool trans) {
    Factor x = {.t = cg_tensor(ir_in(n, operand))};
    CgTensor y = cg_tensor(n->out[0]);
    IrDim own[CG_ND_RANK];
    cg_nd_strides(&x.t, own);
    if (operand == 0 && ir_int(n, IR_ATTR_MEAN, 0)) { // as the means lie in the scratch
        x.t.rank = 2;
        own[0] = ir_dim((x.t.dim[1].c + x.t.block - 1) / x.t.block * x.t.block);
        own[1] = ir_dim(1);
    }
    int r = x.t.rank, shift = y.rank - r, k = operand == 0 ? r - 1 : r - 2;
    int other = operand == 0 ? r - 2 : r - 1;
    if (trans) {
        int swap = k;
        k = other;
        other = swap;
    }
    x.k_size = x.t.dim[k];
    x.k_stride = own[k];
    x.other_stride = own[other];
    for (int i = 0; i < y.rank - 2; i++) {
        bool one = i < shift || ir_dim_is(x.t.dim[i - shift], 1);
        x.stride[i] = one ? ir_dim(0) : own[i - shift];
    }
    x.stride[y.rank - 2] = operand == 0 ? x.other_stride : ir_dim(0);
    x.stride[y.rank - 1] = operand == 0 ? ir_dim(0) : x.other_stride;
    return x;
}

// The rows' space (batch dims and rows, merged where they can be) with the panels in front.
static void make_panels(CgMatmul *s, int64_t width, IrDim b_panel) {
    CgNd *nd = &s->nd;
    nd->rank--; // the columns
    for (int k = 0; k < nd->n; k++) {
        s->col[k] = nd->dim[nd->rank].stride[k];
    }
    memset(&nd->dim[nd->rank], 0, sizeof nd->dim[0]);
    cg_nd_collapse(nd, 1);
    if (!ir_dim_is(nd->dim[nd->rank - 1].stride[CG_MATMUL_B], 0)) { // one row per batch
        nd->dim[nd->rank++] = (CgNdDim){.size = ir_dim(1)};
    }
    memmove(&nd->dim[1], &nd->dim[0], (size_t)nd->rank * sizeof nd->dim[0]);
    nd->rank++;
    memset(&nd->dim[0], 0, sizeof nd->dim[0]);
    nd->dim[0].size = ir_dim((s->columns + width - 1) / width);
    nd->dim[0].stride[CG_MATMUL_B] = b_panel;
    nd->dim[0].stride[CG_MATMUL_COLUMN] = ir_dim(width);
    if (s->packed && nd->rank == 2) {
        nd->dim[1].stride[CG_MATMUL_ROW] = ir_dim(1);
    }
}

static bool add_extras(CgProgram *p, const IrNode *n, CgMatmul *s, const CgTensor *y, CgArg *args) {
    IrDim stride[CG_ND_RANK];
    int arg = CG_MATMUL_ARG(CG_MATMUL_EXTRA);
    for (int i = 2; i < n->n_in; i++) {
        const IrValue *v = ir_in(n, i);
        if (!v) {
            continue;
        }
        bool memory = i == 2 || s->then.in[i - 3].kind != CG_OPERAND_IMM;
        memset(stride, 0, sizeof stride);
        if (memory && !cg_operand_strides(p, n, y, v, stride, &args[arg])) {
            return false;
        }
        cg_nd_add(&s->nd, stride, ir_dim(0));
        arg++;
    }
    return true;
}

static bool init_spec(CgProgram *p, const IrNode *n, CgMatmul *s, const Factor *a, const Factor *b,
                      CgArg *args, int *n_args) {
    CgTensor y = cg_tensor(n->out[0]);
    IrDim size[CG_ND_RANK], stride[CG_ND_RANK], none[CG_ND_RANK] = {{0, 0}};
    memset(s, 0, sizeof *s);
    s->bias = ir_in(n, 2) != NULL;
    args[CG_MATMUL_Y] = cg_write(n->out[0]);
    args[CG_MATMUL_A] = cg_read(ir_in(n, 0));
    args[CG_MATMUL_B] = cg_read(ir_in(n, 1));
    *n_args = 3;
    if (s->bias) {
        args[(*n_args)++] = cg_read(ir_in(n, 2));
    }
    if (!cg_body_init(p, n, IR_ATTR_THEN, &s->then, args, n_args)) {
        return false;
    }
    cg_nd_init(&s->nd, cg_nd_sizes(&y, size), size);
    cg_nd_strides(&y, stride);
    cg_nd_add(&s->nd, stride, ir_dim(0));
    cg_nd_add(&s->nd, a->stride, ir_dim(0));
    cg_nd_add(&s->nd, b->stride, ir_dim(0));
    cg_nd_add(&s->nd, none, ir_dim(0));
    cg_nd_add(&s->nd, none, ir_dim(0));
    s->k = a->k_size;
    s->a_k = a->k_stride;
    s->b_k = b->k_stride;
    s->dtype = a->t.dtype;
    s->b_dtype = b->t.dtype;
    s->own = (int32_t)ir_own_dtype(n);
    s->y_dtype = y.dtype;
    s->zero = (int32_t)ir_int(n, IR_ATTR_ZERO, 0);
    bool fits = add_extras(p, n, s, &y, args);
    for (int k = 0; k < s->then.n_in; k++) {
        memset(&s->then.in[k].t, 0, sizeof s->then.in[k].t);
    }
    return fits;
}

static IrDim count_flops(const IrNode *n, IrDim k) {
    IrDim elems, flops;
    bool affine = ir_shape_elems(&n->out[0]->type.shape, &elems) && ir_dim_mul(elems, k, &flops) &&
                  ir_dim_mul(flops, ir_dim(2), &flops);
    return affine ? flops : (IrDim){0, 0};
}

// Would tiles of CG_MATMUL_ROWS read weights faster from L2 than it gives them beside products?
// Those of 3 vectors have more rows. By hand, of 242 GFLOP/s that registers alone make on an Intel
// server core, 6 x 4 made 199, 14 x 2, which load more factors, 200, and 9 x 3 213.
static bool reads_too_fast(const CgMatmul *s, const IrMachine *m) {
    return s->dtype == IR_F32 && ir_parts(m) == 1 &&
           m->l2_rate * CG_MATMUL_ROWS < m->vector_bytes * m->products_a_cycle;
}

// Rows of a tile whose accumulators registers hold, next to a row of b and a factor
static int rows_that_fit(const CgMatmul *s, const IrMachine *m, int vectors) {
    IrDot dot = ir_dot(m, (IrDtype)s->dtype);
    int tall = reads_too_fast(s, m) ? CG_MATMUL_MOST_ROWS : CG_MATMUL_TALL_ROWS;
    int most = vectors == 3 ? tall : CG_MATMUL_ROWS;
    int panel = vectors * ir_parts(m), x = dot.row > 1 ? dot.x : 0; // of each row
    int others = panel * dot.w + (x ? 0 : dot.x) + dot.spare;
    int rows = (m->vector_registers - others) / (panel + x);
    return rows < 1 ? 1 : rows < most ? rows : most;
}

// Blocks of columns that panels of this many vectors compute, padding among them
static int64_t padded_blocks(const CgMatmul *s, int vectors) {
    int64_t blocks = (s->columns + IR_BLOCK - 1) / IR_BLOCK;
    return (blocks + vectors - 1) / vectors * vectors;
}

// Panels of 3 vectors where those of 4 would compute a thirtieth more that nobody reads, or are too
// wide for L2.
static int choose_vectors(const CgMatmul *s, const IrMachine *m) {
    if (rows_that_fit(s, m, CG_MATMUL_VECTORS) != CG_MATMUL_ROWS) {
        return 1;
    }
    int most = (int)cg_matmul_most_vectors(s->columns);
    int64_t all = padded_blocks(s, most), three = padded_blocks(s, 3);
    bool fits = s->dtype == IR_F32 && most > 3 && rows_that_fit(s, m, 3) >= CG_MATMUL_TALL_ROWS;
    bool better = 30 * (all - three) > all || (three <= all && reads_too_fast(s, m));
    return fits && better ? 3 : most;
}

// A panel that the second level cache does not hold costs as much again for every tile of rows that
// passes over it. Then tiles are tall, and each passes over one half of the panel's vectors.
static void choose_tile(CgMatmul *s, const IrMachine *m, int64_t width) {
    IrDim rows = s->nd.dim[s->nd.rank - 1].size;
    bool tall = s->packed && s->vectors > 1 && s->k.c * width * 4 > ir_budget(m, IR_L2_MOST) &&
                (rows.n || rows.c > CG_MATMUL_ROWS);
    s->rows = tall ? CG_MATMUL_TALL_ROWS : rows_that_fit(s, m, s->vectors);
    s->pass = tall ? (s->vectors + 1) / 2 : s->vectors;
    s->ahead = s->packed && s->nd.rank == 2 && !s->mean.blocks && ir_dim_at(rows, 1) > 2 * s->rows;
}

// Images whose means are made at a time. Weights that stay in L2 are read again for each part of
// the batch, and many parts keep threads busy; others are read as rarely as can be.
static int choose_images(const CgMatmul *s, const IrMachine *m, int lanes) {
    enum { FEW = 4, MANY = 32 };
    int64_t row = (int64_t)s->mean.blocks * lanes * 4;
    if (s->k.c * s->columns * 4 <= ir_budget(m, IR_L2_MOST)) {
        return FEW;
    }
    int64_t most = ir_budget(m, IR_L2_IMAGE) / row / CG_MATMUL_TALL_ROWS * CG_MATMUL_TALL_ROWS;
    return most > MANY ? MANY : most < FEW ? FEW : (int)most;
}

static CgMatmulColumns read_columns(const CgMatmul *s, const IrValue *v, const Factor *b) {
    return (CgMatmulColumns){.konst = v->konst,
                             .words = s->k.c,
                             .m = s->columns,
                             .k_stride = b->k_stride.c,
                             .m_stride = b->other_stride.c,
                             .word = ir_word((IrDtype)s->dtype)};
}

// Are products made of words of bytes or bf16? a's rows are runs of whole words, b is constant.
static bool has_dots(const IrNode *n, const CgMatmul *s, const Factor *a, const Factor *b,
                     int n_args) {
    bool bytes = s->dtype == IR_U8 && s->b_dtype == IR_I8, pairs = s->dtype == IR_BF16;
    return (bytes || pairs) && ir_in(n, 1)->konst && b->t.rank == 2 && ir_dim_is(a->k_stride, 1) &&
           a->k_size.n == 0 && a->k_size.c > 0 && a->k_size.c % ir_word((IrDtype)s->dtype) == 0 &&
           n_args < CG_MAX_ARGS && s->nd.n < CG_ND_OPERANDS;
}

// Two of pairs, neither constant, each in runs of k or across
static bool has_pairs(const IrNode *n, const CgMatmul *s, const Factor *a, const Factor *b,
                      const CgTarget *t) {
    bool runs = (ir_dim_is(a->k_stride, 1) || ir_dim_is(a->other_stride, 1)) &&
                (ir_dim_is(b->k_stride, 1) || ir_dim_is(b->other_stride, 1));
    return !ir_in(n, 1)->konst && runs && cg_matmul_fits_pairs(s, t, a->k_size);
}

// k in words; the table of the zero point.
static void use_dots(CgProgram *p, const IrNode *n, CgMatmul *s, const Factor *b, int *n_args,
                     CgArg *args) {
    IrDim stride[CG_ND_RANK] = {{0, 0}};
    s->k = ir_dim(s->k.c / ir_word((IrDtype)s->dtype));
    s->a_k = ir_dim(1);
    s->zero -= ir_dot(&cg_target(p)->machine, (IrDtype)s->dtype).less;
    if (s->zero) {
        CgMatmulColumns columns = read_columns(s, ir_in(n, 1), b);
        args[(*n_args)++] = cg_packed(cg_matmul_pack_zero(p, &columns, s->zero));
        stride[s->nd.rank - 1] = ir_dim(1);
        cg_nd_add(&s->nd, stride, ir_dim(0));
    }
}

// The kernel that makes products in panels, its name in profiles, what it takes of a thread's
// scratch, in floats, and of the CPU
typedef struct Panels {
    CgEmit emit;
    const char *name;
    int64_t floats;
    uint32_t feature;
} Panels;

static Panels choose_kernel(const IrNode *n, CgMatmul *s, const CgTarget *t) {
    IrDtype type = (IrDtype)s->dtype;
    bool pairs = type == IR_BF16, bytes = type == IR_U8;
    int64_t totals = cg_matmul_totals(t->lanes);
    IrConvAlgo algo;
    if (pairs && !ir_in(n, 1)->konst) {
        cg_matmul_use_pairs(s, &t->machine);
        return (Panels){cg_matmul_emit_pairs, "matmul pairs amx", cg_matmul_pair_floats(s),
                        cg_target_amx(type)};
    }
    if (cg_matmul_fits_amx(s, &t->machine)) {
        return (Panels){cg_matmul_emit_amx, pairs ? "matmul bf16 amx" : "matmul int8 amx",
                        cg_matmul_floats_amx(), cg_target_amx(type)};
    }
    if (s->mean.blocks > 0) {
        s->images = choose_images(s, &t->machine, t->lanes);
        int64_t means = (int64_t)s->images * s->mean.blocks * t->lanes;
        return (Panels){cg_matmul_emit_means, s->nonzero ? "mean, matmul nonzero" : "mean, matmul",
                        totals + means + cg_matmul_list_floats(s), 0};
    }
    if (ir_conv_algo(n, &algo) && algo == IR_CONV_STRASSEN &&
        cg_matmul_use_strassen(s, &t->machine)) {
        return (Panels){cg_matmul_emit_strassen, "matmul strassen",
                        cg_matmul_strassen_floats(s, t->lanes), 0};
    }
    if (cg_matmul_use_blocks(s, &t->machine)) {
        return (Panels){cg_matmul_emit_blocks, "matmul blocks", cg_matmul_block_floats(s, t->lanes),
                        0};
    }
    if (s->nonzero) {
        return (Panels){cg_matmul_emit_nonzero, "matmul nonzero", totals + cg_matmul_list_floats(s),
                        0};
    }
    return (Panels){cg_matmul_emit_panels,
                    pairs       ? "matmul bf16"
                    : bytes     ? "matmul int8"
                    : s->packed ? "matmul packed"
                                : "matmul",
                    cg_matmul_is_long(s) || cg_matmul_keeps(s) ? totals : 0,
                    cg_target_dot(t, type)};
}

static void lower_panels(CgProgram *p, const IrNode *n, CgMatmul *s, const Factor *b, int n_args,
                         CgArg *args) {
    const CgTarget *target = cg_target(p);
    const IrValue *bv = ir_in(n, 1);
    s->vectors = choose_vectors(s, &target->machine);
    int64_t width = (int64_t)s->vectors * IR_BLOCK;
    s->packed = bv->konst && b->t.rank == 2;
    make_panels(s, width,
                s->packed ? ir_dim(s->k.c * width) : cg_nd_mul(b->other_stride, ir_dim(width)));
    if (s->packed) {
        CgMatmulColumns columns = read_columns(s, bv, b);
        args[CG_MATMUL_B] = cg_matmul_pack(p, &columns);
        s->b_k = ir_dim(IR_BLOCK);
        s->col[CG_MATMUL_B] = ir_dim(1);
    }
    int64_t k = ir_dim_at(s->k, 1);
    s->nd.cost = k < 1 ? 1 : k * s->vectors;
    choose_tile(s, &target->machine, width);
    s->nonzero = cg_matmul_skips_zeros(p, s, bv->konst);
    Panels use = choose_kernel(n, s, target);
    cg_scratch(p, 4 * use.floats);
    cg_need(p, use.feature);
    int kernel = cg_kernel(p, "matmul", use.emit, s, sizeof *s, n_args, 900);
    cg_call(p, n, kernel, n_args, args, use.name,
            count_flops(n, cg_nd_mul(s->k, ir_dim(ir_word((IrDtype)s->dtype)))));
}

// False after reporting NYI.
static bool check_layout(CgProgram *p, const IrNode *n) {
    CgTensor x = cg_tensor(ir_in(n, 0)), y = cg_tensor(n->out[0]);
    if (!ir_int(n, IR_ATTR_MEAN, 0)) {
        return cg_need_plain(p, n);
    }
    if (x.dtype != IR_F32 || x.block != cg_target(p)->lanes || y.dim[1].n) {
        cg_nyi(p, n, "a product with the means of a map in this layout");
        return false;
    }
    return true;
}

void cg_lower_matmul(CgProgram *p, const IrNode *n) {
    if (!check_layout(p, n)) {
        return;
    }
    Factor a = read_factor(n, 0, ir_int(n, IR_ATTR_TRANS_A, 0) != 0);
    Factor b = read_factor(n, 1, ir_int(n, IR_ATTR_TRANS_B, 0) != 0);
    CgMatmul s;
    CgArg args[CG_MAX_ARGS];
    int n_args;
    if (!init_spec(p, n, &s, &a, &b, args, &n_args) || cg_nd_empty(&s.nd)) {
        return;
    }
    if (ir_int(n, IR_ATTR_MEAN, 0)) {
        CgTensor x = cg_tensor(ir_in(n, 0));
        s.mean = cg_mean(&x);
    }
    const IrShape *shape = &n->out[0]->type.shape;
    bool dots = has_dots(n, &s, &a, &b, n_args), pairs = has_pairs(n, &s, &a, &b, cg_target(p));
    if ((s.dtype == IR_F32 || dots || pairs) && shape->dim[shape->rank - 1].n == 0) {
        s.columns = shape->dim[shape->rank - 1].c;
        if (dots) {
            use_dots(p, n, &s, &b, &n_args, args);
        }
        lower_panels(p, n, &s, &b, n_args, args);
        return;
    }
    cg_nd_collapse(&s.nd, 1);
    int k = cg_kernel(p, "matmul", cg_matmul_emit_elements, &s, sizeof s, n_args, 100);
    cg_call(p, n, k, n_args, args, "matmul elements", count_flops(n, s.k));
}
