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
// output tiles of a block]: see schedule_winograd.c.
//
// The model counts cycles of one core with one fused multiply-add of 16 floats and one load of 16
// or two broadcast loads a cycle (vectors of 8 and 4: two each), a latency of 4. A tile of p
// pixels and v vectors takes per input channel and tap max(p*v, v + p/2, 4), plus a tenth (what
// is not hidden) of streaming v vectors of weights from where their panel stays and p pixels from
// L2, plus the prologue and stores once. Every tile whose registers fit is tried. What the model
// does not know, such as what the code generator makes of a tile, is kept out by the register
// limit.

#include "passes/schedule.h"

#include <string.h>

enum {
    MAX_VECTORS = 6,
    L1_BYTES = 16 << 10,  // what of it a weight panel may count on
    L2_BYTES = 512 << 10, // half of a small one
};

typedef struct Shape {
    IrWindow win;
    int64_t C, O, H, W, OH, OW; // as the kernel sees them: 1x1 with stride 1 has W = 1
    int64_t lanes, registers;
    int64_t k;            // products of one output element
    int64_t sets, blocks; // output vectors: `sets` times `blocks`
    bool flat;
} Shape;

typedef struct Tile {
    int64_t rows, cols, vecs, band;
} Tile;

static int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static Shape read_shape(const IrNode *n, const PassOptions *opt) {
    const IrShape *x = &ir_in(n, 0)->type.shape, *y = &n->out[0]->type.shape;
    Shape s = {.win = ir_window(n),
               .C = x->dim[1].c,
               .O = y->dim[1].c,
               .H = x->dim[2].c,
               .W = x->dim[3].c,
               .OH = y->dim[2].c,
               .OW = y->dim[3].c,
               .lanes = opt->block};
    // One register is kept free; without fused multiply-add a product needs another.
    s.registers = opt->vector_registers - (opt->block > 4 ? 1 : 2);
    const IrWindow *w = &s.win;
    s.flat = w->kh == 1 && w->kw == 1 && w->sh == 1 && w->sw == 1 && s.OH == s.H && s.OW == s.W;
    if (s.flat) {
        s.OH = s.H = s.H * s.W;
        s.OW = s.W = 1;
    }
    int64_t og = s.O / w->group;
    bool whole = w->group > 1 && og % s.lanes == 0;
    s.sets = whole ? w->group : 1;
    s.blocks = ceil_div(whole ? og : s.O, s.lanes);
    s.k = s.C / w->group * w->kh * w->kw;
    return s;
}

static bool is_lanewise(const Shape *s, int x_block) {
    int64_t cg = s->C / s->win.group;
    return s->win.group > 1 && s->C == s->O && x_block == s->lanes && cg < s->lanes &&
           s->lanes % cg == 0;
}

// ---------------------------------------------------------------- the register tile

// Cycles of one tile with p pixels and v vectors
static double tile_cost(const Shape *s, int64_t p, int64_t v) {
    // Vectors of 16 go through both halves of the core: one a cycle, two of the narrower ones.
    double wide = s->lanes > 8 ? 1 : 0.5;
    double fma = (double)(p * v) * wide, load = (double)v * wide + (double)p / 2;
    double step = fma > load ? fma : load;
    if (step < 4)
        step = 4;
    int64_t panel = s->k * v * s->lanes * 4;
    double stream = (double)(v * s->lanes * 4);
    stream *= panel <= L1_BYTES ? 0 : panel <= L2_BYTES ? 1.0 / 20 : 1.0 / 8;
    double far = s->C * s->H * s->W * 4 > L2_BYTES ? 8 : 20;
    stream += (double)(p * s->win.sw * 4) / (double)s->win.kw / far;
    return (double)s->k * (step + 0.1 * stream) + 2.5 * fma + 25;
}

// n parts of at most `max`, as equal as can be, as the code generator cuts them: *big of *size,
// the rest of *size - 1.
static void cut(int64_t total, int64_t max, int64_t *n, int64_t *size, int64_t *big) {
    *n = ceil_div(total, max);
    *size = ceil_div(total, *n);
    *big = *n - (*n * *size - total);
}

static double conv_cost(const Shape *s, const Tile *t) {
    int64_t n[3], size[3], big[3];
    cut(s->OH, t->rows, &n[0], &size[0], &big[0]);
    cut(s->OW, t->cols, &n[1], &size[1], &big[1]);
    cut(s->blocks, t->vecs, &n[2], &size[2], &big[2]);
    double cycles = 0;
    for (int i = 0; i < 8; i++) { // every combination of the two sizes of the three cuts
        int64_t count = 1, part[3];
        for (int k = 0; k < 3; k++) {
            bool small = i >> k & 1;
            part[k] = size[k] - small;
            count *= small ? n[k] - big[k] : big[k];
        }
        if (count)
            cycles += (double)count * tile_cost(s, part[0] * part[1], part[2]);
    }
    // Rows of a tile that see other kernel rows than its first are variants of the code.
    bool variants = t->rows > 1 && s->win.kh > 1;
    return cycles * (double)s->sets * (variants ? 1.01 : 1);
}

