// The schedule's model of direct convolution.
//
// The model counts cycles of one core with one fused multiply-add of 16 floats and one load of 16
// or two broadcast loads a cycle (vectors of 8 and 4: two each), a latency of 4. A tile of p
// pixels and v vectors takes per input channel and tap max(p*v, v + p/2, 4) (4.25 where a pixel is
// loaded before its products), plus a tenth (what is not hidden) of streaming v vectors of weights
// from where their panel stays and p pixels from L2, plus the prologue and stores once. Threads
// take whole tasks, a row of tiles of a group of vectors, so few of them may not divide evenly.
// Every tile whose registers fit is tried. What the model does not know, such as what the code
// generator makes of a tile, is kept out by the register limit. Products are of words, 4 bytes of a
// pixel's channels, whose dot takes as many instructions and registers as ir_dot() says: channels
// are counted in words.
#include "passes/schedule/schedule.h"

enum {
    MAX_VECTORS = 6,
    MAX_ROWS = 32,    // of a tile, in the code generator
    MAX_MEASURED = 4, // proposed, besides other orders of tasks
};

typedef struct Shape {
    IrConv c;
    const PassOptions *opt;
    const IrMachine *machine;
    IrDot dot;
    int64_t lanes, registers; // lanes: of a block, which takes `parts` registers
    int64_t parts;
    int64_t bytes;        // of an element of x
    int64_t k;            // products of one output element, of words
    int64_t sets, blocks; // output vectors: `sets` times `blocks`
    int64_t threads, images;
    int64_t l1, l2; // bytes of a panel, of a tensor that stay there
} Shape;

typedef struct Tile {
    int64_t rows, cols, vecs, band;
} Tile;

static Shape read_shape(const IrConv *c, const PassOptions *opt) {
    Shape s = {.c = *c,
               .opt = opt,
               .machine = opt->machine,
               .lanes = opt->block,
               .parts = ir_parts(opt->machine),
               .threads = ir_max(1, opt->threads),
               .l1 = ir_budget(opt->machine, IR_L1_PANEL),
               .l2 = ir_budget(opt->machine, IR_L2_IMAGE)};
    s.registers = ir_tile_registers(opt->machine);
    s.dot = ir_dot(opt->machine, c->dtype);
    s.bytes = ir_dtype_bytes(c->dtype);
    const IrWindow *w = &s.c.w;
    bool whole = w->group > 1 && s.c.og % s.lanes == 0;
    s.images = ir_max(1, s.c.N.c + s.c.N.n);
    s.sets = whole ? w->group : 1;
    s.blocks = ir_ceil_div(whole ? s.c.og : s.c.O, s.lanes);
    s.k = ir_ceil_div(s.c.cg, ir_word(c->dtype)) * w->kh * w->kw;
    return s;
}

// ---------------------------------------------------------------- the register tile

// Cycles of one instruction of a product
static double product_cost(const Shape *s) {
    bool pairs = s->c.dtype == IR_BF16 && s->dot.kind == IR_DOT_SUM;
    return 1.0 / (pairs ? s->machine->pairs_a_cycle : s->machine->products_a_cycle);
}

// Cycles of one tile with p pixels and v vectors
static double tile_cost(const Shape *s, int64_t p, int64_t v) {
    double wide = 1.0 / s->machine->products_a_cycle;
    double fma = (double)(p * v * s->parts * s->dot.steps) * product_cost(s);
    fma += (double)((s->dot.x - 1) * 2 * p + (s->dot.w - 1) * 3 * v * s->parts) * wide; // opened
    double load = (double)(v * s->parts) * wide + (double)p / 2 / s->dot.row;
    double step = fma > load ? fma : load;
    if (v * s->parts == 1)
        step += wide * pass_schedule_loads(s->machine);
    bool loads = s->dot.kind == IR_DOT_PRODUCT && !s->dot.memory && s->dot.row == 1;
    double latency = loads ? 4.25 : 4;
    if (step < latency)
        step = latency;
    int64_t panel = s->k * v * s->lanes * 4;
    double stream = (double)(v * s->lanes * 4);
    stream *= panel <= s->l1 ? 0 : panel <= s->l2 ? 1.0 / 20 : 1.0 / 8;
    double far = s->c.C * s->c.H * s->c.W * s->bytes > s->l2 ? 8 : 20;
    stream += (double)(p * s->c.w.sw * 4) / (double)s->c.w.kw / far;
    return (double)s->k * (step + 0.1 * stream) + 2.5 * fma + 25;
}

