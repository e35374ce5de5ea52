// resize: pixels that are weighted sums of others, along rows and columns, by tables known at
// compile time (ONNX Resize 19, Upsample 9).
//
// f32 and other words run line by line: the input rows that a row of the result needs are summed
// into one line, in vectors, and the columns are picked from that. In blocked tensors a pixel is a
// vector of channels; in plain ones columns are gathered. Where rows are only copied the line is a
// row of the input, where columns stay the line is the row of the result. Where the columns of a
// vector of results are near each other, which is so wherever a plain image grows, one vector is
// read and permuted instead. Other types go pixel by pixel; weighted bytes: resize_bytes.c.
//
// Tables in the weights section are [taps][size of the result]: offsets of the taps in elements,
// clamped to the axis here, and their weights.
#include "codegen/nn/resize.h"
#include "codegen/build/nd.h"

#include <string.h>

enum { UNROLLED_TAPS = 8, MAX_LINE = 1 << 24 };

typedef CgResizeAxis Axis;
typedef CgResize ResizeSpec;

// ---------------------------------------------------------------- line by line

typedef struct Line {
    const ResizeSpec *spec;
    CgVal plane, oh; // of the input's first element; row of the result
    CgVal from, to;  // what columns are picked from, where they go
    CgVal near;      // the vector of `from` that they are in
} Line;

typedef CgVal (*TapTerm)(const Line *l, CgFn *f, CgVal tap, CgVal i, CgVal n, CgVal acc);

// The sum of all taps' terms: unrolled when they are few.
static CgVal sum_taps(CgFn *f, const Line *l, int64_t taps, TapTerm term, CgVal i, CgVal n) {
    CgVal acc[] = {cg_v(f, 0)};
    if (taps <= UNROLLED_TAPS) {
        for (int64_t t = 0; t < taps; t++) {
            acc[0] = term(l, f, cg_i64(f, t), i, n, acc[0]);
        }
        return acc[0];
    }
    CgLoop loop;
    cg_for_carry(f, &loop, cg_i64(f, 0), cg_i64(f, taps), 1, 1, acc);
    acc[0] = term(l, f, loop.iv, i, n, acc[0]);
    cg_end_carry(f, &loop, acc);
    return acc[0];
}

static int64_t pixel_elems(const ResizeSpec *s) { // elements of a pixel
    return s->x.block ? s->x.block : 1;
}

static CgVal line_at(CgFn *f, const ResizeSpec *s, CgVal p, CgVal index) {
    return cg_elem_at(f, (IrDtype)s->type, p, index);
}

static CgVal row_offset(CgFn *f, const Line *l, CgVal tap) {
    const Axis *h = &l->spec->h;
    return h->index ? cg_resize_entry(f, h, h->index, f->i64, tap, l->oh)
                    : cg_imulc(f, l->oh, l->spec->w.in * pixel_elems(l->spec));
}

static CgVal add_row(const Line *l, CgFn *f, CgVal tap, CgVal i, CgVal n, CgVal acc) {
    const Axis *h = &l->spec->h;
    CgVal row = cg_fat(f, l->plane, row_offset(f, l, tap));
    CgVal weight = cg_splat(f, cg_resize_entry(f, h, h->weight, f->f32, tap, l->oh));
    return cg_fma(f, weight, cg_load_n(f, cg_fat(f, row, i), n), acc);
}

static void sum_rows(void *ctx, CgFn *f, CgVal i, CgVal n) {
    const Line *l = ctx;
    CgVal sum = sum_taps(f, l, l->spec->h.taps, add_row, i, n);
    cg_store_n(f, sum, cg_fat(f, l->from, i), n);
}

static void copy_row(void *ctx, CgFn *f, CgVal i, CgVal n) {
    const Line *l = ctx;
    IrDtype t = (IrDtype)l->spec->type;
    CgVal x = cg_elem_load_n(f, t, line_at(f, l->spec, l->from, i), n);
    cg_elem_store_n(f, t, x, line_at(f, l->spec, l->to, i), n);
}

