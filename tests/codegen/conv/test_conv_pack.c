// Bytes of whole pixels, packed from several vectors at once: convolutions of 1 to 7 output vectors
// on matrix tiles, whose results another reads, rounded, with zero points, within narrower bounds,
// by scales that make halves, and ones by which results exceed any word, or bounds beyond which
// they lie; bit for bit as the evaluator has them.
#include "ir/conv.h"
#include "tests/check.h"
#include "tests/codegen/rig/amx.h"
#include "tests/codegen/rig/rig.h"

enum { C = 64, H = 14, W = 14 };

typedef struct Way {
    const char *type, *scale;
    int zero, low, high;
    const char *within; // bounds before it is rounded; NULL: none
} Way;

static const Way ways[] = {
    {"u8", "splat(0.0078125)", 0, 0, 255, NULL},
    {"u8", "splat(0.015625)", 90, 0, 255, NULL},
    {"u8", "splat(0.03125)", 3, 3, 200, NULL},
    {"u8", "splat(-0.0078125)", 0, 0, 40, NULL},
    {"u8", "rand(3)", 128, 0, 255, NULL},
    {"u8", "splat(0.4999)", 200, 0, 255, NULL},
    {"u8", "splat(0.51)", 200, 0, 255, NULL},
    {"u8", "splat(3e7)", 128, 0, 255, NULL},
    {"u8", "splat(0.0078125)", -4, 0, 255, NULL},
    {"u8", "splat(0.4999)", 40000, 0, 255, NULL},
    {"u8", "splat(0.4999)", -33000, 0, 255, NULL},
    {"u8", "splat(0.01)", 9, 0, 255, "min=3e9, max=4e9"},
    {"u8", "splat(0.01)", 9, 0, 255, "min=7, max=2"},
};
static const IrConvTile tiles[] = {
    {.rows = 1, .cols = 16, .vecs = 4, .band = 1000},
    {.rows = 2, .cols = 16, .vecs = 2, .band = 1000},
    {.rows = 1, .cols = 15, .vecs = 3, .band = 2},
    {.rows = 4, .cols = 9, .vecs = 1, .band = 1000},
};
enum { WAYS = sizeof ways / sizeof *ways, TILES = sizeof tiles / sizeof *tiles };

static void add_conv(Rig *r, int k, const char *to, const char *from, int in, int out, IrConvTile t,
                     int zero) {
    char tile[IR_CONV_TILE_TEXT];
    IrConv g = {.dtype = IR_U8,
                .C = in,
                .O = out,
                .H = H,
                .W = W,
                .OH = H,
                .OW = W,
                .x_block = IR_BLOCK,
                .w = {.kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .group = 1}};
    int32_t strips = (int32_t)ir_conv_strips(&g, &t).strips;
    t.band = t.band < strips ? t.band : strips;
    rig_const(r, "%%w%s%d: i8[%d,%d,1,1] = rand(%d)", to, k, out, in, k + out);
    rig_node(r, "%%i%s%d = conv %%%s%d, %%w%s%d {zero=%d, algo=direct_int8_amx, tile=[%s]}", to, k,
             from, k, to, k, zero, ir_conv_tile_print(&t, tile));
}

// i`to`, words, as the bytes `to`
static void add_bytes(Rig *r, int k, const char *to, const Way *w) {
    rig_const(r, "%%z%s%d: f32[] = splat(%d)", to, k, w->zero);
    rig_node(r, "%%f%s%d = cast %%i%s%d {to=f32}", to, k, to, k);
    rig_node(r, "%%m%s%d = mul %%f%s%d, %%s%s%d", to, k, to, k, to, k);
    if (w->within)
        rig_node(r, "%%v%s%d = clip %%m%s%d {%s}", to, k, to, k, w->within);
    rig_node(r, "%%r%s%d = round %%%s%s%d", to, k, w->within ? "v" : "m", to, k);
    rig_node(r, "%%p%s%d = add %%r%s%d, %%z%s%d", to, k, to, k, to, k);
    rig_node(r, "%%l%s%d = clip %%p%s%d {min=%d, max=%d}", to, k, to, k, w->low, w->high);
    rig_node(r, "%%%s%d = cast %%l%s%d {to=%s}", to, k, to, k, w->type);
}

// x to `vecs` vectors of bytes as way w has them, and these to a result
static void add_pair(Rig *r, int k, const Way *w, int vecs, IrConvTile t) {
    static const Way last = {"i8", "splat(0.001)", 0, -128, 127, NULL};
    int out = 16 * vecs;
    rig_input(r, "%%x%d: u8[N,%d,%d,%d]", k, C, H, W);
    rig_const(r, "%%sa%d: f32[1,%d,1,1] = %s", k, out, w->scale);
    rig_const(r, "%%sb%d: f32[] = %s", k, last.scale);
    add_conv(r, k, "a", "x", C, out, t, 90);
    add_bytes(r, k, "a", w);
    add_conv(r, k, "b", "a", out, 64, tiles[0], w->zero < 0 || w->zero > 255 ? 0 : w->zero);
    add_bytes(r, k, "b", &last);
    rig_output(r, "%%b%d", k);
}

static void check_tile(IrConvTile t, const RigRuns *runs) {
    Rig *r = rig_new("sapphirerapids", 2);
    int whole = 0, k = 0;
    rig_amx(r);
    for (int w = 0; w < WAYS; w++)
        for (int vecs = 1; vecs <= 7; vecs += w ? 3 : 1)
            add_pair(r, k++, &ways[w], vecs, t);
    CHECK_INT_EQ(rig_check(r, runs), 0);
    for (const IrNode *n = rig_graph(r)->first; n; n = n->next)
        whole += n->op == IR_OP_CONV && n->out[0]->type.block > IR_BLOCK;
    CHECK(whole > WAYS);
    rig_free(r);
}

static void packs_as_the_evaluator_narrows(void) {
    static const RigRuns runs = {.N = {1, 3}, .n = 2, .threads = {1, 2}, .n_threads = 2};
    for (int i = 0; i < TILES; i++)
        check_tile(tiles[i], &runs);
}

int main(void) {
    CHECK_RUN(packs_as_the_evaluator_narrows);
    return check_done();
}
