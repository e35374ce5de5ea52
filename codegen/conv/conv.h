// Convolution kernels: the plain data they share. Private to codegen/conv/.
//
// One spec serves all kernels. x is blocked (bin == lanes, or all its few channels) or plain NCHW
// (bin == 1: one channel to a block, which makes its addresses a special case of the blocked ones);
// y is always blocked.
//
// Products are made of words, 4 bytes of a pixel's channels (codegen/build/dot.h): an f32, two
// bf16, four bytes. Kernels count x and weights in words, and are the same for every type: a
// convolution of bytes is one of f32 with a quarter of the channels, but for its sums, which are
// i32, and what its epilogue makes of them.
// A 1x1 convolution with stride 1 sees each image as one column of H*W rows of width 1, so that
// its register tile runs over pixels regardless of the image's width.
//
// Kernel arguments: x, y, packed weights, [bias], then the epilogue's operands, then the
// prologue's.
#ifndef CODEGEN_CONV_CONV_H
#define CODEGEN_CONV_CONV_H

#include "codegen/build/cut.h"
#include "codegen/build/lower.h"
#include "ir/conv.h"

static inline int cg_min_int(int a, int b) {
    return a < b ? a : b;
}
static inline int cg_max_int(int a, int b) {
    return a > b ? a : b;
}
static inline int cg_ceil_div(int a, int b) { // 0 where a is negative
    return a <= 0 ? 0 : (a + b - 1) / b;
}

typedef enum CgConvBias {
    CG_CONV_NO_BIAS,
    CG_CONV_BIAS_PACKED, // constant, padded with zeros to whole vectors
    CG_CONV_BIAS_PLAIN,  // [O] in memory, no padding
    CG_CONV_BIAS_EDGES,  // constant, i32 [row][column][O padded], by the taps inside: see edges.c
    CG_CONV_BIAS_WHOLE,  // constant, i32 [O padded], of all taps: the padding is the zero point
} CgConvBias;

// Maximum over windows of the result, without dilation; kh == 0: none. OH, OW: what it leaves.
typedef struct CgConvPool {
    int32_t kh, kw, sh, sw, pt, pl, OH, OW;
    int32_t chunk; // pooled rows whose rows of the convolution are in scratch at a time
} CgConvPool;

typedef struct CgConv {
#define CG_CONV_SIZE(field, from) int32_t field;
#include "codegen/conv/sizes.def"
#undef CG_CONV_SIZE
    int32_t bin;  // channels to a block of x: lanes, 1, or all
    int32_t bout; // of the result: lanes or all
    IrConvTile tile;
    int32_t bias;                // CgConvBias
    int32_t dtype, sum, y_dtype; // IrDtype: of x, of the sums, of the result
    int32_t zero;                // of x, where the kernel reads it: of PLAIN and FILLS
    int32_t less;                // what its dots make of x is less by this: see ir_dot()
    int64_t x_image, y_image;    // elements from image to image
    int64_t words;               // of the packed weights
    IrDim N;
    CgBody then, pre;
    CgConvPool pool;
} CgConv;

enum { CG_CONV_X, CG_CONV_Y, CG_CONV_W, CG_CONV_BIAS };

// How many parts of equal size from `part` on have all their taps on an axis of `size` elements;
// reach: from the first tap to the last.
int cg_conv_inside(CgCut c, int part, int stride, int pad, int reach, int size);

// Output-channel groups of the direct kernel: `sets` sets of `blocks` vectors, each cut alike. A
// set is a convolution group where groups are whole vectors, else all channels.
typedef struct CgConvOc {
    int sets, blocks;
    CgCut cut;
} CgConvOc;
CgConvOc cg_conv_oc(const CgConv *s, int lanes);
// Blocks of x that output vectors [ocb, ocb + nv) read.
void cg_conv_ic_range(const CgConv *s, int lanes, int ocb, int nv, int *lo, int *hi);
int cg_conv_word(const CgConv *s);                   // channels to a word of x
int cg_conv_block_words(const CgConv *s);            // words to a block of x
int cg_conv_words(const CgConv *s, int channels);    // that so many channels of a block take
int cg_conv_panel_words(const CgConv *s, int lanes); // of input channels, to a weight panel
int cg_conv_unroll(const CgConv *s);                 // to one step of the inner loop
IrDtype cg_conv_weight(const CgConv *s);             // what weights are

// Are packed weights asked for ahead, as they may come from beyond L2?
bool cg_conv_asks_weights(const CgConv *s, const IrMachine *m);

