// Strassen's multiplication for 1x1 convolutions, one level of it, in Winograd's form: seven
// products of half the pixels, channels and output channels where there were eight.
//
//   V. Strassen, "Gaussian elimination is not optimal", 1969; the form with 15 additions: D. Knuth,
//   The Art of Computer Programming 2, 4.6.4, exercise 36 ff., attributed to S. Winograd.
//
// A tile is 2 x 2 quarters of `rows` pixels by `vecs` output vectors: A11 and A12 are the channel
// halves of its first pixels, A21 and A22 those of its last ones; B is the weights, its columns the
// first and the last output vectors. With
//
//   S1 = A21 + A22   S2 = S1 - A11   S3 = A11 - A21   S4 = A12 - S2
//   T1 = B12 - B11   T2 = B22 - T1   T3 = B22 - B12   T4 = B21 - T2
//
// the quarters of the result are
//
//   P1  = A11 B11          C11 = P1 + A12 B21
//   U2  = P1 + S2 T2       U3  = U2 + S3 T3        C21 = U3 + A22 T4
//   P5  = S1 T1            C22 = U3 + P5           C12 = (U2 + P5) + S4 B22
//
// A sum of products goes on in the accumulators: only P1, U2 and U3 are kept aside, in scratch. The
// T stand in the prepared weights, made in double when the model is created. Before the tasks of a
// band of tiles a thread makes the S of the band's tiles, all channels, in its scratch; A is read
// where it is.
//
//   weights  [group][B11 B21 T2 T3 T4 T1 B22][C / 2][vecs][lanes]
//   scratch  [tile of the band][S2 S3 S1 S4][block of half the channels][pixel][lanes], then P1,
//   U2,
//            U3: [pixel][vec][lanes]
//
// With an odd number of pixels the one in the middle is in both halves and is stored by the first.
// Tasks are tiles of a group, in the order images, bands, groups, tiles; each thread takes a
// contiguous piece. How a tile is computed depends on nothing but its place in the image.
#include "codegen/build/nd.h"
#include "codegen/conv/conv.h"

enum {
    // Bytes that weights are asked for ahead, where they may come from beyond L2. A full register
    // tile works 7 cycles or more on a line of them, so this is 400 and more: a read from memory.
    PREFETCH_AHEAD = 4 << 10,
};

typedef struct Strassen {
    CgFn *f;
    const CgConv *s;
    CgCut tiles;
    int groups, nv;
    int half;           // blocks of half the channels
    int64_t sum, panel; // floats of an S, of a quarter of the weights
    bool prefetch;
    CgVal kept;
    // the tile
    int pixels, rows; // and of a half
    CgVal n, group, first, x, s0, w;
    CgVal ahead; // what the tile asks for of the next group's first panel
    CgVal acc[CG_MAX_CARRY];
} Strassen;

static int64_t sum_floats(const CgConv *s) {
    return (int64_t)(s->C / 2) * s->tile.rows;
}

bool cg_conv_fits_strassen(const CgConv *s, int lanes) {
    return s->kh == 1 && s->kw == 1 && s->W == 1 && s->OW == 1 && s->H == s->OH && s->sh == 1 &&
           s->pt == 0 && s->group == 1 && s->bin == lanes && s->C > 0 && s->C % (2 * lanes) == 0 &&
           s->tile.vecs >= 1 && s->O % (2 * s->tile.vecs * lanes) == 0 && s->tile.rows >= 1 &&
           s->tile.band >= 1 && s->OH >= 2 && (int64_t)s->tile.rows * s->tile.vecs <= CG_MAX_CARRY;
}

static int32_t band_tiles(const CgConv *s) {
    int n = cg_cut(s->OH, 2 * s->tile.rows).n;
    return s->tile.band < n ? s->tile.band : n;
}

