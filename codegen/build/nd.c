// Loops over n dimensions with strided operands; see nd.h. Before -> after of a collapse, for
// y[N,64,56,56] = x + b[64,1,1]:
//   sizes N 64 56 56; strides y 200704 3136 56 1, x the same, b 0 1 0 0
//   sizes N 64 3136;  strides y 200704 3136 1,    x the same, b 0 1 0
#include "codegen/build/nd.h"
#include <string.h>

void cg_nd_init(CgNd *nd, int rank, const IrDim *size) {
    memset(nd, 0, sizeof *nd);
    nd->rank = rank;
    for (int i = 0; i < rank; i++) {
        nd->dim[i].size = size[i];
    }
}

int cg_nd_add(CgNd *nd, const IrDim *stride, IrDim offset) {
    if (nd->n == CG_ND_OPERANDS) {
        ir_bug("codegen", "nd", "more than %d operands", CG_ND_OPERANDS);
    }
    for (int i = 0; i < nd->rank; i++) {
        nd->dim[i].stride[nd->n] = stride[i];
    }
    nd->offset[nd->n] = offset;
    return nd->n++;
}

IrDim cg_nd_mul(IrDim a, IrDim b) {
    IrDim r;
    if (!ir_dim_mul(a, b, &r)) {
        ir_bug("codegen", "nd", "a stride is not affine in N");
    }
    return r;
}

static void remove_dim(CgNd *nd, int i) {
    memmove(&nd->dim[i], &nd->dim[i + 1], (size_t)(nd->rank - i - 1) * sizeof nd->dim[0]);
    memset(&nd->dim[--nd->rank], 0, sizeof nd->dim[0]);
}

// Dims i and i+1 are one run for every operand.
static bool merges(const CgNd *nd, int i) {
    const CgNdDim *a = &nd->dim[i], *b = &nd->dim[i + 1];
    IrDim size;
    if (!ir_dim_mul(a->size, b->size, &size)) {
        return false;
    }
    for (int k = 0; k < nd->n; k++) {
        IrDim run;
        if (!ir_dim_mul(b->stride[k], b->size, &run) || !ir_dim_eq(a->stride[k], run)) {
            return false;
        }
    }
    return true;
}

void cg_nd_collapse(CgNd *nd, int min_rank) {
    for (int i = nd->rank - 1; i >= 0; i--) {
        if (ir_dim_is(nd->dim[i].size, 1)) {
            remove_dim(nd, i);
        }
    }
    for (int i = nd->rank - 2; i >= 0; i--) {
        if (merges(nd, i)) {
            nd->dim[i + 1].size = cg_nd_mul(nd->dim[i].size, nd->dim[i + 1].size);
            remove_dim(nd, i);
        }
    }
    while (nd->rank < min_rank) {
        memmove(&nd->dim[1], &nd->dim[0], (size_t)nd->rank * sizeof nd->dim[0]);
        nd->rank++;
        nd->dim[0].size = ir_dim(1);
        for (int k = 0; k < nd->n; k++) {
            nd->dim[0].stride[k] = ir_dim(1);
        }
    }
}

void cg_nd_move_dim(CgNd *nd, int from, int to) {
    CgNdDim d = nd->dim[from];
    int step = from < to ? 1 : -1;
    for (int i = from; i != to; i += step) {
        nd->dim[i] = nd->dim[i + step];
    }
    nd->dim[to] = d;
}

bool cg_nd_empty(const CgNd *nd) {
    for (int i = 0; i < nd->rank; i++) {
        if (ir_dim_is(nd->dim[i].size, 0)) {
            return true;
        }
    }
    return false;
}

int64_t cg_nd_elems(const CgNd *nd, int from) {
    int64_t r = 1;
    for (int i = from; i < nd->rank; i++) {
        r *= ir_dim_at(nd->dim[i].size, 1);
    }
    return r;
}

int cg_nd_sizes(const CgTensor *t, IrDim *size) {
    for (int i = 0; i < t->rank; i++) {
        size[i] = t->dim[i];
    }
    if (!t->block) {
        return t->rank;
    }
    size[1] = ir_dim((t->dim[1].c + t->block - 1) / t->block);
    size[t->rank] = ir_dim(t->block);
    return t->rank + 1;
}

int cg_nd_strides(const CgTensor *t, IrDim *stride) {
    IrDim size[CG_ND_RANK], run = ir_dim(1);
    int rank = cg_nd_sizes(t, size);
    for (int i = rank - 1; i >= 0; i--) {
        stride[i] = run;
        run = i > 0 ? cg_nd_mul(run, size[i]) : run;
    }
    if (t->block) {
        stride[0] = ir_dim(t->image);
    }
    return rank;
}

