// What products of conv_wgrad on matrix tiles read: copies of a band of both operands, made by the
// thread that reads them. wgrad_amx.c says what a plane, a line and a position are.
#include "codegen/build/nd.h"
#include "codegen/conv/wgrad_amx.h"

enum { TILE = IR_BLOCK * IR_BLOCK, AHEAD = 1024 }; // words; numbers

// ---------------------------------------------------------------- a line

typedef struct Copy {
    CgFn *f;
    const CgWgradAmxShape *w;
    const CgWgradSide *s;
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

static void clear(CgFn *f, CgVal to, CgVal lo, CgVal hi) {
    CgLoop loop;
    cg_for(f, &loop, lo, hi, 1);
    cg_store_v(f, cg_v(f, 0), cg_block(f, to, loop.iv));
    cg_end(f, &loop);
}

static void clear_columns(CgFn *f, CgVal to, int lo, int hi) {
    if (lo < hi)
        clear(f, to, cg_i64(f, lo), cg_i64(f, hi));
}

// Asks for what lies some way on: lines follow each other, blocks too, but pages end.
static CgVal load_numbers(CgFn *f, CgVal from, CgVal pixel) {
    LLVMTypeRef half = LLVMInt16TypeInContext(f->ctx);
    CgVal at = cg_at(f, half, from, cg_imulc(f, pixel, IR_BLOCK));
    cg_prefetch(f, cg_at(f, half, at, cg_i64(f, AHEAD)), 3);
    return cg_load(f, LLVMVectorType(half, IR_BLOCK), at, 2);
}

// The pixels of both images, number beside number
static CgVal load_words(Copy *c, CgVal pixel) {
    CgFn *f = c->f;
    int index[2 * IR_BLOCK];
    for (int i = 0; i < 2 * IR_BLOCK; i++)
        index[i] = i / 2 + i % 2 * IR_BLOCK;
    CgVal a = load_numbers(f, c->first, pixel), b = load_numbers(f, c->second, pixel);
    CgVal words = cg_shuffle(f, a, b, 2 * IR_BLOCK, index);
    return LLVMBuildBitCast(f->b, words, f->ivec, "");
}

static CgVal load_number(Copy *c, CgVal image, CgVal at) {
    LLVMTypeRef half = LLVMInt16TypeInContext(c->f->ctx);
    CgVal x = cg_load(c->f, half, cg_at(c->f, half, image, at), 2);
    return LLVMBuildZExt(c->f->b, x, c->f->i32, "");
}

// The same of few channels, each in a plane of its own
static CgVal load_plain_words(Copy *c, CgVal pixel) {
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

static void copy_pixel(Copy *c, CgVal pixel, CgVal to) {
    CgVal words = c->s->plain ? load_plain_words(c, pixel) : load_words(c, pixel);
    cg_store(c->f, LLVMBuildAnd(c->f->b, words, c->keep, ""), to, 4);
}

// A line of each plane beside the others: row `row` of the image
static void copy_row(Copy *c, CgVal row, CgVal to) {
    CgFn *f = c->f;
    const CgWgradSide *s = c->s;
    CgLoop loop;
    for (int plane = 0; plane < s->planes_w; plane++) {
        int lo, hi;
        columns_inside(c, plane, &lo, &hi);
        CgVal line = cg_fatc(f, to, plane * c->w->plane);
        clear_columns(f, line, 0, lo);
        if (lo < hi) {
            cg_for(f, &loop, cg_i64(f, lo), cg_i64(f, hi), 1);
            CgVal column = cg_iaddc(f, cg_imulc(f, loop.iv, s->sw), plane - s->pl);
            copy_pixel(c, cg_iadd(f, cg_imulc(f, row, s->W), column), cg_block(f, line, loop.iv));
            cg_end(f, &loop);
        }
        clear_columns(f, line, hi, c->w->pitch);
    }
}

static void clear_row(Copy *c, CgVal to) {
    for (int plane = 0; plane < c->s->planes_w; plane++)
        clear_columns(c->f, cg_fatc(c->f, to, plane * c->w->plane), 0, c->w->pitch);
}

// ---------------------------------------------------------------- a block

static void find_images(Copy *c, const CgWgradBand *b, CgVal image, CgVal block) {
    CgFn *f = c->f;
    const CgWgradSide *s = c->s;
    LLVMTypeRef half = LLVMInt16TypeInContext(f->ctx);
    CgVal first = cg_imulc(f, cg_iadd(f, b->pair, image), 2);
    CgVal has_two = cg_icmp(f, LLVMIntSLT, cg_iaddc(f, first, 1), b->N);
    CgVal second = cg_select(f, has_two, cg_iaddc(f, first, 1), first);
    CgVal at = cg_imulc(f, block, (int64_t)s->H * s->W * IR_BLOCK), x = f->arg[s->arg];
    c->first = cg_at(f, half, x, cg_iadd(f, cg_imulc(f, first, s->image), at));
    c->second = cg_at(f, half, x, cg_iadd(f, cg_imulc(f, second, s->image), at));
    c->keep = cg_select(f, has_two, cg_int_like(LLVMConstNull(f->ivec), 0xffffffff),
                        cg_int_like(LLVMConstNull(f->ivec), 0xffff));
}

// Lines [0, lines) of one image, of the planes number `plane` of the vertical ones
static void copy_lines(Copy *c, const CgWgradBand *b, CgVal plane, CgVal lines, CgVal to) {
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
    Copy c = {.f = f, .w = w, .s = s};
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
        clear(f, cg_fatc(f, planes, i * w->plane), end, cg_iaddc(f, end, w->behind));
    cg_end(f, &plane);
}

void cg_conv_wgrad_amx_copy_left(CgFn *f, const CgWgradAmxShape *w, const CgWgradBand *b,
                                 CgVal block, CgVal line, CgVal to, CgVal tiles) {
    CgLoop tile;
    CgVal square[IR_BLOCK];
    cg_conv_wgrad_amx_copy(f, w, &w->left, b, block, line);
    cg_for(f, &tile, cg_i64(f, 0), tiles, 1);
    CgVal at = cg_imulc(f, tile.iv, TILE);
    for (int i = 0; i < IR_BLOCK; i++)
        square[i] = cg_load_v(f, cg_fatc(f, cg_fat(f, line, at), i * IR_BLOCK));
    cg_transpose_lanes(f, square);
    for (int i = 0; i < IR_BLOCK; i++)
        cg_store_v(f, square[i], cg_fatc(f, cg_fat(f, to, at), i * IR_BLOCK));
    cg_end(f, &tile);
}
