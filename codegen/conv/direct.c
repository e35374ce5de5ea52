// The direct convolution: a register tile of rows x columns pixels by `vecs` output vectors lives
// in accumulators through the whole reduction (input blocks, kernel rows, then input channels and
// kernel columns unrolled). Weights stream in exactly the order they were packed; an input value
// is broadcast from memory.
//
// Padding is never stored. Kernel rows outside the image are skipped by loop bounds. Columns at the
// left and right edge get variants of the tile that omit the products outside; equal tiles inside
// share one loop. Tiles of several rows get variants at top and bottom in the same way.
//
// A task is one row of tiles for one group of output vectors of one image. Tasks stand in an order
// that decides what stays in L2, and each thread takes a contiguous piece of it:
//   band == 0   groups, images, rows: a group's weights are used for all images at a time
//   band  > 0   images, bands of `band` rows of tiles, groups, rows: a band of the input is used
//               for all groups at a time
// With a pool the order is its own: conv/pool.c. With a prologue there always are bands: what it
// makes of a band stays in the thread's scratch, where the tiles read it instead of x; see
// conv/prologue.c. The reduction is never split, so results do not depend on the number of threads.
#include "codegen/conv/conv.h"

enum { MAX_ROWS = 32 };

// Kernel rows [lo, hi), where exactly the tile's output rows in the mask read inside the image.
typedef struct KhRun {
    int lo, hi;
    uint32_t rows;
} KhRun;

// A run of row tiles that share code. With one row to a tile the kernel rows are bounded at run
// time.
typedef struct RowTiles {
    int first, n, rows;
    bool at_run_time;
    int n_runs;
    KhRun run[2 * MAX_ROWS + 1];
} RowTiles;

typedef struct Direct {
    CgFn *f;
    const CgConv *s;
    CgConvOc oc;
    CgCut row_cut;
    CgColumns *columns;
    int n_columns, n_row_tiles, unroll, panel_k;
    RowTiles *row_tiles;
    bool prefetch_w, prefetch_x;
    int64_t x_block; // elements from block to block of what the tiles read
    CgVal origin;    // the prologue's first pixel in the scratch, or NULL
    CgVal pool;      // where the row goes that a pool will read, or NULL
    // the task
    CgVal n, group, row_tile, oh, ocb, x, w, icb_lo, icb_hi;
} Direct;

// One register tile
typedef struct Tile {
    const RowTiles *rt;
    const CgColumns *ct;
    int nv, n_acc;
    CgVal column; // first output column
    CgVal acc[CG_MAX_CARRY];
} Tile;

// ---------------------------------------------------------------- rows

static void find_kh_runs(const CgConv *s, int oh, int rows, RowTiles *t) {
    t->n_runs = 0;
    t->rows = rows;
    for (int k = 0; k < s->kh; k++) {
        uint32_t mask = 0;
        for (int r = 0; r < rows; r++) {
            int lo, hi;
            cg_conv_kh_range(s, oh + r, &lo, &hi);
            mask |= (uint32_t)(k >= lo && k < hi) << r;
        }
        KhRun *last = t->n_runs ? &t->run[t->n_runs - 1] : NULL;
        if (last && last->hi == k && last->rows == mask)
            last->hi++;
        else if (mask)
            t->run[t->n_runs++] = (KhRun){k, k + 1, mask};
    }
}

static bool same_runs(const RowTiles *a, const RowTiles *b) {
    if (a->rows != b->rows || a->n_runs != b->n_runs)
        return false;
    for (int i = 0; i < a->n_runs; i++)
        if (a->run[i].lo != b->run[i].lo || a->run[i].hi != b->run[i].hi ||
            a->run[i].rows != b->run[i].rows)
            return false;
    return true;
}

static void find_row_tiles(Direct *d) {
    const CgConv *s = d->s;
    CgCut c = d->row_cut = cg_conv_cut(s->OH, s->tile.rows);
    int cap = 0;
    if (c.size == 1) {
        RowTiles t = {.n = c.n, .rows = 1, .at_run_time = true};
        IR_PUSH(d->f->arena, d->row_tiles, d->n_row_tiles, cap, t);
        return;
    }
    for (int i = 0; i < c.n; i++) {
        RowTiles t = {.first = i, .n = 1};
        RowTiles *last = d->n_row_tiles ? &d->row_tiles[d->n_row_tiles - 1] : NULL;
        find_kh_runs(s, cg_conv_cut_begin(c, i), c.size - (i >= c.big), &t);
        if (last && same_runs(last, &t))
            last->n++;
        else
            IR_PUSH(d->f->arena, d->row_tiles, d->n_row_tiles, cap, t);
    }
}

