// Depthwise convolutions of bytes by dots (codegen/build/dot.h): four neighbouring pixels of a
// channel are a word.
//
// A block holds a pixel's channels side by side. Four pixels of a row, 64 bytes, become by two
// shuffles a vector with a word for each channel, [pixel][channel] -> [channel][pixel]. Its dot
// with a word of weights sums the taps of a kernel row that lie on these pixels: for a result whose
// taps begin s pixels behind the word's first, the weights are shifted by s bytes. So each pixel is
// loaded once a kernel row, and a result of three taps takes one dot or two.
//
// A tile is `cols` results of one row and one block; their sums live through all kernel rows. The
// pixels that it reads are cut into groups of four, the last of which begins earlier where fewer
// are left and counts its new ones only. Pixels outside the image are in no group, and all loads
// are inside the row. Tasks are images x blocks x rows.
#include "codegen/build/dot.h"
#include "codegen/conv/conv.h"

enum { GROUP = 4, MAX_SHIFT = 8, MAX_WORDS = 2 }; // pixels of a word; of taps: two words

typedef struct Rowwise {
    CgFn *f;
    const CgConv *s;
    int words; // of weights to a kernel row
    const CgConvRowTask *at;
    CgVal w;
} Rowwise;

typedef struct Tile {
    const CgColumns *ct;
    CgVal column;
    int first, lo, hi, limit; // pixels: of the tile's first tap; those to read; where the row ends
    CgVal acc[CG_MAX_CARRY];
} Tile;

static int narrowest_tile(const CgConv *s) {
    CgCut cut = cg_cut(s->OW, s->tile.cols);
    return cut.size - (cut.big < cut.n);
}

bool cg_conv_fits_rowwise(const CgConv *s, int lanes) {
    const IrConvTile *t = &s->tile;
    return s->group == s->C && s->C == s->O && s->bin == lanes && s->dw == 1 && s->W >= GROUP &&
           s->kw <= GROUP * MAX_WORDS && t->rows == 1 && t->vecs == 1 && t->cols >= 1 &&
           t->cols <= CG_MAX_CARRY && (narrowest_tile(s) - 1) * s->sw + s->kw >= GROUP;
}

// out: [O / lanes][kh][words of a row][lanes][4]
void cg_conv_pack_rowwise(const CgConv *s, const CgTarget *t, const void *weights, void *out) {
    int lanes = t->lanes;
    const int8_t *w = weights;
    int words = cg_ceil_div(s->kw, GROUP);
    for (int o = 0; o < s->O; o++)
        for (int kh = 0; kh < s->kh; kh++)
            for (int kw = 0; kw < s->kw; kw++) {
                int64_t at = ((int64_t)(o / lanes * s->kh + kh) * words + kw / GROUP) * lanes;
                ((int8_t *)out)[(at + o % lanes) * GROUP + kw % GROUP] = *w++;
            }
}

// Four pixels from p on as words
static CgVal load_pixels(CgFn *f, CgVal p) {
    LLVMTypeRef bytes = LLVMVectorType(f->i8, 4 * IR_BLOCK);
    int dword[IR_BLOCK], byte[4 * IR_BLOCK];
    for (int i = 0; i < IR_BLOCK; i++)
        dword[i] = i % GROUP * GROUP + i / GROUP;
    for (int i = 0; i < 4 * IR_BLOCK; i++) // within 16 bytes
        byte[i] = i / 16 * 16 + i % GROUP * GROUP + i % 16 / GROUP;
    CgVal x = cg_shuffle(f, cg_load(f, f->ivec, p, 1), NULL, IR_BLOCK, dword);
    x = cg_shuffle(f, LLVMBuildBitCast(f->b, x, bytes, ""), NULL, 4 * IR_BLOCK, byte);
    return LLVMBuildBitCast(f->b, x, f->ivec, "");
}

static CgVal shift_bytes(CgFn *f, CgVal w, int by) {
    CgVal bits = cg_int_like(w, (uint64_t)(by < 0 ? -8 * by : 8 * by));
    return by < 0 ? LLVMBuildLShr(f->b, w, bits, "") : LLVMBuildShl(f->b, w, bits, "");
}

// A kernel row's weights with tap k at byte s + k of the word, bytes before `from` zero; NULL: all
// are.
static CgVal place_weights(Rowwise *d, const CgVal *w, int s, int from) {
    CgFn *f = d->f;
    CgVal sum = NULL;
    if (s + d->s->kw <= from)
        return NULL;
    for (int q = 0; q < d->words; q++) {
        int by = s + GROUP * q;
        if (by <= -GROUP || by >= GROUP)
            continue;
        CgVal x = shift_bytes(f, w[q], by);
        sum = sum ? LLVMBuildOr(f->b, sum, x, "") : x;
    }
    return sum && from ? LLVMBuildAnd(f->b, sum, cg_int_like(sum, UINT32_MAX << 8 * from), "")
                       : sum;
}

