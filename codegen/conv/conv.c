// Lowering of conv: the schedule's choice, a row of ir/conv_algos.def, in plain data, and the call
// of its kernel.
#include "codegen/conv/conv.h"

#include <limits.h>
#include <string.h>

enum {
    MAX_KERNEL_COLUMNS = 128, // kernel columns are unrolled
    MAX_POOL = 16,            // its kernel and stride
};

static bool fits_int(int64_t x) {
    return x >= 0 && x <= INT_MAX / 4;
}

static bool window_fits(const IrWindow *w) {
    const int64_t v[] = {w->kh, w->kw, w->sh, w->sw, w->dh, w->dw, w->pt, w->pl, w->group};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        if (!fits_int(v[i]))
            return false;
    return fits_int(w->kh * w->dh) && fits_int(w->kw * w->dw);
}

// What the kernel's dots make of x is less by this.
static int32_t less_of(const IrMachine *m, IrConvAlgo algo, const IrConv *c) {
    return cg_conv_algo(algo)->emit == cg_conv_emit_direct ? ir_dot(m, c->dtype).less : 0;
}

// Limits of plain data; NULL: none is met.
static const char *why_not(const IrNode *n, IrConvAlgo algo, const IrConv *c, const CgTarget *t) {
    int lanes = t->lanes, less = less_of(&t->machine, algo, c);
    const IrConvAlgoInfo *info = ir_conv_algo_info(algo);
    bool plain = info->flags & IR_CONV_FLAG_PLAIN;
    if (info->words && !c->constant && !ir_attr(n, IR_ATTR_FILTER))
        return "conv with weights that are not constant";
    bool blocked = c->y_block == lanes || ir_conv_is_whole(c->y_block, c->O);
    if (plain ? c->x_block || c->y_block : !blocked || !ir_conv_serves(algo, c))
        return "conv in this layout";
    if (!plain && ir_int(n, IR_ATTR_ZERO, 0) != less && ir_in(n, 2) && !ir_in(n, 2)->konst)
        return "conv of integers with a bias that is not constant";
    if (!window_fits(&c->w) || (!plain && c->w.kw > MAX_KERNEL_COLUMNS))
        return "conv with a window this large";
    int64_t in = c->H * c->W * c->C, out = c->OH * c->OW * c->O;
    if (!fits_int(in) || !fits_int(out) || !fits_int(c->O * c->C * c->w.kh))
        return "conv on images this large";
    return NULL;
}

static int32_t bias_kind(const IrNode *n, unsigned flags, int less) {
    const IrValue *bias = ir_in(n, 2);
    bool plain = flags & IR_CONV_FLAG_PLAIN;
    if (!plain && ir_int(n, IR_ATTR_ZERO, 0) != less)
        return flags & IR_CONV_FLAG_FILLS ? CG_CONV_BIAS_WHOLE : CG_CONV_BIAS_EDGES;
    if (!bias)
        return CG_CONV_NO_BIAS;
    return bias->konst && !plain ? CG_CONV_BIAS_PACKED : CG_CONV_BIAS_PLAIN;
}

static void read_node(const IrNode *n, IrConvAlgo algo, const IrConv *c, const CgTarget *t,
                      CgConv *s) {
    int lanes = t->lanes;
    const IrConvAlgoInfo *info = ir_conv_algo_info(algo);
    IrConv seen = ir_conv_seen_by(algo, c);
    IrConvTile tile = ir_conv_tile(n);
    memset(s, 0, sizeof *s);
    cg_conv_init(s, &seen, &tile);
    s->less = less_of(&t->machine, algo, c);
    s->bias = bias_kind(n, info->flags, s->less);
    s->y_dtype = (int32_t)n->out[0]->type.dtype;
    if (info->flags & (IR_CONV_FLAG_PLAIN | IR_CONV_FLAG_FILLS))
        s->zero = (int32_t)ir_int(n, IR_ATTR_ZERO, 0);
    s->x_image = cg_tensor(ir_in(n, 0)).image;
    s->y_image = cg_tensor(n->out[0]).image;
    s->words = info->words ? info->words(c, &tile, lanes) : 0;
    if (!ir_conv_tile_is_of(&tile, algo) || !cg_conv_algo(algo)->fits(s, lanes))
        ir_bug("lower conv", n->name, "kernel %s or its tile does not fit", info->text);
}

static bool take_prologue(CgProgram *p, const IrNode *n, IrConvAlgo algo, CgConv *s, CgArg *args,
                          int *n_args) {
    int lanes = cg_target(p)->lanes;
    if (!ir_body(n, IR_ATTR_PRE).n)
        return true;
    if (*n_args + n->n_in - ir_prologue(n) > CG_MAX_ARGS) {
        cg_nyi(p, n, "a convolution with %d operands", n->n_in);
        return false;
    }
    if (!cg_body_init(p, n, IR_ATTR_PRE, &s->pre, args, n_args))
        return false;
    if (!(ir_conv_algo_info(algo)->flags & IR_CONV_FLAG_PRE) ||
        !cg_conv_prologue_init(s, &cg_target(p)->machine, lanes)) {
        cg_nyi(p, n, "a prologue on a convolution of this form");
        return false;
    }
    cg_scratch(p, cg_conv_prologue_floats(s, lanes) * (int64_t)sizeof(float));
    return true;
}

