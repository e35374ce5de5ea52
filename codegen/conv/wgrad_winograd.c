// The gradient of the weights of a 3x3 convolution of stride 1 by Winograd's algorithm (Lavin and
// Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, section 4; matrices:
// winograd.h).
//
// dy is cut into tiles of m x m pixels. A tile is a filter of m x m taps that slides over the
// (m+2) x (m+2) pixels of x that it was made from, to 3x3 places: F(3x3, m x m), whose n x n
// products, n = m + 2, do the work of 9 m^2. The sum over tiles and images is made of the products:
//
//   dw[o][c] = At [ sum over tiles (G dy[o] Gt) . (Bt x[c] B) ] A
//
// A piece is some blocks of x's channels by some of dy's; its sums of products, M, stay in L2. It
// takes all tiles of the batch, a block of them at a time: x transformed is V, dy transformed is U,
// and for each point M += V U as a product of matrices whose long side are the tiles. At the end M
// is transformed and transposed into dw.
//
//   V: [point][block of x][tile][lanes]      U: [point][block of dy][tile][lanes]
//   M: [point][block of x][terms of it][vecs of dy's blocks][term][vec][lanes]
//
// Pixels outside the images are zeros. Threads split the pieces, each of which sums up tiles in one
// order: results do not depend on the number of threads. Where a channel is in several pieces it is
// transformed for each.
#include "codegen/conv/wgrad_winograd.h"

#include "codegen/build/nd.h"

enum { TAPS = 3, UNROLL = 4 };

typedef struct Wino {
    CgFn *f;
    const CgWgradWino *s;
    CgWgradWinoShape w;
    CgVal v, u, m, zeros; // in scratch
    CgVal cb, ob;         // first blocks of the piece
    CgVal first, count;   // tiles of the block
    CgVal n, oh, ow;      // the tile
} Wino;

// One operand, as its transform reads it.
typedef struct Side {
    const WinoMatrix *matrix;
    CgVal from, to;    // of a block of channels: its first pixel's image, the tile's place
    int height, width; // of an image
    CgVal row, column; // the tile's first pixel
    int64_t point;     // floats between points of `to`
} Side;

typedef struct Nest {
    WinoNest nest;
    Wino *d;
    const Side *side;
    CgVal at[WINO_MAX_N], in_row[WINO_MAX_N]; // by row: floats from `from`; inside of the image
    CgVal column[WINO_MAX_N], in_column[WINO_MAX_N];
    CgVal from, to; // without a side
} Nest;

CgWgradWinoShape cg_conv_wgrad_winograd_shape(const CgWgradWino *s) {
    CgWgradWinoShape w = {.tiles_h = cg_ceil_div(s->c.OH, s->m),
                          .tiles_w = cg_ceil_div(s->c.OW, s->m)};
    if (!cg_conv_winograd_axis(TAPS, s->m, 1, &w.axis))
        return (CgWgradWinoShape){0};
    w.points = w.axis.n * w.axis.n;
    // a line between points: else those of a tile share a set of the cache
    w.v_point = ((int64_t)s->c_blocks * s->block + 1) * IR_BLOCK;
    w.u_point = ((int64_t)s->o_blocks * s->block + 1) * IR_BLOCK;
    w.m_point = (int64_t)s->c_blocks * s->o_blocks * IR_BLOCK * IR_BLOCK;
    w.v_floats = w.points * w.v_point;
    w.u_floats = w.points * w.u_point;
    w.m_floats = w.points * w.m_point;
    int64_t result = w.m_point * TAPS * TAPS; // lies in V's place
    w.v_floats = w.v_floats < result ? result : w.v_floats;
    return w;
}

// ---------------------------------------------------------------- transforms

static CgVal load_inside(WinoNest *nest, int i, int j) {
    const Nest *n = (const Nest *)nest;
    int64_t at = ((int64_t)i * n->side->width + j) * IR_BLOCK;
    return cg_load_v(n->d->f, cg_fatc(n->d->f, n->from, at));
}

static CgVal load_border(WinoNest *nest, int i, int j) {
    const Nest *n = (const Nest *)nest;
    CgFn *f = n->d->f;
    CgVal p = cg_fat(f, n->from, cg_iadd(f, n->at[i], n->column[j]));
    CgVal in = LLVMBuildAnd(f->b, n->in_row[i], n->in_column[j], "");
    return cg_load_v(f, cg_select(f, in, p, n->d->zeros));
}

static void store_point(WinoNest *nest, int i, int j, CgVal x) {
    const Nest *n = (const Nest *)nest;
    int64_t point = (int64_t)i * n->d->w.axis.n + j;
    cg_store_v(n->d->f, x, cg_fatc(n->d->f, n->side->to, point * n->side->point));
}