// ---------------------------------------------------------------- the register tile

static bool tap_inside(const CgConv *s, const CgColumns *ct, int c, int kw) {
    int iw = (ct->first + c) * s->sw - s->pl + kw * s->dw;
    return ct->inside || (iw >= 0 && iw < s->W);
}

// Products of one input channel and one kernel column. xp: the tile's first input row, at its first
// column (inside) or at column 0 (edge); wp: the tap's nv vectors. Where a broadcast takes a
// register, fences keep LLVM from loading more pixels at a time than there is room for.
static void emit_tap(Direct *d, Tile *t, uint32_t rows, CgVal xp, CgVal wp, int kw) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    CgVal w[CG_MAX_CARRY] = {0};
    int cols = t->ct->width, first_row = __builtin_ctz(rows);
    int c0 = t->ct->inside ? 0 : t->ct->first * s->sw - s->pl;
    int room = f->target->machine.vector_registers - t->n_acc - t->nv, loaded = 0;
    for (int r = 0; r < t->rt->rows; r++)
        for (int c = 0; c < cols; c++) {
            if (!(rows >> r & 1) || !tap_inside(s, t->ct, c, kw))
                continue;
            if (!f->target->machine.broadcast && loaded++ == room) {
                cg_conv_fence(f);
                loaded = 1;
            }
            int64_t at = (int64_t)(r - first_row) * s->sh * s->W + c0 + c * s->sw + kw * s->dw;
            CgVal x = cg_load_splat(f, cg_fatc(f, xp, at * s->bin));
            for (int v = 0; v < t->nv; v++) {
                if (!w[v])
                    w[v] = cg_load_v(f, cg_fatc(f, wp, v * f->lanes));
                CgVal *acc = &t->acc[(r * cols + c) * t->nv + v];
                *acc = cg_fma(f, x, w[v], *acc);
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
enum { PREFETCH_TAPS = 32, PREFETCH_BYTES = 128 << 10 };

static void prefetch_weights(Direct *d, Tile *t, CgVal wp) {
    if (!d->prefetch_w)
        return;
    for (int v = 0; v < t->nv; v++)
        if (v * d->f->lanes * 4 % 64 == 0)
            cg_prefetch(d->f, cg_fatc(d->f, wp, (PREFETCH_TAPS * t->nv + v) * d->f->lanes), 3);
}

// The tile's piece of the next input block lies far from this block's: it is asked for in as many
// portions as the channel loop has steps, so that an input that is not in L2 arrives in time.
// `tap` counts the taps of the step at channel `ic`.
static void prefetch_pixels(Direct *d, Tile *t, CgVal xp, CgVal ic, int tap) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    int rows = t->rt->rows, cols = t->ct->width, u = d->unroll, taps = u * s->kw;
    bool flat = s->W == 1 && s->kh == 1;
    if (!d->prefetch_x || (rows > 1 && !flat))
        return;
    int stride = s->kw == 1 ? s->sw : 1;
    int pixels = flat ? rows : s->kw == 1 ? cols : (cols - 1) * s->sw + (s->kw - 1) * s->dw + 1;
    int per_step = (pixels * u + s->bin - 1) / s->bin;
    int from = t->ct->inside ? 0 : t->ct->first * s->sw - s->pl;
    CgVal next = cg_fatc(f, xp, d->x_block + (int64_t)(from > 0 ? from : 0) * s->bin);
    next = cg_fat(f, next, cg_imulc(f, cg_idivc(f, ic, u), (int64_t)per_step * stride * s->bin));
    for (int k = tap * per_step / taps; k < (tap + 1) * per_step / taps; k++)
        cg_prefetch(f, cg_fatc(f, next, (int64_t)k * stride * s->bin), 3);
}

// One kernel row of one input block: loops over its channels.
static void emit_kernel_row(Direct *d, Tile *t, uint32_t rows, CgVal channels, CgVal xp, CgVal wp) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    int u = d->unroll, step = t->nv * f->lanes;
    TileLoop loop;
    open_loop(d, t, &loop, cg_i64(f, 0), channels, u);
    CgVal xi = cg_fat(f, xp, loop.iv);
    CgVal wi = cg_fat(f, wp, cg_imulc(f, loop.iv, s->kw * step));
    for (int kw = 0; kw < s->kw; kw++)
        for (int i = 0; i < u; i++) {
            cg_conv_fence(f);
            prefetch_weights(d, t, cg_fatc(f, wi, (kw * u + i) * step));
            prefetch_pixels(d, t, xp, loop.iv, kw * u + i);
            emit_tap(d, t, rows, cg_fatc(f, xi, i), cg_fatc(f, wi, (kw * u + i) * step), kw);
        }
    close_loop(d, t, &loop);
}

