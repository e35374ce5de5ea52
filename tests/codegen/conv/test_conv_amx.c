// Convolutions on matrix tiles, of bytes bit for bit and of bf16, against the evaluator: shapes
// with every kind of edge, run and piece, each with all strips of tiles that there are, on the
// machine code that an AMX machine runs (rig/amx.h). Also: that products are the instructions they
// should be, that the schedule takes them there and nowhere else, and whole quantized blocks.
#include "ir/conv.h"
#include "runtime/core/cpu_features.h"
#include "runtime/core/rt.h"
#include "tests/check.h"
#include "tests/codegen/conv/conv_sizes.h"
#include "tests/codegen/rig/amx.h"
#include "tests/codegen/rig/rig.h"

#include <string.h>

static const Conv shapes[] = {
    // 1x1: one piece, several, pieces of odd sizes, filled-up pixels, images of one pixel, strides
    {16, 4, 4, 16, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {64, 9, 7, 64, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {144, 6, 6, 24, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {272, 5, 3, 40, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {18, 5, 7, 34, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {64, 1, 1, 100, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {32, 9, 9, 80, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0, 1},
    {32, 9, 11, 48, 1, 1, 3, 2, 1, 1, 1, 2, 0, 1, 1},
    // stems: a block of 4 channels
    {3, 19, 22, 40, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3, 1},
    {4, 11, 36, 20, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {2, 7, 8, 16, 1, 1, 1, 2, 1, 1, 0, 0, 0, 0, 1},
    // larger kernels: rows of the result longer than a tile, shorter, strides, dilations, edges
    {32, 7, 7, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {48, 3, 36, 40, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {20, 9, 17, 80, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1},
    {16, 9, 9, 16, 3, 3, 1, 1, 1, 1, 0, 1, 2, 0, 1},
    {10, 10, 13, 12, 2, 4, 1, 1, 1, 1, 1, 0, 0, 3, 1},
    {32, 5, 17, 48, 1, 7, 1, 1, 1, 1, 0, 3, 0, 3, 1},
    {32, 17, 3, 48, 7, 1, 1, 1, 1, 1, 3, 0, 3, 0, 1},
    {8, 3, 3, 10, 7, 7, 1, 1, 1, 1, 3, 3, 3, 3, 1},
    {6, 1, 1, 6, 5, 5, 1, 1, 1, 1, 4, 4, 4, 4, 1},
    {16, 12, 12, 16, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2, 1},
    {12, 15, 20, 20, 3, 3, 2, 1, 3, 2, 3, 2, 1, 4, 1},
    {70, 4, 5, 40, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {16, 12, 1, 16, 3, 1, 2, 1, 1, 1, 1, 0, 1, 0, 1},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

// Each shape has an eighth of them finished at once and another one between products. Tiles full
// and not, tasks in bands of one strip, of some, of all.
static const IrConvTile tiles[] = {
    {.rows = 2, .cols = 16, .vecs = 2, .band = 1},
    {.rows = 2, .cols = 16, .vecs = 2, .band = 1000},
    {.rows = 4, .cols = 7, .vecs = 1, .band = 2},
    {.rows = 1, .cols = 16, .vecs = 4, .band = 3},
    {.rows = 3, .cols = 5, .vecs = 1, .band = 1},
    {.rows = 1, .cols = 3, .vecs = 3, .band = 1},
    {.rows = 1, .cols = 9, .vecs = 2, .band = 1000},
    {.rows = 2, .cols = 16, .vecs = 1, .band = 2},
};
enum { N_TILES = sizeof tiles / sizeof *tiles };

static IrConv geometry(const Conv *c, IrDtype type) {
    return (IrConv){.dtype = type,
                    .C = c->C,
                    .O = c->O,
                    .H = c->H,
                    .W = c->W,
                    .OH = conv_out_height(c),
                    .OW = conv_out_width(c),
                    .w = {.kh = c->kh,
                          .kw = c->kw,
                          .sh = c->sh,
                          .sw = c->sw,
                          .dh = c->dh,
                          .dw = c->dw,
                          .pt = c->pt,
                          .pl = c->pl,
                          .group = 1},
                    .x_block = c->C <= 4 ? 4 : 16};
}

// The conv's attributes, with a tile cut down to what the shape has: of each number tile, at_once,
// over. -1: the schedule's; k times IMAGES more: bands of k whole images
enum { IMAGES = 100, WAYS = 4 };
static const char *attributes(const Conv *c, IrDtype type, int number, char *text, size_t size) {
    int n = snprintf(text, size, "stride=[%d,%d], pad=[%d,%d,%d,%d], dilation=[%d,%d]", c->sh,
                     c->sw, c->pt, c->pl, c->pb, c->pr, c->dh, c->dw);
    if (number < 0)
        return text;
    IrConv g = geometry(c, type);
    IrConvTile t = tiles[number % IMAGES / WAYS];
    t.over = number % 2 && ir_conv_goes_over(&g);
    t.at_once = number / 2 % 2;
    int32_t strips = (int32_t)ir_conv_strips(&g, &t).strips;
    t.band = number >= IMAGES ? number / IMAGES * strips : t.band < strips ? t.band : strips;
    char tile[IR_CONV_TILE_TEXT];
    snprintf(text + n, size - (size_t)n, ", algo=%s, tile=[%s]",
             type == IR_BF16 ? "direct_bf16_amx" : "direct_int8_amx", ir_conv_tile_print(&t, tile));
    return text;
}

static void add_bytes(Rig *r, const char *to, const char *from, const char *type, int scale,
                      int shift, int k) {
    rig_const(r, "%%%ss%d: f32[] = splat(%d)", to, k, scale);
    rig_const(r, "%%%st%d: f32[] = splat(%d)", to, k, shift);
    rig_node(r, "%%%sm%d = mul %s%d, %%%ss%d", to, k, from, k, to, k);
    rig_node(r, "%%%sa%d = add %%%sm%d, %%%st%d", to, k, to, k, to, k);
    rig_node(r, "%%%s%d = cast %%%sa%d {to=%s}", to, k, to, k, type);
}

// Zero points 0, at the ends and between; no bias, a constant one, one that is computed.
static void add_int8(Rig *r, int k, const Conv *c, int number) {
    static const int zeros[] = {0, 255, 128, 3};
    char text[256];
    const char *bias = "";
    rig_input(r, "%%x%d: f32[N,%d,%d,%d]", k, c->C, c->H, c->W);
    rig_const(r, "%%v%d: f32[%d,%d,%d,%d] = rand(%d)", k, c->O, c->C, c->kh, c->kw, k);
    add_bytes(r, "q", "%x", "u8", 200, 128, k);
    add_bytes(r, "w", "%v", "i8", 180, 0, k);
    if (k % 4 == 0) {
        rig_input(r, "%%e%d: i32[%d]", k, c->O);
        rig_node(r, "%%d%d = neg %%e%d", k, k);
    } else if (k % 3) {
        rig_const(r, "%%d%d: i32[%d] = rand(%d)", k, c->O, 1000 + k);
    }
    char name[16] = "";
    if (k % 4 == 0 || k % 3)
        snprintf(name, sizeof name, ", %%d%d", k);
    bias = name;
    rig_node(r, "%%c%d = conv %%q%d, %%w%d%s {%s, zero=%d}", k, k, k, bias,
             attributes(c, IR_U8, number, text, sizeof text), zeros[k % 4]);
    rig_output(r, "%%c%d", k);
}

// The epilogue of a quantized network: scale per channel, for every other one a residual, and
// bytes.
static void add_epilogue(Rig *r, int k, const Conv *c) {
    IrConv g = geometry(c, IR_U8);
    rig_const(r, "%%k%d: f32[%d,1,1] = rand(%d)", k, c->O, 2000 + k);
    rig_const(r, "%%z%d: f32[] = splat(100)", k);
    rig_node(r, "%%f%d = cast %%c%d {to=f32}", k, k);
    rig_node(r, "%%g%d = mul %%f%d, %%k%d", k, k, k);
    if (k % 2) {
        rig_input(r, "%%y%d: u8[N,%d,%d,%d]", k, c->O, (int)g.OH, (int)g.OW);
        rig_node(r, "%%h%d = max_pool %%y%d {kernel=[1,1]}", k, k);
        rig_node(r, "%%i%d = cast %%h%d {to=f32}", k, k);
        rig_node(r, "%%j%d = mul %%i%d, %%z%d", k, k, k);
        rig_node(r, "%%l%d = add %%g%d, %%j%d", k, k, k);
    } else {
        rig_node(r, "%%l%d = relu %%g%d", k, k);
    }
    rig_node(r, "%%n%d = round %%l%d", k, k);
    rig_node(r, "%%o%d = add %%n%d, %%z%d", k, k, k);
    rig_node(r, "%%p%d = clip %%o%d {min=0, max=255}", k, k);
    rig_node(r, "%%r%d = cast %%p%d {to=u8}", k, k);
    rig_output(r, "%%r%d", k);
}

static void add_bf16(Rig *r, int k, const Conv *c, int number) {
    char text[256];
    rig_input(r, "%%x%d: bf16[N,%d,%d,%d]", k, c->C, c->H, c->W);
    rig_const(r, "%%w%d: bf16[%d,%d,%d,%d] = rand(%d)", k, c->O, c->C, c->kh, c->kw, k);
    if (k % 3 == 0) {
        rig_input(r, "%%e%d: bf16[%d]", k, c->O);
        rig_node(r, "%%d%d = relu %%e%d", k, k);
    } else if (k % 3 == 1) {
        rig_const(r, "%%d%d: bf16[%d] = rand(%d)", k, c->O, 1000 + k);
    }
    char bias[16] = "";
    if (k % 3 < 2)
        snprintf(bias, sizeof bias, ", %%d%d", k);
    rig_node(r, "%%c%d = conv %%x%d, %%w%d%s {%s}", k, k, k, bias,
             attributes(c, IR_BF16, number, text, sizeof text));
    rig_node(r, "%%y%d = relu %%c%d", k, k);
    rig_output(r, "%%y%d", k);
}

// Weights that are not constant: of bf16, or f32 that are rounded for it, as they are or turned as
// for the gradient of an input; for some shapes the program computes them first.
static void add_weights(Rig *r, int k, const Conv *c, bool f32, bool turned) {
    rig_input(r, "%%v%d: %s[%d,%d,%d,%d]", k, f32 ? "f32" : "bf16", turned ? c->C : c->O,
              turned ? c->O : c->C, c->kh, c->kw);
    const char *last = "v";
    if (k % 2) {
        rig_node(r, "%%n%d = neg %%v%d", k, k);
        last = "n";
    } else if (f32) { // as a normalization has it
        rig_input(r, "%%s%d: f32[%d,1,1,1]", k, turned ? c->C : c->O);
        rig_node(r, "%%n%d = mul %%v%d, %%s%d", k, k, k);
        last = "n";
    }
    if (turned) {
        rig_node(r, "%%f%d = flip_filter %%%s%d", k, last, k);
        last = "f";
    }
    rig_node(r, f32 ? "%%w%d = cast %%%s%d {to=bf16}" : "%%w%d = relu %%%s%d", k, last, k);
}

static void add_trained(Rig *r, int k, const Conv *c, bool f32, bool turned, int number) {
    char text[256];
    rig_input(r, "%%x%d: bf16[N,%d,%d,%d]", k, c->C, c->H, c->W);
    add_weights(r, k, c, f32, turned);
    rig_node(r, "%%c%d = conv %%x%d, %%w%d {%s}", k, k, k,
             attributes(c, IR_BF16, number, text, sizeof text));
    rig_node(r, "%%y%d = relu %%c%d", k, k);
    rig_output(r, "%%y%d", k);
}

static void add_f32_weights(Rig *r, int k, const Conv *c, int number) {
    add_trained(r, k, c, true, false, number);
}
static void add_turned_weights(Rig *r, int k, const Conv *c, int number) {
    add_trained(r, k, c, true, true, number);
}
static void add_bf16_weights(Rig *r, int k, const Conv *c, int number) {
    add_trained(r, k, c, false, false, number);
}

// ---------------------------------------------------------------- every strip

typedef void Add(Rig *r, int k, const Conv *c, int number);

// Convolutions of the compiled graph that are computed by tiles of AMX
static int count_amx(const IrGraph *g) {
    int n = 0;
    IrConvAlgo algo;
    for (const IrNode *node = g ? g->first : NULL; node; node = node->next)
        n += node->op == IR_OP_CONV && ir_conv_algo(node, &algo) &&
             (algo == IR_CONV_DIRECT_INT8_AMX || algo == IR_CONV_DIRECT_BF16_AMX);
    return n;
}

static int check_shapes(Add *add, int number, int first, int step, bool even, const RigRuns *runs) {
    Rig *r = rig_new("sapphirerapids", 2);
    int wrong = 0, n = 0;
    rig_amx(r);
    for (int k = first; k < N_SHAPES; k += step)
        if (!even || shapes[k].C % 2 == 0) {
            add(r, k, &shapes[k], number);
            n++;
        }
    wrong = rig_check(r, runs);
    if (number >= 0)
        CHECK_INT_EQ(count_amx(rig_graph(r)), n);
    rig_free(r);
    return wrong;
}

static const RigRuns two = {.N = {2}, .n = 1, .threads = {1, 3}, .n_threads = 2};
static const RigRuns some = {.N = {3, 0}, .n = 2, .threads = {1, 2}, .n_threads = 2};

// The first of the shapes, an eighth of them, whose tile is number i
static int first_shape(int i) {
    return (i / WAYS + 4 * (i / 2 % 2)) % 8;
}

static void sums_bytes_by_every_strip(void) {
    for (int i = 0; i < WAYS * N_TILES; i++)
        CHECK_INT_EQ(check_shapes(add_int8, i, first_shape(i), 8, false, &two), 0);
}

static void sums_pairs_by_every_strip(void) {
    for (int i = 0; i < WAYS * N_TILES; i++)
        CHECK_INT_EQ(check_shapes(add_bf16, i, first_shape(i), 8, true, &two), 0);
}

// Weights that are packed when the program runs, of whole and cut vectors and squares, for runs of
// one tap, of several, and of taps that are apart; by 1, 2 and 3 threads.
static void packs_weights_that_train(void) {
    static const RigRuns threads = {.N = {1}, .n = 1, .threads = {1, 2, 3}, .n_threads = 3};
    CHECK_INT_EQ(check_shapes(add_f32_weights, 0, 0, 1, true, &threads), 0);
    CHECK_INT_EQ(check_shapes(add_turned_weights, WAYS, 0, 1, true, &threads), 0);
    CHECK_INT_EQ(check_shapes(add_bf16_weights, WAYS + 3, 0, 1, true, &threads), 0);
    CHECK_INT_EQ(check_shapes(add_turned_weights, -1, 0, 1, false, &threads), 0);
}

// Weights that serve several images: all of a run, more than it has, and some behind the last of
// them, split between threads within an image and between images.
static void sums_several_images(void) {
    static const RigRuns runs = {.N = {1, 3, 8, 0}, .n = 4, .threads = {1, 2, 5}, .n_threads = 3};
    for (int i = 0; i < WAYS * N_TILES; i += WAYS + 1)
        CHECK_INT_EQ(check_shapes(add_bf16, i + (2 + i % 4) * IMAGES, i / WAYS % 8, 8, true, &runs),
                     0);
    CHECK_INT_EQ(check_shapes(add_int8, 3 * IMAGES, 1, 4, false, &runs), 0);
    CHECK_INT_EQ(check_shapes(add_turned_weights, 2 * IMAGES + 1, 0, 2, true, &runs), 0);
}

// ---------------------------------------------------------------- what the schedule takes

static void add_with_epilogue(Rig *r, int k, const Conv *c, int number) {
    add_int8(r, k, c, number);
    add_epilogue(r, k, c);
}

static void runs_what_the_schedule_takes(void) {
    CHECK_INT_EQ(check_shapes(add_with_epilogue, -1, 0, 1, false, &some), 0);
    CHECK_INT_EQ(check_shapes(add_bf16, -1, 0, 2, false, &some), 0);
}

// A bottleneck as networks have it: 1x1, 3x3, 1x1, bytes in and out.
static void add_block(Rig *r, int k) {
    static const Conv convs[] = {{256, 14, 14, 64, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
                                 {64, 14, 14, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
                                 {64, 14, 14, 256, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1}};
    rig_input(r, "%%x: u8[N,256,14,14]");
    rig_const(r, "%%z: f32[] = splat(90)");
    for (int i = 0; i < 3; i++) {
        const Conv *c = &convs[i];
        rig_const(r, "%%w%d: i8[%d,%d,%d,%d] = rand(%d)", i, c->O, c->C, c->kh, c->kw, i + k);
        rig_const(r, "%%s%d: f32[%d,1,1] = rand(%d)", i, c->O, i);
        char from[16] = "%x";
        if (i)
            snprintf(from, sizeof from, "%%y%d", i - 1);
        rig_node(r, "%%c%d = conv %s, %%w%d {pad=[%d,%d,%d,%d], zero=90}", i, from, i, c->pt, c->pt,
                 c->pt, c->pt);
        rig_node(r, "%%f%d = cast %%c%d {to=f32}", i, i);
        rig_node(r, "%%m%d = mul %%f%d, %%s%d", i, i, i);
        rig_node(r, "%%r%d = round %%m%d", i, i);
        rig_node(r, "%%a%d = add %%r%d, %%z", i, i);
        rig_node(r, "%%k%d = clip %%a%d {min=0, max=255}", i, i);
        rig_node(r, "%%y%d = cast %%k%d {to=u8}", i, i);
    }
    rig_output(r, "%%y2");
}

static int amx_on(const char *mcpu) {
    Rig *r = rig_new(mcpu, 2);
    add_block(r, 0);
    int n = rig_compile(r, NULL) ? count_amx(rig_graph(r)) : -1;
    rig_free(r);
    return n;
}

static void takes_tiles_where_they_are(void) {
    CHECK_INT_EQ(amx_on("sapphirerapids"), 3);
    CHECK_INT_EQ(amx_on("graniterapids"), 3);
    CHECK_INT_EQ(amx_on("cascadelake"), 0);
    CHECK_INT_EQ(amx_on("znver4"), 0);
    CHECK_INT_EQ(amx_on("x86-64-v3"), 0);
    Rig *r = rig_new("sapphirerapids", 2);
    rig_amx(r);
    add_block(r, 0);
    CHECK_INT_EQ(rig_check(r, &some), 0);
    rig_free(r);
}

// ---------------------------------------------------------------- a network

// Value `from` as bytes and back, as quantized files have it; its zero point is `zero`.
static void add_quantized(Rig *r, const char *to, const char *from, const char *scale, int zero) {
    rig_const(r, "%%%ss: f32[] = splat(%s)", to, scale);
    rig_const(r, "%%%sz: u8[] = splat(%d)", to, zero);
    rig_node(r, "%%%sq = quantize %%%s, %%%ss, %%%sz {to=u8}", to, from, to, to);
    rig_node(r, "%%%s = dequantize %%%sq, %%%ss, %%%sz", to, to, to, to);
}

static void add_layer(Rig *r, const char *to, const char *from, const Conv *c, int group) {
    rig_const(r, "%%%sw: i8[%d,%d,%d,%d] = rand(%d)", to, c->O, c->C / group, c->kh, c->kw, c->O);
    rig_const(r, "%%%sv: f32[%d,1,1,1] = splat(0.02)", to, c->O);
    rig_const(r, "%%%sb: f32[%d] = rand(7)", to, c->O);
    rig_node(r, "%%%sd = dequantize %%%sw, %%%sv", to, to, to);
    rig_node(r, "%%%s = conv %%%s, %%%sd, %%%sb {stride=[%d,%d], pad=[%d,%d,%d,%d], group=%d}", to,
             from, to, to, c->sh, c->sw, c->pt, c->pl, c->pb, c->pr, group);
}

// Stem, pool, a bottleneck with its shortcut, a depthwise layer, a classifier.
static void add_network(Rig *r) {
    static const Conv stem = {3, 0, 0, 32, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3, 1},
                      first = {32, 0, 0, 48, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
                      second = {48, 0, 0, 48, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1},
                      third = {48, 0, 0, 96, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
                      shortcut = {32, 0, 0, 96, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0, 1},
                      deep = {96, 0, 0, 96, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    rig_input(r, "%%x: f32[N,3,58,58]");
    add_quantized(r, "xq", "x", "0.0079", 128);
    add_layer(r, "a", "xq", &stem, 1);
    rig_node(r, "%%ar = relu %%a");
    add_quantized(r, "aq", "ar", "0.02", 0);
    rig_node(r, "%%p = max_pool %%aq {kernel=[3,3], stride=[2,2], pad=[1,1,1,1]}");
    add_quantized(r, "pq", "p", "0.02", 0);
    add_layer(r, "b", "pq", &first, 1);
    rig_node(r, "%%br = relu %%b");
    add_quantized(r, "bq", "br", "0.03", 9);
    add_layer(r, "c", "bq", &second, 1);
    rig_node(r, "%%cr = relu %%c");
    add_quantized(r, "cq", "cr", "0.04", 0);
    add_layer(r, "d", "cq", &third, 1);
    add_quantized(r, "dq", "d", "0.05", 120);
    add_layer(r, "e", "pq", &shortcut, 1);
    add_quantized(r, "eq", "e", "0.04", 131);
    rig_node(r, "%%s = add %%dq, %%eq");
    rig_node(r, "%%sr = relu %%s");
    add_quantized(r, "sq", "sr", "0.05", 0);
    add_layer(r, "g", "sq", &deep, 96);
    add_quantized(r, "gq", "g", "0.03", 128);
    rig_node(r, "%%m = reduce_mean %%gq {axes=[2,3], keepdims=0}");
    add_quantized(r, "mq", "m", "0.01", 128);
    rig_const(r, "%%f: i8[96,10] = rand(3)");
    rig_const(r, "%%fs: f32[] = splat(0.02)");
    rig_node(r, "%%fd = dequantize %%f, %%fs");
    rig_node(r, "%%y = matmul %%mq, %%fd");
    rig_output(r, "%%y");
}

// A quantum of a value inside may come out differently, and a little of it reaches the end.
static void runs_a_quantized_network(void) {
    Rig *r = rig_new("sapphirerapids", 2);
    RigRuns runs = {.N = {1, 2}, .n = 2, .threads = {1, 2}, .n_threads = 2, .tolerance = 0.02};
    rig_amx(r);
    add_network(r);
    CHECK_INT_EQ(rig_check(r, &runs), 0);
    CHECK(count_amx(rig_graph(r)) >= 3); // not the small ones, nor, behind a pool, the stem
    rig_free(r);
}

// A program asks for what its products take, and says so where it is not there.
static void asks_for_tiles(void) {
    Rig *r = rig_new("sapphirerapids", 2);
    bool skip = false, needs = false;
    add_block(r, 0);
    CHECK(rig_compile(r, NULL) != NULL);
    HoneModel *m = rig_load(r, 1, &skip);
    for (const uint32_t *n = m ? rt_model_desc(m)->cpu_needs : NULL; n && *n; n++)
        needs |= *n == HONE_CPU_AMX_INT8;
    CHECK(m ? needs : skip);
    CHECK(!m == !amx_is_native());
    hone_destroy(m);
    rig_free(r);
}

// ---------------------------------------------------------------- instructions

typedef struct Count {
    int dots, loads, stores, configs, releases, stack;
} Count;

static Count count_instructions(const CgResult *cg, const char *dot) {
    Count n = {0};
    char cmd[512], line[1024];
    for (int i = 0; i < cg->n_files; i++) {
        snprintf(cmd, sizeof cmd, "objdump -d --no-show-raw-insn %s", cg->files[i]);
        FILE *f = popen(cmd, "r");
        while (f && fgets(line, sizeof line, f)) {
            n.dots += strstr(line, dot) != NULL;
            n.loads += strstr(line, "tileloadd") != NULL;
            n.stores += strstr(line, "tilestored") != NULL;
            n.configs += strstr(line, "ldtilecfg") != NULL;
            n.releases += strstr(line, "tilerelease") != NULL;
            bool tile = strstr(line, "tile") != NULL;
            n.stack +=
                (tile && strstr(line, "(%rsp")) || (strstr(line, "%zmm") && strstr(line, "(%rsp"));
        }
        if (f)
            pclose(f);
    }
    return n;
}

// Two by two: four products for four loads, and nothing of it on the stack.
static void emits_the_instructions(void) {
    static const Conv c = {128, 14, 14, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    for (int bf16 = 0; bf16 < 2; bf16++) {
        Rig *r = rig_new("sapphirerapids", 2);
        CgResult cg;
        (bf16 ? add_bf16 : add_int8)(r, 1, &c, 0);
        if (CHECK(rig_compile(r, &cg) != NULL)) {
            Count n = count_instructions(&cg, bf16 ? "tdpbf16ps" : "tdpbusd");
            CHECK_INT_EQ(n.dots, 4);
            CHECK_INT_EQ(n.loads, 4 + 4); // and the bias
            CHECK_INT_EQ(n.stores, 4);
            CHECK_INT_EQ(n.configs, 1);
            CHECK_INT_EQ(n.releases, 1);
            CHECK_INT_EQ(n.stack, 0);
        }
        rig_free(r);
    }
}

int main(void) {
    CHECK_RUN(sums_bytes_by_every_strip);
    CHECK_RUN(sums_pairs_by_every_strip);
    CHECK_RUN(packs_weights_that_train);
    CHECK_RUN(sums_several_images);
    CHECK_RUN(runs_what_the_schedule_takes);
    CHECK_RUN(takes_tiles_where_they_are);
    CHECK_RUN(runs_a_quantized_network);
    CHECK_RUN(asks_for_tiles);
    CHECK_RUN(emits_the_instructions);
    return check_done();
}
