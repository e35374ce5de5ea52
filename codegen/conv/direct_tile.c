// The register tile of the direct convolution: its products, and what happens to them. See
// direct.c.
#include "codegen/conv/direct.h"

// One register tile
typedef struct Tile {
    const RowTiles *rt;
    const CgColumns *ct;
    int nv, n_acc;
    CgVal column; // first output column
    CgVal ahead;  // see begin_ahead(), or NULL
    CgVal at;     // words of the group's first panel in front of the kernel row's
    CgVal acc[CG_MAX_CARRY];
    CgDot row[CG_MAX_CARRY]; // of each pixel, words of the steps that are under way
} Tile;

static bool tap_inside(const CgConv *s, const CgColumns *ct, int c, int kw) {
    int iw = (ct->first + c) * s->sw - s->pl + kw * s->dw;
    return ct->inside || (iw >= 0 && iw < s->W);
}

// Products of one input channel and one kernel column. xp: the tile's first input row, at its first
// column (inside) or at column 0 (edge); wp: the tap's first vector. Where a broadcast takes a
// register, fences keep LLVM from loading more pixels at a time than there is room for.
static void emit_tap(Direct *d, Tile *t, uint32_t rows, CgVal xp, CgVal wp, int kw, int step) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    IrDtype type = (IrDtype)s->dtype;
    CgDot w[CG_MAX_CARRY] = {{{0}}};
    int cols = t->ct->width, first_row = __builtin_ctz(rows);
    int c0 = t->ct->inside ? 0 : t->ct->first * s->sw - s->pl;
    int room = f->target->machine.vector_registers - d->dot.spare -
               (t->n_acc + t->nv * d->dot.w) * ir_parts(&f->target->machine);
    int loaded = 0;
    room /= d->dot.x;
    for (int r = 0; r < t->rt->rows; r++)
        for (int c = 0; c < cols; c++) {
            if (!(rows >> r & 1) || !tap_inside(s, t->ct, c, kw))
                continue;
            if (!d->dot.memory && !d->by_row && loaded++ == room) {
                cg_fence(f);
                loaded = 1;
            }
            int64_t at = (int64_t)(r - first_row) * s->sh * s->W + c0 + c * s->sw + kw * s->dw;
            CgDot *row = d->by_row ? &t->row[r * cols + c] : NULL;
            CgDot x = cg_dot_step_x(f, type, row, step, cg_fatc(f, xp, at * d->bin));
            for (int v = 0; v < t->nv; v++) {
                if (!w[v].v[0])
                    w[v] = cg_dot_load_w(f, type, cg_fatc(f, wp, v * d->w_vector));
                CgVal *acc = &t->acc[(r * cols + c) * t->nv + v];
                *acc = cg_dot(f, type, x, w[v], *acc);
            }
        }
}

// A loop that carries the tile's accumulators. Where it is known to run once there is no loop: LLVM
// would fold it, but only after it had moved products out of its body.
typedef struct TileLoop {
    CgLoop loop;
    CgVal iv;
    bool once;
} TileLoop;

static void open_loop(Direct *d, Tile *t, TileLoop *l, CgVal lo, CgVal hi, int step) {
    l->once = LLVMIsAConstantInt(lo) && LLVMIsAConstantInt(hi) &&
              LLVMConstIntGetSExtValue(hi) - LLVMConstIntGetSExtValue(lo) == step;
    l->iv = lo;
    if (l->once)
        return;
    cg_for_carry(d->f, &l->loop, lo, hi, step, t->n_acc, t->acc);
    l->iv = l->loop.iv;
}

static void close_loop(Direct *d, Tile *t, TileLoop *l) {
    if (!l->once)
        cg_end_carry(d->f, &l->loop, t->acc);
}

// Weights that may come from memory are asked for this many taps ahead: the stream restarts
// the hardware's prefetcher at each page, too late for its first lines.
enum { PREFETCH_TAPS = 32, LINE_WORDS = 16 };

