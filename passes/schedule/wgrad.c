// When the gradient of a 3x3 convolution's weights goes by Winograd's algorithm (the kernel:
// codegen/conv/wgrad_winograd.c): where whole blocks of channels are many enough to pay for the
// transforms, and tiles of m x m pixels cover the image without much beside it. And when one goes
// by matrix tiles (codegen/conv/wgrad_amx.c), where a machine has them: of bf16, but for windows of
// many times the result's width; of f32, by three products for one, where these are fewest. Both
// ways f32 rounds.
//
//   before  %dw = conv_wgrad %x, %dy {pad=[1,1,1,1], shape=[64,64,3,3]}
//   after   %dw = conv_wgrad %x, %dy {pad=[1,1,1,1], shape=[64,64,3,3], algo=winograd4}
#include "passes/schedule/schedule.h"

enum {
    TRANSFORM = 6, // products that a point of a vector takes to be transformed
    PIECE_X = 64,
    PIECE_DY = 32,     // channels that are summed up together: others are transformed again
    TILE_PRODUCT = 16, // cycles of matrix tiles: a product, a copy of 16 positions of a block
    TILE_COPY = 150,
    TILE_COPY_F32 = 480,
    MOST_SIZE = INT32_MAX / 16
};
#define LEAST_GAIN 1.15 // of the direct kernel's time

static bool applies(const IrNode *n, const IrConv *c, const PassOptions *opt) {
    return opt->winograd && opt->block == IR_BLOCK && ir_conv_wgrad_serves(IR_CONV_WINOGRAD4, n, c);
}

// Of an image, in products of vectors; padding is not multiplied.
static double direct(const IrConv *c) {
    const IrWindow *w = &c->w;
    double rows = (double)(3 * c->OH - w->pt - w->pb),
           columns = (double)(3 * c->OW - w->pl - w->pr);
    return rows * columns * (double)(c->C * c->O) / IR_BLOCK;
}

static double by_tiles(const IrConv *c, int64_t m) {
    double tiles = (double)(ir_ceil_div(c->OH, m) * ir_ceil_div(c->OW, m)), C = (double)c->C;
    double O = (double)c->O, points = (double)((m + 2) * (m + 2));
    double x = C * ir_max(1, c->O / PIECE_DY), dy = O * ir_max(1, c->C / PIECE_X);
    return tiles * points * (C * O + TRANSFORM * (x + dy)) / IR_BLOCK;
}

// ---------------------------------------------------------------- matrix tiles

static bool has_tiles(const IrNode *n, const IrConv *c, const PassOptions *opt) {
    const IrWindow *w = &c->w;
    const int64_t sizes[] = {w->sh, w->sw, w->kh * w->dh,      w->kw * w->dw,
                             w->pt, w->pl, c->H * c->W * c->C, c->OH * c->OW * c->O};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i] < 0 || sizes[i] > MOST_SIZE)
            return false;
    bool rounds =
        opt->winograd && ir_dot(opt->machine, IR_BF16).kind == IR_DOT_SUM; // by an instruction
    return (c->dtype == IR_BF16 || rounds) && opt->machine->dot_bf16 & IR_DOT_BF16_AMX &&
           ir_conv_wgrad_serves(IR_CONV_DIRECT_BF16_AMX, n, c);
}

// Cycles of two images, as the kernel's file says: products of 16 positions, what lies between rows
// among them, and copies. A number of f32 is two terms, a product of two such is three.
static double by_tiles_of_pairs(const IrConv *c) {
    bool f32 = c->dtype == IR_F32;
    const IrWindow *w = &c->w;
    double left = (double)ir_ceil_div(c->O, IR_BLOCK), right = (double)ir_ceil_div(c->C, IR_BLOCK);
    double pitch = (double)(c->OW + (w->kw - 1) * w->dw / w->sw);
    double tiles = (double)c->OH * pitch / IR_BLOCK;
    double products = left * right * (double)(w->kh * w->kw) * (f32 ? 3 : 1);
    double copy = f32 ? TILE_COPY_F32 : TILE_COPY;
    return tiles * (products * TILE_PRODUCT + copy * (left + right));
}

// The same of the kernel that sums up dots, a vector of output channels for each word of x; or
// products of f32, of which a core makes two a cycle
static double by_dots(const IrConv *c) {
    double pixels = (double)(c->OH * c->OW), vectors = (double)ir_ceil_div(c->O, IR_BLOCK);
    return pixels * (double)(c->w.kh * c->w.kw * c->C) * vectors;
}

bool pass_schedule_wgrad_has_tiles(const IrNode *n, const PassOptions *opt) {
    IrConv c = ir_conv(n);
    return has_tiles(n, &c, opt);
}

bool pass_schedule_wgrad(const IrNode *n, const PassOptions *opt, IrConvAlgo *algo) {
    IrConv c = ir_conv(n);
    double least = by_dots(&c);
    bool better = false;
    if (applies(n, &c, opt)) {
        double two = by_tiles(&c, 2), four = by_tiles(&c, 4), fewer = two < four ? two : four;
        better = fewer * LEAST_GAIN < direct(&c);
        *algo = two < four ? IR_CONV_WINOGRAD2 : IR_CONV_WINOGRAD4;
        least = better ? fewer : least;
    }
    if (has_tiles(n, &c, opt) && by_tiles_of_pairs(&c) < least) {
        *algo = IR_CONV_DIRECT_BF16_AMX;
        better = true;
    }
    return better;
}
