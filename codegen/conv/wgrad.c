// Lowering of conv_wgrad: chooses the register tile, the chunks of pixels and the groups of pieces
// that suit the caches, and calls the kernel. Figures of performance: tests/bench/wgrad_bench.c.
#include "codegen/conv/wgrad_amx.h"
#include "codegen/conv/wgrad_winograd.h"
#include "ir/conv.h"

#include <string.h>

enum {
    MAX_CHUNK = 128,   // pixels
    LEAST_PIECES = 4,  // to share among threads
    LEAST_SUMS = 12,   // registers: with fewer, products wait for the sums before them
    MAX_COLUMNS = 128, // of a kernel: they are unrolled
    MAX_TAPS = 1 << 16,
    MAX_GROUP_BYTES = 32 << 20,
};

static bool is_paired(const IrNode *n) {
    for (int i = 0; i < 2; i++)
        if (!ir_in(n, i)->def || ir_in(n, i)->def->op != IR_OP_PAIR_IMAGES)
            return false;
    return true;
}

static const char *why_not(const IrNode *n, const IrConv *c, int lanes) {
    const IrWindow *w = &c->w;
    if (c->dtype != IR_F32 && (!is_paired(n) || c->x_block != lanes || w->group != 1))
        return "conv_wgrad of other types than f32";
    if (c->y_block != lanes || (c->x_block && c->x_block != lanes) || n->out[0]->type.block)
        return "conv_wgrad in this layout";
    if (w->kw > MAX_COLUMNS || w->kh * w->kw > MAX_TAPS)
        return "conv_wgrad with a window this large";
    return NULL;
}

// A flat convolution sees each image as rows of any length: the longest that suits a chunk.
static void flatten(CgWgradSizes *s) {
    int pixels = s->H * s->W, width = 0;
    for (int w = 1; w <= cg_min_int(pixels, MAX_CHUNK); w++)
        width = pixels % w == 0 ? w : width;
    if (width > s->W || s->W > MAX_CHUNK) {
        s->W = s->OW = width;
        s->H = s->OH = pixels / width;
    }
}

static bool read_node(const IrNode *n, const IrConv *c, CgWgrad *s) {
    memset(s, 0, sizeof *s);
    s->bin = c->x_block ? c->x_block : 1;
    s->pairs = c->dtype == IR_BF16;
    if (!cg_conv_wgrad_sizes(n, c, &s->c))
        return false;
    if (c->flat)
        flatten(&s->c);
    return true;
}

static void choose_tile(CgWgrad *s, const CgTarget *t) {
    const IrMachine *m = &t->machine;
    int lanes = t->lanes, cg = cg_conv_wgrad_group_channels(s), blocks = cg_ceil_div(s->c.O, lanes);
    int parts = ir_parts(m), registers = ir_tile_registers(m);
    s->lanewise =
        s->c.group > 1 && s->c.C == s->c.O && s->bin == lanes && cg < lanes && lanes % cg == 0;
    s->vecs = 1;
    if (s->lanewise || s->bin == 1) {
        // Where broadcasts are no operands of products and each is used once, accumulators wander
        // and need room to.
        bool wander = !m->broadcast && (parts == 1 || s->lanewise);
        int others = (wander ? 5 : 1) + (m->by_lane ? parts : 1); // dy's vector among them
        int n = cg * s->c.kw, room = (registers - others) / parts - (s->lanewise ? cg : 0);
        s->terms = cg_min_int(n, cg_max_int(1, room));
        if (!s->lanewise)
            s->vecs = cg_max_int(1, cg_min_int(blocks, (registers - 1) / ((s->terms + 1) * parts)));
        return;
    }
    if (s->c.group > 1 && cg_conv_wgrad_pairing(s, lanes) == CG_PAIR_ALL)
        blocks /= s->c.group;
    s->vecs = m->broadcast ? 2 : cg_max_int(1, 3 / parts);
    int most = (registers - 1) / (s->vecs * parts) - 1;
    s->terms = cg_min_int(s->c.C, cg_min_int(most, m->broadcast ? 8 : 4));
    s->part = s->terms;
    // too few sums: a whole block of x, cut into sets of as many terms as fit
    if (s->terms * s->vecs * parts < LEAST_SUMS && most > s->terms && cg % s->bin == 0) {
        s->terms = most;
        s->part = s->bin;
    }
    if (cg_conv_wgrad_pairing(s, lanes) == CG_PAIR_RANGES)
        s->vecs = 1;
    s->vecs = cg_min_int(s->vecs, blocks);
}

