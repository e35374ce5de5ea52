// Lowering of conv: reads the schedule's choice, packs the weights for it and calls the kernel.
#include "codegen/conv/strassen.h"
#include "codegen/conv/typed.h"
#include "ir/conv.h"

#include <limits.h>
#include <string.h>

// The kernel that `algo` of the schedule names.
typedef struct Kernel {
    const char *algo;
    CgEmit emit, filter; // filter: packs weights when the program runs, or NULL
    int64_t (*floats)(const CgConv *s, int lanes);
    // Packs constant ones now; NULL: when the model is created.
    void (*pack)(const CgConv *s, int lanes, const float *w, float *out);
    int64_t (*scratch)(const CgConv *s, int lanes); // bytes a thread, or NULL
} Kernel;

static const Kernel kernels[] = {
    {"direct", cg_conv_direct, cg_conv_filter_direct, cg_conv_direct_floats, cg_conv_pack_direct,
     NULL},
    {"grouped", cg_conv_lanewise, cg_conv_filter_lanewise, cg_conv_lanewise_floats,
     cg_conv_pack_lanewise, NULL},
    {"depthwise", cg_conv_lanewise, cg_conv_filter_lanewise, cg_conv_lanewise_floats,
     cg_conv_pack_lanewise, NULL},
    {"winograd2", cg_conv_winograd, cg_conv_filter_winograd, cg_conv_winograd_floats, NULL,
     cg_conv_winograd_scratch},
    {"winograd4", cg_conv_winograd, cg_conv_filter_winograd, cg_conv_winograd_floats, NULL,
     cg_conv_winograd_scratch},
    {"strassen", cg_conv_strassen, NULL, cg_conv_strassen_floats, cg_conv_pack_strassen,
     cg_conv_strassen_scratch},
};

static const Kernel *find_kernel(const char *algo) {
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        if (strcmp(kernels[i].algo, algo) == 0)
            return &kernels[i];
    return NULL;
}

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
    return fits_int(w->kh * w->dh) && fits_int(w->kw * w->dw) && w->kw <= MAX_KERNEL_COLUMNS;
}

static bool tile_ok(const CgConv *s) {
    bool small = s->rows >= 1 && s->cols >= 1 && s->vecs >= 1 && s->band >= 0 && s->rows <= 32 &&
                 s->cols <= CG_MAX_CARRY && s->vecs <= CG_MAX_CARRY;
    return small && s->rows * s->cols * s->vecs <= CG_MAX_CARRY;
}

static bool kernel_fits(const Kernel *k, const CgConv *s, int lanes) {
    if (k->emit == cg_conv_winograd)
        return cg_conv_is_winograd(s, lanes);
    if (k->emit == cg_conv_strassen)
        return cg_conv_is_strassen(s, lanes);
    return tile_ok(s) && (k->emit != cg_conv_lanewise || cg_conv_is_lanewise(s, lanes));
}

static const char *why_not(const IrNode *n, const CgTensor *x, const CgTensor *y, int lanes) {
    const IrValue *w = ir_in(n, 1);
    if (x->dtype != IR_F32)
        return "conv of other types than f32";
    if (!w->konst && !ir_attr(n, IR_ATTR_FILTER))
        return "conv with weights that are not constant";
    if (y->block != lanes || (x->block && x->block != lanes))
        return "conv in this layout";
    for (int i = 1; i < 4; i++)
        if (x->dim[i].n || y->dim[i].n)
            return "conv with symbolic dimensions other than the first";
    IrWindow win = ir_window(n);
    if (!window_fits(&win))
        return "conv with a window this large";
    int64_t most = cg_spatial(x) * cg_channels(x);
    int64_t weights = cg_channels(y) * cg_channels(x) * win.kh;
    if (!fits_int(most) || !fits_int(cg_spatial(y) * cg_channels(y)) || !fits_int(weights))
        return "conv on images this large";
    return NULL;
}

