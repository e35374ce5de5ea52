// The schedule's model of convolution on matrix tiles (codegen/conv/amx.c): AMX.
//
// Its constants are those of a product alone, 16 cycles for 16 rows, taken to be as many as it has
// rows, 52 until its sums can be added to again, and estimates: on a machine with AMX what it chose
// was measured (tests/bench/README.md, AMX), other constants were not. A strip takes for each piece
// the most of
//
//   its products' rows; what its loads of tiles take, rows of 64 bytes: two a cycle from L1, one in
//   LINE_L2 cycles from L2, in LINE_FAR from beyond; 52
//
// then, for each vector of its results, what it takes to store it, load it again and make of it
// what the epilogue says. A band's lines are copied once a band, a block of a pixel at a time.
#include "passes/schedule/schedule.h"

enum {
    MOST_SUMS = 4,
    MOST_ROWS = 16,
    MAX_MEASURED = 4, // proposed
    MOST_IMAGES = 16, // of a band
    FEWEST_PIXELS = 4,
    FEW_PIECES = 6, // of a strip that is finished at once
    LATENCY = 52,
    PER_STRIP = 60,
};
static const double line_l1 = 0.5, line_l2 = 1.5, line_far = 4; // cycles for 64 bytes
static const double per_vector = 5;                             // of the epilogue
static const double copy_blocks = 2, copy_pixels = 1;           // 16 bytes

static bool applies(const IrConv *c, const PassOptions *opt) {
    const IrMachine *m = opt->machine;
    bool has = c->dtype == IR_BF16 ? m->dot_bf16 & IR_DOT_BF16_AMX : m->dot_i8 & IR_DOT_I8_AMX;
    return has && c->w.group == 1 && opt->block == MOST_ROWS && c->C > 0 && c->OH * c->OW > 0;
}

// ---------------------------------------------------------------- cycles

static double line_cost(const IrMachine *m, int64_t bytes) {
    return bytes <= ir_budget(m, IR_L1_PANEL)  ? line_l1
           : bytes <= ir_budget(m, IR_L2_MOST) ? line_l2
                                               : line_far;
}

static int64_t weight_bytes(const IrConv *c, const IrConvCopy *copy, int64_t vectors) {
    return vectors * MOST_ROWS * c->w.kh * copy->runs * copy->pieces * copy->words * 4;
}

static int64_t band_bytes(const IrConv *c, const IrConvTile *t, int64_t strips) {
    IrConvCopy copy = ir_conv_copy(c);
    IrConvTile band = *t;
    band.band = (int32_t)strips;
    return ir_conv_band_lines(c, &band) * copy.width * copy.stride * 4;
}

static double strip_cost(const IrConv *c, const IrMachine *m, const IrConvTile *t) {
    IrConvCopy copy = ir_conv_copy(c);
    IrConvStrips s = ir_conv_strips(c, t);
    int64_t pieces = c->w.kh * copy.runs * copy.pieces;
    double x = line_cost(m, band_bytes(c, t, t->band)) * (double)(t->rows * s.rows);
    double w = line_cost(m, weight_bytes(c, &copy, t->vecs)) * (double)(t->vecs * copy.words);
    double step = (double)ir_max(LATENCY, t->rows * t->vecs * s.rows);
    step = x + w > step ? x + w : step;
    return (double)pieces * step + (double)(t->rows * t->vecs * s.rows) * per_vector + PER_STRIP;
}

// The copy of a band
static double copy_cost(const IrConv *c, const IrConvTile *t) {
    double cycles = ir_conv_is_whole(c->x_block, c->C) ? copy_pixels : copy_blocks;
    return ir_conv_in_place(c, t) ? 0 : (double)band_bytes(c, t, t->band) / 16 * cycles;
}

// Weights come from where they lie once a band, lines of x as often as bands overlap.
static double conv_cost(const IrConv *c, const PassOptions *opt, const IrConvTile *t) {
    const IrMachine *m = opt->machine;
    IrConvCopy copy = ir_conv_copy(c);
    IrConvStrips s = ir_conv_strips(c, t);
    int64_t vectors = ir_ceil_div(c->O, opt->block), groups = ir_ceil_div(vectors, t->vecs);
    int64_t all = weight_bytes(c, &copy, vectors);
    double bands = (double)ir_ceil_div(s.strips, t->band) / (double)ir_conv_band_images(c, t);
    double cycles = (double)(s.strips * groups) * strip_cost(c, m, t);
    cycles += bands * (double)all / 64 * line_cost(m, all);
    cycles += bands * copy_cost(c, t);
    int64_t threads = ir_max(1, opt->threads);
    int64_t tasks = ir_max(1, c->N.c + c->N.n) * groups * s.strips;
    return cycles * (double)(ir_ceil_div(tasks, threads) * threads) / (double)tasks;
}

// ---------------------------------------------------------------- candidates

