// max_pool and avg_pool of any type. Blocked tensors: a task is one row of the result in one block
// of channels, a vector per pixel; several columns at a time share what they have in common: each
// input column is joined down the kernel's rows once. Kernel rows outside the input are cut off by
// the bounds of a loop; columns near the edges are code of their own, in which taps outside are
// absent. The epilogue is done before a pixel is stored. Plain tensors: pool_elements.c.
#include "codegen/build/nd.h"
#include "codegen/nn/pool.h"
#include <math.h>
#include <string.h>

// ---------------------------------------------------------------- blocked

typedef struct PoolRow {
    const CgPool *spec;
    CgVal in, out; // of the channel block's plane; of the result's row
    CgVal at[3];   // image, block and row of the result
    CgPoolTaps rows;
} PoolRow;

static CgVal vector_start(CgFn *f, const CgPool *s) {
    return cg_elem_splat(f, (IrDtype)s->own, s->max ? -INFINITY : 0);
}

// A maximum of floats looks out for NaN.
static bool has_nan(const CgPool *s) {
    return s->max && ir_dtype_is_float((IrDtype)s->own);
}

// Pixel `at` of the input from p on, and of the result.
static CgVal load_pixel(CgFn *f, const CgPool *s, CgVal p, CgVal at) {
    IrDtype t = (IrDtype)s->x.dtype;
    CgVal x = cg_elem_load_n(f, t, cg_elem_at(f, t, p, cg_imulc(f, at, f->lanes)), NULL);
    return cg_elem_convert(f, t, (IrDtype)s->own, x);
}

static CgVal input_at(CgFn *f, const CgPool *s, CgVal p, CgVal index) {
    return cg_elem_at(f, (IrDtype)s->x.dtype, p, index);
}

// sum / (rows that count * columns that count). Of integers the quotient is that of the evaluator,
// so that halves round as they do there; of floats it is a product with the inverse.
static CgVal divide(CgFn *f, const CgPool *s, CgVal sum, CgVal rows, CgVal columns) {
    CgVal n = cg_imax(f, cg_imul(f, rows, columns), cg_i64(f, 1));
    n = LLVMBuildSIToFP(f->b, n, f->f32, "");
    return ir_dtype_is_float((IrDtype)s->x.dtype)
               ? cg_fmul(f, sum, cg_splat(f, cg_fdiv(f, cg_f(f, 1), n)))
               : cg_fdiv(f, sum, cg_splat(f, n));
}

static void store_column(CgFn *f, const PoolRow *r, CgVal acc, CgVal columns, CgVal ow) {
    if (!r->spec->max) {
        acc = divide(f, r->spec, acc, r->rows.count, columns);
    }
    acc = cg_pixel_vector(f, &r->spec->then, acc, (CgVal[]){r->at[0], r->at[1], r->at[2], ow});
    IrDtype t = (IrDtype)r->spec->y.dtype;
    cg_elem_store_n(f, t, acc, cg_elem_at(f, t, r->out, cg_imulc(f, ow, f->lanes)), NULL);
}

// CgPoolTaps of result column ow: those inside, and for the divisor.
static bool is_inside(const CgPool *s, int64_t ow, int64_t j) {
    int64_t iw = ow * s->sw - s->pl + j * s->dw;
    return iw >= 0 && iw < s->x.dim[3].c;
}

static int64_t count_columns(const CgPool *s, int64_t ow) {
    int64_t n = 0;
    for (int64_t j = 0; j < s->kw; j++) {
        int64_t iw = ow * s->sw - s->pl + j * s->dw;
        n += is_inside(s, ow, j) || (s->count_pad && iw < s->x.dim[3].c + s->pr);
    }
    return n;
}

// How far the taps of n columns reach, in input columns.
static int64_t count_input_columns(const CgPool *s, int64_t n) {
    return (n - 1) * s->sw + (s->kw - 1) * s->dw + 1;
}

