// The copy of x that products of tiles read: lines of columns, [pixel of a line][channel], with
// what stands in for the padding, the zero point of bytes, and zeros that fill up a pixel.
//
// Blocks of channels that lie in planes of their own come side by side, a few at a time, so that
// they fill a line of the cache. Where few channels are one block that is all there is to do. Whole
// pixels lie as the copy wants them: a line is one piece, or, of every other column, one each.
#include "codegen/conv/amx.h"

enum { LINE_WORDS = 16, MOST_BLOCKS = 20, UNROLL = 4 };

static bool is_whole(const Amx *a) {
    return ir_conv_is_whole(a->s->bin, a->s->C);
}

// That are copied at once: of whole pixels, as many as a line has and a pixel is a multiple of.
static int block_words(const Amx *a) {
    int words = is_whole(a) ? LINE_WORDS : cg_conv_block_words(a->s);
    while (a->copy.stride % words)
        words /= 2;
    return words;
}

static LLVMTypeRef words_type(const Amx *a, int words) {
    return LLVMVectorType(a->f->i32, (unsigned)words);
}

static LLVMTypeRef block_type(const Amx *a) {
    return words_type(a, block_words(a));
}

static CgVal block_of(const Amx *a, uint32_t word) {
    return cg_int_like(LLVMConstNull(block_type(a)), word);
}

// What x is outside of the image
static CgVal padding(const Amx *a) {
    uint32_t zero = a->type == IR_U8 ? (uint32_t)a->s->zero : 0;
    return block_of(a, zero * UINT32_C(0x01010101));
}

// The words of a block of which `channels` count: those behind them may be anything.
static CgVal keep_channels(const Amx *a, CgVal x, int channels) {
    CgVal keep[LINE_WORDS];
    int word = cg_conv_word(a->s), bits = 32 / word;
    for (int i = 0; i < block_words(a); i++) {
        int left = cg_min_int(cg_max_int(channels - i * word, 0), word);
        keep[i] = cg_i32(a->f, (int32_t)((UINT64_C(1) << left * bits) - 1));
    }
    return LLVMBuildAnd(a->f->b, x, LLVMConstVector(keep, (unsigned)block_words(a)), "");
}

// Words of x from column to column
static int64_t column_words(const Amx *a) {
    return is_whole(a) ? a->copy.stride : block_words(a);
}

// ---------------------------------------------------------------- a line

typedef struct Line {
    CgVal from, to; // of x, its row in block 0; the line
    int first, end; // columns whose pixels are inside
} Line;

static CgVal column_at(Amx *a, const Line *l, CgVal column) {
    return cg_fat(a->f, l->to, cg_imulc(a->f, column, a->copy.stride));
}

static void store_block(Amx *a, CgVal x, CgVal pixel, int block) {
    cg_store(a->f, x, cg_fatc(a->f, pixel, (int64_t)block * block_words(a)), 4);
}

// Columns [lo, hi) of padding
static void fill_columns(Amx *a, const Line *l, int lo, int hi) {
    CgFn *f = a->f;
    CgLoop loop;
    if (lo >= hi)
        return;
    int64_t words = a->copy.stride;
    cg_for(f, &loop, cg_i64(f, lo * words), cg_i64(f, hi * words), block_words(a));
    cg_store(f, padding(a), cg_fat(f, l->to, loop.iv), 4);
    cg_end(f, &loop);
}

// `n` blocks from `block` on of a pixel, those behind x's last one zeros
static void copy_pixel(Amx *a, CgVal from, CgVal to, CgVal block, int first, int n) {
    CgFn *f = a->f;
    const CgConv *s = a->s;
    CgVal x[MOST_BLOCKS];
    int all = cg_ceil_div(s->C, s->bin), left = s->C % s->bin;
    int64_t plane = (int64_t)s->H * s->W * block_words(a);
    for (int i = 0; i < n; i++) {
        CgVal at = cg_fat(f, from, cg_imulc(f, cg_iaddc(f, block, i), plane));
        bool inside = first + i < all, last = first + i + 1 == all;
        x[i] = inside ? cg_load(f, block_type(a), at, 1) : block_of(a, 0);
        x[i] = inside && last && left ? keep_channels(a, x[i], left) : x[i];
    }
    to = cg_fat(f, to, cg_imulc(f, block, block_words(a)));
    for (int i = 0; i < n; i++)
        store_block(a, x[i], to, i);
}

// Blocks [block, block + n) of all columns inside; first: what `block` is, where that is known
static void copy_columns(Amx *a, const Line *l, CgVal block, int first, int n) {
    CgFn *f = a->f;
    const CgConv *s = a->s;
    CgLoop loop;
    if (n == 0 || l->first >= l->end)
        return;
    cg_for(f, &loop, cg_i64(f, l->first), cg_i64(f, l->end), 1);
    CgVal column = cg_iaddc(f, cg_imulc(f, loop.iv, a->copy.column), -s->pl);
    CgVal from = cg_fat(f, l->from, cg_imulc(f, column, block_words(a)));
    copy_pixel(a, from, column_at(a, l, loop.iv), block, first, n);
    cg_end(f, &loop);
}

