// The schedule's model of Winograd convolution: output tile, vectors of a product, tiles of a
// block. Weights that no cache keeps are read once for tiles of several images, where a run has
// them: at batch 16, 512 channels at 7x7 took 31 ms so, else 71 (a Zen 3 beside other work).
//
// Cycles of one core for one image, with the units of schedule/direct.c. An output tile of m x m
// pixels has E = (m + 2)^2 points (for 3x3 kernels, (2 m + 1)^2 with stride 2); tiles are cut into
// blocks. For each block and group of v output vectors, each point is a product of the block's
// tiles and C x v weights, in register tiles of p tiles by v vectors that cost C * max(p*v, v +
// p/2, 4), and a start until the accumulators are full and an end until they are stored. Meanwhile
// there stream
//   the weights of all points, once for each block, from where they stay (L2, L3 or memory; where
//   memory is much slower than L3, those of the whole network have to stay there);
//   again from L2 for each further register tile, where those of one point and group exceed L1;
//   the block's transformed input, V, once for each group, and the products M, from L2 or, if both
//   are too large to stay there, L3.
// The stream is a lower bound of the products, and a part of it adds to them. Transforms take so
// many cycles for each point of a vector. Tiles that reach past the image's end cost as much as
// others. Threads take whole groups of blocks, so few of them may not divide evenly; where a block
// is cut between threads, each transforms its input, of which others wrote a part: it comes from
// their caches, a line at a time.
//
// The constants were fitted to 1,400 timings that `hone compile --autotune -v` printed for 128
// convolutions of seven networks on one and two cores of a Zen 4: least time lost by the choice,
// then least error of the logarithm (0.09 on one core). A core that starts more multiply-adds of a
// whole block than Zen 4's one a cycle has an L2 as much faster, and starts and exchanges take it
// as much less: of ten layers of ResNet-50 and MobileNetV4 on a Zen 5 the choice takes at most 1.03
// of the fastest. Groups of 16 channels have short products, each by weights of its own: behind a
// mesh RegNetY's took 1.5 to 2.5 times what is counted.
#include "passes/schedule/schedule.h"

enum {
    MAX_VECTORS = 3, // more make register tiles too low to pay for their weights
    MAX_BLOCK = 32,   // of one image
    MOST_IMAGES = 16, // in a block
    MOST_VECTORS = 32, // of the kernel
    MOST_BLOCK = 1024,
    THREADS = 2, // where nothing is known
};
static const double l2_rate = 13; // bytes a cycle
static const double fitted_l3_rate = 11.5; // likewise, of the fitted core from L3
static const double exchange_cycles = 5; // a byte of input that another core has written
static const double hidden = 0.83;       // part of a stream
static const double start_cycles = 75;   // a register tile
static const double far_groups = 1.8; // times what is counted, where L3 is slower than that core's
static const double input_cycles = 3.3, output_cycles = 2.8; // a point of one vector

typedef struct Layer {
    int64_t C, in_blocks, out_blocks, OH, OW, kh, kw, sh, sw; // C: that a result sums over
    int64_t sets, blocks; // output vectors: `sets` times `blocks`, those of a group
    int64_t lanes;
    const IrMachine *machine;
    double wide;    // cycles of a multiply-add of a block
    double pace;    // of a core whose vectors are as wide as a block: multiply-adds a cycle, of the
                    // fitted one's
    double l2_rate, far_rate; // bytes a cycle; far: of weights that do not stay in L2
    double l1_point, l2_block, l2_image, l2_layer, l3_layer, scratch, // IrBudget
        far_scratch;
    int threads;
    int64_t images; // of a run, at most MOST_IMAGES
} Layer;

typedef struct Winograd {
    int64_t rows, cols; // of an output tile
    int64_t vecs;       // output vectors of a product
    int64_t block;      // output tiles that are transformed together
} Winograd;

