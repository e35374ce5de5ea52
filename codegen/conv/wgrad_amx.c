// The gradient of a convolution's weights by products of matrix tiles (codegen/build/amx.h),
//
//   dw[o][i][kh][kw] = sum over images n and output pixels (oh, ow) of
//                      dy[n][o][oh][ow] * x[n][i][oh*sh - pt + kh*dh][ow*sw - pl + kw*dw]
//
// The sum goes over pixels and images, so a word is two images' numbers of a channel and a pixel.
// Both operands are copied to words, a band of the images at a time:
//
//   position  a pixel of the result, or what lies between rows of these: oh * pitch + ow. Bands of
//             several pairs of images have them one after another
//   right     [block][plane][position][channel]. x's rows and columns lie in planes by their
//             remainders of the strides, with the padding, so that a tap is an offset and 16
//             positions on from any are a tile: rows of 64 bytes. The right padding of a line is
//             the left one of the next, where there are both
//   left      [block][tile of 16 positions][channel][position]: transposed; zeros where a position
//             is no pixel, whatever the right operand has there
//
// x is the right operand and dy the left one, or, of one tap that is the whole kernel, the other
// way round: whichever costs less to transpose.
//
// A number of f32 is two of bf16, the nearest one and the nearest to what that leaves, in copies
// one behind the other. Of the four products of two numbers the smallest is left out: three are off
// by 4.7e-6 of the product, in the mean of squares, to either side; so are sums of them, of their
// RMS. (Winograd's, wgrad_winograd.c: 5.5e-6; sums of 800 to 50,000 products in f32: .4e-6 to
// 3e-6.) Infinity becomes a NaN.
//
// A group of left blocks by right blocks, whose sums lie in scratch as tiles
// [left][right][tap][row][column], takes all bands before its sums become dw. Of a band, chunks of
// tiles stay in L1 while two blocks by two pass over them, tap by tap: four products for four tiles
// that are read. Threads split the blocks of one operand, and every sum takes all
// positions in one order, so that results do not depend on the number of threads.
#include "codegen/conv/wgrad_amx.h"
#include "codegen/build/amx.h"
#include "codegen/build/nd.h"

enum { TILE = CG_AMX_ROWS * CG_AMX_ROWS, PAIR = 2 }; // words of a tile; blocks of a task

// ---------------------------------------------------------------- shape

// Positions at both ends of a line, of all planes, that are padding: as many may be shared with the
// next line.
static int shared_ends(int length, int planes, int size, int stride, int pad) {
    int least = length;
    for (int p = 0; p < planes; p++) {
        int lo = cg_ceil_div(cg_max_int(pad - p, 0), stride);
        int hi = cg_ceil_div(cg_max_int(size + pad - p, 0), stride);
        least = cg_min_int(least, cg_min_int(lo, cg_max_int(length - hi, 0)));
    }
    return least;
}

static CgWgradSide side_of_x(const CgWgradAmx *s) {
    return (CgWgradSide){.blocks = cg_ceil_div(s->c.C, IR_BLOCK),
                         .plain = s->plain ? s->c.C : 0,
                         .H = s->c.H,
                         .W = s->c.W,
                         .sh = s->c.sh,
                         .sw = s->c.sw,
                         .pt = s->c.pt,
                         .pl = s->c.pl,
                         .planes_h = cg_min_int(s->c.sh, (s->c.kh - 1) * s->c.dh + 1),
                         .planes_w = cg_min_int(s->c.sw, (s->c.kw - 1) * s->c.dw + 1),
                         .halo = (s->c.kh - 1) * s->c.dh / s->c.sh,
                         .arg = CG_WGRAD_X,
                         .image = s->c.x_image};
}

static CgWgradSide side_of_dy(const CgWgradAmx *s) {
    return (CgWgradSide){.blocks = cg_ceil_div(s->c.O, IR_BLOCK),
                         .H = s->c.OH,
                         .W = s->c.OW,
                         .sh = 1,
                         .sw = 1,
                         .planes_h = 1,
                         .planes_w = 1,
                         .arg = CG_WGRAD_DY,
                         .image = s->c.dy_image};
}