static void prefetch_weights(Direct *d, Tile *t, CgVal wp) {
    if (!d->prefetch_w)
        return;
    for (int v = 0; v < t->nv; v++)
        cg_prefetch(d->f, cg_fatc(d->f, wp, PREFETCH_TAPS * d->f->lanes + v * d->w_vector), 3);
}

// The next group's weights on their way into L2 while the tiles of this one are multiplied: each
// tile asks for its part of them, a few lines for each step of the channel loop. Else the first
// tile of a group would wait for all of them.
static int ahead_lines(const Direct *d, int nv) { // for a step
    int taps = d->unroll * d->s->kw, rows = d->row_cut.n, band = d->s->tile.band;
    int tiles = band ? cg_min_int(band, rows) : rows;
    return d->prefetch_w && tiles > 1 ? cg_ceil_div(nv * taps, tiles) : 0;
}

static void begin_ahead(Direct *d, Tile *t) {
    CgFn *f = d->f;
    int lines = ahead_lines(d, t->nv), taps = d->unroll * d->s->kw;
    int64_t part = d->w_vector / taps * lines; // of the panels, a tile's
    if (!lines)
        return;
    CgVal tile = d->s->tile.band ? cg_iremc(f, d->row_tile, d->s->tile.band) : d->row_tile;
    t->ahead = cg_fat(f, cg_fatc(f, d->w, t->nv * d->w_vector), cg_imulc(f, tile, part));
}

static void prefetch_group(Direct *d, const Tile *t, CgVal at) {
    CgFn *f = d->f;
    int lines = ahead_lines(d, t->nv), taps = d->unroll * d->s->kw;
    if (!t->ahead)
        return;
    CgVal p = cg_fat(f, t->ahead, cg_imulc(f, cg_idivc(f, at, taps * f->lanes), lines * f->lanes));
    for (int i = 0; i < lines; i++)
        cg_prefetch(f, cg_fatc(f, p, i * f->lanes), 2);
}

// The first half of the reduction asks for what the epilogue reads, so that the last of it arrives
// before the end. `at`: of the step, in words of weights
static void ask_then(Direct *d, const Tile *t, CgVal at) {
    CgFn *f = d->f;
    int64_t step = (int64_t)d->unroll * d->s->kw * f->lanes, steps = d->w_vector / step;
    int64_t half = steps > 1 ? steps / 2 : 1;
    CgVal row = cg_imulc(f, d->oh, d->s->OW);
    CgConvTile tile = {.n = d->n,
                       .ocb = d->ocb,
                       .pixel = cg_iadd(f, row, t->column),
                       .rows = t->rt->rows,
                       .cols = t->ct->width,
                       .nv = t->nv};
    cg_conv_ask_then(f, d->s, &tile, cg_imin(f, cg_idivc(f, at, step), cg_i64(f, half - 1)), half);
}

// The tile's piece of the next input block lies far from this block's: it is asked for, line by
// line, in as many portions as the channel loop has steps, so that an input that is not in L2
// arrives in time. `tap` counts the taps of the step at channel `ic`.
static void prefetch_pixels(Direct *d, Tile *t, CgVal xp, CgVal ic, int tap) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    int rows = t->rt->rows, cols = t->ct->width, u = d->unroll, taps = u * s->kw;
    bool flat = s->W == 1 && s->kh == 1;
    if (!d->prefetch_x || (rows > 1 && !flat))
        return;
    int stride = cg_max_int(s->kw == 1 ? s->sw : 1, LINE_WORDS / d->bin); // pixels
    int pixels = flat ? rows : (cols - 1) * s->sw + (s->kw - 1) * s->dw + 1;
    int per_step = cg_ceil_div(cg_ceil_div(pixels, stride) * u, d->bin);
    int from = t->ct->inside ? 0 : t->ct->first * s->sw - s->pl;
    CgVal next = cg_fatc(f, xp, d->x_block + (int64_t)(from > 0 ? from : 0) * d->bin);
    next = cg_fat(f, next, cg_imulc(f, cg_idivc(f, ic, u), (int64_t)per_step * stride * d->bin));
    for (int k = tap * per_step / taps; k < (tap + 1) * per_step / taps; k++)
        cg_prefetch(f, cg_fatc(f, next, (int64_t)k * stride * d->bin), 3);
}

