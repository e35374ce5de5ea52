// The schedule's choice for groups inside a vector, depthwise among them: columns of a tile. No
// other kernel does them, so what is said to be cycles only orders the candidates, all of which are
// worth measuring: around 14 columns the kernels were fastest.
#include "passes/schedule/schedule.h"

enum {
    BEST_COLUMNS = 14,
    // Bytes are multiplied as f32, which holds sums of so many of their products.
    MOST_PRODUCTS = (1 << 24) / (255 * 128),
};

bool pass_schedule_is_lanewise(const IrConv *c, const PassOptions *opt) {
    int64_t lanes = opt->block;
    bool exact = ir_word(c->dtype) < 4 || c->cg * c->w.kh * c->w.kw <= MOST_PRODUCTS;
    return c->w.group > 1 && c->C == c->O && c->x_block == lanes && c->cg < lanes &&
           lanes % c->cg == 0 && exact;
}

static bool is_depthwise(const IrConv *c) {
    return c->w.group == c->C;
}

// A kernel row's weights, the input vector and, in groups, its copies stay in registers too: those
// of one part of the block, where groups lie inside a register, else of the whole.
static int64_t most_columns(const IrConv *c, const PassOptions *opt) {
    int64_t parts = ir_parts(opt->machine), others = c->w.kw + (is_depthwise(c) ? 2 : 4);
    int64_t registers = ir_tile_registers(opt->machine);
    bool by_parts = opt->block / parts % c->cg == 0;
    int64_t most = by_parts ? (registers - others) / parts : registers / parts - others;
    return ir_max(parts > 1 ? 2 : 4, most);
}

void pass_schedule_propose_lanewise(IrConvAlgo algo, const IrConv *c, const PassOptions *opt,
                                    ScheduleList *list) {
    bool depthwise = algo == IR_CONV_DEPTHWISE || algo == IR_CONV_DEPTHWISE_INT8 ||
                     algo == IR_CONV_DEPTHWISE_BF16;
    if (!pass_schedule_is_lanewise(c, opt) || depthwise != is_depthwise(c))
        return;
    int64_t most = ir_min(c->OW, most_columns(c, opt)), best = ir_min(most, BEST_COLUMNS);
    int32_t band = (int32_t)pass_schedule_share(c->OH, opt);
    for (int64_t cols = ir_min(4, most); cols <= most; cols++) {
        bool same = cols > 1 && ir_ceil_div(c->OW, cols) == ir_ceil_div(c->OW, cols - 1);
        if (same && cols != best)
            continue;
        double far = (double)(cols > best ? cols - best : best - cols);
        IrConvTile t = {.rows = 1, .cols = (int32_t)cols, .vecs = 1, .band = band};
        pass_schedule_add(list, &(PassSchedule){algo, t, 1 + far / 1000});
    }
}

bool pass_schedule_fits_lanewise(const IrConv *c, const PassOptions *opt, const IrConvTile *t) {
    return pass_schedule_is_lanewise(c, opt) && t->rows == 1 && t->cols >= 1 &&
           t->cols <= most_columns(c, opt) && t->vecs == 1 && t->band >= 0;
}
