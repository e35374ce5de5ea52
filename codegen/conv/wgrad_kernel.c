// The kernel of conv_wgrad, the gradient of a convolution's weights,
//
//   dw[o][i][kh][kw] = sum over images n and output pixels (oh, ow) of
//                      dy[n][o][oh][ow] * x[n][i][oh*sh - pt + kh*dh][ow*sw - pl + kw*dw]
//
// A register tile is `vecs` vectors of output channels times `terms` values of x that are copied to
// all lanes; it stays in registers while pixels stream by: vecs loads of dy and `terms` broadcasts
// for vecs * terms products. What the terms are:
//   x blocked    channels of one block at one kernel tap; a block has several parts of them
//   x plain      (C <= 4) channels times kernel columns, cut into sets
//   lanewise     (groups inside a vector, depthwise) channels of a group times kernel columns; the
//                value is x's vector with channel k of each group in all lanes of the group
// Padding is never read: for a tap it is a narrower range of rows and columns. Where the terms of a
// set have different ranges, the columns at the edges get code that omits what is outside.
//
// A unit is one tile of output vectors times one block of x with all taps: its sums lie in scratch
// as [row = i * KH*KW + tap][vecs][lanes]. Pixels come in chunks (some rows of some images) that
// stay in L1 while all parts and taps of a unit pass over them; a group of units, whose sums stay
// in L2, takes all chunks before the next group; then its sums are transposed into dw.
//
// Threads split the units and each unit sums up all pixels in one order, so that results do not
// depend on the number of threads.
#include "codegen/conv/wgrad.h"
#include "codegen/build/nd.h"

static int min_int(int a, int b) {
    return a < b ? a : b;
}
static int max_int(int a, int b) {
    return a > b ? a : b;
}
static int ceil_div(int a, int b) {
    return a <= 0 ? 0 : (a + b - 1) / b;
}

// ---------------------------------------------------------------- what the units are

int cg_wgrad_group_channels(const CgWgrad *s) {
    return s->C / s->group;
}

CgWgradPairing cg_wgrad_pairing(const CgWgrad *s, int lanes) {
    if (s->lanewise)
        return CG_PAIR_SAME;
    bool whole = s->O / s->group % lanes == 0 && cg_wgrad_group_channels(s) % s->bin == 0;
    return s->group == 1 || whole ? CG_PAIR_ALL : CG_PAIR_RANGES;
}

// Blocks of x that output vector `ob` needs: [lo, hi)
static void block_range(const CgWgrad *s, int lanes, int ob, int *lo, int *hi) {
    int og = s->O / s->group, ig = cg_wgrad_group_channels(s);
    int last = min_int((ob + 1) * lanes, s->O) - 1;
    *lo = ob * lanes / og * ig / s->bin;
    *hi = ceil_div((last / og + 1) * ig, s->bin);
}

static int most_blocks(const CgWgrad *s, int lanes) {
    int most = 0, lo, hi;
    for (int ob = 0; ob < ceil_div(s->O, lanes); ob++) {
        block_range(s, lanes, ob, &lo, &hi);
        most = max_int(most, hi - lo);
    }
    return most;
}

CgWgradUnits cg_wgrad_units(const CgWgrad *s, int lanes) {
    CgWgradUnits u = {.pairing = cg_wgrad_pairing(s, lanes), .sets = 1, .taps = s->kh * s->kw};
    u.o_blocks = ceil_div(s->O, lanes);
    u.i_blocks = s->bin == 1 ? 1 : ceil_div(s->C, s->bin);
    u.part = s->bin == 1 ? s->C : s->lanewise ? cg_wgrad_group_channels(s) : s->terms;
    u.parts = s->bin == 1 || s->lanewise ? 1 : ceil_div(min_int(s->bin, s->C), s->terms);
    if (u.pairing == CG_PAIR_ALL && s->group > 1) {
        u.sets = s->group;
        u.o_blocks /= s->group;
        u.i_blocks /= s->group;
    } else if (u.pairing == CG_PAIR_SAME) {
        u.i_blocks = 1;
    } else if (u.pairing == CG_PAIR_RANGES) {
        u.i_blocks = most_blocks(s, lanes);
    }
    u.cut = cg_conv_cut(u.o_blocks, s->vecs);
    u.o_tiles = u.sets * u.cut.n;
    u.n = (int64_t)u.o_tiles * u.i_blocks;
    u.rows = ceil_div(u.part * u.parts * u.taps, lanes) * lanes;
    u.floats = (int64_t)u.rows * u.cut.size * lanes;
    return u;
}

