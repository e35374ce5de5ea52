// Between the files that choose kernels. Private to passes/schedule/.
//
// Each algorithm of ir/conv_algos.def has a model here: a file with pass_schedule_propose_NAME and
// pass_schedule_fits_NAME, which the table names. They get the convolution as the algorithm sees it
// (ir_conv_seen_by()), one that it serves (ir_conv_serves()).
#ifndef PASSES_SCHEDULE_SCHEDULE_H
#define PASSES_SCHEDULE_SCHEDULE_H

#include "ir/conv.h"
#include "passes/passes.h"

// Ascending by cycles, at most `max` of them; equal ones in the order of their adding.
typedef struct ScheduleList {
    int n, max;
    PassSchedule v[PASS_MAX_SCHEDULES];
} ScheduleList;
void pass_schedule_add(ScheduleList *list, const PassSchedule *s);
void pass_schedule_add_all(ScheduleList *list, const ScheduleList *more);

// Candidates up to so many times the cycles of the best one are measured.
#define PASS_SCHEDULE_MEASURED 1.15

// Adds the tiles that are worth measuring; nothing where the algorithm does not apply. Cycles are
// of one core and one image; those of all algorithms are comparable.
typedef void PassScheduleProposes(IrConvAlgo algo, const IrConv *c, const PassOptions *opt,
                                  ScheduleList *list);
// Can its kernel run with this tile, whether or not the model would propose it?
typedef bool PassScheduleFits(const IrConv *c, const PassOptions *opt, const IrConvTile *t);

#define IR_CONV_ALGO(E, text, types, flags, tile, choose, ...)                                     \
    PassScheduleProposes pass_schedule_propose_##choose;                                           \
    PassScheduleFits pass_schedule_fits_##choose;
#include "ir/conv_algos.def"
#undef IR_CONV_ALGO

// Those of the best candidate for c in n's place; 0: there is none.
double pass_schedule_cycles(const IrNode *n, const IrConv *c, const PassOptions *opt);

// The pixels of x that a 1x1 convolution with a stride, or its gradient, meets, whose result's
// shape is y, side by side; for strides of 2 and no padding (slice_pixels.c).
bool pass_schedule_strides(const IrWindow *w);
IrValue *pass_schedule_slice(IrBuilder *b, IrValue *x, const IrNode *conv, const IrShape *y);

// Rows (or row tiles) of a band where each thread that the program expects has one band of an
// image. Threads then keep to their pixels from layer to layer, and what one reads another has
// hardly ever written: such lines come from the other core's cache, at a memory's price or above.
int64_t pass_schedule_share(int64_t rows, const PassOptions *opt);

// Multiply-adds whose time a step of a register tile of one vector takes longer, of which each
// product loads: of 28 on a core that starts two a cycle, as many as it loads, 1.1 of their time.
double pass_schedule_loads(const IrMachine *m);

// Do weights come from memory, much slower than L3, for each image? Those of the whole network have
// to stay there.
bool pass_schedule_comes_from_memory(const PassOptions *opt);

// Whether conv_wgrad goes by one of Winograd's algorithms or by matrix tiles (wgrad.c); whether it
// could by the latter.
bool pass_schedule_wgrad(const IrNode *n, const PassOptions *opt, IrConvAlgo *algo);
bool pass_schedule_wgrad_has_tiles(const IrNode *n, const PassOptions *opt);

// Groups inside a vector, depthwise among them: only the lanewise kernels do them.
bool pass_schedule_is_lanewise(const IrConv *c, const PassOptions *opt);

#endif
