// softmax_ce: each image's cross-entropy and its gradient by the logits, as PyTorch's cross_entropy
// with class weights and label smoothing and no reduction. With p = softmax(logits),
//
//   t_c = (1 - smoothing) * weight[label] * (c == label) + smoothing / C * weight[c]
//   loss = -sum t_c log p_c = (sum t) log(sum exp(x_c - most)) - sum t_c (x_c - most)
//   dlogits_c = p_c (sum t) - t_c
//
// Three passes over a row: the maximum; exponentials, which go to dlogits, and the sums; the
// gradient. A label outside 0..C-1 makes all of the row 0. Of two labels t is the sum by their
// shares, share and 1 - share. Threads split rows.
//
// Kernel arguments: loss, dlogits, logits, label, weight, smoothing; second label, share.
#include "codegen/build/nd.h"
#include <math.h>
#include <string.h>

enum {
    ARG_LOSS,
    ARG_DLOGITS,
    ARG_LOGITS,
    ARG_LABEL,
    ARG_WEIGHT,
    ARG_SMOOTHING,
    ONE,
    ARG_SECOND = ONE,
    ARG_SHARE,
    TWO
};

typedef struct SoftmaxCe {
    int64_t C;
    int64_t labels; // 1 or 2
    IrDim N;
} SoftmaxCe;

enum { SUM_EXP, SUM_TARGET, SUM_PRODUCT, SUMS };

typedef struct Row {
    int64_t labels;
    CgVal x, dx;            // of the row
    CgVal label[2];         // i32, splat
    CgVal sure[2], even;    // 1 - smoothing of each label, smoothing / C, by their shares, splat
    CgVal most, slot[SUMS]; // accumulators on the stack; slot[0] holds the maximum at first
    CgVal scale;            // (sum t) / (sum exp), splat
    CgVal counts;           // i1: a label is a class
} Row;

static CgVal keep(CgFn *f, CgVal v, CgVal n, double other) {
    return n ? cg_select(f, cg_lane_mask(f, n), v, cg_v(f, other)) : v;
}

static void add_to(CgFn *f, CgVal slot, CgVal v) {
    cg_store(f, cg_fadd(f, cg_load(f, f->vec, slot, 64), v), slot, 64);
}

static CgVal sum_of(CgFn *f, CgVal slot) {
    return cg_sum_lanes(f, cg_load(f, f->vec, slot, 64));
}

static void find_most(void *ctx, CgFn *f, CgVal i, CgVal n) {
    Row *r = ctx;
    CgVal x = keep(f, cg_load_n(f, cg_fat(f, r->x, i), n), n, -INFINITY);
    cg_store(f, cg_fmax(f, cg_load(f, f->vec, r->slot[0], 64), x), r->slot[0], 64);
}

// t of classes i .. i + lanes
static CgVal target(CgFn *f, const Row *r, CgVal i, CgVal n) {
    CgVal lane[64], first = LLVMBuildTrunc(f->b, i, f->i32, "");
    for (int l = 0; l < f->lanes; l++) {
        lane[l] = cg_i32(f, l);
    }
    CgVal index = LLVMConstVector(lane, (unsigned)f->lanes);
    index = LLVMBuildAdd(f->b, index, cg_splat(f, first), "");
    CgVal weight = cg_load_n(f, cg_fat(f, f->arg[ARG_WEIGHT], i), n), share = r->even;
    for (int k = 0; k < r->labels; k++) {
        CgVal is_label = cg_icmp(f, LLVMIntEQ, index, r->label[k]);
        share = cg_fadd(f, share, cg_select(f, is_label, r->sure[k], cg_v(f, 0)));
    }
    return cg_fmul(f, share, weight);
}

static void add_terms(void *ctx, CgFn *f, CgVal i, CgVal n) {
    Row *r = ctx;
    CgVal x = cg_fsub(f, cg_load_n(f, cg_fat(f, r->x, i), n), r->most);
    CgVal e = cg_exp(f, x), t = target(f, r, i, n), zero = cg_v(f, 0);
    cg_store_n(f, e, cg_fat(f, r->dx, i), n);
    add_to(f, r->slot[SUM_EXP], keep(f, e, n, 0));
    add_to(f, r->slot[SUM_TARGET], keep(f, t, n, 0));
    CgVal product = cg_select(f, cg_fcmp(f, LLVMRealUNE, t, zero), cg_fmul(f, t, x), zero);
    add_to(f, r->slot[SUM_PRODUCT], keep(f, product, n, 0));
}

static void store_gradient(void *ctx, CgFn *f, CgVal i, CgVal n) {
    Row *r = ctx;
    CgVal p = cg_fat(f, r->dx, i), e = cg_load_n(f, p, n);
    CgVal g = cg_fsub(f, cg_fmul(f, e, r->scale), target(f, r, i, n));
    cg_store_n(f, cg_select(f, r->counts, g, cg_v(f, 0)), p, n);
}

