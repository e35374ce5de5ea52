// matmul: y[batch.., r, m] = sum over k of a[batch.., r, k] * b[batch.., k, m], with bias and
// epilogue.
//
// Columns go in panels of W = vectors * lanes, rows in register tiles of up to TILE_ROWS, over the
// whole reduction. A constant b is packed at compile time into [M/W][K][W], so that a thread
// streams its own panels once: at batch 1 the product runs at the speed of memory. Other operands
// are read where they are, by strides. Odd cases (other dtypes, a number of columns that depends on
// N) go element by element.
//
// With `mean`, a is a map [N,K,H,W] in blocks whose means over the pixels are the rows. A thread
// makes those of up to `images` images in its scratch, then runs its panels over them; threads that
// share these panels each make them.
#include "codegen/map/map.h"
#include "codegen/nn/mean.h"
#include "codegen/move/move.h"
#include <string.h>

enum { TILE_ROWS = 6, TALL_ROWS = 8, MAX_VECTORS = 4, CACHED = 768 << 10, RUN = 1024 };
// Operands of the space. COLUMN has no memory: its offset is the panel's first column.
enum { Y, A, B, COLUMN, EXTRA };

typedef struct MatmulSpec {
    CgNd nd;                   // panels, batch dims, rows
    IrDim k, a_k, b_k;         // size, strides along it
    IrDim col[CG_ND_OPERANDS]; // strides along the columns
    int64_t columns;
    int32_t vectors, packed, bias, dtype; // packed: b's panels are padded with zeros
    int32_t rows, images;                 // of the largest tile; of the scratch, with `mean`
    CgMean mean;
    CgBody then;
} MatmulSpec;

// Of the scratch, what the totals of long sums take; means lie behind it.
static int64_t count_totals(int lanes) {
    return (int64_t)TALL_ROWS * MAX_VECTORS * lanes;
}

// ---------------------------------------------------------------- a tile

typedef struct MatmulTile {
    const MatmulSpec *spec;
    const CgVal *off;
    CgVal row;                // of the tile's first row, from off on
    int rows, first, end;     // vectors [first, end) of the panel
    CgVal last;               // rows behind it are this one again; NULL: there are none
    CgVal count[MAX_VECTORS]; // lanes that count, or NULL: all
    int i, v;                 // of the vector being finished
} MatmulTile;

static CgVal row_at(CgFn *f, const MatmulTile *t, int operand, int arg, int i) {
    const CgNd *nd = &t->spec->nd;
    CgVal row = cg_iaddc(f, t->row, i);
    row = t->last ? cg_imin(f, row, t->last) : row;
    CgVal r = cg_stride(f, row, nd->dim[nd->rank - 1].stride[operand]);
    CgVal base = f->arg[arg];
    if (operand == A && t->spec->mean.blocks) {
        base = cg_fatc(f, f->scratch, count_totals(f->lanes));
    }
    return cg_fat(f, base, cg_iadd(f, t->off[operand], r));
}

// Operand at row i, vector v of the panel, for the epilogue.
static CgVal load_extra(CgFn *f, const MatmulTile *t, int operand, int arg) {
    const MatmulSpec *s = t->spec;
    CgVal first = cg_iaddc(f, t->off[COLUMN], (int64_t)t->v * f->lanes);
    CgVal p = cg_fat(f, row_at(f, t, operand, arg, t->i), cg_stride(f, first, s->col[operand]));
    return cg_load_strided(f, p, cg_dim(f, s->col[operand]), t->count[t->v]);
}

static CgVal load_then(void *ctx, CgFn *f, int k) {
    const MatmulTile *t = ctx;
    int first = EXTRA + t->spec->bias;
    return load_extra(f, t, first + k, first + k - 1); // COLUMN has no argument
}

static CgVal load_b(CgFn *f, const MatmulTile *t, CgVal p, int v) {
    const MatmulSpec *s = t->spec;
    CgVal at = cg_i64(f, (int64_t)v * f->lanes), n = s->packed ? NULL : t->count[v];
    if (n && !ir_dim_is(s->col[B], 1)) { // elements: even a vector behind the columns reads one
        at = cg_imin(f, at, cg_isub(f, cg_i64(f, s->columns - 1), t->off[COLUMN]));
        n = cg_imax(f, n, cg_i64(f, 1));
    }
    return cg_load_strided(f, cg_fat(f, p, cg_stride(f, at, s->col[B])), cg_dim(f, s->col[B]), n);
}