// The tap of column t, of n that behave like the static columns [like, like + n), that falls on
// input column c of the tile; -1: none.
static int64_t tap_at(const CgPool *s, int64_t like, int t, int64_t c) {
    int64_t d = c - t * s->sw, tap = d / s->dw;
    bool hit = d >= 0 && d % s->dw == 0 && tap < s->kw && is_inside(s, like + t, tap);
    return hit ? tap : -1;
}

static bool is_read(const CgPool *s, int64_t like, int n, int64_t c) {
    for (int t = 0; t < n; t++) {
        if (tap_at(s, like, t, c) >= 0) {
            return true;
        }
    }
    return false;
}

// Columns [lo, hi) one by one, bounds of the kernel row computed as well.
static void emit_any_columns(CgFn *f, const PoolRow *r, CgVal lo, CgVal hi) {
    const CgPool *s = r->spec;
    CgLoop column, row, tap;
    cg_for(f, &column, lo, hi, 1);
    CgPoolTaps t = cg_pool_taps_w(f, s, column.iv);
    CgVal acc[] = {vector_start(f, s)};
    cg_for_carry(f, &row, r->rows.lo, r->rows.hi, 1, 1, acc);
    CgVal ih = cg_iadd(f, r->rows.first, cg_imulc(f, row.iv, s->dh));
    cg_for_carry(f, &tap, t.lo, t.hi, 1, 1, acc);
    CgVal iw = cg_iadd(f, t.first, cg_imulc(f, tap.iv, s->dw));
    CgVal at = cg_iadd(f, cg_imulc(f, ih, s->x.dim[3].c), iw);
    acc[0] = cg_pool_take(f, s, acc[0], load_pixel(f, s, r->in, at));
    cg_end_carry(f, &tap, acc);
    cg_end_carry(f, &row, acc);
    store_column(f, r, acc[0], t.count, column.iv);
    cg_end(f, &column);
}

// Maximum of what holds no NaN: one instruction.
static CgVal join(CgFn *f, const CgPool *s, CgVal a, CgVal b) {
    return has_nan(s) ? cg_fmax(f, a, b) : cg_pool_take(f, s, a, b);
}

// One kernel row of a tile joined into a vector per input column. Returns the lanes that were NaN.
static CgVal emit_row_taps(CgFn *f, const CgPool *s, CgVal row, int64_t like, int n, CgVal *acc) {
    CgVal nan = NULL, odd = NULL, any = NULL;
    for (int64_t c = 0; c < count_input_columns(s, n); c++) {
        if (!is_read(s, like, n, c)) {
            continue;
        }
        CgVal x = load_pixel(f, s, row, cg_i64(f, c));
        acc[c] = join(f, s, acc[c], x);
        any = any ? any : x; // beside the odd one out: of one alone LLVM compares it with a zero
        if (has_nan(s) && odd) {
            CgVal bad = cg_fcmp(f, LLVMRealUNO, odd, x);
            nan = nan ? LLVMBuildOr(f->b, nan, bad, "") : bad;
            odd = NULL;
        } else {
            odd = x;
        }
    }
    if (has_nan(s) && odd) {
        CgVal bad = cg_fcmp(f, LLVMRealUNO, odd, any);
        nan = nan ? LLVMBuildOr(f->b, nan, bad, "") : bad;
    }
    return nan;
}

static void store_tile(CgFn *f, const PoolRow *r, CgVal ow, int64_t like, int n, const CgVal *acc) {
    const CgPool *s = r->spec;
    for (int t = 0; t < n; t++) {
        CgVal y = NULL;
        for (int64_t c = 0; c < count_input_columns(s, n); c++) {
            if (tap_at(s, like, t, c) >= 0) {
                y = y ? join(f, s, y, acc[c]) : acc[c];
            }
        }
        y = y ? y : vector_start(f, s);
        store_column(f, r, y, cg_i64(f, count_columns(s, like + t)), cg_iaddc(f, ow, t));
    }
}