// The row's labels, and what they make of `all`: 1 - smoothing and smoothing / C.
static void load_labels(CgFn *f, const SoftmaxCe *s, Row *r, const CgVal all[2], CgVal row) {
    static const int arg[] = {ARG_LABEL, ARG_SECOND};
    CgVal one = cg_f(f, 1), none = cg_f(f, 0), both = none, share = one;
    r->counts = NULL;
    for (int k = 0; k < s->labels; k++) {
        CgVal label = cg_load(f, f->i32, cg_at(f, f->i32, f->arg[arg[k]], row), 4);
        CgVal wide = LLVMBuildSExt(f->b, label, f->i64, "");
        CgVal counts = cg_icmp(f, LLVMIntULT, wide, cg_i64(f, s->C));
        if (s->labels == 2) {
            share = cg_load_f(f, cg_fat(f, f->arg[ARG_SHARE], row));
            share = k ? cg_fsub(f, one, share) : share;
        }
        share = cg_select(f, counts, share, none);
        both = k ? cg_fadd(f, both, share) : share;
        r->label[k] = cg_splat(f, label);
        r->sure[k] = cg_splat(f, cg_fmul(f, all[0], share));
        r->counts = k ? LLVMBuildOr(f->b, r->counts, counts, "") : counts;
    }
    r->even = cg_splat(f, cg_fmul(f, all[1], both));
}

static void emit_row(CgFn *f, const SoftmaxCe *s, Row *r, const CgVal all[2], CgVal row) {
    CgVal C = cg_i64(f, s->C), sum[SUMS];
    r->x = cg_fat(f, f->arg[ARG_LOGITS], cg_imulc(f, row, s->C));
    r->dx = cg_fat(f, f->arg[ARG_DLOGITS], cg_imulc(f, row, s->C));
    load_labels(f, s, r, all, row);
    cg_store(f, cg_v(f, -INFINITY), r->slot[0], 64);
    cg_nd_vectors(f, C, 1, find_most, r);
    r->most = cg_splat(f, cg_max_lanes(f, cg_load(f, f->vec, r->slot[0], 64)));
    for (int i = 0; i < SUMS; i++) {
        cg_store(f, cg_v(f, 0), r->slot[i], 64);
    }
    cg_nd_vectors(f, C, 1, add_terms, r);
    for (int i = 0; i < SUMS; i++) {
        sum[i] = sum_of(f, r->slot[i]);
    }
    r->scale = cg_splat(f, cg_fdiv(f, sum[SUM_TARGET], sum[SUM_EXP]));
    cg_nd_vectors(f, C, 1, store_gradient, r);
    CgVal loss = cg_fmul(f, sum[SUM_TARGET], cg_log(f, sum[SUM_EXP]));
    loss = cg_fsub(f, loss, sum[SUM_PRODUCT]);
    loss = cg_select(f, r->counts, loss, cg_f(f, 0));
    cg_store(f, loss, cg_fat(f, f->arg[ARG_LOSS], row), 4);
}

static void emit_softmax_ce(CgFn *f, const void *spec) {
    const SoftmaxCe *s = spec;
    Row r = {.labels = s->labels};
    for (int i = 0; i < SUMS; i++) {
        r.slot[i] = cg_slot(f, f->vec);
        LLVMSetAlignment(r.slot[i], 64);
    }
    CgVal smoothing = cg_load_f(f, f->arg[ARG_SMOOTHING]), lo, hi;
    CgVal all[] = {cg_fsub(f, cg_f(f, 1), smoothing),
                   cg_fdiv(f, smoothing, cg_f(f, (double)(s->C > 0 ? s->C : 1)))};
    CgLoop loop;
    cg_split(f, cg_dim(f, s->N), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    emit_row(f, s, &r, all, loop.iv);
    cg_end(f, &loop);
}

void cg_lower_softmax_ce(CgProgram *p, const IrNode *n) {
    const IrType *x = &ir_in(n, 0)->type;
    SoftmaxCe s;
    memset(&s, 0, sizeof s);
    if (!cg_need_plain(p, n)) {
        return;
    }
    if (x->dtype != IR_F32) {
        cg_nyi(p, n, "softmax_ce of %s", ir_dtype_name(x->dtype));
        return;
    }
    s.N = x->shape.dim[0];
    s.C = x->shape.dim[1].c;
    s.labels = n->n_in > 4 ? 2 : 1;
    CgArg args[TWO] = {cg_write(n->out[0]), cg_write(n->out[1])};
    for (int i = 0; i < n->n_in; i++) {
        args[2 + i] = cg_read(ir_in(n, i));
    }
    int n_args = 2 + n->n_in;
    int k = cg_kernel(p, "softmax_ce", emit_softmax_ce, &s, sizeof s, n_args, 500);
    cg_call(p, n, k, n_args, args, "softmax_ce", (IrDim){0, 0});
}