// n parts of at most `max`, as equal as can be, as the code generator cuts them: *big of *size,
// the rest of *size - 1.
static void cut(int64_t total, int64_t max, int64_t *n, int64_t *size, int64_t *big) {
    *n = ir_ceil_div(total, max);
    *size = ir_ceil_div(total, *n);
    *big = *n - (*n * *size - total);
}

// Cycles of one image, as if all threads' time were one core's
static double conv_cost(const Shape *s, const Tile *t) {
    int64_t n[3], size[3], big[3];
    cut(s->c.OH, t->rows, &n[0], &size[0], &big[0]);
    cut(s->c.OW, t->cols, &n[1], &size[1], &big[1]);
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
    bool variants = t->rows > 1 && s->c.w.kh > 1;
    int64_t tasks = s->images * s->sets * n[2] * n[0];
    double balance = (double)(ir_ceil_div(tasks, s->threads) * s->threads) / (double)tasks;
    return cycles * (double)s->sets * balance * (variants ? 1.01 : 1);
}

static bool tile_fits(const Shape *s, const Tile *t) {
    int64_t pixels = t->rows * t->cols, vectors = t->vecs * s->parts;
    const IrDot *d = &s->dot;
    // With one vector each broadcast is used once, and without broadcasting operands its register
    // takes the sum: accumulators wander and need room to.
    int64_t wander = d->kind == IR_DOT_PRODUCT && !d->memory && vectors == 1 ? 4 : 0;
    int64_t taken = (pixels + d->w) * vectors + ir_dot_x(d, (int)pixels) + d->spare + wander;
    return taken <= s->registers || (pixels * t->vecs == 1 && d->kind != IR_DOT_PRODUCT);
}

static int64_t most_vectors(const Shape *s) {
    bool mixed = s->c.w.group > 1 && s->c.og % s->lanes; // groups inside a vector
    return mixed ? 1 : ir_min(s->blocks, MAX_VECTORS);
}

// ---------------------------------------------------------------- the order of tasks

// Compares the bytes that come from beyond L2, per image: with output channels outermost the input
// comes again for each group of vectors; with bands of the input the weights come again for each
// band, unless they stay. Where they do, threads have bands of their own.
static int64_t choose_band(const Shape *s, const Tile *t) {
    const int64_t fit = ir_budget(s->machine, IR_L2_INPUT);
    int64_t groups = s->sets * ir_ceil_div(s->blocks, t->vecs),
            rows = ir_ceil_div(s->c.OH, t->rows);
    int64_t row = s->c.W * s->c.C * s->bytes + 1, in = row * s->c.H, weights = s->c.O * s->k * 4;
    int64_t reach = (s->c.w.kh - 1) * s->c.w.dh + 1;
    int64_t rows_that_fit = (fit / row - reach) / s->c.w.sh + 1; // of the output
    int64_t band = in <= fit ? rows : ir_min(rows, rows_that_fit / t->rows);
    if (band <= 0)
        return 0;
    int64_t by_bands = in + (weights <= fit ? 0 : weights * ir_ceil_div(rows, band));
    if (by_bands > in * groups)
        return 0;
    return weights <= s->l2 ? ir_min(band, pass_schedule_share(rows, s->opt)) : band;
}