// Output columns cut into tiles; runs of equal tiles that lie wholly inside are one loop.
typedef struct CgColumns {
    int first, width, n; // n tiles from column `first` on
    bool inside;         // no tap leaves the image; else n == 1
} CgColumns;
int cg_conv_columns(CgFn *f, const CgConv *s, CgColumns **out);
bool cg_conv_row_padded(const CgConv *s); // some output row reads above or below the image
// Range of kernel rows that output row `oh` reads.
void cg_conv_kh_range(const CgConv *s, int oh, int *lo, int *hi);
void cg_conv_kh_range_at(CgFn *f, const CgConv *s, CgVal oh, CgVal *lo, CgVal *hi);

// The tasks of kernels that make one row of one block at a time, groups lying inside of blocks: all
// rows of all blocks of all images, in bands of rows (tile.band; 0: a band is all of them), a part
// of them for each thread. begin() is given what holds for
// the task, to keep, before its kernel rows are known; then tile() emits each tile of columns.
typedef struct CgConvRowTask {
    CgVal n, ocb, oh, x; // image, block, row of the result; the block's plane of x
    CgVal kh_lo, kh_hi;  // kernel rows inside of the image
} CgConvRowTask;
typedef void CgConvRowBegin(void *ctx, const CgConvRowTask *t);
typedef void CgConvRowTile(void *ctx, const CgColumns *ct, CgVal column);
void cg_conv_row_tasks(CgFn *f, const CgConv *s, CgConvRowBegin *begin, CgConvRowTile *tile,
                       void *ctx);
// Row of x that kernel row kh reads: from the first tap of the tile's first pixel on, or, where
// taps of the tile leave the image, from its first column.
CgVal cg_conv_row_x(CgFn *f, const CgConv *s, const CgConvRowTask *t, const CgColumns *ct,
                    CgVal column, CgVal kh);

// Tasks in the order images, bands of `band` row tiles, groups, row tiles: which one `task` is.
CgVal cg_conv_image_task(CgFn *f, int rows, int groups, int band, CgVal task, CgVal *group,
                         CgVal *row); // returns the image

// The same order, where a thread does something for a band before its tasks. cg_conv_band_of: the
// number of a task's band, counted over all images; cg_conv_band: the part of that band among tasks
// [lo, hi), of which there are some.
typedef struct CgBand {
    CgVal n, first, rows;    // image; first row tile and how many
    CgVal start, begin, end; // the band's first task; those to do
    CgVal row, stop;         // row tiles of the band that these read, counted from its first
} CgBand;
CgVal cg_conv_band_of(CgFn *f, int rows, int groups, int band, CgVal task);
CgBand cg_conv_band(CgFn *f, int rows, int groups, int per_band, CgVal band, CgVal lo, CgVal hi);

// Classes of positions of the result along an axis, by the kernel rows (columns) inside the image:
// positions [first, end) read all and are one; others are one each.
typedef struct CgEdge {
    int first, end, n;
} CgEdge;
CgEdge cg_conv_edge(int positions, int stride, int pad, int reach, int size);
CgEdge cg_conv_edge_rows(const CgConv *s);
CgEdge cg_conv_edge_columns(const CgConv *s);
// The table of CG_CONV_BIAS_EDGES: what a sum begins with, so that it is that of x - zero over the
// taps inside. w: [O][C/group][KH][KW], bias: [O] or NULL; out: [row class][column class][blocks]
// [lanes], zeroed.
int64_t cg_conv_edge_elems(const CgConv *s, int lanes);
void cg_conv_pack_edges(const CgConv *s, int lanes, const int8_t *w, const int32_t *bias,
                        int64_t zero, int32_t *out);

// One output vector's place, for bias and epilogue. The bias at row oh and column ow of the result,
// which matter to EDGES alone.
CgVal cg_conv_bias(CgFn *f, const CgConv *s, CgVal ocb);
CgVal cg_conv_bias_at(CgFn *f, const CgConv *s, CgVal ocb, CgVal oh, CgVal ow);
CgVal cg_conv_then(CgFn *f, const CgConv *s, CgVal acc, CgVal n, CgVal ocb, CgVal pixel);
CgVal cg_conv_then_float(CgFn *f, const CgConv *s, CgVal acc, CgVal n, CgVal ocb, CgVal pixel);
// A register tile of the result: rows x cols pixels from `pixel` on of image n, `nv` output vectors
// from `ocb` on. Where the image is one column its rows follow each other.
typedef struct CgConvTile {
    CgVal n, ocb, pixel;
    int rows, cols, nv;
} CgConvTile;
// Asks for what the epilogue reads of the tile: for the part of step `step` of `steps`.
void cg_conv_ask_then(CgFn *f, const CgConv *s, const CgConvTile *t, CgVal step, int64_t steps);
// Asks for what the epilogue of a vector reads of whole pixels, and for where such a result goes.
void cg_conv_ask_vector(CgFn *f, const CgConv *s, CgVal n, CgVal ocb, CgVal pixel);
CgVal cg_conv_y(CgFn *f, const CgConv *s, CgVal base, CgVal index); // &base[index] of the result
// Where vector `ocb` of a pixel's channels lies in `image`, of the result's pixels and type t, in
// blocks of IR_BLOCK channels or of all.
CgVal cg_conv_vector(CgFn *f, const CgConv *s, IrDtype t, CgVal image, int64_t block, CgVal ocb,
                     CgVal pixel);