// A whole pixel: a vector of channels.
static CgVal add_pixel(const Line *l, CgFn *f, CgVal tap, CgVal ow, CgVal n, CgVal acc) {
    const Axis *w = &l->spec->w;
    (void)n;
    CgVal k = LLVMBuildSExt(f->b, cg_resize_entry(f, w, w->index, f->i32, tap, ow), f->i64, "");
    CgVal x = cg_elem_load_n(f, (IrDtype)l->spec->type, line_at(f, l->spec, l->from, k), NULL);
    if (!w->weight) {
        return x;
    }
    return cg_fma(f, cg_splat(f, cg_resize_entry(f, w, w->weight, f->f32, tap, ow)), x, acc);
}

// base[index[k]] in lane k
static CgVal gather_lanes(CgFn *f, CgVal base, CgVal index) {
    CgVal at = LLVMBuildGEP2(f->b, f->f32, base, &index, 1, "");
    LLVMTypeRef types[] = {f->vec, LLVMTypeOf(at)};
    unsigned id = LLVMLookupIntrinsicID("llvm.masked.gather", strlen("llvm.masked.gather"));
    CgVal fn = LLVMGetIntrinsicDeclaration(f->mod, id, types, 2);
    CgVal all = LLVMConstAllOnes(LLVMVectorType(f->i1, (unsigned)f->lanes));
    CgVal args[] = {at, cg_i32(f, 4), all, LLVMGetPoison(f->vec)};
    return LLVMBuildCall2(f->b, LLVMGlobalGetValueType(fn), fn, args, 4, "");
}

static CgVal call_permute(CgFn *f, const char *name, CgVal from, CgVal index) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    CgVal fn = LLVMGetIntrinsicDeclaration(f->mod, id, NULL, 0), args[] = {from, index};
    return LLVMBuildCall2(f->b, LLVMGlobalGetValueType(fn), fn, args, 2, "");
}

enum { HALF = IR_BLOCK / 2 };

static CgVal take_half(CgFn *f, CgVal x, int half) {
    int lane[HALF];
    for (int i = 0; i < HALF; i++)
        lane[i] = half * HALF + i;
    return cg_shuffle(f, x, NULL, HALF, lane);
}

static CgVal splat_index(CgFn *f, int x) {
    CgVal lane[HALF];
    for (int i = 0; i < HALF; i++)
        lane[i] = cg_i32(f, x);
    return LLVMConstVector(lane, HALF);
}

// from[index[k]] in lane k, index[k] < lanes, out of registers of half a block: what each of them
// has at the index modulo its lanes, of which one is right.
static CgVal permute_halves(CgFn *f, CgVal from, CgVal index) {
    int both[IR_BLOCK];
    CgVal y[2], border = splat_index(f, HALF);
    for (int i = 0; i < IR_BLOCK; i++)
        both[i] = i;
    for (int i = 0; i < 2; i++) {
        CgVal at = take_half(f, index, i), x[2];
        for (int k = 0; k < 2; k++)
            x[k] = call_permute(f, "llvm.x86.avx2.permps", take_half(f, from, k), at);
        y[i] = cg_select(f, LLVMBuildICmp(f->b, LLVMIntULT, at, border, ""), x[0], x[1]);
    }
    return cg_shuffle(f, y[0], y[1], IR_BLOCK, both);
}

// base[index[k]] in lane k, index[k] < lanes
static CgVal permute_lanes(CgFn *f, CgVal base, CgVal index) {
    const IrMachine *m = &f->target->machine;
    if (m->isa != IR_ISA_X86_64 || m->lanes[IR_F32] < HALF)
        return gather_lanes(f, base, index);
    CgVal from = cg_load_v(f, base);
    return m->lanes[IR_F32] == IR_BLOCK
               ? call_permute(f, "llvm.x86.avx512.permvar.sf.512", from, index)
               : permute_halves(f, from, index);
}