// ---------------------------------------------------------------- columns

typedef struct Term {
    int k, kw; // channel of the part, kernel column
} Term;

// Terms that share a register tile.
typedef struct Set {
    int n;
    const Term *term;
} Set;

// Output columns [lo, hi) whose tap kw is inside the image.
static void column_range(const CgWgrad *s, int kw, int *lo, int *hi) {
    int first = s->pl - kw * s->dw;
    *lo = min_int(s->OW, ceil_div(first, s->sw));
    *hi = max_int(*lo, min_int(s->OW, ceil_div(first + s->W, s->sw)));
}

typedef struct Kernel {
    CgFn *f;
    const CgWgrad *s;
    CgWgradUnits u;
    int n_sets;
    Set *sets;
    int unroll;
} Kernel;

enum { MAX_EDGE_COLUMNS = 24, MAX_PRODUCTS = 1600 };

// Columns that some but not all kernel columns of a set reach are code of their own: with many of
// them each kernel column becomes a set.
static int count_edge_columns(const CgWgrad *s) {
    int lo0, hi0, lo1, hi1;
    column_range(s, 0, &lo0, &hi0);
    column_range(s, s->kw - 1, &lo1, &hi1);
    return (lo0 - lo1) + (hi0 - hi1);
}

static void find_sets(Kernel *k) {
    const CgWgrad *s = k->s;
    IrArena *a = k->f->arena;
    int n = k->u.part * s->kw, in_set = s->terms;
    bool apart = (s->bin > 1 && !s->lanewise) || count_edge_columns(s) > MAX_EDGE_COLUMNS;
    Term *term = ir_alloc_array(a, (size_t)n, sizeof *term);
    for (int i = 0; i < n; i++)
        term[i] = (Term){i % k->u.part, i / k->u.part};
    k->sets = ir_alloc_array(a, (size_t)n, sizeof *k->sets);
    if (apart) {
        for (int i = 0; i < n;) {
            int left = k->u.part - i % k->u.part, size = min_int(left, in_set);
            k->sets[k->n_sets++] = (Set){size, term + i};
            i += size;
        }
        return;
    }
    CgCut cut = cg_conv_cut(n, in_set);
    for (int i = 0; i < cut.n; i++)
        k->sets[k->n_sets++] = (Set){cut.size - (i >= cut.big), term + cg_conv_cut_begin(cut, i)};
}

// ---------------------------------------------------------------- the register tile

typedef struct Tile {
    const Set *set;
    int nv;
    CgVal x_ahead, dy_ahead; // floats to the next chunk's pixels, which are asked for; NULL: not
    CgVal acc[CG_MAX_CARRY];
} Tile;

static CgVal spread_channel(CgFn *f, const CgWgrad *s, CgVal x, int k) {
    int index[64], cg = cg_wgrad_group_channels(s);
    if (cg == 1)
        return x;
    for (int i = 0; i < f->lanes; i++)
        index[i] = i / cg * cg + k;
    return cg_shuffle(f, x, NULL, f->lanes, index);
}

// Asks for what the next chunk has in the place of this pixel, to be in L2 by then.
static void prefetch_pixel(Kernel *k, Tile *t, CgVal xp, CgVal dp, int at) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    if (at * f->lanes % 16) // vectors that share a line
        return;
    if (t->x_ahead) {
        int64_t from = ((int64_t)at * s->sw + t->set->term[0].kw * s->dw) * s->bin;
        cg_prefetch(f, cg_fat(f, cg_fatc(f, xp, from), t->x_ahead), 2);
    }
    for (int v = 0; v < t->nv && t->dy_ahead; v++) {
        int64_t from = ((int64_t)v * s->OH * s->OW + at) * f->lanes;
        cg_prefetch(f, cg_fat(f, cg_fatc(f, dp, from), t->dy_ahead), 2);
    }
}