static bool tile_fits(const Shape *s, const Tile *t) {
    int64_t pixels = t->rows * t->cols;
    // With one vector each broadcast is used once, and without broadcasting operands its register
    // takes the sum: accumulators wander and need room to.
    int64_t wander = s->lanes < 16 && t->vecs == 1 ? 4 : 0;
    return pixels * t->vecs + t->vecs + 1 + wander <= s->registers;
}

static Tile choose_tile(const Shape *s) {
    Tile best = {1, 1, 1, 0};
    double best_cost = conv_cost(s, &best);
    int64_t most = s->registers, vectors = min_i64(s->blocks, MAX_VECTORS);
    if (s->win.group > 1 && s->O / s->win.group % s->lanes)
        vectors = 1;
    for (int64_t v = 1; v <= vectors; v++)
        for (int64_t rows = 1; rows <= min_i64(most, s->OH); rows++)
            for (int64_t cols = 1; cols <= min_i64(most, s->OW); cols++) {
                Tile t = {rows, cols, v, 0};
                // Several rows only where one row is not enough, or where pixels are one column.
                bool sensible = rows == 1 || s->flat || (cols == s->OW && rows <= 4);
                if (!sensible || !tile_fits(s, &t))
                    continue;
                double cost = conv_cost(s, &t);
                if (cost < best_cost) {
                    best = t;
                    best_cost = cost;
                }
            }
    return best;
}

// ---------------------------------------------------------------- the order of tasks

// Compares the bytes that come from beyond L2, per image: with output channels outermost the input
// comes again for each group of vectors; with bands of the input the weights come again for each
// band, unless they stay.
static int64_t choose_band(const Shape *s, const Tile *t) {
    const int64_t fit = L2_BYTES * 3 / 4;
    int64_t groups = s->sets * ceil_div(s->blocks, t->vecs), rows = ceil_div(s->OH, t->rows);
    int64_t row = s->W * s->C * 4 + 1, in = row * s->H, weights = s->O * s->k * 4;
    int64_t reach = (s->win.kh - 1) * s->win.dh + 1;
    int64_t rows_that_fit = (fit / row - reach) / s->win.sh + 1; // of the output
    int64_t band = in <= fit ? rows : min_i64(rows, rows_that_fit / t->rows);
    if (band <= 0)
        return 0;
    int64_t by_bands = in + (weights <= fit ? 0 : weights * ceil_div(rows, band));
    return by_bands <= in * groups ? band : 0;
}

// ---------------------------------------------------------------- the pass

static int64_t lanewise_columns(const Shape *s, int64_t width) {
    // A kernel row's weights, the input vector and, in groups, its copies stay in registers too.
    int64_t most = s->registers - s->win.kw - (s->win.group == s->C ? 2 : 4);
    if (most < 4)
        most = 4;
    return min_i64(width, min_i64(most, 14));
}

// Text may name a Winograd kernel and its tile: it stays where the kernel can run.
static bool is_chosen(PassContext *ctx, const IrNode *n) {
    Winograd w;
    return strncmp(ir_str(n, IR_ATTR_ALGO, ""), "winograd", 8) == 0 &&
           ir_ints(n, IR_ATTR_TILE).n == 4 && schedule_winograd(n, ctx->opt, &w);
}

static void schedule_conv(PassContext *ctx, IrNode *n) {
    if (is_chosen(ctx, n))
        return;
    IrArena *a = ctx->prog->arena;
    Shape s = read_shape(n, ctx->opt);
    Tile t;
    const char *algo = "direct";
    if (is_lanewise(&s, ir_in(n, 0)->type.block)) {
        algo = s.win.group == s.C ? "depthwise" : "grouped";
        t = (Tile){1, lanewise_columns(&s, n->out[0]->type.shape.dim[3].c), 1, 0};
    } else {
        t = choose_tile(&s);
        t.band = choose_band(&s, &t);
        Winograd w;
        if (ctx->opt->winograd && schedule_winograd(n, ctx->opt, &w) &&
            w.cycles < conv_cost(&s, &t)) {
            algo = w.algo;
            t = (Tile){w.rows, w.cols, w.vecs, w.block};
        }
    }
    int64_t tile[] = {t.rows, t.cols, t.vecs, t.band};
    ir_set_attr(n, ir_attr_s(IR_ATTR_ALGO, algo));
    ir_set_attr(n, ir_attr_ints(a, IR_ATTR_TILE, 4, tile));
}

PassResult pass_schedule(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->first; n; n = n->next) {
        if (n->op != IR_OP_CONV || ir_in(n, 0)->type.shape.rank != 4)
            continue;
        const IrShape *y = &n->out[0]->type.shape;
        if (y->dim[2].n || y->dim[3].n || y->dim[1].c * y->dim[2].c * y->dim[3].c == 0)
            continue; // symbolic image sizes: the lowering reports them; empty ones need no code
        schedule_conv(ctx, n);
        r.changes++;
    }
    return r;
}