// Bands that stay in L2 next to the weights, and, where these are small, one for each thread.
static int64_t choose_band(const IrConv *c, const PassOptions *opt, const IrConvTile *t) {
    const int64_t fit = ir_budget(opt->machine, IR_L2_INPUT);
    IrConvCopy copy = ir_conv_copy(c);
    int64_t strips = ir_conv_strips(c, t).strips, band = strips;
    int64_t weights = weight_bytes(c, &copy, ir_ceil_div(c->O, opt->block));
    if (weights <= fit && c->N.c + c->N.n <= 1)
        band = ir_ceil_div(strips, ir_max(1, opt->threads));
    while (band > 1 && band_bytes(c, t, band) > fit) {
        int64_t half = ir_ceil_div(band, 2);
        if (band_bytes(c, t, half) == band_bytes(c, t, band))
            break; // lines are whole
        band = half;
    }
    return band;
}

// Several whole images, as many for each thread, where a band is one and these stay in L2.
static int64_t choose_images(const IrConv *c, const PassOptions *opt, const IrConvTile *t) {
    int64_t images = c->N.n ? opt->images : c->N.c, strips = ir_conv_strips(c, t).strips;
    int64_t most = ir_min(MOST_IMAGES, images / ir_max(1, opt->threads));
    if (t->band < strips)
        return 1;
    while (most > 1 && (images % most ||
                        band_bytes(c, t, most * strips) > ir_budget(opt->machine, IR_L2_INPUT)))
        most--;
    return ir_max(1, most);
}

// Whether a strip's sums are finished before the next strip, or between the products of that, in
// the time that these leave to a core's other units. By counts, as measured over the convolutions
// of three networks in bf16 and int8: where products are few beside results that hides little, and
// stores between loads of tiles cost more; but not where several groups write parts of whole
// pixels, whose stores wait. A model of cycles, of what a piece of products hides and what it costs
// to go on, fitted to the same times, chose worse than these counts, up to 1.05 of a network's
// time.
static bool finishes_at_once(const IrConv *c, const PassOptions *opt, const IrConvTile *t) {
    IrConvCopy copy = ir_conv_copy(c);
    int64_t pieces = c->w.kh * copy.runs * copy.pieces;
    if (ir_ceil_div(c->O, opt->block) <= t->vecs)
        return pieces <= FEW_PIECES;
    return pieces == 1 && !ir_conv_is_whole(c->y_block, c->O);
}

static void add_tile(IrConvAlgo algo, const IrConv *c, const PassOptions *opt, IrConvTile t,
                     ScheduleList *list) {
    t.band = 1;
    t.cols = (int32_t)ir_conv_strips(c, &t).rows;
    if (ir_conv_strips(c, &t).tiles < t.rows)
        return;
    t.band = (int32_t)choose_band(c, opt, &t);
    t.at_once = finishes_at_once(c, opt, &t);
    pass_schedule_add(list, &(PassSchedule){algo, t, conv_cost(c, opt, &t)});
    int64_t images = choose_images(c, opt, &t);
    t.band *= (int32_t)images;
    if (images > 1)
        pass_schedule_add(list, &(PassSchedule){algo, t, conv_cost(c, opt, &t)});
}

void pass_schedule_propose_amx(IrConvAlgo algo, const IrConv *c, const PassOptions *opt,
                               ScheduleList *list) {
    ScheduleList best = {.max = MAX_MEASURED};
    if (!applies(c, opt) || c->OH * c->OW < FEWEST_PIXELS)
        return;
    int64_t vectors = ir_min(MOST_SUMS, ir_ceil_div(c->O, opt->block));
    for (int32_t over = 0; over <= ir_conv_goes_over(c); over++)
        for (int32_t rows = 1; rows <= MOST_SUMS; rows++)
            for (int32_t vecs = 1; vecs <= vectors && rows * vecs <= MOST_SUMS; vecs++)
                add_tile(algo, c, opt, (IrConvTile){rows, MOST_ROWS, vecs, .over = over}, &best);
    pass_schedule_add_all(list, &best);
}

bool pass_schedule_fits_amx(const IrConv *c, const PassOptions *opt, const IrConvTile *t) {
    bool small = t->rows >= 1 && t->rows <= MOST_SUMS && t->vecs >= 1 && t->vecs <= MOST_SUMS &&
                 t->rows * t->vecs <= MOST_SUMS && t->cols >= 1 && t->cols <= MOST_ROWS;
    return applies(c, opt) && small && (t->over == 0 || (t->over == 1 && ir_conv_goes_over(c))) &&
           t->at_once >= 0 && t->at_once <= 1 && t->band >= 1 &&
           t->band <= MOST_IMAGES * ir_conv_strips(c, t).strips &&
           (t->band <= ir_conv_strips(c, t).strips || t->band % ir_conv_strips(c, t).strips == 0);
}
