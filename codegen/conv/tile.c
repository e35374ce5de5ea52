// What the convolution kernels share: their plain data of a geometry, how output rows, columns and
// channels are cut into register tiles, which taps of a tile leave the image, and what happens to a
// finished accumulator.
#include "codegen/build/dot.h"
#include "codegen/conv/conv.h"

void cg_conv_init(CgConv *s, const IrConv *c, const IrConvTile *t) {
#define CG_CONV_SIZE(field, from) s->field = (int32_t)c->from;
#include "codegen/conv/sizes.def"
#undef CG_CONV_SIZE
    s->bin = c->x_block ? c->x_block : 1;
    s->bout = c->y_block ? c->y_block : 1;
    s->tile = *t;
    s->dtype = (int32_t)c->dtype;
    s->sum = (int32_t)cg_elem_sum(c->dtype);
    s->N = c->N;
}

IrConv cg_conv_geometry(const CgConv *s) {
    IrConv c = {.dtype = (IrDtype)s->dtype,
                .N = s->N,
                .cg = s->C / s->group,
                .og = s->O / s->group,
                .x_block = s->bin,
                .y_block = s->bout};
#define CG_CONV_SIZE(field, from) c.from = s->field;
#include "codegen/conv/sizes.def"
#undef CG_CONV_SIZE
    return c;
}

// ---------------------------------------------------------------- channels

CgConvOc cg_conv_oc(const CgConv *s, int lanes) {
    int per_group = s->O / s->group;
    if (s->group == 1)
        return (CgConvOc){1, cg_ceil_div(s->O, lanes),
                          cg_cut(cg_ceil_div(s->O, lanes), s->tile.vecs)};
    if (per_group % lanes == 0)
        return (CgConvOc){s->group, per_group / lanes, cg_cut(per_group / lanes, s->tile.vecs)};
    return (CgConvOc){1, cg_ceil_div(s->O, lanes), cg_cut(cg_ceil_div(s->O, lanes), 1)};
}

void cg_conv_ic_range(const CgConv *s, int lanes, int ocb, int nv, int *lo, int *hi) {
    int og = s->O / s->group, cg = s->C / s->group;
    int last = cg_min_int((ocb + nv) * lanes, s->O) - 1;
    *lo = ocb * lanes / og * cg / s->bin;
    *hi = cg_ceil_div((last / og + 1) * cg, s->bin);
}

IrDtype cg_conv_weight(const CgConv *s) {
    return s->dtype == IR_U8 ? IR_I8 : (IrDtype)s->dtype;
}

int cg_conv_word(const CgConv *s) {
    return ir_word((IrDtype)s->dtype);
}

int cg_conv_words(const CgConv *s, int channels) {
    return cg_ceil_div(channels, cg_conv_word(s));
}

int cg_conv_block_words(const CgConv *s) {
    return cg_conv_words(s, s->bin);
}

int cg_conv_panel_words(const CgConv *s, int lanes) {
    IrConv c = cg_conv_geometry(s);
    return (int)ir_conv_panel_words(&c, lanes);
}

int cg_conv_unroll(const CgConv *s) {
    int most = cg_max_int(1, 12 / s->kw), tail = cg_conv_words(s, s->C % s->bin);
    for (int u = 4; u > 1; u--)
        if (u <= most && cg_conv_block_words(s) % u == 0 && tail % u == 0)
            return u;
    return 1;
}

// ---------------------------------------------------------------- columns and rows

int cg_conv_inside(CgCut c, int part, int stride, int pad, int reach, int size) {
    int64_t first = cg_cut_begin(c, part), width = c.size - (part >= c.big);
    int64_t space = (int64_t)size - 1 + pad - reach; // where the first tap of the last may be
    int64_t most = space < 0 ? -1 : space / stride - width + 1;
    int alike = (part < c.big ? c.big : c.n) - part;
    int64_t n = first * stride < pad || first > most ? 0 : (most - first) / width + 1;
    return n < alike ? (int)n : alike;
}

