// Convolutions whose groups lie inside a vector: depthwise (one channel to a group) and groups of
// 2, 4 or 8 channels that divide the vector. No lane of the output needs a lane outside its
// group, so an input vector, with channel k of each group copied to all lanes of the group, times
// a vector of weights serves all groups of the block at once. The copy is one in-register shuffle
// (none for depthwise) and is used for every tap of the kernel row that needs the pixel.
//
// A tile is `cols` pixels of one output row and one block; accumulators live through all taps.
// Where a block takes several registers and groups lie inside one, the kernel row's weights are
// those of one part of the block at a time. Edges as in conv/direct.c. Tasks are images x bands x
// blocks x rows.
//
// Bytes are widened to f32 as they are loaded, weights and all: their products and the sums of a
// group's are whole numbers that f32 holds (passes/schedule/lanewise.c), so that a multiply-add of
// 16 lanes, which every machine has, is exact. A finished sum becomes i32 and meets the bias.
#include "codegen/conv/conv.h"

typedef struct Lanewise {
    CgFn *f;
    const CgConv *s;
    IrDtype x_type, w_type;
    int cg;    // channels to a group
    int parts; // of a block that are taken one after the other
    const CgConvRowTask *at;
    CgVal w;
} Lanewise;

typedef struct Tile {
    const CgColumns *ct;
    CgVal column;
    int part;                // of the block, at whose products we are
    CgVal acc[CG_MAX_CARRY]; // part by part
} Tile;

bool cg_conv_fits_lanewise(const CgConv *s, int lanes) {
    int cg = s->C / s->group;
    const IrConvTile *t = &s->tile;
    return s->group > 1 && s->C == s->O && s->bin == lanes && cg < lanes && lanes % cg == 0 &&
           t->rows == 1 && t->cols >= 1 && t->cols <= CG_MAX_CARRY && t->vecs == 1 && t->band >= 0;
}

enum { QUAD = 4 }; // channels that an in-register shuffle copies without crossing 128 bits

// The block, or part of it, at p as floats
static CgVal load_floats(Lanewise *d, IrDtype t, CgVal p) {
    return cg_elem_convert(d->f, t, IR_F32, cg_elem_load_n(d->f, t, p, NULL));
}

static CgVal block_at(Lanewise *d, IrDtype t, CgVal p, int64_t index) {
    return cg_elem_block(d->f, t, p, cg_i64(d->f, index));
}

// Channels [first, first + n) of each group, n <= QUAD, where they can be spread from: in larger
// groups they are copied all over it, four at a time, by one shuffle across the register. Those
// are slow and would else be needed for each channel.
static CgVal load_quad(Lanewise *d, CgVal p, int first) {
    CgVal x = load_floats(d, d->x_type, p);
    if (d->cg <= QUAD)
        return x;
    int index[64];
    for (int i = 0; i < d->f->lanes; i++)
        index[i] = i / d->cg * d->cg + first + i % QUAD;
    return cg_shuffle(d->f, x, NULL, d->f->lanes, index);
}

// Lane k of each group in all its lanes, from load_quad()'s x.
static CgVal spread(Lanewise *d, CgVal x, int k) {
    if (d->cg == 1)
        return x;
    int n = d->cg < QUAD ? d->cg : QUAD, index[64];
    for (int i = 0; i < d->f->lanes; i++)
        index[i] = i / n * n + k % n;
    return cg_shuffle(d->f, x, NULL, d->f->lanes, index);
}

// Input columns the tile reads, relative to xp's column: [lo, hi)
static void input_columns(const CgConv *s, const CgColumns *ct, int *lo, int *hi) {
    int first = ct->first * s->sw - s->pl;
    *lo = ct->inside ? 0 : first;
    *hi = *lo + (ct->width - 1) * s->sw + (s->kw - 1) * s->dw + 1;
    if (!ct->inside) {
        *hi = *hi > s->W ? s->W : *hi;
        *lo = *lo < 0 ? 0 : *lo;
    }
}

// All products of input column j (relative to xp), whose channels are in x, and channel k: the
// accumulators it reaches.
static void emit_column(Lanewise *d, Tile *t, CgVal x, CgVal wp, int j, int k, CgVal *w) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    int first = t->ct->inside ? 0 : t->ct->first * s->sw - s->pl;
    CgVal copy = NULL;
    for (int kw = 0; kw < s->kw; kw++) {
        int at = j - first - kw * s->dw;
        if (at < 0 || at % s->sw || at / s->sw >= t->ct->width)
            continue;
        if (!copy)
            copy = spread(d, x, k);
        if (!w[kw])
            w[kw] = load_floats(d, d->w_type, block_at(d, d->w_type, wp, (int64_t)k * s->kw + kw));
        CgVal *acc = &t->acc[t->part * t->ct->width + at / s->sw];
        *acc = cg_fma(f, copy, w[kw], *acc);
    }
}

