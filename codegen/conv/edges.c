// The zero point of an integer convolution. Its products are those of x - zero, but only at taps
// inside the image, so that
//
//   sum over taps inside of (x - zero) * w = sum of x * w - zero * (sum of w over taps inside)
//
// The second sum does not depend on x: which kernel rows and columns are inside does, and it is the
// same for all positions of the result but those next to an edge. It is made here, while compiling,
// with the bias, for each class of rows and of columns; accumulators start from it.
#include "codegen/conv/conv.h"

CgEdge cg_conv_edge(int positions, int stride, int pad, int reach, int size) {
    int first = cg_min_int(positions, cg_ceil_div(pad, stride));
    int space = size - 1 + pad - reach; // where the first tap of the last may be
    int end = space < 0 ? 0 : cg_min_int(positions, space / stride + 1);
    if (end <= first)
        return (CgEdge){positions, positions, positions};
    return (CgEdge){first, end, first + 1 + positions - end};
}

CgEdge cg_conv_edge_rows(const CgConv *s) {
    return cg_conv_edge(s->OH, s->sh, s->pt, (s->kh - 1) * s->dh, s->H);
}

CgEdge cg_conv_edge_columns(const CgConv *s) {
    return cg_conv_edge(s->OW, s->sw, s->pl, (s->kw - 1) * s->dw, s->W);
}

// The class of a position: those before `first` are their own, those from `end` on follow.
static int class_of(CgEdge e, int at) {
    return cg_min_int(at, e.first) + cg_max_int(at - e.end + 1, 0);
}

static CgVal class_at(CgFn *f, CgEdge e, CgVal at) {
    if (e.n == 1)
        return cg_i64(f, 0);
    CgVal behind = cg_imax(f, cg_iaddc(f, at, 1 - e.end), cg_i64(f, 0));
    return cg_iadd(f, cg_imin(f, at, cg_i64(f, e.first)), behind);
}

int64_t cg_conv_edge_elems(const CgConv *s, int lanes) {
    int64_t classes = (int64_t)cg_conv_edge_rows(s).n * cg_conv_edge_columns(s).n;
    return classes * cg_ceil_div(s->O, lanes) * lanes;
}

// ---------------------------------------------------------------- the table

// A position of the result in each class, and the taps [lo, hi) of the axis inside there
typedef struct Taps {
    int lo, hi;
} Taps;

static Taps taps_at(int at, int stride, int pad, int dilation, int taps, int size) {
    int above = pad - at * stride;
    int lo = cg_min_int(taps, cg_ceil_div(above, dilation));
    return (Taps){lo, cg_max_int(lo, cg_min_int(taps, cg_ceil_div(above + size, dilation)))};
}

// Output channel o's weights at the taps, over all its channels
static int64_t sum_weights(const CgConv *s, const int8_t *w, Taps rows, Taps columns) {
    int64_t sum = 0;
    for (int c = 0; c < s->C / s->group; c++)
        for (int kh = rows.lo; kh < rows.hi; kh++)
            for (int kw = columns.lo; kw < columns.hi; kw++)
                sum += w[((int64_t)c * s->kh + kh) * s->kw + kw];
    return sum;
}

static void fill_class(const CgConv *s, const int8_t *w, const int32_t *bias, int64_t zero,
                       Taps rows, Taps columns, int32_t *out) {
    int64_t filter = (int64_t)(s->C / s->group) * s->kh * s->kw;
#pragma omp parallel for
    for (int o = 0; o < s->O; o++) {
        int64_t sum = zero ? sum_weights(s, w + o * filter, rows, columns) : 0;
        out[o] = (int32_t)((bias ? bias[o] : 0) - zero * sum);
    }
}

void cg_conv_pack_edges(const CgConv *s, int lanes, const int8_t *w, const int32_t *bias,
                        int64_t zero, int32_t *out) {
    CgEdge rows = cg_conv_edge_rows(s), columns = cg_conv_edge_columns(s);
    int64_t step = (int64_t)cg_ceil_div(s->O, lanes) * lanes;
    for (int h = 0; h < s->OH; h++)
        for (int v = 0; v < s->OW; v++) {
            bool again = (h > rows.first && h < rows.end) || (v > columns.first && v < columns.end);
            if (again)
                continue;
            int64_t at = (int64_t)class_of(rows, h) * columns.n + class_of(columns, v);
            fill_class(s, w, bias, zero, taps_at(h, s->sh, s->pt, s->dh, s->kh, s->H),
                       taps_at(v, s->sw, s->pl, s->dw, s->kw, s->W), out + at * step);
        }
}

// ---------------------------------------------------------------- the kernel's side

CgVal cg_conv_bias_at(CgFn *f, const CgConv *s, CgVal ocb, CgVal oh, CgVal ow) {
    if (s->bias != CG_CONV_BIAS_EDGES)
        return cg_conv_bias(f, s, ocb);
    CgEdge rows = cg_conv_edge_rows(s), columns = cg_conv_edge_columns(s);
    CgVal at = cg_imulc(f, class_at(f, rows, oh), columns.n);
    at = cg_imulc(f, cg_iadd(f, at, class_at(f, columns, ow)), cg_ceil_div(s->O, IR_BLOCK));
    return cg_elem_load_n(
        f, IR_I32, cg_elem_block(f, IR_I32, f->arg[CG_CONV_BIAS], cg_iadd(f, at, ocb)), NULL);
}
