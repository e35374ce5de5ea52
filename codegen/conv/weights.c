// A convolution's weights and bias as its kernel reads them: packed while compiling, prepared then
// or when the model is created, or packed by the program itself (pack_filter) where they are not
// constant.
#include "codegen/conv/conv.h"

#include <string.h>

// What weights of one constant share: the order that they are in, the convolution's groups and
// blocks, which that goes by, and the words.
static char *weights_key(CgProgram *p, const IrNode *n, const CgConv *s, const CgConvAlgo *k,
                         int64_t words) {
    return ir_sprintf(cg_arena(p), "conv weights %s %u %d %d %d %lld", k->packed,
                      ir_in(n, 1)->konst->id, s->group, s->bin, s->dw > 1, (long long)words);
}

// Words that row k's pack() makes.
static int64_t count_words(const CgConv *s, const CgConvAlgo *k, int lanes) {
    int64_t vectors = (s->O + lanes - 1) / lanes;
    return k->pack != cg_conv_pack_direct
               ? s->words
               : vectors * cg_conv_panel_words(s, lanes) * s->kh * s->kw * lanes;
}

// ---------------------------------------------------------------- while compiling

typedef struct Packing {
    CgConv s; // as far as packed weights go by it
    CgConvPack *pack;
    const CgTarget *target;
} Packing;

static void fill_words(const void *ctx, const void *data, float *out) {
    const Packing *t = ctx;
    t->pack(&t->s, t->target, data, out);
}

// n's constant weights in the order of row k's pack(), for as long as *t is there.
static CgMake pack_weights(CgProgram *p, const IrNode *n, const CgConv *s, const CgConvAlgo *k,
                           Packing *t) {
    memset(t, 0, sizeof *t);
    t->s = *s;
    memset(&t->s.then, 0, sizeof t->s.then);
    memset(&t->s.pre, 0, sizeof t->s.pre);
    memset(&t->s.pool, 0, sizeof t->s.pool);
    t->pack = k->pack;
    t->target = cg_target(p);
    return (CgMake){
        fill_words, t, sizeof *t, ir_in(n, 1)->konst, count_words(s, k, cg_target(p)->lanes),
        IR_F32};
}

// In the weights section: the same for every tile and every machine, but for kernels that have
// theirs prepared, which take them from the direct one's. Words of several numbers are no floats,
// but as many bytes.
static CgFloats pack_now(CgProgram *p, const char *key, const CgConv *s, const CgMake *m) {
    int64_t offset;
    if (s->dtype == IR_F32)
        return cg_pack_floats(p, key, m);
    CgFloats x = {.make = cg_pack_later(p, key, m, &offset)};
    x.arg = cg_packed(offset);
    return x;
}

// ---------------------------------------------------------------- when a model is created

// The kernel that packs weights
static int prepare_kernel(CgProgram *p, const CgConvFilter *spec, IrConvAlgo algo) {
    const CgConv *s = &spec->s;
    const IrConvTile *t = &s->tile;
    int64_t steps = 16;
    if (t->out_rows) // those of a transform
        steps = (int64_t)s->kh * s->kw * (t->out_rows + s->kh) * (t->out_cols + s->kw);
    return cg_kernel(p, "filter", cg_conv_algo(algo)->prepare, spec, sizeof *spec,
                     2 + spec->scaled, (int)(8 * steps));
}

// Operand 1 of a conv holds what the conv's kernel wants, in as many elements.
static void check_packed(const IrNode *n, IrConvAlgo algo, const CgConv *s) {
    const IrNode *def = ir_in(n, 1)->def;
    IrConvAlgo from;
    bool same = def && def->op == IR_OP_PACK_FILTER && ir_conv_algo(def, &from) &&
                cg_conv_algo(from)->prepare == cg_conv_algo(algo)->prepare;
    if (same) {
        CgConv packed = {0};
        IrConv c = ir_conv_of_filter(def);
        IrConvTile tile = ir_conv_tile(def);
        cg_conv_init(&packed, &c, &tile);
        CgConvFilter a = cg_conv_filter(s, algo, false), b = cg_conv_filter(&packed, from, false);
        same = memcmp(&a, &b, sizeof a) == 0 &&
               def->out[0]->type.shape.dim[0].c == s->words * cg_conv_word(s);
    }
    if (!same)
        ir_bug("lower conv", n->name, "the weights are not packed for kernel %s",
               ir_conv_algo_info(algo)->text);
}