static bool is_long(const MatmulSpec *s) {
    return s->k.n == 0 && s->k.c > 2 * RUN;
}

static void emit_products(CgFn *f, const MatmulTile *t, const CgVal *a, CgVal b, CgVal k,
                          CgVal *acc) {
    const MatmulSpec *s = t->spec;
    CgVal pb = cg_fat(f, b, cg_stride(f, k, s->b_k)), x[MAX_VECTORS];
    for (int v = t->first; v < t->end; v++) {
        x[v] = load_b(f, t, pb, v);
    }
    for (int i = 0; i < t->rows; i++) {
        CgVal w = cg_load_splat(f, cg_fat(f, a[i], cg_stride(f, k, s->a_k)));
        for (int v = t->first; v < t->end; v++, acc++) {
            *acc = cg_fma(f, w, x[v], *acc);
        }
    }
}

// acc = the products over [lo, hi).
static void emit_run(CgFn *f, const MatmulTile *t, const CgVal *a, CgVal lo, CgVal hi, int n,
                     CgVal *acc) {
    int unroll = t->rows <= 2 ? 4 : 2;
    CgVal b = cg_fat(f, f->arg[B], t->off[B]), size = cg_isub(f, hi, lo);
    CgVal main = cg_iadd(f, lo, cg_imulc(f, cg_idivc(f, size, unroll), unroll));
    CgLoop loop;
    for (int i = 0; i < n; i++) {
        acc[i] = cg_v(f, 0);
    }
    cg_for_carry(f, &loop, lo, main, unroll, n, acc);
    for (int u = 0; u < unroll; u++) {
        emit_products(f, t, a, b, cg_iaddc(f, loop.iv, u), acc);
    }
    cg_end_carry(f, &loop, acc);
    cg_for_carry(f, &loop, main, hi, 1, n, acc);
    emit_products(f, t, a, b, loop.iv, acc);
    cg_end_carry(f, &loop, acc);
}

// One order of additions whatever the number of rows: an image's result does not depend on its
// batch. Long sums are made of runs, whose totals are in the scratch: rounding errors grow with the
// length of a run and with the number of runs, not with the product of both.
static void emit_sums(CgFn *f, const MatmulTile *t, CgVal *acc) {
    const MatmulSpec *s = t->spec;
    int n = t->rows * (t->end - t->first);
    CgVal a[TALL_ROWS], zero = cg_i64(f, 0), size = cg_dim(f, s->k);
    for (int i = 0; i < t->rows; i++) {
        a[i] = row_at(f, t, A, A, i);
    }
    if (!is_long(s)) {
        emit_run(f, t, a, zero, size, n, acc);
        return;
    }
    for (int i = 0; i < n; i++) {
        cg_store_v(f, cg_v(f, 0), cg_fatc(f, f->scratch, (int64_t)i * f->lanes));
    }
    CgLoop loop;
    cg_for(f, &loop, zero, size, RUN);
    emit_run(f, t, a, loop.iv, cg_imin(f, cg_iaddc(f, loop.iv, RUN), size), n, acc);
    for (int i = 0; i < n; i++) {
        CgVal p = cg_fatc(f, f->scratch, (int64_t)i * f->lanes);
        cg_store_v(f, cg_fadd(f, cg_load_v(f, p), acc[i]), p);
    }
    cg_end(f, &loop);
    for (int i = 0; i < n; i++) {
        acc[i] = cg_load_v(f, cg_fatc(f, f->scratch, (int64_t)i * f->lanes));
    }
}