int cg_conv_columns(CgFn *f, const CgConv *s, CgColumns **out) {
    CgCut cut = cg_cut(s->OW, s->tile.cols);
    CgColumns *run = NULL;
    int n = 0, cap = 0;
    for (int i = 0; i < cut.n; i += run[n - 1].n) {
        int free = cg_conv_inside(cut, i, s->sw, s->pl, (s->kw - 1) * s->dw, s->W);
        CgColumns t = {cg_cut_begin(cut, i), cut.size - (i >= cut.big), cg_max_int(free, 1),
                       free > 0};
        IR_PUSH(f->arena, run, n, cap, t);
    }
    *out = run;
    return n;
}

bool cg_conv_row_padded(const CgConv *s) {
    return s->pt > 0 || (s->OH - 1) * s->sh - s->pt + (s->kh - 1) * s->dh >= s->H;
}

void cg_conv_kh_range(const CgConv *s, int oh, int *lo, int *hi) {
    int above = s->pt - oh * s->sh;
    *lo = cg_min_int(s->kh, cg_ceil_div(cg_max_int(above, 0), s->dh));
    *hi = cg_max_int(*lo, cg_min_int(s->kh, cg_ceil_div(cg_max_int(above + s->H, 0), s->dh)));
}

void cg_conv_kh_range_at(CgFn *f, const CgConv *s, CgVal oh, CgVal *lo, CgVal *hi) {
    *lo = cg_i64(f, 0);
    *hi = cg_i64(f, s->kh);
    if (!cg_conv_row_padded(s))
        return;
    CgVal zero = *lo, all = *hi;
    CgVal above = cg_isub(f, cg_i64(f, s->pt), cg_imulc(f, oh, s->sh));
    CgVal a = cg_imax(f, above, zero), b = cg_imax(f, cg_iaddc(f, above, s->H), zero);
    *lo = cg_imin(f, all, cg_idivc(f, cg_iaddc(f, a, s->dh - 1), s->dh));
    *hi = cg_imax(f, *lo, cg_imin(f, all, cg_idivc(f, cg_iaddc(f, b, s->dh - 1), s->dh)));
}

// ---------------------------------------------------------------- bands

CgVal cg_conv_image_task(CgFn *f, int rows, int groups, int band, CgVal task, CgVal *group,
                         CgVal *row) {
    band = band && band < rows ? band : rows;
    CgVal n = cg_idivc(f, task, (int64_t)groups * rows);
    CgVal rest = cg_iremc(f, task, (int64_t)groups * rows);
    CgVal first = cg_imulc(f, cg_idivc(f, rest, (int64_t)groups * band), band);
    rest = cg_iremc(f, rest, (int64_t)groups * band);
    *group = cg_idivc(f, rest, band);
    *row = cg_iremc(f, rest, band);
    if (rows % band) { // the last band has fewer
        CgVal whole = cg_icmp(f, LLVMIntSLE, cg_iaddc(f, first, band), cg_i64(f, rows));
        *group = cg_select(f, whole, *group, cg_idivc(f, rest, rows % band));
        *row = cg_select(f, whole, *row, cg_iremc(f, rest, rows % band));
    }
    *row = cg_iadd(f, first, *row);
    return n;
}

CgVal cg_conv_band_of(CgFn *f, int rows, int groups, int band, CgVal task) {
    CgVal image = cg_idivc(f, task, groups * rows), rest = cg_iremc(f, task, groups * rows);
    CgVal first = cg_imulc(f, image, (rows + band - 1) / band);
    return cg_iadd(f, first, cg_idivc(f, rest, groups * band));
}

