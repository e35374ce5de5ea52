// The Winograd kernel: what its matrices are stands in conv/winograd.h.
//
// The output tiles of the whole batch are numbered image by image, row by row, and cut into blocks
// of tile.block tiles. For a block, a thread transforms the input of all channels into its scratch,
// V, then for each group of output vectors makes the products of all points, M, and transforms them
// back; V and M stay in L2. The products are those of a 1x1 convolution over tiles: accumulators of
// a register tile live through the whole reduction, so an output depends neither on the place of
// its tile in a block nor on its register tile.
//
//   V: [point][input block][tile][lanes]    M: [point][vector of the group][tile][lanes]
//   weights: [group][filter][channel][vector of the group][lanes]
//
// Where one group makes all output vectors, and no more than there are input blocks, its M takes
// V's place: a register tile has read all of its tiles' V before it stores theirs.
//
// A task is one group of one block. Each thread takes a contiguous piece of them, block by block:
// where a block is cut between threads, both transform its input, which is cheap next to the
// products.
//
// Pixels outside the image are read from a vector of zeros. Tiles that reach past the output's end
// go through a buffer, from which only what exists is stored; so do all where the epilogue is long.
#include "codegen/conv/winograd.h"
#include "codegen/build/dot.h"

enum {
    UNROLL = 4, // input channels to one iteration of a product's loop
    // Bytes that weights are asked for ahead, where they may come from beyond L2. A full register
    // tile works 7 cycles or more on a line of them, so this is 600 and more: a read from memory,
    // and what other threads' reads add to it.
    PREFETCH_AHEAD = 6 << 10,
    LINE_FLOATS = 16,
};

typedef struct Wino {
    CgFn *f;
    const CgConv *s;
    WinoShape w;
    int tiles; // of a full register tile
    bool prefetch;
    bool always_buffered;    // every tile's output goes through the buffer
    CgVal v, m, edge, zeros; // in scratch
    // the block and the group
    CgVal first, count, ocb;
    int nv;
    CgVal next; // weights of the point behind the one at hand
    // the tile
    CgVal n, oh, ow;
} Wino;

// ---------------------------------------------------------------- transforms

typedef struct Nest {
    WinoNest nest;
    Wino *d;
    CgVal from, to;
    const CgVal *row, *column; // border tiles: offsets
    const CgVal *row_in, *column_in;
    CgVal bias, pixel;
} Nest;

// Places tile number `first` + k of the batch.
static void place_tile(Wino *d, CgVal k) {
    CgFn *f = d->f;
    int per_image = d->w.tiles_h * d->w.tiles_w;
    CgVal tile = cg_iadd(f, d->first, k), rest = cg_iremc(f, tile, per_image);
    d->n = cg_idivc(f, tile, per_image);
    d->oh = cg_imulc(f, cg_idivc(f, rest, d->w.tiles_w), d->w.h.m);
    d->ow = cg_imulc(f, cg_iremc(f, rest, d->w.tiles_w), d->w.w.m);
}

// ---------------------------------------------------------------- input

// x: f32, or bf16, which is widened as it is loaded
static CgVal input_at(Wino *d, CgVal p, CgVal index) {
    return cg_elem_at(d->f, (IrDtype)d->s->dtype, p, index);
}

static CgVal load_input(Wino *d, CgVal p) {
    return cg_elem_load_n(d->f, (IrDtype)d->s->dtype, p, NULL);
}

static CgVal load_inside(WinoNest *nest, int i, int j) {
    Nest *n = (Nest *)nest;
    Wino *d = n->d;
    CgVal at = cg_i64(d->f, ((int64_t)i * d->s->W + j) * IR_BLOCK);
    return load_input(d, input_at(d, n->from, at));
}

static CgVal load_border(WinoNest *nest, int i, int j) {
    Nest *n = (Nest *)nest;
    CgFn *f = n->d->f;
    CgVal p = input_at(n->d, n->from, cg_iadd(f, n->row[i], n->column[j]));
    CgVal in = LLVMBuildAnd(f->b, n->row_in[i], n->column_in[j], "");
    return load_input(n->d, cg_select(f, in, p, n->d->zeros));
}