static CgVal block_channels(Direct *d, CgVal icb) {
    CgFn *f = d->f;
    if (d->s->C % d->s->bin == 0)
        return cg_i64(f, d->s->bin);
    CgVal left = cg_isub(f, cg_i64(f, d->s->C), cg_imulc(f, icb, d->s->bin));
    return cg_imin(f, left, cg_i64(f, d->s->bin));
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
    CgVal xp = cg_fat(f, xb, cg_imulc(f, at, s->bin));
    CgVal wk = cg_imulc(f, cg_imul(f, loop.iv, channels), s->kw * t->nv * f->lanes);
    emit_kernel_row(d, t, rows, channels, xp, cg_fat(f, wb, wk));
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
    CgVal next = cg_conv_cut_at(f, d->row_cut, cg_iaddc(f, d->row_tile, s->tile.band));
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
    CgVal wb =
        cg_fat(f, d->w, cg_imulc(f, panel, (int64_t)s->bin * s->kh * s->kw * t->nv * f->lanes));
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
    if (d->pool)
        return cg_fat(f, cg_fatc(f, d->pool, v * cg_conv_pool_block(s, f->lanes)),
                      cg_imulc(f, column, f->lanes));
    CgVal at = cg_iadd(f, cg_imulc(f, ocb, (int64_t)s->OH * s->OW), pixel);
    return cg_fat(f, y, cg_imulc(f, at, f->lanes));
}

static void store_tile(Direct *d, Tile *t) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    CgVal y = cg_fat(f, f->arg[CG_CONV_Y], cg_imulc(f, d->n, s->y_image));
    for (int v = 0; v < t->nv; v++) {
        CgVal ocb = cg_iaddc(f, d->ocb, v);
        for (int r = 0; r < t->rt->rows; r++)
            for (int c = 0; c < t->ct->width; c++) {
                CgVal row = cg_imulc(f, cg_iaddc(f, d->oh, r), s->OW);
                CgVal pixel = cg_iaddc(f, cg_iadd(f, row, t->column), c);
                CgVal acc = t->acc[(r * t->ct->width + c) * t->nv + v];
                acc = cg_conv_then(f, s, acc, d->n, ocb, pixel);
                cg_store_v(f, acc, result_at(d, y, v, ocb, pixel, cg_iaddc(f, t->column, c)));
            }
    }
}

// What the epilogue reads lies in L3 or memory where results are large: it is asked for before the
// tile's reduction, which takes longer than it to arrive.
static void prefetch_operands(Direct *d, const Tile *t) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    int64_t plane = (int64_t)s->OH * s->OW;
    for (int k = 0; k < s->then.n_in; k++) {
        const CgOperand *in = &s->then.in[k];
        if (in->kind != CG_OPERAND_FULL || plane * s->O * 4 < 4 * PREFETCH_BYTES)
            continue;
        CgVal p = f->arg[s->then.first_arg + k];
        if (in->t.image)
            p = cg_fat(f, p, cg_imulc(f, d->n, in->t.image));
        CgVal row = cg_iadd(f, cg_imulc(f, d->oh, s->OW), t->column);
        p = cg_fat(f, p, cg_imulc(f, cg_iadd(f, cg_imulc(f, d->ocb, plane), row), f->lanes));
        for (int v = 0; v < t->nv; v++)
            for (int r = 0; r < t->rt->rows; r++)
                for (int c = 0; c < t->ct->width; c++)
                    cg_prefetch(f, cg_fatc(f, p, (v * plane + r * s->OW + c) * f->lanes), 3);
    }
}

