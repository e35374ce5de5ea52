// Convolution by products of matrix tiles (codegen/build/amx.h).
//
// A tile of x is up to 16 pixels, a row each, of up to 64 bytes: of a copy of x with its padding,
// where a pixel's channels lie side by side (amx_copy.c), so that the taps of a kernel row are one
// run of bytes. A tile of weights is those of 16 output channels for as many bytes; tiles of sums
// live through all kernel rows and pieces of their runs:
//
//   strip   `rows` tiles of pixels, each with `vecs` vectors of output channels: 2 x 2 reads four
//           tiles for four products, 4 x 1 five
//   task    a strip for a group of output vectors of one image
//
// Tasks are in the order images, bands of `band` strips, groups, strips; a thread copies the lines
// that its part of a band reads before its tasks of the band. Where images are small and weights
// large a band is one of several whole images, which lie in the copy behind each other: weights are
// read once for them all. Tiles at the end of a row, or of the
// image, may have rows that are no results: they are computed, of whatever lies there, and nobody
// reads them. Sums begin with the bias, which contains what the zero point makes of all weights;
// done, they pass through the scratch, from where the epilogue takes them vector by vector.
//
// The configuration of tiles is the kernel's, a thread's for as long as it runs.
#include "codegen/conv/amx.h"

#include <string.h>

enum { AHEAD = 4096, MOST_ASKING = 4 };
enum { MOST_SUMS = 4, SUM_BYTES = CG_AMX_ROWS * CG_AMX_ROW_BYTES, WORD = 4 };

IrConv cg_conv_geometry(const CgConv *s) {
    return (IrConv){.dtype = (IrDtype)s->dtype,
                    .N = s->N,
                    .C = s->C,
                    .O = s->O,
                    .H = s->H,
                    .W = s->W,
                    .OH = s->OH,
                    .OW = s->OW,
                    .cg = s->C / s->group,
                    .og = s->O / s->group,
                    .w = {.kh = s->kh,
                          .kw = s->kw,
                          .sh = s->sh,
                          .sw = s->sw,
                          .dh = s->dh,
                          .dw = s->dw,
                          .pt = s->pt,
                          .pl = s->pl,
                          .group = s->group},
                    .x_block = s->bin};
}

// ---------------------------------------------------------------- what the table names

bool cg_conv_fits_amx(const CgConv *s, int lanes) {
    const IrConvTile *t = &s->tile;
    IrConv c = cg_conv_geometry(s);
    return s->group == 1 && lanes == CG_AMX_ROWS && t->rows >= 1 && t->vecs >= 1 && t->cols >= 1 &&
           t->band >= 1 && t->rows <= MOST_SUMS && t->rows * t->vecs <= MOST_SUMS &&
           t->cols <= CG_AMX_ROWS && (!t->over || ir_conv_goes_over(&c));
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

// A strip's sums, the lines of a band, and what rows that are no results read behind the last line:
// a tile's, and taps to the right of a line's end.
int64_t cg_conv_scratch_amx(const CgConv *s, int lanes) {
    (void)lanes;
    IrConv c = cg_conv_geometry(s);
    IrConvCopy copy = ir_conv_copy(&c);
    int64_t lines = ir_conv_band_lines(&c, &s->tile) * copy.width;
    int64_t behind = ir_conv_strips(&c, &s->tile).rows * copy.right + (int64_t)(s->kw - 1) * s->dw;
    return MOST_SUMS * SUM_BYTES + (lines + behind) * copy.pixel * WORD;
}

// ---------------------------------------------------------------- registers

// Sums first; then the operands of which there are fewer, all of them; the others take turns.
static int sum_tile(const Amx *a, int i, int v) {
    return i * a->oc.size + v;
}

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
            shape[sum_tile(a, i, v)] = (CgAmxShape){rows, CG_AMX_ROW_BYTES};
    }
    for (int v = 0; v < a->oc.size; v++)
        shape[operand_tile(a, true, v)] = (CgAmxShape){words, CG_AMX_ROW_BYTES};
    cg_amx_begin(a->f, a->type, shape, NULL);
}

// ---------------------------------------------------------------- a strip

typedef struct Strip {
    CgVal first, ocb;      // its first tile; output vector
    int nv;                // vectors
    CgVal x[MOST_SUMS], w; // its tiles' first pixels in the copy; weights
    CgVal y[MOST_SUMS];    // planes of the result
} Strip;

