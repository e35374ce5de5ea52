// Convolutions one result at a time: there is nothing to choose.
#include "passes/schedule/schedule.h"

void pass_schedule_propose_elements(IrConvAlgo algo, const IrConv *c, const PassOptions *opt,
                                    ScheduleList *list) {
    (void)c;
    (void)opt;
    pass_schedule_add(list, &(PassSchedule){.algo = algo});
}

bool pass_schedule_fits_elements(const IrConv *c, const PassOptions *opt, const IrConvTile *t) {
    (void)c;
    (void)opt;
    (void)t;
    return true;
}