static int32_t bias_kind(const IrNode *n) {
    const IrValue *bias = ir_in(n, 2);
    if (!bias)
        return CG_CONV_NO_BIAS;
    return bias->konst ? CG_CONV_BIAS_PACKED : CG_CONV_BIAS_PLAIN;
}

static void read_node(const IrNode *n, int lanes, CgConv *s) {
    IrConv c = ir_conv(n);
    CgTensor x = cg_tensor(ir_in(n, 0)), y = cg_tensor(n->out[0]);
    IrInts tile = ir_ints(n, IR_ATTR_TILE);
    *s = (CgConv){
        .C = (int32_t)c.C,
        .O = (int32_t)c.O,
        .H = (int32_t)c.H,
        .W = (int32_t)c.W,
        .OH = (int32_t)c.OH,
        .OW = (int32_t)c.OW,
        .bin = c.x_block ? c.x_block : 1,
        .kh = (int32_t)c.w.kh,
        .kw = (int32_t)c.w.kw,
        .sh = (int32_t)c.w.sh,
        .sw = (int32_t)c.w.sw,
        .dh = (int32_t)c.w.dh,
        .dw = (int32_t)c.w.dw,
        .pt = (int32_t)c.w.pt,
        .pl = (int32_t)c.w.pl,
        .group = (int32_t)c.w.group,
        .rows = 1,
        .cols = 4,
        .vecs = 1,
        .bias = bias_kind(n),
        .x_image = x.image,
        .y_image = y.image,
        .N = c.N,
    };
    if (tile.n >= 3) {
        s->rows = (int32_t)tile.v[0];
        s->cols = (int32_t)tile.v[1];
        s->vecs = (int32_t)tile.v[2];
        s->band = tile.n > 3 ? (int32_t)tile.v[3] : 0;
    }
    if (c.flat && !cg_conv_is_lanewise(s, lanes) && !ir_attr(n, IR_ATTR_POOL)) {
        s->H = s->OH = s->H * s->W;
        s->W = s->OW = 1;
        s->rows = s->rows * s->cols;
        s->cols = 1;
    }
}

typedef void (*Pack)(const CgConv *s, int lanes, const float *w, float *out);

// n's constant weights in the weights section, in the order that pack() gives them
static CgArg pack_now(CgProgram *p, const IrNode *n, const CgConv *s, const char *key, Pack pack,
                      int64_t floats) {
    int64_t offset;
    bool fresh;
    float *out = cg_pack(p, key, (size_t)floats * sizeof *out, &offset, &fresh);
    if (fresh)
        pack(s, cg_target(p)->lanes, ir_const_data(cg_ir(p), ir_in(n, 1)->konst), out);
    return cg_packed(offset);
}

// The kernel that packs weights for `k`. weight: as cg_kernel() takes it
static int filter_kernel(CgProgram *p, const CgConv *s, const Kernel *k, bool from_vectors) {
    bool winograd = k->emit == cg_conv_winograd;
    CgConvFilter spec = cg_conv_filter(s, winograd, from_vectors);
    int work = 8 * (winograd ? s->kh * s->kw * (s->rows + s->kh) * (s->cols + s->kw) : 16);
    return cg_kernel(p, "filter", k->filter, &spec, sizeof spec, 2, work);
}

static CgArg pack_weights(CgProgram *p, const IrNode *n, const CgConv *s, const Kernel *k) {
    int lanes = cg_target(p)->lanes;
    const IrValue *w = ir_in(n, 1);
    if (ir_attr(n, IR_ATTR_FILTER))
        return cg_read(w);
    char *key = ir_sprintf(cg_arena(p), "conv %s %u %d %d %d", k->algo, w->konst->id, s->vecs,
                           s->group, s->bin);
    int64_t floats = k->floats(s, lanes);
    if (k->pack)
        return pack_now(p, n, s, key, k->pack, floats);
    bool fresh;
    key = ir_sprintf(cg_arena(p), "%s %dx%d", key, s->rows, s->cols);
    CgArg to = cg_prepare(p, key, floats * (int64_t)sizeof(float), &fresh);
    if (fresh) {
        key = ir_sprintf(cg_arena(p), "conv filter %u", w->konst->id);
        CgArg args[] = {
            pack_now(p, n, s, key, cg_conv_pack_vectors, cg_conv_vectors_floats(s, lanes)), to};
        args[CG_CONV_FILTER_TO].write = true;
        cg_init_call(p, filter_kernel(p, s, k, true), 2, args);
    }
    return to;
}