// Output tiles that are tried; m = 1 along an axis with one row or column of weights
static const struct Choice {
    IrConvAlgo algo;
    int64_t kh, kw, stride, mh, mw;
} choices[] = {
    {IR_CONV_WINOGRAD2, 3, 3, 1, 2, 2}, {IR_CONV_WINOGRAD4, 3, 3, 1, 4, 4},
    {IR_CONV_WINOGRAD4, 3, 3, 1, 4, 2}, {IR_CONV_WINOGRAD2, 1, 3, 1, 1, 2},
    {IR_CONV_WINOGRAD4, 1, 3, 1, 1, 4}, {IR_CONV_WINOGRAD2, 3, 1, 1, 2, 1},
    {IR_CONV_WINOGRAD4, 3, 1, 1, 4, 1}, {IR_CONV_WINOGRAD2, 1, 7, 1, 1, 2},
    {IR_CONV_WINOGRAD4, 1, 7, 1, 1, 4}, {IR_CONV_WINOGRAD2, 7, 1, 1, 2, 1},
    {IR_CONV_WINOGRAD4, 7, 1, 1, 4, 1}, {IR_CONV_WINOGRAD2, 5, 5, 1, 2, 2},
    {IR_CONV_WINOGRAD2, 3, 3, 2, 2, 2}, {IR_CONV_WINOGRAD4, 3, 3, 2, 4, 4},
    {IR_CONV_WINOGRAD4, 3, 3, 2, 4, 2}, {IR_CONV_WINOGRAD4, 3, 3, 2, 3, 3},
};

static double max_double(double a, double b) {
    return a > b ? a : b;
}

static double product_cycles(const Layer *l, int64_t p, int64_t v) {
    double fma = (double)(p * v) * l->wide, load = (double)v * l->wide + (double)p / 2;
    return (double)l->C * max_double(max_double(fma, load), 4) + start_cycles / l->pace;
}

// One point of one group for `tiles` tiles in register tiles of p
static double point_cycles(const Layer *l, int64_t tiles, int64_t p, int64_t v) {
    double cycles = (double)(tiles / p) * product_cycles(l, p, v);
    return tiles % p ? cycles + product_cycles(l, tiles % p, v) : cycles;
}

static int64_t register_tile(const Layer *l, int64_t block, int64_t v) {
    int64_t most = ir_winograd_tiles(l->machine, (int)v);
    if (most < 1)
        return 0;
    return ir_ceil_div(block, ir_ceil_div(block, most));
}

static int64_t points(const Layer *l, const Winograd *w) {
    return ir_conv_winograd_points(w->rows, l->kh, l->sh) *
           ir_conv_winograd_points(w->cols, l->kw, l->sw);
}

static int64_t weight_bytes(const Layer *l, const Winograd *w) {
    return 4 * ir_conv_winograd_filters(w->rows, l->kh, l->sh) *
           ir_conv_winograd_filters(w->cols, l->kw, l->sw) * l->C * l->out_blocks * l->lanes;
}

// That a block may hold tiles of: of several where no cache keeps the weights.
static int64_t block_images(const Layer *l, const Winograd *w) {
    return (double)weight_bytes(l, w) > l->l3_layer ? l->images : 1;
}

static int64_t all_tiles(const Layer *l, const Winograd *w) {
    return ir_ceil_div(l->OH, w->rows) * ir_ceil_div(l->OW, w->cols) * block_images(l, w);
}

// Of the transformed input and a group's products for a full block
static int64_t input_bytes(const Layer *l, const Winograd *w) {
    return 4 * points(l, w) * w->block * l->in_blocks * l->lanes;
}
static int64_t product_bytes(const Layer *l, const Winograd *w) {
    return 4 * points(l, w) * w->block * w->vecs * l->lanes;
}