bool cg_nd_broadcast(const CgTensor *r, const CgTensor *t, IrDim *stride) {
    IrDim own[CG_ND_RANK];
    cg_nd_strides(t, own);
    int shift = r->rank - t->rank;
    for (int i = 0; i < r->rank; i++) {
        bool one = i < shift || ir_dim_is(t->dim[i - shift], 1);
        stride[i] = one ? ir_dim(0) : own[i - shift];
    }
    if (!r->block) {
        return t->block == 0;
    }
    bool channels = shift <= 1 && !ir_dim_is(t->dim[1 - shift], 1);
    stride[r->rank] = ir_dim(channels ? 1 : 0);
    if (t->block) {
        return true;
    }
    return !channels;
}

// ---------------------------------------------------------------- emitting

CgVal cg_stride(CgFn *f, CgVal index, IrDim stride) {
    return stride.n ? cg_imul(f, index, cg_dim(f, stride)) : cg_imulc(f, index, stride.c);
}

static void advance(CgFn *f, const CgNd *nd, int dim, CgVal index, CgVal *off) {
    for (int k = 0; k < nd->n; k++) {
        IrDim s = nd->dim[dim].stride[k];
        if (!ir_dim_is(s, 0)) {
            off[k] = cg_iadd(f, off[k], cg_stride(f, index, s));
        }
    }
}

typedef struct NdPlan {
    int tasks;     // dims [0, tasks) and the first inner one's chunks are divided among threads
    int64_t chunk; // 0: the first inner dim whole
} NdPlan;

// Tasks of 512 to 16384 elements, about 32 or more of them; dimensions that grow with N are cut.
static NdPlan plan_tasks(const CgNd *nd, int inner, int64_t step) {
    enum { LEAST = 512, MOST = 16384, TASKS = 32 };
    int last = nd->rank - inner;
    int64_t cost = nd->cost > 0 ? nd->cost : 1, work = cg_nd_elems(nd, 0) * cost;
    int64_t limit = work / TASKS;
    limit = limit < LEAST ? LEAST : limit > MOST ? MOST : limit;
    NdPlan p = {0, 0};
    int symbolic = -1;
    for (int i = 0; i <= last; i++) {
        if (nd->dim[i].size.n) {
            symbolic = i;
        }
    }
    while (p.tasks < last && (work > limit || p.tasks <= symbolic)) {
        work = cg_nd_elems(nd, ++p.tasks) * cost;
    }
    if (p.tasks == last && (work > limit || symbolic == last)) {
        int64_t each = cg_nd_elems(nd, last + 1) * cost;
        int64_t steps = limit / (each > 0 ? each : 1);
        p.chunk = (steps + step - 1) / step * step;
        p.chunk = p.chunk < step ? step : p.chunk;
        if (nd->dim[last].size.n == 0 && p.chunk >= nd->dim[last].size.c) {
            p.chunk = 0;
        }
    }
    return p;
}

static CgVal nd_size(CgFn *f, const CgNd *nd, int i) {
    return cg_dim(f, nd->dim[i].size);
}

// Dims [dim, last) as plain loops, then the body.
static void emit_loops(CgFn *f, const CgNd *nd, int dim, int last, const CgVal *off, CgVal len,
                       CgNdBody body, void *ctx) {
    if (dim >= last) {
        body(ctx, f, off, len);
        return;
    }
    CgLoop loop;
    CgVal here[CG_ND_OPERANDS];
    memcpy(here, off, sizeof here);
    cg_for(f, &loop, cg_i64(f, 0), nd_size(f, nd, dim), 1);
    advance(f, nd, dim, loop.iv, here);
    emit_loops(f, nd, dim + 1, last, here, len, body, ctx);
    cg_end(f, &loop);
}

void cg_nd_for(CgFn *f, const CgNd *nd, int inner, int64_t step, CgNdBody body, void *ctx) {
    int last = nd->rank - inner;
    NdPlan plan = plan_tasks(nd, inner, step);
    CgVal chunks = cg_i64(f, 1), len = nd_size(f, nd, last), tasks, lo, hi, start = NULL;
    if (plan.chunk) {
        chunks = cg_idivc(f, cg_iaddc(f, len, plan.chunk - 1), plan.chunk);
    }
    tasks = chunks;
    for (int i = 0; i < plan.tasks; i++) {
        tasks = cg_imul(f, tasks, nd_size(f, nd, i));
    }
    cg_split(f, tasks, &lo, &hi);
    CgLoop loop;
    cg_for(f, &loop, lo, hi, 1);
    CgVal index[CG_ND_RANK], rest = loop.iv, off[CG_ND_OPERANDS] = {NULL};
    if (plan.chunk) {
        CgVal c;
        cg_divmod(f, rest, chunks, &rest, &c);
        start = cg_imulc(f, c, plan.chunk);
        len = cg_imin(f, cg_i64(f, plan.chunk), cg_isub(f, len, start));
    }
    for (int i = plan.tasks - 1; i >= 0; i--) {
        if (i > 0) {
            cg_divmod(f, rest, nd_size(f, nd, i), &rest, &index[i]);
        } else {
            index[0] = rest;
        }
    }
    for (int k = 0; k < nd->n; k++) {
        off[k] = cg_dim(f, nd->offset[k]);
    }
    for (int i = 0; i < plan.tasks; i++) {
        advance(f, nd, i, index[i], off);
    }
    if (start) {
        advance(f, nd, last, start, off);
    }
    emit_loops(f, nd, plan.tasks, last, off, len, body, ctx);
    cg_end(f, &loop);
}

