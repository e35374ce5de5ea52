// max_pool_grad and avg_pool_grad on blocked tensors: a vector is the channels of a block at one
// pixel. A thread owns whole planes (one block of channels of one image) and sends the gradient of
// each window down to its pixels, window by window, so that each pixel's sum has one order whatever
// the number of threads. A row of dx is cleared just before the first window that reaches it.
//
// Sums are f32: of 16 bits, rows of dx that windows still reach are kept in scratch, in a ring, and
// rounded once, when the last window has left them.
//
// max: the window's gradient goes to the first maximum in row-major order, or the last NaN, as
// PyTorch's. Its place is found again from x, lane by lane.
// avg: the gradient is divided as avg_pool divides (AveragePool-19).
//
// Kernel arguments: dx, dy, and x for max.
#include "codegen/build/dot.h"
#include "codegen/build/nd.h"
#include "codegen/nn/pool.h"
#include <math.h>
#include <string.h>

enum { ARG_DX, ARG_DY, ARG_X };

typedef struct PoolGrad {
    CgTensor dx, dy;
    int64_t x_image; // elements between images of x
    int64_t kh, kw, sh, sw, dh, dw, pt, pl, pb, pr;
    int64_t ring; // rows of scratch; 0: sums are made where they belong
    int32_t max, count_pad;
} PoolGrad;

typedef struct PoolRow {
    const PoolGrad *spec;
    CgVal x, dx, dy; // of the plane; dy: of the row of windows
    CgVal sums;      // f32: dx, or row 0 of the ring
    CgPoolTaps rows;
} PoolRow;

static IrDtype type_of(const PoolGrad *s) {
    return (IrDtype)s->dx.dtype;
}

// Pixel `index` of type t from p on.
static CgVal load_pixel(CgFn *f, IrDtype t, CgVal p, CgVal index) {
    return cg_elem_load_n(f, t, cg_elem_at(f, t, p, cg_imulc(f, index, f->lanes)), NULL);
}

// Where the sums of row ih are, in pixels.
static CgVal sums_row(CgFn *f, const PoolGrad *s, CgVal ih) {
    CgVal row = s->ring ? cg_iremc(f, ih, s->ring) : ih;
    return cg_imulc(f, row, s->dx.dim[3].c);
}

static CgPoolTaps find_columns(CgFn *f, const PoolGrad *s, CgVal ow) {
    return cg_pool_taps(f, ow, s->sw, s->pl, s->dw, s->kw, cg_i64(f, s->dx.dim[3].c), s->pr,
                        s->count_pad);
}

// ---------------------------------------------------------------- one window

typedef struct Window {
    PoolRow *row;
    CgPoolTaps columns;
    bool whole;          // all kernel columns are inside: they are unrolled
    CgVal dy;            // the gradient, divided for avg
    CgVal carry[2];      // max: the most so far, its tap as <lanes x i32>
    CgVal tap_row;       // of the taps being visited
    CgVal x_row, sums_row; // kernel column 0, in pixels from the plane's first; pointer to its sums
} Window;

typedef void (*VisitTap)(CgFn *f, Window *w, CgVal column);

static CgVal tap_number(CgFn *f, const Window *w, CgVal column) {
    CgVal tap = cg_iadd(f, cg_imulc(f, w->tap_row, w->row->spec->kw), column);
    return cg_splat(f, LLVMBuildTrunc(f->b, tap, f->i32, ""));
}

static void compare_tap(CgFn *f, Window *w, CgVal column) {
    const PoolGrad *s = w->row->spec;
    CgVal at = cg_iadd(f, w->x_row, cg_imulc(f, column, s->dw)), most = w->carry[0];
    CgVal x = load_pixel(f, type_of(s), w->row->x, at);
    CgVal greater = cg_fcmp(f, LLVMRealOGT, x, most), nan = cg_fcmp(f, LLVMRealUNO, x, x);
    CgVal better = LLVMBuildOr(f->b, greater, nan, "");
    w->carry[0] = cg_select(f, better, x, most);
    w->carry[1] = cg_select(f, better, tap_number(f, w, column), w->carry[1]);
}

