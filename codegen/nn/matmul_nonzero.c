// Products of one row by weights that come from beyond L2, which bound them: those that a 0 of the
// row meets are not read. Behind a ReLU that is half of them. The places of a row that are not 0
// (NaN is not) are listed first, in scratch, by each thread that has panels; more rows than one go
// by the kernels without a list. All weights are finite: a product by 0 is 0, and leaves a sum what
// it was.
//
// The list, of i32: places [K], those of each run of CG_MATMUL_RUN from its first place on, then
// how many there are in each [K / CG_MATMUL_RUN + 1]. Sums that are not long are one run.
#include "codegen/nn/matmul_tile.h"
#include "codegen/build/elem.h"

bool cg_matmul_skips_zeros(CgProgram *p, const CgMatmul *s, IrConst *b) {
    int64_t bytes = s->k.c * s->columns * (int64_t)sizeof(float);
    return s->dtype == IR_F32 && s->packed && s->nd.rank == 2 && s->k.n == 0 &&
           ir_dim_at(s->nd.dim[1].size, 1) == 1 &&
           bytes > ir_budget(&cg_target(p)->machine, IR_L2_MOST) && ir_const_is_finite(cg_ir(p), b);
}

int64_t cg_matmul_list_floats(const CgMatmul *s) {
    return s->nonzero ? s->k.c + s->k.c / CG_MATMUL_RUN + 1 : 0;
}

// Lists those of [lo, hi): each place is written behind the last that counts.
static void list_run(CgFn *f, const CgMatmul *s, CgVal row, CgVal list, CgVal lo, CgVal hi) {
    CgVal places = cg_at(f, f->i32, list, lo), n = cg_i64(f, 0);
    CgLoop loop;
    cg_for_carry(f, &loop, lo, hi, 1, 1, &n);
    CgVal x = cg_load(f, f->f32, cg_fat(f, row, cg_stride(f, loop.iv, s->a_k)), 4);
    CgVal some = cg_fcmp(f, LLVMRealUNE, x, cg_f(f, 0));
    cg_store(f, LLVMBuildTrunc(f->b, loop.iv, f->i32, ""), cg_at(f, f->i32, places, n), 4);
    n = cg_iadd(f, n, LLVMBuildZExt(f->b, some, f->i64, ""));
    cg_end_carry(f, &loop, &n);
    cg_store(f, LLVMBuildTrunc(f->b, n, f->i32, ""), cg_matmul_list_count(f, s, list, lo), 4);
}

CgVal cg_matmul_list(CgFn *f, const CgMatmul *s, CgVal row, CgVal list) {
    CgVal zero = cg_i64(f, 0), K = cg_i64(f, s->k.c);
    CgLoop loop;
    if (!cg_matmul_is_long(s)) {
        list_run(f, s, row, list, zero, K);
        return list;
    }
    cg_for(f, &loop, zero, K, CG_MATMUL_RUN);
    list_run(f, s, row, list, loop.iv, cg_imin(f, cg_iaddc(f, loop.iv, CG_MATMUL_RUN), K));
    cg_end(f, &loop);
    return list;
}

typedef struct Listed {
    const CgMatmul *s;
    CgVal list;
} Listed;

// CgNdBody
static void emit_panel(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    (void)len;
    const Listed *l = ctx;
    cg_matmul_emit_listed_row(f, l->s, off, l->list);
}

void cg_matmul_emit_nonzero(CgFn *f, const void *spec) {
    const CgMatmul *s = spec;
    CgVal list = cg_fatc(f, f->scratch, cg_matmul_totals(f->lanes));
    CgIf one;
    cg_if(f, &one, cg_icmp(f, LLVMIntEQ, cg_dim(f, s->nd.dim[1].size), cg_i64(f, 1)));
    Listed l = {s, cg_matmul_list(f, s, f->arg[CG_MATMUL_A], list)};
    cg_nd_for(f, &s->nd, 1, s->rows, emit_panel, &l);
    cg_else(f, &one);
    cg_matmul_emit_panels(f, spec);
    cg_endif(f, &one);
}