// The pool behind the epilogue. False after reporting NYI.
static bool take_pool(CgProgram *p, const IrNode *n, IrConvAlgo algo, const IrConv *c, CgConv *s) {
    const IrWindow *w = &c->pool;
    const IrShape *y = &n->out[0]->type.shape;
    if (!w->kh)
        return true;
    s->pool = (CgConvPool){.kh = (int32_t)w->kh,
                           .kw = (int32_t)w->kw,
                           .sh = (int32_t)w->sh,
                           .sw = (int32_t)w->sw,
                           .pt = (int32_t)w->pt,
                           .pl = (int32_t)w->pl,
                           .OH = (int32_t)y->dim[2].c,
                           .OW = (int32_t)y->dim[3].c};
    bool small = w->kh <= MAX_POOL && w->kw <= MAX_POOL && w->sh <= MAX_POOL && w->sw <= MAX_POOL;
    if (!small || !(ir_conv_algo_info(algo)->flags & IR_CONV_FLAG_POOL) || s->tile.rows != 1) {
        cg_nyi(p, n, "a pool behind a convolution of this form");
        return false;
    }
    cg_conv_pool_init(s, &cg_target(p)->machine, cg_target(p)->lanes);
    cg_scratch(p, cg_conv_pool_elems(s, cg_target(p)->lanes) * ir_dtype_bytes((IrDtype)s->y_dtype));
    return true;
}

// The epilogue. False after reporting NYI.
static bool take_epilogue(CgProgram *p, const IrNode *n, IrConvAlgo algo, CgConv *s, CgArg *args,
                          int *n_args) {
    bool plain = ir_conv_algo_info(algo)->flags & IR_CONV_FLAG_PLAIN;
    if (!cg_body_init(p, n, IR_ATTR_THEN, &s->then, args, n_args))
        return false;
    for (int i = 0; i < s->then.n_in && !plain; i++)
        if (s->then.in[i].kind == CG_OPERAND_GENERAL) {
            cg_nyi(p, n, "an epilogue operand that broadcasts this way");
            return false;
        }
    return true;
}

// "direct 1x14x2": pixels of the register tile or of a transform's output, and vectors.
static char *name_call(CgProgram *p, IrConvAlgo algo, const CgConv *s) {
    const IrConvAlgoInfo *info = ir_conv_algo_info(algo);
    const IrConvTile *t = &s->tile;
    return ir_sprintf(cg_arena(p), info->tile ? "%s %dx%dx%d%s" : "%s", info->text,
                      t->out_rows ? t->out_rows : t->rows, t->out_cols ? t->out_cols : t->cols,
                      t->vecs, s->pool.kh ? " pool" : "");
}

// Instructions of the kernel, roughly
static int weigh(const CgConvAlgo *k, const CgConv *s) {
    const IrConvTile *t = &s->tile;
    int pixels = t->rows * t->cols + t->out_rows * t->out_cols;
    return 100 + k->tiles * pixels * t->vecs * s->kw * cg_conv_unroll(s) * 4;
}

void cg_lower_conv(CgProgram *p, const IrNode *n) {
    int lanes = cg_target(p)->lanes;
    IrConv c = ir_conv(n);
    IrConvAlgo algo;
    if (ir_conv_is_empty(&c))
        return; // nothing to write
    if (!ir_conv_algo(n, &algo)) {
        cg_nyi(p, n, "a convolution of %s in this form", ir_dtype_name(c.dtype));
        return;
    }
    const char *reason = why_not(n, algo, &c, cg_target(p));
    if (reason) {
        cg_nyi(p, n, "%s", reason);
        return;
    }
    CgConv spec;
    const CgConvAlgo *k = cg_conv_algo(algo);
    read_node(n, algo, &c, cg_target(p), &spec);
    CgArg args[CG_MAX_ARGS] = {cg_read(ir_in(n, 0)), cg_write(n->out[0])};
    int n_args = 2;
    args[n_args++] = cg_conv_arg_weights(p, n, algo, &spec);
    if (spec.bias)
        args[n_args++] = cg_conv_arg_bias(p, n, &spec);
    if (!take_epilogue(p, n, algo, &spec, args, &n_args) ||
        !take_prologue(p, n, algo, &spec, args, &n_args) || !take_pool(p, n, algo, &c, &spec))
        return;
    bool plain = ir_conv_algo_info(algo)->flags & IR_CONV_FLAG_PLAIN;
    if (k->emit == cg_conv_emit_direct || k->emit == cg_conv_emit_rowwise ||
        (c.dtype == IR_BF16 && !plain)) // results are rounded by an instruction
        cg_need(p, cg_target_dot(cg_target(p), c.dtype));
    if (k->emit == cg_conv_emit_amx)
        cg_need(p, cg_target_amx(c.dtype));
    if (k->scratch)
        cg_scratch(p, k->scratch(&spec, lanes));
    int64_t flops = 2 * ir_conv_products(&c);
    int kernel = cg_kernel(p, "conv", k->emit, &spec, sizeof spec, n_args, weigh(k, &spec));
    cg_call(p, n, kernel, n_args, args, name_call(p, algo, &spec),
            (IrDim){flops * c.N.c, flops * c.N.n});
}
