// Schedule: the kernel of each convolution and its register tile.
//
//   before  %y: f32[N,64,56,56]{nChw16c} = conv %x, %w {pad=[1,1,1,1]}
//   after   %y: f32[N,64,56,56]{nChw16c} = conv %x, %w {pad=[1,1,1,1], algo=direct,
//               tile=[1,14,2,14]}
//
// tile = [rows, columns, vectors, band]: pixels and output vectors that one tile keeps in
// registers at most, and how many rows of tiles of the input are used for all output channels
// before the next rows (0: output channels go outermost, so that their weights are used for all
// images).
// For winograd2 and winograd4 it is [rows and columns of an output tile, vectors of a product, most
// output tiles of a block]: see schedule/winograd.c; for strassen it is [pixels of half a tile, 1,
// vectors of half a group, tiles of a band]: see schedule/strassen.c.
//
// Models of the kernels (schedule_*.c) propose candidates; the fastest by the model is taken,
// unless the node already says another that its kernel can run: text may, and so does the
// autotuner, which measures the candidates (PassOptions.autotune).
#include "passes/schedule/schedule.h"

#include <string.h>

void schedule_add(ScheduleList *list, const PassSchedule *s) {
    int i = list->n;
    while (i > 0 && s->cycles < list->v[i - 1].cycles)
        i--;
    if (i == list->max)
        return;
    if (list->n < list->max)
        list->n++;
    for (int k = list->n - 1; k > i; k--)
        list->v[k] = list->v[k - 1];
    list->v[i] = *s;
}

// ---------------------------------------------------------------- candidates

enum {
    N_DIRECT = 4, // proposed where nothing else applies, besides other orders of tasks
    N_FEWER = 4,  // with fewer products: Winograd's and Strassen's
};

// Those of `more` that are not much slower than the best of all, by the model
static int append(PassSchedule *out, int n, const ScheduleList *more, double limit) {
    for (int i = 0; i < more->n && n < PASS_MAX_SCHEDULES; i++)
        if (more->v[i].cycles <= limit)
            out[n++] = more->v[i];
    return n;
}

// A node that says `direct` and no tile wants its sums as they are: what transforms its input
// rounds, and products of integers would not be exact.
static bool must_be_direct(const IrNode *n) {
    return strcmp(ir_str(n, IR_ATTR_ALGO, ""), "direct") == 0 && !ir_attr(n, IR_ATTR_TILE);
}

static int propose(const IrNode *n, const PassOptions *opt, PassSchedule *out) {
    ScheduleList direct = {.max = N_DIRECT}, fewer = {.max = N_FEWER};
    schedule_direct(n, opt, &direct);
    if (opt->winograd && !must_be_direct(n)) {
        schedule_winograd(n, opt, &fewer);
        schedule_strassen(n, opt, &fewer);
    }
    bool fast = fewer.n && fewer.v[0].cycles < direct.v[0].cycles;
    double best = fast ? fewer.v[0].cycles : direct.v[0].cycles;
    int count = 0;
    if (fast)
        count = append(out, count, &fewer, 1.3 * best);
    count = append(out, count, &direct, fast ? 2 * best : 1.15 * best);
    if (!fast)
        count = append(out, count, &fewer, 1.3 * best);
    for (int i = 0; i < 2 && i < direct.n && !fast; i++) {
        PassSchedule other = direct.v[i];
        if (count < PASS_MAX_SCHEDULES && schedule_other_order(n, opt, &other))
            out[count++] = other;
    }
    return count;
}

// The code generator reports symbolic image sizes; empty ones need no code.
static bool has_size(const IrNode *n) {
    const IrShape *y = &n->out[0]->type.shape;
    return y->rank == 4 && !y->dim[2].n && !y->dim[3].n &&
           y->dim[1].c * y->dim[2].c * y->dim[3].c != 0;
}

int pass_schedule_candidates(const IrNode *n, const PassOptions *opt, PassSchedule *out) {
    if (n->op != IR_OP_CONV || !has_size(n))
        return 0;
    if (!schedule_is_lanewise(n, opt))
        return propose(n, opt, out);
    ScheduleList list = {.max = PASS_MAX_SCHEDULES};
    schedule_lanewise(n, opt, &list);
    return append(out, 0, &list, list.v[list.n - 1].cycles);
}

// ---------------------------------------------------------------- the pass

bool pass_schedule_fits(const IrNode *n, const PassOptions *opt, const char *algo,
                        const int64_t *tile) {
    if (strcmp(algo, "direct") == 0)
        return !schedule_is_lanewise(n, opt) && schedule_direct_fits(n, opt, tile);
    if (strcmp(algo, "grouped") == 0 || strcmp(algo, "depthwise") == 0)
        return schedule_lanewise_fits(n, opt, tile);
    if (must_be_direct(n))
        return false;
    if (strcmp(algo, "strassen") == 0)
        return schedule_strassen_fits(n, opt, tile);
    return schedule_winograd_fits(n, opt, algo, tile);
}

void pass_schedule_set(IrNode *n, const char *algo, const int64_t *tile) {
    IrArena *a = n->graph->prog->arena;
    ir_set_attr(n, ir_attr_s(IR_ATTR_ALGO, ir_strdup(a, algo)));
    ir_set_attr(n, ir_attr_ints(a, IR_ATTR_TILE, 4, tile));
}

static void schedule_conv(PassContext *ctx, IrNode *n) {
    IrInts tile = ir_ints(n, IR_ATTR_TILE);
    if (tile.n == 4 && pass_schedule_fits(n, ctx->opt, ir_str(n, IR_ATTR_ALGO, ""), tile.v))
        return;
    PassSchedule s[PASS_MAX_SCHEDULES];
    if (pass_schedule_candidates(n, ctx->opt, s))
        pass_schedule_set(n, s[0].algo, s[0].tile);
}

PassResult pass_schedule(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    if (ctx->opt->autotune)
        ctx->opt->autotune(ctx->opt->autotune_ctx, g, ctx->opt);
    for (IrNode *n = g->first; n; n = n->next) {
        if (n->op != IR_OP_CONV || !has_size(n))
            continue;
        schedule_conv(ctx, n);
        r.changes++;
    }
    return r;
}
