// Pack filters: weights that the program computes or is given are put in the order of their
// convolution's kernel when it runs. Constant ones are packed by the code generator.
//
//   before  %y: f32[N,64,56,56]{nChw16c} = conv %x, %w {pad=[1,1,1,1], algo=direct,
//               tile=[1,14,2,14]}
//   after   %p: f32[36864] = pack_filter %w {group=1, shape=[36864], algo=direct,
//               tile=[1,14,2,14], block=16}
//           %y: f32[N,64,56,56]{nChw16c} = conv %x, %p {pad=[1,1,1,1], algo=direct,
//               tile=[1,14,2,14], filter=[64,64,3,3]}
//
// The sizes are those of codegen/conv/pack.c and conv_winograd_pack.c: rows of whole vectors of
// output channels and, where groups do not fill input blocks, the channels of a panel's blocks.

#include "passes/util.h"
#include <string.h>

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

// Input channels of a panel of the direct kernel: those of all blocks that the groups of one output
// vector read.
static int64_t panel_channels(int64_t O, int64_t C, int64_t group, int64_t block, int64_t lanes) {
    int64_t og = O / group, cg = C / group, most = 0;
    if (group == 1)
        return C;
    for (int64_t first = 0; first < O; first += lanes) {
        int64_t last = first + lanes < O ? first + lanes - 1 : O - 1;
        int64_t blocks = ceil_div((last / og + 1) * cg, block) - first / og * cg / block;
        most = blocks > most ? blocks : most;
    }
    return most * block;
}

// Elements of the packed weights
static int64_t packed_size(const IrNode *n, int64_t block, int64_t lanes) {
    IrShape w = ir_filter_shape(n);
    const int64_t *tile = ir_ints(n, IR_ATTR_TILE).v;
    const char *algo = ir_str(n, IR_ATTR_ALGO, "");
    int64_t O = w.dim[0].c, I = w.dim[1].c, kh = w.dim[2].c, kw = w.dim[3].c;
    int64_t group = ir_int(n, IR_ATTR_GROUP, 1), rows = ceil_div(O, lanes) * lanes;
    if (strncmp(algo, "winograd", 8) == 0)
        return rows * I * (tile[0] + kh - 1) * (tile[1] + kw - 1);
    if (strcmp(algo, "direct") == 0)
        I = panel_channels(O, I * group, group, block, lanes);
    return rows * I * kh * kw;
}

// What the code generator's own limits allow: sizes stay far from overflow.
static bool is_small(const IrNode *n) {
    enum { MOST = 1 << 28 };
    IrShape w = ir_filter_shape(n);
    int64_t product = ir_int(n, IR_ATTR_GROUP, 1);
    for (int i = 0; i < 4; i++)
        if (w.dim[i].c > MOST || product > MOST || (product *= w.dim[i].c) > MOST)
            return false;
    return true;
}

static void pack_filter(IrNode *n, int64_t lanes) {
    IrArena *a = n->graph->prog->arena;
    IrValue *w = ir_in(n, 1);
    int64_t block = ir_in(n, 0)->type.block ? lanes : 1;
    IrShape filter = w->type.shape, packed = {1, {ir_dim(packed_size(n, block, lanes))}};
    IrInts tile = ir_ints(n, IR_ATTR_TILE);
    const IrAttr attrs[] = {
        ir_attr_i(IR_ATTR_GROUP, ir_int(n, IR_ATTR_GROUP, 1)), ir_attr_dims(IR_ATTR_SHAPE, &packed),
        ir_attr_s(IR_ATTR_ALGO, ir_str(n, IR_ATTR_ALGO, "")),
        ir_attr_ints(a, IR_ATTR_TILE, tile.n, tile.v), ir_attr_i(IR_ATTR_BLOCK, block)};
    IrBuilder b = pass_before(n);
    IrValue *p = ir_build(&b, IR_OP_PACK_FILTER, 1, &w, sizeof attrs / sizeof *attrs, attrs);
    if (!p)
        ir_bug("pack_filters", n->name, "%s", b.err);
    ir_set_in(n, 1, p);
    ir_set_attr(n, ir_attr_dims(IR_ATTR_FILTER, &filter));
}

// Others are reported by the code generator.
static bool needs_packing(const IrNode *n) {
    if (n->op != IR_OP_CONV || ir_attr(n, IR_ATTR_FILTER))
        return false;
    const IrValue *w = ir_in(n, 1);
    return !w->konst && w->type.dtype == IR_F32 && ir_attr(n, IR_ATTR_ALGO) &&
           ir_ints(n, IR_ATTR_TILE).n == 4 && is_small(n);
}

PassResult pass_pack_filters(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->first; n && ctx->opt->block > 1; n = n->next) {
        if (needs_packing(n)) {
            pack_filter(n, ctx->opt->block);
            r.changes++;
        }
    }
    return r;
}
