// grid_sample (GridSample-20) on plain images: for each position of the grid, the pixels around it
// and their weights are found once, in double as the evaluator does, and then every channel is a
// weighted sum of them. Positions are divided among the threads. What lies outside of the image is
// read as ir_eval_grid_sample() says; no address outside of it is ever made.
#include "codegen/index/index.h"

#include <string.h>

typedef enum SampleMode { SAMPLE_LINEAR, SAMPLE_NEAREST, SAMPLE_CUBIC } SampleMode;
typedef enum Border { BORDER_ZEROS, BORDER_EDGE, BORDER_REFLECTION } Border;

typedef struct SampleSpec {
    IrDim images;
    int64_t channels, size[2], out[2]; // height, width; grid height, width
    int32_t mode, border, align, dtype, grid, pad_;
} SampleSpec;

enum { MAX_TAPS = 4 };
typedef struct Taps { // of a position on one axis
    int n;
    CgVal at[MAX_TAPS], there[MAX_TAPS], weight[MAX_TAPS];
} Taps;

static const double FAR_AWAY = 1073741824;

static CgVal real(CgFn *f, double x) {
    return LLVMConstReal(f->f64, x);
}

// The pixel that stands for pixel i, within [0, size).
static CgVal fold_pixel(CgFn *f, const SampleSpec *s, CgVal i, int64_t size) {
    CgVal zero = cg_i64(f, 0);
    int64_t period = s->align ? 2 * (size - 1) : 2 * size;
    if (s->border != BORDER_REFLECTION || period == 0) {
        return cg_imax(f, zero, cg_imin(f, i, cg_i64(f, size - 1)));
    }
    CgVal rest = LLVMBuildSRem(f->b, i, cg_i64(f, period), "");
    rest = cg_select(f, cg_icmp(f, LLVMIntSLT, rest, zero), cg_iaddc(f, rest, period), rest);
    CgVal back = cg_isub(f, cg_i64(f, period - !s->align), rest);
    return cg_select(f, cg_icmp(f, LLVMIntSLT, rest, cg_i64(f, size)), rest, back);
}

// Keys' cubic convolution with a = -0.75 at distance x.
static CgVal cubic_weight(CgFn *f, CgVal x, bool near) {
    const double a = -0.75;
    if (near) {
        CgVal y = cg_fsub(f, cg_fmul(f, real(f, a + 2), x), real(f, a + 3));
        return cg_fadd(f, cg_fmul(f, cg_fmul(f, y, x), x), real(f, 1));
    }
    CgVal y = cg_fsub(f, cg_fmul(f, real(f, a), x), real(f, 5 * a));
    y = cg_fadd(f, cg_fmul(f, y, x), real(f, 8 * a));
    return cg_fsub(f, cg_fmul(f, y, x), real(f, 4 * a));
}

// -1 and 1 to pixels; NaN and what is far away to FAR_AWAY of them.
static CgVal find_position(CgFn *f, const SampleSpec *s, CgVal g, int64_t size) {
    CgVal x = cg_fadd(f, g, real(f, 1));
    if (s->align) {
        x = cg_fmul(f, cg_fmul(f, x, real(f, 0.5)), real(f, (double)(size - 1)));
    } else {
        x = cg_fsub(f, cg_fmul(f, x, real(f, (double)size)), real(f, 1));
        x = cg_fmul(f, x, real(f, 0.5));
    }
    x = cg_select(f, cg_fcmp(f, LLVMRealOGE, x, real(f, -FAR_AWAY)), x, real(f, -FAR_AWAY));
    return cg_select(f, cg_fcmp(f, LLVMRealOLE, x, real(f, FAR_AWAY)), x, real(f, FAR_AWAY));
}

static Taps find_taps(CgFn *f, const SampleSpec *s, CgVal g, int64_t size) {
    CgVal x = find_position(f, s, g, size);
    bool nearest = s->mode == SAMPLE_NEAREST, cubic = s->mode == SAMPLE_CUBIC;
    CgVal first = cg_intrinsic(f, nearest ? "llvm.rint" : "llvm.floor", 1, &x);
    CgVal t = cg_fsub(f, x, first), one = real(f, 1);
    CgVal start = cg_iaddc(f, LLVMBuildFPToSI(f->b, first, f->i64, ""), cubic ? -1 : 0);
    Taps taps = {.n = nearest ? 1 : cubic ? 4 : 2};
    if (nearest) {
        taps.weight[0] = one;
    } else if (!cubic) {
        taps.weight[0] = cg_fsub(f, one, t);
        taps.weight[1] = t;
    } else {
        taps.weight[0] = cubic_weight(f, cg_fadd(f, t, one), false);
        taps.weight[1] = cubic_weight(f, t, true);
        taps.weight[2] = cubic_weight(f, cg_fsub(f, one, t), true);
        taps.weight[3] = cubic_weight(f, cg_fsub(f, real(f, 2), t), false);
    }
    for (int k = 0; k < taps.n; k++) {
        CgVal i = cg_iaddc(f, start, k);
        taps.there[k] = cg_icmp(f, LLVMIntULT, i, cg_i64(f, size));
        taps.at[k] = fold_pixel(f, s, i, size);
    }
    return taps;
}