static CgArg pack_bias(CgProgram *p, const IrNode *n, const CgConv *s) {
    int lanes = cg_target(p)->lanes;
    const IrValue *bias = ir_in(n, 2);
    if (!bias->konst)
        return cg_read(bias);
    int64_t offset;
    bool fresh;
    char *key = ir_sprintf(cg_arena(p), "conv bias %u", bias->konst->id);
    size_t floats = (size_t)(s->O + lanes - 1) / (size_t)lanes * (size_t)lanes;
    float *out = cg_pack(p, key, floats * sizeof(float), &offset, &fresh);
    if (fresh)
        memcpy(out, ir_const_data(cg_ir(p), bias->konst), (size_t)s->O * sizeof(float));
    return cg_packed(offset);
}

// What pack_filter's attributes and operand say of the convolution that it packs for
static CgConv read_packing(const IrNode *n) {
    const IrDim *w = ir_in(n, 0)->type.shape.dim;
    IrInts tile = ir_ints(n, IR_ATTR_TILE);
    CgConv s = {.O = (int32_t)w[0].c,
                .kh = (int32_t)w[2].c,
                .kw = (int32_t)w[3].c,
                .bin = (int32_t)ir_int(n, IR_ATTR_BLOCK, 1),
                .group = (int32_t)ir_int(n, IR_ATTR_GROUP, 1)};
    s.C = (int32_t)w[1].c * s.group;
    s.rows = (int32_t)tile.v[0];
    s.cols = (int32_t)tile.v[1];
    s.vecs = (int32_t)tile.v[2];
    return s;
}

// Operand 1 of a conv holds what the conv's kernel wants, in as many elements.
static bool is_packed_for(const IrNode *n, const CgConv *s, const Kernel *k, int lanes) {
    const IrNode *def = ir_in(n, 1)->def;
    if (!def || def->op != IR_OP_PACK_FILTER ||
        find_kernel(ir_str(def, IR_ATTR_ALGO, "")) == NULL ||
        find_kernel(ir_str(def, IR_ATTR_ALGO, ""))->filter != k->filter)
        return false;
    CgConv packed = read_packing(def);
    bool winograd = k->emit == cg_conv_winograd;
    CgConvFilter a = cg_conv_filter(s, winograd, false);
    CgConvFilter b = cg_conv_filter(&packed, winograd, false);
    return memcmp(&a, &b, sizeof a) == 0 && def->out[0]->type.shape.dim[0].c == k->floats(s, lanes);
}

static bool take_prologue(CgProgram *p, const IrNode *n, const Kernel *k, CgConv *s, CgArg *args,
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
    if (k->emit != cg_conv_direct || !cg_conv_prologue_init(s, lanes)) {
        cg_nyi(p, n, "a prologue on a convolution of this form");
        return false;
    }
    cg_scratch(p, cg_conv_prologue_floats(s, lanes) * (int64_t)sizeof(float));
    return true;
}

// The pool behind the epilogue. False after reporting NYI.
static bool take_pool(CgProgram *p, const IrNode *n, const Kernel *k, CgConv *s) {
    if (!ir_attr(n, IR_ATTR_POOL))
        return true;
    IrWindow w = ir_conv_pool(n);
    const IrShape *y = &n->out[0]->type.shape;
    s->pool = (CgConvPool){.kh = (int32_t)w.kh,
                           .kw = (int32_t)w.kw,
                           .sh = (int32_t)w.sh,
                           .sw = (int32_t)w.sw,
                           .pt = (int32_t)w.pt,
                           .pl = (int32_t)w.pl,
                           .OH = (int32_t)y->dim[2].c,
                           .OW = (int32_t)y->dim[3].c};
    bool small = w.kh <= MAX_POOL && w.kw <= MAX_POOL && w.sh <= MAX_POOL && w.sw <= MAX_POOL;
    if (!small || k->emit != cg_conv_direct || s->rows != 1) {
        cg_nyi(p, n, "a pool behind a convolution of this form");
        return false;
    }
    cg_scratch(p, cg_conv_pool_floats(s, cg_target(p)->lanes) * (int64_t)sizeof(float));
    return true;
}