CgBand cg_conv_band(CgFn *f, int rows, int groups, int per_band, CgVal band, CgVal lo, CgVal hi) {
    int bands = (rows + per_band - 1) / per_band;
    CgBand b = {.n = cg_idivc(f, band, bands)};
    b.first = cg_imulc(f, cg_iremc(f, band, bands), per_band);
    b.rows = cg_imin(f, cg_isub(f, cg_i64(f, rows), b.first), cg_i64(f, per_band));
    b.start = cg_iadd(f, cg_imulc(f, b.n, groups * rows), cg_imulc(f, b.first, groups));
    b.begin = cg_imax(f, lo, b.start);
    b.end = cg_imin(f, hi, cg_iadd(f, b.start, cg_imulc(f, b.rows, groups)));
    CgVal group, row;
    cg_divmod(f, cg_isub(f, b.begin, b.start), b.rows, &group, &row);
    CgVal stop = cg_iadd(f, row, cg_isub(f, b.end, b.begin));
    CgVal all = cg_icmp(f, LLVMIntSGT, stop, b.rows);
    b.row = cg_select(f, all, cg_i64(f, 0), row);
    b.stop = cg_select(f, all, b.rows, stop);
    return b;
}

// ---------------------------------------------------------------- bias and epilogue

// One value of type t per channel of block `ocb`, without reading past O.
static CgVal load_channels(CgFn *f, const CgConv *s, IrDtype t, CgVal p, CgVal ocb) {
    p = cg_elem_block(f, t, p, ocb);
    if (s->O % IR_BLOCK == 0)
        return cg_elem_load_n(f, t, p, NULL);
    CgVal left = cg_isub(f, cg_i64(f, s->O), cg_imulc(f, ocb, IR_BLOCK));
    if (f->lane0)
        left = cg_imax(f, cg_isub(f, left, f->lane0), cg_i64(f, 0));
    return cg_elem_load_n(f, t, p, cg_imin(f, left, cg_i64(f, f->lanes)));
}

CgVal cg_conv_bias(CgFn *f, const CgConv *s, CgVal ocb) {
    IrDtype t = (IrDtype)s->sum;
    if (s->bias == CG_CONV_NO_BIAS)
        return LLVMConstNull(cg_elem_vec(f, t));
    if (s->bias == CG_CONV_BIAS_PACKED)
        return cg_elem_load_n(f, t, cg_elem_block(f, t, f->arg[CG_CONV_BIAS], ocb), NULL);
    return load_channels(f, s, (IrDtype)s->then.acc, f->arg[CG_CONV_BIAS], ocb);
}

typedef struct ThenPlace {
    const CgConv *s;
    CgVal n, ocb, pixel;
} ThenPlace;

// Where operand k's image n begins
static CgVal operand_image(CgFn *f, const CgConv *s, int k, CgVal n) {
    const CgOperand *in = &s->then.in[k];
    CgVal p = f->arg[s->then.first_arg + k];
    return in->t.image ? cg_elem_at(f, (IrDtype)in->dtype, p, cg_imulc(f, n, in->t.image)) : p;
}

static CgVal load_operand(void *ctx, CgFn *f, int k) {
    const ThenPlace *t = ctx;
    const CgOperand *in = &t->s->then.in[k];
    IrDtype type = (IrDtype)in->dtype;
    if (in->kind == CG_OPERAND_SCALAR)
        return cg_splat(f, cg_elem_load(f, type, f->arg[t->s->then.first_arg + k], cg_i64(f, 0)));
    CgVal p = operand_image(f, t->s, k, t->n);
    if (in->kind == CG_OPERAND_CHANNEL && !in->t.block)
        return load_channels(f, t->s, type, p, t->ocb);
    p = in->kind == CG_OPERAND_CHANNEL
            ? cg_elem_block(f, type, p, t->ocb)
            : cg_conv_vector(f, t->s, type, p, in->t.block, t->ocb, t->pixel);
    return cg_elem_load_n(f, type, p, NULL);
}