static void emit_tile(CgFn *f, MatmulTile *t) {
    const MatmulSpec *s = t->spec;
    CgVal acc[TALL_ROWS * MAX_VECTORS], *sum = acc;
    emit_sums(f, t, acc);
    for (t->i = 0; t->i < t->rows; t->i++) {
        for (t->v = t->first; t->v < t->end; t->v++) {
            CgVal y = *sum++;
            y = s->bias ? cg_fadd(f, y, load_extra(f, t, EXTRA, EXTRA - 1)) : y;
            y = cg_body_emit(f, &s->then, y, load_then, t);
            CgVal to = cg_iaddc(f, t->off[COLUMN], (int64_t)t->v * f->lanes);
            cg_store_n(f, y, cg_fat(f, row_at(f, t, Y, Y, t->i), to), t->count[t->v]);
        }
    }
}

// ---------------------------------------------------------------- rows of one panel

// t->rows rows over the whole panel, in tiles that leave room for their accumulators.
static void emit_panel_rows(CgFn *f, MatmulTile *t) {
    int vectors = t->spec->vectors, half = t->rows > TILE_ROWS ? (vectors + 1) / 2 : vectors;
    for (t->first = 0; t->first < vectors; t->first = t->end) {
        t->end = t->first + half < vectors ? t->first + half : vectors;
        emit_tile(f, t);
    }
}

// Opens a branch for rest == n, unless that is known. False: it is not.
static bool begin_case(CgFn *f, CgIf *s, CgVal rest, int n) {
    int64_t fixed;
    if (cg_is_const(rest, &fixed)) {
        s->then = NULL;
        return fixed == n;
    }
    cg_if(f, s, cg_icmp(f, LLVMIntEQ, rest, cg_i64(f, n)));
    return true;
}

static void end_case(CgFn *f, CgIf *s) {
    if (s->then) {
        cg_endif(f, s);
    }
}

// The rows behind the last full tile: exact up to TILE_ROWS, else a tall tile that does one twice.
static void emit_rest(CgFn *f, MatmulTile *t, CgVal rest) {
    CgIf s;
    for (t->rows = 1; t->rows < t->spec->rows; t->rows++) {
        if (begin_case(f, &s, rest, t->rows)) {
            int rows = t->rows;
            if (rows > TILE_ROWS) {
                t->rows = TALL_ROWS;
                t->last = cg_iaddc(f, t->row, rows - 1);
            }
            emit_panel_rows(f, t);
            t->rows = rows;
            t->last = NULL;
            end_case(f, &s);
        }
    }
}

static void emit_rows(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    const MatmulSpec *s = ctx;
    MatmulTile t = {.spec = s, .off = off};
    int64_t width = (int64_t)s->vectors * f->lanes, fixed;
    for (int v = 0; v < s->vectors && s->columns % width != 0; v++) {
        CgVal left = cg_isub(f, cg_i64(f, s->columns - (int64_t)v * f->lanes), off[COLUMN]);
        left = cg_imin(f, left, cg_i64(f, f->lanes));
        t.count[v] = cg_imax(f, left, cg_i64(f, 0));
    }
    CgVal main = cg_imulc(f, cg_idivc(f, len, s->rows), s->rows);
    if (!cg_is_const(main, &fixed) || fixed > 0) {
        CgLoop loop;
        cg_for(f, &loop, cg_i64(f, 0), main, s->rows);
        t.row = loop.iv;
        t.rows = s->rows;
        emit_panel_rows(f, &t);
        cg_end(f, &loop);
    }
    t.row = main;
    emit_rest(f, &t, cg_isub(f, len, main));
}

static void emit_matmul(CgFn *f, const void *spec) {
    const MatmulSpec *s = spec;
    cg_nd_for(f, &s->nd, 1, s->rows, emit_rows, (void *)spec);
}

// ---------------------------------------------------------------- rows that are means

// Panels [lo, hi) over images [first, end).
static void emit_mean_panels(CgFn *f, const MatmulSpec *s, CgVal lo, CgVal hi, CgVal first,
                             CgVal end) {
    const CgNdDim *panel = &s->nd.dim[0], *row = &s->nd.dim[1];
    CgLoop loop;
    cg_mean_images(f, &s->mean, f->arg[A], first, end,
                   cg_fatc(f, f->scratch, count_totals(f->lanes)));
    cg_for(f, &loop, lo, hi, 1);
    CgVal off[CG_ND_OPERANDS] = {NULL};
    for (int k = 0; k < s->nd.n; k++) {
        off[k] = cg_iadd(f, cg_stride(f, loop.iv, panel->stride[k]),
                         k == A ? cg_i64(f, 0) : cg_stride(f, first, row->stride[k]));
    }
    emit_rows((void *)s, f, off, cg_isub(f, end, first));
    cg_end(f, &loop);
}