static int64_t vector_words(const Amx *a) { // of weights, from output vector to output vector
    return a->s->kh * a->copy.runs * a->copy.pieces * a->copy.words * a->f->lanes;
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

// Where tile `tile` begins in the copy: the last one's place for tiles that there are not.
static CgVal tile_at(const Amx *a, CgVal tile) {
    CgFn *f = a->f;
    CgVal at = cg_imulc(f, a->origin, -a->copy.width);
    tile = last_tile(a, tile);
    if (a->cut.per_row) {
        CgVal column = cg_imulc(f, cg_iremc(f, tile, a->cut.per_row), a->cut.rows * a->copy.right);
        at = cg_iadd(f, at, cg_imulc(f, first_line(a, tile), a->copy.width));
        at = cg_iadd(f, at, column);
    } else {
        at = cg_iadd(f, at, cg_imulc(f, tile, a->cut.rows));
    }
    return cg_fat(f, a->lines, cg_imulc(f, at, a->copy.pixel));
}

// Sums begin with the bias, the same in each of a tile's rows.
static void start_sums(Amx *a, const Strip *s) {
    CgFn *f = a->f;
    bool constant = a->s->bias == CG_CONV_BIAS_PACKED || a->s->bias == CG_CONV_BIAS_WHOLE;
    for (int v = 0; v < s->nv; v++)
        for (int i = 0; i < a->cut.count; i++)
            if (constant)
                cg_amx_load(f, sum_tile(a, i, v),
                            cg_block(f, f->arg[CG_CONV_BIAS], cg_iaddc(f, s->ocb, v)),
                            cg_i64(f, 0));
            else
                cg_amx_zero(f, sum_tile(a, i, v));
}

// Weights that come from beyond L2 are asked for AHEAD bytes before they are read: what the
// machine fetches by itself ends with a page.
static void ask_weights(Amx *a, CgVal w) {
    for (int64_t i = 0; i < a->copy.words; i++)
        cg_prefetch(a->f, cg_fatc(a->f, w, AHEAD / WORD + i * a->f->lanes), 2);
}

static void load_operand(Amx *a, const Strip *s, bool weights, int i, CgVal x, CgVal w) {
    CgFn *f = a->f;
    CgVal at = weights ? cg_fatc(f, s->w, i * vector_words(a)) : s->x[i];
    if (weights && a->asks)
        ask_weights(a, at);
    if (weights)
        cg_amx_load(f, operand_tile(a, true, i), at, w);
    else
        cg_amx_load(f, operand_tile(a, false, i), at, x);
}

// Products of one piece: s holds its operands' places.
static void emit_piece(Amx *a, const Strip *s) {
    CgFn *f = a->f;
    bool weights = keeps_weights(a);
    CgVal x = cg_i64(f, a->copy.right * a->copy.pixel * WORD), w = cg_i64(f, CG_AMX_ROW_BYTES);
    int kept = weights ? s->nv : (int)a->cut.count, others = weights ? (int)a->cut.count : s->nv;
    for (int k = 0; k < kept; k++)
        load_operand(a, s, weights, k, x, w);
    for (int o = 0; o < others; o++) {
        load_operand(a, s, !weights, o, x, w);
        for (int k = 0; k < kept; k++) {
            int i = weights ? o : k, v = weights ? k : o;
            cg_amx_dot(f, a->type, sum_tile(a, i, v), operand_tile(a, false, i),
                       operand_tile(a, true, v));
        }
    }
}

// One of the loops around a piece: what its steps add to the places of x and of weights, in words
typedef struct Step {
    int64_t n, x, w;
} Step;

static void emit_steps(Amx *a, const Strip *s, const Step *step, int n_steps) {
    CgFn *f = a->f;
    CgLoop loop;
    Strip inner = *s;
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

static void emit_products(Amx *a, const Strip *s) {
    const IrConvCopy *c = &a->copy;
    int64_t piece = c->words * a->f->lanes, run = c->pieces * piece;
    const Step steps[] = {{a->s->kh, a->s->dh * c->width * c->pixel, c->runs * run},
                          {c->runs, a->s->dw * c->pixel, run},
                          {c->pieces, c->words, piece}};
    emit_steps(a, s, steps, 3);
}

// ---------------------------------------------------------------- the epilogue

// One that the program computes
static CgVal add_bias(Amx *a, CgVal acc, CgVal ocb) {
    CgVal bias = cg_conv_bias(a->f, a->s, ocb);
    return a->s->sum == IR_I32 ? LLVMBuildAdd(a->f->b, acc, bias, "") : cg_fadd(a->f, acc, bias);
}

// Row `row` of tile i of the strip: pixel `pixel` of the result
static void store_pixel(Amx *a, const Strip *s, CgVal i, CgVal row, CgVal pixel) {
    CgFn *f = a->f;
    const CgConv *c = a->s;
    IrDtype sum = (IrDtype)c->sum;
    for (int v = 0; v < s->nv; v++) {
        CgVal ocb = cg_iaddc(f, s->ocb, v);
        CgVal at = cg_iadd(f, cg_imulc(f, i, a->oc.size * CG_AMX_ROWS), row);
        CgVal acc = cg_elem_load_n(
            f, sum, cg_elem_block(f, sum, a->sums, cg_iaddc(f, at, v * CG_AMX_ROWS)), NULL);
        if (c->bias == CG_CONV_BIAS_PLAIN)
            acc = add_bias(a, acc, ocb);
        acc = cg_conv_then(f, c, acc, a->n, ocb, pixel);
        cg_conv_store(f, c, acc, cg_conv_y(f, c, s->y[v], cg_imulc(f, pixel, f->lanes)));
    }
}

// Rows of a tile that goes on over ends: position `first` and on. Columns behind a row's last are
// no results.
static void store_over(Amx *a, const Strip *s, CgVal i, CgVal first) {
    CgFn *f = a->f;
    CgLoop loop;
    CgIf inside;
    CgVal left = cg_isub(f, cg_i64(f, a->cut.positions), first);
    cg_for(f, &loop, cg_i64(f, 0), cg_imin(f, left, cg_i64(f, a->cut.rows)), 1);
    CgVal at = cg_iadd(f, first, loop.iv), pixel = at;
    if (a->copy.width > a->s->OW) {
        CgVal column = cg_iremc(f, at, a->copy.width);
        pixel = cg_iadd(f, cg_imulc(f, cg_idivc(f, at, a->copy.width), a->s->OW), column);
        cg_if(f, &inside, cg_icmp(f, LLVMIntSLT, column, cg_i64(f, a->s->OW)));
    }
    store_pixel(a, s, i, loop.iv, pixel);
    if (a->copy.width > a->s->OW)
        cg_endif(f, &inside);
    cg_end(f, &loop);
}

static void store_in_row(Amx *a, const Strip *s, CgVal i, CgVal tile) {
    CgFn *f = a->f;
    CgLoop loop;
    CgVal column = cg_imulc(f, cg_iremc(f, tile, a->cut.per_row), a->cut.rows);
    CgVal row = cg_imulc(f, cg_idivc(f, tile, a->cut.per_row), a->s->OW);
    CgVal left = cg_isub(f, cg_i64(f, a->s->OW), column), pixel = cg_iadd(f, row, column);
    cg_for(f, &loop, cg_i64(f, 0), cg_imin(f, left, cg_i64(f, a->cut.rows)), 1);
    store_pixel(a, s, i, loop.iv, cg_iadd(f, pixel, loop.iv));
    cg_end(f, &loop);
}

// Where each vector's plane of the result begins
static void place_results(Amx *a, Strip *s) {
    CgFn *f = a->f;
    const CgConv *c = a->s;
    CgVal y = cg_conv_y(f, c, f->arg[CG_CONV_Y], cg_imulc(f, a->n, c->y_image));
    for (int v = 0; v < s->nv; v++) {
        CgVal plane = cg_imulc(f, cg_iaddc(f, s->ocb, v), (int64_t)c->OH * c->OW);
        s->y[v] = cg_conv_y(f, c, y, cg_imulc(f, plane, f->lanes));
    }
}

static void store_strip(Amx *a, Strip *s) {
    CgFn *f = a->f;
    CgLoop loop;
    place_results(a, s);
    for (int i = 0; i < a->cut.count; i++)
        for (int v = 0; v < s->nv; v++)
            cg_amx_store(f, sum_tile(a, i, v),
                         cg_fatc(f, a->sums, (int64_t)sum_tile(a, i, v) * SUM_BYTES / WORD),
                         cg_i64(f, CG_AMX_ROW_BYTES));
    CgVal left = cg_isub(f, cg_i64(f, a->cut.tiles), s->first);
    cg_for(f, &loop, cg_i64(f, 0), cg_imin(f, left, cg_i64(f, a->cut.count)), 1);
    CgVal tile = cg_iadd(f, s->first, loop.iv);
    if (a->cut.per_row)
        store_in_row(a, s, loop.iv, tile);
    else
        store_over(a, s, loop.iv, cg_imulc(f, tile, a->cut.rows));
    cg_end(f, &loop);
}

// ---------------------------------------------------------------- tasks

static void emit_strip(Amx *a, CgVal strip, CgVal ocb, int nv) {
    CgFn *f = a->f;
    Strip s = {.first = cg_imulc(f, strip, a->cut.count), .ocb = ocb, .nv = nv};
    s.w = cg_fat(f, f->arg[CG_CONV_W], cg_imulc(f, ocb, vector_words(a)));
    for (int i = 0; i < a->cut.count; i++)
        s.x[i] = tile_at(a, cg_iaddc(f, s.first, i));
    start_sums(a, &s);
    emit_products(a, &s);
    store_strip(a, &s);
}

static void emit_task(Amx *a, CgVal group, CgVal strip) {
    CgFn *f = a->f;
    CgIf s;
    CgVal ocb = cg_cut_at(f, a->oc, group);
    if (a->oc.big == a->oc.n) {
        emit_strip(a, strip, ocb, a->oc.size);
        return;
    }
    cg_if(f, &s, cg_icmp(f, LLVMIntSLT, group, cg_i64(f, a->oc.big)));
    emit_strip(a, strip, ocb, a->oc.size);
    cg_else(f, &s);
    emit_strip(a, strip, ocb, a->oc.size - 1);
    cg_endif(f, &s);
}

// The lines that strips [first, end) read
static void copy_strips(Amx *a, CgVal first, CgVal end) {
    CgFn *f = a->f;
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
    emit_task(a, group, strip);
    cg_endif(f, &some);
}

// Tasks [lo, hi) of one band
static void emit_band(Amx *a, CgVal band, CgVal lo, CgVal hi) {
    CgFn *f = a->f;
    CgLoop loop;
    CgVal group, row;
    CgBand b = cg_conv_band(f, a->rows, a->oc.n, a->s->tile.band, band, lo, hi);
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
        emit_task(a, group, cg_iadd(f, b.first, row));
    cg_end(f, &loop);
}

// They are more than L2 keeps, and few strips read them.
static bool weights_are_far(const Amx *a) {
    int64_t bytes = vector_words(a) * WORD * cg_ceil_div(a->s->O, a->f->lanes);
    return bytes > ir_budget(&a->f->target->machine, IR_L2_MOST) && a->rows <= MOST_ASKING;
}

void cg_conv_emit_amx(CgFn *f, const void *spec) {
    const CgConv *s = spec;
    IrConv c = cg_conv_geometry(s);
    Amx a = {.f = f, .s = s, .type = (IrDtype)s->dtype, .copy = ir_conv_copy(&c)};
    a.cut = ir_conv_strips(&c, &s->tile);
    a.images = (int)ir_conv_band_images(&c, &s->tile);
    a.rows = a.images * (int)a.cut.strips;
    a.oc = cg_cut(cg_ceil_div(s->O, f->lanes), s->tile.vecs);
    a.asks = weights_are_far(&a);
    a.sums = f->scratch;
    a.lines = cg_fatc(f, f->scratch, MOST_SUMS * SUM_BYTES / WORD);
    int rows = a.rows, groups = a.oc.n, band = s->tile.band;
    CgVal lo, hi;
    CgIf some;
    CgLoop loop;
    CgVal bands = cg_idivc(f, cg_iaddc(f, cg_dim(f, s->N), a.images - 1), a.images);
    cg_split(f, cg_imulc(f, bands, (int64_t)groups * rows), &lo, &hi);
    cg_if(f, &some, cg_icmp(f, LLVMIntSLT, lo, hi));
    configure(&a);
    CgVal last = cg_conv_band_of(f, rows, groups, band, cg_iaddc(f, hi, -1));
    cg_for(f, &loop, cg_conv_band_of(f, rows, groups, band, lo), cg_iaddc(f, last, 1), 1);
    emit_band(&a, loop.iv, lo, hi);
    cg_end(f, &loop);
    cg_amx_end(f);
    cg_endif(f, &some);
}
