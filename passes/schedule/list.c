// What the models share: a list of what they propose, fastest first; a thread's part of an image;
// what loads take.
#include "passes/schedule/schedule.h"

#include "ir/machine.h"

void pass_schedule_add(ScheduleList *list, const PassSchedule *s) {
    int i = list->n;
    while (i > 0 && s->cycles < list->v[i - 1].cycles)
        i--;
    if (i == list->max)
        return;
    if (list->n < list->max)
        list->n++;
    for (int k = list->n - 1; k > i; k--)
        list->v[k] = list->v[k - 1];
    list->v[i] = *s;
}

void pass_schedule_add_all(ScheduleList *list, const ScheduleList *more) {
    for (int i = 0; i < more->n; i++)
        pass_schedule_add(list, &more->v[i]);
}

int64_t pass_schedule_share(int64_t rows, const PassOptions *opt) {
    return ir_ceil_div(rows, ir_max(1, opt->threads));
}

double pass_schedule_loads(const IrMachine *m) {
    return m->products_a_cycle > 1 ? 3 : 1;
}

bool pass_schedule_comes_from_memory(const PassOptions *opt) {
    const IrMachine *m = opt->machine;
    return opt->weights > ir_budget(m, IR_L3_LAYER) && m->memory_rate < 0.7 * m->l3_rate;
}
