// What products of conv_wgrad on matrix tiles read: copies of a band of both operands, made by the
// thread that reads them. wgrad_amx.c says what a plane, a line and a position are.
#include "codegen/build/dot.h"
#include "codegen/build/nd.h"
#include "codegen/conv/wgrad_amx.h"

enum { TILE = IR_BLOCK * IR_BLOCK, AHEAD = 2048 }; // words; bytes

// ---------------------------------------------------------------- a line

typedef struct Copy {
    CgFn *f;
    const CgWgradAmxShape *w;
    const CgWgradSide *s;
    LLVMTypeRef number;  // of an operand: f32, or the bits of bf16
    int64_t apart;       // words from a first term to the second one
    CgVal first, second; // the block in the two images
    CgVal keep;          // of words: all ones where there is a second image
} Copy;

// Columns of a plane's line whose pixels are inside of the image: [lo, hi)
static void columns_inside(const Copy *c, int plane, int *lo, int *hi) {
    const CgWgradSide *s = c->s;
    *lo = cg_min_int(c->w->pitch, cg_ceil_div(cg_max_int(s->pl - plane, 0), s->sw));
    *hi = cg_ceil_div(cg_max_int(s->W + s->pl - plane, 0), s->sw);
    *hi = cg_max_int(*lo, cg_min_int(c->w->pitch, *hi));
}

// Of all terms
static void clear(const Copy *c, CgVal to, CgVal lo, CgVal hi) {
    CgFn *f = c->f;
    CgLoop loop;
    cg_for(f, &loop, lo, hi, 1);
    for (int i = 0; i < c->w->terms; i++)
        cg_store_v(f, cg_v(f, 0), cg_fatc(f, cg_block(f, to, loop.iv), i * c->apart));
    cg_end(f, &loop);
}

static void clear_columns(const Copy *c, CgVal to, int lo, int hi) {
    if (lo < hi)
        clear(c, to, cg_i64(c->f, lo), cg_i64(c->f, hi));
}

// Asks for what lies some way on: lines follow each other, blocks too, but pages end.
static CgVal load_numbers(const Copy *c, CgVal from, CgVal pixel) {
    CgFn *f = c->f;
    CgVal at = cg_at(f, c->number, from, cg_imulc(f, pixel, IR_BLOCK));
    cg_prefetch(f, cg_at(f, f->i8, at, cg_i64(f, AHEAD)), 3);
    return cg_load(f, LLVMVectorType(c->number, IR_BLOCK), at, 2);
}

// Numbers of both images beside each other
static CgVal join(CgFn *f, CgVal a, CgVal b) {
    int index[2 * IR_BLOCK];
    for (int i = 0; i < 2 * IR_BLOCK; i++)
        index[i] = i / 2 + i % 2 * IR_BLOCK;
    return LLVMBuildBitCast(f->b, cg_shuffle(f, a, b, 2 * IR_BLOCK, index), f->ivec, "");
}

static CgVal as_floats(CgFn *f, CgVal words) {
    return LLVMBuildBitCast(f->b, words, f->vec, "");
}

// The pixels of both images: words of their first terms, and of the second ones
static void load_words(const Copy *c, CgVal pixel, CgVal *words) {
    CgFn *f = c->f;
    CgVal a = load_numbers(c, c->first, pixel), b = load_numbers(c, c->second, pixel);
    if (c->w->terms == 1) {
        words[0] = join(f, a, b);
        return;
    }
    words[0] = cg_dot_round_two(f, a, b);
    CgVal lower = LLVMBuildShl(f->b, words[0], cg_int_like(words[0], 16), "");
    CgVal upper = LLVMBuildAnd(f->b, words[0], cg_int_like(words[0], 0xffff0000), "");
    a = cg_fsub(f, a, as_floats(f, lower));
    b = cg_fsub(f, b, as_floats(f, upper));
    words[1] = cg_dot_round_two(f, a, b);
}

static CgVal load_number(const Copy *c, CgVal image, CgVal at) {
    CgVal x = cg_load(c->f, c->number, cg_at(c->f, c->number, image, at), 2);
    return LLVMBuildZExt(c->f->b, x, c->f->i32, "");
}

// The same of few channels, each in a plane of its own, of bf16
static CgVal load_plain_words(const Copy *c, CgVal pixel) {
    CgFn *f = c->f;
    CgVal words = LLVMConstNull(f->ivec);
    for (int i = 0; i < c->s->plain; i++) {
        CgVal at = cg_iaddc(f, pixel, (int64_t)i * c->s->H * c->s->W);
        CgVal a = load_number(c, c->first, at), b = load_number(c, c->second, at);
        CgVal word = LLVMBuildOr(f->b, a, LLVMBuildShl(f->b, b, cg_i32(f, 16), ""), "");
        words = LLVMBuildInsertElement(f->b, words, word, cg_i32(f, i), "");
    }
    return words;
}

static void copy_pixel(const Copy *c, CgVal pixel, CgVal to) {
    CgFn *f = c->f;
    CgVal words[2];
    if (c->s->plain)
        words[0] = load_plain_words(c, pixel);
    else
        load_words(c, pixel, words);
    for (int i = 0; i < c->w->terms; i++) {
        CgVal kept = LLVMBuildAnd(f->b, words[i], c->keep, "");
        cg_store(f, kept, cg_fatc(f, to, i * c->apart), 4);
    }
}