// What `count` tiles of a block, in register tiles of p, read from beyond L1, in cycles
static double stream_cycles(const Layer *l, const Winograd *w, int64_t count, int64_t p) {
    double weights = (double)weight_bytes(l, w), input = (double)input_bytes(l, w);
    double all = weights + input + (double)product_bytes(l, w);
    double far = weights <= l->l3_layer ? l->far_rate : l->machine->memory_rate;
    double stream = weights / (all <= l->l2_layer ? l->l2_rate : far);
    if ((double)(4 * l->lanes * w->vecs * l->C) > l->l1_point)
        stream += (double)(ir_ceil_div(count, p) - 1) * weights / l->l2_rate;
    double groups = (double)ir_ceil_div(l->blocks, w->vecs); // that read the same input
    double part = (double)count / (double)w->block;
    double products = (double)product_bytes(l, w);
    bool stays = input + products <= l->l2_block;
    double again = (input + products * (double)l->sets) * part * groups;
    return stream + again / (stays ? l->l2_rate : l->machine->l3_rate);
}

// A block of several images comes from L3.
static bool fits_scratch(const Layer *l, const Winograd *w) {
    double most = block_images(l, w) > 1 ? l->far_scratch : l->scratch;
    return w->block == 1 || (double)(input_bytes(l, w) + product_bytes(l, w)) <= most;
}

// Cycles of one image; 0: it does not fit
static double layer_cycles(const Layer *l, const Winograd *w) {
    int64_t v = w->vecs, p = register_tile(l, w->block, v), tiles = all_tiles(l, w);
    int64_t blocks = ir_ceil_div(tiles, w->block);
    int64_t groups = l->sets * ir_ceil_div(l->blocks, v);
    if (p == 0 || !fits_scratch(l, w))
        return 0;
    double products = 0, E = (double)points(l, w);
    for (int64_t b = 0; b < blocks; b++) {
        int64_t count = ir_min(w->block, tiles - b * w->block);
        double cycles = (double)(l->blocks / v) * point_cycles(l, count, p, v);
        if (l->blocks % v)
            cycles += point_cycles(l, count, p, l->blocks % v);
        cycles *= (double)l->sets;
        double stream = stream_cycles(l, w, count, p);
        products += max_double(E * cycles, stream) + (1 - hidden) * stream;
    }
    double tasks = (double)(blocks * groups), n = l->threads;
    double balance = (double)ir_ceil_div(blocks * groups, l->threads) * n / tasks;
    double cut = (double)(ir_ceil_div(blocks, l->threads) * l->threads) / (double)blocks;
    double input = (double)(tiles * l->in_blocks) * E * input_cycles * l->wide * cut;
    double bytes = (double)(4 * l->in_blocks * l->lanes * l->OH * l->sh * l->OW * l->sw);
    bytes *= (double)block_images(l, w);
    input += bytes * exchange_cycles / l->pace * (cut - 1);
    input += bytes > l->l2_image ? bytes / l->machine->l3_rate : 0;
    double output = (double)(tiles * l->out_blocks) * E * output_cycles * l->wide;
    double groups_wait = l->sets > 1 && l->machine->l3_rate < fitted_l3_rate ? far_groups : 1;
    double cycles = (input + (products + output) * balance) * groups_wait;
    return cycles / (double)block_images(l, w);
}

