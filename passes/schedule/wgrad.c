// When the gradient of a 3x3 convolution's weights goes by Winograd's algorithm (the kernel:
// codegen/conv/wgrad_winograd.c): where whole blocks of channels are many enough to pay for the
// transforms, and tiles of m x m pixels cover the image without much beside it.
//
//   before  %dw = conv_wgrad %x, %dy {pad=[1,1,1,1], shape=[64,64,3,3]}
//   after   %dw = conv_wgrad %x, %dy {pad=[1,1,1,1], shape=[64,64,3,3], algo=winograd4}
#include "passes/schedule/schedule.h"

enum {
    TRANSFORM = 6, // products that a point of a vector takes to be transformed
    PIECE_X = 64,
    PIECE_DY = 32 // channels that are summed up together: others are transformed again
};
#define LEAST_GAIN 1.15 // of the direct kernel's time

static bool applies(const IrNode *n, const IrConv *c, const PassOptions *opt) {
    const IrWindow *w = &c->w;
    return opt->winograd && opt->block == IR_BLOCK && c->dtype == IR_F32 && w->kh == 3 &&
           w->kw == 3 && w->sh == 1 && w->sw == 1 && w->dh == 1 && w->dw == 1 && w->group == 1 &&
           c->x_block == IR_BLOCK && c->y_block == IR_BLOCK && c->C % IR_BLOCK == 0 &&
           c->O % IR_BLOCK == 0 && !n->out[0]->type.block && !ir_conv_is_empty(c);
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

bool pass_schedule_wgrad(const IrNode *n, const PassOptions *opt, IrConvAlgo *algo) {
    IrConv c = ir_conv(n);
    if (!applies(n, &c, opt))
        return false;
    double two = by_tiles(&c, 2), four = by_tiles(&c, 4);
    *algo = two < four ? IR_CONV_WINOGRAD2 : IR_CONV_WINOGRAD4;
    return (two < four ? two : four) * LEAST_GAIN < direct(&c);
}