static void emit_tile(Direct *d, const RowTiles *rt, const CgColumns *ct, int nv, CgVal column) {
    Tile t = {.rt = rt, .ct = ct, .nv = nv, .n_acc = rt->rows * ct->width * nv, .column = column};
    for (int v = 0; v < nv; v++) {
        CgVal bias = cg_conv_bias(d->f, d->s, cg_iaddc(d->f, d->ocb, v));
        for (int i = 0; i < rt->rows * ct->width; i++)
            t.acc[i * nv + v] = bias;
    }
    prefetch_operands(d, &t);
    emit_reduction(d, &t);
    store_tile(d, &t);
}

// ---------------------------------------------------------------- a task

static void emit_columns(Direct *d, const RowTiles *rt, int nv) {
    CgFn *f = d->f;
    for (int i = 0; i < d->n_columns; i++) {
        const CgColumns *ct = &d->columns[i];
        CgLoop loop;
        cg_for(f, &loop, cg_i64(f, ct->first), cg_i64(f, ct->first + ct->n * ct->width), ct->width);
        emit_tile(d, rt, ct, nv, loop.iv);
        cg_end(f, &loop);
    }
}

static void emit_rows(Direct *d, int i, int nv) {
    const RowTiles *rt = &d->row_tiles[i];
    if (i + 1 == d->n_row_tiles) {
        emit_columns(d, rt, nv);
        return;
    }
    CgIf s;
    CgFn *f = d->f;
    cg_if(f, &s, cg_icmp(f, LLVMIntSLT, d->row_tile, cg_i64(f, rt->first + rt->n)));
    emit_columns(d, rt, nv);
    cg_else(f, &s);
    emit_rows(d, i + 1, nv);
    cg_endif(f, &s);
}

// Places the task: its first output vector, its weights, the input blocks that it reads.
static void place_task(Direct *d, CgVal set, CgVal part, int nv) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    d->ocb = cg_iadd(f, cg_imulc(f, set, d->oc.blocks), cg_conv_cut_at(f, d->oc.cut, part));
    d->oh = cg_conv_cut_at(f, d->row_cut, d->row_tile);
    d->x = d->origin ? f->scratch : cg_fat(f, f->arg[CG_CONV_X], cg_imulc(f, d->n, s->x_image));
    int64_t block = (int64_t)d->panel_k * s->kh * s->kw * f->lanes;
    d->w = cg_fat(f, f->arg[CG_CONV_W], cg_imulc(f, d->ocb, block));
    d->icb_lo = cg_i64(f, 0);
    d->icb_hi = cg_i64(f, (s->C + s->bin - 1) / s->bin);
    if (s->group == 1)
        return;
    int og = s->O / s->group, cg = s->C / s->group;
    CgVal first = cg_imulc(f, d->ocb, f->lanes);
    CgVal end = cg_imin(f, cg_iaddc(f, first, nv * f->lanes), cg_i64(f, s->O));
    CgVal last_group = cg_idivc(f, cg_iaddc(f, end, -1), og);
    d->icb_lo = cg_idivc(f, cg_imulc(f, cg_idivc(f, first, og), cg), s->bin);
    d->icb_hi = cg_idivc(f, cg_iaddc(f, cg_imulc(f, last_group, cg), cg + s->bin - 1), s->bin);
}

static void emit_task(Direct *d) {
    CgFn *f = d->f;
    CgCut cut = d->oc.cut;
    CgVal set = cg_idivc(f, d->group, cut.n), part = cg_iremc(f, d->group, cut.n);
    CgIf s;
    if (d->oc.sets == 1) {
        set = cg_i64(f, 0);
        part = d->group;
    }
    if (cut.big < cut.n) {
        cg_if(f, &s, cg_icmp(f, LLVMIntSLT, part, cg_i64(f, cut.big)));
        place_task(d, set, part, cut.size);
        emit_rows(d, 0, cut.size);
        cg_else(f, &s);
        place_task(d, set, part, cut.size - 1);
        emit_rows(d, 0, cut.size - 1);
        cg_endif(f, &s);
    } else {
        place_task(d, set, part, cut.size);
        emit_rows(d, 0, cut.size);
    }
}

// Task number -> image, group, row tile, by the order above.
static void find_task(Direct *d, CgVal task, CgVal images) {
    CgFn *f = d->f;
    int groups = d->oc.sets * d->oc.cut.n, rows = d->row_cut.n, band = d->s->tile.band;
    CgVal rest;
    if (band == 0) {
        CgVal per_group = cg_imulc(f, images, rows);
        cg_divmod(f, task, per_group, &d->group, &rest);
        d->n = cg_idivc(f, rest, rows);
        d->row_tile = cg_iremc(f, rest, rows);
        return;
    }
    d->n = cg_idivc(f, task, groups * rows);
    rest = cg_iremc(f, task, groups * rows);
    CgVal first = cg_imulc(f, cg_idivc(f, rest, groups * band), band);
    rest = cg_iremc(f, rest, groups * band);
    CgVal in_band = cg_imin(f, cg_isub(f, cg_i64(f, rows), first), cg_i64(f, band));
    CgVal row;
    cg_divmod(f, rest, in_band, &d->group, &row);
    d->row_tile = cg_iadd(f, first, row);
}

