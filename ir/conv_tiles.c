// How kernels on matrix tiles cut a convolution: the input, which they copy, and the result.
//
// A tile has up to 16 rows, pixels, of up to 16 words of their channels. With a copy of x where a
// pixel's channels lie side by side, and its padding is there, a tile is 16 pieces of memory at an
// equal distance, whatever the kernel's size, its stride, or the channels' blocks.
#include "ir/conv.h"
#include "ir/machine.h"

enum { MAX_ROWS = 16, MAX_WORDS = 16, MAX_FILL = 3 };

bool ir_conv_is_whole(int block, int64_t channels) {
    return block > IR_BLOCK && block >= channels && channels % IR_BLOCK == 0;
}

int ir_conv_whole_block(IrDtype t, int64_t channels) {
    int64_t size = ir_dtype_bytes(t), lines = channels * size / IR_LINE;
    bool more = channels * size % IR_LINE == 0 && lines % 2 == 0 && lines >= 4;
    return (int)(channels + (more ? IR_LINE / size : 0));
}

// Into how many equal pieces of whole words, of which there are no more than a tile's
static int64_t cut_run(int64_t words) {
    int64_t n = ir_ceil_div(words, MAX_WORDS);
    while (words % n)
        n++;
    return n;
}

// A run is cut evenly where its pixels are of the right size: up to MAX_FILL blocks of zeros more,
// but for pixels that are one block, as x has them.
static void choose_pixel(IrConvCopy *copy, int64_t taps, int64_t blocks, int64_t words) {
    int64_t most = blocks > 1 ? blocks + MAX_FILL : blocks;
    copy->pieces = 0;
    for (int64_t b = blocks; b <= most; b++) {
        int64_t n = cut_run(taps * b * words);
        if (copy->pieces && n >= copy->pieces)
            continue;
        copy->pieces = n;
        copy->pixel = b * words;
        copy->words = taps * b * words / n;
    }
}

// Of an axis with one tap only what the result's positions read is copied.
IrConvCopy ir_conv_copy(const IrConv *c) {
    bool whole = ir_conv_is_whole(c->x_block, c->C);
    const IrWindow *w = &c->w;
    IrConvCopy copy = {.row = w->kh == 1 ? w->sh : 1,
                       .column = w->kw == 1 ? w->sw : 1,
                       .down = w->kh == 1 ? 1 : w->sh,
                       .right = w->kw == 1 ? 1 : w->sw};
    int64_t taps = w->dw == 1 ? w->kw : 1, word = ir_word(c->dtype);
    int64_t block = whole ? c->C : ir_max(1, c->x_block);
    copy.lines = (c->OH - 1) * copy.down + (w->kh - 1) * w->dh + 1;
    copy.width = (c->OW - 1) * copy.right + (w->kw - 1) * w->dw + 1;
    choose_pixel(&copy, taps, ir_ceil_div(c->C, block), ir_ceil_div(block, word));
    if (copy.pixel % copy.words == 0) // no piece has words of two taps: they need not follow
        taps = 1;
    copy.runs = w->kw / taps;
    copy.pieces = taps * copy.pixel / copy.words;
    copy.stride = whole       ? ir_ceil_div(c->x_block, word)
                  : taps == 1 ? ir_conv_whole_block(c->dtype, copy.pixel * word) / word
                              : copy.pixel;
    return copy;
}

bool ir_conv_in_place(const IrConv *c, const IrConvTile *t) {
    const IrWindow *w = &c->w;
    bool flat = w->kh == 1 && w->kw == 1 && w->sh == 1 && w->sw == 1 && c->H == c->OH &&
                c->W == c->OW && !w->pt && !w->pl;
    bool filled = c->C < c->x_block && c->x_block < IR_BLOCK; // with zeros
    return t->over && flat && (c->x_block == c->C || filled || ir_conv_is_whole(c->x_block, c->C));
}

bool ir_conv_goes_over(const IrConv *c) {
    IrConvCopy copy = ir_conv_copy(c);
    return copy.down == 1 && copy.right == 1;
}

IrConvStrips ir_conv_strips(const IrConv *c, const IrConvTile *t) {
    IrConvStrips s = {.count = t->rows, .positions = c->OW};
    int64_t most = t->cols < MAX_ROWS ? t->cols : MAX_ROWS;
    if (t->over)
        s.positions = (c->OH - 1) * ir_conv_copy(c).width + c->OW;
    int64_t n = ir_ceil_div(s.positions, most);
    s.rows = ir_ceil_div(s.positions, n);
    s.per_row = t->over ? 0 : n;
    s.tiles = t->over ? n : n * c->OH;
    s.strips = ir_ceil_div(s.tiles, s.count);
    return s;
}

int64_t ir_conv_strip_lines(const IrConv *c, const IrConvTile *t, int64_t strips) {
    IrConvCopy copy = ir_conv_copy(c);
    IrConvStrips s = ir_conv_strips(c, t);
    int64_t tiles = strips * s.count, end = (c->w.kh - 1) * c->w.dh + 1;
    int64_t ends = t->over ? ir_ceil_div(tiles * s.rows - 1, copy.width)
                           : ir_ceil_div(tiles - 1, s.per_row) * copy.down; // of rows, at most
    return ends + end < copy.lines ? ends + end : copy.lines;
}

int64_t ir_conv_band_images(const IrConv *c, const IrConvTile *t) {
    return ir_max(1, t->band / ir_conv_strips(c, t).strips);
}

int64_t ir_conv_band_lines(const IrConv *c, const IrConvTile *t) {
    int64_t images = ir_conv_band_images(c, t);
    return images > 1 ? images * ir_conv_copy(c).lines : ir_conv_strip_lines(c, t, t->band);
}