static void store_input(WinoNest *nest, int i, int j, CgVal x) {
    Nest *n = (Nest *)nest;
    const Wino *d = n->d;
    cg_store_v(d->f, x, cg_fatc(d->f, n->to, (i * d->w.w.n + j) * d->w.v_point));
}

static void emit_input_channels(Wino *d, Nest *n, CgVal k, CgVal from) {
    CgFn *f = d->f;
    CgLoop loop, part;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, d->w.in_blocks), 1);
    CgVal at = cg_iadd(f, cg_imulc(f, loop.iv, d->s->tile.block), k);
    cg_for_parts(f, &part);
    n->from = cg_elem_block(f, (IrDtype)d->s->dtype, from,
                            cg_imulc(f, loop.iv, (int64_t)d->s->H * d->s->W));
    n->to = cg_block(f, d->v, at);
    cg_conv_winograd_nest(f, &n->nest, &d->w.h.bt, &d->w.w.bt);
    cg_end_parts(f, &part);
    cg_end(f, &loop);
}

// Offsets of the pixels of one axis from the image's start, and which of them exist.
static void border_axis(CgFn *f, CgVal first, int n, int size, int64_t stride, CgVal *offset,
                        CgVal *in) {
    for (int i = 0; i < n; i++) {
        CgVal x = cg_iaddc(f, first, i);
        in[i] = cg_icmp(f, LLVMIntULT, x, cg_i64(f, size));
        offset[i] = cg_imulc(f, x, stride);
    }
}

// Some tile lies inside along this axis; some does not.
static void find_cases(const WinoAxis *a, int tiles, int pad, int size, bool *inside,
                       bool *border) {
    for (int t = 0; t < tiles; t++) {
        int first = t * a->m * a->stride - pad;
        bool in = first >= 0 && first + a->n <= size;
        *inside |= in;
        *border |= !in;
    }
}

static void emit_border(Wino *d, Nest *n, CgVal k, CgVal x, CgVal ih, CgVal iw) {
    CgFn *f = d->f;
    CgVal row[WINO_MAX_N], row_in[WINO_MAX_N], column[WINO_MAX_N], column_in[WINO_MAX_N];
    border_axis(f, ih, d->w.h.n, d->s->H, (int64_t)d->s->W * f->lanes, row, row_in);
    border_axis(f, iw, d->w.w.n, d->s->W, f->lanes, column, column_in);
    n->nest.load = load_border;
    n->row = row;
    n->row_in = row_in;
    n->column = column;
    n->column_in = column_in;
    emit_input_channels(d, n, k, x);
}

static void emit_inside(Wino *d, Nest *n, CgVal k, CgVal x, CgVal ih, CgVal iw) {
    CgFn *f = d->f;
    n->nest.load = load_inside;
    CgVal at = cg_iadd(f, cg_imulc(f, ih, d->s->W), iw);
    emit_input_channels(d, n, k, input_at(d, x, cg_imulc(f, at, f->lanes)));
}

static void emit_input(Wino *d) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    bool row_inside = false, row_border = false, column_inside = false, column_border = false;
    find_cases(&d->w.h, d->w.tiles_h, s->pt, s->H, &row_inside, &row_border);
    find_cases(&d->w.w, d->w.tiles_w, s->pl, s->W, &column_inside, &column_border);
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), d->count, 1);
    place_tile(d, loop.iv);
    Nest n = {.d = d, .nest.store = store_input};
    CgVal x = input_at(d, f->arg[CG_CONV_X], cg_imulc(f, d->n, s->x_image));
    CgVal ih = cg_iaddc(f, cg_imulc(f, d->oh, s->sh), -s->pt);
    CgVal iw = cg_iaddc(f, cg_imulc(f, d->ow, s->sw), -s->pl);
    CgIf branch;
    bool both = row_inside && column_inside && (row_border || column_border);
    if (both) {
        CgVal no = cg_i64(f, 0), in = cg_icmp(f, LLVMIntSGE, ih, no);
        in = LLVMBuildAnd(f->b, in, cg_icmp(f, LLVMIntSGE, iw, no), "");
        CgVal bottom = cg_icmp(f, LLVMIntSLE, ih, cg_i64(f, s->H - d->w.h.n));
        CgVal right = cg_icmp(f, LLVMIntSLE, iw, cg_i64(f, s->W - d->w.w.n));
        in = LLVMBuildAnd(f->b, in, LLVMBuildAnd(f->b, bottom, right, ""), "");
        cg_if(f, &branch, in);
    }
    if (row_inside && column_inside)
        emit_inside(d, &n, loop.iv, x, ih, iw);
    if (both)
        cg_else(f, &branch);
    if (row_border || column_border)
        emit_border(d, &n, loop.iv, x, ih, iw);
    if (both)
        cg_endif(f, &branch);
    cg_end(f, &loop);
}