// Tasks: parts of the batch, of each the panels.
static void emit_mean_matmul(CgFn *f, const void *spec) {
    const MatmulSpec *s = spec;
    CgVal N = cg_dim(f, s->nd.dim[1].size), panels = cg_dim(f, s->nd.dim[0].size), lo, hi;
    CgVal parts = cg_idivc(f, cg_iaddc(f, N, s->images - 1), s->images), part, first_panel;
    CgIf some;
    CgLoop loop;
    cg_split(f, cg_imul(f, parts, panels), &lo, &hi);
    cg_if(f, &some, cg_icmp(f, LLVMIntSLT, lo, hi));
    CgVal last, unused;
    cg_divmod(f, lo, panels, &part, &first_panel);
    cg_divmod(f, cg_iaddc(f, hi, -1), panels, &last, &unused);
    cg_for(f, &loop, part, cg_iaddc(f, last, 1), 1);
    CgVal start = cg_imul(f, loop.iv, panels), first = cg_imulc(f, loop.iv, s->images);
    CgVal begin = cg_isub(f, cg_imax(f, lo, start), start);
    CgVal end = cg_imin(f, cg_isub(f, hi, start), panels);
    emit_mean_panels(f, s, begin, end, first, cg_imin(f, cg_iaddc(f, first, s->images), N));
    cg_end(f, &loop);
    cg_endif(f, &some);
}

// ---------------------------------------------------------------- element by element

typedef struct ElementRun {
    const MatmulSpec *spec;
    const CgVal *off;
    CgVal i;
} ElementRun;

// The last dimension of the space is the columns here.
static CgVal element_at(const ElementRun *r, CgFn *f, int operand) {
    const CgNd *nd = &r->spec->nd;
    return cg_iadd(f, r->off[operand], cg_stride(f, r->i, nd->dim[nd->rank - 1].stride[operand]));
}

static CgVal load_then_element(void *ctx, CgFn *f, int k) {
    ElementRun *r = ctx;
    int first = EXTRA + r->spec->bias;
    return cg_load_f(f, cg_fat(f, f->arg[first + k - 1], element_at(r, f, first + k)));
}

static void emit_elements(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    const MatmulSpec *s = ctx;
    IrDtype t = (IrDtype)s->dtype;
    ElementRun r = {s, off, NULL};
    CgLoop loop, sum;
    cg_for(f, &loop, cg_i64(f, 0), len, 1);
    r.i = loop.iv;
    CgVal a = element_at(&r, f, A), b = element_at(&r, f, B);
    bool is_float = ir_dtype_is_float(t);
    CgVal acc[] = {LLVMConstNull(t == IR_F16 ? f->f32 : cg_dtype(f, t))};
    cg_for_carry(f, &sum, cg_i64(f, 0), cg_dim(f, s->k), 1, 1, acc);
    CgVal x = cg_load_typed(f, t, f->arg[A], cg_iadd(f, a, cg_stride(f, sum.iv, s->a_k)));
    CgVal w = cg_load_typed(f, t, f->arg[B], cg_iadd(f, b, cg_stride(f, sum.iv, s->b_k)));
    CgVal xw = is_float ? cg_fmul(f, x, w) : LLVMBuildMul(f->b, x, w, "");
    acc[0] = is_float ? cg_fadd(f, acc[0], xw) : LLVMBuildAdd(f->b, acc[0], xw, "");
    cg_end_carry(f, &sum, acc);
    if (s->bias) {
        CgVal c = cg_load_typed(f, t, f->arg[EXTRA - 1], element_at(&r, f, EXTRA));
        acc[0] = is_float ? cg_fadd(f, acc[0], c) : LLVMBuildAdd(f->b, acc[0], c, "");
    }
    CgVal y = s->then.n ? cg_body_emit(f, &s->then, acc[0], load_then_element, &r) : acc[0];
    cg_store_typed(f, t, y, f->arg[Y], element_at(&r, f, Y));
    cg_end(f, &loop);
}

