// The schedule's model of Strassen's multiplication (codegen/conv/strassen.c) for 1x1 convolutions:
// pixels and vectors of a quarter of a tile, tiles of a band.
//
// Cycles of one core for one image, with the units of schedule/direct.c. A tile makes seven
// products of half its pixels, half its vectors and half the channels, in register tiles like those
// of the direct kernel; each costs its start, and moves of the accumulators between. The sums of
// the input take so many cycles for each vector of it. What the model does not know is kept out by
// limits: the weights are 7/4 of what they were, which images of few pixels would not repay; tiles
// of two sizes are twice the code, and that the larger part of a compilation, so only such are
// proposed as divide the pixels evenly.
//
// Beside the direct kernel on a Zen 5, one core: 96 to 192 channels at 14x14 1.04 to 1.07, 96 to
// 384 1.07, 384 to 128 1.04. 64 to 192 at 28x28 1.03, but 0.91 on two, 64 to 256 at 56x56 nothing.
// At 7x7 768 to 768 gain 1.06 alone; a network loses as much by what the larger weights take of
// the last cache: RegNetY-008 took 1.02 of its time, MobileNetV4 1.05.
// On an Intel server core it gains .87 to 1.05 alone, and weights come from memory for each image:
// ResNet-50 took 1.05 of its time, so that none is proposed where they do.
#include "passes/schedule/schedule.h"

enum {
    MIN_CHANNELS = 96, // below, starts cost what products save
    MIN_PIXELS = 64,   // below, 3/4 more memory for weights gains nothing
    MAX_VECTORS = 2,
    LEAST_ROWS = 8, // of a tile of MAX_VECTORS, in registers: smaller ones do not pay for the sums
    MOST_BAND = 1 << 20, // of the kernel
};

static const double start_cycles = 75; // a product of quarters, by the pace of the core
static const double sum_cycles = 4;    // a vector of x, and what it takes to come from beyond L2

typedef struct Layer {
    const IrMachine *machine;
    int64_t C, O, pixels, lanes, parts, registers, threads, images;
    double wide;  // cycles of a multiply-add of a block
    double pace;  // blocks of multiply-adds a cycle, at least 1
    int64_t band; // bytes of sums of a band
    double sum;   // cycles of a vector of x
} Layer;

// Bytes of sums of a band. A group's weights are more than L1 holds, so that tiles read them from
// L2 whatever the band; where all of them stay there from image to image, a band is what L1 holds:
// of ResNet-50 on an Intel server core, batch 16, 512 to 128 channels at 28x28 took .85 of the time
// that bands of L2 take, 128 to 512 and 512 to 256 .9, 1024 to 256 at 14x14 .93.
static int64_t band_bytes(const IrConv *c, const IrMachine *m) {
    bool stay = c->N.c > 1 && 7 * c->C * c->O <= ir_budget(m, IR_L2_WEIGHTS);
    return ir_budget(m, stay ? IR_L1_CHUNK : IR_L2_SUMS);
}

// Cycles of the sums of a vector of x: of images beyond L2 it comes from L3.
static double cycles_of_sum(const IrConv *c, const IrMachine *m, int64_t lanes) {
    double bytes = 4 * (double)lanes;
    bool far = 4 * c->C * c->OH * c->OW > ir_budget(m, IR_L2_IMAGE);
    return far && bytes / m->l3_rate > sum_cycles ? bytes / m->l3_rate : sum_cycles;
}

static bool read_layer(const IrConv *c, const PassOptions *opt, Layer *l) {
    *l = (Layer){.machine = opt->machine,
                 .C = c->C,
                 .O = c->O,
                 .pixels = c->OH * c->OW,
                 .lanes = opt->block,
                 .parts = ir_parts(opt->machine),
                 .registers = opt->machine->vector_registers - 1,
                 .threads = opt->threads > 0 ? opt->threads : 1,
                 .images = c->N.c + c->N.n,
                 .wide = (double)ir_parts(opt->machine) / opt->machine->products_a_cycle,
                 .band = band_bytes(c, opt->machine),
                 .sum = cycles_of_sum(c, opt->machine, opt->block)};
    l->pace = (double)ir_max(1, opt->machine->products_a_cycle / ir_parts(opt->machine));
    return c->flat && c->w.group == 1 && c->x_block == opt->block && l->pixels > 1 &&
           l->C % (2 * l->lanes) == 0;
}