// One kernel row
static void emit_row(Rowwise *d, Tile *t, CgVal xp, CgVal wp) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    CgVal w[MAX_WORDS], placed[MAX_SHIFT + GROUP] = {0};
    for (int q = 0; q < d->words; q++)
        w[q] = cg_load(f, f->ivec, cg_blockc(f, wp, q), 4);
    for (int p = t->lo; p < t->hi; p += GROUP) {
        int start = cg_min_int(p, t->limit - GROUP), from = p - start;
        cg_fence(f);
        CgDot x = {
            {load_pixels(f, cg_elem_at(f, IR_U8, xp, cg_i64(f, (int64_t)start * IR_BLOCK))), NULL}};
        for (int c = 0; c < t->ct->width; c++) {
            int by = t->first + c * s->sw - start; // of the result's first tap in the word
            if (by <= -s->kw || by >= GROUP)
                continue;
            CgVal *once = from ? NULL : &placed[by + MAX_SHIFT];
            CgVal weights = once && *once ? *once : place_weights(d, w, by, from);
            if (once)
                *once = weights;
            if (weights)
                t->acc[c] = cg_dot(f, IR_U8, x, (CgDot){{weights, NULL}}, t->acc[c]);
        }
        p = start;
    }
}

// ---------------------------------------------------------------- a tile

static Tile place_tile(const CgConv *s, const CgColumns *ct, CgVal column) {
    int first = ct->first * s->sw - s->pl, span = (ct->width - 1) * s->sw + s->kw;
    if (ct->inside)
        return (Tile){.ct = ct, .column = column, .hi = span, .limit = span};
    return (Tile){.ct = ct,
                  .column = column,
                  .first = first,
                  .lo = cg_max_int(first, 0),
                  .hi = cg_min_int(first + span, s->W),
                  .limit = s->W};
}

static void store_tile(Rowwise *d, const Tile *t) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    CgVal y = cg_conv_y(f, s, f->arg[CG_CONV_Y], cg_imulc(f, d->at->n, s->y_image));
    CgVal row = cg_iadd(f, cg_imulc(f, d->at->ocb, s->OH), d->at->oh);
    for (int c = 0; c < t->ct->width; c++) {
        CgVal pixel = cg_iaddc(f, cg_iadd(f, cg_imulc(f, d->at->oh, s->OW), t->column), c);
        CgVal to = cg_iaddc(f, cg_iadd(f, cg_imulc(f, row, s->OW), t->column), c);
        CgVal acc = cg_conv_then(f, s, t->acc[c], d->at->n, d->at->ocb, pixel);
        cg_conv_store(f, s, acc, cg_elem_block(f, (IrDtype)s->y_dtype, y, to));
    }
}

static void emit_tile(void *ctx, const CgColumns *ct, CgVal column) {
    Rowwise *d = ctx;
    CgFn *f = d->f;
    const CgConv *s = d->s;
    Tile t = place_tile(s, ct, column);
    int inside = cg_conv_edge_columns(s).first;
    for (int c = 0; c < ct->width; c++)
        t.acc[c] = cg_conv_bias_at(f, s, d->at->ocb, d->at->oh,
                                   cg_i64(f, ct->inside ? inside : ct->first + c));
    CgLoop loop;
    cg_for_carry(f, &loop, d->at->kh_lo, d->at->kh_hi, 1, ct->width, t.acc);
    CgVal x = cg_conv_row_x(f, s, d->at, ct, column, loop.iv);
    emit_row(d, &t, x, cg_block(f, d->w, cg_imulc(f, loop.iv, d->words)));
    cg_end_carry(f, &loop, t.acc);
    store_tile(d, &t);
}

static void begin_task(void *ctx, const CgConvRowTask *t) {
    Rowwise *d = ctx;
    d->at = t;
    d->w =
        cg_block(d->f, d->f->arg[CG_CONV_W], cg_imulc(d->f, t->ocb, (int64_t)d->s->kh * d->words));
}

void cg_conv_emit_rowwise(CgFn *f, const void *spec) {
    const CgConv *s = spec;
    Rowwise d = {.f = f, .s = s, .words = cg_ceil_div(s->kw, GROUP)};
    cg_conv_row_tasks(f, s, begin_task, emit_tile, &d);
}