int64_t cg_conv_scratch_strassen(const CgConv *s, int lanes) {
    int64_t kept = 3 * (int64_t)s->tile.rows * s->tile.vecs * lanes;
    return 4 * (4 * band_tiles(s) * sum_floats(s) + kept);
}

// ---------------------------------------------------------------- sums of the input

typedef struct Sums {
    Strassen *d;
    CgVal upper, lower, to; // pixels of the two halves in x, the place in S2
} Sums;

static void emit_sums_of_pixel(void *ctx, CgFn *f, CgVal i, CgVal n) {
    (void)n;
    Sums *t = ctx;
    const CgConv *s = t->d->s;
    int64_t half = (int64_t)t->d->half * s->H * f->lanes, sum = t->d->sum;
    CgVal at = cg_imulc(f, i, f->lanes), to = cg_fat(f, t->to, at);
    CgVal upper = cg_fat(f, t->upper, at), lower = cg_fat(f, t->lower, at);
    CgVal a11 = cg_load_v(f, upper), a12 = cg_load_v(f, cg_fatc(f, upper, half));
    CgVal a21 = cg_load_v(f, lower), a22 = cg_load_v(f, cg_fatc(f, lower, half));
    CgVal s1 = cg_fadd(f, a21, a22), s2 = cg_fsub(f, s1, a11);
    cg_store_v(f, s2, to);
    cg_store_v(f, cg_fsub(f, a11, a21), cg_fatc(f, to, sum));
    cg_store_v(f, s1, cg_fatc(f, to, 2 * sum));
    cg_store_v(f, cg_fsub(f, a12, s2), cg_fatc(f, to, 3 * sum));
}

// The S of the tile
static void emit_sums(Strassen *d) {
    CgFn *f = d->f;
    CgLoop block;
    cg_for(f, &block, cg_i64(f, 0), cg_i64(f, d->half), 1);
    CgVal x = cg_fat(f, d->x, cg_imulc(f, block.iv, (int64_t)d->s->H * f->lanes));
    Sums t = {d, x, cg_fatc(f, x, (int64_t)(d->pixels - d->rows) * f->lanes),
              cg_fat(f, d->s0, cg_imulc(f, block.iv, (int64_t)d->s->tile.rows * f->lanes))};
    cg_nd_steps(f, cg_i64(f, d->rows), 2, emit_sums_of_pixel, &t);
    cg_end(f, &block);
}

// ---------------------------------------------------------------- products

// While products are made the memory is idle: the tasks of a tile ask together for the tile one
// band further on, each for its part of every block.
static void prefetch_tile(Strassen *d, CgVal xb) {
    CgFn *f = d->f;
    int line = 64 / (int)sizeof(float), lines = d->pixels * f->lanes / line;
    int part = (lines + d->groups - 1) / d->groups;
    int64_t ahead = (int64_t)band_tiles(d->s) * d->tiles.size * f->lanes;
    CgVal next = cg_fat(f, cg_fatc(f, xb, ahead), cg_imulc(f, d->group, (int64_t)part * line));
    for (int i = 0; i < part; i++)
        cg_prefetch(f, cg_fatc(f, next, (int64_t)i * line), 2);
}

// The next group's weights on their way into L2 while the tiles of this one are multiplied: each
// tile asks for its part of each panel. Else a group's first tile would wait for all of them.
static void prefetch_group(Strassen *d, int k, CgVal channel) {
    CgFn *f = d->f;
    int tiles = band_tiles(d->s);
    if (!d->prefetch || tiles == 1)
        return;
    CgVal line = cg_idivc(f, cg_imulc(f, channel, d->nv), tiles);
    CgVal p = cg_fat(f, cg_fatc(f, d->ahead, k * d->panel), cg_imulc(f, line, f->lanes));
    for (int i = 0; i < cg_ceil_div(d->nv, tiles); i++)
        cg_prefetch(f, cg_fatc(f, p, (int64_t)i * f->lanes), 2);
}