static void emit_vector_loop(CgFn *f, CgVal lo, CgVal hi, int unroll, CgNdVector body, void *ctx) {
    CgLoop loop;
    cg_for(f, &loop, lo, hi, (int64_t)unroll * f->lanes);
    for (int u = 0; u < unroll; u++) {
        body(ctx, f, cg_iaddc(f, loop.iv, (int64_t)u * f->lanes), NULL);
    }
    cg_end(f, &loop);
}

static void emit_vectors_const(CgFn *f, int64_t len, int unroll, CgNdVector body, void *ctx) {
    int64_t big = (int64_t)unroll * f->lanes, main = len / big * big;
    if (main == big) {
        main = 0; // straight below
    }
    if (main) {
        emit_vector_loop(f, cg_i64(f, 0), cg_i64(f, main), unroll, body, ctx);
    }
    for (int64_t i = main; i < len; i += f->lanes) {
        body(ctx, f, cg_i64(f, i), len - i < f->lanes ? cg_i64(f, len - i) : NULL);
    }
}

void cg_nd_steps(CgFn *f, CgVal len, int unroll, CgNdVector body, void *ctx) {
    CgLoop loop;
    CgVal zero = cg_i64(f, 0), main = cg_imulc(f, cg_idivc(f, len, unroll), unroll);
    int64_t some;
    if (unroll > 1 && !(cg_is_const(main, &some) && some == 0)) {
        cg_for(f, &loop, zero, main, unroll);
        for (int u = 0; u < unroll; u++) {
            body(ctx, f, cg_iaddc(f, loop.iv, u), NULL);
        }
        cg_end(f, &loop);
    } else {
        main = zero;
    }
    CgVal rest = cg_isub(f, len, main);
    if (!(cg_is_const(rest, &some) && some == 0)) {
        cg_for(f, &loop, main, len, 1);
        body(ctx, f, loop.iv, NULL);
        cg_end(f, &loop);
    }
}

void cg_nd_vectors(CgFn *f, CgVal len, int unroll, CgNdVector body, void *ctx) {
    int64_t fixed;
    if (cg_is_const(len, &fixed)) {
        emit_vectors_const(f, fixed, unroll, body, ctx);
        return;
    }
    int64_t big = (int64_t)unroll * f->lanes;
    CgVal zero = cg_i64(f, 0);
    CgVal whole = cg_imulc(f, cg_idivc(f, len, f->lanes), f->lanes), main = zero;
    if (unroll > 1) {
        main = cg_imulc(f, cg_idivc(f, len, big), big);
        emit_vector_loop(f, zero, main, unroll, body, ctx);
    }
    emit_vector_loop(f, main, whole, 1, body, ctx);
    CgVal rest = cg_isub(f, len, whole);
    CgIf s;
    cg_if(f, &s, cg_icmp(f, LLVMIntSGT, rest, zero));
    body(ctx, f, whole, rest);
    cg_endif(f, &s);
}

CgVal cg_most(CgFn *f, LLVMRealPredicate p, CgVal acc, CgVal x) {
    CgVal y = cg_select(f, cg_fcmp(f, p, acc, x), acc, x); // x where one of them is NaN
    return cg_select(f, cg_fcmp(f, LLVMRealUNO, acc, acc), acc, y);
}

void cg_transpose_lanes(CgFn *f, CgVal *rows) {
    int lo[64], hi[64], n = f->lanes;
    for (int s = 1; s < n; s *= 2) {
        for (int j = 0; j < n; j++) {
            lo[j] = j & s ? n + j - s : j;
            hi[j] = j & s ? n + j : j + s;
        }
        for (int i = 0; i < n; i++) {
            if (!(i & s)) {
                CgVal a = rows[i], b = rows[i + s];
                rows[i] = cg_shuffle(f, a, b, n, lo);
                rows[i + s] = cg_shuffle(f, a, b, n, hi);
            }
        }
    }
}