// The most pixels of a register tile of `vecs` vectors
static int64_t most_rows(const Layer *l, int64_t vecs) {
    return (l->registers - 1 - vecs * l->parts) / (vecs * l->parts);
}

static bool tile_fits(const Layer *l, int64_t rows, int64_t vecs) {
    return rows >= 1 && vecs >= 1 && rows < l->registers && vecs < l->registers &&
           rows * vecs + vecs + 1 <= l->registers && l->O % (2 * vecs * l->lanes) == 0;
}

static double tile_cycles(const Layer *l, int64_t rows, int64_t vecs) {
    double fma = (double)(rows * vecs) * l->wide;
    double load = (double)vecs * l->wide + (double)rows / 2, half = (double)l->C / 2;
    double step = fma > load ? fma : load;
    if (vecs * l->parts == 1)
        step += l->wide * pass_schedule_loads(l->machine);
    return 7 * (half * (step < 4 ? 4 : step) + start_cycles / l->pace) + 10 * fma + 60;
}

static double layer_cycles(const Layer *l, int64_t rows, int64_t vecs) {
    int64_t tiles = ir_ceil_div(l->pixels, 2 * rows), groups = l->O / (2 * vecs * l->lanes);
    int64_t size = ir_ceil_div(ir_ceil_div(l->pixels, tiles), 2),
            tasks = tiles * groups * l->images;
    double balance = (double)(ir_ceil_div(tasks, l->threads) * l->threads) / (double)tasks;
    double sums = (double)(l->pixels * l->C / l->lanes) * l->sum;
    return (double)(tiles * groups) * tile_cycles(l, size, vecs) * balance + sums;
}

static int64_t choose_band(const Layer *l, const PassOptions *opt, int64_t rows) {
    int64_t tiles = ir_ceil_div(l->pixels, 2 * rows), bytes = 4 * 4 * rows * l->C / 2;
    int64_t most = l->band / bytes;
    return most < 1 ? 1 : ir_min(most, pass_schedule_share(tiles, opt));
}

void pass_schedule_propose_strassen(IrConvAlgo algo, const IrConv *c, const PassOptions *opt,
                                    ScheduleList *list) {
    Layer l;
    if (pass_schedule_comes_from_memory(opt) || !read_layer(c, opt, &l) || l.C < MIN_CHANNELS ||
        l.pixels < MIN_PIXELS || most_rows(&l, MAX_VECTORS) < LEAST_ROWS)
        return;
    for (int64_t v = 1; v <= MAX_VECTORS; v++) {
        int64_t most = ir_min(most_rows(&l, v), (l.pixels + 1) / 2);
        if (most < 1 || !tile_fits(&l, most, v) || l.pixels % ir_ceil_div(l.pixels, 2 * most))
            continue;
        int64_t tiles = ir_ceil_div(l.pixels, 2 * most),
                rows = ir_ceil_div(ir_ceil_div(l.pixels, tiles), 2);
        IrConvTile t = {.rows = (int32_t)rows,
                        .cols = 1,
                        .vecs = (int32_t)v,
                        .band = (int32_t)choose_band(&l, opt, rows)};
        pass_schedule_add(list, &(PassSchedule){algo, t, layer_cycles(&l, rows, v)});
    }
}

bool pass_schedule_fits_strassen(const IrConv *c, const PassOptions *opt, const IrConvTile *t) {
    Layer l;
    return read_layer(c, opt, &l) && tile_fits(&l, t->rows, t->vecs) && t->cols == 1 &&
           t->band >= 1 && t->band <= MOST_BAND;
}