// ---------------------------------------------------------------- candidates

static PassSchedule schedule_of(IrConvAlgo algo, const Tile *t, double cycles) {
    IrConvTile tile = {.rows = (int32_t)t->rows,
                       .cols = (int32_t)t->cols,
                       .vecs = (int32_t)t->vecs,
                       .band = (int32_t)t->band};
    return (PassSchedule){algo, tile, cycles};
}

// Tiles are cut as equal as can be: a smaller one may come to the same.
static bool comes_smaller(int64_t total, int64_t part) {
    return part > 1 && ir_ceil_div(total, part) == ir_ceil_div(total, part - 1);
}

// The best tiles of v vectors
static void add_tiles(IrConvAlgo algo, const Shape *s, int64_t v, ScheduleList *list) {
    int64_t rows = ir_min(ir_min(s->registers, MAX_ROWS), s->c.OH);
    int64_t cols = ir_min(s->registers, s->c.OW);
    for (int64_t r = 1; r <= rows; r++)
        for (int64_t c = 1; c <= cols; c++) {
            Tile t = {r, c, v, 0};
            // Several rows only where one row is not enough, or where pixels are one column.
            bool sensible = r == 1 || s->c.flat || (c == s->c.OW && r <= 4);
            if (!sensible || comes_smaller(s->c.OH, r) || comes_smaller(s->c.OW, c) ||
                !tile_fits(s, &t))
                continue;
            t.band = choose_band(s, &t);
            PassSchedule p = schedule_of(algo, &t, conv_cost(s, &t));
            pass_schedule_add(list, &p);
        }
}

// The other order of tasks: false when there is none, for one image.
static bool reorder_tasks(const Shape *s, IrConvTile *t) {
    int64_t rows = ir_ceil_div(s->c.OH, t->rows),
            groups = s->sets * ir_ceil_div(s->blocks, t->vecs);
    if (groups == 1 || rows < 4 || t->band >= rows)
        return false;
    t->band = t->band ? 0 : (int32_t)(rows / 4);
    return true;
}

// The model hardly knows which order is faster. The other one of the two best tiles gets a price at
// which it is measured, but never chosen.
static void add_orders(const Shape *s, const ScheduleList *best, ScheduleList *list) {
    for (int i = 0; i < 2 && i < best->n; i++) {
        PassSchedule other = best->v[i];
        other.cycles = PASS_SCHEDULE_MEASURED * best->v[0].cycles;
        if (reorder_tasks(s, &other.tile))
            pass_schedule_add(list, &other);
    }
}

// No more than two for each number of vectors: others differ little from them.
void pass_schedule_propose_direct(IrConvAlgo algo, const IrConv *c, const PassOptions *opt,
                                  ScheduleList *list) {
    Shape s = read_shape(c, opt);
    ScheduleList best = {.max = MAX_MEASURED};
    if (pass_schedule_is_lanewise(c, opt))
        return;
    for (int64_t v = 1; v <= most_vectors(&s); v++) {
        ScheduleList some = {.max = 2};
        if (!comes_smaller(s.blocks, v))
            add_tiles(algo, &s, v, &some);
        pass_schedule_add_all(&best, &some);
    }
    pass_schedule_add_all(list, &best);
    add_orders(&s, &best, list);
}

bool pass_schedule_fits_direct(const IrConv *c, const PassOptions *opt, const IrConvTile *tile) {
    Shape s = read_shape(c, opt);
    Tile t = {tile->rows, tile->cols, tile->vecs, tile->band};
    const int64_t sizes[] = {t.rows, t.cols, t.vecs};
    for (int i = 0; i < 3; i++)
        if (sizes[i] < 1 || sizes[i] > s.registers)
            return false;
    return !pass_schedule_is_lanewise(c, opt) && t.rows <= MAX_ROWS && t.band >= 0 &&
           t.vecs <= most_vectors(&s) && tile_fits(&s, &t);
}