static void emit_tasks(Direct *d, CgVal lo, CgVal hi, CgVal images) {
    CgLoop loop;
    cg_for(d->f, &loop, lo, hi, 1);
    find_task(d, loop.iv, images);
    emit_task(d);
    cg_end(d->f, &loop);
}

// Tasks [lo, hi) of one band, after the prologue of the pixels that they read.
static void emit_band(Direct *d, CgVal band, CgVal lo, CgVal hi, CgVal images) {
    CgFn *f = d->f;
    CgBand b = cg_conv_band(f, d->row_cut.n, d->oc.cut.n, d->s->tile.band, band, lo, hi);
    d->origin = cg_conv_cut_at(f, d->row_cut, b.first);
    cg_conv_prologue(f, d->s, b.n, d->origin,
                     cg_conv_cut_at(f, d->row_cut, cg_iadd(f, b.first, b.row)),
                     cg_conv_cut_at(f, d->row_cut, cg_iadd(f, b.first, b.stop)));
    emit_tasks(d, b.begin, b.end, images);
}

static void emit_bands(Direct *d, CgVal lo, CgVal hi, CgVal images) {
    CgFn *f = d->f;
    CgIf some;
    CgLoop loop;
    cg_if(f, &some, cg_icmp(f, LLVMIntSLT, lo, hi));
    int rows = d->row_cut.n, groups = d->oc.cut.n, band = d->s->tile.band;
    CgVal last = cg_conv_band_of(f, rows, groups, band, cg_iaddc(f, hi, -1));
    CgVal first = cg_conv_band_of(f, rows, groups, band, lo);
    cg_for(f, &loop, first, cg_iaddc(f, last, 1), 1);
    emit_band(d, loop.iv, lo, hi, images);
    cg_end(f, &loop);
    cg_endif(f, &some);
}

static void emit_pool_row(void *ctx, CgVal n, CgVal group, CgVal row, CgVal to) {
    Direct *d = ctx;
    d->n = n;
    d->group = group;
    d->row_tile = row;
    d->pool = to;
    emit_task(d);
}

bool cg_conv_fits_direct(const CgConv *s, int lanes) {
    (void)lanes;
    const IrConvTile *t = &s->tile;
    bool small = t->rows >= 1 && t->cols >= 1 && t->vecs >= 1 && t->band >= 0 &&
                 t->rows <= MAX_ROWS && t->cols <= CG_MAX_CARRY && t->vecs <= CG_MAX_CARRY;
    return small && t->rows * t->cols * t->vecs <= CG_MAX_CARRY;
}

void cg_conv_emit_direct(CgFn *f, const void *spec) {
    const CgConv *s = spec;
    Direct d = {.f = f, .s = s};
    d.oc = cg_conv_oc(s, f->lanes);
    d.unroll = cg_conv_unroll(s);
    d.panel_k = cg_conv_panel_k(s, f->lanes);
    d.n_columns = cg_conv_columns(f, s, &d.columns);
    d.prefetch_w = s->floats * 4 >= PREFETCH_BYTES;
    bool far = (int64_t)s->C * s->H * s->W * 4 >= 4 * PREFETCH_BYTES || s->pre.n;
    d.prefetch_x = s->bin > 1 && far;
    d.x_block = s->pre.n ? cg_conv_prologue_block(s, f->lanes) : (int64_t)s->H * s->W * s->bin;
    find_row_tiles(&d);
    if (s->pool.kh) {
        cg_conv_pool(f, s, emit_pool_row, &d);
        return;
    }
    CgVal images = cg_dim(f, s->N), lo, hi;
    cg_split(f, cg_imulc(f, images, (int64_t)d.oc.sets * d.oc.cut.n * d.row_cut.n), &lo, &hi);
    if (s->pre.n)
        emit_bands(&d, lo, hi, images);
    else
        emit_tasks(&d, lo, hi, images);
}