// ---------------------------------------------------------------- products

// Where a point has several register tiles, the first reads weights that others find in a cache. Is
// it much faster than memory? Then each asks for a part of the next point's.
static int ahead_lines(const Wino *d, int u) {
    const IrMachine *m = &d->f->target->machine;
    double work = (double)(d->tiles * ir_parts(m)) / m->products_a_cycle; // cycles, of a line
    int tiles = cg_ceil_div(d->s->tile.block, d->tiles);
    bool slow = tiles > 1 && work * m->memory_rate < LINE_FLOATS * sizeof(float) / 2.0;
    return d->prefetch && slow ? cg_ceil_div(u * d->nv, tiles) : 0;
}

// group: its weights. Behind its last point come the next group's.
static CgVal next_weights(Wino *d, CgVal point, CgVal group, int64_t panel) {
    CgFn *f = d->f;
    CgVal next = cg_iaddc(f, point, 1), last = cg_i64(f, d->w.points - 1);
    CgVal end = cg_icmp(f, LLVMIntEQ, point, last);
    CgVal filter = cg_conv_winograd_filter(f, &d->w, cg_select(f, end, last, next));
    filter = cg_select(f, end, cg_i64(f, d->w.filters), filter);
    return cg_fat(f, group, cg_imulc(f, filter, panel));
}

// A step of u channels of the register tile that begins at `tile`
static void ask_ahead(Wino *d, int u, CgVal tile, CgVal channel) {
    CgFn *f = d->f;
    int lines = ahead_lines(d, u);
    if (!lines)
        return;
    CgVal step = cg_imulc(f, cg_idivc(f, tile, d->tiles), d->w.channels / u);
    step = cg_iadd(f, step, cg_idivc(f, channel, u));
    CgVal p = cg_fat(f, d->next, cg_imulc(f, step, lines * LINE_FLOATS));
    for (int i = 0; i < lines; i++)
        cg_prefetch(f, cg_fatc(f, p, i * LINE_FLOATS), 2);
}

static int unroll(const Wino *d) {
    int u = UNROLL, lanes = d->f->lanes;
    while (lanes % u || d->w.channels % lanes % u)
        u /= 2;
    return u;
}

// Tiles [tile, tile + n) of one point. v, w, m: the point's.
static void emit_product(Wino *d, int n, CgVal tile, CgVal v, CgVal w, CgVal m) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    int lanes = f->lanes, u = unroll(d), step = d->nv * lanes;
    CgVal acc[CG_MAX_CARRY], weight[CG_MAX_CARRY];
    CgDot row[CG_MAX_CARRY];
    bool by_row = cg_dot_by_row(f, IR_F32, u);
    for (int i = 0; i < n * d->nv; i++)
        acc[i] = LLVMConstNull(f->vec);
    CgLoop loop;
    cg_for_carry(f, &loop, cg_i64(f, 0), cg_i64(f, d->w.channels), u, n * d->nv, acc);
    CgVal at = cg_iadd(f, cg_imulc(f, cg_idivc(f, loop.iv, lanes), s->tile.block), tile);
    at = cg_iadd(f, cg_imulc(f, at, lanes), cg_iremc(f, loop.iv, lanes));
    CgVal vp = cg_fat(f, v, at), wp = cg_fat(f, w, cg_imulc(f, loop.iv, step));
    ask_ahead(d, u, tile, loop.iv);
    for (int c = 0; c < u; c++) {
        cg_fence(f);
        for (int k = 0; d->prefetch && k < step; k += 16)
            cg_prefetch(f, cg_fatc(f, wp, c * step + k + PREFETCH_AHEAD / 4), 3);
        for (int k = 0; k < d->nv; k++)
            weight[k] = cg_load_v(f, cg_fatc(f, wp, c * step + k * lanes));
        for (int t = 0; t < n; t++) {
            CgVal p = cg_fatc(f, vp, t * lanes + c);
            CgVal x = cg_dot_step_x(f, IR_F32, by_row ? &row[t] : NULL, c, p).v[0];
            for (int k = 0; k < d->nv; k++)
                acc[t * d->nv + k] = cg_fma(f, x, weight[k], acc[t * d->nv + k]);
        }
    }
    cg_end_carry(f, &loop, acc);
    CgVal to = cg_fat(f, m, cg_imulc(f, tile, lanes));
    for (int k = 0; k < d->nv; k++)
        for (int t = 0; t < n; t++)
            cg_store_v(f, acc[t * d->nv + k],
                       cg_fatc(f, to, ((int64_t)k * s->tile.block + t) * lanes));
}

