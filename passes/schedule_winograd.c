// The schedule's model of Winograd convolution: output tile, vectors of a product, tiles of a block.
//
// Cycles of one core for one image, with the units of schedule.c. A layer with T output tiles of m x m
// pixels has E = (m + 2)^2 points (for 3x3 kernels); its tiles are cut into blocks. For each block and group of v
// output vectors, each point is a product of the block's tiles and C x v weights: register tiles of
// p tiles by v vectors cost C * max(p*v, v + p/2, 4) plus their stores. The weights of all points,
// 4 * E * C * O bytes, are read once for each block; what their stream takes from where they stay (L2,
// L3 or memory) is a lower bound of the products and a part of it adds to them. Transforms
// take so many cycles for each point of a vector. Tiles that reach past the image's end cost as much as
// others. Threads take whole groups of blocks, so few of them may not divide evenly.
#include "passes/schedule.h"

enum {
    MAX_VECTORS = 6,
    MAX_BLOCK = 32,
    L2_BYTES = 768 << 10,   // what V, M and a group's weights may take of it
    L3_BYTES = 12 << 20,
    THREADS = 2,            // where nothing is known
};
static const double input_cycles = 4.5, output_cycles = 4.5; // for each point of one vector
static const double l2_rate = 32, l3_rate = 14, memory_rate = 7; // bytes a cycle

typedef struct Layer {
    int64_t C, in_blocks, out_blocks, OH, OW, kh, kw;
    int64_t lanes, registers;
    double wide; // cycles of a vector multiply-add
    int threads;
} Layer;

// Output tiles that are tried; m = 1 along an axis with one row or column of weights
static const struct Choice {
    const char *algo;
    int64_t kh, kw, mh, mw;
} choices[] = {
    {"winograd2", 3, 3, 2, 2},
    {"winograd4", 3, 3, 4, 4},
    {"winograd4", 3, 3, 4, 2},
    {"winograd2", 1, 3, 1, 2},
    {"winograd4", 1, 3, 1, 4},
    {"winograd2", 3, 1, 2, 1},
    {"winograd4", 3, 1, 4, 1},
    {"winograd2", 1, 7, 1, 2},
    {"winograd4", 1, 7, 1, 4},
    {"winograd2", 7, 1, 2, 1},
    {"winograd4", 7, 1, 4, 1},
    {"winograd2", 5, 5, 2, 2},
};

static int64_t min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static double max_double(double a, double b) { return a > b ? a : b; }

static double product_cycles(const Layer *l, int64_t p, int64_t v)
{
    double fma = (double)(p * v) * l->wide, load = (double)v * l->wide + (double)p / 2;
    return (double)l->C * max_double(max_double(fma, load), 4) + 2.5 * fma + 25;
}

// One point of one group for `tiles` tiles in register tiles of p
static double point_cycles(const Layer *l, int64_t tiles, int64_t p, int64_t v)
{
    double cycles = (double)(tiles / p) * product_cycles(l, p, v);
    return tiles % p ? cycles + product_cycles(l, tiles % p, v) : cycles;
}

static int64_t register_tile(const Layer *l, int64_t block, int64_t v)
{
    int64_t most = (l->registers - v - 1) / v;
    if (most < 1)
        return 0;
    return ceil_div(block, ceil_div(block, most));
}

// The choice's cycles for blocks of at most w->block tiles; 0: it does not fit
static double layer_cycles(const Layer *l, const Winograd *w)
{
    int64_t v = w->vecs, p = register_tile(l, w->block, v);
    int64_t E = (w->rows + l->kh - 1) * (w->cols + l->kw - 1);
    int64_t tiles = ceil_div(l->OH, w->rows) * ceil_div(l->OW, w->cols);
    int64_t blocks = ceil_div(tiles, w->block), groups = ceil_div(l->out_blocks, v);
    int64_t scratch = 4 * E * w->block * l->lanes * (l->in_blocks + v);
    if (p == 0 || (scratch > L2_BYTES && w->block > 4))
        return 0;
    double weights = 4.0 * (double)(E * l->C * l->out_blocks * l->lanes);
    double rate = weights + (double)scratch <= L2_BYTES ? l2_rate
                  : weights <= L3_BYTES                 ? l3_rate
                                                        : memory_rate;
    double products = 0;
    for (int64_t b = 0; b < blocks; b++) {
        int64_t count = min_i64(w->block, tiles - b * w->block);
        double cycles = (double)(l->out_blocks / v) * point_cycles(l, count, p, v);
        if (l->out_blocks % v)
            cycles += point_cycles(l, count, p, l->out_blocks % v);
        double stream = weights / rate;
        products += max_double((double)E * cycles, stream) + 0.2 * stream;
    }
    double tasks = (double)(blocks * groups), n = l->threads;
    double balance = (double)ceil_div(blocks * groups, l->threads) * n / tasks;
    double input = (double)(tiles * l->in_blocks * E) * input_cycles * l->wide;
    double output = (double)(tiles * l->out_blocks * E) * output_cycles * l->wide;
    return input + (products + output) * balance;
}

static bool read_layer(const IrNode *n, const PassOptions *opt, Layer *l)
{
    IrWindow w = ir_window(n);
    const IrType *x = &ir_in(n, 0)->type;
    const IrShape *y = &n->out[0]->type.shape;
    if (w.sh != 1 || w.sw != 1 || w.dh != 1 || w.dw != 1 || w.group != 1 || x->block != opt->block)
        return false;
    *l = (Layer){.C = x->shape.dim[1].c, .OH = y->dim[2].c, .OW = y->dim[3].c, .kh = w.kh,
                 .kw = w.kw, .lanes = opt->block, .wide = opt->block > 8 ? 1 : 0.5,
                 .registers = opt->vector_registers - (opt->block > 4 ? 1 : 4),
                 .threads = opt->threads > 0 ? opt->threads : THREADS};
    l->in_blocks = ceil_div(l->C, l->lanes);
    l->out_blocks = ceil_div(y->dim[1].c, l->lanes);
    return true;
}

bool schedule_winograd(const IrNode *n, const PassOptions *opt, Winograd *out)
{
    Layer l;
    bool found = false;
    if (!read_layer(n, opt, &l))
        return false;
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        const struct Choice *c = &choices[i];
        if (c->kh != l.kh || c->kw != l.kw)
            continue;
        for (int64_t v = 1; v <= min_i64(l.out_blocks, MAX_VECTORS); v++)
            for (int64_t block = 1; block <= MAX_BLOCK; block++) {
                Winograd w = {c->algo, c->mh, c->mw, v, block, 0};
                w.cycles = layer_cycles(&l, &w);
                if (w.cycles > 0 && (!found || w.cycles < out->cycles)) {
                    *out = w;
                    found = true;
                }
            }
    }
    return found;
}
