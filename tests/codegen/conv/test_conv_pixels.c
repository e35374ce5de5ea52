// Whole pixels between convolutions on matrix tiles: chains whose values lie so, read in place and
// through the copy, by epilogues, in pixels of an odd and an even number of lines, against the
// evaluator (bytes bit for bit) by every strip of tiles that there is; and that they do lie so.
#include "ir/conv.h"
#include "tests/check.h"
#include "tests/codegen/rig/amx.h"
#include "tests/codegen/rig/rig.h"

// H x W pixels; channels of what lies between, and of the last results
typedef struct Chain {
    int H, W, mid, wide, out;
} Chain;

static const Chain chains[] = {
    {14, 14, 64, 256, 64}, {7, 7, 32, 128, 48}, {5, 9, 96, 96, 20},  {4, 4, 128, 32, 16},
    {9, 3, 192, 64, 100},  {1, 6, 32, 64, 32},  {28, 13, 64, 32, 7},
};
enum { N_CHAINS = sizeof chains / sizeof *chains };

static const IrConvTile tiles[] = {
    {.rows = 2, .cols = 16, .vecs = 2, .band = 1000},
    {.rows = 2, .cols = 16, .vecs = 2, .band = 1},
    {.rows = 4, .cols = 13, .vecs = 1, .band = 2},
    {.rows = 1, .cols = 16, .vecs = 4, .band = 3},
    {.rows = 3, .cols = 5, .vecs = 1, .band = 1},
    {.rows = 1, .cols = 3, .vecs = 3, .band = 1000},
};
enum {
    N_TILES = sizeof tiles / sizeof *tiles,
    BY_SCHEDULE = -1,
    CONVS = 6,
    SHORTCUT = 3,
    BETWEEN = 4
};

// ---------------------------------------------------------------- a chain

typedef struct Layer {
    const char *to, *from; // values
    const char *adds;      // in its epilogue, or NULL
    int C, O, H, W;        // of what it reads
    int kernel, stride;
} Layer;

static void add_attributes(const Layer *l, IrDtype type, int number, char *text, size_t size) {
    IrConv g = {.dtype = type, .C = l->C, .O = l->O, .H = l->H, .W = l->W, .x_block = IR_BLOCK};
    IrConvTile t = tiles[(number / 2) % N_TILES];
    char tile[IR_CONV_TILE_TEXT];
    int pad = l->kernel / 2, n = snprintf(text, size, "stride=[%d,%d], pad=[%d,%d,%d,%d]",
                                          l->stride, l->stride, pad, pad, pad, pad);
    if (number == BY_SCHEDULE)
        return;
    g.OH = (l->H - 1) / l->stride + 1;
    g.OW = (l->W - 1) / l->stride + 1;
    g.w = (IrWindow){.kh = l->kernel,
                     .kw = l->kernel,
                     .sh = l->stride,
                     .sw = l->stride,
                     .dh = 1,
                     .dw = 1,
                     .pt = l->kernel / 2,
                     .pl = l->kernel / 2,
                     .group = 1};
    t.over = number % 2 && ir_conv_goes_over(&g);
    t.at_once = (number / 2 + (l->C > l->O)) % 2;
    int32_t strips = (int32_t)ir_conv_strips(&g, &t).strips;
    t.band = t.band < strips ? t.band : strips;
    snprintf(text + n, size - (size_t)n, ", algo=%s, tile=[%s]",
             type == IR_BF16 ? "direct_bf16_amx" : "direct_int8_amx", ir_conv_tile_print(&t, tile));
}

// `from`, f32, as bytes, as a quantized network has them
static void add_bytes(Rig *r, int k, const char *to, const char *from) {
    rig_const(r, "%%h%s%d: f32[] = splat(0.01)", to, k);
    rig_const(r, "%%z%s%d: f32[] = splat(90)", to, k);
    rig_node(r, "%%m%s%d = mul %%%s%d, %%h%s%d", to, k, from, k, to, k);
    rig_node(r, "%%r%s%d = round %%m%s%d", to, k, to, k);
    rig_node(r, "%%a%s%d = add %%r%s%d, %%z%s%d", to, k, to, k, to, k);
    rig_node(r, "%%c%s%d = clip %%a%s%d {min=0, max=255}", to, k, to, k);
    rig_node(r, "%%%s%d = cast %%c%s%d {to=u8}", to, k, to, k);
}

// A layer on bytes; of d the sum with c
static void add_byte_layer(Rig *r, int k, const Layer *l, const char *text) {
    rig_const(r, "%%w%s%d: i8[%d,%d,%d,%d] = rand(%d)", l->to, k, l->O, l->C, l->kernel, l->kernel,
              k + l->O);
    rig_node(r, "%%i%s%d = conv %%%s%d, %%w%s%d {zero=90, %s}", l->to, k, l->from, k, l->to, k,
             text);
    rig_node(r, "%%f%s%d = cast %%i%s%d {to=f32}", l->to, k, l->to, k);
    if (l->adds) {
        rig_node(r, "%%u%d = cast %%%s%d {to=f32}", k, l->adds, k);
        rig_node(r, "%%s%d = add %%f%s%d, %%u%d", k, l->to, k, k);
    }
    char from[8];
    snprintf(from, sizeof from, l->adds ? "s" : "f%s", l->to);
    add_bytes(r, k, l->to, from);
}