// Output column `at`, counted from dp; xp: where tap 0 of the column that dp points to is.
// `column`: the static column, to leave out terms outside; -1: all are inside.
static void emit_pixel(Kernel *k, Tile *t, CgVal xp, CgVal dp, int at, int column) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    CgVal dy[CG_MAX_CARRY] = {NULL}, x = NULL;
    int last_kw = -1;
    if (!s->lanewise || !f->target->machine.broadcast || at % 4 == 0)
        cg_conv_fence(f);
    for (int i = 0; i < t->set->n; i++) {
        Term term = t->set->term[i];
        int lo, hi;
        column_range(s, term.kw, &lo, &hi);
        if (column >= 0 && (column < lo || column >= hi))
            continue;
        int64_t from = ((int64_t)at * s->sw + term.kw * s->dw) * s->bin;
        CgVal value;
        if (s->lanewise) {
            if (term.kw != last_kw)
                x = cg_load_v(f, cg_fatc(f, xp, from));
            last_kw = term.kw;
            value = spread_channel(f, s, x, term.k);
        } else {
            from += s->bin == 1 ? (int64_t)term.k * s->H * s->W : term.k;
            value = cg_load_splat(f, cg_fatc(f, xp, from));
        }
        for (int v = 0; v < t->nv; v++) {
            if (!dy[v])
                dy[v] = cg_load_v(f, cg_fatc(f, dp, ((int64_t)v * s->OH * s->OW + at) * f->lanes));
            t->acc[i * t->nv + v] = cg_fma(f, value, dy[v], t->acc[i * t->nv + v]);
        }
    }
}

// One row of output pixels: xp, dp at its column 0.
static void emit_row(Kernel *k, Tile *t, CgVal xp, CgVal dp) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    int lo = 0, hi = s->OW, first = s->OW, end = 0;
    for (int i = 0; i < t->set->n; i++) { // [lo, hi): all terms inside; [first, end): some
        int a, b;
        column_range(s, t->set->term[i].kw, &a, &b);
        lo = max_int(lo, a);
        hi = min_int(hi, b);
        first = b > a ? min_int(first, a) : first;
        end = b > a ? max_int(end, b) : end;
    }
    hi = max_int(hi, lo);
    for (int c = first; c < min_int(lo, end); c++)
        emit_pixel(k, t, xp, dp, c, c);
    int u = k->unroll, main = hi - lo <= 2 * u ? 0 : (hi - lo) / u * u;
    if (main) {
        CgLoop loop;
        cg_for_carry(f, &loop, cg_i64(f, lo), cg_i64(f, lo + main), u, t->set->n * t->nv, t->acc);
        CgVal xi = cg_fat(f, xp, cg_imulc(f, loop.iv, (int64_t)s->sw * s->bin));
        CgVal di = cg_fat(f, dp, cg_imulc(f, loop.iv, f->lanes));
        for (int i = 0; i < u; i++) {
            emit_pixel(k, t, xi, di, i, -1);
            prefetch_pixel(k, t, xi, di, i);
        }
        cg_end_carry(f, &loop, t->acc);
    }
    for (int c = lo + main; c < hi; c++) {
        emit_pixel(k, t, xp, dp, c, -1);
        prefetch_pixel(k, t, xp, dp, c);
    }
    for (int c = max_int(hi, first); c < end; c++)
        emit_pixel(k, t, xp, dp, c, c);
}

// ---------------------------------------------------------------- a unit on a chunk

// What a unit's code works on.
typedef struct Place {
    CgVal x, dy, sum;        // of the chunk's first image; the unit's sums
    CgVal images;            // of the chunk
    CgVal row_lo, row_hi;    // of the chunk
    CgVal x_ahead, dy_ahead; // floats from this chunk to the next
    CgVal parts;             // of this block that hold channels
    CgVal ob, ib, set;       // output vector, block of x within its group, group
} Place;

