// Lowering of conv_wgrad where the schedule says matrix tiles: which operand is transposed, which
// one threads share, and groups, bands and chunks that suit the caches. The kernel: wgrad_amx.c.
#include "codegen/conv/wgrad_amx.h"

#include <string.h>

enum {
    SHARES = 2,      // threads that it is chosen for
    LEAST_UNITS = 4, // for them to share
    TILE_BYTES = 1024,
    MAX_WIDTH = 256,  // of a line of a convolution that sees an image as rows of any length
    MOST_TILES = 64,  // of a band
    CHUNK_TILES = 12, // with one tap
    CHUNK_OF_F32 = 22,
    // cycles for a tile: a product; a copy, read from beyond L2; transposed
    PRODUCT = 16,
    COPY = 110,
    TRANSPOSE = 100,
};
static const int64_t max_scratch = 32 << 20;

// ---------------------------------------------------------------- what it can do

static bool applies(const CgTarget *t, const IrNode *n, const IrConv *c) {
    IrConvAlgo algo;
    return ir_conv_algo(n, &algo) && algo == IR_CONV_DIRECT_BF16_AMX &&
           t->machine.dot_bf16 & IR_DOT_BF16_AMX && ir_conv_wgrad_serves(algo, n, c);
}

// A flat convolution sees each image as rows of any length: the longest that are not too long.
static void flatten(CgWgradSizes *s) {
    int pixels = s->OH * s->OW, width = 1;
    for (int w = 1; w <= cg_min_int(pixels, MAX_WIDTH); w++)
        width = pixels % w == 0 ? w : width;
    if (width > s->OW) {
        s->W = s->OW = width;
        s->H = s->OH = pixels / width;
    }
}

static bool read_node(const IrNode *n, const IrConv *c, CgWgradAmx *s) {
    memset(s, 0, sizeof *s);
    s->plain = !c->x_block;
    s->terms = c->dtype == IR_F32 ? 2 : 1;
    s->rows = s->images = s->chunk = 1;
    if (!cg_conv_wgrad_sizes(n, c, &s->c))
        return false;
    if (c->flat)
        flatten(&s->c);
    return true;
}

// ---------------------------------------------------------------- groups

// Cycles of one thread's share, for each tile of positions
static double cost(const CgWgradAmx *s, const CgWgradAmxShape *w, int left, int right) {
    int groups = cg_ceil_div(left, s->left) * cg_ceil_div(right, s->right);
    double copied = s->terms * ((s->left + s->right) * (double)COPY + s->left * (double)TRANSPOSE);
    double products = (double)(left + left % 2) * (right + right % 2) * w->taps * PRODUCT;
    products *= 2 * s->terms - 1;
    return groups * copied + products;
}

// Blocks of one operand that a thread takes together, so that there is something for each
static int unit_of(int blocks) {
    return cg_ceil_div(blocks, 2) < LEAST_UNITS ? 1 : 2;
}

static int share_of(int blocks, bool split) {
    int unit = unit_of(blocks), share = cg_ceil_div(cg_ceil_div(blocks, unit), SHARES) * unit;
    return split ? cg_min_int(share, blocks) : blocks;
}

// The best group for this choice of operands: its sums stay in L2.
static double choose_group(CgWgradAmx *s, const IrMachine *m) {
    CgWgradAmxShape w = cg_conv_wgrad_amx_shape(s);
    int left = share_of(w.left.blocks, !s->split_right);
    int right = share_of(w.right.blocks, s->split_right);
    s->unit = unit_of(s->split_right ? w.right.blocks : w.left.blocks);
    int64_t most = ir_budget(m, IR_L2_TILE_SUMS) / TILE_BYTES / w.taps;
    CgWgradAmx best = *s;
    double least = 0;
    for (int a = 2; a < left + 2; a += 2)
        for (int b = 2; b < right + 2; b += 2) {
            s->left = cg_min_int(a, left);
            s->right = cg_min_int(b, right);
            double now = cost(s, &w, left, right);
            bool fits = (int64_t)s->left * s->right <= most || (a == 2 && b == 2);
            if (!fits || (least > 0 && now >= least))
                continue;
            least = now;
            best = *s;
        }
    *s = best;
    return least;
}