CgVal cg_conv_result(CgFn *f, const CgConv *s, CgVal n, CgVal ocb, CgVal pixel); // that of image n
void cg_conv_store(CgFn *f, const CgConv *s, CgVal y, CgVal p); // y of cg_conv_then()

// The prologue, see conv/prologue.c: only the direct kernel has one, only on pixels in a column.
// Sets the band; false: not in this form.
bool cg_conv_prologue_init(CgConv *s, const IrMachine *m, int lanes);
int64_t cg_conv_prologue_floats(const CgConv *s, int lanes); // of scratch
int64_t cg_conv_prologue_block(const CgConv *s, int lanes);  // of them from block to block of x
// Pixels [first, end) of image n into the scratch, which begins with pixel `origin`.
void cg_conv_prologue(CgFn *f, const CgConv *s, CgVal n, CgVal origin, CgVal first, CgVal end);

// The pool, see conv/pool.c: only the direct kernel has one, only with tiles of one row.
void cg_conv_pool_init(CgConv *s, const IrMachine *m, int lanes); // the chunk
int64_t cg_conv_pool_elems(const CgConv *s, int lanes);           // of scratch, as y's
int64_t cg_conv_pool_block(const CgConv *s, int lanes); // of them from output vector to vector
// The whole kernel: row() computes a row of the convolution of an image for a group of output
// vectors, and writes it to `to`.
typedef void CgConvRow(void *ctx, CgVal n, CgVal group, CgVal row, CgVal to);
void cg_conv_pool(CgFn *f, const CgConv *s, CgConvRow *row, void *ctx);

// ---- kernels: what ir/conv_algos.def names. `lanes`: channels of a block.

typedef void CgConvEmit(CgFn *f, const void *spec);
typedef bool CgConvFits(const CgConv *s, int lanes);
// w: [O][C/group][KH][KW], of the weights' type; out: zeroed
typedef void CgConvPack(const CgConv *s, const CgTarget *t, const void *w, void *out);
typedef int64_t CgConvScratch(const CgConv *s, int lanes);

#define IR_CONV_ALGO(E, text, types, flags, tile, choose, words, kernel, pack, prepare, scratch,   \
                     tiles)                                                                        \
    CgConvEmit cg_conv_emit_##kernel, cg_conv_prepare_##prepare;                                   \
    CgConvFits cg_conv_fits_##kernel;                                                              \
    CgConvPack cg_conv_pack_##pack;                                                                \
    CgConvScratch cg_conv_scratch_##scratch;
#include "ir/conv_algos.def"
#undef IR_CONV_ALGO

typedef struct CgConvAlgo {
    const char *packed; // the order of its constant weights: the name of a function
    CgConvEmit *emit;
    CgConvFits *fits;
    CgConvPack *pack;    // constant weights, while compiling; NULL: it reads them as they are
    CgConvEmit *prepare; // its spec is a CgConvFilter; NULL: nothing to pack when the program runs
    CgConvScratch *scratch; // bytes a thread, or NULL
    int tiles;              // register tiles of products in its code
} CgConvAlgo;
const CgConvAlgo *cg_conv_algo(IrConvAlgo algo);

// Kernels that write weights in the order that those above read them; see conv/prepare.c.
// Arguments: the weights as they are, then the place for those in order. The specs of convolutions
// that can share them are equal.
typedef struct CgConvFilter {
    CgConv s;            // what the order depends on, else zeros
    int32_t from_packed; // cg_conv_pack_direct(), else plain
    int32_t stored;      // IrDtype: of what it is made from
    int32_t scaled;      // times a factor of each row of plain weights, which is the third argument
    int32_t reversed; // plain weights that are still to be flipped: [C][O][taps from the last on]
} CgConvFilter;
enum { CG_CONV_FILTER_FROM, CG_CONV_FILTER_TO, CG_CONV_FILTER_FACTOR };
CgConvFilter cg_conv_filter(const CgConv *s, IrConvAlgo algo, bool from_packed);

// ---- lowering (conv.c, weights.c)

// The geometry and tile in plain data; images, bias, bodies are the caller's.
void cg_conv_init(CgConv *s, const IrConv *c, const IrConvTile *t);
IrConv cg_conv_geometry(const CgConv *s); // that it was made of
// The argument that holds n's weights as its kernel reads them, its bias.
CgArg cg_conv_arg_weights(CgProgram *p, const IrNode *n, IrConvAlgo algo, const CgConv *s);
CgArg cg_conv_arg_bias(CgProgram *p, const IrNode *n, const CgConv *s);

#endif