// ---------------------------------------------------------------- whole pixels

static void copy_vectors(Amx *a, CgVal from, CgVal to, CgVal at, int words, int n) {
    CgVal x[UNROLL];
    for (int i = 0; i < n; i++)
        x[i] = cg_load(a->f, words_type(a, words),
                       cg_fat(a->f, from, cg_iaddc(a->f, at, i * words)), 1);
    for (int i = 0; i < n; i++)
        cg_store(a->f, x[i], cg_fat(a->f, to, cg_iaddc(a->f, at, i * words)), 4);
}

static void copy_words(Amx *a, CgVal from, CgVal to, int64_t n) {
    CgFn *f = a->f;
    CgLoop loop;
    int64_t step = UNROLL * LINE_WORDS, done = n / step * step;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, done), step);
    copy_vectors(a, from, to, loop.iv, LINE_WORDS, UNROLL);
    cg_end(f, &loop);
    for (int words = LINE_WORDS; done < n; words /= 2)
        for (; n - done >= words; done += words)
            copy_vectors(a, from, to, cg_i64(f, done), words, 1);
}

static void copy_whole(Amx *a, const Line *l) {
    CgFn *f = a->f;
    CgLoop loop;
    int64_t step = a->copy.column, pixel = a->copy.stride;
    CgVal from = cg_fatc(f, l->from, -a->s->pl * pixel);
    if (l->first >= l->end)
        return;
    if (step == 1) {
        copy_words(a, cg_fatc(f, from, l->first * pixel), cg_fatc(f, l->to, l->first * pixel),
                   (l->end - l->first) * pixel);
        return;
    }
    cg_for(f, &loop, cg_i64(f, l->first), cg_i64(f, l->end), 1);
    copy_words(a, cg_fat(f, from, cg_imulc(f, loop.iv, step * pixel)), column_at(a, l, loop.iv),
               pixel);
    cg_end(f, &loop);
}

// ---------------------------------------------------------------- lines

// All whole blocks of x by as many as fill a line of the cache, then what is left.
static void copy_inside(Amx *a, const Line *l) {
    CgFn *f = a->f;
    int whole = a->s->C / a->s->bin, step = cg_max_int(1, LINE_WORDS / block_words(a));
    int all = (int)a->copy.pixel / block_words(a), rest = whole / step * step;
    CgLoop loop;
    if (is_whole(a)) {
        copy_whole(a, l);
        return;
    }
    if (rest) {
        cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, rest), step);
        copy_columns(a, l, loop.iv, 0, step);
        cg_end(f, &loop);
    }
    copy_columns(a, l, cg_i64(f, rest), rest, all - rest);
}

// Line `line` reads row `row` of x, from column `first` of the copy to `end`.
static Line place_line(Amx *a, CgVal line, CgVal row) {
    CgFn *f = a->f;
    const CgConv *s = a->s;
    int step = (int)a->copy.column, width = (int)a->copy.width;
    CgVal image = cg_elem_at(f, a->type, f->arg[CG_CONV_X], cg_imulc(f, a->n, s->x_image));
    CgVal in = cg_imulc(f, cg_imulc(f, row, s->W), column_words(a));
    CgVal out = cg_imulc(f, cg_isub(f, line, a->origin), a->copy.width * a->copy.stride);
    return (Line){.from = cg_fat(f, image, in),
                  .to = cg_fat(f, a->lines, out),
                  .first = cg_min_int(width, cg_ceil_div(s->pl, step)),
                  .end = cg_min_int(width, cg_ceil_div(s->W + s->pl, step))};
}

void cg_conv_amx_copy(Amx *a, CgVal lo, CgVal hi) {
    CgFn *f = a->f;
    const CgConv *s = a->s;
    CgLoop loop;
    CgIf inside;
    cg_for(f, &loop, lo, hi, 1);
    CgVal row = cg_iaddc(f, cg_imulc(f, loop.iv, a->copy.row), -s->pt);
    Line l = place_line(a, loop.iv, row);
    cg_if(f, &inside, cg_icmp(f, LLVMIntULT, row, cg_i64(f, s->H)));
    fill_columns(a, &l, 0, l.first);
    copy_inside(a, &l);
    fill_columns(a, &l, l.end, (int)a->copy.width);
    cg_else(f, &inside);
    fill_columns(a, &l, 0, (int)a->copy.width);
    cg_endif(f, &inside);
    cg_end(f, &loop);
}