static int gcd(int64_t a, int64_t b) {
    return b == 0 ? (int)a : gcd(b, a % b);
}

// Can a block end with `rest` tiles after its full register tiles?
static bool can_remain(const Wino *d, int rest) {
    int per_image = d->w.tiles_h * d->w.tiles_w, block = d->s->tile.block;
    int least = gcd(gcd(d->s->N.n * per_image, d->s->N.c * per_image), block);
    for (int count = least; count <= block; count += least)
        if (count % d->tiles == rest)
            return true;
    return false;
}

// Does the rest get a register tile of its size? What is left of a full block and of one image do;
// others take the next larger one, whose tiles beyond the rest hold what an earlier block left
// there.
static bool has_own_tile(const Wino *d, int rest) {
    int64_t image = (d->s->N.c + d->s->N.n) * d->w.tiles_h * d->w.tiles_w;
    int step = (d->tiles + 3) / 4;
    return rest == d->s->tile.block % d->tiles || rest == image % d->s->tile.block % d->tiles ||
           rest % step == 0 || rest == d->tiles - 1;
}

// The rest in a register tile of n, if it has more than `above` tiles and no more than n.
static void emit_rest(Wino *d, int above, int n, CgVal tile, CgVal rest, CgVal v, CgVal w,
                      CgVal m) {
    CgFn *f = d->f;
    CgIf branch;
    CgVal more = cg_icmp(f, LLVMIntSGT, rest, cg_i64(f, above));
    CgVal fits = cg_icmp(f, LLVMIntSLE, rest, cg_i64(f, n));
    cg_if(f, &branch, LLVMBuildAnd(f->b, more, fits, ""));
    emit_product(d, n, tile, v, w, m);
    cg_endif(f, &branch);
}

static void emit_points(Wino *d) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    int64_t channels = d->w.channels, panel = channels * d->nv * f->lanes;
    CgVal set = cg_idivc(f, d->ocb, d->w.oc.blocks);
    CgVal v = cg_fat(f, d->v, cg_imulc(f, set, s->group > 1 ? channels * s->tile.block : 0));
    CgVal w = cg_fat(f, f->arg[CG_CONV_W],
                     cg_imulc(f, d->ocb, (int64_t)d->w.filters * channels * f->lanes));
    CgVal full = cg_imulc(f, cg_idivc(f, d->count, d->tiles), d->tiles);
    CgVal rest = cg_isub(f, d->count, full);
    CgLoop point, part;
    cg_for(f, &point, cg_i64(f, 0), cg_i64(f, d->w.points), 1);
    CgVal vp = cg_fat(f, v, cg_imulc(f, point.iv, d->w.v_point));
    CgVal wp = cg_fat(f, w, cg_imulc(f, cg_conv_winograd_filter(f, &d->w, point.iv), panel));
    if (ahead_lines(d, UNROLL))
        d->next = next_weights(d, point.iv, w, panel);
    CgVal mp = cg_fat(f, d->m, cg_imulc(f, point.iv, d->w.m_point));
    cg_for(f, &part, cg_i64(f, 0), full, d->tiles);
    emit_product(d, d->tiles, part.iv, vp, wp, mp);
    cg_end(f, &part);
    bool needed = false;
    for (int r = 1, above = 0; r < d->tiles; r++) {
        needed |= can_remain(d, r);
        if (!has_own_tile(d, r))
            continue;
        if (needed)
            emit_rest(d, above, r, full, rest, vp, wp, mp);
        above = r;
        needed = false;
    }
    cg_end(f, &point);
}