CgArg cg_conv_arg_weights(CgProgram *p, const IrNode *n, IrConvAlgo algo, const CgConv *s) {
    const IrValue *w = ir_in(n, 1);
    const CgConvAlgo *k = cg_conv_algo(algo);
    if (!s->words)
        return cg_read(w);
    if (ir_attr(n, IR_ATTR_FILTER)) {
        check_packed(n, algo, s);
        return cg_read(w);
    }
    bool prepared = ir_conv_algo_info(algo)->flags & IR_CONV_FLAG_FEWER, fresh;
    const CgConvAlgo *stored = prepared ? cg_conv_algo(IR_CONV_DIRECT) : k;
    Packing t;
    CgMake make = pack_weights(p, n, s, stored, &t);
    char *key = weights_key(p, n, s, stored, make.n);
    CgFloats packed = pack_now(p, key, s, &make);
    if (!prepared)
        return cg_widened(p, key, &packed);
    make = pack_weights(p, n, s, k, &t);
    key = ir_sprintf(cg_arena(p), "%s %d %dx%d s%dx%d", weights_key(p, n, s, k, make.n),
                     s->tile.vecs, s->tile.out_rows, s->tile.out_cols, s->sh, s->sw);
    CgArg to = cg_prepare(p, key, &make, &fresh);
    CgConvFilter spec = cg_conv_filter(s, algo, true);
    spec.stored = (int32_t)packed.make->type;
    if (fresh)
        cg_init_call(p, prepare_kernel(p, &spec, algo), packed.arg, to);
    return to;
}

// The table of edges.c, by what it is made of
static CgArg arg_edges(CgProgram *p, const IrNode *n, const CgConv *s) {
    int lanes = cg_target(p)->lanes;
    IrConst *w = ir_in(n, 1)->konst, *bias = ir_in(n, 2) ? ir_in(n, 2)->konst : NULL;
    int64_t zero = ir_int(n, IR_ATTR_ZERO, 0) - s->less, offset;
    char *key = ir_sprintf(cg_arena(p), "conv edges %u %d %lld %d %dx%d>%dx%d s%dx%d d%dx%d p%dx%d",
                           w->id, bias ? (int)bias->id : -1, (long long)zero, s->group, s->H, s->W,
                           s->OH, s->OW, s->sh, s->sw, s->dh, s->dw, s->pt, s->pl);
    bool fresh;
    int32_t *out =
        cg_pack(p, key, (size_t)cg_conv_edge_elems(s, lanes) * sizeof *out, &offset, &fresh);
    if (fresh)
        cg_conv_pack_edges(s, lanes, ir_const_data(cg_ir(p), w),
                           bias ? ir_const_data(cg_ir(p), bias) : NULL, zero, out);
    return cg_packed(offset);
}

// Its only class where no tap is outside
static CgArg arg_whole(CgProgram *p, const IrNode *n, const CgConv *s) {
    CgConv whole = *s;
    whole.H = (s->kh - 1) * s->dh + 1;
    whole.W = (s->kw - 1) * s->dw + 1;
    whole.OH = whole.OW = whole.sh = whole.sw = 1;
    whole.pt = whole.pl = 0;
    return arg_edges(p, n, &whole);
}

CgArg cg_conv_arg_bias(CgProgram *p, const IrNode *n, const CgConv *s) {
    int lanes = cg_target(p)->lanes;
    const IrValue *bias = ir_in(n, 2);
    if (s->bias == CG_CONV_BIAS_WHOLE)
        return arg_whole(p, n, s);
    if (s->bias == CG_CONV_BIAS_PLAIN)
        return cg_read(bias);
    if (s->bias == CG_CONV_BIAS_EDGES)
        return arg_edges(p, n, s);
    int64_t offset;
    bool fresh;
    char *key = ir_sprintf(cg_arena(p), "conv bias %u", bias->konst->id);
    size_t floats = (size_t)(s->O + lanes - 1) / (size_t)lanes * (size_t)lanes;
    float *out = cg_pack(p, key, floats * sizeof(float), &offset, &fresh);
    for (int o = 0; fresh && o < s->O && s->dtype == IR_BF16; o++)
        out[o] = (float)ir_const_scalar(cg_ir(p), bias->konst, o);
    if (fresh && s->dtype != IR_BF16)
        memcpy(out, ir_const_data(cg_ir(p), bias->konst), (size_t)s->O * sizeof(float));
    return cg_packed(offset);
}

void cg_lower_pack_filter(CgProgram *p, const IrNode *n) {
    IrConvAlgo algo;
    if (!ir_conv_algo(n, &algo) || !cg_conv_algo(algo)->prepare)
        ir_bug("lower pack_filter", n->name, "no kernel packs these weights");
    CgConv s;
    memset(&s, 0, sizeof s);
    IrConv c = ir_conv_of_filter(n);
    IrConvTile tile = ir_conv_tile(n);
    cg_conv_init(&s, &c, &tile);
    CgArg args[3] = {cg_read(ir_in(n, 0)), cg_write(n->out[0])};
    if (n->n_in > 1)
        args[CG_CONV_FILTER_FACTOR] = cg_read(ir_in(n, 1));
    if (c.dtype == IR_BF16) // weights are rounded by an instruction, too
        cg_need(p, cg_target_dot(cg_target(p), c.dtype));
    CgConvFilter spec = cg_conv_filter(&s, algo, false);
    spec.stored = (int32_t)ir_in(n, 0)->type.dtype;
    spec.reversed = (int32_t)ir_int(n, IR_ATTR_REVERSE, 0);
    spec.scaled = n->n_in > 1;
    int kernel = prepare_kernel(p, &spec, algo);
    cg_call(p, n, kernel, 2 + spec.scaled, args, ir_conv_algo_info(algo)->text, (IrDim){0, 0});
}
