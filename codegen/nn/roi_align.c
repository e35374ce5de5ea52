// roi_align (RoiAlign-16) on plain images: for each bin of each region, its samples' pixels and
// weights are found once, in double as the evaluator does, and added to sums of all channels in
// this thread's scratch. Bins are divided among the threads. The number of samples is bounded, and
// no address outside of the image is ever made, whatever the regions are.
#include "codegen/index/index.h"

#include <math.h>
#include <string.h>

typedef struct RoiSpec {
    IrDim images, regions;
    int64_t channels, size[2], out[2]; // height, width; of the result
    double scale;
    int64_t samples; // 0: as many as a bin covers pixels
    int32_t most, align, dtype, region, index, pad_;
} RoiSpec;

typedef struct Bins {           // of a region along one axis
    CgVal start, size, samples; // double, double, i64
} Bins;

typedef struct Pair { // the two pixels around a position
    CgVal inside, at[2], weight[2];
} Pair;

static CgVal real(CgFn *f, double x) {
    return LLVMConstReal(f->f64, x);
}

static CgVal to_double(CgFn *f, CgVal i) {
    return LLVMBuildSIToFP(f->b, i, f->f64, "");
}

// x where x p limit holds, else the limit.
static CgVal bound(CgFn *f, LLVMRealPredicate p, CgVal x, double limit) {
    return cg_select(f, cg_fcmp(f, p, x, real(f, limit)), x, real(f, limit));
}

static Bins cut_region(CgFn *f, const RoiSpec *s, CgVal roi, int axis) {
    CgVal edge[2];
    for (int k = 0; k < 2; k++) { // a region is x, y, x, y
        CgVal at = cg_iaddc(f, cg_imulc(f, roi, 4), 2 * k + (axis == 0));
        CgVal x = cg_elem_load_as(f, IR_F64, (IrDtype)s->region, f->arg[2], at);
        x = cg_fmul(f, x, real(f, s->scale));
        edge[k] = s->align ? cg_fsub(f, x, real(f, 0.5)) : x;
    }
    CgVal extent = cg_fsub(f, edge[1], edge[0]);
    extent = s->align ? extent : bound(f, LLVMRealOGE, extent, 1);
    Bins b = {edge[0], cg_fdiv(f, extent, real(f, (double)s->out[axis])), cg_i64(f, s->samples)};
    if (s->samples == 0) {
        CgVal n = cg_intrinsic(f, "llvm.ceil", 1, &b.size);
        n = bound(f, LLVMRealOLE, bound(f, LLVMRealOGE, n, 0), 1024);
        b.samples = LLVMBuildFPToSI(f->b, n, f->i64, "");
    }
    return b;
}

// Sample i of bin p.
static Pair find_pair(CgFn *f, const Bins *b, CgVal p, CgVal i, int64_t size) {
    CgVal part = cg_fadd(f, to_double(f, i), real(f, 0.5));
    part = cg_fadd(f, to_double(f, p), cg_fdiv(f, part, to_double(f, b->samples)));
    CgVal x = cg_fadd(f, b->start, cg_fmul(f, part, b->size)), zero = real(f, 0);
    Pair t = {.inside = LLVMBuildAnd(f->b, cg_fcmp(f, LLVMRealOGE, x, real(f, -1)),
                                     cg_fcmp(f, LLVMRealOLE, x, real(f, (double)size)), "")};
    CgVal positive = cg_fcmp(f, LLVMRealOGT, x, zero);
    x = cg_select(f, LLVMBuildAnd(f->b, t.inside, positive, ""), x, zero);
    x = bound(f, LLVMRealOLE, x, (double)(size - 1));
    t.at[0] = LLVMBuildFPToSI(f->b, x, f->i64, "");
    t.at[1] = cg_imin(f, cg_iaddc(f, t.at[0], 1), cg_i64(f, size - 1));
    t.weight[1] = cg_fsub(f, x, to_double(f, t.at[0]));
    t.weight[0] = cg_fsub(f, real(f, 1), t.weight[1]);
    return t;
}

static CgVal channel_slot(CgFn *f, CgVal c) {
    return cg_at(f, f->f64, f->scratch, c);
}

static void reset_channels(CgFn *f, const RoiSpec *s) {
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, s->channels), 1);
    cg_store(f, real(f, s->most ? -INFINITY : 0), channel_slot(f, loop.iv), 8);
    cg_end(f, &loop);
}

