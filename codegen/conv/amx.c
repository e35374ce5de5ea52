// Convolution by products of matrix tiles (codegen/build/amx.h).
//
// A tile of x is up to 16 pixels, a row each, of up to 64 bytes: of x where it lies, if that is
// whole pixels and the kernel a 1x1, else of a copy of x with its padding, where a pixel's channels
// lie side by side (amx_copy.c). A tile of weights is those of 16 output channels for as many
// bytes; tiles of sums live through all kernel rows and pieces of their runs:
//
//   strip   `rows` tiles of pixels, each with `vecs` vectors of output channels: 2 x 2 reads four
//           tiles for four products, 4 x 1 five
//   task    a strip for a group of output vectors of one image
//
// Tasks are in the order images, bands of `band` strips, groups, strips; a thread copies the lines
// that its part of a band reads before its tasks of the band. Where images are small and weights
// large a band is one of several whole images, which lie in the copy behind each other: weights are
// read once for them all. Tiles at the end of a row, or of the image, may have rows that are no
// results: they are computed, of whatever lies there, and nobody reads them. Sums begin with the
// bias, which contains what the zero point makes of all weights; what becomes of them is in
// amx_finish.c.
//
// The configuration of tiles is the kernel's, a thread's for as long as it runs.
#include "codegen/conv/amx.h"

#include <string.h>

enum { WORD = 4 };

// ---------------------------------------------------------------- what the table names

bool cg_conv_fits_amx(const CgConv *s, int lanes) {
    const IrConvTile *t = &s->tile;
    IrConv c = cg_conv_geometry(s);
    return s->group == 1 && lanes == CG_AMX_ROWS && t->rows >= 1 && t->vecs >= 1 && t->cols >= 1 &&
           t->band >= 1 && t->rows <= CG_CONV_AMX_SUMS && t->rows * t->vecs <= CG_CONV_AMX_SUMS &&
           t->cols <= CG_AMX_ROWS && (!t->over || ir_conv_goes_over(&c)) && t->at_once <= 1;
}

// out: [O / lanes][kh][run][word of the run][lanes], a word's channels together
void cg_conv_pack_amx(const CgConv *s, const CgTarget *t, const void *w, void *out) {
    int lanes = t->lanes;
    IrConv c = cg_conv_geometry(s);
    IrConvCopy copy = ir_conv_copy(&c);
    int word = cg_conv_word(s), size = WORD / word;
    int64_t run = copy.pieces * copy.words, taps = s->kw / copy.runs;
#pragma omp parallel for
    for (int o = 0; o < s->O; o++)
        for (int i = 0; i < s->C; i++)
            for (int kh = 0; kh < s->kh; kh++)
                for (int kw = 0; kw < s->kw; kw++) {
                    int64_t row = ((int64_t)(o / lanes) * s->kh + kh) * copy.runs + kw / taps;
                    int64_t at = row * run + kw % taps * copy.pixel + i / word;
                    int64_t from = (((int64_t)o * s->C + i) * s->kh + kh) * s->kw + kw;
                    memcpy((char *)out + ((at * lanes + o % lanes) * word + i % word) * size,
                           (const char *)w + from * size, (size_t)size);
                }
}

// Two strips' sums, the lines of a band, and what rows that are no results read behind the last
// line: a tile's, and taps to the right of a line's end.
int64_t cg_conv_scratch_amx(const CgConv *s, int lanes) {
    (void)lanes;
    IrConv c = cg_conv_geometry(s);
    IrConvCopy copy = ir_conv_copy(&c);
    if (ir_conv_in_place(&c, &s->tile))
        return cg_conv_amx_scratch();
    int64_t lines = ir_conv_band_lines(&c, &s->tile) * copy.width;
    int64_t behind = ir_conv_strips(&c, &s->tile).rows * copy.right + (int64_t)(s->kw - 1) * s->dw;
    return cg_conv_amx_scratch() + (lines + behind) * copy.stride * WORD;
}

// ---------------------------------------------------------------- registers

