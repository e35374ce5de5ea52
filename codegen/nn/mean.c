// The mean over an image's pixels, a vector of channels at a time; see mean.h.
#include "codegen/nn/mean.h"

enum { ACCS = 4 }; // joined in the order of reduce.c

CgMean cg_mean(const CgTensor *x) {
    CgMean m = {.image = x->image, .pixels = cg_spatial(x)};
    m.blocks = (int32_t)((cg_channels(x) + x->block - 1) / x->block);
    return m;
}

static CgVal add_pixel(CgFn *f, CgVal acc, CgVal x, CgVal i) {
    return cg_fadd(f, acc, cg_load_v(f, cg_fat(f, x, cg_imulc(f, i, f->lanes))));
}

static CgVal emit_mean(CgFn *f, const CgMean *m, CgVal x) {
    CgLoop loop;
    CgVal acc[ACCS], size = cg_i64(f, m->pixels), main = cg_i64(f, m->pixels / ACCS * ACCS);
    for (int k = 0; k < ACCS; k++) {
        acc[k] = cg_v(f, 0);
    }
    cg_for_carry(f, &loop, cg_i64(f, 0), main, ACCS, ACCS, acc);
    for (int k = 0; k < ACCS; k++) {
        acc[k] = add_pixel(f, acc[k], x, cg_iaddc(f, loop.iv, k));
    }
    cg_end_carry(f, &loop, acc);
    cg_for_carry(f, &loop, main, size, 1, 1, acc);
    acc[0] = add_pixel(f, acc[0], x, loop.iv);
    cg_end_carry(f, &loop, acc);
    CgVal sum = cg_fadd(f, cg_fadd(f, acc[0], acc[1]), cg_fadd(f, acc[2], acc[3]));
    return cg_fdiv(f, sum, cg_v(f, (double)m->pixels));
}

void cg_mean_images(CgFn *f, const CgMean *m, CgVal x, CgVal first, CgVal end, CgVal to) {
    CgLoop image, block;
    cg_for(f, &image, first, end, 1);
    CgVal from = cg_fat(f, x, cg_imulc(f, image.iv, m->image));
    CgVal row = cg_imulc(f, cg_isub(f, image.iv, first), (int64_t)m->blocks * f->lanes);
    cg_for(f, &block, cg_i64(f, 0), cg_i64(f, m->blocks), 1);
    CgVal at = cg_imulc(f, block.iv, m->pixels * f->lanes);
    CgVal y = emit_mean(f, m, cg_fat(f, from, at));
    at = cg_iadd(f, row, cg_imulc(f, block.iv, f->lanes));
    cg_store_v(f, y, cg_fat(f, to, at));
    cg_end(f, &block);
    cg_end(f, &image);
}