static CgVal load_pixel(CgFn *f, const SampleSpec *s, CgVal row, CgVal there, const Taps *tx,
                        int c) {
    CgVal x = cg_elem_load_as(f, IR_F64, (IrDtype)s->dtype, f->arg[1], cg_iadd(f, row, tx->at[c]));
    CgVal both = LLVMBuildAnd(f->b, there, tx->there[c], "");
    return s->border == BORDER_ZEROS ? cg_select(f, both, x, real(f, 0)) : x;
}

static void emit_channels(CgFn *f, const SampleSpec *s, CgVal image, CgVal at, const Taps *ty,
                          const Taps *tx) {
    IrDtype t = (IrDtype)s->dtype;
    CgVal base = cg_imulc(f, image, s->channels);
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, s->channels), 1);
    CgVal plane = cg_iadd(f, base, loop.iv), sum = real(f, 0);
    for (int r = 0; r < ty->n; r++) {
        CgVal row = cg_iadd(f, cg_imulc(f, plane, s->size[0]), ty->at[r]), part = real(f, 0);
        row = cg_imulc(f, row, s->size[1]);
        for (int c = 0; c < tx->n; c++) {
            CgVal x = load_pixel(f, s, row, ty->there[r], tx, c);
            part = cg_fadd(f, part, cg_fmul(f, tx->weight[c], x));
        }
        sum = cg_fadd(f, sum, cg_fmul(f, ty->weight[r], part));
    }
    cg_elem_store(f, t, cg_elem_convert(f, IR_F64, t, sum), f->arg[0],
                  cg_iadd(f, cg_imulc(f, plane, s->out[0] * s->out[1]), at));
    cg_end(f, &loop);
}

static void emit_grid_sample(CgFn *f, const void *spec) {
    const SampleSpec *s = spec;
    int64_t pixels = s->out[0] * s->out[1];
    CgVal lo, hi, image, at;
    CgLoop loop;
    cg_split(f, cg_imulc(f, cg_dim(f, s->images), pixels), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    cg_divmod(f, loop.iv, cg_i64(f, pixels), &image, &at);
    CgVal g = cg_imulc(f, loop.iv, 2);
    Taps tx =
        find_taps(f, s, cg_elem_load_as(f, IR_F64, (IrDtype)s->grid, f->arg[2], g), s->size[1]);
    Taps ty =
        find_taps(f, s, cg_elem_load_as(f, IR_F64, (IrDtype)s->grid, f->arg[2], cg_iaddc(f, g, 1)),
                  s->size[0]);
    emit_channels(f, s, image, at, &ty, &tx);
    cg_end(f, &loop);
}

static int find_name(const char *name, const char *const *names, int count) {
    int i = 0;
    while (i < count - 1 && strcmp(name, names[i])) {
        i++;
    }
    return i;
}

void cg_lower_grid_sample(CgProgram *p, const IrNode *n) {
    static const char *const modes[] = {"linear", "nearest", "cubic"};
    static const char *const borders[] = {"zeros", "border", "reflection"};
    const IrShape *x = &ir_in(n, 0)->type.shape, *y = &n->out[0]->type.shape;
    SampleSpec s;
    memset(&s, 0, sizeof s);
    if (!cg_need_plain(p, n)) {
        return;
    }
    for (int i = 0; i < 4; i++) {
        if (ir_dim_is(y->dim[i], 0)) {
            return;
        }
    }
    s.images = x->dim[0];
    s.channels = x->dim[1].c;
    for (int i = 0; i < 2; i++) {
        s.size[i] = x->dim[2 + i].c;
        s.out[i] = y->dim[2 + i].c;
    }
    s.mode = find_name(ir_str(n, IR_ATTR_MODE, "linear"), modes, 3);
    s.border = find_name(ir_str(n, IR_ATTR_BORDER, "zeros"), borders, 3);
    s.align = ir_int(n, IR_ATTR_ALIGN, 0) != 0;
    s.dtype = (int32_t)ir_in(n, 0)->type.dtype;
    s.grid = (int32_t)ir_in(n, 1)->type.dtype;
    CgArg args[] = {cg_write(n->out[0]), cg_read(ir_in(n, 0)), cg_read(ir_in(n, 1))};
    int k = cg_kernel(p, "grid_sample", emit_grid_sample, &s, sizeof s, 3, 600);
    cg_call(p, n, k, 3, args, "grid_sample", (IrDim){0, 0});
}
