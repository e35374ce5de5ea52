// The kernel of conv_wgrad, the gradient of a convolution's weights,
//
//   dw[o][i][kh][kw] = sum over images n and output pixels (oh, ow) of
//                      dy[n][o][oh][ow] * x[n][i][oh*sh - pt + kh*dh][ow*sw - pl + kw*dw]
//
// A register tile is `vecs` vectors of output channels times `terms` values of x that are copied to
// all lanes; it stays in registers while pixels stream by: vecs loads of dy and `terms` broadcasts
// for vecs * terms products. What the terms are:
//   x blocked    channels of one block at one kernel tap; a block has several parts of them, or
//                is one part of several sets
//   x plain      (C <= 4) channels times kernel columns, cut into sets
//   lanewise     (groups inside a vector, depthwise) channels of a group times kernel columns; the
//                value is x's vector with channel k of each group in all lanes of the group
// Padding is never read: for a tap it is a narrower range of rows and columns. Where the terms of a
// set have different ranges, the columns at the edges get code that omits what is outside.
//
// A piece is one tile of output vectors times one block of x with all taps: its sums lie in scratch
// as [row = i * KH*KW + tap][vecs][lanes]. Pixels come in chunks (some rows of some images) that
// stay in L1 while all parts and taps of a piece pass over them; a group of pieces, whose sums stay
// in L2, takes all chunks before the next group; then its sums are transposed into dw.
//
// Of bf16 a value is a word of two images' numbers (pair_images.c), a product a dot of two words.
//
// Threads split the pieces and each piece sums up all pixels in one order, so that results do not
// depend on the number of threads.
#include "codegen/conv/wgrad_tile.h"
#include "codegen/build/nd.h"

enum { MAX_PRODUCTS = 1600 }; // of a loop's body

// ---------------------------------------------------------------- a piece on a chunk

// What a piece's code works on.
typedef struct Place {
    CgVal x, dy, sum;        // of the chunk's first image; the piece's sums
    CgVal images;            // of the chunk
    CgVal row_lo, row_hi;    // of the chunk
    CgVal x_ahead, dy_ahead; // floats from this chunk to the next
    CgVal parts;             // of this block that hold channels
    CgVal ob, ib, set;       // output vector, block of x within its group, group
} Place;

static CgVal sum_at(Kernel *k, const Place *p, CgVal part, CgVal kh, const Term *term, int v) {
    CgFn *f = k->f;
    const CgWgradPieces *u = &k->u;
    CgVal row = cg_imulc(f, part, (int64_t)u->part * u->taps);
    row = cg_iaddc(f, cg_iadd(f, row, cg_imulc(f, kh, k->s->c.kw)), term->k * u->taps + term->kw);
    CgVal at = cg_iaddc(f, cg_imulc(f, row, (int64_t)u->cut.size * f->lanes), v * f->lanes);
    return cg_fat(f, p->sum, at);
}

// Output rows [lo, hi) of the chunk whose kernel row kh is inside the image.
static void find_rows(Kernel *k, const Place *p, CgVal kh, CgVal *lo, CgVal *hi) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    CgVal zero = cg_i64(f, 0);
    CgVal first = cg_isub(f, cg_i64(f, s->c.pt), cg_imulc(f, kh, s->c.dh));
    CgVal a = cg_imax(f, first, zero), b = cg_imax(f, cg_iaddc(f, first, s->c.H), zero);
    *lo = cg_imax(f, p->row_lo, cg_idivc(f, cg_iaddc(f, a, s->c.sh - 1), s->c.sh));
    *hi = cg_imin(f, p->row_hi, cg_idivc(f, cg_iaddc(f, b, s->c.sh - 1), s->c.sh));
}

static void emit_set(Kernel *k, const Place *p, const Set *set, int nv, CgVal part, CgVal kh) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    Tile t = {.set = set, .nv = nv};
    bool is_first = set == k->sets;
    t.dy_ahead = is_first ? p->dy_ahead : NULL;
    bool asks = is_first || (!s->lanewise && set->term[0].k == 0 && set->term[0].kw < s->c.sw);
    t.x_ahead = s->bin > 1 && asks ? p->x_ahead : NULL;
    int n = set->n * nv;
    CgVal lo, hi;
    find_rows(k, p, kh, &lo, &hi);
    for (int i = 0; i < n; i++)
        t.acc[i] = cg_load_v(f, sum_at(k, p, part, kh, &set->term[i / nv], i % nv));
    CgLoop image, row;
    cg_for_carry(f, &image, cg_i64(f, 0), p->images, 1, n, t.acc);
    CgVal xn = cg_fat(f, p->x, cg_imulc(f, image.iv, s->c.x_image));
    CgVal dn = cg_fat(f, p->dy, cg_imulc(f, image.iv, s->c.dy_image));
    if (s->bin > 1 && !s->lanewise)
        xn = cg_fat(f, xn, cg_imulc(f, part, k->u.part));
    cg_for_carry(f, &row, lo, hi, 1, n, t.acc);
    CgVal ih =
        cg_iadd(f, cg_iaddc(f, cg_imulc(f, row.iv, s->c.sh), -s->c.pt), cg_imulc(f, kh, s->c.dh));
    CgVal xp = cg_fat(f, xn, cg_imulc(f, cg_iaddc(f, cg_imulc(f, ih, s->c.W), -s->c.pl), s->bin));
    CgVal dp = cg_fat(f, dn, cg_imulc(f, row.iv, (int64_t)s->c.OW * f->lanes));
    cg_conv_wgrad_row(k, &t, xp, dp);
    cg_end_carry(f, &row, t.acc);
    cg_end_carry(f, &image, t.acc);
    for (int i = 0; i < n; i++)
        cg_store_v(f, t.acc[i], sum_at(k, p, part, kh, &set->term[i / nv], i % nv));
}