// The same on bf16, its epilogue as the pass that makes such layers writes it
static void add_pair_layer(Rig *r, int k, const Layer *l, const char *text) {
    rig_const(r, "%%w%s%d: bf16[%d,%d,%d,%d] = rand(%d)", l->to, k, l->O, l->C, l->kernel,
              l->kernel, k + l->O);
    rig_const(r, "%%b%s%d: f32[%d] = rand(%d)", l->to, k, l->O, k);
    if (l->adds)
        rig_node(r,
                 "%%%s%d = conv %%%s%d, %%w%s%d, %%b%s%d, %%%s%d {%s, to=f32, then=[cast(3, "
                 "to=f32), add(s0, acc), relu(s1), cast(s2, to=bf16)]}",
                 l->to, k, l->from, k, l->to, k, l->to, k, l->adds, k, text);
    else
        rig_node(r,
                 "%%%s%d = conv %%%s%d, %%w%s%d, %%b%s%d {%s, to=f32, then=[relu(acc), cast(s0, "
                 "to=bf16)]}",
                 l->to, k, l->from, k, l->to, k, l->to, k, text);
}

// A bottleneck: 1x1, 3x3, 1x1 with a projected shortcut added, then two 1x1, one with a stride.
static void add_chain(Rig *r, int k, IrDtype type, int number) {
    const Chain *c = &chains[k];
    const Layer layer[CONVS] = {{"a", "x", NULL, c->mid, c->mid, c->H, c->W, 1, 1},
                                {"b", "a", NULL, c->mid, c->mid, c->H, c->W, 3, 1},
                                {"c", "b", NULL, c->mid, c->wide, c->H, c->W, 1, 1},
                                {"d", "a", "c", c->mid, c->wide, c->H, c->W, 1, 1},
                                {"g", "d", NULL, c->wide, c->out, c->H, c->W, 1, 2},
                                {"h", "d", NULL, c->wide, c->out, c->H, c->W, 1, 1}};
    rig_input(r, "%%x%d: %s[N,%d,%d,%d]", k, type == IR_U8 ? "u8" : "bf16", c->mid, c->H, c->W);
    for (int i = 0; i < CONVS; i++) {
        char text[400];
        add_attributes(&layer[i], type, number, text, sizeof text);
        (type == IR_U8 ? add_byte_layer : add_pair_layer)(r, k, &layer[i], text);
    }
    rig_output(r, "%%g%d", k);
    rig_output(r, "%%h%d", k);
}

// ---------------------------------------------------------------- checks

// Values of whole pixels; -1: some convolution is not on matrix tiles.
static int count_whole(const IrGraph *g) {
    int n = 0;
    IrConvAlgo algo;
    for (const IrNode *node = g ? g->first : NULL; node; node = node->next) {
        if (node->op != IR_OP_CONV)
            continue;
        if (!ir_conv_algo(node, &algo) || !(ir_conv_algo_info(algo)->flags & IR_CONV_FLAG_PIXELS))
            return -1;
        n += ir_conv_is_whole(node->out[0]->type.block, node->out[0]->type.shape.dim[1].c);
    }
    return n;
}

static void check_chains(IrDtype type, int number, const RigRuns *runs) {
    Rig *r = rig_new("sapphirerapids", 2);
    rig_amx(r);
    for (int k = 0; k < N_CHAINS; k++)
        add_chain(r, k, type, number);
    CHECK_INT_EQ(rig_check(r, runs), 0);
    // a, b, c, d; of bytes those where another kernel would not be faster on blocks
    if (number != BY_SCHEDULE)
        CHECK(count_whole(rig_graph(r)) >= (type == IR_BF16 ? BETWEEN : 2) * N_CHAINS);
    rig_free(r);
}

static const RigRuns runs = {
    .N = {1, 3, 0}, .n = 3, .threads = {1, 2, 3}, .n_threads = 3, .tolerance = 0.02};

static void chains_of_pairs(void) {
    for (int i = BY_SCHEDULE; i < 2 * N_TILES; i++)
        check_chains(IR_BF16, i, &runs);
}

static void chains_of_bytes(void) {
    for (int i = BY_SCHEDULE; i < 2 * N_TILES; i++)
        check_chains(IR_U8, i, &runs);
}

// From pixel to pixel an odd number of lines, or few.
static void puts_pixels_apart(void) {
    CHECK_INT_EQ(ir_conv_whole_block(IR_BF16, 32), 32);
    CHECK_INT_EQ(ir_conv_whole_block(IR_BF16, 64), 64);
    CHECK_INT_EQ(ir_conv_whole_block(IR_BF16, 96), 96);
    CHECK_INT_EQ(ir_conv_whole_block(IR_BF16, 256), 288);
    CHECK_INT_EQ(ir_conv_whole_block(IR_U8, 256), 320);
    CHECK_INT_EQ(ir_conv_whole_block(IR_BF16, 272), 272);
}

int main(void) {
    CHECK_RUN(chains_of_pairs);
    CHECK_RUN(chains_of_bytes);
    CHECK_RUN(puts_pixels_apart);
    return check_done();
}