static void find_border(Nest *n) {
    CgFn *f = n->d->f;
    const Side *s = n->side;
    for (int i = 0; i < s->matrix->cols; i++) {
        CgVal row = cg_iaddc(f, s->row, i), column = cg_iaddc(f, s->column, i);
        n->in_row[i] = cg_icmp(f, LLVMIntULT, row, cg_i64(f, s->height));
        n->in_column[i] = cg_icmp(f, LLVMIntULT, column, cg_i64(f, s->width));
        n->at[i] = cg_imulc(f, row, (int64_t)s->width * IR_BLOCK);
        n->column[i] = cg_imulc(f, column, IR_BLOCK);
    }
}

static void transform_tile(Wino *d, const Side *s) {
    CgFn *f = d->f;
    Nest n = {.nest = {.load = load_inside, .store = store_point}, .d = d, .side = s};
    int size = s->matrix->cols;
    CgVal first = cg_iadd(f, cg_imulc(f, s->row, s->width), s->column);
    CgVal in = cg_icmp(f, LLVMIntSGE, s->row, cg_i64(f, 0));
    in = LLVMBuildAnd(f->b, in, cg_icmp(f, LLVMIntSGE, s->column, cg_i64(f, 0)), "");
    CgVal bottom = cg_icmp(f, LLVMIntSLE, s->row, cg_i64(f, s->height - size));
    CgVal right = cg_icmp(f, LLVMIntSLE, s->column, cg_i64(f, s->width - size));
    in = LLVMBuildAnd(f->b, in, LLVMBuildAnd(f->b, bottom, right, ""), "");
    CgIf branch;
    cg_if(f, &branch, in);
    n.from = cg_fat(f, s->from, cg_imulc(f, first, IR_BLOCK));
    cg_conv_winograd_nest(f, &n.nest, s->matrix, s->matrix);
    cg_else(f, &branch);
    n.from = s->from;
    n.nest.load = load_border;
    find_border(&n);
    cg_conv_winograd_nest(f, &n.nest, s->matrix, s->matrix);
    cg_endif(f, &branch);
}

// Blocks [first, first + blocks) of an operand with images of `plane` pixels, into `to`.
static void transform_blocks(Wino *d, Side s, CgVal image, CgVal first, int blocks, CgVal tile,
                             CgVal to) {
    CgFn *f = d->f;
    int64_t plane = (int64_t)s.height * s.width;
    CgLoop block, part;
    cg_for(f, &block, cg_i64(f, 0), cg_i64(f, blocks), 1);
    CgVal at = cg_iadd(f, cg_imulc(f, block.iv, d->s->block), tile);
    CgVal from = cg_imulc(f, cg_iadd(f, first, block.iv), plane);
    cg_for_parts(f, &part);
    s.from = cg_block(f, image, from);
    s.to = cg_block(f, to, at);
    transform_tile(d, &s);
    cg_end_parts(f, &part);
    cg_end(f, &block);
}

static void place_tile(Wino *d, CgVal tile) {
    CgFn *f = d->f;
    int per_image = d->w.tiles_h * d->w.tiles_w;
    CgVal at = cg_iadd(f, d->first, tile), rest = cg_iremc(f, at, per_image);
    d->n = cg_idivc(f, at, per_image);
    d->oh = cg_imulc(f, cg_idivc(f, rest, d->w.tiles_w), d->s->m);
    d->ow = cg_imulc(f, cg_iremc(f, rest, d->w.tiles_w), d->s->m);
}

static void emit_transforms(Wino *d) {
    CgFn *f = d->f;
    const CgWgradWino *s = d->s;
    CgLoop tile;
    cg_for(f, &tile, cg_i64(f, 0), d->count, 1);
    place_tile(d, tile.iv);
    Side x = {.matrix = &d->w.axis.bt,
              .height = s->c.H,
              .width = s->c.W,
              .row = cg_iaddc(f, d->oh, -s->c.pt),
              .column = cg_iaddc(f, d->ow, -s->c.pl),
              .point = d->w.v_point};
    Side dy = {.matrix = &d->w.axis.g,
               .height = s->c.OH,
               .width = s->c.OW,
               .row = d->oh,
               .column = d->ow,
               .point = d->w.u_point};
    CgVal x_image = cg_fat(f, f->arg[CG_WGRAD_X], cg_imulc(f, d->n, s->c.x_image));
    CgVal dy_image = cg_fat(f, f->arg[CG_WGRAD_DY], cg_imulc(f, d->n, s->c.dy_image));
    transform_blocks(d, x, x_image, d->cb, s->c_blocks, tile.iv, d->v);
    transform_blocks(d, dy, dy_image, d->ob, s->o_blocks, tile.iv, d->u);
    cg_end(f, &tile);
}

// ---------------------------------------------------------------- products