// A line of each plane beside the others: row `row` of the image
static void copy_row(const Copy *c, CgVal row, CgVal to) {
    CgFn *f = c->f;
    const CgWgradSide *s = c->s;
    CgLoop loop;
    for (int plane = 0; plane < s->planes_w; plane++) {
        int lo, hi;
        columns_inside(c, plane, &lo, &hi);
        CgVal line = cg_fatc(f, to, plane * c->w->plane);
        clear_columns(c, line, 0, lo);
        if (lo < hi) {
            cg_for(f, &loop, cg_i64(f, lo), cg_i64(f, hi), 1);
            CgVal column = cg_iaddc(f, cg_imulc(f, loop.iv, s->sw), plane - s->pl);
            copy_pixel(c, cg_iadd(f, cg_imulc(f, row, s->W), column), cg_block(f, line, loop.iv));
            cg_end(f, &loop);
        }
        clear_columns(c, line, hi, c->w->pitch);
    }
}

static void clear_row(const Copy *c, CgVal to) {
    for (int plane = 0; plane < c->s->planes_w; plane++)
        clear_columns(c, cg_fatc(c->f, to, plane * c->w->plane), 0, c->w->pitch);
}

// ---------------------------------------------------------------- a block

static void find_images(Copy *c, const CgWgradBand *b, CgVal image, CgVal block) {
    CgFn *f = c->f;
    const CgWgradSide *s = c->s;
    CgVal first = cg_imulc(f, cg_iadd(f, b->pair, image), 2);
    CgVal has_two = cg_icmp(f, LLVMIntSLT, cg_iaddc(f, first, 1), b->N);
    CgVal second = cg_select(f, has_two, cg_iaddc(f, first, 1), first);
    CgVal at = cg_imulc(f, block, (int64_t)s->H * s->W * IR_BLOCK), x = f->arg[s->arg];
    c->first = cg_at(f, c->number, x, cg_iadd(f, cg_imulc(f, first, s->image), at));
    c->second = cg_at(f, c->number, x, cg_iadd(f, cg_imulc(f, second, s->image), at));
    c->keep = cg_select(f, has_two, cg_int_like(LLVMConstNull(f->ivec), 0xffffffff),
                        cg_int_like(LLVMConstNull(f->ivec), 0xffff));
}

// Lines [0, lines) of one image, of the planes number `plane` of the vertical ones
static void copy_lines(const Copy *c, const CgWgradBand *b, CgVal plane, CgVal lines, CgVal to) {
    CgFn *f = c->f;
    const CgWgradSide *s = c->s;
    CgLoop line;
    CgIf inside;
    cg_for(f, &line, cg_i64(f, 0), lines, 1);
    CgVal row = cg_iadd(f, cg_imulc(f, cg_iadd(f, b->row, line.iv), s->sh), plane);
    CgVal at = cg_block(f, to, cg_imulc(f, line.iv, c->w->pitch));
    row = cg_iaddc(f, row, -s->pt);
    cg_if(f, &inside, cg_icmp(f, LLVMIntULT, row, cg_i64(f, s->H)));
    copy_row(c, row, at);
    cg_else(f, &inside);
    clear_row(c, at);
    cg_endif(f, &inside);
    cg_end(f, &line);
}

void cg_conv_wgrad_amx_copy(CgFn *f, const CgWgradAmxShape *w, const CgWgradSide *s,
                            const CgWgradBand *b, CgVal block, CgVal to) {
    Copy c = {.f = f, .w = w, .s = s, .apart = s->planes_h * s->planes_w * w->plane};
    c.number = w->terms == 1 ? LLVMInt16TypeInContext(f->ctx) : f->f32;
    CgLoop image, plane;
    CgVal more = cg_icmp(f, LLVMIntSGT, b->images, cg_i64(f, 1));
    CgVal lines = cg_select(f, more, cg_i64(f, w->lines), cg_iaddc(f, b->rows, s->halo));
    CgVal end = cg_imulc(f, cg_iaddc(f, b->images, -1), w->lines);
    end = cg_imulc(f, cg_iadd(f, end, lines), w->pitch);
    cg_for(f, &plane, cg_i64(f, 0), cg_i64(f, s->planes_h), 1);
    CgVal planes = cg_fat(f, to, cg_imulc(f, plane.iv, s->planes_w * w->plane));
    cg_for(f, &image, cg_i64(f, 0), b->images, 1);
    find_images(&c, b, image.iv, block);
    CgVal at = cg_imulc(f, image.iv, (int64_t)w->lines * w->pitch);
    copy_lines(&c, b, plane.iv, lines, cg_block(f, planes, at));
    cg_end(f, &image);
    for (int i = 0; i < s->planes_w; i++)
        clear(&c, cg_fatc(f, planes, i * w->plane), end, cg_iaddc(f, end, w->behind));
    cg_end(f, &plane);
}

void cg_conv_wgrad_amx_copy_left(CgFn *f, const CgWgradAmxShape *w, const CgWgradBand *b,
                                 CgVal block, CgVal line, CgVal to, CgVal tiles) {
    CgLoop term, tile;
    CgVal square[IR_BLOCK];
    cg_conv_wgrad_amx_copy(f, w, &w->left, b, block, line);
    cg_for(f, &term, cg_i64(f, 0), cg_i64(f, w->terms), 1);
    line = cg_fat(f, line, cg_imulc(f, term.iv, w->left.planes_h * w->left.planes_w * w->plane));
    to = cg_fat(f, to, cg_imulc(f, term.iv, (int64_t)w->tiles * TILE));
    cg_for(f, &tile, cg_i64(f, 0), tiles, 1);
    CgVal at = cg_imulc(f, tile.iv, TILE);
    for (int i = 0; i < IR_BLOCK; i++)
        square[i] = cg_load_v(f, cg_fatc(f, cg_fat(f, line, at), i * IR_BLOCK));
    cg_transpose_lanes(f, square);
    for (int i = 0; i < IR_BLOCK; i++)
        cg_store_v(f, square[i], cg_fatc(f, cg_fat(f, to, at), i * IR_BLOCK));
    cg_end(f, &tile);
    cg_end(f, &term);
}