static void emit_unit(Kernel *k, const Place *p, int nv) {
    CgFn *f = k->f;
    CgLoop part, kh;
    cg_for(f, &kh, cg_i64(f, 0), cg_i64(f, k->s->c.kh), 1);
    cg_for(f, &part, cg_i64(f, 0), p->parts, 1);
    for (int i = 0; i < k->n_sets; i++)
        emit_set(k, p, &k->sets[i], nv, part.iv, kh.iv);
    cg_end(f, &part);
    cg_end(f, &kh);
}

// Channels of x that the piece's block holds.
static CgVal block_channels(Kernel *k, const Place *p) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    int c = k->u.pairing == CG_PAIR_RANGES ? s->c.C : cg_conv_wgrad_group_channels(s);
    if (k->u.part * k->u.parts >= c)
        return cg_i64(f, c);
    return cg_imin(f, cg_i64(f, s->bin), cg_isub(f, cg_i64(f, c), cg_imulc(f, p->ib, s->bin)));
}

// Number -> tile and block. CgWgradPieces stand in order of groups of blocks of x, tiles, blocks.
// Returns whether the tile has the larger number of vectors.
static CgVal find_piece(Kernel *k, CgVal piece, Place *p) {
    CgFn *f = k->f;
    const CgWgradPieces *u = &k->u;
    int per = k->s->i_blocks;
    CgVal group = cg_idivc(f, piece, (int64_t)u->o_tiles * per);
    CgVal rest = cg_iremc(f, piece, (int64_t)u->o_tiles * per), tile;
    CgVal first = cg_imulc(f, group, per);
    CgVal in_group = cg_imin(f, cg_i64(f, per), cg_isub(f, cg_i64(f, u->i_blocks), first));
    cg_divmod(f, rest, in_group, &tile, &p->ib);
    p->ib = cg_iadd(f, p->ib, first);
    p->set = cg_idivc(f, tile, u->cut.n);
    CgVal part = cg_iremc(f, tile, u->cut.n);
    p->ob = cg_iadd(f, cg_imulc(f, p->set, u->o_blocks), cg_cut_at(f, u->cut, part));
    if (u->pairing == CG_PAIR_SAME)
        p->ib = cg_i64(f, 0);
    return cg_icmp(f, LLVMIntSLT, part, cg_i64(f, u->cut.big));
}

// First block of x that the tile reads, and one past the last, of CG_PAIR_RANGES.
static void find_range(Kernel *k, const Place *p, CgVal *lo, CgVal *hi) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    int og = s->c.O / s->c.group, ig = cg_conv_wgrad_group_channels(s);
    CgVal first = cg_imulc(f, p->ob, f->lanes);
    CgVal end = cg_imin(f, cg_iaddc(f, first, f->lanes), cg_i64(f, s->c.O));
    CgVal last_group = cg_idivc(f, cg_iaddc(f, end, -1), og);
    *lo = cg_idivc(f, cg_imulc(f, cg_idivc(f, first, og), ig), s->bin);
    *hi = cg_idivc(f, cg_iaddc(f, cg_imulc(f, last_group, ig), ig + s->bin - 1), s->bin);
}

// The block of x among all, and how many parts of it count: none past the range.
static CgVal place_block(Kernel *k, Place *p) {
    CgFn *f = k->f;
    const CgWgradPieces *u = &k->u;
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

static void emit_piece_on_chunk(Kernel *k, CgVal piece, CgVal first_piece, CgVal image, Place *p) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    CgCut cut = k->u.cut;
    CgVal is_big = find_piece(k, piece, p);
    CgVal block = place_block(k, p);
    int64_t x_plane = (int64_t)s->c.H * s->c.W * s->bin,
            dy_plane = (int64_t)s->c.OH * s->c.OW * f->lanes;
    CgVal x = cg_iadd(f, cg_imulc(f, image, s->c.x_image), cg_imulc(f, block, x_plane));
    CgVal dy = cg_iadd(f, cg_imulc(f, image, s->c.dy_image), cg_imulc(f, p->ob, dy_plane));
    p->x = cg_fat(f, f->arg[CG_WGRAD_X], x);
    p->dy = cg_fat(f, f->arg[CG_WGRAD_DY], dy);
    p->sum = cg_fat(f, f->scratch, cg_imulc(f, cg_isub(f, piece, first_piece), k->u.floats));
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

// Vector v of the piece's tile: square pieces of [rows][lanes] are transposed to dw[o][rows].
static void transpose_vector(Kernel *k, const Place *p, CgVal v) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    const CgWgradPieces *u = &k->u;
    int64_t per_output = (int64_t)cg_conv_wgrad_group_channels(s) * u->taps;
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
        if (s->c.O % f->lanes)
            cg_if(f, &guard, cg_icmp(f, LLVMIntSLT, o, cg_i64(f, s->c.O - i)));
        cg_store_n(f, row[i], q, n);
        if (s->c.O % f->lanes)
            cg_endif(f, &guard);
    }
    cg_end(f, &loop);
}