// Sums first; then the operands of which there are fewer, all of them; the others take turns.
static bool keeps_weights(const Amx *a) {
    return a->oc.size <= a->cut.count;
}

static int operand_tile(const Amx *a, bool weights, int i) {
    int rows = (int)a->cut.count, vecs = a->oc.size, first = rows * vecs;
    int kept = keeps_weights(a) ? vecs : rows;
    if (weights == keeps_weights(a))
        return first + i;
    return first + kept + i % (CG_AMX_TILES - first - kept);
}

static void configure(const Amx *a) {
    CgAmxShape shape[CG_AMX_TILES] = {{0, 0}};
    int rows = (int)a->cut.rows, words = (int)a->copy.words;
    for (int i = 0; i < a->cut.count; i++) {
        shape[operand_tile(a, false, i)] = (CgAmxShape){rows, words * WORD};
        for (int v = 0; v < a->oc.size; v++)
            shape[cg_conv_amx_sums(a, i, v)] = (CgAmxShape){rows, CG_AMX_ROW_BYTES};
    }
    for (int v = 0; v < a->oc.size; v++)
        shape[operand_tile(a, true, v)] = (CgAmxShape){words, CG_AMX_ROW_BYTES};
    cg_amx_begin(a->f, a->type, shape, NULL);
}

// ---------------------------------------------------------------- products

static int64_t vector_words(const Amx *a) { // of weights, from output vector to output vector
    return cg_conv_amx_pieces(a) * a->copy.words * a->f->lanes;
}

// Line of the copy in which tile `tile` begins
static CgVal first_line(const Amx *a, CgVal tile) {
    CgFn *f = a->f;
    if (!a->cut.per_row)
        return cg_idivc(f, cg_imulc(f, tile, a->cut.rows), a->copy.width);
    return cg_imulc(f, cg_idivc(f, tile, a->cut.per_row), a->copy.down);
}

static CgVal last_tile(const Amx *a, CgVal tile) { // or `tile`, if it is before
    return cg_imin(a->f, tile, cg_i64(a->f, a->cut.tiles - 1));
}

// Where tile i of the strip begins in x
static CgVal tile_in_place(const Amx *a, const AmxStrip *s, int i) {
    CgFn *f = a->f;
    CgVal image = cg_elem_at(f, a->type, f->arg[CG_CONV_X], cg_imulc(f, a->n, a->s->x_image));
    CgVal at = cg_iaddc(f, cg_conv_amx_pixel(a, s->first), i * a->cut.rows);
    if (!cg_conv_amx_in_order(a))
        at = cg_imin(f, cg_imulc(f, cg_iaddc(f, s->first, i), a->cut.rows),
                     cg_i64(f, a->cut.positions - a->cut.rows));
    return cg_fat(f, image, cg_imulc(f, at, a->copy.stride));
}

// The same in the copy: the last one's place for tiles that there are not.
static CgVal tile_in_copy(const Amx *a, const AmxStrip *s, int i) {
    CgFn *f = a->f;
    CgVal at = cg_imulc(f, a->origin, -a->copy.width);
    CgVal tile = last_tile(a, cg_iaddc(f, s->first, i));
    if (a->cut.per_row) {
        CgVal column = cg_imulc(f, cg_iremc(f, tile, a->cut.per_row), a->cut.rows * a->copy.right);
        at = cg_iadd(f, at, cg_imulc(f, first_line(a, tile), a->copy.width));
        at = cg_iadd(f, at, column);
    } else {
        at = cg_iadd(f, at, cg_imulc(f, tile, a->cut.rows));
    }
    return cg_fat(f, a->lines, cg_imulc(f, at, a->copy.stride));
}