// One kernel row of one input block: loops over its channels.
static void emit_kernel_row(Direct *d, Tile *t, uint32_t rows, CgVal channels, CgVal xp, CgVal wp) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    int u = d->unroll, step = f->lanes;
    TileLoop loop;
    open_loop(d, t, &loop, cg_i64(f, 0), channels, u);
    CgVal xi = cg_fat(f, xp, loop.iv);
    CgVal wi = cg_fat(f, wp, cg_imulc(f, loop.iv, s->kw * step));
    CgVal at = cg_iadd(f, t->at, cg_imulc(f, loop.iv, s->kw * step));
    prefetch_group(d, t, at);
    ask_then(d, t, at);
    for (int kw = 0; kw < s->kw; kw++)
        for (int i = 0; i < u; i++) {
            cg_fence(f);
            prefetch_weights(d, t, cg_fatc(f, wi, (kw * u + i) * step));
            prefetch_pixels(d, t, xp, loop.iv, kw * u + i);
            emit_tap(d, t, rows, cg_fatc(f, xi, i), cg_fatc(f, wi, (kw * u + i) * step), kw, i);
        }
    close_loop(d, t, &loop);
}

static CgVal block_channels(Direct *d, CgVal icb) {
    CgFn *f = d->f;
    int words = cg_conv_words(d->s, d->s->C);
    if (words % d->bin == 0)
        return cg_i64(f, d->bin);
    CgVal left = cg_isub(f, cg_i64(f, words), cg_imulc(f, icb, d->bin));
    return cg_imin(f, left, cg_i64(f, d->bin));
}

// Kernel rows [lo, hi) of one input block.
static void emit_kernel_rows(Direct *d, Tile *t, uint32_t rows, CgVal lo, CgVal hi, CgVal icb,
                             CgVal xb, CgVal wb) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    TileLoop loop;
    CgVal channels = block_channels(d, icb);
    open_loop(d, t, &loop, lo, hi, 1);
    CgVal ih = cg_iaddc(f, cg_imulc(f, d->oh, s->sh), (int64_t)__builtin_ctz(rows) * s->sh - s->pt);
    ih = cg_iadd(f, ih, cg_imulc(f, loop.iv, s->dh));
    if (d->origin)
        ih = cg_isub(f, ih, d->origin);
    CgVal at = cg_imulc(f, ih, s->W);
    if (t->ct->inside)
        at = cg_iadd(f, at, cg_iaddc(f, cg_imulc(f, t->column, s->sw), -s->pl));
    CgVal xp = cg_fat(f, xb, cg_imulc(f, at, d->bin));
    CgVal wk = cg_imulc(f, cg_imul(f, loop.iv, channels), s->kw * f->lanes);
    CgVal block = t->at;
    t->at = cg_iadd(f, block, wk);
    emit_kernel_row(d, t, rows, channels, xp, cg_fat(f, wb, wk));
    t->at = block;
    close_loop(d, t, &loop);
}

// While the tiles of a band are multiplied the memory is idle: each task asks for its part of what
// the prologue of the next band reads, at the rows of tiles one band further on, block by block.
static void prefetch_band(Direct *d, const Tile *t, CgVal icb) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    int groups = d->oc.cut.n, line = 64 / (int)sizeof(float);
    int lines = (t->rt->rows * f->lanes + line - 1) / line, part = (lines + groups - 1) / groups;
    if (!s->pre.n || s->tile.band >= d->row_cut.n)
        return;
    CgVal next = cg_cut_at(f, d->row_cut, cg_iaddc(f, d->row_tile, s->tile.band));
    CgVal x = cg_fat(f, f->arg[CG_CONV_X], cg_imulc(f, d->n, s->x_image));
    x = cg_fat(f, x, cg_imulc(f, cg_iadd(f, cg_imulc(f, icb, s->H), next), f->lanes));
    x = cg_fat(f, x, cg_imulc(f, d->group, part * line));
    for (int i = 0; i < part; i++)
        cg_prefetch(f, cg_fatc(f, x, i * line), 2);
}