static void emit_element_matmul(CgFn *f, const void *spec) {
    const MatmulSpec *s = spec;
    cg_nd_for(f, &s->nd, 1, 1, emit_elements, (void *)spec);
}

// ---------------------------------------------------------------- lowering

typedef struct Factor { // a or b: how it lies
    CgTensor t;
    IrDim k_size, k_stride, other_stride; // other: rows of a, columns of b
    IrDim stride[CG_ND_RANK];             // in the space [batch.., rows, columns]
} Factor;

static Factor read_factor(const IrNode *n, int operand, bool trans) {
    Factor x = {.t = cg_tensor(ir_in(n, operand))};
    CgTensor y = cg_tensor(n->out[0]);
    IrDim own[CG_ND_RANK];
    cg_nd_strides(&x.t, own);
    if (operand == 0 && ir_int(n, IR_ATTR_MEAN, 0)) { // as the means lie in the scratch
        x.t.rank = 2;
        own[0] = ir_dim((x.t.dim[1].c + x.t.block - 1) / x.t.block * x.t.block);
        own[1] = ir_dim(1);
    }
    int r = x.t.rank, shift = y.rank - r, k = operand == 0 ? r - 1 : r - 2;
    int other = operand == 0 ? r - 2 : r - 1;
    if (trans) {
        int swap = k;
        k = other;
        other = swap;
    }
    x.k_size = x.t.dim[k];
    x.k_stride = own[k];
    x.other_stride = own[other];
    for (int i = 0; i < y.rank - 2; i++) {
        bool one = i < shift || ir_dim_is(x.t.dim[i - shift], 1);
        x.stride[i] = one ? ir_dim(0) : own[i - shift];
    }
    x.stride[y.rank - 2] = operand == 0 ? x.other_stride : ir_dim(0);
    x.stride[y.rank - 1] = operand == 0 ? ir_dim(0) : x.other_stride;
    return x;
}

// [M/W][K][W], the last panel padded with zeros.
static int64_t pack_panels(CgProgram *p, const IrValue *b, const Factor *x, int64_t k, int64_t m,
                           int64_t width) {
    int64_t panels = (m + width - 1) / width, offset;
    bool fresh;
    char *key = ir_sprintf(cg_arena(p), "panels%lld:%lld:%p", (long long)width,
                           (long long)x->k_stride.c, (void *)b->konst);
    float *to = cg_pack(p, key, (size_t)(panels * k * width) * sizeof *to, &offset, &fresh);
    const float *from = fresh && to ? ir_const_data(cg_ir(p), b->konst) : NULL;
    if (!from) {
        return offset;
    }
#pragma omp parallel for
    for (int64_t panel = 0; panel < panels; panel++) {
        int64_t first = panel * width, n = m - first < width ? m - first : width;
        for (int64_t i = 0; i < k; i++) {
            float *row = to + (panel * k + i) * width;
            const float *src = from + i * x->k_stride.c + first * x->other_stride.c;
            for (int64_t j = 0; j < n; j++) {
                row[j] = src[j * x->other_stride.c];
            }
        }
    }
    return offset;
}

// The rows' space (batch dims and rows, merged where they can be) with the panels in front.
static void make_panels(MatmulSpec *s, int64_t width, IrDim b_panel) {
    CgNd *nd = &s->nd;
    nd->rank--; // the columns
    for (int k = 0; k < nd->n; k++) {
        s->col[k] = nd->dim[nd->rank].stride[k];
    }
    memset(&nd->dim[nd->rank], 0, sizeof nd->dim[0]);
    cg_nd_collapse(nd, 1);
    if (!ir_dim_is(nd->dim[nd->rank - 1].stride[B], 0)) { // one row per batch
        nd->dim[nd->rank++] = (CgNdDim){.size = ir_dim(1)};
    }
    memmove(&nd->dim[1], &nd->dim[0], (size_t)nd->rank * sizeof nd->dim[0]);
    nd->rank++;
    memset(&nd->dim[0], 0, sizeof nd->dim[0]);
    nd->dim[0].size = ir_dim((s->columns + width - 1) / width);
    nd->dim[0].stride[B] = b_panel;
    nd->dim[0].stride[COLUMN] = ir_dim(width);
}

