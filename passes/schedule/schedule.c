// Schedule: how each convolution is computed, the algorithm and its tile; which products may be
// made by Strassen's multiplication.
//
//   before  %y: f32[N,64,56,56]{nChw16c} = conv %x, %w {pad=[1,1,1,1]}
//   after   %y: f32[N,64,56,56]{nChw16c} = conv %x, %w {pad=[1,1,1,1], algo=direct,
//               tile=[rows=1,cols=14,vecs=2,band=14]}
//
// Algorithms and the fields of a tile are the rows of ir/conv_algos.def. A model of each proposes
// candidates; the fastest by the models is taken, unless the node already says another that its
// kernel can run: text may, and so does autotuning, which measures the candidates
// (PassOptions.autotune).
#include "passes/schedule/schedule.h"

// ---------------------------------------------------------------- the table

typedef struct Model {
    PassScheduleProposes *propose;
    PassScheduleFits *fits;
} Model;
static const Model models[] = {
#define IR_CONV_ALGO(E, text, types, flags, tile, choose, ...)                                     \
    [IR_CONV_##E] = {pass_schedule_propose_##choose, pass_schedule_fits_##choose},
#include "ir/conv_algos.def"
#undef IR_CONV_ALGO
};

static bool has_fewer_products(IrConvAlgo algo) {
    return ir_conv_algo_info(algo)->flags & IR_CONV_FLAG_FEWER;
}

// What transforms its input rounds; products of integers, of which sums fit, do not.
static bool must_be_exact(const IrNode *n) {
    return ir_int(n, IR_ATTR_EXACT, 0);
}

// ---------------------------------------------------------------- candidates

enum { MAX_FEWER = 4 };                   // with fewer products
static const double measured_fewer = 1.3; // as PASS_SCHEDULE_MEASURED, of those
static const double measured_exact = 2;   // of others, where fewer products are faster

// c: n's convolution, or another in its place
static void propose(const IrNode *n, const IrConv *c, const PassOptions *opt, ScheduleList *exact,
                    ScheduleList *fewer) {
    if (ir_conv_is_empty(c))
        return; // no code is needed
    bool only_exact = !opt->winograd || must_be_exact(n);
    for (int a = 0; a < IR_CONV_ALGO_COUNT; a++) {
        IrConvAlgo algo = (IrConvAlgo)a;
        IrConv seen = ir_conv_seen_by(algo, c);
        bool is_fewer = has_fewer_products(algo);
        if (ir_conv_serves(algo, c) && !(is_fewer && only_exact))
            models[a].propose(algo, &seen, opt, is_fewer ? fewer : exact);
    }
}

double pass_schedule_cycles(const IrNode *n, const IrConv *c, const PassOptions *opt) {
    ScheduleList exact = {.max = 1}, fewer = {.max = 1};
    propose(n, c, opt, &exact, &fewer);
    double by_exact = exact.n ? exact.v[0].cycles : 0, by_fewer = fewer.n ? fewer.v[0].cycles : 0;
    return by_exact && (!by_fewer || by_exact < by_fewer) ? by_exact : by_fewer;
}

// Those of `more` that are not much slower than the best of all, by the model
static int append(PassSchedule *out, int n, const ScheduleList *more, double limit) {
    for (int i = 0; i < more->n && n < PASS_MAX_SCHEDULES; i++)
        if (more->v[i].cycles <= limit)
            out[n++] = more->v[i];
    return n;
}

int pass_schedule_candidates(const IrNode *n, const PassOptions *opt, PassSchedule *out) {
    ScheduleList exact = {.max = PASS_MAX_SCHEDULES}, fewer = {.max = MAX_FEWER};
    if (n->op != IR_OP_CONV)
        return 0;
    IrConv c = ir_conv(n);
    propose(n, &c, opt, &exact, &fewer);
    if (!exact.n && !fewer.n)
        return 0;
    if (!exact.n || (fewer.n && fewer.v[0].cycles < exact.v[0].cycles)) {
        double best = fewer.v[0].cycles;
        int count = append(out, 0, &fewer, measured_fewer * best);
        return append(out, count, &exact, measured_exact * best);
    }
    double best = exact.v[0].cycles;
    int count = append(out, 0, &exact, PASS_SCHEDULE_MEASURED * best);
    return append(out, count, &fewer, measured_fewer * best);
}

// ---------------------------------------------------------------- the pass

bool pass_schedule_fits(const IrNode *n, const PassOptions *opt, IrConvAlgo algo,
                        const IrConvTile *tile) {
    IrConv c = ir_conv(n), seen = ir_conv_seen_by(algo, &c);
    return ir_conv_serves(algo, &c) && ir_conv_tile_is_of(tile, algo) &&
           !(has_fewer_products(algo) && must_be_exact(n)) && models[algo].fits(&seen, opt, tile);
}

static void schedule_conv(PassContext *ctx, IrNode *n) {
    IrConvAlgo algo;
    IrConvTile tile = ir_conv_tile(n);
    PassSchedule s[PASS_MAX_SCHEDULES];
    if (ir_conv_algo(n, &algo) && pass_schedule_fits(n, ctx->opt, algo, &tile))
        return;
    if (pass_schedule_candidates(n, ctx->opt, s))
        ir_conv_set(n, s[0].algo, &s[0].tile);
}

// Rows of an image, or of all there are; 0 where that is not known.
static int64_t image_rows(const IrShape *x) {
    int64_t rows = 1;
    for (int i = 0; i + 1 < x->rank; i++) {
        if (x->dim[i].n && x->dim[i].c)
            return 0;
        rows *= x->dim[i].n ? x->dim[i].n : x->dim[i].c;
    }
    return rows;
}

// By a constant matrix, of f32, by sums and rows enough; whether the panels suit, its kernel knows
// (codegen/nn/matmul_strassen.c).
static bool schedule_matmul(PassContext *ctx, IrNode *n) {
    const IrValue *w = ir_in(n, 1);
    const IrShape *x = &ir_in(n, 0)->type.shape;
    bool may = ctx->opt->winograd && !must_be_exact(n) && w->konst && w->type.dtype == IR_F32 &&
               w->type.shape.rank == 2 && !ir_int(n, IR_ATTR_MEAN, 0) &&
               x->dim[x->rank - 1].c >= IR_STRASSEN_LEAST_K &&
               image_rows(x) >= IR_STRASSEN_LEAST_ROWS;
    if (may) {
        ir_set_attr(n, ir_attr_algo(IR_CONV_STRASSEN));
    }
    return may;
}

static bool schedule_wgrad(PassContext *ctx, IrNode *n) {
    IrConvAlgo algo;
    bool said = ir_conv_algo(n, &algo);
    if (said && algo == IR_CONV_DIRECT_BF16_AMX && !pass_schedule_wgrad_has_tiles(n, ctx->opt)) {
        ir_del_attr(n, IR_ATTR_ALGO);
        said = false;
    }
    bool better = !said && pass_schedule_wgrad(n, ctx->opt, &algo);
    if (better)
        ir_set_attr(n, ir_attr_algo(algo));
    return better;
}

// Bytes, in the form in which the file has them
static int64_t weights_of(const IrGraph *g) {
    int64_t bytes = 0;
    for (int i = 0; i < g->cap_const_values; i++) {
        const IrValue *v = g->const_values[i];
        IrDim size;
        if (v && v->n_uses && ir_type_bytes(&v->type, &size))
            bytes += size.c;
    }
    return bytes;
}

PassResult pass_schedule(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    PassOptions opt = *ctx->opt;
    PassContext own = *ctx;
    opt.weights = weights_of(g);
    own.opt = &opt;
    if (opt.autotune)
        opt.autotune(opt.autotune_ctx, g, &opt);
    for (IrNode *n = g->first; n; n = n->next) {
        if (n->op == IR_OP_MATMUL)
            r.changes += schedule_matmul(&own, n);
        if (n->op == IR_OP_CONV_WGRAD)
            r.changes += schedule_wgrad(&own, n);
        if (n->op != IR_OP_CONV)
            continue;
        schedule_conv(&own, n);
        r.changes++;
    }
    return r;
}
