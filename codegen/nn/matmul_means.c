// matmul in panels whose rows are means: a is a map [N,K,H,W] in blocks whose means over the pixels
// are the rows. A thread makes those of up to `images` images in its scratch, then runs its panels
// over them; threads that share these panels each make them.
#include "codegen/nn/matmul_tile.h"

// Panels [lo, hi) over images [first, end); list: of one image's mean, or NULL.
static void emit_panels(CgFn *f, const CgMatmul *s, CgVal lo, CgVal hi, CgVal first, CgVal end,
                        CgVal list) {
    const CgNdDim *panel = &s->nd.dim[0], *row = &s->nd.dim[1];
    CgLoop loop;
    cg_for(f, &loop, lo, hi, 1);
    CgVal off[CG_ND_OPERANDS] = {NULL};
    for (int k = 0; k < s->nd.n; k++) {
        off[k] = cg_iadd(f, cg_stride(f, loop.iv, panel->stride[k]),
                         k == CG_MATMUL_A ? cg_i64(f, 0) : cg_stride(f, first, row->stride[k]));
    }
    if (list)
        cg_matmul_emit_listed_row(f, s, off, list);
    else
        cg_matmul_emit_rows(f, s, off, cg_isub(f, end, first));
    cg_end(f, &loop);
}

static void emit_mean_panels(CgFn *f, const CgMatmul *s, CgVal lo, CgVal hi, CgVal first,
                             CgVal end) {
    CgVal means = cg_fatc(f, f->scratch, cg_matmul_totals(f->lanes));
    CgVal list = cg_fatc(f, means, (int64_t)s->images * s->mean.blocks * f->lanes);
    CgIf one;
    cg_mean_images(f, &s->mean, f->arg[CG_MATMUL_A], first, end, means);
    if (!s->nonzero) {
        emit_panels(f, s, lo, hi, first, end, NULL);
        return;
    }
    cg_if(f, &one, cg_icmp(f, LLVMIntEQ, cg_isub(f, end, first), cg_i64(f, 1)));
    emit_panels(f, s, lo, hi, first, end, cg_matmul_list(f, s, means, list));
    cg_else(f, &one);
    emit_panels(f, s, lo, hi, first, end, NULL);
    cg_endif(f, &one);
}

// Tasks: parts of the batch, of each the panels.
void cg_matmul_emit_means(CgFn *f, const void *spec) {
    const CgMatmul *s = spec;
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