static bool read_layer(const IrConv *c, const PassOptions *opt, Layer *l) {
    const IrWindow *w = &c->w;
    if (w->sh != w->sw || w->sh > 2 || w->dh != 1 || w->dw != 1 || c->x_block != opt->block)
        return false;
    int64_t lanes = opt->block, sets = w->group;
    if (sets > 1 && (c->cg % lanes || c->og % lanes)) // groups in vectors
        return false;
    int64_t pace = ir_max(1, opt->machine->products_a_cycle / ir_parts(opt->machine));
    *l = (Layer){.C = c->cg,
                 .OH = c->OH,
                 .OW = c->OW,
                 .kh = w->kh,
                 .kw = w->kw,
                 .sh = w->sh,
                 .sw = w->sw,
                 .lanes = opt->block,
                 .wide = (double)ir_parts(opt->machine) / opt->machine->products_a_cycle,
                 .pace = (double)pace,
                 .l2_rate = l2_rate * (double)pace,
                 .machine = opt->machine,
                 .threads = opt->threads > 0 ? opt->threads : THREADS,
                 .l1_point = (double)ir_budget(opt->machine, IR_L1_POINT),
                 .l2_block = (double)ir_budget(opt->machine, IR_L2_BLOCK),
                 .l2_image = (double)ir_budget(opt->machine, IR_L2_IMAGE),
                 .l2_layer = (double)ir_budget(opt->machine, IR_L2_LAYER),
                 .l3_layer = (double)ir_budget(opt->machine, IR_L3_LAYER),
                 .scratch = (double)ir_budget(opt->machine, IR_L2_TWICE),
                 .far_scratch = (double)ir_budget(opt->machine, IR_L3_BLOCK),
                 .images = c->N.n ? ir_max(1, ir_min(opt->images, MOST_IMAGES)) : 1};
    bool far = pass_schedule_comes_from_memory(opt);
    l->far_rate = far ? l->machine->memory_rate : l->machine->l3_rate;
    l->in_blocks = ir_ceil_div(c->C, lanes);
    l->sets = sets;
    l->blocks = ir_ceil_div(c->og, lanes);
    l->out_blocks = sets * l->blocks;
    return true;
}

// The best blocks for one output tile and number of vectors
static void add_blocks(const Layer *l, const struct Choice *c, int64_t v, ScheduleList *list) {
    for (int64_t block = 1; block <= MAX_BLOCK * l->images; block++) {
        Winograd w = {c->mh, c->mw, v, block};
        int64_t tiles = all_tiles(l, &w);
        if (block != ir_ceil_div(tiles, ir_ceil_div(tiles, block)))
            continue; // as many blocks could be more even
        double cycles = layer_cycles(l, &w);
        IrConvTile t = {.vecs = (int32_t)v,
                        .out_rows = (int32_t)w.rows,
                        .out_cols = (int32_t)w.cols,
                        .block = (int32_t)block};
        if (cycles > 0)
            pass_schedule_add(list, &(PassSchedule){c->algo, t, cycles});
    }
}

// No more than two for each output tile and number of vectors: others differ little from them.
void pass_schedule_propose_winograd(IrConvAlgo algo, const IrConv *c, const PassOptions *opt,
                                    ScheduleList *list) {
    Layer l;
    if (!read_layer(c, opt, &l))
        return;
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        const struct Choice *m = &choices[i];
        if (m->algo != algo || m->kh != l.kh || m->kw != l.kw || m->stride != l.sh)
            continue;
        for (int64_t v = 1; v <= ir_min(l.blocks, MAX_VECTORS); v++) {
            ScheduleList some = {.max = 2};
            add_blocks(&l, m, v, &some);
            pass_schedule_add_all(list, &some);
        }
    }
}

// Some choice cuts an axis of `k` weights into tiles of `m`.
static bool has_axis(int64_t k, int64_t stride, int64_t m) {
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        if (choices[i].stride == stride && ((choices[i].kh == k && choices[i].mh == m) ||
                                            (choices[i].kw == k && choices[i].mw == m)))
            return true;
    return false;
}

// A node may name tiles that the model does not try: the kernel can run any.
bool pass_schedule_fits_winograd(const IrConv *c, const PassOptions *opt, const IrConvTile *t) {
    Layer l;
    return read_layer(c, opt, &l) && has_axis(l.kh, l.sh, t->out_rows) &&
           has_axis(l.kw, l.sw, t->out_cols) && t->vecs >= 1 && t->vecs <= MOST_VECTORS &&
           t->block >= 1 && t->block <= MOST_BLOCK;
}