// ---------------------------------------------------------------- output

static CgVal load_product(WinoNest *nest, int i, int j) {
    Nest *n = (Nest *)nest;
    const Wino *d = n->d;
    return cg_load_v(d->f, cg_fatc(d->f, n->from, (i * d->w.w.n + j) * d->w.m_point));
}

static void store_pixel(Nest *n, CgVal x, CgVal pixel) {
    Wino *d = n->d;
    CgFn *f = d->f;
    x = cg_conv_then(f, d->s, x, d->n, d->ocb, pixel);
    cg_conv_store(f, d->s, x, cg_elem_block(f, (IrDtype)d->s->y_dtype, n->to, pixel));
}

static void store_output(WinoNest *nest, int i, int j, CgVal x) {
    Nest *n = (Nest *)nest;
    CgFn *f = n->d->f;
    store_pixel(n, cg_fadd(f, x, n->bias), cg_iaddc(f, n->pixel, (int64_t)i * n->d->s->OW + j));
}

static void store_buffer(WinoNest *nest, int i, int j, CgVal x) {
    Nest *n = (Nest *)nest;
    const Wino *d = n->d;
    cg_store_v(d->f, cg_fadd(d->f, x, n->bias), cg_blockc(d->f, d->edge, i * d->w.w.m + j));
}

// What exists of the tile in the buffer goes through the epilogue.
static void emit_buffered(Wino *d, Nest *n) {
    CgFn *f = d->f;
    int mh = d->w.h.m, mw = d->w.w.m;
    n->nest.store = store_buffer;
    cg_conv_winograd_nest(f, &n->nest, &d->w.h.at, &d->w.w.at);
    CgVal zero = cg_i64(f, 0);
    CgVal rows = cg_imin(f, cg_isub(f, cg_i64(f, d->s->OH), d->oh), cg_i64(f, mh));
    CgVal columns = cg_imin(f, cg_isub(f, cg_i64(f, d->s->OW), d->ow), cg_i64(f, mw));
    CgLoop row, column;
    cg_for(f, &row, zero, rows, 1);
    cg_for(f, &column, zero, columns, 1);
    CgVal at = cg_iadd(f, cg_imulc(f, row.iv, mw), column.iv);
    CgVal x = cg_load_v(f, cg_block(f, d->edge, at));
    CgVal pixel = cg_iadd(f, cg_imulc(f, row.iv, d->s->OW), column.iv);
    store_pixel(n, x, cg_iadd(f, n->pixel, pixel));
    cg_end(f, &column);
    cg_end(f, &row);
}

// One vector of one tile
static void emit_output_vector(Wino *d, Nest *n) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    bool edges = s->OH % d->w.h.m || s->OW % d->w.w.m;
    CgIf branch;
    if (d->always_buffered) {
        emit_buffered(d, n);
        return;
    }
    if (edges) {
        CgVal bottom = cg_icmp(f, LLVMIntSLE, d->oh, cg_i64(f, s->OH - d->w.h.m));
        CgVal right = cg_icmp(f, LLVMIntSLE, d->ow, cg_i64(f, s->OW - d->w.w.m));
        cg_if(f, &branch, LLVMBuildAnd(f->b, bottom, right, ""));
    }
    n->nest.store = store_output;
    cg_conv_winograd_nest(f, &n->nest, &d->w.h.at, &d->w.w.at);
    if (edges) {
        cg_else(f, &branch);
        emit_buffered(d, n);
        cg_endif(f, &branch);
    }
}