CgWgradAmxShape cg_conv_wgrad_amx_shape(const CgWgradAmx *s) {
    CgWgradSide x = side_of_x(s), dy = side_of_dy(s);
    CgWgradAmxShape w = {.left = s->by_x ? x : dy, .right = s->by_x ? dy : x};
    int right = (s->c.kw - 1) * s->c.dw / s->c.sw, line = s->c.OW + right;
    int above = shared_ends(s->c.OH + x.halo, x.planes_h, s->c.H, s->c.sh, s->c.pt);
    w.terms = s->terms;
    w.taps = s->c.kh * s->c.kw;
    w.pitch = line - cg_min_int(right, shared_ends(line, x.planes_w, s->c.W, s->c.sw, s->c.pl));
    w.lines = s->c.OH + x.halo - cg_min_int(x.halo, above);
    w.behind = (s->c.OH + x.halo - w.lines) * w.pitch + right + CG_AMX_ROWS;
    int64_t lines = (int64_t)(s->images - 1) * w.lines + s->rows;
    w.tiles = (int)ir_ceil_div(lines * w.pitch, CG_AMX_ROWS);
    w.plane = ((lines + x.halo) * w.pitch + w.behind) * IR_BLOCK;
    w.left_block = (int64_t)w.terms * w.tiles * TILE;
    w.right_block = w.terms * w.right.planes_h * w.right.planes_w * w.plane;
    w.left_at = (int64_t)s->left * s->right * w.taps * TILE;
    w.right_at = w.left_at + s->left * w.left_block;
    w.line_at = w.right_at + s->right * w.right_block;
    w.words = w.line_at + w.terms * w.left.planes_h * w.left.planes_w * w.plane;
    // store_output() reads up to as many tiles behind the sums
    w.words = ir_max(w.words, w.left_at + IR_BLOCK * TILE);
    return w;
}

// ---------------------------------------------------------------- products

typedef struct Wgrad {
    CgFn *f;
    const CgWgradAmx *s;
    CgWgradAmxShape w;
    CgVal left_lo, left_hi, right_lo, right_hi; // blocks of the group
} Wgrad;

enum { SUMS = 0, LEFT = 4, RIGHT = 6 }; // tiles, the first of each

// The sums of tap `tap` of two blocks, both counted from the group's first
static CgVal sums_of(const Wgrad *g, CgVal left, CgVal right, CgVal tap) {
    CgFn *f = g->f;
    CgVal at = cg_iadd(f, cg_imulc(f, left, g->s->right), right);
    at = cg_iadd(f, cg_imulc(f, at, g->w.taps), tap);
    return cg_fat(f, f->scratch, cg_imulc(f, at, TILE));
}

static void move_sums(const Wgrad *g, CgVal sums, int nl, int nr, bool load) {
    CgFn *f = g->f;
    CgVal row = cg_i64(f, CG_AMX_ROW_BYTES);
    for (int i = 0; i < nl; i++)
        for (int j = 0; j < nr; j++) {
            int64_t at = ((int64_t)i * g->s->right + j) * g->w.taps * TILE;
            (load ? cg_amx_load : cg_amx_store)(f, SUMS + 2 * i + j, cg_fatc(f, sums, at), row);
        }
}

// A term of each, left and right at it; those that the product before had are there.
static void emit_terms(const Wgrad *g, CgVal left, CgVal right, int nl, int nr) {
    CgFn *f = g->f;
    CgVal row = cg_i64(f, CG_AMX_ROW_BYTES);
    for (int i = 0; i < nl; i++) {
        if (left)
            cg_amx_load(f, LEFT + i, cg_fatc(f, left, i * g->w.left_block), row);
        for (int j = 0; j < nr; j++) {
            if (i == 0 && right)
                cg_amx_load(f, RIGHT + j, cg_fatc(f, right, j * g->w.right_block), row);
            cg_amx_dot(f, IR_BF16, SUMS + 2 * i + j, LEFT + i, RIGHT + j);
        }
    }
}