// The pixels of a vector of columns of a plain line; lanes that do not count read entry 0.
static CgVal add_columns(const Line *l, CgFn *f, CgVal tap, CgVal ow, CgVal n, CgVal acc) {
    const Axis *w = &l->spec->w;
    CgVal at = cg_iadd(f, cg_imulc(f, tap, w->out), ow);
    CgVal index = cg_load_n(f, cg_fat(f, f->arg[w->index], at), n);
    index = LLVMBuildBitCast(f->b, index, f->ivec, "");
    CgVal x = w->base ? permute_lanes(f, l->near, index) : gather_lanes(f, l->from, index);
    return w->weight ? cg_fma(f, cg_load_n(f, cg_fat(f, f->arg[w->weight], at), n), x, acc) : x;
}

static void pick_columns(void *ctx, CgFn *f, CgVal i, CgVal n) {
    Line *l = ctx;
    const Axis *w = &l->spec->w;
    if (w->base) {
        CgVal at = cg_at(f, f->i32, f->arg[w->base], cg_idivc(f, i, f->lanes));
        at = LLVMBuildSExt(f->b, cg_load(f, f->i32, at, 4), f->i64, "");
        l->near = cg_fat(f, l->from, at);
    }
    CgVal y = sum_taps(f, l, l->spec->w.taps, add_columns, i, n);
    cg_store_n(f, y, cg_fat(f, l->to, i), n);
}

static void pick_pixels(CgFn *f, const Line *l) {
    IrDtype t = (IrDtype)l->spec->type;
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, l->spec->w.out), 1);
    CgVal y = sum_taps(f, l, l->spec->w.taps, add_pixel, loop.iv, NULL);
    cg_elem_store_n(f, t, y, line_at(f, l->spec, l->to, cg_imulc(f, loop.iv, f->lanes)), NULL);
    cg_end(f, &loop);
}

static void emit_line(CgFn *f, Line *l) {
    const ResizeSpec *s = l->spec;
    CgVal width = cg_i64(f, s->w.in * pixel_elems(s));
    if (s->h.weight) {
        l->from = s->w.index ? f->scratch : l->to;
        cg_nd_vectors(f, width, 2, sum_rows, l);
    } else {
        l->from = line_at(f, s, l->plane, row_offset(f, l, cg_i64(f, 0)));
    }
    if (s->w.index && s->x.block) {
        pick_pixels(f, l);
    } else if (s->w.index) {
        cg_nd_vectors(f, cg_i64(f, s->w.out), 1, pick_columns, l);
    } else if (!s->h.weight) {
        cg_nd_vectors(f, width, 4, copy_row, l);
    }
}