static void emit_reduction(Direct *d, Tile *t) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    TileLoop loop;
    CgVal lo = NULL, hi = NULL;
    if (t->rt->at_run_time)
        cg_conv_kh_range_at(f, s, d->oh, &lo, &hi);
    open_loop(d, t, &loop, d->icb_lo, d->icb_hi, 1);
    prefetch_band(d, t, loop.iv);
    CgVal xb = cg_fat(f, d->x, cg_imulc(f, loop.iv, d->x_block));
    CgVal panel = cg_isub(f, loop.iv, d->icb_lo);
    t->at = cg_imulc(f, panel, (int64_t)d->bin * s->kh * s->kw * f->lanes);
    CgVal wb = cg_fat(f, d->w, t->at);
    if (t->rt->at_run_time)
        emit_kernel_rows(d, t, 1, lo, hi, loop.iv, xb, wb);
    for (int i = 0; i < t->rt->n_runs; i++) {
        const KhRun *run = &t->rt->run[i];
        emit_kernel_rows(d, t, run->rows, cg_i64(f, run->lo), cg_i64(f, run->hi), loop.iv, xb, wb);
    }
    close_loop(d, t, &loop);
}

// The tile's vector v of the output, or of the row for the pool. y: the image's
static CgVal result_at(Direct *d, CgVal y, int v, CgVal ocb, CgVal pixel, CgVal column) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    CgVal at = cg_iadd(f, cg_imulc(f, ocb, (int64_t)s->OH * s->OW), pixel);
    if (d->pool) {
        y = cg_conv_y(f, s, d->pool, cg_i64(f, v * cg_conv_pool_block(s, f->lanes)));
        at = column;
    }
    return cg_conv_y(f, s, y, cg_imulc(f, at, f->lanes));
}

static void store_tile(Direct *d, Tile *t) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    CgVal y = cg_conv_y(f, s, f->arg[CG_CONV_Y], cg_imulc(f, d->n, s->y_image));
    for (int v = 0; v < t->nv; v++) {
        CgVal ocb = cg_iaddc(f, d->ocb, v);
        for (int r = 0; r < t->rt->rows; r++)
            for (int c = 0; c < t->ct->width; c++) {
                CgVal row = cg_imulc(f, cg_iaddc(f, d->oh, r), s->OW);
                CgVal pixel = cg_iaddc(f, cg_iadd(f, row, t->column), c);
                CgVal acc = t->acc[(r * t->ct->width + c) * t->nv + v];
                acc = cg_conv_then(f, s, acc, d->n, ocb, pixel);
                cg_conv_store(f, s, acc, result_at(d, y, v, ocb, pixel, cg_iaddc(f, t->column, c)));
            }
    }
}

// Edge tiles begin at a known column.
static void start_sums(Direct *d, Tile *t) {
    CgFn *f = d->f;
    bool edges = d->s->bias == CG_CONV_BIAS_EDGES;
    for (int v = 0; v < t->nv; v++) {
        CgVal ocb = cg_iaddc(f, d->ocb, v), bias = edges ? NULL : cg_conv_bias(f, d->s, ocb);
        for (int i = 0; i < t->rt->rows * t->ct->width; i++) {
            CgVal oh = cg_iaddc(f, d->oh, i / t->ct->width);
            int inside = cg_conv_edge_columns(d->s).first;
            CgVal ow = cg_i64(f, t->ct->inside ? inside : t->ct->first + i % t->ct->width);
            t->acc[i * t->nv + v] = edges ? cg_conv_bias_at(f, d->s, ocb, oh, ow) : bias;
        }
    }
}

void cg_conv_direct_tile(Direct *d, const RowTiles *rt, const CgColumns *ct, int nv, CgVal column) {
    Tile t = {.rt = rt, .ct = ct, .nv = nv, .n_acc = rt->rows * ct->width * nv, .column = column};
    start_sums(d, &t);
    begin_ahead(d, &t);
    emit_reduction(d, &t);
    store_tile(d, &t);
}