void cg_lower_conv(CgProgram *p, const IrNode *n) {
    int lanes = cg_target(p)->lanes;
    CgTensor x = cg_tensor(ir_in(n, 0)), y = cg_tensor(n->out[0]);
    if (x.dtype != IR_F32) {
        if (ir_attr(n, IR_ATTR_POOL))
            cg_nyi(p, n, "a pool behind a convolution of %s", ir_dtype_name((IrDtype)x.dtype));
        else
            cg_lower_conv_typed(p, n);
        return;
    }
    const char *reason = why_not(n, &x, &y, lanes);
    if (reason) {
        cg_nyi(p, n, "%s", reason);
        return;
    }
    if (cg_spatial(&y) * cg_channels(&y) == 0)
        return; // nothing to write
    CgConv spec;
    memset(&spec, 0, sizeof spec);
    read_node(n, lanes, &spec);
    const char *algo = ir_str(n, IR_ATTR_ALGO, "direct");
    const Kernel *k = find_kernel(algo);
    if (!k || !kernel_fits(k, &spec, lanes))
        ir_bug("lower conv", n->name, "kernel %s or its tile does not fit", algo);
    if (ir_attr(n, IR_ATTR_FILTER) && !is_packed_for(n, &spec, k, lanes))
        ir_bug("lower conv", n->name, "the weights are not packed for kernel %s", algo);
    CgArg args[CG_MAX_ARGS] = {cg_read(ir_in(n, 0)), cg_write(n->out[0])};
    int n_args = 2;
    args[n_args++] = pack_weights(p, n, &spec, k);
    if (spec.bias)
        args[n_args++] = pack_bias(p, n, &spec);
    if (!cg_body_init(p, n, IR_ATTR_THEN, &spec.then, args, &n_args))
        return;
    for (int i = 0; i < spec.then.n_in; i++)
        if (spec.then.in[i].kind == CG_OPERAND_GENERAL) {
            cg_nyi(p, n, "an epilogue operand that broadcasts this way");
            return;
        }
    if (!take_prologue(p, n, k, &spec, args, &n_args) || !take_pool(p, n, k, &spec))
        return;
    if (k->scratch)
        cg_scratch(p, k->scratch(&spec, lanes));
    int64_t flops =
        2 * (int64_t)spec.O * spec.OH * spec.OW * (spec.C / spec.group) * spec.kh * spec.kw;
    int tile = spec.rows * spec.cols * spec.vecs * (k->emit == cg_conv_strassen ? 4 : 1);
    int kernel = cg_kernel(p, "conv", k->emit, &spec, sizeof spec, n_args,
                           tile * spec.kw * cg_conv_unroll(&spec) * 4);
    char *name = ir_sprintf(cg_arena(p), "%s %dx%dx%d%s", algo, spec.rows, spec.cols, spec.vecs,
                            spec.pool.kh ? " pool" : "");
    cg_call(p, n, kernel, n_args, args, name, (IrDim){flops * spec.N.c, flops * spec.N.n});
}

void cg_lower_pack_filter(CgProgram *p, const IrNode *n) {
    CgConv s = read_packing(n);
    const char *algo = ir_str(n, IR_ATTR_ALGO, "");
    const Kernel *k = find_kernel(algo);
    if (!k || !k->filter)
        ir_bug("lower pack_filter", n->name, "no kernel %s", algo);
    CgArg args[] = {cg_read(ir_in(n, 0)), cg_write(n->out[0])};
    cg_call(p, n, filter_kernel(p, &s, k, false), 2, args, algo, (IrDim){0, 0});
}