// One channel; x: of the first pixel, w: its vectors
static void emit_channel(Strassen *d, CgVal x, CgVal w) {
    CgFn *f = d->f;
    CgVal wv[CG_MAX_CARRY];
    for (int v = 0; v < d->nv; v++) {
        wv[v] = cg_load_v(f, cg_fatc(f, w, v * f->lanes));
        if (d->prefetch)
            cg_prefetch(f, cg_fatc(f, w, v * f->lanes + PREFETCH_AHEAD / 4), 3);
    }
    for (int r = 0; r < d->rows; r++) {
        CgVal a = cg_load_splat(f, cg_fatc(f, x, (int64_t)r * f->lanes));
        for (int v = 0; v < d->nv; v++)
            d->acc[r * d->nv + v] = cg_fma(f, a, wv[v], d->acc[r * d->nv + v]);
    }
}

// What the epilogue of a quarter of the result reads is asked for by a product before that is
// stored.
static void ask_then(Strassen *d, int k, CgVal channel) {
    static const struct {
        bool asks, lower, last_vectors;
    } quarters[] = {[0] = {true, false, false}, // C11
                    [2] = {true, true, false},  // C21
                    [4] = {true, true, true},   // C22
                    [5] = {true, false, true},  // C12
                    [6] = {false}};
    CgFn *f = d->f;
    if (!quarters[k].asks)
        return;
    int lower = quarters[k].lower ? d->pixels - d->rows : 0;
    int last = quarters[k].last_vectors ? d->nv : 0;
    CgConvTile tile = {.n = d->n,
                       .ocb = cg_iaddc(f, cg_imulc(f, d->group, 2 * d->nv), last),
                       .pixel = cg_iaddc(f, d->first, lower),
                       .rows = d->rows,
                       .cols = 1,
                       .nv = d->nv};
    cg_conv_ask_then(f, d->s, &tile, channel, d->s->C / 2);
}

// acc += x times quarter `k` of the group's weights; the blocks of x lie `step` floats apart. A
// tile goes through the code of seven products: nothing is unrolled, so that it stays where decoded
// instructions are kept. With four channels to a step a whole convolution took 2 to 3 % longer,
// with eight 10 to 20 %.
static void emit_product(Strassen *d, CgVal x, int64_t step, int k) {
    CgFn *f = d->f;
    int n_acc = d->rows * d->nv, vectors = d->nv * f->lanes;
    CgVal w = cg_fatc(f, d->w, k * d->panel);
    CgLoop block, channel;
    cg_for_carry(f, &block, cg_i64(f, 0), cg_i64(f, d->half), 1, n_acc, d->acc);
    CgVal xb = cg_fat(f, x, cg_imulc(f, block.iv, step));
    CgVal wb = cg_fat(f, w, cg_imulc(f, block.iv, (int64_t)f->lanes * vectors));
    if (k < 2)
        prefetch_tile(d, xb);
    cg_for_carry(f, &channel, cg_i64(f, 0), cg_i64(f, f->lanes), 1, n_acc, d->acc);
    int part = (d->rows + f->lanes - 1) / f->lanes; // lines of the next block of x
    CgVal next = cg_fatc(f, xb, step);
    next = cg_fat(f, next, cg_imulc(f, channel.iv, (int64_t)part * f->lanes));
    CgVal at = cg_iadd(f, cg_imulc(f, block.iv, f->lanes), channel.iv);
    prefetch_group(d, k, at);
    ask_then(d, k, at);
    for (int i = 0; i < part; i++)
        cg_prefetch(f, cg_fatc(f, next, (int64_t)i * f->lanes), 3);
    emit_channel(d, cg_fat(f, xb, channel.iv), cg_fat(f, wb, cg_imulc(f, channel.iv, vectors)));
    cg_end_carry(f, &channel, d->acc);
    cg_end_carry(f, &block, d->acc);
}

