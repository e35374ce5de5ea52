// A convolution's geometry, read once from its node. Whoever chooses, costs or emits kernels takes
// it from here.
//
// For conv: x [N,C,H,W], w [O,cg,KH,KW] -> [N,O,OH,OW], then the pool, where the node has one. For
// conv_wgrad the same convolution, of which it makes the gradient: its operands are x and dy, of
// the shape [N,O,OH,OW].
#ifndef IR_CONV_H
#define IR_CONV_H

#include "ir/ir.h"

// Of sizes; ir_ceil_div() of what is not negative.
static inline int64_t ir_min(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t ir_max(int64_t a, int64_t b) {
    return a > b ? a : b;
}
static inline int64_t ir_ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

// What Strassen's multiplication of matrices wants (codegen/nn/matmul_strassen.c).
enum {
    IR_STRASSEN_LEAST_K = 192,   // below, starting seven sums costs what one product saves
    IR_STRASSEN_LEAST_ROWS = 96, // of an image; below, making sums of weights does
};

typedef struct IrConv {
    IrDtype dtype;        // of x
    IrDim N;              // images
    int64_t C, O;         // channels
    int64_t H, W, OH, OW; // pixels of x and of the result, before a pool
    int64_t cg, og;       // channels of a group: of x, of the result
    IrWindow w;           // kernel, strides, dilations, padding, groups
    IrWindow pool;        // maximum over windows of the result; kh == 0: none
    int x_block, y_block; // layouts, as IrType.block
    // 1x1 with stride 1 and no padding: which pixels stand side by side does not matter.
    bool flat;
    bool constant; // are its weights
    unsigned with; // what stands in the node beside it: IR_CONV_FLAG_PRE, _THEN, _POOL
} IrConv;

IrConv ir_conv(const IrNode *n); // conv, conv_wgrad
// The convolution that pack_filter packs weights for, as far as its attributes and operand say:
// channels, groups, kernel and x_block, on which the order and size of packed weights depend.
IrConv ir_conv_of_filter(const IrNode *pack_filter);
// A flat convolution whose images are one column of pixels: W = OW = 1.
void ir_conv_to_column(IrConv *c);
bool ir_conv_is_empty(const IrConv *c); // its result has no elements, whatever N is
// Products of one image
int64_t ir_conv_products(const IrConv *c);

// ---------------------------------------------------------------- algorithms

enum { // of conv_algos.def
    IR_CONV_FLAG_FEWER = 1,
    IR_CONV_FLAG_CONST = 2,
    IR_CONV_FLAG_PLAIN = 4,
    IR_CONV_FLAG_COLUMN = 8,
    IR_CONV_FLAG_PRE = 16,
    IR_CONV_FLAG_THEN = 32,
    IR_CONV_FLAG_POOL = 64,
    IR_CONV_FLAG_FILLS = 128,
    IR_CONV_FLAG_SCALES = 512,
    IR_CONV_FLAG_PIXELS = 1024,
    IR_CONV_TILE_TEXT = 256, // enough for the text of any tile
};

// Words (ir_word()) of the weights in an algorithm's order, packed for blocks of `lanes` output
// channels.
typedef int64_t IrConvWords(const IrConv *c, const IrConvTile *t, int64_t lanes);

typedef struct IrConvAlgoInfo {
    const char *text;
    unsigned types; // bit 1 << IrDtype
    unsigned flags;
    unsigned tile;      // bit k: it has field k of IrConvTile
    IrConvWords *words; // NULL: it reads weights as they are
} IrConvAlgoInfo;

const IrConvAlgoInfo *ir_conv_algo_info(IrConvAlgo algo);
bool ir_conv_algo_parse(const char *text, IrConvAlgo *out);
// Does it serve this convolution, as far as types, layouts and what stands beside it go?
bool ir_conv_serves(IrConvAlgo algo, const IrConv *c);
bool ir_conv_tile_is_of(const IrConvTile *t, IrConvAlgo algo); // fields that it does not have are 0
// Does it serve conv_wgrad n, whose convolution is c? Of Winograd's algorithms and matrix tiles.
bool ir_conv_wgrad_serves(IrConvAlgo algo, const IrNode *n, const IrConv *c);
// As the algorithm sees it: a column of pixels, or as it is.
IrConv ir_conv_seen_by(IrConvAlgo algo, const IrConv *c);

// What the node says; false, and zeros, where it says nothing.
bool ir_conv_algo(const IrNode *n, IrConvAlgo *out);
IrConvTile ir_conv_tile(const IrNode *n);
void ir_conv_set(IrNode *n, IrConvAlgo algo, const IrConvTile *tile);

int32_t *ir_conv_tile_field(IrConvTile *t, const char *name); // NULL: there is none
char *ir_conv_tile_print(const IrConvTile *t,
                         char *buf); // "rows=1,cols=14"; [IR_CONV_TILE_TEXT]; returns buf

// ---------------------------------------------------------------- packed weights (conv_packed.c)

// Words of input channels of a panel of the direct kernel, all in whole blocks: those that the
// groups of one vector of output channels read.
int64_t ir_conv_panel_words(const IrConv *c, int64_t lanes);
IrConvWords ir_conv_words_direct, ir_conv_words_lanewise, ir_conv_words_rowwise,
    ir_conv_words_winograd, ir_conv_words_strassen, ir_conv_words_amx;

// Winograd's algorithm along an axis of k weights, for m results that are `stride` apart: inputs
// that it reads, which are as many as its products, and weights that these multiply by. With a
// stride of 2 the inputs at even and at odd places have an algorithm each for their own taps; the
// products of an only tap share its weight.
int64_t ir_conv_winograd_points(int64_t m, int64_t k, int64_t stride);
int64_t ir_conv_winograd_filters(int64_t m, int64_t k, int64_t stride);

// ---------------------------------------------------------------- tiles of pixels (conv_tiles.c)

// A layout of whole pixels: all channels of a pixel are one block, of more than a vector, perhaps
// with a line of the cache more: an even number of lines from pixel to pixel, 4 or more, brings
// rows of a tile into the same sets of the cache. ir_conv_whole_block: that block.
bool ir_conv_is_whole(int block, int64_t channels);
int ir_conv_whole_block(IrDtype t, int64_t channels);

// Kernels on matrix tiles read a copy of x with its padding, in lines of columns, where a pixel's
// channels lie side by side. Words of neighbouring taps follow each other, a run; a run is cut into
// equal pieces, each the words of a product.
typedef struct IrConvCopy {
    int64_t pixel;               // words of a pixel, with those of 0 that fill it up
    int64_t stride;              // from pixel to pixel
    int64_t lines, width;        // all of an image
    int64_t row, column;         // of x, from line to line, from column to column
    int64_t down, right;         // lines and columns from a position of the result to the next
    int64_t runs, pieces, words; // of a kernel row; of a run; of a piece, 16 at most
} IrConvCopy;
IrConvCopy ir_conv_copy(const IrConv *c);
// Tiles are read where x lies, without a copy: 1x1 with stride 1, no padding, and nothing between
// the channels of neighbouring pixels; tiles go on over the ends of rows.
bool ir_conv_in_place(const IrConv *c, const IrConvTile *t);

// Positions of the result cut into tiles of `rows`, these into strips of `count` each, the last of
// which may have fewer. Tiles go through each row of the result, `per_row` tiles, or, where
// per_row is 0, on over the ends of rows, through the columns of the copy behind a row's last.
typedef struct IrConvStrips {
    int64_t rows, count, per_row;
    int64_t tiles, strips;
    int64_t positions; // where tiles go on over ends: of all rows; else of one
} IrConvStrips;
IrConvStrips ir_conv_strips(const IrConv *c, const IrConvTile *t);
bool ir_conv_goes_over(const IrConv *c); // may they?
// Lines of the copy that `strips` neighbouring strips read at most.
int64_t ir_conv_strip_lines(const IrConv *c, const IrConvTile *t, int64_t strips);
// A band of more strips than an image has is one of so many whole images; of others 1.
int64_t ir_conv_band_images(const IrConv *c, const IrConvTile *t);
int64_t ir_conv_band_lines(const IrConv *c, const IrConvTile *t); // of the copy, at most

#endif