// One tile's products: v, u at it.
static void emit_product(Wino *d, CgVal v, CgVal u, CgVal *acc) {
    CgFn *f = d->f;
    const CgWgradWino *s = d->s;
    CgVal dy[CG_MAX_CARRY];
    cg_fence(f);
    for (int k = 0; k < s->vecs; k++)
        dy[k] = cg_load_v(f, cg_fatc(f, u, (int64_t)k * s->block * IR_BLOCK));
    for (int i = 0; i < s->terms; i++) {
        CgVal x = cg_splat(f, cg_load_f(f, cg_fatc(f, v, i)));
        for (int k = 0; k < s->vecs; k++)
            acc[i * s->vecs + k] = cg_fma(f, x, dy[k], acc[i * s->vecs + k]);
    }
}

static void emit_tiles(Wino *d, CgVal lo, CgVal hi, int unroll, CgVal v, CgVal u, CgVal *acc) {
    CgFn *f = d->f;
    CgLoop tile;
    cg_for_carry(f, &tile, lo, hi, unroll, d->s->terms * d->s->vecs, acc);
    for (int i = 0; i < unroll; i++) {
        CgVal at = cg_imulc(f, cg_iaddc(f, tile.iv, i), IR_BLOCK);
        emit_product(d, cg_fat(f, v, at), cg_fat(f, u, at), acc);
    }
    cg_end_carry(f, &tile, acc);
}

// The register tile at m: v its first term, u its first vector, of tile 0.
static void emit_register_tile(Wino *d, CgVal v, CgVal u, CgVal m) {
    CgFn *f = d->f;
    CgVal acc[CG_MAX_CARRY];
    int n = d->s->terms * d->s->vecs;
    CgVal most = cg_imulc(f, cg_idivc(f, d->count, UNROLL), UNROLL);
    for (int i = 0; i < n; i++)
        acc[i] = cg_load_v(f, cg_fatc(f, m, i * IR_BLOCK));
    emit_tiles(d, cg_i64(f, 0), most, UNROLL, v, u, acc);
    emit_tiles(d, most, d->count, 1, v, u, acc);
    for (int i = 0; i < n; i++)
        cg_store_v(f, acc[i], cg_fatc(f, m, i * IR_BLOCK));
}

static void emit_points(Wino *d) {
    CgFn *f = d->f;
    const CgWgradWino *s = d->s;
    int sets = IR_BLOCK / s->terms, tiles = s->o_blocks / s->vecs;
    CgLoop point, set, tile, part;
    cg_for(f, &point, cg_i64(f, 0), cg_i64(f, d->w.points), 1);
    CgVal v = cg_fat(f, d->v, cg_imulc(f, point.iv, d->w.v_point));
    CgVal u = cg_fat(f, d->u, cg_imulc(f, point.iv, d->w.u_point));
    CgVal m = cg_fat(f, d->m, cg_imulc(f, point.iv, d->w.m_point));
    cg_for(f, &set, cg_i64(f, 0), cg_i64(f, (int64_t)s->c_blocks * sets), 1);
    CgVal block = cg_imulc(f, cg_idivc(f, set.iv, sets), (int64_t)s->block * IR_BLOCK);
    CgVal term = cg_imulc(f, cg_iremc(f, set.iv, sets), s->terms);
    CgVal vs = cg_fat(f, v, cg_iadd(f, block, term));
    cg_for(f, &tile, cg_i64(f, 0), cg_i64(f, tiles), 1);
    CgVal at = cg_iadd(f, cg_imulc(f, set.iv, tiles), tile.iv);
    cg_for_parts(f, &part);
    emit_register_tile(d, vs, cg_block(f, u, cg_imulc(f, tile.iv, (int64_t)s->vecs * s->block)),
                       cg_block(f, m, cg_imulc(f, at, (int64_t)s->terms * s->vecs)));
    cg_end_parts(f, &part);
    cg_end(f, &tile);
    cg_end(f, &set);
    cg_end(f, &point);
}

// ---------------------------------------------------------------- sums to dw

static CgVal load_sum(WinoNest *nest, int i, int j) {
    const Nest *n = (const Nest *)nest;
    int64_t point = (int64_t)i * n->d->w.axis.n + j;
    return cg_load_v(n->d->f, cg_fatc(n->d->f, n->from, point * n->d->w.m_point));
}

static void store_tap(WinoNest *nest, int i, int j, CgVal x) {
    const Nest *n = (const Nest *)nest;
    cg_store_v(n->d->f, x, cg_fatc(n->d->f, n->to, (i * TAPS + j) * IR_BLOCK));
}