// Sums begin with the bias, the same in each of a tile's rows.
static void start_sums(Amx *a, const AmxStrip *s) {
    CgFn *f = a->f;
    bool constant = a->s->bias == CG_CONV_BIAS_PACKED || a->s->bias == CG_CONV_BIAS_WHOLE;
    for (int v = 0; v < s->nv; v++)
        for (int i = 0; i < a->cut.count; i++)
            if (constant)
                cg_amx_load(f, cg_conv_amx_sums(a, i, v),
                            cg_block(f, f->arg[CG_CONV_BIAS], cg_iaddc(f, s->ocb, v)),
                            cg_i64(f, 0));
            else
                cg_amx_zero(f, cg_conv_amx_sums(a, i, v));
}

// The next output vectors' weights, which come from beyond L2 once a band, are on their way into it
// while strips of these are computed: each piece asks for a few lines. What lies behind the last
// vectors' is the next convolution's.
static void ask_weights(Amx *a, const AmxStrip *s) {
    CgFn *f = a->f;
    for (int v = 0; v < s->nv; v++) {
        CgVal at = cg_fat(f, s->w, cg_iadd(f, s->ask, cg_imulc(f, s->ask_step, v)));
        for (int64_t i = 0; i < a->asks; i++)
            cg_prefetch(f, cg_fatc(f, at, i * f->lanes), 2);
    }
}

// Which lines strip `row` of its band asks for: `asks` of each piece's, from s->ask on behind those
// that it reads; once all are asked for, what is read anyway.
static void share_asking(Amx *a, AmxStrip *s, CgVal row) {
    CgFn *f = a->f;
    CgVal line = cg_imulc(f, row, a->asks), zero = cg_i64(f, 0);
    CgVal some = cg_icmp(f, LLVMIntSLT, line, cg_i64(f, a->copy.words));
    some = LLVMBuildAnd(f->b, some, a->fresh, "");
    CgVal behind = cg_iaddc(f, cg_imulc(f, line, f->lanes), s->nv * vector_words(a));
    s->ask = cg_select(f, some, behind, zero);
    s->ask_step = cg_select(f, some, cg_i64(f, vector_words(a)), zero);
}

static void load_operand(Amx *a, const AmxStrip *s, bool weights, int i, CgVal x, CgVal w) {
    CgFn *f = a->f;
    CgVal at = weights ? cg_fatc(f, s->w, i * vector_words(a)) : s->x[i];
    if (weights)
        cg_amx_load(f, operand_tile(a, true, i), at, w);
    else
        cg_amx_load(f, operand_tile(a, false, i), at, x);
}

// Products of one piece: s holds its operands' places.
static void emit_piece(Amx *a, const AmxStrip *s) {
    CgFn *f = a->f;
    ask_weights(a, s);
    bool weights = keeps_weights(a);
    CgVal x = cg_i64(f, a->copy.right * a->copy.stride * WORD), w = cg_i64(f, CG_AMX_ROW_BYTES);
    int kept = weights ? s->nv : (int)a->cut.count, others = weights ? (int)a->cut.count : s->nv;
    for (int k = 0; k < kept; k++)
        load_operand(a, s, weights, k, x, w);
    for (int o = 0; o < others; o++) {
        load_operand(a, s, !weights, o, x, w);
        for (int k = 0; k < kept; k++) {
            int i = weights ? o : k, v = weights ? k : o;
            cg_amx_dot(f, a->type, cg_conv_amx_sums(a, i, v), operand_tile(a, false, i),
                       operand_tile(a, true, v));
        }
    }
    int64_t pieces = cg_conv_amx_pieces(a);
    if (!a->s->tile.at_once)
        cg_conv_amx_finish(a, s, (cg_conv_amx_rows(a) + pieces - 1) / pieces);
}

// One of the loops around a piece: what its steps add to the places of x and of weights, in words
typedef struct Step {
    int64_t n, x, w;
} Step;

static void emit_steps(Amx *a, const AmxStrip *s, const Step *step, int n_steps) {
    CgFn *f = a->f;
    CgLoop loop;
    AmxStrip inner = *s;
    if (n_steps == 0) {
        emit_piece(a, s);
        return;
    }
    if (step->n == 1) {
        emit_steps(a, s, step + 1, n_steps - 1);
        return;
    }
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, step->n), 1);
    for (int i = 0; i < a->cut.count; i++)
        inner.x[i] = cg_fat(f, s->x[i], cg_imulc(f, loop.iv, step->x));
    inner.w = cg_fat(f, s->w, cg_imulc(f, loop.iv, step->w));
    emit_steps(a, &inner, step + 1, n_steps - 1);
    cg_end(f, &loop);
}