static bool add_extras(CgProgram *p, const IrNode *n, MatmulSpec *s, const CgTensor *y,
                       CgArg *args) {
    IrDim stride[CG_ND_RANK];
    int arg = EXTRA - 1;
    for (int i = 2; i < n->n_in; i++) {
        const IrValue *v = ir_in(n, i);
        if (!v) {
            continue;
        }
        bool memory = i == 2 || s->then.in[i - 3].kind != CG_OPERAND_IMM;
        memset(stride, 0, sizeof stride);
        if (memory && !cg_operand_strides(p, n, y, v, stride, &args[arg])) {
            return false;
        }
        cg_nd_add(&s->nd, stride, ir_dim(0));
        arg++;
    }
    return true;
}

static bool init_spec(CgProgram *p, const IrNode *n, MatmulSpec *s, const Factor *a,
                      const Factor *b, CgArg *args, int *n_args) {
    CgTensor y = cg_tensor(n->out[0]);
    IrDim size[CG_ND_RANK], stride[CG_ND_RANK], none[CG_ND_RANK] = {{0, 0}};
    memset(s, 0, sizeof *s);
    s->bias = ir_in(n, 2) != NULL;
    args[Y] = cg_write(n->out[0]);
    args[A] = cg_read(ir_in(n, 0));
    args[B] = cg_read(ir_in(n, 1));
    *n_args = 3;
    if (s->bias) {
        args[(*n_args)++] = cg_read(ir_in(n, 2));
    }
    if (!cg_body_init(p, n, IR_ATTR_THEN, &s->then, args, n_args)) {
        return false;
    }
    cg_nd_init(&s->nd, cg_nd_sizes(&y, size), size);
    cg_nd_strides(&y, stride);
    cg_nd_add(&s->nd, stride, ir_dim(0));
    cg_nd_add(&s->nd, a->stride, ir_dim(0));
    cg_nd_add(&s->nd, b->stride, ir_dim(0));
    cg_nd_add(&s->nd, none, ir_dim(0));
    s->k = a->k_size;
    s->a_k = a->k_stride;
    s->b_k = b->k_stride;
    s->dtype = y.dtype;
    bool fits = add_extras(p, n, s, &y, args);
    for (int k = 0; k < s->then.n_in; k++) {
        memset(&s->then.in[k].t, 0, sizeof s->then.in[k].t);
    }
    return fits;
}

static IrDim count_flops(const IrNode *n, IrDim k) {
    IrDim elems, flops;
    bool affine = ir_shape_elems(&n->out[0]->type.shape, &elems) && ir_dim_mul(elems, k, &flops) &&
                  ir_dim_mul(flops, ir_dim(2), &flops);
    return affine ? flops : (IrDim){0, 0};
}

// A panel that the second level cache does not hold costs as much again for every tile of rows that
// passes over it. Then tiles are tall, and each passes over one half of the panel's vectors.
static int choose_rows(const MatmulSpec *s, int64_t width) {
    IrDim rows = s->nd.dim[s->nd.rank - 1].size;
    bool tall = s->packed && s->k.c * width * 4 > CACHED && (rows.n || rows.c > TILE_ROWS);
    return tall ? TALL_ROWS : TILE_ROWS;
}

// Images whose means are made at a time. Weights that stay in L2 are read again for each part of
// the batch, and many parts keep threads busy; others are read as rarely as can be.
static int choose_images(const MatmulSpec *s, int lanes) {
    enum { FEW = 4, MANY = 32, MANY_BYTES = 512 << 10 };
    int64_t row = (int64_t)s->mean.blocks * lanes * 4;
    if (s->k.c * s->columns * 4 <= CACHED) {
        return FEW;
    }
    int64_t most = MANY_BYTES / row / TALL_ROWS * TALL_ROWS;
    return most > MANY ? MANY : most < FEW ? FEW : (int)most;
}