static void multiply_image(Strassen *d, bool lower, bool last_channels, int k) {
    CgFn *f = d->f;
    int64_t plane = (int64_t)d->s->H * f->lanes;
    int64_t at = (lower ? d->pixels - d->rows : 0) * (int64_t)f->lanes;
    emit_product(d, cg_fatc(f, d->x, at + (last_channels ? d->half * plane : 0)), plane, k);
}

static void multiply_sum(Strassen *d, int sum, int k) {
    CgFn *f = d->f;
    emit_product(d, cg_fatc(f, d->s0, sum * d->sum), (int64_t)d->s->tile.rows * f->lanes, k);
}

static CgVal kept_at(Strassen *d, int slot, int i) {
    return cg_fatc(d->f, d->kept, ((int64_t)slot * d->rows * d->nv + i) * d->f->lanes);
}

static void keep(Strassen *d, int slot) {
    for (int i = 0; i < d->rows * d->nv; i++)
        cg_store_v(d->f, d->acc[i], kept_at(d, slot, i));
}

static CgVal kept(Strassen *d, int slot, int i) {
    return cg_load_v(d->f, kept_at(d, slot, i));
}

// A quarter of the result: the accumulators, plus what was kept in `slot`, unless < 0
static void store_quarter(Strassen *d, bool lower, bool last_vectors, int slot) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    CgVal y = cg_conv_y(f, s, f->arg[CG_CONV_Y], cg_imulc(f, d->n, s->y_image));
    CgVal first = cg_iaddc(f, d->first, lower ? d->pixels - d->rows : 0);
    for (int v = 0; v < d->nv; v++) {
        CgVal ocb = cg_imulc(f, d->group, 2 * d->nv);
        ocb = cg_iaddc(f, ocb, last_vectors ? d->nv + v : v);
        CgVal bias = cg_conv_bias(f, s, ocb);
        for (int r = lower ? 2 * d->rows - d->pixels : 0; r < d->rows; r++) {
            CgVal pixel = cg_iaddc(f, first, r), acc = d->acc[r * d->nv + v];
            if (slot >= 0)
                acc = cg_fadd(f, acc, kept(d, slot, r * d->nv + v));
            acc = cg_conv_then(f, s, cg_fadd(f, acc, bias), d->n, ocb, pixel);
            CgVal at = cg_iadd(f, cg_imulc(f, ocb, s->OH), pixel);
            cg_conv_store(f, s, acc, cg_conv_y(f, s, y, cg_imulc(f, at, f->lanes)));
        }
    }
}

static void start(Strassen *d) {
    for (int i = 0; i < d->rows * d->nv; i++)
        d->acc[i] = LLVMConstNull(d->f->vec);
}

static void emit_tile(Strassen *d) {
    enum { P1, U2, U3 };
    int n = d->rows * d->nv;
    start(d);
    multiply_image(d, false, false, 0);
    keep(d, P1);
    multiply_image(d, false, true, 1);
    store_quarter(d, false, false, -1); // C11
    for (int i = 0; i < n; i++)
        d->acc[i] = kept(d, P1, i);
    multiply_sum(d, 0, 2);
    keep(d, U2);
    multiply_sum(d, 1, 3);
    keep(d, U3);
    multiply_image(d, true, true, 4);
    store_quarter(d, true, false, -1); // C21
    start(d);
    multiply_sum(d, 2, 5);
    store_quarter(d, true, true, U3); // C22
    for (int i = 0; i < n; i++)
        d->acc[i] = cg_fadd(d->f, d->acc[i], kept(d, U2, i));
    multiply_sum(d, 3, 6);
    store_quarter(d, false, true, -1); // C12
}

// ---------------------------------------------------------------- tasks