static void emit_products(Amx *a, const AmxStrip *s) {
    const IrConvCopy *c = &a->copy;
    int64_t piece = c->words * a->f->lanes, run = c->pieces * piece;
    const Step steps[] = {{a->s->kh, a->s->dh * c->width * c->stride, c->runs * run},
                          {c->runs, a->s->dw * c->stride, run},
                          {c->pieces, c->words, piece}};
    emit_steps(a, s, steps, 3);
}

// ---------------------------------------------------------------- tasks

// Strip `strip` of the image, `row` of the band
static void emit_strip(Amx *a, CgVal strip, CgVal row, CgVal ocb, int nv) {
    CgFn *f = a->f;
    AmxStrip s = {.first = cg_imulc(f, strip, a->cut.count), .ocb = ocb, .nv = nv};
    s.w = cg_fat(f, f->arg[CG_CONV_W], cg_imulc(f, ocb, vector_words(a)));
    for (int i = 0; i < a->cut.count; i++)
        s.x[i] = a->in_place ? tile_in_place(a, &s, i) : tile_in_copy(a, &s, i);
    share_asking(a, &s, row);
    start_sums(a, &s);
    emit_products(a, &s);
    cg_conv_amx_leave(a, &s);
    if (a->s->tile.at_once)
        cg_conv_amx_finish(a, NULL, cg_conv_amx_rows(a));
}

static void emit_task(Amx *a, CgVal group, CgVal strip, CgVal row) {
    CgFn *f = a->f;
    CgIf s;
    CgVal ocb = cg_cut_at(f, a->oc, group);
    if (a->oc.big == a->oc.n) {
        emit_strip(a, strip, row, ocb, a->oc.size);
        return;
    }
    cg_if(f, &s, cg_icmp(f, LLVMIntSLT, group, cg_i64(f, a->oc.big)));
    emit_strip(a, strip, row, ocb, a->oc.size);
    cg_else(f, &s);
    emit_strip(a, strip, row, ocb, a->oc.size - 1);
    cg_endif(f, &s);
}

// The lines that strips [first, end) read
static void copy_strips(Amx *a, CgVal first, CgVal end) {
    CgFn *f = a->f;
    if (a->in_place)
        return;
    CgVal last = last_tile(a, cg_iaddc(f, cg_imulc(f, end, a->cut.count), -1)), line;
    if (a->cut.per_row) {
        line = first_line(a, last);
    } else {
        CgVal at = cg_iaddc(f, cg_imulc(f, last, a->cut.rows), a->cut.rows - 1);
        at = cg_imin(f, at, cg_i64(f, a->cut.positions - 1));
        line = cg_idivc(f, at, a->copy.width);
    }
    line = cg_iaddc(f, line, (int64_t)(a->s->kh - 1) * a->s->dh + 1);
    cg_conv_amx_copy(a, first_line(a, cg_imulc(f, first, a->cut.count)), line);
}

// What stands for image i of a band of several: its number, and the line of the copy that would be
// its first if that began with it.
static CgVal enter_image(Amx *a, CgVal first, CgVal i) {
    CgFn *f = a->f;
    a->n = cg_iadd(f, first, i);
    a->origin = cg_imulc(f, i, -a->copy.lines);
    return cg_icmp(f, LLVMIntSLT, a->n, cg_dim(f, a->s->N));
}

