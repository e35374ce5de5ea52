// The schedule's choice for depthwise convolutions of bytes by dots: where a machine sums a word's
// products of 16 channels in one instruction, they take a third of what the lanewise kernel does;
// what is said to be cycles says no more. Around 14 columns the kernels were fastest.
#include "passes/schedule/schedule.h"

enum { WORD = 4, MOST_TAPS = 8, BEST_COLUMNS = 14, OTHERS = 5 };
static const double cycles = 0.5; // of the lanewise kernel's

// Sums, a word of weights for each place of the first tap in a word of pixels, and some
static int64_t most_columns(const IrConv *c, const PassOptions *opt) {
    int64_t places = (c->w.kw + WORD - 1 + c->w.sw - 1) / c->w.sw;
    return ir_tile_registers(opt->machine) - places - OTHERS;
}

static bool applies(const IrConv *c, const PassOptions *opt) {
    bool dots = ir_dot(opt->machine, c->dtype).kind == IR_DOT_SUM && ir_parts(opt->machine) == 1;
    return dots && c->w.group == c->C && c->C == c->O && c->x_block == opt->block && c->w.dw == 1 &&
           c->w.kw <= MOST_TAPS && c->W >= WORD;
}

// Each tile, also the narrowest of equal parts, reads a word's pixels.
static bool is_wide(const IrConv *c, int64_t columns) {
    int64_t n = (c->OW + columns - 1) / columns, narrow = c->OW / n;
    return (narrow - 1) * c->w.sw + c->w.kw >= WORD;
}

void pass_schedule_propose_rowwise(IrConvAlgo algo, const IrConv *c, const PassOptions *opt,
                                   ScheduleList *list) {
    if (!applies(c, opt))
        return;
    int64_t most = most_columns(c, opt), best = most < BEST_COLUMNS ? most : BEST_COLUMNS;
    for (int64_t cols = 1; cols <= most && cols <= c->OW; cols++) {
        bool same = cols > 1 && (c->OW + cols - 1) / cols == (c->OW + cols - 2) / (cols - 1);
        double far = (double)(cols > best ? cols - best : best - cols);
        IrConvTile t = {.rows = 1, .cols = (int32_t)cols, .vecs = 1};
        if (!same && is_wide(c, cols))
            pass_schedule_add(list, &(PassSchedule){algo, t, cycles * (1 + far / 100)});
    }
}

bool pass_schedule_fits_rowwise(const IrConv *c, const PassOptions *opt, const IrConvTile *t) {
    return applies(c, opt) && t->rows == 1 && t->vecs == 1 && t->cols >= 1 &&
           t->cols <= most_columns(c, opt) && is_wide(c, t->cols);
}