CgVal cg_conv_then(CgFn *f, const CgConv *s, CgVal acc, CgVal n, CgVal ocb, CgVal pixel) {
    ThenPlace t = {s, n, ocb, pixel};
    return cg_body_emit(f, &s->then, acc, load_operand, &t);
}

CgVal cg_conv_then_float(CgFn *f, const CgConv *s, CgVal acc, CgVal n, CgVal ocb, CgVal pixel) {
    ThenPlace t = {s, n, ocb, pixel};
    return cg_body_emit_float(f, &s->then, acc, load_operand, &t);
}

// Operand k's lines of a step, of all that begin at `at`
static void ask_operand(CgFn *f, const CgConv *s, const CgConvTile *t, int k, CgVal at, CgVal step,
                        int64_t steps) {
    IrDtype type = (IrDtype)s->then.in[k].dtype;
    int per_line = cg_max_int(1, 64 / (f->lanes * ir_dtype_bytes(type))); // pixels
    bool column = s->OW == 1;
    int rows = column ? 1 : t->rows, in_row = cg_ceil_div(column ? t->rows : t->cols, per_line);
    int64_t lines = (int64_t)t->nv * rows * in_row;
    CgVal first = cg_idivc(f, cg_imulc(f, step, lines), steps);
    for (int64_t i = 0; i * steps < lines; i++) {
        CgVal v, row, line;
        cg_divmod(f, cg_iaddc(f, first, i), cg_i64(f, in_row), &row, &line);
        cg_divmod(f, row, cg_i64(f, rows), &v, &row);
        CgVal pixel = cg_iadd(f, cg_imulc(f, v, (int64_t)s->OH * s->OW), cg_imulc(f, row, s->OW));
        pixel = cg_iadd(f, pixel, cg_imulc(f, line, per_line));
        cg_prefetch(f, cg_elem_at(f, type, at, cg_imulc(f, pixel, f->lanes)), 3);
    }
}

// Small ones are there again soon, unless L3 is far: behind a mesh prefetches of 64 KB in all are
// worth .99 of EfficientNet-B0's time.
bool cg_conv_asks_weights(const CgConv *s, const IrMachine *m) {
    static const double slow_l3 = 10; // bytes a cycle
    return s->words * 4 >= ir_budget(m, m->l3_rate < slow_l3 ? IR_L2_SMALL : IR_L2_NEAR);
}

// What the epilogue reads lies in L3 or memory where results are large. The reduction asks for it,
// line by line: the loads of weights would wait behind all lines at once.
void cg_conv_ask_then(CgFn *f, const CgConv *s, const CgConvTile *t, CgVal step, int64_t steps) {
    int64_t plane = (int64_t)s->OH * s->OW;
    for (int k = 0; k < s->then.n_in; k++) {
        const CgOperand *in = &s->then.in[k];
        IrDtype type = (IrDtype)in->dtype;
        if (in->kind != CG_OPERAND_FULL || in->t.block != IR_BLOCK ||
            plane * s->O * ir_dtype_bytes(type) < ir_budget(&f->target->machine, IR_L2_IMAGE))
            continue;
        CgVal at = operand_image(f, s, k, t->n);
        CgVal first = cg_iadd(f, cg_imulc(f, t->ocb, plane), t->pixel);
        at = cg_elem_at(f, type, at, cg_imulc(f, first, f->lanes));
        ask_operand(f, s, t, k, at, step, steps);
    }
}

CgVal cg_conv_vector(CgFn *f, const CgConv *s, IrDtype t, CgVal image, int64_t block, CgVal ocb,
                     CgVal pixel) {
    int64_t plane = (int64_t)s->OH * s->OW;
    CgVal at = block > IR_BLOCK ? cg_iadd(f, ocb, cg_imulc(f, pixel, block / IR_BLOCK))
                                : cg_iadd(f, cg_imulc(f, ocb, plane), pixel);
    return cg_elem_block(f, t, image, at);
}