// n columns from ow on, which behave like the static column `like`: down the kernel's rows first, a
// vector per input column, then across. Where a NaN was seen the columns are done again by the code
// that lets it win.
static void emit_columns(CgFn *f, const PoolRow *r, CgVal ow, int64_t like, int n) {
    const CgPool *s = r->spec;
    CgVal acc[CG_MAX_CARRY];
    int columns = (int)count_input_columns(s, n);
    for (int c = 0; c < columns; c++) {
        acc[c] = vector_start(f, s);
    }
    LLVMTypeRef bits = LLVMIntTypeInContext(f->ctx, (unsigned)f->lanes);
    acc[columns] = LLVMConstNull(bits);
    CgLoop loop;
    cg_for_carry(f, &loop, r->rows.lo, r->rows.hi, 1, columns + has_nan(s), acc);
    CgVal ih = cg_iadd(f, r->rows.first, cg_imulc(f, loop.iv, s->dh));
    CgVal iw = cg_iaddc(f, cg_imulc(f, ow, s->sw), -s->pl);
    CgVal at = cg_iadd(f, cg_imulc(f, ih, s->x.dim[3].c), iw);
    CgVal nan = emit_row_taps(f, s, input_at(f, s, r->in, cg_imulc(f, at, f->lanes)), like, n, acc);
    if (nan) {
        nan = LLVMBuildBitCast(f->b, nan, bits, "");
        acc[columns] = LLVMBuildOr(f->b, acc[columns], nan, "");
    }
    cg_end_carry(f, &loop, acc);
    if (!has_nan(s)) {
        store_tile(f, r, ow, like, n, acc);
        return;
    }
    CgIf any;
    cg_if(f, &any, cg_icmp(f, LLVMIntEQ, acc[columns], LLVMConstNull(bits)));
    store_tile(f, r, ow, like, n, acc);
    cg_else(f, &any);
    emit_any_columns(f, r, ow, cg_iaddc(f, ow, n));
    cg_endif(f, &any);
}

static void emit_static_columns(CgFn *f, const PoolRow *r, int64_t lo, int64_t hi, int tile) {
    for (int64_t ow = lo; ow < hi; ow += tile) {
        int n = hi - ow < tile ? (int)(hi - ow) : tile;
        emit_columns(f, r, cg_i64(f, ow), ow, n);
    }
}

static int64_t ceil_div(int64_t a, int64_t b) {
    return a <= 0 ? 0 : (a + b - 1) / b;
}

static void emit_row_columns(CgFn *f, const PoolRow *r) {
    const CgPool *s = r->spec;
    enum { MOST_TAPS = 1024, MOST_COLUMNS = 20 }; // of code for the edges; of a tile
    int64_t width = s->y.dim[3].c, reach = (s->kw - 1) * s->dw;
    int64_t a = ceil_div(s->pl, s->sw), b = s->x.dim[3].c - reach + s->pl;
    b = b > 0 ? ceil_div(b, s->sw) : 0; // columns [a, b) have all their taps
    a = a < width ? a : width;
    b = b < width ? b : width;
    b = b > a ? b : a;
    const IrMachine *m = &f->target->machine;
    int parts = ir_dtype_is_float((IrDtype)s->own) ? ir_parts(m) : 1;
    int tile = 12, most = m->vector_registers * 5 / 8 / parts; // the rest: sums, other taps
    while (tile > 1 && count_input_columns(s, tile) > most)
        tile--;
    tile = count_input_columns(s, tile) > MOST_COLUMNS ? 0 : tile;
    if (tile == 0 || (a + width - b) * s->kw > MOST_TAPS) {
        emit_any_columns(f, r, cg_i64(f, 0), cg_i64(f, width));
        return;
    }
    int64_t main = (b - a) / tile * tile;
    emit_static_columns(f, r, 0, a, tile);
    if (main > 0) {
        CgLoop loop;
        cg_for(f, &loop, cg_i64(f, a), cg_i64(f, a + main), tile);
        emit_columns(f, r, loop.iv, a, tile);
        cg_end(f, &loop);
    }
    emit_static_columns(f, r, a + main, width, tile);
}

