// Between the files that choose kernels. Private to passes/schedule*.c.
//
// Each model proposes schedules for a convolution; a list keeps the fastest of them. The units of
// PassSchedule.cycles are comparable between direct and Winograd kernels.
#ifndef PASSES_SCHEDULE_SCHEDULE_H
#define PASSES_SCHEDULE_SCHEDULE_H

#include "passes/passes.h"

// Ascending by cycles, at most `max` of them; equal ones in the order of their adding.
typedef struct ScheduleList {
    int n, max;
    PassSchedule v[PASS_MAX_SCHEDULES];
} ScheduleList;
void schedule_add(ScheduleList *list, const PassSchedule *s);

void schedule_direct(const IrNode *n, const PassOptions *opt, ScheduleList *list);
bool schedule_other_order(const IrNode *n, const PassOptions *opt, PassSchedule *p);
bool schedule_direct_fits(const IrNode *n, const PassOptions *opt, const int64_t *tile);

// Groups inside a vector, depthwise among them: only the lanewise kernels do them.
bool schedule_is_lanewise(const IrNode *n, const PassOptions *opt);
void schedule_lanewise(const IrNode *n, const PassOptions *opt, ScheduleList *list);
bool schedule_lanewise_fits(const IrNode *n, const PassOptions *opt, const int64_t *tile);

// Nothing where Winograd's algorithms do not apply.
void schedule_winograd(const IrNode *n, const PassOptions *opt, ScheduleList *list);
bool schedule_winograd_fits(const IrNode *n, const PassOptions *opt, const char *algo,
                            const int64_t *tile);

// Nothing where Strassen's multiplication does not apply.
void schedule_strassen(const IrNode *n, const PassOptions *opt, ScheduleList *list);
bool schedule_strassen_fits(const IrNode *n, const PassOptions *opt, const int64_t *tile);

#endif