static void lower_panels(CgProgram *p, const IrNode *n, MatmulSpec *s, const Factor *b, int n_args,
                         CgArg *args) {
    const CgTarget *target = cg_target(p);
    CgTensor y = cg_tensor(n->out[0]);
    const IrValue *bv = ir_in(n, 1);
    s->columns = y.dim[y.rank - 1].c;
    int64_t most = target->vector_registers >= 32 ? 4 : 2;
    int64_t vectors = (s->columns + target->lanes - 1) / target->lanes;
    s->vectors = (int32_t)(vectors < most ? vectors : most);
    int64_t width = (int64_t)s->vectors * target->lanes;
    s->packed = bv->konst && b->t.rank == 2;
    make_panels(s, width,
                s->packed ? ir_dim(s->k.c * width) : cg_nd_mul(b->other_stride, ir_dim(width)));
    if (s->packed) {
        args[B] = cg_packed(pack_panels(p, bv, b, s->k.c, s->columns, width));
        s->b_k = ir_dim(width);
        s->col[B] = ir_dim(1);
    }
    int64_t k = ir_dim_at(s->k, 1);
    s->nd.cost = k < 1 ? 1 : k * s->vectors;
    s->rows = choose_rows(s, width);
    bool mean = s->mean.blocks > 0;
    if (mean) {
        s->images = choose_images(s, target->lanes);
        cg_scratch(
            p, (count_totals(target->lanes) + (int64_t)s->images * s->mean.blocks * target->lanes) *
                   4);
    } else if (is_long(s)) {
        cg_scratch(p, count_totals(target->lanes) * 4);
    }
    int kernel =
        cg_kernel(p, "matmul", mean ? emit_mean_matmul : emit_matmul, s, sizeof *s, n_args, 900);
    cg_call(p, n, kernel, n_args, args,
            mean        ? "mean, matmul"
            : s->packed ? "matmul packed"
                        : "matmul",
            count_flops(n, s->k));
}

// False after reporting NYI.
static bool check_layout(CgProgram *p, const IrNode *n) {
    CgTensor x = cg_tensor(ir_in(n, 0)), y = cg_tensor(n->out[0]);
    if (!ir_int(n, IR_ATTR_MEAN, 0)) {
        return cg_need_plain(p, n);
    }
    if (x.dtype != IR_F32 || x.block != cg_target(p)->lanes || y.dim[1].n) {
        cg_nyi(p, n, "a product with the means of a map in this layout");
        return false;
    }
    return true;
}

void cg_lower_matmul(CgProgram *p, const IrNode *n) {
    if (!check_layout(p, n)) {
        return;
    }
    Factor a = read_factor(n, 0, ir_int(n, IR_ATTR_TRANS_A, 0) != 0);
    Factor b = read_factor(n, 1, ir_int(n, IR_ATTR_TRANS_B, 0) != 0);
    MatmulSpec s;
    CgArg args[CG_MAX_ARGS];
    int n_args;
    if (!init_spec(p, n, &s, &a, &b, args, &n_args) || cg_nd_empty(&s.nd)) {
        return;
    }
    if (ir_int(n, IR_ATTR_MEAN, 0)) {
        CgTensor x = cg_tensor(ir_in(n, 0));
        s.mean = cg_mean(&x);
    }
    if (s.dtype != IR_F32 && s.then.n > 0) {
        cg_nyi(p, n, "an epilogue on %s", ir_dtype_name((IrDtype)s.dtype));
        return;
    }
    const IrShape *shape = &n->out[0]->type.shape;
    if (s.dtype == IR_F32 && shape->dim[shape->rank - 1].n == 0) {
        lower_panels(p, n, &s, &b, n_args, args);
        return;
    }
    cg_nd_collapse(&s.nd, 1);
    int k = cg_kernel(p, "matmul", emit_element_matmul, &s, sizeof s, n_args, 100);
    cg_call(p, n, k, n_args, args, "matmul elements", count_flops(n, s.k));
}