// One tile of positions: left, right at it. Of two terms each product has a tile of the one before.
static void emit_product(const Wgrad *g, CgVal left, CgVal right, int nl, int nr) {
    CgFn *f = g->f;
    if (g->w.terms == 1) {
        emit_terms(g, left, right, nl, nr);
        return;
    }
    emit_terms(g, cg_fatc(f, left, (int64_t)g->w.tiles * TILE), right, nl, nr);
    emit_terms(g, left, NULL, nl, nr);
    emit_terms(g, NULL, cg_fatc(f, right, g->w.right_block / g->w.terms), nl, nr);
}

// Words from a plane's position to the pixel that tap (kh, kw) multiplies there, in its own plane
static CgVal tap_at(const Wgrad *g, CgVal kh, CgVal kw) {
    CgFn *f = g->f;
    const CgWgradAmx *s = g->s;
    CgVal row = cg_imulc(f, kh, s->c.dh), column = cg_imulc(f, kw, s->c.dw);
    CgVal plane = cg_imulc(f, cg_iremc(f, row, s->c.sh), g->w.right.planes_w);
    plane = cg_iadd(f, plane, cg_iremc(f, column, s->c.sw));
    CgVal at = cg_imulc(f, cg_idivc(f, row, s->c.sh), g->w.pitch);
    at = cg_imulc(f, cg_iadd(f, at, cg_idivc(f, column, s->c.sw)), IR_BLOCK);
    return cg_iadd(f, cg_imulc(f, plane, g->w.plane), at);
}

typedef struct Chunk {
    CgVal lo, hi;      // tiles
    CgVal left, right; // blocks, counted from the group's first
} Chunk;

static void emit_taps(const Wgrad *g, const Chunk *c, int nl, int nr) {
    CgFn *f = g->f;
    CgLoop kh, kw, tile;
    CgVal left = cg_fatc(f, f->scratch, g->w.left_at);
    CgVal right = cg_fatc(f, f->scratch, g->w.right_at);
    left = cg_fat(f, left, cg_imulc(f, c->left, g->w.left_block));
    right = cg_fat(f, right, cg_imulc(f, c->right, g->w.right_block));
    cg_for(f, &kh, cg_i64(f, 0), cg_i64(f, g->s->c.kh), 1);
    cg_for(f, &kw, cg_i64(f, 0), cg_i64(f, g->s->c.kw), 1);
    CgVal tap = cg_iadd(f, cg_imulc(f, kh.iv, g->s->c.kw), kw.iv);
    CgVal sums = sums_of(g, c->left, c->right, tap);
    CgVal from = cg_fat(f, right, tap_at(g, kh.iv, kw.iv));
    move_sums(g, sums, nl, nr, true);
    cg_for(f, &tile, c->lo, c->hi, 1);
    CgVal at = cg_imulc(f, tile.iv, TILE);
    emit_product(g, cg_fat(f, left, at), cg_fat(f, from, at), nl, nr);
    cg_end(f, &tile);
    move_sums(g, sums, nl, nr, false);
    cg_end(f, &kw);
    cg_end(f, &kh);
}

// How many blocks of an operand are a task's wherever it begins; 0: it depends
static int blocks_of_task(const Wgrad *g, const CgWgradSide *side, bool shared) {
    bool even = side->blocks % PAIR == 0 && !(shared && g->s->unit == 1);
    return side->blocks == 1 ? 1 : even ? PAIR : 0;
}

// By one block or two of the right operand, as many as there are
static void emit_right(const Wgrad *g, const Chunk *c, int nl) {
    CgFn *f = g->f;
    CgIf two;
    int all = blocks_of_task(g, &g->w.right, g->s->split_right);
    if (all) {
        emit_taps(g, c, nl, all);
        return;
    }
    CgVal next = cg_iadd(f, g->right_lo, cg_iaddc(f, c->right, 1));
    cg_if(f, &two, cg_icmp(f, LLVMIntSLT, next, g->right_hi));
    emit_taps(g, c, nl, PAIR);
    cg_else(f, &two);
    emit_taps(g, c, nl, 1);
    cg_endif(f, &two);
}

