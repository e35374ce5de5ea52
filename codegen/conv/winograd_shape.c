// Sizes of Winograd convolution, which its kernel and the packing of its filters agree on.
#include "codegen/conv/winograd.h"

enum { LONG_EPILOGUE = 3 }; // steps

static int64_t whole_lines(int64_t floats) {
    return (floats + 15) / 16 | 1;
}

// Strides between points are an odd number of cache lines: a tile's points lie in different sets of
// L1.
WinoShape cg_conv_winograd_shape(const CgConv *s, int lanes) {
    WinoShape w = {0};
    if (!cg_conv_winograd_axis(s->tile.out_rows, s->kh, s->sh, &w.h) ||
        !cg_conv_winograd_axis(s->tile.out_cols, s->kw, s->sw, &w.w))
        ir_bug("conv_winograd", NULL, "no transform F(%dx%d, %dx%d)", s->tile.out_rows,
               s->tile.out_cols, s->kh, s->kw);
    w.points = w.h.n * w.w.n;
    w.filters = (w.h.n - w.h.same) * (w.w.n - w.w.same);
    w.tiles_h = (s->OH + s->tile.out_rows - 1) / s->tile.out_rows;
    w.tiles_w = (s->OW + s->tile.out_cols - 1) / s->tile.out_cols;
    w.in_blocks = (s->C + lanes - 1) / lanes;
    w.out_blocks = (s->O + lanes - 1) / lanes;
    w.channels = s->C / s->group;
    w.oc = cg_conv_oc(s, lanes);
    w.v_point = 16 * whole_lines((int64_t)w.in_blocks * s->tile.block * lanes);
    w.m_point = 16 * whole_lines((int64_t)w.oc.cut.size * s->tile.block * lanes);
    w.v_floats = w.points * w.v_point;
    w.m_floats = w.points * w.m_point;
    w.in_place = w.oc.sets == 1 && w.oc.cut.n == 1 && w.oc.cut.size <= w.in_blocks;
    if (w.in_place) {
        w.m_point = w.v_point;
        w.m_floats = 0;
    }
    return w;
}

bool cg_conv_fits_winograd(const CgConv *s, int lanes) {
    WinoAxis a;
    bool whole = s->C / s->group % lanes == 0 && s->O / s->group % lanes == 0;
    bool groups = s->group == 1 || whole;
    return s->dh == 1 && s->dw == 1 && groups && s->bin == lanes && s->tile.vecs >= 1 &&
           s->tile.vecs <= CG_MAX_CARRY / 2 && s->tile.block >= 1 && s->tile.block <= 1024 &&
           cg_conv_winograd_axis(s->tile.out_rows, s->kh, s->sh, &a) &&
           cg_conv_winograd_axis(s->tile.out_cols, s->kw, s->sw, &a);
}

int64_t cg_conv_scratch_winograd(const CgConv *s, int lanes) {
    WinoShape w = cg_conv_winograd_shape(s, lanes);
    int64_t tile =
        (int64_t)(s->tile.out_rows * s->tile.out_cols + 1) * lanes; // an edge tile, and zeros
    return (w.v_floats + w.m_floats + tile) * (int64_t)sizeof(float);
}

CgVal cg_conv_winograd_filter(CgFn *f, const WinoShape *s, CgVal point) {
    const WinoAxis *h = &s->h, *w = &s->w;
    if (!h->same && !w->same)
        return point;
    CgVal row, column, zero = cg_i64(f, 0);
    cg_divmod(f, point, cg_i64(f, w->n), &row, &column);
    row = cg_imax(f, cg_iaddc(f, row, -h->same), zero);
    column = cg_imax(f, cg_iaddc(f, column, -w->same), zero);
    return cg_iadd(f, cg_imulc(f, row, w->n - w->same), column);
}

bool cg_conv_winograd_long(const CgBody *then) {
    static const IrOp brief[] = {IR_OP_RELU,    IR_OP_LEAKY_RELU, IR_OP_CLIP,
                                 IR_OP_ADD,     IR_OP_SUB,        IR_OP_MUL,
                                 IR_OP_MAXIMUM, IR_OP_MINIMUM,    IR_OP_RELU_GRAD};
    for (int i = 0; i < then->n; i++) {
        bool found = false;
        for (size_t k = 0; k < sizeof brief / sizeof *brief; k++)
            found |= then->step[i].op == brief[k];
        if (!found)
            return true;
    }
    return then->n > LONG_EPILOGUE;
}