static void emit_lines(CgFn *f, const void *spec) {
    const ResizeSpec *s = spec;
    Line l = {.spec = s};
    int64_t pixel = pixel_elems(s), planes = cg_channels(&s->x);
    CgVal plane, n, c, lo, hi;
    CgLoop loop;
    planes = s->x.block ? (planes + pixel - 1) / pixel : planes;
    cg_split(f, cg_imulc(f, cg_dim(f, s->y.dim[0]), planes * s->h.out), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    cg_divmod(f, loop.iv, cg_i64(f, s->h.out), &plane, &l.oh);
    cg_divmod(f, plane, cg_i64(f, planes), &n, &c);
    CgVal x = cg_iadd(f, cg_imulc(f, n, s->x.image), cg_imulc(f, c, cg_spatial(&s->x) * pixel));
    l.plane = line_at(f, s, f->arg[1], x);
    CgVal row = cg_iadd(f, cg_imulc(f, c, s->h.out), l.oh);
    row = cg_iadd(f, cg_imulc(f, n, s->y.image), cg_imulc(f, row, s->w.out * pixel));
    l.to = line_at(f, s, f->arg[0], row);
    emit_line(f, &l);
    cg_end(f, &loop);
}

// ---------------------------------------------------------------- pixel by pixel

// Offset and, in the type `t` of sums, weight of a tap; weight NULL: 1.
static CgVal load_tap(CgFn *f, const Axis *a, CgVal tap, CgVal i, LLVMTypeRef t, CgVal *weight) {
    *weight = NULL;
    if (a->weight) {
        *weight = cg_resize_entry(f, a, a->weight, f->f32, tap, i);
        *weight = t == f->f64 ? LLVMBuildFPExt(f->b, *weight, t, "") : *weight;
    }
    return cg_resize_entry(f, a, a->index, f->i64, tap, i);
}

static CgVal weigh(CgFn *f, CgVal weight, CgVal x) {
    return weight ? cg_fmul(f, weight, x) : x;
}

static CgVal sum_pixel(CgFn *f, const ResizeSpec *s, CgVal plane, CgVal oh, CgVal ow) {
    IrDtype dtype = (IrDtype)s->x.dtype;
    LLVMTypeRef t = cg_elem_type(f, dtype);
    CgLoop rows, columns;
    CgVal weight[2], sum[] = {LLVMConstNull(t)};
    cg_for_carry(f, &rows, cg_i64(f, 0), cg_i64(f, s->h.taps), 1, 1, sum);
    CgVal row = cg_iadd(f, plane, load_tap(f, &s->h, rows.iv, oh, t, &weight[0]));
    CgVal line[] = {LLVMConstNull(t)};
    cg_for_carry(f, &columns, cg_i64(f, 0), cg_i64(f, s->w.taps), 1, 1, line);
    CgVal at = cg_iadd(f, row, load_tap(f, &s->w, columns.iv, ow, t, &weight[1]));
    CgVal x = cg_elem_load(f, dtype, f->arg[1], at);
    line[0] = cg_fadd(f, line[0], weigh(f, weight[1], x));
    cg_end_carry(f, &columns, line);
    sum[0] = cg_fadd(f, sum[0], weigh(f, weight[0], line[0]));
    cg_end_carry(f, &rows, sum);
    return sum[0];
}

static void emit_pixels(CgFn *f, const void *spec) {
    const ResizeSpec *s = spec;
    unsigned bytes = (unsigned)ir_dtype_bytes((IrDtype)s->x.dtype);
    LLVMTypeRef bits = LLVMIntTypeInContext(f->ctx, bytes * 8);
    CgVal lo, hi, row, oh, ow, plane, none;
    CgLoop loop;
    cg_split(f, cg_imulc(f, cg_dim(f, s->y.dim[0]), cg_channels(&s->y) * s->h.out * s->w.out), &lo,
             &hi);
    cg_for(f, &loop, lo, hi, 1);
    cg_divmod(f, loop.iv, cg_i64(f, s->w.out), &row, &ow);
    cg_divmod(f, row, cg_i64(f, s->h.out), &plane, &oh);
    plane = cg_imulc(f, plane, s->h.in * s->w.in);
    if (s->h.weight || s->w.weight) {
        CgVal y = sum_pixel(f, s, plane, oh, ow);
        cg_elem_store(f, (IrDtype)s->x.dtype, y, f->arg[0], loop.iv);
    } else {
        CgVal zero = cg_i64(f, 0), at = load_tap(f, &s->h, zero, oh, f->f32, &none);
        at = cg_iadd(f, at, load_tap(f, &s->w, zero, ow, f->f32, &none));
        CgVal x = cg_load(f, bits, cg_at(f, bits, f->arg[1], cg_iadd(f, plane, at)), bytes);
        cg_store(f, x, cg_at(f, bits, f->arg[0], loop.iv), bytes);
    }
    cg_end(f, &loop);
}

// ---------------------------------------------------------------- lowering

// v NULL: every pixel of an axis itself.
static const char *table_key(CgProgram *p, const char *what, const IrValue *v, const Axis *a,
                             int64_t pixel) {
    long long id = v ? (long long)v->konst->id : -1;
    return ir_sprintf(cg_arena(p), "resize %s %lld of %lld by %lld", what, id, (long long)a->in,
                      (long long)pixel);
}

static int64_t tap_of(const int32_t *index, const Axis *a, int64_t i) {
    int64_t k = index ? index[i] : i;
    return k < 0 ? 0 : k >= a->in ? a->in - 1 : k;
}

// Offsets of the taps: `pixel` elements to a pixel of the axis, in `bytes` each. index NULL: every
// pixel itself.
static CgArg pack_index(CgProgram *p, const IrValue *index, const Axis *a, int64_t pixel,
                        size_t bytes) {
    int64_t offset, count = a->taps * a->out;
    const char *key = table_key(p, bytes == 4 ? "i32" : "i64", index, a, pixel);
    bool fresh;
    void *to = cg_pack(p, key, (size_t)count * bytes, &offset, &fresh);
    const int32_t *from = index ? ir_const_data(cg_ir(p), index->konst) : NULL;
    for (int64_t i = 0; i < count && fresh && to; i++) {
        int64_t k = tap_of(from, a, i);
        if (bytes == 4) {
            ((int32_t *)to)[i] = (int32_t)(k * pixel);
        } else {
            ((int64_t *)to)[i] = k * pixel;
        }
    }
    return cg_packed(offset);
}

// The first pixel that the taps of each vector of `lanes` results read, so that it and those behind
// it are within the axis. False: some vector's taps are not within `lanes` pixels.
static bool find_bases(const int32_t *index, const Axis *a, int lanes, int32_t *base) {
    for (int64_t at = 0; at < a->out; at += lanes) {
        int64_t first = a->in - lanes, last = 0, end = at + lanes < a->out ? at + lanes : a->out;
        for (int64_t i = at; i < end; i++) {
            for (int64_t t = 0; t < a->taps; t++) {
                int64_t k = tap_of(index, a, t * a->out + i);
                first = k < first ? k : first;
                last = k > last ? k : last;
            }
        }
        if (first < 0 || last - first >= lanes) {
            return false;
        }
        base[at / lanes] = (int32_t)first;
    }
    return true;
}

// Columns of a plain line relative to bases, where that is possible.
static bool pack_near(CgProgram *p, const IrValue *v, Axis *a, CgArg *args, int *n_args) {
    int lanes = cg_target(p)->lanes;
    const int32_t *index = ir_const_data(cg_ir(p), v->konst);
    int64_t vectors = (a->out + lanes - 1) / lanes, count = a->taps * a->out, offset;
    int32_t *base = ir_alloc_array(cg_arena(p), (size_t)vectors, sizeof *base);
    bool fresh;
    if (!find_bases(index, a, lanes, base)) {
        return false;
    }
    const char *key = table_key(p, "near", v, a, lanes);
    int32_t *to = cg_pack(p, key, (size_t)(count + vectors) * sizeof *to, &offset, &fresh);
    for (int64_t i = 0; i < count && fresh && to; i++) {
        to[i] = (int32_t)(tap_of(index, a, i) - base[i % a->out / lanes]);
    }
    if (fresh && to) {
        memcpy(to + count, base, (size_t)vectors * sizeof *to);
    }
    a->index = *n_args;
    args[(*n_args)++] = cg_packed(offset);
    a->base = *n_args;
    args[(*n_args)++] = cg_packed(offset + count * (int64_t)sizeof *to);
    return true;
}

static CgArg pack_weights(CgProgram *p, const IrValue *weight, const Axis *a) {
    int64_t offset, count = a->taps * a->out;
    bool fresh;
    float *to = cg_pack(p, table_key(p, "weights", weight, a, 0), (size_t)count * sizeof *to,
                        &offset, &fresh);
    for (int64_t i = 0; i < count && fresh && to; i++) {
        to[i] = (float)ir_const_scalar(cg_ir(p), weight->konst, i);
    }
    return cg_packed(offset);
}

// The axis of which operands i and i + 1 are the tables, and its arguments. `bytes` of an index, 0:
// those of columns of a plain line. `always`: with an index table even where the operand is absent.
static Axis lower_axis(CgProgram *p, const IrNode *n, int i, int64_t in, int64_t out, int64_t pixel,
                       size_t bytes, bool always, CgArg *args, int *n_args) {
    const IrValue *index = ir_in(n, i), *weight = ir_in(n, i + 1);
    Axis a = {index ? index->type.shape.dim[0].c : 1, in, out, 0, 0, 0, 0};
    bool near = index && !bytes && pack_near(p, index, &a, args, n_args);
    if ((index || always) && !near) {
        a.index = *n_args;
        args[(*n_args)++] = pack_index(p, index, &a, pixel, bytes ? bytes : 4);
    }
    if (weight) {
        a.weight = *n_args;
        args[(*n_args)++] = pack_weights(p, weight, &a);
    }
    return a;
}

static void lower_bytes(CgProgram *p, const IrNode *n, ResizeSpec *s) {
    int64_t pixel = pixel_elems(s), width = s->x.dim[3].c * pixel;
    CgArg args[CG_MAX_ARGS] = {cg_write(n->out[0]), cg_read(ir_in(n, 0))};
    int n_args = 2;
    if (width > MAX_LINE) {
        cg_nyi(p, n, "resize of rows this long");
        return;
    }
    s->h = lower_axis(p, n, 1, s->x.dim[2].c, s->y.dim[2].c, width, 8, true, args, &n_args);
    s->w = lower_axis(p, n, 3, s->x.dim[3].c, s->y.dim[3].c, pixel, 8, true, args, &n_args);
    if (!cg_pixel_then(p, n, &s->y, &s->then, args, &n_args)) {
        return;
    }
    if (s->x.block) {
        cg_scratch(p, width * 4);
    }
    const char *algo = s->x.block ? "resize" : "resize_pixels";
    int64_t taps = s->h.taps + s->w.taps;
    int k = cg_kernel(p, algo, s->x.block ? cg_resize_bytes : cg_resize_byte_elements, s, sizeof *s,
                      n_args, 100 + 10 * (int)(taps < 100 ? taps : 100));
    cg_call(p, n, k, n_args, args, algo, (IrDim){0, 0});
}

void cg_lower_resize(CgProgram *p, const IrNode *n) {
    ResizeSpec s;
    memset(&s, 0, sizeof s);
    s.x = cg_tensor(ir_in(n, 0));
    s.y = cg_tensor(n->out[0]);
    for (int i = 1; i < n->n_in && i < 5; i++) {
        if (ir_in(n, i) && !ir_in(n, i)->konst) {
            cg_nyi(p, n, "resize by a computed table");
            return;
        }
    }
    if (!cg_static_dims(&s.x, 1) || s.x.block != s.y.block) {
        cg_nyi(p, n, "resize with symbolic dimensions or mixed layouts");
        return;
    }
    for (int i = 0; i < 4; i++) {
        if (ir_dim_is(s.y.dim[i], 0)) {
            return;
        }
    }
    bool weighted = ir_in(n, 2) || ir_in(n, 4);
    if (weighted && ir_dtype_bytes((IrDtype)s.x.dtype) == 1) {
        lower_bytes(p, n, &s);
        return;
    }
    if (s.x.block && weighted && s.x.dtype != IR_F32) {
        cg_nyi(p, n, "resize of %s in blocks by weights", ir_dtype_name((IrDtype)s.x.dtype));
        return;
    }
    int64_t pixel = pixel_elems(&s), width = s.x.dim[3].c * pixel;
    bool words = ir_dtype_bytes((IrDtype)s.x.dtype) == 4 && (s.x.dtype == IR_F32 || !weighted);
    bool lines = s.x.block || (words && width <= MAX_LINE);
    if (width > INT32_MAX) {
        cg_nyi(p, n, "resize of rows this long");
        return;
    }
    s.type =
        (int32_t)(s.x.block && s.x.dtype != IR_F32 ? cg_elem_bits((IrDtype)s.x.dtype) : IR_F32);
    CgArg args[7] = {cg_write(n->out[0]), cg_read(ir_in(n, 0))};
    int n_args = 2;
    s.h = lower_axis(p, n, 1, s.x.dim[2].c, s.y.dim[2].c, width, 8, !lines, args, &n_args);
    s.w = lower_axis(p, n, 3, s.x.dim[3].c, s.y.dim[3].c, pixel,
                     !lines      ? 8
                     : s.x.block ? 4
                                 : 0,
                     !lines, args, &n_args);
    if (lines && s.h.weight && s.w.index) {
        cg_scratch(p, width * 4);
    }
    const char *algo = lines ? "resize" : "resize_pixels";
    int64_t taps = s.h.taps + s.w.taps;
    int k = cg_kernel(p, algo, lines ? emit_lines : emit_pixels, &s, sizeof s, n_args,
                      100 + 10 * (int)(taps < 100 ? taps : 100));
    cg_call(p, n, k, n_args, args, algo, (IrDim){0, 0});
}