static void send_tap(CgFn *f, Window *w, CgVal column) {
    CgVal step = cg_imulc(f, column, w->row->spec->dw * f->lanes), dy = w->dy;
    CgVal p = cg_fat(f, w->sums_row, step);
    if (w->row->spec->max) {
        CgVal here = cg_icmp(f, LLVMIntEQ, w->carry[1], tap_number(f, w, column));
        dy = cg_select(f, here, dy, cg_v(f, 0));
    }
    cg_store_v(f, cg_fadd(f, cg_load_v(f, p), dy), p);
}

// Visits the taps that are inside, in row-major order.
static void visit_taps(CgFn *f, Window *w, VisitTap visit) {
    const PoolRow *r = w->row;
    const PoolGrad *s = r->spec;
    int n = visit == compare_tap ? 2 : 0;
    CgLoop row, column;
    CgVal carried[2] = {w->carry[0], w->carry[1]};
    cg_for_carry(f, &row, r->rows.lo, r->rows.hi, 1, n, w->carry);
    CgVal ih = cg_iadd(f, r->rows.first, cg_imulc(f, row.iv, s->dh));
    CgVal at = cg_iadd(f, sums_row(f, s, ih), w->columns.first);
    w->tap_row = row.iv;
    w->x_row = cg_iadd(f, cg_imulc(f, ih, s->dx.dim[3].c), w->columns.first);
    w->sums_row = cg_fat(f, r->sums, cg_imulc(f, at, f->lanes));
    if (w->whole) {
        for (int64_t j = 0; j < s->kw; j++) {
            visit(f, w, cg_i64(f, j));
        }
    } else {
        cg_for_carry(f, &column, w->columns.lo, w->columns.hi, 1, n, w->carry);
        visit(f, w, column.iv);
        cg_end_carry(f, &column, w->carry);
    }
    cg_end_carry(f, &row, w->carry);
    if (n == 0) {
        memcpy(w->carry, carried, sizeof carried);
    }
}

static void emit_window(CgFn *f, PoolRow *r, CgVal ow, bool whole) {
    const PoolGrad *s = r->spec;
    Window w = {.row = r, .columns = find_columns(f, s, ow), .whole = whole};
    w.dy = load_pixel(f, (IrDtype)s->dy.dtype, r->dy, ow);
    if (s->max) {
        w.tap_row = r->rows.lo; // the first tap inside wins where all are -inf
        w.carry[0] = cg_v(f, -INFINITY);
        w.carry[1] = tap_number(f, &w, whole ? cg_i64(f, 0) : w.columns.lo);
        visit_taps(f, &w, compare_tap);
    } else {
        CgVal columns = whole ? cg_i64(f, s->kw) : w.columns.count;
        CgVal n = cg_imax(f, cg_imul(f, r->rows.count, columns), cg_i64(f, 1));
        CgVal inverse = cg_fdiv(f, cg_f(f, 1), LLVMBuildSIToFP(f->b, n, f->f32, ""));
        w.dy = cg_fmul(f, w.dy, cg_splat(f, inverse));
    }
    visit_taps(f, &w, send_tap);
}

static void emit_windows(CgFn *f, PoolRow *r, int64_t lo, int64_t hi, bool whole) {
    CgLoop loop;
    if (lo >= hi) {
        return;
    }
    cg_for(f, &loop, cg_i64(f, lo), cg_i64(f, hi), 1);
    emit_window(f, r, loop.iv, whole);
    cg_end(f, &loop);
}

// ---------------------------------------------------------------- a plane

static int64_t clamp(int64_t x, int64_t lo, int64_t hi) {
    return x < lo ? lo : x > hi ? hi : x;
}

// Windows [a, b) of a row have all their kernel columns inside.
static void emit_row(CgFn *f, PoolRow *r) {
    enum { MOST_COLUMNS = 16 }; // unrolled
    const PoolGrad *s = r->spec;
    int64_t width = s->dy.dim[3].c, reach = (s->kw - 1) * s->dw;
    int64_t a = clamp((s->pl + s->sw - 1) / s->sw, 0, width), last = s->dx.dim[3].c - 1 - reach;
    int64_t b = last + s->pl < 0 ? 0 : (last + s->pl) / s->sw + 1;
    b = clamp(b, a, width);
    if (s->kw > MOST_COLUMNS) {
        a = b = width;
    }
    emit_windows(f, r, 0, a, false);
    emit_windows(f, r, a, b, true);
    emit_windows(f, r, b, width, false);
}