static void choose_operands(CgWgradAmx *s, const IrMachine *m) {
    CgWgradAmx best = *s;
    double least = 0;
    bool one_tap = s->c.kh * s->c.kw == 1 && s->c.sh == 1 && s->c.sw == 1;
    for (int by_x = 0; by_x <= one_tap; by_x++)
        for (int split_right = 0; split_right <= 1; split_right++) {
            CgWgradAmx now = *s;
            now.by_x = by_x;
            now.split_right = split_right;
            double cycles = choose_group(&now, m);
            if (least > 0 && cycles >= least)
                continue;
            least = cycles;
            best = now;
        }
    *s = best;
}

// ---------------------------------------------------------------- bands and chunks

static bool band_fits(const CgWgradAmx *s, const IrMachine *m) {
    CgWgradAmxShape w = cg_conv_wgrad_amx_shape(s);
    return w.tiles <= MOST_TILES && (w.words - w.left_at) * 4 <= ir_budget(m, IR_L2_TILES);
}

// Rows of an image, or several whole images: as many as stay in L2 beside the sums, cut equally.
static void choose_band(CgWgradAmx *s, const IrMachine *m) {
    CgWgradAmx next = *s;
    while (next.rows < s->c.OH && (next.rows++, band_fits(&next, m)))
        s->rows = next.rows;
    s->rows = cg_ceil_div(s->c.OH, cg_ceil_div(s->c.OH, s->rows));
    next = *s;
    while (s->rows == s->c.OH && (next.images++, band_fits(&next, m)))
        s->images = next.images;
}

// Two blocks of each operand stay in L1; taps read further lines. Of f32, whose products take three
// times as long, they need not: chunks as long as bands took .92 of the time of those that fit.
static void choose_chunk(CgWgradAmx *s) {
    CgWgradAmxShape w = cg_conv_wgrad_amx_shape(s);
    int beyond = (s->by_x ? 0 : w.right.halo) * w.pitch / IR_BLOCK;
    int fit = cg_max_int(CHUNK_TILES / 2, CHUNK_TILES - beyond);
    int most = s->terms > 1 ? CHUNK_OF_F32 : fit;
    s->chunk = cg_ceil_div(w.tiles, cg_ceil_div(w.tiles, most));
}

bool cg_conv_wgrad_by_amx(CgProgram *p, const IrNode *n, const IrConv *c) {
    const CgTarget *t = cg_target(p);
    CgWgradAmx s;
    if (!applies(t, n, c) || !read_node(n, c, &s))
        return false;
    choose_operands(&s, &t->machine);
    choose_band(&s, &t->machine);
    choose_chunk(&s);
    CgWgradAmxShape w = cg_conv_wgrad_amx_shape(&s);
    if (w.words * 4 > max_scratch) {
        cg_nyi(p, n, "conv_wgrad with a window this large");
        return true;
    }
    cg_scratch(p, w.words * 4);
    cg_need(p, cg_target_amx(IR_BF16));
    if (s.terms > 1) // numbers are rounded by an instruction
        cg_need(p, cg_target_dot(t, IR_BF16));
    CgArg args[] = {cg_write(n->out[0]), cg_read(ir_in(n, 0)), cg_read(ir_in(n, 1))};
    int kernel = cg_kernel(p, "conv_wgrad_amx", cg_conv_wgrad_amx, &s, sizeof s, 3, 2000);
    int64_t flops = 2 * ir_conv_products(c);
    const char *name = ir_sprintf(cg_arena(p), "amx %dx%d", s.left, s.right);
    cg_call(p, n, kernel, 3, args, name, (IrDim){flops * s.c.N.c, flops * s.c.N.n});
    return true;
}