// M -> [block of dy][channel of x][tap][lanes], in V's place.
static void emit_taps(Wino *d) {
    CgFn *f = d->f;
    const CgWgradWino *s = d->s;
    int per = s->terms * s->vecs, tiles = s->o_blocks / s->vecs;
    int64_t rows = (int64_t)s->c_blocks * IR_BLOCK;
    CgLoop sum, part;
    cg_for(f, &sum, cg_i64(f, 0), cg_i64(f, rows * s->o_blocks), 1);
    CgVal tile = cg_idivc(f, sum.iv, per), rest = cg_iremc(f, sum.iv, per);
    CgVal c =
        cg_iadd(f, cg_imulc(f, cg_idivc(f, tile, tiles), s->terms), cg_idivc(f, rest, s->vecs));
    CgVal o =
        cg_iadd(f, cg_imulc(f, cg_iremc(f, tile, tiles), s->vecs), cg_iremc(f, rest, s->vecs));
    CgVal to = cg_imulc(f, cg_iadd(f, cg_imulc(f, o, rows), c), TAPS * TAPS);
    cg_for_parts(f, &part);
    Nest n = {.nest = {.load = load_sum, .store = store_tap}, .d = d};
    n.from = cg_block(f, d->m, sum.iv);
    n.to = cg_block(f, d->v, to);
    cg_conv_winograd_nest(f, &n.nest, &d->w.axis.at, &d->w.axis.at);
    cg_end_parts(f, &part);
    cg_end(f, &sum);
}

// Squares of [rows][lanes] to dw[o][rows].
static void emit_transposed(Wino *d) {
    CgFn *f = d->f;
    const CgWgradWino *s = d->s;
    int64_t rows = (int64_t)s->c_blocks * IR_BLOCK * TAPS * TAPS,
            all = (int64_t)s->c.C * TAPS * TAPS;
    CgLoop o, row;
    cg_for(f, &o, cg_i64(f, 0), cg_i64(f, s->o_blocks), 1);
    CgVal output = cg_imulc(f, cg_iadd(f, d->ob, o.iv), IR_BLOCK * all);
    CgVal at = cg_iadd(f, output, cg_imulc(f, d->cb, IR_BLOCK * TAPS * TAPS));
    CgVal to = cg_fat(f, f->arg[CG_WGRAD_DW], at);
    cg_for(f, &row, cg_i64(f, 0), cg_i64(f, rows), IR_BLOCK);
    CgVal from = cg_iadd(f, cg_imulc(f, o.iv, rows), row.iv), square[IR_BLOCK];
    for (int i = 0; i < IR_BLOCK; i++)
        square[i] = cg_load_v(f, cg_block(f, d->v, cg_iaddc(f, from, i)));
    cg_transpose_lanes(f, square);
    for (int i = 0; i < IR_BLOCK; i++)
        cg_store_v(f, square[i], cg_fat(f, cg_fatc(f, to, i * all), row.iv));
    cg_end(f, &row);
    cg_end(f, &o);
}

// ---------------------------------------------------------------- the kernel

static void clear_sums(Wino *d) {
    CgFn *f = d->f;
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, d->w.m_floats / IR_BLOCK), 1);
    cg_store_v(f, cg_v(f, 0), cg_block(f, d->m, loop.iv));
    cg_end(f, &loop);
}

static void emit_piece(Wino *d) {
    CgFn *f = d->f;
    const CgWgradWino *s = d->s;
    CgVal total = cg_imulc(f, cg_dim(f, s->c.N), (int64_t)d->w.tiles_h * d->w.tiles_w);
    CgLoop block;
    clear_sums(d);
    cg_for(f, &block, cg_i64(f, 0), total, s->block);
    d->first = block.iv;
    d->count = cg_imin(f, cg_isub(f, total, block.iv), cg_i64(f, s->block));
    emit_transforms(d);
    emit_points(d);
    cg_end(f, &block);
    emit_taps(d);
    emit_transposed(d);
}

void cg_conv_wgrad_winograd(CgFn *f, const void *spec) {
    const CgWgradWino *s = spec;
    Wino d = {.f = f, .s = s, .w = cg_conv_wgrad_winograd_shape(s)};
    int across = s->c.O / IR_BLOCK / s->o_blocks, pieces = s->c.C / IR_BLOCK / s->c_blocks * across;
    d.v = f->scratch;
    d.u = cg_fatc(f, d.v, d.w.v_floats);
    d.m = cg_fatc(f, d.u, d.w.u_floats);
    d.zeros = cg_fatc(f, d.m, d.w.m_floats);
    cg_store_v(f, cg_v(f, 0), d.zeros);
    CgVal lo, hi;
    CgLoop piece;
    cg_split(f, cg_i64(f, pieces), &lo, &hi);
    cg_for(f, &piece, lo, hi, 1);
    d.cb = cg_imulc(f, cg_idivc(f, piece.iv, across), s->c_blocks);
    d.ob = cg_imulc(f, cg_iremc(f, piece.iv, across), s->o_blocks);
    emit_piece(&d);
    cg_end(f, &piece);
}