static void add_sample(CgFn *f, const RoiSpec *s, CgVal image, const Pair *ty, const Pair *tx) {
    CgVal inside = LLVMBuildAnd(f->b, ty->inside, tx->inside, "");
    CgVal first = cg_imulc(f, image, s->channels);
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, s->channels), 1);
    CgVal plane = cg_imulc(f, cg_iadd(f, first, loop.iv), s->size[0]);
    CgVal acc = cg_load(f, f->f64, channel_slot(f, loop.iv), 8);
    for (int k = 0; k < 4; k++) {
        CgVal at = cg_imulc(f, cg_iadd(f, plane, ty->at[k / 2]), s->size[1]);
        CgVal x =
            cg_elem_load_as(f, IR_F64, (IrDtype)s->dtype, f->arg[1], cg_iadd(f, at, tx->at[k % 2]));
        CgVal weight = cg_fmul(f, ty->weight[k / 2], tx->weight[k % 2]);
        x = cg_fmul(f, weight, x);
        x = cg_select(f, inside, x, real(f, 0));
        acc = s->most ? cg_select(f, cg_fcmp(f, LLVMRealOGT, x, acc), x, acc) : cg_fadd(f, acc, x);
    }
    cg_store(f, acc, channel_slot(f, loop.iv), 8);
    cg_end(f, &loop);
}

static void store_channels(CgFn *f, const RoiSpec *s, CgVal roi, CgVal bin, CgVal count) {
    CgVal none = cg_icmp(f, LLVMIntSLT, count, cg_i64(f, 1));
    IrDtype t = (IrDtype)s->dtype;
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, s->channels), 1);
    CgVal x = cg_load(f, f->f64, channel_slot(f, loop.iv), 8);
    x = s->most ? x : cg_fdiv(f, x, to_double(f, count));
    x = cg_select(f, none, real(f, 0), x);
    CgVal plane = cg_iadd(f, cg_imulc(f, roi, s->channels), loop.iv);
    cg_elem_store(f, t, cg_elem_convert(f, IR_F64, t, x), f->arg[0],
                  cg_iadd(f, cg_imulc(f, plane, s->out[0] * s->out[1]), bin));
    cg_end(f, &loop);
}

static void emit_roi_align(CgFn *f, const void *spec) {
    const RoiSpec *s = spec;
    int64_t bins = s->out[0] * s->out[1];
    CgVal lo, hi, roi, bin, py, px, images = cg_dim(f, s->images);
    CgLoop loop, row, column;
    cg_split(f, cg_imulc(f, cg_dim(f, s->regions), bins), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    cg_divmod(f, loop.iv, cg_i64(f, bins), &roi, &bin);
    cg_divmod(f, bin, cg_i64(f, s->out[1]), &py, &px);
    CgVal image = cg_index_load(f, (IrDtype)s->index, f->arg[3], roi, images);
    image = cg_index_clamp(f, image, images);
    Bins by = cut_region(f, s, roi, 0), bx = cut_region(f, s, roi, 1);
    reset_channels(f, s);
    cg_for(f, &row, cg_i64(f, 0), by.samples, 1);
    Pair ty = find_pair(f, &by, py, row.iv, s->size[0]);
    cg_for(f, &column, cg_i64(f, 0), bx.samples, 1);
    Pair tx = find_pair(f, &bx, px, column.iv, s->size[1]);
    add_sample(f, s, image, &ty, &tx);
    cg_end(f, &column);
    cg_end(f, &row);
    store_channels(f, s, roi, bin, cg_imul(f, by.samples, bx.samples));
    cg_end(f, &loop);
}

void cg_lower_roi_align(CgProgram *p, const IrNode *n) {
    const IrShape *x = &ir_in(n, 0)->type.shape, *y = &n->out[0]->type.shape;
    RoiSpec s;
    memset(&s, 0, sizeof s);
    int64_t scratch;
    if (!cg_need_plain(p, n) || ir_dim_is(y->dim[0], 0) || ir_dim_is(y->dim[1], 0)) {
        return;
    }
    s.images = x->dim[0];
    s.regions = y->dim[0];
    s.channels = x->dim[1].c;
    for (int i = 0; i < 2; i++) {
        s.size[i] = x->dim[2 + i].c;
        s.out[i] = y->dim[2 + i].c;
    }
    s.scale = ir_float(n, IR_ATTR_ALPHA, 1);
    s.samples = ir_int(n, IR_ATTR_SIZE, 0);
    s.most = strcmp(ir_str(n, IR_ATTR_MODE, "avg"), "max") == 0;
    s.align = ir_int(n, IR_ATTR_ALIGN, 0) != 0;
    s.dtype = (int32_t)ir_in(n, 0)->type.dtype;
    s.region = (int32_t)ir_in(n, 1)->type.dtype;
    s.index = (int32_t)ir_in(n, 2)->type.dtype;
    if (__builtin_mul_overflow(s.channels, 8, &scratch)) {
        cg_nyi(p, n, "%lld channels", (long long)s.channels);
        return;
    }
    cg_scratch(p, scratch);
    CgArg args[] = {cg_write(n->out[0]), cg_read(ir_in(n, 0)), cg_read(ir_in(n, 1)),
                    cg_read(ir_in(n, 2))};
    int k = cg_kernel(p, "roi_align", emit_roi_align, &s, sizeof s, 4, 400);
    cg_call(p, n, k, 4, args, "roi_align", (IrDim){0, 0});
}
