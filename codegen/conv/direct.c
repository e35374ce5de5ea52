// The direct convolution: a register tile of rows x columns pixels by `vecs` output vectors lives
// in accumulators through the whole reduction (input blocks, kernel rows, then input channels and
// kernel columns unrolled). Weights stream in exactly the order they were packed, a stream
// for each output vector; an input value is broadcast from memory. Values are words, see conv.h:
// channels here are words of them.
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
#include "codegen/conv/direct.h"

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
    CgCut c = d->row_cut = cg_cut(s->OH, s->tile.rows);
    int cap = 0;
    if (c.size == 1) {
        RowTiles t = {.n = c.n, .rows = 1, .at_run_time = true};
        IR_PUSH(d->f->arena, d->row_tiles, d->n_row_tiles, cap, t);
        return;
    }
    for (int i = 0, n; i < c.n; i += n) {
        int free = cg_conv_inside(c, i, s->sh, s->pt, (s->kh - 1) * s->dh, s->H);
        n = free > 0 ? free : 1;
        RowTiles t = {.first = i, .n = n};
        RowTiles *last = d->n_row_tiles ? &d->row_tiles[d->n_row_tiles - 1] : NULL;
        find_kh_runs(s, cg_cut_begin(c, i), c.size - (i >= c.big), &t);
        if (last && same_runs(last, &t))
            last->n += n;
        else
            IR_PUSH(d->f->arena, d->row_tiles, d->n_row_tiles, cap, t);
    }
}

// ---------------------------------------------------------------- a task

static void emit_columns(Direct *d, const RowTiles *rt, int nv) {
    CgFn *f = d->f;
    for (int i = 0; i < d->n_columns; i++) {
        const CgColumns *ct = &d->columns[i];
        CgLoop loop;
        cg_for(f, &loop, cg_i64(f, ct->first), cg_i64(f, ct->first + ct->n * ct->width), ct->width);
        cg_conv_direct_tile(d, rt, ct, nv, loop.iv);
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
    d->ocb = cg_iadd(f, cg_imulc(f, set, d->oc.blocks), cg_cut_at(f, d->oc.cut, part));
    d->oh = cg_cut_at(f, d->row_cut, d->row_tile);
    int64_t image = s->x_image / cg_conv_word(s);
    d->x = d->origin ? f->scratch : cg_fat(f, f->arg[CG_CONV_X], cg_imulc(f, d->n, image));
    d->w = cg_fat(f, f->arg[CG_CONV_W], cg_imulc(f, d->ocb, d->w_vector));
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
    d->n = cg_conv_image_task(f, rows, groups, band, task, &d->group, &d->row_tile);
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
    d->origin = cg_cut_at(f, d->row_cut, b.first);
    cg_conv_prologue(f, d->s, b.n, d->origin, cg_cut_at(f, d->row_cut, cg_iadd(f, b.first, b.row)),
                     cg_cut_at(f, d->row_cut, cg_iadd(f, b.first, b.stop)));
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
                 t->rows <= CG_DIRECT_MAX_ROWS && t->cols <= CG_MAX_CARRY &&
                 t->vecs <= CG_MAX_CARRY;
    return small && t->rows * t->cols * t->vecs <= CG_MAX_CARRY;
}

void cg_conv_emit_direct(CgFn *f, const void *spec) {
    const CgConv *s = spec;
    Direct d = {.f = f, .s = s};
    d.oc = cg_conv_oc(s, f->lanes);
    d.dot = ir_dot(&f->target->machine, (IrDtype)s->dtype);
    d.bin = cg_conv_block_words(s);
    d.unroll = cg_conv_unroll(s);
    d.by_row = cg_dot_by_row(f, (IrDtype)s->dtype, d.unroll);
    d.w_vector = (int64_t)cg_conv_panel_words(s, f->lanes) * s->kh * s->kw * f->lanes;
    d.n_columns = cg_conv_columns(f, s, &d.columns);
    d.prefetch_w = cg_conv_asks_weights(s, &f->target->machine);
    bool far = (int64_t)s->C * s->H * s->W * ir_dtype_bytes((IrDtype)s->dtype) >=
                   ir_budget(&f->target->machine, IR_L2_IMAGE) ||
               s->pre.n;
    d.prefetch_x = s->bin > 1 && far;
    d.x_block = s->pre.n ? cg_conv_prologue_block(s, f->lanes) : (int64_t)s->H * s->W * d.bin;
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