static void emit_blocks(const Wgrad *g, const Chunk *c) {
    CgFn *f = g->f;
    CgIf two;
    int all = blocks_of_task(g, &g->w.left, !g->s->split_right);
    if (all) {
        emit_right(g, c, all);
        return;
    }
    CgVal next = cg_iadd(f, g->left_lo, cg_iaddc(f, c->left, 1));
    cg_if(f, &two, cg_icmp(f, LLVMIntSLT, next, g->left_hi));
    emit_right(g, c, PAIR);
    cg_else(f, &two);
    emit_right(g, c, 1);
    cg_endif(f, &two);
}

static void emit_chunks(const Wgrad *g, CgVal tiles) {
    CgFn *f = g->f;
    CgLoop chunk, left, right;
    cg_for(f, &chunk, cg_i64(f, 0), tiles, g->s->chunk);
    Chunk c = {.lo = chunk.iv, .hi = cg_imin(f, tiles, cg_iaddc(f, chunk.iv, g->s->chunk))};
    cg_for(f, &left, cg_i64(f, 0), cg_isub(f, g->left_hi, g->left_lo), PAIR);
    cg_for(f, &right, cg_i64(f, 0), cg_isub(f, g->right_hi, g->right_lo), PAIR);
    c.left = left.iv;
    c.right = right.iv;
    emit_blocks(g, &c);
    cg_end(f, &right);
    cg_end(f, &left);
    cg_end(f, &chunk);
}

// ---------------------------------------------------------------- sums to dw

typedef struct Result {
    CgVal sums, dw;          // of the two blocks: tap 0; [o][c][tap], the blocks' first
    CgVal outputs, channels; // that there are
} Result;

// `rows` rows of `square` to dw, `apart` from each other: n floats of each
static void store_rows(CgFn *f, CgVal *square, CgVal to, int64_t apart, CgVal rows, CgVal n) {
    CgIf inside;
    for (int i = 0; i < IR_BLOCK; i++) {
        cg_if(f, &inside, cg_icmp(f, LLVMIntSGT, rows, cg_i64(f, i)));
        cg_store_n(f, square[i], cg_fatc(f, to, i * apart), n);
        cg_endif(f, &inside);
    }
}

// Of one output channel taps lie beside each other: [tap][channel] becomes [channel][tap].
static void store_output(const Wgrad *g, const Result *r, CgVal o) {
    CgFn *f = g->f;
    CgVal square[IR_BLOCK];
    CgLoop tap;
    CgVal to = cg_fat(f, r->dw, cg_imulc(f, o, (int64_t)g->s->c.C * g->w.taps));
    CgVal from = cg_block(f, r->sums, o);
    if (g->w.taps == 1) {
        cg_store_n(f, cg_load_v(f, from), to, r->channels);
        return;
    }
    cg_for(f, &tap, cg_i64(f, 0), cg_i64(f, g->w.taps), IR_BLOCK);
    CgVal left = cg_isub(f, cg_i64(f, g->w.taps), tap.iv);
    for (int i = 0; i < IR_BLOCK; i++)
        square[i] = cg_load_v(f, cg_fat(f, from, cg_imulc(f, cg_iaddc(f, tap.iv, i), TILE)));
    cg_transpose_lanes(f, square);
    store_rows(f, square, cg_fat(f, to, tap.iv), g->w.taps, r->channels,
               cg_imin(f, left, cg_i64(f, IR_BLOCK)));
    cg_end(f, &tap);
}

// A tile of [channel][output channel]
static void store_transposed(const Wgrad *g, const Result *r) {
    CgFn *f = g->f;
    CgVal square[IR_BLOCK];
    for (int i = 0; i < IR_BLOCK; i++)
        square[i] = cg_load_v(f, cg_blockc(f, r->sums, i));
    cg_transpose_lanes(f, square);
    store_rows(f, square, r->dw, g->s->c.C, r->outputs, r->channels);
}