static CgVal sum_at(Kernel *k, const Place *p, CgVal part, CgVal kh, const Term *term, int v) {
    CgFn *f = k->f;
    const CgWgradUnits *u = &k->u;
    CgVal row = cg_imulc(f, part, (int64_t)u->part * u->taps);
    row = cg_iaddc(f, cg_iadd(f, row, cg_imulc(f, kh, k->s->kw)), term->k * u->taps + term->kw);
    CgVal at = cg_iaddc(f, cg_imulc(f, row, (int64_t)u->cut.size * f->lanes), v * f->lanes);
    return cg_fat(f, p->sum, at);
}

// Output rows [lo, hi) of the chunk whose kernel row kh is inside the image.
static void find_rows(Kernel *k, const Place *p, CgVal kh, CgVal *lo, CgVal *hi) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    CgVal zero = cg_i64(f, 0);
    CgVal first = cg_isub(f, cg_i64(f, s->pt), cg_imulc(f, kh, s->dh));
    CgVal a = cg_imax(f, first, zero), b = cg_imax(f, cg_iaddc(f, first, s->H), zero);
    *lo = cg_imax(f, p->row_lo, cg_idivc(f, cg_iaddc(f, a, s->sh - 1), s->sh));
    *hi = cg_imin(f, p->row_hi, cg_idivc(f, cg_iaddc(f, b, s->sh - 1), s->sh));
}

static void emit_set(Kernel *k, const Place *p, const Set *set, int nv, CgVal part, CgVal kh) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    Tile t = {.set = set, .nv = nv};
    bool is_first = set == k->sets;
    t.dy_ahead = is_first ? p->dy_ahead : NULL;
    t.x_ahead =
        s->bin > 1 && (is_first || (!s->lanewise && set->term[0].kw < s->sw)) ? p->x_ahead : NULL;
    int n = set->n * nv;
    CgVal lo, hi;
    find_rows(k, p, kh, &lo, &hi);
    for (int i = 0; i < n; i++)
        t.acc[i] = cg_load_v(f, sum_at(k, p, part, kh, &set->term[i / nv], i % nv));
    CgLoop image, row;
    cg_for_carry(f, &image, cg_i64(f, 0), p->images, 1, n, t.acc);
    CgVal xn = cg_fat(f, p->x, cg_imulc(f, image.iv, s->x_image));
    CgVal dn = cg_fat(f, p->dy, cg_imulc(f, image.iv, s->dy_image));
    if (s->bin > 1 && !s->lanewise)
        xn = cg_fat(f, xn, cg_imulc(f, part, k->u.part));
    cg_for_carry(f, &row, lo, hi, 1, n, t.acc);
    CgVal ih = cg_iadd(f, cg_iaddc(f, cg_imulc(f, row.iv, s->sh), -s->pt), cg_imulc(f, kh, s->dh));
    CgVal xp = cg_fat(f, xn, cg_imulc(f, cg_iaddc(f, cg_imulc(f, ih, s->W), -s->pl), s->bin));
    CgVal dp = cg_fat(f, dn, cg_imulc(f, row.iv, (int64_t)s->OW * f->lanes));
    emit_row(k, &t, xp, dp);
    cg_end_carry(f, &row, t.acc);
    cg_end_carry(f, &image, t.acc);
    for (int i = 0; i < n; i++)
        cg_store_v(f, t.acc[i], sum_at(k, p, part, kh, &set->term[i / nv], i % nv));
}

static void emit_unit(Kernel *k, const Place *p, int nv) {
    CgFn *f = k->f;
    CgLoop part, kh;
    cg_for(f, &kh, cg_i64(f, 0), cg_i64(f, k->s->kh), 1);
    cg_for(f, &part, cg_i64(f, 0), p->parts, 1);
    for (int i = 0; i < k->n_sets; i++)
        emit_set(k, p, &k->sets[i], nv, part.iv, kh.iv);
    cg_end(f, &part);
    cg_end(f, &kh);
}

// Channels of x that the unit's block holds.
static CgVal block_channels(Kernel *k, const Place *p) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    int c = k->u.pairing == CG_PAIR_RANGES ? s->C : cg_wgrad_group_channels(s);
    if (k->u.part * k->u.parts >= c)
        return cg_i64(f, c);
    return cg_imin(f, cg_i64(f, s->bin), cg_isub(f, cg_i64(f, c), cg_imulc(f, p->ib, s->bin)));
}

