// Resize of bytes by weights: sums are f32, and an epilogue makes of them what is stored, as a rule
// bytes of another scale. Nothing of f32 leaves a thread.
//
// Blocked tensors, a vector of channels a pixel: the input rows of a row of the result are summed
// into one line in scratch, columns are summed from that. Plain ones: element by element.
#include "codegen/nn/resize.h"
#include "codegen/build/nd.h"

enum { UNROLLED = 4 };

CgVal cg_resize_entry(CgFn *f, const CgResizeAxis *a, int arg, LLVMTypeRef type, CgVal t, CgVal i) {
    CgVal at = cg_iadd(f, cg_imulc(f, t, a->out), i);
    return cg_load(f, type, cg_at(f, type, f->arg[arg], at), 4);
}

// What taps read: f32 of `type` at base[offset + at].
typedef struct Source {
    IrDtype type;
    CgVal base, at;
    bool vector;
} Source;

static CgVal load(CgFn *f, const Source *s, CgVal offset) {
    CgVal at = s->at ? cg_iadd(f, offset, s->at) : offset;
    CgVal x = s->vector ? cg_elem_load_n(f, s->type, cg_elem_at(f, s->type, s->base, at), NULL)
                        : cg_elem_load(f, s->type, s->base, at);
    return cg_elem_convert(f, s->type, IR_F32, x);
}

static CgVal add_tap(CgFn *f, const CgResizeAxis *a, CgVal x, CgVal t, CgVal i, CgVal acc) {
    if (!a->weight) {
        return x; // one tap
    }
    CgVal weight = cg_resize_entry(f, a, a->weight, f->f32, t, i);
    bool vector = LLVMGetTypeKind(LLVMTypeOf(x)) == LLVMVectorTypeKind;
    return cg_fadd(f, acc, cg_fmul(f, vector ? cg_splat(f, weight) : weight, x));
}

typedef CgVal (*TapValue)(void *ctx, CgFn *f, CgVal offset);

// The weighted sum of what pixel i of the axis reads.
static CgVal sum_axis(CgFn *f, const CgResizeAxis *a, CgVal i, bool vector, TapValue value,
                      void *ctx) {
    CgVal acc[] = {vector ? cg_v(f, 0) : cg_f(f, 0)};
    if (a->taps <= UNROLLED) {
        for (int64_t t = 0; t < a->taps; t++) {
            CgVal tap = cg_i64(f, t), at = cg_resize_entry(f, a, a->index, f->i64, tap, i);
            acc[0] = add_tap(f, a, value(ctx, f, at), tap, i, acc[0]);
        }
        return acc[0];
    }
    CgLoop loop;
    cg_for_carry(f, &loop, cg_i64(f, 0), cg_i64(f, a->taps), 1, 1, acc);
    CgVal at = cg_resize_entry(f, a, a->index, f->i64, loop.iv, i);
    acc[0] = add_tap(f, a, value(ctx, f, at), loop.iv, i, acc[0]);
    cg_end_carry(f, &loop, acc);
    return acc[0];
}

static CgVal take_source(void *ctx, CgFn *f, CgVal offset) {
    return load(f, ctx, offset);
}

// ---------------------------------------------------------------- blocked

// The rows of result row oh, summed pixel by pixel, to scratch.
static void sum_rows(CgFn *f, const CgResize *s, CgVal plane, CgVal oh) {
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, s->w.in), 1);
    CgVal at = cg_imulc(f, loop.iv, s->x.block);
    Source row = {(IrDtype)s->x.dtype, plane, at, true};
    CgVal sum = sum_axis(f, &s->h, oh, true, take_source, &row);
    cg_store_n(f, sum, cg_fat(f, f->scratch, at), NULL);
    cg_end(f, &loop);
}

// Row at[2] of block at[1] of image at[0] of the result, to `to`.
static void emit_row(CgFn *f, const CgResize *s, CgVal plane, CgVal to, CgVal *at) {
    IrDtype x = (IrDtype)s->x.dtype, y = (IrDtype)s->y.dtype;
    Source line = {IR_F32, f->scratch, NULL, true};
    if (s->h.weight) {
        sum_rows(f, s, plane, at[2]);
    } else {
        CgVal row = cg_resize_entry(f, &s->h, s->h.index, f->i64, cg_i64(f, 0), at[2]);
        line = (Source){x, cg_elem_at(f, x, plane, row), NULL, true};
    }
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, s->w.out), 1);
    at[3] = loop.iv;
    CgVal sum = sum_axis(f, &s->w, loop.iv, true, take_source, &line);
    sum = cg_pixel_vector(f, &s->then, sum, at);
    cg_elem_store_n(f, y, sum, cg_elem_at(f, y, to, cg_imulc(f, loop.iv, s->y.block)), NULL);
    cg_end(f, &loop);
}

void cg_resize_bytes(CgFn *f, const void *spec) {
    const CgResize *s = spec;
    int64_t block = s->x.block, blocks = (cg_channels(&s->x) + block - 1) / block;
    CgVal lo, hi, plane, at[4];
    CgLoop loop;
    cg_split(f, cg_imulc(f, cg_dim(f, s->y.dim[0]), blocks * s->h.out), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    cg_divmod(f, loop.iv, cg_i64(f, s->h.out), &plane, &at[2]);
    cg_divmod(f, plane, cg_i64(f, blocks), &at[0], &at[1]);
    CgVal from = cg_imulc(f, at[1], s->h.in * s->w.in * block);
    from = cg_iadd(f, from, cg_imulc(f, at[0], s->x.image));
    CgVal to = cg_iadd(f, cg_imulc(f, at[1], s->h.out), at[2]);
    to = cg_iadd(f, cg_imulc(f, to, s->w.out * block), cg_imulc(f, at[0], s->y.image));
    emit_row(f, s, cg_elem_at(f, (IrDtype)s->x.dtype, f->arg[1], from),
             cg_elem_at(f, (IrDtype)s->y.dtype, f->arg[0], to), at);
    cg_end(f, &loop);
}

// ---------------------------------------------------------------- plain

typedef struct Element {
    const CgResize *spec;
    CgVal plane, ow;
} Element;

// The columns of one row, that begins at `offset`, summed.
static CgVal take_row(void *ctx, CgFn *f, CgVal offset) {
    const Element *e = ctx;
    Source row = {(IrDtype)e->spec->x.dtype, f->arg[1], cg_iadd(f, e->plane, offset), false};
    return sum_axis(f, &e->spec->w, e->ow, false, take_source, &row);
}

void cg_resize_byte_elements(CgFn *f, const void *spec) {
    const CgResize *s = spec;
    CgVal lo, hi, row, plane, at[4];
    CgLoop loop;
    int64_t channels = cg_channels(&s->y);
    cg_split(f, cg_imulc(f, cg_dim(f, s->y.dim[0]), channels * s->h.out * s->w.out), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    cg_divmod(f, loop.iv, cg_i64(f, s->w.out), &row, &at[3]);
    cg_divmod(f, row, cg_i64(f, s->h.out), &plane, &at[2]);
    cg_divmod(f, plane, cg_i64(f, channels), &at[0], &at[1]);
    Element e = {s, cg_imulc(f, plane, s->h.in * s->w.in), at[3]};
    CgVal sum = sum_axis(f, &s->h, at[2], false, take_row, &e);
    sum = cg_pixel_element(f, &s->then, sum, at);
    cg_elem_store(f, (IrDtype)s->y.dtype, sum, f->arg[0], loop.iv);
    cg_end(f, &loop);
}