// Rows of dx that windows of the rows before `oh` may reach: [0, this)
static CgVal rows_reached(CgFn *f, const PoolGrad *s, CgVal oh) {
    CgVal end = cg_iaddc(f, cg_imulc(f, oh, s->sh), -s->sh - s->pt + (s->kh - 1) * s->dh + 1);
    end = cg_imax(f, end, cg_i64(f, 0));
    CgVal none = cg_icmp(f, LLVMIntEQ, oh, cg_i64(f, 0));
    return cg_select(f, none, cg_i64(f, 0), cg_imin(f, end, cg_i64(f, s->dx.dim[2].c)));
}

// Rows that the windows of row `oh` and those behind do not reach, or not yet: [0, this) are done.
static CgVal rows_done(CgFn *f, const PoolGrad *s, CgVal oh) {
    CgVal first = cg_imax(f, cg_iaddc(f, cg_imulc(f, oh, s->sh), -s->pt), cg_i64(f, 0));
    return cg_imin(f, first, rows_reached(f, s, oh));
}

typedef void (*DoPixel)(CgFn *f, const PoolRow *r, CgVal sum, CgVal pixel);

// For each pixel of rows [lo, hi): where its sum is, and its number in the plane.
static void for_pixels(CgFn *f, const PoolRow *r, CgVal lo, CgVal hi, DoPixel pixel) {
    int64_t width = r->spec->dx.dim[3].c;
    CgLoop row, column;
    cg_for(f, &row, lo, hi, 1);
    CgVal sums = cg_fat(f, r->sums, cg_imulc(f, sums_row(f, r->spec, row.iv), f->lanes));
    CgVal first = cg_imulc(f, row.iv, width);
    cg_for(f, &column, cg_i64(f, 0), cg_i64(f, width), 1);
    CgVal sum = cg_fat(f, sums, cg_imulc(f, column.iv, f->lanes));
    pixel(f, r, sum, cg_iadd(f, first, column.iv));
    cg_end(f, &column);
    cg_end(f, &row);
}

static void store_pixel(CgFn *f, const PoolRow *r, CgVal v, CgVal pixel) {
    IrDtype t = type_of(r->spec);
    CgVal p = cg_elem_at(f, t, r->dx, cg_imulc(f, pixel, f->lanes));
    cg_elem_store_n(f, t, v, p, NULL);
}

static void clear_sum(CgFn *f, const PoolRow *r, CgVal sum, CgVal pixel) {
    (void)r, (void)pixel;
    cg_store_v(f, cg_v(f, 0), sum);
}

static void round_sum(CgFn *f, const PoolRow *r, CgVal sum, CgVal pixel) {
    store_pixel(f, r, cg_load_v(f, sum), pixel);
}

static void clear_pixel(CgFn *f, const PoolRow *r, CgVal sum, CgVal pixel) {
    (void)sum;
    store_pixel(f, r, cg_v(f, 0), pixel);
}

static CgVal plane_at(CgFn *f, CgVal base, const CgTensor *t, int64_t image, CgVal n, CgVal cb) {
    CgVal plane = cg_imulc(f, cb, cg_spatial(t) * t->block);
    return cg_elem_at(f, (IrDtype)t->dtype, base, cg_iadd(f, cg_imulc(f, n, image), plane));
}

// The windows of row oh, of which dy is given by the plane.
static void emit_windows_row(CgFn *f, PoolRow *r, CgVal dy, CgVal oh) {
    const PoolGrad *s = r->spec;
    CgVal next = cg_iaddc(f, oh, 1);
    for_pixels(f, r, rows_reached(f, s, oh), rows_reached(f, s, next), clear_sum);
    r->rows = cg_pool_taps(f, oh, s->sh, s->pt, s->dh, s->kh, cg_i64(f, s->dx.dim[2].c), s->pb,
                           s->count_pad);
    CgVal first = cg_imulc(f, oh, s->dy.dim[3].c * f->lanes);
    r->dy = cg_elem_at(f, (IrDtype)s->dy.dtype, dy, first);
    emit_row(f, r);
    if (s->ring) {
        for_pixels(f, r, rows_done(f, s, oh), rows_done(f, s, next), round_sum);
    }
}