// Number -> tile and block. CgWgradUnits stand in order of groups of blocks of x, tiles, blocks.
// Returns whether the tile has the larger number of vectors.
static CgVal find_unit(Kernel *k, CgVal unit, Place *p) {
    CgFn *f = k->f;
    const CgWgradUnits *u = &k->u;
    int per = k->s->i_blocks;
    CgVal group = cg_idivc(f, unit, (int64_t)u->o_tiles * per);
    CgVal rest = cg_iremc(f, unit, (int64_t)u->o_tiles * per), tile;
    CgVal first = cg_imulc(f, group, per);
    CgVal in_group = cg_imin(f, cg_i64(f, per), cg_isub(f, cg_i64(f, u->i_blocks), first));
    cg_divmod(f, rest, in_group, &tile, &p->ib);
    p->ib = cg_iadd(f, p->ib, first);
    p->set = cg_idivc(f, tile, u->cut.n);
    CgVal part = cg_iremc(f, tile, u->cut.n);
    p->ob = cg_iadd(f, cg_imulc(f, p->set, u->o_blocks), cg_conv_cut_at(f, u->cut, part));
    if (u->pairing == CG_PAIR_SAME)
        p->ib = cg_i64(f, 0);
    return cg_icmp(f, LLVMIntSLT, part, cg_i64(f, u->cut.big));
}

// First block of x that the tile reads, and one past the last, of CG_PAIR_RANGES.
static void find_range(Kernel *k, const Place *p, CgVal *lo, CgVal *hi) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    int og = s->O / s->group, ig = cg_wgrad_group_channels(s);
    CgVal first = cg_imulc(f, p->ob, f->lanes);
    CgVal end = cg_imin(f, cg_iaddc(f, first, f->lanes), cg_i64(f, s->O));
    CgVal last_group = cg_idivc(f, cg_iaddc(f, end, -1), og);
    *lo = cg_idivc(f, cg_imulc(f, cg_idivc(f, first, og), ig), s->bin);
    *hi = cg_idivc(f, cg_iaddc(f, cg_imulc(f, last_group, ig), ig + s->bin - 1), s->bin);
}

// The block of x among all, and how many parts of it count: none past the range.
static CgVal place_block(Kernel *k, Place *p) {
    CgFn *f = k->f;
    const CgWgradUnits *u = &k->u;
    CgVal block = p->ib;
    p->parts = cg_i64(f, u->parts);
    if (u->pairing == CG_PAIR_SAME)
        return p->ob;
    if (u->pairing == CG_PAIR_RANGES) {
        CgVal lo, hi;
        find_range(k, p, &lo, &hi);
        block = p->ib = cg_iadd(f, p->ib, lo);
        CgVal is_in = cg_icmp(f, LLVMIntSLT, block, hi);
        p->parts = cg_select(f, is_in, p->parts, cg_i64(f, 0));
        return block;
    }
    if (u->parts > 1) {
        CgVal c = block_channels(k, p);
        p->parts = cg_idivc(f, cg_iaddc(f, c, u->part - 1), u->part);
    }
    return cg_iadd(f, cg_imulc(f, p->set, u->i_blocks), block);
}

static void emit_unit_on_chunk(Kernel *k, CgVal unit, CgVal first_unit, CgVal image, Place *p) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    CgCut cut = k->u.cut;
    CgVal is_big = find_unit(k, unit, p);
    CgVal block = place_block(k, p);
    int64_t x_plane = (int64_t)s->H * s->W * s->bin, dy_plane = (int64_t)s->OH * s->OW * f->lanes;
    CgVal x = cg_iadd(f, cg_imulc(f, image, s->x_image), cg_imulc(f, block, x_plane));
    CgVal dy = cg_iadd(f, cg_imulc(f, image, s->dy_image), cg_imulc(f, p->ob, dy_plane));
    p->x = cg_fat(f, f->arg[CG_WGRAD_X], x);
    p->dy = cg_fat(f, f->arg[CG_WGRAD_DY], dy);
    p->sum = cg_fat(f, f->scratch, cg_imulc(f, cg_isub(f, unit, first_unit), k->u.floats));
    if (cut.big == cut.n) {
        emit_unit(k, p, cut.size);
        return;
    }
    CgIf size;
    cg_if(f, &size, is_big);
    emit_unit(k, p, cut.size);
    cg_else(f, &size);
    emit_unit(k, p, cut.size - 1);
    cg_endif(f, &size);
}