// The lines that strips [row, stop) read, counted through the images from `first` on
static void copy_images(Amx *a, CgVal first, CgVal row, CgVal stop) {
    CgFn *f = a->f;
    CgLoop loop;
    CgIf some;
    int64_t strips = a->cut.strips;
    CgVal end = cg_iaddc(f, cg_idivc(f, cg_iaddc(f, stop, -1), strips), 1);
    cg_for(f, &loop, cg_idivc(f, row, strips), end, 1);
    CgVal begin = cg_imulc(f, loop.iv, strips);
    cg_if(f, &some, enter_image(a, first, loop.iv));
    copy_strips(a, cg_imax(f, cg_isub(f, row, begin), cg_i64(f, 0)),
                cg_imin(f, cg_isub(f, stop, begin), cg_i64(f, strips)));
    cg_endif(f, &some);
    cg_end(f, &loop);
}

// A strip of one of several images
static void emit_task_of(Amx *a, CgVal first, CgVal group, CgVal row) {
    CgFn *f = a->f;
    CgIf some;
    CgVal i, strip;
    cg_divmod(f, row, cg_i64(f, a->cut.strips), &i, &strip);
    cg_if(f, &some, enter_image(a, first, i));
    emit_task(a, group, strip, row);
    cg_endif(f, &some);
}

// Tasks [lo, hi) of one band
static void emit_band(Amx *a, CgVal band, CgVal lo, CgVal hi) {
    CgFn *f = a->f;
    CgLoop loop;
    CgVal group, row;
    CgBand b = cg_conv_band(f, a->rows, a->oc.n, a->s->tile.band, band, lo, hi);
    a->fresh = cg_icmp(f, LLVMIntSLE, b.start, lo); // its weights were not read before
    CgVal first = cg_imulc(f, b.n, a->images);
    if (a->images > 1) {
        copy_images(a, first, b.row, b.stop);
    } else {
        a->n = b.n;
        a->origin = first_line(a, cg_imulc(f, b.first, a->cut.count));
        copy_strips(a, cg_iadd(f, b.first, b.row), cg_iadd(f, b.first, b.stop));
    }
    cg_for(f, &loop, b.begin, b.end, 1);
    cg_divmod(f, cg_isub(f, loop.iv, b.start), b.rows, &group, &row);
    if (a->images > 1)
        emit_task_of(a, first, group, row);
    else
        emit_task(a, group, cg_iadd(f, b.first, row), row);
    cg_end(f, &loop);
}

void cg_conv_emit_amx(CgFn *f, const void *spec) {
    const CgConv *s = spec;
    IrConv c = cg_conv_geometry(s);
    Amx a = {.f = f, .s = s, .type = (IrDtype)s->dtype, .copy = ir_conv_copy(&c)};
    a.cut = ir_conv_strips(&c, &s->tile);
    a.images = (int)ir_conv_band_images(&c, &s->tile);
    a.rows = a.images * (int)a.cut.strips;
    a.in_place = ir_conv_in_place(&c, &s->tile);
    a.oc = cg_cut(cg_ceil_div(s->O, f->lanes), s->tile.vecs);
    a.asks = a.images > 1 ? 0 : cg_ceil_div((int)a.copy.words, cg_min_int(a.rows, s->tile.band));
    a.lines = cg_fatc(f, f->scratch, cg_conv_amx_scratch() / WORD);
    int rows = a.rows, groups = a.oc.n, band = s->tile.band;
    CgVal lo, hi;
    CgIf some;
    CgLoop loop;
    CgVal bands = cg_idivc(f, cg_iaddc(f, cg_dim(f, s->N), a.images - 1), a.images);
    cg_split(f, cg_imulc(f, bands, (int64_t)groups * rows), &lo, &hi);
    cg_if(f, &some, cg_icmp(f, LLVMIntSLT, lo, hi));
    cg_conv_amx_begin(&a);
    configure(&a);
    CgVal last = cg_conv_band_of(f, rows, groups, band, cg_iaddc(f, hi, -1));
    cg_for(f, &loop, cg_conv_band_of(f, rows, groups, band, lo), cg_iaddc(f, last, 1), 1);
    emit_band(&a, loop.iv, lo, hi);
    cg_end(f, &loop);
    cg_amx_end(f);
    cg_conv_amx_finish(&a, NULL, cg_conv_amx_rows(&a));
    cg_endif(f, &some);
}
