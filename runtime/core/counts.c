// Counts lie in the instance, behind the outputs that the caller gives: a program that has none is
// run with those as they are.
#include "runtime/core/counts.h"

#include <stdlib.h>

bool rt_counts_make(RtCounts *c, const HoneModelDesc *d, RtErr *err) {
    *c = (RtCounts){NULL, NULL};
    if (d->n_counts <= 0)
        return true;
    c->value = calloc((size_t)d->n_counts, sizeof *c->value);
    c->results = calloc((size_t)d->n_outputs + (size_t)d->n_counts, sizeof *c->results);
    for (int i = 0; c->value && c->results && i < d->n_counts; i++)
        c->results[d->n_outputs + i] = &c->value[i];
    return (c->value && c->results) || rt_fail(err, "no memory");
}

void rt_counts_free(RtCounts *c) {
    free(c->value);
    free(c->results);
    *c = (RtCounts){NULL, NULL};
}

void *const *rt_counts_beside(RtCounts *c, const HoneModelDesc *d, void *const *outputs) {
    for (int i = 0; c->value && i < d->n_outputs; i++)
        c->results[i] = outputs[i];
    return c->value ? c->results : outputs;
}

bool rt_counts_check(const RtCounts *c, const HoneModelDesc *d, RtErr *err) {
    static const char *const why[HONE_CHECK_COUNT] = {
        [HONE_CHECK_MOST] = "more than the program has room for, by",
        [HONE_CHECK_EQUAL] = "two sizes that data decides must be equal, but differ by"};
    for (int i = 0; i < d->n_counts; i++) {
        const HoneCountDesc *k = &d->counts[i];
        if (k->output < 0 && c->value[i] > k->most)
            return rt_fail(err, "node %s (%s): %s %lld", k->node, k->op ? k->op : "",
                           why[k->axis == HONE_CHECK_EQUAL], (long long)(c->value[i] - k->most));
    }
    return true;
}

int64_t rt_counts_dim(const RtCounts *c, const HoneModelDesc *d, int output, int axis,
                      int64_t size) {
    for (int i = 0; i < d->n_counts; i++) {
        const HoneCountDesc *k = &d->counts[i];
        if (k->output == output && k->axis == axis)
            return c->value[i] < 0 ? 0 : c->value[i] < size ? c->value[i] : size;
    }
    return size;
}