// Tile `tile` of the image, at place `at` of its band, for code of `pixels` pixels
static void place_tile(Strassen *d, CgVal tile, CgVal at, int pixels) {
    CgFn *f = d->f;
    d->pixels = pixels;
    d->rows = (pixels + 1) / 2;
    d->first = cg_cut_at(f, d->tiles, tile);
    d->x = cg_fat(f, f->arg[CG_CONV_X], cg_imulc(f, d->n, d->s->x_image));
    d->x = cg_fat(f, d->x, cg_imulc(f, d->first, f->lanes));
    d->s0 = cg_fat(f, f->scratch, cg_imulc(f, at, 4 * d->sum));
    d->w = cg_fat(f, f->arg[CG_CONV_W], cg_imulc(f, d->group, 7 * d->panel));
    int64_t part = cg_ceil_div(d->s->C / 2 * d->nv, band_tiles(d->s)); // lines of a panel
    d->ahead = cg_fat(f, cg_fatc(f, d->w, 7 * d->panel), cg_imulc(f, at, part * f->lanes));
}

// emit() for the tile, whichever its size
static void emit_for_tile(Strassen *d, CgVal tile, CgVal at, void (*emit)(Strassen *)) {
    CgFn *f = d->f;
    CgCut c = d->tiles;
    CgIf branch;
    if (c.big < c.n)
        cg_if(f, &branch, cg_icmp(f, LLVMIntSLT, tile, cg_i64(f, c.big)));
    place_tile(d, tile, at, c.size);
    emit(d);
    if (c.big == c.n)
        return;
    cg_else(f, &branch);
    place_tile(d, tile, at, c.size - 1);
    emit(d);
    cg_endif(f, &branch);
}

// Tasks [lo, hi) of one band, after the sums of the tiles that they read.
static void emit_band(Strassen *d, CgVal band, CgVal lo, CgVal hi) {
    CgFn *f = d->f;
    CgBand b = cg_conv_band(f, d->tiles.n, d->groups, band_tiles(d->s), band, lo, hi);
    CgLoop loop;
    d->n = b.n;
    d->group = cg_i64(f, 0);
    cg_for(f, &loop, b.row, b.stop, 1);
    emit_for_tile(d, cg_iadd(f, b.first, loop.iv), loop.iv, emit_sums);
    cg_end(f, &loop);
    cg_for(f, &loop, b.begin, b.end, 1);
    CgVal at;
    cg_divmod(f, cg_isub(f, loop.iv, b.start), b.rows, &d->group, &at);
    emit_for_tile(d, cg_iadd(f, b.first, at), at, emit_tile);
    cg_end(f, &loop);
}

void cg_conv_emit_strassen(CgFn *f, const void *spec) {
    const CgConv *s = spec;
    Strassen d = {.f = f, .s = s, .nv = s->tile.vecs, .half = s->C / 2 / f->lanes};
    d.tiles = cg_cut(s->OH, 2 * s->tile.rows);
    d.groups = s->O / (2 * s->tile.vecs * f->lanes);
    d.sum = sum_floats(s);
    d.panel = (int64_t)s->C / 2 * s->tile.vecs * f->lanes;
    d.prefetch = cg_conv_asks_weights(s, &f->target->machine);
    d.kept = cg_fatc(f, f->scratch, 4 * band_tiles(s) * d.sum);
    CgVal lo, hi;
    cg_split(f, cg_imulc(f, cg_dim(f, s->N), (int64_t)d.groups * d.tiles.n), &lo, &hi);
    CgIf some;
    CgLoop loop;
    cg_if(f, &some, cg_icmp(f, LLVMIntSLT, lo, hi));
    CgVal end = cg_conv_band_of(f, d.tiles.n, d.groups, band_tiles(s), cg_iaddc(f, hi, -1));
    CgVal begin = cg_conv_band_of(f, d.tiles.n, d.groups, band_tiles(s), lo);
    cg_for(f, &loop, begin, cg_iaddc(f, end, 1), 1);
    emit_band(&d, loop.iv, lo, hi);
    cg_end(f, &loop);
    cg_endif(f, &some);
}
