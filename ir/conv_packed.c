// How large weights are in the orders in which kernels read them; codegen/conv/pack.c and prepare.c
// put them there. Rows of whole vectors of output channels and, where groups do not fill input
// blocks, all channels of the blocks that a panel touches.
#include "ir/conv.h"
#include "ir/machine.h"

static int64_t rows(const IrConv *c, int64_t lanes) {
    return ir_ceil_div(c->O, lanes) * lanes;
}

int64_t ir_conv_panel_words(const IrConv *c, int64_t lanes) {
    int64_t block = c->x_block ? c->x_block : 1, most = 0, word = ir_word(c->dtype);
    if (c->w.group == 1) {
        return ir_ceil_div(c->C, word);
    }
    for (int64_t first = 0; first < c->O; first += lanes) {
        int64_t last = first + lanes < c->O ? first + lanes - 1 : c->O - 1;
        int64_t end = ir_ceil_div((last / c->og + 1) * c->cg, block);
        int64_t blocks = end - first / c->og * c->cg / block;
        most = blocks > most ? blocks : most;
    }
    return ir_ceil_div(most * block, word);
}

int64_t ir_conv_words_direct(const IrConv *c, const IrConvTile *t, int64_t lanes) {
    (void)t;
    return rows(c, lanes) * ir_conv_panel_words(c, lanes) * c->w.kh * c->w.kw;
}

int64_t ir_conv_words_lanewise(const IrConv *c, const IrConvTile *t, int64_t lanes) {
    (void)t;
    return rows(c, lanes) * c->cg * c->w.kh * c->w.kw / ir_word(c->dtype);
}

// A kernel row's taps in words of four.
int64_t ir_conv_words_rowwise(const IrConv *c, const IrConvTile *t, int64_t lanes) {
    (void)t;
    return rows(c, lanes) * c->w.kh * ir_ceil_div(c->w.kw, 4);
}

int64_t ir_conv_winograd_points(int64_t m, int64_t k, int64_t stride) {
    return m * stride + k - stride;
}

int64_t ir_conv_winograd_filters(int64_t m, int64_t k, int64_t stride) {
    int64_t sum = 0;
    for (int64_t p = 0; p < stride; p++) {
        int64_t taps = ir_ceil_div(k - p, stride);
        sum += taps > 1 ? m + taps - 1 : taps;
    }
    return sum;
}

int64_t ir_conv_words_winograd(const IrConv *c, const IrConvTile *t, int64_t lanes) {
    return rows(c, lanes) * c->cg * ir_conv_winograd_filters(t->out_rows, c->w.kh, c->w.sh) *
           ir_conv_winograd_filters(t->out_cols, c->w.kw, c->w.sw);
}

// Seven quarters for four; output channels are whole vectors.
int64_t ir_conv_words_strassen(const IrConv *c, const IrConvTile *t, int64_t lanes) {
    (void)t;
    (void)lanes;
    return c->O * c->C / 4 * 7;
}

// Pieces by pieces, with what fills up the last pixel's.
int64_t ir_conv_words_amx(const IrConv *c, const IrConvTile *t, int64_t lanes) {
    (void)t;
    IrConvCopy copy = ir_conv_copy(c);
    return rows(c, lanes) * c->w.kh * copy.runs * copy.pieces * copy.words;
}