// ---------------------------------------------------------------- sums to dw

// Vector v of the unit's tile: square pieces of [rows][lanes] are transposed to dw[o][rows].
static void transpose_vector(Kernel *k, const Place *p, CgVal v) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    const CgWgradUnits *u = &k->u;
    int64_t per_output = (int64_t)cg_wgrad_group_channels(s) * u->taps;
    CgVal rows = cg_imulc(f, block_channels(k, p), u->taps);
    CgVal o = cg_imulc(f, cg_iadd(f, p->ob, v), f->lanes);
    CgVal at = cg_imulc(f, p->ib, (int64_t)s->bin * u->taps);
    CgVal to = cg_fat(f, f->arg[CG_WGRAD_DW], cg_iadd(f, cg_imulc(f, o, per_output), at));
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), rows, f->lanes);
    CgVal row[64], left = cg_isub(f, rows, loop.iv);
    CgVal n = cg_imin(f, left, cg_i64(f, f->lanes));
    for (int i = 0; i < f->lanes; i++) {
        CgVal j = cg_imulc(f, cg_iaddc(f, loop.iv, i), (int64_t)u->cut.size * f->lanes);
        CgVal from = cg_iadd(f, j, cg_imulc(f, v, f->lanes));
        row[i] = cg_load_v(f, cg_fat(f, p->sum, from));
    }
    cg_transpose_lanes(f, row);
    for (int i = 0; i < f->lanes; i++) {
        CgIf guard;
        CgVal q = cg_fat(f, cg_fatc(f, to, i * per_output), loop.iv);
        if (s->O % f->lanes)
            cg_if(f, &guard, cg_icmp(f, LLVMIntSLT, o, cg_i64(f, s->O - i)));
        cg_store_n(f, row[i], q, n);
        if (s->O % f->lanes)
            cg_endif(f, &guard);
    }
    cg_end(f, &loop);
}

// Lane by lane, of the block's channels those of the lane's group.
static void copy_lanes(Kernel *k, const Place *p) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    const CgWgradUnits *u = &k->u;
    int og = s->O / s->group, ig = cg_wgrad_group_channels(s);
    CgVal o0 = cg_imulc(f, p->ob, f->lanes), c0 = cg_imulc(f, p->ib, s->bin);
    CgVal n = cg_imin(f, cg_i64(f, f->lanes), cg_isub(f, cg_i64(f, s->O), o0));
    CgLoop lane, row;
    cg_for(f, &lane, cg_i64(f, 0), n, 1);
    CgVal o = cg_iadd(f, o0, lane.iv);
    CgVal g0 = cg_imulc(f, cg_idivc(f, o, og), ig); // the group's channels
    CgVal lo = cg_imax(f, g0, c0);
    CgVal hi = cg_imin(f, cg_iaddc(f, g0, ig), cg_iaddc(f, c0, s->bin));
    CgVal to = cg_iadd(f, cg_imulc(f, o, ig), cg_isub(f, lo, g0));
    to = cg_fat(f, f->arg[CG_WGRAD_DW], cg_imulc(f, to, u->taps));
    CgVal first = cg_imulc(f, cg_isub(f, lo, c0), u->taps);
    CgVal n_rows = cg_imulc(f, cg_isub(f, hi, lo), u->taps);
    cg_for(f, &row, cg_i64(f, 0), n_rows, 1);
    CgVal at = cg_imulc(f, cg_iadd(f, first, row.iv), f->lanes);
    CgVal x = cg_load_f(f, cg_fat(f, p->sum, cg_iadd(f, at, lane.iv)));
    cg_store(f, x, cg_fat(f, to, row.iv), 4);
    cg_end(f, &row);
    cg_end(f, &lane);
}