static void emit_pool_grad(CgFn *f, const void *spec) {
    const PoolGrad *s = spec;
    PoolRow r = {.spec = s};
    int64_t blocks = (cg_channels(&s->dx) + f->lanes - 1) / f->lanes;
    CgVal rows = cg_i64(f, s->dy.dim[2].c), reached;
    CgVal lo, hi;
    CgLoop plane, row;
    cg_split(f, cg_imulc(f, cg_dim(f, s->dx.dim[0]), blocks), &lo, &hi);
    cg_for(f, &plane, lo, hi, 1);
    CgVal n = cg_idivc(f, plane.iv, blocks), cb = cg_iremc(f, plane.iv, blocks);
    r.dx = plane_at(f, f->arg[ARG_DX], &s->dx, s->dx.image, n, cb);
    r.x = s->max ? plane_at(f, f->arg[ARG_X], &s->dx, s->x_image, n, cb) : NULL;
    CgVal dy = plane_at(f, f->arg[ARG_DY], &s->dy, s->dy.image, n, cb);
    r.sums = s->ring ? f->scratch : r.dx;
    cg_for(f, &row, cg_i64(f, 0), rows, 1);
    emit_windows_row(f, &r, dy, row.iv);
    cg_end(f, &row);
    reached = rows_reached(f, s, rows);
    if (s->ring) {
        for_pixels(f, &r, rows_done(f, s, rows), reached, round_sum);
    }
    for_pixels(f, &r, reached, cg_i64(f, s->dx.dim[2].c), clear_pixel);
    cg_end(f, &plane);
}

// ---------------------------------------------------------------- lowering

void cg_lower_pool_grad(CgProgram *p, const IrNode *n) {
    bool max = n->op == IR_OP_MAX_POOL_GRAD;
    const IrValue *dy = ir_in(n, max ? 1 : 0);
    IrWindow w = ir_window(n);
    PoolGrad s;
    memset(&s, 0, sizeof s);
    s.dx = cg_tensor(n->out[0]);
    s.dy = cg_tensor(dy);
    s.x_image = max ? cg_tensor(ir_in(n, 0)).image : 0;
    s.kh = w.kh, s.kw = w.kw, s.sh = w.sh, s.sw = w.sw, s.dh = w.dh, s.dw = w.dw;
    s.pt = w.pt, s.pl = w.pl, s.pb = w.pb, s.pr = w.pr;
    s.max = max;
    s.count_pad = w.count_pad;
    if (s.dx.dtype != IR_F32) {
        int64_t span = (s.kh - 1) * s.dh + 1;
        s.ring = span > s.sh ? span : s.sh;
        cg_scratch(p, s.ring * s.dx.dim[3].c * IR_BLOCK * (int64_t)sizeof(float));
    }
    bool blocked =
        s.dx.block && s.dy.block == s.dx.block && (!max || ir_in(n, 0)->type.block == s.dx.block);
    IrDtype t = type_of(&s);
    bool floats = t == IR_F32 || t == IR_BF16 || t == IR_F16;
    if (!floats || !blocked || !cg_static_dims(&s.dx, 1) || !cg_static_dims(&s.dy, 1)) {
        cg_nyi(p, n, "%s of %s in this layout", ir_op_info(n->op)->text,
               ir_dtype_name((IrDtype)s.dx.dtype));
        return;
    }
    if (cg_channels(&s.dx) * cg_spatial(&s.dx) == 0) {
        return;
    }
    CgArg args[] = {cg_write(n->out[0]), cg_read(dy), cg_read(ir_in(n, 0))};
    const char *algo = ir_op_info(n->op)->text;
    int n_args = max ? 3 : 2;
    int k = cg_kernel(p, algo, emit_pool_grad, &s, sizeof s, n_args,
                      200 + 40 * (int)(s.kw < 16 ? s.kw : 16));
    cg_call(p, n, k, n_args, args, algo, (IrDim){0, 0});
}