static Result find_result(const Wgrad *g, CgVal left, CgVal right) {
    CgFn *f = g->f;
    const CgWgradAmx *s = g->s;
    CgVal a = cg_iadd(f, g->left_lo, left), b = cg_iadd(f, g->right_lo, right);
    CgVal o = cg_imulc(f, s->by_x ? b : a, IR_BLOCK), c = cg_imulc(f, s->by_x ? a : b, IR_BLOCK);
    CgVal at = cg_imulc(f, cg_iadd(f, cg_imulc(f, o, s->c.C), c), g->w.taps);
    CgVal most = cg_i64(f, IR_BLOCK);
    return (Result){.sums = sums_of(g, left, right, cg_i64(f, 0)),
                    .dw = cg_fat(f, f->arg[CG_WGRAD_DW], at),
                    .outputs = cg_imin(f, most, cg_isub(f, cg_i64(f, s->c.O), o)),
                    .channels = cg_imin(f, most, cg_isub(f, cg_i64(f, s->c.C), c))};
}

// Output channel by output channel, as dw lies in memory; where these are columns, block by block.
static void store_results(const Wgrad *g) {
    CgFn *f = g->f;
    CgVal lefts = cg_isub(f, g->left_hi, g->left_lo), rights = cg_isub(f, g->right_hi, g->right_lo);
    CgLoop outer, output, inner;
    cg_for(f, &outer, cg_i64(f, 0), g->s->by_x ? rights : lefts, 1);
    if (g->s->by_x) {
        cg_for(f, &inner, cg_i64(f, 0), lefts, 1);
        Result r = find_result(g, inner.iv, outer.iv);
        store_transposed(g, &r);
        cg_end(f, &inner);
    } else {
        Result first = find_result(g, outer.iv, cg_i64(f, 0));
        cg_for(f, &output, cg_i64(f, 0), first.outputs, 1);
        cg_for(f, &inner, cg_i64(f, 0), rights, 1);
        Result r = find_result(g, outer.iv, inner.iv);
        store_output(g, &r, output.iv);
        cg_end(f, &inner);
        cg_end(f, &output);
    }
    cg_end(f, &outer);
}

// ---------------------------------------------------------------- the kernel

static void clear_sums(const Wgrad *g) {
    CgFn *f = g->f;
    CgLoop loop;
    CgVal blocks = cg_imulc(f, cg_isub(f, g->left_hi, g->left_lo), g->s->right);
    cg_for(f, &loop, cg_i64(f, 0), cg_imulc(f, blocks, g->w.taps * (int64_t)IR_BLOCK), 1);
    cg_store_v(f, cg_v(f, 0), cg_block(f, f->scratch, loop.iv));
    cg_end(f, &loop);
}

static void emit_band(const Wgrad *g, const CgWgradBand *b) {
    CgFn *f = g->f;
    const CgWgradAmxShape *w = &g->w;
    CgLoop block;
    CgVal lines = cg_imulc(f, cg_iaddc(f, b->images, -1), w->lines);
    CgVal positions = cg_imulc(f, cg_iadd(f, lines, b->rows), w->pitch);
    CgVal tiles = cg_idivc(f, cg_iaddc(f, positions, CG_AMX_ROWS - 1), CG_AMX_ROWS);
    CgVal left = cg_fatc(f, f->scratch, w->left_at), right = cg_fatc(f, f->scratch, w->right_at);
    CgVal line = cg_fatc(f, f->scratch, w->line_at);
    cg_for(f, &block, g->right_lo, g->right_hi, 1);
    CgVal at = cg_imulc(f, cg_isub(f, block.iv, g->right_lo), w->right_block);
    cg_conv_wgrad_amx_copy(f, w, &w->right, b, block.iv, cg_fat(f, right, at));
    cg_end(f, &block);
    cg_for(f, &block, g->left_lo, g->left_hi, 1);
    at = cg_imulc(f, cg_isub(f, block.iv, g->left_lo), w->left_block);
    cg_conv_wgrad_amx_copy_left(f, w, b, block.iv, line, cg_fat(f, left, at), tiles);
    cg_end(f, &block);
    emit_chunks(g, tiles);
}