static void emit_result(Kernel *k, CgVal unit, CgVal first_unit) {
    CgFn *f = k->f;
    Place p;
    CgVal is_big = find_unit(k, unit, &p);
    p.sum = cg_fat(f, f->scratch, cg_imulc(f, cg_isub(f, unit, first_unit), k->u.floats));
    if (k->u.pairing == CG_PAIR_RANGES) {
        CgVal lo, hi;
        CgIf guard;
        find_range(k, &p, &lo, &hi);
        p.ib = cg_iadd(f, p.ib, lo);
        cg_if(f, &guard, cg_icmp(f, LLVMIntSLT, p.ib, hi));
        copy_lanes(k, &p);
        cg_endif(f, &guard);
        return;
    }
    CgLoop v;
    CgVal size = cg_i64(f, k->u.cut.size);
    CgVal n = cg_select(f, is_big, size, cg_iaddc(f, size, -1));
    cg_for(f, &v, cg_i64(f, 0), n, 1);
    transpose_vector(k, &p, v.iv);
    cg_end(f, &v);
}

// ---------------------------------------------------------------- the kernel

static void clear_sums(Kernel *k, CgVal units) {
    CgFn *f = k->f;
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_imulc(f, units, k->u.floats), f->lanes);
    cg_store_v(f, cg_v(f, 0), cg_fat(f, f->scratch, loop.iv));
    cg_end(f, &loop);
}

// The next chunk is some rows down, or at the top of the next images.
static void find_next_chunk(Kernel *k, Place *p) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    CgVal is_last = cg_icmp(f, LLVMIntSGE, p->row_hi, cg_i64(f, s->OH));
    int64_t x_row = (int64_t)s->sh * s->W * s->bin, dy_row = (int64_t)s->OW * f->lanes;
    CgVal x_next = cg_isub(f, cg_imulc(f, p->images, s->x_image), cg_imulc(f, p->row_lo, x_row));
    CgVal dy_next = cg_isub(f, cg_imulc(f, p->images, s->dy_image), cg_imulc(f, p->row_lo, dy_row));
    p->x_ahead = cg_select(f, is_last, x_next, cg_i64(f, s->rows * x_row));
    p->dy_ahead = cg_select(f, is_last, dy_next, cg_i64(f, s->rows * dy_row));
}

static void emit_group(Kernel *k, CgVal lo, CgVal hi) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    CgVal images = cg_dim(f, s->N);
    CgLoop image, rows, unit;
    clear_sums(k, cg_isub(f, hi, lo));
    cg_for(f, &image, cg_i64(f, 0), images, s->images);
    cg_for(f, &rows, cg_i64(f, 0), cg_i64(f, s->OH), s->rows);
    Place p = {.row_lo = rows.iv};
    p.images = cg_imin(f, cg_i64(f, s->images), cg_isub(f, images, image.iv));
    p.row_hi = cg_imin(f, cg_iaddc(f, rows.iv, s->rows), cg_i64(f, s->OH));
    find_next_chunk(k, &p);
    cg_for(f, &unit, lo, hi, 1);
    emit_unit_on_chunk(k, unit.iv, lo, image.iv, &p);
    cg_end(f, &unit);
    cg_end(f, &rows);
    cg_end(f, &image);
    cg_for(f, &unit, lo, hi, 1);
    emit_result(k, unit.iv, lo);
    cg_end(f, &unit);
}

void cg_conv_wgrad(CgFn *f, const void *spec) {
    Kernel k = {.f = f, .s = spec};
    k.u = cg_wgrad_units(k.s, f->lanes);
    find_sets(&k);
    int products = k.s->kw * k.u.part * k.s->vecs, most = k.s->lanewise ? 8 : 4;
    k.unroll = max_int(1, min_int(most, MAX_PRODUCTS / max_int(1, products)));
    CgVal lo, hi;
    CgLoop group;
    cg_split(f, cg_i64(f, k.u.n), &lo, &hi);
    cg_for(f, &group, lo, hi, k.s->units);
    emit_group(&k, group.iv, cg_imin(f, hi, cg_iaddc(f, group.iv, k.s->units)));
    cg_end(f, &group);
}