// Channels [k, k + n) of each group
static void emit_channels(Lanewise *d, Tile *t, CgVal xp, CgVal wp, int k, int n) {
    CgFn *f = d->f;
    int lo, hi, kw = d->s->kw;
    input_columns(d->s, t->ct, &lo, &hi);
    CgVal *w = ir_alloc_array(f->arena, (size_t)(n * kw), sizeof(CgVal));
    for (int j = lo; j < hi; j++) {
        if (n > 1 || j % 2 == lo % 2)
            cg_fence(f);
        CgVal x = load_quad(d, block_at(d, d->x_type, xp, j), k / QUAD * QUAD);
        for (int i = 0; i < n; i++)
            emit_column(d, t, x, wp, j, k + i, &w[i * kw]);
    }
}

// Four channels at a time where they share a shuffle, and their weights fit into registers.
static void emit_kernel_row(Lanewise *d, Tile *t, CgVal xp, CgVal wp) {
    const CgFn *f = d->f;
    int parts = cg_parts(f) / d->parts; // registers of a vector
    int free = f->target->machine.vector_registers / parts - t->ct->width * d->parts - 3;
    int n = d->cg > QUAD && QUAD * d->s->kw <= free ? QUAD : 1;
    for (int k = 0; k < d->cg; k += n)
        emit_channels(d, t, xp, wp, k, n);
}

// Vectors become part k of the block, where the task goes over its parts.
static void take_part(Lanewise *d, int k) {
    if (d->parts > 1)
        cg_part(d->f, k);
}

// Pixel i of the tile, whose products are summed: with its bias, where that is not in them yet.
static CgVal finish_sum(Lanewise *d, const Tile *t, int i, CgVal acc) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    if (s->sum == IR_F32)
        return acc;
    int inside = cg_conv_edge_columns(s).first;
    CgVal ow = cg_i64(f, t->ct->inside ? inside : t->ct->first + i);
    acc = LLVMBuildFPToSI(f->b, acc, f->ivec, "");
    return LLVMBuildAdd(f->b, acc, cg_conv_bias_at(f, s, d->at->ocb, d->at->oh, ow), "");
}

static void store_tile(Lanewise *d, const Tile *t) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    CgVal y = cg_conv_y(f, s, f->arg[CG_CONV_Y], cg_imulc(f, d->at->n, s->y_image));
    CgVal row = cg_iadd(f, cg_imulc(f, d->at->ocb, s->OH), d->at->oh);
    for (int i = 0; i < t->ct->width; i++) {
        CgVal pixel = cg_iaddc(f, cg_iadd(f, cg_imulc(f, d->at->oh, s->OW), t->column), i);
        CgVal to = cg_iaddc(f, cg_iadd(f, cg_imulc(f, row, s->OW), t->column), i);
        for (int k = 0; k < d->parts; k++) {
            take_part(d, k);
            CgVal acc = finish_sum(d, t, i, t->acc[k * t->ct->width + i]);
            acc = cg_conv_then(f, s, acc, d->at->n, d->at->ocb, pixel);
            cg_conv_store(f, s, acc, cg_elem_block(f, (IrDtype)s->y_dtype, y, to));
        }
    }
}

static void emit_tile(void *ctx, const CgColumns *ct, CgVal column) {
    Lanewise *d = ctx;
    CgFn *f = d->f;
    const CgConv *s = d->s;
    Tile t = {.ct = ct, .column = column};
    for (int k = 0; k < d->parts; k++) {
        take_part(d, k);
        CgVal bias = s->sum == IR_F32 ? cg_conv_bias(f, s, d->at->ocb) : LLVMConstNull(f->vec);
        for (int i = 0; i < ct->width; i++)
            t.acc[k * ct->width + i] = bias;
    }
    CgLoop loop;
    cg_for_carry(f, &loop, d->at->kh_lo, d->at->kh_hi, 1, ct->width * d->parts, t.acc);
    CgVal x = cg_conv_row_x(f, s, d->at, ct, column, loop.iv);
    CgVal wi = cg_imulc(f, loop.iv, (int64_t)d->cg * s->kw * IR_BLOCK);
    CgVal w = cg_elem_at(f, d->w_type, d->w, wi);
    for (t.part = 0; t.part < d->parts; t.part++) {
        take_part(d, t.part);
        emit_kernel_row(d, &t, x, w);
    }
    cg_end_carry(f, &loop, t.acc);
    store_tile(d, &t);
    if (d->parts > 1)
        cg_whole(f);
}

static void begin_task(void *ctx, const CgConvRowTask *t) {
    Lanewise *d = ctx;
    d->at = t;
    d->w = cg_elem_at(d->f, d->w_type, d->f->arg[CG_CONV_W],
                      cg_imulc(d->f, t->ocb, (int64_t)d->cg * d->s->kh * d->s->kw * IR_BLOCK));
}

void cg_conv_emit_lanewise(CgFn *f, const void *spec) {
    const CgConv *s = spec;
    Lanewise d = {.f = f,
                  .s = s,
                  .x_type = (IrDtype)s->dtype,
                  .w_type = cg_conv_weight(s),
                  .cg = s->C / s->group};
    d.parts = IR_BLOCK / cg_parts(f) % d.cg ? 1 : cg_parts(f);
    cg_conv_row_tasks(f, s, begin_task, emit_tile, &d);
}