static void emit_group(const Wgrad *g) {
    CgFn *f = g->f;
    const CgWgradAmx *s = g->s;
    CgLoop pair, row;
    CgWgradBand b = {.N = cg_dim(f, s->c.N)};
    CgVal pairs = cg_idivc(f, cg_iaddc(f, b.N, 1), 2);
    clear_sums(g);
    cg_for(f, &pair, cg_i64(f, 0), pairs, s->images);
    cg_for(f, &row, cg_i64(f, 0), cg_i64(f, s->c.OH), s->rows);
    b.pair = pair.iv;
    b.row = row.iv;
    b.images = cg_imin(f, cg_i64(f, s->images), cg_isub(f, pairs, pair.iv));
    b.rows = cg_imin(f, cg_i64(f, s->rows), cg_isub(f, cg_i64(f, s->c.OH), row.iv));
    emit_band(g, &b);
    cg_end(f, &row);
    cg_end(f, &pair);
    store_results(g);
}

static CgVal least(CgFn *f, CgVal x, int most) {
    return cg_imin(f, x, cg_i64(f, most));
}

// Units [lo, hi) of the blocks that threads share, by the others' range from `first` on
static void emit_range(Wgrad *g, CgVal first, CgVal lo, CgVal hi) {
    CgFn *f = g->f;
    const CgWgradAmx *s = g->s;
    int shared = s->split_right ? s->right : s->left, other = s->split_right ? s->left : s->right;
    int all = s->split_right ? g->w.right.blocks : g->w.left.blocks;
    int all_other = s->split_right ? g->w.left.blocks : g->w.right.blocks;
    CgVal end = least(f, cg_iaddc(f, first, other), all_other);
    CgLoop loop;
    lo = cg_imulc(f, lo, s->unit);
    hi = least(f, cg_imulc(f, hi, s->unit), all);
    cg_for(f, &loop, lo, hi, shared);
    CgVal to = cg_imin(f, cg_iaddc(f, loop.iv, shared), hi);
    g->left_lo = s->split_right ? first : loop.iv;
    g->left_hi = s->split_right ? end : to;
    g->right_lo = s->split_right ? loop.iv : first;
    g->right_hi = s->split_right ? to : end;
    emit_group(g);
    cg_end(f, &loop);
}

static void configure(CgFn *f) {
    CgAmxShape shape[CG_AMX_TILES];
    for (int i = 0; i < CG_AMX_TILES; i++)
        shape[i] = (CgAmxShape){CG_AMX_ROWS, CG_AMX_ROW_BYTES};
    cg_amx_begin(f, IR_BF16, shape, NULL);
}

void cg_conv_wgrad_amx(CgFn *f, const void *spec) {
    const CgWgradAmx *s = spec;
    Wgrad g = {.f = f, .s = s, .w = cg_conv_wgrad_amx_shape(s)};
    int all = s->split_right ? g.w.right.blocks : g.w.left.blocks;
    int others = s->split_right ? g.w.left.blocks : g.w.right.blocks;
    int other = s->split_right ? s->left : s->right, units = cg_ceil_div(all, s->unit);
    CgVal lo, hi;
    CgIf some;
    CgLoop range;
    cg_split(f, cg_i64(f, (int64_t)units * cg_ceil_div(others, other)), &lo, &hi);
    cg_if(f, &some, cg_icmp(f, LLVMIntSLT, lo, hi));
    configure(f);
    CgVal last = cg_iaddc(f, cg_idivc(f, cg_iaddc(f, hi, -1), units), 1);
    cg_for(f, &range, cg_idivc(f, lo, units), last, 1);
    CgVal before = cg_imulc(f, range.iv, units);
    CgVal from = cg_imax(f, cg_isub(f, lo, before), cg_i64(f, 0));
    emit_range(&g, cg_imulc(f, range.iv, other), from, least(f, cg_isub(f, hi, before), units));
    cg_end(f, &range);
    cg_amx_end(f);
    cg_endif(f, &some);
}