// Lane by lane, of the block's channels those of the lane's group.
static void copy_lanes(Kernel *k, const Place *p) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    const CgWgradPieces *u = &k->u;
    int og = s->c.O / s->c.group, ig = cg_conv_wgrad_group_channels(s);
    CgVal o0 = cg_imulc(f, p->ob, f->lanes), c0 = cg_imulc(f, p->ib, s->bin);
    CgVal n = cg_imin(f, cg_i64(f, f->lanes), cg_isub(f, cg_i64(f, s->c.O), o0));
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

static void emit_result(Kernel *k, CgVal piece, CgVal first_piece) {
    CgFn *f = k->f;
    Place p;
    CgVal is_big = find_piece(k, piece, &p);
    p.sum = cg_fat(f, f->scratch, cg_imulc(f, cg_isub(f, piece, first_piece), k->u.floats));
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

static void clear_sums(Kernel *k, CgVal pieces) {
    CgFn *f = k->f;
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_imulc(f, pieces, k->u.floats), f->lanes);
    cg_store_v(f, cg_v(f, 0), cg_fat(f, f->scratch, loop.iv));
    cg_end(f, &loop);
}

// The next chunk is some rows down, or at the top of the next images.
static void find_next_chunk(Kernel *k, Place *p) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    CgVal is_last = cg_icmp(f, LLVMIntSGE, p->row_hi, cg_i64(f, s->c.OH));
    int64_t x_row = (int64_t)s->c.sh * s->c.W * s->bin, dy_row = (int64_t)s->c.OW * f->lanes;
    CgVal x_next = cg_isub(f, cg_imulc(f, p->images, s->c.x_image), cg_imulc(f, p->row_lo, x_row));
    CgVal dy_next =
        cg_isub(f, cg_imulc(f, p->images, s->c.dy_image), cg_imulc(f, p->row_lo, dy_row));
    p->x_ahead = cg_select(f, is_last, x_next, cg_i64(f, s->rows * x_row));
    p->dy_ahead = cg_select(f, is_last, dy_next, cg_i64(f, s->rows * dy_row));
}

static void emit_group(Kernel *k, CgVal lo, CgVal hi) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    CgVal images = cg_dim(f, s->c.N);
    if (s->pairs) // N / 2 images are two to a word
        images = cg_idivc(f, cg_iaddc(f, images, 3), 4);
    CgLoop image, rows, piece;
    clear_sums(k, cg_isub(f, hi, lo));
    cg_for(f, &image, cg_i64(f, 0), images, s->images);
    cg_for(f, &rows, cg_i64(f, 0), cg_i64(f, s->c.OH), s->rows);
    Place p = {.row_lo = rows.iv};
    p.images = cg_imin(f, cg_i64(f, s->images), cg_isub(f, images, image.iv));
    p.row_hi = cg_imin(f, cg_iaddc(f, rows.iv, s->rows), cg_i64(f, s->c.OH));
    find_next_chunk(k, &p);
    cg_for(f, &piece, lo, hi, 1);
    emit_piece_on_chunk(k, piece.iv, lo, image.iv, &p);
    cg_end(f, &piece);
    cg_end(f, &rows);
    cg_end(f, &image);
    cg_for(f, &piece, lo, hi, 1);
    emit_result(k, piece.iv, lo);
    cg_end(f, &piece);
}

void cg_conv_wgrad(CgFn *f, const void *spec) {
    Kernel k = {.f = f, .s = spec};
    k.u = cg_conv_wgrad_pieces(k.s, f->lanes);
    cg_conv_wgrad_find_sets(&k);
    int products = k.s->c.kw * k.u.part * k.s->vecs, most = k.s->lanewise ? 8 : 4;
    k.unroll = cg_max_int(1, cg_min_int(most, MAX_PRODUCTS / cg_max_int(1, products)));
    CgVal lo, hi;
    CgLoop group;
    cg_split(f, cg_i64(f, k.u.n), &lo, &hi);
    cg_for(f, &group, lo, hi, k.s->pieces);
    emit_group(&k, group.iv, cg_imin(f, hi, cg_iaddc(f, group.iv, k.s->pieces)));
    cg_end(f, &group);
}
