// Lowering of conv: reads the schedule's choice, packs the weights for it and calls the kernel.
#include "codegen/conv.h"

#include <limits.h>
#include <string.h>

// The kernel that `algo` of the schedule names.
typedef struct Kernel {
    const char *algo;
    CgEmit emit;
    int64_t (*floats)(const CgConv *s, int lanes);
    void (*pack)(const CgConv *s, int lanes, const float *w, float *out);
    int64_t (*scratch)(const CgConv *s, int lanes); // bytes a thread, or NULL
} Kernel;

static const Kernel kernels[] = {
    {"direct", cg_conv_direct, cg_conv_direct_floats, cg_conv_pack_direct, NULL},
    {"grouped", cg_conv_lanewise, cg_conv_lanewise_floats, cg_conv_pack_lanewise, NULL},
    {"depthwise", cg_conv_lanewise, cg_conv_lanewise_floats, cg_conv_pack_lanewise, NULL},
    {"winograd2", cg_conv_winograd, cg_conv_winograd_floats, cg_conv_pack_winograd,
     cg_conv_winograd_scratch},
    {"winograd4", cg_conv_winograd, cg_conv_winograd_floats, cg_conv_pack_winograd,
     cg_conv_winograd_scratch},
};

static const Kernel *find_kernel(const char *algo) {
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        if (strcmp(kernels[i].algo, algo) == 0)
            return &kernels[i];
    return NULL;
}

enum { MAX_KERNEL_COLUMNS = 128 }; // kernel columns are unrolled

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
    return tile_ok(s) && (k->emit != cg_conv_lanewise || cg_conv_is_lanewise(s, lanes));
}

static const char *why_not(const IrNode *n, const CgTensor *x, const CgTensor *y, int lanes) {
    const IrValue *w = ir_in(n, 1);
    if (x->dtype != IR_F32)
        return "conv of other types than f32";
    if (!w->konst)
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
    int64_t weights = cg_channels(y) * cg_channels(x) * w->type.shape.dim[2].c;
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
    IrWindow win = ir_window(n);
    CgTensor x = cg_tensor(ir_in(n, 0)), y = cg_tensor(n->out[0]);
    IrInts tile = ir_ints(n, IR_ATTR_TILE);
    *s = (CgConv){
        .C = (int32_t)x.dim[1].c,
        .O = (int32_t)y.dim[1].c,
        .H = (int32_t)x.dim[2].c,
        .W = (int32_t)x.dim[3].c,
        .OH = (int32_t)y.dim[2].c,
        .OW = (int32_t)y.dim[3].c,
        .bin = x.block ? x.block : 1,
        .kh = (int32_t)win.kh,
        .kw = (int32_t)win.kw,
        .sh = (int32_t)win.sh,
        .sw = (int32_t)win.sw,
        .dh = (int32_t)win.dh,
        .dw = (int32_t)win.dw,
        .pt = (int32_t)win.pt,
        .pl = (int32_t)win.pl,
        .group = (int32_t)win.group,
        .rows = 1,
        .cols = 4,
        .vecs = 1,
        .bias = bias_kind(n),
        .x_image = x.image,
        .y_image = y.image,
        .N = y.dim[0],
    };
    if (tile.n >= 3) {
        s->rows = (int32_t)tile.v[0];
        s->cols = (int32_t)tile.v[1];
        s->vecs = (int32_t)tile.v[2];
        s->band = tile.n > 3 ? (int32_t)tile.v[3] : 0;
    }
    bool flat = s->kh == 1 && s->kw == 1 && s->sh == 1 && s->sw == 1 && s->pt == 0 && s->pl == 0 &&
                s->OH == s->H && s->OW == s->W;
    if (flat && !cg_conv_is_lanewise(s, lanes)) {
        s->H = s->OH = s->H * s->W;
        s->W = s->OW = 1;
        s->rows = s->rows * s->cols;
        s->cols = 1;
    }
}

static CgArg pack_weights(CgProgram *p, const IrNode *n, const CgConv *s, const Kernel *k) {
    int lanes = cg_target(p)->lanes;
    IrConst *w = ir_in(n, 1)->konst;
    int64_t offset;
    bool fresh;
    bool wino = k->emit == cg_conv_winograd; // its weights depend on the output tile
    char *key = ir_sprintf(cg_arena(p), "conv %s %s/%u %d %d %d %d %d", k->algo, n->graph->name,
                           ir_in(n, 1)->id, s->vecs, s->group, s->bin, wino ? s->rows : 0,
                           wino ? s->cols : 0);
    float *out = cg_pack(p, key, (size_t)k->floats(s, lanes) * sizeof(float), &offset, &fresh);
    if (fresh)
        k->pack(s, lanes, ir_const_data(cg_ir(p), w), out);
    return cg_packed(offset);
}

static CgArg pack_bias(CgProgram *p, const IrNode *n, const CgConv *s) {
    int lanes = cg_target(p)->lanes;
    const IrValue *bias = ir_in(n, 2);
    if (!bias->konst)
        return cg_read(bias);
    int64_t offset;
    bool fresh;
    char *key = ir_sprintf(cg_arena(p), "conv bias %s/%u", n->graph->name, bias->id);
    size_t floats = (size_t)(s->O + lanes - 1) / (size_t)lanes * (size_t)lanes;
    float *out = cg_pack(p, key, floats * sizeof(float), &offset, &fresh);
    if (fresh)
        memcpy(out, ir_const_data(cg_ir(p), bias->konst), (size_t)s->O * sizeof(float));
    return cg_packed(offset);
}

void cg_lower_conv(CgProgram *p, const IrNode *n) {
    int lanes = cg_target(p)->lanes;
    CgTensor x = cg_tensor(ir_in(n, 0)), y = cg_tensor(n->out[0]);
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
    if (k->scratch)
        cg_scratch(p, k->scratch(&spec, lanes));
    int64_t flops =
        2 * (int64_t)spec.O * spec.OH * spec.OW * (spec.C / spec.group) * spec.kh * spec.kw;
    int tile = spec.rows * spec.cols * spec.vecs;
    int kernel = cg_kernel(p, "conv", k->emit, &spec, sizeof spec, n_args,
                           tile * spec.kw * cg_conv_unroll(&spec) * 4);
    char *name = ir_sprintf(cg_arena(p), "%s %dx%dx%d", algo, spec.rows, spec.cols, spec.vecs);
    cg_call(p, n, kernel, n_args, args, name, (IrDim){flops * spec.N.c, flops * spec.N.n});
}