static void choose_chunk(CgWgrad *s, const IrMachine *m, int lanes) {
    // bytes of an output pixel: dy's vectors and x's block
    int64_t pixel = (int64_t)(s->vecs * lanes + s->bin * s->c.sw) * 4;
    int pixels = (int)(ir_budget(m, IR_L1_CHUNK) / (pixel > 0 ? pixel : 1));
    pixels = cg_max_int(1, cg_min_int(pixels, MAX_CHUNK));
    s->rows = cg_max_int(1, cg_min_int(s->c.OH, (pixels + s->c.OW / 4) / cg_max_int(1, s->c.OW)));
    s->rows = cg_max_int(1, cg_ceil_div(s->c.OH, cg_ceil_div(s->c.OH, s->rows)));
    s->images = s->rows < s->c.OH ? 1 : cg_max_int(1, pixels / cg_max_int(1, s->c.OH * s->c.OW));
}

// How many pieces of a group: their sums fit, and the blocks of x and output tiles that they go
// over make it about as wide as high.
static void choose_group(CgWgrad *s, const IrMachine *m, int lanes) {
    s->i_blocks = 1;
    CgWgradPieces u = cg_conv_wgrad_pieces(s, lanes);
    int64_t most = ir_budget(m, IR_L2_SUMS) / (u.floats * 4);
    most = most < 1 ? 1 : most > u.n ? u.n : most;
    s->pieces = (int32_t)most;
    int64_t block = (int64_t)s->images * s->rows * s->c.OW * s->c.sw * s->bin * 4;
    int width = 1, fit = (int)(ir_budget(m, IR_L2_BLOCKS) / (block > 0 ? block : 1));
    while ((int64_t)width * width * s->bin < most * lanes * s->vecs && width < fit)
        width++;
    s->i_blocks = cg_max_int(1, cg_min_int(u.i_blocks, width));
}

void cg_lower_conv_wgrad(CgProgram *p, const IrNode *n) {
    const CgTarget *t = cg_target(p);
    IrConv c = ir_conv(n);
    if (cg_conv_wgrad_by_winograd(p, n, &c) || cg_conv_wgrad_by_amx(p, n, &c))
        return;
    CgWgrad s;
    const char *reason = why_not(n, &c, t->lanes);
    if (!reason && !read_node(n, &c, &s))
        reason = "conv_wgrad of sizes this large";
    if (reason) {
        cg_nyi(p, n, "%s", reason);
        return;
    }
    if ((int64_t)s.c.O * s.c.C * s.c.kh * s.c.kw == 0)
        return; // nothing to write
    choose_tile(&s, t);
    while (s.vecs > 1 && cg_conv_wgrad_pieces(&s, t->lanes).n < LEAST_PIECES)
        s.vecs--;
    if (s.bin == 1 && (s.c.group > 1 || s.c.C > 4)) {
        cg_nyi(p, n, "conv_wgrad of this plain input");
        return;
    }
    choose_chunk(&s, &t->machine, t->lanes);
    choose_group(&s, &t->machine, t->lanes);
    int64_t bytes = cg_conv_wgrad_pieces(&s, t->lanes).floats * s.pieces * 4;
    if (bytes > MAX_GROUP_BYTES) {
        cg_nyi(p, n, "conv_wgrad with a window this large");
        return;
    }
    cg_scratch(p, bytes);
    CgArg args[] = {cg_write(n->out[0]), cg_read(ir_in(n, 0)), cg_read(ir_in(n, 1))};
    int64_t flops =
        2 * (int64_t)s.c.O * s.c.OH * s.c.OW * cg_conv_wgrad_group_channels(&s) * s.c.kh * s.c.kw;
    int kernel = cg_kernel(p, "conv_wgrad", cg_conv_wgrad, &s, sizeof s, 3,
                           s.terms * s.vecs * s.c.kw * 16 + 500);
    if (s.pairs) // of the 2N images that the operands have, half are there
        flops /= 2;
    const char *kind = s.lanewise ? "lanes" : s.bin == 1 ? "plain" : s.pairs ? "pairs" : "wgrad";
    char *name = ir_sprintf(cg_arena(p), "%s %dx%d", kind, s.terms, s.vecs);
    cg_call(p, n, kernel, 3, args, name, (IrDim){flops * s.c.N.c, flops * s.c.N.n});
}