void cg_pool_row(CgFn *f, const CgPool *s, CgVal in, CgVal first, CgVal out, CgVal oh) {
    PoolRow r = {.spec = s, .in = in, .out = out, .rows = cg_pool_taps_h(f, s, oh)};
    r.rows.first = cg_isub(f, r.rows.first, first);
    emit_row_columns(f, &r);
}

static void emit_pool(CgFn *f, const void *spec) {
    PoolRow r = {.spec = spec};
    const CgPool *s = spec;
    int64_t blocks = (cg_channels(&s->x) + s->x.block - 1) / s->x.block;
    CgVal rows = cg_imulc(f, cg_dim(f, s->y.dim[0]), blocks * s->y.dim[2].c), lo, hi;
    cg_split(f, rows, &lo, &hi);
    CgLoop loop;
    cg_for(f, &loop, lo, hi, 1);
    CgVal plane = cg_idivc(f, loop.iv, s->y.dim[2].c), oh = cg_iremc(f, loop.iv, s->y.dim[2].c);
    CgVal n = cg_idivc(f, plane, blocks), cb = cg_iremc(f, plane, blocks);
    CgVal in = cg_imulc(f, cb, cg_spatial(&s->x) * s->x.block);
    r.in = input_at(f, s, f->arg[1], cg_iadd(f, in, cg_imulc(f, n, s->x.image)));
    CgVal out = cg_iadd(f, cg_imulc(f, cb, s->y.dim[2].c), oh);
    out = cg_imulc(f, out, s->y.dim[3].c * s->y.block);
    out = cg_iadd(f, out, cg_imulc(f, n, s->y.image));
    r.out = cg_elem_at(f, (IrDtype)s->y.dtype, f->arg[0], out);
    r.rows = cg_pool_taps_h(f, s, oh);
    r.at[0] = n;
    r.at[1] = cb;
    r.at[2] = oh;
    emit_row_columns(f, &r);
    cg_end(f, &loop);
}

// ---------------------------------------------------------------- lowering

void cg_lower_pool(CgProgram *p, const IrNode *n) {
    IrWindow w = ir_window(n);
    CgPool s;
    memset(&s, 0, sizeof s);
    s.x = cg_tensor(ir_in(n, 0));
    s.y = cg_tensor(n->out[0]);
    s.kh = w.kh, s.kw = w.kw, s.sh = w.sh, s.sw = w.sw, s.dh = w.dh, s.dw = w.dw;
    s.pt = w.pt, s.pl = w.pl, s.pb = w.pb, s.pr = w.pr;
    s.max = n->op == IR_OP_MAX_POOL;
    s.own = (int32_t)ir_own_dtype(n);
    s.count_pad = w.count_pad;
    if (s.x.block != s.y.block || (s.x.block && !cg_static_dims(&s.x, 1))) {
        cg_nyi(p, n, "a pool of mixed layouts");
        return;
    }
    if (!s.max && !ir_dtype_is_float((IrDtype)s.own)) {
        cg_nyi(p, n, "avg_pool in %s", ir_dtype_name((IrDtype)s.own));
        return;
    }
    for (int i = 0; i < 4; i++) {
        if (ir_dim_is(s.y.dim[i], 0)) {
            return;
        }
    }
    CgArg args[CG_MAX_ARGS] = {cg_write(n->out[0]), cg_read(ir_in(n, 0))};
    int n_args = 2;
    if (!cg_pixel_then(p, n, &s.y, &s.then, args, &n_args)) {
        return;
    }
    const char *algo = ir_op_info(n->op)->text;
    int k = cg_kernel(p, algo, s.x.block ? emit_pool : cg_pool_emit_elements, &s, sizeof s, n_args,
                      s.x.block ? 100 + 30 * (int)(s.kw < 100 ? s.kw : 100) : 100);
    cg_call(p, n, k, n_args, args, algo, (IrDim){0, 0});
}
