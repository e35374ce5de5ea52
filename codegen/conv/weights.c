// A convolution's weights and bias as its kernel reads them: packed while compiling, by a kernel
// when the model is created, or by the program itself (pack_filter) where they are not constant.
#include "codegen/conv/conv.h"

#include <string.h>

// n's constant weights in the weights section, in the order that pack() gives them
static CgArg pack_now(CgProgram *p, const IrNode *n, const CgConv *s, const char *key,
                      CgConvPack *pack, int64_t floats) {
    int64_t offset;
    bool fresh;
    float *out = cg_pack(p, key, (size_t)floats * sizeof *out, &offset, &fresh);
    if (fresh)
        pack(s, cg_target(p)->lanes, ir_const_data(cg_ir(p), ir_in(n, 1)->konst), out);
    return cg_packed(offset);
}

// The kernel that packs weights. weight: as cg_kernel() takes it
static int prepare_kernel(CgProgram *p, const CgConv *s, IrConvAlgo algo, bool from_vectors) {
    const IrConvTile *t = &s->tile;
    CgConvFilter spec = cg_conv_filter(s, from_vectors);
    int transforms = s->kh * s->kw * (t->out_rows + s->kh) * (t->out_cols + s->kw);
    return cg_kernel(p, "filter", cg_conv_algo(algo)->prepare, &spec, sizeof spec, 2,
                     8 * (t->out_rows ? transforms : 16));
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
        CgConvFilter a = cg_conv_filter(s, false), b = cg_conv_filter(&packed, false);
        same = memcmp(&a, &b, sizeof a) == 0 && def->out[0]->type.shape.dim[0].c == s->floats;
    }
    if (!same)
        ir_bug("lower conv", n->name, "the weights are not packed for kernel %s",
               ir_conv_algo_info(algo)->text);
}

CgArg cg_conv_arg_weights(CgProgram *p, const IrNode *n, IrConvAlgo algo, const CgConv *s) {
    const IrValue *w = ir_in(n, 1);
    const CgConvAlgo *k = cg_conv_algo(algo);
    if (!s->floats)
        return cg_read(w);
    if (ir_attr(n, IR_ATTR_FILTER)) {
        check_packed(n, algo, s);
        return cg_read(w);
    }
    const char *name = ir_conv_algo_info(algo)->text;
    char *key = ir_sprintf(cg_arena(p), "conv %s %u %d %d %d", name, w->konst->id, s->tile.vecs,
                           s->group, s->bin);
    if (k->pack)
        return pack_now(p, n, s, key, k->pack, s->floats);
    bool fresh;
    key = ir_sprintf(cg_arena(p), "%s %dx%d", key, s->tile.out_rows, s->tile.out_cols);
    CgArg to = cg_prepare(p, key, s->floats * (int64_t)sizeof(float), &fresh);
    if (fresh) {
        int lanes = cg_target(p)->lanes;
        key = ir_sprintf(cg_arena(p), "conv filter %u", w->konst->id);
        CgArg args[] = {
            pack_now(p, n, s, key, cg_conv_pack_vectors, cg_conv_vectors_floats(s, lanes)), to};
        args[CG_CONV_FILTER_TO].write = true;
        cg_init_call(p, prepare_kernel(p, s, algo, true), 2, args);
    }
    return to;
}

CgArg cg_conv_arg_bias(CgProgram *p, const IrNode *n, const CgConv *s) {
    int lanes = cg_target(p)->lanes;
    const IrValue *bias = ir_in(n, 2);
    if (s->bias == CG_CONV_BIAS_PLAIN)
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

void cg_lower_pack_filter(CgProgram *p, const IrNode *n) {
    IrConvAlgo algo;
    if (!ir_conv_algo(n, &algo) || !cg_conv_algo(algo)->prepare)
        ir_bug("lower pack_filter", n->name, "no kernel packs these weights");
    CgConv s;
    memset(&s, 0, sizeof s);
    IrConv c = ir_conv_of_filter(n);
    IrConvTile tile = ir_conv_tile(n);
    cg_conv_init(&s, &c, &tile);
    CgArg args[] = {cg_read(ir_in(n, 0)), cg_write(n->out[0])};
    cg_call(p, n, prepare_kernel(p, &s, algo, false), 2, args, ir_conv_algo_info(algo)->text,
            (IrDim){0, 0});
}