CgVal cg_conv_result(CgFn *f, const CgConv *s, CgVal n, CgVal ocb, CgVal pixel) {
    CgVal image = cg_conv_y(f, s, f->arg[CG_CONV_Y], cg_imulc(f, n, s->y_image));
    return cg_conv_vector(f, s, (IrDtype)s->y_dtype, image, s->bout, ocb, pixel);
}

void cg_conv_ask_vector(CgFn *f, const CgConv *s, CgVal n, CgVal ocb, CgVal pixel) {
    for (int k = 0; k < s->then.n_in; k++) {
        const CgOperand *in = &s->then.in[k];
        if (in->kind != CG_OPERAND_FULL || in->t.block <= IR_BLOCK)
            continue;
        CgVal image = operand_image(f, s, k, n);
        cg_prefetch(f, cg_conv_vector(f, s, (IrDtype)in->dtype, image, in->t.block, ocb, pixel), 3);
    }
    if (s->bout > IR_BLOCK)
        cg_prefetch_write(f, cg_conv_result(f, s, n, ocb, pixel));
}

CgVal cg_conv_y(CgFn *f, const CgConv *s, CgVal base, CgVal index) {
    return cg_elem_at(f, (IrDtype)s->y_dtype, base, index);
}

void cg_conv_store(CgFn *f, const CgConv *s, CgVal y, CgVal p) {
    if (s->dtype == IR_BF16)
        cg_dot_store_n(f, (IrDtype)s->y_dtype, y, p, NULL);
    else
        cg_elem_store_n(f, (IrDtype)s->y_dtype, y, p, NULL);
}

// ---------------------------------------------------------------- rows of blocks

void cg_conv_row_tasks(CgFn *f, const CgConv *s, CgConvRowBegin *begin, CgConvRowTile *tile,
                       void *ctx) {
    CgColumns *columns;
    int n_columns = cg_conv_columns(f, s, &columns), blocks = cg_ceil_div(s->O, IR_BLOCK);
    CgVal lo, hi;
    CgLoop loop;
    CgConvRowTask t;
    cg_split(f, cg_imulc(f, cg_dim(f, s->N), (int64_t)blocks * s->OH), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    t.n = cg_conv_image_task(f, s->OH, blocks, s->tile.band, loop.iv, &t.ocb, &t.oh);
    CgVal plane = cg_imulc(f, t.ocb, (int64_t)s->H * s->W * IR_BLOCK);
    CgVal image = cg_iadd(f, cg_imulc(f, t.n, s->x_image), plane);
    t.x = cg_elem_at(f, (IrDtype)s->dtype, f->arg[CG_CONV_X], image);
    begin(ctx, &t);
    cg_conv_kh_range_at(f, s, t.oh, &t.kh_lo, &t.kh_hi);
    for (int i = 0; i < n_columns; i++) {
        const CgColumns *ct = &columns[i];
        CgLoop tiles;
        cg_for(f, &tiles, cg_i64(f, ct->first), cg_i64(f, ct->first + ct->n * ct->width),
               ct->width);
        tile(ctx, ct, tiles.iv);
        cg_end(f, &tiles);
    }
    cg_end(f, &loop);
}

CgVal cg_conv_row_x(CgFn *f, const CgConv *s, const CgConvRowTask *t, const CgColumns *ct,
                    CgVal column, CgVal kh) {
    CgVal ih = cg_iaddc(f, cg_imulc(f, t->oh, s->sh), -s->pt);
    CgVal at = cg_imulc(f, cg_iadd(f, ih, cg_imulc(f, kh, s->dh)), s->W);
    if (ct->inside)
        at = cg_iadd(f, at, cg_iaddc(f, cg_imulc(f, column, s->sw), -s->pl));
    return cg_elem_at(f, (IrDtype)s->dtype, t->x, cg_imulc(f, at, IR_BLOCK));
}