static void emit_output(Wino *d) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    CgVal group = d->ocb;
    CgLoop vector, part, tile;
    cg_for(f, &tile, cg_i64(f, 0), d->count, 1);
    place_tile(d, tile.iv);
    cg_for(f, &vector, cg_i64(f, 0), cg_i64(f, d->nv), 1);
    d->ocb = cg_iadd(f, group, vector.iv);
    CgVal at = cg_iadd(f, cg_imulc(f, vector.iv, s->tile.block), tile.iv);
    cg_for_parts(f, &part);
    Nest n = {.d = d, .nest.load = load_product, .from = cg_block(f, d->m, at)};
    CgVal image = cg_conv_y(f, s, f->arg[CG_CONV_Y], cg_imulc(f, d->n, s->y_image));
    n.to = cg_conv_y(f, s, image, cg_imulc(f, d->ocb, (int64_t)s->OH * s->OW * IR_BLOCK));
    n.bias = cg_conv_bias(f, s, d->ocb);
    n.pixel = cg_iadd(f, cg_imulc(f, d->oh, s->OW), d->ow);
    emit_output_vector(d, &n);
    cg_end_parts(f, &part);
    cg_end(f, &vector);
    cg_end(f, &tile);
    d->ocb = group;
}

// ---------------------------------------------------------------- the kernel

static void emit_group(Wino *d, int nv) {
    d->nv = nv;
    emit_points(d);
    emit_output(d);
}

static void emit_groups(Wino *d, CgVal lo, CgVal hi) {
    CgFn *f = d->f;
    CgCut cut = d->w.oc.cut;
    CgLoop loop;
    CgIf branch;
    cg_for(f, &loop, lo, hi, 1);
    CgVal set = cg_idivc(f, loop.iv, cut.n), part = cg_iremc(f, loop.iv, cut.n);
    d->ocb = cg_iadd(f, cg_imulc(f, set, d->w.oc.blocks), cg_cut_at(f, cut, part));
    if (cut.big < cut.n) {
        cg_if(f, &branch, cg_icmp(f, LLVMIntSLT, part, cg_i64(f, cut.big)));
        emit_group(d, cut.size);
        cg_else(f, &branch);
        emit_group(d, cut.size - 1);
        cg_endif(f, &branch);
    } else {
        emit_group(d, cut.size);
    }
    cg_end(f, &loop);
}

static void place_scratch(Wino *d) {
    CgFn *f = d->f;
    int64_t edge = (int64_t)d->s->tile.out_rows * d->s->tile.out_cols * f->lanes;
    d->v = f->scratch;
    d->m = cg_fatc(f, d->v, d->w.in_place ? 0 : d->w.v_floats);
    d->edge = cg_fatc(f, d->v, d->w.v_floats + d->w.m_floats);
    d->zeros = cg_fatc(f, d->edge, edge);
    cg_store_v(f, LLVMConstNull(f->vec), d->zeros);
}

void cg_conv_emit_winograd(CgFn *f, const void *spec) {
    const CgConv *s = spec;
    Wino d = {.f = f, .s = s, .w = cg_conv_winograd_shape(s, f->lanes)};
    int most = cg_max_int(1, ir_winograd_tiles(&f->target->machine, d.w.oc.cut.size));
    d.tiles = cg_cut(s->tile.block, most).size;
    d.prefetch = cg_conv_asks_weights(s, &f->target->machine);
    d.always_buffered = cg_conv_winograd_long(&s->then);
    place_scratch(&d);
    int groups = d.w.oc.sets * d.w.oc.cut.n;
    CgVal zero = cg_i64(f, 0), all = cg_i64(f, groups), lo, hi;
    CgVal total = cg_imulc(f, cg_dim(f, s->N), (int64_t)d.w.tiles_h * d.w.tiles_w);
    CgVal blocks = cg_idivc(f, cg_iaddc(f, total, s->tile.block - 1), s->tile.block);
    cg_split(f, cg_imulc(f, blocks, groups), &lo, &hi);
    CgVal end = cg_idivc(f, cg_iaddc(f, hi, groups - 1), groups);
    end = cg_select(f, cg_icmp(f, LLVMIntSLT, lo, hi), end, zero);
    CgLoop loop;
    cg_for(f, &loop, cg_idivc(f, lo, groups), end, 1);
    CgVal begin = cg_imulc(f, loop.iv, groups);
    d.first = cg_imulc(f, loop.iv, s->tile.block);
    d.count = cg_imin(f, cg_isub(f, total, d.first), cg_i64(f, s->tile.block));
    emit_input(&d);
    emit_groups(&d, cg_imax(f, cg_isub(f, lo, begin), zero),
                cg_imin(f, cg_isub(f, hi, begin), all));
    cg_end(f, &loop);
}
